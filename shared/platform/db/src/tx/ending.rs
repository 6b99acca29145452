//! How a transaction ends.

use super::{FRESH, Inner, OVER, Tx};
use crate::answers;
use crate::error::from_postgres;
use deadpool_postgres::Object;
use futures::future::{join, join3};
use kernel::{Actor, Error, Result};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use uuid::Uuid;

pub(super) const TOUCH_API_KEY: &str = "SELECT app.touch_api_key($1, $2, $3)";

impl Tx {
    /// Ends the transaction without its changes.
    pub(super) async fn roll_back(&self) {
        let Ok(client) = self.client() else { return };
        if self.0.state.load(Ordering::Relaxed) == FRESH || client.batch_execute("ROLLBACK").await.is_ok() {
            self.0.state.store(OVER, Ordering::Relaxed);
        }
    }

    /// Ends a transaction that only read, without waiting to hear of it: what it read is known, and
    /// the next transaction on this connection queues up behind. That saves every read a trip.
    pub(super) async fn leave(&self) -> Result<()> {
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

    pub(super) async fn commit(&self, answer: Option<Vec<u8>>) -> Result<()> {
        if self.0.failed.load(Ordering::Relaxed) {
            // COMMIT would succeed and do nothing.
            self.roll_back().await;
            return Err(Error::internal("a statement failed and its error was dropped"));
        }
        let (client, caller) = (self.client()?, &self.0.caller);
        if self.0.state.load(Ordering::Relaxed) != FRESH {
            match (answer, caller.idempotency()) {
                (Some(answer), Some(idempotency)) => {
                    let (tenant, asker) = (caller.tenant().0, answers::asker(caller));
                    let store = client
                        .prepare_cached(answers::STORE)
                        .await
                        .map_err(from_postgres)?;
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
    pub(super) fn key_to_touch(&self) -> Option<Uuid> {
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
