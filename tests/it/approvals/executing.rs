//! What was approved is done once, as the requester, or not at all.

use super::setup::{Company, REQUESTS, email, kind, role};
use crate::support::Login;
use futures::future::join_all;
use serde_json::{Value, json};

async fn company() -> (Company, Login, Login) {
    let company = Company::gated(json!([role("sales_manager")])).await;
    let (approver, manager) = (company.user("sales_manager").await, company.user("manager").await);
    (company, approver, manager)
}

#[tokio::test]
async fn last_approvals_that_come_at_once_carry_it_out_once() {
    for _ in 0..3 {
        let steps = json!([kind("parallel", role("sales_manager"))]);
        let company = Company::gated(steps).await;
        let manager = company.user("manager").await;
        let mut approvers = Vec::new();
        for _ in 0..4 {
            approvers.push(company.user("sales_manager").await);
        }
        let (contact, request) = company.ask(&manager).await;
        let answers = join_all(
            approvers
                .iter()
                .map(|approver| company.approve(approver, &request)),
        )
        .await;
        for answer in answers {
            answer.expect(200);
        }
        let found = company.request(&request).await;
        assert_eq!(
            (&found["state"], found["actions"].as_array().unwrap().len()),
            (&json!("approved"), 4)
        );
        assert!(!company.is_there(&contact).await);
        let done = "SELECT count(*) FROM event_outbox WHERE tenant_id = $1 AND type = 'contact.deleted'";
        assert_eq!(company.count(done).await, 1);
        let told = company
            .mails()
            .await
            .into_iter()
            .filter(|mail| mail.to == email(&manager));
        assert_eq!(told.count(), 1);
    }
}

#[tokio::test]
async fn an_approval_that_is_repeated_does_nothing_more() {
    let (company, approver, manager) = company().await;
    let (_, request) = company.ask(&manager).await;
    let path = format!("{REQUESTS}/{request}/approve");
    let key = [("idempotency-key", "approve-once")];
    let first = company
        .approvals
        .json(&approver, "POST", &path, &key, &json!({}))
        .await;
    let second = company
        .approvals
        .json(&approver, "POST", &path, &key, &json!({}))
        .await;
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(first.expect(200), second.expect(200));
    company
        .approve(&approver, &request)
        .await
        .expect_code(409, "CONFLICT");
    let at_once = join_all((0..4).map(|_| company.approve(&approver, &request))).await;
    assert!(at_once.iter().all(|answer| answer.status == 409));
    let done = "SELECT count(*) FROM event_outbox WHERE tenant_id = $1 AND type IN ('contact.deleted', 'approval.executed')";
    assert_eq!(company.count(done).await, 2);
}

