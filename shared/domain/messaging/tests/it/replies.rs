//! Writing to a contact.

use crate::support::{World, connect, meta_account, number_id};
use jiff::SignedDuration;
use kernel::Code;
use messaging::account;
use messaging::message::{Direction, Status};
use messaging::reply::{CreateReply, NewReply};
use serde_json::json;
use testkit::TestDb;

const DELIVERIES: &str = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1";

#[tokio::test]
async fn a_reply_is_queued_with_its_delivery_and_reads_the_conversation() {
    let world = World::new().await;
    let conversation = world.conversation().await;
    let message = world
        .reply(conversation.id, json!({ "body": "أهلا" }))
        .await
        .unwrap();
    assert_eq!(
        (message.direction, message.status),
        (Direction::Outbound, Status::Queued)
    );
    assert_eq!((message.body.as_str(), message.kind.as_str()), ("أهلا", "text"));
    assert_eq!(message.provider_message_id, None);
    let after = world.conversations().await.remove(0);
    assert_eq!(after.unread_count, 0);
    assert_eq!(after.last_message.as_ref(), Some(&message));
    assert_eq!(world.count(DELIVERIES).await, 1);
    let events = "SELECT count(*) FROM event_outbox WHERE tenant_id = $1 AND type = 'message.queued'";
    let audited = "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND action = 'message.created'";
    assert_eq!((world.count(events).await, world.count(audited).await), (1, 1));
}

#[tokio::test]
async fn outside_the_window_only_a_template_may_be_sent() {
    let world = World::new().await;
    let conversation = world.conversation().await;
    world.advance(SignedDuration::from_hours(24) - SignedDuration::from_secs(1));
    world
        .reply(conversation.id, json!({ "body": "just in time" }))
        .await
        .unwrap();
    world.advance(SignedDuration::from_secs(1));
    let refused = world
        .reply(conversation.id, json!({ "body": "late" }))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.code().status()),
        (Code::WindowClosed, 422)
    );
    assert_eq!(world.count(DELIVERIES).await, 1);
    let template =
        json!({ "template_code": "follow_up", "payload": { "language": "ar", "parameters": ["منى"] } });
    let message = world.reply(conversation.id, template).await.unwrap();
    assert_eq!(
        (message.kind.as_str(), message.template_code.as_deref()),
        ("template", Some("follow_up"))
    );
    assert_eq!(message.body, "[template: follow_up]");
}

#[tokio::test]
async fn another_tenants_conversation_and_a_disconnected_account_take_no_reply() {
    let world = World::new().await;
    let conversation = world.conversation().await;
    let stranger = World::new().await;
    let refused = stranger
        .reply(conversation.id, json!({ "body": "hi" }))
        .await
        .unwrap_err();
    let missing = stranger
        .reply(testkit::database::unique(), json!({ "body": "hi" }))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (missing.code(), missing.message())
    );
    assert_eq!(refused.code(), Code::NotFound);

    world
        .write(async |tx| account::archive(&tx, world.account.id).await)
        .await
        .unwrap();
    let refused = world
        .reply(conversation.id, json!({ "body": "hi" }))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Conflict);
    // connected again, the number gets an account of its own
    let again = connect(
        &world.test,
        &TestDb::system(world.tenant),
        meta_account(&number_id()),
    )
    .await
    .unwrap();
    assert_ne!(again.id, world.account.id);
}

#[test]
fn a_reply_is_a_text_or_a_template() {
    let parse = |body| NewReply::parse(serde_json::from_value::<CreateReply>(body).unwrap());
    for bad in [
        json!({}),
        json!({ "body": "  " }),
        json!({ "body": "x".repeat(4097) }),
        json!({ "body": "x", "template_code": "y" }),
        json!({ "body": "x", "payload": {} }),
        json!({ "payload": {} }),
        json!({ "template_code": "y", "payload": { "parameters": [""] } }),
    ] {
        assert_eq!(
            parse(bad.clone()).map(drop).unwrap_err().code(),
            Code::ValidationFailed,
            "{bad}"
        );
    }
    assert!(parse(json!({ "body": "x".repeat(4096) })).is_ok());
    assert!(
        serde_json::from_value::<CreateReply>(json!({ "text": "x" })).is_err(),
        "unknown fields show"
    );
}
