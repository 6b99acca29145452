//! What is shown: entitlements with why, the plan, a preview, the seats.

use super::{TENANT, entry, group, put, service, service_in};
use crate::support::World;
use serde_json::json;

#[tokio::test]
async fn a_users_entitlements_say_why() {
    let world = World::new().await;
    let (api, me, staff) = (service(&world), world.admin().await, world.user("staff").await);
    let path = format!("/v1/admin/users/{}/effective-entitlements", staff.user_id);
    let mine = api.get(&me, &path).await.expect(200);
    assert_eq!(mine["user_id"], staff.user_id.to_string());
    let pro = entry(&mine["features"], "twofa.sms");
    assert_eq!(
        pro,
        json!({ "code": "twofa.sms", "enabled": true, "source": "plan", "source_id": null })
    );
    let sms = entry(&mine["limits"], "sms.monthlyCap");
    assert_eq!(
        (&sms["limit_value"], &sms["meter"], &sms["used"]),
        (&json!(500), &json!("sms.sent"), &json!(0))
    );
    assert!(sms["period_start"].as_str().unwrap().ends_with("-01"));
    let contacts = entry(&mine["limits"], "contacts.max");
    assert_eq!(
        (&contacts["meter"], &contacts["period_end"]),
        (&json!("contacts.count"), &json!(null))
    );
    let recipients = entry(&mine["limits"], "campaign.recipients.max");
    assert_eq!(
        (&recipients["meter"], &recipients["used"]),
        (&json!(null), &json!(null))
    );
    let codes = |list: &str| mine[list].as_array().unwrap().len();
    assert_eq!(codes("features"), kernel::Feature::ALL.len());
    assert_eq!(codes("limits"), kernel::Limit::ALL.len());

    for query in ["user_id", "userId"] {
        let same = format!("/v1/admin/entitlements/effective?{query}={}", staff.user_id);
        assert_eq!(api.get(&me, &same).await.expect(200), mine);
    }
    let company = api.get(&me, "/v1/admin/entitlements/effective").await.expect(200);
    assert_eq!(company["user_id"], json!(null));
    api.get(&staff, &path).await.expect_code(403, "FORBIDDEN");
}

