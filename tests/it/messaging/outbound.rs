//! The sender, and every way in which a send can end.

use super::stack::{Stack, message, meta_body, status};
use notifications::delivery::Wake;
use providers::intake::Source;
use serde_json::{Value, json};
use std::time::Duration;
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
async fn a_sender_that_dies_between_the_yes_and_its_own_write_does_not_send_again() {
    let stack = Stack::new().await;
    let (account, conversation) = stack.conversation().await;
    let id = stack.reply(&conversation).await;
    stack.providers.behave(Behaviour {
        times: Some(1),
        delay_ms: Some(300),
        ..Behaviour::mode(Provider::Meta, Mode::Slow)
    });
    let wake = || message(Some(stack.world.tenant), Wake { id });
    let admin = stack.world.admin_sql().await;
    let named = || stack.providers.requests()[0].provider_message_id.clone();
    let meanwhile = async {
        // The provider has it and thinks; what the sender writes when it says yes will have to wait.
        wait_until(|| stack.sends() == 1).await;
        let hold = format!("BEGIN; SELECT FROM messages_outbox WHERE id = '{id}' FOR UPDATE");
        admin.batch_execute(&hold).await.unwrap();
        wait_until(|| named().is_some()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    tokio::select! {
        outcome = stack.sender.handle(wake()) => panic!("it should have died: {outcome:?}"),
        () = meanwhile => {}
    }
    admin.batch_execute("ROLLBACK").await.unwrap();

    stack.sender.handle(wake()).await.unwrap();
    assert_eq!(stack.sends(), 1, "the queue hands it out again");
    let message = stack.message(&conversation, id).await;
    assert_eq!(
        (&message["status"], &message["provider_message_id"]),
        (&json!("sending"), &Value::Null)
    );
    let named = named().unwrap();
    let delivered = status(&named, "delivered", Some(id));
    let body = meta_body(&[(&account.provider_key, &[], &[delivered])]);
    stack.post(Source::Meta, &body, "", vec![account]).await.unwrap();
    let message = stack.message(&conversation, id).await;
    assert_eq!(
        (&message["status"], &message["provider_message_id"]),
        (&json!("delivered"), &json!(named))
    );
}

async fn wait_until(done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to pass");
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
