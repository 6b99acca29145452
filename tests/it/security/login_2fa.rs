//! The second step of a login, and every way around it.

use super::setup::{
    Person, challenge, code, count, number, post, sent, strings, turn_on_sms, verify_phone, wrong,
};
use crate::auth::setup::{Company, PASSWORD, post as post_as};
use crate::support::Login;
use auth_function::Limits;
use futures::future::join_all;
use identity::RefreshToken;
use identity::sign_in::{self, ChallengeToken, Factor, Finished};
use serde_json::{Value, json};
use testkit::TestDb;

#[tokio::test]
async fn a_right_password_alone_opens_nothing() {
    let person = Person::new().await;
    let company = &person.company;
    let sessions = "SELECT count(*) FROM sessions WHERE tenant_id = $1";
    let tokens = "SELECT count(*) FROM refresh_tokens WHERE tenant_id = $1";
    let before = (
        number(&company.world, sessions).await,
        number(&company.world, tokens).await,
    );
    let answer = company.log_in(PASSWORD).await;
    assert!(!answer.headers.contains_key("set-cookie"));
    let error = answer.expect_code(401, "AUTH_2FA_REQUIRED");
    let details = &error["details"];
    assert_eq!(details["methods"], json!(["totp", "backup_code"]));
    assert_eq!(details["expires_in"], 600);
    let after = (
        number(&company.world, sessions).await,
        number(&company.world, tokens).await,
    );
    assert_eq!(before, after, "no session and no token before the second factor");

    // the challenge is no access token, no refresh token, no link
    let challenge = details["challenge_token"].as_str().unwrap();
    let thief = Login {
        token: challenge.to_owned(),
        ..person.me.clone()
    };
    company.api.get(&thief, "/v1/auth/sessions").await.expect(401);
    company
        .world
        .contacts()
        .get(&thief, "/v1/contacts")
        .await
        .expect(401);
    company.refresh(&json!(challenge)).await.expect(401);
    post(company, &thief, "totp/disable", &json!({ "password": PASSWORD }))
        .await
        .expect(401);
    for verb in ["verify-email", "reset-password"] {
        let body = match verb {
            "verify-email" => json!({ "token": challenge }),
            _ => json!({ "token": challenge, "password": "amber kite meadow 41" }),
        };
        company.post(verb, &body).await.expect(422);
    }
    let done = person.second_step(challenge, "totp", &person.shown()).await;
    assert_eq!(done.headers["cache-control"], "no-store");
    let done = done.expect(200);
    let me = company.login(&done);
    company.api.get(&me, "/v1/auth/sessions").await.expect(200);
    company.refresh(&done["refresh_token"]).await.expect(200);
    assert_eq!(count(company, "auth.login").await, 2);
}

#[tokio::test]
async fn what_is_no_challenge_completes_nothing() {
    let person = Person::new().await;
    let company = &person.company;
    let challenge = person.challenge().await;
    let fresh = ChallengeToken::generate().unwrap();
    let signed_up = &company.signed_up;
    for token in [
        fresh.expose(),
        "",
        "m3c_",
        signed_up["access_token"].as_str().unwrap(),
        signed_up["refresh_token"].as_str().unwrap(),
        &challenge[..challenge.len() - 1],
    ] {
        person
            .second_step(token, "totp", &person.shown())
            .await
            .expect_code(401, "UNAUTHENTICATED");
    }
    let complete = |body: Value| async move { company.post("login/2fa", &body).await };
    for (body, path) in [
        (json!({ "challenge_token": challenge, "method": "totp" }), "code"),
        (
            json!({ "challenge_token": challenge, "method": "totp", "code": "" }),
            "code",
        ),
        (
            json!({ "challenge_token": challenge, "method": "backup_code" }),
            "code",
        ),
        (
            json!({ "challenge_token": challenge, "method": "totp", "code": "1".repeat(65) }),
            "code",
        ),
        (
            json!({ "challenge_token": challenge, "method": "none", "code": "1" }),
            "method",
        ),
        (json!({ "challenge_token": challenge, "code": "123456" }), ""),
        (
            json!({ "challenge_token": challenge, "method": "totp", "code": "1", "skip": true }),
            "skip",
        ),
    ] {
        let error = complete(body).await.expect_code(422, "VALIDATION_FAILED");
        assert_eq!(error["details"]["fields"][0]["path"], path);
    }
    // factors that are not on
    complete(json!({ "challenge_token": challenge, "method": "sms" }))
        .await
        .expect_code(409, "CONFLICT");
    for method in ["sms", "whatsapp"] {
        person
            .second_step(&challenge, method, &person.shown())
            .await
            .expect_code(401, "AUTH_2FA_INVALID_CODE");
    }
    person
        .second_step(&challenge, "totp", &person.shown())
        .await
        .expect(200);
}

