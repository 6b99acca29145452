//! What whoever runs the system may set: how many wrong passwords an account bears, and how long tokens are
//! good for (S1.6).

use super::setup::{Company, PASSWORD, post, tokens};
use auth_function::Limits;
use config::Env;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn as_many_wrong_passwords_as_are_set_lock_for_as_long_as_is_set() {
    let company = Company::new().await;
    company.verify_email().await;
    let api = company
        .with_limits(Limits {
            wrong_tries: 3,
            back_off: Duration::from_mins(1),
            ..Limits::DEFAULT
        })
        .await;
    let log_in = async |password: &str| {
        let body = json!({ "email": company.email, "password": password });
        post(&api, "login", &[], &body).await
    };
    for _ in 0..3 {
        log_in("violet tram lanterm")
            .await
            .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    }
    for (waited, left) in [(0, 60), (59, 1)] {
        company.wait(waited);
        let refused = log_in(PASSWORD).await;
        let wait: i64 = refused.headers["retry-after"].parse().unwrap();
        assert!((left..=left + 1).contains(&wait), "{wait}");
        refused.expect_code(429, "RATE_LIMITED");
    }
    company.wait(2);
    log_in(PASSWORD).await.expect(200);
    // Nobody set anything here.
    for _ in 0..5 {
        company
            .log_in("violet tram lanterm")
            .await
            .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    }
    company.wait(61);
    company.log_in(PASSWORD).await.expect_code(429, "RATE_LIMITED");
}

#[tokio::test]
async fn tokens_and_sessions_last_as_long_as_is_set() {
    const WEEK: i64 = 7 * 24 * 60 * 60;
    let company = Company::new().await;
    let env = Env::from_pairs([("ACCESS_TOKEN_MINUTES", "5"), ("REFRESH_TOKEN_DAYS", "7")]);
    let api = company.lasting(&env).await;
    let credentials = json!({ "email": company.email, "password": PASSWORD });
    let browser = post(&api, "login", &[], &credentials).await;
    let set = &browser.headers["set-cookie"];
    let max_age = format!("Max-Age={WEEK}");
    assert!(set.split("; ").any(|part| part == max_age), "{set}");
    let cookie = set.split(';').next().unwrap();
    let refreshed = api
        .call("POST", "/v1/auth/refresh", &[("cookie", cookie)], "")
        .await;
    let set = &refreshed.headers["set-cookie"];
    assert!(set.split("; ").any(|part| part == max_age), "{set}");
    assert_eq!(refreshed.expect(200)["expires_in"], 300);

    let native = json!({ "email": company.email, "password": PASSWORD, "delivery": "body" });
    let used = post(&api, "login", &[], &native).await.expect(200);
    let unused = post(&api, "login", &[], &native).await.expect(200);
    assert_eq!(
        (&used["expires_in"], &unused["expires_in"]),
        (&json!(300), &json!(300))
    );
    let me = company.login(&used);
    company.wait(299);
    let listed = api.get(&me, "/v1/auth/sessions").await.expect(200);
    let own = listed["data"].as_array().unwrap().iter();
    let own = own.clone().find(|session| session["id"] == json!(me.session_id));
    let at = |name: &str| -> jiff::Timestamp { own.unwrap()[name].as_str().unwrap().parse().unwrap() };
    assert_eq!(at("expires_at").duration_since(at("created_at")).as_secs(), WEEK);
    company.wait(1);
    api.get(&me, "/v1/auth/sessions").await.expect(401);

    let refresh = async |token: &serde_json::Value| {
        post(&api, "refresh", &[], &json!({ "refresh_token": token })).await
    };
    company.wait(WEEK - 300 - 1);
    let next = refresh(&used["refresh_token"]).await.expect(200);
    assert_eq!(next["expires_in"], 300);
    company.wait(1);
    refresh(&unused["refresh_token"])
        .await
        .expect_code(401, "UNAUTHENTICATED");
    // A session that is used goes on from there, for another week.
    company.wait(WEEK - 1);
    refresh(&next["refresh_token"])
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[test]
fn tokens_that_would_last_too_long_or_not_at_all_are_refused_by_name() {
    for (name, values) in [
        ("ACCESS_TOKEN_MINUTES", ["0", "61", "-5", "five"]),
        ("REFRESH_TOKEN_DAYS", ["0", "91", "7.5", "7 days"]),
    ] {
        for value in values {
            let refused = tokens().lasting(&Env::from_pairs([(name, value)])).err();
            let message = refused.expect(value).to_string();
            assert!(message.contains(name), "{message}");
        }
    }
    assert!(tokens().lasting(&Env::from_pairs([])).is_ok());
}
