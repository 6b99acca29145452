//! The role tree.

use crate::App;
use axum::extract::State;
use identity::role_tree::{self, Edge, EdgeEnds};
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, Created, Json, NoContent, Query, Result};

/// Lists the edges of the role tree.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Edge>>> {
    let page = page.check(role_tree::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| role_tree::list(&tx, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Lets a role inherit from another.
///
/// The child holds what the parent holds, from the next request of everybody who has it. An edge
/// that would close a cycle is refused with 409, also when two requests close it together. The
/// parent may grant only what the caller holds, and the child is not a role of the caller's.
pub async fn add(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<EdgeEnds>,
) -> Result<Created<Edge>> {
    let added = app
        .db
        .write(&caller, async |tx| Box::pin(role_tree::add(&tx, body)).await)
        .await?;
    Ok(Created(added))
}

/// Ends an inheritance.
///
/// `parent_role_id` and `child_role_id` name it in the query.
pub async fn remove(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(ends): Query<EdgeEnds>,
) -> Result<NoContent> {
    app.db
        .write(&caller, async |tx| role_tree::remove(&tx, ends).await)
        .await?;
    Ok(NoContent)
}
