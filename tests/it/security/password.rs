//! New passwords, and what the old one loses.

use super::setup::{Person, challenge, count, inbox, link, mail, now, post, second_step, sent};
use crate::auth::setup::{Company, PASSWORD, function, post as post_as};
use auth_function::Limits;
use futures::future::{join, join_all};
use serde_json::json;

const NEW: &str = "amber kite meadow 41";

async fn forget(company: &Company) -> String {
    company
        .post("forgot-password", &json!({ "email": company.email }))
        .await
        .expect(202);
    link(company, "reset-password").await
}

async fn reset(company: &Company, token: &str, password: &str) -> crate::support::Answer {
    company
        .post("reset-password", &json!({ "token": token, "password": password }))
        .await
}

#[tokio::test]
async fn a_reset_ends_every_session_and_the_old_password() {
    let company = Company::new().await;
    let (one, two) = (
        company.signed_up.clone(),
        company.log_in(PASSWORD).await.expect(200),
    );
    let token = forget(&company).await;
    for (bad, code) in [
        ("short", "too_short"),
        ("Password2024!", "too_common"),
        ("nile-homes-99-x", "too_personal"),
    ] {
        let error = reset(&company, &token, bad)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(error["details"]["fields"][0]["code"], code);
    }
    reset(&company, &token, NEW).await.expect(204);
    reset(&company, &token, "violet kite meadow 42")
        .await
        .expect_code(422, "VALIDATION_FAILED");
    for old in [&one, &two] {
        company
            .api
            .get(&company.login(old), "/v1/auth/sessions")
            .await
            .expect(401);
        company.refresh(&old["refresh_token"]).await.expect(401);
    }
    company
        .log_in(PASSWORD)
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    let again = company.log_in(NEW).await.expect(200);
    assert!(
        again["user"]["email_verified_at"].is_string(),
        "the mailbox is the user's"
    );
    let mails = sent(&company.world).await;
    let told = mails.last().unwrap();
    assert_eq!((told.channel.as_str(), &told.to), ("email", &company.email));
    assert_eq!(count(&company, "auth.password_reset").await, 1);
}

#[tokio::test]
async fn a_reset_lifts_the_lock_out() {
    let company = Company::new().await;
    let slug = &company.signed_up["tenant"]["slug"];
    for tenant in [&json!(null), slug, &json!(null), slug, &json!(null)] {
        let guess = json!({ "email": company.email, "password": "violet tram lanterm", "tenant": tenant });
        company.post("login", &guess).await.expect(401);
    }
    let named = |password: &str| json!({ "email": company.email, "password": password, "tenant": slug });
    company
        .post("login", &named(PASSWORD))
        .await
        .expect_code(429, "RATE_LIMITED");
    company.log_in(PASSWORD).await.expect(401);
    assert_eq!(count(&company, "auth.locked_out").await, 1);
    let token = forget(&company).await;
    reset(&company, &token, NEW).await.expect(204);
    company.log_in(NEW).await.expect(200);
    company.post("login", &named(NEW)).await.expect(200);
}

/// Anybody may sign up with somebody's address, and change that password as often as they like.
#[tokio::test]
async fn a_changed_password_is_told_in_the_inbox_and_only_to_a_verified_address_by_mail() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let change = async |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        post(&company, &me, "change-password", &body).await
    };
    let before = sent(&company.world).await.len();
    change(PASSWORD, NEW).await.expect(204);
    assert_eq!(inbox(&company, &me).await, ["password_changed"]);
    assert_eq!(sent(&company.world).await.len(), before);

    company.verify_email().await;
    change(NEW, PASSWORD).await.expect(204);
    assert_eq!(sent(&company.world).await.len(), before + 1);
    assert!(mail(&company).await.contains("password"));
}

