//! Queue and schedule doors: Lambda's runtime, SQS batches with partial failures, and the tenant a
//! message is about.
//!
//! ```text
//! run_batches(function, async |message: Message<T>| …)    SQS
//! run_schedule(function, async |task: Task| …)            EventBridge, {"task": "…"}
//! run_either(function, on_message, on_task)               both
//! run_once(function, async || …)                          by hand, {} → a JSON report
//! ```

mod batch;
mod budget;
mod message;
mod run;

pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
pub use batch::process_batch;
pub use budget::Budget;
pub use message::{Message, caller_for};
pub use run::{Error, Task, run_batches, run_either, run_once, run_schedule};
