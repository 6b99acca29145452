//! What admins are told of (S12.7): invitations, who joined, and the last seat.

use super::setup::{Office, address};
use crate::approvals::setup::{Company, email, id, role};
use crate::messaging::stack::{Stack, task};
use notifications::inbox;
use serde_json::json;
use testkit::TestDb;
use uuid::Uuid;

impl Office {
    /// Kinds and titles of a user's inbox, newest first.
    pub async fn inbox(&self, user: Uuid) -> Vec<(String, String)> {
        let caller = TestDb::system(self.world.tenant);
        let read = self
            .world
            .test
            .db
            .read(&caller, async |tx| inbox::list(&tx, user).await);
        let messages = read.await.unwrap();
        messages
            .into_iter()
            .map(|message| (message.kind, message.title))
            .collect()
    }
}

#[tokio::test]
async fn admins_hear_of_invitations_and_of_who_accepted() {
    let office = Office::new().await;
    let (admin, other) = (
        office.world.user("admin").await.user_id,
        office.world.user("staff").await.user_id,
    );
    let email = address();
    let (id, _) = office
        .invite(&json!({ "email": email, "full_name": "Basma Nour", "roles": ["staff"] }))
        .await;
    let invited = [("invite_sent".to_owned(), "Basma Nour was invited".to_owned())];
    assert_eq!(office.inbox(admin).await, invited);
    // Neither who did it, nor who looks after nothing.
    assert!(office.inbox(office.me.user_id).await.is_empty() && office.inbox(other).await.is_empty());

    office
        .post(&format!("/v1/admin/users/{id}/resend-invite"), &json!({}))
        .await
        .expect(200);
    assert_eq!(
        office.inbox(admin).await[0],
        ("invite_sent".to_owned(), format!("{email} was invited"))
    );
    let second = office
        .invite(&json!({ "email": address(), "roles": ["staff"] }))
        .await
        .0;
    let bulk = json!({ "action": "resend_invite", "user_ids": [id, second] });
    office.post("/v1/admin/users/bulk", &bulk).await.expect(200);
    assert_eq!(
        office.inbox(admin).await[0],
        (
            "invites_sent".to_owned(),
            "2 invitations were sent again".to_owned()
        )
    );

    let token = office.links(&email).await.pop().unwrap();
    office.accept(&token).await.expect(200);
    let joined = (
        "invite_accepted".to_owned(),
        "Basma Nour accepted the invitation".to_owned(),
    );
    assert_eq!(office.inbox(admin).await[0], joined);
    assert_eq!(office.inbox(office.me.user_id).await, [joined]);
    assert!(office.inbox(id).await.is_empty());
    let sql = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND user_id = $2";
    let mails = office
        .world
        .admin_sql()
        .await
        .query_one(sql, &[&office.world.tenant.0, &admin])
        .await;
    assert_eq!(mails.unwrap().get::<_, i64>(0), 5, "and by e-mail");
}

#[tokio::test]
async fn who_is_admin_by_a_group_or_by_the_role_tree_hears_too_and_who_rests_does_not() {
    let office = Office::new().await;
    let roles = office.get("/v1/admin/roles?limit=200").await.expect(200);
    let all = roles["data"].as_array().unwrap();
    let role = |code: &str| all.iter().find(|role| role["code"] == code).unwrap()["id"].clone();
    let people = [(); 4].map(|()| office.world.user("staff"));
    let [by_group, by_tree, resting, left] = futures::future::join_all(people).await.try_into().ok().unwrap();
    for (name, member, is_active) in [("Active", &by_group, true), ("Resting", &resting, false)] {
        let group = json!({ "name": name, "role_ids": [role("admin")], "is_active": true });
        let group = office.post("/v1/admin/groups", &group).await.expect(201);
        let path = format!("/v1/admin/groups/{}", group["id"].as_str().unwrap());
        let members = json!({ "user_ids": [member.user_id] });
        office
            .post(&format!("{path}/members"), &members)
            .await
            .expect(201);
        let rest = json!({ "is_active": is_active });
        office.api.patch(&office.me, &path, &rest).await.expect(200);
    }
    let own = json!({ "name": "Deputy" });
    let own = office.post("/v1/admin/roles", &own).await.expect(201);
    let edge = json!({ "parent_role_id": role("admin"), "child_role_id": own["id"] });
    office.post("/v1/admin/roles/hierarchy", &edge).await.expect(201);
    for (login, given) in [(&by_tree, &own["id"]), (&left, &role("admin"))] {
        let path = format!("/v1/admin/users/{}/roles", login.user_id);
        office
            .post(&path, &json!({ "assign": [given] }))
            .await
            .expect(200);
    }
    let suspend = format!("/v1/admin/users/{}/suspend", left.user_id);
    office.post(&suspend, &json!({})).await.expect(200);

    office.invite(&json!({ "email": address() })).await;
    let hears = async |login: &crate::support::Login| {
        let inbox = office.inbox(login.user_id).await;
        inbox.iter().filter(|(kind, _)| kind == "invite_sent").count()
    };
    assert_eq!((hears(&by_group).await, hears(&by_tree).await), (1, 1));
    assert_eq!((hears(&resting).await, hears(&left).await), (0, 0));
}

