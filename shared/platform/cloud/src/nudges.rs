//! Nudges on their way to the queues that they are for.

use crate::{Cloud, Outgoing, Queue};
use config::Env;
use futures::future::join;
use kernel::nudge::{AfterCommit, DeliveryWake, EventsWake, Nudge};
use kernel::{Caller, Error, Result};
use std::sync::Arc;

impl Cloud {
    /// Sends nudges to `EVENT_OUTBOX_QUEUE_URL` and `OUTBOUND_MESSAGES_QUEUE_URL`.
    ///
    /// # Errors
    /// When a setting is missing.
    pub fn after_commit(&self, env: &Env) -> Result<AfterCommit> {
        let queue = |name| Ok::<_, Error>(self.queue(env.required(name).map_err(Error::internal)?));
        let events = queue("EVENT_OUTBOX_QUEUE_URL")?;
        let deliveries = queue("OUTBOUND_MESSAGES_QUEUE_URL")?;
        Ok(Arc::new(move |caller, nudges| {
            let (events, deliveries) = (events.clone(), deliveries.clone());
            Box::pin(async move { send(&events, &deliveries, &caller, &nudges).await })
        }))
    }
}

async fn send(events: &Queue, deliveries: &Queue, caller: &Caller, nudges: &[Nudge]) {
    let mut ids = Vec::new();
    let mut wakes = Vec::new();
    for nudge in nudges {
        match nudge {
            Nudge::Event(id) => ids.push(*id),
            Nudge::Delivery(id) => wakes.push(Outgoing::of(caller, DeliveryWake { id: *id })),
        }
    }
    let event_wakes: Vec<_> = ids
        .chunks(100)
        .map(|ids| Outgoing::of(caller, EventsWake { ids: ids.to_vec() }))
        .collect();
    join(events.nudge(&event_wakes), deliveries.nudge(&wakes)).await;
}
