//! The dictionary of job titles.

use super::dictionary;
use crate::App;
use axum::extract::State;
use identity::dictionary::{CodeFilter, CreateCode, DictionaryCode, Kind, UpdateCode};
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, Created, IdPath, IfMatch, Json, NoContent, Path, Query, Record, Result};

/// Lists job titles: the company's own and the defaults that everybody has.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<CodeFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<DictionaryCode>>> {
    dictionary::list(&app, &caller, Kind::JobTitle, filter, &page).await
}

/// Adds a job title of the company's own.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CreateCode>,
) -> Result<Created<DictionaryCode>> {
    dictionary::create(&app, &caller, Kind::JobTitle, &body).await
}

/// Changes a job title of the company's own.
///
/// Its code stays. A default is refused with 403.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdateCode>,
) -> Result<Record<DictionaryCode>> {
    dictionary::update(&app, &caller, Kind::JobTitle, path.id, if_match, &body).await
}

/// Deletes a job title of the company's own.
///
/// One that a user has is made inactive instead: the user keeps it, nobody else gets it.
pub async fn delete(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<NoContent> {
    dictionary::delete(&app, &caller, Kind::JobTitle, path.id).await
}
