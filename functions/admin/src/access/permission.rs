//! What roles grant, and what users hold in effect.

use crate::App;
use axum::extract::State;
use identity::access::{self, EffectivePermissions};
use identity::role_permission::{self, PutPermissions, RolePermissions};
use web::{Auth, IdPath, IfMatch, Json, Path, Record, Result};

/// Shows what a role grants: every permission, and whether the role has it.
///
/// `inherited_from` names the roles further up the tree that grant it.
pub async fn matrix(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<RolePermissions>> {
    let found = app
        .db
        .read(&caller, async |tx| role_permission::matrix(&tx, path.id).await)
        .await?;
    Ok(Record(found))
}

/// Replaces what a role grants.
///
/// It counts at the next request of everybody who has the role. Only what the caller holds can be
/// added (403, `details.permissions`), and nothing to a role that the caller holds. With `If-Match`,
/// only when nobody changed it meanwhile.
pub async fn replace(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<PutPermissions>,
) -> Result<Record<RolePermissions>> {
    let wanted = body.parse()?;
    let replaced = app
        .db
        .write(&caller, async |tx| {
            let check = |granted: &RolePermissions| if_match.check(granted);
            role_permission::replace(&tx, path.id, &wanted, check).await
        })
        .await?;
    Ok(Record(replaced))
}

/// Shows what a user may do, and why.
///
/// Each permission with the roles that grant it: given to the user or by a group, directly or
/// inherited. `blocked_by` says why it is no use to them now.
pub async fn effective(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Json<EffectivePermissions>> {
    let found = app
        .db
        .read(&caller, async |tx| access::effective(&tx, path.id).await)
        .await?;
    Ok(Json(found))
}
