//! A company whose contacts are deleted only with an approval.

use crate::support::{Answer, Api, Login, World};
use serde_json::{Value, json};
use uuid::Uuid;

pub struct Company {
    pub world: World,
    pub contacts: Api,
    pub approvals: Api,
    pub admin: Login,
}

/// A message that went out: to whom, and what it says.
pub struct Mail {
    pub to: String,
    pub text: String,
}

impl Company {
    pub async fn new() -> Self {
        Self::of(World::new().await).await
    }

    pub async fn of(world: World) -> Self {
        Self {
            contacts: world.contacts(),
            approvals: world.approvals(),
            admin: world.admin().await,
            world,
        }
    }

    /// A company where these steps gate the deletion of contacts.
    pub async fn gated(steps: Value) -> Self {
        let company = Self::new().await;
        company.policy(json!({ "steps": steps })).await;
        company
    }

    /// Makes a policy for the deletion of contacts.
    pub async fn policy(&self, with: Value) -> Value {
        let answer = self.approvals.post(&self.admin, POLICIES, &policy(with)).await;
        answer.expect(201)
    }

    pub async fn user(&self, role: &str) -> Login {
        self.world.user(role).await
    }

    pub async fn contact(&self) -> String {
        self.contact_with(json!({})).await
    }

    pub async fn contact_with(&self, with: Value) -> String {
        let mut body = json!({ "first_name": "Basma" });
        merge(&mut body, with);
        let made = self.contacts.post(&self.admin, "/v1/contacts", &body).await;
        id(&made.expect(201))
    }

    pub async fn delete(&self, by: &Login, contact: &str) -> Answer {
        self.contacts.delete(by, &format!("/v1/contacts/{contact}")).await
    }

    /// Has this user ask for a contact's deletion: the contact and the request.
    pub async fn ask(&self, by: &Login) -> (String, String) {
        let contact = self.contact().await;
        let waiting = self.delete(by, &contact).await.expect(202);
        assert_eq!(waiting["state"], "pending");
        (contact, id(&waiting))
    }

    pub async fn decide(&self, by: &Login, request: &str, what: &str) -> Answer {
        let path = format!("{REQUESTS}/{request}/{what}");
        self.approvals.post(by, &path, &json!({})).await
    }

    pub async fn approve(&self, by: &Login, request: &str) -> Answer {
        self.decide(by, request, "approve").await
    }

    pub async fn request(&self, request: &str) -> Value {
        let path = format!("{REQUESTS}/{request}");
        self.approvals.get(&self.admin, &path).await.expect(200)
    }

    /// Who may decide the open steps, as the request says.
    pub async fn deciders(&self, request: &str) -> Vec<Uuid> {
        let found = self.request(request).await;
        let deciders = found["deciders"].as_array().unwrap().iter();
        let mut users: Vec<Uuid> = deciders.map(|decider| uuid(&decider["user_id"])).collect();
        users.sort();
        users.dedup();
        users
    }

    pub async fn is_there(&self, contact: &str) -> bool {
        let path = format!("/v1/contacts/{contact}");
        self.contacts.get(&self.admin, &path).await.status == 200
    }

    /// Runs SQL with the tenant as `$1` and a user or another id as `$2`.
    pub async fn sql(&self, sql: &str, id: Uuid) {
        let admin = self.world.admin_sql().await;
        let changed = admin.execute(sql, &[&self.world.tenant.0, &id]).await.unwrap();
        assert!(changed > 0, "{sql} changed nothing");
    }

    pub async fn count(&self, sql: &str) -> i64 {
        let admin = self.world.admin_sql().await;
        admin
            .query_one(sql, &[&self.world.tenant.0])
            .await
            .unwrap()
            .get(0)
    }

