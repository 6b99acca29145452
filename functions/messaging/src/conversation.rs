//! Conversations with people.

use crate::App;
use axum::extract::State;
use kernel::Page;
use kernel::page::PageQuery;
use messaging::conversation::{self, Conversation, ConversationFilter, UpdateConversation};
use web::{Auth, IdPath, IfMatch, Json, Path, Query, Record, Result};

/// Lists conversations, the one with the latest message first.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<ConversationFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Conversation>>> {
    let page = page.check(conversation::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| conversation::list(&tx, &filter, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Gets a conversation.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<Conversation>> {
    Ok(Record(
        app.db
            .read(&caller, async |tx| conversation::find(&tx, path.id).await)
            .await?,
    ))
}

/// Changes who handles a conversation and where it stands.
///
/// A merge-patch of `state` and `assignee_user_id`; `unread_count` can be set to 0, which marks the
/// conversation as read. A new assignee is an active user of the company (404).
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdateConversation>,
) -> Result<Record<Conversation>> {
    let updated = app.db.write(&caller, async |tx| {
        let current = conversation::find_for_update(&tx, path.id, &body).await?;
        if_match.check(&current)?;
        let changed = body.apply(current, tx.clock().now())?;
        conversation::update(&tx, &changed).await?;
        Ok(changed)
    });
    Ok(Record(updated.await?))
}
