//! What is handed out of a person, and who may ask.

use super::setup::{Office, call_from, download, unzipped};
use crate::messaging::stack::Stack;
use crate::support::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

const EXPORT: &str = "/v1/admin/gdpr/export";
const ERASE: &str = "/v1/admin/gdpr/erase";

fn subject(kind: &str, id: impl ToString) -> Value {
    json!({ "subject_type": kind, "subject_id": id.to_string() })
}

fn erasing(kind: &str, id: impl ToString, confirm: &str) -> Value {
    json!({ "subject_type": kind, "subject_id": id.to_string(), "confirm": confirm })
}

async fn files(export: &Value) -> BTreeMap<String, Vec<Value>> {
    let files: BTreeMap<String, Vec<Value>> = unzipped(&download(export).await)
        .into_iter()
        .map(|(name, text)| (name, serde_json::from_str(&text).unwrap()))
        .collect();
    for file in export["files"].as_array().unwrap() {
        assert_eq!(
            file["records"],
            json!(files[file["name"].as_str().unwrap()].len()),
            "{file}"
        );
    }
    files
}

#[tokio::test]
async fn a_contact_gets_everything_in_the_clear() {
    let stack = Stack::new().await;
    let (_, conversation) = stack.conversation().await;
    let reply = stack.reply(&conversation).await;
    let office = office_of(&stack).await;
    let found = stack
        .api
        .get(&stack.me, &format!("/v1/conversations/{conversation}"))
        .await
        .expect(200);
    let contact = found["contact_id"].as_str().unwrap();
    let export = office
        .api
        .post(&office.me, EXPORT, &subject("contact", contact))
        .await
        .expect(201);
    let files = files(&export).await;
    assert_eq!(files["contact.json"][0]["first_name"], "Salma");
    assert_eq!(files["channels.json"][0]["value"], "+201001234567");
    assert_eq!(files["channels.json"][0]["opt_in"], false);
    assert_eq!(files["conversations.json"][0]["peer"], "+201001234567");
    assert_eq!(files["messages.json"].len(), 2);
    assert_eq!(files["messages.json"][0]["body"], "hello");
    assert!(
        files["messages.json"][0]["raw"]
            .to_string()
            .contains("201001234567")
    );
    assert_eq!(files["deliveries.json"][0]["id"], json!(reply));
    assert_eq!(files["deliveries.json"][0]["recipient"], "+201001234567");
    assert_eq!(
        files["deliveries.json"][0]["content"],
        json!({ "text": "welcome" })
    );
    let actions: Vec<&str> = files["audit.json"]
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert!(
        actions.contains(&"contact.created") && actions.contains(&"contact.channel.created"),
        "{actions:?}"
    );
    assert!(office.actions().await.contains(&"gdpr.exported".to_owned()));
}

async fn office_of(stack: &Stack) -> Office {
    let test = &stack.world.test;
    let test = testkit::TestDb {
        settings: test.settings.clone(),
        admin: test.admin.clone(),
        db: test.db.clone(),
    };
    Office::of(World {
        test,
        tenant: stack.world.tenant,
    })
    .await
}

#[tokio::test]
async fn a_user_gets_everything_but_secrets() {
    let office = Office::new().await;
    let user = office.world.user("staff").await;
    let export = office
        .api
        .post(&office.me, EXPORT, &subject("user", user.user_id))
        .await
        .expect(201);
    let files = files(&export).await;
    assert_eq!(files["user.json"][0]["full_name"], "Test User");
    assert_eq!(files["user.json"][0].get("password_hash"), None);
    assert_eq!(files["roles.json"][0]["code"], "staff");
    assert_eq!(files["sessions.json"][0]["id"], json!(user.session_id));
    assert_eq!(
        files["groups.json"].len() + files["api_keys.json"].len() + files["deliveries.json"].len(),
        0
    );
    assert!(
        files["audit.json"]
            .iter()
            .any(|line| line["action"] == "user.created")
    );
}

