//! How many links are mailed: to one address, whoever asks, and for one company.

use super::setup::{Office, PASSWORD, address, public, service_with};
use crate::messaging::stack::endpoint;
use crate::support::World;
use admin_function::people::mails::Limits;
use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

const INVITE: &str = "/v1/admin/users/invite";

impl Office {
    async fn forget(&self, id: Uuid) {
        let body = json!({ "subject_type": "user", "subject_id": id, "confirm": id });
        self.post("/v1/admin/gdpr/erase", &body).await.expect(200);
    }

    /// Another company, which counts in the same table.
    async fn neighbour(&self, table: &str, limits: Limits) -> Self {
        let test = testkit::database::database_with(self.world.test.db.clock().clone()).await;
        let tenant = test.tenant().await;
        Self::of(World { test, tenant }).await.counting(table, limits)
    }
}

fn of_company(capacity: u32) -> Limits {
    let mut limits = Limits::DEFAULT;
    limits.company.capacity = capacity;
    limits
}

#[tokio::test]
async fn the_sixth_mail_to_an_address_in_an_hour_is_refused_also_after_an_erasure() {
    let (office, table) = Office::with_limits(Limits::DEFAULT).await;
    let email = address();
    let body = json!({ "email": email });
    let invite = async || -> Uuid {
        let user = office.post(INVITE, &body).await.expect(201);
        user["id"].as_str().unwrap().parse().unwrap()
    };
    for _ in 0..2 {
        office.forget(invite().await).await;
    }
    let id = invite().await;
    let resend = format!("/v1/admin/users/{id}/resend-invite");
    office.post(&resend, &json!({})).await.expect(200);

    // Spelled otherwise, and by another company, it is the same mailbox.
    let other = office.neighbour(&table, Limits::DEFAULT).await;
    let spelled = json!({ "email": email.to_uppercase() });
    other.post("/v1/admin/users", &spelled).await.expect(201);
    let refused = other.post(INVITE, &json!({ "email": format!(" {email}") })).await;
    assert_eq!(refused.headers["retry-after"], "3601");
    refused.expect_code(429, "RATE_LIMITED");
    office
        .post(&resend, &json!({}))
        .await
        .expect_code(429, "RATE_LIMITED");
    office.forget(id).await;
    office.post(INVITE, &body).await.expect_code(429, "RATE_LIMITED");
    office
        .post("/v1/admin/users", &body)
        .await
        .expect_code(429, "RATE_LIMITED");
    let found = office.get(&format!("/v1/admin/users?search={email}")).await;
    assert_eq!(found.expect(200)["data"], json!([]), "nobody was made");

    // What strangers ask for comes out of the same budget.
    let auth =
        crate::auth::setup::function(&other.world, &endpoint(), &table, auth_function::Limits::DEFAULT);
    let forgotten = json!({ "email": email });
    public(&auth, "/v1/auth/forgot-password", &forgotten)
        .await
        .expect_code(429, "RATE_LIMITED");

    office
        .world
        .test
        .db
        .clock()
        .advance(SignedDuration::from_hours(1));
    office.api.post(&office.again(), INVITE, &body).await.expect(201);
}

#[tokio::test]
async fn a_company_has_so_many_links_mailed_in_a_day() {
    let limits = of_company(6);
    let (office, table) = Office::with_limits(limits).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(office.invite(&json!({ "email": address() })).await.0);
    }
    // Of three at once the first one has had five already.
    let full = ids[0].min(ids[1]).min(ids[2]);
    let bulk = json!({ "action": "resend_invite", "user_ids": ids });
    office.post("/v1/admin/users/bulk", &bulk).await.expect(200);
    let refused = office.post(INVITE, &json!({ "email": address() })).await;
    let wait: i64 = refused.headers["retry-after"].parse().unwrap();
    assert!((3600..=86401).contains(&wait), "{wait}");
    refused.expect_code(429, "RATE_LIMITED");
    let resend = format!("/v1/admin/users/{full}/resend-invite");
    office
        .post(&resend, &json!({}))
        .await
        .expect_code(429, "RATE_LIMITED");
    let colleague = office.world.user("staff").await.user_id;
    let reset = format!("/v1/admin/users/{colleague}/reset-password");
    office
        .post(&reset, &json!({}))
        .await
        .expect_code(429, "RATE_LIMITED");

    let other = office.neighbour(&table, limits).await;
    other.invite(&json!({ "email": address() })).await;
    office
        .world
        .test
        .db
        .clock()
        .advance(SignedDuration::from_hours(24));
    let again = office.again();
    let body = json!({ "email": address() });
    office.api.post(&again, INVITE, &body).await.expect(201);
}

