//! The processor: whose event is whose, and what does not work out.

use super::stack::{Stack, digits, message, meta_body, status, text_message};
use config::Database;
use db::Db;
use kernel::Clock;
use providers::intake::{Source, VerifiedAccount, WebhookBody};
use serde_json::{Value, json};
use std::collections::BTreeMap;

async fn unresolved(stack: &Stack, account_key: &str) -> i64 {
    let sql = "SELECT count(*) FROM webhook_events WHERE account_key = $1 AND tenant_id IS NULL AND status = 'unresolved'";
    stack
        .world
        .admin_sql()
        .await
        .query_one(sql, &[&account_key])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn fifty_messages_for_three_companies_in_one_body() {
    let stacks = [Stack::new().await, Stack::new().await, Stack::new().await];
    let mut accounts = Vec::new();
    for stack in &stacks {
        accounts.push(stack.connect(&digits()).await);
    }
    let nobody = digits();
    let messages: Vec<Vec<Value>> = (0..3)
        .map(|part| {
            (0..50)
                .filter(|n| n % 3 == part)
                .map(|n| text_message(&format!("2010012345{n:02}"), "hi"))
                .collect()
        })
        .collect();
    let stray = [text_message("201001234567", "for nobody")];
    let mut parts: Vec<(&str, &[Value], &[Value])> = accounts
        .iter()
        .zip(&messages)
        .map(|(account, all)| (account.provider_key.as_str(), all.as_slice(), [].as_slice()))
        .collect();
    parts.push((&nobody, &stray, &[]));
    let body = meta_body(&parts);
    for _ in 0..2 {
        stacks[0]
            .post(Source::Meta, &body, "", accounts.clone())
            .await
            .unwrap();
    }
    for (stack, expected) in stacks.iter().zip([17, 17, 16]) {
        let listed = stack
            .api
            .get(&stack.me, "/v1/conversations?limit=200")
            .await
            .expect(200);
        assert_eq!(listed["data"].as_array().unwrap().len(), expected);
        assert!(
            listed["data"]
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["unread_count"] == 1)
        );
    }
    // once as posted, and once as posted again: the second delivery has another time of receipt
    assert_eq!(unresolved(&stacks[0], &nobody).await, 2);
}

#[tokio::test]
async fn the_same_queue_message_twice_keeps_an_unresolved_event_once() {
    let stack = Stack::new().await;
    let nobody = digits();
    let body = meta_body(&[(&nobody, &[text_message("201001234567", "for nobody")], &[])]);
    let first = stack.webhook(Source::Meta, encoded(&body), "", vec![]);
    stack.processor.handle(first.clone()).await.unwrap();
    stack.processor.handle(first).await.unwrap();
    assert_eq!(unresolved(&stack, &nobody).await, 1);
}

