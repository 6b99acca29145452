//! The messages of a conversation.

use crate::App;
use axum::extract::State;
use kernel::Page;
use kernel::page::PageQuery;
use messaging::message::{self, Message};
use messaging::reply::{self, CreateReply, NewReply};
use web::{Accepted, Auth, IdPath, Json, Path, Query, Result};

/// Lists the messages of a conversation, newest first.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Message>>> {
    let page = page.check(message::SORTS)?;
    Ok(Json(
        app.db
            .read(&caller, async |tx| message::list(&tx, path.id, &page).await)
            .await?,
    ))
}

/// Replies in a conversation.
///
/// Either `body`, or `template_code` with what fills it as `payload`. On WhatsApp a free text may
/// only be sent within 24 hours of the contact's last message: 422 `WINDOW_CLOSED`. The message is
/// `queued`; then `sent`, `delivered` and `read` as it fares.
pub async fn reply(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Json(body): Json<CreateReply>,
) -> Result<Accepted<Message>> {
    let new = NewReply::parse(body)?;
    let replied = app
        .db
        .write(&caller, async |tx| {
            Box::pin(reply::create(&tx, path.id, &new)).await
        })
        .await?;
    Ok(Accepted(replied))
}
