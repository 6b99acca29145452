//! What an admin resets for a user: the password, second factors, sessions; and how often.

use super::setup::{Office, PASSWORD, address, public};
use crate::support::{Answer, Api, Login, verifier};
use admin_function::people::mails::Limits;
use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

const NEW: &str = "orange kettle 42 bridge";

/// A path below a user's.
fn of_user(id: Uuid, what: &str) -> String {
    format!("/v1/admin/users/{id}/{what}")
}

impl Office {
    async fn reset(&self, id: Uuid, what: &str) -> Answer {
        self.post(&of_user(id, what), &json!({})).await
    }

    /// Whether a session's next request is answered.
    async fn works(&self, session: &Value) -> bool {
        let bearer = format!("Bearer {}", session["access_token"].as_str().unwrap());
        let headers = [("authorization", bearer.as_str())];
        let answer = self.world.me().call("GET", "/v1/me", &headers, "").await;
        assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        answer.status == 200
    }

    async fn set_methods(&self, id: Uuid, methods: &[&str]) {
        let sql = "UPDATE users SET twofa_methods = $3 WHERE tenant_id = $1 AND id = $2";
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&self.world.tenant.0, &id, &methods];
        self.world.admin_sql().await.execute(sql, &params).await.unwrap();
    }
}

async fn log_in(auth: &Api, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password, "delivery": "body" });
    public(auth, "/v1/auth/login", &body).await
}

/// The caller that an answer with tokens makes.
fn login(office: &Office, answer: &Value) -> Login {
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let claims = verifier().verify(&token, office.world.test.db.clock()).unwrap();
    Login {
        user_id: claims.sub,
        session_id: claims.sid,
        token,
    }
}

/// Tries the second step of a login with a code that is none.
async fn second_step(auth: &Api, challenge: &Value) -> Answer {
    let body =
        json!({ "challenge_token": challenge, "method": "totp", "code": "000000", "delivery": "body" });
    public(auth, "/v1/auth/login/2fa", &body).await
}

#[tokio::test]
async fn who_follows_an_admins_reset_ends_what_the_old_password_opened() {
    let office = Office::new().await;
    let (email, auth) = (address(), office.auth().await);
    let id = office.colleague(&email, &["staff"]).await;
    office.reset(id, "reset-password").await.expect(200);
    let link = office.links(&email).await.pop().unwrap();

    // Whoever knows the old password goes on, until the link is followed.
    let session = log_in(&auth, &email, PASSWORD).await.expect(200);
    office.set_methods(id, &["totp"]).await;
    let waiting = log_in(&auth, &email, PASSWORD)
        .await
        .expect_code(401, "AUTH_2FA_REQUIRED");
    let challenge = &waiting["details"]["challenge_token"];
    second_step(&auth, challenge)
        .await
        .expect_code(401, "AUTH_2FA_INVALID_CODE");
    let forgotten = json!({ "email": email });
    public(&auth, "/v1/auth/forgot-password", &forgotten)
        .await
        .expect(202);
    let own_link = office.own_link(&email).await;
    assert!(office.works(&session).await);

    let chosen = json!({ "token": link, "password": NEW });
    public(&office.api, "/v1/admin/users/accept-invite", &chosen)
        .await
        .expect(200);
    assert!(!office.works(&session).await);
    let refresh = json!({ "refresh_token": session["refresh_token"] });
    public(&auth, "/v1/auth/refresh", &refresh)
        .await
        .expect_code(401, "UNAUTHENTICATED");
    second_step(&auth, challenge)
        .await
        .expect_code(401, "UNAUTHENTICATED");
    let again = json!({ "token": own_link, "password": "amber kite meadow 41" });
    public(&auth, "/v1/auth/reset-password", &again)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    log_in(&auth, &email, NEW)
        .await
        .expect_code(401, "AUTH_2FA_REQUIRED");
    let told = office.mails(&email).await.pop().unwrap();
    assert!(!told.contains("token=") && told.contains("assword"), "{told}");
}

