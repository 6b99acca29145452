//! One delivery to one person: a row of `messages_outbox` and the states it goes through (S2.3).
//!
//! ```text
//! queued ─claim─► sending ─► sent ─► delivered
//!    ▲               ├─► failed   refused for good, or UNCONFIRMED for an hour
//!    └──── retry ────┴─► dead     four attempts were refused for now
//!
//! queued ─claim─► failed          EXPIRED: nobody needs it any more
//! ```
//!
//! `next_attempt_at` is the truth about when to try; queues only wake the sender. A row that is
//! `sending` is never sent again by itself: nobody knows whether the provider has it.

use db::Tx;
use jiff::{SignedDuration, Timestamp};
use kernel::{Error, Nudge, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// How often a delivery is tried before it is dead.
pub const MAX_ATTEMPTS: i16 = 4;
/// How long a delivery may be `sending` without a word from the provider.
pub const UNCONFIRMED_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// The error code of a delivery of which nobody knows whether it was sent.
pub const UNCONFIRMED: &str = "UNCONFIRMED";

const ENQUEUE: &str = "INSERT INTO messages_outbox
    (tenant_id, id, channel, channel_account_id, contact_id, provider, recipient_sealed, content_sealed,
     status, next_attempt_at, request_id, created_at, purpose, user_id, about_user_id, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, $10, $9, $11, $12, $13, $14)";

/// One that has expired is settled instead, which also forgets what it said.
const CLAIM: &str = "UPDATE messages_outbox o
    SET status = CASE WHEN found.expired THEN 'failed' ELSE 'sending' END,
        attempts = o.attempts + CASE WHEN found.expired THEN 0 ELSE 1 END,
        claimed_at = CASE WHEN found.expired THEN NULL ELSE $3::timestamptz END,
        failed_at = CASE WHEN found.expired THEN $3::timestamptz END,
        error_code = CASE WHEN found.expired THEN 'EXPIRED' END, error_title = NULL
    FROM (SELECT coalesce(due.expires_at <= $3, false) AS expired FROM messages_outbox due
          WHERE due.tenant_id = $1 AND due.id = $2 AND due.status = 'queued' AND due.next_attempt_at <= $3
          FOR UPDATE) found
    WHERE o.tenant_id = $1 AND o.id = $2
    RETURNING found.expired, o.channel, o.channel_account_id, o.recipient_sealed, o.content_sealed, o.attempts, o.request_id";

const SENT: &str = "UPDATE messages_outbox o
    SET provider = $3, provider_message_id = $4, sent_at = coalesce(o.sent_at, $5),
        status = CASE WHEN moved THEN 'sent' ELSE o.status END,
        error_code = CASE WHEN moved THEN NULL ELSE o.error_code END,
        failed_at = CASE WHEN moved THEN NULL ELSE o.failed_at END
    FROM (SELECT app.delivery_rank(was.status) < app.delivery_rank('sent')
                 OR was.status = 'failed' AND was.error_code = 'UNCONFIRMED' AS moved
          FROM messages_outbox was WHERE was.tenant_id = $1 AND was.id = $2 FOR UPDATE) found
    WHERE o.tenant_id = $1 AND o.id = $2 AND o.recipient_sealed <> ''";

const RETRY: &str = "UPDATE messages_outbox
    SET status = CASE WHEN attempts < $3 THEN 'queued' ELSE 'dead' END,
        next_attempt_at = $4, error_code = $5, claimed_at = NULL,
        failed_at = CASE WHEN attempts < $3 THEN NULL ELSE $6::timestamptz END
    WHERE tenant_id = $1 AND id = $2 AND status = 'sending' RETURNING status";

const FAILED: &str = "UPDATE messages_outbox SET status = 'failed', error_code = $3, failed_at = $4
    WHERE tenant_id = $1 AND id = $2 AND status = 'sending'";

const UNKNOWN: &str = "UPDATE messages_outbox SET error_code = $3
    WHERE tenant_id = $1 AND id = $2 AND status = 'sending'";

const GIVE_UP: &str =
    "UPDATE messages_outbox SET status = 'failed', error_code = 'UNCONFIRMED', failed_at = $4
    WHERE tenant_id = $1 AND id = $2 AND status = 'sending' AND claimed_at < $3 RETURNING id";

pub use kernel::nudge::DeliveryWake as Wake;

/// What is said, as it is kept (sealed) until it is sent.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Text(String),
    /// A template that the provider has approved.
    Template {
        name: String,
        language: String,
        /// Values of its variables, in order.
        parameters: Vec<String>,
    },
    /// The same twice: plain, and as HTML. The subject is one line.
    Email {
        subject: String,
        text: String,
        html: String,
    },
}

