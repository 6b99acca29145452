//! Identities that are linked: the user hears of it, and they do not outlive a recovery.

use super::setup::Scene;
use crate::auth::setup::PASSWORD;
use crate::people::setup::service;
use crate::security::setup::{inbox, link, mail, number};
use crate::support::Login;
use serde_json::{Value, json};

const NEW: &str = "amber kite meadow 41";

async fn linked(scene: &Scene) -> i64 {
    let sql = "SELECT count(*) FROM user_identities WHERE tenant_id = $1";
    number(&scene.company.world, sql).await
}

fn owner(scene: &Scene) -> Login {
    scene.company.login(&scene.company.signed_up)
}

/// Somebody who had the mailbox, at the provider.
fn intruder(scene: &Scene) -> Value {
    json!({ "sub": format!("not-{}", scene.subject), "email": scene.company.email, "email_verified": true })
}

async fn by_link(scene: &Scene) {
    let company = &scene.company;
    let ask = json!({ "email": company.email });
    company.post("forgot-password", &ask).await.expect(202);
    let body = json!({ "token": link(company, "reset-password").await, "password": NEW });
    company.post("reset-password", &body).await.expect(204);
}

async fn by_change(scene: &Scene) {
    let company = &scene.company;
    let me = company.login(&company.log_in(PASSWORD).await.expect(200));
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    company
        .api
        .post(&me, "/v1/auth/change-password", &body)
        .await
        .expect(204);
}

async fn by_an_admin(scene: &Scene) {
    let world = &scene.company.world;
    let (admin, id) = (world.admin().await, owner(scene).user_id);
    let path = format!("/v1/admin/users/{id}/reset-password");
    service(world).post(&admin, &path, &json!({})).await.expect(200);
}

#[tokio::test]
async fn a_new_password_unlinks_and_the_owner_links_anew() {
    for way in ["link", "change", "admin"] {
        let scene = Scene::new().await;
        let session = scene.sign_in(&intruder(&scene)).await.expect(200);
        assert_eq!(linked(&scene).await, 1, "{way}");
        // The account is taken at this provider, so the owner can't sign in.
        scene
            .sign_in(&scene.owner())
            .await
            .expect_code(401, "AUTH_OAUTH_NO_ACCOUNT");
        match way {
            "link" => by_link(&scene).await,
            "change" => by_change(&scene).await,
            _ => by_an_admin(&scene).await,
        }
        assert_eq!(linked(&scene).await, 0, "{way}");
        let intruders = scene.company.login(&session);
        scene.api.get(&intruders, "/v1/auth/sessions").await.expect(401);
        // With the mailbox, but without its address, the subject opens nothing any more.
        let moved =
            json!({ "sub": intruder(&scene)["sub"], "email": "moved@example.com", "email_verified": true });
        scene
            .sign_in(&moved)
            .await
            .expect_code(401, "AUTH_OAUTH_NO_ACCOUNT");
        scene.sign_in(&scene.owner()).await.expect(200);
        assert_eq!(linked(&scene).await, 1, "{way}");
        let actions = scene.company.actions().await;
        let done = |action: &str| actions.iter().filter(|done| *done == action).count();
        assert_eq!(
            (done("user.identity.created"), done("user.identity.deleted")),
            (2, 1),
            "{way}"
        );
    }
}

#[tokio::test]
async fn the_user_hears_of_an_identity_once_when_it_is_linked() {
    let scene = Scene::new().await;
    let me = owner(&scene);
    for _ in 0..2 {
        scene.sign_in(&scene.owner()).await.expect(200);
        assert_eq!(inbox(&scene.company, &me).await, ["identity_linked"]);
    }
    assert!(mail(&scene.company).await.contains("Google"));
    // no address, no name of the person at the provider
    let kept = format!(
        "SELECT count(*) FROM audit_logs a WHERE tenant_id = $1 AND to_jsonb(a)::text LIKE '%{}%'",
        scene.subject
    );
    assert_eq!(number(&scene.company.world, &kept).await, 0);
}

/// The identity was looked up before the new password, and the session would be opened after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_at_the_same_time_outlives_no_recovery() {
    for _ in 0..4 {
        let scene = Scene::new().await;
        scene.sign_in(&intruder(&scene)).await.expect(200);
        let ask = json!({ "email": scene.company.email });
        scene.company.post("forgot-password", &ask).await.expect(202);
        let token = link(&scene.company, "reset-password").await;
        let moved =
            json!({ "sub": intruder(&scene)["sub"], "email": "moved@example.com", "email_verified": true });
        let back = scene.authorised(&moved, |_| {}).await;
        let body = json!({ "token": token, "password": NEW });
        let (reset, signed_in) =
            futures::join!(scene.company.post("reset-password", &body), scene.callback(&back));
        reset.expect(204);
        if signed_in.status == 200 {
            let session = scene.company.login(&signed_in.json());
            scene.api.get(&session, "/v1/auth/sessions").await.expect(401);
        }
        assert_eq!(linked(&scene).await, 0);
    }
}
