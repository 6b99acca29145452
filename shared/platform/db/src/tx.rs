//! Tenant transactions.

use crate::error::{from_postgres, is_aborted, is_replay};
use crate::used_keys::UsedKeys;
use crate::{Db, Params};
use deadpool_postgres::Object;
use futures::TryStreamExt;
use futures::future::{OptionFuture, join, join3, join4};
use kernel::{Actor, Caller, Clock, Error, Nudge, Result, Sealer, TenantId};
use serde::{Serialize, de::DeserializeOwned};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio_postgres::{Row, Statement};
use uuid::Uuid;

const ENTER: &str = "SELECT app.enter($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const ACT_AS: &str = "SELECT app.act_as($1)";
const CLAIM: &str = "SELECT app.claim_idempotency_key($1, $2, $3, $4)";
const STORE_ANSWER: &str =
    "UPDATE idempotency_keys SET answer_sealed = $4 WHERE tenant_id = $1 AND user_id = $2 AND key = $3";
const STORED_ANSWER: &str = "SELECT answer_sealed FROM idempotency_keys WHERE tenant_id = $1 AND user_id = $2 AND key = $3 AND answer_sealed IS NOT NULL";

const TOUCH_API_KEY: &str = "SELECT app.touch_api_key($1, $2, $3)";

const FRESH: u8 = 0;
const OPENING: u8 = 1;
const OPEN: u8 = 2;
const REPLAY: u8 = 3;
const OVER: u8 = 4;

/// How long a statement waits for the one that opens the transaction to say why it failed.
const OPENING_PATIENCE: Duration = Duration::from_secs(1);

/// An open tenant transaction. It begins, and enters its tenant, together with its first
/// statement; statements started together (`try_join!`) travel together.
#[derive(Clone)]
pub struct Tx(Arc<Inner>, Option<Arc<Caller>>);

struct Inner {
    client: Option<Object>,
    caller: Caller,
    clock: Clock,
    sealer: Sealer,
    begin: &'static str,
    state: AtomicU8,
    failed: AtomicBool,
    nudges: Mutex<Vec<Nudge>>,
    used_keys: UsedKeys,
}

