//! The HTTP client that all providers share, and one exchange over it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;

use crate::ProviderError;
use crate::escape::safe;
use crate::send::{OutboundMessage, SendError, SendErrorKind};

/// Answers to a send are a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Where the providers are, and where they reach us. No trailing slashes.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// `https://graph.facebook.com/v23.0`
    pub meta_api_url: String,
    /// `https://api.twilio.com`
    pub twilio_api_url: String,
    /// `https://api.brevo.com`
    pub brevo_api_url: String,
    /// Public base URL of the webhooks function.
    pub webhooks_url: String,
}

/// How long a provider may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until connected, TLS included.
    pub connect: Duration,
    /// For the whole exchange.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(10),
        }
    }
}

/// The shared client. Cheap to clone; build it once, during INIT.
#[derive(Debug, Clone)]
pub struct Http {
    pub(crate) client: Client,
    pub(crate) endpoints: Endpoints,
}

impl Http {
    /// A request that sends `message`, with what it is correlated by.
    pub(crate) fn post(&self, url: String, message: &OutboundMessage) -> RequestBuilder {
        let request = self.client.post(url).header("x-request-id", &message.request_id);
        match &message.trace {
            Some(trace) => request.header("x-amzn-trace-id", trace),
            None => request,
        }
    }

    /// Builds the client: rustls on aws-lc-rs with the webpki roots, HTTP/1.1, no redirects (they
    /// would carry credentials elsewhere), no proxy from the environment.
    ///
    /// # Errors
    /// [`ProviderError::Client`].
    pub fn new(endpoints: Endpoints, timeouts: Timeouts) -> Result<Self, ProviderError> {
        Ok(Self {
            client: client(timeouts)?,
            endpoints,
        })
    }
}

/// The client alone, for what is no provider.
///
/// # Errors
/// [`ProviderError::Client`].
pub fn client(timeouts: Timeouts) -> Result<Client, ProviderError> {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ProviderError::Client)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.total)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent("m3corecrm")
        .build()
        .map_err(|_| ProviderError::Client)
}

/// What a provider answered.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<Duration>,
    /// `None` when it was cut off, too long or not JSON.
    pub body: Option<Value>,
}

/// Sends a request and reads its answer.
///
/// # Errors
/// Only where there is no answer: [`SendErrorKind::Transient`] before a connection stood,
/// [`SendErrorKind::Unknown`] after.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<Answer, SendError> {
    let response = request.send().await.map_err(|error| no_answer(&error))?;
    let status = response.status();
    let retry_after = retry_after(&response);
    let body = read(response)
        .await
        .and_then(|bytes| serde_json::from_str(&safe(&bytes)).ok());
    Ok(Answer {
        status,
        retry_after,
        body,
    })
}

fn no_answer(error: &reqwest::Error) -> SendError {
    if error.is_connect() {
        SendError::new(SendErrorKind::Transient, "CONNECT")
    } else if error.is_builder() {
        SendError::new(SendErrorKind::Permanent, "REJECTED")
    } else if error.is_timeout() {
        SendError::new(SendErrorKind::Unknown, "TIMEOUT")
    } else {
        SendError::new(SendErrorKind::Unknown, "NO_ANSWER")
    }
}

pub(crate) async fn read(mut response: Response) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return None;
        }
        bytes.extend_from_slice(&chunk);
    }
    Some(bytes)
}

/// `Retry-After`, or Brevo's name for it, in seconds. The form with a date is not used by these
/// providers.
fn retry_after(response: &Response) -> Option<Duration> {
    let headers = response.headers();
    let seconds = headers
        .get("retry-after")
        .or_else(|| headers.get("x-sib-ratelimit-reset"))?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
