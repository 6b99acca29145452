//! A company whose super admin makes roles, people and keys.

use crate::support::{Api, Login, World};
use serde_json::{Value, json};
use uuid::Uuid;

pub const ROLES: &str = "/v1/admin/roles";
pub const TREE: &str = "/v1/admin/roles/hierarchy";
pub const GROUPS: &str = "/v1/admin/groups";
pub const KEYS: &str = "/v1/admin/api-keys";

pub struct Company {
    pub world: World,
    pub api: Api,
    /// A super admin.
    pub me: Login,
}

/// The admin function's service.
pub fn function(world: &World) -> Api {
    world.administration()
}

impl Company {
    pub async fn new() -> Self {
        let world = World::new().await;
        Self {
            me: world.admin().await,
            api: function(&world),
            world,
        }
    }

    /// A role of the company with these permissions.
    pub async fn role(&self, permissions: &[&str]) -> Value {
        let code = format!("r{}", testkit::unique().simple());
        let body = json!({ "name": "Role", "code": code, "permissions": permissions });
        self.api.post(&self.me, ROLES, &body).await.expect(201)
    }

    /// Somebody who holds these permissions, by a role of their own, and no others.
    pub async fn person(&self, permissions: &[&str]) -> Login {
        let role = self.role(permissions).await;
        self.world.user(text(&role, "code")).await
    }

    pub async fn group(&self, role_ids: &[&Value]) -> Value {
        let body =
            json!({ "name": "G", "code": format!("g{}", testkit::unique().simple()), "role_ids": role_ids });
        self.api.post(&self.me, GROUPS, &body).await.expect(201)
    }

    pub async fn join(&self, group: &Value, user: &Login) {
        let path = format!("{}/members", of(GROUPS, group));
        let body = json!({ "user_ids": [user.user_id] });
        self.api.post(&self.me, &path, &body).await.expect(201);
    }

    pub async fn inherit(&self, parent: &Value, child: &Value) {
        self.api
            .post(&self.me, TREE, &edge(parent, child))
            .await
            .expect(201);
    }

    pub async fn assign(&self, user: &Login, roles: &[&str]) -> Value {
        let body = json!({ "assign": roles });
        self.api.post(&self.me, &roles_of(user), &body).await.expect(200)
    }

    /// The trial is over, and the company chose no plan.
    pub async fn trial_ends(&self) {
        let free = "UPDATE tenant_subscription SET plan_code = 'dev_free' WHERE tenant_id = $1";
        let sql = self.world.admin_sql().await;
        assert_eq!(sql.execute(free, &[&self.world.tenant.0]).await.unwrap(), 1);
    }

    /// A key with these scopes, and its record.
    pub async fn key(&self, scopes: &[&str]) -> (Login, Value) {
        let body = json!({ "name": "Key", "scopes": scopes });
        let made = self.api.post(&self.me, KEYS, &body).await.expect(201);
        (program(text(&made, "token")), made)
    }

    /// Whether somebody's next request may read contacts.
    pub async fn may_read_contacts(&self, login: &Login) -> bool {
        let answer = self.world.contacts().get(login, "/v1/contacts").await;
        assert!(matches!(answer.status, 200 | 403), "{answer:?}");
        answer.status == 200
    }

    /// The events of a type that this company published: entity and payload.
    pub async fn events(&self, event_type: &str) -> Vec<(Uuid, Value)> {
        let rows = self
            .world
            .admin_sql()
            .await
            .query(
                "SELECT entity_id, payload FROM event_outbox WHERE tenant_id = $1 AND type = $2 ORDER BY id",
                &[&self.world.tenant.0, &event_type],
            )
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// A caller with an API key.
pub fn program(token: &str) -> Login {
    Login {
        user_id: Uuid::nil(),
        session_id: Uuid::nil(),
        token: token.to_owned(),
    }
}

#[track_caller]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

pub fn id(value: &Value) -> Uuid {
    text(value, "id").parse().unwrap()
}

/// The path of a record below its list's.
pub fn of(list: &str, record: &Value) -> String {
    format!("{list}/{}", text(record, "id"))
}

pub fn roles_of(user: &Login) -> String {
    format!("/v1/admin/users/{}/roles", user.user_id)
}

pub fn edge(parent: &Value, child: &Value) -> Value {
    json!({ "parent_role_id": parent["id"], "child_role_id": child["id"] })
}

pub fn edge_path(parent: &Value, child: &Value) -> String {
    format!(
        "{TREE}?parent_role_id={}&child_role_id={}",
        text(parent, "id"),
        text(child, "id")
    )
}

/// `path code` of every field that a 422 names.
pub fn fields(error: &Value) -> Vec<String> {
    let fields = error["details"]["fields"].as_array().unwrap();
    fields
        .iter()
        .map(|field| format!("{} {}", text(field, "path"), text(field, "code")))
        .collect()
}