#[tokio::test]
async fn a_user_changes_the_password_five_times_an_hour() {
    let company = Company::new().await;
    // at the beginning of an hour of the clock
    let past = i64::try_from(now(&company) % 3600).unwrap();
    company.wait(3600 - past);
    let me = company.login(&company.log_in(PASSWORD).await.expect(200));
    let (mut current, mut next) = (PASSWORD, NEW);
    let change = async |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        post(&company, &me, "change-password", &body).await
    };
    for _ in 0..5 {
        // what is refused is none of them
        change(current, "short").await.expect(422);
        change("violet tram lanterm", next).await.expect(401);
        change(current, next).await.expect(204);
        (current, next) = (next, current);
    }
    let refused = change(current, next).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_code(429, "RATE_LIMITED");
    company.log_in(current).await.expect(200);
    assert_eq!(count(&company, "auth.password_changed").await, 5);
    company.wait(3600);
    let me = company.login(&company.log_in(current).await.expect(200));
    let body = json!({ "current_password": current, "new_password": next });
    post(&company, &me, "change-password", &body).await.expect(204);
}

#[tokio::test]
async fn of_parallel_resets_with_one_link_one_is_done() {
    let company = Company::new().await;
    let token = forget(&company).await;
    let passwords: Vec<String> = (0..5).map(|n| format!("{NEW} number {n}")).collect();
    let answers = join_all(passwords.iter().map(|password| reset(&company, &token, password))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let other = company.log_in(PASSWORD).await.expect(200);
    let reset_link = forget(&company).await;
    let change = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    post(
        &company,
        &me,
        "change-password",
        &change("violet tram lanterm", NEW),
    )
    .await
    .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    post(&company, &me, "change-password", &change(PASSWORD, "short"))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    post(&company, &me, "change-password", &change("", NEW))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    company.log_in(PASSWORD).await.expect(200);
    post(&company, &me, "change-password", &change(PASSWORD, NEW))
        .await
        .expect(204);
    // this session goes on, the others are over, and so is what the old password began
    company.api.get(&me, "/v1/auth/sessions").await.expect(200);
    company
        .refresh(&company.signed_up["refresh_token"])
        .await
        .expect(200);
    company
        .api
        .get(&company.login(&other), "/v1/auth/sessions")
        .await
        .expect(401);
    company.refresh(&other["refresh_token"]).await.expect(401);
    reset(&company, &reset_link, "violet kite meadow 42")
        .await
        .expect_code(422, "VALIDATION_FAILED");
    company.log_in(PASSWORD).await.expect(401);
    company.log_in(NEW).await.expect(200);
    assert_eq!(count(&company, "auth.password_changed").await, 1);
    company
        .api
        .call(
            "POST",
            "/v1/auth/change-password",
            &[("content-type", "application/json")],
            "{}",
        )
        .await
        .expect(401);
}

#[tokio::test]
async fn repeated_with_its_key_a_change_is_done_once() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    let key = [("idempotency-key", "change-1")];
    for replayed in [None, Some("true")] {
        let answer = company
            .api
            .json(&me, "POST", "/v1/auth/change-password", &key, &body)
            .await;
        assert_eq!(
            answer.headers.get("idempotency-replayed").map(String::as_str),
            replayed
        );
        answer.expect(204);
    }
    assert_eq!(count(&company, "auth.password_changed").await, 1);
}

#[tokio::test]
async fn guessing_the_present_password_with_a_stolen_session_ends_after_five() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let guess = json!({ "current_password": "violet tram lanterm", "new_password": NEW });
    let answers = join_all((0..12).map(|_| post(&company, &me, "change-password", &guess))).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!((looked_at, answers.len() - looked_at), (5, 7));
    let right = json!({ "current_password": PASSWORD, "new_password": NEW });
    post(&company, &me, "change-password", &right)
        .await
        .expect_code(429, "RATE_LIMITED");
    // the owner is not locked out of logging in
    company.log_in(PASSWORD).await.expect(200);
    let api = company.without_counters();
    api.post(&me, "/v1/auth/change-password", &right)
        .await
        .expect_code(503, "UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_the_old_password_does_not_outlive_a_change_at_the_same_time() {
    for _ in 0..6 {
        let company = Company::new().await;
        let me = company.login(&company.signed_up);
        let change = json!({ "current_password": PASSWORD, "new_password": NEW });
        let (changed, logged_in) = join(
            post(&company, &me, "change-password", &change),
            company.log_in(PASSWORD),
        )
        .await;
        changed.expect(204);
        if logged_in.status == 200 {
            let session = company.login(&logged_in.json());
            company.api.get(&session, "/v1/auth/sessions").await.expect(401);
        }
        company.log_in(NEW).await.expect(200);
    }
}