impl Office {
    /// The token of the link that the user asked for themself.
    async fn own_link(&self, email: &str) -> String {
        let mails = self.mails(email).await;
        let mail = mails.iter().rev().find(|mail| mail.contains("m3l_")).unwrap();
        let rest = &mail[mail.find("m3l_").unwrap()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'));
        rest[..end.unwrap_or(rest.len())].to_owned()
    }
}

#[tokio::test]
async fn a_new_password_of_the_users_own_ends_the_admins_link() {
    let office = Office::new().await;
    let auth = office.auth().await;
    for by_link in [false, true] {
        let email = address();
        let id = office.colleague(&email, &["staff"]).await;
        office.reset(id, "reset-password").await.expect(200);
        let link = office.links(&email).await.pop().unwrap();
        if by_link {
            public(&auth, "/v1/auth/forgot-password", &json!({ "email": email }))
                .await
                .expect(202);
            let chosen = json!({ "token": office.own_link(&email).await, "password": NEW });
            public(&auth, "/v1/auth/reset-password", &chosen)
                .await
                .expect(204);
        } else {
            let session = log_in(&auth, &email, PASSWORD).await.expect(200);
            let change = json!({ "current_password": PASSWORD, "new_password": NEW });
            let me = login(&office, &session);
            auth.post(&me, "/v1/auth/change-password", &change)
                .await
                .expect(204);
        }
        let late = json!({ "token": link, "password": "amber kite meadow 41" });
        public(&office.api, "/v1/admin/users/accept-invite", &late)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        log_in(&auth, &email, NEW).await.expect(200);
    }
}

#[tokio::test]
async fn lost_second_factors_are_taken() {
    let office = Office::new().await;
    let (email, auth) = (address(), office.auth().await);
    let id = office.colleague(&email, &["staff"]).await;
    let session = log_in(&auth, &email, PASSWORD).await.expect(200);
    let sql = office.world.admin_sql().await;
    office.set_methods(id, &["sms", "totp"]).await;
    for (code, used) in [("a", "NULL"), ("b", "NULL"), ("c", "now()")] {
        let code = code.as_bytes();
        let insert = format!(
            "INSERT INTO backup_codes (tenant_id, user_id, code_hash, created_at, used_at) VALUES ($1, $2, $3, now(), {used})"
        );
        sql.execute(&insert, &[&office.world.tenant.0, &id, &code])
            .await
            .unwrap();
    }
    let security =
        async || office.get(&format!("/v1/admin/users/{id}")).await.expect(200)["security"].clone();
    let before = security().await;
    assert_eq!(
        (
            &before["twofa_methods"],
            &before["backup_codes_left"],
            &before["has_password"]
        ),
        (&json!(["sms", "totp"]), &json!(2), &json!(true))
    );
    assert_eq!(before["identity_providers"], json!([]));
    log_in(&auth, &email, PASSWORD)
        .await
        .expect_code(401, "AUTH_2FA_REQUIRED");

    assert_eq!(
        office.reset(id, "reset-2fa").await.expect(200)["sessions_ended"],
        1
    );
    let after = security().await;
    assert_eq!(
        (
            &after["twofa_methods"],
            &after["backup_codes_left"],
            &after["active_sessions"]
        ),
        (&json!([]), &json!(0), &json!(0))
    );
    assert!(!office.works(&session).await);
    log_in(&auth, &email, PASSWORD).await.expect(200);
    let lines = "SELECT actor_user_id FROM audit_logs WHERE tenant_id = $1 AND entity_id = $2 AND action = 'twofa.reset'";
    let lines = sql.query(lines, &[&office.world.tenant.0, &id]).await.unwrap();
    let by: Vec<Option<Uuid>> = lines.iter().map(|line| line.get(0)).collect();
    assert_eq!(by, [Some(office.me.user_id)]);

    office
        .reset(office.me.user_id, "reset-2fa")
        .await
        .expect_code(409, "CONFLICT");
    let other = Office::new().await.me.user_id;
    office
        .reset(other, "reset-2fa")
        .await
        .expect_code(404, "NOT_FOUND");
}

#[tokio::test]
async fn sessions_are_seen_and_ended_one_by_one() {
    let office = Office::new().await;
    let (email, auth) = (address(), office.auth().await);
    let id = office.colleague(&email, &["staff"]).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(log_in(&auth, &email, PASSWORD).await.expect(200));
    }
    let path = of_user(id, "sessions");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = office.get(&format!("{path}?limit=2{cursor}")).await.expect(200);
        seen.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let ids: Vec<Uuid> = sessions
        .iter()
        .rev()
        .map(|session| login(&office, session).session_id)
        .collect();
    let listed: Vec<Uuid> = seen
        .iter()
        .map(|session| session["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(listed, ids, "newest first");
    assert!(
        seen.iter()
            .all(|session| session["current"] == false && session["created_at"].is_string())
    );

    let staff = office.world.user("staff").await;
    office.api.get(&staff, &path).await.expect(200);
    let second = format!("{path}/{}", ids[1]);
    office
        .api
        .delete(&staff, &second)
        .await
        .expect_code(403, "FORBIDDEN");
    let crossed = format!("{}/{}", of_user(staff.user_id, "sessions"), ids[1]);
    office
        .api
        .delete(&office.me, &crossed)
        .await
        .expect_code(404, "NOT_FOUND");
    assert!(office.works(&sessions[1]).await);
    office.api.delete(&office.me, &second).await.expect(204);
    office
        .api
        .delete(&office.me, &second)
        .await
        .expect_code(404, "NOT_FOUND");
    let works = [
        office.works(&sessions[0]).await,
        office.works(&sessions[1]).await,
        office.works(&sessions[2]).await,
    ];
    assert_eq!(works, [true, false, true]);
    assert_eq!(
        office.get(&path).await.expect(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let line = "SELECT actor_user_id, after_data ->> 'session_id' FROM audit_logs WHERE tenant_id = $1 AND entity_id = $2 AND action = 'session.revoked'";
    let line = office
        .world
        .admin_sql()
        .await
        .query_one(line, &[&office.world.tenant.0, &id])
        .await
        .unwrap();
    assert_eq!(
        (line.get(0), line.get(1)),
        (office.me.user_id, ids[1].to_string())
    );

    // Of another company neither a user's sessions nor one of them.
    let other = Office::new().await;
    other.get(&path).await.expect_code(404, "NOT_FOUND");
    other
        .api
        .delete(&other.me, &format!("{path}/{}", ids[0]))
        .await
        .expect_code(404, "NOT_FOUND");
    assert!(office.works(&sessions[0]).await);
    // A super admin's are ended by super admins.
    let admin = office.world.user("admin").await;
    let mine = format!(
        "{}/{}",
        of_user(office.me.user_id, "sessions"),
        office.me.session_id
    );
    office
        .api
        .get(&admin, &of_user(office.me.user_id, "sessions"))
        .await
        .expect(200);
    office
        .api
        .delete(&admin, &mine)
        .await
        .expect_code(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_mailbox_gets_five_links_an_hour_whoever_asks_and_however() {
    let (office, _) = Office::with_limits(Limits::DEFAULT).await;
    let email = address();
    let (id, _) = office
        .invite(&json!({ "email": email, "roles": ["staff"] }))
        .await;
    let other = office.invite(&json!({ "email": address() })).await.0;
    let second = office.world.user("admin").await;
    let path = of_user(id, "resend-invite");
    let bulk = json!({ "action": "resend_invite", "user_ids": [id, other] });
    office.post("/v1/admin/users/bulk", &bulk).await.expect(200);
    office
        .world
        .test
        .db
        .clock()
        .advance(SignedDuration::from_mins(10));
    let nothing = json!({});
    // At once, by two admins: three more, and no fourth.
    let answers = join_all((0..6).map(|at| {
        let by = if at % 2 == 0 { &office.me } else { &second };
        office.api.post(by, &path, &nothing)
    }));
    let (sent, refused): (Vec<_>, Vec<_>) =
        answers.await.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((sent.len(), refused.len()), (3, 3));
    for answer in refused {
        // Until the hour is over.
        assert_eq!(answer.headers["retry-after"], "3001");
        answer.expect_code(429, "RATE_LIMITED");
    }
    let answer = office.post("/v1/admin/users/bulk", &bulk).await.expect(200);
    let of = |id: Uuid| {
        let results = answer["results"].as_array().unwrap();
        results
            .iter()
            .find(|result| result["user_id"] == id.to_string())
            .unwrap()["code"]
            .clone()
    };
    assert_eq!((of(id), of(other)), (json!("RATE_LIMITED"), Value::Null));
    assert_eq!(office.links(&email).await.len(), 5);

    // Links to choose a password count with them.
    let newest = office.links(&email).await.pop().unwrap();
    office.accept(&newest).await.expect(200);
    let reset = office.reset(id, "reset-password").await;
    assert!(reset.headers.contains_key("retry-after"));
    reset.expect_code(429, "RATE_LIMITED");
    let clock = office.world.test.db.clock();
    clock.advance(SignedDuration::from_secs(3001));
    office
        .api
        .post(&office.again(), &of_user(id, "reset-password"), &json!({}))
        .await
        .expect(200);
    assert_eq!(office.links(&email).await.len(), 6);
}
