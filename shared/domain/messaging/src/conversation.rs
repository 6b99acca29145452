//! A conversation: one person, writing to one account of the tenant.

use crate::message::{self, Message};
use crate::{Channel, coded};
use audit::{event, log};
use contacts::owner;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Error, Page, PageRequest, Patch, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// What conversations can be listed by.
pub static SORTS: &[Sort] = &[Sort {
    name: "last_message_at",
    column: "c.last_message_at",
    key: KeyType::Timestamp,
}];

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.*, m.id AS m_id, m.conversation_id AS m_conversation_id, m.direction AS m_direction,
                    m.provider AS m_provider, m.provider_message_id AS m_provider_message_id, m.type AS m_type,
                    m.body AS m_body, m.media AS m_media, m.template_code AS m_template_code,
                    m.reply_to_provider_message_id AS m_reply_to_provider_message_id, m.status AS m_status,
                    m.error_code AS m_error_code, m.error_title AS m_error_title,
                    m.sent_by_user_id AS m_sent_by_user_id, m.sent_at AS m_sent_at,
                    m.received_at AS m_received_at, m.delivered_at AS m_delivered_at, m.read_at AS m_read_at,
                    m.occurred_at AS m_occurred_at, m.created_at AS m_created_at
             FROM conversations c
             LEFT JOIN messages m ON m.tenant_id = c.tenant_id AND m.id = c.last_message_id",
            $rest
        )
    };
}

const LIST: &str = select!("");
const FIND: &str = select!(" WHERE c.tenant_id = $1 AND c.id = $2");
const LOCK: &str = select!(" WHERE c.tenant_id = $1 AND c.id = $2 FOR UPDATE OF c");

const UPDATE: &str = "UPDATE conversations
    SET state = $3, assignee_user_id = $4, unread_count = $5, updated_at = $6
    WHERE tenant_id = $1 AND id = $2";

/// Whether somebody still has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Open,
    Pending,
    /// Done; the next message opens it again.
    Closed,
}

impl State {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Closed => "closed",
        }
    }
}

/// A conversation and its last message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Conversation {
    pub id: Uuid,
    pub channel: Channel,
    pub channel_account_id: Uuid,
    pub contact_id: Uuid,
    /// The number that the contact writes from, masked.
    pub peer: String,
    pub state: State,
    pub assignee_user_id: Option<Uuid>,
    /// Messages of the contact since somebody last replied or marked it as read.
    pub unread_count: i32,
    pub last_message_at: Timestamp,
    /// Until when a free-form message may be sent; null where the channel knows no such window.
    pub window_expires_at: Option<Timestamp>,
    pub last_message: Option<Message>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Which conversations to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct ConversationFilter {
    pub state: Option<State>,
    pub channel: Option<Channel>,
    pub assignee_user_id: Option<Uuid>,
    pub contact_id: Option<Uuid>,
}

/// What a client changes of a conversation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateConversation {
    pub state: Option<State>,
    /// An active user of the company; null takes the conversation from everybody.
    #[serde(default)]
    pub assignee_user_id: Patch<Uuid>,
    /// 0 marks it as read.
    #[schemars(range(min = 0, max = 0))]
    pub unread_count: Option<i32>,
}

impl UpdateConversation {
    /// The conversation after the change.
    ///
    /// # Errors
    /// 422 for an `unread_count` other than 0.
    pub fn apply(self, current: Conversation, now: Timestamp) -> Result<Conversation> {
        if self.unread_count.is_some_and(|count| count != 0) {
            return Err(Error::field(
                "unread_count",
                "out_of_range",
                "This can only be set to 0.",
            ));
        }
        Ok(Conversation {
            state: self.state.unwrap_or(current.state),
            assignee_user_id: self.assignee_user_id.apply(current.assignee_user_id),
            unread_count: self.unread_count.unwrap_or(current.unread_count),
            updated_at: now,
            ..current
        })
    }
}

/// # Errors
/// 404 when the tenant has no such conversation.
pub async fn find(tx: &Tx, id: Uuid) -> Result<Conversation> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &id]).await?;
    record(&row.ok_or_else(Error::not_found)?)
}

