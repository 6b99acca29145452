//! A role or group that has to approve something stays until it has not.

use super::setup::{Company, POLICIES, id, role};
use crate::support::{Answer, Api};
use serde_json::{Value, json};

/// A company whose admin function also is called.
struct Office {
    company: Company,
    administration: Api,
}

impl Office {
    async fn new() -> Self {
        let company = Company::new().await;
        Self {
            administration: company.world.administration(),
            company,
        }
    }

    async fn make(&self, what: &str) -> Value {
        let code = format!("n{}", testkit::unique().simple());
        let body = json!({ "name": "Buyers", "code": code });
        let path = format!("/v1/admin/{what}");
        let made = self.administration.post(&self.company.admin, &path, &body).await;
        made.expect(201)
    }

    async fn delete(&self, what: &str, made: &Value) -> Answer {
        let path = format!("/v1/admin/{what}/{}", id(made));
        self.administration.delete(&self.company.admin, &path).await
    }

    async fn archive(&self, policy: &Value) {
        let path = format!("{POLICIES}/{}", id(policy));
        let company = &self.company;
        company.approvals.delete(&company.admin, &path).await.expect(204);
    }

    async fn steps_without_approver(&self) -> i64 {
        let sql = "SELECT count(*) FROM approval_steps s
            JOIN approval_policies p ON p.tenant_id = s.tenant_id AND p.id = s.policy_id
            WHERE s.tenant_id = $1 AND p.archived_at IS NULL
              AND coalesce(s.approver_role_id, s.approver_group_id, s.approver_user_id) IS NULL";
        self.company.count(sql).await
    }
}

fn step(what: &str, made: &Value) -> Value {
    match what {
        "roles" => role(made["code"].as_str().unwrap()),
        _ => json!({ "approver_mode": "group", "approver_ref": made["id"] }),
    }
}

#[tokio::test]
async fn a_role_or_group_that_a_policy_names_can_not_be_deleted() {
    let office = Office::new().await;
    for what in ["roles", "groups"] {
        let made = office.make(what).await;
        let (one, two) = (step(what, &made), role("manager"));
        let policy = office
            .company
            .policy(json!({ "steps": [one.clone(), two.clone(), one] }))
            .await;
        let error = office.delete(what, &made).await.expect_code(409, "CONFLICT");
        assert_eq!(error["details"], json!({ "approval_steps": 2 }), "{what}");
        assert_eq!(office.steps_without_approver().await, 0);

        // Without it in the steps, or without the policy, it may go.
        let path = format!("{POLICIES}/{}", id(&policy));
        let company = &office.company;
        company
            .approvals
            .patch(&company.admin, &path, &json!({ "steps": [two] }))
            .await
            .expect(200);
        office.delete(what, &made).await.expect(204);
        let made = office.make(what).await;
        company
            .approvals
            .patch(
                &company.admin,
                &path,
                &json!({ "steps": [step(what, &made)], "active": false }),
            )
            .await
            .expect(200);
        office.delete(what, &made).await.expect_code(409, "CONFLICT");
        office.archive(&policy).await;
        office.delete(what, &made).await.expect(204);
    }
}

#[tokio::test]
async fn a_role_or_group_that_a_request_waits_for_can_not_be_deleted() {
    let office = Office::new().await;
    let company = &office.company;
    let manager = company.user("manager").await;
    for what in ["roles", "groups"] {
        let made = office.make(what).await;
        let policy = company.policy(json!({ "steps": [step(what, &made)] })).await;
        let (_, request) = company.ask(&manager).await;
        office.archive(&policy).await;
        let error = office.delete(what, &made).await.expect_code(409, "CONFLICT");
        assert_eq!(error["details"], json!({ "approval_steps": 1 }), "{what}");
        company.approve(&company.admin, &request).await.expect(200);
        office.delete(what, &made).await.expect(204);
    }
}

#[tokio::test]
async fn another_companys_policies_hold_nothing_here() {
    let (office, other) = (Office::new().await, Office::new().await);
    let made = office.make("groups").await;
    let theirs = other.make("groups").await;
    other
        .company
        .policy(json!({ "steps": [step("groups", &theirs)] }))
        .await;
    office.delete("groups", &made).await.expect(204);
    other.delete("groups", &theirs).await.expect_code(409, "CONFLICT");
}

/// Named and deleted at once, one of the two is too late.
#[tokio::test(flavor = "multi_thread")]
async fn no_policy_names_what_is_just_being_deleted() {
    let office = Office::new().await;
    let company = &office.company;
    for at in 0..10 {
        let what = ["roles", "groups"][at % 2];
        let made = office.make(what).await;
        let body = super::setup::policy(json!({ "steps": [step(what, &made)] }));
        let (named, deleted) = futures::join!(
            company.approvals.post(&company.admin, POLICIES, &body),
            office.delete(what, &made)
        );
        match (named.status, deleted.status) {
            (201, 409) => office.archive(&named.json()).await,
            (404, 204) => {}
            (named, deleted) => panic!("{what}: {named} {deleted}"),
        }
        assert_eq!(office.steps_without_approver().await, 0);
    }
}
