//! What a company decides about its data.

use crate::App;
use audit::retention::{self, Compliance, UpdateCompliance};
use axum::extract::State;
use web::{Auth, IfMatch, Json, Record, Result};

/// Gets how long the company's data is kept.
pub async fn get(State(app): State<App>, Auth(caller): Auth) -> Result<Record<Compliance>> {
    let found = app
        .db
        .read(&caller, async |tx| retention::find(&tx).await)
        .await?;
    Ok(Record(found))
}

/// Changes how long the company's data is kept.
///
/// A merge-patch. Unless changed, audit lines are kept for 12 months, inboxes and what was sent for 90
/// days, what providers posted for 30. What is older is deleted every night. 422 names every time that
/// is out of its range.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    if_match: IfMatch,
    Json(body): Json<UpdateCompliance>,
) -> Result<Record<Compliance>> {
    let updated = app.db.write(&caller, async |tx| {
        let current = retention::find_for_update(&tx).await?;
        if_match.check(&current)?;
        let changed = body.apply(&current)?;
        retention::update(&tx, &changed).await?;
        Ok(changed)
    });
    Ok(Record(updated.await?))
}
