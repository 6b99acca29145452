//! Suspending, deactivating, reactivating, signing out.

use super::setup::{Office, PASSWORD, address, public};
use crate::support::Login;
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

impl Office {
    async fn act(&self, user: Uuid, verb: &str, body: &Value) -> crate::support::Answer {
        self.post(&format!("/v1/admin/users/{user}/{verb}"), body).await
    }
}

#[tokio::test]
async fn a_suspended_user_is_out_at_the_next_request_and_comes_back() {
    let office = Office::new().await;
    let email = address();
    let id = office.colleague(&email, &["staff"]).await;
    let auth = office.auth().await;
    let credentials = json!({ "email": email, "password": PASSWORD, "delivery": "body" });
    let session = public(&auth, "/v1/auth/login", &credentials).await.expect(200);
    let bearer = format!("Bearer {}", session["access_token"].as_str().unwrap());
    let me = office.world.me();
    let whoami = async || me.call("GET", "/v1/me", &[("authorization", &bearer)], "").await;
    whoami().await.expect(200);

    let suspended = office.act(id, "suspend", &json!({})).await.expect(200);
    assert_eq!(
        (&suspended["status"], &suspended["security"]["active_sessions"]),
        (&json!("suspended"), &json!(0))
    );
    whoami().await.expect_code(401, "UNAUTHENTICATED");
    let refresh = json!({ "refresh_token": session["refresh_token"] });
    public(&auth, "/v1/auth/refresh", &refresh)
        .await
        .expect_code(401, "UNAUTHENTICATED");
    public(&auth, "/v1/auth/login", &credentials)
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    office.act(id, "suspend", &json!({})).await.expect(200);

    assert_eq!(
        office.act(id, "reactivate", &json!({})).await.expect(200)["status"],
        "active"
    );
    whoami().await.expect_code(401, "UNAUTHENTICATED");
    public(&auth, "/v1/auth/refresh", &refresh)
        .await
        .expect_code(401, "UNAUTHENTICATED");
    public(&auth, "/v1/auth/login", &credentials).await.expect(200);
    let events = office.events(id).await;
    assert_eq!(
        events,
        [
            "user.invited",
            "user.verified",
            "user.suspended",
            "user.reinstated"
        ]
    );
    let actions = office.actions(id).await;
    assert!(
        actions.contains(&"user.suspended".to_owned()) && actions.contains(&"user.reinstated".to_owned())
    );
}

#[tokio::test]
async fn whose_account_changes_is_told_each_time_by_mail_and_in_the_inbox() {
    let office = Office::new().await;
    let email = address();
    let id = office.colleague(&email, &["staff"]).await;
    let (mut mails, mut inbox) = (office.mails(&email).await.len(), office.inbox(id).await.len());
    for (verb, event, kind, title) in [
        (
            "suspend",
            "user.suspended",
            "account_suspended",
            "Your account was suspended",
        ),
        (
            "reactivate",
            "user.reinstated",
            "account_reactivated",
            "Your account is active again",
        ),
        (
            "deactivate",
            "user.deactivated",
            "account_deactivated",
            "Your account was closed",
        ),
    ] {
        // The second time there is nothing to do, and nothing to tell.
        for _ in 0..2 {
            office.act(id, verb, &json!({})).await.expect(200);
            let told = office.inbox(id).await;
            assert_eq!(told[0], (kind.to_owned(), title.to_owned()), "{verb}");
            assert_eq!(told.len(), inbox + 1, "{verb}");
            let mailed = office.mails(&email).await;
            assert!(mailed[mails].contains(title), "{}", mailed[mails]);
            assert_eq!(mailed.len(), mails + 1, "{verb}");
            assert_eq!(office.changes(id, event).await.len(), 1, "{verb}");
        }
        (mails, inbox) = (mails + 1, inbox + 1);
    }
    assert!(office.actions(id).await.contains(&"user.deactivated".to_owned()));
}