#[tokio::test]
async fn the_deed_is_the_requesters_and_the_approval_the_approvers() {
    let (company, approver, manager) = company().await;
    let (contact, request) = company.ask(&manager).await;
    company.approve(&approver, &request).await.expect(200);
    let admin = company.world.admin_sql().await;
    let select = "SELECT action, actor_user_id FROM audit_logs WHERE tenant_id = $1
                  AND (entity_id = $2 OR entity_type IN ('approval.request', 'approval.action')) ORDER BY seq";
    let params: [&(dyn db::ToSql + Sync); 2] =
        [&company.world.tenant.0, &contact.parse::<uuid::Uuid>().unwrap()];
    let rows = admin.query(select, &params).await.unwrap();
    let lines: Vec<(String, Option<uuid::Uuid>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let line = |action: &str, by: &Login| (action.to_owned(), Some(by.user_id));
    assert_eq!(
        lines,
        [
            line("contact.created", &company.admin),
            line("approval.request.created", &manager),
            line("contact.updated", &manager),
            line("approval.action.created", &approver),
            line("approval.request.updated", &approver),
        ]
    );
    let caller = testkit::TestDb::system(company.world.tenant);
    let broken = company.world.test.db.read(&caller, async |tx| {
        tx.query_one("SELECT app.audit_chain_break()", &[]).await
    });
    assert_eq!(broken.await.unwrap().get::<_, Option<i64>>(0), None);
}

/// The last approval of what can't be done any more: reported to both sides, and nothing done.
async fn fails(company: &Company, approver: &Login, manager: &Login, contact: &str, request: &str) -> Value {
    let before = company.mails().await.len();
    let failed = company.approve(approver, request).await.expect(200);
    assert_eq!(failed["state"], "failed");
    assert!(failed["executed_at"].is_null() && failed["decided_at"].is_string());
    assert_eq!(failed["steps"][0]["state"], "approved");
    let told: Vec<String> = company
        .mails()
        .await
        .into_iter()
        .skip(before)
        .map(|mail| mail.to)
        .collect();
    let active = "SELECT count(*) FROM users WHERE tenant_id = $1 AND status = 'active'";
    let requester_is_active = company.count(active).await == 3;
    assert!(told.contains(&email(approver)));
    assert_eq!(told.contains(&email(manager)), requester_is_active);
    assert_eq!(
        company.events(request).await,
        ["approval.requested", "approval.decided", "approval.failed"]
    );
    let deeds = "SELECT count(*) FROM event_outbox WHERE tenant_id = $1 AND type = 'contact.deleted'";
    let there = company.is_there(contact).await;
    assert_eq!(
        company.count(deeds).await,
        i64::from(!there),
        "only what somebody else did"
    );
    company
        .approve(approver, request)
        .await
        .expect_code(409, "CONFLICT");
    failed["failure_reason"].clone()
}

#[tokio::test]
async fn a_requester_who_is_suspended_meanwhile_gets_nothing_done() {
    let (company, approver, manager) = company().await;
    let (contact, request) = company.ask(&manager).await;
    company
        .sql(
            "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND id = $2",
            manager.user_id,
        )
        .await;
    let reason = fails(&company, &approver, &manager, &contact, &request).await;
    assert_eq!(reason, "The requester's account is not active any more.");
    assert!(company.is_there(&contact).await);
}

#[tokio::test]
async fn a_requester_who_lost_the_permission_meanwhile_gets_nothing_done() {
    let (company, approver, manager) = company().await;
    let (contact, request) = company.ask(&manager).await;
    company
        .sql(
            "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2",
            manager.user_id,
        )
        .await;
    let reason = fails(&company, &approver, &manager, &contact, &request).await;
    assert_eq!(
        reason,
        "The requester does not hold the permission for this any more."
    );
    assert!(company.is_there(&contact).await);
}

#[tokio::test]
async fn an_object_that_is_gone_meanwhile_fails_the_request() {
    let (company, approver, manager) = company().await;
    let (contact, request) = company.ask(&manager).await;
    let policy = company
        .approvals
        .get(&company.admin, super::setup::POLICIES)
        .await
        .expect(200);
    let path = format!(
        "{}/{}",
        super::setup::POLICIES,
        policy["data"][0]["id"].as_str().unwrap()
    );
    company.approvals.delete(&company.admin, &path).await.expect(204);
    company.delete(&company.admin, &contact).await.expect(204);
    let reason = fails(&company, &approver, &manager, &contact, &request).await;
    assert_eq!(reason, "There is no such record.");
    let found = company.request(&request).await;
    assert_eq!(
        (&found["state"], &found["failure_reason"]),
        (&json!("failed"), &reason)
    );
}

#[tokio::test]
async fn a_fault_of_ours_leaves_the_request_waiting() {
    let (company, approver, manager) = company().await;
    let (contact, request) = company.ask(&manager).await;
    let stored =
        "UPDATE approval_requests SET command = '{\"action\": \"unknown\"}' WHERE tenant_id = $1 AND id = $2";
    let request_id = request.parse().unwrap();
    company.sql(stored, request_id).await;
    company
        .approve(&approver, &request)
        .await
        .expect_code(500, "INTERNAL");
    let found = company.request(&request).await;
    assert_eq!(
        (&found["state"], &found["actions"]),
        (&json!("pending"), &json!([]))
    );
    let stored = format!("UPDATE approval_requests SET command = '{{\"action\": \"contact.delete\", \"contact_id\": \"{contact}\"}}'
                          WHERE tenant_id = $1 AND id = $2");
    company.sql(&stored, request_id).await;
    company.approve(&approver, &request).await.expect(200);
    assert!(!company.is_there(&contact).await);
}

#[tokio::test]
async fn approvals_and_changes_of_the_object_at_once_wait_for_each_other_and_end() {
    let (company, approver, manager) = company().await;
    for round in 0..10 {
        let (contact, request) = company.ask(&manager).await;
        let path = format!("/v1/contacts/{contact}");
        let (first, second) = (
            json!({ "job_title": format!("{round}") }),
            json!({ "last_name": format!("{round}") }),
        );
        let (approved, one, two) = futures::join!(
            company.approve(&approver, &request),
            company.contacts.patch(&company.admin, &path, &first),
            company.contacts.patch(&manager, &path, &second),
        );
        approved.expect(200);
        for changed in [one, two] {
            assert!([200, 404].contains(&changed.status), "{}", changed.text);
        }
        assert!(!company.is_there(&contact).await);
    }
}

#[tokio::test]
async fn a_requester_who_owes_a_second_factor_or_a_phone_by_now_gets_nothing_done() {
    for (others, owed, reason) in [
        (
            "UPDATE users SET twofa_methods = '{totp}' WHERE tenant_id = $1 AND id <> $2",
            "UPDATE tenants SET twofa_required_from = now() - interval '1 day' WHERE id = $1 AND $2::uuid IS NOT NULL",
            "The requester has to set up a second factor first.",
        ),
        (
            "UPDATE users SET phone_verified_at = now() WHERE tenant_id = $1 AND id <> $2",
            "UPDATE tenants SET phone_required_from = now() - interval '1 day' WHERE id = $1 AND $2::uuid IS NOT NULL",
            "The requester has to verify a phone first.",
        ),
    ] {
        let (company, approver, manager) = company().await;
        let (contact, request) = company.ask(&manager).await;
        company.sql(others, manager.user_id).await;
        company.sql(owed, manager.user_id).await;
        let failed = fails(&company, &approver, &manager, &contact, &request).await;
        assert_eq!(failed, reason);
        assert!(company.is_there(&contact).await);
        let link = format!("https://app.test/approvals/requests/{request}");
        let told = company.mails().await;
        assert!(told.last().unwrap().text.contains(&link), "the link leads there");
    }
}
