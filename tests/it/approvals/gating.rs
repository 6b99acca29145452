//! What is gated, what is not, and what a request keeps.

use super::setup::{Company, POLICIES, REQUESTS, id, kind, role, user, with};
use futures::future::join_all;
use serde_json::{Value, json};

#[tokio::test]
async fn without_a_policy_in_force_a_contact_goes_at_once() {
    let company = Company::new().await;
    let manager = company.user("manager").await;
    company.policy(json!({ "active": false })).await;
    company
        .policy(json!({ "action_code": "entitlement.override", "object_type": "entitlements" }))
        .await;
    company
        .policy(json!({ "conditions": { "field": "channels", "op": "gt", "value": 0 } }))
        .await;
    let never = with(
        role("sales_manager"),
        "threshold",
        json!({ "field": "lifecycle_stage", "op": "eq", "value": "lost" }),
    );
    company.policy(json!({ "steps": [never] })).await;
    let contact = company.contact().await;
    company.delete(&manager, &contact).await.expect(204);
    company
        .delete(&manager, &contact)
        .await
        .expect_code(404, "NOT_FOUND");
    assert_eq!(
        company
            .count("SELECT count(*) FROM approval_requests WHERE tenant_id = $1")
            .await,
        0
    );
}

#[tokio::test]
async fn a_gated_deletion_waits_and_says_for_what() {
    let company = Company::new().await;
    let approver = company.user("sales_manager").await;
    company
        .policy(json!({ "conditions": { "all": [
            { "field": "channels", "op": "gte", "value": "1" },
            { "field": "lifecycle_stage", "op": "eq", "value": "prospect" },
            { "field": "owner_user_id", "op": "eq", "value": company.admin.user_id } ] } }))
        .await;
    let manager = company.user("manager").await;
    let with = json!({ "lifecycle_stage": "prospect", "owner_user_id": company.admin.user_id,
                       "channels": [{ "type": "email", "value": format!("{}@example.com", testkit::unique()) }] });
    let contact = company.contact_with(with).await;
    let waiting = company.delete(&manager, &contact).await.expect(202);
    assert_eq!(
        waiting["payload"],
        json!({ "channels": "1", "lifecycle_stage": "prospect", "owner_user_id": company.admin.user_id })
    );
    assert_eq!(
        (
            &waiting["action_code"],
            &waiting["object_type"],
            &waiting["object_id"]
        ),
        (&json!("contact.delete"), &json!("contact"), &json!(contact))
    );
    assert_eq!(waiting["requester_user_id"], json!(manager.user_id));
    assert!(company.is_there(&contact).await);
    let found = company.request(&id(&waiting)).await;
    assert_eq!(found["steps"][0]["state"], "open");
    assert_eq!(company.deciders(&id(&waiting)).await, [approver.user_id]);
    assert_eq!(company.events(&id(&waiting)).await, ["approval.requested"]);
    let mails = company.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, super::setup::email(&approver));
    assert!(
        mails[0]
            .text
            .contains(&format!("https://app.test/approvals/requests/{}", id(&waiting)))
    );
}

#[tokio::test]
async fn the_same_action_waits_once_also_when_asked_for_at_once() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    company.user("sales_manager").await;
    let (one, other) = (company.user("manager").await, company.user("manager").await);
    let contact = company.contact().await;
    let asked =
        join_all((0..6).map(|n| company.delete(if n % 2 == 0 { &one } else { &other }, &contact))).await;
    let (waiting, refused): (Vec<_>, Vec<_>) = asked.into_iter().partition(|answer| answer.status == 202);
    assert_eq!(waiting.len(), 1);
    let pending = waiting[0].json()["id"].clone();
    for answer in refused {
        let error = answer.expect_code(409, "DUPLICATE");
        assert_eq!(error["details"]["approval_request_id"], pending);
    }
    assert_eq!(
        company
            .count("SELECT count(*) FROM approval_requests WHERE tenant_id = $1")
            .await,
        1
    );
    assert_eq!(
        company
            .count("SELECT count(*) FROM approval_request_steps WHERE tenant_id = $1")
            .await,
        1
    );
    // and again once it is over
    company.decide(&one, pending.as_str().unwrap(), "cancel").await;
    company.decide(&other, pending.as_str().unwrap(), "cancel").await;
    company.delete(&one, &contact).await.expect(202);
}

#[tokio::test]
async fn a_contact_that_is_not_there_is_not_waited_for() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    let missing = testkit::unique().to_string();
    company
        .delete(&company.admin, &missing)
        .await
        .expect_code(404, "NOT_FOUND");
}

