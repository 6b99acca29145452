//! The list of sessions, and tokens as the function signs them.

use super::setup::{Company, PASSWORD, answer_from, post, tokens};
use crate::support::{Login, World, pkcs8, public_key};
use auth_function::Tokens;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_user_sees_own_sessions_and_ends_them() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let mut ids = vec![me.session_id.to_string()];
    for agent in ["Safari", "Android"] {
        company.wait(60);
        let body = json!({ "email": company.email, "password": PASSWORD, "delivery": "body" });
        let headers = [("content-type", "application/json"), ("user-agent", agent)];
        let answer = company
            .api
            .call("POST", "/v1/auth/login", &headers, body.to_string())
            .await;
        ids.insert(0, company.login(&answer.expect(200)).session_id.to_string());
    }
    company.world.admin().await;
    let listed = company.api.get(&me, "/v1/auth/sessions").await.expect(200);
    let field = |name: &str| {
        listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|session| session[name].clone())
            .collect::<Vec<Value>>()
    };
    assert_eq!(field("id"), ids, "newest first, and nobody else's");
    assert_eq!(field("user_agent"), ["Android", "Safari", "Firefox"]);
    assert_eq!(field("current"), [false, false, true]);
    assert_eq!(field("created_at"), field("last_used_at"));

    let page = company
        .api
        .get(&me, "/v1/auth/sessions?limit=2")
        .await
        .expect(200);
    let next = format!(
        "/v1/auth/sessions?limit=2&cursor={}",
        page["next_cursor"].as_str().unwrap()
    );
    let rest = company.api.get(&me, &next).await.expect(200);
    assert_eq!(
        (&rest["data"][0]["id"], &rest["next_cursor"]),
        (&json!(ids[2]), &json!(null))
    );
    company
        .api
        .get(&me, "/v1/auth/sessions?cursor=x")
        .await
        .expect_code(400, "INVALID_REQUEST");
    company
        .api
        .get(&me, "/v1/auth/sessions?limit=0")
        .await
        .expect_code(422, "VALIDATION_FAILED");

    let path = format!("/v1/auth/sessions/{}", ids[0]);
    company.api.delete(&me, &path).await.expect(204);
    company.api.delete(&me, &path).await.expect_code(404, "NOT_FOUND");
    let left = company.api.get(&me, "/v1/auth/sessions").await.expect(200);
    assert_eq!(left["data"].as_array().unwrap().len(), 2);
    assert!(company.actions().await.contains(&"session.revoked".to_owned()));
    company
        .api
        .delete(&me, &format!("/v1/auth/sessions/{}", me.session_id))
        .await
        .expect(204);
    company
        .api
        .get(&me, "/v1/auth/sessions")
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_session_tells_where_it_was_opened_and_when_it_was_last_used() {
    let company = Company::new().await;
    company.verify_email().await;
    let body = json!({ "email": company.email, "password": PASSWORD, "delivery": "body" });
    let answer = answer_from(&company.api, "198.51.100.23", "login", &body).await;
    let bytes = http_body_util::BodyExt::collect(answer.into_body())
        .await
        .unwrap();
    let opened: Value = serde_json::from_slice(&bytes.to_bytes()).unwrap();
    let me = company.login(&opened);
    let listed = async |me: &Login| {
        let sessions = company.api.get(me, "/v1/auth/sessions").await.expect(200);
        let id = json!(me.session_id);
        let all = sessions["data"].as_array().unwrap().clone();
        all.into_iter().find(|session| session["id"] == id).unwrap()
    };
    let before = listed(&me).await;
    assert_eq!(before["ip"], "198.51.100.23");
    assert_eq!(before["last_used_at"], before["created_at"]);

    company.wait(120);
    let refreshed = company.refresh(&opened["refresh_token"]).await.expect(200);
    let after = listed(&company.login(&refreshed)).await;
    assert_eq!(
        (&after["ip"], &after["created_at"]),
        (&before["ip"], &before["created_at"])
    );
    let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    for field in ["last_used_at", "expires_at"] {
        let moved = at(&after[field]).duration_since(at(&before[field]));
        assert_eq!(moved.as_secs(), 120, "{field}");
    }
}

#[tokio::test]
async fn a_session_of_somebody_else_is_a_missing_one() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let colleague = company.world.admin().await;
    let stranger = World::new().await.admin().await;
    for id in [
        colleague.session_id.to_string(),
        stranger.session_id.to_string(),
        testkit::unique().to_string(),
        "x".to_owned(),
    ] {
        company
            .api
            .delete(&me, &format!("/v1/auth/sessions/{id}"))
            .await
            .expect_code(404, "NOT_FOUND");
    }
    company.api.get(&colleague, "/v1/auth/sessions").await.expect(200);
    company
        .api
        .call("GET", "/v1/auth/sessions", &[], "")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    company
        .api
        .call("DELETE", &format!("/v1/auth/sessions/{}", me.session_id), &[], "")
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_revoked_session_can_not_refresh() {
    let company = Company::new().await;
    let other = company.log_in(PASSWORD).await.expect(200);
    let me = company.login(&other);
    let first = company.login(&company.signed_up).session_id;
    company
        .api
        .delete(&me, &format!("/v1/auth/sessions/{first}"))
        .await
        .expect(204);
    company
        .refresh(&company.signed_up["refresh_token"])
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

/// The secrets, with the signing key under one id and the published key under another.
fn keys(active: &str, signing: &str, published: &str, public: &[u8]) -> kernel::Result<Tokens> {
    let signing =
        json!({ "active": active, "keys": [{ "kid": signing, "private_key": STANDARD.encode(pkcs8()) }] });
    let published = json!({ "keys": [{ "kid": published, "public_key": URL_SAFE_NO_PAD.encode(public) }] });
    let (signing, published) = (
        serde_json::from_value(signing).unwrap(),
        serde_json::from_value(published).unwrap(),
    );
    Tokens::new(&signing, &published, "https://api.test", "m3corecrm")
}

#[tokio::test]
async fn a_function_whose_tokens_nobody_would_accept_does_not_start() {
    assert!(keys("a", "a", "a", &public_key()).is_ok());
    for broken in [
        keys("b", "a", "a", &public_key()),
        keys("a", "a", "b", &public_key()),
        keys("a", "a", "a", &[9; 32]),
    ] {
        assert!(broken.is_err());
    }
    drop(tokens());
}

#[tokio::test]
async fn a_token_of_a_key_that_is_not_published_is_refused() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let payload: Value = serde_json::from_slice(
        &URL_SAFE_NO_PAD
            .decode(me.token.split('.').nth(1).unwrap())
            .unwrap(),
    )
    .unwrap();
    let sign = |kid: &str| {
        identity::Signer::new(kid, &pkcs8())
            .unwrap()
            .sign(&payload)
            .unwrap()
    };
    let call = async |token: String| {
        company
            .api
            .get(&Login { token, ..me.clone() }, "/v1/auth/sessions")
            .await
            .status
    };
    assert_eq!(
        (call(sign("test")).await, call(sign("retired")).await),
        (200, 401)
    );
    let claims = payload.as_object().unwrap();
    let mut keys: Vec<&String> = claims.keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["aud", "exp", "iat", "iss", "sid", "sub", "tid"],
        "ids and times, nothing personal"
    );
    assert_eq!(
        post(
            &company.api,
            "logout",
            &[("authorization", &format!("Bearer {}", sign("retired")))],
            &json!({})
        )
        .await
        .status,
        401
    );
}
