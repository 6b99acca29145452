//! Moving messages out of a dead-letter queue: by hand, because the emulator has no `StartMessageMoveTask`.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::http;

/// The names that the deployed stack gives its queues.
const PREFIX: &str = "m3corecrm-";
/// How long a message that is being moved is nobody else's, in seconds.
const HELD_SECONDS: u32 = 60;

/// Moves every message of `<queue>-dlq` back to `queue`; returns how many.
pub fn redrive(endpoint: &str, queue: &str) -> Result<usize> {
    let source = url_of(endpoint, &format!("{queue}-dlq"))?;
    let target = url_of(endpoint, queue)?;
    let mut moved = 0;
    loop {
        let request = json!({
            "QueueUrl": source,
            "MaxNumberOfMessages": 10,
            "VisibilityTimeout": HELD_SECONDS,
            "WaitTimeSeconds": 0,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let answer = call(endpoint, "ReceiveMessage", &request)?;
        let messages = answer["Messages"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        if messages.is_empty() {
            return Ok(moved);
        }
        for message in messages {
            // Sent before it is deleted: a message may come twice, never not at all.
            call(endpoint, "SendMessage", &again(&target, message))?;
            let done = json!({ "QueueUrl": source, "ReceiptHandle": message["ReceiptHandle"] });
            call(endpoint, "DeleteMessage", &done)?;
            moved += 1;
        }
    }
}

/// The same message, with what belongs to it.
fn again(target: &str, message: &Value) -> Value {
    let mut sent = json!({ "QueueUrl": target, "MessageBody": message["Body"] });
    if let Some(group) = message.pointer("/Attributes/MessageGroupId") {
        sent["MessageGroupId"] = group.clone();
    }
    if let Some(trace) = message.pointer("/Attributes/AWSTraceHeader") {
        sent["MessageSystemAttributes"] =
            json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": trace } });
    }
    if let Some(attributes) = message.get("MessageAttributes") {
        sent["MessageAttributes"] = attributes.clone();
    }
    sent
}

fn url_of(endpoint: &str, queue: &str) -> Result<String> {
    let answer = call(
        endpoint,
        "GetQueueUrl",
        &json!({ "QueueName": format!("{PREFIX}{queue}") }),
    )
    .with_context(|| format!("there is no queue {queue}"))?;
    Ok(answer["QueueUrl"]
        .as_str()
        .context("a queue without a URL")?
        .to_owned())
}

fn call(endpoint: &str, action: &str, request: &Value) -> Result<Value> {
    let headers = [
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", &format!("AmazonSQS.{action}")),
        // The emulator checks no signature, and reads the region from it.
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0",
        ),
    ];
    let answer = http::send(
        "POST",
        &format!("{endpoint}/"),
        &headers,
        request.to_string().as_bytes(),
    )?;
    if answer.status != 200 {
        bail!("sqs.{action} answered {}: {}", answer.status, answer.body);
    }
    Ok(answer.body)
}
