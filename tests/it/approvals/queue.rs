//! What waits for somebody's decision, among what waits for others.

use super::setup::{Company, POLICIES, REQUESTS, dynamic, id, kind, role, user, with};
use crate::support::Login;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Requests as this one, of which each is about another contact.
const COPY: &str = "WITH copies AS (
         INSERT INTO approval_requests
         SELECT (jsonb_populate_record(r, jsonb_build_object(
                    'id', gen_random_uuid(), 'object_id', gen_random_uuid(),
                    'created_at', r.created_at - interval '2 hours'))).*
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

/// How often the database works out who may decide something, who holds a role and who may do what, to find
/// what waits for this person.
async fn questions(company: &Company, who: &Login) -> i64 {
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
    let calls = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_xact_user_functions
                 WHERE funcname IN ('approval_deciders', 'approvers_able', 'approvers_named', 'holders_of_role',
                                    'roles_held', 'user_may')";
    tx.query_one(calls, &[]).await.unwrap().get(0)
}

/// What waits for this person, asked of one request after the other.
const ONE_BY_ONE: &str = "SELECT r.id FROM approval_requests r
    WHERE r.tenant_id = $1 AND r.state = 'pending' AND EXISTS (
        WITH decider AS (
            SELECT d.*, said.user_ids, d.user_id = ANY (said.user_ids) AS has_decided
            FROM app.approval_deciders($1, r.id) d
            CROSS JOIN LATERAL (SELECT ARRAY(
                SELECT a.approver_user_id FROM approval_actions a
                WHERE a.tenant_id = $1 AND a.request_id = r.id AND a.step_seq = d.step_seq) AS user_ids) said)
        SELECT FROM decider mine WHERE mine.user_id = $2 AND (NOT mine.has_decided OR NOT EXISTS (
            SELECT FROM decider other WHERE NOT other.has_decided AND (NOT other.escalated OR other.user_ids = '{}'))))";

/// Asserts that everybody's queue is what one request after the other says; returns how much waits in all.
async fn queues_are_right(company: &Company) -> usize {
    let admin = company.world.admin_sql().await;
    let tenant = company.world.tenant.0;
    let people = "SELECT id FROM users WHERE tenant_id = $1";
    let mut waiting = 0;
    for person in admin.query(people, &[&tenant]).await.unwrap() {
        let person: Uuid = person.get(0);
        let params: [&(dyn db::ToSql + Sync); 2] = [&tenant, &person];
        let ids = async |sql: &str| -> BTreeSet<Uuid> {
            let rows = admin.query(sql, &params).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        };
        let queue = ids("SELECT app.approvals_to_decide($1, $2)").await;
        assert_eq!(queue, ids(ONE_BY_ONE).await, "of {person}");
        waiting += queue.len();
    }
    waiting
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
    for who in [&finance, &boss, &manager, &sales, &company.admin] {
        let asked = questions(&company, who).await;
        assert!(asked < 60, "{asked} for {}", who.user_id);
    }
}

/// Three hundred that somebody has approved and others have not, and then three hundred to approve again.
#[tokio::test]
async fn who_has_much_to_decide_is_asked_once_for_all_that_name_the_same() {
    let company = Company::gated(json!([kind("parallel", role("sales_manager"))])).await;
    let (one, two, manager) = (
        company.user("sales_manager").await,
        company.user("sales_manager").await,
        company.user("manager").await,
    );
    let (_, request) = company.ask(&manager).await;
    company.sql(COPY, request.parse().unwrap()).await;
    let approve = "INSERT INTO approval_actions (tenant_id, id, request_id, step_seq, approver_user_id, decision, created_at)
        SELECT tenant_id, gen_random_uuid(), id, 1, $2, 'approve', now() FROM approval_requests WHERE tenant_id = $1";
    company.sql(approve, one.user_id).await;
    let late = "UPDATE approval_request_steps SET escalated_at = now() WHERE tenant_id = $1 AND $2::uuid IS NOT NULL";
    let leave = "UPDATE users SET status = 'deactivated' WHERE tenant_id = $1 AND id = $2";
    let bounded = async || {
        for who in [&one, &two, &manager, &company.admin] {
            let asked = questions(&company, who).await;
            assert!(asked < 60, "{asked} for {}", who.user_id);
        }
    };
    assert_eq!(
        (
            to_decide(&company, &one).await.len(),
            to_decide(&company, &two).await.len()
        ),
        (0, 20)
    );
    bounded().await;
    company.sql(late, one.user_id).await;
    assert_eq!(to_decide(&company, &company.admin).await.len(), 20);
    bounded().await;
    company.sql(leave, two.user_id).await;
    assert_eq!(to_decide(&company, &one).await.len(), 20, "nobody else is left");
    bounded().await;
}

#[tokio::test]
async fn however_steps_and_people_come_together_the_queue_is_what_each_request_says() {
    let company = Company::new().await;
    let (sales, finance, boss, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("inventory_manager").await,
        company.user("manager").await,
    );
    let board = company.group(&[&sales, &finance]).await;
    company.user("super_admin").await;
    company.manages(&boss, &sales).await;
    company.manages(&sales, &manager).await;
    let group = json!({ "approver_mode": "group", "approver_ref": board });
    let empty = json!({ "approver_mode": "group", "approver_ref": company.group(&[]).await });
    let shapes = [
        json!([role("sales_manager"), user(&finance)]),
        json!([
            kind("parallel", group.clone()),
            kind("parallel", role("finance_manager"))
        ]),
        json!([kind("parallel", group.clone()), kind("parallel", empty.clone())]),
        json!([
            with(kind("parallel", group), "quorum", json!(1)),
            kind("parallel", dynamic("owner.manager"))
        ]),
        json!([
            kind("sequential", empty),
            kind("sequential", role("sales_manager"))
        ]),
        json!([
            kind("parallel", role("super_admin")),
            kind("parallel", role("admin"))
        ]),
    ];
    let late = "UPDATE approval_request_steps SET escalated_at = now() WHERE tenant_id = $1 AND request_id = $2 AND state = 'open'";
    for (at, steps) in shapes.into_iter().enumerate() {
        let made = company
            .policy(json!({ "steps": steps, "self_approval_allowed": at % 2 == 0 }))
            .await;
        for asks in [&manager, &company.admin] {
            for (escalated, approves) in [
                (false, None),
                (false, Some(&sales)),
                (true, Some(&finance)),
                (true, Some(&boss)),
            ] {
                let (_, request) = company.ask(asks).await;
                if escalated {
                    company.sql(late, request.parse().unwrap()).await;
                }
                if let Some(who) = approves {
                    let answer = company.approve(who, &request).await;
                    assert!([200, 403].contains(&answer.status), "{answer:?}");
                }
            }
        }
        let path = format!("{POLICIES}/{}", id(&made));
        company.approvals.delete(&company.admin, &path).await.expect(204);
    }
    assert!(queues_are_right(&company).await > 50);
    let change = "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND id = $2";
    for leaves in [&finance, &sales] {
        company.sql(change, leaves.user_id).await;
    }
    assert!(queues_are_right(&company).await > 30);
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
