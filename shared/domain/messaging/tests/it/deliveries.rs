//! What goes out, and what becomes of it.

use crate::support::World;
use jiff::SignedDuration;
use kernel::{Clock, Result};
use messaging::delivery;
use messaging::message;
use notifications::delivery::{Claimed, Content, Retry};
use notifications::report::{Report, Status};
use std::time::Duration;
use testkit::database::unique;
use tokio::sync::oneshot;
use uuid::Uuid;

impl World {
    async fn claim(&self, id: Uuid) -> Option<Claimed> {
        self.write(async |tx| Ok(delivery::claim(&tx, id).await?.map(|sending| sending.claimed)))
            .await
            .unwrap()
    }

    async fn sent(&self, id: Uuid, provider_id: &str) {
        self.write(async |tx| delivery::sent(&tx, id, "meta", provider_id).await)
            .await
            .unwrap();
    }

    async fn told(&self, reports: &[Report]) {
        self.write(async |tx| delivery::report(&tx, "meta", reports).await)
            .await
            .unwrap();
    }

    async fn status(&self, (conversation, id): (Uuid, Uuid)) -> message::Status {
        self.message(conversation, id).await.status
    }
}

fn provider_id() -> String {
    format!("wamid.{}", unique())
}

/// Every order of some items.
fn orders<T: Copy>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let pick = |at: usize| {
        let mut rest = items.to_vec();
        let first = rest.remove(at);
        orders(&rest).into_iter().map(move |mut order| {
            order.insert(0, first);
            order
        })
    };
    (0..items.len()).flat_map(pick).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    OurWrite,
    Told(Status),
}

#[tokio::test]
async fn statuses_in_every_order_also_before_our_own_write_end_the_same() {
    use Step::{OurWrite, Told};
    let cases: [(&[Step], message::Status); 4] = [
        (
            &[
                OurWrite,
                Told(Status::Sent),
                Told(Status::Delivered),
                Told(Status::Read),
            ],
            message::Status::Read,
        ),
        (
            &[OurWrite, Told(Status::Sent), Told(Status::Failed)],
            message::Status::Failed,
        ),
        (
            &[OurWrite, Told(Status::Failed), Told(Status::Delivered)],
            message::Status::Delivered,
        ),
        (&[OurWrite, Told(Status::Sent)], message::Status::Sent),
    ];
    let world = World::new().await;
    for (steps, end) in cases {
        for order in orders(steps) {
            let (conversation, id) = world.queued().await;
            world.claim(id).await.unwrap();
            let name = provider_id();
            for step in &order {
                match step {
                    OurWrite => world.sent(id, &name).await,
                    // twice, as providers do
                    Told(status) => {
                        world.told(&[world.report(&name, *status)]).await;
                        world.told(&[world.report(&name, *status)]).await;
                    }
                }
            }
            let message = world.message(conversation, id).await;
            assert_eq!(message.status, end, "{order:?}");
            assert_eq!(message.provider_message_id.as_deref(), Some(name.as_str()));
            assert!(message.sent_at.is_some());
            assert_eq!(message.read_at.is_some(), end == message::Status::Read);
            let failed = end == message::Status::Failed;
            assert_eq!(
                message.error_code.as_deref(),
                failed.then_some("131026"),
                "{order:?}"
            );
        }
    }
}

#[tokio::test]
async fn statuses_of_one_body_are_applied_together() {
    let world = World::new().await;
    let mut messages = Vec::new();
    let mut reports = Vec::new();
    for _ in 0..5 {
        let queued = world.queued().await;
        world.claim(queued.1).await.unwrap();
        let name = provider_id();
        world.sent(queued.1, &name).await;
        reports.push(world.report(&name, Status::Read));
        reports.push(world.report(&name, Status::Delivered));
        messages.push(queued);
    }
    reports.push(world.report("wamid.of-nobody", Status::Read));
    world.told(&reports).await;
    for queued in messages {
        assert_eq!(world.status(queued).await, message::Status::Read);
    }
}

