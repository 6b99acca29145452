//! A person goes through the whole system and is erased; then every column of every table and every
//! object is searched, also inside what is sealed, for everything that they could be known by.

use super::furnish::{
    HOURS, MAIL, PORTRAIT, SAID, SAID_OF, SECRET, USER_PHONE, furnish, rows_of, rows_of_contact,
};
use super::setup::{Office, app, bucket, call_from, objects};
use crate::auth::setup;
use crate::messaging::stack::{Stack, digits, endpoint, meta_body, table, task};
use crate::support::{Api, World};
use jiff::SignedDuration;
use kernel::{Email, Phone, Sealer, SingleKey};
use providers::intake::{Source, WebhookBody};
use serde_json::{Value, json};
use testkit::TestDb;
use uuid::Uuid;

const ERASE: &str = "/v1/admin/gdpr/erase";

/// Everything there is, in lower case: table by table and object by object.
pub struct Dump(Vec<(String, String)>);

impl Dump {
    pub async fn of(world: &World, bucket: &str) -> Self {
        let admin = world.admin_sql().await;
        let sealer = testkit::keys::sealer();
        let tables = "SELECT n.nspname || '.' || c.relname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname IN ('public', 'app') AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1";
        let mut found = Vec::new();
        for table in admin.query(tables, &[]).await.unwrap() {
            let (table, name): (String, String) = (table.get(0), table.get(1));
            for row in admin
                .query(&format!("SELECT to_jsonb(t) FROM {table} t"), &[])
                .await
                .unwrap()
            {
                let row: Value = row.get(0);
                for (column, value) in row.as_object().unwrap() {
                    let place = format!("{name}.{column}");
                    if let (Some(field), Some(sealed)) = (column.strip_suffix("_sealed"), value.as_str()) {
                        found.push((place.clone(), opened(&sealer, &name, field, &row, sealed)));
                    }
                    found.push((place, value.to_string().to_lowercase()));
                }
            }
        }
        for (key, bytes) in objects(bucket).await {
            found.push((format!("s3 {key}"), key.to_lowercase()));
            found.push((
                format!("s3 {key}"),
                String::from_utf8_lossy(&bytes).to_lowercase(),
            ));
        }
        Self(found)
    }

    pub fn places(&self, needle: &str) -> Vec<&str> {
        let needle = needle.to_lowercase();
        self.0
            .iter()
            .filter(|(_, text)| text.contains(&needle))
            .map(|(place, _)| place.as_str())
            .collect()
    }
}

