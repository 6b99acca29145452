//! A company that was provisioned and that nobody could join: its first super admin is invited again.

use super::setup::{Office, PASSWORD, PROVISIONING_KEY, address, operate, public, tenant_of};
use crate::support::Answer;
use admin_function::people::mails::Limits;
use futures::future::join;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

/// A new company beside the office's own, and who is to join it first.
struct Provisioned {
    office: Office,
    made: Value,
    email: String,
}

impl Provisioned {
    async fn of(office: Office) -> Self {
        let email = address();
        let body = json!({ "name": "Delta Homes", "admin": { "email": email } });
        let made = operate(&office.api, "POST", "/v1/tenants", &body)
            .await
            .expect(201);
        let mut office = office;
        office.world.tenant = tenant_of(&made);
        Self { office, made, email }
    }

    async fn new() -> Self {
        Self::of(Office::at_a_moment().await).await
    }

    fn path(&self) -> String {
        format!("/v1/tenants/{}/resend-invite", self.office.world.tenant)
    }

    async fn again(&self, body: &Value) -> Answer {
        operate(&self.office.api, "POST", &self.path(), body).await
    }

    fn admin(&self) -> Uuid {
        self.made["admin_user_id"].as_str().unwrap().parse().unwrap()
    }

    async fn sql(&self, sql: &str) {
        let admin = self.office.world.admin_sql().await;
        let changed = admin.execute(sql, &[&self.office.world.tenant.0]).await;
        assert_eq!(changed.unwrap(), 1, "{sql}");
    }
}

#[tokio::test]
async fn an_invitation_that_ran_out_is_sent_again_until_somebody_can_log_in() {
    let company = Provisioned::new().await;
    let office = &company.office;
    let old = office.links(&company.email).await.pop().unwrap();
    let clock = office.world.test.db.clock();
    clock.advance(SignedDuration::from_hours(7 * 24));
    office.accept(&old).await.expect_code(422, "VALIDATION_FAILED");

    assert_eq!(company.again(&Value::Null).await.expect(200), company.made);
    let links = office.links(&company.email).await;
    assert_eq!(links.len(), 2);
    office.accept(&old).await.expect_code(422, "VALIDATION_FAILED");
    office.accept(&links[1]).await.expect(200);
    company.again(&json!({})).await.expect_code(409, "CONFLICT");
    let other = json!({ "email": address() });
    company.again(&other).await.expect_code(409, "CONFLICT");

    let admin = company.admin();
    let invited = office.changes(admin, "user.invited").await;
    assert_eq!(invited.len(), 2);
    assert_eq!(invited[0], invited[1]);
    let by = "SELECT actor FROM audit_logs WHERE tenant_id = $1 AND entity_id = $2 AND action = 'user.inviteResent'";
    let lines = office.world.admin_sql().await;
    let lines = lines.query(by, &[&office.world.tenant.0, &admin]).await.unwrap();
    let by: Vec<&str> = lines.iter().map(|line| line.get(0)).collect();
    assert_eq!(by, ["operator"]);
}

#[tokio::test]
async fn a_wrong_address_is_corrected_and_opens_nothing_any_more() {
    let company = Provisioned::new().await;
    let office = &company.office;
    let (wrong, right) = (
        office.links(&company.email).await.pop().unwrap(),
        address().to_uppercase(),
    );
    let body = json!({ "email": right, "full_name": "Basma Nour" });
    company.again(&body).await.expect(200);
    assert_eq!(office.mails(&company.email).await.len(), 1);
    office.accept(&wrong).await.expect_code(422, "VALIDATION_FAILED");
    let token = office.links(&right).await.pop().unwrap();
    let accept = json!({ "token": token, "password": PASSWORD, "delivery": "body" });
    let auth = office.auth().await;
    let joined = public(&auth, "/v1/auth/accept-invite", &accept).await.expect(200);
    assert_eq!(
        (
            &joined["user"]["id"],
            &joined["user"]["full_name"],
            &joined["user"]["roles"]
        ),
        (
            &json!(company.admin()),
            &json!("Basma Nour"),
            &json!(["super_admin"])
        )
    );
    let login = |email: &str| json!({ "email": email, "password": PASSWORD, "delivery": "body" });
    public(&auth, "/v1/auth/login", &login(&right.to_lowercase()))
        .await
        .expect(200);
    public(&auth, "/v1/auth/login", &login(&company.email))
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    let found: Vec<String> = office.actions(company.admin()).await;
    assert!(found.contains(&"user.updated".to_owned()), "{found:?}");
}

