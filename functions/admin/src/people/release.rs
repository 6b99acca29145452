//! What is new.

use crate::App;
use axum::extract::State;
use identity::release::{self, Release};
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, Json, Query, Result};

/// Lists releases with what is new in each, newest first.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Release>>> {
    let page = page.check(release::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| release::list(&tx, &page).await)
        .await?;
    Ok(Json(listed))
}
