//! Verifying a phone (S1.8).

use super::setup::{PHONE, code, count, inbox, mail, now, number, post, sent, verify_phone, wrong};
use crate::auth::setup::{Company, PASSWORD, answer_with};
use crate::support::{Login, World};
use auth_function::Limits;
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
    assert_eq!(verified["phone_country"], "EG");
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
    let told = count(&company, "phone.verify.failed").await;
    assert_eq!(told, 6, "also of the code that was not looked at");
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
    let numbered = |n: i32| json!({ "e164": format!("+20100123456{n}"), "channel": "sms" });
    let bodies: Vec<Value> = (0..8).map(numbered).collect();
    let start = |body| post(&company, &me, "phone/verify/start", body);
    let answers = join_all(bodies.iter().map(start)).await;
    let body = numbered(9);
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
    let again = company.log_in(PASSWORD).await.expect(200);
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

async fn start(company: &Company, me: &Login, number: &str) -> crate::support::Answer {
    let body = json!({ "e164": number, "channel": "sms" });
    post(company, me, "phone/verify/start", &body).await
}

#[tokio::test]
async fn a_number_gets_six_codes_an_hour_whoever_asks_and_wherever() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    for _ in 0..3 {
        start(&company, &me, PHONE).await.expect(202);
    }
    let colleague = company.world.user("staff").await;
    for _ in 0..2 {
        start(&company, &colleague, PHONE).await.expect(202);
    }
    // another code is one of them
    company.wait(60);
    let again = post(&company, &colleague, "phone/verify/resend", &json!({})).await;
    let in_the_same_hour = now(&company) / 3600 == (now(&company) - 60) / 3600;
    again.expect(202);
    company.wait(60);
    if in_the_same_hour {
        post(&company, &colleague, "phone/verify/resend", &json!({}))
            .await
            .expect_code(429, "RATE_LIMITED");
        let email = format!("other-{}@example.com", testkit::unique());
        let other = company.sign_up(&email, PASSWORD).await.expect(201);
        let stranger = company.login(&other);
        let refused = start(&company, &stranger, PHONE).await;
        assert!(refused.headers.contains_key("retry-after"));
        refused.expect_code(429, "RATE_LIMITED");
        start(&company, &stranger, "+201007654321").await.expect(202);
    }
}

#[tokio::test]
async fn one_address_and_one_company_have_so_many_codes_sent() {
    let company = Company::new().await;
    let mut limits = Limits::DEFAULT;
    (limits.phones.capacity, limits.phones_of_tenant.capacity) = (2, 3);
    let api = company.with_limits(limits).await;
    let ask = async |me: &Login, ip: &str, n: i32| {
        let body = json!({ "e164": format!("+20100123456{n}"), "channel": "sms" });
        let answer = answer_with(&api, ip, Some(me), "phone/verify/start", &body).await;
        answer.status().as_u16()
    };
    let (one, two) = (
        company.world.user("staff").await,
        company.world.user("staff").await,
    );
    assert_eq!(ask(&one, "198.51.100.1", 0).await, 202);
    assert_eq!(ask(&two, "198.51.100.1", 1).await, 202);
    assert_eq!(ask(&one, "198.51.100.1", 2).await, 429, "the address");
    assert_eq!(ask(&one, "198.51.100.2", 3).await, 202);
    assert_eq!(ask(&two, "198.51.100.3", 4).await, 429, "the company");
    let stranger = company.world.neighbour().await.admin().await;
    assert_eq!(ask(&stranger, "198.51.100.3", 5).await, 202);
}

#[tokio::test]
async fn without_counters_no_code_goes_to_a_phone() {
    let (company, me, _) = begun("sms").await;
    company.wait(60);
    let (api, before) = (company.without_counters(), sent(&company.world).await.len());
    let body = json!({ "e164": PHONE, "channel": "sms" });
    for (path, body) in [("start", body), ("resend", json!({}))] {
        api.post(&me, &format!("/v1/auth/phone/verify/{path}"), &body)
            .await
            .expect_code(503, "UNAVAILABLE");
    }
    assert_eq!(sent(&company.world).await.len(), before);
    // what was sent is good
    let body = json!({ "e164": PHONE, "code": code(&company, "sms").await });
    api.post(&me, "/v1/auth/phone/verify/confirm", &body)
        .await
        .expect(200);
}

