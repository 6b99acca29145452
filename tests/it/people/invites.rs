//! Invitations: once, for seven days, for one person.

use super::setup::{Office, PASSWORD, address, public};
use crate::compliance::setup::call_from;
use crate::messaging::stack::{endpoint, table};
use crate::support::Api;
use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};

#[tokio::test]
async fn a_colleague_joins_by_the_link_and_is_signed_in() {
    let office = Office::new().await;
    let email = address();
    let (id, token) = office
        .invite(&json!({ "email": email, "roles": ["staff"] }))
        .await;
    let auth = office.auth().await;
    let login = json!({ "email": email, "password": PASSWORD, "delivery": "body" });
    public(&auth, "/v1/auth/login", &login)
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    let mut body = json!({ "token": token, "password": PASSWORD, "delivery": "body" });
    let error = public(&auth, "/v1/auth/accept-invite", &body)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    assert_eq!(error["details"]["fields"][0]["path"], "full_name");
    body["full_name"] = json!("Basma Nour");
    body["password"] = json!("short");
    let error = public(&auth, "/v1/auth/accept-invite", &body)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    assert_eq!(error["details"]["fields"][0]["path"], "password");
    body["password"] = json!(PASSWORD);
    let answer = public(&auth, "/v1/auth/accept-invite", &body).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let answer = answer.expect(200);
    assert_eq!(
        (&answer["user"]["full_name"], &answer["user"]["roles"]),
        (&json!("Basma Nour"), &json!(["staff"]))
    );
    let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let me = office
        .world
        .me()
        .call("GET", "/v1/me", &[("authorization", &bearer)], "")
        .await
        .expect(200);
    assert_eq!(me["user"]["id"], id.to_string());
    public(&auth, "/v1/auth/login", &login).await.expect(200);
    let actions = office.actions(id).await;
    for wanted in [
        "user.invited",
        "user.created",
        "user.inviteAccepted",
        "user.updated",
    ] {
        assert!(
            actions.iter().any(|action| action == wanted),
            "{wanted}: {actions:?}"
        );
    }
    assert_eq!(office.events(id).await, ["user.invited", "user.verified"]);
}

#[tokio::test]
async fn registering_needs_the_invitation_of_that_company_and_address() {
    let (office, other) = (Office::new().await, Office::new().await);
    let email = address();
    let (_, token) = office
        .invite(&json!({ "email": email, "roles": ["staff"] }))
        .await;
    let auth = office.auth().await;
    let body = json!({ "invite_token": token, "full_name": "Salma Aziz", "email": email, "password": PASSWORD, "delivery": "body" });
    let send = async |tenant: Option<String>, body: &Value| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(tenant.as_deref().map(|tenant| ("x-tenant-id", tenant)));
        auth.call("POST", "/v1/auth/register", &headers, body.to_string())
            .await
    };
    let mut foreign = body.clone();
    foreign["email"] = json!("somebody-else@example.com");
    refused(&send(None, &foreign).await.expect_code(422, "VALIDATION_FAILED"));
    refused(
        &send(Some(other.world.tenant.to_string()), &body)
            .await
            .expect_code(422, "VALIDATION_FAILED"),
    );
    let joined = send(Some(office.world.tenant.to_string()), &body)
        .await
        .expect(201);
    assert!(joined["refresh_token"].is_string());
    assert_eq!(joined["user"]["full_name"], "Salma Aziz");
    refused(&send(None, &body).await.expect_code(422, "VALIDATION_FAILED"));
}

/// The one answer to links that do not work, without what differs by request.
#[track_caller]
fn refused(error: &Value) -> Value {
    let field = &error["details"]["fields"][0];
    assert_eq!(field["code"], "invalid_or_expired", "{error}");
    let mut error = error.clone();
    error["request_id"] = Value::Null;
    error
}

