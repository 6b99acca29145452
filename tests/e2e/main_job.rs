//! The main job as a client sees it: a company signs up, connects its number, somebody writes, the
//! answer goes out, and its status comes back.

use crate::logs;
use crate::stack::Stack;
use crate::tenant::{Tenant, person, wamid};
use serde_json::{Value, json};

#[tokio::test]
async fn from_signup_to_the_reply_that_was_read() {
    let stack = Stack::running();
    let tenant = Tenant::connected(&stack).await;
    let (id, from) = (wamid(), person());
    let posted = tenant
        .post(&tenant.message(&id, &from, "e2e-text: is it still for sale?"))
        .await
        .expect(200);
    assert_eq!(posted, json!({ "status": "accepted" }));

    let message = tenant.received(&id).await;
    assert_eq!(message["direction"], "inbound");
    assert_eq!(message["body"], "e2e-text: is it still for sale?");
    let conversations = tenant.get("/v1/conversations").await;
    let conversation = conversations["data"][0].clone();
    assert_eq!(conversations["data"].as_array().unwrap().len(), 1);
    assert_eq!(conversation["unread_count"], 1);
    assert_eq!(conversation["last_message"]["id"], message["id"]);
    let contact = tenant
        .get(&format!(
            "/v1/contacts/{}",
            conversation["contact_id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(contact["first_name"], "Basil Quillfeather");
    assert_eq!(contact["channels"][0]["value"], format!("+{from}"));

    statuses_follow(&tenant).await;
    let path = format!(
        "/v1/conversations/{}/messages",
        conversation["id"].as_str().unwrap()
    );
    let queued = tenant
        .call("POST", &path, &json!({ "body": "e2e-text: it is." }))
        .await
        .expect(202);
    assert_eq!(queued["status"], "queued");
    let look = async || {
        let messages = tenant.get(&path).await;
        let newest = messages["data"][0].clone();
        assert_eq!(newest["id"], queued["id"], "newest first");
        assert!(
            !["failed", "dead"].contains(&newest["status"].as_str().unwrap()),
            "{newest}"
        );
        (newest["status"] == "read").then_some(newest)
    };
    let read = stack.wait_for("the reply's being read", look).await;
    for time in ["sent_at", "delivered_at", "read_at"] {
        assert!(read[time].is_string(), "{time}: {read}");
    }
    sent_once(&tenant, &read, &from).await;
    let conversation = tenant
        .get(&format!(
            "/v1/conversations/{}",
            conversation["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(conversation["unread_count"], 0);
    assert_eq!(conversation["last_message"]["status"], "read");
    logs::tell_nothing(&[&tenant.token, &from]);
}

/// Has the provider post statuses of what this company sends.
async fn statuses_follow(tenant: &Tenant) {
    let behaviour = json!({
        "provider": "meta",
        "status_webhooks": {
            "url": format!("{}/v1/webhooks/meta", tenant.stack.text("/webhooks_url")),
            "app_secret": tenant.app_secret.expose(),
            "phone_number_id": tenant.phone_number_id,
            "sequence": ["sent", "delivered", "read"],
            "delay_ms": 200,
        },
    });
    assert_eq!(
        tenant
            .stack
            .providers("POST", "/behaviour", &behaviour)
            .await
            .status,
        204
    );
}

/// The provider got the reply once, to the person who wrote, and gave it the id that we keep.
async fn sent_once(tenant: &Tenant, reply: &Value, to: &str) {
    let got = tenant
        .stack
        .providers("GET", "/requests?provider=meta", &Value::Null)
        .await
        .expect(200);
    let ours = |request: &&Value| {
        request["path"]
            .as_str()
            .unwrap()
            .contains(&tenant.phone_number_id)
    };
    let sends: Vec<&Value> = got.as_array().unwrap().iter().filter(ours).collect();
    assert_eq!(sends.len(), 1, "{sends:?}");
    assert_eq!(sends[0]["body"]["to"], format!("+{to}"));
    assert_eq!(sends[0]["body"]["text"]["body"], "e2e-text: it is.");
    assert_eq!(sends[0]["provider_message_id"], reply["provider_message_id"]);
}