#[tokio::test]
async fn a_user_with_records_leaves_only_when_somebody_gets_them() {
    let office = Office::new().await;
    let (leaving, staying) = (office.world.user("staff").await, office.world.user("staff").await);
    let contacts = office.world.contacts();
    let body = json!({ "first_name": "Layla", "owner_user_id": leaving.user_id });
    let contact = contacts.post(&office.me, "/v1/contacts", &body).await.expect(201);
    let error = office
        .act(leaving.user_id, "deactivate", &json!({}))
        .await
        .expect_code(409, "CONFLICT");
    assert_eq!(
        error["details"]["owned"],
        json!({ "contacts": 1, "conversations": 0 })
    );
    let path = format!("/v1/admin/users/{}", leaving.user_id);
    office
        .api
        .delete(&office.me, &path)
        .await
        .expect_code(409, "CONFLICT");

    let other = Office::new().await;
    let invited = office.invite(&json!({ "email": address() })).await.0;
    for (to, status) in [
        (json!(other.me.user_id), 404),
        (json!(testkit::unique()), 404),
        (json!(leaving.user_id), 422),
        (json!(invited), 422),
        (json!("nobody"), 422),
    ] {
        let answer = office
            .act(leaving.user_id, "deactivate", &json!({ "reassign_to": to }))
            .await;
        assert_eq!(answer.status, status, "{to} {}", answer.text);
    }
    assert_eq!(office.get(&path).await.expect(200)["status"], "active");
    let handed = office
        .act(
            leaving.user_id,
            "deactivate",
            &json!({ "reassign_to": staying.user_id }),
        )
        .await;
    assert_eq!(handed.expect(200)["status"], "deactivated");
    let path = format!("/v1/contacts/{}", contact["id"].as_str().unwrap());
    let contact = contacts.get(&office.me, &path).await.expect(200);
    assert_eq!(contact["owner_user_id"], staying.user_id.to_string());
    contacts
        .get(&leaving, &path)
        .await
        .expect_code(401, "UNAUTHENTICATED");

    let third = office.world.user("staff").await;
    let path = format!("/v1/admin/users/{}", third.user_id);
    office.api.delete(&office.me, &path).await.expect(204);
    assert_eq!(office.get(&path).await.expect(200)["status"], "deactivated");
}

#[tokio::test]
async fn records_are_handed_over_also_when_the_account_is_closed_already() {
    let office = Office::new().await;
    let (gone, heir) = (office.world.user("staff").await, office.world.user("staff").await);
    let contacts = office.world.contacts();
    let body = json!({ "first_name": "Layla", "owner_user_id": gone.user_id });
    let contact = contacts.post(&office.me, "/v1/contacts", &body).await.expect(201);
    let contact = format!("/v1/contacts/{}", contact["id"].as_str().unwrap());
    let owner = async || contacts.get(&office.me, &contact).await.expect(200)["owner_user_id"].clone();
    let give_back = "UPDATE contacts SET owner_user_id = $2 WHERE tenant_id = $1";
    let sql = office.world.admin_sql().await;
    let invited = office.invite(&json!({ "email": address() })).await.0;
    for (verb, status) in [("suspend", "suspended"), ("deactivate", "deactivated")] {
        let change = "UPDATE users SET status = $3 WHERE tenant_id = $1 AND id = $2";
        sql.execute(change, &[&office.world.tenant.0, &gone.user_id, &status])
            .await
            .unwrap();
        for (to, refused) in [(gone.user_id, 422), (invited, 422), (testkit::unique(), 404)] {
            let answer = office
                .act(gone.user_id, verb, &json!({ "reassign_to": to }))
                .await;
            assert_eq!(answer.status, refused, "{verb} {}", answer.text);
        }
        office.act(gone.user_id, verb, &json!({})).await.expect(200);
        assert_eq!(owner().await, json!(gone.user_id), "{verb}: nobody was named");
        let handed = office
            .act(gone.user_id, verb, &json!({ "reassign_to": heir.user_id }))
            .await;
        assert_eq!(handed.expect(200)["status"], status);
        assert_eq!(owner().await, json!(heir.user_id), "{verb}");
        sql.execute(give_back, &[&office.world.tenant.0, &gone.user_id])
            .await
            .unwrap();
    }
    let query = format!("/v1/admin/users/{}?reassign_to={}", gone.user_id, heir.user_id);
    office.api.delete(&office.me, &query).await.expect(204);
    assert_eq!(owner().await, json!(heir.user_id));
    let lines = "SELECT after_data FROM audit_logs WHERE tenant_id = $1 AND entity_id = $2 AND action = 'user.recordsReassigned'";
    let lines = sql
        .query(lines, &[&office.world.tenant.0, &gone.user_id])
        .await
        .unwrap();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let expected = json!({ "reassigned_to": heir.user_id, "contacts": 1, "conversations": 0 });
        assert_eq!(line.get::<_, Value>(0), expected);
    }
    assert!(
        office.events(gone.user_id).await.is_empty(),
        "the account did not change"
    );
}

