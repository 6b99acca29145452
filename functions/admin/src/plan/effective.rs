//! What somebody has in the end, and why (S12.8).

use super::overrides::UserQuery;
use crate::App;
use axum::extract::State;
use entitlements::effective::{self, Effective, Whom};
use kernel::{Caller, Error};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use web::{Auth, IdPath, Json, Path, Query, Result};

/// Everything, as one user or the company has it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EffectiveEntitlements {
    /// Null: somebody without overrides of their own and without groups.
    pub user_id: Option<Uuid>,
    #[serde(flatten)]
    pub entitlements: Effective,
}

/// Shows every feature and limit, and why it is so: for a user, or for the company.
pub async fn of_query(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(query): Query<UserQuery>,
) -> Result<Json<EffectiveEntitlements>> {
    find(&app, &caller, query.user_id).await
}

/// Shows every feature and limit of a user, and why it is so.
///
/// `source` is whose word counts: the user's override, the largest of their groups', the company's,
/// the plan's or the trial's.
pub async fn of_user(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Json<EffectiveEntitlements>> {
    find(&app, &caller, Some(path.id)).await
}

async fn find(app: &App, caller: &Caller, user_id: Option<Uuid>) -> Result<Json<EffectiveEntitlements>> {
    let whom = user_id.map_or(Whom::Company, Whom::User);
    let found = app.db.read(caller, async |tx| {
        let Some(user_id) = user_id else {
            return effective::find(&tx, whom).await;
        };
        let (known, found) =
            futures::try_join!(effective::has_user(&tx, user_id), effective::find(&tx, whom))?;
        if known { Ok(found) } else { Err(Error::not_found()) }
    });
    Ok(Json(EffectiveEntitlements {
        user_id,
        entitlements: found.await?,
    }))
}
