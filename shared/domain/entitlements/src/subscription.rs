//! What a company subscribes to (S13.3): the truth, which billing will change and nothing else.

use audit::{event, log};
use db::Tx;
use jiff::{SignedDuration, Timestamp};
use kernel::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How long a company that did not pay keeps its plan.
pub const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Also when the trial is over: see `phase`.
    Trial,
    Active,
    PastDue,
    Canceled,
}

const LOCK: &str =
    "SELECT plan_code, status, grace_ends_at FROM tenant_subscription WHERE tenant_id = $1 FOR NO KEY UPDATE";

const PUT: &str = "INSERT INTO tenant_subscription
         (tenant_id, plan_code, status, started_at, grace_ends_at, canceled_at, renews_at, updated_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $4)
     ON CONFLICT (tenant_id) DO UPDATE
     SET plan_code = excluded.plan_code, status = excluded.status, grace_ends_at = excluded.grace_ends_at,
         canceled_at = excluded.canceled_at, renews_at = excluded.renews_at, updated_at = excluded.updated_at";

const KNOWN_PLAN: &str = "SELECT 1 FROM plans WHERE code = $1 AND is_active";

/// Puts the company on a plan and says where its subscription stands. Becoming past due starts
/// [`GRACE`]; hearing of it again does not start it anew. Counts at the very next request.
///
/// # Errors
/// 422 for a plan that there is not.
pub async fn change(tx: &Tx, plan: &str, status: Status, renews_at: Option<Timestamp>) -> Result<()> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let params: [&(dyn db::ToSql + Sync); 1] = [&tenant];
    let named: [&(dyn db::ToSql + Sync); 1] = [&plan];
    let (current, known) = futures::try_join!(tx.query_opt(LOCK, &params), tx.query_opt(KNOWN_PLAN, &named))?;
    known.ok_or_else(|| Error::field("plan", "unknown", "There is no such plan."))?;
    let was: Option<(String, String)> = current.as_ref().map(|row| (row.get(0), row.get(1)));
    let running: Option<Timestamp> = current.and_then(|row| row.get(2));
    let grace = now.saturating_add(GRACE).map_err(Error::internal)?;
    let grace = (status == Status::PastDue).then(|| running.unwrap_or(grace));
    let canceled = (status == Status::Canceled).then_some(now);
    let params: [&(dyn db::ToSql + Sync); 7] = [
        &tenant,
        &plan,
        &status.as_str(),
        &now,
        &grace,
        &canceled,
        &renews_at,
    ];
    let data = json!({
        "plan": plan, "status": status, "was": was.map(|(plan, status)| json!({ "plan": plan, "status": status })),
    });
    futures::try_join!(
        tx.execute(PUT, &params),
        event::publish(tx, "tenant.plan.changed", tenant, &data)
    )?;
    log::record(tx, "tenant.plan.changed", "tenant", Some(tenant), &data).await
}

impl Status {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Canceled => "canceled",
        }
    }

    pub(crate) fn from_column(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "past_due" => Self::PastDue,
            "canceled" => Self::Canceled,
            _ => Self::Trial,
        }
    }
}
