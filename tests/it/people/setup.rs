//! The admin function in process, and the links that it mailed.

use crate::messaging::stack::{endpoint, table};
use crate::support::{Answer, Api, Login, World, claims_from, token};
use admin_function::people::mails::Limits;
use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use kernel::{Clock, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

pub const PASSWORD: &str = "violet tram lantern";
pub const PROVISIONING_KEY: &str = "the-operators-own-key";

/// A company with a super admin, and the functions.
pub struct Office {
    pub world: World,
    pub api: Api,
    pub me: Login,
}

impl Office {
    pub async fn new() -> Self {
        Self::of(World::new().await).await
    }

    /// Where time stands still until the test moves it.
    pub async fn at_a_moment() -> Self {
        let test = testkit::database::database_with(Clock::fixed(Clock::system().now())).await;
        let tenant = test.tenant().await;
        Self::of(World { test, tenant }).await
    }

    /// As [`Office::at_a_moment`], at the full hour, with the limits of links that are mailed, counted in a
    /// table of its own; how to call it so from another company, too.
    pub async fn with_limits(limits: Limits) -> (Self, String) {
        let now = Clock::system().now().as_second();
        let hour = Timestamp::from_second(now - now % 3600).unwrap();
        let test = testkit::database::database_with(Clock::fixed(hour)).await;
        let tenant = test.tenant().await;
        let (office, table) = (Self::of(World { test, tenant }).await, table().await);
        (office.counting(&table, limits), table)
    }

    /// Counts mailed links in this table.
    pub fn counting(self, table: &str, limits: Limits) -> Self {
        let cloud = crate::auth::setup::cloud(&endpoint());
        let mails = self.world.mails(&cloud, table, limits);
        Self {
            api: service_with(&self.world, |app| app.mails = mails),
            ..self
        }
    }

    /// The same caller, with a token that is good now.
    pub fn again(&self) -> Login {
        let claims = claims_from(self.world.test.db.clock());
        Login {
            token: token(self.world.tenant, self.me.user_id, self.me.session_id, &claims),
            ..self.me.clone()
        }
    }

    pub async fn of(world: World) -> Self {
        let api = service(&world);
        let me = world.admin().await;
        Self { world, api, me }
    }

    /// The auth function of the same database.
    pub async fn auth(&self) -> Api {
        let limits = auth_function::Limits::times(10);
        crate::auth::setup::function(&self.world, &endpoint(), &table().await, limits)
    }

    /// Invites somebody; the user's id and the token that was mailed.
    pub async fn invite(&self, body: &Value) -> (Uuid, String) {
        let user = self
            .api
            .post(&self.me, "/v1/admin/users/invite", body)
            .await
            .expect(201);
        let id = user["id"].as_str().unwrap().parse().unwrap();
        (
            id,
            self.links(user["email"].as_str().unwrap()).await.pop().unwrap(),
        )
    }

    /// A user with a password and these system roles, who joined by invitation.
    pub async fn colleague(&self, email: &str, roles: &[&str]) -> Uuid {
        let body = json!({ "email": email, "full_name": "Basma Nour", "roles": roles });
        let (id, token) = self.invite(&body).await;
        self.accept(&token).await.expect(200);
        id
    }

    pub async fn accept(&self, token: &str) -> Answer {
        let body = json!({ "token": token, "password": PASSWORD, "full_name": "Basma Nour" });
        public(&self.api, "/v1/admin/users/accept-invite", &body).await
    }

    /// The tokens mailed to an address, oldest first.
    pub async fn links(&self, email: &str) -> Vec<String> {
        let mails = self.mails(email).await;
        let token = |mail: &String| {
            let from = mail.find("m3i_")?;
            let rest = &mail[from..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'));
            Some(rest[..end.unwrap_or(rest.len())].to_owned())
        };
        mails.iter().filter_map(token).collect()
    }

    /// What was mailed to an address, as it is stored, oldest first.
    pub async fn mails(&self, email: &str) -> Vec<String> {
        let (tenant, sealer) = (self.world.tenant, self.world.test.db.sealer().clone());
        let sql = "SELECT recipient_sealed, content_sealed FROM messages_outbox
                   WHERE tenant_id = $1 AND channel = 'email' ORDER BY created_at, id";
        let rows = self
            .world
            .admin_sql()
            .await
            .query(sql, &[&tenant.0])
            .await
            .unwrap();
        let open = |field: &str, sealed: &[u8]| {
            let context = format!("{tenant}/messages_outbox.{field}");
            sealer.open_text(&context, sealed).unwrap()
        };
        rows.iter()
            .filter(|row| open("recipient", row.get(0)) == email)
            .map(|row| open("content", row.get(1)))
            .collect()
    }

    /// What the audit log says was done to a user, oldest first.
    pub async fn actions(&self, user: Uuid) -> Vec<String> {
        let sql = "SELECT action FROM audit_logs WHERE tenant_id = $1 AND entity_id = $2 ORDER BY seq";
        let rows = self
            .world
            .admin_sql()
            .await
            .query(sql, &[&self.world.tenant.0, &user])
            .await;
        rows.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// The events about a user, oldest first.
    pub async fn events(&self, user: Uuid) -> Vec<String> {
        let sql = "SELECT type FROM event_outbox WHERE tenant_id = $1 AND entity_id = $2 ORDER BY id";
        let rows = self
            .world
            .admin_sql()
            .await
            .query(sql, &[&self.world.tenant.0, &user])
            .await;
        rows.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// What the events of a type say of somebody or something, oldest first.
    pub async fn changes(&self, entity: Uuid, event_type: &str) -> Vec<Value> {
        let sql = "SELECT payload FROM event_outbox WHERE tenant_id = $1 AND entity_id = $2 AND type = $3 ORDER BY id";
        let admin = self.world.admin_sql().await;
        let rows = admin
            .query(sql, &[&self.world.tenant.0, &entity, &event_type])
            .await;
        rows.unwrap().iter().map(|row| row.get(0)).collect()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.api.post(&self.me, path, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.api.get(&self.me, path).await
    }
}

/// An address that nobody has.
pub fn address() -> String {
    format!("{}@example.com", testkit::unique())
}

/// A call without a token.
pub async fn public(api: &Api, path: &str, body: &Value) -> Answer {
    api.call(
        "POST",
        path,
        &[("content-type", "application/json")],
        body.to_string(),
    )
    .await
}

/// A call with the provisioning key.
pub async fn operate(api: &Api, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("x-provisioning-key", PROVISIONING_KEY),
    ];
    let body = if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };
    api.call(method, path, &headers, body).await
}

pub fn service(world: &World) -> Api {
    service_with(world, |_| ())
}

pub fn service_with(world: &World, change: impl FnOnce(&mut admin_function::App)) -> Api {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, PROVISIONING_KEY.as_bytes());
    let keys = json!({ "sha256": [STANDARD.encode(hash.as_ref())] });
    let keys = serde_json::from_value(keys).unwrap();
    world.administration_with(|app| {
        app.web = world.web().with_operator(&keys);
        change(app);
    })
}

/// The same service for a company that was made elsewhere.
pub fn tenant_of(answer: &Value) -> TenantId {
    TenantId(answer["id"].as_str().unwrap().parse().unwrap())
}
