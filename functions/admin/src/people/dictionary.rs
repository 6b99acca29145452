//! What the dictionaries have in common.

use crate::App;
use identity::dictionary::{self, CodeFilter, CreateCode, DictionaryCode, Kind, UpdateCode};
use kernel::page::PageQuery;
use kernel::{Caller, Page};
use uuid::Uuid;
use web::{Created, IfMatch, Json, NoContent, Record, Result};

pub(super) async fn list(
    app: &App,
    caller: &Caller,
    kind: Kind,
    filter: CodeFilter,
    page: &PageQuery,
) -> Result<Json<Page<DictionaryCode>>> {
    let page = page.check(dictionary::SORTS)?;
    let listed = app
        .db
        .read(caller, async |tx| {
            dictionary::list(&tx, kind, filter, &page).await
        })
        .await?;
    Ok(Json(listed))
}

pub(super) async fn create(
    app: &App,
    caller: &Caller,
    kind: Kind,
    body: &CreateCode,
) -> Result<Created<DictionaryCode>> {
    let created = app
        .db
        .write(caller, async |tx| dictionary::insert(&tx, kind, body).await)
        .await?;
    Ok(Created(created))
}

pub(super) async fn update(
    app: &App,
    caller: &Caller,
    kind: Kind,
    id: Uuid,
    if_match: IfMatch,
    body: &UpdateCode,
) -> Result<Record<DictionaryCode>> {
    let updated = app.db.write(caller, async |tx| {
        dictionary::update(&tx, kind, id, body, |current| if_match.check(current)).await
    });
    Ok(Record(updated.await?))
}

pub(super) async fn delete(app: &App, caller: &Caller, kind: Kind, id: Uuid) -> Result<NoContent> {
    app.db
        .write(caller, async |tx| dictionary::delete(&tx, kind, id).await)
        .await?;
    Ok(NoContent)
}
