//! Overrides: set, refused, shown, and counting at the very next request.

use super::{GROUP, TENANT, USER, entry, group, put, run, service};
use crate::support::World;
use serde_json::json;

#[tokio::test]
async fn a_company_overrides_its_plan_and_sees_what_comes_of_it() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    // The tests' companies have seats without end.
    let before = api.get(&me, TENANT).await.expect(200);
    assert_eq!(before["scope"], "tenant");
    assert_eq!(before["scope_id"], world.tenant.to_string());
    assert_eq!(before["overrides"][0]["code"], "users.max");
    assert_eq!(before["overrides"][0]["unlimited"], true);

    let wanted = json!([
        { "code": "contacts.max", "limit_value": 2 },
        { "code": "maps.enabled", "enabled": false },
        { "code": "sms.monthlyCap", "unlimited": true },
    ]);
    let after = put(&api, &me, TENANT, &wanted).await.expect(200);
    assert_eq!(after["overrides"].as_array().unwrap().len(), 3);
    assert_eq!(after["overrides"][0]["set_by"], me.user_id.to_string());
    let (features, limits) = (&after["effective"]["features"], &after["effective"]["limits"]);
    let maps = entry(features, "maps.enabled");
    assert_eq!(
        (&maps["enabled"], &maps["source"]),
        (&json!(false), &json!("tenant"))
    );
    let contacts = entry(limits, "contacts.max");
    assert_eq!(
        (&contacts["limit_value"], &contacts["used"]),
        (&json!(2), &json!(0))
    );
    let sms = entry(limits, "sms.monthlyCap");
    assert_eq!(
        (&sms["limit_value"], &sms["unlimited"]),
        (&json!(null), &json!(true))
    );
    assert_eq!(sms["source_id"], world.tenant.to_string());
    let seats = entry(limits, "users.max");
    assert_eq!(
        (&seats["limit_value"], &seats["source"]),
        (&json!(25), &json!("plan")),
        "what was not named is gone"
    );
    assert_eq!(api.get(&me, TENANT).await.expect(200), after);
    let none = put(&api, &me, TENANT, &json!([])).await.expect(200);
    assert_eq!(none["overrides"], json!([]));

    let audited = world
        .admin_sql()
        .await
        .query(
            "SELECT actor_user_id, after_data ->> 'scope' FROM audit_logs WHERE tenant_id = $1 AND action = 'entitlement.override.changed'",
            &[&world.tenant.0],
        )
        .await
        .unwrap();
    assert_eq!(audited.len(), 2);
    assert_eq!(audited[0].get::<_, Option<uuid::Uuid>>(0), Some(me.user_id));
}

#[tokio::test]
async fn who_saw_older_overrides_does_not_overwrite_newer_ones() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    let seen = api.get(&me, TENANT).await.headers["etag"].clone();
    let change = |limit: i64| json!({ "overrides": [{ "code": "deals.max", "limit_value": limit }] });
    let if_match = [("if-match", seen.as_str())];
    api.json(&me, "PUT", TENANT, &if_match, &change(1))
        .await
        .expect(200);
    api.json(&me, "PUT", TENANT, &if_match, &change(2))
        .await
        .expect_code(412, "STALE");
    let now = api.get(&me, TENANT).await.expect(200);
    assert_eq!(now["overrides"][0]["limit_value"], 1);
}

