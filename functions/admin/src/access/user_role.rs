//! The roles of a user.

use crate::App;
use axum::extract::State;
use identity::user_role::{self, ChangeRoles, UserRoles};
use web::{Auth, IdPath, Json, Path, Result};

/// Gives roles to a user and takes them.
///
/// Roles are named by id or code. Nobody gives what they do not hold (403, `details.permissions`)
/// or changes their own roles; only a super admin makes or unmakes one, and the last one stays.
pub async fn change(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Json(body): Json<ChangeRoles>,
) -> Result<Json<UserRoles>> {
    let change = body.parse()?;
    let changed = app
        .db
        .write(&caller, async |tx| {
            Box::pin(user_role::change(&tx, path.id, &change)).await
        })
        .await?;
    Ok(Json(changed))
}