#[tokio::test]
async fn admins_hear_once_that_the_last_seat_is_taken() {
    let stack = Stack::alone().await;
    let scheduler = stack.scheduler.clone();
    let office = Office::of(stack.world).await;
    let admin = office.world.user("admin").await.user_id;
    let used = office.get("/v1/admin/seats").await.expect(200)["used"]
        .as_i64()
        .unwrap();
    let limits = json!({ "overrides": [{ "code": "users.max", "limit_value": used + 1 }] });
    office
        .api
        .put(&office.me, "/v1/admin/entitlements/overrides/tenant", &limits)
        .await
        .expect(200);
    office
        .invite(&json!({ "email": address(), "roles": ["staff"] }))
        .await;
    let refused = json!({ "email": address(), "roles": ["staff"] });
    office
        .post("/v1/admin/users/invite", &refused)
        .await
        .expect_code(422, "LIMIT_REACHED");
    let alerts = async || {
        let inbox = office.inbox(admin).await;
        inbox
            .into_iter()
            .filter(|(kind, _)| kind == "seat_limit_reached")
            .map(|(_, title)| title)
            .collect::<Vec<_>>()
    };
    assert!(alerts().await.is_empty());
    let title = format!("All {} seats are taken", used + 1);
    for _ in 0..2 {
        scheduler.handle(task("minute")).await.unwrap();
        assert_eq!(alerts().await, std::slice::from_ref(&title));
        let mails = office.mails(&format!("{admin}@example.com")).await;
        let told = mails.iter().filter(|mail| mail.contains(&title)).count();
        assert_eq!(told, 1, "and by e-mail");
    }
}

/// More people with a role than are mailed: whom a notice does not reach by e-mail finds it in the inbox.
#[tokio::test]
async fn all_of_many_approvers_find_the_request_in_their_inbox_and_a_hundred_are_mailed() {
    const APPROVERS: usize = 120;
    let company = Company::gated(json!([role("finance_manager")])).await;
    let (asking, first) = (
        company.user("manager").await,
        company.user("finance_manager").await,
    );
    let (world, caller) = (&company.world, TestDb::system(company.world.tenant));
    let ids: Vec<Uuid> = (1..APPROVERS).map(|_| world.test.db.clock().id()).collect();
    let people = "WITH made AS (
            INSERT INTO users (tenant_id, id, email, email_norm, full_name, email_verified_at, password_hash)
            SELECT $1, id, id || '@example.com', id || '@example.com', 'Test User', now(), 'nobody knows' FROM unnest($2::uuid[]) AS id
            RETURNING id)
        INSERT INTO user_roles (tenant_id, user_id, role_id)
        SELECT $1, made.id, r.id FROM made, roles r WHERE r.code = 'finance_manager'";
    let made = world.test.db.write(&caller, async |tx| {
        tx.execute(people, &[&world.tenant.0, &ids]).await
    });
    assert_eq!(made.await.unwrap(), 119);
    // The first by id takes no mails, and takes nobody's place among those who do.
    let path = format!("/v1/admin/users/{}/preferences", first.user_id);
    let silent = json!({ "transactional_email": false });
    let admin = world.administration();
    admin
        .json(&company.admin, "PUT", &path, &[], &silent)
        .await
        .expect(200);

    let contact = company.contact().await;
    let waiting = company.delete(&asking, &contact).await.expect(202);
    let readers = "SELECT count(DISTINCT user_id) FROM inbox_messages WHERE tenant_id = $1 AND kind = ";
    let asked = format!("{readers} 'approval_requested'");
    assert_eq!(company.count(&asked).await, 120);
    let told = "SELECT count(*) FROM inbox_messages WHERE tenant_id = $1";
    assert_eq!(company.count(told).await, 120, "once");
    let mails = company.mails().await;
    assert_eq!(mails.len(), 100);
    assert!(!mails.iter().any(|mail| mail.to == email(&first)));

    company.decide(&asking, &id(&waiting), "cancel").await.expect(200);
    let withdrawn = format!("{readers} 'approval_withdrawn'");
    assert_eq!(company.count(&withdrawn).await, 120);
}
