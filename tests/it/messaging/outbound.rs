//! The sender, and every way in which a send can end.

use super::stack::{Stack, meta_body, status};
use providers::intake::Source;
use serde_json::{Value, json};
use testkit::fake_providers::{Behaviour, Mode, Provider};

#[tokio::test]
async fn two_workers_with_the_same_message_send_once() {
    let stack = Stack::new().await;
    let (_, conversation) = stack.conversation().await;
    let id = stack.reply(&conversation).await;
    let outcomes = futures::future::join_all((0..4).map(|_| stack.send(id))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(stack.sends(), 1);
    assert_eq!(stack.message(&conversation, id).await["status"], "sent");
}

#[tokio::test]
async fn a_yes_that_never_arrived_is_not_sent_again_and_the_status_settles_it() {
    let stack = Stack::new().await;
    let (account, conversation) = stack.conversation().await;
    let id = stack.reply(&conversation).await;
    stack.providers.behave(Behaviour {
        times: Some(1),
        ..Behaviour::mode(Provider::Meta, Mode::AcceptThenDrop)
    });
    stack.send(id).await.unwrap();
    let message = stack.message(&conversation, id).await;
    assert_eq!(
        (&message["status"], &message["provider_message_id"]),
        (&json!("sending"), &Value::Null)
    );
    assert_eq!(message["error_code"], "NO_ANSWER");
    stack.send(id).await.unwrap();
    assert_eq!(stack.sends(), 1);

    let named = stack.providers.requests().remove(0).provider_message_id.unwrap();
    let body = meta_body(&[(
        &account.provider_key,
        &[],
        &[status(&named, "delivered", Some(id))],
    )]);
    stack.post(Source::Meta, &body, "", vec![account]).await.unwrap();
    let message = stack.message(&conversation, id).await;
    assert_eq!(
        (&message["status"], &message["provider_message_id"]),
        (&json!("delivered"), &json!(named))
    );
    assert_eq!(message["error_code"], Value::Null);
}

#[tokio::test]
async fn refusals_for_now_wait_and_refusals_for_good_end() {
    let stack = Stack::new().await;
    let (_, conversation) = stack.conversation().await;
    let admin = stack.world.admin_sql().await;
    for mode in [Mode::Fail, Mode::RateLimited] {
        let id = stack.reply(&conversation).await;
        let before = stack.sends();
        stack.providers.behave(Behaviour {
            times: Some(1),
            ..Behaviour::mode(Provider::Meta, mode)
        });
        stack.send(id).await.unwrap();
        assert_eq!(stack.message(&conversation, id).await["status"], "queued");
        stack.send(id).await.unwrap();
        assert_eq!(stack.sends(), before + 1, "not before its time");
        admin
            .execute(
                "UPDATE messages_outbox SET next_attempt_at = now() WHERE id = $1",
                &[&id],
            )
            .await
            .unwrap();
        stack.send(id).await.unwrap();
        assert_eq!(stack.message(&conversation, id).await["status"], "sent");
    }
    let id = stack.reply(&conversation).await;
    let reject = Behaviour {
        times: Some(1),
        code: Some(131_026),
        ..Behaviour::mode(Provider::Meta, Mode::Reject)
    };
    stack.providers.behave(reject);
    stack.send(id).await.unwrap();
    let message = stack.message(&conversation, id).await;
    assert_eq!(
        (&message["status"], &message["error_code"]),
        (&json!("failed"), &json!("UNDELIVERABLE"))
    );
}

#[tokio::test]
async fn an_account_disabled_after_the_reply_sends_nothing() {
    let stack = Stack::new().await;
    let (account, conversation) = stack.conversation().await;
    let id = stack.reply(&conversation).await;
    let path = format!("/v1/whatsapp-accounts/{}", account.account_id);
    stack
        .api
        .patch(&stack.me, &path, &json!({ "status": "disabled" }))
        .await
        .expect(200);
    stack.send(id).await.unwrap();
    assert_eq!(stack.sends(), 0);
    let message = stack.message(&conversation, id).await;
    assert_eq!(
        (&message["status"], &message["error_code"]),
        (&json!("failed"), &json!("ACCOUNT_DISCONNECTED"))
    );
}
