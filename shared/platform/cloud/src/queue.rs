//! SQS, sending.

use crate::error::from_sdk;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, MessageSystemAttributeNameForSends as SystemAttribute,
    MessageSystemAttributeValue as SystemValue, SendMessageBatchRequestEntry as Entry,
};
use futures::{StreamExt, stream};
use kernel::{Caller, Code, Envelope, Error, Result, TenantId};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// What one message, and one batch, may hold.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
const MAX_ENTRIES: usize = 10;
const MAX_DELAY: Duration = Duration::from_mins(15);
/// Batches of one call under way at once.
const IN_FLIGHT: usize = 4;
/// How often an entry is offered that SQS refused for no fault of ours.
const OFFERS: u32 = 3;
/// How long a request may wait to wake a worker that finds its work anyway.
const NUDGE_PATIENCE: Duration = Duration::from_secs(1);

/// A message to send. The payload travels in an [`Envelope`].
#[derive(Clone, Debug)]
pub struct Outgoing<T> {
    envelope: Envelope<T>,
    trace: Option<String>,
    delay_secs: i32,
}

impl<T> Outgoing<T> {
    /// The tenant is also the message group, so that one tenant's flood does not starve another
    /// (fair queues).
    pub fn new(tenant: Option<TenantId>, request_id: impl Into<String>, payload: T) -> Self {
        Self {
            envelope: Envelope::new(tenant, request_id, payload),
            trace: None,
            delay_secs: 0,
        }
    }

    /// A message about the caller's tenant, caused by the caller's request and traced with it.
    pub fn of(caller: &Caller, payload: T) -> Self {
        let origin = caller.origin();
        Self::new(Some(caller.tenant()), &origin.request_id, payload).with_trace(origin.trace.clone())
    }

    /// The X-Ray header to pass on.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<String>) -> Self {
        self.trace = trace;
        self
    }

    /// Hides the message for a time, of at most 15 minutes.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay_secs = i32::try_from(delay.min(MAX_DELAY).as_secs()).unwrap_or(0);
        self
    }
}

/// A message of a batch that SQS did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// Its place among the messages given.
    pub index: usize,
    /// Whether sending the same again can't help.
    pub permanent: bool,
    pub code: String,
}

/// One queue.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    pub(crate) fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends one message. 413 when it is larger than [`MAX_MESSAGE_BYTES`].
    pub async fn send<T: Serialize>(&self, message: &Outgoing<T>) -> Result<()> {
        let body = encode(message)?;
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .set_message_group_id(group(message))
            .set_message_system_attributes(trace(message)?);
        if message.delay_secs > 0 {
            request = request.delay_seconds(message.delay_secs);
        }
        request
            .send()
            .await
            .map_err(|error| from_sdk("sqs.SendMessage", &error))?;
        Ok(())
    }

    /// Sends any number of messages, in as few calls as they fit in, and gives those that could not
    /// be sent, in order. What SQS refused for a reason of its own was offered to it again.
    #[must_use = "what was not sent is lost unless the caller keeps it"]
    pub async fn send_batch<T: Serialize>(&self, messages: &[Outgoing<T>]) -> Vec<Unsent> {
        let (batches, mut unsent) = batches(messages);
        let sends = stream::iter(batches.into_iter().map(|batch| self.offer(batch)));
        unsent.extend(sends.buffer_unordered(IN_FLIGHT).concat().await);
        unsent.sort_by_key(|unsent| unsent.index);
        unsent
    }

    /// Wakes a worker for work that is already committed. Never fails the request: what is not sent
    /// within a second a sweeper finds. Gives how many were not sent, for a metric.
    pub async fn nudge<T: Serialize>(&self, messages: &[Outgoing<T>]) -> usize {
        if messages.is_empty() {
            return 0;
        }
        let unsent = tokio::time::timeout(NUDGE_PATIENCE, self.send_batch(messages)).await;
        let (count, code) = match &unsent {
            Ok(unsent) => (
                unsent.len(),
                unsent.first().map_or("", |unsent| unsent.code.as_str()),
            ),
            Err(_) => (messages.len(), "timed out"),
        };
        if count > 0 {
            tracing::warn!(count, code, "nudge not sent; the sweeper will find the work");
        }
        count
    }

    async fn offer(&self, batch: Vec<Entry>) -> Vec<Unsent> {
        let mut pending = batch;
        let mut unsent = Vec::new();
        let mut code = String::new();
        for offer in 0..OFFERS {
            if offer > 0 {
                tokio::time::sleep(Duration::from_millis(50 << offer)).await;
            }
            let request = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(pending.clone()));
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) => {
                    let error = from_sdk("sqs.SendMessageBatch", &error);
                    let text =
                        std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
                    unsent.extend(
                        pending
                            .iter()
                            .map(|entry| not_sent(entry.id(), !error.is_transient(), &text)),
                    );
                    return unsent;
                }
            };
            let (refused, passing): (Vec<_>, Vec<_>) = answer
                .failed
                .into_iter()
                .partition(BatchResultErrorEntry::sender_fault);
            unsent.extend(
                refused
                    .iter()
                    .map(|failed| not_sent(failed.id(), true, failed.code())),
            );
            pending.retain(|entry| passing.iter().any(|failed| failed.id() == entry.id()));
            match passing.first() {
                None => return unsent,
                Some(failed) => failed.code().clone_into(&mut code),
            }
        }
        unsent.extend(pending.iter().map(|entry| not_sent(entry.id(), false, &code)));
        unsent
    }
}

