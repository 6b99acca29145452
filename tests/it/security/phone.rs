//! Verifying a phone (S1.8).

use super::setup::{PHONE, code, count, number, post, sent, verify_phone, wrong};
use crate::auth::setup::Company;
use crate::support::{Login, World};
use futures::future::join_all;
use serde_json::{Value, json};

async fn begun(channel: &str) -> (Company, Login, Value) {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let body = json!({ "e164": PHONE, "channel": channel });
    let started = post(&company, &me, "phone/verify/start", &body).await.expect(202);
    (company, me, started)
}

async fn confirm(company: &Company, me: &Login, code: &str) -> crate::support::Answer {
    post(
        company,
        me,
        "phone/verify/confirm",
        &json!({ "e164": PHONE, "code": code }),
    )
    .await
}

async fn refused(company: &Company, me: &Login, code: &str, why: &str) {
    let error = confirm(company, me, code)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    let field = &error["details"]["fields"][0];
    assert_eq!((&field["path"], &field["code"]), (&json!("code"), &json!(why)));
}

#[tokio::test]
async fn a_phone_is_verified_by_the_code_that_it_got() {
    let (company, me, started) = begun("sms").await;
    assert_eq!(started["phone_masked"], "+20********67");
    assert_eq!(
        (&started["status"], &started["channel"]),
        (&json!("pending"), &json!("sms"))
    );
    assert_eq!(started["attempts_left"], 5);
    let right = code(&company, "sms").await;
    refused(&company, &me, &wrong(&right), "wrong").await;
    let other = json!({ "e164": "+201007654321", "code": right });
    post(&company, &me, "phone/verify/confirm", &other)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    let verified = confirm(&company, &me, &right).await.expect(200);
    assert_eq!(verified["phone_masked"], "+20********67");
    assert!(verified["phone_verified_at"].is_string());
    refused(&company, &me, &right, "expired").await;
    let about = company.world.me().get(&me, "/v1/me").await.expect(200);
    assert_eq!(
        about["security"]["phone_verified_at"],
        verified["phone_verified_at"]
    );
    let actions = company.actions().await;
    for action in ["started", "sent", "failed", "succeeded"] {
        assert!(actions.contains(&format!("phone.verify.{action}")), "{actions:?}");
    }
    // neither the number nor the code is kept where it can be read
    for table in ["audit_logs", "event_outbox", "users", "phone_verifications"] {
        let sql = format!(
            "SELECT count(*) FROM {table} t WHERE tenant_id = $1 AND (to_jsonb(t)::text LIKE '%{PHONE}%' OR to_jsonb(t)::text LIKE '%\"{right}\"%')"
        );
        assert_eq!(number(&company.world, &sql).await, 0, "{table}");
    }
}

