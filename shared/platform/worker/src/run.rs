//! Lambda's runtime around the handlers.

use crate::{Budget, Message, process_batch};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use kernel::{Clock, Result};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::Instrument;

pub use lambda_runtime::Error;

/// What a schedule asks for.
#[derive(Clone, Debug)]
pub struct Task {
    /// As the schedule's input names it: `minute`, `hourly`, `daily`.
    pub name: String,
    pub request_id: String,
    pub budget: Budget,
}

/// `{"task":"minute"}`
#[derive(Debug, Deserialize)]
struct TaskEvent {
    task: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Either {
    Batch(SqsEvent),
    Task(TaskEvent),
}

/// Answers SQS batches until the process ends.
pub async fn run_batches<T, H>(function: &'static str, handler: H) -> Result<(), Error>
where
    T: DeserializeOwned,
    H: AsyncFn(Message<T>) -> Result<()>,
{
    let (clock, handler) = (Clock::system(), &handler);
    let clock = &clock;
    let serve = async |event: LambdaEvent<SqsEvent>| {
        let budget = Budget::until(event.context.deadline, clock);
        Ok::<_, Error>(process_batch(function, handler, event.payload, budget, clock).await)
    };
    lambda_runtime::run(service_fn(serve)).await
}

/// Answers a schedule's events until the process ends. A task that failed is reported to Lambda,
/// which tries it again.
pub async fn run_schedule<H>(function: &'static str, handler: H) -> Result<(), Error>
where
    H: AsyncFn(Task) -> Result<()>,
{
    let (clock, handler) = (Clock::system(), &handler);
    let clock = &clock;
    let serve = async |event: LambdaEvent<TaskEvent>| {
        let budget = Budget::until(event.context.deadline, clock);
        work(
            function,
            handler,
            task(event.payload, event.context.request_id, budget),
        )
        .await
    };
    lambda_runtime::run(service_fn(serve)).await
}

/// Answers SQS batches and a schedule's events until the process ends.
pub async fn run_either<T, M, S>(function: &'static str, on_message: M, on_task: S) -> Result<(), Error>
where
    T: DeserializeOwned,
    M: AsyncFn(Message<T>) -> Result<()>,
    S: AsyncFn(Task) -> Result<()>,
{
    let (clock, on_message, on_task) = (Clock::system(), &on_message, &on_task);
    let clock = &clock;
    let serve = async |event: LambdaEvent<Either>| {
        let budget = Budget::until(event.context.deadline, clock);
        match event.payload {
            Either::Batch(batch) => Ok(process_batch(function, on_message, batch, budget, clock).await),
            Either::Task(asked) => {
                work(function, on_task, task(asked, event.context.request_id, budget)).await?;
                Ok::<_, Diagnostic>(SqsBatchResponse::default())
            }
        }
    };
    lambda_runtime::run(service_fn(serve)).await
}

/// Answers invocations by hand, whatever their event, with a report.
pub async fn run_once<R, H>(function: &'static str, handler: H) -> Result<(), Error>
where
    R: Serialize,
    H: AsyncFn() -> Result<R>,
{
    let handler = &handler;
    let serve = async |event: LambdaEvent<serde_json::Value>| {
        let span = tracing::info_span!("invocation", function, request_id = event.context.request_id);
        handler()
            .instrument(span)
            .await
            .map_err(|error| diagnostic(&error))
    };
    lambda_runtime::run(service_fn(serve)).await
}

fn task(event: TaskEvent, request_id: String, budget: Budget) -> Task {
    Task {
        name: event.task,
        request_id,
        budget,
    }
}

async fn work<H>(function: &'static str, handler: &H, task: Task) -> Result<(), Diagnostic>
where
    H: AsyncFn(Task) -> Result<()>,
{
    let span = tracing::info_span!("task", function, task = task.name, request_id = task.request_id);
    handler(task)
        .instrument(span.clone())
        .await
        .map_err(|error| span.in_scope(|| diagnostic(&error)))
}

fn diagnostic(error: &kernel::Error) -> Diagnostic {
    let code = error.code().as_str();
    tracing::error!(code, cause = telemetry::chain(error), "invocation failed");
    Diagnostic {
        error_type: code.to_owned(),
        error_message: error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn tells_a_batch_from_a_task() {
        let batch = json!({ "Records": [{ "messageId": "m1", "body": "{}", "eventSource": "aws:sqs" }] });
        assert!(matches!(from_value(batch).unwrap(), Either::Batch(batch) if batch.records.len() == 1));
        assert!(
            matches!(from_value(json!({ "task": "minute" })).unwrap(), Either::Task(task) if task.task == "minute")
        );
        assert!(from_value::<Either>(json!({ "detail-type": "Scheduled Event" })).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_task_is_reported_by_code_and_without_its_cause() {
        let task = Task {
            name: "minute".to_owned(),
            request_id: "r".to_owned(),
            budget: Budget::of(std::time::Duration::from_secs(1)),
        };
        let handler = async |task: Task| {
            assert_eq!(task.name, "minute");
            Err(kernel::Error::internal("the row of +201001234567"))
        };
        let diagnostic = work("scheduler", &handler, task).await.unwrap_err();
        assert_eq!(diagnostic.error_type, "INTERNAL");
        assert!(!diagnostic.error_message.contains("2010"));
    }
}
