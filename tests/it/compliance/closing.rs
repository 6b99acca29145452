//! A company is closed, can be opened again for 30 days, and then is deleted: every table, every object, what
//! the webhook edge knows; and nothing of anybody else.

use super::erasure::Dump;
use super::furnish::furnish;
use super::setup::{app, bucket, objects};
use crate::messaging::stack::{Stack, meta_body, task, text_message};
use crate::people::setup::{operate, service_with};
use crate::support::{Answer, Api, World};
use providers::intake::{Source, VerifiedAccount};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::TestDb;
use uuid::Uuid;
use worker::{Budget, Task};

/// Of what no screen leaves a row in [`furnish`] or by itself.
const MORE: [&str; 10] = [
    "INSERT INTO roles (tenant_id, id, code, name, created_at, updated_at) VALUES ($1, $1, 'broker', 'Broker', now(), now())",
    "INSERT INTO role_permissions (tenant_id, role_id, permission_code) VALUES ($1, $1, 'contact.read')",
    "INSERT INTO role_hierarchy (tenant_id, child_role_id, parent_role_id, created_at)
     SELECT $1, $1, r.id, now() FROM roles r WHERE r.tenant_id IS NULL AND r.code = 'read_only'",
    "INSERT INTO group_roles (tenant_id, group_id, role_id, created_at) SELECT $1, g.id, $1, now() FROM groups g WHERE g.tenant_id = $1",
    "INSERT INTO dictionary_codes (tenant_id, id, kind, code, label, created_at, updated_at)
     VALUES ($1, $1, 'department', 'sales', 'Sales', now(), now())",
    "UPDATE users SET department_id = $1 WHERE tenant_id = $1",
    "INSERT INTO approval_steps (tenant_id, id, policy_id, seq, kind, approver_mode, approver_ref, approver_role_id)
     SELECT $1, $1, p.id, 1, 'flat', 'role', 'broker', $1 FROM approval_policies p WHERE p.tenant_id = $1",
    "INSERT INTO erasures (tenant_id, id, subject_type, subject_id, entity_ids, requested_at)
     VALUES ($1, $1, 'contact', $1, '{}', now())",
    "INSERT INTO refresh_tokens (tenant_id, token_hash, session_id, created_at, expires_at)
     SELECT $1, 'x', s.id, now(), now() FROM sessions s WHERE s.tenant_id = $1 LIMIT 1",
    "INSERT INTO seat_alerts (tenant_id, seats, reached_at) VALUES ($1, 3, now()) ON CONFLICT DO NOTHING",
];

/// A company that has a row in every table, an export, and an account that the edge knows.
struct Closing {
    stack: Stack,
    operator: Api,
    bucket: String,
    account: VerifiedAccount,
}

impl Closing {
    async fn new() -> Self {
        let mut stack = Stack::alone().await;
        let bucket = bucket().await;
        let exports = app(&stack.world, &bucket).bucket;
        stack.scheduler.bucket = exports.clone();
        let operator = service_with(&stack.world, |app| app.bucket = exports);
        let (account, conversation) = stack.conversation().await;
        stack.reply(&conversation).await;
        furnish(&stack.world, stack.world.user("staff").await.user_id).await;
        let contact =
            json!({ "first_name": "Zubaida", "channels": [{ "type": "phone", "value": "+201288877766" }] });
        let made = stack
            .world
            .contacts()
            .post(&stack.me, "/v1/contacts", &contact)
            .await;
        made.expect(201);
        let key = "INSERT INTO api_keys (tenant_id, id, name, prefix, secret_hash, scopes, parent_key_id, created_at)
                   SELECT $1, $1, 'Child', 'm3k_2', 'y', '{contact.read}', k.id, now() FROM api_keys k WHERE k.tenant_id = $1";
        let caller = TestDb::system(stack.world.tenant);
        let more = stack.world.test.db.write(&caller, async |tx| {
            for sql in MORE.into_iter().chain([key]) {
                tx.execute(sql, &[&tx.tenant().0]).await?;
            }
            Ok(())
        });
        more.await.unwrap();
        Self {
            stack,
            operator,
            bucket,
            account,
        }
    }

    fn world(&self) -> &World {
        &self.stack.world
    }

    fn path(&self) -> String {
        format!("/v1/tenants/{}", self.world().tenant)
    }

    async fn operate(&self, method: &str, path: &str, body: Value) -> Answer {
        operate(&self.operator, method, path, &body).await
    }

    async fn slug(&self) -> String {
        let company = self.operate("GET", &self.path(), Value::Null).await.expect(200);
        company["slug"].as_str().unwrap().to_owned()
    }

    async fn close(&self) -> Value {
        let path = format!("{}?confirm={}", self.path(), self.slug().await);
        self.operate("DELETE", &path, Value::Null).await.expect(200)
    }