#[tokio::test]
async fn a_verification_sends_six_codes_and_no_more() {
    let company = Company::new().await;
    company.verify_email().await;
    // from half past on, ten minutes apart: no number gets six of them in one hour of the clock
    let past = i64::try_from(now(&company) % 3600).unwrap();
    company.wait((1800 - past).rem_euclid(3600));
    let me = async || company.login(&company.log_in(PASSWORD).await.expect(200));
    start(&company, &me().await, PHONE).await.expect(202);
    for resends in 1..=6 {
        company.wait(595);
        let answer = post(&company, &me().await, "phone/verify/resend", &json!({})).await;
        if resends < 6 {
            answer.expect(202);
        } else {
            answer.expect_code(429, "RATE_LIMITED");
        }
    }
    assert_eq!(count(&company, "phone.verify.sent").await, 6);
}

#[tokio::test]
async fn a_phone_that_login_codes_go_to_is_not_moved_by_a_verification_begun_before() {
    let company = Company::new().await;
    company.verify_email().await;
    let me = company.login(&company.signed_up);
    verify_phone(&company, &me).await;
    assert_eq!(inbox(&company, &me).await.last().unwrap(), "phone_changed");
    assert!(mail(&company).await.contains("+20********67"));
    // the same number again is no change
    let told = inbox(&company, &me).await.len();
    let body = json!({ "e164": PHONE, "channel": "sms" });
    post(&company, &me, "phone/verify/start", &body).await.expect(202);
    let right = code(&company, "sms").await;
    confirm(&company, &me, &right).await.expect(200);
    let kinds = inbox(&company, &me).await;
    assert!(!kinds[told..].contains(&"phone_changed".to_owned()), "{kinds:?}");

    let other = "+201007654321";
    start(&company, &me, other).await.expect(202);
    let sent = sent(&company.world).await;
    let to_other = sent.iter().rfind(|message| message.to == other).unwrap();
    let right: String = to_other
        .text
        .split(|c: char| !c.is_ascii_digit())
        .find(|digits| digits.len() == 6)
        .unwrap()
        .to_owned();
    post(&company, &me, "twofa/sms/enable", &json!({}))
        .await
        .expect(200);
    let body = json!({ "e164": other, "code": right });
    post(&company, &me, "phone/verify/confirm", &body)
        .await
        .expect_code(409, "CONFLICT");
    let kept = "SELECT count(*) FROM users WHERE tenant_id = $1 AND phone_masked = '+20********67'";
    assert_eq!(number(&company.world, kept).await, 1);
    // without the factor it may move
    post(
        &company,
        &me,
        "twofa/sms/disable",
        &json!({ "password": PASSWORD }),
    )
    .await
    .expect(204);
    post(&company, &me, "phone/verify/confirm", &body)
        .await
        .expect(200);
    assert_eq!(inbox(&company, &me).await.last().unwrap(), "phone_changed");
}

/// At the beginning of an hour of the clock, so that all of it counts in one window.
async fn at_the_full_hour() -> (Company, Login) {
    let company = Company::new().await;
    company.wait(3600 - i64::try_from(now(&company) % 3600).unwrap());
    let me = company.login(&company.log_in(PASSWORD).await.expect(200));
    (company, me)
}

