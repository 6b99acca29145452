//! What the plan includes, changed only with an approval.

use super::setup::{Company, POLICIES, email, id, role, uuid, with};
use crate::support::{Answer, Api, Login};
use serde_json::{Value, json};

const TENANT: &str = "/v1/admin/entitlements/overrides/tenant";

struct Office {
    company: Company,
    admin: Api,
    /// Asks, and could approve what others ask for.
    requester: Login,
    approver: Login,
}

impl Office {
    /// Where this policy gates overrides.
    async fn gated(with: Value) -> Self {
        let company = Company::new().await;
        let office = Self {
            admin: company.world.administration(),
            requester: company.user("admin").await,
            approver: company.user("finance_manager").await,
            company,
        };
        let mut policy = json!({ "name": "Limits", "action_code": "entitlement.override",
                                 "object_type": "entitlements", "steps": [role("finance_manager")] });
        for (name, value) in with.as_object().unwrap() {
            policy[name] = value.clone();
        }
        office.company.policy(policy).await;
        office
    }

    async fn put(&self, path: &str, overrides: Value) -> Answer {
        let body = json!({ "overrides": overrides });
        self.admin.put(&self.requester, path, &body).await
    }

    /// Asks for a change of the company's and returns the request.
    async fn ask(&self, overrides: Value) -> String {
        id(&self.put(TENANT, overrides).await.expect(202))
    }

    async fn overrides(&self) -> Value {
        let found = self.admin.get(&self.company.admin, TENANT).await.expect(200);
        found["overrides"].clone()
    }

    async fn done(&self) -> i64 {
        let done = "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND action = 'entitlement.override.changed'";
        self.company.count(done).await
    }

    async fn fails(&self, request: &str) -> String {
        let before = self.overrides().await;
        let failed = self.company.approve(&self.approver, request).await.expect(200);
        assert_eq!(failed["state"], "failed");
        assert_eq!((self.overrides().await, self.done().await), (before, 0));
        failed["failure_reason"].as_str().unwrap().to_owned()
    }
}

fn limit(code: &str, value: i64) -> Value {
    json!({ "code": code, "limit_value": value })
}

#[tokio::test]
async fn an_override_waits_and_is_made_once_when_it_is_approved() {
    let office = Office::gated(json!({})).await;
    let company = &office.company;
    let before = office.overrides().await;
    let wanted = json!([limit("deals.max", 7), { "code": "maps.enabled", "enabled": false }]);
    let waiting = office.put(TENANT, wanted.clone()).await.expect(202);
    let request = id(&waiting);
    assert_eq!(
        (
            &waiting["action_code"],
            &waiting["object_type"],
            &waiting["object_id"],
            &waiting["title"]
        ),
        (
            &json!("entitlement.override"),
            &json!("entitlements"),
            &json!(company.world.tenant.0),
            &json!("Change what the plan includes")
        )
    );
    assert_eq!(
        waiting["payload"],
        json!({ "scope": "tenant", "changes": "3", "removed": "1", "features_on": "0",
                "values": "deals.max=7, maps.enabled=off, users.max=plan" }),
        "the company's seats without end are not among what is wanted"
    );
    assert_eq!((office.overrides().await, office.done().await), (before, 0));

    let again = office.put(TENANT, json!([])).await.expect_code(409, "DUPLICATE");
    assert_eq!(again["details"]["approval_request_id"], json!(request));
    let user = format!(
        "/v1/admin/entitlements/overrides/user?user_id={}",
        office.approver.user_id
    );
    let other = office
        .put(&user, json!([limit("deals.max", 1)]))
        .await
        .expect(202);
    assert_eq!(uuid(&other["object_id"]), office.approver.user_id);

    let own = company
        .approve(&office.requester, &request)
        .await
        .expect_code(403, "FORBIDDEN");
    assert_eq!(own["details"]["reason"], "own_request");
    let approved = company.approve(&office.approver, &request).await.expect(200);
    assert_eq!(approved["state"], "approved");
    let made = office.overrides().await;
    assert_eq!(
        (&made[0]["code"], &made[0]["limit_value"], &made[1]["code"]),
        (&json!("deals.max"), &json!(7), &json!("maps.enabled"))
    );
    assert_eq!(uuid(&made[0]["set_by"]), office.requester.user_id);
    company
        .approve(&office.approver, &request)
        .await
        .expect_code(409, "CONFLICT");
    assert_eq!(office.done().await, 1);
}