    async fn deletion(&self) -> Answer {
        let path = format!("{}/deletion", self.path());
        self.operate("GET", &path, Value::Null).await
    }

    /// As if the company had been closed 30 days ago.
    async fn wait(&self) {
        let sql = format!(
            "SET session_replication_role = replica;
             UPDATE tenants SET closed_at = closed_at - interval '30 days' WHERE id = '{}'",
            self.world().tenant
        );
        self.world().admin_sql().await.batch_execute(&sql).await.unwrap();
    }

    async fn hourly(&self) {
        self.stack.scheduler.handle(task("hourly")).await.unwrap();
    }

    /// Whether the edge knows the company's account.
    async fn is_known(&self) -> bool {
        let key = &self.account.provider_key;
        let found = self.stack.app.accounts.refresh(cloud::Provider::Meta, key).await;
        !found.unwrap().is_empty()
    }
}

/// How many rows each table has of a company.
async fn rows(world: &World, tenant: Uuid) -> BTreeMap<String, i64> {
    let admin = world.admin_sql().await;
    let tables = "SELECT c.relname::text FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition";
    let mut found = BTreeMap::new();
    for table in admin.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let count = format!("SELECT count(*) FROM {table} WHERE tenant_id = $1");
        let count = admin.query_one(&count, &[&tenant]).await.unwrap().get(0);
        found.insert(table, count);
    }
    found
}

#[tokio::test]
async fn nothing_of_a_company_is_left_and_nothing_of_another_is_missing() {
    let closing = Closing::new().await;
    let (world, me) = (closing.world(), &closing.stack.me);
    let other = World {
        tenant: world.test.tenant().await,
        ..super::erasure::own(world)
    };
    furnish(&other, other.user("super_admin").await.user_id).await;
    let exported = closing.operator.get(me, "/v1/admin/audit-logs/export").await;
    exported.expect(200);
    let (before, theirs) = (
        rows(world, world.tenant.0).await,
        rows(world, other.tenant.0).await,
    );
    let empty: Vec<&String> = before
        .iter()
        .filter(|(_, rows)| **rows == 0)
        .map(|row| row.0)
        .collect();
    assert_eq!(
        empty,
        Vec::<&String>::new(),
        "the test leaves a row in every table"
    );
    assert!(closing.is_known().await);

    closing.close().await;
    closing.hourly().await;
    assert_eq!(closing.deletion().await.expect(200)["status"], "closed");
    closing.wait().await;
    // The edge first, and what was under way has an hour.
    closing.hourly().await;
    assert!(!closing.is_known().await);
    assert_eq!(closing.deletion().await.expect(200)["status"], "deleting");
    assert_eq!(rows(world, world.tenant.0).await["contacts"], before["contacts"]);
    let open = json!({ "status": "active" });
    closing
        .operate("PATCH", &closing.path(), open)
        .await
        .expect_code(409, "CONFLICT");

    closing.hourly().await;
    let deleted = closing.deletion().await.expect(200);
    assert_eq!(deleted["status"], "deleted");
    assert!(deleted["deleted_at"].as_str() > deleted["delete_after"].as_str());
    assert_eq!(rows(world, other.tenant.0).await, theirs);
    let dump = Dump::of(world, &closing.bucket).await;
    assert_eq!(
        dump.places(&world.tenant.to_string()),
        ["deleted_tenants.id"],
        "and when it went"
    );
    for person in ["Zubaida", "01288877766", "201001234567"] {
        assert_eq!(dump.places(person), Vec::<&str>::new(), "{person}");
    }
    assert!(objects(&closing.bucket).await.is_empty());

    // As if it had never been, but for the deletion itself.
    let gone = closing.operate("GET", &closing.path(), Value::Null).await;
    gone.expect_code(404, "NOT_FOUND");
    let again = format!("{}?confirm=test", closing.path());
    let again = closing.operate("DELETE", &again, Value::Null).await;
    again.expect_code(404, "NOT_FOUND");
    closing
        .operator
        .get(me, "/v1/admin/users")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    closing.hourly().await;
    closing.stack.scheduler.handle(task("minute")).await.unwrap();
    closing.stack.scheduler.handle(task("daily")).await.unwrap();
    // What still lay in a queue is dropped; nobody could ever work on it.
    let (number, account) = (closing.account.provider_key.clone(), closing.account.clone());
    let late = meta_body(&[(&number, &[text_message("201001234567", "anybody there?")], &[])]);
    let stored = closing.stack.post(Source::Meta, &late, "", vec![account]).await;
    stored.unwrap();
    assert_eq!(rows(world, world.tenant.0).await.values().sum::<i64>(), 0);
}