/// Where colleagues and functions were when they had to do with somebody is not that person's data.
#[tokio::test]
async fn nobody_is_told_where_others_were() {
    let office = Office::new().await;
    let user = office.world.user("staff").await;
    super::furnish::furnish(&office.world, user.user_id).await;
    let (theirs, own) = (("203.0.113.5", "Colleague/1"), ("203.0.113.6", "Own/1"));
    let path = format!("/v1/admin/users/{}", user.user_id);
    let renamed = json!({ "full_name": "Dalia Sabry" });
    call_from(&office.api, Some(&office.me), theirs, ("PATCH", &path), &renamed)
        .await
        .expect(200);
    let contact = json!({ "first_name": "Client" });
    let contacts = office.world.contacts();
    call_from(&contacts, Some(&user), own, ("POST", "/v1/contacts"), &contact)
        .await
        .expect(201);
    let export = office
        .api
        .post(&office.me, EXPORT, &subject("user", user.user_id))
        .await
        .expect(201);
    let files = files(&export).await;
    let line = |action: &str, by: Uuid| {
        let mut lines = files["audit.json"].iter();
        let found = lines.find(|line| line["action"] == action && line["actor_user_id"] == json!(by));
        found.unwrap_or_else(|| panic!("no {action}")).clone()
    };
    let origin = |line: &Value| (line["ip"].clone(), line["user_agent"].clone());
    let renamed = line("user.updated", office.me.user_id);
    assert_eq!(origin(&renamed), (Value::Null, Value::Null));
    let made = line("contact.created", user.user_id);
    assert_eq!(origin(&made), (json!(own.0), json!(own.1)));
    let text = serde_json::to_string(&files["audit.json"]).unwrap();
    for other in [theirs.0, theirs.1, "203.0.113.88", "Lanner"] {
        assert!(!text.contains(other), "{other}");
    }
    assert_eq!(
        files["phone_verifications.json"][0]["phone"],
        super::furnish::USER_PHONE
    );
    let mut ids: Vec<&str> = files["audit.json"]
        .iter()
        .map(|line| line["id"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.dedup();
    assert!(
        ids.is_sorted() && ids.len() == all,
        "each line once, in their order"
    );
}

/// More than a page of records, each once.
#[tokio::test]
async fn a_long_history_comes_whole() {
    let stack = Stack::new().await;
    let (account, conversation) = stack.conversation().await;
    let admin = stack.world.admin_sql().await;
    let many = "INSERT INTO messages (tenant_id, id, conversation_id, direction, provider, type, body, status, occurred_at, created_at)
                SELECT $1, gen_random_uuid(), $2, 'inbound', 'meta', 'text', 'message ' || n, 'received', now(), now()
                FROM generate_series(1, 1200) AS n";
    let id: Uuid = conversation.parse().unwrap();
    admin.execute(many, &[&account.tenant_id, &id]).await.unwrap();
    let office = office_of(&stack).await;
    let found = stack
        .api
        .get(&stack.me, &format!("/v1/conversations/{conversation}"))
        .await
        .expect(200);
    let contact = found["contact_id"].as_str().unwrap();
    let export = office
        .api
        .post(&office.me, EXPORT, &subject("contact", contact))
        .await
        .expect(201);
    let files = files(&export).await;
    let mut bodies: Vec<&str> = files["messages.json"]
        .iter()
        .map(|message| message["body"].as_str().unwrap())
        .collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), 1201);
}

