//! Partitions made ahead, and what nobody needs any more forgotten.

use crate::{App, NAME};
use audit::retention;
use jiff::SignedDuration;
use kernel::{Error, Result, TenantId};
use worker::{Task, caller_for};

const MAINTAIN_PARTITIONS: &str = "SELECT app.maintain_partitions($1, 3)";
const FORGET_IDEMPOTENCY_KEYS: &str = "SELECT app.forget_idempotency_keys($1)";
const EXPIRED_AUDIT: &str = "SELECT tenant_id FROM app.tenants_with_expired_audit($1, $2)";
const DROP_EMPTY_AUDIT_MONTHS: &str = "SELECT app.drop_empty_audit_months($1)";
const FORGET_WEBHOOK_TRACES: &str = "SELECT app.forget_webhook_traces($1)";
const FORGET_IDENTITY_TRACES: &str = "SELECT app.forget_identity_traces($1)";

/// Providers repeat a webhook for a week at most; a delivery may be read a month later.
const WEBHOOK_TRACES_KEPT: SignedDuration = SignedDuration::from_hours(35 * 24);

/// Companies whose audit lines expire in one night; the rest have their turn the next.
const TENANTS: i32 = 10_000;
/// Lines that one transaction deletes.
const LINES: i32 = 5000;

pub async fn run(app: &App, task: &Task) -> Result<()> {
    let now = app.db.clock().now();
    let old = now.saturating_sub(WEBHOOK_TRACES_KEPT).map_err(Error::internal)?;
    let made = app.db.lookup(MAINTAIN_PARTITIONS, &[&now]).await;
    let keys = app.db.lookup(FORGET_IDEMPOTENCY_KEYS, &[&now]).await;
    let traces = app.db.lookup(FORGET_WEBHOOK_TRACES, &[&old]).await;
    let sign_ins = app.db.lookup(FORGET_IDENTITY_TRACES, &[&now]).await;
    let expired = expire_audit(app, task).await;
    // Each is worth doing though another failed.
    let (made, keys, traces, sign_ins) = (made?, keys?, traces?, sign_ins?);
    let audit_lines = expired?;
    let partitions = made.first().map(|row| row.get::<_, i32>(0));
    let [keys, traces, sign_ins] =
        [keys, traces, sign_ins].map(|rows| rows.first().map(|row| row.get::<_, i64>(0)));
    tracing::info!(
        partitions,
        keys,
        traces,
        sign_ins,
        audit_lines,
        "partitions made; keys, traces, sessions, codes and audit lines that are over forgotten"
    );
    Ok(())
}

/// Deletes audit lines past their time, company by company, then the months that are empty.
async fn expire_audit(app: &App, task: &Task) -> Result<i64> {
    let now = app.db.clock().now();
    let tenants = app.db.lookup(EXPIRED_AUDIT, &[&now, &TENANTS]).await?;
    let (mut deleted, mut outcome) = (0, Ok(()));
    for row in &tenants {
        let caller = caller_for(TenantId(row.get(0)), NAME, &task.request_id);
        while task.budget.may_start() {
            let batch = app
                .db
                .write(&caller, async |tx| retention::expire(&tx, LINES).await)
                .await;
            match batch {
                Ok(lines) => {
                    deleted += lines;
                    if lines < i64::from(LINES) {
                        break;
                    }
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
    }
    app.db.lookup(DROP_EMPTY_AUDIT_MONTHS, &[&now]).await?;
    outcome.map(|()| deleted)
}
