//! The authenticator app: setting it up, using it, turning it off.

use super::setup::{
    Person, count, inbox, mail, now, number, post, sent, strings, turn_on_sms, verify_phone, wrong,
};
use crate::auth::setup::{Company, PASSWORD};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::join_all;
use identity::method;
use serde_json::{Value, json};
use totp_rs::Totp;

#[tokio::test]
async fn both_names_set_up_the_same_app() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let setup = post(&company, &me, "totp/setup", &json!({})).await.expect(200);
    let uri = setup["otpauth_uri"].as_str().unwrap();
    let email = company.email.replace('@', "%40");
    assert!(
        uri.starts_with(&format!("otpauth://totp/M3CRM:{email}?secret=")) && uri.ends_with("&issuer=M3CRM"),
        "{uri}"
    );
    let picture = setup["qr_png_data_url"].as_str().unwrap();
    let picture = picture.strip_prefix("data:image/png;base64,").unwrap();
    assert!(STANDARD.decode(picture).unwrap().starts_with(b"\x89PNG"));
    let issued = post(&company, &me, "2fa/totp/issue", &json!({}))
        .await
        .expect(200);
    let mut keys: Vec<&String> = issued.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["otpauthUrl", "qrPngDataUrl", "secret"]);
    assert_ne!(
        issued["secret"], setup["secret"],
        "beginning again makes a new secret"
    );
    // a code of the secret that was replaced confirms nothing
    let old = Totp::from_url(uri).unwrap().generate(now(&company)).to_string();
    post(&company, &me, "2fa/totp/verify", &json!({ "code": old }))
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    company.log_in(PASSWORD).await.expect(200);
    let new = Totp::from_url(issued["otpauthUrl"].as_str().unwrap()).unwrap();
    let code = new.generate(now(&company)).to_string();
    let done = post(&company, &me, "2fa/totp/verify", &json!({ "code": code }))
        .await
        .expect(200);
    assert_eq!(
        (&done["ok"], &done["recoveryCodesIssued"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(strings(&done["recoveryCodes"]).len(), 10);
    for path in ["totp/setup", "2fa/totp/issue"] {
        post(&company, &me, path, &json!({}))
            .await
            .expect_code(409, "CONFLICT");
    }
    post(&company, &me, "totp/confirm", &json!({ "code": code }))
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    let about = company.world.me().get(&me, "/v1/me").await.expect(200);
    assert_eq!(about["security"]["twofa_methods"], json!(["totp"]));
    assert_eq!(count(&company, "twofa.enabled").await, 1);
}

#[tokio::test]
async fn the_secret_and_the_codes_are_kept_sealed_or_hashed() {
    let person = Person::new().await;
    let world = &person.company.world;
    let secret = person.app.secret().to_base32();
    let mut rows = Vec::new();
    for table in [
        "totp_secrets",
        "backup_codes",
        "audit_logs",
        "event_outbox",
        "users",
    ] {
        let sql = format!("SELECT to_jsonb(t)::text FROM {table} t WHERE tenant_id = $1");
        let found = world
            .admin_sql()
            .await
            .query(&sql, &[&world.tenant.0])
            .await
            .unwrap();
        rows.extend(found.iter().map(|row| row.get::<_, String>(0)));
    }
    let kept = rows.join("\n");
    let hex = providers::signature::hex(person.app.secret().as_bytes());
    assert!(!kept.contains(&secret) && !kept.contains(&hex));
    assert!(
        person
            .backup_codes
            .iter()
            .all(|code| !kept.contains(code.as_str()))
    );
    assert!(kept.contains("twofa.enabled"));
}

#[tokio::test]
async fn turning_it_off_needs_more_than_a_session() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    post(company, me, "totp/disable", &json!({}))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    post(
        company,
        me,
        "totp/disable",
        &json!({ "code": person.shown(), "password": PASSWORD }),
    )
    .await
    .expect_code(422, "VALIDATION_FAILED");
    post(
        company,
        me,
        "totp/disable",
        &json!({ "code": wrong(&person.shown()) }),
    )
    .await
    .expect_code(401, "AUTH_2FA_INVALID_CODE");
    post(
        company,
        me,
        "totp/disable",
        &json!({ "password": "violet tram lanterm" }),
    )
    .await
    .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    post(company, me, "totp/disable", &json!({ "code": person.shown() }))
        .await
        .expect(204);
    company.log_in(PASSWORD).await.expect(200);
    assert_eq!(count(company, "twofa.disabled").await, 1);
    post(company, me, "totp/disable", &json!({ "password": PASSWORD }))
        .await
        .expect_code(409, "CONFLICT");
    // without a factor the backup codes are gone
    post(
        company,
        me,
        "2fa/backup-codes",
        &json!({ "code": person.backup_codes[0] }),
    )
    .await
    .expect_code(401, "AUTH_2FA_INVALID_CODE");
    post(company, me, "2fa/backup-codes", &json!({ "password": PASSWORD }))
        .await
        .expect_code(409, "CONFLICT");
}

#[tokio::test]
async fn guessing_a_proof_with_a_stolen_session_ends_after_five() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    let guess = json!({ "code": wrong(&person.shown()) });
    let answers = join_all((0..12).map(|_| post(company, me, "totp/disable", &guess))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 5);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 7);
    post(
        company,
        me,
        "2fa/backup-codes",
        &json!({ "code": person.shown() }),
    )
    .await
    .expect_code(429, "RATE_LIMITED");
    // and counts apart from logging in
    let challenge = person.challenge().await;
    person
        .second_step(&challenge, "totp", &person.shown())
        .await
        .expect(200);
}

