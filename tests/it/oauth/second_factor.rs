use super::setup::Scene;
use crate::auth::setup::post;
use crate::support::{Answer, Login};
use serde_json::json;
use totp_rs::Totp;

/// The owner's authenticator app, in use.
async fn with_app(scene: &Scene) -> (Login, Totp) {
    let me = scene.company.login(&scene.company.signed_up);
    let setup = scene.api.post(&me, "/v1/auth/totp/setup", &json!({})).await;
    let app = Totp::from_url(setup.expect(200)["otpauth_uri"].as_str().unwrap()).unwrap();
    let code = json!({ "code": shown(scene, &app) });
    scene
        .api
        .post(&me, "/v1/auth/totp/confirm", &code)
        .await
        .expect(200);
    scene.company.wait(30);
    (me, app)
}

fn shown(scene: &Scene, app: &Totp) -> String {
    let now = scene.company.world.test.db.clock().now().as_second();
    app.generate(u64::try_from(now).unwrap()).to_string()
}

async fn number(scene: &Scene, sql: &str) -> i64 {
    let admin = scene.company.world.admin_sql().await;
    let tenant = scene.company.world.tenant.0;
    admin.query_one(sql, &[&tenant]).await.unwrap().get(0)
}

async fn links(scene: &Scene) -> i64 {
    number(scene, "SELECT count(*) FROM user_identities WHERE tenant_id = $1").await
}

fn challenged(answer: &Answer) -> String {
    assert!(!answer.headers.contains_key("set-cookie"));
    let body = answer.json();
    assert_eq!(body["error"]["code"], "AUTH_2FA_REQUIRED");
    body["error"]["details"]["challenge_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn second_step(scene: &Scene, challenge: &str, code: &str) -> Answer {
    let body = json!({ "challenge_token": challenge, "method": "totp", "code": code, "delivery": "body" });
    post(&scene.api, "login/2fa", &[], &body).await
}

#[tokio::test]
async fn an_identity_is_linked_when_the_second_factor_was_given_and_not_before() {
    let scene = Scene::new().await;
    let (_, app) = with_app(&scene).await;
    let sessions = "SELECT count(*) FROM sessions WHERE tenant_id = $1";
    let before = number(&scene, sessions).await;
    let challenge = challenged(&scene.sign_in(&scene.owner()).await);
    let wrong = (shown(&scene, &app).parse::<u32>().unwrap() + 7) % 1_000_000;
    second_step(&scene, &challenge, &format!("{wrong:06}"))
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    assert_eq!((links(&scene).await, number(&scene, sessions).await), (0, before));

    let done = second_step(&scene, &challenge, &shown(&scene, &app)).await;
    assert_eq!(done.expect(200)["user"]["email"], json!(scene.company.email));
    assert_eq!(links(&scene).await, 1);
    // linked: the subject counts, whatever the address has become, and the factor all the same
    let moved = json!({ "sub": scene.subject, "email": "mona.moved@example.com", "email_verified": true });
    challenged(&scene.sign_in(&moved).await);
    assert_eq!(links(&scene).await, 1);
}

/// An address that its provider gave to somebody else opens the first step; the identity that takes the
/// account's only place for this provider must be of who finishes.
#[tokio::test]
async fn of_two_identities_with_one_address_the_one_that_finishes_is_linked() {
    let scene = Scene::new().await;
    let (_, app) = with_app(&scene).await;
    let heir = json!({ "sub": "the-heir", "email": scene.company.email, "email_verified": true });
    let theirs = challenged(&scene.sign_in(&heir).await);
    let mine = challenged(&scene.sign_in(&scene.owner()).await);
    second_step(&scene, &mine, &shown(&scene, &app)).await.expect(200);
    scene.company.wait(30);
    second_step(&scene, &theirs, &shown(&scene, &app))
        .await
        .expect_code(401, "AUTH_OAUTH_NO_ACCOUNT");
    scene
        .sign_in(&heir)
        .await
        .expect_code(401, "AUTH_OAUTH_NO_ACCOUNT");
    assert_eq!(links(&scene).await, 1);
}
