//! What people were told is forgotten after 90 days, what providers posted of them after 30, or after the
//! time that the company says.

use super::setup::{admin, bucket};
use crate::messaging::stack::{Stack, digits, meta_body, task, text_message};
use crate::support::World;
use notifications::notice::{Channel, Notice, To};
use providers::intake::Source;
use serde_json::json;
use testkit::TestDb;
use uuid::Uuid;

/// Moves rows so many days back, whose times are in their ids.
async fn age(world: &World, table: &str, ids: &[Uuid], days: i32) {
    let sql = format!(
        "UPDATE {table} SET created_at = created_at - make_interval(days => $3),
            id = overlay(id::text PLACING substr(app.first_id_of(created_at - make_interval(days => $3))::text, 1, 13) FROM 1 FOR 13)::uuid
         WHERE tenant_id = $1 AND id = ANY ($2)"
    );
    let admin = world.admin_sql().await;
    let aged = admin.execute(&sql, &[&world.tenant.0, &ids, &days]).await;
    assert_eq!(usize::try_from(aged.unwrap()).unwrap(), ids.len());
}

/// A notice in an inbox and by mail, which was sent unless it waits; their ids.
async fn told(world: &World, user: Uuid, is_sent: bool) -> (Uuid, Uuid) {
    let caller = TestDb::system(world.tenant);
    let sent = world.test.db.write(&caller, async |tx| {
        let to = |channel, address| To {
            user_id: Some(user),
            channel,
            address,
            locale: "en",
        };
        let (inbox, mail) = (to(Channel::Inbox, ""), to(Channel::Email, "a@example.com"));
        let inbox = notifications::notice::send(&tx, &inbox, &Notice::PasswordChanged).await?;
        let mail = notifications::notice::send(&tx, &mail, &Notice::PasswordChanged).await?;
        if is_sent {
            let sent = "UPDATE messages_outbox SET status = 'sent', sent_at = now() WHERE tenant_id = $1 AND id = $2";
            tx.execute(sent, &[&tx.tenant().0, &mail]).await?;
        }
        Ok((inbox, mail))
    });
    sent.await.unwrap()
}

/// Gives every row of a table an id of so many days ago.
async fn back(world: &World, table: &str, days: i32) {
    let sql = format!(
        "UPDATE {table} SET id = overlay(id::text PLACING
            substr(app.first_id_of(now() - make_interval(days => $1))::text, 1, 13) FROM 1 FOR 13)::uuid"
    );
    let admin = world.admin_sql().await;
    assert!(admin.execute(&sql, &[&days]).await.unwrap() > 0, "{table}");
}

async fn number(world: &World, sql: &str) -> i64 {
    let admin = world.admin_sql().await;
    admin.query_one(sql, &[&world.tenant.0]).await.unwrap().get(0)
}

#[tokio::test]
async fn what_people_were_told_is_forgotten_after_90_days() {
    let stack = Stack::alone().await;
    let other = World {
        tenant: stack.world.test.tenant().await,
        ..super::erasure::own(&stack.world)
    };
    let admin = stack.world.admin_sql().await;
    admin
        .query(
            "SELECT app.maintain_partitions(now() - interval '3 months', 3)",
            &[],
        )
        .await
        .unwrap();
    for world in [&stack.world, &other] {
        let user = world.user("staff").await.user_id;
        let (old, young, waiting) = (
            told(world, user, true).await,
            told(world, user, true).await,
            told(world, user, false).await,
        );
        age(world, "inbox_messages", &[old.0, waiting.0], 91).await;
        age(world, "messages_outbox", &[old.1, waiting.1], 91).await;
        age(world, "inbox_messages", &[young.0], 89).await;
        age(world, "messages_outbox", &[young.1], 89).await;
        // More than one batch.
        let many = "INSERT INTO inbox_messages (tenant_id, id, user_id, kind, title_sealed, body_sealed, created_at)
            SELECT $1, overlay(gen_random_uuid()::text PLACING substr(app.first_id_of(now() - interval '100 days')::text, 1, 13) FROM 1 FOR 13)::uuid,
                   $2, 'password_changed', 'x', 'x', now() - interval '100 days' FROM generate_series(1, 1200)";
        admin.execute(many, &[&world.tenant.0, &user]).await.unwrap();
    }
    stack.scheduler.handle(task("daily")).await.unwrap();
    for world in [&stack.world, &other] {
        let inbox = "SELECT count(*) FROM inbox_messages WHERE tenant_id = $1";
        assert_eq!(number(world, inbox).await, 1, "the young one");
        let rows = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1";
        assert_eq!(number(world, rows).await, 3, "deliveries are still counted");
        let known = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND recipient_sealed <> ''";
        assert_eq!(
            number(world, known).await,
            2,
            "the young one, and the one that waits"
        );
        let waits = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND status = 'queued' AND content_sealed IS NOT NULL";
        assert_eq!(number(world, waits).await, 1);
        let said = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND recipient_sealed = '' AND content_sealed IS NOT NULL";
        assert_eq!(number(world, said).await, 0);
        let whose = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND recipient_sealed = ''
            AND coalesce(user_id::text, contact_id::text, about_user_id::text, provider_message_id) IS NOT NULL";
        assert_eq!(number(world, whose).await, 0);
    }
    stack.scheduler.handle(task("daily")).await.unwrap();
}

