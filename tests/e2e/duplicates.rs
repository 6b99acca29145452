//! A provider that posts the same again and again.

use crate::logs;
use crate::stack::Stack;
use crate::tenant::{Tenant, person, wamid};
use futures::future::join_all;
use serde_json::json;

#[tokio::test]
async fn the_same_webhook_a_hundred_times_at_once_is_one_message() {
    let stack = Stack::running();
    let tenant = Tenant::connected(&stack).await;
    let (id, from) = (wamid(), person());
    let body = tenant.message(&id, &from, "e2e-text: once");
    for answer in join_all((0..100).map(|_| tenant.post(&body))).await {
        assert_eq!(answer.expect(200), json!({ "status": "accepted" }));
    }
    // Behind the hundred in the queue, and of another person: once it is there they had their time.
    let last = wamid();
    tenant
        .post(&tenant.message(&last, &person(), "e2e-text: last"))
        .await
        .expect(200);
    tenant.received(&last).await;
    stack
        .wait_for("an empty queue", async || {
            (waiting(&stack).await == 0).then_some(())
        })
        .await;
    let messages = tenant.messages().await;
    assert_eq!(
        messages
            .iter()
            .filter(|message| message["provider_message_id"] == *id)
            .count(),
        1
    );
    assert_eq!(messages.len(), 2);
    let conversations = tenant.get("/v1/conversations").await;
    assert!(
        conversations["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["unread_count"] == 1),
        "{conversations}"
    );
    assert_eq!(
        tenant.get("/v1/contacts").await["data"].as_array().unwrap().len(),
        2
    );
    logs::tell_nothing(&[&tenant.token, &from]);
}

/// Messages in the queue, those under way included.
async fn waiting(stack: &Stack) -> u64 {
    let names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
    ];
    let request = json!({ "QueueUrl": stack.queue_url("inbound-webhooks").await, "AttributeNames": names });
    let answer = stack.sqs("GetQueueAttributes", &request).await;
    names
        .iter()
        .map(|name| {
            answer["Attributes"][*name]
                .as_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum()
}
