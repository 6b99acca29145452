//! Writing to a contact: a message and its delivery, in one transaction, whose commit wakes the
//! sender; `next_attempt_at` finds what a crash left unwoken.

use crate::message::{self, Message};
use crate::{Channel, coded, context};
use audit::{event, log};
use db::Tx;
use jiff::Timestamp;
use kernel::{Code, Error, Result, Validator};
use notifications::delivery::{self, Content, NewDelivery, Purpose};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const CONVERSATION: &str =
    "SELECT c.channel, c.contact_id, c.peer_sealed, c.window_expires_at, c.channel_account_id,
        a.provider, a.status = 'active' AND a.deleted_at IS NULL AS connected
    FROM conversations c JOIN channel_accounts a ON a.tenant_id = c.tenant_id AND a.id = c.channel_account_id
    WHERE c.tenant_id = $1 AND c.id = $2";

const INSERT: &str = "INSERT INTO messages
    (tenant_id, id, conversation_id, direction, provider, type, body, template_code, status, sent_by_user_id,
     occurred_at, created_at)
    VALUES ($1, $2, $3, 'outbound', $4, $5, $6, $7, 'queued', $8, $9, $9) RETURNING *";

const TOUCH: &str = "UPDATE conversations
    SET last_message_id = CASE WHEN last_message_at <= $4 THEN $3 ELSE last_message_id END,
        last_message_at = greatest(last_message_at, $4), unread_count = 0,
        state = CASE WHEN state = 'closed' THEN 'open' ELSE state END, updated_at = $4
    WHERE tenant_id = $1 AND id = $2";

/// A reply: a text, or a template that the provider has approved.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateReply {
    /// Free text; on WhatsApp only within 24 hours of the contact's last message.
    #[schemars(length(min = 1, max = 4096))]
    pub body: Option<String>,
    /// Meta: the template's name. Twilio: its `ContentSid`.
    pub template_code: Option<String>,
    /// What fills the template.
    pub payload: Option<TemplatePayload>,
}

/// What fills a template.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplatePayload {
    /// A locale that the template is approved in, like `en` or `ar_EG`; `en` when absent.
    pub language: Option<String>,
    /// The values of its variables, in order.
    #[serde(default)]
    pub parameters: Vec<String>,
}

/// A checked reply.
pub struct NewReply(Content);

impl NewReply {
    /// # Errors
    /// 422 when it is neither a text nor a template, or both, or malformed.
    pub fn parse(input: CreateReply) -> Result<Self> {
        let mut validator = Validator::default();
        let content = match (input.body, input.template_code) {
            (Some(body), None) => {
                if input.payload.is_some() {
                    validator.reject("payload", "not_allowed", "Only templates take a payload.");
                }
                Content::Text(validator.text("body", &body, 4096))
            }
            (None, Some(code)) => {
                let payload = input.payload.unwrap_or_default();
                let parameters = payload.parameters.iter().enumerate();
                Content::Template {
                    name: validator.text("template_code", &code, 512),
                    language: validator.text(
                        "payload.language",
                        payload.language.as_deref().unwrap_or("en"),
                        20,
                    ),
                    parameters: parameters
                        .map(|(at, value)| validator.text(&format!("payload.parameters[{at}]"), value, 1024))
                        .collect(),
                }
            }
            _ => {
                return Err(Error::field(
                    "body",
                    "required",
                    "Send either a body or a template_code.",
                ));
            }
        };
        validator.finish().map(|()| Self(content))
    }
}

/// Stores a reply and queues its delivery; the message's id is the delivery's.
///
/// # Errors
/// 404 when the tenant has no such conversation; 422 `WINDOW_CLOSED` for a text outside the window;
/// 409 when the account was disconnected or disabled.
pub async fn create(tx: &Tx, conversation_id: Uuid, reply: &NewReply) -> Result<Message> {
    let (tenant, now, id) = (tx.tenant().0, tx.clock().now(), tx.clock().id());
    let row = tx
        .query_opt(CONVERSATION, &[&tenant, &conversation_id])
        .await?
        .ok_or_else(Error::not_found)?;
    if !row.get::<_, bool>("connected") {
        return Err(Error::new(
            Code::Conflict,
            "The account of this conversation is not connected any more.",
        ));
    }
    let channel: Channel = coded(row.get("channel"))?;
    check_window(channel, row.get("window_expires_at"), &reply.0, now)?;
    let (kind, body, template_code) = match &reply.0 {
        Content::Text(text) => ("text", text.clone(), None),
        Content::Template { name, .. } => ("template", format!("[template: {name}]"), Some(name)),
        Content::Email { text, .. } => ("email", text.clone(), None),
    };
    let (provider, user): (&str, _) = (row.get("provider"), tx.caller().user_id());
    let peer = tx
        .sealer()
        .open_text(&context(tx, "conversations.peer"), row.get("peer_sealed"))?;
    let delivery = NewDelivery {
        id,
        purpose: Purpose::Conversation,
        channel: channel.as_str(),
        channel_account_id: row.get("channel_account_id"),
        contact_id: row.get("contact_id"),
        user_id: None,
        about_user_id: None,
        provider: Some(provider),
        recipient: &peer,
        content: &reply.0,
        expires_at: None,
    };
    let told = json!({ "conversation_id": conversation_id, "type": kind });
    let params: db::Params<'_> = &[
        &tenant,
        &id,
        &conversation_id,
        &provider,
        &kind,
        &body,
        &template_code,
        &user,
        &now,
    ];
    let touched: db::Params<'_> = &[&tenant, &conversation_id, &id, &now];
    let (stored, (), _, (), ()) = futures::try_join!(
        tx.query_one(INSERT, params),
        delivery::enqueue(tx, &delivery),
        tx.execute(TOUCH, touched),
        event::publish(tx, "message.queued", id, &told),
        log::record(tx, "message.created", "message", Some(id), &told),
    )?;
    message::record(&stored, "")
}

/// WhatsApp lets a business write freely for 24 hours after the contact's last message (S6).
fn check_window(
    channel: Channel,
    expires_at: Option<Timestamp>,
    content: &Content,
    now: Timestamp,
) -> Result<()> {
    let free_form = matches!(content, Content::Text(_));
    if channel == Channel::Whatsapp && free_form && expires_at.is_none_or(|expires_at| expires_at <= now) {
        return Err(Error::new(
            Code::WindowClosed,
            "The contact last wrote more than 24 hours ago; send a template.",
        )
        .with_details(json!({ "window_expires_at": expires_at })));
    }
    Ok(())
}
