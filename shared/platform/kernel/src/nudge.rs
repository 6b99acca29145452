//! Work that a transaction leaves to a queue's consumer. The consumer finds it by itself within a
//! minute; a nudge after the commit only spares that wait.

use crate::Caller;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use uuid::Uuid;

/// One piece of work that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// A row of `event_outbox`, for outbox-relay.
    Event(Uuid),
    /// A row of `messages_outbox` that is due, for outbound-message-sender.
    Delivery(Uuid),
}

/// Wakes outbox-relay for events that were just committed; the tenant is the message's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventsWake {
    pub ids: Vec<Uuid>,
}

/// Wakes outbound-message-sender for a delivery that is due; the tenant is the message's.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct DeliveryWake {
    pub id: Uuid,
}

/// What a process does with the nudges of a transaction once it is committed. It never fails: what
/// it does not send, a sweeper finds.
pub type AfterCommit =
    Arc<dyn Fn(Caller, Vec<Nudge>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;