#[tokio::test]
async fn a_link_that_does_not_work_says_nothing_of_why() {
    let (office, other) = (Office::at_a_moment().await, Office::at_a_moment().await);
    let (_, spent) = office.invite(&json!({ "email": address() })).await;
    office.accept(&spent).await.expect(200);
    let (_, expired) = office.invite(&json!({ "email": address() })).await;
    let (gone, cancelled) = office.invite(&json!({ "email": address() })).await;
    office
        .post(&format!("/v1/admin/users/{gone}/deactivate"), &json!({}))
        .await
        .expect(200);
    let (_, closed) = other.invite(&json!({ "email": address() })).await;
    let sql = office.world.admin_sql().await;
    sql.execute(
        "UPDATE tenants SET status = 'suspended' WHERE id = $1",
        &[&other.world.tenant.0],
    )
    .await
    .unwrap();
    office
        .world
        .test
        .db
        .clock()
        .advance(SignedDuration::from_hours(7 * 24));
    // The secret of one company's link under another's name.
    let mixed = {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
        let mut bytes = B64.decode(&expired[4..]).unwrap();
        bytes[..16].copy_from_slice(other.world.tenant.0.as_bytes());
        format!("m3i_{}", B64.encode(bytes))
    };
    let made_up = format!("m3i_{}", "A".repeat(64));
    let auth = office.auth().await;
    let mut answers = Vec::new();
    for token in [
        &spent, &expired, &cancelled, &closed, &mixed, &made_up, "nonsense", "",
    ] {
        answers.push(refused(
            &office.accept(token).await.expect_code(422, "VALIDATION_FAILED"),
        ));
        let body = json!({ "token": token, "password": "short", "full_name": "X" });
        let answer = public(&auth, "/v1/auth/accept-invite", &body).await;
        answers.push(refused(&answer.expect_code(422, "VALIDATION_FAILED")));
        let body = json!({ "invite_token": token, "password": PASSWORD, "full_name": "X" });
        answers.push(refused(
            &public(&auth, "/v1/auth/register", &body)
                .await
                .expect_code(422, "VALIDATION_FAILED"),
        ));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn of_many_who_accept_at_once_one_does() {
    let office = Office::new().await;
    let (id, token) = office
        .invite(&json!({ "email": address(), "roles": ["staff"] }))
        .await;
    let answers = join_all((0..8).map(|_| office.accept(&token))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 422, 422, 422, 422, 422, 422, 422]);
    let user = office.get(&format!("/v1/admin/users/{id}")).await.expect(200);
    assert_eq!(user["status"], "active");
    let accepted = office
        .actions(id)
        .await
        .into_iter()
        .filter(|action| action == "user.inviteAccepted");
    assert_eq!(accepted.count(), 1);
}

#[tokio::test]
async fn sent_again_only_the_new_link_works() {
    let office = Office::new().await;
    let email = address();
    let (id, old) = office.invite(&json!({ "email": email })).await;
    let path = format!("/v1/admin/users/{id}/resend-invite");
    office.post(&path, &json!({})).await.expect(200);
    let new = office.links(&email).await.pop().unwrap();
    assert_ne!(old, new);
    refused(&office.accept(&old).await.expect_code(422, "VALIDATION_FAILED"));
    office.accept(&new).await.expect(200);
    office.post(&path, &json!({})).await.expect_code(409, "CONFLICT");
    let sql = office.world.admin_sql().await;
    let stored: Vec<Vec<u8>> = sql
        .query(
            "SELECT token_hash FROM invites WHERE tenant_id = $1",
            &[&office.world.tenant.0],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(stored.iter().all(|hash| hash.len() == 32), "only hashes are kept");
    let lines: i64 = sql
        .query_one(
            "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND (after_data::text LIKE '%m3i\\_%' OR after_data::text ~ 'token_hash\": \"[^*]')",
            &[&office.world.tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(lines, 0, "no token is in the audit log");
}

#[tokio::test]
async fn a_second_factor_is_not_skipped_by_a_link() {
    let office = Office::new().await;
    let email = address();
    let id = office.colleague(&email, &["staff"]).await;
    let sql = office.world.admin_sql().await;
    sql.execute(
        "UPDATE users SET twofa_methods = '{totp}' WHERE tenant_id = $1 AND id = $2",
        &[&office.world.tenant.0, &id],
    )
    .await
    .unwrap();
    office
        .post(&format!("/v1/admin/users/{id}/reset-password"), &json!({}))
        .await
        .expect(200);
    let token = office.links(&email).await.pop().unwrap();
    let body = json!({ "token": token, "password": "orange kettle 42 bridge", "delivery": "body" });
    let answer = public(&office.auth().await, "/v1/auth/accept-invite", &body)
        .await
        .expect(200);
    assert!(answer["access_token"].is_null() && answer["refresh_token"].is_null());
    assert_eq!(answer["user"]["id"], id.to_string());
}

#[tokio::test]
async fn the_inviter_hears_of_it() {
    let office = Office::new().await;
    let inviter = office.world.user("admin").await;
    let email = address();
    let body = json!({ "email": email, "full_name": "Basma Nour" });
    office
        .api
        .post(&inviter, "/v1/admin/users/invite", &body)
        .await
        .expect(201);
    let own = format!("{}@example.com", inviter.user_id);
    assert_eq!(office.mails(&own).await.len(), 0);
    office
        .accept(&office.links(&email).await.pop().unwrap())
        .await
        .expect(200);
    assert_eq!(office.mails(&own).await.len(), 1);
}

#[tokio::test]
async fn links_that_are_tried_are_counted_by_address_here_and_at_the_auth_function() {
    let office = Office::at_a_moment().await;
    let (cloud, table) = (crate::auth::setup::cloud(&endpoint()), table().await);
    let limit = cloud::RateLimit {
        capacity: 3,
        ..cloud::LINKS
    };
    let counted = office
        .world
        .administration_with(|app| app.links = office.world.links(&cloud, &table, limit));
    let body = json!({ "token": "m3i_nonsense", "password": PASSWORD });
    let try_at = async |api: &Api, ip: &str| {
        let path = ("POST", "/v1/admin/users/accept-invite");
        call_from(api, None, (ip, "Firefox"), path, &body).await
    };
    // Two there, one here: the fourth is too many.
    let auth =
        crate::auth::setup::function(&office.world, &endpoint(), &table, auth_function::Limits::DEFAULT);
    for _ in 0..2 {
        let link = json!({ "token": format!("m3l_{}", "A".repeat(43)) });
        let status = crate::auth::setup::post_from(&auth, "198.51.100.7", "verify-email", &link).await;
        assert_eq!(status, 422);
    }
    let third = try_at(&counted, "198.51.100.7").await;
    assert_eq!(third.headers["ratelimit-remaining"], "0");
    refused(&third.expect_code(422, "VALIDATION_FAILED"));
    let fourth = try_at(&counted, "198.51.100.7").await;
    let wait: u64 = fourth.headers["retry-after"].parse().unwrap();
    assert!((1..=601).contains(&wait), "{wait}");
    fourth.expect_code(429, "RATE_LIMITED");
    try_at(&counted, "198.51.100.8")
        .await
        .expect_code(422, "VALIDATION_FAILED");
    // Without counters a link that works is followed.
    let away = crate::auth::setup::cloud("http://127.0.0.1:1");
    let uncounted = office
        .world
        .administration_with(|app| app.links = office.world.links(&away, "none", limit));
    for _ in 0..4 {
        try_at(&uncounted, "198.51.100.7")
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn of_parallel_invitations_exactly_as_many_go_out_as_there_are_seats() {
    let office = Office::new().await;
    let sql = office.world.admin_sql().await;
    let seats =
        "UPDATE entitlement_overrides SET limit_value = 5 WHERE tenant_id = $1 AND code = 'users.max'";
    assert_eq!(sql.execute(seats, &[&office.world.tenant.0]).await.unwrap(), 1);
    // One is the super admin's.
    let invite = async || {
        let body = json!({ "email": address(), "roles": ["staff"] });
        office.api.post(&office.me, "/v1/admin/users/invite", &body).await
    };
    let answers = join_all((0..9).map(|_| invite())).await;
    let (sent, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((sent.len(), refused.len()), (4, 5));
    for answer in refused {
        let error = answer.expect_code(422, "LIMIT_REACHED");
        assert_eq!(
            (&error["details"]["key"], &error["details"]["limit"]),
            (&json!("users.max"), &json!(5))
        );
    }
    let mails = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND channel = 'email'";
    let sent: i64 = sql
        .query_one(mails, &[&office.world.tenant.0])
        .await
        .unwrap()
        .get(0);
    assert_eq!(sent, 4, "who was refused hears nothing");
}
