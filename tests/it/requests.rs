//! What holds for every request: tokens, envelopes, ids.

mod keys;

use crate::support::{AUDIENCE, ISSUER, Login, World, claims_from, pkcs8, public_key, token};
use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

#[tokio::test]
async fn a_token_that_is_not_ours_is_refused() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let now = world.test.db.clock().now().as_second();
    let signed = |times: (i64, i64)| token(world.tenant, me.user_id, me.session_id, &times);
    let payload = me.token.split('.').nth(1).unwrap().to_owned();
    let claims: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&payload).unwrap()).unwrap();
    let none = format!(
        "{}.{payload}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"test"}"#)
    );
    let hs256 = Header {
        kid: Some("test".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let confused = jsonwebtoken::encode(&hs256, &claims, &EncodingKey::from_secret(&public_key())).unwrap();
    let unknown_kid = me.token.replacen(
        &me.token[..me.token.find('.').unwrap()],
        &URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"other"}"#),
        1,
    );
    let mut tampered = me.token.clone();
    tampered.replace_range(me.token.len() - 4.., "AAAA");
    // Signed with the right key, as everything but the one claim would have it.
    let saying = |claim: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[claim] = value;
        let signer = identity::Signer::new("test", &pkcs8()).unwrap();
        signer.sign(&claims).unwrap()
    };
    for same in [saying("iss", json!(ISSUER)), saying("aud", json!(AUDIENCE))] {
        let login = Login {
            token: same,
            ..me.clone()
        };
        api.get(&login, "/v1/contacts").await.expect(200);
    }
    let elsewhere = format!("{ISSUER}.elsewhere.example");
    for (what, token, code) in [
        (
            "another issuer",
            saying("iss", json!(elsewhere)),
            "UNAUTHENTICATED",
        ),
        ("no issuer", saying("iss", json!("")), "UNAUTHENTICATED"),
        (
            "another audience",
            saying("aud", json!("another-service")),
            "UNAUTHENTICATED",
        ),
        ("no audience", saying("aud", json!("")), "UNAUTHENTICATED"),
        ("alg none", none, "UNAUTHENTICATED"),
        ("HS256 with the public key", confused, "UNAUTHENTICATED"),
        ("an unknown kid", unknown_kid, "UNAUTHENTICATED"),
        ("a changed signature", tampered, "UNAUTHENTICATED"),
        (
            "a signer 10 minutes ahead",
            signed((now + 600, now + 1500)),
            "UNAUTHENTICATED",
        ),
        (
            "a token that ended 10 minutes ago",
            signed((now - 1500, now - 600)),
            "TOKEN_EXPIRED",
        ),
        ("nothing", String::new(), "UNAUTHENTICATED"),
    ] {
        let error = api.get(&Login { token, ..me.clone() }, "/v1/contacts").await;
        assert_eq!(error.status, 401, "{what}");
        assert_eq!(error.json()["error"]["code"], code, "{what}");
    }
    api.call("GET", "/v1/contacts", &[], Body::empty())
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_session_that_ended_ends_at_the_next_request() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    api.get(&me, "/v1/contacts").await.expect(200);
    let admin = world.admin_sql().await;
    admin
        .execute(
            "UPDATE sessions SET revoked_at = now() WHERE id = $1",
            &[&me.session_id],
        )
        .await
        .unwrap();
    api.get(&me, "/v1/contacts")
        .await
        .expect_code(401, "UNAUTHENTICATED");

    let other = world.admin().await;
    admin
        .execute(
            "UPDATE users SET status = 'suspended' WHERE id = $1",
            &[&other.user_id],
        )
        .await
        .unwrap();
    api.get(&other, "/v1/contacts")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    let third = world.admin().await;
    admin
        .execute(
            "UPDATE tenants SET status = 'suspended' WHERE id = $1",
            &[&world.tenant.0],
        )
        .await
        .unwrap();
    api.get(&third, "/v1/contacts")
        .await
        .expect_code(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_missing_permission_is_named_and_counts_at_the_next_request() {
    let world = World::new().await;
    let (api, reader) = (world.contacts(), world.user("read_only").await);
    api.get(&reader, "/v1/contacts").await.expect(200);
    let error = api
        .post(&reader, "/v1/contacts", &json!({ "first_name": "A" }))
        .await
        .expect_code(403, "FORBIDDEN");
    assert_eq!(error["details"]["permission"], "contact.create");
    world
        .admin_sql()
        .await
        .execute("DELETE FROM user_roles WHERE user_id = $1", &[&reader.user_id])
        .await
        .unwrap();
    api.get(&reader, "/v1/contacts")
        .await
        .expect_code(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_header_that_names_another_tenant_is_refused() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let own = world.tenant.to_string();
    api.json(&me, "GET", "/v1/contacts", &[("x-tenant-id", &own)], &json!({}))
        .await
        .expect(200);
    for other in [testkit::unique().to_string(), "x".to_owned(), String::new()] {
        api.json(&me, "GET", "/v1/contacts", &[("x-tenant-id", &other)], &json!({}))
            .await
            .expect_code(401, "TENANT_MISMATCH");
    }
}

#[tokio::test]
async fn every_answer_carries_the_request_id() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let answer = api
        .json(
            &me,
            "GET",
            "/v1/contacts/x",
            &[("x-request-id", "req-7")],
            &json!({}),
        )
        .await;
    assert_eq!(answer.headers["x-request-id"], "req-7");
    assert_eq!(answer.expect_code(404, "NOT_FOUND")["request_id"], "req-7");
    let long = "x".repeat(200);
    let answer = api
        .json(&me, "GET", "/v1/nothing", &[("x-request-id", &long)], &json!({}))
        .await;
    assert_ne!(answer.headers["x-request-id"], long);
    answer.expect_code(404, "NOT_FOUND");
    api.json(&me, "PUT", "/v1/contacts", &[], &json!({}))
        .await
        .expect_code(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn browsers_of_the_configured_origin_may_call() {
    let world = World::new().await;
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ];
        world
            .contacts()
            .call("OPTIONS", "/v1/contacts", &headers, Body::empty())
            .await
    };
    assert_eq!(
        preflight("https://app.test").await.headers["access-control-allow-origin"],
        "https://app.test"
    );
    assert!(
        !preflight("https://evil.test")
            .await
            .headers
            .contains_key("access-control-allow-origin")
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_with_retry_after() {
    let world = World::new().await;
    let me = world.admin().await;
    let gone = config::Database {
        port: 1,
        ..world.test.settings.clone()
    };
    let db = db::Db::new(&gone, testkit::keys::sealer(), kernel::Clock::system()).unwrap();
    let app = contacts_function::App {
        db,
        web: world.web(),
        app_url: "https://app.test".into(),
    };
    let answer = crate::support::Api(contacts_function::routes().into_service(app))
        .get(&me, "/v1/contacts")
        .await;
    assert_eq!(answer.headers["retry-after"], "2");
    answer.expect_code(503, "UNAVAILABLE");
    let _ = claims_from(world.test.db.clock());
}

/// The body may hold a password, a code or a number, and of six digits every hash is soon tried.
#[tokio::test]
async fn of_a_body_sent_with_a_key_only_a_keyed_hash_is_kept() {
    let (one, other) = (World::new().await, World::new().await);
    let body = json!({ "first_name": "Mona" });
    let key = [("idempotency-key", "made-once")];
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for world in [&one, &other] {
        let (api, me) = (world.contacts(), world.admin().await);
        let made = api.json(&me, "POST", "/v1/contacts", &key, &body).await;
        let again = api.json(&me, "POST", "/v1/contacts", &key, &body).await;
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert_eq!(again.expect(201), made.expect(201));
        api.json(
            &me,
            "POST",
            "/v1/contacts",
            &key,
            &json!({ "first_name": "Omar" }),
        )
        .await
        .expect_code(422, "VALIDATION_FAILED");
        let sql = "SELECT fingerprint FROM idempotency_keys WHERE tenant_id = $1";
        let admin = world.admin_sql().await;
        kept.push(admin.query_one(sql, &[&world.tenant.0]).await.unwrap().get(0));
    }
    let mut plain = Context::new(&SHA256);
    for part in ["POST", "/v1/contacts", &body.to_string()] {
        plain.update(&(part.len() as u64).to_be_bytes());
        plain.update(part.as_bytes());
    }
    let plain = plain.finish();
    assert_eq!(kept[0].len(), 32);
    assert!(kept.iter().all(|kept| kept != plain.as_ref()));
    assert_ne!(kept[0], kept[1], "each company's its own");
}
