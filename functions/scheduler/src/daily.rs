//! Partitions made ahead, what nobody needs any more forgotten, and seats freed that nobody can take.

use crate::{App, NAME};
use audit::retention;
use db::{Row, Tx};
use entitlements::seat;
use jiff::SignedDuration;
use kernel::{Error, Result, TenantId};
use messaging::retention as webhooks;
use notifications::retention as messages;
use worker::{Task, caller_for};

const MAINTAIN_PARTITIONS: &str = "SELECT app.maintain_partitions($1, 3)";
const FORGET_IDEMPOTENCY_KEYS: &str = "SELECT app.forget_idempotency_keys($1)";
const EXPIRED_AUDIT: &str = "SELECT tenant_id FROM app.tenants_with_expired_audit($1, $2)";
const DROP_EMPTY_AUDIT_MONTHS: &str = "SELECT app.drop_empty_audit_months($1)";
const FORGET_WEBHOOK_TRACES: &str = "SELECT app.forget_webhook_traces($1)";
const FORGET_IDENTITY_TRACES: &str = "SELECT app.forget_identity_traces($1)";

const OLD_MESSAGES: &str = "SELECT tenant_id FROM app.tenants_with_old_messages($1, $2)";
const OLD_WEBHOOKS: &str = "SELECT tenant_id FROM app.tenants_with_old_webhooks($1, $2)";
const FORGET_UNRESOLVED: &str = "SELECT app.forget_unresolved_webhooks($1, $2)";
const EXPIRED_INVITATIONS: &str = "SELECT DISTINCT tenant_id FROM app.expired_invitations($1, $2)";

/// Providers repeat a webhook for a week at most; a delivery may be read a month later.
const WEBHOOK_TRACES_KEPT: SignedDuration = SignedDuration::from_hours(35 * 24);

/// Companies whose audit lines expire, or whose messages are forgotten, in one night; the rest have
/// their turn the next.
const TENANTS: i32 = 10_000;
/// Invitations that ran out and are settled in one night.
const INVITATIONS: i32 = 10_000;
/// Lines that one transaction deletes.
const LINES: i32 = 5000;
/// Messages of a kind that one transaction forgets.
const MESSAGES: i64 = 1000;
/// Webhooks of accounts that nobody has which are forgotten in one night.
const UNRESOLVED: i32 = 50_000;

pub async fn run(app: &App, task: &Task) -> Result<()> {
    let now = app.db.clock().now();
    let old = now.saturating_sub(WEBHOOK_TRACES_KEPT).map_err(Error::internal)?;
    let made = app.db.lookup(MAINTAIN_PARTITIONS, &[&now]).await;
    let keys = app.db.lookup(FORGET_IDEMPOTENCY_KEYS, &[&now]).await;
    let traces = app.db.lookup(FORGET_WEBHOOK_TRACES, &[&old]).await;
    let sign_ins = app.db.lookup(FORGET_IDENTITY_TRACES, &[&now]).await;
    let seats = release_seats(app, task).await;
    let forgotten = forget_messages(app, task).await;
    let webhooks = forget_webhooks(app, task).await;
    let expired = expire_audit(app, task).await;
    // Each is worth doing though another failed.
    let (made, keys, traces, sign_ins) = (made?, keys?, traces?, sign_ins?);
    let (seats, messages, webhooks, audit_lines) = (seats?, forgotten?, webhooks?, expired?);
    let partitions = made.first().map(|row| row.get::<_, i32>(0));
    let [keys, traces, sign_ins] =
        [keys, traces, sign_ins].map(|rows| rows.first().map(|row| row.get::<_, i64>(0)));
    tracing::info!(
        partitions,
        keys,
        traces,
        sign_ins,
        seats,
        messages,
        webhooks,
        audit_lines,
        "partitions made; keys, traces, sessions, codes, messages, webhooks and audit lines that are over forgotten; seats freed"
    );
    Ok(())
}

/// Frees the seats of invitations that nobody accepted in time, company by company.
async fn release_seats(app: &App, task: &Task) -> Result<i64> {
    let now = app.db.clock().now();
    let rows = app.db.lookup(EXPIRED_INVITATIONS, &[&now, &INVITATIONS]).await?;
    let (mut released, mut outcome) = (0, Ok(()));
    for row in &rows {
        if !task.budget.may_start() {
            break;
        }
        let caller = caller_for(TenantId(row.get(0)), NAME, &task.request_id);
        let release = app.db.write(&caller, async |tx| seat::release_expired(&tx).await);
        match release.await {
            Ok(seats) => released += seats,
            Err(error) => outcome = Err(error),
        }
    }
    outcome.map(|()| released)
}

/// Forgets what people were told long ago, company by company.
async fn forget_messages(app: &App, task: &Task) -> Result<i64> {
    let now = app.db.clock().now();
    let tenants = app.db.lookup(OLD_MESSAGES, &[&now, &TENANTS]).await?;
    let forget = async |tx: Tx| {
        let forgotten = messages::forget(&tx, MESSAGES).await?;
        i64::try_from(forgotten).map_err(Error::internal)
    };
    in_batches(app, task, &tenants, MESSAGES, forget).await
}

/// Forgets what providers posted long ago, as it came: company by company, then of accounts that no
/// company has.
async fn forget_webhooks(app: &App, task: &Task) -> Result<i64> {
    let now = app.db.clock().now();
    let tenants = app.db.lookup(OLD_WEBHOOKS, &[&now, &TENANTS]).await?;
    let forget = async |tx: Tx| {
        let forgotten = webhooks::forget(&tx, MESSAGES).await?;
        i64::try_from(forgotten).map_err(Error::internal)
    };
    let of_companies = in_batches(app, task, &tenants, MESSAGES, forget).await;
    let old = now
        .saturating_sub(webhooks::UNRESOLVED_KEPT)
        .map_err(Error::internal)?;
    let rows = app.db.lookup(FORGET_UNRESOLVED, &[&old, &UNRESOLVED]).await?;
    let of_nobody = rows.first().map_or(0, |row| row.get::<_, i64>(0));
    of_companies.map(|forgotten| forgotten + of_nobody)
}

/// Deletes audit lines past their time, company by company, then the months that are empty.
async fn expire_audit(app: &App, task: &Task) -> Result<i64> {
    let now = app.db.clock().now();
    let tenants = app.db.lookup(EXPIRED_AUDIT, &[&now, &TENANTS]).await?;
    let expire = async |tx: Tx| retention::expire(&tx, LINES).await;
    let deleted = in_batches(app, task, &tenants, i64::from(LINES), expire).await;
    app.db.lookup(DROP_EMPTY_AUDIT_MONTHS, &[&now]).await?;
    deleted
}

/// Works on each of these companies until a batch is not full. One's failure does not hold up the
/// others and is returned in the end.
async fn in_batches(
    app: &App,
    task: &Task,
    tenants: &[Row],
    full: i64,
    work: impl AsyncFn(Tx) -> Result<i64>,
) -> Result<i64> {
    let (mut done, mut outcome) = (0, Ok(()));
    for row in tenants {
        let caller = caller_for(TenantId(row.get(0)), NAME, &task.request_id);
        while task.budget.may_start() {
            match app.db.write(&caller, async |tx| work(tx).await).await {
                Ok(batch) => {
                    done += batch;
                    if batch < full {
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
    outcome.map(|()| done)
}