/// What a delivery is for. What a notice or a code said is gone once the delivery is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A message of a conversation, which keeps it.
    Conversation,
    /// The system tells a person something.
    Notice,
    /// A one-time code.
    Otp,
}

impl Purpose {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Notice => "notice",
            Self::Otp => "otp",
        }
    }
}

/// A delivery to be made. Its id is also the id of the message it carries, where there is one.
pub struct NewDelivery<'a> {
    pub id: Uuid,
    pub purpose: Purpose,
    /// `whatsapp`, `sms` or `email`.
    pub channel: &'a str,
    /// The tenant's account to send with; the provider's global one when there is none.
    pub channel_account_id: Option<Uuid>,
    /// The person, where it is one of these.
    pub contact_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    /// Another user whom it tells of, and whose erasure stops it.
    pub about_user_id: Option<Uuid>,
    pub provider: Option<&'a str>,
    /// The address: an e-mail address, or a phone in E.164.
    pub recipient: &'a str,
    pub content: &'a Content,
    /// When it is too late: from then on it is not sent. `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// A delivery that this worker, and no other, now has to send.
#[derive(Clone, Serialize, Deserialize)]
pub struct Claimed {
    pub id: Uuid,
    pub channel: String,
    pub channel_account_id: Option<Uuid>,
    pub recipient: String,
    pub content: Content,
    /// This attempt's number, from 1.
    pub attempt: i16,
    /// Of the request that asked for the delivery.
    pub request_id: Option<String>,
}

/// What came of an attempt that the provider refused for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It is queued again.
    Queued,
    /// That was the last attempt.
    Dead,
    /// It was no longer being sent: a report settled it first.
    Settled,
}

/// Queues a delivery in the transaction of what caused it.
pub async fn enqueue(tx: &Tx, new: &NewDelivery<'_>) -> Result<()> {
    let content = serde_json::to_vec(new.content).map_err(Error::internal)?;
    let recipient = tx
        .sealer()
        .seal(&context(tx, "recipient"), new.recipient.as_bytes())?
        .0;
    let content = tx.sealer().seal(&context(tx, "content"), &content)?.0;
    let (now, request_id) = (tx.clock().now(), &tx.caller().origin().request_id);
    tx.execute(
        ENQUEUE,
        &[
            &tx.tenant().0,
            &new.id,
            &new.channel,
            &new.channel_account_id,
            &new.contact_id,
            &new.provider,
            &recipient,
            &content,
            &now,
            request_id,
            &new.purpose.as_str(),
            &new.user_id,
            &new.about_user_id,
            &new.expires_at,
        ],
    )
    .await?;
    tx.nudge(Nudge::Delivery(new.id));
    Ok(())
}

/// Takes a due delivery for sending. `None` when it is not due, not queued any more, or not there:
/// of all workers with the same id one gets it. `None` also when it is too late; then it has failed.
pub async fn claim(tx: &Tx, id: Uuid) -> Result<Option<Claimed>> {
    let Some(row) = tx
        .query_opt(CLAIM, &[&tx.tenant().0, &id, &tx.clock().now()])
        .await?
    else {
        return Ok(None);
    };
    if row.get("expired") {
        return Ok(None);
    }
    let content = tx
        .sealer()
        .open(&context(tx, "content"), row.get("content_sealed"))?;
    Ok(Some(Claimed {
        id,
        channel: row.get("channel"),
        channel_account_id: row.get("channel_account_id"),
        recipient: tx
            .sealer()
            .open_text(&context(tx, "recipient"), row.get("recipient_sealed"))?,
        content: serde_json::from_slice(&content).map_err(Error::internal)?,
        attempt: row.get("attempts"),
        request_id: row.get("request_id"),
    }))
}

/// The provider took it. Reports may have come first: the status does not move back. The caller
/// holds [`crate::report::lock`] for the provider's id. False, and nothing is written, when the person
/// was erased meanwhile: the provider's id gives their number away.
pub async fn record_sent(tx: &Tx, id: Uuid, provider: &str, provider_message_id: &str) -> Result<bool> {
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &id,
        &provider,
        &provider_message_id,
        &tx.clock().now(),
    ];
    tx.execute(SENT, params).await.map(|rows| rows > 0)
}