#[tokio::test]
async fn a_challenge_is_good_once_and_for_ten_minutes() {
    let person = Person::new().await;
    let (first, second) = (person.challenge().await, person.challenge().await);
    person
        .second_step(&first, "totp", &person.shown())
        .await
        .expect(200);
    person.company.wait(30);
    person
        .second_step(&first, "totp", &person.shown())
        .await
        .expect_code(401, "UNAUTHENTICATED");
    person.company.wait(570);
    person
        .second_step(&second, "totp", &person.shown())
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_code_is_accepted_once_also_within_its_window() {
    let person = Person::new().await;
    let shown = person.shown();
    let first = person.challenge().await;
    person.second_step(&first, "totp", &shown).await.expect(200);
    let second = person.challenge().await;
    person
        .second_step(&second, "totp", &shown)
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    // nor is one of an earlier step, which was never used
    person
        .second_step(&second, "totp", &person.shown_at(-30))
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    person.company.wait(30);
    person
        .second_step(&second, "totp", &shown)
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    person
        .second_step(&second, "totp", &person.shown())
        .await
        .expect(200);
}

#[tokio::test]
async fn the_code_that_confirmed_the_app_logs_nobody_in() {
    let person = Person::new().await;
    let challenge = person.challenge().await;
    person
        .second_step(&challenge, "totp", &person.shown_at(-30))
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
}

#[tokio::test]
async fn a_clock_may_be_half_a_minute_off() {
    for (offset, status) in [(-60, 401), (-30, 200), (30, 200), (60, 401)] {
        let person = Person::new().await;
        person.company.wait(120);
        let challenge = person.challenge().await;
        let answer = person
            .second_step(&challenge, "totp", &person.shown_at(offset))
            .await;
        assert_eq!(answer.status, status, "{offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_logins_with_one_code_one_succeeds() {
    let person = Person::new().await;
    for method in ["totp", "backup_code"] {
        // what the round before counted as wrong is forgotten
        person.company.wait(601);
        let code = match method {
            "totp" => person.shown(),
            _ => person.backup_codes[3].clone(),
        };
        let mut challenges = Vec::new();
        for _ in 0..4 {
            challenges.push(person.challenge().await);
        }
        let tries = challenges
            .iter()
            .map(|challenge| person.second_step(challenge, method, &code));
        let answers = join_all(tries).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(401)), (1, 3), "{method}");
    }
}

#[tokio::test]
async fn the_sixth_wrong_code_is_not_looked_at() {
    let person = Person::new().await;
    let challenge = person.challenge().await;
    for left in (0..5).rev() {
        let error = person
            .second_step(&challenge, "totp", &wrong(&person.shown()))
            .await
            .expect_code(401, "AUTH_2FA_INVALID_CODE");
        assert_eq!(error["details"]["attempts_left"], left);
    }
    person
        .second_step(&challenge, "totp", &person.shown())
        .await
        .expect_code(429, "RATE_LIMITED");
    // a new login of the same user does not help, nor does a function that never saw the failures
    let other = person.challenge().await;
    person
        .second_step(&other, "totp", &person.shown())
        .await
        .expect_code(429, "RATE_LIMITED");
    let forgetful = person.company.with_limits(Limits::DEFAULT).await;
    super::setup::second_step(&forgetful, &challenge, "totp", &person.shown())
        .await
        .expect_code(401, "UNAUTHENTICATED");
    person.company.wait(601);
    let later = person.challenge().await;
    person
        .second_step(&later, "totp", &person.shown())
        .await
        .expect(200);
    let told = count(&person.company, "auth.2fa_failed").await;
    assert_eq!(told, 6, "also of the code that was not looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_wrong_codes_five_are_looked_at() {
    let person = Person::new().await;
    let challenge = person.challenge().await;
    let guess = wrong(&person.shown());
    let answers = join_all((0..20).map(|_| person.second_step(&challenge, "totp", &guess))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 5);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 15);

    // the database alone counts as strictly
    let world = &person.company.world;
    let challenge = ChallengeToken::parse(&person.challenge().await).unwrap();
    let caller = TestDb::system(world.tenant);
    let tries = (0..20).map(|_| {
        let (challenge, caller, guess) = (&challenge, &caller, guess.as_str());
        let user_id = person.me.user_id;
        world.test.db.write(caller, async move |tx| {
            let token = RefreshToken::generate()?;
            sign_in::finish(&tx, user_id, challenge, (Factor::Totp, guess), &token).await
        })
    });
    let outcomes = join_all(tries).await;
    let count = |wanted: fn(&Finished) -> bool| {
        outcomes
            .iter()
            .filter(|outcome| wanted(outcome.as_ref().unwrap()))
            .count()
    };
    assert_eq!(count(|outcome| matches!(outcome, Finished::Wrong { .. })), 5);
    assert_eq!(count(|outcome| matches!(outcome, Finished::Over)), 15);
}

#[tokio::test]
async fn without_counters_no_second_factor_is_tried() {
    let person = Person::new().await;
    let challenge = person.challenge().await;
    let api = person.company.without_counters();
    super::setup::second_step(&api, &challenge, "totp", &person.shown())
        .await
        .expect_code(503, "UNAVAILABLE");
    person
        .second_step(&challenge, "totp", &person.shown())
        .await
        .expect(200);
}

#[tokio::test]
async fn each_backup_code_is_good_once() {
    let person = Person::new().await;
    let challenge = person.challenge().await;
    let code = &person.backup_codes[0];
    person
        .second_step(&challenge, "backup_code", code)
        .await
        .expect(200);
    let challenge = person.challenge().await;
    person
        .second_step(&challenge, "backup_code", code)
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    person
        .second_step(&challenge, "backup_code", &person.backup_codes[1])
        .await
        .expect(200);
    assert_eq!(count(&person.company, "twofa.backup_code_used").await, 2);
}

#[tokio::test]
async fn a_code_comes_by_sms_and_by_whatsapp() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    for path in ["twofa/sms/enable", "twofa/whatsapp/enable"] {
        post(&company, &me, path, &json!({}))
            .await
            .expect_code(403, "AUTH_PHONE_UNVERIFIED");
    }
    verify_phone(&company, &me).await;
    let first = post(&company, &me, "twofa/sms/enable", &json!({}))
        .await
        .expect(200);
    assert_eq!(first["twofa_methods"], json!(["sms"]));
    assert_eq!(strings(&first["backup_codes"]).len(), 10);
    let second = post(&company, &me, "twofa/whatsapp/enable", &json!({}))
        .await
        .expect(200);
    assert_eq!(second["twofa_methods"], json!(["sms", "whatsapp"]));
    assert_eq!(second["backup_codes"], Value::Null, "there are some left");

    for channel in ["sms", "whatsapp"] {
        let challenge = challenge(&company).await;
        let ask = json!({ "challenge_token": challenge, "method": channel });
        let before = sent(&company.world).await.len();
        super::setup::second_step(&company.api, &challenge, channel, "123456")
            .await
            .expect_code(401, "AUTH_2FA_INVALID_CODE");
        let answer = company.post("login/2fa", &ask).await.expect(202);
        assert_eq!(answer, json!({ "sent": true, "method": channel }));
        assert_eq!(sent(&company.world).await.len(), before + 1);
        let again = company.post("login/2fa", &ask).await;
        assert!(again.headers.contains_key("retry-after"));
        again.expect_code(429, "RATE_LIMITED");
        let right = code(&company, channel).await;
        super::setup::second_step(&company.api, &challenge, channel, &wrong(&right))
            .await
            .expect_code(401, "AUTH_2FA_INVALID_CODE");
        let other = if channel == "sms" { "whatsapp" } else { "sms" };
        super::setup::second_step(&company.api, &challenge, other, &right)
            .await
            .expect_code(401, "AUTH_2FA_INVALID_CODE");
        super::setup::second_step(&company.api, &challenge, channel, &right)
            .await
            .expect(200);
        super::setup::second_step(&company.api, &challenge, channel, &right)
            .await
            .expect_code(401, "UNAUTHENTICATED");
    }
    // a phone that login codes go to is not moved by who has but the session
    let moved = json!({ "e164": "+201007654321", "channel": "sms" });
    post(&company, &me, "phone/verify/start", &moved)
        .await
        .expect_code(409, "CONFLICT");
    for channel in ["sms", "whatsapp"] {
        let path = format!("twofa/{channel}/disable");
        post(&company, &me, &path, &json!({})).await.expect(422);
        post(&company, &me, &path, &json!({ "password": PASSWORD }))
            .await
            .expect(204);
    }
    company.log_in(PASSWORD).await.expect(200);
}

