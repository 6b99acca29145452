//! Tenant transactions: what runs in one. How it begins is in `opening`, how it ends in `ending`.

mod ending;
mod opening;

use crate::error::{from_postgres, is_aborted};
use crate::used_keys::UsedKeys;
use crate::{Db, Params, answers};
use deadpool_postgres::Object;
use futures::TryStreamExt;
use kernel::{Caller, Clock, Error, Nudge, Result, Sealer, TenantId};
use opening::{Opening, origin_json};
use serde::{Serialize, de::DeserializeOwned};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::{Row, Statement};
use uuid::Uuid;

const ACT_AS: &str = "SELECT app.act_as($1)";

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
        return answers::replay(db, caller).await;
    }
    match outcome {
        Ok(value) => {
            let answer = caller
                .idempotency()
                .map(|_| answers::seal(&tx, &value))
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