/// As [`find`], and holds the row until the transaction ends, and with it the user whom the change
/// assigns.
///
/// # Errors
/// As [`find`]; 404 also when the assignee is not an active user of the company.
pub async fn find_for_update(tx: &Tx, id: Uuid, change: &UpdateConversation) -> Result<Conversation> {
    let params: [&(dyn db::ToSql + Sync); 2] = [&tx.tenant().0, &id];
    let (held, row) = futures::try_join!(
        owner::hold(tx, change.assignee_user_id.value().copied()),
        tx.query_opt(LOCK, &params)
    )?;
    let current = record(&row.ok_or_else(Error::not_found)?)?;
    owner::check(&change.assignee_user_id, current.assignee_user_id, held).map(|()| current)
}

/// A page of conversations, the one with the latest message first unless asked otherwise.
pub async fn list(tx: &Tx, filter: &ConversationFilter, page: &PageRequest) -> Result<Page<Conversation>> {
    let mut sql = Sql::list(tx, LIST, "c");
    sql.filter_opt("c.state = $", filter.state.map(State::as_str));
    sql.filter_opt("c.channel = $", filter.channel.map(Channel::as_str));
    sql.filter_opt("c.assignee_user_id = $", filter.assignee_user_id);
    sql.filter_opt("c.contact_id = $", filter.contact_id);
    let key = |conversation: &Conversation| (Key::Timestamp(conversation.last_message_at), conversation.id);
    sql.fetch(tx, page, record, key).await
}

/// Writes a conversation as [`UpdateConversation::apply`] made it from the one that
/// [`find_for_update`] read.
///
/// # Errors
/// As the database fails.
pub async fn update(tx: &Tx, changed: &Conversation) -> Result<()> {
    let (tenant, state) = (tx.tenant().0, changed.state.as_str());
    let params: db::Params<'_> = &[
        &tenant,
        &changed.id,
        &state,
        &changed.assignee_user_id,
        &changed.unread_count,
        &changed.updated_at,
    ];
    let data = json!({
        "state": state,
        "assignee_user_id": changed.assignee_user_id,
        "unread_count": changed.unread_count,
    });
    futures::try_join!(
        tx.execute(UPDATE, params),
        event::publish(tx, "conversation.updated", changed.id, &data),
        log::record(
            tx,
            "conversation.updated",
            "conversation",
            Some(changed.id),
            &data
        ),
    )
    .map(drop)
}

fn record(row: &Row) -> Result<Conversation> {
    let last_message = row
        .get::<_, Option<Uuid>>("m_id")
        .map(|_| message::record(row, "m_"));
    Ok(Conversation {
        id: row.get("id"),
        channel: coded(row.get("channel"))?,
        channel_account_id: row.get("channel_account_id"),
        contact_id: row.get("contact_id"),
        peer: row.get("peer_masked"),
        state: coded(row.get("state"))?,
        assignee_user_id: row.get("assignee_user_id"),
        unread_count: row.get("unread_count"),
        last_message_at: row.get("last_message_at"),
        window_expires_at: row.get("window_expires_at"),
        last_message: last_message.transpose()?,
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}

const ASSIGNED: &str = "SELECT count(*) FROM conversations WHERE tenant_id = $1 AND assignee_user_id = $2";
const REASSIGN: &str = "UPDATE conversations SET assignee_user_id = $3, updated_at = $4
    WHERE tenant_id = $1 AND assignee_user_id = $2";

/// How many conversations are assigned to a user, closed ones too: the next message opens them.
///
/// # Errors
/// As the database fails.
pub async fn assigned_to(tx: &Tx, user_id: Uuid) -> Result<i64> {
    Ok(tx.query_one(ASSIGNED, &[&tx.tenant().0, &user_id]).await?.get(0))
}

/// Assigns all that are one user's to another of the company.
///
/// # Errors
/// 404 when the company has no such other user.
pub async fn reassign(tx: &Tx, from: Uuid, to: Uuid) -> Result<u64> {
    tx.execute(REASSIGN, &[&tx.tenant().0, &from, &to, &tx.clock().now()])
        .await
}
