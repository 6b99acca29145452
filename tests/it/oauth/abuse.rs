use super::issuer::{Forged, Token};
use super::setup::{REDIRECT, Scene, body, callback, service, start};
use crate::auth::setup::{Company, answer_from};
use crate::security::setup::count;
use auth_function::Limits;
use serde_json::{Value, json};

type Change = Box<dyn FnOnce(&mut Token)>;

async fn sessions(scene: &Scene) -> i64 {
    let sql = "SELECT count(*) FROM sessions WHERE tenant_id = $1";
    let admin = scene.company.world.admin_sql().await;
    admin
        .query_one(sql, &[&scene.company.world.tenant.0])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn an_identity_token_that_is_not_right_in_every_way_opens_nothing() {
    let scene = Scene::new().await;
    let before = sessions(&scene).await;
    let claim = |name: &'static str, value: Value| move |token: &mut Token| token.claims[name] = value;
    let forge = |forged: Forged| move |token: &mut Token| token.forged = forged;
    let wrong: Vec<(&str, Change)> = vec![
        ("nonce", Box::new(claim("nonce", json!("another")))),
        ("no nonce", Box::new(claim("nonce", Value::Null))),
        ("aud", Box::new(claim("aud", json!("another-client")))),
        (
            "two audiences",
            Box::new(claim("aud", json!(["m3-client", "another-client"]))),
        ),
        ("azp", Box::new(claim("azp", json!("another-client")))),
        (
            "iss",
            Box::new(claim("iss", json!("https://accounts.google.com"))),
        ),
        (
            "expired",
            Box::new(|token| token.claims["exp"] = json!(token.claims["iat"].as_i64().unwrap() - 3600)),
        ),
        ("no expiry", Box::new(claim("exp", Value::Null))),
        ("tampered", Box::new(forge(Forged::Tampered))),
        ("other key", Box::new(forge(Forged::OtherKey))),
        ("shared secret", Box::new(forge(Forged::SharedSecret))),
        ("unsigned", Box::new(forge(Forged::Unsigned))),
    ];
    for (what, change) in wrong {
        let back = scene.authorised(&scene.owner(), change).await;
        let answer = scene.callback(&back).await;
        // Without an expiry it is no identity token at all: the provider is broken.
        let expected = if what == "no expiry" { 503 } else { 401 };
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
        // The state is spent, so nothing can be tried twice.
        scene.callback(&back).await.expect_code(401, "AUTH_OAUTH_REFUSED");
    }
    assert_eq!(sessions(&scene).await, before);
    scene.sign_in(&scene.owner()).await.expect(200);
}

#[tokio::test]
async fn a_state_is_good_once_for_its_provider_and_for_ten_minutes() {
    let scene = Scene::new().await;
    let refused = |answer: crate::support::Answer| answer.expect_code(401, "AUTH_OAUTH_REFUSED");
    let back = scene.authorised(&scene.owner(), |_| {}).await;
    let all = futures::future::join_all((0..6).map(|_| scene.callback(&back))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(all.iter().filter(|answer| answer.status == 401).count(), 5);
    assert_eq!(scene.issuer.asked().len(), 1);

    let (code, state) = scene.authorised(&scene.owner(), |_| {}).await;
    refused(callback(&scene.api, &body("linkedin", &code, &state)).await);
    refused(scene.callback(&(code, state)).await);

    let (code, _) = scene.authorised(&scene.owner(), |_| {}).await;
    refused(scene.callback(&(code, "made-up".to_owned())).await);

    let late = scene.authorised(&scene.owner(), |_| {}).await;
    scene.company.wait(601);
    refused(scene.callback(&late).await);
}

#[tokio::test]
async fn a_stolen_code_is_worth_nothing_with_another_state() {
    let scene = Scene::new().await;
    let (stolen, _) = scene.authorised(&scene.owner(), |_| {}).await;
    let (_, own_state) = scene.authorised(&json!({ "sub": "thief" }), |_| {}).await;
    scene
        .callback(&(stolen, own_state))
        .await
        .expect_code(401, "AUTH_OAUTH_REFUSED");
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_configured() {
    let scene = Scene::new().await;
    for elsewhere in [
        "https://evil.example/",
        "https://app.test/oauth/callback/",
        "https://app.test/oauth/callback?next=https://evil.example",
        "https://app.test/oauth/callback#x",
        "https://app.test/oauth/callback/../../evil",
        "https://app.test@evil.example/oauth/callback",
        "https://APP.test/oauth/callback",
        "http://app.test/oauth/callback",
        " https://app.test/oauth/callback",
        "//app.test/oauth/callback",
        "javascript:alert(1)",
        "",
    ] {
        let error = start(&scene.api, "google", elsewhere)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(
            error["details"]["fields"][0]["path"], "redirectUri",
            "{elsewhere}"
        );
    }
}

#[tokio::test]
async fn a_provider_that_is_not_set_up_is_said_to_be_so() {
    let scene = Scene::new().await;
    start(&scene.api, "apple", REDIRECT)
        .await
        .expect_code(404, "PROVIDER_NOT_CONFIGURED");
    callback(&scene.api, &body("apple", "c", "s"))
        .await
        .expect_code(404, "PROVIDER_NOT_CONFIGURED");
    let none = service(&scene.company, &json!({}), Limits::DEFAULT).await;
    start(&none, "google", "https://evil.example/")
        .await
        .expect_code(404, "PROVIDER_NOT_CONFIGURED");
    start(&scene.api, "facebook", REDIRECT)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    for wrong in [
        json!({ "provider": "google", "code": "", "state": "s" }),
        json!({ "provider": "google", "code": "c", "state": "" }),
        json!({ "provider": "google", "code": "x".repeat(5000), "state": "s" }),
        json!({ "provider": "google", "code": "c", "state": "s", "redirectUri": REDIRECT }),
        json!({ "provider": "google", "code": "c" }),
    ] {
        callback(&scene.api, &wrong)
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn an_address_that_the_provider_does_not_vouch_for_opens_nothing() {
    let scene = Scene::new().await;
    let email = &scene.company.email;
    for person in [
        json!({ "sub": scene.subject, "email": email, "email_verified": false }),
        json!({ "sub": scene.subject, "email": email, "email_verified": "false" }),
        json!({ "sub": scene.subject, "email": email }),
        json!({ "sub": scene.subject, "email_verified": true }),
        json!({ "sub": scene.subject, "email": "not an address", "email_verified": true }),
    ] {
        scene
            .sign_in(&person)
            .await
            .expect_code(401, "AUTH_OAUTH_REFUSED");
    }
}

#[tokio::test]
async fn nobody_without_an_active_account_gets_in_and_none_is_made() {
    let scene = Scene::new().await;
    let admin = scene.company.world.admin_sql().await;
    let no_account = |answer: crate::support::Answer| answer.expect_code(401, "AUTH_OAUTH_NO_ACCOUNT");
    let stranger = format!("stranger-{}@example.com", testkit::unique());
    no_account(
        scene
            .sign_in(&json!({ "sub": "s", "email": stranger, "email_verified": true }))
            .await,
    );
    let sql = "SELECT count(*) FROM users WHERE email_norm = $1";
    assert_eq!(
        admin.query_one(sql, &[&stranger]).await.unwrap().get::<_, i64>(0),
        0
    );

    // Somebody signed up with an address that they never proved to be theirs.
    let email = &scene.company.email;
    scene
        .sql(
            "UPDATE users SET email_verified_at = NULL WHERE email_norm = $1",
            email,
        )
        .await;
    no_account(scene.sign_in(&scene.owner()).await);
    scene
        .sql(
            "UPDATE users SET email_verified_at = now() WHERE email_norm = $1",
            email,
        )
        .await;

    // The company must keep a super admin when this one is suspended.
    scene.company.world.admin().await;
    scene.sign_in(&scene.owner()).await.expect(200);
    scene
        .sql(
            "UPDATE users SET status = 'suspended' WHERE email_norm = $1",
            email,
        )
        .await;
    no_account(scene.sign_in(&scene.owner()).await);
    scene
        .sql("UPDATE users SET status = 'active' WHERE email_norm = $1", email)
        .await;
    let tenant = scene.company.world.tenant.0;
    let sql = "UPDATE tenants SET status = 'suspended' WHERE id = $1";
    admin.execute(sql, &[&tenant]).await.unwrap();
    no_account(scene.sign_in(&scene.owner()).await);
}

#[tokio::test]
async fn an_address_that_was_given_to_somebody_else_does_not_open_the_account_before() {
    let scene = Scene::new().await;
    scene.sign_in(&scene.owner()).await.expect(200);
    let heir = json!({ "sub": "the-heir", "email": scene.company.email, "email_verified": true });
    scene
        .sign_in(&heir)
        .await
        .expect_code(401, "AUTH_OAUTH_NO_ACCOUNT");
}

#[tokio::test]
async fn a_company_that_is_named_keeps_the_others_out() {
    let scene = Scene::new().await;
    let (code, state) = scene.authorised(&scene.owner(), |_| {}).await;
    let stranger = Company::new().await;
    let mut elsewhere = body("google", &code, &state);
    elsewhere["tenant"] = stranger.signed_up["tenant"]["slug"].clone();
    callback(&scene.api, &elsewhere)
        .await
        .expect_code(401, "AUTH_OAUTH_NO_ACCOUNT");
}

#[tokio::test]
async fn tries_are_counted_and_without_the_table_nothing_begins() {
    let mut limits = Limits::DEFAULT;
    limits.logins.capacity = 2;
    let scene = Scene::with(limits).await;
    let wrong = body("google", "code", "state");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = answer_from(&scene.api, "192.0.2.77", "oauth/callback", &wrong).await;
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 429]);
    let away = scene.without_table();
    let begun = start(&away, "google", REDIRECT).await;
    assert!(begun.headers.contains_key("retry-after"));
    begun.expect_code(503, "UNAVAILABLE");
    // One that began before, too; it is not spent by that.
    let back = scene.authorised(&scene.owner(), |_| {}).await;
    let wanted = body("google", &back.0, &back.1);
    callback(&away, &wanted).await.expect_code(503, "UNAVAILABLE");
    let counted = answer_from(&away, "192.0.2.78", "oauth/callback", &wanted).await;
    assert_eq!(counted.status(), 503);
    scene.callback(&back).await.expect(200);
}

/// The company reads of it where it reads of wrong passwords.
#[tokio::test]
async fn an_account_that_lets_nobody_in_leaves_a_line_and_a_stranger_leaves_none() {
    let scene = Scene::new().await;
    let company = &scene.company;
    let refused = async |person: &Value| {
        let answer = scene.sign_in(person).await;
        answer.expect_code(401, "AUTH_OAUTH_NO_ACCOUNT");
        count(company, "auth.login_failed").await
    };
    let stranger = format!("stranger-{}@example.com", testkit::unique());
    let stranger = json!({ "sub": "s", "email": stranger, "email_verified": true });
    assert_eq!(refused(&stranger).await, 0);

    // The company must keep a super admin when this one is suspended.
    company.world.admin().await;
    let me = company.login(&company.signed_up).user_id;
    let suspend = "UPDATE users SET status = 'suspended' WHERE email_norm = $1";
    scene.sql(suspend, &company.email).await;
    assert_eq!(refused(&scene.owner()).await, 1);
    assert_eq!(refused(&stranger).await, 1);
    // Whether or not the identity was linked before.
    let allow = "UPDATE users SET status = 'active' WHERE email_norm = $1";
    scene.sql(allow, &company.email).await;
    scene.sign_in(&scene.owner()).await.expect(200);
    scene.sql(suspend, &company.email).await;
    assert_eq!(refused(&scene.owner()).await, 2);

    // Of whom, and never by which address or name at the provider.
    let lines = "SELECT entity_type, entity_id, after_data::text FROM audit_logs
        WHERE tenant_id = $1 AND action = 'auth.login_failed' ORDER BY seq";
    let admin = company.world.admin_sql().await;
    for line in admin.query(lines, &[&company.world.tenant.0]).await.unwrap() {
        let (kind, of, data): (String, uuid::Uuid, Option<String>) = (line.get(0), line.get(1), line.get(2));
        assert_eq!((kind.as_str(), of, data), ("user", me, None));
    }
}