/// The provider did not take it this time. Queued again by the schedule, or later where the
/// provider asks to wait longer; dead after [`MAX_ATTEMPTS`].
pub async fn record_retry(tx: &Tx, claimed: &Claimed, code: &str, wait: Option<Duration>) -> Result<Retry> {
    let now = tx.clock().now();
    let noise = tx.clock().id().as_u64_pair().1;
    let next = next_attempt(now, claimed.attempt, noise, wait);
    let row = tx
        .query_opt(
            RETRY,
            &[&tx.tenant().0, &claimed.id, &MAX_ATTEMPTS, &next, &code, &now],
        )
        .await?;
    Ok(match row.map(|row| row.get::<_, String>(0)).as_deref() {
        None => Retry::Settled,
        Some("dead") => Retry::Dead,
        Some(_) => Retry::Queued,
    })
}

/// The provider refused it for good.
pub async fn record_failed(tx: &Tx, id: Uuid, code: &str) -> Result<()> {
    tx.execute(FAILED, &[&tx.tenant().0, &id, &code, &tx.clock().now()])
        .await
        .map(drop)
}

/// Perhaps sent, perhaps not: it stays `sending` until a report or [`give_up`] settles it.
pub async fn record_unknown(tx: &Tx, id: Uuid, code: &str) -> Result<()> {
    tx.execute(UNKNOWN, &[&tx.tenant().0, &id, &code]).await.map(drop)
}

/// Fails a delivery that has been `sending` for [`UNCONFIRMED_AFTER`] with no proof either way.
/// A later report of the provider still corrects it. Returns whether it did.
pub async fn give_up(tx: &Tx, id: Uuid) -> Result<bool> {
    let now = tx.clock().now();
    let claimed_before = now.saturating_sub(UNCONFIRMED_AFTER).map_err(Error::internal)?;
    Ok(tx
        .query_opt(GIVE_UP, &[&tx.tenant().0, &id, &claimed_before, &now])
        .await?
        .is_some())
}

/// One, five and fifteen minutes after the first, second and third attempt, each ± 20 %.
fn next_attempt(now: Timestamp, attempt: i16, noise: u64, wait: Option<Duration>) -> Timestamp {
    let minutes = match attempt {
        ..=1 => 1,
        2 => 5,
        _ => 15,
    };
    let thousandths = 800 + i64::try_from(noise % 401).unwrap_or_default();
    let planned = SignedDuration::from_millis(minutes * 60 * thousandths);
    let asked = wait
        .and_then(|wait| SignedDuration::try_from(wait).ok())
        .unwrap_or_default();
    now.saturating_add(planned.max(asked)).unwrap_or(Timestamp::MAX)
}

/// The expiry of what is of use for so many minutes.
pub(crate) fn minutes_from_now(tx: &Tx, minutes: i64) -> Option<Timestamp> {
    let later = tx.clock().now().checked_add(SignedDuration::from_mins(minutes));
    later.ok()
}

pub(crate) fn context(tx: &Tx, field: &str) -> String {
    format!("{}/messages_outbox.{field}", tx.tenant())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_the_schedule_with_jitter_within_a_fifth() {
        let now = Timestamp::UNIX_EPOCH;
        for (attempt, minutes) in [(1, 1), (2, 5), (3, 15)] {
            let mut seconds: Vec<_> = (0..1000)
                .map(|noise| next_attempt(now, attempt, noise, None).as_second())
                .collect();
            seconds.sort_unstable();
            seconds.dedup();
            assert_eq!(seconds.first(), Some(&(minutes * 48)));
            assert_eq!(seconds.last(), Some(&(minutes * 72)));
            assert!(seconds.len() > 20, "they spread");
        }
    }

    #[test]
    fn a_provider_may_ask_for_a_longer_wait_and_not_for_a_shorter() {
        let wait = |seconds| next_attempt(Timestamp::UNIX_EPOCH, 1, 200, Some(Duration::from_secs(seconds)));
        assert_eq!(wait(600).as_second(), 600);
        assert_eq!(wait(5).as_second(), 60);
    }

    #[test]
    fn content_is_kept_in_a_form_that_can_be_read_by_hand() {
        let json = |content| serde_json::to_string(&content).unwrap();
        assert_eq!(json(Content::Text("hi".into())), r#"{"text":"hi"}"#);
        let template = Content::Template {
            name: "welcome".into(),
            language: "ar".into(),
            parameters: vec!["x".into()],
        };
        assert_eq!(
            json(template),
            r#"{"template":{"name":"welcome","language":"ar","parameters":["x"]}}"#
        );
    }
}