#[tokio::test]
async fn codes_are_sent_three_times_at_most_and_the_newest_counts() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    turn_on_sms(&company, &me).await;
    let challenge = challenge(&company).await;
    let ask = json!({ "challenge_token": challenge, "method": "sms" });
    let mut codes = Vec::new();
    for _ in 0..3 {
        company.post("login/2fa", &ask).await.expect(202);
        codes.push(code(&company, "sms").await);
        company.wait(61);
    }
    company
        .post("login/2fa", &ask)
        .await
        .expect_code(429, "RATE_LIMITED");
    if codes[0] != codes[2] {
        super::setup::second_step(&company.api, &challenge, "sms", &codes[0])
            .await
            .expect_code(401, "AUTH_2FA_INVALID_CODE");
    }
    super::setup::second_step(&company.api, &challenge, "sms", &codes[2])
        .await
        .expect(200);
    assert_eq!(count(&company, "auth.2fa_sent").await, 3);
    let api = company.without_counters();
    let body = json!({ "challenge_token": super::setup::challenge(&company).await, "method": "sms" });
    post_as(&api, "login/2fa", &[], &body).await.expect(503);
}

#[tokio::test]
async fn a_code_says_how_long_the_login_still_waits_for_it() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    turn_on_sms(&company, &me).await;
    let challenge = challenge(&company).await;
    let ask = json!({ "challenge_token": challenge, "method": "sms" });
    for (wait, said) in [(0, "10 minutes"), (61, "8 minutes"), (500, "1 minute")] {
        company.wait(wait);
        company.post("login/2fa", &ask).await.expect(202);
        let sent = sent(&company.world).await;
        let newest = sent.iter().rfind(|message| message.channel == "sms").unwrap();
        assert!(newest.text.contains(&format!("good for {said}.")), "{newest:?}");
    }
    let right = code(&company, "sms").await;
    super::setup::second_step(&company.api, &challenge, "sms", &right)
        .await
        .expect(200);
}

