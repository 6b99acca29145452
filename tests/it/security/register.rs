//! Registering a company without being signed in, and verifying the address.

use super::setup::{again, link, links, sent};
use crate::auth::setup::{Company, PASSWORD, post};
use crate::support::World;
use kernel::TenantId;
use serde_json::{Value, json};

fn body(email: &str) -> Value {
    json!({ "tenant_name": "Nile Homes", "full_name": "Mona Ali", "email": email, "password": PASSWORD })
}

/// The company that an answer made.
fn world(company: &Company, made: &Value) -> World {
    let tenant = made["tenant"]["id"].as_str().unwrap().parse().unwrap();
    again(&company.world, TenantId(tenant))
}

#[tokio::test]
async fn a_super_admin_registers_without_tokens_and_verifies_by_mail() {
    let company = Company::new().await;
    let email = format!("mona-{}@example.com", testkit::unique());
    let answer = company.post("register-super-admin", &body(&email)).await;
    assert!(!answer.headers.contains_key("set-cookie"));
    let made = answer.expect(201);
    let mut keys: Vec<&String> = made.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["tenant", "user"]);
    assert_eq!(made["user"]["roles"], json!(["super_admin"]));
    assert_eq!(made["user"]["email_verified_at"], Value::Null);
    let world = world(&company, &made);
    let mails = sent(&world).await;
    assert_eq!(
        mails
            .iter()
            .map(|mail| (mail.channel.as_str(), mail.to.as_str()))
            .collect::<Vec<_>>(),
        [("email", email.as_str())]
    );
    let token = links(&world, "verify-email").await.pop().unwrap();
    company
        .post("verify-email", &json!({ "token": token }))
        .await
        .expect(204);
    let login = company
        .post(
            "login",
            &json!({ "email": email, "password": PASSWORD, "delivery": "body" }),
        )
        .await
        .expect(200);
    assert!(login["user"]["email_verified_at"].is_string());
    let again = company.post("verify-email", &json!({ "token": token })).await;
    assert_eq!(
        again.expect_code(422, "VALIDATION_FAILED")["details"]["fields"][0]["path"],
        "token"
    );
}

#[tokio::test]
async fn an_address_with_an_account_elsewhere_registers_all_the_same() {
    let company = Company::new().await;
    let fresh = format!("mona-{}@example.com", testkit::unique());
    let mut answers = Vec::new();
    for email in [&company.email, &fresh] {
        let began = std::time::Instant::now();
        let mut made = company
            .post("register-super-admin", &body(email))
            .await
            .expect(201);
        answers.push(began.elapsed());
        for pointer in ["/tenant/id", "/tenant/slug", "/user/id", "/user/email"] {
            *made.pointer_mut(pointer).unwrap() = Value::Null;
        }
        assert_eq!(made["tenant"]["name"], "Nile Homes");
        assert_eq!(made["user"]["roles"], json!(["super_admin"]));
    }
    let difference = answers[0].abs_diff(answers[1]);
    assert!(difference.as_millis() < 1000, "{answers:?}");
    // the first company's user logs in as before, once the company is named
    let body = json!({ "email": company.email, "password": PASSWORD, "tenant": company.signed_up["tenant"]["slug"] });
    company.post("login", &body).await.expect(200);
}

#[tokio::test]
async fn repeated_with_its_key_it_is_one_company() {
    let company = Company::new().await;
    let email = format!("mona-{}@example.com", testkit::unique());
    let headers = [("idempotency-key", email.as_str())];
    let first = post(&company.api, "register-super-admin", &headers, &body(&email))
        .await
        .expect(201);
    let again = post(&company.api, "register-super-admin", &headers, &body(&email)).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.expect(201), first);
    let world = world(&company, &first);
    assert_eq!(links(&world, "verify-email").await.len(), 1);
    let mut other = body(&email);
    other["tenant_name"] = json!("Other");
    post(&company.api, "register-super-admin", &headers, &other)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    let mut other = body(&email);
    other["password"] = json!("amber kite meadow 41");
    post(&company.api, "register-super-admin", &headers, &other)
        .await
        .expect_code(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn bad_registrations_are_refused_precisely() {
    let company = Company::new().await;
    for (field, value, path) in [
        ("tenant_name", json!(""), "tenant_name"),
        ("full_name", json!("x".repeat(121)), "full_name"),
        ("email", json!("mona"), "email"),
        ("password", json!("short"), "password"),
        ("delivery", json!("body"), "delivery"),
    ] {
        let mut bad = body("mona@example.com");
        bad[field] = value;
        let error = company
            .post("register-super-admin", &bad)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(error["details"]["fields"][0]["path"], path);
    }
}

#[tokio::test]
async fn a_signup_sends_the_link_too_and_until_then_nothing_privileged_is_done() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let admin = super::policy::admin(&company.world);
    admin
        .get(&me, "/v1/admin/security")
        .await
        .expect_code(403, "AUTH_EMAIL_UNVERIFIED");
    let token = link(&company, "verify-email").await;
    company
        .post("verify-email", &json!({ "token": token }))
        .await
        .expect(204);
    admin.get(&me, "/v1/admin/security").await.expect(200);
    assert!(company.actions().await.contains(&"user.verified".to_owned()));
}
