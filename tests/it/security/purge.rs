//! What the daily task forgets, and what it keeps.

use super::setup::{Person, again, number, post};
use crate::auth::setup::{Company, PASSWORD};
use crate::messaging::stack::{Stack, task};
use serde_json::json;

#[tokio::test]
async fn what_is_over_is_forgotten_and_what_lives_is_kept() {
    let company = Company::alone().await;
    let me = company.login(&company.signed_up);
    let ended = company.log_in(PASSWORD).await.expect(200);
    company
        .post("logout", &json!({ "refresh_token": ended["refresh_token"] }))
        .await
        .expect(204);
    company
        .post("forgot-password", &json!({ "email": company.email }))
        .await
        .expect(202);
    post(
        &company,
        &me,
        "phone/verify/start",
        &json!({ "e164": super::setup::PHONE, "channel": "sms" }),
    )
    .await
    .expect(202);
    post(&company, &me, "totp/setup", &json!({})).await.expect(200);
    let world = &company.world;
    let count = async |table: &str| {
        number(
            world,
            &format!("SELECT count(*) FROM {table} WHERE tenant_id = $1"),
        )
        .await
    };
    // its user has a session, too
    let stack = Stack::of(again(world, world.tenant)).await;
    let run = async || {
        stack.scheduler.handle(task("daily")).await.unwrap();
        stack.scheduler.handle(task("daily")).await.unwrap();
    };
    run().await;
    assert_eq!(
        (
            count("user_links").await,
            count("phone_verifications").await,
            count("totp_secrets").await
        ),
        (2, 1, 1),
        "nothing is over for long"
    );
    assert_eq!((count("sessions").await, count("refresh_tokens").await), (3, 2));
    company.wait(29 * 24 * 3600);
    let alive = company
        .refresh(&company.signed_up["refresh_token"])
        .await
        .expect(200);
    run().await;
    assert_eq!(
        (
            count("user_links").await,
            count("phone_verifications").await,
            count("totp_secrets").await
        ),
        (0, 0, 0)
    );
    assert_eq!(count("sessions").await, 3, "a month is not over");
    company.wait(2 * 24 * 3600);
    run().await;
    assert_eq!(count("sessions").await, 2, "only the one that was ended");
    let tokens = "SELECT count(DISTINCT session_id) FROM refresh_tokens WHERE tenant_id = $1";
    assert_eq!(number(world, tokens).await, 1, "its refresh tokens went with it");
    company.refresh(&alive["refresh_token"]).await.expect(200);
}

#[tokio::test]
async fn authenticators_in_use_and_backup_codes_are_kept() {
    let person = Person::of(Company::alone().await).await;
    let world = &person.company.world;
    person.challenge().await;
    person.company.wait(3 * 24 * 3600);
    let at = person.company.world.test.db.clock().now();
    world
        .test
        .db
        .lookup("SELECT app.forget_identity_traces($1)", &[&at])
        .await
        .unwrap();
    let count = async |table: &str| {
        number(
            world,
            &format!("SELECT count(*) FROM {table} WHERE tenant_id = $1"),
        )
        .await
    };
    assert_eq!(count("login_challenges").await, 0);
    assert_eq!(
        (count("totp_secrets").await, count("backup_codes").await),
        (1, 10)
    );
    let challenge = person.challenge().await;
    person
        .second_step(&challenge, "totp", &person.shown())
        .await
        .expect(200);
}