#[tokio::test]
async fn what_nobody_could_approve_is_refused_at_once() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    let contact = company.contact().await;
    company
        .delete(&company.admin, &contact)
        .await
        .expect_code(409, "CONFLICT");
    assert!(company.is_there(&contact).await);
    assert_eq!(
        company
            .count("SELECT count(*) FROM approval_requests WHERE tenant_id = $1")
            .await,
        0
    );
    company.user("super_admin").await;
    company.delete(&company.admin, &contact).await.expect(202);
}

/// Also later: a request would get through the first steps and then wait for ever.
#[tokio::test]
async fn a_step_that_nobody_could_approve_is_refused_at_once() {
    let company = Company::new().await;
    company.user("sales_manager").await;
    let (mine, theirs) = (user(&company.admin), role("sales_manager"));
    for steps in [
        json!([
            kind("sequential", theirs.clone()),
            kind("sequential", mine.clone())
        ]),
        json!([kind("parallel", theirs.clone()), kind("parallel", mine.clone())]),
        json!([
            kind("sequential", theirs.clone()),
            kind("sequential", theirs.clone()),
            kind("flat", mine.clone())
        ]),
    ] {
        let made = company.policy(json!({ "steps": steps })).await;
        let contact = company.contact().await;
        company
            .delete(&company.admin, &contact)
            .await
            .expect_code(409, "CONFLICT");
        let path = format!("{POLICIES}/{}", id(&made));
        company.approvals.delete(&company.admin, &path).await.expect(204);
    }
    let kept = "SELECT count(*) FROM approval_requests WHERE tenant_id = $1";
    assert_eq!(company.count(kept).await, 0);
    // Of flat steps one is enough, and the others are nobody's to wait for.
    company.policy(json!({ "steps": [theirs, mine] })).await;
    let contact = company.contact().await;
    let waiting = company.delete(&company.admin, &contact).await.expect(202);
    assert_eq!(company.mails().await.len(), 1, "{waiting}");
}