#[tokio::test]
async fn what_sends_no_code_uses_up_none_of_the_numbers() {
    let (company, me) = at_the_full_hour().await;
    start(&company, &me, PHONE).await.expect(202);
    for _ in 0..5 {
        post(&company, &me, "phone/verify/resend", &json!({}))
            .await
            .expect_code(429, "RATE_LIMITED");
    }
    // a start too many, a session that is over, nothing under way
    for _ in 0..2 {
        start(&company, &me, PHONE).await.expect(202);
    }
    for _ in 0..3 {
        start(&company, &me, PHONE).await.expect_code(429, "RATE_LIMITED");
    }
    let over = company.login(&company.log_in(PASSWORD).await.expect(200));
    let path = format!("/v1/auth/sessions/{}", over.session_id);
    company.api.delete(&me, &path).await.expect(204);
    for _ in 0..3 {
        start(&company, &over, PHONE)
            .await
            .expect_code(401, "UNAUTHENTICATED");
        post(&company, &over, "phone/verify/resend", &json!({}))
            .await
            .expect_code(401, "UNAUTHENTICATED");
    }
    let colleague = company.world.user("staff").await;
    post(&company, &colleague, "phone/verify/resend", &json!({}))
        .await
        .expect_code(409, "CONFLICT");
    // three of six were sent
    for _ in 0..3 {
        start(&company, &colleague, PHONE).await.expect(202);
    }
    let another = company.world.user("staff").await;
    let refused = start(&company, &another, PHONE).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_code(429, "RATE_LIMITED");
    let started = "SELECT count(*) FROM phone_verifications WHERE tenant_id = $1";
    assert_eq!(
        number(&company.world, started).await,
        6,
        "what is refused begins nothing"
    );
}

/// Else a company that had its codes could take a stranger's number the rest of theirs, and one number a
/// company's.
#[tokio::test]
async fn what_one_limit_refuses_the_others_do_not_count() {
    let (company, me) = at_the_full_hour().await;
    let mut limits = Limits::DEFAULT;
    (limits.phones.capacity, limits.phones_of_tenant.capacity) = (8, 7);
    let api = company.with_limits(limits).await;
    let email = format!("other-{}@example.com", testkit::unique());
    let stranger = company.sign_up(&email, PASSWORD).await.expect(201);
    let ask = async |me: &Login, ip: &str, number: &str| {
        let body = json!({ "e164": number, "channel": "sms" });
        let answer = answer_with(&api, ip, Some(me), "phone/verify/start", &body).await;
        answer.status().as_u16()
    };
    let (one, other) = ("198.51.100.1", "198.51.100.2");
    // The number has had its six.
    for person in [&me, &company.world.user("staff").await] {
        for _ in 0..3 {
            assert_eq!(ask(person, one, PHONE).await, 202);
        }
    }
    let third = company.world.user("staff").await;
    for _ in 0..4 {
        assert_eq!(ask(&third, one, PHONE).await, 429, "the number");
    }
    // One is left to the company, two to the address.
    let second = "+201007654321";
    assert_eq!(ask(&third, one, second).await, 202);
    for _ in 0..8 {
        assert_eq!(ask(&third, other, second).await, 429, "the company");
    }
    let theirs = company.login(&stranger);
    assert_eq!(ask(&theirs, one, second).await, 202);
    assert_eq!(ask(&theirs, one, second).await, 429, "the address");
    assert_eq!(ask(&theirs, other, second).await, 202);
}

/// A wrong code is an error to who sent it, and nothing that is repeated from memory: with the next code it may
/// be right.
#[tokio::test]
async fn a_wrong_code_uses_up_no_idempotency_key() {
    let (company, me, _) = begun("sms").await;
    let right = code(&company, "sms").await;
    let send = async |code: &str| {
        let body = json!({ "e164": PHONE, "code": code });
        let headers = [("idempotency-key", "confirm-1")];
        let path = "/v1/auth/phone/verify/confirm";
        company.api.json(&me, "POST", path, &headers, &body).await
    };
    let left = async || {
        let sql = "SELECT 5 - attempts::bigint FROM phone_verifications WHERE tenant_id = $1";
        number(&company.world, sql).await
    };
    for expected in [4, 3] {
        let answer = send(&wrong(&right)).await;
        assert!(!answer.headers.contains_key("idempotency-replayed"));
        let message = answer.expect_code(422, "VALIDATION_FAILED")["details"]["fields"][0]["code"].clone();
        assert_eq!((message, left().await), (json!("wrong"), expected));
    }
    let verified = send(&right).await.expect(200);
    let again = send(&right).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.expect(200), verified);
    send(&wrong(&right)).await.expect_code(422, "VALIDATION_FAILED");
    assert_eq!(
        left().await,
        2,
        "the key was used for another code, which is not looked at"
    );
}
