//! What a company decides about its data.

use crate::App;
use audit::retention::{self, Compliance, UpdateCompliance};
use axum::extract::State;
use web::{Auth, IfMatch, Json, Record, Result};

/// Gets how long audit lines are kept.
pub async fn get(State(app): State<App>, Auth(caller): Auth) -> Result<Record<Compliance>> {
    let found = app
        .db
        .read(&caller, async |tx| retention::find(&tx).await)
        .await?;
    Ok(Record(found))
}

/// Changes how long audit lines are kept.
///
/// A merge-patch. 12 months unless changed, 84 at most; older lines are deleted every night.
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