impl Tx {
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.0.caller.tenant()
    }

    #[must_use]
    pub fn caller(&self) -> &Caller {
        self.1.as_deref().unwrap_or(&self.0.caller)
    }

    /// The same transaction for what is done for another user of the company, who was found to be
    /// entitled to it. [`Tx::act`] makes them the actor.
    #[must_use]
    pub fn on_behalf_of(&self, user_id: Uuid) -> Self {
        Self(
            Arc::clone(&self.0),
            Some(Arc::new(self.caller().on_behalf_of(user_id))),
        )
    }

    /// Makes this caller the actor of what follows, in a transaction that goes on for several.
    /// What was done so far is audited now, and checked as at the commit.
    ///
    /// # Errors
    /// As the commit of what was done so far would fail.
    pub async fn act(&self) -> Result<()> {
        self.execute(ACT_AS, &[&origin_json(self.caller())])
            .await
            .map(drop)
    }

    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    /// Passes on work that this transaction leaves to a queue's consumer, once it is committed.
    pub fn nudge(&self, nudge: Nudge) {
        let mut nudges = self.0.nudges.lock().unwrap_or_else(PoisonError::into_inner);
        nudges.push(nudge);
    }

    /// # Errors
    /// As the statement fails; see [`crate::from_postgres`].
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        Ok(self.run(sql, params).await?.0)
    }

    /// # Errors
    /// As [`Tx::query`]; internal when there is no row.
    pub async fn query_one(&self, sql: &str, params: Params<'_>) -> Result<Row> {
        self.query_opt(sql, params)
            .await?
            .ok_or_else(|| Error::internal("a statement that returns a row returned none"))
    }

    /// # Errors
    /// As [`Tx::query`].
    pub async fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement for its effect; returns how many rows it changed.
    ///
    /// # Errors
    /// As [`Tx::query`].
    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        Ok(self.run(sql, params).await?.1)
    }

    async fn run(&self, sql: &str, params: Params<'_>) -> Result<(Vec<Row>, u64)> {
        let outcome = self.send(sql, params).await;
        if outcome.is_err() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn client(&self) -> Result<&Object> {
        let over = self.0.state.load(Ordering::Relaxed) == OVER;
        self.0
            .client
            .as_ref()
            .filter(|_| !over)
            .ok_or_else(|| Error::internal("the transaction is over"))
    }

    async fn send(&self, sql: &str, params: Params<'_>) -> Result<(Vec<Row>, u64)> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await.map_err(from_postgres)?;
        if self.0.state.load(Ordering::Relaxed) == FRESH {
            let opening = Opening::prepare(client, self.key_to_touch().is_some())
                .await
                .map_err(from_postgres)?;
            // Of statements started together, the first to come here opens; nothing is awaited
            // between this and the sending, so the others queue up behind it.
            if self
                .0
                .state
                .compare_exchange(FRESH, OPENING, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                let outcome = self.open_with(client, &opening, &statement, params).await;
                let _ = self
                    .0
                    .state
                    .compare_exchange(OPENING, OPEN, Ordering::Relaxed, Ordering::Relaxed);
                return outcome;
            }
        }
        let outcome = answer_of(client, &statement, params).await;
        if outcome.as_ref().is_err_and(is_aborted) && self.0.state.load(Ordering::Relaxed) == OPENING {
            // Started together with the statement that opens: that one knows why, and ends the wait.
            tokio::time::sleep(OPENING_PATIENCE).await;
        }
        outcome.map_err(from_postgres)
    }

    /// BEGIN, enter, the claim of the idempotency key and the first statement, in one trip. They
    /// are polled in this order, which is the order they are sent in.
    async fn open_with(
        &self,
        client: &Object,
        opening: &Opening,
        first: &Statement,
        params: Params<'_>,
    ) -> Result<(Vec<Row>, u64)> {
        let caller = &self.0.caller;
        let idempotency = caller.idempotency().filter(|_| self.0.begin == "BEGIN");
        let now = self.0.clock.now();
        let origin = origin_json(caller);
        let permission = caller.permission().map(kernel::Permission::code);
        let (user, session) = (caller.user_id(), caller.session_id());
        let feature = caller.feature().map(kernel::Feature::code);
        let (key_id, key_hash) = match caller.actor() {
            Actor::ApiKey { key_id, secret_hash } => (Some(key_id), Some(secret_hash.as_slice())),
            Actor::User { .. } | Actor::System { .. } | Actor::Requester { .. } => (None, None),
        };
        let enter_params: [&(dyn crate::ToSql + Sync); 9] = [
            &caller.tenant().0,
            &user,
            &session,
            &key_id,
            &key_hash,
            &permission,
            &feature,
            &origin,
            &now,
        ];
        let key = idempotency.map(|idempotency| idempotency.key.as_str());
        let fingerprint = idempotency.map(|idempotency| idempotency.fingerprint.as_slice());
        let asker = asker(caller);
        let claim_params: [&(dyn crate::ToSql + Sync); 4] = [&asker, &key, &fingerprint, &now];

        let claiming: OptionFuture<_> = idempotency
            .map(|_| client.query(&opening.claim, &claim_params))
            .into();
        let (begun, entered, claimed, rows) = join4(
            client.batch_execute(self.0.begin),
            client.query(&opening.enter, &enter_params),
            claiming,
            answer_of(client, first, params),
        )
        .await;
        begun.map_err(from_postgres)?;
        entered.map_err(|error| with_missing(from_postgres(error), permission, feature))?;
        if let Some(Err(error)) = claimed {
            if is_replay(&error) {
                self.0.state.store(REPLAY, Ordering::Relaxed);
            }
            return Err(from_postgres(error));
        }
        rows.map_err(from_postgres)
    }

    /// Ends the transaction without its changes.
    async fn roll_back(&self) {
        let Ok(client) = self.client() else { return };
        if self.0.state.load(Ordering::Relaxed) == FRESH || client.batch_execute("ROLLBACK").await.is_ok() {
            self.0.state.store(OVER, Ordering::Relaxed);
        }
    }

    /// Ends a transaction that only read, without waiting to hear of it: what it read is known, and
    /// the next transaction on this connection queues up behind. That saves every read a trip.
    async fn leave(&self) -> Result<()> {
        let quick = self.0.state.load(Ordering::Relaxed) != FRESH && self.key_to_touch().is_none();
        if self.0.failed.load(Ordering::Relaxed) || !quick {
            return self.commit(None).await;
        }
        let mut commit = pin!(self.client()?.batch_execute("COMMIT"));
        // Polled once it is sent; a connection that refuses is closed when this is dropped.
        if let Poll::Ready(Err(error)) = futures::poll!(commit.as_mut()) {
            return Err(from_postgres(error));
        }
        // The connection's own task writes it to the socket, before the answer can end the process's turn.
        tokio::task::yield_now().await;
        self.0.state.store(OVER, Ordering::Relaxed);
        Ok(())
    }

    async fn commit(&self, answer: Option<Vec<u8>>) -> Result<()> {
        if self.0.failed.load(Ordering::Relaxed) {
            // COMMIT would succeed and do nothing.
            self.roll_back().await;
            return Err(Error::internal("a statement failed and its error was dropped"));
        }
        let (client, caller) = (self.client()?, &self.0.caller);
        if self.0.state.load(Ordering::Relaxed) != FRESH {
            match (answer, caller.idempotency()) {
                (Some(answer), Some(idempotency)) => {
                    let (tenant, asker) = (caller.tenant().0, asker(caller));
                    let store = client.prepare_cached(STORE_ANSWER).await.map_err(from_postgres)?;
                    let params: [&(dyn crate::ToSql + Sync); 4] =
                        [&tenant, &asker, &idempotency.key, &answer];
                    let (stored, committed, ()) = join3(
                        client.execute(&store, &params),
                        client.batch_execute("COMMIT"),
                        self.touch_key(client),
                    )
                    .await;
                    stored.map_err(from_postgres)?;
                    committed
                }
                _ => {
                    join(client.batch_execute("COMMIT"), self.touch_key(client))
                        .await
                        .0
                }
            }
            .map_err(from_postgres)?;
        }
        self.0.state.store(OVER, Ordering::Relaxed);
        Ok(())
    }

    /// The caller's API key, when its use is to be noted.
    fn key_to_touch(&self) -> Option<Uuid> {
        match self.0.caller.actor() {
            Actor::ApiKey { key_id, .. } => {
                Some(*key_id).filter(|key| self.0.used_keys.is_due(*key, self.0.clock.now()))
            }
            Actor::User { .. } | Actor::Requester { .. } | Actor::System { .. } => None,
        }
    }

    /// Notes the use of an API key in the trip that carries the COMMIT, as a statement of its own
    /// behind it: the statement is prepared already, so it is sent as soon as this is polled. A
    /// use that could not be noted fails nobody.
    async fn touch_key(&self, client: &Object) {
        let Some(key) = self.key_to_touch() else { return };
        let (tenant, now) = (self.tenant().0, self.0.clock.now());
        self.0.used_keys.note(key, now);
        let noted = match client.prepare_cached(TOUCH_API_KEY).await {
            Ok(touch) => client.execute(&touch, &[&tenant, &key, &now]).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(error = %from_postgres(error), "the use of an API key was not noted");
        }
    }
}

