//! What the plan leaves out: whoever holds the permission is told that it does, and which feature it is.

use super::{call, functions};
use crate::auth::setup::{Company, PASSWORD};
use crate::messaging::stack::Stack;
use crate::security::setup::{Person, code, post, second_step, strings, turn_on_sms, verify_phone};
use crate::support::{Answer, Api, Login, World};
use kernel::Feature;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use web::Endpoint;

const OVERRIDES: &str = "/v1/admin/entitlements/overrides/tenant";

/// An endpoint that asks for a feature.
struct Gate {
    endpoint: &'static Endpoint,
    feature: Feature,
    api: Api,
}

impl Gate {
    async fn ask(&self, me: &Login) -> Answer {
        call(&self.api, self.endpoint, Some(me)).await
    }

    /// That it is closed for this person, and says what is missing; or that it is not.
    async fn expect(&self, me: &Login, is_open: bool, when: &str) {
        let answer = self.ask(me).await;
        let Endpoint { method, path, .. } = self.endpoint;
        let of = format!("{method} {path} {when}: {}", answer.text);
        if is_open {
            // The records that it was asked for are nobody's: another error may follow.
            let code = (answer.status >= 400).then(|| answer.json()["error"]["code"].clone());
            for refusal in ["PLAN_REQUIRED", "FORBIDDEN", "UNAUTHENTICATED"] {
                assert_ne!(code, Some(json!(refusal)), "{of}");
            }
            assert!(answer.status < 500, "{of}");
        } else {
            assert_eq!(answer.status, 402, "{of}");
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "PLAN_REQUIRED", "{of}");
            assert_eq!(
                error["details"],
                json!({ "feature": self.feature.code() }),
                "{of}"
            );
        }
    }
}

/// Every gate of every function.
async fn gates(stack: &Stack) -> Vec<Gate> {
    let mut gates = Vec::new();
    for (endpoints, api) in functions(stack).await {
        for endpoint in endpoints {
            gates.extend(endpoint.access.feature().map(|feature| Gate {
                endpoint,
                feature,
                api: api.clone(),
            }));
        }
    }
    let gated: BTreeSet<&str> = gates.iter().map(|gate| gate.feature.code()).collect();
    for feature in [
        Feature::AdminCustomDictionaries,
        Feature::AdminEntitlementsOverrides,
        Feature::PlanView,
        Feature::RbacGroups,
        Feature::TwoFaSms,
        Feature::TwoFaTotp,
        Feature::TwoFaWhatsapp,
    ] {
        assert!(gated.contains(feature.code()), "{} gates nothing", feature.code());
    }
    gates
}

async fn put_on(world: &World, plan: &str) {
    let sql = "UPDATE tenant_subscription SET plan_code = $2, status = 'active' WHERE tenant_id = $1";
    let admin = world.admin_sql().await;
    let params: [&(dyn db::ToSql + Sync); 2] = [&world.tenant.0, &plan];
    assert_eq!(admin.execute(sql, &params).await.unwrap(), 1);
}