#[tokio::test]
async fn a_company_that_was_closed_is_opened_again_as_it_was() {
    let closing = Closing::new().await;
    let (world, me) = (closing.world(), &closing.stack.me);
    let contacts = world.contacts();
    closing.deletion().await.expect_code(404, "NOT_FOUND");
    for (query, code) in [
        ("", "VALIDATION_FAILED"),
        ("?confirm=", "VALIDATION_FAILED"),
        ("?confirm=another", "VALIDATION_FAILED"),
    ] {
        let path = format!("{}{query}", closing.path());
        let refused = closing.operate("DELETE", &path, Value::Null).await;
        refused.expect_code(422, code);
    }
    let by_patch = json!({ "status": "closed" });
    let by_patch = closing.operate("PATCH", &closing.path(), by_patch).await;
    let refused = by_patch.expect_code(422, "VALIDATION_FAILED");
    assert_eq!(refused["details"]["fields"][0]["path"], "status");
    let before = rows(world, world.tenant.0).await;
    let no_mails = json!({ "transactional_email": false });
    let wants = closing
        .operator
        .json(
            me,
            "PUT",
            &format!("/v1/admin/users/{}/preferences", me.user_id),
            &[],
            &no_mails,
        )
        .await;
    wants.expect(200);

    let closed = closing.close().await;
    assert_eq!(
        (&closed["status"], &closed["deleted_at"]),
        (&json!("closed"), &Value::Null)
    );
    let at = |field: &str| {
        closed[field]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    assert_eq!(
        at("delete_after").duration_since(at("closed_at")).as_hours(),
        30 * 24
    );
    assert_eq!(closing.close().await, closed, "a repetition changes nothing");
    assert_eq!(closing.deletion().await.expect(200), closed);
    contacts
        .get(me, "/v1/contacts")
        .await
        .expect_code(403, "FORBIDDEN");
    let listed = closing
        .operate("GET", "/v1/tenants?status=closed", Value::Null)
        .await;
    assert_eq!(listed.expect(200)["data"][0]["id"], json!(world.tenant.0));
    let told =
        "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND user_id = $2 AND channel = 'email'";
    let admin = world.admin_sql().await;
    let params: [&(dyn db::ToSql + Sync); 2] = [&world.tenant.0, &me.user_id];
    let told: i64 = admin.query_one(told, &params).await.unwrap().get(0);
    assert_eq!(
        told, 1,
        "once, whatever they prefer: nobody sees their inbox any more"
    );

    let opened = closing
        .operate("PATCH", &closing.path(), json!({ "status": "active" }))
        .await;
    assert_eq!(opened.expect(200)["status"], "active");
    closing.deletion().await.expect_code(404, "NOT_FOUND");
    contacts.get(me, "/v1/contacts").await.expect(200);
    closing.hourly().await;
    let after = rows(world, world.tenant.0).await;
    assert_eq!(after["contacts"], before["contacts"]);
    assert!(closing.is_known().await);

    // Its 30 days begin anew.
    let again = closing.close().await;
    assert!(again["closed_at"].as_str() > closed["closed_at"].as_str());
    let events =
        "SELECT array_agg(type ORDER BY id) FROM event_outbox WHERE tenant_id = $1 AND type LIKE 'tenant.%'";
    let events = admin.query_one(events, &[&world.tenant.0]).await.unwrap();
    let events: Vec<String> = events.get(0);
    let ends: Vec<&str> = events.iter().map(String::as_str).collect();
    assert!(
        ends.ends_with(&["tenant.closed", "tenant.activated", "tenant.closed"]),
        "{ends:?}"
    );
}

#[tokio::test]
async fn a_deletion_that_is_cut_short_goes_on() {
    let closing = Closing::new().await;
    let world = closing.world();
    let enter = format!(
        "SELECT set_config('app.current_tenant_id', '{}', false)",
        world.tenant
    );
    let admin = world.admin_sql().await;
    admin.batch_execute(&enter).await.unwrap();
    // People whose role is all that keeps them from taking a seat, and more of them than there are seats.
    let seats = "UPDATE entitlement_overrides SET limit_value = 5 WHERE tenant_id = $1 AND scope = 'tenant' AND code = 'users.max'";
    admin.execute(seats, &[&world.tenant.0]).await.unwrap();
    for _ in 0..6 {
        world.user("read_only").await;
    }
    // More than a batch.
    let many = "INSERT INTO contacts (tenant_id, id, first_name, name_norm, created_at, updated_at)
                SELECT $1, gen_random_uuid(), 'x', 'x', now(), now() FROM generate_series(1, 2100)";
    let quietly = "SET session_replication_role = replica";
    admin.batch_execute(quietly).await.unwrap();
    admin.execute(many, &[&world.tenant.0]).await.unwrap();
    closing.close().await;
    closing.wait().await;
    closing.hourly().await;
    let over = Task {
        budget: Budget::of(Duration::ZERO),
        ..task("hourly")
    };
    closing.stack.scheduler.handle(over).await.unwrap();
    assert_eq!(closing.deletion().await.expect(200)["status"], "deleting");
    // A process that died after a batch.
    let caller = TestDb::system(world.tenant);
    let batch = world
        .test
        .db
        .write(&caller, async |tx| identity::closing::delete_rows(&tx, 100).await);
    assert_eq!(batch.await.unwrap(), 100);
    let lines = "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND action = 'contact.channel.deleted'";
    let lines: i64 = admin.query_one(lines, &[&world.tenant.0]).await.unwrap().get(0);
    assert_eq!(lines, 0, "the log that is deleted does not tell of it");
    // Somebody who wrote meanwhile.
    let late = "INSERT INTO contacts (tenant_id, id, first_name, name_norm, created_at, updated_at)
                VALUES ($1, gen_random_uuid(), 'late', 'late', now(), now())";
    admin.execute(late, &[&world.tenant.0]).await.unwrap();
    // So many take too long.
    let slow = "CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF (SELECT count(*) FROM gone) > 500 THEN
                    RAISE EXCEPTION 'too long' USING ERRCODE = 'query_canceled';
                END IF;
                RETURN NULL;
            END
        $$;
        CREATE TRIGGER slow AFTER DELETE ON contacts REFERENCING OLD TABLE AS gone EXECUTE FUNCTION app.slow()";
    admin.batch_execute(slow).await.unwrap();
    closing.hourly().await;
    assert_eq!(closing.deletion().await.expect(200)["status"], "deleted");
    assert_eq!(rows(world, world.tenant.0).await.values().sum::<i64>(), 0);
    // Nobody writes anything for it any more.
    let application = world.as_application().await;
    application.batch_execute(&enter).await.unwrap();
    let refused = application.execute(late, &[&world.tenant.0]).await.unwrap_err();
    assert_eq!(
        refused.code().unwrap(),
        &tokio_postgres::error::SqlState::FOREIGN_KEY_VIOLATION
    );
}

/// Whoever has the application's connection has its word, and not the database's.
#[tokio::test]
async fn the_application_can_not_delete_a_company_before_its_time() {
    let world = World::new().await;
    world.admin().await;
    let application = world.as_application().await;
    let enter = format!(
        "SELECT set_config('app.current_tenant_id', '{}', false)",
        world.tenant
    );
    application.batch_execute(&enter).await.unwrap();
    let id = format!("WHERE id = '{}'", world.tenant);
    let refused = async |sql: &str| application.batch_execute(sql).await.is_err();
    for at_once in [
        "SELECT app.delete_tenant(10)".to_owned(),
        format!("UPDATE tenants SET status = 'deleting' {id}"),
        format!("UPDATE tenants SET status = 'deleting', closed_at = now() - interval '1 year' {id}"),
        "DELETE FROM tenants".to_owned(),
        "SELECT * FROM deleted_tenants".to_owned(),
    ] {
        assert!(refused(&at_once).await, "{at_once}");
    }
    // Nor by a table of its own in the way of the database's, or a company that is made to be deleted.
    for trick in [
        "CREATE TEMP TABLE tenants (id uuid, status text, closed_at timestamptz)".to_owned(),
        "CREATE TABLE app.pg_constraint (contype \"char\")".to_owned(),
        "CREATE TABLE pg_constraint (contype \"char\")".to_owned(),
        "DO $$ BEGIN
            PERFORM set_config('app.current_tenant_id', '01941f29-7c00-7000-8000-0000000dead1', true);
            INSERT INTO tenants (id, name, slug, status, closed_at)
            VALUES ('01941f29-7c00-7000-8000-0000000dead1', 'x', 'never-was', 'deleting', '1990-01-01');
        END $$"
            .to_owned(),
    ] {
        assert!(refused(&trick).await, "{trick}");
    }
    let back = format!("UPDATE tenants SET closed_at = now() - interval '1 year' {id}");
    for close in [
        format!("UPDATE tenants SET status = 'closed', closed_at = now() - interval '1 year' {id}"),
        format!("UPDATE tenants SET status = 'closed' {id}; {back}"),
        back,
    ] {
        application.batch_execute(&close).await.unwrap();
        for too_early in [
            "SELECT app.delete_tenant(10)".to_owned(),
            format!("UPDATE tenants SET status = 'deleting' {id}"),
        ] {
            assert!(refused(&too_early).await, "{close}: {too_early}");
        }
    }
    let recent = "SELECT closed_at > now() - interval '1 minute' FROM tenants";
    let recent: bool = application.query_one(recent, &[]).await.unwrap().get(0);
    assert!(recent);
}
