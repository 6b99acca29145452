//! One message of a conversation, in either direction.

use crate::coded;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Error, Page, PageRequest, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What messages can be listed by: the time they were written.
pub static SORTS: &[Sort] = &[Sort {
    name: "occurred_at",
    column: "m.occurred_at",
    key: KeyType::Timestamp,
}];

const CONVERSATION: &str = "SELECT FROM conversations WHERE tenant_id = $1 AND id = $2";

const LIST: &str = "SELECT m.* FROM messages m";

/// Which way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Inbound,
    Outbound,
}

/// How far it came. Inbound ones are `received`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Received,
    Queued,
    Sending,
    Sent,
    Delivered,
    Read,
    Failed,
    /// Every attempt was refused for now.
    Dead,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    pub id: Uuid,
    pub conversation_id: Uuid,
    pub direction: Direction,
    pub provider: String,
    /// Null until the provider has taken it.
    pub provider_message_id: Option<String>,
    /// `text`, `image`, `audio`, `video`, `document`, `sticker`, `location`, `contacts`, `button`,
    /// `interactive`, `reaction`, `order`, `system`, `unsupported` or `template`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Something to read for every type.
    pub body: String,
    pub media: Vec<Media>,
    pub template_code: Option<String>,
    /// The provider's id of the message that this one answers.
    pub reply_to_provider_message_id: Option<String>,
    pub status: Status,
    pub error_code: Option<String>,
    pub error_title: Option<String>,
    pub sent_by_user_id: Option<Uuid>,
    pub sent_at: Option<Timestamp>,
    pub received_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
    /// When it was written, which is the order of a conversation.
    pub occurred_at: Timestamp,
    pub created_at: Timestamp,
}

/// An attachment that the provider holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Media {
    pub provider_media_id: Option<String>,
    /// Where the provider keeps it; fetching it needs the account's credentials.
    pub url: Option<String>,
    pub mime_type: Option<String>,
    pub sha256: Option<String>,
    pub filename: Option<String>,
}

/// A page of a conversation, newest first unless asked otherwise.
///
/// # Errors
/// 404 when the tenant has no such conversation.
pub async fn list(tx: &Tx, conversation_id: Uuid, page: &PageRequest) -> Result<Page<Message>> {
    let mut sql = Sql::list(tx, LIST, "m");
    sql.filter("m.conversation_id = $", conversation_id);
    let key = |message: &Message| (Key::Timestamp(message.occurred_at), message.id);
    let params: db::Params<'_> = &[&tx.tenant().0, &conversation_id];
    let (conversation, messages) = futures::try_join!(
        tx.query_opt(CONVERSATION, params),
        sql.fetch(tx, page, |row| record(row, ""), key),
    )?;
    conversation.ok_or_else(Error::not_found)?;
    Ok(messages)
}

/// Reads a message whose columns carry this prefix.
pub(crate) fn record(row: &Row, prefix: &str) -> Result<Message> {
    let name = |column: &str| format!("{prefix}{column}");
    let text = |column: &str| row.get::<_, Option<String>>(name(column).as_str());
    let time = |column: &str| row.get::<_, Option<Timestamp>>(name(column).as_str());
    let media = row.get::<_, serde_json::Value>(name("media").as_str());
    Ok(Message {
        id: row.get(name("id").as_str()),
        conversation_id: row.get(name("conversation_id").as_str()),
        direction: coded(row.get(name("direction").as_str()))?,
        provider: row.get(name("provider").as_str()),
        provider_message_id: text("provider_message_id"),
        kind: row.get(name("type").as_str()),
        body: row.get(name("body").as_str()),
        media: serde_json::from_value(media).map_err(Error::internal)?,
        template_code: text("template_code"),
        reply_to_provider_message_id: text("reply_to_provider_message_id"),
        status: coded(row.get(name("status").as_str()))?,
        error_code: text("error_code"),
        error_title: text("error_title"),
        sent_by_user_id: row.get(name("sent_by_user_id").as_str()),
        sent_at: time("sent_at"),
        received_at: time("received_at"),
        delivered_at: time("delivered_at"),
        read_at: time("read_at"),
        occurred_at: row.get(name("occurred_at").as_str()),
        created_at: row.get(name("created_at").as_str()),
    })
}