    pub async fn group(&self, members: &[&Login]) -> Uuid {
        let group = testkit::unique();
        let code = format!("g-{group}");
        let admin = self.world.admin_sql().await;
        let insert = "INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at) VALUES ($1, $2, $3, $3, now(), now())";
        admin
            .execute(insert, &[&self.world.tenant.0, &group, &code])
            .await
            .unwrap();
        for member in members {
            let insert = "INSERT INTO group_members (tenant_id, group_id, user_id, added_at) VALUES ($1, $2, $3, now())";
            let params: [&(dyn db::ToSql + Sync); 3] = [&self.world.tenant.0, &group, &member.user_id];
            admin.execute(insert, &params).await.unwrap();
        }
        group
    }

    pub async fn manages(&self, manager: &Login, user: &Login) {
        let admin = self.world.admin_sql().await;
        let update = "UPDATE users SET manager_user_id = $3 WHERE tenant_id = $1 AND id = $2";
        let params: [&(dyn db::ToSql + Sync); 3] = [&self.world.tenant.0, &user.user_id, &manager.user_id];
        assert_eq!(admin.execute(update, &params).await.unwrap(), 1);
    }

    /// The e-mails queued so far, oldest first.
    pub async fn mails(&self) -> Vec<Mail> {
        let (tenant, sealer) = (self.world.tenant, self.world.test.db.sealer());
        let admin = self.world.admin_sql().await;
        let select = "SELECT recipient_sealed, content_sealed FROM messages_outbox
                      WHERE tenant_id = $1 AND channel = 'email' ORDER BY id";
        let rows = admin.query(select, &[&tenant.0]).await.unwrap();
        let open = |field: &str, sealed| {
            let context = format!("{tenant}/messages_outbox.{field}");
            sealer.open_text(&context, sealed).unwrap()
        };
        rows.iter()
            .map(|row| Mail {
                to: open("recipient", row.get(0)),
                text: open("content", row.get(1)),
            })
            .collect()
    }

    /// The types of the events of a request, oldest first.
    pub async fn events(&self, request: &str) -> Vec<String> {
        let admin = self.world.admin_sql().await;
        let select = "SELECT type FROM event_outbox WHERE tenant_id = $1 AND entity_id = $2 ORDER BY id";
        let params: [&(dyn db::ToSql + Sync); 2] = [&self.world.tenant.0, &request.parse::<Uuid>().unwrap()];
        let rows = admin.query(select, &params).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

pub const POLICIES: &str = "/v1/approvals/policies";
pub const REQUESTS: &str = "/v1/approvals/requests";

/// A policy for the deletion of contacts that any sales manager approves, unless `with` says otherwise.
pub fn policy(with: Value) -> Value {
    let mut body = json!({
        "name": "Deletions", "action_code": "contact.delete", "object_type": "contact",
        "steps": [role("sales_manager")],
    });
    merge(&mut body, with);
    body
}

pub fn role(code: &str) -> Value {
    json!({ "approver_mode": "role", "approver_ref": code })
}

pub fn user(login: &Login) -> Value {
    json!({ "approver_mode": "user", "approver_ref": login.user_id })
}

pub fn dynamic(which: &str) -> Value {
    json!({ "approver_mode": "dynamic", "approver_ref": which })
}

/// A step of another kind.
pub fn kind(kind: &str, mut step: Value) -> Value {
    step["kind"] = json!(kind);
    step
}

pub fn with(mut step: Value, field: &str, value: Value) -> Value {
    step[field] = value;
    step
}

pub fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

pub fn uuid(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

pub fn email(login: &Login) -> String {
    format!("{}@example.com", login.user_id)
}

/// `code path` of every field that was refused.
pub fn fields(error: &Value) -> Vec<String> {
    let fields = error["details"]["fields"].as_array().unwrap().iter();
    fields
        .map(|field| {
            format!(
                "{} {}",
                field["path"].as_str().unwrap(),
                field["code"].as_str().unwrap()
            )
        })
        .collect()
}

fn merge(body: &mut Value, with: Value) {
    for (name, value) in with.as_object().unwrap() {
        body[name] = value.clone();
    }
}
