//! Connecting accounts, and what the edge knows of them.

use super::stack::{Stack, at_edge, aws_env, digits, meta_account, task};
use cloud::{Cloud, EdgeSecret};
use kernel::Clock;
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn an_account_is_known_to_the_edge_from_its_creation_to_its_deletion() {
    let stack = Stack::new().await;
    let (api, me, number) = (&stack.api, &stack.me, digits());
    let created = api
        .post(me, "/v1/whatsapp-accounts", &meta_account(&number))
        .await;
    for secret in ["EAAG-token", "app-secret", "verify-me"] {
        assert!(!created.text.contains(secret));
    }
    let created = created.expect(201);
    assert_eq!(created["phone_number_id"], json!(number));
    assert_eq!(created["status"], "active");
    let known = stack
        .app
        .accounts
        .find(cloud::Provider::Meta, &number)
        .await
        .unwrap();
    assert_eq!(json!(known[0].account_id), created["id"]);
    assert_eq!(known[0].tenant, stack.world.tenant);
    let EdgeSecret::Meta {
        app_secret,
        verify_token,
    } = &known[0].secret
    else {
        panic!("a Meta secret")
    };
    assert_eq!(
        (app_secret.expose().as_str(), verify_token.expose().as_str()),
        ("app-secret", "verify-me")
    );

    let path = format!("/v1/whatsapp-accounts/{}", created["id"].as_str().unwrap());
    assert_eq!(api.get(me, &path).await.expect(200), created);
    let listed = api.get(me, "/v1/whatsapp-accounts").await.expect(200);
    assert_eq!(listed, json!({ "data": [created], "next_cursor": null }));
    let twice = api
        .post(me, "/v1/whatsapp-accounts", &meta_account(&number))
        .await
        .expect_code(409, "DUPLICATE");
    assert_eq!(twice["details"]["id"], created["id"]);

    let change = json!({ "label": "Sales", "credentials": { "app_secret": "rotated" } });
    assert_eq!(api.patch(me, &path, &change).await.expect(200)["label"], "Sales");
    let known = stack
        .app
        .accounts
        .refresh(cloud::Provider::Meta, &number)
        .await
        .unwrap();
    let EdgeSecret::Meta { app_secret, .. } = &known[0].secret else {
        panic!("a Meta secret")
    };
    assert_eq!(app_secret.expose(), "rotated");

    api.patch(me, &path, &json!({ "status": "disabled" }))
        .await
        .expect(200);
    assert!(at_edge(&stack.app.accounts, &number).await.is_empty());
    api.patch(me, &path, &json!({ "status": "active" }))
        .await
        .expect(200);
    assert_eq!(at_edge(&stack.app.accounts, &number).await.len(), 1);
    api.delete(me, &path).await.expect(204);
    assert!(at_edge(&stack.app.accounts, &number).await.is_empty());
    api.get(me, &path).await.expect_code(404, "NOT_FOUND");
    api.delete(me, &path).await.expect_code(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_repeated_creation_answers_the_same_and_tells_the_edge_again() {
    let stack = Stack::new().await;
    let (number, key) = (digits(), [("idempotency-key", "connect-1")]);
    let body = meta_account(&number);
    let first = stack
        .api
        .json(&stack.me, "POST", "/v1/whatsapp-accounts", &key, &body)
        .await;
    let again = stack
        .api
        .json(&stack.me, "POST", "/v1/whatsapp-accounts", &key, &body)
        .await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(first.expect(201), again.expect(201));
    assert_eq!(at_edge(&stack.app.accounts, &number).await.len(), 1);
}

#[tokio::test]
async fn while_the_edge_is_away_nothing_is_promised_and_the_sweep_finishes() {
    let stack = Stack::alone().await;
    let number = digits();
    let nowhere = Cloud::connect(&aws_env("http://127.0.0.1:9")).unwrap();
    let away = nowhere.accounts("state", testkit::keys::sealer(), Clock::system());
    let broken = messaging_function::App {
        accounts: Arc::new(away),
        ..stack.app.clone()
    };
    let broken = crate::support::Api(messaging_function::routes().into_service(broken));
    broken
        .post(&stack.me, "/v1/whatsapp-accounts", &meta_account(&number))
        .await
        .expect_code(503, "UNAVAILABLE");
    assert!(at_edge(&stack.app.accounts, &number).await.is_empty());

    let listed = stack
        .api
        .get(&stack.me, "/v1/whatsapp-accounts")
        .await
        .expect(200);
    let id = listed["data"][0]["id"].as_str().unwrap().to_owned();
    let admin = stack.world.admin_sql().await;
    let age = "UPDATE channel_accounts SET updated_at = updated_at - interval '1 minute'";
    admin.execute(age, &[]).await.unwrap();
    stack.scheduler.handle(task("minute")).await.unwrap();
    assert_eq!(at_edge(&stack.app.accounts, &number).await.len(), 1);

    // and a deletion that the edge did not hear of
    broken
        .delete(&stack.me, &format!("/v1/whatsapp-accounts/{id}"))
        .await
        .expect_code(503, "UNAVAILABLE");
    admin.execute(age, &[]).await.unwrap();
    // the directory keeps the newer of two versions, so the deletion's must not look older
    stack.scheduler.handle(task("minute")).await.unwrap();
    assert!(at_edge(&stack.app.accounts, &number).await.is_empty());
    let left: i64 = admin
        .query_one(
            "SELECT count(*) FROM channel_accounts WHERE edge_published_at IS NULL",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn only_those_who_may_manage_accounts_reach_them_and_only_their_own() {
    let stack = Stack::new().await;
    let account = stack.connect(&digits()).await;
    let path = format!("/v1/whatsapp-accounts/{}", account.account_id);
    let manager = stack.world.user("manager").await;
    let stranger = stack.world.neighbour().await.admin().await;
    for (method, path) in [
        ("GET", "/v1/whatsapp-accounts"),
        ("GET", &path),
        ("PATCH", &path),
        ("DELETE", &path),
    ] {
        let refused = stack
            .api
            .json(&manager, method, path, &[], &json!({}))
            .await
            .expect_code(403, "FORBIDDEN");
        assert_eq!(refused["details"]["permission"], "messaging.accounts.manage");
        if path.len() > 30 {
            stack
                .api
                .json(&stranger, method, path, &[], &json!({}))
                .await
                .expect_code(404, "NOT_FOUND");
        }
    }
    let listed = stack
        .api
        .get(&stranger, "/v1/whatsapp-accounts")
        .await
        .expect(200);
    assert_eq!(listed["data"], json!([]));
    let unknown = json!({ "provider": "meta", "token": 1 });
    assert_ne!(
        stack
            .api
            .post(&stack.me, "/v1/whatsapp-accounts", &unknown)
            .await
            .status,
        201
    );
    let mut body = meta_account(&digits());
    body["phone_number_id"] = Value::Null;
    stack
        .api
        .post(&stack.me, "/v1/whatsapp-accounts", &body)
        .await
        .expect_code(422, "VALIDATION_FAILED");
}