#[tokio::test]
async fn an_override_that_is_rejected_is_not_made() {
    let office = Office::gated(json!({})).await;
    let before = office.overrides().await;
    let request = office.ask(json!([limit("deals.max", 7)])).await;
    let rejected = office.company.decide(&office.approver, &request, "reject").await;
    assert_eq!(rejected.expect(200)["state"], "rejected");
    assert_eq!((office.overrides().await, office.done().await), (before, 0));
    office.ask(json!([limit("deals.max", 8)])).await;
}

#[tokio::test]
async fn an_override_goes_by_the_permission_and_the_plan_of_the_day_it_is_made() {
    let office = Office::gated(json!({})).await;
    let (company, requester) = (&office.company, office.requester.user_id);
    let request = office.ask(json!([limit("deals.max", 7)])).await;
    let demote =
        "UPDATE user_roles SET role_id = (SELECT id FROM roles WHERE tenant_id IS NULL AND code = 'manager')
                  WHERE tenant_id = $1 AND user_id = $2";
    company.sql(demote, requester).await;
    assert_eq!(
        office.fails(&request).await,
        "The requester does not hold the permission for this any more."
    );

    let office = Office::gated(json!({})).await;
    let request = office.ask(json!([limit("deals.max", 7)])).await;
    let lower =
        "UPDATE tenant_subscription SET plan_code = 'dev_free' WHERE tenant_id = $1 AND $2::uuid IS NOT NULL";
    office.company.sql(lower, office.requester.user_id).await;
    let admin = office.company.world.admin_sql().await;
    let failed = office
        .company
        .approve(&office.approver, &request)
        .await
        .expect(200);
    assert_eq!(
        failed["failure_reason"],
        "The plan does not include this any more."
    );
    let kept = "SELECT count(*) FROM entitlement_overrides WHERE tenant_id = $1 AND code = 'deals.max'";
    let kept = admin
        .query_one(kept, &[&office.company.world.tenant.0])
        .await
        .unwrap();
    assert_eq!(kept.get::<_, i64>(0), 0);
}

fn large() -> Value {
    json!({ "any": [{ "field": "highest_limit", "op": "gt", "value": 100 },
                    { "field": "features_on", "op": "gte", "value": 2 }] })
}

#[tokio::test]
async fn policies_tell_small_changes_from_large_ones() {
    let office = Office::gated(json!({ "conditions": large() })).await;
    let small = [
        json!([limit("deals.max", 100)]),
        json!([limit("deals.max", 50), { "code": "maps.enabled", "enabled": false }]),
        json!([limit("deals.max", 50), { "code": "maps.enabled", "enabled": true }]),
    ];
    for overrides in small {
        office
            .put(TENANT, json!([limit("deals.max", 0)]))
            .await
            .expect(200);
        office.put(TENANT, overrides).await.expect(200);
    }
    office
        .put(TENANT, json!([limit("deals.max", 50)]))
        .await
        .expect(200);
    for overrides in [
        json!([limit("deals.max", 101)]),
        json!([{ "code": "deals.max", "unlimited": true }]),
        json!([]),
    ] {
        let request = office.ask(overrides).await;
        let cancelled = office.company.decide(&office.requester, &request, "cancel").await;
        cancelled.expect(200);
    }
    office
        .put(TENANT, json!([limit("deals.max", 50), limit("deals.min", 50)]))
        .await
        .expect_code(422, "VALIDATION_FAILED");
}

