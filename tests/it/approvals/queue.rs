//! What waits for somebody's decision, among what waits for others.

use super::setup::{Company, POLICIES, REQUESTS, id, kind, role, user};
use crate::support::Login;
use serde_json::{Value, json};
use uuid::Uuid;

/// Requests as this one, of which each is about another contact.
const COPY: &str = "WITH copies AS (
         INSERT INTO approval_requests
         SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(), 'object_id', gen_random_uuid()))).*
         FROM approval_requests r, generate_series(1, 300) WHERE r.tenant_id = $1 AND r.id = $2
         RETURNING tenant_id, id
     )
     INSERT INTO approval_request_steps
     SELECT (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid(), 'request_id', c.id))).*
     FROM copies c, approval_request_steps s WHERE s.tenant_id = $1 AND s.request_id = $2";

async fn to_decide(company: &Company, who: &Login) -> Vec<String> {
    let path = format!("{REQUESTS}?mine=to_decide&limit=20");
    let page = company.approvals.get(who, &path).await.expect(200);
    page["data"].as_array().unwrap().iter().map(id).collect()
}

/// How many requests are looked at one by one to find those that wait for this person.
async fn looked_at(company: &Company, who: &Login) -> i64 {
    let mut admin = company.world.admin_sql().await;
    let tenant = company.world.tenant.0;
    let tx = admin.transaction().await.unwrap();
    tx.batch_execute("SET LOCAL track_functions = 'all'")
        .await
        .unwrap();
    tx.query(
        "SELECT set_config('app.current_tenant_id', $1, true)",
        &[&tenant.to_string()],
    )
    .await
    .unwrap();
    let found = "SELECT app.approvals_to_decide($1, $2)";
    tx.query(found, &[&tenant, &who.user_id]).await.unwrap();
    let calls = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_xact_user_functions WHERE funcname = 'approval_deciders'";
    tx.query_one(calls, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn who_has_little_to_decide_is_not_asked_about_what_waits_for_others() {
    let company = Company::new().await;
    let (sales, finance, boss, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("inventory_manager").await,
        company.user("manager").await,
    );
    let policy = async |steps: Value| {
        let listed = company.approvals.get(&company.admin, POLICIES).await.expect(200);
        for one in listed["data"].as_array().unwrap() {
            let path = format!("{POLICIES}/{}", id(one));
            company.approvals.delete(&company.admin, &path).await.expect(204);
        }
        company.policy(json!({ "steps": steps })).await;
    };
    policy(json!([role("sales_manager")])).await;
    let (_, many) = company.ask(&manager).await;
    let many: Uuid = many.parse().unwrap();
    company.sql(COPY, many).await;
    // Each of these is somebody else's: named, a group's, the manager's of who asks, nobody's.
    policy(json!([user(&finance)])).await;
    let (_, named) = company.ask(&manager).await;
    let board = company.group(&[&finance]).await;
    policy(json!([{ "approver_mode": "group", "approver_ref": board }])).await;
    let (_, grouped) = company.ask(&manager).await;
    company.manages(&boss, &manager).await;
    policy(json!([{ "approver_mode": "dynamic", "approver_ref": "owner.manager" }])).await;
    let (_, reported) = company.ask(&manager).await;
    policy(json!([role("marketing_manager")])).await;
    let (_, nobodys) = company.ask(&manager).await;
    // The only one whom it names asks for it.
    policy(json!([user(&sales)])).await;
    let own = company
        .delete(&sales, &company.contact().await)
        .await
        .expect_code(403, "FORBIDDEN");
    assert_eq!(own["details"]["permission"], "contact.delete");

    assert_eq!(to_decide(&company, &finance).await, [grouped, named]);
    assert_eq!(to_decide(&company, &boss).await, [reported]);
    assert_eq!(to_decide(&company, &company.admin).await, [nobodys]);
    assert_eq!(to_decide(&company, &manager).await, Vec::<String>::new());
    assert_eq!(to_decide(&company, &sales).await.len(), 20);
    for (who, at_most) in [(&finance, 2), (&boss, 1), (&company.admin, 1), (&manager, 0)] {
        assert!(looked_at(&company, who).await <= at_most);
    }
}

#[tokio::test]
async fn what_was_escalated_waits_for_the_manager_too() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    let (sales, boss, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    company.manages(&boss, &sales).await;
    let (_, request) = company.ask(&manager).await;
    assert_eq!(to_decide(&company, &boss).await, Vec::<String>::new());
    let escalate =
        "UPDATE approval_request_steps SET escalated_at = now() WHERE tenant_id = $1 AND request_id = $2";
    company.sql(escalate, request.parse().unwrap()).await;
    assert_eq!(to_decide(&company, &boss).await, [request.as_str()]);
    assert_eq!(to_decide(&company, &sales).await, [request.as_str()]);
    assert_eq!(to_decide(&company, &company.admin).await, Vec::<String>::new());
    let leave = "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND id = $2";
    company.sql(leave, boss.user_id).await;
    assert_eq!(to_decide(&company, &company.admin).await, [request.as_str()]);
}

#[tokio::test]
async fn whoever_approved_is_asked_again_when_the_others_have_left() {
    let company = Company::gated(json!([kind("parallel", role("sales_manager"))])).await;
    let (one, two, manager) = (
        company.user("sales_manager").await,
        company.user("sales_manager").await,
        company.user("manager").await,
    );
    let (contact, request) = company.ask(&manager).await;
    company.approve(&one, &request).await.expect(200);
    assert_eq!(to_decide(&company, &one).await, Vec::<String>::new());
    let leave = "UPDATE users SET status = 'deactivated' WHERE tenant_id = $1 AND id = $2";
    company.sql(leave, two.user_id).await;
    assert_eq!(to_decide(&company, &one).await, [request.as_str()]);
    company.approve(&one, &request).await.expect(200);
    assert!(!company.is_there(&contact).await);
}