#[tokio::test]
async fn of_many_at_once_those_are_mailed_that_may_be_and_the_others_are_told() {
    let (office, _) = Office::with_limits(of_company(12)).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(office.invite(&json!({ "email": address() })).await.0);
    }
    ids.sort_unstable();
    let full = format!("/v1/admin/users/{}/resend-invite", ids[1]);
    for _ in 0..4 {
        office.post(&full, &json!({})).await.expect(200);
    }
    // Eight are counted: of these the mailbox of one is full, and the company's day is over for one.
    let also = office.world.user("staff").await.user_id;
    let body = json!({ "action": "resend_invite", "user_ids": [ids[0], ids[1], ids[2], ids[3], also] });
    let outcome = async || {
        let answer = office.post("/v1/admin/users/bulk", &body).await.expect(200);
        let results = answer["results"].as_array().unwrap().clone();
        let code = |id: Uuid| {
            let found = results.iter().find(|result| result["user_id"] == json!(id));
            found.unwrap()["code"].clone()
        };
        (
            [ids[0], ids[1], ids[2], ids[3], also].map(code),
            answer["succeeded"].clone(),
        )
    };
    let limited = json!("RATE_LIMITED");
    assert_eq!(
        outcome().await,
        (
            [
                Value::Null,
                limited.clone(),
                Value::Null,
                Value::Null,
                json!("CONFLICT")
            ],
            json!(3)
        )
    );
    let none = [
        limited.clone(),
        limited.clone(),
        limited.clone(),
        limited,
        json!("CONFLICT"),
    ];
    assert_eq!(outcome().await, (none, json!(0)));
    let sent = "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND action = 'user.inviteResent'";
    let admin = office.world.admin_sql().await;
    let sent: i64 = admin
        .query_one(sent, &[&office.world.tenant.0])
        .await
        .unwrap()
        .get(0);
    assert_eq!(sent, 4 + 3);
}

#[tokio::test]
async fn of_parallel_invitations_as_many_go_out_as_there_may_be() {
    let (office, _) = Office::with_limits(of_company(5)).await;
    let invite = async || office.post(INVITE, &json!({ "email": address() })).await.status;
    let mut statuses = join_all((0..8).map(|_| invite())).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 201, 201, 429, 429, 429]);
}

#[tokio::test]
async fn who_may_not_and_who_repeats_uses_nothing_up() {
    let (office, _) = Office::with_limits(of_company(2)).await;
    let staff = office.world.user("staff").await;
    let email = address();
    let body = json!({ "email": email });
    for _ in 0..6 {
        office
            .api
            .post(&staff, INVITE, &body)
            .await
            .expect_code(403, "FORBIDDEN");
    }
    let headers = [("idempotency-key", "the-same-each-time")];
    for _ in 0..6 {
        let answer = office.api.json(&office.me, "POST", INVITE, &headers, &body).await;
        answer.expect(201);
    }
    assert_eq!(office.links(&email).await.len(), 1);
    office.invite(&json!({ "email": address() })).await;
}

#[tokio::test]
async fn without_counters_nothing_is_mailed_and_accounts_are_closed_all_the_same() {
    let office = Office::new().await;
    let id = office.invite(&json!({ "email": address() })).await.0;
    let away = crate::auth::setup::cloud("http://127.0.0.1:1");
    let mails = office.world.mails(&away, "none", Limits::DEFAULT);
    let office = Office {
        api: service_with(&office.world, |app| app.mails = mails),
        ..office
    };
    let email = address();
    let resend = format!("/v1/admin/users/{id}/resend-invite");
    let bulk = json!({ "action": "resend_invite", "user_ids": [id] });
    for (path, body) in [
        (INVITE, json!({ "email": email })),
        (&resend, json!({})),
        ("/v1/admin/users/bulk", bulk),
    ] {
        let answer = office.post(path, &body).await;
        assert!(answer.headers.contains_key("retry-after"), "{path}");
        answer.expect_code(503, "UNAVAILABLE");
    }
    assert_eq!(office.mails(&email).await.len(), 0);
    let close = format!("/v1/admin/users/{id}/deactivate");
    office.post(&close, &json!({})).await.expect(200);
    let accept = json!({ "token": "m3i_nonsense", "password": PASSWORD });
    public(&office.api, "/v1/admin/users/accept-invite", &accept)
        .await
        .expect_code(422, "VALIDATION_FAILED");
}