/// Taking a strict override away is no way around the policy.
#[tokio::test]
async fn what_is_taken_away_counts_by_what_stands_behind_it() {
    let office = Office::gated(json!({ "conditions": large() })).await;
    let member = office.approver.user_id;
    let group = office.company.group(&[&office.approver]).await;
    let group = format!("/v1/admin/entitlements/overrides/group?group_id={group}");
    let user = format!("/v1/admin/entitlements/overrides/user?user_id={member}");
    let off = |code: &str| json!({ "code": code, "enabled": false });
    let strict = json!([limit("deals.max", 50), off("leads.import"), off("maps.enabled")]);
    office.put(TENANT, strict.clone()).await.expect(200);

    // Behind the company's is the plan.
    let waiting = office.put(TENANT, json!([])).await.expect(202);
    assert_eq!(
        waiting["payload"],
        json!({ "scope": "tenant", "changes": "3", "removed": "3", "features_on": "2", "highest_limit": "50000",
                "values": "deals.max=plan, leads.import=plan, maps.enabled=plan" })
    );
    let cancelled = office
        .company
        .decide(&office.requester, &id(&waiting), "cancel")
        .await;
    cancelled.expect(200);
    let partly = json!([limit("deals.max", 50), off("maps.enabled")]);
    office.put(TENANT, partly).await.expect(200);

    // Behind a group's and a user's is the company's, which is small and off.
    for path in [&group, &user] {
        let own = json!([limit("deals.max", 5), off("maps.enabled"), off("tasks.recurring")]);
        office.put(path, own).await.expect(200);
        office.put(path, json!([])).await.expect(200);
        office.put(path, json!([limit("deals.max", 5)])).await.expect(200);
    }
    let request = office.ask(json!([limit("deals.max", 5000)])).await;
    let approved = office.company.approve(&office.approver, &request).await;
    assert_eq!(approved.expect(200)["state"], "approved");

    // Behind a user's are their groups', which are small; once they are gone, the company's.
    office.put(&user, json!([])).await.expect(200);
    office
        .put(&user, json!([limit("deals.max", 5)]))
        .await
        .expect(200);
    let waiting = office.put(&group, json!([])).await.expect(202);
    assert_eq!(waiting["payload"]["highest_limit"], "5000");
    let approved = office.company.approve(&office.approver, &id(&waiting)).await;
    assert_eq!(approved.expect(200)["state"], "approved");
    let waiting = office.put(&user, json!([])).await.expect(202);
    assert_eq!(waiting["payload"]["highest_limit"], "5000");
    assert_eq!(waiting["payload"]["removed"], "1");
}

#[tokio::test]
async fn who_saw_older_overrides_does_not_even_ask() {
    let office =
        Office::gated(json!({ "conditions": { "field": "scope", "op": "eq", "value": "user" } })).await;
    let path = format!(
        "/v1/admin/entitlements/overrides/user?user_id={}",
        office.approver.user_id
    );
    let found = office.admin.get(&office.requester, &path).await;
    let body = json!({ "overrides": [limit("deals.max", 3)] });
    let stale = [("if-match", "\"of-another-day\"")];
    let refused = office
        .admin
        .json(&office.requester, "PUT", &path, &stale, &body)
        .await;
    refused.expect_code(412, "STALE");
    let fresh = [("if-match", found.headers["etag"].as_str())];
    let asked = office
        .admin
        .json(&office.requester, "PUT", &path, &fresh, &body)
        .await;
    asked.expect(202);
    office
        .put(TENANT, json!([limit("deals.max", 3)]))
        .await
        .expect(200);
}

/// What gates is the policy, whatever the plan says of approvals.
#[tokio::test]
async fn switching_approvals_off_waits_for_an_approval_and_opens_no_way_around_them() {
    let office = Office::gated(json!({})).await;
    let off = json!([{ "code": "approvals", "enabled": false },
                     { "code": "approvals.parallelSteps", "enabled": false },
                     limit("approvals.policies.max", 0)]);
    let request = office.ask(off).await;
    let approved = office
        .company
        .approve(&office.approver, &request)
        .await
        .expect(200);
    assert_eq!(approved["state"], "approved");
    let next = office.ask(json!([limit("deals.max", 1)])).await;
    let approved = office.company.approve(&office.approver, &next).await.expect(200);
    assert_eq!(approved["state"], "approved");
}

