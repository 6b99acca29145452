//! Where a user is signed in, for who looks after the company.

use crate::App;
use axum::extract::State;
use identity::SessionView;
use identity::{lifecycle, session, user};
use kernel::Page;
use kernel::page::PageQuery;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use web::{Auth, IdPath, Json, NoContent, Path, Query, Result};

/// The path of one session.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SessionPath {
    /// The user.
    pub id: Uuid,
    pub session_id: Uuid,
}

/// Lists where a user is signed in, newest first: device, address, when it was used last.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<SessionView>>> {
    let page = page.check(session::SORTS)?;
    let listed = app.db.read(&caller, async |tx| {
        let found = futures::try_join!(user::exists(&tx, path.id), session::list_of(&tx, path.id, &page));
        found.map(|((), sessions)| sessions)
    });
    Ok(Json(listed.await?))
}

/// Ends one of a user's sessions.
///
/// Its access tokens are refused from the next request on. 404 for one that is over.
pub async fn revoke(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<SessionPath>,
) -> Result<NoContent> {
    let revoked = app.db.write(&caller, async |tx| {
        let target = lifecycle::target(&tx, path.id).await?;
        lifecycle::end_session(&tx, &target, path.session_id).await
    });
    revoked.await?;
    Ok(NoContent)
}