/// Entries named by their message's place, in batches that SQS takes, and what fits in none.
fn batches<T: Serialize>(messages: &[Outgoing<T>]) -> (Vec<Vec<Entry>>, Vec<Unsent>) {
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut unsent = Vec::new();
    let mut bytes = 0;
    for (index, message) in messages.iter().enumerate() {
        let (size, entry) = match entry(index, message) {
            Ok(sized) => sized,
            Err(error) => {
                unsent.push(Unsent {
                    index,
                    permanent: true,
                    code: error.code().as_str().to_owned(),
                });
                continue;
            }
        };
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_ENTRIES && bytes + size <= MAX_MESSAGE_BYTES => {
                batch.push(entry);
                bytes += size;
            }
            _ => {
                batches.push(vec![entry]);
                bytes = size;
            }
        }
    }
    (batches, unsent)
}

fn entry<T: Serialize>(index: usize, message: &Outgoing<T>) -> Result<(usize, Entry)> {
    let body = encode(message)?;
    let size = body.len();
    let mut entry = Entry::builder()
        .id(index.to_string())
        .message_body(body)
        .set_message_group_id(group(message))
        .set_message_system_attributes(trace(message)?);
    if message.delay_secs > 0 {
        entry = entry.delay_seconds(message.delay_secs);
    }
    Ok((size, entry.build().map_err(Error::internal)?))
}

fn encode<T: Serialize>(message: &Outgoing<T>) -> Result<String> {
    let body = message.envelope.to_json()?;
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(Error::new(
            Code::TooLarge,
            "The message is larger than a queue takes.",
        ));
    }
    Ok(body)
}

fn group<T>(message: &Outgoing<T>) -> Option<String> {
    message.envelope.tenant().map(|tenant| tenant.to_string())
}

fn trace<T>(message: &Outgoing<T>) -> Result<Option<HashMap<SystemAttribute, SystemValue>>> {
    let Some(trace) = &message.trace else {
        return Ok(None);
    };
    let value = SystemValue::builder()
        .data_type("String")
        .string_value(trace)
        .build()
        .map_err(Error::internal)?;
    Ok(Some(HashMap::from([(SystemAttribute::AwsTraceHeader, value)])))
}

fn not_sent(id: &str, permanent: bool, code: &str) -> Unsent {
    Unsent {
        index: id.parse().unwrap_or(usize::MAX),
        permanent,
        code: code.to_owned(),
    }
}
