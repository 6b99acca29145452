//! Policies: made, read, changed, taken out of force.

use super::setup::{Company, POLICIES, REQUESTS, dynamic, fields, id, kind, policy, role, user, with};
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
        (
            json!({ "conditions": { "any": [{ "field": "lifecycle_stage", "op": "gt", "value": 1 },
                                            { "field": "owner_user_id", "op": "eq", "value": "me" }] } }),
            vec!["conditions.any[0].op invalid", "conditions.any[1].value invalid"],
        ),
        (
            step(
                "threshold",
                json!({ "field": "channels", "op": "in", "value": [1, true] }),
            ),
            vec!["steps[0].threshold.value[1] invalid"],
        ),
        (
            json!({ "steps": [role("admin"), dynamic("pipeline.owner"), dynamic("project.owner")] }),
            vec![
                "steps[1].approver_ref not_allowed",
                "steps[2].approver_ref not_allowed",
            ],
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
        (
            json!({ "conditions": { "field": "channels", "op": "eq", "value": true } }),
            "conditions.value invalid",
        ),
        (
            json!({ "steps": [dynamic("project.owner")] }),
            "steps[0].approver_ref not_allowed",
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

/// Each of these would be kept, and never gate.
#[tokio::test]
async fn what_a_fact_can_never_be_is_refused() {
    let company = Company::new().await;
    for (condition, at) in [
        (json!({ "field": "scope", "op": "gt", "value": 1 }), "op"),
        (
            json!({ "field": "scope", "op": "eq", "value": "company" }),
            "value",
        ),
        (
            json!({ "field": "highest_limit", "op": "eq", "value": "lots" }),
            "value",
        ),
        (
            json!({ "field": "changes", "op": "in", "value": [false] }),
            "value[0]",
        ),
        (json!({ "field": "values", "op": "lt", "value": "7" }), "op"),
    ] {
        let body = policy(
            json!({ "action_code": "entitlement.override", "object_type": "entitlements",
                                  "conditions": condition }),
        );
        let refused = company.approvals.post(&company.admin, POLICIES, &body).await;
        let refused = fields(&refused.expect_code(422, "VALIDATION_FAILED"));
        assert_eq!(refused, [format!("conditions.{at} invalid")], "{condition}");
    }
    for condition in [
        json!({ "field": "scope", "op": "in", "value": ["tenant", "group", "user"] }),
        json!({ "field": "highest_limit", "op": "gte", "value": "9007199254740991" }),
        json!({ "field": "values", "op": "ne", "value": "deals.max=7" }),
    ] {
        company
            .policy(
                json!({ "action_code": "entitlement.override", "object_type": "entitlements", "conditions": condition }),
            )
            .await;
    }
}

/// The stages that a policy can name are those that a contact can have.
#[tokio::test]
async fn every_lifecycle_stage_can_be_asked_for() {
    let company = Company::new().await;
    let admin = company.world.admin_sql().await;
    let select = "SELECT array_agg(stage[1]) FROM pg_constraint, regexp_matches(pg_get_constraintdef(oid), '\\x27(\\w+)\\x27', 'g') AS stage
                  WHERE conrelid = 'contacts'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%lifecycle_stage%'";
    let stages: Vec<String> = admin.query_one(select, &[]).await.unwrap().get(0);
    assert!(stages.contains(&"lead".to_owned()), "{stages:?}");
    let asks = |op: &str, value: Value| json!({ "conditions": { "field": "lifecycle_stage", "op": op, "value": value } });
    company.policy(asks("in", json!(stages))).await;
    let body = policy(asks("eq", json!("wno")));
    let refused = company.approvals.post(&company.admin, POLICIES, &body).await;
    let error = refused.expect_code(422, "VALIDATION_FAILED");
    assert_eq!(
        error["details"]["fields"][0]["message"],
        format!("lifecycle_stage is one of {}.", stages.join(", "))
    );
}

/// Stored when this was not checked: it gates as before, and is renamed and switched off, not on.
#[tokio::test]
async fn a_stored_policy_with_an_approver_that_its_object_lacks_goes_to_super_admins() {
    let company = Company::gated(json!([dynamic("owner.manager")])).await;
    let (api, me) = (&company.approvals, &company.admin);
    let page = api.get(me, POLICIES).await.expect(200);
    let path = format!("{POLICIES}/{}", id(&page["data"][0]));
    let manager = company.user("manager").await;
    for which in ["pipeline.owner", "project.owner"] {
        let stored = format!(
            "UPDATE approval_steps SET approver_ref = '{which}' WHERE tenant_id = $1 AND $2::uuid IS NOT NULL"
        );
        company.sql(&stored, me.user_id).await;
        let (contact, request) = company.ask(&manager).await;
        assert_eq!(company.deciders(&request).await, [me.user_id]);
        let found = api.get(me, &format!("{REQUESTS}/{request}")).await.expect(200);
        assert_eq!(found["deciders"][0]["escalated"], true);
        company.approve(me, &request).await.expect(200);
        assert!(!company.is_there(&contact).await, "{which}");
    }
    for change in [json!({ "name": "Old" }), json!({ "active": false })] {
        api.patch(me, &path, &change).await.expect(200);
    }
    let refused = api.patch(me, &path, &json!({ "active": true })).await;
    assert_eq!(
        fields(&refused.expect_code(422, "VALIDATION_FAILED")),
        ["steps[0].approver_ref not_allowed"]
    );
}

/// Both wait for the policy's row. The second wants the steps that were there when it came, and which the
/// first replaces meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_the_later_is_in_force_with_its_steps() {
    let company = Company::new().await;
    let (api, me) = (&company.approvals, &company.admin);
    let made = company.policy(json!({ "steps": [role("sales_manager")] })).await;
    let path = format!("{POLICIES}/{}", id(&made));
    let (tenant, policy) = (company.world.tenant.0, super::setup::uuid(&made["id"]));
    let (mut admin, watch) = (company.world.admin_sql().await, company.world.admin_sql().await);
    let pid: i32 = admin
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let holding = admin.transaction().await.unwrap();
    let hold = "SELECT FROM approval_policies WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
    holding.query(hold, &[&tenant, &policy]).await.unwrap();
    // Whoever waits for the row, and whoever waits for those.
    let waiting = "WITH RECURSIVE held (pid) AS (
            SELECT $1::integer
            UNION
            SELECT a.pid FROM held JOIN pg_stat_activity a ON held.pid = ANY (pg_blocking_pids(a.pid)))
        SELECT count(*) - 1 FROM held";
    let waits = async |wanted: i64| {
        for _ in 0..200 {
            let waits: i64 = watch.query_one(waiting, &[&pid]).await.unwrap().get(0);
            if waits >= wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{wanted} do not wait");
    };
    let (to_finance, to_sales) = (
        json!({ "steps": [role("finance_manager")] }),
        json!({ "steps": [role("sales_manager")] }),
    );
    let one = api.patch(me, &path, &to_finance);
    let two = async {
        waits(1).await;
        api.patch(me, &path, &to_sales).await
    };
    let release = async {
        waits(2).await;
        holding.commit().await.unwrap();
    };
    let (one, two, ()) = futures::join!(one, two, release);
    assert_eq!(one.expect(200)["steps"][0]["approver_ref"], "finance_manager");
    let found = api.get(me, &path).await;
    assert_eq!(two.headers["etag"], found.headers["etag"]);
    let (found, two) = (found.expect(200), two.expect(200));
    assert_eq!(found, two, "what was answered is what is in force");
    assert_eq!(found["steps"][0]["approver_ref"], "sales_manager");
}
