//! What the plan's meters count of messages: each once, when its provider accepts it (S1.7).

use super::stack::{Stack, digits, message, meta_body, status};
use crate::admin_plan::{entry, service};
use crate::auth::setup::Company;
use crate::security::setup::{PHONE, again, post};
use crate::support::{Login, World};
use notifications::delivery::Wake;
use providers::intake::{Source, VerifiedAccount};
use serde_json::{Value, json};
use testkit::fake_providers::{Behaviour, Mode, Provider};
use uuid::Uuid;

/// What this month's meter says, by the limit that reads it.
async fn used(world: &World, me: &Login, limit: &str) -> i64 {
    let shown = service(world)
        .get(me, "/v1/admin/entitlements/effective")
        .await
        .expect(200);
    entry(&shown["limits"], limit)["used"].as_i64().unwrap()
}

async fn sent(stack: &Stack) -> i64 {
    used(&stack.world, &stack.me, "whatsapp.monthlyCap").await
}

async fn report(stack: &Stack, account: &VerifiedAccount, statuses: &[Value]) {
    let body = meta_body(&[(&account.provider_key, &[], statuses)]);
    stack
        .post(Source::Meta, &body, "", vec![account.clone()])
        .await
        .unwrap();
}

fn named(stack: &Stack) -> String {
    let last = stack.providers.requests().pop().unwrap();
    last.provider_message_id.unwrap()
}

#[tokio::test]
async fn a_message_counts_once_whoever_says_first_that_it_was_taken() {
    let stack = Stack::new().await;
    let (account, conversation) = stack.conversation().await;
    assert_eq!(sent(&stack).await, 0, "what others write is not ours");
    let id = stack.reply(&conversation).await;
    assert_eq!(sent(&stack).await, 0, "it is only queued");
    futures::future::join_all((0..3).map(|_| stack.send(id))).await;
    assert_eq!(sent(&stack).await, 1);
    for state in ["read", "sent", "delivered", "delivered", "failed"] {
        report(&stack, &account, &[status(&named(&stack), state, Some(id))]).await;
    }
    assert_eq!(sent(&stack).await, 1);

    // Its yes never arrived: the report tells that it was taken, also where it came to nothing.
    for (nth, state) in [(2, "delivered"), (3, "failed")] {
        let id = stack.reply(&conversation).await;
        stack.providers.behave(Behaviour {
            times: Some(1),
            ..Behaviour::mode(Provider::Meta, Mode::AcceptThenDrop)
        });
        stack.send(id).await.unwrap();
        assert_eq!(sent(&stack).await, nth - 1, "nobody knows");
        for _ in 0..2 {
            report(&stack, &account, &[status(&named(&stack), state, Some(id))]).await;
        }
        assert_eq!(sent(&stack).await, nth, "{state}");
    }
}

#[tokio::test]
async fn what_the_provider_refused_does_not_count_until_it_takes_it() {
    let stack = Stack::new().await;
    let (_, conversation) = stack.conversation().await;
    let once = |mode| Behaviour {
        times: Some(1),
        ..Behaviour::mode(Provider::Meta, mode)
    };
    let id = stack.reply(&conversation).await;
    stack.providers.behave(once(Mode::Fail));
    stack.send(id).await.unwrap();
    assert_eq!(sent(&stack).await, 0);
    let admin = stack.world.admin_sql().await;
    let due = "UPDATE messages_outbox SET next_attempt_at = now() WHERE id = $1";
    admin.execute(due, &[&id]).await.unwrap();
    stack.send(id).await.unwrap();
    assert_eq!(sent(&stack).await, 1);
    let id = stack.reply(&conversation).await;
    stack.providers.behave(once(Mode::Reject));
    stack.send(id).await.unwrap();
    assert_eq!(stack.message(&conversation, id).await["status"], "failed");
    assert_eq!(sent(&stack).await, 1);
}

#[tokio::test]
async fn many_at_once_are_all_counted() {
    let stack = Stack::new().await;
    let (account, conversation) = stack.conversation().await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(stack.reply(&conversation).await);
    }
    let sends = futures::future::join_all(ids.iter().map(|id| stack.send(*id)));
    // A webhook that reports of all of them meanwhile, naming each by our own id.
    let told: Vec<Value> = ids
        .iter()
        .map(|id| status(&format!("wamid.other-{}", digits()), "sent", Some(*id)))
        .collect();
    let (outcomes, ()) = futures::join!(sends, report(&stack, &account, &told));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(sent(&stack).await, 12);
}

/// Somebody wrote first, or waits for the code: both count, and neither is held back by the cap of a
/// trial, which is 0.
#[tokio::test]
async fn replies_and_codes_are_counted_and_never_refused() {
    let company = Company::new().await;
    company.verify_email().await;
    let me = company.login(&company.signed_up);
    let world = || again(&company.world, company.world.tenant);
    for limit in ["whatsapp.monthlyCap", "sms.monthlyCap"] {
        let shown = service(&world())
            .get(&me, "/v1/admin/entitlements/effective")
            .await
            .expect(200);
        assert_eq!(entry(&shown["limits"], limit)["limit_value"], 0, "{limit}");
    }
    let stack = Stack::of(world()).await;
    let (_, conversation) = stack.conversation().await;
    let id = stack.reply(&conversation).await;
    stack.send(id).await.unwrap();
    assert_eq!(stack.message(&conversation, id).await["status"], "sent");
    assert_eq!(sent(&stack).await, 1);

    let start = json!({ "e164": PHONE, "channel": "sms" });
    post(&company, &me, "phone/verify/start", &start)
        .await
        .expect(202);
    let deliveries = "SELECT id FROM messages_outbox WHERE tenant_id = $1 AND purpose = 'otp'";
    let admin = company.world.admin_sql().await;
    let rows = admin.query(deliveries, &[&company.world.tenant.0]).await.unwrap();
    for row in &rows {
        let id: Uuid = row.get(0);
        let wake = message(Some(company.world.tenant), Wake { id });
        stack.sender.handle(wake).await.unwrap();
    }
    assert_eq!(rows.len(), 1);
    assert_eq!(used(&company.world, &me, "sms.monthlyCap").await, 1);
    assert_eq!(sent(&stack).await, 1, "each channel has its own");
}
