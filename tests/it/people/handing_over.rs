//! What is a user's goes to a colleague: contacts and conversations.

use super::setup::Office;
use crate::messaging::stack::Stack;
use crate::support::{Answer, Login};
use serde_json::{Value, json};
use uuid::Uuid;

/// Somebody with a contact and a conversation of their own.
struct Owner {
    office: Office,
    stack: Stack,
    user: Login,
    contact: String,
    conversation: String,
}

impl Owner {
    async fn new() -> Self {
        let stack = Stack::new().await;
        let (_, conversation) = stack.conversation().await;
        let office = Office::of(crate::security::setup::again(&stack.world, stack.world.tenant)).await;
        let user = office.world.user("staff").await;
        let assigned = json!({ "assignee_user_id": user.user_id, "state": "closed" });
        stack
            .api
            .patch(
                &office.me,
                &format!("/v1/conversations/{conversation}"),
                &assigned,
            )
            .await
            .expect(200);
        let body = json!({ "first_name": "Layla", "owner_user_id": user.user_id });
        let contact = office
            .world
            .contacts()
            .post(&office.me, "/v1/contacts", &body)
            .await
            .expect(201);
        Self {
            contact: contact["id"].as_str().unwrap().to_owned(),
            office,
            stack,
            user,
            conversation,
        }
    }

    fn path(&self) -> String {
        format!("/v1/admin/users/{}", self.user.user_id)
    }

    /// What the audit log says of an action on them, oldest first.
    async fn lines(&self, action: &str) -> Vec<Value> {
        let sql = "SELECT after_data FROM audit_logs WHERE tenant_id = $1 AND entity_id = $2 AND action = $3 ORDER BY seq";
        let world = &self.office.world;
        let rows = world
            .admin_sql()
            .await
            .query(sql, &[&world.tenant.0, &self.user.user_id, &action])
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Who has the contact and the conversation.
    async fn holders(&self) -> [Value; 2] {
        let me = &self.office.me;
        let contacts = self.office.world.contacts();
        let contact = contacts
            .get(me, &format!("/v1/contacts/{}", self.contact))
            .await
            .expect(200);
        let path = format!("/v1/conversations/{}", self.conversation);
        let conversation = self.stack.api.get(me, &path).await.expect(200);
        [
            contact["owner_user_id"].clone(),
            conversation["assignee_user_id"].clone(),
        ]
    }
}

#[track_caller]
fn owns_both(answer: Answer) {
    let error = answer.expect_code(409, "CONFLICT");
    assert_eq!(
        error["details"]["owned"],
        json!({ "contacts": 1, "conversations": 1 })
    );
}

#[tokio::test]
async fn a_suspended_users_records_stay_unless_somebody_gets_them() {
    let owner = Owner::new().await;
    let (office, path) = (&owner.office, format!("{}/suspend", owner.path()));
    let reactivate = format!("{}/reactivate", owner.path());
    office.post(&path, &json!({})).await.expect(200);
    assert_eq!(
        owner.holders().await,
        [json!(owner.user.user_id), json!(owner.user.user_id)]
    );
    let owned = json!({ "contacts": 1, "conversations": 1 });
    let back = office.post(&reactivate, &json!({})).await.expect(200);
    assert_eq!(
        (&back["status"], &back["owned"]),
        (&json!("active"), &owned),
        "for whoever looks at whether it should still be theirs"
    );
    let reviewed = json!({ "owned": owned });
    assert_eq!(
        owner.lines("user.reinstated").await,
        std::slice::from_ref(&reviewed)
    );
    let events = async || office.changes(owner.user.user_id, "user.reinstated").await;
    assert_eq!(events().await, [reviewed]);
    // Again changes nothing, and says it all the same.
    let again = office.post(&reactivate, &json!({})).await.expect(200);
    assert_eq!(again["owned"], owned);
    assert_eq!(events().await.len(), 1);
    let heir = office.world.user("staff").await.user_id;
    let answer = office
        .post(&path, &json!({ "reassign_to": heir }))
        .await
        .expect(200);
    assert_eq!(answer["status"], "suspended");
    assert_eq!(owner.holders().await, [json!(heir), json!(heir)]);
    assert_eq!(
        owner.lines("user.suspended").await.pop(),
        Some(json!({ "reassigned_to": heir, "contacts": 1, "conversations": 1 }))
    );
    let back = office.post(&reactivate, &json!({})).await.expect(200);
    assert_eq!(back["owned"], json!({ "contacts": 0, "conversations": 0 }));
}

#[tokio::test]
async fn who_is_deleted_leaves_contacts_and_conversations_to_a_colleague() {
    let owner = Owner::new().await;
    let (office, path) = (&owner.office, owner.path());
    owns_both(office.api.delete(&office.me, &path).await);
    owns_both(office.post(&format!("{path}/deactivate"), &json!({})).await);
    let heir = office.world.user("staff").await.user_id;
    let theirs = Office::new().await.me.user_id;
    for (query, status) in [
        (theirs.to_string(), 404),
        (testkit::unique().to_string(), 404),
        (owner.user.user_id.to_string(), 422),
        ("nobody".to_owned(), 422),
    ] {
        let answer = office
            .api
            .delete(&office.me, &format!("{path}?reassign_to={query}"))
            .await;
        assert_eq!(answer.status, status, "{query} {}", answer.text);
    }
    assert_eq!(office.get(&path).await.expect(200)["status"], "active");
    office
        .api
        .delete(&office.me, &format!("{path}?reassign_to={heir}"))
        .await
        .expect(204);
    assert_eq!(owner.holders().await, [json!(heir), json!(heir)]);
    assert_eq!(office.get(&path).await.expect(200)["status"], "deactivated");
}

#[tokio::test]
async fn who_is_erased_leaves_them_too() {
    let owner = Owner::new().await;
    let (office, id) = (&owner.office, owner.user.user_id);
    let erase = async |reassign_to: Option<Uuid>| {
        let mut body = json!({ "subject_type": "user", "subject_id": id, "confirm": id });
        if let Some(heir) = reassign_to {
            body["reassign_to"] = json!(heir);
        }
        office.post("/v1/admin/gdpr/erase", &body).await
    };
    owns_both(erase(None).await);
    erase(Some(id)).await.expect_code(422, "VALIDATION_FAILED");
    erase(Some(Office::new().await.me.user_id))
        .await
        .expect_code(404, "NOT_FOUND");
    assert_eq!(office.get(&owner.path()).await.expect(200)["status"], "active");
    let heir = office.world.user("staff").await.user_id;
    erase(Some(heir)).await.expect(200);
    assert_eq!(owner.holders().await, [json!(heir), json!(heir)]);
    assert_eq!(
        office.get(&owner.path()).await.expect(200)["full_name"],
        "Erased user"
    );
    let of_a_contact = json!({
        "subject_type": "contact", "subject_id": owner.contact, "confirm": owner.contact, "reassign_to": heir,
    });
    office
        .post("/v1/admin/gdpr/erase", &of_a_contact)
        .await
        .expect_code(422, "VALIDATION_FAILED");
}
