//! Signing up and logging in.

use super::setup::{Company, PASSWORD, post};
use futures::future::join_all;
use serde_json::{Value, json};

#[tokio::test]
async fn a_company_signs_up_and_works() {
    let company = Company::new().await;
    let answer = &company.signed_up;
    assert_eq!(answer["tenant"]["name"], "Nile Homes");
    assert!(
        answer["tenant"]["slug"]
            .as_str()
            .unwrap()
            .starts_with("nile-homes")
    );
    assert_eq!(answer["user"]["email"], company.email.as_str());
    assert_eq!(answer["user"]["roles"], json!(["super_admin"]));
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"]),
        (&json!("Bearer"), &json!(900))
    );
    let mut keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "access_token",
            "expires_in",
            "refresh_token",
            "tenant",
            "token_type",
            "user"
        ]
    );
    assert!(!answer.to_string().contains("argon2") && !answer.to_string().contains(PASSWORD));

    let me = company.login(answer);
    company
        .world
        .contacts()
        .post(&me, "/v1/contacts", &json!({ "first_name": "A" }))
        .await
        .expect(201);
    company.wait(901);
    company
        .world
        .contacts()
        .get(&me, "/v1/contacts")
        .await
        .expect_code(401, "TOKEN_EXPIRED");
    let again = company.log_in(PASSWORD).await;
    assert_eq!(again.headers["cache-control"], "no-store");
    let again = again.expect(200);
    assert_eq!(
        (&again["tenant"], &again["user"]),
        (&answer["tenant"], &answer["user"])
    );
    company
        .world
        .contacts()
        .get(&company.login(&again), "/v1/contacts")
        .await
        .expect(200);
    assert_eq!(
        company
            .actions()
            .await
            .iter()
            .filter(|action| *action == "auth.login")
            .count(),
        2
    );
}

