//! What waits for approval, and what came of it.

use crate::App;
use approvals::cancel;
use approvals::request::{self, ApprovalRequest, RequestDetail, RequestFilter};
use axum::extract::State;
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, IdPath, Json, Path, Query, Record, Result};

/// Lists requests for approval, newest first.
///
/// `mine=to_decide` lists those that wait for the caller's decision, `mine=requested` those that
/// the caller made.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<RequestFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ApprovalRequest>>> {
    let page = page.check(request::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| request::list(&tx, &filter, &page).await);
    Ok(Json(listed.await?))
}

/// Gets a request for approval.
///
/// With its steps, the decisions so far, and who may decide what is open now.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<RequestDetail>> {
    let found = app.db.read(&caller, async |tx| request::find(&tx, path.id).await);
    Ok(Record(found.await?))
}

/// Cancels a request for approval.
///
/// Who made it may while it waits, and who manages policies; then the requester is told. Whoever was
/// asked to approve it finds that in the inbox.
pub async fn cancel(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Json<RequestDetail>> {
    let cancelled = app.db.write(&caller, async |tx| {
        cancel::cancel(&tx, &app.app_url, path.id).await
    });
    Ok(Json(cancelled.await?))
}