#[tokio::test]
async fn every_type_of_message_is_stored_with_something_to_read() {
    let stack = Stack::new().await;
    let account = stack.connect(&digits()).await;
    let of = |kind: &str, part: Value| {
        let mut message = text_message("201001234567", "");
        message["type"] = kind.into();
        message.as_object_mut().unwrap().remove("text");
        message[kind] = part;
        message
    };
    let messages = [
        of(
            "image",
            json!({ "id": "m1", "mime_type": "image/jpeg", "caption": "The kitchen" }),
        ),
        of(
            "audio",
            json!({ "id": "m2", "mime_type": "audio/ogg; codecs=opus" }),
        ),
        of("document", json!({ "id": "m3", "filename": "plan.pdf" })),
        of(
            "location",
            json!({ "latitude": 30.0444, "longitude": 31.2357, "name": "Cairo" }),
        ),
        of("contacts", json!([{ "name": { "formatted_name": "Omar" } }])),
        of("button", json!({ "text": "Yes", "payload": "YES" })),
        of(
            "interactive",
            json!({ "type": "list_reply", "list_reply": { "id": "1", "title": "Villa" } }),
        ),
        of("reaction", json!({ "message_id": "wamid.x", "emoji": "👍" })),
        of("hologram", json!({})),
    ];
    let body = meta_body(&[(&account.provider_key, &messages, &[])]);
    stack.post(Source::Meta, &body, "", vec![account]).await.unwrap();
    let listed = stack.api.get(&stack.me, "/v1/conversations").await.expect(200);
    let path = format!(
        "/v1/conversations/{}/messages",
        listed["data"][0]["id"].as_str().unwrap()
    );
    let stored = stack.api.get(&stack.me, &path).await.expect(200)["data"].clone();
    let read: BTreeMap<&str, &str> = stored
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            (
                message["type"].as_str().unwrap(),
                message["body"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("audio", "[audio]"),
        ("button", "Yes"),
        ("contacts", "Omar"),
        ("document", "[document]"),
        ("image", "The kitchen"),
        ("interactive", "Villa"),
        ("location", "📍 Cairo (30.0444, 31.2357)"),
        ("reaction", "👍"),
        ("unsupported", "[unsupported message]"),
    ];
    assert_eq!(read, BTreeMap::from(expected));
    let document = stored
        .as_array()
        .unwrap()
        .iter()
        .find(|message| message["type"] == "document")
        .unwrap();
    assert_eq!(document["media"][0]["filename"], "plan.pdf");
}

#[tokio::test]
async fn twilio_messages_are_told_apart_by_number_and_statuses_found_by_our_reference() {
    let stack = Stack::new().await;
    let sid = format!("AC{}", digits());
    let body = json!({ "provider": "twilio", "provider_account_id": sid, "display_phone_number": "+14155238886",
                       "credentials": { "auth_token": "t0ken" } });
    let created = stack
        .api
        .post(&stack.me, "/v1/whatsapp-accounts", &body)
        .await
        .expect(201);
    let account = VerifiedAccount {
        provider_key: format!("{sid}/+14155238886"),
        tenant_id: stack.world.tenant.0,
        account_id: created["id"].as_str().unwrap().parse().unwrap(),
    };
    let form = |to: &str| {
        format!(
            "AccountSid={sid}&MessageSid=SM{}&From=whatsapp%3A%2B201001234567&To=whatsapp%3A%2B{to}&Body=hello&ProfileName=Salma",
            digits()
        )
    };
    stack
        .post(Source::Twilio, &form("14155238886"), "", vec![account.clone()])
        .await
        .unwrap();
    stack
        .post(Source::Twilio, &form("14155238887"), "", vec![account.clone()])
        .await
        .unwrap();
    assert_eq!(
        unresolved(&stack, &sid).await,
        1,
        "another number of the same account is nobody's"
    );
    let listed = stack.api.get(&stack.me, "/v1/conversations").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let conversation = listed["data"][0]["id"].as_str().unwrap();

    let id = stack.reply(conversation).await;
    stack.send(id).await.unwrap();
    let sent = stack.providers.requests().remove(0);
    assert_eq!(sent.body["From"], "whatsapp:+14155238886");
    assert_eq!(
        sent.body["StatusCallback"],
        format!("https://hooks.test/v1/webhooks/twilio?ref={id}")
    );
    let message_sid = sent.provider_message_id.unwrap();
    let form = format!(
        "AccountSid={sid}&MessageSid={message_sid}&MessageStatus=delivered&From=whatsapp%3A%2B14155238886&To=whatsapp%3A%2B201001234567"
    );
    stack
        .post(Source::Twilio, &form, &format!("ref={id}"), vec![account])
        .await
        .unwrap();
    assert_eq!(stack.message(conversation, id).await["status"], "delivered");
}

#[tokio::test]
async fn while_the_database_is_away_a_webhook_comes_again() {
    let stack = Stack::new().await;
    let account = stack.connect(&digits()).await;
    let body = meta_body(&[(&account.provider_key, &[text_message("201001234567", "hi")], &[])]);
    let away = Database {
        port: 9,
        ..stack.world.test.settings.clone()
    };
    let mut processor = stack.processor.clone();
    processor.db = Db::new(&away, testkit::keys::sealer(), Clock::system()).unwrap();
    let webhook = stack.webhook(Source::Meta, encoded(&body), "", vec![account]);
    assert!(
        processor
            .handle(webhook.clone())
            .await
            .unwrap_err()
            .is_transient()
    );
    stack.processor.handle(webhook).await.unwrap();
    assert_eq!(
        stack.api.get(&stack.me, "/v1/conversations").await.expect(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn nothing_that_was_verified_is_given_up_as_a_clients_mistake() {
    let stack = Stack::new().await;
    let mut account = stack.connect(&digits()).await;
    account.account_id = testkit::unique();
    let body = meta_body(&[(
        &account.provider_key,
        &[text_message("201001234567", "hi")],
        &[status("wamid.x", "sent", None)],
    )]);
    let refused = stack
        .post(Source::Meta, &body, "", vec![account])
        .await
        .unwrap_err();
    assert_eq!(
        refused.code(),
        kernel::Code::Internal,
        "it goes to the dead-letter queue"
    );
    let unreadable = message(
        None,
        stack
            .webhook(Source::Meta, WebhookBody::Base64("%".into()), "", vec![])
            .payload,
    );
    assert_eq!(
        stack.processor.handle(unreadable).await.unwrap_err().code(),
        kernel::Code::Internal
    );
}

#[tokio::test]
async fn one_poisoned_record_of_ten_comes_back_alone() {
    let stack = Stack::new().await;
    let account = stack.connect(&digits()).await;
    let records: Vec<Value> = (0..10)
        .map(|n| {
            let body = meta_body(&[(
                &account.provider_key,
                &[text_message(&format!("20100123450{n}"), "hi")],
                &[],
            )]);
            let owner = if n == 4 {
                testkit::unique()
            } else {
                account.account_id
            };
            let webhook = stack.webhook(
                Source::Meta,
                encoded(&body),
                "",
                vec![VerifiedAccount {
                    account_id: owner,
                    ..account.clone()
                }],
            );
            let envelope = kernel::Envelope::new(Some(stack.world.tenant), "req-test", webhook.payload);
            json!({ "messageId": format!("m{n}"), "body": envelope.to_json().unwrap() })
        })
        .collect();
    let event = serde_json::from_value(json!({ "Records": records })).unwrap();
    let budget = worker::Budget::of(std::time::Duration::from_secs(30));
    let handle = async |message| stack.processor.handle(message).await;
    let response = worker::process_batch("test", &handle, event, budget, &Clock::system()).await;
    let returned: Vec<_> = response
        .batch_item_failures
        .iter()
        .map(|failure| failure.item_identifier.as_str())
        .collect();
    assert_eq!(returned, ["m4"]);
    assert_eq!(
        stack.api.get(&stack.me, "/v1/conversations").await.expect(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        9
    );
}

fn encoded(body: &str) -> WebhookBody {
    use base64::{Engine, engine::general_purpose::STANDARD};
    WebhookBody::Base64(STANDARD.encode(body))
}
