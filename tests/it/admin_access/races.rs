//! Requests at the same moment.

use super::setup::{Company, ROLES, TREE, edge, of, roles_of, text};
use futures::future::{join, join_all};
use identity::user_role::{self, ChangeRoles};
use serde_json::json;
use std::sync::Arc;
use testkit::TestDb;
use tokio::sync::Barrier;

#[tokio::test]
async fn edges_that_close_a_cycle_together_do_not_both_come_in() {
    let company = Company::new().await;
    for _ in 0..10 {
        let (one, two) = (company.role(&[]).await, company.role(&[]).await);
        let (there, back) = (edge(&one, &two), edge(&two, &one));
        let answers = join(
            company.api.post(&company.me, TREE, &there),
            company.api.post(&company.me, TREE, &back),
        )
        .await;
        let mut statuses = [answers.0.status, answers.1.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{answers:?}");
    }
    // and a ring of many
    let mut roles = Vec::new();
    for _ in 0..6 {
        roles.push(company.role(&[]).await);
    }
    let ring: Vec<_> = (0..6).map(|at| edge(&roles[at], &roles[(at + 1) % 6])).collect();
    let answers = join_all(ring.iter().map(|edge| company.api.post(&company.me, TREE, edge))).await;
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    let added = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!((added, refused), (5, 1), "{answers:?}");
}

/// Two transactions that each demote the other's super admin, held open until both have done it.
#[tokio::test]
async fn two_super_admins_who_demote_each_other_leave_one() {
    let company = Company::new().await;
    let second = company.world.admin().await;
    let (tenant, db) = (company.world.tenant, &company.world.test.db);
    let change = ChangeRoles {
        assign: vec![],
        remove: vec!["super_admin".to_owned()],
    };
    let change = change.parse().unwrap();
    let barrier = Arc::new(Barrier::new(2));
    let demote = async |by: &crate::support::Login, whom: uuid::Uuid| {
        let caller = TestDb::user(tenant, by.user_id, by.session_id);
        db.write(&caller, async |tx| {
            Box::pin(user_role::change(&tx, whom, &change)).await?;
            barrier.wait().await;
            Ok(())
        })
        .await
    };
    let (one, other) = join(
        demote(&company.me, second.user_id),
        demote(&second, company.me.user_id),
    )
    .await;
    let refused: Vec<_> = [&one, &other]
        .into_iter()
        .filter_map(|outcome| outcome.as_ref().err().map(kernel::Error::code))
        .collect();
    assert_eq!(refused, [kernel::Code::Conflict], "{one:?} {other:?}");
}

#[tokio::test]
async fn however_many_demote_each_other_somebody_is_left() {
    let company = Company::new().await;
    let mut admins = vec![company.me.clone()];
    for _ in 0..5 {
        admins.push(company.world.admin().await);
    }
    let body = json!({ "remove": ["super_admin"] });
    let paths: Vec<String> = (0..6).map(|at| roles_of(&admins[(at + 1) % 6])).collect();
    let answers = join_all((0..6).map(|at| company.api.post(&admins[at], &paths[at], &body))).await;
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 403 | 409), "{answer:?}");
    }
    let left: i64 = company
        .world
        .admin_sql()
        .await
        .query_one(
            "SELECT count(*) FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.tenant_id = $1 AND r.code = 'super_admin'",
            &[&company.world.tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert!(left >= 1);
}

#[tokio::test]
async fn of_parallel_replacements_of_what_was_seen_one_is_made() {
    let company = Company::new().await;
    let role = company.role(&["contact.read"]).await;
    let path = format!("{}/permissions", of(ROLES, &role));
    let seen = company.api.get(&company.me, &path).await;
    let replace = async |tag: &str, permission: &str| {
        let body = json!({ "permissions": [permission] });
        let headers = [("if-match", tag)];
        company.api.json(&company.me, "PUT", &path, &headers, &body).await
    };
    let wanted = ["audit.read", "role.read", "user.read", "contact.delete"];
    let answers = join_all(wanted.map(|permission| replace(&seen.headers["etag"], permission))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412]);
    let done = answers.iter().find(|answer| answer.status == 200).unwrap();
    let now = company.api.get(&company.me, &path).await;
    assert_eq!(now.headers["etag"], done.headers["etag"]);
    assert_eq!(now.json(), done.json(), "the others changed nothing");
    replace(&done.headers["etag"], "contact.read").await.expect(200);
}

/// The locks of the tree and of the super admins meet those of any audited write.
#[tokio::test]
async fn ordinary_work_goes_on_beside_changes_of_access() {
    let company = Company::new().await;
    let contacts = company.world.contacts();
    let mut pairs = Vec::new();
    for _ in 0..6 {
        pairs.push((
            company.role(&[]).await,
            company.role(&[]).await,
            company.world.admin().await,
        ));
    }
    let edges: Vec<_> = pairs
        .iter()
        .map(|(parent, child, _)| edge(parent, child))
        .collect();
    let (contact, demotion) = (json!({ "first_name": "A" }), json!({ "remove": ["super_admin"] }));
    let paths: Vec<String> = pairs.iter().map(|(_, _, admin)| roles_of(admin)).collect();
    let (made, added, demoted) = futures::join!(
        join_all((0..12).map(|_| contacts.post(&company.me, "/v1/contacts", &contact))),
        join_all(edges.iter().map(|edge| company.api.post(&company.me, TREE, edge))),
        join_all(
            paths
                .iter()
                .map(|path| company.api.post(&company.me, path, &demotion))
        ),
    );
    for answer in made.iter().chain(&added) {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    for answer in &demoted {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn a_role_that_is_given_and_deleted_at_once_is_one_or_the_other() {
    let company = Company::new().await;
    for _ in 0..10 {
        let (role, user) = (company.role(&[]).await, company.world.user("staff").await);
        let (path, body) = (roles_of(&user), json!({ "assign": [role["id"]] }));
        let role_path = of(ROLES, &role);
        let (given, deleted) = join(
            company.api.post(&company.me, &path, &body),
            company.api.delete(&company.me, &role_path),
        )
        .await;
        assert!(
            matches!((given.status, deleted.status), (200, 409) | (404, 204)),
            "{given:?} {deleted:?} {}",
            text(&role, "code")
        );
    }
}

#[tokio::test]
async fn a_code_asked_for_by_many_at_once_goes_to_one() {
    let company = Company::new().await;
    let body = json!({ "name": "Wanted" });
    let answers = join_all((0..8).map(|_| company.api.post(&company.me, ROLES, &body))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.expect_code(409, "DUPLICATE");
    }
}