#[tokio::test]
async fn what_can_not_be_done_is_said() {
    let company = Provisioned::new().await;
    let office = &company.office;
    for (body, path) in [
        (json!({ "email": "x" }), "email"),
        (json!({ "full_name": "x".repeat(121) }), "full_name"),
    ] {
        let error = company.again(&body).await.expect_code(422, "VALIDATION_FAILED");
        assert_eq!(error["details"]["fields"][0]["path"], path);
    }
    let unknown = json!({ "mail": address() });
    company
        .again(&unknown)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    let nobody = format!("/v1/tenants/{}/resend-invite", testkit::unique());
    operate(&office.api, "POST", &nobody, &Value::Null)
        .await
        .expect_code(404, "NOT_FOUND");

    // Somebody else of the company has the address.
    let taken = address();
    let insert = format!(
        "INSERT INTO users (tenant_id, id, email, email_norm, full_name) VALUES ($1, gen_random_uuid(), '{taken}', '{taken}', 'A')"
    );
    company.sql(&insert).await;
    company
        .again(&json!({ "email": taken }))
        .await
        .expect_code(409, "DUPLICATE");
    company
        .sql("UPDATE tenants SET status = 'suspended' WHERE id = $1")
        .await;
    company.again(&json!({})).await.expect_code(409, "CONFLICT");
    assert_eq!(office.mails(&company.email).await.len(), 1, "nothing was mailed");
    company
        .sql("UPDATE tenants SET status = 'active' WHERE id = $1")
        .await;
    company
        .sql("UPDATE users SET status = 'deactivated' WHERE tenant_id = $1 AND status = 'invited'")
        .await;
    company.again(&json!({})).await.expect_code(409, "CONFLICT");
}

#[tokio::test]
async fn repeated_with_its_key_one_mail_goes_out() {
    let company = Provisioned::new().await;
    let key = testkit::unique().to_string();
    let send = async |body: Value| {
        let headers = [
            ("content-type", "application/json"),
            ("x-provisioning-key", PROVISIONING_KEY),
            ("idempotency-key", key.as_str()),
        ];
        let api = &company.office.api;
        api.call("POST", &company.path(), &headers, body.to_string())
            .await
    };
    let first = send(json!({})).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    for _ in 0..3 {
        let answer = send(json!({})).await;
        assert_eq!(answer.headers["idempotency-replayed"], "true");
        assert_eq!(answer.expect(200), company.made);
    }
    assert_eq!(first.expect(200), company.made);
    let error = send(json!({ "email": address() }))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    assert_eq!(error["details"]["fields"][0]["code"], "reused");
    assert_eq!(company.office.links(&company.email).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_at_the_same_moment_has_joined_or_gets_a_link_that_works() {
    for _ in 0..4 {
        let company = Provisioned::new().await;
        let office = &company.office;
        let token = office.links(&company.email).await.pop().unwrap();
        let (joined, again) = join(office.accept(&token), company.again(&json!({}))).await;
        let outcome = (joined.status, again.status);
        assert!(matches!(outcome, (200, 409) | (422, 200)), "{joined:?} {again:?}");
        if joined.status == 422 {
            let newest = office.links(&company.email).await.pop().unwrap();
            office.accept(&newest).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_mailbox_is_not_filled_by_who_runs_the_system_either() {
    let (office, _) = Office::with_limits(Limits::DEFAULT).await;
    let company = Provisioned::of(office).await;
    for _ in 0..4 {
        company.again(&json!({})).await.expect(200);
    }
    let sixth = company.again(&json!({})).await;
    assert_eq!(sixth.headers["retry-after"], "3601");
    sixth.expect_code(429, "RATE_LIMITED");
    let again = json!({ "name": "Other", "admin": { "email": company.email } });
    operate(&company.office.api, "POST", "/v1/tenants", &again)
        .await
        .expect_code(429, "RATE_LIMITED");
    company.again(&json!({ "email": address() })).await.expect(200);
}
