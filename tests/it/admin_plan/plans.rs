//! What the two plans include, by hand: a change of a plan is made on purpose, here too. S1.7 sets users,
//! SMS, WhatsApp and second factors; the rest completes it for all that is built.

use super::{TENANT, entry, put, run, service};
use crate::support::{Login, World};
use serde_json::{Value, json};

/// On `dev_free`, on `dev_pro`.
const FEATURES: &[(&str, bool, bool)] = &[
    ("activities.emailSync", false, true),
    ("admin.customDictionaries", false, true),
    ("admin.entitlementsOverrides", false, true),
    ("approvals", true, true),
    ("approvals.parallelSteps", false, true),
    ("automations", false, true),
    ("campaign.sms.enabled", false, true),
    ("campaign.whatsapp.enabled", false, true),
    ("contacts.customFields", true, true),
    ("contacts.privateRecords", false, true),
    ("dashboard.customSQL", false, false),
    ("dashboard.customize", true, true),
    ("dashboard.share", false, true),
    ("dashboard.snapshotScheduling", false, true),
    ("deals.customFields", true, true),
    ("deals.multiPipelines", false, true),
    ("inventory.codeManagement", false, true),
    ("leads.import", false, true),
    ("leads.scoring", false, true),
    ("maps.componentShapes", false, true),
    ("maps.enabled", false, true),
    ("maps.publicViews", false, true),
    ("notifications.sms", false, true),
    ("notifications.whatsapp", false, true),
    ("plan.view", true, true),
    ("rbac.groups", false, true),
    ("rbac.roleHierarchy", false, true),
    ("tasks.recurring", false, true),
    ("telemarketing.enabled", false, true),
    ("twofa.sms", false, true),
    ("twofa.totp", true, true),
    ("twofa.whatsapp", false, true),
    ("units.bulkEdit", false, true),
    ("units.customFields", true, true),
    ("whatsapp", false, true),
];

/// On `dev_free`, on `dev_pro`; `None` is unlimited.
const LIMITS: &[(&str, Option<i64>, Option<i64>)] = &[
    ("api.requestsPerMinute.max", Some(300), Some(3000)),
    ("approvals.policies.max", Some(2), Some(100)),
    ("automations.max", Some(0), Some(100)),
    ("campaign.recipients.max", Some(100), Some(10_000)),
    ("campaigns.active.max", Some(1), Some(50)),
    ("companies.max", Some(500), Some(50_000)),
    ("contacts.max", Some(1000), Some(100_000)),
    ("customFields.max", Some(10), Some(50)),
    ("dashboard.sharedLayouts.max", Some(1), Some(50)),
    ("dashboard.widgets.max", Some(12), Some(50)),
    ("deals.max", Some(500), Some(50_000)),
    ("files.bytes.max", Some(10_485_760), Some(104_857_600)),
    ("groups.max", Some(3), Some(100)),
    ("imports.rows.max", Some(1000), Some(100_000)),
    ("leads.max", Some(1000), Some(100_000)),
    ("maps.overlays.max", Some(1), Some(100)),
    ("maps.shapes.max", Some(100), Some(20_000)),
    ("pipelines.max", Some(1), Some(20)),
    ("roles.max", Some(3), Some(100)),
    ("sms.monthlyCap", Some(0), Some(500)),
    ("sms.perMinute.max", Some(0), Some(60)),
    ("storage.gb.max", Some(1), Some(100)),
    ("tasks.max", Some(1000), None),
    ("telemarketing.campaigns.max", Some(0), Some(20)),
    ("telemarketing.concurrentCalls.max", Some(0), Some(10)),
    ("telemarketing.recordings.max", Some(0), Some(1000)),
    ("units.max", Some(500), Some(50_000)),
    ("users.max", Some(3), Some(25)),
    ("whatsapp.monthlyCap", Some(0), Some(500)),
    ("whatsapp.perMinute.max", Some(0), Some(80)),
];

async fn effective(world: &World, me: &Login) -> Value {
    let path = "/v1/admin/entitlements/effective";
    service(world).get(me, path).await.expect(200)
}

#[tokio::test]
async fn the_plans_include_what_was_decided_and_nothing_else() {
    let world = World::new().await;
    let me = world.admin().await;
    put(&service(&world), &me, TENANT, &json!([])).await.expect(200);
    for (plan, free) in [("dev_pro", false), ("dev_free", true)] {
        let subscribe = format!("UPDATE tenant_subscription SET plan_code = '{plan}' WHERE tenant_id = $1");
        run(&world, &subscribe).await;
        let found = effective(&world, &me).await;
        for (code, on_free, on_pro) in FEATURES {
            let enabled = entry(&found["features"], code)["enabled"].clone();
            assert_eq!(
                enabled,
                json!(if free { on_free } else { on_pro }),
                "{plan} {code}"
            );
        }
        for (code, on_free, on_pro) in LIMITS {
            let value = entry(&found["limits"], code)["limit_value"].clone();
            assert_eq!(value, json!(if free { on_free } else { on_pro }), "{plan} {code}");
        }
        let count = |list: &str| found[list].as_array().unwrap().len();
        assert_eq!(
            (count("features"), count("limits")),
            (FEATURES.len(), LIMITS.len())
        );
    }
}

/// The one's features under the other's limits.
#[tokio::test]
async fn a_trial_is_made_of_both() {
    let world = World::new().await;
    let me = world.admin().await;
    put(&service(&world), &me, TENANT, &json!([])).await.expect(200);
    run(&world, "UPDATE tenant_subscription SET status = 'trial', trial_ends_at = now() + interval '1 day' WHERE tenant_id = $1").await;
    let found = effective(&world, &me).await;
    for (code, _, on_pro) in FEATURES {
        assert_eq!(entry(&found["features"], code)["enabled"], *on_pro, "{code}");
    }
    for (code, on_free, _) in LIMITS {
        assert_eq!(
            entry(&found["limits"], code)["limit_value"],
            json!(on_free),
            "{code}"
        );
    }
}
