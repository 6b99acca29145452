//! What crashes leave behind, and who finds it.

use super::stack::{Stack, drain, message, task};
use audit::outbox::{Event, Wake};
use notifications::delivery;
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

const EVENTS: &str = "SELECT id FROM event_outbox WHERE tenant_id = $1";

async fn event_ids(stack: &Stack) -> Vec<Uuid> {
    let rows = stack
        .world
        .admin_sql()
        .await
        .query(EVENTS, &[&stack.world.tenant.0])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn events_are_published_when_woken_and_once() {
    let stack = Stack::new().await;
    stack.conversation().await;
    let ids = event_ids(&stack).await;
    let wake = || message(Some(stack.world.tenant), Wake { ids: ids.clone() });
    stack.relay.handle(wake()).await.unwrap();
    stack.relay.handle(wake()).await.unwrap();
    let published = drain::<Event>(&stack.domain_events_url).await;
    let names: BTreeSet<_> = published
        .iter()
        .map(|event| event.payload.event_type.as_str())
        .collect();
    assert!(
        names.contains("message.received") && names.contains("contact.created"),
        "{names:?}"
    );
    assert_eq!(published.len(), ids.len());
    assert!(
        published
            .iter()
            .all(|event| event.tenant() == Some(stack.world.tenant))
    );
    // another tenant's message names nothing of this one
    let stranger = stack.world.neighbour().await.tenant;
    stack
        .relay
        .handle(message(Some(stranger), Wake { ids }))
        .await
        .unwrap();
    assert!(drain::<Event>(&stack.domain_events_url).await.is_empty());
}

#[tokio::test]
async fn a_function_that_died_after_its_commit_loses_nothing() {
    let stack = Stack::alone().await;
    let (_, conversation) = stack.conversation().await;
    // the queues are away: nothing is woken, and the reply is accepted all the same
    let nowhere = cloud::Cloud::connect(&super::stack::aws_env("http://127.0.0.1:9")).unwrap();
    let queues = config::Env::from_pairs([
        ("EVENT_OUTBOX_QUEUE_URL", "http://127.0.0.1:9/q"),
        ("OUTBOUND_MESSAGES_QUEUE_URL", "http://127.0.0.1:9/q"),
    ]);
    let mute = messaging_function::App {
        db: stack
            .world
            .test
            .db
            .clone()
            .with_after_commit(nowhere.after_commit(&queues).unwrap()),
        ..stack.app.clone()
    };
    let mute = crate::support::Api(messaging_function::routes().into_service(mute));
    let path = format!("/v1/conversations/{conversation}/messages");
    let reply = mute
        .post(&stack.me, &path, &json!({ "body": "hi" }))
        .await
        .expect(202);
    drain::<delivery::Wake>(&stack.deliveries_url).await;

    stack.relay.sweep(task("sweep")).await.unwrap();
    assert!(
        drain::<delivery::Wake>(&stack.deliveries_url).await.is_empty(),
        "a nudge has a little time"
    );
    let admin = stack.world.admin_sql().await;
    admin
        .execute(
            "UPDATE messages_outbox SET next_attempt_at = now() - interval '1 minute'",
            &[],
        )
        .await
        .unwrap();
    admin
        .execute(
            "UPDATE event_outbox SET created_at = now() - interval '1 minute'",
            &[],
        )
        .await
        .unwrap();
    stack.relay.sweep(task("sweep")).await.unwrap();
    let woken = drain::<delivery::Wake>(&stack.deliveries_url).await;
    assert_eq!(woken.len(), 1);
    assert_eq!(
        (json!(woken[0].payload.id), woken[0].tenant()),
        (reply["id"].clone(), Some(stack.world.tenant))
    );
    let published = drain::<Event>(&stack.domain_events_url).await;
    assert_eq!(published.len(), event_ids(&stack).await.len());
    stack.relay.sweep(task("sweep")).await.unwrap();
    assert!(drain::<Event>(&stack.domain_events_url).await.is_empty());
}

#[tokio::test]
async fn a_sender_that_died_leaves_a_delivery_that_fails_after_an_hour() {
    let stack = Stack::alone().await;
    let (_, conversation) = stack.conversation().await;
    let id = stack.reply(&conversation).await;
    let (db, caller) = (&stack.world.test.db, testkit::TestDb::system(stack.world.tenant));
    let claimed = db
        .write(&caller, async |tx| {
            Ok(messaging::delivery::claim(&tx, id).await?.is_some())
        })
        .await
        .unwrap();
    assert!(claimed);
    stack.scheduler.handle(task("minute")).await.unwrap();
    assert_eq!(stack.message(&conversation, id).await["status"], "sending");
    let admin = stack.world.admin_sql().await;
    let age = "UPDATE messages_outbox SET claimed_at = claimed_at - interval '61 minutes'";
    admin.execute(age, &[]).await.unwrap();
    stack.scheduler.handle(task("minute")).await.unwrap();
    let message = stack.message(&conversation, id).await;
    assert_eq!(
        (&message["status"], &message["error_code"]),
        (&json!("failed"), &json!("UNCONFIRMED"))
    );
    assert_eq!(stack.sends(), 0);
}

#[tokio::test]
async fn a_flood_of_one_company_does_not_hold_up_another() {
    let stack = Stack::alone().await;
    let other = stack.world.test.tenant().await;
    let admin = stack.world.admin_sql().await;
    let queue = "INSERT INTO messages_outbox (tenant_id, id, channel, recipient_sealed, content_sealed, next_attempt_at, created_at)
        SELECT $1, overlay(gen_random_uuid()::text PLACING substr(app.first_id_of(now())::text, 1, 15) FROM 1)::uuid,
               'whatsapp', '', '', now() - $2::bigint * interval '1 minute', now() FROM generate_series(1, $3::bigint)";
    admin
        .execute(queue, &[&stack.world.tenant.0, &60_i64, &5000_i64])
        .await
        .unwrap();
    admin.execute(queue, &[&other.0, &1_i64, &1_i64]).await.unwrap();
    let rows = stack
        .world
        .test
        .db
        .lookup(
            "SELECT tenant_id FROM app.due_deliveries($1, $2)",
            &[&stack.now(), &2],
        )
        .await
        .unwrap();
    let tenants: BTreeSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        tenants,
        BTreeSet::from([stack.world.tenant.0, other.0]),
        "each company's oldest comes first"
    );
}

#[tokio::test]
async fn the_daily_task_may_run_twice_and_forgets_what_is_old() {
    let stack = Stack::alone().await;
    stack.conversation().await;
    let admin = stack.world.admin_sql().await;
    admin
        .execute(
            "UPDATE webhook_event_keys SET created_at = now() - interval '36 days'",
            &[],
        )
        .await
        .unwrap();
    stack.scheduler.handle(task("daily")).await.unwrap();
    stack.scheduler.handle(task("daily")).await.unwrap();
    let left: i64 = admin
        .query_one("SELECT count(*) FROM webhook_event_keys", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
    let ahead = "SELECT to_regclass('messages_outbox_' || to_char(now() + interval '3 months', 'YYYYMM')) IS NOT NULL";
    assert!(admin.query_one(ahead, &[]).await.unwrap().get::<_, bool>(0));
    assert!(stack.scheduler.handle(task("weekly")).await.is_err());
}