#[tokio::test]
async fn a_login_under_way_ends_with_the_password_that_began_it() {
    let person = Person::new().await;
    let company = &person.company;
    let before = person.challenge().await;
    let token = forget(company).await;
    reset(company, &token, NEW).await.expect(204);
    person
        .second_step(&before, "totp", &person.shown())
        .await
        .expect_code(401, "UNAUTHENTICATED");
    // a new password is no second factor
    let error = company.log_in(NEW).await.expect_code(401, "AUTH_2FA_REQUIRED");
    let challenge = error["details"]["challenge_token"].as_str().unwrap();
    person
        .second_step(challenge, "totp", &person.shown())
        .await
        .expect(200);
}

#[tokio::test]
async fn a_refresh_at_the_same_time_leaves_no_live_session() {
    for _ in 0..4 {
        let company = Company::new().await;
        let token = forget(&company).await;
        let (done, refreshed) = join(
            reset(&company, &token, NEW),
            company.refresh(&company.signed_up["refresh_token"]),
        )
        .await;
        done.expect(204);
        if refreshed.status == 200 {
            let tokens = refreshed.json();
            company
                .api
                .get(&company.login(&tokens), "/v1/auth/sessions")
                .await
                .expect(401);
        }
        company
            .refresh(&company.signed_up["refresh_token"])
            .await
            .expect(401);
    }
}

#[tokio::test]
async fn a_suspended_user_can_not_refresh_nor_finish_a_login() {
    let person = Person::new().await;
    let company = &person.company;
    let challenge = challenge(company).await;
    let admin = company.world.admin_sql().await;
    // somebody else stays super admin
    company.world.admin().await;
    admin
        .execute(
            "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND id = $2",
            &[&company.world.tenant.0, &person.me.user_id],
        )
        .await
        .unwrap();
    second_step(&company.api, &challenge, "totp", &person.shown())
        .await
        .expect_code(401, "UNAUTHENTICATED");
    company
        .refresh(&company.signed_up["refresh_token"])
        .await
        .expect(401);
    company
        .log_in(PASSWORD)
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
}

#[tokio::test]
async fn a_role_taken_away_counts_with_tokens_that_are_out_and_with_refreshed_ones() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let admin = company.world.admin_sql().await;
    company.world.admin().await;
    company.api.get(&me, "/v1/auth/sessions").await.expect(200);
    admin
        .execute(
            "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2",
            &[&company.world.tenant.0, &me.user_id],
        )
        .await
        .unwrap();
    company
        .api
        .get(&me, "/v1/auth/sessions")
        .await
        .expect_code(403, "FORBIDDEN");
    let refreshed = company
        .refresh(&company.signed_up["refresh_token"])
        .await
        .expect(200);
    company
        .api
        .get(&company.login(&refreshed), "/v1/auth/sessions")
        .await
        .expect_code(403, "FORBIDDEN");
}

#[tokio::test]
async fn the_signup_key_opens_no_session_past_the_second_factor() {
    let person = Person::new().await;
    let company = &person.company;
    let body = json!({ "tenant_name": "Key Homes", "full_name": "Mona Ali", "email": company.email, "password": PASSWORD, "delivery": "body" });
    let key = company.email.clone();
    let headers = [("idempotency-key", key.as_str())];
    let api = function(
        &company.world,
        &crate::messaging::stack::endpoint(),
        &crate::messaging::stack::table().await,
        Limits::DEFAULT,
    );
    let first = post_as(&api, "signup", &headers, &body).await.expect(201);
    let me = company.login(&first);
    let setup = api.post(&me, "/v1/auth/totp/setup", &json!({})).await.expect(200);
    let app = totp_rs::Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
    let code = app.generate(super::setup::now(company)).to_string();
    api.post(&me, "/v1/auth/totp/confirm", &json!({ "code": code }))
        .await
        .expect(200);
    let again = post_as(&api, "signup", &headers, &body).await;
    again.expect_code(401, "AUTH_2FA_REQUIRED");
}
