use crate::setup::{cloud, queue, sqs, unique};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as Attribute};
use cloud::{MAX_MESSAGE_BYTES, Outgoing, Unsent};
use kernel::{Code, Envelope, TenantId};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

const TENANT: TenantId = TenantId(Uuid::from_u128(0x0196_8e8a_0000_7000_8000_0000_0000_0001));

async fn receive(url: &str) -> Vec<Message> {
    let request = sqs().receive_message().queue_url(url).max_number_of_messages(10);
    let answer = request
        .message_system_attribute_names(Attribute::All)
        .send()
        .await
        .unwrap();
    answer.messages.unwrap_or_default()
}

async fn receive_all(url: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let messages = receive(url).await;
        if messages.is_empty() {
            return bodies;
        }
        bodies.extend(messages.into_iter().map(|message| message.body.unwrap()));
    }
}

#[tokio::test]
async fn a_message_carries_its_tenant_request_and_trace() {
    let url = queue().await;
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
    let text = "\u{fffe}\u{0}مرحبا".to_owned();
    let message = Outgoing::new(Some(TENANT), "req-1", text.clone()).with_trace(Some(trace.to_owned()));
    cloud().queue(&url).send(&message).await.unwrap();
    let received = receive(&url).await;
    assert_eq!(received.len(), 1);
    let attributes = received[0].attributes().unwrap();
    assert_eq!(attributes[&Attribute::MessageGroupId], TENANT.to_string());
    assert_eq!(attributes[&Attribute::AwsTraceHeader], trace);
    let envelope = Envelope::<String>::from_json(received[0].body().unwrap()).unwrap();
    assert_eq!(envelope, Envelope::new(Some(TENANT), "req-1", text));
}

#[tokio::test]
async fn a_delayed_message_is_hidden() {
    let url = queue().await;
    let later = Outgoing::new(None, "req-1", 1).after(Duration::from_secs(5));
    cloud().queue(&url).send(&later).await.unwrap();
    assert!(
        cloud()
            .queue(&url)
            .send_batch(&[later, Outgoing::new(None, "req-2", 2)])
            .await
            .is_empty()
    );
    assert_eq!(
        receive_all(&url).await,
        [r#"{"v":1,"tenant_id":null,"request_id":"req-2","payload":2}"#]
    );
}

#[tokio::test]
async fn many_messages_arrive_each_once() {
    let url = queue().await;
    let messages: Vec<_> = (0..57)
        .map(|n| Outgoing::new(Some(TENANT), format!("req-{n}"), n))
        .collect();
    assert_eq!(cloud().queue(&url).send_batch(&messages).await, []);
    let bodies = receive_all(&url).await;
    let payloads: BTreeSet<u32> = bodies
        .iter()
        .map(|body| Envelope::from_json(body).unwrap().payload)
        .collect();
    assert_eq!((bodies.len(), payloads), (57, (0..57).collect()));
}

/// Three of 400 kB don't fit in a batch of 1 MiB, and one of 1 MiB in no message.
#[tokio::test]
async fn large_messages_are_spread_and_one_too_large_is_reported() {
    let url = queue().await;
    let sizes = [400_000, 400_000, MAX_MESSAGE_BYTES, 400_000, 1_000];
    let messages: Vec<_> = sizes
        .iter()
        .map(|size| Outgoing::new(None, "req", "x".repeat(*size)))
        .collect();
    let unsent = cloud().queue(&url).send_batch(&messages).await;
    assert_eq!(
        unsent,
        [Unsent {
            index: 2,
            permanent: true,
            code: "TOO_LARGE".to_owned()
        }]
    );
    assert_eq!(receive_all(&url).await.len(), 4);
    assert_eq!(
        cloud().queue(&url).send(&messages[2]).await.unwrap_err().code(),
        Code::TooLarge
    );
}

#[tokio::test]
async fn a_queue_that_is_not_there_fails_the_send_and_not_the_nudge() {
    let url = queue().await.replace("queue-", &unique("absent"));
    let messages: Vec<_> = (0..12).map(|n| Outgoing::new(None, "req", n)).collect();
    let queue = cloud().queue(&url);
    assert_eq!(queue.send(&messages[0]).await.unwrap_err().code(), Code::Internal);
    let unsent = queue.send_batch(&messages).await;
    assert_eq!(
        unsent.iter().map(|unsent| unsent.index).collect::<Vec<_>>(),
        (0..12).collect::<Vec<_>>()
    );
    assert_eq!(queue.nudge(&messages).await, 12);
}