#[tokio::test]
async fn nobody_closes_their_own_account() {
    let office = Office::new().await;
    office.world.admin().await;
    for verb in ["suspend", "deactivate"] {
        office
            .act(office.me.user_id, verb, &json!({}))
            .await
            .expect_code(409, "CONFLICT");
    }
    let path = format!("/v1/admin/users/{}", office.me.user_id);
    office
        .api
        .delete(&office.me, &path)
        .await
        .expect_code(409, "CONFLICT");
    let invited = office.invite(&json!({ "email": address() })).await.0;
    office
        .act(invited, "suspend", &json!({}))
        .await
        .expect_code(409, "CONFLICT");
}

#[tokio::test]
async fn of_two_super_admins_who_suspend_each_other_one_stays() {
    for _ in 0..4 {
        let office = Office::new().await;
        let other = office.world.admin().await;
        let suspend = async |by: &Login, whom: &Login| {
            let path = format!("/v1/admin/users/{}/suspend", whom.user_id);
            office.api.post(by, &path, &json!({})).await
        };
        let (one, two) =
            futures::future::join(suspend(&office.me, &other), suspend(&other, &office.me)).await;
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        // The slower one is either told of the rule, or is out already.
        assert!(matches!(statuses, [200, 401 | 409]), "{} {}", one.text, two.text);
        let active: i64 = office
            .world
            .admin_sql()
            .await
            .query_one(
                "SELECT count(*) FROM users WHERE tenant_id = $1 AND status = 'active'",
                &[&office.world.tenant.0],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(active, 1);
    }
}

#[tokio::test]
async fn of_many_super_admins_who_suspend_all_others_one_stays() {
    let office = Office::new().await;
    let mut admins = vec![office.me.clone()];
    for _ in 0..4 {
        admins.push(office.world.admin().await);
    }
    let everyone = join_all(admins.iter().map(async |by| {
        let others: Vec<Uuid> = admins
            .iter()
            .map(|admin| admin.user_id)
            .filter(|id| *id != by.user_id)
            .collect();
        let body = json!({ "action": "suspend", "user_ids": others });
        office.api.post(by, "/v1/admin/users/bulk", &body).await
    }));
    for answer in everyone.await {
        assert!(matches!(answer.status, 200 | 401 | 409), "{}", answer.text);
    }
    let sql = office.world.admin_sql().await;
    let active: i64 = sql
        .query_one(
            "SELECT count(*) FROM users WHERE tenant_id = $1 AND status = 'active'",
            &[&office.world.tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(active, 1);
}

#[tokio::test]
async fn a_user_is_signed_out_everywhere() {
    let office = Office::new().await;
    let email = address();
    let id = office.colleague(&email, &["staff"]).await;
    let auth = office.auth().await;
    let credentials = json!({ "email": email, "password": PASSWORD, "delivery": "body" });
    let session = public(&auth, "/v1/auth/login", &credentials).await.expect(200);
    public(&auth, "/v1/auth/login", &credentials).await.expect(200);
    assert_eq!(
        office.act(id, "force-logout", &json!({})).await.expect(200)["sessions_ended"],
        2
    );
    let refresh = json!({ "refresh_token": session["refresh_token"] });
    public(&auth, "/v1/auth/refresh", &refresh)
        .await
        .expect_code(401, "UNAUTHENTICATED");
    assert!(
        office
            .events(id)
            .await
            .contains(&"user.forceLoggedOut".to_owned())
    );
    assert!(
        office
            .actions(id)
            .await
            .contains(&"user.forceLoggedOut".to_owned())
    );

    public(&auth, "/v1/auth/login", &credentials).await.expect(200);
    assert_eq!(
        office.act(id, "reset-password", &json!({})).await.expect(200)["sessions_ended"],
        1
    );
    let token = office.links(&email).await.pop().unwrap();
    let body = json!({ "token": token, "password": "orange kettle 42 bridge" });
    public(&office.api, "/v1/admin/users/accept-invite", &body)
        .await
        .expect(200);
    public(&auth, "/v1/auth/login", &credentials)
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    let invited = office.invite(&json!({ "email": address() })).await.0;
    office
        .act(invited, "reset-password", &json!({}))
        .await
        .expect_code(409, "CONFLICT");
}

#[tokio::test]
async fn who_never_joined_is_invited_again() {
    let office = Office::new().await;
    let email = address();
    let (id, token) = office.invite(&json!({ "email": email })).await;
    office.act(id, "deactivate", &json!({})).await.expect(200);
    assert_eq!(office.accept(&token).await.status, 422);
    assert_eq!(
        office.act(id, "reactivate", &json!({})).await.expect(200)["status"],
        "invited"
    );
    assert_eq!(office.accept(&token).await.status, 422, "the old link stays dead");
    office.act(id, "resend-invite", &json!({})).await.expect(200);
    office
        .accept(&office.links(&email).await.pop().unwrap())
        .await
        .expect(200);
}
