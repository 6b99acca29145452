//! Partitions made ahead, and what nobody needs any more forgotten.

use crate::App;
use jiff::SignedDuration;
use kernel::{Error, Result};

const MAINTAIN_PARTITIONS: &str = "SELECT app.maintain_partitions($1, 3)";
const FORGET_IDEMPOTENCY_KEYS: &str = "SELECT app.forget_idempotency_keys($1)";
const FORGET_WEBHOOK_TRACES: &str = "SELECT app.forget_webhook_traces($1)";
const FORGET_IDENTITY_TRACES: &str = "SELECT app.forget_identity_traces($1)";

/// Providers repeat a webhook for a week at most; a delivery may be read a month later.
const WEBHOOK_TRACES_KEPT: SignedDuration = SignedDuration::from_hours(35 * 24);

pub async fn run(app: &App) -> Result<()> {
    let now = app.db.clock().now();
    let old = now.saturating_sub(WEBHOOK_TRACES_KEPT).map_err(Error::internal)?;
    let made = app.db.lookup(MAINTAIN_PARTITIONS, &[&now]).await;
    let keys = app.db.lookup(FORGET_IDEMPOTENCY_KEYS, &[&now]).await;
    let traces = app.db.lookup(FORGET_WEBHOOK_TRACES, &[&old]).await;
    let sign_ins = app.db.lookup(FORGET_IDENTITY_TRACES, &[&now]).await;
    // Each is worth doing though another failed.
    let (made, keys, traces, sign_ins) = (made?, keys?, traces?, sign_ins?);
    let partitions = made.first().map(|row| row.get::<_, i32>(0));
    let [keys, traces, sign_ins] =
        [keys, traces, sign_ins].map(|rows| rows.first().map(|row| row.get::<_, i64>(0)));
    tracing::info!(
        partitions,
        keys,
        traces,
        sign_ins,
        "partitions made; keys, traces, sessions and codes that are over forgotten"
    );
    Ok(())
}
