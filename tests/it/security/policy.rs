//! What a company asks of all its users, and what they see of it.

use super::setup::{now, post, verify_phone};
use crate::auth::setup::Company;
use crate::support::{Api, World};
use serde_json::{Value, json};
use totp_rs::Totp;

/// The admin function of a world.
pub fn admin(world: &World) -> Api {
    world.administration()
}

const PATH: &str = "/v1/admin/security";

#[tokio::test]
async fn demands_begin_after_the_days_of_grace() {
    let company = Company::new().await;
    let world = &company.world;
    let (api, boss) = (admin(world), world.admin().await);
    let before = api.get(&boss, PATH).await.expect(200);
    assert_eq!(
        before,
        json!({ "require_twofa": false, "require_verified_phone": false, "grace_days": 7,
                "twofa_required_from": null, "phone_required_from": null })
    );
    let changed = api
        .patch(&boss, PATH, &json!({ "require_twofa": true, "grace_days": 2 }))
        .await
        .expect(200);
    assert_eq!(
        (&changed["require_twofa"], &changed["grace_days"]),
        (&json!(true), &json!(2))
    );
    let from = changed["twofa_required_from"].clone();
    // said again without days, the date stays
    company.wait(60);
    let same = api
        .patch(&boss, PATH, &json!({ "require_twofa": true }))
        .await
        .expect(200);
    assert_eq!(same["twofa_required_from"], from);
    let later = api
        .patch(&boss, PATH, &json!({ "require_twofa": true, "grace_days": 0 }))
        .await
        .expect(200);
    assert_ne!(later["twofa_required_from"], from);
    let off = api.patch(&boss, PATH, &json!({ "grace_days": 5 })).await;
    off.expect_code(403, "AUTH_2FA_SETUP_REQUIRED");
}

#[tokio::test]
async fn who_owes_a_second_factor_can_only_set_one_up() {
    let company = Company::new().await;
    let world = &company.world;
    let (api, boss) = (admin(world), world.admin().await);
    let me = company.login(&company.signed_up);
    let contacts = world.contacts();
    api.patch(&boss, PATH, &json!({ "require_twofa": true, "grace_days": 1 }))
        .await
        .expect(200);
    contacts.get(&me, "/v1/contacts").await.expect(200);
    let about = world.me().get(&me, "/v1/me").await.expect(200);
    assert_eq!(about["security"]["owes"], json!(["verify_email", "set_up_twofa"]));
    assert!(about["security"]["twofa_required_from"].is_string());

    company.wait(24 * 3600);
    let again = company.log_in(crate::auth::setup::PASSWORD).await.expect(200);
    let me = company.login(&again);
    contacts
        .get(&me, "/v1/contacts")
        .await
        .expect_code(403, "AUTH_2FA_SETUP_REQUIRED");
    world.me().get(&me, "/v1/me").await.expect(200);
    company.api.get(&me, "/v1/auth/sessions").await.expect(200);
    let setup = post(&company, &me, "totp/setup", &json!({})).await.expect(200);
    let app = Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
    let code = app.generate(now(&company)).to_string();
    post(&company, &me, "totp/confirm", &json!({ "code": code }))
        .await
        .expect(200);
    contacts.get(&me, "/v1/contacts").await.expect(200);
}

#[tokio::test]
async fn who_owes_a_verified_phone_can_only_verify_one() {
    let company = Company::new().await;
    let world = &company.world;
    let me = company.login(&company.signed_up);
    let contacts = world.contacts();
    admin(world)
        .patch(
            &world.admin().await,
            PATH,
            &json!({ "require_verified_phone": true, "grace_days": 0 }),
        )
        .await
        .expect(200);
    contacts
        .get(&me, "/v1/contacts")
        .await
        .expect_code(403, "AUTH_PHONE_UNVERIFIED");
    let about = world.me().get(&me, "/v1/me").await.expect(200);
    assert_eq!(about["security"]["owes"], json!(["verify_email", "verify_phone"]));
    verify_phone(&company, &me).await;
    contacts.get(&me, "/v1/contacts").await.expect(200);
}

#[tokio::test]
async fn only_admins_change_it_and_precisely() {
    let world = World::new().await;
    let (api, boss) = (admin(&world), world.admin().await);
    for role in ["staff", "manager", "read_only"] {
        let somebody = world.user(role).await;
        api.get(&somebody, PATH).await.expect_code(403, "FORBIDDEN");
        api.patch(&somebody, PATH, &json!({ "require_twofa": false }))
            .await
            .expect_code(403, "FORBIDDEN");
    }
    for (body, path) in [
        (json!({ "require_twofa": null }), "require_twofa"),
        (
            json!({ "require_verified_phone": "yes" }),
            "require_verified_phone",
        ),
        (json!({ "grace_days": -1 }), "grace_days"),
        (json!({ "grace_days": 91 }), "grace_days"),
        (json!({ "grace_days": null }), "grace_days"),
        (json!({ "require_all": true }), "require_all"),
    ] {
        let error = api
            .patch(&boss, PATH, &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(error["details"]["fields"][0]["path"], path);
    }
    let seen = api.get(&boss, PATH).await;
    let tag = seen.headers["etag"].clone();
    api.patch(&boss, PATH, &json!({ "grace_days": 3 }))
        .await
        .expect(200);
    api.json(
        &boss,
        "PATCH",
        PATH,
        &[("if-match", &tag)],
        &json!({ "grace_days": 4 }),
    )
    .await
    .expect_code(412, "STALE");
    let neighbour = world.neighbour().await;
    let theirs = admin(&neighbour)
        .get(&neighbour.admin().await, PATH)
        .await
        .expect(200);
    assert_eq!(theirs["grace_days"], 7, "another company's is its own");
    let audited: i64 = super::setup::number(
        &world,
        "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND action = 'tenant.updated'",
    )
    .await;
    assert_eq!(audited, 1);
}

#[tokio::test]
async fn a_user_sees_what_they_may_do() {
    let world = World::new().await;
    let staff = world
        .me()
        .get(&world.user("staff").await, "/v1/me")
        .await
        .expect(200);
    let permissions = super::setup::strings(&staff["permissions"]);
    assert!(permissions.is_sorted());
    assert!(permissions.contains(&"contact.read".to_owned()));
    assert!(!permissions.contains(&"contact.delete".to_owned()));
    let nobody = world
        .me()
        .get(&world.user("no_such_role").await, "/v1/me")
        .await
        .expect(200);
    assert_eq!(nobody["permissions"], Value::Array(Vec::new()));
}