/// `effective` moves with everything that is counted, and who opened the form before can still save it.
#[tokio::test]
async fn what_is_counted_meanwhile_makes_nobodys_form_stale() {
    let world = World::new().await;
    let (api, me, contacts) = (service(&world), world.admin().await, world.contacts());
    let create = async || {
        let made = contacts
            .post(&me, "/v1/contacts", &json!({ "first_name": "A" }))
            .await;
        made.expect(201);
    };
    let change = async |seen: &str, limit: i64| {
        let body = json!({ "overrides": [{ "code": "deals.max", "limit_value": limit }] });
        api.json(&me, "PUT", TENANT, &[("if-match", seen)], &body).await
    };
    let known = async |tag: &str| {
        let known = [("if-none-match", tag)];
        api.json(&me, "GET", TENANT, &known, &json!({})).await
    };
    let tag = api.get(&me, TENANT).await.headers["etag"].clone();
    assert_eq!(known(&tag).await.status, 304);
    create().await;
    let counted = known(&tag).await;
    assert_ne!(counted.headers["etag"], tag, "it is not the record that was seen");
    let counted = counted.expect(200);
    assert_eq!(entry(&counted["effective"]["limits"], "contacts.max")["used"], 1);
    let changed = change(&tag, 1).await;
    let newer = changed.headers["etag"].clone();
    changed.expect(200);
    create().await;
    change(&newer, 2).await.expect(200);
    change(&newer, 3).await.expect_code(412, "STALE");
    // Of a newer record it is the same overrides that count.
    let found = api.get(&me, TENANT).await.headers["etag"].clone();
    create().await;
    let either = format!("{newer}, {found}");
    change(&either, 4).await.expect(200);
    let part = found.split('.').next().unwrap();
    for wrong in [part.to_owned(), format!("W/{found}"), part.replace('"', "")] {
        change(&wrong, 5).await.expect_code(412, "STALE");
    }
}

/// Each replaces the whole: never a mixture.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_one_is_the_last() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    for _ in 0..5 {
        let maps =
            json!([{ "code": "maps.enabled", "enabled": false }, { "code": "deals.max", "limit_value": 1 }]);
        let leads =
            json!([{ "code": "leads.max", "limit_value": 1 }, { "code": "deals.max", "limit_value": 2 }]);
        let (one, other) = futures::join!(put(&api, &me, TENANT, &maps), put(&api, &me, TENANT, &leads));
        one.expect(200);
        other.expect(200);
        let now = api.get(&me, TENANT).await.expect(200);
        let codes: Vec<_> = now["overrides"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["code"].clone())
            .collect();
        assert!(
            codes == ["deals.max", "maps.enabled"] || codes == ["deals.max", "leads.max"],
            "{codes:?}"
        );
        put(&api, &me, TENANT, &json!([])).await.expect(200);
    }
}