/// Whose idempotency key it is: the user's or the API key's.
fn asker(caller: &Caller) -> Option<Uuid> {
    match caller.actor() {
        Actor::User { user_id, .. } => Some(*user_id),
        Actor::ApiKey { key_id, .. } => Some(*key_id),
        Actor::Requester { .. } | Actor::System { .. } => None,
    }
}

/// The rows of a statement, and how many it changed. The statement is sent when this is first
/// polled.
async fn answer_of(
    client: &Object,
    statement: &Statement,
    params: Params<'_>,
) -> Result<(Vec<Row>, u64), tokio_postgres::Error> {
    let mut stream = pin!(client.query_raw(statement, params.iter().copied()).await?);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        rows.push(row);
    }
    Ok((rows, stream.rows_affected().unwrap_or(0)))
}

/// The statements that open a transaction, prepared.
struct Opening {
    enter: Statement,
    claim: Statement,
}

impl Opening {
    async fn prepare(client: &Object, touching: bool) -> Result<Self, tokio_postgres::Error> {
        let touch: OptionFuture<_> = touching.then(|| client.prepare_cached(TOUCH_API_KEY)).into();
        let (enter, claim, touch) =
            join3(client.prepare_cached(ENTER), client.prepare_cached(CLAIM), touch).await;
        let (enter, claim) = (enter?, claim?);
        touch.transpose()?;
        Ok(Self { enter, claim })
    }
}

