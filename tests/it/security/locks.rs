//! An erasure holds the user and then waits for the company's audit log: who writes to that must not wait for a
//! user afterwards.

use super::setup::{challenge, count, post, turn_on_sms};
use crate::auth::setup::Company;
use crate::people::locks::{CHAIN, Params, takes_in_turn};
use crate::support::{Answer, Login};
use serde_json::json;

const USER: &str = "SELECT id FROM users WHERE tenant_id = $1 AND id = $2 FOR UPDATE";

async fn while_erased(company: &Company, me: &Login, request: impl Future<Output = Answer>) -> Answer {
    let params: Params<'_> = &[&company.world.tenant.0, &me.user_id];
    takes_in_turn(&company.world, (USER, CHAIN), params, request).await
}

#[tokio::test]
async fn the_last_wrong_password_waits_for_the_user_before_it_is_noted() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    for _ in 0..4 {
        company.log_in("violet tram lanterm").await.expect(401);
    }
    let last = company.log_in("violet tram lanterm");
    while_erased(&company, &me, last)
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    assert_eq!(count(&company, "auth.locked_out").await, 1);
}

#[tokio::test]
async fn codes_wait_for_the_user_before_they_are_noted() {
    let company = Company::new().await;
    company.verify_email().await;
    let me = company.login(&company.signed_up);
    turn_on_sms(&company, &me).await;
    let ask = json!({ "challenge_token": challenge(&company).await, "method": "sms" });
    let sent = company.post("login/2fa", &ask);
    while_erased(&company, &me, sent).await.expect(202);

    let phone = json!({ "e164": super::setup::PHONE, "channel": "sms" });
    post(&company, &me, "phone/verify/start", &phone)
        .await
        .expect(202);
    company.wait(60);
    let nothing = json!({});
    let resent = post(&company, &me, "phone/verify/resend", &nothing);
    while_erased(&company, &me, resent).await.expect(202);
}

#[tokio::test]
async fn a_new_password_waits_for_the_user_before_it_is_noted() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    let body =
        json!({ "current_password": crate::auth::setup::PASSWORD, "new_password": "amber kite meadow 41" });
    let changed = post(&company, &me, "change-password", &body);
    while_erased(&company, &me, changed).await.expect(204);
}
