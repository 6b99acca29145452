//! Roles.

use crate::App;
use axum::extract::State;
use identity::role::{self, CreateRole, NewRole, Role, RoleFilter, UpdateRole};
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, Created, IdPath, IfMatch, Json, NoContent, Path, Query, Record, Result};

/// Lists roles, the system's and the company's own.
///
/// `search` finds a part of a name or code.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<RoleFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Role>>> {
    let page = page.check(role::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| role::list(&tx, &filter, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Creates a role.
///
/// A role grants only what its maker holds: other permissions are refused with 403, listed in
/// `details.permissions`. A code belongs to one role: a second one is refused with 409 `DUPLICATE`.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CreateRole>,
) -> Result<Created<Role>> {
    let new = NewRole::parse(&body)?;
    let created = app
        .db
        .write(&caller, async |tx| role::insert(&tx, &new).await)
        .await?;
    Ok(Created(created))
}

/// Gets a role.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<Role>> {
    let found = app
        .db
        .read(&caller, async |tx| role::find(&tx, path.id).await)
        .await?;
    Ok(Record(found))
}

/// Changes a role's name or description.
///
/// A merge-patch. The system's roles can't be changed: 409.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdateRole>,
) -> Result<Record<Role>> {
    let updated = app.db.write(&caller, async |tx| {
        let current = role::find_for_update(&tx, path.id).await?;
        if_match.check(&current)?;
        let changed = body.apply(current, tx.clock().now())?;
        role::update(&tx, &changed).await?;
        Ok(changed)
    });
    Ok(Record(updated.await?))
}

/// Deletes a role that nobody has.
///
/// While users or groups have it, or roles inherit from it, 409 says how many.
pub async fn delete(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<NoContent> {
    app.db
        .write(&caller, async |tx| role::delete(&tx, path.id).await)
        .await?;
    Ok(NoContent)
}
