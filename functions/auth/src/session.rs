//! The caller's own sessions.

use crate::App;
use axum::extract::State;
use identity::SessionView;
use identity::session::{self, End};
use kernel::page::PageQuery;
use kernel::{Error, Page};
use web::{Auth, IdPath, Json, NoContent, Path, Query, Result};

/// Lists where the caller is signed in, newest first.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<SessionView>>> {
    let page = page.check(session::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| session::list(&tx, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Ends one of the caller's sessions.
///
/// Its access tokens are refused from the next request on.
pub async fn revoke(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<NoContent> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let ended = app
        .db
        .write(&caller, async |tx| {
            session::end(&tx, user_id, path.id, End::Revoked).await
        })
        .await?;
    if ended {
        Ok(NoContent)
    } else {
        Err(Error::not_found().into())
    }
}
