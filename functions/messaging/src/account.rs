//! The WhatsApp accounts that a company connects.

use crate::{App, edge};
use axum::extract::State;
use kernel::Page;
use kernel::page::PageQuery;
use messaging::account::{self, Account, CreateAccount, NewAccount, UpdateAccount};
use web::{Auth, Created, IdPath, IfMatch, Json, NoContent, Path, Query, Record, Result};

/// Lists connected accounts, newest first.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Account>>> {
    let page = page.check(account::SORTS)?;
    Ok(Json(
        app.db
            .read(&caller, async |tx| account::list(&tx, &page).await)
            .await?,
    ))
}

/// Connects a WhatsApp account.
///
/// Meta takes `phone_number_id` and the credentials `access_token`, `app_secret` and `verify_token`;
/// Twilio takes its AccountSid as `provider_account_id` and the credential `auth_token`. Credentials
/// are never read back. Once this has answered, the account's webhooks are accepted. An account
/// that is connected already is refused with 409 `DUPLICATE`.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CreateAccount>,
) -> Result<Created<Account>> {
    let new = NewAccount::parse(body)?;
    let created = app
        .db
        .write(&caller, async |tx| account::insert(&tx, &new).await)
        .await?;
    edge::publish(&app, &caller, created.id).await?;
    Ok(Created(created))
}

/// Gets an account.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<Account>> {
    Ok(Record(
        app.db
            .read(&caller, async |tx| account::find(&tx, path.id).await)
            .await?,
    ))
}

/// Changes an account.
///
/// A merge-patch. Of `credentials`, those that are given replace the old ones. A disabled account
/// takes no webhooks and sends nothing.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdateAccount>,
) -> Result<Record<Account>> {
    let updated = app.db.write(&caller, async |tx| {
        let current = account::find_for_update(&tx, path.id).await?;
        if_match.check(&current)?;
        account::update(&tx, current, body).await
    });
    let updated = updated.await?;
    edge::publish(&app, &caller, updated.id).await?;
    Ok(Record(updated))
}

/// Disconnects an account.
///
/// Its webhooks are refused from now on; its conversations stay.
pub async fn delete(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<NoContent> {
    app.db
        .write(&caller, async |tx| account::archive(&tx, path.id).await)
        .await?;
    edge::publish(&app, &caller, path.id).await?;
    Ok(NoContent)
}
