//! Sending one message through whatever account it goes out of (S6).

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

use crate::http::{Answer, Http};
use crate::inbound::Channel;
use crate::{brevo, devstub, meta, twilio};
use kernel::Secret;

/// A message to a person.
#[derive(Clone)]
pub struct OutboundMessage {
    /// Our row's id. It travels with the message and comes back with its status.
    pub id: String,
    /// What it travels by.
    pub channel: Channel,
    /// Meta: the `phone_number_id`. Twilio: our number, E.164. Brevo: our address.
    pub from: String,
    /// The recipient: E.164 with `+`, or an e-mail address.
    pub to: String,
    /// What to say.
    pub content: Content,
    /// The request that asked for it; sent along, so that a provider's support can be asked about it.
    pub request_id: String,
    /// The X-Ray header to pass on.
    pub trace: Option<String>,
}

/// What to say.
#[derive(Clone)]
pub enum Content {
    /// Free text; on WhatsApp only inside the 24-hour window.
    Text(String),
    /// A template that the provider has approved.
    Template {
        /// Meta: the template's name. Twilio: its `ContentSid`.
        name: String,
        /// Locale, `en` or `ar_EG`. Twilio's templates have one each and need none.
        language: String,
        /// Values of `{{1}}`, `{{2}}`, …, in order.
        params: Vec<String>,
    },
    /// An e-mail, plain and as HTML.
    Email {
        /// One line.
        subject: String,
        /// Plain text.
        text: String,
        /// The same as a page.
        html: String,
    },
}

/// The provider took the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The provider's id: `wamid.…`, `SM…`, `devstub-…`.
    pub provider_message_id: String,
}

/// Whether another attempt is safe, and whether it makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendErrorKind {
    /// Refused, and will be again. Do not retry.
    Permanent,
    /// Not sent this time. Retry later.
    Transient,
    /// Perhaps sent, perhaps not: the request was written and no usable answer came. Do not
    /// resend; wait for a status or ask a person.
    Unknown,
}

/// Why a message was not (known to be) accepted. Holds codes only: providers' texts quote numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    /// What to do about it.
    pub kind: SendErrorKind,
    /// Our word for it: `WINDOW_CLOSED`, `UNDELIVERABLE`, `UNSUBSCRIBED`, `INVALID_RECIPIENT`,
    /// `RATE_LIMITED`, `AUTH`, `ACCOUNT`, `TEMPLATE`, `REJECTED`, `UNAVAILABLE`, `CONNECT`,
    /// `TIMEOUT`, `NO_ANSWER`, `BAD_ANSWER`.
    pub code: &'static str,
    /// The provider's own code.
    pub provider_code: Option<i64>,
    /// Status of the answer, if there was one.
    pub http_status: Option<u16>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
}

impl SendError {
    pub(crate) fn new(kind: SendErrorKind, code: &'static str) -> Self {
        Self {
            kind,
            code,
            provider_code: None,
            http_status: None,
            retry_after: None,
        }
    }

    /// An answer that refuses, or that says yes without saying to what.
    ///
    /// `known` is what the provider's own code means; where it means nothing to us, the HTTP
    /// status decides.
    pub(crate) fn answered(
        answer: &Answer,
        provider_code: Option<i64>,
        known: Option<(SendErrorKind, &'static str)>,
    ) -> Self {
        let (kind, code) = known.unwrap_or_else(|| by_status(answer.status));
        Self {
            kind,
            code,
            provider_code,
            http_status: Some(answer.status.as_u16()),
            retry_after: answer.retry_after,
        }
    }
}

fn by_status(status: StatusCode) -> (SendErrorKind, &'static str) {
    match status.as_u16() {
        200..300 => (SendErrorKind::Unknown, "BAD_ANSWER"),
        401 | 403 => (SendErrorKind::Permanent, "AUTH"),
        429 => (SendErrorKind::Transient, "RATE_LIMITED"),
        // A gateway gave up waiting: what stands behind it may have sent the message.
        504 => (SendErrorKind::Unknown, "TIMEOUT"),
        408 | 425 | 500.. => (SendErrorKind::Transient, "UNAVAILABLE"),
        _ => (SendErrorKind::Permanent, "REJECTED"),
    }
}

/// A provider and what it takes to send through one account of it.
#[derive(Debug, Clone)]
pub enum Account {
    /// WhatsApp Cloud API. The number is [`OutboundMessage::from`].
    Meta {
        /// System-user token.
        access_token: Secret,
    },
    /// Twilio, SMS and WhatsApp.
    Twilio {
        /// `AC…`
        account_sid: String,
        /// Also signs the webhooks.
        auth_token: Secret,
    },
    /// Brevo, e-mail.
    Brevo {
        /// `xkeysib-…`
        api_key: Secret,
        /// Shown beside our address.
        sender_name: String,
    },
    /// Accepts everything and sends nothing.
    DevStub,
}

impl Account {
    /// As stored: `meta`, `twilio`, `brevo`, `devstub`.
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Twilio { .. } => "twilio",
            Self::Brevo { .. } => "brevo",
            Self::DevStub => "devstub",
        }
    }

    /// Sends one message, once.
    ///
    /// # Errors
    /// [`SendError`]; its kind says whether to retry.
    pub async fn send(&self, http: &Http, message: &OutboundMessage) -> Result<Accepted, SendError> {
        match self {
            Self::Meta { access_token } => meta::send::send(http, access_token, message).await,
            Self::Twilio {
                account_sid,
                auth_token,
            } => twilio::send::send(http, account_sid, auth_token, message).await,
            Self::Brevo { api_key, sender_name } => brevo::send(http, api_key, sender_name, message).await,
            Self::DevStub => Ok(devstub::send(message)),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.code)?;
        if let Some(code) = self.provider_code {
            write!(f, ", provider code {code}")?;
        }
        if let Some(status) = self.http_status {
            write!(f, ", HTTP {status}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SendError {}

impl fmt::Debug for OutboundMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundMessage")
            .field("id", &self.id)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(***)",
            Self::Template { .. } => "Template(***)",
            Self::Email { .. } => "Email(***)",
        })
    }
}

#[cfg(test)]
mod tests;
