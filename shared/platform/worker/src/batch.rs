//! One SQS batch: every record stands alone.
//!
//! A record is acknowledged when its handler succeeded, or failed in a way that trying again can't
//! change. It is returned, and comes again until the dead-letter queue takes it, when the failure
//! was transient, a bug (an internal error or a panic), or a body that is none of ours.

use crate::message::{attempt, sent_at};
use crate::{Budget, Message};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{FutureExt, StreamExt, stream};
use kernel::{Clock, Code, Error, Result};
use serde::de::DeserializeOwned;
use std::panic::AssertUnwindSafe;
use telemetry::{Metrics, Unit};
use tracing::{Instrument, Span, field};

/// Records worked on at once: as many as a process has connections to the database. More would wait
/// for one, and records of one tenant, which take turns at its audit chain, for longer than they may.
const CONCURRENCY: usize = 4;

/// What became of a record.
enum Outcome {
    Done,
    /// Failed for good: acknowledged.
    Dropped(&'static str),
    /// To come again.
    Returned(&'static str),
}

/// Works through a batch and says which records must come again. Records run concurrently, in no
/// order; none is started when less than a fifth of the time is left.
pub async fn process_batch<T, H>(
    function: &'static str,
    handler: &H,
    event: SqsEvent,
    budget: Budget,
    clock: &Clock,
) -> SqsBatchResponse
where
    T: DeserializeOwned,
    H: AsyncFn(Message<T>) -> Result<()>,
{
    let (total, age) = (event.records.len(), oldest(&event, clock));
    let outcomes: Vec<(String, Outcome)> = stream::iter(event.records)
        .map(async |record| {
            let outcome = process(function, handler, &record, budget).await;
            (record.message_id.unwrap_or_default(), outcome)
        })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    report(function, total, age, &outcomes, clock);
    let returned = outcomes
        .into_iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Returned(_)));
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = returned.map(|(id, _)| failure(id)).collect();
    response
}

async fn process<T, H>(function: &'static str, handler: &H, record: &SqsMessage, budget: Budget) -> Outcome
where
    T: DeserializeOwned,
    H: AsyncFn(Message<T>) -> Result<()>,
{
    let span = tracing::info_span!(
        "record",
        function,
        message_id = record.message_id.as_deref(),
        attempt = attempt(record),
        request_id = field::Empty,
        tenant_id = field::Empty,
    );
    async {
        if !budget.may_start() {
            tracing::warn!("no time left; the record comes again");
            return Outcome::Returned("NO_TIME");
        }
        let message = match Message::<T>::parse(record) {
            Ok(message) => message,
            Err(error) => return failed(&error, "MALFORMED"),
        };
        let span = Span::current();
        span.record("request_id", &message.request_id);
        if let Some(tenant) = message.tenant {
            span.record("tenant_id", tracing::field::display(tenant));
        }
        let work = AssertUnwindSafe(async { handler(message).await }).catch_unwind();
        match tokio::time::timeout_at(budget.cut_off(), work).await {
            Ok(Ok(Ok(()))) => {
                tracing::info!("record done");
                Outcome::Done
            }
            Ok(Ok(Err(error))) => failed(&error, error.code().as_str()),
            Ok(Err(_)) => {
                tracing::error!(code = "PANIC", "record failed; it comes again");
                Outcome::Returned("PANIC")
            }
            Err(_) => {
                tracing::error!(code = "TIMED_OUT", "record failed; it comes again");
                Outcome::Returned("TIMED_OUT")
            }
        }
    }
    .instrument(span)
    .await
}

fn failed(error: &Error, code: &'static str) -> Outcome {
    let cause = telemetry::chain(error);
    if error.is_transient() {
        tracing::warn!(code, cause, "record failed for now; it comes again");
        Outcome::Returned(code)
    } else if error.code() == Code::Internal {
        tracing::error!(code, cause, "record failed; it comes again");
        Outcome::Returned(code)
    } else {
        tracing::warn!(code, cause, "record failed for good; it is acknowledged");
        Outcome::Dropped(code)
    }
}

/// Milliseconds that the oldest record waited.
fn oldest(event: &SqsEvent, clock: &Clock) -> Option<f64> {
    let sent = event.records.iter().filter_map(sent_at).min()?;
    Some(clock.now().duration_since(sent).as_secs_f64().max(0.0) * 1000.0)
}

fn report(
    function: &'static str,
    total: usize,
    age: Option<f64>,
    outcomes: &[(String, Outcome)],
    clock: &Clock,
) {
    let count = u32::try_from(total).unwrap_or(u32::MAX);
    let mut metrics = Metrics::of(function).metric("Records", f64::from(count), Unit::Count);
    if let Some(age) = age {
        metrics = metrics.metric("QueueAge", age, Unit::Milliseconds);
    }
    metrics.emit(clock);
    for (_, outcome) in outcomes {
        if let Outcome::Dropped(code) | Outcome::Returned(code) = outcome {
            Metrics::of(function)
                .dimension("Code", code)
                .count("RecordFailures")
                .emit(clock);
        }
    }
}

fn failure(id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = id;
    failure
}
