//! A user's notification preferences.

use crate::App;
use axum::extract::State;
use identity::lifecycle;
use identity::preference::{self, Preferences};
use web::{Auth, IdPath, IfMatch, Json, Path, Record, Result};

/// Gets what a user wants to be told, where and when.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<Preferences>> {
    let found = app
        .db
        .read(&caller, async |tx| preference::find(&tx, path.id).await)
        .await?;
    Ok(Record(found))
}

/// Sets what a user wants to be told, where and when.
///
/// All of it: what is left out is the default again.
pub async fn put(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<Preferences>,
) -> Result<Record<Preferences>> {
    let preferences = body.check()?;
    app.db
        .write(&caller, async |tx| {
            lifecycle::target(&tx, path.id).await?;
            if_match.check(&preference::find(&tx, path.id).await?)?;
            preference::put(&tx, path.id, &preferences).await
        })
        .await?;
    Ok(Record(preferences))
}