#[tokio::test]
async fn whatsapp_alone_will_do_and_input_is_checked() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    for (e164, channel) in [
        ("01001234567", "sms"),
        ("+20", "sms"),
        ("", "whatsapp"),
        (PHONE, "email"),
        (PHONE, "pigeon"),
    ] {
        let body = json!({ "e164": e164, "channel": channel });
        post(&company, &me, "phone/verify/start", &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    assert!(
        sent(&company.world)
            .await
            .iter()
            .all(|message| message.channel == "email")
    );
    verify_phone(&company, &me).await;
    assert_eq!(sent(&company.world).await.last().unwrap().channel, "whatsapp");
}

#[tokio::test]
async fn the_sixth_wrong_code_is_not_looked_at() {
    let (company, me, _) = begun("sms").await;
    let right = code(&company, "sms").await;
    for _ in 0..5 {
        refused(&company, &me, &wrong(&right), "wrong").await;
    }
    refused(&company, &me, &right, "expired").await;
    assert_eq!(count(&company, "phone.verify.failed").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_wrong_codes_five_are_looked_at() {
    let (company, me, _) = begun("sms").await;
    let guess = wrong(&code(&company, "sms").await);
    let answers = join_all((0..20).map(|_| confirm(&company, &me, &guess))).await;
    let why: Vec<String> = answers
        .into_iter()
        .map(|answer| {
            answer.expect(422)["error"]["details"]["fields"][0]["code"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(why.iter().filter(|why| *why == "wrong").count(), 5);
    assert_eq!(why.iter().filter(|why| *why == "expired").count(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_right_codes_one_verifies() {
    let (company, me, _) = begun("sms").await;
    let right = code(&company, "sms").await;
    let answers = join_all((0..5).map(|_| confirm(&company, &me, &right))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(count(&company, "phone.verify.succeeded").await, 1);
}

#[tokio::test]
async fn another_code_comes_once_a_minute_and_renews_no_attempts() {
    let (company, me, _) = begun("sms").await;
    let first = code(&company, "sms").await;
    let soon = post(&company, &me, "phone/verify/resend", &json!({})).await;
    let wait: i64 = soon.headers["retry-after"].parse().unwrap();
    assert!((60..=61).contains(&wait), "{wait}");
    soon.expect_code(429, "RATE_LIMITED");
    for _ in 0..3 {
        refused(&company, &me, &wrong(&first), "wrong").await;
    }
    company.wait(60);
    let again = post(&company, &me, "phone/verify/resend", &json!({}))
        .await
        .expect(202);
    assert_eq!(again["attempts_left"], 2);
    let second = code(&company, "sms").await;
    if first != second {
        refused(&company, &me, &first, "wrong").await;
    }
    company.wait(599);
    confirm(&company, &me, &second).await.expect(200);
    post(&company, &me, "phone/verify/resend", &json!({}))
        .await
        .expect_code(409, "CONFLICT");
    assert_eq!(count(&company, "phone.verify.resend").await, 1);
    assert_eq!(count(&company, "phone.verify.sent").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_resends_send_one() {
    let (company, me, _) = begun("sms").await;
    company.wait(60);
    let body = json!({});
    let answers = join_all((0..6).map(|_| post(&company, &me, "phone/verify/resend", &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 5);
}

#[tokio::test]
async fn a_code_is_good_for_ten_minutes() {
    let (company, me, _) = begun("sms").await;
    let right = code(&company, "sms").await;
    company.wait(600);
    refused(&company, &me, &right, "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_starts_an_hour_also_at_once() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let body = json!({ "e164": PHONE, "channel": "sms" });
    let answers = join_all((0..8).map(|_| post(&company, &me, "phone/verify/start", &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 3);
    let refused = answers.into_iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.headers["ratelimit-limit"], "3");
    assert_eq!(refused.headers["ratelimit-remaining"], "0");
    let wait: i64 = refused.headers["retry-after"].parse().unwrap();
    assert!((3600..=3601).contains(&wait), "{wait}");
    refused.expect_code(429, "RATE_LIMITED");
    let waiting = "SELECT count(*) FROM phone_verifications WHERE tenant_id = $1 AND status = 'pending'";
    assert_eq!(number(&company.world, waiting).await, 1, "the newest");
    // dropping one gives no start back
    company
        .api
        .delete(&me, "/v1/auth/phone/verify/cancel")
        .await
        .expect(204);
    company
        .api
        .delete(&me, "/v1/auth/phone/verify/cancel")
        .await
        .expect_code(404, "NOT_FOUND");
    post(&company, &me, "phone/verify/start", &body).await.expect(429);
    // a colleague's starts are the colleague's
    let colleague = company.world.user("staff").await;
    post(&company, &colleague, "phone/verify/start", &body)
        .await
        .expect(202);
    company.wait(3601);
    let again = company.log_in(crate::auth::setup::PASSWORD).await.expect(200);
    let me = company.login(&again);
    let answer = post(&company, &me, "phone/verify/start", &body).await;
    assert_eq!(answer.headers["ratelimit-remaining"], "2");
    answer.expect(202);
}

#[tokio::test]
async fn a_dropped_or_replaced_code_confirms_nothing() {
    let (company, me, _) = begun("sms").await;
    let first = code(&company, "sms").await;
    company
        .api
        .delete(&me, "/v1/auth/phone/verify/cancel")
        .await
        .expect(204);
    refused(&company, &me, &first, "expired").await;
    post(&company, &me, "phone/verify/resend", &json!({}))
        .await
        .expect(409);
    let body = json!({ "e164": PHONE, "channel": "sms" });
    post(&company, &me, "phone/verify/start", &body).await.expect(202);
    if code(&company, "sms").await != first {
        refused(&company, &me, &first, "wrong").await;
    }
    // nor does mine confirm a colleague's
    let colleague = company.world.user("staff").await;
    refused(&company, &colleague, &code(&company, "sms").await, "expired").await;
    let stranger = World::new().await.admin().await;
    refused(&company, &stranger, &code(&company, "sms").await, "expired").await;
}