impl Office {
    /// Takes the policy away, so that what is put next is made at once.
    async fn ungate(&self) {
        let (company, api) = (&self.company, &self.company.approvals);
        let listed = api.get(&company.admin, POLICIES).await.expect(200);
        let policy = format!("{POLICIES}/{}", id(&listed["data"][0]));
        api.delete(&company.admin, &policy).await.expect(204);
    }
}

/// Nobody who approved saw what was set meanwhile, nor that it would go.
#[tokio::test]
async fn an_approval_does_not_undo_what_was_changed_meanwhile() {
    let office = Office::gated(json!({})).await;
    let company = &office.company;
    let request = office.ask(json!([limit("deals.max", 7)])).await;
    office.ungate().await;
    let meanwhile = json!([limit("deals.max", 5), limit("leads.max", 5)]);
    office.put(TENANT, meanwhile).await.expect(200);
    let before = office.overrides().await;
    let failed = company.approve(&office.approver, &request).await.expect(200);
    let reason = "The overrides were changed after this was asked for; look at them and ask again.";
    assert_eq!(
        (&failed["state"], &failed["failure_reason"]),
        (&json!("failed"), &json!(reason))
    );
    assert_eq!((office.overrides().await, office.done().await), (before, 1));
    let mails = company.mails().await;
    for side in [&office.requester, &office.approver] {
        let mut told = mails.iter().filter(|mail| mail.to == email(side));
        assert!(told.any(|mail| mail.text.contains(reason)));
    }
    // Asked for again, it is about what there is.
    office
        .put(TENANT, json!([limit("deals.max", 7)]))
        .await
        .expect(200);
}

#[tokio::test]
async fn what_is_as_it_was_again_does_not_stand_in_the_way() {
    let office = Office::gated(json!({})).await;
    let company = &office.company;
    let request = office.ask(json!([limit("deals.max", 7)])).await;
    office.ungate().await;
    let seats = json!({ "code": "users.max", "unlimited": true });
    for overrides in [json!([limit("leads.max", 5)]), json!([seats])] {
        office.put(TENANT, overrides).await.expect(200);
    }
    let approved = company.approve(&office.approver, &request).await.expect(200);
    assert_eq!(approved["state"], "approved");
    let made = office.overrides().await;
    assert_eq!(made.as_array().unwrap().len(), 1);
    assert_eq!(made[0]["limit_value"], 7);
}

/// Of a request that was stored before it was kept what it replaces.
#[tokio::test]
async fn an_older_request_is_still_carried_out() {
    let office = Office::gated(json!({})).await;
    let request = office.ask(json!([limit("deals.max", 7)])).await;
    let older = "UPDATE approval_requests SET command = command - 'before'
                 WHERE tenant_id = $1 AND id = $2 AND command ? 'before'";
    office.company.sql(older, request.parse().unwrap()).await;
    let approved = office.company.approve(&office.approver, &request).await;
    assert_eq!(approved.expect(200)["state"], "approved");
    assert_eq!(office.overrides().await[0]["limit_value"], 7);
}

#[tokio::test]
async fn conditions_are_about_facts_that_overrides_have() {
    let office = Office::gated(json!({})).await;
    let step = with(
        role("admin"),
        "threshold",
        json!({ "field": "channels", "op": "gt", "value": 1 }),
    );
    let body = json!({ "name": "Typo", "action_code": "entitlement.override", "object_type": "entitlements",
                       "steps": [step] });
    let refused = office
        .company
        .approvals
        .post(&office.company.admin, POLICIES, &body)
        .await;
    let error = refused.expect_code(422, "VALIDATION_FAILED");
    assert_eq!(super::setup::fields(&error), ["steps[0].threshold.field unknown"]);
}
