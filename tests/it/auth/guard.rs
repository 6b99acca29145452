//! Lock-outs and rate limits.

use super::setup::{Company, PASSWORD, answer_from, post, post_from};
use crate::support::Answer;
use auth_function::Limits;
use futures::future::join_all;
use identity::RefreshToken;
use serde_json::json;

fn with_status(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_guesses_at_once_five_are_looked_at() {
    let company = Company::new().await;
    let unknown = format!("nobody-{}@example.com", testkit::unique());
    for email in [&company.email, &unknown] {
        let guess = json!({ "email": email, "password": "violet tram lanterm" });
        let answers = join_all((0..50).map(|_| company.post("login", &guess))).await;
        assert_eq!(
            (with_status(&answers, 401), with_status(&answers, 429)),
            (5, 45),
            "{email}"
        );
        let right = company
            .post("login", &json!({ "email": email, "password": PASSWORD }))
            .await;
        let wait: i64 = right.headers["retry-after"].parse().unwrap();
        assert!((595..=601).contains(&wait), "{wait}");
        right.expect_code(429, "RATE_LIMITED");
    }
    company.wait(601);
    company.log_in(PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_right_password_starts_the_count_anew() {
    let company = Company::new().await;
    for _ in 0..2 {
        for _ in 0..4 {
            company
                .log_in("violet tram lanterm")
                .await
                .expect_code(401, "AUTH_INVALID_CREDENTIALS");
        }
        company.log_in(PASSWORD).await.expect(200);
    }
}

#[tokio::test]
async fn guesses_in_one_company_lock_nobody_in_another() {
    let company = Company::new().await;
    let body = json!({ "tenant_name": "Second", "full_name": "Mona Ali", "email": company.email, "password": PASSWORD });
    let second = company.post("signup", &body).await.expect(201);
    let attempt = async |tenant: &serde_json::Value, password: &str| {
        company
            .post(
                "login",
                &json!({ "email": company.email, "password": password, "tenant": tenant }),
            )
            .await
            .status
    };
    let (one, two) = (&company.signed_up["tenant"], &second["tenant"]);
    for name in ["slug", "id", "slug", "id", "slug"] {
        assert_eq!(attempt(&one[name], "violet tram lanterm").await, 401);
    }
    assert_eq!(
        (
            attempt(&one["id"], PASSWORD).await,
            attempt(&one["slug"], PASSWORD).await
        ),
        (429, 429)
    );
    assert_eq!(attempt(&two["slug"], PASSWORD).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_may_do_so_much_and_no_more() {
    let company = Company::new().await;
    let mut limits = Limits::DEFAULT;
    (
        limits.logins.capacity,
        limits.signups.capacity,
        limits.refreshes.capacity,
    ) = (10, 2, 10);
    let api = company.with_limits(limits).await;
    let allowed = async |ip: &str, verb: &str, bodies: Vec<serde_json::Value>| {
        let statuses = join_all(bodies.iter().map(|body| post_from(&api, ip, verb, body))).await;
        assert!(
            statuses.iter().all(|status| [201, 401, 429].contains(status)),
            "{statuses:?}"
        );
        statuses.iter().filter(|status| **status != 429).count()
    };
    let logins =
        (0..15).map(|n| json!({ "email": format!("x{n}@example.com"), "password": "violet tram lanterm" }));
    assert_eq!(
        allowed("198.51.100.1", "login", logins.clone().collect()).await,
        10,
        "though each address was tried once"
    );
    assert_eq!(
        allowed("198.51.100.2", "login", logins.take(1).collect()).await,
        1,
        "another address is not concerned"
    );
    let signup =
        json!({ "tenant_name": "T", "full_name": "F", "email": "s@example.com", "password": PASSWORD });
    assert_eq!(allowed("198.51.100.1", "signup", vec![signup; 4]).await, 2);
    let refreshes = (0..15).map(|_| json!({ "refresh_token": RefreshToken::generate().unwrap().expose() }));
    assert_eq!(allowed("198.51.100.1", "refresh", refreshes.collect()).await, 10);
}

#[tokio::test]
async fn without_counters_nobody_guesses_and_sessions_go_on() {
    let company = Company::new().await;
    let api = company.without_counters();
    let login = json!({ "email": company.email, "password": PASSWORD });
    let answer = post(&api, "login", &[], &login).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.expect_code(503, "UNAVAILABLE");
    assert_eq!(post_from(&api, "198.51.100.1", "login", &login).await, 503);
    let signup =
        json!({ "tenant_name": "T", "full_name": "F", "email": "s@example.com", "password": PASSWORD });
    assert_eq!(post_from(&api, "198.51.100.1", "signup", &signup).await, 503);
    let refresh = json!({ "refresh_token": company.signed_up["refresh_token"] });
    assert_eq!(post_from(&api, "198.51.100.1", "refresh", &refresh).await, 200);
}

#[tokio::test]
async fn how_much_is_left_is_told() {
    let company = Company::new().await;
    let mut limits = Limits::DEFAULT;
    limits.logins.capacity = 2;
    let api = company.with_limits(limits).await;
    let login = json!({ "email": company.email, "password": PASSWORD });
    let mut told = Vec::new();
    for _ in 0..3 {
        let answer = answer_from(&api, "198.51.100.9", "login", &login).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().parse::<u64>().unwrap();
        assert!((1..=601).contains(&header("ratelimit-reset")));
        told.push((
            answer.status().as_u16(),
            header("ratelimit-limit"),
            header("ratelimit-remaining"),
        ));
    }
    assert_eq!(told, [(200, 2, 1), (200, 2, 0), (429, 2, 0)]);
}
