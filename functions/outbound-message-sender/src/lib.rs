//! Sends what is due: takes a delivery, calls its provider once, records what came of it (S2.4).
//!
//! Taking and recording are two transactions with the provider's call between them. When this dies
//! in between, the delivery stays `sending` and is never sent again by itself; a status webhook or
//! the scheduler settles it.

mod provider;

use cloud::Cloud;
use config::{Env, GlobalAccounts, secret};
use db::{Db, Tx};
use kernel::{Caller, Clock, Error, Result};
use messaging::delivery::{self, Sending};
use notifications::delivery::Wake;
use providers::{Accepted, Endpoints, Http, SendError, SendErrorKind, Timeouts};
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Metrics, Unit};
use worker::Message;

pub const NAME: &str = "outbound-message-sender";

/// Waits between attempts to record what the provider said.
const RECORD_WAITS: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// What it works with.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub http: Http,
    pub global: Arc<GlobalAccounts>,
}

impl App {
    /// Reads settings and secrets and connects, while the function starts.
    ///
    /// # Errors
    /// When a setting or secret is missing or malformed.
    pub async fn from_environment() -> Result<Self> {
        let env = Env::from_process();
        let setting = |name| env.required(name).map_err(Error::internal);
        let cloud = Cloud::connect(&env)?;
        let wanted = [secret::DATABASE, secret::DATA_KEYS, secret::GLOBAL_ACCOUNTS];
        let secrets = cloud.secrets(&env, &wanted).await?;
        let db = Db::from_config(&secrets, Clock::system())?.with_after_commit(cloud.after_commit(&env)?);
        db.warm_up().await?;
        let url = |name, default| env.or(name, default).trim_end_matches('/').to_owned();
        let endpoints = Endpoints {
            meta_api_url: url("META_API_URL", "https://graph.facebook.com/v23.0"),
            twilio_api_url: url("TWILIO_API_URL", "https://api.twilio.com"),
            brevo_api_url: url("BREVO_API_URL", "https://api.brevo.com"),
            webhooks_url: setting("WEBHOOKS_URL")?.trim_end_matches('/').to_owned(),
        };
        Ok(Self {
            db,
            http: Http::new(endpoints, Timeouts::default()).map_err(Error::internal)?,
            global: Arc::new(secrets.parse(secret::GLOBAL_ACCOUNTS).map_err(Error::internal)?),
        })
    }

    /// Sends one delivery, if it is due and nobody else is sending it.
    ///
    /// # Errors
    /// When the database is away. A provider's refusal is recorded and is no error.
    pub async fn handle(&self, message: Message<Wake>) -> Result<()> {
        let (caller, id) = (message.caller(NAME)?, message.payload.id);
        let mut taken: Option<Sending> = None;
        let claim = async |tx: Tx| {
            taken = delivery::claim(&tx, id).await?;
            Ok(())
        };
        self.db.write(&caller, claim).await?;
        let Some(sending) = taken else {
            tracing::info!(delivery_id = %id, "not due, or taken by another");
            return Ok(());
        };
        let outcome = match provider::sender(&sending, &self.global) {
            Ok((account, from)) => {
                let outgoing = provider::message(&sending, from, message.trace)?;
                match account.send(&self.http, &outgoing).await {
                    Ok(accepted) => Ok((account.provider(), accepted)),
                    Err(error) => Err(Refusal::by(account.provider(), &error)),
                }
            }
            Err(code) => Err(Refusal {
                provider: sending
                    .account
                    .as_ref()
                    .map_or("none", |full| full.account.provider.as_str()),
                kind: SendErrorKind::Permanent,
                code,
                reason: "the account can't send any more".to_owned(),
                wait: None,
            }),
        };
        self.note(&sending, &outcome);
        self.record(&caller, &sending, outcome).await
    }

    /// Records the outcome, and tries hard: it is known to nobody else.
    async fn record(&self, caller: &Caller, sending: &Sending, outcome: Outcome) -> Result<()> {
        let mut waits = RECORD_WAITS.iter();
        loop {
            let recorded = self
                .db
                .write(caller, async |tx| record(&tx, sending, &outcome).await)
                .await;
            match (recorded, waits.next()) {
                (Err(error), Some(wait)) if error.is_transient() => tokio::time::sleep(*wait).await,
                (recorded, _) => return recorded,
            }
        }
    }

    fn note(&self, sending: &Sending, outcome: &Outcome) {
        let (delivery_id, attempt) = (sending.claimed.id, sending.claimed.attempt);
        let (provider, code) = match outcome {
            Ok((provider, _)) => (*provider, "OK"),
            Err(refusal) => (refusal.provider, refusal.code),
        };
        // The request that asked for the message, not the one that woke us: they differ after a retry.
        let cause = sending.claimed.request_id.as_deref().unwrap_or_default();
        match outcome {
            Ok(_) => tracing::info!(%delivery_id, provider, attempt, caused_by = cause, "sent"),
            Err(refusal) => {
                tracing::warn!(%delivery_id, provider, attempt, caused_by = cause, error = refusal.reason, "not sent");
            }
        }
        Metrics::of(NAME)
            .dimension("Provider", provider)
            .dimension("Code", code)
            .count("Sends")
            .metric("SendFailures", f64::from(u8::from(outcome.is_err())), Unit::Count)
            .emit(self.db.clock());
    }
}

/// Who took it and as what, or why not.
type Outcome = std::result::Result<(&'static str, Accepted), Refusal>;

/// Why a message was not (known to be) sent.
struct Refusal {
    /// Whose account it was.
    provider: &'static str,
    kind: SendErrorKind,
    code: &'static str,
    /// For the log.
    reason: String,
    wait: Option<Duration>,
}

impl Refusal {
    fn by(provider: &'static str, error: &SendError) -> Self {
        Self {
            provider,
            kind: error.kind,
            code: error.code,
            reason: error.to_string(),
            wait: error.retry_after,
        }
    }
}

async fn record(tx: &Tx, sending: &Sending, outcome: &Outcome) -> Result<()> {
    let id = sending.claimed.id;
    match outcome {
        Ok((provider, accepted)) => delivery::sent(tx, id, provider, &accepted.provider_message_id).await,
        Err(refusal) => match refusal.kind {
            SendErrorKind::Permanent => delivery::failed(tx, id, refusal.code).await,
            SendErrorKind::Transient => delivery::retry(tx, &sending.claimed, refusal.code, refusal.wait)
                .await
                .map(drop),
            SendErrorKind::Unknown => delivery::unknown(tx, id, refusal.code).await,
        },
    }
}
