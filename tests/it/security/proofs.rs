//! Proofs that a signed-in user gives: what counts the wrong ones, and what forgives them.

use super::setup::{Person, count, now, post, wrong};
use crate::auth::setup::{Company, PASSWORD};
use crate::support::{Answer, Login};
use serde_json::{Value, json};
use totp_rs::Totp;

const NEW: &str = "amber kite meadow 41";

fn guess() -> Value {
    json!({ "current_password": "violet tram lanterm", "new_password": NEW })
}

async fn with_key(company: &Company, me: &Login, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("idempotency-key", key)];
    let path = format!("/v1/auth/{path}");
    company.api.json(me, "POST", &path, &headers, body).await
}

async fn four_wrong(company: &Company, me: &Login, path: &str, body: &Value) {
    for _ in 0..4 {
        assert_eq!(post(company, me, path, body).await.status, 401);
    }
}

async fn one_more_wrong_and_no_other(company: &Company, me: &Login, path: &str, body: &Value) {
    assert_eq!(post(company, me, path, body).await.status, 401);
    post(company, me, path, body)
        .await
        .expect_code(429, "RATE_LIMITED");
}

#[tokio::test]
async fn a_key_that_was_used_for_something_else_forgives_nothing() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    with_key(&company, &me, "totp/setup", "used", &json!({}))
        .await
        .expect(200);
    four_wrong(&company, &me, "change-password", &guess()).await;
    // refused before the password is looked at; it is counted all the same
    with_key(&company, &me, "change-password", "used", &guess())
        .await
        .expect_code(422, "VALIDATION_FAILED");
    post(&company, &me, "change-password", &guess())
        .await
        .expect_code(429, "RATE_LIMITED");
    assert_eq!(count(&company, "auth.proof_failed").await, 4);
}

#[tokio::test]
async fn nor_where_the_proof_is_the_first_thing_that_is_looked_at() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    let right = json!({ "code": person.shown() });
    with_key(company, me, "2fa/backup-codes", "used", &right)
        .await
        .expect(200);
    let wrong = json!({ "password": "violet tram lanterm" });
    four_wrong(company, me, "totp/disable", &wrong).await;
    with_key(company, me, "totp/disable", "used", &wrong)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    post(company, me, "totp/disable", &wrong)
        .await
        .expect_code(429, "RATE_LIMITED");
}

#[tokio::test]
async fn the_answer_to_an_earlier_request_forgives_nothing() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    let right = json!({ "code": person.shown() });
    with_key(company, me, "2fa/backup-codes", "first", &right)
        .await
        .expect(200);
    let wrong = json!({ "code": wrong(&person.shown()) });
    four_wrong(company, me, "totp/disable", &wrong).await;
    let again = with_key(company, me, "2fa/backup-codes", "first", &right).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    again.expect(200);
    post(company, me, "totp/disable", &wrong)
        .await
        .expect_code(429, "RATE_LIMITED");
}

#[tokio::test]
async fn a_request_that_may_not_enter_forgives_nothing() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    // somebody else stays super admin
    company.world.admin().await;
    let wrong = json!({ "code": wrong(&person.shown()) });
    four_wrong(company, me, "totp/disable", &wrong).await;
    let admin = company.world.admin_sql().await;
    let (tenant, user_id) = (company.world.tenant.0, me.user_id);
    let take = "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2";
    admin.execute(take, &[&tenant, &user_id]).await.unwrap();
    post(company, me, "totp/disable", &wrong)
        .await
        .expect_code(403, "FORBIDDEN");
    let give = "INSERT INTO user_roles (tenant_id, user_id, role_id) SELECT $1, $2, id FROM roles
        WHERE tenant_id IS NULL AND code = 'super_admin'";
    admin.execute(give, &[&tenant, &user_id]).await.unwrap();
    post(company, me, "totp/disable", &wrong)
        .await
        .expect_code(429, "RATE_LIMITED");
}

/// Whoever has a stolen session can set up an app of their own, and then has right codes.
#[tokio::test]
async fn right_codes_forgive_no_wrong_passwords_and_right_passwords_no_wrong_codes() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let setup = post(&company, &me, "totp/setup", &json!({})).await.expect(200);
    let app = Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
    let shown = || app.generate(now(&company)).to_string();
    four_wrong(&company, &me, "change-password", &guess()).await;
    post(&company, &me, "totp/confirm", &json!({ "code": shown() }))
        .await
        .expect(200);
    company.wait(30);
    post(&company, &me, "2fa/backup-codes", &json!({ "code": shown() }))
        .await
        .expect(200);
    one_more_wrong_and_no_other(&company, &me, "change-password", &guess()).await;
    // the same counter, by another door
    post(&company, &me, "totp/disable", &json!({ "password": PASSWORD }))
        .await
        .expect_code(429, "RATE_LIMITED");

    company.wait(601);
    let wrong_code = json!({ "code": wrong(&shown()) });
    four_wrong(&company, &me, "totp/disable", &wrong_code).await;
    post(
        &company,
        &me,
        "2fa/backup-codes",
        &json!({ "password": PASSWORD }),
    )
    .await
    .expect(200);
    one_more_wrong_and_no_other(&company, &me, "totp/disable", &wrong_code).await;
}