#[tokio::test]
async fn what_providers_posted_is_forgotten_after_30_days() {
    let stack = Stack::alone().await;
    let (_, conversation) = stack.conversation().await;
    let nobodys = meta_body(&[(&digits(), &[text_message("201001234567", "anybody?")], &[])]);
    stack.post(Source::Meta, &nobodys, "", vec![]).await.unwrap();
    let admin = stack.world.admin_sql().await;
    let back = async |table, days| back(&stack.world, table, days).await;
    let partitions = "SELECT app.maintain_partitions(now() - interval '3 months', 3)";
    admin.query(partitions, &[]).await.unwrap();
    let kept = async || {
        let count = async |sql: &str| admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        (
            count("SELECT count(*) FROM webhook_events WHERE tenant_id IS NOT NULL").await,
            count("SELECT count(*) FROM webhook_events WHERE tenant_id IS NULL").await,
            count("SELECT count(*) FROM messages WHERE raw_sealed IS NOT NULL").await,
        )
    };
    assert_eq!(kept().await, (1, 1, 1));
    for (days, left) in [(29, (1, 1, 1)), (31, (0, 0, 0))] {
        back("webhook_events", days).await;
        back("messages", days).await;
        stack.scheduler.handle(task("daily")).await.unwrap();
        assert_eq!(kept().await, left, "after {days} days");
    }
    let path = format!("/v1/conversations/{conversation}/messages");
    let shown = stack.api.get(&stack.me, &path).await.expect(200);
    assert_eq!(shown["data"][0]["body"], "hello", "what was said stays");
}

#[tokio::test]
async fn the_company_says_how_long_that_is() {
    let stack = Stack::alone().await;
    let settings = admin(&stack.world, &bucket().await);
    let keep = async |times: serde_json::Value| {
        let changed = settings.patch(&stack.me, "/v1/admin/compliance", &times).await;
        changed.expect(200);
        stack.scheduler.handle(task("daily")).await.unwrap();
    };
    let partitions = "SELECT app.maintain_partitions(now() - interval '3 months', 3)";
    stack
        .world
        .admin_sql()
        .await
        .query(partitions, &[])
        .await
        .unwrap();
    let left = async || {
        let inbox = "SELECT count(*) FROM inbox_messages WHERE tenant_id = $1";
        let known = "SELECT count(*) FROM messages_outbox WHERE tenant_id = $1 AND recipient_sealed <> ''";
        let posted = "SELECT count(*) FROM webhook_events WHERE tenant_id = $1";
        let raw = "SELECT count(*) FROM messages WHERE tenant_id = $1 AND raw_sealed IS NOT NULL";
        (
            number(&stack.world, inbox).await,
            number(&stack.world, known).await,
            number(&stack.world, posted).await,
            number(&stack.world, raw).await,
        )
    };
    stack.conversation().await;
    let notice = told(&stack.world, stack.me.user_id, true).await;
    age(&stack.world, "inbox_messages", &[notice.0], 40).await;
    age(&stack.world, "messages_outbox", &[notice.1], 40).await;
    for table in ["webhook_events", "messages"] {
        back(&stack.world, table, 10).await;
    }
    assert_eq!(left().await, (1, 1, 1, 1));
    keep(json!({ "inbox_keep_days": 41, "payload_keep_days": 41, "webhook_keep_days": 11 })).await;
    assert_eq!(left().await, (1, 1, 1, 1), "longer than it lies here");
    keep(json!({ "inbox_keep_days": 39 })).await;
    assert_eq!(left().await, (0, 1, 1, 1));
    keep(json!({ "payload_keep_days": 39 })).await;
    assert_eq!(left().await, (0, 0, 1, 1));
    keep(json!({ "webhook_keep_days": 9 })).await;
    assert_eq!(left().await, (0, 0, 0, 0));

    // And for longer than we would, where a month is dropped whole.
    keep(json!({ "inbox_keep_days": 365, "payload_keep_days": 365, "webhook_keep_days": 60 })).await;
    stack.conversation().await;
    let notice = told(&stack.world, stack.me.user_id, true).await;
    age(&stack.world, "inbox_messages", &[notice.0], 120).await;
    for table in ["webhook_events", "messages"] {
        back(&stack.world, table, 59).await;
    }
    stack.scheduler.handle(task("daily")).await.unwrap();
    assert_eq!(left().await, (1, 1, 1, 1));
}