#[tokio::test]
async fn another_companys_user_has_no_entitlements_here() {
    let (world, other) = (World::new().await, World::new().await);
    let (api, me) = (service(&world), world.admin().await);
    let theirs = other.user("staff").await.user_id;
    for id in [theirs, testkit::unique()] {
        for path in [
            format!("/v1/admin/users/{id}/effective-entitlements"),
            format!("/v1/admin/entitlements/effective?user_id={id}"),
        ] {
            api.get(&me, &path).await.expect_code(404, "NOT_FOUND");
        }
    }
    api.get(&me, "/v1/admin/entitlements/effective?user_id=x")
        .await
        .expect_code(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn the_plan_shows_what_it_includes_and_what_is_used() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    world
        .contacts()
        .post(&me, "/v1/contacts", &json!({ "first_name": "A" }))
        .await
        .expect(201);
    let plan = api.get(&me, "/v1/admin/plan").await.expect(200);
    assert_eq!(
        plan["plan"],
        json!({ "code": "dev_pro", "name": "DevPro", "tier": 1 })
    );
    assert_eq!(
        (&plan["status"], &plan["phase"], &plan["provider"]),
        (&json!("active"), &json!("active"), &json!("dev"))
    );
    assert_eq!(entry(&plan["limits"], "contacts.max")["used"], 1);
    assert_eq!(entry(&plan["limits"], "users.max")["used"], 1);
    // Also for who only looks.
    api.get(&world.user("read_only").await, "/v1/admin/plan")
        .await
        .expect(200);
}

#[tokio::test]
async fn a_preview_says_what_another_plan_would_change_and_changes_nothing() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    for _ in 0..4 {
        world.user("staff").await;
    }
    let preview = async |plan: &str| {
        let body = json!({ "plan": plan });
        api.post(&me, "/v1/admin/plan/preview", &body).await
    };
    let free = preview("dev_free").await.expect(200);
    assert_eq!(free["plan"]["code"], "dev_free");
    assert_eq!(free["gained_features"], json!([]));
    assert!(
        free["lost_features"]
            .as_array()
            .unwrap()
            .contains(&json!("maps.enabled"))
    );
    assert!(
        !free["lost_features"]
            .as_array()
            .unwrap()
            .contains(&json!("twofa.totp"))
    );
    assert_eq!(
        entry(&free["limits"], "users.max"),
        json!({ "code": "users.max", "current": null, "preview": 3, "used": 5, "exceeded": true }),
        "overrides are no part of a plan without them"
    );
    assert_eq!(entry(&free["limits"], "contacts.max")["exceeded"], false);
    let same = preview("dev_pro").await.expect(200);
    assert_eq!(
        (&same["lost_features"], &same["limits"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(
        api.get(&me, "/v1/admin/plan").await.expect(200)["plan"]["code"],
        "dev_pro"
    );
    preview("gold").await.expect_code(422, "VALIDATION_FAILED");
    api.post(
        &me,
        "/v1/admin/plan/preview",
        &json!({ "plan": "dev_free", "for": "good" }),
    )
    .await
    .expect_code(422, "VALIDATION_FAILED");
    let production = service_in(&world, false);
    for plan in ["dev_free", "gold"] {
        let body = json!({ "plan": plan });
        production
            .post(&me, "/v1/admin/plan/preview", &body)
            .await
            .expect_code(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn the_seats_are_shown_by_role_and_group() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    let staff = world.user("staff").await;
    world.user("read_only").await;
    let team = group(&world, &[me.user_id, staff.user_id]).await;
    put(
        &api,
        &me,
        TENANT,
        &json!([{ "code": "users.max", "limit_value": 7 }]),
    )
    .await
    .expect(200);
    let seats = api.get(&me, "/v1/admin/seats").await.expect(200);
    assert_eq!(
        (&seats["used"], &seats["allowed"], &seats["available"]),
        (&json!(2), &json!(7), &json!(5))
    );
    assert_eq!(
        (
            &seats["active"],
            &seats["pending_invites"],
            &seats["without_seat"]
        ),
        (&json!(2), &json!(0), &json!(1))
    );
    assert_eq!(entry(&seats["by_role"], "super_admin")["used"], 1);
    assert_eq!(seats["by_group"][0]["id"], team.to_string());
    assert_eq!(seats["by_group"][0]["used"], 2);
    api.get(&staff, "/v1/admin/seats")
        .await
        .expect_code(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_role_that_a_group_gives_takes_seats_too_and_each_holder_one() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    let (staff, lead) = (world.user("staff").await, world.user("manager").await);
    let roles = api.get(&me, "/v1/admin/roles?limit=200").await.expect(200);
    let manager = entry(&roles["data"], "manager");
    let managers = async || {
        let seats = api.get(&me, "/v1/admin/seats").await.expect(200);
        assert_eq!(seats["used"], 3);
        assert_eq!(entry(&seats["by_role"], "staff")["used"], 1);
        entry(&seats["by_role"], "manager")["used"].clone()
    };
    assert_eq!(managers().await, 1);
    let group = json!({ "name": "Deputies", "role_ids": [manager["id"]] });
    let group = api.post(&me, "/v1/admin/groups", &group).await.expect(201);
    let path = format!("/v1/admin/groups/{}", group["id"].as_str().unwrap());
    let members = json!({ "user_ids": [staff.user_id, lead.user_id] });
    api.post(&me, &format!("{path}/members"), &members)
        .await
        .expect(201);
    assert_eq!(managers().await, 2, "who has it twice counts once");
    let rest = json!({ "is_active": false });
    api.patch(&me, &path, &rest).await.expect(200);
    assert_eq!(managers().await, 1, "a group at rest gives nothing");
}

#[tokio::test]
async fn a_company_sees_nothing_of_another() {
    let (world, other) = (World::new().await, World::new().await);
    let (api, me) = (service(&world), world.admin().await);
    let theirs = other.admin().await;
    put(
        &service(&other),
        &theirs,
        TENANT,
        &json!([{ "code": "deals.max", "limit_value": 77 }]),
    )
    .await
    .expect(200);
    group(&other, &[theirs.user_id]).await;
    for path in [
        TENANT,
        "/v1/admin/plan",
        "/v1/admin/seats",
        "/v1/admin/entitlements/effective",
    ] {
        let text = api.get(&me, path).await.expect_text(200);
        assert!(
            !text.contains("77") || !text.contains("\"limit_value\":77"),
            "{path}: {text}"
        );
        assert!(!text.contains(&other.tenant.to_string()), "{path}");
    }
    assert_eq!(
        api.get(&me, "/v1/admin/seats").await.expect(200)["by_group"],
        json!([])
    );
}