#[tokio::test]
async fn a_program_is_told_that_a_person_has_to_ask() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    company.user("sales_manager").await;
    let key = testkit::unique();
    let token = kernel::ApiKeyToken::generate(company.world.tenant, key).unwrap();
    let admin = company.world.admin_sql().await;
    let insert = "INSERT INTO api_keys (tenant_id, id, name, prefix, secret_hash, scopes, created_at)
                  VALUES ($1, $2, 'k', 'm3k', $3, '{contact.delete,approvals.decide,approvals.requests.read}', now())";
    let hash = token.hash().to_vec();
    admin
        .execute(insert, &[&company.world.tenant.0, &key, &hash])
        .await
        .unwrap();
    let bearer = format!("Bearer {}", token.expose());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let path = format!("/v1/contacts/{}", company.contact().await);
    let refused = company.contacts.call("DELETE", &path, &headers, "").await;
    refused.expect_code(403, "FORBIDDEN");
    company.contacts.get(&company.admin, &path).await.expect(200);
    let (_, request) = company.ask(&company.admin).await;
    for (method, path) in [
        ("POST", format!("{REQUESTS}/{request}/approve")),
        ("POST", format!("{REQUESTS}/{request}/cancel")),
        ("GET", format!("{REQUESTS}?mine=to_decide")),
    ] {
        let refused = company.approvals.call(method, &path, &headers, "{}").await;
        refused.expect_code(403, "FORBIDDEN");
    }
    let listed = company.approvals.call("GET", REQUESTS, &headers, "").await;
    assert_eq!(listed.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_keeps_its_steps_whatever_becomes_of_the_policy() {
    let company = Company::new().await;
    let (first, second, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    let steps = json!([
        kind("sequential", role("sales_manager")),
        kind("sequential", role("finance_manager"))
    ]);
    for change in ["changed", "disabled", "deleted"] {
        let made = company.policy(json!({ "steps": steps })).await;
        let path = format!("{POLICIES}/{}", id(&made));
        let (contact, request) = company.ask(&manager).await;
        match change {
            "changed" => {
                let other = json!({ "steps": [user(&manager)], "self_approval_allowed": true,
                                    "conditions": { "field": "channels", "op": "eq", "value": 9 } });
                company
                    .approvals
                    .patch(&company.admin, &path, &other)
                    .await
                    .expect(200);
            }
            "disabled" => {
                let off = json!({ "active": false });
                company
                    .approvals
                    .patch(&company.admin, &path, &off)
                    .await
                    .expect(200);
            }
            _ => {
                company.approvals.delete(&company.admin, &path).await.expect(204);
            }
        }
        company
            .approve(&manager, &request)
            .await
            .expect_code(403, "FORBIDDEN");
        company.approve(&first, &request).await.expect(200);
        assert!(company.is_there(&contact).await, "{change}");
        let done = company.approve(&second, &request).await.expect(200);
        assert_eq!(done["state"], "approved", "{change}");
        assert!(!company.is_there(&contact).await, "{change}");
        // and what is asked for now goes by the policy as it is now
        let contact = company.contact().await;
        company.delete(&manager, &contact).await.expect(204);
        if change == "changed" {
            company.approvals.delete(&company.admin, &path).await.expect(204);
        }
    }
}

#[tokio::test]
async fn all_policies_that_match_must_approve() {
    let company = Company::new().await;
    let (sales, finance, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    company
        .policy(json!({ "name": "First", "steps": [role("sales_manager")] }))
        .await;
    company
        .policy(json!({ "name": "Second", "steps": [role("finance_manager")] }))
        .await;
    company
        .policy(json!({ "name": "Never", "conditions": { "field": "channels", "op": "gt", "value": 5 } }))
        .await;
    let (contact, request) = company.ask(&manager).await;
    let steps = company.request(&request).await["steps"].clone();
    let of = |field: &str| -> Vec<Value> {
        steps
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step[field].clone())
            .collect()
    };
    assert_eq!(of("policy_name"), ["First", "Second"]);
    assert_eq!(
        of("stage"),
        [1, 2],
        "two flat steps of two policies are two stages"
    );
    company
        .approve(&finance, &request)
        .await
        .expect_code(403, "FORBIDDEN");
    let after = company.approve(&sales, &request).await.expect(200);
    assert_eq!(
        (&after["state"], &after["current_step"]),
        (&json!("pending"), &json!(2))
    );
    company.approve(&finance, &request).await.expect(200);
    assert!(!company.is_there(&contact).await);
}

#[tokio::test]
async fn requests_are_listed_by_state_action_object_and_what_they_have_to_do_with_me() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    let (approver, manager, other) = (
        company.user("sales_manager").await,
        company.user("manager").await,
        company.user("manager").await,
    );
    let (_, rejected) = company.ask(&manager).await;
    company.decide(&approver, &rejected, "reject").await.expect(200);
    let (contact, mine) = company.ask(&manager).await;
    let (_, others) = company.ask(&other).await;
    let list = async |by: &crate::support::Login, query: &str| -> Vec<String> {
        let page = company
            .approvals
            .get(by, &format!("{REQUESTS}{query}"))
            .await
            .expect(200);
        page["data"].as_array().unwrap().iter().map(id).collect()
    };
    assert_eq!(
        list(&manager, "").await,
        [&others, &mine, &rejected].map(String::clone)
    );
    assert_eq!(list(&manager, "?state=rejected").await, [rejected.as_str()]);
    assert_eq!(
        list(&manager, "?mine=requested").await,
        [mine.clone(), rejected.clone()]
    );
    assert_eq!(list(&manager, "?mine=to_decide").await, Vec::<String>::new());
    assert_eq!(
        list(&approver, "?mine=to_decide").await,
        [others.clone(), mine.clone()]
    );
    assert_eq!(
        list(&manager, &format!("?object_id={contact}")).await,
        [mine.as_str()]
    );
    assert_eq!(
        list(
            &manager,
            "?action_code=contact.delete&object_type=contact&limit=2"
        )
        .await,
        [others.clone(), mine]
    );
    assert_eq!(
        list(&manager, "?action_code=entitlement.override").await,
        Vec::<String>::new()
    );
    for bad in [
        "?state=done",
        "?mine=yes",
        "?object_id=1",
        "?sort=title",
        "?limit=0",
    ] {
        let refused = company.approvals.get(&manager, &format!("{REQUESTS}{bad}")).await;
        refused.expect_code(422, "VALIDATION_FAILED");
    }
    // a page at a time
    let page = company
        .approvals
        .get(&manager, &format!("{REQUESTS}?limit=1"))
        .await
        .expect(200);
    let next = format!(
        "{REQUESTS}?limit=1&cursor={}",
        page["next_cursor"].as_str().unwrap()
    );
    let page = company.approvals.get(&manager, &next).await.expect(200);
    assert_eq!(page["data"][0]["requester_user_id"], json!(manager.user_id));
}
