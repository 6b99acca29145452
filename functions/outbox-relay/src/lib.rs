//! Carries what was committed into the queues: domain events, when woken and by a sweep each
//! minute; deliveries that are due and that nobody woke the sender for.
//!
//! An event is sent first and ticked off after, so it may be sent twice and never not at all.

use audit::outbox::{self, Wake};
use cloud::{Cloud, Outgoing, Queue};
use config::{Env, secret};
use db::Db;
use jiff::{SignedDuration, Timestamp};
use kernel::{Clock, Error, Result, TenantId};
use std::collections::BTreeMap;
use telemetry::{Metrics, Unit};
use uuid::Uuid;
use worker::{Message, Task, caller_for};

pub const NAME: &str = "outbox-relay";

/// How long a nudge may take before the sweep does its work.
const EVENT_GRACE: SignedDuration = SignedDuration::from_secs(30);
const DELIVERY_GRACE: SignedDuration = SignedDuration::from_secs(15);
const AT_MOST: i32 = 1000;

const UNPUBLISHED: &str = "SELECT tenant_id, id FROM app.unpublished_events($1, $2)";
const DUE: &str = "SELECT tenant_id, id FROM app.due_deliveries($1, $2)";

/// What it works with.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    /// Where domain events go.
    pub domain_events: Queue,
    /// Wakes outbound-message-sender.
    pub deliveries: Queue,
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
        let db = Db::from_config(&secrets, Clock::system())?;
        db.warm_up().await?;
        Ok(Self {
            db,
            domain_events: cloud.queue(setting("DOMAIN_EVENTS_QUEUE_URL")?),
            deliveries: cloud.queue(setting("OUTBOUND_MESSAGES_QUEUE_URL")?),
        })
    }

    /// Publishes the events that a message names.
    ///
    /// # Errors
    /// When the database or the queue is away.
    pub async fn handle(&self, message: Message<Wake>) -> Result<()> {
        let tenant = message
            .tenant
            .ok_or_else(|| Error::internal("a message about events names no tenant"))?;
        self.publish(tenant, &message.request_id, &message.payload.ids)
            .await
            .map(drop)
    }

    /// Publishes what was left behind and wakes the sender for what is due.
    ///
    /// # Errors
    /// When the database or a queue is away; the next sweep goes on.
    pub async fn sweep(&self, task: Task) -> Result<()> {
        let events = self.sweep_events(&task).await;
        self.sweep_deliveries(&task).await.and(events)
    }

    async fn sweep_events(&self, task: &Task) -> Result<()> {
        let mut outcome = Ok(());
        loop {
            let found = self.find(UNPUBLISHED, EVENT_GRACE).await?;
            let mut published = 0;
            for (tenant, ids) in &found {
                match self.publish(*tenant, &task.request_id, ids).await {
                    Ok(count) => published += count,
                    // One tenant's trouble does not hold up the others.
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            if published == 0 || !task.budget.may_start() {
                return outcome;
            }
            tracing::info!(published, "events left behind are published");
        }
    }

    async fn sweep_deliveries(&self, task: &Task) -> Result<()> {
        let found = self.find(DUE, DELIVERY_GRACE).await?;
        let wakes: Vec<_> = found
            .into_iter()
            .flat_map(|(tenant, ids)| ids.into_iter().map(move |id| (tenant, id)))
            .map(|(tenant, id)| {
                Outgoing::new(
                    Some(tenant),
                    &task.request_id,
                    notifications::delivery::Wake { id },
                )
            })
            .collect();
        let unsent = self.deliveries.send_batch(&wakes).await;
        self.count("DeliveriesWoken", wakes.len() - unsent.len());
        match unsent.first() {
            None => Ok(()),
            Some(unsent) => Err(Error::unavailable(format!(
                "deliveries not woken: {}",
                unsent.code
            ))),
        }
    }

    async fn find(&self, sql: &'static str, grace: SignedDuration) -> Result<BTreeMap<TenantId, Vec<Uuid>>> {
        let before: Timestamp = self
            .db
            .clock()
            .now()
            .saturating_sub(grace)
            .map_err(Error::internal)?;
        let mut by_tenant = BTreeMap::<_, Vec<_>>::new();
        for row in self.db.lookup(sql, &[&before, &AT_MOST]).await? {
            by_tenant
                .entry(TenantId(row.get(0)))
                .or_default()
                .push(row.get(1));
        }
        Ok(by_tenant)
    }

    /// Returns how many events were sent.
    async fn publish(&self, tenant: TenantId, request_id: &str, ids: &[Uuid]) -> Result<usize> {
        let caller = caller_for(tenant, NAME, request_id);
        let events = self
            .db
            .read(&caller, async |tx| outbox::unpublished(&tx, ids).await)
            .await?;
        if events.is_empty() {
            return Ok(0);
        }
        let mut sent: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let outgoing = events
            .into_iter()
            .map(|event| Outgoing::new(Some(tenant), event.request_id.clone(), event));
        let unsent = self.domain_events.send_batch(&outgoing.collect::<Vec<_>>()).await;
        for unsent in unsent.iter().rev() {
            sent.remove(unsent.index);
        }
        if !sent.is_empty() {
            self.db
                .write(&caller, async |tx| outbox::mark_published(&tx, &sent).await)
                .await?;
        }
        self.count("EventsPublished", sent.len());
        match unsent.first() {
            None => Ok(sent.len()),
            Some(unsent) => Err(Error::unavailable(format!("events not sent: {}", unsent.code))),
        }
    }

    fn count(&self, name: &'static str, count: usize) {
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        Metrics::of(NAME)
            .metric(name, count, Unit::Count)
            .emit(self.db.clock());
    }
}
