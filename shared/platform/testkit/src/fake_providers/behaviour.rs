//! How a provider should behave.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::call::{Answer, Provider};
use super::{brevo, infobip, meta, twilio};

/// The body of `POST /behaviour`: `{"provider":"meta","mode":"rate_limited","times":3}`.
///
/// `mode` and `status_webhooks` are set apart: what is left out stays as it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// Whose.
    pub provider: Provider,
    /// What happens to sends.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// To how many, after which it is `ok` again; without it, to all.
    #[serde(default)]
    pub times: Option<u32>,
    /// HTTP status of `fail` (500), `reject` (400) and `rate_limited` (429).
    #[serde(default)]
    pub status: Option<u16>,
    /// The provider's error code in them.
    #[serde(default)]
    pub code: Option<i64>,
    /// How long `slow` (2 s) and `timeout` (60 s) take.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// `Retry-After` of `rate_limited` (1).
    #[serde(default)]
    pub retry_after_s: Option<u64>,
    /// Statuses to post back after each accepted send; of Meta and Twilio.
    #[serde(default)]
    pub status_webhooks: Option<StatusWebhooks>,
}

/// What happens to a send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is accepted.
    #[default]
    Ok,
    /// Answered with a server error.
    Fail,
    /// Accepted, after a while.
    Slow,
    /// Not taken and never answered: the connection closes after a long while.
    Timeout,
    /// Answered with 429.
    RateLimited,
    /// Refused for good.
    Reject,
    /// Taken, with statuses and all, and the connection closed in place of the answer.
    AcceptThenDrop,
}

/// Statuses that follow an accepted send.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusWebhooks {
    /// Where to. Of Twilio optional: the send's own `StatusCallback` then; where both are given,
    /// posted to this one and signed for that one, as behind a proxy.
    #[serde(default)]
    pub url: Option<String>,
    /// What signs them: Meta's app secret, Twilio's auth token.
    #[serde(alias = "auth_token")]
    pub app_secret: String,
    /// Meta: in place of the number that sent.
    #[serde(default)]
    pub phone_number_id: Option<String>,
    /// In this order: `sent`, `delivered`, `read`, `failed`.
    pub sequence: Vec<String>,
    /// Before each of them; 50 unless given.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// Further request headers, such as `host`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

impl Behaviour {
    /// Everything is accepted, nothing follows.
    pub fn ok(provider: Provider) -> Self {
        Self {
            provider,
            mode: None,
            times: None,
            status: None,
            code: None,
            delay_ms: None,
            retry_after_s: None,
            status_webhooks: None,
        }
    }

    /// Sends go this way, until told otherwise.
    pub fn mode(provider: Provider, mode: Mode) -> Self {
        Self {
            mode: Some(mode),
            ..Self::ok(provider)
        }
    }

    pub(super) fn delay(&self, default: Duration) -> Duration {
        self.delay_ms.map_or(default, Duration::from_millis)
    }

    /// The answer of the modes that refuse.
    pub(super) fn refusal(&self, provider: Provider) -> Option<Answer> {
        let default = match self.mode? {
            Mode::Fail => StatusCode::INTERNAL_SERVER_ERROR,
            Mode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Mode::Reject => StatusCode::BAD_REQUEST,
            Mode::Ok | Mode::Slow | Mode::Timeout | Mode::AcceptThenDrop => return None,
        };
        let status = self
            .status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(default);
        let mut answer = match provider {
            Provider::Meta => meta::error(
                status,
                self.code.unwrap_or_else(|| meta::code(default)),
                "As told",
            ),
            Provider::Twilio => twilio::error(
                status,
                self.code.unwrap_or_else(|| twilio::code(default)),
                "As told",
            ),
            Provider::Infobip => infobip::error(status, "As told"),
            Provider::Brevo => brevo::error(status, "As told"),
        };
        if default == StatusCode::TOO_MANY_REQUESTS {
            answer.retry_after_s = Some(self.retry_after_s.unwrap_or(1));
        }
        Some(answer)
    }
}
