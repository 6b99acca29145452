//! Refreshing, by body and by cookie. What decides is tested in the identity crate, against the
//! statement itself.

use super::setup::{Company, PASSWORD, post};
use crate::support::Answer;
use futures::future::join_all;
use identity::RefreshToken;
use serde_json::{Value, json};

/// Logs in as a browser does; gives the cookie.
async fn browser(company: &Company) -> (Value, String) {
    let answer = company
        .post("login", &json!({ "email": company.email, "password": PASSWORD }))
        .await;
    let cookie = cookie(&answer);
    (answer.expect(200), cookie)
}

fn cookie(answer: &Answer) -> String {
    answer.headers["set-cookie"].split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn each_refresh_gives_new_tokens_and_reuse_ends_the_session() {
    let company = Company::new().await;
    let first = &company.signed_up["refresh_token"];
    let answer = company.refresh(first).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let second = answer.expect(200);
    let mut keys: Vec<&String> = second.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["access_token", "expires_in", "refresh_token", "token_type"]
    );
    let me = company.login(&second);
    assert_eq!(me.session_id, company.login(&company.signed_up).session_id);
    company.wait(60);
    let third = company.refresh(&second["refresh_token"]).await.expect(200);
    company.wait(60);
    company
        .refresh(&second["refresh_token"])
        .await
        .expect_code(401, "AUTH_TOKEN_REUSED");
    company
        .refresh(&third["refresh_token"])
        .await
        .expect_code(401, "AUTH_TOKEN_REUSED");
    company
        .world
        .contacts()
        .get(&me, "/v1/contacts")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    assert_eq!(
        company
            .actions()
            .await
            .iter()
            .filter(|action| *action == "auth.token_reused")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_refreshes_at_once_leave_one_live_token() {
    let company = Company::new().await;
    let answers = join_all((0..50).map(|_| company.refresh(&company.signed_up["refresh_token"]))).await;
    let tokens: Vec<Value> = answers
        .into_iter()
        .map(|answer| answer.expect(200)["refresh_token"].clone())
        .collect();
    let mut live = 0;
    for token in &tokens {
        live += i32::from(company.refresh(token).await.status == 200);
    }
    assert_eq!(live, 1);
    company
        .world
        .contacts()
        .get(&company.login(&company.signed_up), "/v1/contacts")
        .await
        .expect(200);
}

#[tokio::test]
async fn what_is_no_live_refresh_token_is_refused() {
    let company = Company::new().await;
    let unknown = RefreshToken::generate().unwrap().expose().to_owned();
    for token in [
        json!(unknown),
        json!("m3r_"),
        json!(""),
        company.signed_up["access_token"].clone(),
    ] {
        company.refresh(&token).await.expect_code(401, "UNAUTHENTICATED");
    }
    company
        .post("refresh", &json!({}))
        .await
        .expect_code(401, "UNAUTHENTICATED");
    company
        .api
        .call("POST", "/v1/auth/refresh", &[], "")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    company
        .api
        .call("POST", "/v1/auth/refresh", &[], "refresh_token=x")
        .await
        .expect_code(400, "INVALID_REQUEST");
    company
        .post("refresh", &json!({ "token": "x" }))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    company.wait(30 * 24 * 60 * 60);
    company
        .refresh(&company.signed_up["refresh_token"])
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_browser_gets_a_cookie_that_scripts_and_other_sites_do_not() {
    let company = Company::new().await;
    let answer = company
        .post("login", &json!({ "email": company.email, "password": PASSWORD }))
        .await;
    let set = answer.headers["set-cookie"].clone();
    assert!(set.starts_with("m3_refresh=m3r_"), "{set}");
    for attribute in [
        "HttpOnly",
        "Secure",
        "SameSite=Lax",
        "Path=/v1/auth",
        "Max-Age=2592000",
    ] {
        assert!(
            set.split("; ").any(|part| part == attribute),
            "{attribute} in {set}"
        );
    }
    assert!(
        !answer.text.contains("m3r_"),
        "a script of the page could read it"
    );

    let cookie = cookie(&answer);
    let several = format!("theme=dark; {cookie}; x=1");
    let headers = [("cookie", several.as_str()), ("user-agent", "Firefox")];
    let refreshed = company.api.call("POST", "/v1/auth/refresh", &headers, "").await;
    let next = self::cookie(&refreshed);
    assert_ne!(next, cookie);
    assert!(refreshed.expect(200).get("refresh_token").is_none());

    for (origin, status) in [
        ("https://evil.test", 403),
        ("null", 403),
        ("https://app.test", 200),
    ] {
        let headers = [("cookie", next.as_str()), ("origin", origin)];
        assert_eq!(
            post(&company.api, "refresh", &headers, &json!({})).await.status,
            status,
            "{origin}"
        );
    }
    let own = [
        ("cookie", next.as_str()),
        ("origin", "https://api.test"),
        ("host", "api.test"),
    ];
    // A script of ours that was injected gets no token to take away; and none is spent by asking.
    let error = post(&company.api, "refresh", &own, &json!({ "delivery": "body" })).await;
    let error = error.expect_code(422, "VALIDATION_FAILED");
    assert_eq!(error["details"]["fields"][0]["path"], "delivery");
    let again = post(&company.api, "refresh", &own, &json!({ "delivery": "cookie" })).await;
    let answer = again.expect(200);
    assert!(answer.get("refresh_token").is_none());
}

#[tokio::test]
async fn logging_out_ends_the_session_at_once_by_whichever_token() {
    let company = Company::new().await;
    for by in ["cookie", "body", "access token"] {
        let (answer, cookie) = browser(&company).await;
        let me = company.login(&answer);
        let bearer = format!("Bearer {}", me.token);
        let body = json!({ "refresh_token": cookie.strip_prefix("m3_refresh=").unwrap() });
        let log_out = async || match by {
            "cookie" => {
                company
                    .api
                    .call("POST", "/v1/auth/logout", &[("cookie", &cookie)], "")
                    .await
            }
            "body" => post(&company.api, "logout", &[], &body).await,
            _ => {
                company
                    .api
                    .call("POST", "/v1/auth/logout", &[("authorization", &bearer)], "")
                    .await
            }
        };
        let answer = log_out().await;
        assert!(
            answer.headers["set-cookie"].starts_with("m3_refresh=; ")
                && answer.headers["set-cookie"].ends_with("Max-Age=0")
        );
        answer.expect(204);
        company
            .world
            .contacts()
            .get(&me, "/v1/contacts")
            .await
            .expect_code(401, "UNAUTHENTICATED");
        company
            .post("refresh", &body)
            .await
            .expect_code(401, "UNAUTHENTICATED");
        log_out().await.expect(204);
    }
    assert_eq!(
        company
            .actions()
            .await
            .iter()
            .filter(|action| *action == "auth.logout")
            .count(),
        3
    );
    company
        .refresh(&company.signed_up["refresh_token"])
        .await
        .expect(200);
}

#[tokio::test]
async fn a_logout_without_a_token_is_refused() {
    let company = Company::new().await;
    company
        .api
        .call("POST", "/v1/auth/logout", &[], "")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    company
        .api
        .call(
            "POST",
            "/v1/auth/logout",
            &[("authorization", "Bearer x.y.z")],
            "",
        )
        .await
        .expect_code(401, "UNAUTHENTICATED");
    company
        .post("logout", &json!({ "refresh_token": "x" }))
        .await
        .expect_code(401, "UNAUTHENTICATED");
    let (_, cookie) = browser(&company).await;
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.test")];
    post(&company.api, "logout", &foreign, &json!({}))
        .await
        .expect_code(403, "FORBIDDEN");
}
