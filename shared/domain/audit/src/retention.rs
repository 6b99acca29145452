//! How long a company's data is kept, which the company says (S14.8, S18.2, S18.4), and audit lines past
//! their time. Months of the log are shared by all companies, so each one's expired lines are deleted in
//! batches, and a month is dropped once nobody has a line in it. What was said is forgotten by the crates
//! that keep it: `notifications::retention`, `messaging::retention`.

use db::{Row, Tx};
use kernel::{Error, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

const FIND: &str = "SELECT audit_keep_months, inbox_keep_days, payload_keep_days, webhook_keep_days FROM tenants WHERE id = $1";
/// No stronger than the change itself: every line refers to the company's row, and whoever holds the
/// chain, which this takes last, would wait for a stronger lock.
const LOCK: &str = "SELECT audit_keep_months, inbox_keep_days, payload_keep_days, webhook_keep_days
     FROM tenants WHERE id = $1 FOR NO KEY UPDATE";
const UPDATE: &str =
    "UPDATE tenants SET audit_keep_months = $2, inbox_keep_days = $3, payload_keep_days = $4,
        webhook_keep_days = $5, updated_at = $6
     WHERE id = $1";
const EXPIRE: &str = "SELECT app.expire_audit($1, $2)";

const AUDIT_MONTHS: RangeInclusive<i32> = 12..=84;
const INBOX_DAYS: RangeInclusive<i32> = 7..=365;
/// A provider may still report of a delivery that is weeks old.
const PAYLOAD_DAYS: RangeInclusive<i32> = 30..=365;
const WEBHOOK_DAYS: RangeInclusive<i32> = 7..=60;

/// What a company decides about its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compliance {
    /// For how many months audit lines are kept.
    #[schemars(range(min = 12, max = 84))]
    pub audit_keep_months: i32,
    /// For how many days messages stay in people's inboxes.
    #[schemars(range(min = 7, max = 365))]
    pub inbox_keep_days: i32,
    /// For how many days it is kept what was sent and to whom; that it was sent is kept longer.
    #[schemars(range(min = 30, max = 365))]
    pub payload_keep_days: i32,
    /// For how many days it is kept what providers posted, as it came; what was made of it stays.
    #[schemars(range(min = 7, max = 60))]
    pub webhook_keep_days: i32,
}

/// The body that changes it: what is absent stays. A shorter time takes effect the next night, and what
/// it forgets does not come back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateCompliance {
    /// 12 to 84.
    #[schemars(range(min = 12, max = 84))]
    pub audit_keep_months: Option<i32>,
    /// 7 to 365.
    #[schemars(range(min = 7, max = 365))]
    pub inbox_keep_days: Option<i32>,
    /// 30 to 365.
    #[schemars(range(min = 30, max = 365))]
    pub payload_keep_days: Option<i32>,
    /// 7 to 60.
    #[schemars(range(min = 7, max = 60))]
    pub webhook_keep_days: Option<i32>,
}

/// What the entered company decided.
///
/// # Errors
/// 404 when there is no such company.
pub async fn find(tx: &Tx) -> Result<Compliance> {
    from_row(tx.query_opt(FIND, &[&tx.tenant().0]).await?)
}

/// As [`find`], and holds the company's row until the transaction ends.
///
/// # Errors
/// As [`find`].
pub async fn find_for_update(tx: &Tx) -> Result<Compliance> {
    from_row(tx.query_opt(LOCK, &[&tx.tenant().0]).await?)
}

fn from_row(row: Option<Row>) -> Result<Compliance> {
    let row = row.ok_or_else(Error::not_found)?;
    Ok(Compliance {
        audit_keep_months: row.get(0),
        inbox_keep_days: row.get(1),
        payload_keep_days: row.get(2),
        webhook_keep_days: row.get(3),
    })
}

impl UpdateCompliance {
    /// # Errors
    /// 422 with every time that is too short or too long.
    pub fn apply(&self, current: &Compliance) -> Result<Compliance> {
        let mut validator = Validator::default();
        let mut kept = |field: &str, wanted: Option<i32>, current: i32, allowed: RangeInclusive<i32>| {
            let value = wanted.unwrap_or(current);
            if !allowed.contains(&value) {
                let told = format!("From {} to {}.", allowed.start(), allowed.end());
                validator.reject(field, "out_of_range", &told);
            }
            value
        };
        let changed = Compliance {
            audit_keep_months: kept(
                "audit_keep_months",
                self.audit_keep_months,
                current.audit_keep_months,
                AUDIT_MONTHS,
            ),
            inbox_keep_days: kept(
                "inbox_keep_days",
                self.inbox_keep_days,
                current.inbox_keep_days,
                INBOX_DAYS,
            ),
            payload_keep_days: kept(
                "payload_keep_days",
                self.payload_keep_days,
                current.payload_keep_days,
                PAYLOAD_DAYS,
            ),
            webhook_keep_days: kept(
                "webhook_keep_days",
                self.webhook_keep_days,
                current.webhook_keep_days,
                WEBHOOK_DAYS,
            ),
        };
        validator.finish().map(|()| changed)
    }
}

/// Writes what [`UpdateCompliance::apply`] made.
///
/// # Errors
/// As the database fails.
pub async fn update(tx: &Tx, changed: &Compliance) -> Result<()> {
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &changed.audit_keep_months,
        &changed.inbox_keep_days,
        &changed.payload_keep_days,
        &changed.webhook_keep_days,
        &tx.clock().now(),
    ];
    tx.execute(UPDATE, params).await.map(drop)
}

/// Deletes the company's expired lines, at most so many; returns how many.
///
/// # Errors
/// As the database fails.
pub async fn expire(tx: &Tx, at_most: i32) -> Result<i64> {
    let row = tx.query_one(EXPIRE, &[&tx.clock().now(), &at_most]).await?;
    Ok(row.get(0))
}