/// The answer may have been lost after 15 minutes, when its link has ended.
#[tokio::test]
async fn a_repetition_writes_the_same_file_and_links_to_it_anew() {
    let office = Office::new().await;
    let user = office.world.user("staff").await;
    let subject = subject("user", user.user_id);
    let key = [("idempotency-key", "my-data")];
    let ask = || office.api.json(&office.me, "POST", EXPORT, &key, &subject);
    let first = ask().await.expect(201);
    let clock = office.world.test.db.clock();
    clock.advance(jiff::SignedDuration::from_mins(10));
    let answer = ask().await;
    assert_eq!(answer.headers["idempotency-replayed"], "true");
    let second = answer.expect(201);
    assert!(second["expires_at"].as_str() > first["expires_at"].as_str());
    let object = |export: &Value| {
        export["url"]
            .as_str()
            .unwrap()
            .split('?')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(object(&second), object(&first));
    assert_eq!(files(&second).await["user.json"][0]["id"], json!(user.user_id));
    let lines = office.actions().await;
    assert_eq!(
        lines.iter().filter(|action| *action == "gdpr.exported").count(),
        1
    );
}

#[tokio::test]
async fn who_may_ask_and_of_whom() {
    let (office, other) = (Office::new().await, Office::new().await);
    let contact = json!({ "first_name": "Salma", "last_name": "Nour" });
    let mine = office
        .world
        .contacts()
        .post(&office.me, "/v1/contacts", &contact)
        .await
        .expect(201);
    let theirs = other
        .world
        .contacts()
        .post(&other.me, "/v1/contacts", &contact)
        .await
        .expect(201);
    let (mine, theirs) = (mine["id"].as_str().unwrap(), theirs["id"].as_str().unwrap());
    let manager = office.world.user("manager").await;
    office
        .api
        .post(&manager, EXPORT, &subject("contact", mine))
        .await
        .expect_code(403, "FORBIDDEN");
    office
        .api
        .post(&manager, ERASE, &erasing("contact", mine, "Salma Nour"))
        .await
        .expect_code(403, "FORBIDDEN");
    for id in [theirs, &testkit::unique().to_string()] {
        for kind in ["contact", "user"] {
            office
                .api
                .post(&office.me, EXPORT, &subject(kind, id))
                .await
                .expect_code(404, "NOT_FOUND");
            office
                .api
                .post(&office.me, ERASE, &erasing(kind, id, id))
                .await
                .expect_code(404, "NOT_FOUND");
        }
    }
    let their_user = other.me.user_id;
    office
        .api
        .post(
            &office.me,
            ERASE,
            &erasing("user", their_user, &their_user.to_string()),
        )
        .await
        .expect_code(404, "NOT_FOUND");
    for wrong in [
        json!({ "subject_type": "contact", "subject_id": mine }),
        erasing("contact", mine, "Salma"),
        erasing("contact", mine, ""),
        erasing("company", mine, mine),
        json!({ "subject_type": "contact", "subject_id": "x", "confirm": "x" }),
        json!({ "subject_type": "contact", "subject_id": mine, "confirm": mine, "force": true }),
    ] {
        office
            .api
            .post(&office.me, ERASE, &wrong)
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    office
        .world
        .contacts()
        .get(&office.me, &format!("/v1/contacts/{mine}"))
        .await
        .expect(200);
    let erased = office
        .api
        .post(&office.me, ERASE, &erasing("contact", mine, " Salma Nour "))
        .await
        .expect(200);
    assert_eq!(erased["subject_id"], json!(mine));
    office
        .world
        .contacts()
        .get(&office.me, &format!("/v1/contacts/{mine}"))
        .await
        .expect_code(404, "NOT_FOUND");
    office
        .api
        .post(&office.me, ERASE, &erasing("contact", mine, mine))
        .await
        .expect_code(404, "NOT_FOUND");
    other
        .world
        .contacts()
        .get(&other.me, &format!("/v1/contacts/{theirs}"))
        .await
        .expect(200);
    // Privileged: not before the asker's own address is verified.
    let unverified = "UPDATE users SET email_verified_at = NULL WHERE tenant_id = $1 AND id = $2";
    let admin = office.world.admin_sql().await;
    admin
        .execute(unverified, &[&office.world.tenant.0, &office.me.user_id])
        .await
        .unwrap();
    office
        .api
        .post(&office.me, EXPORT, &subject("user", office.me.user_id))
        .await
        .expect_code(403, "AUTH_EMAIL_UNVERIFIED");
}

#[tokio::test]
async fn the_last_super_admin_stays_also_when_two_erase_each_other() {
    let office = Office::new().await;
    let id = office.me.user_id;
    let alone = office
        .api
        .post(&office.me, ERASE, &erasing("user", id, &id.to_string()))
        .await;
    alone.expect_code(409, "CONFLICT");
    office
        .api
        .get(&office.me, "/v1/admin/audit-logs")
        .await
        .expect(200);
    let second = office.world.admin().await;
    let (one_body, other_body) = (
        erasing("user", second.user_id, "Test User"),
        erasing("user", id, "Test User"),
    );
    let (one, other) = futures::join!(
        office.api.post(&office.me, ERASE, &one_body),
        office.api.post(&second, ERASE, &other_body),
    );
    let done = [one.status, other.status]
        .iter()
        .filter(|status| **status == 200)
        .count();
    assert_eq!(done, 1, "{one:?} {other:?}");
}

/// A repetition with the same key is the same erasure; afterwards the key is spent.
#[tokio::test]
async fn an_erasure_is_repeated_harmlessly() {
    let office = Office::new().await;
    let contact = json!({ "first_name": "Salma" });
    let key = [("idempotency-key", "make-salma")];
    let contacts = office.world.contacts();
    let made = contacts
        .json(&office.me, "POST", "/v1/contacts", &key, &contact)
        .await
        .expect(201);
    let id = made["id"].as_str().unwrap();
    let erase = [("idempotency-key", "erase-salma")];
    let body = erasing("contact", id, "Salma");
    let first = office
        .api
        .json(&office.me, "POST", ERASE, &erase, &body)
        .await
        .expect(200);
    let again = office
        .api
        .json(&office.me, "POST", ERASE, &erase, &body)
        .await
        .expect(200);
    assert_eq!(first, again);
    let erased = office
        .actions()
        .await
        .iter()
        .filter(|action| *action == "gdpr.erased")
        .count();
    assert_eq!(erased, 1);
    // Whoever repeats the request that made the person does not make them again.
    contacts
        .json(&office.me, "POST", "/v1/contacts", &key, &contact)
        .await
        .expect_code(422, "VALIDATION_FAILED");
}
