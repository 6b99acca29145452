//! Asking before doing, and counting what was done.

use db::Tx;
use kernel::{Code, Error, Feature, Limit, Result};
use serde_json::json;

const REQUIRE: &str = "SELECT app.require_feature($1, $2, $3, $4)";
const CONSUME: &str = "SELECT app.consume($1, $2, $3, $4, $5)";
const COUNT: &str = "SELECT app.count_usage($1, $2, $3, $4)";
const RELEASE: &str = "SELECT app.release($1, $2, $3, $4)";
const LIMIT: &str = "SELECT app.limit_of($1, $2, $3, $4)";

/// Refuses what the caller's plan does not include. Routes name their feature in the table instead;
/// this is for what only the body tells.
///
/// # Errors
/// 402 `PLAN_REQUIRED` with details `{feature}`.
pub async fn require_feature(tx: &Tx, feature: Feature) -> Result<()> {
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &tx.caller().user_id(),
        &feature.code(),
        &tx.clock().now(),
    ];
    match tx.execute(REQUIRE, params).await {
        Err(error) if error.code() == Code::PlanRequired && error.details().is_none() => {
            Err(error.with_details(json!({ "feature": feature.code() })))
        }
        outcome => outcome.map(drop),
    }
}

/// Counts `amount` more against a limit of the caller, in the transaction of what is counted: a
/// rollback gives it back, and of parallel writes exactly as many succeed as there is room for. Send
/// it together with the insert (`try_join!`), after it: the counter is held until the commit. Does
/// nothing for an amount of 0. Not for the caps of messages: a delivery counts itself when its provider
/// accepts it (`app.count_sent`), and would count twice.
///
/// Call it before anything that audits explicitly (`audit::log`), which also holds on to a row of
/// the tenant; in one order throughout, nobody waits for each other.
///
/// # Errors
/// 422 `LIMIT_REACHED` with details `{key, limit, used}`; internal for a limit without a meter.
pub async fn consume(tx: &Tx, limit: Limit, amount: u32) -> Result<()> {
    if amount == 0 {
        return Ok(());
    }
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &tx.caller().user_id(),
        &limit.code(),
        &i64::from(amount),
        &tx.clock().now(),
    ];
    // On the heap: it travels beside other statements, whose futures together fill the stack.
    Box::pin(tx.execute(CONSUME, params)).await.map(drop)
}

/// Counts what happens whether there is room for it or not: a message from a stranger makes a
/// contact, and is not lost because the plan is full.
///
/// # Errors
/// Internal for a limit without a meter.
pub async fn count(tx: &Tx, limit: Limit, amount: u32) -> Result<()> {
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &limit.code(),
        &i64::from(amount),
        &tx.clock().now(),
    ];
    Box::pin(tx.execute(COUNT, params)).await.map(drop)
}

/// Gives back what no longer counts: send it together with the archive or delete. Of a monthly
/// limit it gives back to this month.
///
/// # Errors
/// As the database fails.
pub async fn release(tx: &Tx, limit: Limit, amount: u32) -> Result<()> {
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &limit.code(),
        &i64::from(amount),
        &tx.clock().now(),
    ];
    Box::pin(tx.execute(RELEASE, params)).await.map(drop)
}

/// The caller's limit; `None` is unlimited.
///
/// # Errors
/// As the database fails.
pub async fn limit(tx: &Tx, limit: Limit) -> Result<Option<i64>> {
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &tx.caller().user_id(),
        &limit.code(),
        &tx.clock().now(),
    ];
    Ok(tx.query_one(LIMIT, params).await?.get(0))
}

/// Refuses a thing that is larger than its limit, where the limit bounds one thing and nothing is
/// counted: the recipients of one campaign, the widgets of one layout.
///
/// # Errors
/// 422 `LIMIT_REACHED` with details `{key, limit, used}`, `used` being the size.
pub async fn within(tx: &Tx, of: Limit, size: i64) -> Result<()> {
    match limit(tx, of).await? {
        Some(allowed) if size > allowed => Err(Error::new(
            Code::LimitReached,
            "This is larger than your plan allows; make it smaller, or have the limit raised.",
        )
        .with_details(json!({ "key": of.code(), "limit": allowed, "used": size }))),
        _ => Ok(()),
    }
}