/// Whoever has the password alone could have messages sent without end.
#[tokio::test]
async fn ten_login_codes_an_hour_go_to_a_user_over_all_logins() {
    let company = Company::new().await;
    company.verify_email().await;
    let me = company.login(&company.signed_up);
    verify_phone(&company, &me).await;
    for channel in ["sms", "whatsapp"] {
        post(&company, &me, &format!("twofa/{channel}/enable"), &json!({}))
            .await
            .expect(200);
    }
    for n in 0..12 {
        let channel = if n % 2 == 0 { "sms" } else { "whatsapp" };
        let ask = json!({ "challenge_token": challenge(&company).await, "method": channel });
        let answer = company.post("login/2fa", &ask).await;
        if n < 10 {
            answer.expect(202);
        } else {
            assert!(answer.headers.contains_key("retry-after"));
            answer.expect_code(429, "RATE_LIMITED");
        }
    }
    assert_eq!(count(&company, "auth.2fa_sent").await, 10);
}

#[tokio::test]
async fn asking_too_soon_uses_up_no_login_code() {
    let company = Company::new().await;
    company.verify_email().await;
    let me = company.login(&company.signed_up);
    turn_on_sms(&company, &me).await;
    for _ in 0..2 {
        let ask = json!({ "challenge_token": challenge(&company).await, "method": "sms" });
        company.post("login/2fa", &ask).await.expect(202);
        for _ in 0..9 {
            company
                .post("login/2fa", &ask)
                .await
                .expect_code(429, "RATE_LIMITED");
        }
        // nor does a factor that is not on
        let other = json!({ "challenge_token": challenge(&company).await, "method": "whatsapp" });
        company
            .post("login/2fa", &other)
            .await
            .expect_code(409, "CONFLICT");
    }
    assert_eq!(count(&company, "auth.2fa_sent").await, 2);
    let sent = sent(&company.world).await;
    let newest = sent.iter().rfind(|message| message.channel == "sms").unwrap();
    assert!(newest.text.contains("log in to Nile Homes"), "{}", newest.text);
}
