//! API keys.

use crate::App;
use axum::extract::State;
use identity::api_key::{self, ApiKey, CreateApiKey, CreatedApiKey, NewApiKey};
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, Created, IdPath, Json, NoContent, Path, Query, Record, Result};

/// Lists API keys, newest first, those that were revoked included.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ApiKey>>> {
    let page = page.check(api_key::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| api_key::list(&tx, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Creates an API key.
///
/// The answer is the only one that shows its token; a repetition with the same `Idempotency-Key`
/// repeats that answer for 24 hours. `scopes` are permissions that the caller holds; others are
/// refused with 403, listed in `details.permissions`. A key that a key makes expires with it.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CreateApiKey>,
) -> Result<Created<CreatedApiKey>> {
    let new = NewApiKey::parse(&body, app.db.clock().now())?;
    let created = app
        .db
        .write(&caller, async |tx| api_key::insert(&tx, &new).await)
        .await?;
    Ok(Created(created))
}

/// Gets an API key.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<ApiKey>> {
    let found = app
        .db
        .read(&caller, async |tx| api_key::find(&tx, path.id).await)
        .await?;
    Ok(Record(found))
}

/// Revokes an API key.
///
/// It is refused from the next request on, and stays in the list. So are the keys that it made, and
/// those that they made.
pub async fn revoke(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<NoContent> {
    app.db
        .write(&caller, async |tx| api_key::revoke(&tx, path.id).await)
        .await?;
    Ok(NoContent)
}