#[tokio::test]
async fn bad_signups_are_refused_precisely() {
    let company = Company::new().await;
    let good = json!({ "tenant_name": "A B", "full_name": "C", "email": "someone@example.com", "password": PASSWORD });
    for (field, value, expected) in [
        ("tenant_name", json!(" "), "tenant_name required"),
        ("tenant_name", json!("x".repeat(121)), "tenant_name too_long"),
        ("tenant_name", json!("a\u{0}b"), "tenant_name invalid_characters"),
        ("full_name", json!(""), "full_name required"),
        ("full_name", json!(7), "full_name invalid"),
        ("email", json!("someone"), "email invalid"),
        ("password", json!("short"), "password too_short"),
        ("password", json!("x y ".repeat(100)), "password too_long"),
        ("password", json!("Password2024!"), "password too_common"),
        ("password", json!("someone-2024-tram"), "password too_personal"),
        ("delivery", json!("pigeon"), "delivery invalid"),
        ("role", json!("super_admin"), "role invalid"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let error = company
            .post("signup", &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        let found = &error["details"]["fields"][0];
        assert_eq!(
            format!(
                "{} {}",
                found["path"].as_str().unwrap(),
                found["code"].as_str().unwrap()
            ),
            expected
        );
    }
    let error = company
        .post(
            "signup",
            &json!({ "tenant_name": "", "full_name": "", "email": "", "password": "" }),
        )
        .await;
    assert_eq!(
        error.expect_code(422, "VALIDATION_FAILED")["details"]["fields"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    let typed = [("content-type", "application/json")];
    for body in ["", "{", "[]x"] {
        company
            .api
            .call("POST", "/v1/auth/signup", &typed, body)
            .await
            .expect_code(400, "INVALID_REQUEST");
    }
    company
        .api
        .call("POST", "/v1/auth/signup", &[], "{}")
        .await
        .expect_code(400, "INVALID_REQUEST");
    company
        .api
        .call("GET", "/v1/auth/signup", &[], "")
        .await
        .expect_code(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_signup_logs_in_to_what_the_first_made() {
    let company = Company::new().await;
    let key = testkit::unique().to_string();
    let body = json!({ "tenant_name": "Delta", "full_name": "Omar", "email": "omar@example.com", "password": PASSWORD, "delivery": "body" });
    let sign_up = async |body: &Value| post(&company.api, "signup", &[("idempotency-key", &key)], body).await;
    let answers = join_all((0..5).map(|_| sign_up(&body))).await;
    let replays = answers
        .iter()
        .filter(|answer| answer.headers.contains_key("idempotency-replayed"))
        .count();
    assert_eq!(replays, 4);
    let bodies: Vec<Value> = answers.into_iter().map(|answer| answer.expect(201)).collect();
    for other in &bodies[1..] {
        assert_eq!(
            (&other["tenant"], &other["user"]),
            (&bodies[0]["tenant"], &bodies[0]["user"])
        );
        assert_ne!(other["refresh_token"], bodies[0]["refresh_token"]);
    }
    for (field, value) in [
        ("email", "other@example.com"),
        ("tenant_name", "Nile"),
        ("password", "violet tram lanterm"),
    ] {
        let mut other = body.clone();
        other[field] = json!(value);
        let answer = sign_up(&other).await;
        assert!(!answer.headers.contains_key("idempotency-replayed"));
        assert_eq!(
            answer.expect_code(422, "VALIDATION_FAILED")["details"]["fields"][0]["code"],
            "reused",
            "{field}"
        );
    }
}

#[tokio::test]
async fn a_failed_login_says_nothing() {
    let company = Company::new().await;
    let unknown = format!("nobody-{}@example.com", testkit::unique());
    let slug = company.signed_up["tenant"]["slug"].as_str().unwrap();
    let attempt = async |email: &str, password: &str, tenant: Option<&str>| {
        let began = std::time::Instant::now();
        let answer = company
            .post(
                "login",
                &json!({ "email": email, "password": password, "tenant": tenant }),
            )
            .await;
        let took = began.elapsed();
        let mut error = answer.expect_code(401, "AUTH_INVALID_CREDENTIALS");
        error["request_id"] = json!(null);
        (error, took)
    };
    let mut attempts = vec![
        attempt(&company.email, "violet tram lanterm", None).await,
        attempt(&company.email, "violet tram lanterm", Some(slug)).await,
        attempt(&unknown, PASSWORD, None).await,
        attempt(&unknown, PASSWORD, Some(slug)).await,
        attempt(&company.email, PASSWORD, Some("no-such-company")).await,
    ];
    // a company keeps a super admin
    company.world.admin().await;
    let admin = company.world.admin_sql().await;
    admin
        .execute(
            "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND email = $2",
            &[&company.world.tenant.0, &company.email],
        )
        .await
        .unwrap();
    attempts.push(attempt(&company.email, PASSWORD, None).await);
    admin
        .execute(
            "UPDATE users SET status = 'active' WHERE tenant_id = $1",
            &[&company.world.tenant.0],
        )
        .await
        .unwrap();
    admin
        .execute(
            "UPDATE tenants SET status = 'suspended' WHERE id = $1",
            &[&company.world.tenant.0],
        )
        .await
        .unwrap();
    attempts.push(attempt(&company.email, PASSWORD, None).await);
    let (first, _) = attempts[0].clone();
    let longest = attempts.iter().map(|(_, took)| *took).max().unwrap();
    for (error, took) in attempts {
        assert_eq!(error, first);
        assert!(
            took.as_millis() >= 750,
            "held until what it failed for can't be told: {took:?} of {longest:?}"
        );
    }
    let failures = company
        .actions()
        .await
        .into_iter()
        .filter(|action| action == "auth.login_failed")
        .count();
    assert_eq!(failures, 4, "the company learns of attempts on its accounts");
}

#[tokio::test]
async fn bad_logins_are_refused_precisely() {
    let company = Company::new().await;
    for (body, path) in [
        (json!({ "email": "x", "password": "y" }), "email"),
        (json!({ "email": "a@example.com", "password": "" }), "password"),
        (
            json!({ "email": "a@example.com", "password": "x".repeat(3000) }),
            "password",
        ),
        (
            json!({ "email": "a@example.com", "password": "x", "tenant": "x".repeat(101) }),
            "tenant",
        ),
        (json!({ "email": "a@example.com", "password": null }), "password"),
        (
            json!({ "email": "a@example.com", "password": "x", "remember": true }),
            "remember",
        ),
    ] {
        let error = company
            .post("login", &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(error["details"]["fields"][0]["path"], path, "{body}");
    }
}

#[tokio::test]
async fn credentials_of_two_companies_ask_for_the_company() {
    let company = Company::new().await;
    let body = json!({ "tenant_name": "Second", "full_name": "Mona Ali", "email": company.email, "password": PASSWORD, "delivery": "body" });
    let second = company.post("signup", &body).await.expect(201);
    let error = company
        .log_in(PASSWORD)
        .await
        .expect_code(409, "AUTH_TENANT_REQUIRED");
    let (one, two) = (&company.signed_up["tenant"], &second["tenant"]);
    let listed = error["details"]["tenants"].as_array().unwrap();
    assert!(
        listed.len() == 2 && listed.contains(&one["slug"]) && listed.contains(&two["slug"]),
        "{listed:?}"
    );
    for tenant in [one, two] {
        for name in [&tenant["slug"], &tenant["id"]] {
            let body = json!({ "email": company.email, "password": PASSWORD, "tenant": name });
            assert_eq!(company.post("login", &body).await.expect(200)["tenant"], *tenant);
        }
    }
}

#[tokio::test]
async fn a_mailbox_is_not_flooded_by_signing_up_with_it() {
    let company = Company::new().await;
    let victim = format!("victim-{}@example.com", testkit::unique());
    let body =
        json!({ "tenant_name": "Flood", "full_name": "Mallory", "email": victim, "password": PASSWORD });
    for verb in [
        "signup",
        "register-super-admin",
        "signup",
        "register-super-admin",
        "signup",
    ] {
        company.post(verb, &body).await.expect(201);
    }
    for verb in ["signup", "register-super-admin", "resend-verification"] {
        let body = match verb {
            "resend-verification" => json!({ "email": victim }),
            _ => body.clone(),
        };
        let refused = company.post(verb, &body).await;
        assert!(refused.headers.contains_key("retry-after"));
        refused.expect_code(429, "RATE_LIMITED");
    }
    let count = "SELECT count(*) FROM users WHERE email_norm = $1";
    let admin = company.world.admin_sql().await;
    let made: i64 = admin.query_one(count, &[&victim]).await.unwrap().get(0);
    assert_eq!(made, 5, "what is refused makes nothing");
    company.wait(3601);
    company.post("signup", &body).await.expect(201);
}