#[tokio::test]
async fn new_backup_codes_replace_the_old() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    let made = post(
        company,
        me,
        "2fa/backup-codes",
        &json!({ "code": person.shown() }),
    )
    .await
    .expect(200);
    let codes = strings(&made["backup_codes"]);
    assert_eq!(codes.len(), 10);
    assert!(
        codes
            .iter()
            .all(|code| code.len() == 11 && !person.backup_codes.contains(code))
    );
    let challenge = person.challenge().await;
    person
        .second_step(&challenge, "backup_code", &person.backup_codes[0])
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    person
        .second_step(
            &challenge,
            "backup_code",
            &codes[0].to_uppercase().replace('-', " "),
        )
        .await
        .expect(200);
}

#[tokio::test]
async fn another_users_app_is_not_mine() {
    let person = Person::new().await;
    let (company, colleague) = (&person.company, person.company.world.admin().await);
    post(
        company,
        &colleague,
        "2fa/backup-codes",
        &json!({ "code": person.shown() }),
    )
    .await
    .expect_code(401, "AUTH_2FA_INVALID_CODE");
    post(
        company,
        &colleague,
        "totp/confirm",
        &json!({ "code": person.shown() }),
    )
    .await
    .expect_code(401, "AUTH_2FA_INVALID_CODE");
    let mine = company.world.me().get(&person.me, "/v1/me").await.expect(200);
    assert_eq!(mine["security"]["twofa_methods"], json!(["totp"]));
    let theirs = company.world.me().get(&colleague, "/v1/me").await.expect(200);
    assert_eq!(theirs["security"]["twofa_methods"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_user_is_told_when_a_factor_is_turned_on_or_off() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    assert!(mail(company).await.contains("authenticator app"));
    verify_phone(company, me).await;
    let mut kinds = vec!["second_factor_on", "code_sent", "phone_changed"];
    assert_eq!(inbox(company, me).await, kinds);
    for channel in ["sms", "whatsapp"] {
        let path = format!("twofa/{channel}/enable");
        post(company, me, &path, &json!({})).await.expect(200);
        kinds.push("second_factor_on");
        // again changes nothing, and tells nothing
        post(company, me, &path, &json!({})).await.expect(200);
        assert_eq!(inbox(company, me).await, kinds);
    }
    assert!(mail(company).await.contains("by WhatsApp"));
    for path in ["twofa/sms/disable", "twofa/whatsapp/disable", "totp/disable"] {
        post(company, me, path, &json!({ "password": PASSWORD }))
            .await
            .expect(204);
        kinds.push("second_factor_off");
        assert_eq!(inbox(company, me).await, kinds);
    }
    assert!(mail(company).await.contains("authenticator app"));
    assert_eq!(count(company, "twofa.enabled").await, 3);
    // an address that nobody verified may be a stranger's
    let unverified = Company::new().await;
    let me = unverified.login(&unverified.signed_up);
    let mails = sent(&unverified.world).await.len();
    let setup = post(&unverified, &me, "totp/setup", &json!({})).await.expect(200);
    let app = Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
    let code = json!({ "code": app.generate(now(&unverified)).to_string() });
    post(&unverified, &me, "totp/confirm", &code).await.expect(200);
    assert_eq!(inbox(&unverified, &me).await, ["second_factor_on"]);
    assert_eq!(sent(&unverified.world).await.len(), mails);
}

/// Whoever has but a stolen session would get codes that stand in for the factor that is on.
#[tokio::test]
async fn backup_codes_come_with_the_first_factor_only() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    verify_phone(&company, &me).await;
    let first = post(&company, &me, "twofa/sms/enable", &json!({})).await;
    assert_eq!(strings(&first.expect(200)["backup_codes"]).len(), 10);
    let sql = "UPDATE backup_codes SET used_at = now() WHERE tenant_id = $1";
    let admin = company.world.admin_sql().await;
    admin.execute(sql, &[&company.world.tenant.0]).await.unwrap();
    let setup = post(&company, &me, "totp/setup", &json!({})).await.expect(200);
    let app = Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
    let code = json!({ "code": app.generate(now(&company)).to_string() });
    let confirmed = post(&company, &me, "2fa/totp/verify", &code).await.expect(200);
    assert_eq!(
        (&confirmed["recoveryCodesIssued"], &confirmed["recoveryCodes"]),
        (&json!(false), &Value::Null)
    );
    for _ in 0..2 {
        let second = post(&company, &me, "twofa/whatsapp/enable", &json!({})).await;
        let second = second.expect(200);
        assert_eq!(second["backup_codes"], Value::Null);
        assert_eq!(second["twofa_methods"], json!(["sms", "totp", "whatsapp"]));
    }
    assert_eq!(count(&company, "twofa.backup_codes_issued").await, 1);
}

#[tokio::test]
async fn an_administrator_removes_every_factor_at_once() {
    let person = Person::new().await;
    let (company, me) = (&person.company, &person.me);
    turn_on_sms(company, me).await;
    let challenge = person.challenge().await;
    let caller = testkit::TestDb::system(company.world.tenant);
    let reset = async |user_id| {
        let db = &company.world.test.db;
        db.write(&caller, async |tx| method::reset_all(&tx, user_id).await)
            .await
    };
    reset(me.user_id).await.unwrap();
    person
        .second_step(&challenge, "totp", &person.shown())
        .await
        .expect_code(401, "UNAUTHENTICATED");
    company.log_in(PASSWORD).await.expect(200);
    for table in ["totp_secrets", "backup_codes", "login_challenges"] {
        let left = format!("SELECT count(*) FROM {table} WHERE tenant_id = $1");
        assert_eq!(number(&company.world, &left).await, 0, "{table}");
    }
    let told = "SELECT count(DISTINCT payload ->> 'method') FROM event_outbox
        WHERE tenant_id = $1 AND type = 'twofa.disabled'";
    assert_eq!(number(&company.world, told).await, 2);
    assert_eq!(inbox(company, me).await.last().unwrap(), "second_factors_reset");
    assert!(mail(company).await.contains("administrator removed"));
    assert_eq!(count(company, "twofa.reset").await, 1);
    let about = company.world.me().get(me, "/v1/me").await.expect(200);
    assert_eq!(about["security"]["twofa_methods"], json!([]));
    assert!(about["security"]["phone_verified_at"].is_string());
    // again there is nothing to tell of
    reset(me.user_id).await.unwrap();
    let kinds = inbox(company, me).await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "second_factors_reset")
            .count(),
        1
    );
    let nobody = reset(testkit::unique()).await.unwrap_err();
    assert_eq!(nobody.code(), kernel::Code::NotFound);
}