#[tokio::test]
async fn a_status_with_our_own_id_finds_a_message_whose_sender_died() {
    let world = World::new().await;
    let queued = world.queued().await;
    world.claim(queued.1).await.unwrap();
    let name = provider_id();
    world
        .told(&[Report {
            delivery_id: Some(queued.1),
            ..world.report(&name, Status::Delivered)
        }])
        .await;
    let message = world.message(queued.0, queued.1).await;
    assert_eq!(message.status, message::Status::Delivered);
    assert_eq!(message.provider_message_id.as_deref(), Some(name.as_str()));
    assert!(world.claim(queued.1).await.is_none(), "and it is not sent again");

    // our id on a status that another tenant signed finds nothing
    let other = World::new().await;
    let waiting = world.queued().await;
    other
        .told(&[Report {
            delivery_id: Some(waiting.1),
            ..other.report("wamid.x", Status::Delivered)
        }])
        .await;
    assert_eq!(world.status(waiting).await, message::Status::Queued);
}

/// Starts `first`, holds it before its commit, starts `second`, sees it wait, lets go.
async fn overlap(
    world: &World,
    first: impl AsyncFnOnce(db::Tx) -> Result<()> + Send,
    second: impl Future<Output = ()> + Send,
) {
    let (held, holding) = oneshot::channel::<()>();
    let (release, released) = oneshot::channel::<()>();
    let first = world.write(async |tx| {
        first(tx).await?;
        held.send(()).unwrap();
        released.await.unwrap();
        Ok(())
    });
    let second = async {
        holding.await.unwrap();
        tokio::pin!(second);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
        assert!(early.is_err(), "the second must wait for the first's commit");
        release.send(()).unwrap();
        second.await;
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap();
}

#[tokio::test]
async fn our_write_and_a_status_at_the_same_time_never_miss_each_other() {
    let world = World::with(Clock::system()).await;
    // the report is under way when the sender writes
    let queued = world.queued().await;
    world.claim(queued.1).await.unwrap();
    let name = provider_id();
    let reports = [world.report(&name, Status::Delivered)];
    overlap(
        &world,
        async |tx| delivery::report(&tx, "meta", &reports).await,
        world.sent(queued.1, &name),
    )
    .await;
    assert_eq!(world.status(queued).await, message::Status::Delivered);

    // the sender's write is under way when the report comes
    let queued = world.queued().await;
    world.claim(queued.1).await.unwrap();
    let name = provider_id();
    let reports = [world.report(&name, Status::Delivered)];
    overlap(
        &world,
        async |tx| delivery::sent(&tx, queued.1, "meta", &name).await,
        world.told(&reports),
    )
    .await;
    assert_eq!(world.status(queued).await, message::Status::Delivered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_workers_one_gets_the_delivery() {
    let world = World::with(Clock::system()).await;
    let queued = world.queued().await;
    let claims = (0..20).map(|_| {
        let (db, caller) = (world.test.db.clone(), world.caller.clone());
        tokio::spawn(async move {
            let claim = db.write(&caller, async |tx| {
                Ok(delivery::claim(&tx, queued.1).await?.map(|s| s.claimed))
            });
            claim.await.unwrap().is_some()
        })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        won += i32::from(claim.await.unwrap());
    }
    assert_eq!(won, 1);
    assert_eq!(world.status(queued).await, message::Status::Sending);
}

#[tokio::test]
async fn a_claim_carries_what_the_sender_needs_and_the_account() {
    let world = World::new().await;
    let (_, id) = world.queued().await;
    let mut account = None;
    let claimed = world
        .write(async |tx| {
            let sending = delivery::claim(&tx, id).await?.unwrap();
            account = sending.account;
            Ok(sending.claimed)
        })
        .await
        .unwrap();
    assert_eq!(claimed.recipient, "+201001234567");
    assert!(claimed.content == Content::Text("welcome".to_owned()));
    assert_eq!((claimed.attempt, claimed.channel.as_str()), (1, "whatsapp"));
    assert_eq!(claimed.request_id.as_deref(), Some("test"));
    let account = account.unwrap();
    assert_eq!(account.credentials.access_token.unwrap().expose(), "EAAG-token");
}

#[tokio::test]
async fn attempts_wait_as_scheduled_and_the_fourth_is_the_last() {
    let world = World::new().await;
    let queued = world.queued().await;
    for minutes in [1, 5, 15] {
        let claimed = world.claim(queued.1).await.expect("due");
        let retry = world.write(async |tx| delivery::retry(&tx, &claimed, "UNAVAILABLE", None).await);
        assert_eq!(retry.await.unwrap(), Retry::Queued);
        assert_eq!(world.status(queued).await, message::Status::Queued);
        world.advance(SignedDuration::from_secs(minutes * 60 * 79 / 100));
        assert!(
            world.claim(queued.1).await.is_none(),
            "not before {minutes} minutes less a fifth"
        );
        world.advance(SignedDuration::from_secs(minutes * 60 * 42 / 100));
    }
    let claimed = world.claim(queued.1).await.expect("due");
    assert_eq!(claimed.attempt, 4);
    let retry = world.write(async |tx| delivery::retry(&tx, &claimed, "UNAVAILABLE", None).await);
    assert_eq!(retry.await.unwrap(), Retry::Dead);
    let message = world.message(queued.0, queued.1).await;
    assert_eq!(
        (message.status, message.error_code.as_deref()),
        (message::Status::Dead, Some("UNAVAILABLE"))
    );
    world.advance(SignedDuration::from_hours(24));
    assert!(world.claim(queued.1).await.is_none());
}

#[tokio::test]
async fn a_refusal_for_good_is_not_tried_again() {
    let world = World::new().await;
    let queued = world.queued().await;
    world.claim(queued.1).await.unwrap();
    world
        .write(async |tx| delivery::failed(&tx, queued.1, "UNDELIVERABLE").await)
        .await
        .unwrap();
    let message = world.message(queued.0, queued.1).await;
    assert_eq!(
        (message.status, message.error_code.as_deref()),
        (message::Status::Failed, Some("UNDELIVERABLE"))
    );
    world.advance(SignedDuration::from_hours(24));
    assert!(world.claim(queued.1).await.is_none());
}

#[tokio::test]
async fn what_a_dead_sender_left_is_not_resent_and_fails_after_an_hour_unless_proven() {
    let world = World::new().await;
    let left = world.queued().await;
    let unsure = world.queued().await;
    world.claim(left.1).await.unwrap();
    world.claim(unsure.1).await.unwrap();
    world
        .write(async |tx| delivery::unknown(&tx, unsure.1, "TIMEOUT").await)
        .await
        .unwrap();
    world.advance(SignedDuration::from_mins(59));
    assert!(world.claim(left.1).await.is_none());
    let give_up = async |id| {
        world
            .write(async |tx| delivery::give_up(&tx, id).await)
            .await
            .unwrap()
    };
    assert!(!give_up(left.1).await);
    assert_eq!(world.status(left).await, message::Status::Sending);

    world.advance(SignedDuration::from_mins(2));
    for queued in [left, unsure] {
        assert!(give_up(queued.1).await);
        let message = world.message(queued.0, queued.1).await;
        assert_eq!(
            (message.status, message.error_code.as_deref()),
            (message::Status::Failed, Some("UNCONFIRMED"))
        );
    }
    // the proof comes late: it was sent after all
    let name = provider_id();
    world
        .told(&[Report {
            delivery_id: Some(left.1),
            ..world.report(&name, Status::Sent)
        }])
        .await;
    let message = world.message(left.0, left.1).await;
    assert_eq!(
        (message.status, message.error_code),
        (message::Status::Sent, None)
    );
    // or the sender itself was only slow
    world.sent(unsure.1, &provider_id()).await;
    assert_eq!(world.status(unsure).await, message::Status::Sent);
}

#[tokio::test]
async fn sweeps_find_what_is_due_and_what_was_abandoned() {
    let world = World::new().await;
    let (due, abandoned) = (world.queued().await, world.queued().await);
    world.claim(abandoned.1).await.unwrap();
    let found = async |sql: &'static str| -> Vec<Uuid> {
        let at = world.now() + SignedDuration::from_secs(1);
        let rows = world.test.db.lookup(sql, &[&at, &100_000]).await.unwrap();
        let own = rows.iter().filter(|row| row.get::<_, Uuid>(0) == world.tenant.0);
        own.map(|row| row.get(1)).collect()
    };
    assert_eq!(found("SELECT * FROM app.due_deliveries($1, $2)").await, [due.1]);
    assert_eq!(
        found("SELECT * FROM app.abandoned_deliveries($1, $2)").await,
        [abandoned.1]
    );
}
