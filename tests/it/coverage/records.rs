//! A company with a record of each kind.

use crate::messaging::stack::Stack;
use crate::people::setup::service;
use crate::support::{Api, Login};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What an id can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    User,
    Session,
    Role,
    /// A role that the other one inherits from.
    ParentRole,
    /// The role again, by its code.
    RoleCode,
    Group,
    ApiKey,
    JobTitle,
    Department,
    Policy,
    Request,
    Contact,
    Account,
    Conversation,
}

/// A company, and one record of each kind: the user is in the group, the policy gates the deletion of
/// contacts, and the request asks for one.
pub struct Records {
    pub stack: Stack,
    ids: BTreeMap<Kind, String>,
}

impl Records {
    pub async fn new() -> Self {
        let stack = Stack::new().await;
        let (world, me) = (&stack.world, &stack.me);
        let (admin, contacts, approvals) = (service(world), world.contacts(), world.approvals());
        let (account, conversation) = stack.conversation().await;
        let user = world.user("staff").await;
        let mut ids = BTreeMap::from([
            (Kind::Account, account.account_id.to_string()),
            (Kind::Conversation, conversation),
            (Kind::User, user.user_id.to_string()),
            (Kind::Session, user.session_id.to_string()),
        ]);
        // Codes come from names, and no two companies' are the same here.
        let board = json!({ "name": format!("Board {}", testkit::unique()) });
        let role = made(&admin, me, "/v1/admin/roles", &board).await;
        ids.insert(Kind::RoleCode, text(&role["code"]));
        ids.insert(Kind::Role, text(&role["id"]));
        let word = json!({ "code": "falconer", "label": "Falconer" });
        let key = json!({ "name": "A", "scopes": ["contact.read"] });
        let policy = json!({
            "name": "A", "action_code": "contact.delete", "object_type": "contact",
            "steps": [{ "approver_mode": "role", "approver_ref": "sales_manager" }],
        });
        for (kind, api, path, body) in [
            (
                Kind::ParentRole,
                &admin,
                "/v1/admin/roles",
                &json!({ "name": "Parent" }),
            ),
            (
                Kind::Group,
                &admin,
                "/v1/admin/groups",
                &json!({ "name": "Team" }),
            ),
            (Kind::ApiKey, &admin, "/v1/admin/api-keys", &key),
            (Kind::JobTitle, &admin, "/v1/admin/job-title-codes", &word),
            (Kind::Department, &admin, "/v1/admin/department-codes", &word),
            (Kind::Policy, &approvals, "/v1/approvals/policies", &policy),
            (
                Kind::Contact,
                &contacts,
                "/v1/contacts",
                &json!({ "first_name": "Zubaida" }),
            ),
        ] {
            ids.insert(kind, text(&made(api, me, path, body).await["id"]));
        }
        let edge = json!({ "parent_role_id": ids[&Kind::ParentRole], "child_role_id": ids[&Kind::Role] });
        made(&admin, me, "/v1/admin/roles/hierarchy", &edge).await;
        let members = format!("/v1/admin/groups/{}/members", ids[&Kind::Group]);
        made(&admin, me, &members, &json!({ "user_ids": [ids[&Kind::User]] })).await;
        let contact = format!("/v1/contacts/{}", ids[&Kind::Contact]);
        let request = contacts.delete(&world.user("manager").await, &contact).await;
        ids.insert(Kind::Request, text(&request.expect(202)["id"]));
        Self { stack, ids }
    }

    /// An endpoint's path, with the ids of the records that it is about.
    pub fn path(&self, template: &str) -> String {
        let ids = super::foreign::kinds_of(template)
            .into_iter()
            .map(|kind| self.of(kind));
        super::filled(template, &ids.collect::<Vec<_>>())
    }

    /// The id of the record of this kind.
    pub fn of(&self, kind: Kind) -> &str {
        &self.ids[&kind]
    }
}

async fn made(api: &Api, me: &Login, path: &str, body: &Value) -> Value {
    api.post(me, path, body).await.expect(201)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
