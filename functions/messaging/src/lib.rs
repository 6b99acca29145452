//! `/v1/whatsapp-accounts` and `/v1/conversations`: the accounts that a company connects, what
//! people write to them, and the answers (the review's messaging module).

pub mod account;
pub mod conversation;
mod edge;
pub mod message;

use axum::extract::FromRef;
use cloud::{Accounts, Cloud, Outgoing, Queue};
use config::{Env, secret};
use kernel::{Caller, Clock, Error, Permission, Result};
use std::sync::Arc;
use telemetry::{Metrics, Unit};
use uuid::Uuid;
use web::{Routes, Web};

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub db: db::Db,
    pub web: Web,
    /// What the webhook edge knows of accounts.
    pub accounts: Arc<Accounts>,
    /// Wakes outbound-message-sender.
    pub deliveries: Queue,
    /// Wakes outbox-relay.
    pub events: Queue,
}

#[must_use]
pub fn routes() -> Routes<App> {
    use Permission::{MessagingAccountsManage as Manage, MessagingRead, MessagingSend};
    Routes::new("messaging")
        .get("/v1/whatsapp-accounts", Manage, account::list)
        .post("/v1/whatsapp-accounts", Manage, account::create)
        .get("/v1/whatsapp-accounts/{id}", Manage, account::get)
        .patch("/v1/whatsapp-accounts/{id}", Manage, account::update)
        .delete("/v1/whatsapp-accounts/{id}", Manage, account::delete)
        .get("/v1/conversations", MessagingRead, conversation::list)
        .get("/v1/conversations/{id}", MessagingRead, conversation::get)
        .patch("/v1/conversations/{id}", MessagingRead, conversation::update)
        .get("/v1/conversations/{id}/messages", MessagingRead, message::list)
        .post("/v1/conversations/{id}/messages", MessagingSend, message::reply)
}

impl App {
    /// Reads settings and secrets and connects, while the function starts.
    ///
    /// # Errors
    /// When a setting or secret is missing or malformed.
    pub async fn from_environment() -> Result<Self> {
        let (env, clock) = (Env::from_process(), Clock::system());
        let setting = |name| env.required(name).map_err(Error::internal);
        let cloud = Cloud::connect(&env)?;
        let wanted = [
            secret::DATABASE,
            secret::TOKEN_KEYS,
            secret::DATA_KEYS,
            secret::EDGE_KEYS,
        ];
        let secrets = cloud.secrets(&env, &wanted).await?;
        let edge = secrets.sealer(secret::EDGE_KEYS).map_err(Error::internal)?;
        let db = db::Db::from_config(&secrets, clock.clone())?;
        db.warm_up().await;
        Ok(Self {
            db,
            web: Web::from_config(&env, &secrets, clock.clone())?,
            accounts: Arc::new(cloud.accounts(setting("STATE_TABLE")?, edge, clock)),
            deliveries: cloud.queue(setting("OUTBOUND_MESSAGES_QUEUE_URL")?),
            events: cloud.queue(setting("EVENT_OUTBOX_QUEUE_URL")?),
        })
    }

    /// Wakes the relay for events that were committed. It would find them by itself.
    async fn wake_relay(&self, caller: &Caller, ids: Vec<Uuid>) {
        let wake = Outgoing::of(caller, audit::outbox::Wake { ids });
        self.note_unsent(self.events.nudge(&[wake]).await);
    }

    /// Wakes the sender for a delivery that was committed. The relay's sweep would find it.
    async fn wake_sender(&self, caller: &Caller, id: Uuid) {
        let wake = Outgoing::of(caller, notifications::delivery::Wake { id });
        self.note_unsent(self.deliveries.nudge(&[wake]).await);
    }

    fn note_unsent(&self, count: usize) {
        if count > 0 {
            let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            Metrics::of("messaging")
                .metric("NudgesUnsent", count, Unit::Count)
                .emit(self.web.clock());
        }
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}
