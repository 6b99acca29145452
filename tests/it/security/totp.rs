//! The authenticator app: setting it up, using it, turning it off.

use super::setup::{Person, count, now, post, strings, wrong};
use crate::auth::setup::{Company, PASSWORD};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::join_all;
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
        "totp/disable",
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