#[tokio::test]
async fn a_group_and_a_user_are_named_in_the_query_or_the_body() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    let member = world.user("staff").await;
    let team = group(&world, &[member.user_id]).await;
    let five = json!([{ "code": "deals.max", "limit_value": 5 }]);
    let named = format!("{GROUP}?group_id={team}");
    let answer = put(&api, &me, &named, &five).await.expect(200);
    assert_eq!(
        (&answer["scope"], &answer["scope_id"]),
        (&json!("group"), &json!(team))
    );
    assert_eq!(
        entry(&answer["effective"]["limits"], "deals.max")["source"],
        "group"
    );
    assert_eq!(api.get(&me, &named).await.expect(200), answer);

    let body = json!({ "user_id": member.user_id, "overrides": [{ "code": "deals.max", "limit_value": 0 }] });
    let answer = api.json(&me, "PUT", USER, &[], &body).await.expect(200);
    assert_eq!(answer["scope_id"], member.user_id.to_string());
    let deals = entry(&answer["effective"]["limits"], "deals.max");
    assert_eq!(
        (&deals["limit_value"], &deals["source"]),
        (&json!(0), &json!("user"))
    );
    // What is taken back shows what stood behind it.
    let answer = put(
        &api,
        &me,
        &format!("{USER}?user_id={}", member.user_id),
        &json!([]),
    )
    .await
    .expect(200);
    let deals = entry(&answer["effective"]["limits"], "deals.max");
    assert_eq!(
        (&deals["limit_value"], &deals["source"], &deals["source_id"]),
        (&json!(5), &json!("group"), &json!(team))
    );

    let contradiction = json!({ "group_id": testkit::unique(), "overrides": [] });
    api.json(&me, "PUT", &named, &[], &contradiction)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    for path in [GROUP, USER] {
        api.get(&me, path).await.expect_code(422, "VALIDATION_FAILED");
        put(&api, &me, path, &json!([]))
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    api.get(&me, &format!("{GROUP}?group_id=x"))
        .await
        .expect_code(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn another_companys_group_or_user_is_a_missing_one() {
    let (world, other) = (World::new().await, World::new().await);
    let (api, me) = (service(&world), world.admin().await);
    let theirs = other.user("staff").await.user_id;
    let their_group = group(&other, &[]).await;
    for path in [
        format!("{USER}?user_id={theirs}"),
        format!("{USER}?user_id={}", testkit::unique()),
        format!("{GROUP}?group_id={their_group}"),
        format!("{GROUP}?group_id={}", testkit::unique()),
    ] {
        let read = api.get(&me, &path).await.expect_code(404, "NOT_FOUND");
        let set = put(
            &api,
            &me,
            &path,
            &json!([{ "code": "deals.max", "limit_value": 1 }]),
        )
        .await
        .expect_code(404, "NOT_FOUND");
        assert_eq!(read["message"], set["message"]);
    }
}

#[tokio::test]
async fn a_body_that_is_none_changes_nothing() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    let before = api.get(&me, TENANT).await.expect(200);
    let too_many: Vec<_> = (0..200)
        .map(|at| json!({ "code": format!("x{at}"), "enabled": true }))
        .collect();
    for wanted in [
        json!([{ "code": "contacts.max" }]),
        json!([{ "code": "contacts.max", "limit_value": -1 }]),
        json!([{ "code": "contacts.max", "limit_value": 1.5 }]),
        json!([{ "code": "contacts.max", "limit_value": "many" }]),
        json!([{ "code": "contacts.max", "limit_value": 1, "unlimited": true }]),
        json!([{ "code": "contacts.max", "enabled": true }]),
        json!([{ "code": "maps.enabled", "enabled": true, "limit_value": 1 }]),
        json!([{ "code": "maps.enabled", "enabled": true }, { "code": "maps.enabled", "enabled": false }]),
        json!([{ "code": "nothing", "enabled": true }]),
        json!([{ "code": "admin.entitlementsOverrides", "enabled": false }]),
        json!([{ "code": "dashboard.customSQL", "enabled": true }]),
        json!([{ "code": "maps.enabled", "enabled": true, "comment": "x" }]),
        json!("maps.enabled"),
        json!(too_many),
    ] {
        put(&api, &me, TENANT, &wanted)
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    api.json(&me, "PUT", TENANT, &[], &json!({}))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    assert_eq!(api.get(&me, TENANT).await.expect(200), before);
    let user = format!("{USER}?user_id={}", me.user_id);
    let error = put(
        &api,
        &me,
        &user,
        &json!([{ "code": "users.max", "limit_value": 99 }]),
    )
    .await;
    let error = error.expect_code(422, "VALIDATION_FAILED");
    assert_eq!(error["details"]["fields"][0]["code"], "fixed");
}

#[tokio::test]
async fn overriding_takes_the_permission_a_verified_address_and_a_plan_that_includes_it() {
    let world = World::new().await;
    let api = service(&world);
    let wanted = json!([{ "code": "deals.max", "limit_value": 1 }]);
    let error = put(&api, &world.user("manager").await, TENANT, &wanted)
        .await
        .expect_code(403, "FORBIDDEN");
    assert_eq!(error["details"]["permission"], "entitlements.overrides.manage");
    let me = world.admin().await;
    run(&world, "UPDATE users SET email_verified_at = NULL WHERE tenant_id = $1 AND id = (SELECT max(id::text)::uuid FROM users WHERE tenant_id = $1)").await;
    put(&api, &me, TENANT, &wanted)
        .await
        .expect_code(403, "AUTH_EMAIL_UNVERIFIED");
    let me = world.admin().await;
    put(&api, &me, TENANT, &wanted).await.expect(200);
    run(
        &world,
        "UPDATE tenant_subscription SET plan_code = 'dev_free' WHERE tenant_id = $1",
    )
    .await;
    let error = put(&api, &me, TENANT, &wanted)
        .await
        .expect_code(402, "PLAN_REQUIRED");
    assert_eq!(error["details"]["feature"], "admin.entitlementsOverrides");
    let seats = api.get(&me, "/v1/admin/entitlements/effective").await.expect(200);
    assert_eq!(
        entry(&seats["limits"], "users.max")["limit_value"],
        3,
        "nor do older overrides count"
    );
}

#[tokio::test]
async fn an_override_counts_at_the_very_next_request() {
    let world = World::new().await;
    let (api, me, staff) = (service(&world), world.admin().await, world.user("staff").await);
    api.get(&staff, "/v1/admin/plan").await.expect(200);
    put(
        &api,
        &me,
        TENANT,
        &json!([{ "code": "plan.view", "enabled": false }]),
    )
    .await
    .expect(200);
    let error = api
        .get(&staff, "/v1/admin/plan")
        .await
        .expect_code(402, "PLAN_REQUIRED");
    assert_eq!(error["details"]["feature"], "plan.view");
    let team = group(&world, &[staff.user_id]).await;
    let on = json!([{ "code": "plan.view", "enabled": true }]);
    put(&api, &me, &format!("{GROUP}?group_id={team}"), &on)
        .await
        .expect(200);
    api.get(&staff, "/v1/admin/plan").await.expect(200);
    api.get(&me, "/v1/admin/plan")
        .await
        .expect_code(402, "PLAN_REQUIRED");
    run(&world, "DELETE FROM group_members WHERE tenant_id = $1").await;
    api.get(&staff, "/v1/admin/plan")
        .await
        .expect_code(402, "PLAN_REQUIRED");
    // Overriding itself can't be switched off, so there is a way back.
    put(&api, &me, TENANT, &json!([])).await.expect(200);
    api.get(&staff, "/v1/admin/plan").await.expect(200);
}

/// Fourteen days of `dev_pro`'s features do not come with a company's own choice of its limits.
#[tokio::test]
async fn on_trial_nobody_lifts_their_own_caps() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    run(&world, "UPDATE tenant_subscription SET status = 'trial', trial_ends_at = now() + interval '1 day' WHERE tenant_id = $1").await;
    let wanted = json!([
        { "code": "contacts.max", "limit_value": 1 },
        { "code": "sms.monthlyCap", "limit_value": 1_000_000 },
        { "code": "users.max", "unlimited": true },
    ]);
    let set = put(&api, &me, TENANT, &wanted).await.expect(200);
    assert_eq!(
        set["overrides"].as_array().unwrap().len(),
        3,
        "they are kept for later"
    );
    let limits = &set["effective"]["limits"];
    for (code, value, source) in [
        ("contacts.max", 1, "tenant"),
        ("sms.monthlyCap", 0, "trial"),
        ("users.max", 3, "trial"),
    ] {
        let limit = entry(limits, code);
        assert_eq!(
            (&limit["limit_value"], &limit["source"]),
            (&json!(value), &json!(source)),
            "{code}"
        );
    }
    let contacts = world.contacts();
    let body = json!({ "first_name": "A" });
    contacts.post(&me, "/v1/contacts", &body).await.expect(201);
    contacts
        .post(&me, "/v1/contacts", &body)
        .await
        .expect_code(422, "LIMIT_REACHED");

    // Nor does a user's own override lift them, nor a group's.
    let staff = world.user("staff").await;
    let team = group(&world, &[staff.user_id]).await;
    let more = json!([{ "code": "deals.max", "limit_value": 501 }]);
    for path in [
        format!("{USER}?user_id={}", staff.user_id),
        format!("{GROUP}?group_id={team}"),
    ] {
        let set = put(&api, &me, &path, &more).await.expect(200);
        let deals = entry(&set["effective"]["limits"], "deals.max");
        assert_eq!(
            (&deals["limit_value"], &deals["source"]),
            (&json!(500), &json!("trial"))
        );
    }
    run(
        &world,
        "UPDATE tenant_subscription SET status = 'active' WHERE tenant_id = $1",
    )
    .await;
    let now = api.get(&me, TENANT).await.expect(200);
    let users = entry(&now["effective"]["limits"], "users.max");
    assert_eq!(
        (&users["unlimited"], &users["source"]),
        (&json!(true), &json!("tenant"))
    );
}
