//! Policies: made, read, changed, taken out of force.

use super::setup::{Company, POLICIES, fields, id, kind, policy, role, user, with};
use serde_json::{Value, json};

#[tokio::test]
async fn a_policy_lives_from_creation_to_deletion() {
    let company = Company::new().await;
    let (api, me) = (&company.approvals, &company.admin);
    let colleague = company.user("manager").await;
    let condition = json!({ "any": [{ "field": "channels", "op": "gte", "value": 1.5 },
                                    { "not": { "field": "lifecycle_stage", "op": "in", "value": ["lead", "lost"] } }] });
    let steps = json!([
        with(
            kind("parallel", with(role("finance_manager"), "seq", json!(20))),
            "quorum",
            json!(2)
        ),
        with(
            with(kind("sequential", user(&colleague)), "seq", json!(10)),
            "sla_hours",
            json!(24)
        ),
        with(
            with(
                json!({ "approver_mode": "dynamic", "approver_ref": "owner.manager" }),
                "seq",
                json!(30)
            ),
            "threshold",
            json!({ "field": "channels", "op": "gt", "value": "2" })
        ),
    ]);
    let body = policy(json!({ "name": " Deletions ", "conditions": condition, "steps": steps }));
    let made = api.post(me, POLICIES, &body).await.expect(201);
    assert_eq!(made["name"], "Deletions");
    assert_eq!(made["conditions"], condition, "what is kept is what was said");
    assert_eq!(
        (&made["active"], &made["self_approval_allowed"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        made["steps"][0],
        json!({ "seq": 10, "kind": "sequential", "approver_mode": "user", "approver_ref": colleague.user_id,
                "threshold": null, "quorum": null, "sla_hours": 24 })
    );
    assert_eq!(made["steps"][2]["kind"], "flat");

    let path = format!("{POLICIES}/{}", id(&made));
    let found = api.get(me, &path).await;
    assert_eq!(found.json(), made);
    let tag = found.headers["etag"].clone();
    let changed = json!({ "active": false, "conditions": null, "steps": [role("admin")] });
    let changed = api.patch(me, &path, &changed).await.expect(200);
    assert_eq!(changed["steps"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&changed["conditions"], &changed["active"]),
        (&json!(null), &json!(false))
    );
    assert_eq!(
        api.get(me, &path).await.json(),
        changed,
        "what is read is what was answered"
    );
    let (seen, late) = ([("if-match", tag.as_str())], json!({ "name": "X" }));
    let stale = api.json(me, "PATCH", &path, &seen, &late).await;
    stale.expect_code(412, "STALE");

    company
        .policy(
            json!({ "name": "Other", "action_code": "entitlement.override", "object_type": "entitlements" }),
        )
        .await;
    let names = async |query: &str| -> Vec<Value> {
        let page = api.get(me, &format!("{POLICIES}{query}")).await.expect(200);
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|policy| policy["name"].clone())
            .collect()
    };
    assert_eq!(names("").await, ["Other", "Deletions"]);
    assert_eq!(names("?active=false").await, ["Deletions"]);
    assert_eq!(
        names("?action_code=entitlement.override&limit=1").await,
        ["Other"]
    );

    api.delete(me, &path).await.expect(204);
    for method in ["GET", "PATCH", "DELETE"] {
        api.json(me, method, &path, &[], &json!({}))
            .await
            .expect_code(404, "NOT_FOUND");
    }
    assert_eq!(names("").await, ["Other"]);
    let audited = "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND entity_type = 'approval.policy'";
    assert_eq!(company.count(audited).await, 4, "made twice, changed, archived");
}

#[tokio::test]
async fn bad_policies_are_refused_precisely_and_nothing_is_kept() {
    let company = Company::new().await;
    let step = |field: &str, value: Value| json!({ "steps": [with(role("admin"), field, value)] });
    let eleven: Vec<Value> = (0..11).map(|_| role("admin")).collect();
    for (wrong, expected) in [
        (json!({ "name": " " }), vec!["name required"]),
        (json!({ "action_code": "Delete it" }), vec!["action_code unknown"]),
        (
            json!({ "action_code": "contact.delte" }),
            vec!["action_code unknown"],
        ),
        (json!({ "action_code": " " }), vec!["action_code required"]),
        (json!({ "object_type": "deal" }), vec!["object_type invalid"]),
        (
            json!({ "conditions": { "all": [{ "field": "channels", "op": "gt", "value": 1 },
                                            { "not": { "any": [{ "field": "chanels", "op": "gt", "value": 1 }] } }] } }),
            vec!["conditions.all[1].not.any[0].field unknown"],
        ),
        (
            json!({ "conditions": { "field": "scope", "op": "eq", "value": "tenant" } }),
            vec!["conditions.field unknown"],
        ),
        (
            step("threshold", json!({ "field": "amount", "op": "gt", "value": 1 })),
            vec!["steps[0].threshold.field unknown"],
        ),
        (json!({ "steps": [] }), vec!["steps out_of_range"]),
        (json!({ "steps": eleven }), vec!["steps out_of_range"]),
        (
            json!({ "conditions": { "field": "a", "op": "gt", "value": "x" } }),
            vec!["conditions.value invalid"],
        ),
        (json!({ "colour": 1 }), vec!["colour invalid"]),
        (step("kind", json!("any")), vec!["steps[0].kind invalid"]),
        (
            step("approver_mode", json!("anybody")),
            vec!["steps[0].approver_mode invalid"],
        ),
        (
            step("approver_ref", json!("")),
            vec!["steps[0].approver_ref required"],
        ),
        (
            step("approver_mode", json!("user")),
            vec!["steps[0].approver_ref invalid"],
        ),
        (
            step("approver_mode", json!("group")),
            vec!["steps[0].approver_ref invalid"],
        ),
        (
            step("approver_mode", json!("dynamic")),
            vec!["steps[0].approver_ref invalid"],
        ),
        (step("quorum", json!(1)), vec!["steps[0].quorum not_allowed"]),
        (
            step("sla_hours", json!(0)),
            vec!["steps[0].sla_hours out_of_range"],
        ),
        (
            step("sla_hours", json!(8761)),
            vec!["steps[0].sla_hours out_of_range"],
        ),
        (step("seq", json!(0)), vec!["steps[0].seq out_of_range"]),
        (
            step("threshold", json!({ "all": [] })),
            vec!["steps[0].threshold.all invalid"],
        ),
        (
            json!({ "steps": [with(role("admin"), "seq", json!(2)), role("admin")] }),
            vec!["steps[1].seq repeated"],
        ),
    ] {
        let body = policy(wrong.clone());
        let error = company.approvals.post(&company.admin, POLICIES, &body).await;
        assert_eq!(
            fields(&error.expect_code(422, "VALIDATION_FAILED")),
            expected,
            "{wrong}"
        );
    }
    let made = company.policy(json!({})).await;
    let path = format!("{POLICIES}/{}", id(&made));
    for (wrong, expected) in [
        (json!({ "object_type": "deal" }), "object_type invalid"),
        (json!({ "action_code": "contact.remove" }), "action_code unknown"),
        (
            json!({ "action_code": "entitlement.override" }),
            "object_type invalid",
        ),
        (json!({ "conditions": [] }), "conditions invalid"),
        (
            json!({ "conditions": { "field": "stage", "op": "eq", "value": 1 } }),
            "conditions.field unknown",
        ),
        (json!({ "steps": [] }), "steps out_of_range"),
        (json!({ "name": "" }), "name required"),
    ] {
        let error = company.approvals.patch(&company.admin, &path, &wrong).await;
        assert_eq!(fields(&error.expect_code(422, "VALIDATION_FAILED")), [expected]);
    }
    assert_eq!(company.approvals.get(&company.admin, &path).await.json(), made);
    let kept = "SELECT count(*) FROM approval_policies WHERE tenant_id = $1";
    assert_eq!(company.count(kept).await, 1);
}

#[tokio::test]
async fn only_who_manages_policies_sees_and_changes_them() {
    let company = Company::new().await;
    let path = format!("{POLICIES}/{}", id(&company.policy(json!({})).await));
    let manager = company.user("manager").await;
    for (method, path) in [
        ("GET", POLICIES),
        ("POST", POLICIES),
        ("GET", &path),
        ("PATCH", &path),
        ("DELETE", &path),
    ] {
        let body = if method == "POST" {
            policy(json!({}))
        } else {
            json!({})
        };
        let refused = company.approvals.json(&manager, method, path, &[], &body).await;
        assert_eq!(
            refused.expect_code(403, "FORBIDDEN")["details"]["permission"],
            "approvals.policies.manage"
        );
    }
    company
        .sql(
            "UPDATE users SET email_verified_at = NULL WHERE tenant_id = $1 AND id = $2",
            company.admin.user_id,
        )
        .await;
    let unverified = company
        .approvals
        .post(&company.admin, POLICIES, &policy(json!({})))
        .await;
    unverified.expect_code(403, "AUTH_EMAIL_UNVERIFIED");
}

#[tokio::test]
async fn the_plan_says_how_many_policies_are_in_force_and_whether_steps_are_parallel() {
    let company = Company::new().await;
    let (api, me) = (&company.approvals, &company.admin);
    let sql = company.world.admin_sql().await;
    sql.execute(
        "UPDATE tenant_subscription SET plan_code = 'dev_free' WHERE tenant_id = $1",
        &[&company.world.tenant.0],
    )
    .await
    .unwrap();
    let parallel = policy(json!({ "steps": [kind("parallel", role("manager"))] }));
    let error = api
        .post(me, POLICIES, &parallel)
        .await
        .expect_code(402, "PLAN_REQUIRED");
    assert_eq!(error["details"]["feature"], "approvals.parallelSteps");

    let plain = |active: bool| policy(json!({ "steps": [role("manager")], "active": active }));
    let made =
        futures::future::join_all((0..5).map(|_| async { api.post(me, POLICIES, &plain(true)).await })).await;
    let (taken, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(
        (taken.len(), refused.len()),
        (2, 3),
        "exactly as many as the plan has"
    );
    for answer in refused {
        let error = answer.expect_code(422, "LIMIT_REACHED");
        assert_eq!(
            (&error["details"]["key"], &error["details"]["limit"]),
            (&json!("approvals.policies.max"), &json!(2))
        );
    }
    // one that is not in force counts for nothing, until it is
    let idle = id(&api.post(me, POLICIES, &plain(false)).await.expect(201));
    let path = format!("{POLICIES}/{idle}");
    let turn_on = json!({ "active": true });
    api.json(me, "PATCH", &path, &[], &turn_on)
        .await
        .expect_code(422, "LIMIT_REACHED");
    let gone = id(&taken.into_iter().next().unwrap().json());
    api.delete(me, &format!("{POLICIES}/{gone}")).await.expect(204);
    api.json(me, "PATCH", &path, &[], &turn_on).await.expect(200);
}

#[tokio::test]
async fn an_unknown_action_is_answered_with_those_that_there_are() {
    let company = Company::new().await;
    let body = policy(json!({ "action_code": "deal.delete" }));
    let refused = company.approvals.post(&company.admin, POLICIES, &body).await;
    let error = refused.expect_code(422, "VALIDATION_FAILED");
    assert_eq!(
        error["details"]["fields"][0]["message"],
        "The actions are contact.delete, entitlement.override."
    );
}

/// Stored when codes were not checked.
#[tokio::test]
async fn a_policy_for_an_action_that_there_is_not_can_be_renamed_and_disabled() {
    let company = Company::new().await;
    let (api, me) = (&company.approvals, &company.admin);
    let made = company.policy(json!({})).await;
    let path = format!("{POLICIES}/{}", id(&made));
    let rename = "UPDATE approval_policies SET action_code = 'deal.delete', object_type = 'deal' WHERE tenant_id = $1 AND id = $2";
    company.sql(rename, id(&made).parse().unwrap()).await;
    for change in [json!({ "name": "Old" }), json!({ "active": false })] {
        api.patch(me, &path, &change).await.expect(200);
    }
    for change in [json!({ "active": true }), json!({ "steps": [role("admin")] })] {
        let refused = api.patch(me, &path, &change).await;
        assert_eq!(
            fields(&refused.expect_code(422, "VALIDATION_FAILED")),
            ["action_code unknown"]
        );
    }
}

#[tokio::test]
async fn parallel_steps_that_the_plan_lost_stay_and_can_be_switched_off_and_renamed() {
    let company = Company::new().await;
    let (api, me) = (&company.approvals, &company.admin);
    let steps = json!([kind("parallel", role("manager"))]);
    let made = company.policy(json!({ "steps": steps })).await;
    let path = format!("{POLICIES}/{}", id(&made));
    let lower =
        "UPDATE tenant_subscription SET plan_code = 'dev_free' WHERE tenant_id = $1 AND $2::uuid IS NOT NULL";
    company.sql(lower, me.user_id).await;
    let renamed = api.patch(me, &path, &json!({ "name": "Still here" })).await;
    assert_eq!(renamed.expect(200)["name"], "Still here");
    api.patch(me, &path, &json!({ "steps": steps })).await.expect(200);
    api.patch(me, &path, &json!({ "active": false }))
        .await
        .expect(200);
    let two = json!([kind("parallel", role("manager")), kind("parallel", role("admin"))]);
    for change in [json!({ "active": true }), json!({ "steps": two })] {
        let refused = api.patch(me, &path, &change).await;
        assert_eq!(
            refused.expect_code(402, "PLAN_REQUIRED")["details"]["feature"],
            "approvals.parallelSteps"
        );
    }
    let plain = json!({ "active": true, "steps": [role("manager")] });
    api.patch(me, &path, &plain).await.expect(200);
}
