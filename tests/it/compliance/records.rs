//! A person is more than the record that is named, and may be written to while they are erased.

use super::erasure::{Dump, PHONE, own};
use super::furnish::{furnish, rows_of};
use super::late::Correspondence;
use super::setup::{Office, download, held_open, unzipped};
use crate::auth::setup::Company;
use crate::messaging::stack::task;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::TestDb;
use uuid::Uuid;

const EXPORT: &str = "/v1/admin/gdpr/export";
const ERASE: &str = "/v1/admin/gdpr/erase";

fn subject(kind: &str, id: impl ToString) -> Value {
    json!({ "subject_type": kind, "subject_id": id.to_string() })
}

fn erasing(kind: &str, id: impl ToString) -> Value {
    let mut body = subject(kind, id.to_string());
    body["confirm"] = json!(id.to_string());
    body
}

async fn files(export: &Value) -> BTreeMap<String, Vec<Value>> {
    let zip = unzipped(&download(export).await).into_iter();
    zip.map(|(name, text)| (name, serde_json::from_str(&text).unwrap()))
        .collect()
}

#[tokio::test]
async fn whoever_was_deleted_and_came_back_is_handed_out_and_erased_as_one() {
    let mut with = Correspondence::new().await;
    with.write("the first time").await;
    let (conversation, first) = (with.conversation.clone(), with.contact.clone());
    let (stack, me) = (&with.stack, &with.stack.me);
    let (answered, waiting) = (stack.reply(&conversation).await, stack.reply(&conversation).await);
    stack.send(answered).await.unwrap();
    let sends = stack.sends();
    let contacts = stack.world.contacts();
    contacts
        .delete(me, &format!("/v1/contacts/{first}"))
        .await
        .expect(204);
    with.write("the second time").await;
    let (stack, me, second) = (&with.stack, &with.stack.me, &with.contact);
    assert_eq!(with.conversation, conversation);
    assert_ne!(*second, first);

    let export = with
        .api
        .post(me, EXPORT, &subject("contact", second))
        .await
        .expect(201);
    let files = files(&export).await;
    let ids: Vec<&str> = files["contact.json"]
        .iter()
        .map(|record| record["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [&first, second]);
    assert_eq!(files["channels.json"].len(), 2);
    assert_eq!(files["deliveries.json"].len(), 2);
    let about = |id: &str| files["audit.json"].iter().any(|line| line["entity_id"] == id);
    assert!(about(&first) && about(second));

    let names: Vec<String> = stack
        .providers
        .requests()
        .into_iter()
        .filter_map(|request| request.provider_message_id)
        .collect();
    assert_eq!(names.len(), 1);
    with.api
        .post(me, ERASE, &erasing("contact", second))
        .await
        .expect(200);
    let after = Dump::of(&stack.world, &with.bucket).await;
    for trace in
        names
            .iter()
            .map(String::as_str)
            .chain([PHONE.trim_start_matches('+'), "Zubaida", "the first time"])
    {
        assert_eq!(after.places(trace), Vec::<&str>::new(), "{trace}");
    }
    stack.send(waiting).await.unwrap();
    assert_eq!(stack.sends(), sends, "what waited is not sent");
    for id in [&first, second] {
        with.api
            .post(me, EXPORT, &subject("contact", id))
            .await
            .expect_code(404, "NOT_FOUND");
    }
    stack.scheduler.handle(task("minute")).await.unwrap();
}

/// Somebody else who only had the same number once is not that person.
#[tokio::test]
async fn a_record_that_is_in_use_stays_whoever_shared_its_address() {
    let office = Office::new().await;
    let contacts = office.world.contacts();
    let person = |name: &str| {
        let channel = json!({ "type": "phone", "value": "+201001112233" });
        json!({ "first_name": name, "channels": [channel] })
    };
    let first = contacts
        .post(&office.me, "/v1/contacts", &person("First"))
        .await
        .expect(201);
    let first = first["id"].as_str().unwrap();
    let path = format!("/v1/contacts/{first}");
    contacts.delete(&office.me, &path).await.expect(204);
    let second = contacts
        .post(&office.me, "/v1/contacts", &person("Second"))
        .await
        .expect(201);
    office
        .api
        .post(&office.me, ERASE, &erasing("contact", first))
        .await
        .expect(200);
    let path = format!("/v1/contacts/{}", second["id"].as_str().unwrap());
    contacts.get(&office.me, &path).await.expect(200);
}

#[tokio::test]
async fn an_erasure_waits_for_a_message_that_is_being_stored() {
    let with = Correspondence::new().await;
    let (world, caller) = (own(&with.stack.world), TestDb::system(with.stack.world.tenant));
    let (within, without) = held_open();
    let late = "INSERT INTO messages (tenant_id, id, conversation_id, direction, provider, type, body, status, occurred_at, created_at)
        VALUES ($1, $2, $3, 'inbound', 'meta', 'text', 'a late word of the falconer', 'received', now(), now())";
    let conversation: Uuid = with.conversation.parse().unwrap();
    let storing = world.test.db.write(&caller, async |tx| {
        tx.execute(late, &[&tx.tenant().0, &tx.clock().id(), &conversation])
            .await?;
        within.stay().await;
        Ok(())
    });
    let body = erasing("contact", &with.contact);
    let erasing = without.meanwhile(with.api.post(&with.stack.me, ERASE, &body));
    let (stored, erased) = futures::join!(storing, erasing);
    stored.unwrap();
    erased.expect(200);
    let after = Dump::of(&with.stack.world, &with.bucket).await;
    assert_eq!(after.places("a late word of the falconer"), Vec::<&str>::new());
}

/// A link that is asked for, and a notice, while the user is erased.
#[tokio::test]
async fn nothing_is_written_to_a_user_who_is_being_erased() {
    let company = Company::new().await;
    company.verify_email().await;
    let world = own(&company.world);
    let (id, caller) = (
        company.login(&company.signed_up).user_id,
        TestDb::system(world.tenant),
    );
    let sql = world.admin_sql().await;
    sql.execute(
        "UPDATE messages_outbox SET recipient_sealed = '' WHERE tenant_id = $1",
        &[&world.tenant.0],
    )
    .await
    .unwrap();
    let another = world.admin().await;
    let (within, without) = held_open();
    let erasing = world.test.db.write(&caller, async |tx| {
        let mut traces = audit::gdpr::Traces::default();
        identity::gdpr::lock(&tx, id, None, &mut traces).await?;
        within.stay().await;
        identity::gdpr::erase(&tx, id, &mut traces).await
    });
    let writing = async {
        let asked = json!({ "email": company.email });
        let told = world.test.db.write(&caller, async |tx| {
            let notice = notifications::notice::Notice::PasswordChanged;
            notifications::people::tell(&tx, [id, another.user_id].into_iter(), &notice).await
        });
        let (asked, told) = futures::join!(company.post("forgot-password", &asked), told);
        asked.expect(202);
        told.unwrap();
    };
    let (erased, ()) = futures::join!(erasing, without.meanwhile(writing));
    erased.unwrap();
    let count = async |sql: &str| {
        let params: [&(dyn db::ToSql + Sync); 2] = [&world.tenant.0, &id];
        world
            .admin_sql()
            .await
            .query_one(sql, &params)
            .await
            .unwrap()
            .get::<_, i64>(0)
    };
    assert_eq!(
        count("SELECT count(*) FROM user_links WHERE tenant_id = $1 AND user_id = $2").await,
        0
    );
    assert_eq!(
        count("SELECT count(*) FROM inbox_messages WHERE tenant_id = $1 AND user_id = $2").await,
        0
    );
    let waiting = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND user_id = $2 AND recipient_sealed <> ''";
    assert_eq!(count(waiting).await, 0);
    let told = "SELECT count(*) FROM inbox_messages WHERE tenant_id = $1 AND user_id <> $2";
    assert_eq!(count(told).await, 1, "the colleague was told");
}

/// Tables that name a user and are not handed out, and why.
const NOT_HANDED_OUT: [&str; 8] = [
    // Secrets, and what only proves one.
    "backup_codes",
    "login_challenges",
    "totp_secrets",
    // How requests are told apart, and people found; what they say is in other files.
    "idempotency_keys",
    "signup_keys",
    "seats",
    "user_names",
    // Counted for the company's bill.
    "seat_ledger",
];

#[tokio::test]
async fn every_table_that_names_a_user_is_handed_out_or_said_why_not() {
    let office = Office::new().await;
    let user = office.world.user("staff").await;
    furnish(&office.world, user.user_id).await;
    let caller = TestDb::system(office.world.tenant);
    let mailed = office.world.test.db.write(&caller, async |tx| {
        let notice = notifications::notice::Notice::PasswordChanged;
        notifications::people::tell(&tx, [user.user_id].into_iter(), &notice).await
    });
    mailed.await.unwrap();
    let export = office
        .api
        .post(&office.me, EXPORT, &subject("user", user.user_id))
        .await
        .expect(201);
    let mut files = files(&export).await;
    for (name, records) in &files {
        assert!(
            !records.is_empty(),
            "{name} says nothing of somebody of whom every table does"
        );
    }
    let handed_out = BTreeMap::from([
        ("users", "user.json"),
        ("sessions", "sessions.json"),
        ("refresh_tokens", "sessions.json"),
        ("user_roles", "roles.json"),
        ("group_members", "groups.json"),
        ("invites", "invites.json"),
        ("user_identities", "identities.json"),
        ("user_links", "links.json"),
        ("phone_verifications", "phone_verifications.json"),
        ("notification_preferences", "preferences.json"),
        ("entitlement_overrides", "entitlements.json"),
        ("inbox_messages", "inbox.json"),
        ("messages_outbox", "deliveries.json"),
    ]);
    for place in rows_of(&office.world, user.user_id).await.into_keys() {
        let table = place.split('.').next().unwrap();
        let file = handed_out.get(table);
        assert!(
            NOT_HANDED_OUT.contains(&table) || file.is_some_and(|file| files.contains_key(*file)),
            "{place} is in no file"
        );
    }
    // In audit lines they read "***".
    files.remove("audit.json");
    let text = serde_json::to_string(&files).unwrap();
    for secret in [
        "token_hash",
        "secret_hash",
        "code_hash",
        "password_hash",
        "_sealed",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
}