impl Drop for Inner {
    /// A transaction that did not end (the client went away, the rollback failed) leaves a
    /// connection that nobody may use: closing it makes Postgres roll back.
    fn drop(&mut self) {
        if !matches!(*self.state.get_mut(), FRESH | OVER)
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

pub(crate) async fn read<T>(db: &Db, caller: &Caller, work: impl AsyncFnOnce(Tx) -> Result<T>) -> Result<T> {
    let tx = start(db, caller, "BEGIN READ ONLY").await?;
    match work(tx.clone()).await {
        Ok(value) => tx.leave().await.map(|()| value),
        Err(error) => {
            tx.roll_back().await;
            Err(error)
        }
    }
}

pub(crate) async fn write<T: Serialize + DeserializeOwned>(
    db: &Db,
    caller: &Caller,
    work: impl AsyncFnOnce(Tx) -> Result<T>,
) -> Result<T> {
    let tx = start(db, caller, "BEGIN").await?;
    let outcome = work(tx.clone()).await;
    if tx.0.state.load(Ordering::Relaxed) == REPLAY {
        tx.roll_back().await;
        drop(tx);
        return replay(db, caller).await;
    }
    match outcome {
        Ok(value) => {
            let answer = caller
                .idempotency()
                .map(|_| seal_answer(&tx, &value))
                .transpose()?;
            tx.commit(answer).await?;
            let nudges = std::mem::take(&mut *tx.0.nudges.lock().unwrap_or_else(PoisonError::into_inner));
            // The connection goes back to the pool before anybody waits for a queue.
            drop(tx);
            db.nudge(caller, nudges).await;
            Ok(value)
        }
        Err(error) => {
            tx.roll_back().await;
            Err(error)
        }
    }
}

async fn start(db: &Db, caller: &Caller, begin: &'static str) -> Result<Tx> {
    let inner = Inner {
        client: Some(db.connection().await?),
        caller: caller.clone(),
        clock: db.clock().clone(),
        sealer: db.sealer().clone(),
        begin,
        state: AtomicU8::new(FRESH),
        failed: AtomicBool::new(false),
        nudges: Mutex::default(),
        used_keys: db.used_keys().clone(),
    };
    Ok(Tx(Arc::new(inner), None))
}

pub(crate) fn answer_context(tenant: TenantId) -> String {
    format!("{tenant}/idempotency_keys.answer")
}

fn seal_answer<T: Serialize>(tx: &Tx, value: &T) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(value).map_err(Error::internal)?;
    Ok(tx.sealer().seal(&answer_context(tx.tenant()), &json)?.0)
}

async fn replay<T: DeserializeOwned>(db: &Db, caller: &Caller) -> Result<T> {
    let key = caller.idempotency().map(|idempotency| idempotency.key.clone());
    let stored = read(db, caller, async |tx| {
        tx.query_opt(STORED_ANSWER, &[&caller.tenant().0, &asker(caller), &key])
            .await
    });
    let stored = stored
        .await?
        .ok_or_else(|| Error::internal("the stored answer is gone"))?;
    let json = db
        .sealer()
        .open(&answer_context(caller.tenant()), stored.get(0))?;
    if let Some(idempotency) = caller.idempotency() {
        idempotency.mark_replayed();
    }
    // Kept by an earlier version of the system, whose answer looked different.
    serde_json::from_slice(&json).map_err(|_| {
        Error::new(
            kernel::Code::Conflict,
            "This request was carried out before, and its answer can't be repeated any more; read the record instead.",
        )
    })
}

fn origin_json(caller: &Caller) -> String {
    let origin = caller.origin();
    let (actor, user_id) = match caller.actor() {
        Actor::User { user_id, .. } | Actor::Requester { user_id } => ("user".to_owned(), Some(user_id)),
        Actor::ApiKey { key_id, .. } => (format!("api_key:{key_id}"), None),
        Actor::System { name } => ((*name).to_owned(), None),
    };
    serde_json::json!({
        "actor": actor, "user_id": user_id, "request_id": origin.request_id, "ip": origin.ip, "user_agent": origin.user_agent,
    })
    .to_string()
}

/// Says which permission or feature is missing.
fn with_missing(error: Error, permission: Option<&str>, feature: Option<&str>) -> Error {
    match (error.code(), permission, feature) {
        (kernel::Code::Forbidden, Some(permission), _) => {
            error.with_details(serde_json::json!({ "permission": permission }))
        }
        (kernel::Code::PlanRequired, _, Some(feature)) if error.details().is_none() => {
            error.with_details(serde_json::json!({ "feature": feature }))
        }
        _ => error,
    }
}
