//! What is acknowledged and what comes again.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use kernel::{Actor, Clock, Code, Error, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;
use worker::{Budget, Message, SqsEvent, process_batch};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Work {
    Ok,
    Permanent,
    Transient,
    Bug,
    Panic,
    Hang,
    Slow,
}

const TENANT: Uuid = Uuid::from_u128(0x0196_8e8a_0000_7000_8000_0000_0000_0001);

async fn handle(message: Message<Work>) -> kernel::Result<()> {
    match message.payload {
        Work::Ok => Ok(()),
        Work::Permanent => Err(Error::new(Code::NotFound, "There is no such record.")),
        Work::Transient => Err(Error::unavailable("the database is away")),
        Work::Bug => Err(Error::internal("a row without its parent")),
        Work::Panic => panic!("a slice index out of range"),
        Work::Hang => std::future::pending().await,
        Work::Slow => {
            sleep(Duration::from_secs(3)).await;
            Ok(())
        }
    }
}

fn body(work: &str) -> String {
    json!({ "v": 1, "tenant_id": TENANT, "request_id": "req-1", "payload": work }).to_string()
}

fn event(bodies: impl IntoIterator<Item = (&'static str, String)>) -> SqsEvent {
    let record = |(id, body)| {
        json!({
            "messageId": id, "body": body, "eventSource": "aws:sqs", "attributes": {
                "ApproximateReceiveCount": "3", "SentTimestamp": "1777629600000", "AWSTraceHeader": "Root=1-2-3",
            },
        })
    };
    let records: Vec<Value> = bodies.into_iter().map(record).collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

async fn returned<H>(handler: H, event: SqsEvent) -> Vec<String>
where
    H: AsyncFn(Message<Work>) -> kernel::Result<()>,
{
    let clock = Clock::fixed("2026-05-01T10:00:05Z".parse().unwrap());
    let started = tokio::time::Instant::now();
    let response = process_batch(
        "test",
        &handler,
        event,
        Budget::of(Duration::from_secs(10)),
        &clock,
    )
    .await;
    let mut ids: Vec<String> = response
        .batch_item_failures
        .into_iter()
        .map(|failure| failure.item_identifier)
        .collect();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "Lambda would have killed it"
    );
    ids.sort();
    ids
}

#[tokio::test(start_paused = true)]
async fn only_what_may_succeed_later_comes_again() {
    let event = event([
        ("ok-1", body("ok")),
        ("permanent", body("permanent")),
        ("transient", body("transient")),
        ("bug", body("bug")),
        ("panic", body("panic")),
        ("poison", "{not json".to_owned()),
        ("unknown", body("unheard_of")),
        ("future", body("ok").replace("\"v\":1", "\"v\":2")),
        ("empty", String::new()),
        ("ok-2", body("ok")),
    ]);
    let expected = [
        "bug",
        "empty",
        "future",
        "panic",
        "poison",
        "transient",
        "unknown",
    ];
    assert_eq!(returned(handle, event).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_went_well_returns_nothing() {
    assert!(
        returned(handle, event([("a", body("ok")), ("b", body("ok"))]))
            .await
            .is_empty()
    );
    assert!(returned(handle, event([])).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hanging_record_is_given_up_and_the_others_are_acknowledged() {
    let event = event([("a", body("ok")), ("hang", body("hang")), ("b", body("slow"))]);
    assert_eq!(returned(handle, event).await, ["hang"]);
}

/// Four at once, 3 s each, in 10 s: the fourth round would begin at 9 s, with a tenth of the time left.
#[tokio::test(start_paused = true)]
async fn nothing_begins_in_the_last_fifth_of_the_time() {
    let ids: Vec<&'static str> = (0..40).map(|n| &*format!("m{n:02}").leak()).collect();
    let started = Cell::new(0);
    let busy = Cell::new(0);
    let handler = async |message: Message<Work>| {
        started.set(started.get() + 1);
        busy.set(busy.get() + 1);
        assert!(busy.get() <= 4, "more at once than agreed");
        let done = handle(message).await;
        busy.set(busy.get() - 1);
        done
    };
    let returned = returned(handler, event(ids.iter().map(|id| (*id, body("slow"))))).await;
    assert_eq!(started.get(), 12);
    assert_eq!(returned, ids[12..]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_the_envelope_and_acts_for_its_tenant() {
    let seen = RefCell::new(None);
    let handler = async |message: Message<Work>| {
        *seen.borrow_mut() = Some(message);
        Ok(())
    };
    assert!(returned(handler, event([("m1", body("ok"))])).await.is_empty());
    let message = seen.into_inner().unwrap();
    assert_eq!(
        (message.id.as_str(), message.request_id.as_str(), message.attempt),
        ("m1", "req-1", 3)
    );
    assert_eq!(message.sent_at, Some("2026-05-01T10:00:00Z".parse().unwrap()));
    assert_eq!(message.trace.as_deref(), Some("Root=1-2-3"));
    let caller = message.caller("test").unwrap();
    assert_eq!(caller.tenant(), TenantId(TENANT));
    assert_eq!(caller.actor(), &Actor::System { name: "test" });
    assert_eq!(caller.origin().request_id, "req-1");
    let homeless = Message {
        tenant: None,
        ..message
    };
    assert_eq!(homeless.caller("test").unwrap_err().code(), Code::Internal);
}
