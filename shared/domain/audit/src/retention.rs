//! How long audit lines are kept: a year, or as long as the company says, at most seven (S18.4).
//! Months are shared by all companies, so each one's expired lines are deleted in batches, and a
//! month is dropped once nobody has a line in it.

use db::Tx;
use kernel::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const FIND: &str = "SELECT audit_keep_months FROM tenants WHERE id = $1";
/// No stronger than the change itself: every line refers to the company's row, and whoever holds the
/// chain, which this takes last, would wait for a stronger lock.
const LOCK: &str = "SELECT audit_keep_months FROM tenants WHERE id = $1 FOR NO KEY UPDATE";
const UPDATE: &str = "UPDATE tenants SET audit_keep_months = $2, updated_at = $3 WHERE id = $1";
const EXPIRE: &str = "SELECT app.expire_audit($1, $2)";

/// What a company decides about its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compliance {
    /// For how many months audit lines are kept.
    #[schemars(range(min = 12, max = 84))]
    pub audit_keep_months: i32,
}

/// The body that changes it: what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateCompliance {
    /// 12 to 84. A shorter time takes effect the next night, and can't be taken back.
    #[schemars(range(min = 12, max = 84))]
    pub audit_keep_months: Option<i32>,
}

pub async fn find(tx: &Tx) -> Result<Compliance> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0]).await?;
    Ok(Compliance {
        audit_keep_months: row.ok_or_else(Error::not_found)?.get(0),
    })
}

/// As [`find`], and holds the company's row until the transaction ends.
pub async fn find_for_update(tx: &Tx) -> Result<Compliance> {
    let row = tx.query_opt(LOCK, &[&tx.tenant().0]).await?;
    Ok(Compliance {
        audit_keep_months: row.ok_or_else(Error::not_found)?.get(0),
    })
}

impl UpdateCompliance {
    /// # Errors
    /// 422 when the time is shorter than a year or longer than seven years.
    pub fn apply(&self, current: &Compliance) -> Result<Compliance> {
        let audit_keep_months = self.audit_keep_months.unwrap_or(current.audit_keep_months);
        if !(12..=84).contains(&audit_keep_months) {
            return Err(Error::field(
                "audit_keep_months",
                "out_of_range",
                "Lines are kept for 12 to 84 months.",
            ));
        }
        Ok(Compliance { audit_keep_months })
    }
}

pub async fn update(tx: &Tx, changed: &Compliance) -> Result<()> {
    let params: db::Params<'_> = &[&tx.tenant().0, &changed.audit_keep_months, &tx.clock().now()];
    tx.execute(UPDATE, params).await.map(drop)
}

/// Deletes the company's expired lines, at most so many; returns how many.
pub async fn expire(tx: &Tx, at_most: i32) -> Result<i64> {
    let row = tx.query_one(EXPIRE, &[&tx.clock().now(), &at_most]).await?;
    Ok(row.get(0))
}
