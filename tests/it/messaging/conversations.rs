//! The main job, from a webhook to a read reply; and who may see what of it.

use super::stack::{Stack, digits, drain, meta_body, status, text_message};
use crate::support::Login;
use notifications::delivery::Wake;
use providers::intake::Source;
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_comes_in_and_its_reply_goes_out_and_is_read() {
    let stack = Stack::new().await;
    let account = stack.connect(&digits()).await;
    let inbound = text_message("201001234567", "Is the flat still free?");
    let body = meta_body(&[(&account.provider_key, std::slice::from_ref(&inbound), &[])]);
    stack
        .post(Source::Meta, &body, "", vec![account.clone()])
        .await
        .unwrap();
    stack
        .post(Source::Meta, &body, "", vec![account.clone()])
        .await
        .unwrap();

    let listed = stack.api.get(&stack.me, "/v1/conversations").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let conversation = &listed["data"][0];
    for field in ["id", "contact_id", "last_message_at", "window_expires_at"] {
        assert!(conversation[field].is_string(), "{field}");
    }
    assert_eq!(
        (&conversation["channel"], &conversation["state"]),
        (&json!("whatsapp"), &json!("open"))
    );
    assert_eq!(
        (&conversation["unread_count"], &conversation["assignee_user_id"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(conversation["last_message"]["body"], "Is the flat still free?");
    let id = conversation["id"].as_str().unwrap();
    let path = format!("/v1/conversations/{id}/messages");
    let messages = stack.api.get(&stack.me, &path).await.expect(200);
    assert_eq!(messages["data"][0]["provider_message_id"], inbound["id"]);
    assert_eq!(messages["data"][0]["direction"], "inbound");

    let (reply, key) = (
        json!({ "body": "Yes. When would you like to see it?" }),
        [("idempotency-key", "reply-1")],
    );
    let answer = stack
        .api
        .json(&stack.me, "POST", &path, &key, &reply)
        .await
        .expect(202);
    let repeated = stack.api.json(&stack.me, "POST", &path, &key, &reply).await;
    assert_eq!(repeated.headers["idempotency-replayed"], "true");
    assert_eq!(repeated.expect(202), answer);
    assert_eq!(
        (&answer["status"], &answer["sent_by_user_id"]),
        (&json!("queued"), &json!(stack.me.user_id))
    );

    let woken = drain::<Wake>(&stack.deliveries_url).await;
    assert_eq!(woken.len(), 1, "a replayed request wakes nobody");
    assert_eq!(json!(woken[0].payload.id), answer["id"]);
    stack.send(woken[0].payload.id).await.unwrap();
    let sent = stack.providers.requests();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].path, format!("/v23.0/{}/messages", account.provider_key));
    assert_eq!(sent[0].headers["authorization"], "Bearer EAAG-token");
    assert_eq!(sent[0].body["text"]["body"], reply["body"]);
    assert_eq!(sent[0].body["to"], "+201001234567");
    let message = stack.message(id, woken[0].payload.id).await;
    assert_eq!(message["status"], "sent");
    assert_eq!(message["provider_message_id"], json!(sent[0].provider_message_id));

    let provider_id = message["provider_message_id"].as_str().unwrap();
    for (step, at) in [("delivered", "delivered_at"), ("read", "read_at")] {
        let body = meta_body(&[(&account.provider_key, &[], &[status(provider_id, step, None)])]);
        stack
            .post(Source::Meta, &body, "", vec![account.clone()])
            .await
            .unwrap();
        let message = stack.message(id, woken[0].payload.id).await;
        assert_eq!(message["status"], step);
        assert!(message[at].is_string());
    }
    let after = stack
        .api
        .get(&stack.me, &format!("/v1/conversations/{id}"))
        .await
        .expect(200);
    assert_eq!(
        (&after["unread_count"], &after["last_message"]["status"]),
        (&json!(0), &json!("read"))
    );
}

#[tokio::test]
async fn a_conversation_is_assigned_closed_and_marked_as_read() {
    let stack = Stack::new().await;
    let (_, id) = stack.conversation().await;
    let (api, me, path) = (&stack.api, &stack.me, format!("/v1/conversations/{id}"));
    let tag = api.get(me, &path).await.headers["etag"].clone();
    let change = json!({ "assignee_user_id": me.user_id, "state": "pending", "unread_count": 0 });
    let changed = api
        .json(me, "PATCH", &path, &[("if-match", &tag)], &change)
        .await
        .expect(200);
    assert_eq!(changed["assignee_user_id"], json!(me.user_id));
    assert_eq!(
        (&changed["state"], &changed["unread_count"]),
        (&json!("pending"), &json!(0))
    );
    assert_eq!(api.get(me, &path).await.expect(200), changed);
    api.json(me, "PATCH", &path, &[("if-match", &tag)], &change)
        .await
        .expect_code(412, "STALE");

    let mine = api
        .get(
            me,
            &format!("/v1/conversations?assignee_user_id={}&state=pending", me.user_id),
        )
        .await
        .expect(200);
    assert_eq!(mine["data"][0]["id"], json!(id));
    assert_eq!(
        api.get(me, "/v1/conversations?state=open").await.expect(200)["data"],
        json!([])
    );
    let freed = api
        .patch(me, &path, &json!({ "assignee_user_id": null }))
        .await
        .expect(200);
    assert_eq!(freed["assignee_user_id"], Value::Null);

    for bad in [
        json!({ "unread_count": 3 }),
        json!({ "state": "gone" }),
        json!({ "contact_id": me.user_id }),
    ] {
        api.patch(me, &path, &bad)
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    let audited = "SELECT count(*) FROM audit_logs WHERE entity_id = $1::text::uuid AND action = 'conversation.updated'";
    let audited: i64 = stack
        .world
        .admin_sql()
        .await
        .query_one(audited, &[&id])
        .await
        .unwrap()
        .get(0);
    assert_eq!(audited, 2);
}

#[tokio::test]
async fn another_companys_ids_are_as_good_as_none() {
    let stack = Stack::new().await;
    let (_, id) = stack.conversation().await;
    let neighbour = stack.world.neighbour().await;
    let stranger = neighbour.admin().await;
    let reads: [(&str, String, Value); 4] = [
        ("GET", format!("/v1/conversations/{id}"), json!({})),
        (
            "PATCH",
            format!("/v1/conversations/{id}"),
            json!({ "state": "closed" }),
        ),
        ("GET", format!("/v1/conversations/{id}/messages"), json!({})),
        (
            "POST",
            format!("/v1/conversations/{id}/messages"),
            json!({ "body": "hi" }),
        ),
    ];
    let call = async |login: &Login, method: &str, path: &str, body: &Value| {
        let mut error = stack
            .api
            .json(login, method, path, &[], body)
            .await
            .expect_code(404, "NOT_FOUND");
        error["request_id"] = Value::Null;
        error
    };
    for (method, path, body) in &reads {
        let foreign = call(&stranger, method, path, body).await;
        let missing = call(
            &stranger,
            method,
            &path.replace(&id, &testkit::unique().to_string()),
            body,
        )
        .await;
        assert_eq!(foreign, missing, "{method} {path}");
    }
    // in a body, too
    let path = format!("/v1/conversations/{id}");
    for user in [stranger.user_id, testkit::unique()] {
        call(&stack.me, "PATCH", &path, &json!({ "assignee_user_id": user })).await;
    }
    assert_eq!(
        stack.api.get(&stranger, "/v1/conversations").await.expect(200)["data"],
        json!([])
    );
    let filtered = format!("/v1/conversations?assignee_user_id={}", stack.me.user_id);
    assert_eq!(
        stack.api.get(&stranger, &filtered).await.expect(200)["data"],
        json!([])
    );
    let reader = stack.world.user("read_only").await;
    stack.api.get(&reader, &path).await.expect(200);
    let refused = stack
        .api
        .post(&reader, &format!("{path}/messages"), &json!({ "body": "hi" }))
        .await;
    assert_eq!(
        refused.expect_code(403, "FORBIDDEN")["details"]["permission"],
        "messaging.send"
    );
    let close = json!({ "state": "closed" });
    let refused = stack.api.json(&reader, "PATCH", &path, &[], &close).await;
    refused.expect_code(403, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_assigned_to_nobody_who_is_not_active() {
    let stack = Stack::new().await;
    let (_, id) = stack.conversation().await;
    let (api, me, path) = (&stack.api, &stack.me, format!("/v1/conversations/{id}"));
    let sql = stack.world.admin_sql().await;
    let set = "UPDATE users SET status = $3 WHERE tenant_id = $1 AND id = $2";
    let tenant = stack.world.tenant.0;
    let colleague = stack.world.user("staff").await.user_id;
    let assign = json!({ "assignee_user_id": colleague });
    for status in ["invited", "suspended", "deactivated"] {
        sql.execute(set, &[&tenant, &colleague, &status]).await.unwrap();
        api.patch(me, &path, &assign).await.expect_code(404, "NOT_FOUND");
    }
    sql.execute(set, &[&tenant, &colleague, &"active"]).await.unwrap();
    api.patch(me, &path, &assign).await.expect(200);
    // Whose it is already, it stays, though they can't log in for now.
    sql.execute(set, &[&tenant, &colleague, &"suspended"])
        .await
        .unwrap();
    let close = json!({ "assignee_user_id": colleague, "state": "closed" });
    assert_eq!(api.patch(me, &path, &close).await.expect(200)["state"], "closed");

    // Somebody is just leaving: the conversation waits for that, and then does not go to them.
    let leaving = stack.world.user("staff").await.user_id;
    sql.batch_execute("BEGIN").await.unwrap();
    sql.execute(set, &[&tenant, &leaving, &"deactivated"])
        .await
        .unwrap();
    let assign = json!({ "assignee_user_id": leaving });
    let end = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        sql.batch_execute("COMMIT").await.unwrap();
    };
    let (assigned, ()) = futures::join!(api.patch(me, &path, &assign), end);
    assigned.expect_code(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_closed_window_is_said_before_any_provider_is_called() {
    let stack = Stack::new().await;
    let account = stack.connect(&digits()).await;
    let mut old = text_message("201001234567", "yesterday");
    old["timestamp"] = json!((stack.now().as_second() - 24 * 3600 - 1).to_string());
    let body = meta_body(&[(&account.provider_key, &[old], &[])]);
    stack.post(Source::Meta, &body, "", vec![account]).await.unwrap();
    let listed = stack.api.get(&stack.me, "/v1/conversations").await.expect(200);
    let path = format!(
        "/v1/conversations/{}/messages",
        listed["data"][0]["id"].as_str().unwrap()
    );
    stack
        .api
        .post(&stack.me, &path, &json!({ "body": "hi" }))
        .await
        .expect_code(422, "WINDOW_CLOSED");
    assert!(drain::<Wake>(&stack.deliveries_url).await.is_empty());
    let template =
        json!({ "template_code": "follow_up", "payload": { "language": "ar", "parameters": ["Salma"] } });
    let queued = stack.api.post(&stack.me, &path, &template).await.expect(202);
    stack
        .send(queued["id"].as_str().unwrap().parse().unwrap())
        .await
        .unwrap();
    let sent = stack.providers.requests().remove(0);
    assert_eq!(sent.body["template"]["name"], "follow_up");
    assert_eq!(sent.body["template"]["language"]["code"], "ar");
    assert_eq!(
        sent.body["template"]["components"][0]["parameters"][0]["text"],
        "Salma"
    );
}