/// What a sealed column holds. Columns are sealed in the context of their tenant, table and name; one
/// that is not must be told here how, or nobody knows what it keeps of whom.
fn opened(sealer: &Sealer, table: &str, field: &str, row: &Value, sealed: &str) -> String {
    let bytes: Vec<u8> = sealed
        .strip_prefix("\\x")
        .unwrap()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    if bytes.is_empty() {
        return String::new();
    }
    let tenant = row["tenant_id"].as_str().unwrap_or("unresolved");
    let owner = row["user_id"].as_str().unwrap_or_default();
    // A phone that is being verified is sealed as the user's, which it becomes; a secret for its user.
    let contexts = [
        format!("{tenant}/{table}.{field}"),
        format!("{tenant}/users.{field}"),
        format!("{tenant}/{table}.{field}/{owner}"),
    ];
    let plain = contexts
        .iter()
        .map(|context| sealer.open(context, &bytes))
        .reduce(Result::or)
        .unwrap();
    let plain = plain.unwrap_or_else(|_| {
        panic!("{table}.{field}_sealed is sealed in a context that this test does not know")
    });
    String::from_utf8_lossy(&plain).to_lowercase()
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn own(world: &World) -> World {
    let test = &world.test;
    World {
        test: TestDb {
            settings: test.settings.clone(),
            admin: test.admin.clone(),
            db: test.db.clone(),
        },
        tenant: world.tenant,
    }
}

pub const PHONE: &str = "+201288877766";
const MOBILE: &str = "+201299988877";
const EMAIL: &str = "zubaida.qaraqush@falcon-nest.example";

/// What the contact could be known by.
fn traces_of_contact(world: &World) -> Vec<String> {
    let (sealer, tenant) = (testkit::keys::sealer(), world.tenant);
    let mut traces: Vec<String> = [
        "Zubaida",
        "Qaraqush",
        "Falconer-in-chief",
        "signed at the oryx fair",
        "01288877766",
        "01299988877",
        EMAIL,
        "the seventh palm house",
        "a body too large",
        "unreadable from zubaida",
        "we welcome the falconer",
        "a late hooded answer",
    ]
    .map(str::to_owned)
    .to_vec();
    for phone in [PHONE, MOBILE] {
        traces.push(Phone::parse(phone).unwrap().masked());
        traces.push(hex(&sealer.lookup_hash(&format!("{tenant}/phone"), phone)));
    }
    traces.push(hex(&sealer.lookup_hash(
        &format!("{tenant}/conversations.peer"),
        &format!("whatsapp:{PHONE}"),
    )));
    let email = Email::parse(EMAIL).unwrap();
    traces.push(email.masked());
    traces.push(hex(&sealer.lookup_hash(&format!("{tenant}/email"), EMAIL)));
    // As bytes, in a column that is not text.
    traces.push(hex(b"Zubaida"));
    traces
}

pub fn inbound(number: &str, text: &str, id: &str) -> String {
    let now = kernel::Clock::system().now().as_second().to_string();
    let message = json!({ "from": PHONE.trim_start_matches('+'), "id": id, "timestamp": now, "type": "text", "text": { "body": text } });
    meta_body(&[(number, &[message], &[])])
        .replace("Salma", "Zubaida Qaraqush")
        .replace("201001234567", PHONE.trim_start_matches('+'))
}

#[tokio::test]
async fn nothing_of_a_contact_is_left() {
    let mut stack = Stack::alone().await;
    let bucket = bucket().await;
    let office_app = app(&stack.world, &bucket);
    stack.processor.bucket = office_app.bucket.clone();
    stack.scheduler.bucket = office_app.bucket.clone();
    let api = Api(admin_function::routes().into_service(office_app));
    let (contacts, me) = (stack.world.contacts(), stack.me.clone());
    let bystander =
        json!({ "first_name": "Bystander", "channels": [{ "type": "phone", "value": "+201011122233" }] });
    let bystander = contacts.post(&me, "/v1/contacts", &bystander).await.expect(201);

    // Made by hand, with a key, so that the answer is kept; changed; exported.
    let body = json!({ "first_name": "Zubaida", "last_name": "Qaraqush", "job_title": "Falconer-in-chief", "channels": [
        { "type": "whatsapp", "value": PHONE, "opt_in": true, "opt_in_source": "signed at the oryx fair" },
        { "type": "phone", "value": MOBILE }, { "type": "email", "value": EMAIL } ] });
    let key = [("idempotency-key", "make-the-falconer")];
    let made = contacts
        .json(&me, "POST", "/v1/contacts", &key, &body)
        .await
        .expect(201);
    let id: Uuid = made["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/v1/contacts/{id}");
    contacts
        .patch(&me, &path, &json!({ "job_title": "Falconer-in-chief emerita" }))
        .await
        .expect(200);

    // Writes, in a body of any size, and in one that nobody can read.
    let account = stack.connect(&digits()).await;
    let number = account.provider_key.clone();
    let ids = [
        format!("wamid.in-{}", digits()),
        format!("wamid.large-{}", digits()),
    ];
    let first = inbound(&number, "the seventh palm house, please", &ids[0]);
    stack
        .post(Source::Meta, &first, "", vec![account.clone()])
        .await
        .unwrap();
    let large = inbound(&number, "a body too large for a queue", &ids[1]).into_bytes();
    let (key, sealed) = SingleKey::seal(large).unwrap();
    // One is worked on. One never is; it stays, and tells nothing to whoever has not its message.
    for object in ["webhooks/meta/large", "webhooks/meta/never-worked-on"] {
        let binary = "application/octet-stream";
        let put = stack.processor.bucket.put(object, binary, sealed.clone());
        put.await.unwrap();
    }
    let object = "webhooks/meta/large".to_owned();
    let body = WebhookBody::Stored { object, key };
    let stored = || stack.webhook(Source::Meta, body.clone(), "", vec![account.clone()]);
    stack.processor.handle(stored()).await.unwrap();
    // Twice is once, though the body is gone by then.
    stack.processor.handle(stored()).await.unwrap();
    let unreadable = meta_body(&[(
        &number,
        &[json!({ "from": PHONE.trim_start_matches('+'), "note": "unreadable from Zubaida" })],
        &[],
    )]);
    stack
        .post(Source::Meta, &unreadable, "", vec![account.clone()])
        .await
        .unwrap();

    // Is answered; one answer was delivered and read, one waits.
    let conversation = stack
        .api
        .get(&me, &format!("/v1/conversations?contact_id={id}"))
        .await
        .expect(200);
    let conversation = conversation["data"][0]["id"].as_str().unwrap().to_owned();
    let messages = format!("/v1/conversations/{conversation}/messages");
    let sent = stack
        .api
        .post(&me, &messages, &json!({ "body": "we welcome the falconer" }))
        .await
        .expect(202);
    let sent: Uuid = sent["id"].as_str().unwrap().parse().unwrap();
    stack.send(sent).await.unwrap();
    let out = stack.message(&conversation, sent).await["provider_message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    for state in ["delivered", "read"] {
        let mut status = crate::messaging::stack::status(&out, state, Some(sent));
        status["recipient_id"] = json!(PHONE.trim_start_matches('+'));
        let body = meta_body(&[(&number, &[], &[status])]).replace("Salma", "Zubaida Qaraqush");
        stack
            .post(Source::Meta, &body, "", vec![account.clone()])
            .await
            .unwrap();
    }
    stack
        .api
        .post(&me, &messages, &json!({ "body": "a late hooded answer" }))
        .await
        .expect(202);
    api.get(&me, "/v1/admin/audit-logs/export?format=csv")
        .await
        .expect(200);
    let subject = json!({ "subject_type": "contact", "subject_id": id });
    let key = [("idempotency-key", "hand-out-the-falconer")];
    api.json(&me, "POST", "/v1/admin/gdpr/export", &key, &subject)
        .await
        .expect(201);

    let mut traces = traces_of_contact(&stack.world);
    traces.extend(ids);
    traces.push(out);
    let before = Dump::of(&stack.world, &bucket).await;
    for trace in traces.iter().filter(|trace| **trace != hex(b"Zubaida")) {
        assert!(
            !before.places(trace).is_empty(),
            "{trace} was never stored, so that it is gone proves nothing"
        );
    }
    let seen = |dump: &Dump, table: &str| {
        traces
            .iter()
            .any(|trace| dump.places(trace).iter().any(|place| place.starts_with(table)))
    };
    for table in [
        "contacts.",
        "contact_names.",
        "contact_channels.",
        "conversations.",
        "messages.",
        "messages_outbox.",
        "webhook_events.",
        "webhook_event_keys.",
        "delivery_reports.",
        "idempotency_keys.",
        "audit_logs.",
        "s3 ",
    ] {
        assert!(seen(&before, table), "the person never came to {table}");
    }

    let counted = async || -> i64 {
        let sql = "SELECT value FROM usage_counters WHERE tenant_id = $1 AND meter = 'contacts.count'";
        let admin = stack.world.admin_sql().await;
        admin
            .query_one(sql, &[&stack.world.tenant.0])
            .await
            .unwrap()
            .get(0)
    };
    assert_eq!(counted().await, 2);
    for (place, rows) in rows_of_contact(&stack.world, id).await {
        assert!(rows > 0, "{place} never named the contact: lead them through it");
    }
    let confirmed = json!({ "subject_type": "contact", "subject_id": id, "confirm": "Zubaida Qaraqush" });
    api.post(&me, ERASE, &confirmed).await.expect(200);
    assert_eq!(counted().await, 1, "the place of one who is gone is free");

    let after = Dump::of(&stack.world, &bucket).await;
    for trace in &traces {
        assert_eq!(after.places(trace), Vec::<&str>::new(), "{trace}");
    }
    for (place, rows) in rows_of_contact(&stack.world, id).await {
        assert_eq!(rows, 0, "{place} still names the contact");
    }
    let left = objects(&bucket).await;
    let left: Vec<&str> = left.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(left, ["webhooks/meta/never-worked-on"]);
    contacts
        .get(
            &me,
            &format!("/v1/contacts/{}", bystander["id"].as_str().unwrap()),
        )
        .await
        .expect(200);
    let office = Office {
        bucket: bucket.clone(),
        app: app(&stack.world, &bucket),
        api: api.clone(),
        me: me.clone(),
        world: own(&stack.world),
    };
    assert_eq!(office.break_at().await, None);
    let lines = api
        .get(&me, &format!("/v1/admin/audit-logs?entity_id={id}"))
        .await
        .expect(200);
    for line in lines["data"].as_array().unwrap() {
        let said = [&line["before_data"], &line["after_data"]];
        match line["action"].as_str().unwrap() {
            "gdpr.erased" => assert!(line["after_data"]["erasure_id"].is_string()),
            _ => assert!(
                said.iter().all(|data| data.is_null()) && line["erased_at"].is_string(),
                "{line}"
            ),
        }
    }
    assert!(office.actions().await.contains(&"gdpr.erased".to_owned()));
    // What waited is not sent.
    let sends = stack.sends();
    stack.scheduler.handle(task("minute")).await.unwrap();
    assert_eq!(stack.sends(), sends);

    // Somebody with the same number is a new person.
    let again = inbound(&number, "hello", &format!("wamid.{}", digits()));
    stack.post(Source::Meta, &again, "", vec![account]).await.unwrap();
    let listed = stack.api.get(&me, "/v1/conversations").await.expect(200);
    assert_ne!(listed["data"][0]["contact_id"], json!(id));
}

#[tokio::test]
async fn nothing_of_a_user_is_left_but_a_row_that_names_nobody() {
    let stack = Stack::alone().await;
    let bucket = bucket().await;
    let auth = setup::function(
        &stack.world,
        &endpoint(),
        &table().await,
        auth_function::Limits::DEFAULT,
    );
    let here = ("203.0.113.77", "Peregrine/9.1 (Gyrfalcon)");
    let body = json!({ "tenant_name": "Mews", "full_name": "Idris Marzouqi-Hawk", "email": "Idris@Hawk-Mews.example",
                       "password": setup::PASSWORD, "delivery": "body" });
    let signed_up = call_from(&auth, None, here, ("POST", "/v1/auth/signup"), &body)
        .await
        .expect(201);
    let tenant = kernel::TenantId(signed_up["tenant"]["id"].as_str().unwrap().parse().unwrap());
    let id: Uuid = signed_up["user"]["id"].as_str().unwrap().parse().unwrap();
    let world = World {
        tenant,
        ..own(&stack.world)
    };
    let token = signed_up["access_token"].as_str().unwrap().to_owned();
    let claims = crate::support::verifier()
        .verify(&token, world.test.db.clock())
        .unwrap();
    let person = crate::support::Login {
        user_id: id,
        session_id: claims.sid,
        token,
    };
    furnish(&world, id).await;
    // Somebody tries a password, and then says that they forgot it: nobody is signed in, and it was they.
    let there = ("203.0.113.88", "Saker/2.0 (Lanner)");
    let wrong = json!({ "email": "idris@hawk-mews.example", "password": "not the one" });
    call_from(&auth, None, there, ("POST", "/v1/auth/login"), &wrong)
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    let forgotten = json!({ "email": "idris@hawk-mews.example" });
    call_from(
        &auth,
        None,
        there,
        ("POST", "/v1/auth/forgot-password"),
        &forgotten,
    )
    .await
    .expect(202);

    // Works, from a place and with a device; makes a record that stays.
    let contacts = world.contacts();
    let made = call_from(
        &contacts,
        Some(&person),
        here,
        ("POST", "/v1/contacts"),
        &json!({ "first_name": "Client", "owner_user_id": id }),
    )
    .await
    .expect(201);
    let caller = TestDb::user(tenant, id, person.session_id);
    let told = notifications::notice::Notice::PasswordChanged;
    let to = notifications::notice::To {
        user_id: Some(id),
        channel: notifications::notice::Channel::Email,
        address: "Idris@Hawk-Mews.example",
        locale: "en",
    };
    let sent = world
        .test
        .db
        .write(&caller, async |tx| {
            notifications::notice::send(&tx, &to, &told).await
        })
        .await
        .unwrap();
    let admin = world.admin_sql().await;
    admin
        .execute(
            "UPDATE messages_outbox SET status = 'sent', sent_at = now(), provider = 'brevo', provider_message_id = $2 WHERE id = $1",
            &[&sent, &MAIL],
        )
        .await
        .unwrap();

    let office = Office {
        bucket: bucket.clone(),
        app: app(&world, &bucket),
        api: super::setup::admin(&world, &bucket),
        me: world.admin().await,
        world: own(&world),
    };
    office
        .api
        .post(
            &office.me,
            "/v1/admin/gdpr/export",
            &json!({ "subject_type": "user", "subject_id": id }),
        )
        .await
        .expect(201);
    office
        .api
        .get(&office.me, "/v1/admin/audit-logs/export")
        .await
        .expect(200);

    let sealer = testkit::keys::sealer();
    let traces = [
        "Idris".to_owned(),
        "Marzouqi".to_owned(),
        "Hawk-Mews.example".to_owned(),
        "203.0.113.77".to_owned(),
        "Gyrfalcon".to_owned(),
        USER_PHONE[1..].to_owned(),
        "203.0.113.88".to_owned(),
        "Lanner".to_owned(),
        MAIL.to_owned(),
        PORTRAIT.to_owned(),
        SAID.to_owned(),
        SAID_OF.to_owned(),
        HOURS.to_owned(),
        SECRET.to_owned(),
        hex(b"hawk-subject"),
        Phone::parse(USER_PHONE).unwrap().masked(),
        hex(&sealer.lookup_hash(&format!("{tenant}/phone"), USER_PHONE)),
        "Africa/Cairo".to_owned(),
    ];
    let before = Dump::of(&world, &bucket).await;
    for trace in &traces {
        assert!(
            !before.places(trace).is_empty(),
            "{trace} was never stored, so that it is gone proves nothing"
        );
    }
    let mut confirmed = json!({ "subject_type": "user", "subject_id": id, "confirm": "Idris Marzouqi-Hawk" });
    office
        .api
        .post(&office.me, ERASE, &confirmed)
        .await
        .expect_code(409, "CONFLICT");
    for (place, rows) in rows_of(&world, id).await {
        assert!(
            rows > 0,
            "{place} holds nothing of the user, so that it holds nothing afterwards proves nothing: fill it, \
             or say why it stays"
        );
    }
    confirmed["reassign_to"] = json!(office.me.user_id);
    office.api.post(&office.me, ERASE, &confirmed).await.expect(200);
    for (place, rows) in rows_of(&world, id).await {
        assert_eq!(rows, 0, "{place} still holds something of the user");
    }

    let after = Dump::of(&world, &bucket).await;
    for trace in &traces {
        assert_eq!(after.places(trace), Vec::<&str>::new(), "{trace}");
    }
    assert_eq!(office.break_at().await, None);
    contacts
        .get(&person, "/v1/contacts")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    let kept = contacts
        .get(
            &office.me,
            &format!("/v1/contacts/{}", made["id"].as_str().unwrap()),
        )
        .await
        .expect(200);
    assert_eq!(kept["owner_user_id"], json!(office.me.user_id));
    let row = admin
        .query_one("SELECT full_name, status, coalesce(password_hash, locale, timezone, avatar_url, phone_masked), erased_at IS NOT NULL FROM users WHERE tenant_id = $1 AND id = $2", &[&tenant.0, &id])
        .await
        .unwrap();
    assert_eq!(
        (
            row.get::<_, &str>(0),
            row.get::<_, &str>(1),
            row.get::<_, Option<&str>>(2),
            row.get::<_, bool>(3)
        ),
        ("Erased user", "deactivated", None, true)
    );
    // Again is the same; and nobody comes back from it.
    let again = json!({ "subject_type": "user", "subject_id": id, "confirm": id });
    office.api.post(&office.me, ERASE, &again).await.expect(200);
    office
        .api
        .post(
            &office.me,
            &format!("/v1/admin/users/{id}/reactivate"),
            &json!({}),
        )
        .await
        .expect_code(409, "CONFLICT");
}

/// What was too much for the request, and exports that were being written meanwhile.
#[tokio::test]
async fn the_scheduler_finishes_an_erasure() {
    let stack = Stack::alone().await;
    let mut scheduler = stack.scheduler.clone();
    let office = Office::of(own(&stack.world)).await;
    scheduler.bucket = office.app.bucket.clone();
    let user = office.world.user("staff").await;
    let admin = office.world.admin_sql().await;
    let origin = json!({ "actor": "user", "user_id": user.user_id, "ip": "203.0.113.99" }).to_string();
    for _ in 0..24 {
        let sql = "WITH entered AS (SELECT set_config('app.current_tenant_id', $1, true), set_config('app.origin', $2, true))
                   SELECT count(app.audit('test.done', 'test', NULL, NULL, NULL)) FROM entered, generate_series(1, 500)";
        admin
            .query(sql, &[&office.world.tenant.to_string(), &origin])
            .await
            .unwrap();
    }
    let id = user.user_id;
    let erased = office
        .api
        .post(
            &office.me,
            ERASE,
            &json!({ "subject_type": "user", "subject_id": id, "confirm": id }),
        )
        .await
        .expect(200);
    let left = async || -> i64 {
        let sql = "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND ip = '203.0.113.99'";
        admin
            .query_one(sql, &[&office.world.tenant.0])
            .await
            .unwrap()
            .get(0)
    };
    assert!(left().await > 0, "so many lines are not erased in one request");
    office
        .app
        .bucket
        .put(
            &format!("exports/{}/audit/late.csv", office.world.tenant),
            "text/csv",
            b"x".to_vec(),
        )
        .await
        .unwrap();
    let finished = async || -> bool {
        let sql = "SELECT finished_at IS NOT NULL FROM erasures WHERE id = $1";
        let erasure: Uuid = erased["id"].as_str().unwrap().parse().unwrap();
        admin.query_one(sql, &[&erasure]).await.unwrap().get(0)
    };
    scheduler.handle(task("minute")).await.unwrap();
    assert!(
        !finished().await,
        "not before every export that was being written is done"
    );
    let earlier = SignedDuration::from_mins(21).as_secs_f64();
    admin
        .execute(
            "UPDATE erasures SET requested_at = requested_at - make_interval(secs => $1)",
            &[&earlier],
        )
        .await
        .unwrap();
    for _ in 0..3 {
        scheduler.handle(task("minute")).await.unwrap();
    }
    assert!(finished().await);
    assert_eq!(left().await, 0);
    assert!(objects(&office.bucket).await.is_empty());
    assert_eq!(office.break_at().await, None);
}
