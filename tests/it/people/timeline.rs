//! What the audit log tells of a user, where `audit_url` leads (S12.4).

use super::setup::{Office, PASSWORD, address};
use crate::compliance::setup::call_from;
use crate::support::Api;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

const HOME: (&str, &str) = ("198.51.100.7", "Firefox");
const DESK: (&str, &str) = ("203.0.113.4", "Safari");

impl Office {
    /// The lines that a user's record refers to, newest first.
    async fn timeline(&self, user: Uuid) -> Vec<Value> {
        let user = self.get(&format!("/v1/admin/users/{user}")).await.expect(200);
        let lines = self.get(user["audit_url"].as_str().unwrap()).await.expect(200);
        lines["data"].as_array().unwrap().clone()
    }

    /// The newest session of a user.
    async fn session(&self, user: Uuid) -> String {
        let path = format!("/v1/admin/users/{user}/sessions");
        let sessions = self.get(&path).await.expect(200);
        sessions["data"][0]["id"].as_str().unwrap().to_owned()
    }
}

/// At home, of who is not signed in.
async fn from_home(auth: &Api, verb: &str, body: &Value, status: u16) -> Value {
    let path = format!("/v1/auth/{verb}");
    let answer = call_from(auth, None, HOME, ("POST", &path), body).await;
    answer.expect(status)
}

/// The newest line of an action about this session, which has to say who did it, from where and with what.
#[track_caller]
fn find(lines: &[Value], action: &str, session: &str, by: Uuid, (ip, agent): (&str, &str)) {
    let line = lines
        .iter()
        .find(|line| line["action"] == action && line["after_data"]["session_id"] == session);
    let line = line.unwrap_or_else(|| panic!("no {action} of {session} in {lines:?}"));
    assert_eq!(line["entity_type"], "user", "{action}");
    assert_eq!(line["actor_user_id"], json!(by), "{action}");
    assert_eq!(
        (&line["ip"], &line["user_agent"]),
        (&json!(ip), &json!(agent)),
        "{action}"
    );
}

#[tokio::test]
async fn a_users_timeline_tells_of_every_session_from_log_in_to_end() {
    let office = Office::at_a_moment().await;
    let (auth, email) = (office.auth().await, address());
    let id = office.colleague(&email, &["staff"]).await;
    let credentials = json!({ "email": email, "password": PASSWORD, "delivery": "body" });
    let wait = |seconds| {
        let clock = office.world.test.db.clock();
        clock.advance(SignedDuration::from_secs(seconds));
    };
    let token = |answer: &Value| json!({ "refresh_token": answer["refresh_token"] });

    let first = from_home(&auth, "login", &credentials, 200).await;
    let session = office.session(id).await;
    wait(30);
    let second = from_home(&auth, "refresh", &token(&first), 200).await;
    wait(30);
    from_home(&auth, "refresh", &token(&second), 200).await;
    from_home(&auth, "refresh", &token(&first), 401).await;
    let lines = office.timeline(id).await;
    for action in ["auth.login", "auth.refresh_rotated", "auth.token_reused"] {
        find(&lines, action, &session, id, HOME);
    }

    let again = from_home(&auth, "login", &credentials, 200).await;
    let session = office.session(id).await;
    from_home(&auth, "logout", &token(&again), 204).await;
    let lines = office.timeline(id).await;
    find(&lines, "auth.login", &session, id, HOME);
    find(&lines, "auth.logout", &session, id, HOME);

    // One that an admin ends.
    from_home(&auth, "login", &credentials, 200).await;
    let session = office.session(id).await;
    let path = format!("/v1/admin/users/{id}/sessions/{session}");
    let me = office.again();
    let ended = call_from(&office.api, Some(&me), DESK, ("DELETE", &path), &Value::Null).await;
    ended.expect(204);
    let lines = office.timeline(id).await;
    find(&lines, "auth.login", &session, id, HOME);
    find(&lines, "session.revoked", &session, me.user_id, DESK);
    let theirs = lines.iter().all(|line| line["entity_id"] == json!(id));
    assert!(theirs, "{lines:?}");
}

/// As they were before a session's lines were its user's.
#[tokio::test]
async fn who_is_erased_is_erased_from_lines_that_are_filed_under_a_session_too() {
    let office = Office::new().await;
    let user = office.world.user("staff").await;
    let sql = office.world.admin_sql().await;
    let (tenant, origin) = (
        office.world.tenant,
        json!({ "actor": "user", "user_id": office.me.user_id }),
    );
    let write = "WITH entered AS MATERIALIZED (
                     SELECT set_config('app.current_tenant_id', $1, true), set_config('app.origin', $2, true))
                 SELECT app.audit('session.revoked', 'session', $3, NULL, '{\"device\": \"her phone\"}') FROM entered";
    sql.query(
        write,
        &[&tenant.to_string(), &origin.to_string(), &user.session_id],
    )
    .await
    .unwrap();
    let line = async || {
        let find = "SELECT after_data, erased_at IS NOT NULL FROM audit_logs WHERE tenant_id = $1 AND entity_id = $2";
        let row = sql.query_one(find, &[&tenant.0, &user.session_id]).await.unwrap();
        (row.get::<_, Option<Value>>(0), row.get::<_, bool>(1))
    };
    assert_eq!(line().await, (Some(json!({ "device": "her phone" })), false));
    let id = user.user_id;
    let erase = json!({ "subject_type": "user", "subject_id": id, "confirm": id });
    office.post("/v1/admin/gdpr/erase", &erase).await.expect(200);
    assert_eq!(line().await, (None, true));
}
