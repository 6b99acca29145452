//! One record of a batch that can't be worked on: the other nine are, it ends in the dead-letter queue,
//! and comes back from there once its trouble is mended.

use crate::logs;
use crate::stack::{Stack, local, xtask};
use crate::tenant::{Tenant, person, wamid};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::FutureExt;
use kernel::{Clock, Envelope, SingleKey, TenantId};
use providers::intake::{Source, VerifiedAccount, Webhook, WebhookBody};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, resume_unwind};

const QUEUE: &str = "inbound-webhooks";

#[tokio::test]
async fn nine_of_ten_are_done_and_the_tenth_can_be_redriven() {
    let stack = Stack::running();
    let tenant = Tenant::connected(&stack).await;
    let (url, dead_letters) = (
        stack.queue_url(QUEUE).await,
        stack.queue_url(&format!("{QUEUE}-dlq")).await,
    );
    let ids: Vec<String> = (0..10).map(|_| wamid()).collect();
    // The body of the tenth was too large for the queue, and what lies in the bucket is too large for anybody.
    let (last, object) = (&ids[9], format!("webhooks/meta/{}", Clock::system().id()));
    let (key, sealed) = SingleKey::seal(body_of(&tenant, last)).unwrap();
    let body = WebhookBody::Stored {
        object: object.clone(),
        key,
    };

    // Five attempts at the usual pace take a quarter of an hour.
    let usual = visibility(&stack, &url).await;
    set_visibility(&stack, &url, "1").await;
    let dying = async {
        put_object(&stack, &object, vec![b' '; 7 << 20]).await;
        let poison = send_ten(&tenant, &url, &ids, body).await;
        for id in &ids[..9] {
            tenant.received(id).await;
        }
        let look = async || is_there(&stack, &dead_letters, &poison).await.then_some(());
        stack.wait_for("the tenth in the dead-letter queue", look).await;
        poison
    };
    let died = AssertUnwindSafe(dying).catch_unwind().await;
    set_visibility(&stack, &url, &usual).await;
    let poison = died.unwrap_or_else(|panic| resume_unwind(panic));
    assert_eq!(tenant.messages().await.len(), 9, "and it alone");

    put_object(&stack, &object, sealed).await;
    xtask(&["redrive", QUEUE]);
    tenant.received(last).await;
    assert_eq!(tenant.messages().await.len(), 10);
    assert!(!is_there(&stack, &dead_letters, &poison).await);
    logs::tell_nothing(&[&tenant.token]);
}

/// Sends the batch; returns the queue's id of the tenth message.
async fn send_ten(tenant: &Tenant, url: &str, ids: &[String], tenth: WebhookBody) -> String {
    let (last, whole) = ids.split_last().unwrap();
    let mut bodies: Vec<WebhookBody> = whole
        .iter()
        .map(|id| WebhookBody::Base64(STANDARD.encode(body_of(tenant, id))))
        .collect();
    bodies.push(tenth);
    let entries = bodies.into_iter().zip(ids).map(|(body, id)| {
        let name = if id == last {
            "last".to_owned()
        } else {
            id.replace('.', "-")
        };
        json!({ "Id": name, "MessageBody": envelope(tenant, body) })
    });
    let request = json!({ "QueueUrl": url, "Entries": entries.collect::<Vec<_>>() });
    let sent = tenant.stack.sqs("SendMessageBatch", &request).await;
    let sent = sent["Successful"].as_array().unwrap();
    assert_eq!(sent.len(), 10, "{sent:?}");
    let poison = sent.iter().find(|entry| entry["Id"] == "last").unwrap();
    poison["MessageId"].as_str().unwrap().to_owned()
}

fn body_of(tenant: &Tenant, id: &str) -> Vec<u8> {
    tenant.message(id, &person(), "e2e-text: one of ten").into_bytes()
}

/// What the edge puts into the queue.
fn envelope(tenant: &Tenant, body: WebhookBody) -> String {
    let tenant_id = tenant.id.parse().unwrap();
    let webhook = Webhook {
        source: Source::Meta,
        received_at: Clock::system().now(),
        body,
        query: String::new(),
        accounts: vec![VerifiedAccount {
            provider_key: tenant.phone_number_id.clone(),
            tenant_id,
            account_id: tenant.account_id.parse().unwrap(),
        }],
    };
    Envelope::new(Some(TenantId(tenant_id)), "e2e-poison", webhook)
        .to_json()
        .unwrap()
}

/// Looks through a queue without keeping what it sees from others.
async fn is_there(stack: &Stack, url: &str, message_id: &str) -> bool {
    let request =
        json!({ "QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0, "WaitTimeSeconds": 0 });
    let answer = stack.sqs("ReceiveMessage", &request).await;
    answer["Messages"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|message| message["MessageId"] == *message_id)
}

async fn visibility(stack: &Stack, url: &str) -> String {
    let request = json!({ "QueueUrl": url, "AttributeNames": ["VisibilityTimeout"] });
    stack.sqs("GetQueueAttributes", &request).await["Attributes"]["VisibilityTimeout"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn set_visibility(stack: &Stack, url: &str, seconds: &str) {
    let request = json!({ "QueueUrl": url, "Attributes": { "VisibilityTimeout": seconds } });
    stack.sqs("SetQueueAttributes", &request).await;
}

/// Puts an object into the functions' bucket.
async fn put_object(stack: &Stack, key: &str, body: Vec<u8>) {
    let variables: Value =
        serde_json::from_str(&std::fs::read_to_string(local("sam-env.json")).unwrap()).unwrap();
    let bucket = variables["WebhooksFunction"]["BUCKET"].as_str().unwrap();
    let url = format!("{}/{bucket}/{key}", stack.text("/aws_endpoint"));
    assert_eq!(stack.send("PUT", url, &[], body).await.status, 200);
}