/// The codes that a plan includes.
async fn included(world: &World, plan: &str) -> BTreeSet<String> {
    let sql = "SELECT feature_code FROM plan_features WHERE plan_code = $1 AND enabled";
    let admin = world.admin_sql().await;
    let rows = admin.query(sql, &[&plan]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_the_plan_leaves_out_is_402_and_names_the_feature() {
    let stack = Stack::new().await;
    let (world, me) = (&stack.world, &stack.me);
    let gates = gates(&stack).await;
    for plan in ["dev_free", "dev_pro"] {
        put_on(world, plan).await;
        let included = included(world, plan).await;
        for gate in &gates {
            let is_open = included.contains(gate.feature.code());
            gate.expect(me, is_open, plan).await;
        }
    }
}

#[tokio::test]
async fn what_an_override_takes_away_is_402_until_it_is_lifted() {
    let stack = Stack::new().await;
    let (world, me) = (&stack.world, &stack.me);
    let (gates, admin) = (gates(&stack).await, crate::people::setup::service(world));
    let features: BTreeSet<&str> = gates.iter().map(|gate| gate.feature.code()).collect();
    for feature in features {
        // A company can't take this one from itself: of it the plan says alone.
        if feature == Feature::AdminEntitlementsOverrides.code() {
            continue;
        }
        let of_it = || gates.iter().filter(|gate| gate.feature.code() == feature);
        let without = json!([{ "code": feature, "enabled": false }]);
        for (overrides, is_open) in [(without, false), (json!([]), true)] {
            let overrides = json!({ "overrides": overrides });
            admin.put(me, OVERRIDES, &overrides).await.expect(200);
            for gate in of_it() {
                gate.expect(me, is_open, &overrides.to_string()).await;
            }
        }
    }
}

#[tokio::test]
async fn codes_to_a_phone_are_turned_on_where_the_plan_has_them_and_nowhere_else() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    verify_phone(&company, &me).await;
    put_on(&company.world, "dev_free").await;
    let enable = async |channel: &str| {
        let path = format!("twofa/{channel}/enable");
        post(&company, &me, &path, &json!({})).await
    };
    for channel in ["sms", "whatsapp"] {
        let error = enable(channel).await.expect_code(402, "PLAN_REQUIRED");
        assert_eq!(error["details"], json!({ "feature": format!("twofa.{channel}") }));
    }
    company.log_in(PASSWORD).await.expect(200);
    put_on(&company.world, "dev_pro").await;
    for channel in ["sms", "whatsapp"] {
        enable(channel).await.expect(200);
    }
    company
        .log_in(PASSWORD)
        .await
        .expect_code(401, "AUTH_2FA_REQUIRED");
}

/// A cheaper plan opens nobody's account and shuts nobody out: what is on is asked for, its codes are sent, and
/// it can be turned off. It can't be turned on again.
#[tokio::test]
async fn a_factor_that_the_plan_lost_is_asked_for_and_good_until_it_is_turned_off() {
    let person = Person::new().await;
    let company = &person.company;
    turn_on_sms(company, &person.me).await;
    let me = &person.me;
    post(company, me, "twofa/whatsapp/enable", &json!({}))
        .await
        .expect(200);

    put_on(&company.world, "dev_free").await;
    for channel in ["sms", "whatsapp"] {
        let challenge = challenged(company, &["sms", "totp", "whatsapp", "backup_code"]).await;
        let ask = json!({ "challenge_token": challenge, "method": channel });
        company.post("login/2fa", &ask).await.expect(202);
        let sent = code(company, channel).await;
        second_step(&company.api, &challenge, channel, &sent)
            .await
            .expect(200);
    }
    for channel in ["sms", "whatsapp"] {
        company.wait(30);
        let proof = json!({ "code": person.shown() });
        let path = format!("twofa/{channel}/disable");
        post(company, me, &path, &proof).await.expect(204);
        let again = post(company, me, &format!("twofa/{channel}/enable"), &json!({})).await;
        again.expect_code(402, "PLAN_REQUIRED");
    }

    // The app is in every plan; a company may do without it.
    put_on(&company.world, "dev_pro").await;
    let admin = crate::people::setup::service(&company.world);
    let without = json!({ "overrides": [{ "code": "twofa.totp", "enabled": false }] });
    admin.put(me, OVERRIDES, &without).await.expect(200);
    company.wait(30);
    let challenge = challenged(company, &["totp", "backup_code"]).await;
    person
        .second_step(&challenge, "totp", &person.shown())
        .await
        .expect(200);
    company.wait(30);
    let proof = json!({ "code": person.shown() });
    post(company, me, "totp/disable", &proof).await.expect(204);
    post(company, me, "totp/setup", &json!({}))
        .await
        .expect_code(402, "PLAN_REQUIRED");
    company.log_in(PASSWORD).await.expect(200);
}

/// The token of a login that one of these factors is left of.
async fn challenged(company: &Company, methods: &[&str]) -> String {
    let error = company
        .log_in(PASSWORD)
        .await
        .expect_code(401, "AUTH_2FA_REQUIRED");
    let details: &Value = &error["details"];
    assert_eq!(strings(&details["methods"]), methods);
    details["challenge_token"].as_str().unwrap().to_owned()
}
