//! Works on verified webhooks: reads the body, and stores what it tells each company, in one
//! transaction a company (the review's Epic 3).
//!
//! Nothing that was verified is dropped, unless its company was deleted: whatever fails comes again, and
//! lies in the dead-letter queue in the end. Repetitions change nothing.

mod read;

use base64::{Engine, engine::general_purpose::STANDARD};
use cloud::{Bucket, Cloud};
use config::{Env, secret};
use db::Db;
use identity::closing;
use jiff::Timestamp;
use kernel::{Clock, Code, Error, Result, TenantId};
use messaging::account::Provider;
use messaging::inbound::{self, Event};
use providers::intake::{Webhook, WebhookBody};
use telemetry::{Metrics, Unit};
use worker::{Message, caller_for};

pub const NAME: &str = "inbound-message-processor";

/// A webhook of Meta's holds 3 MB at most.
const MAX_BODY: usize = 6 * 1024 * 1024;
/// Events of one company stored in one transaction. A webhook may hold thousands.
const BATCH: usize = 500;

/// What it works with.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub bucket: Bucket,
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
        let secrets = cloud
            .secrets(&env, &[secret::DATABASE, secret::DATA_KEYS])
            .await?;
        let db = Db::from_config(&secrets, Clock::system())?.with_after_commit(cloud.after_commit(&env)?);
        db.warm_up().await?;
        Ok(Self {
            db,
            bucket: cloud.bucket(setting("BUCKET")?),
        })
    }

    /// Stores one webhook.
    ///
    /// # Errors
    /// When any part of it could not be stored; what was stored is recognised the next time.
    pub async fn handle(&self, message: Message<Webhook>) -> Result<()> {
        let (webhook, request_id) = (message.payload, message.request_id);
        let stored = match &webhook.body {
            WebhookBody::Stored { object, .. } => Some(object.clone()),
            WebhookBody::Base64(_) => None,
        };
        let body = match self.body(webhook.body).await {
            // Only this function deletes bodies, once all of one is stored: it came twice.
            Err(error) if error.code() == Code::NotFound => {
                tracing::info!("the body was worked on before");
                return Ok(());
            }
            body => body.map_err(keep)?,
        };
        let sorted = read::sort(
            webhook.source,
            &body,
            &webhook.query,
            webhook.received_at,
            &webhook.accounts,
        )?;
        let provider = read::provider(webhook.source);

        let mut outcome = Ok(());
        for (tenant, events) in &sorted.by_tenant {
            let stored = self
                .store(*tenant, &request_id, provider, webhook.received_at, events)
                .await;
            outcome = outcome.and(stored.map_err(keep));
        }
        if !sorted.unresolved.is_empty() {
            count("WebhookUnresolved", sorted.unresolved.len(), self.db.clock());
            let unresolved = sorted.unresolved.iter();
            let kept =
                inbound::keep_unresolved(&self.db, provider, webhook.received_at, &request_id, unresolved)
                    .await;
            outcome = outcome.and(kept.map_err(keep));
        }
        if let (Ok(()), Some(object)) = (&outcome, stored) {
            // What it said is in the database, where a person's part of it can be erased.
            if let Err(error) = self.bucket.delete(&object).await {
                tracing::warn!(%error, "a webhook's body is left to the bucket's lifecycle");
            }
        }
        outcome
    }

    async fn store(
        &self,
        tenant: TenantId,
        request_id: &str,
        provider: Provider,
        received_at: Timestamp,
        events: &[Event],
    ) -> Result<()> {
        let caller = caller_for(tenant, NAME, request_id);
        for batch in events.chunks(BATCH) {
            let stored = async |tx| inbound::receive(&tx, provider, received_at, batch).await;
            let received = match self.db.write(&caller, stored).await {
                Err(_) if closing::is_over(&self.db, tenant).await? => {
                    tracing::info!(%tenant, "the company of a webhook was deleted, and so is the webhook");
                    return Ok(());
                }
                received => received?,
            };
            tracing::info!(%tenant, messages = received.messages, repeated = received.repeated, "webhook stored");
            count("MessagesReceived", received.messages, self.db.clock());
        }
        Ok(())
    }

    async fn body(&self, body: WebhookBody) -> Result<Vec<u8>> {
        match body {
            WebhookBody::Base64(text) => STANDARD
                .decode(text)
                .map_err(|_| Error::internal("the body in the queue is not base64")),
            WebhookBody::Stored { object, key } => key.open(self.bucket.get(&object, MAX_BODY).await?),
        }
    }
}

/// A failure that the worker would take for final would lose a webhook: it counts as ours.
fn keep(error: Error) -> Error {
    if error.is_transient() {
        error
    } else {
        Error::internal(error)
    }
}

fn count(name: &'static str, count: usize, clock: &Clock) {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    Metrics::of(NAME).metric(name, count, Unit::Count).emit(clock);
}