#[tokio::test]
async fn codes_of_an_app_that_is_set_up_are_counted_by_themselves() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let setup = post(&company, &me, "totp/setup", &json!({})).await.expect(200);
    let app = Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
    let shown = app.generate(now(&company)).to_string();
    let guess = json!({ "code": wrong(&shown) });
    four_wrong(&company, &me, "totp/confirm", &guess).await;
    one_more_wrong_and_no_other(&company, &me, "2fa/totp/verify", &guess).await;
    // and lock out no other proof
    let right = json!({ "current_password": PASSWORD, "new_password": NEW });
    post(&company, &me, "change-password", &right).await.expect(204);
}

#[tokio::test]
async fn a_proof_that_holds_forgives_what_was_wrong_before_whatever_came_of_it() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let refused = json!({ "current_password": PASSWORD, "new_password": "short" });
    for _ in 0..3 {
        four_wrong(&company, &me, "change-password", &guess()).await;
        post(&company, &me, "change-password", &refused)
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    for _ in 0..3 {
        four_wrong(&company, &me, "change-password", &guess()).await;
        // no factor to stand in for, and the password was right
        post(
            &company,
            &me,
            "2fa/backup-codes",
            &json!({ "password": PASSWORD }),
        )
        .await
        .expect_code(409, "CONFLICT");
    }
}

/// A proof that was looked at and then served for nothing would be good again, and forgive what was wrong.
#[tokio::test]
async fn for_a_factor_that_is_not_on_no_proof_is_looked_at() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    let wrong = json!({ "code": wrong(&person.shown()) });
    four_wrong(company, me, "totp/disable", &wrong).await;
    for right in [
        json!({ "code": person.backup_codes[0] }),
        json!({ "password": PASSWORD }),
    ] {
        post(company, me, "twofa/sms/disable", &right)
            .await
            .expect_code(409, "CONFLICT");
    }
    assert_eq!(count(company, "twofa.backup_code_used").await, 0);
    post(company, me, "totp/disable", &wrong)
        .await
        .expect_code(429, "RATE_LIMITED");
}

/// Whoever has but a token of a session that was ended must not keep the user from changing the password.
#[tokio::test]
async fn a_session_that_is_over_locks_nobody_out() {
    let company = Company::new().await;
    let (me, stolen) = (
        company.login(&company.signed_up),
        company.login(&company.log_in(PASSWORD).await.expect(200)),
    );
    let path = format!("/v1/auth/sessions/{}", stolen.session_id);
    company.api.delete(&me, &path).await.expect(204);
    for _ in 0..6 {
        post(&company, &stolen, "change-password", &guess())
            .await
            .expect_code(401, "UNAUTHENTICATED");
        post(
            &company,
            &stolen,
            "2fa/backup-codes",
            &json!({ "code": "123456" }),
        )
        .await
        .expect_code(401, "UNAUTHENTICATED");
    }
    // the user's own wrong ones go on being counted
    four_wrong(&company, &me, "change-password", &guess()).await;
    post(&company, &stolen, "change-password", &guess())
        .await
        .expect_code(401, "UNAUTHENTICATED");
    one_more_wrong_and_no_other(&company, &me, "change-password", &guess()).await;
    company.wait(601);
    let right = json!({ "current_password": PASSWORD, "new_password": NEW });
    post(&company, &me, "change-password", &right).await.expect(204);
}

#[tokio::test]
async fn a_wrong_proof_leaves_a_line_that_tells_what_was_offered() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    post(company, me, "change-password", &guess()).await.expect(401);
    let wrong = json!({ "code": wrong(&person.shown()) });
    for path in ["totp/disable", "2fa/backup-codes", "totp/confirm"] {
        post(company, me, path, &wrong)
            .await
            .expect_code(401, "AUTH_2FA_INVALID_CODE");
    }
    // with a key, which stays free for the right one
    with_key(company, me, "change-password", "mine", &guess())
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    let sql = "SELECT after_data ->> 'method', actor_user_id FROM audit_logs
        WHERE tenant_id = $1 AND action = 'auth.proof_failed' ORDER BY seq";
    let admin = company.world.admin_sql().await;
    let lines = admin.query(sql, &[&company.world.tenant.0]).await.unwrap();
    let methods: Vec<&str> = lines.iter().map(|line| line.get(0)).collect();
    assert_eq!(methods, ["password", "code", "code", "totp", "password"]);
    assert!(
        lines
            .iter()
            .all(|line| line.get::<_, Option<uuid::Uuid>>(1) == Some(me.user_id))
    );
    let right = json!({ "current_password": PASSWORD, "new_password": NEW });
    with_key(company, me, "change-password", "mine", &right)
        .await
        .expect(204);
}
