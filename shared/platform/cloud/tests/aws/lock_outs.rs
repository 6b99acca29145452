use crate::setup::{clock, cloud, dump, sealer, table};
use cloud::{Attempt, Key, LockOut};
use futures::future::join_all;
use jiff::SignedDuration;
use std::time::Duration;

const RULE: LockOut = LockOut::of("password");

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_guesses_get_no_more_than_five_tries() {
    let lock_outs = cloud().lock_outs(&table().await, clock());
    let key = Key::id("one");
    let attempts = join_all((0..50).map(|_| lock_outs.begin(&RULE, &key))).await;
    let mut left: Vec<u32> = attempts
        .into_iter()
        .filter_map(|attempt| match attempt.unwrap() {
            Attempt::Allowed { left } => Some(left),
            Attempt::Locked { .. } => None,
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4]);
    assert_eq!(
        lock_outs.begin(&RULE, &Key::id("another")).await.unwrap(),
        Attempt::Allowed { left: 4 }
    );
}

#[tokio::test]
async fn the_lock_lasts_from_the_last_try_and_then_all_is_new() {
    let clock = clock();
    let lock_outs = cloud().lock_outs(&table().await, clock.clone());
    let key = Key::id("one");
    for left in [4, 3, 2, 1, 0] {
        assert_eq!(
            lock_outs.begin(&RULE, &key).await.unwrap(),
            Attempt::Allowed { left }
        );
        clock.advance(SignedDuration::from_mins(1));
    }
    let locked = Attempt::Locked {
        retry_after: Duration::from_mins(9),
    };
    assert_eq!(lock_outs.begin(&RULE, &key).await.unwrap(), locked);
    clock.advance(SignedDuration::from_mins(9) - SignedDuration::from_millis(1));
    let locked = Attempt::Locked {
        retry_after: Duration::from_millis(1),
    };
    assert_eq!(
        lock_outs.begin(&RULE, &key).await.unwrap(),
        locked,
        "asking does not make the lock longer"
    );
    clock.advance(SignedDuration::from_millis(1));
    assert_eq!(
        lock_outs.begin(&RULE, &key).await.unwrap(),
        Attempt::Allowed { left: 4 }
    );
}

#[tokio::test]
async fn tries_count_for_ten_minutes_and_until_one_is_right() {
    let clock = clock();
    let lock_outs = cloud().lock_outs(&table().await, clock.clone());
    let key = Key::id("one");
    for left in [4, 3, 2, 1] {
        assert_eq!(
            lock_outs.begin(&RULE, &key).await.unwrap(),
            Attempt::Allowed { left }
        );
    }
    lock_outs.clear(&RULE, &key).await.unwrap();
    for left in [4, 3, 2, 1] {
        assert_eq!(
            lock_outs.begin(&RULE, &key).await.unwrap(),
            Attempt::Allowed { left }
        );
    }
    clock.advance(SignedDuration::from_mins(10));
    assert_eq!(
        lock_outs.begin(&RULE, &key).await.unwrap(),
        Attempt::Allowed { left: 4 }
    );
}

#[tokio::test]
async fn a_rule_of_one_try_locks_at_once() {
    let lock_outs = cloud().lock_outs(&table().await, clock());
    let rule = LockOut {
        tries: 1,
        lock_for: Duration::from_secs(30),
        ..RULE
    };
    assert_eq!(
        lock_outs.begin(&rule, &Key::id("one")).await.unwrap(),
        Attempt::Allowed { left: 0 }
    );
    let locked = Attempt::Locked {
        retry_after: Duration::from_secs(30),
    };
    assert_eq!(lock_outs.begin(&rule, &Key::id("one")).await.unwrap(), locked);
}

#[tokio::test]
async fn counts_name_nobody() {
    let table = table().await;
    let key = Key::personal(&sealer(), "mona@example.com");
    cloud()
        .lock_outs(&table, clock())
        .begin(&RULE, &key)
        .await
        .unwrap();
    let items = dump(&table).await;
    assert!(
        items.contains("lock#password#") && !items.contains("mona"),
        "{items}"
    );
}

#[tokio::test]
async fn a_try_that_is_taken_back_leaves_the_others_counted() {
    let clock = clock();
    let lock_outs = cloud().lock_outs(&table().await, clock.clone());
    let key = Key::id("one");
    // nothing to take back
    lock_outs.take_back(&RULE, &key).await.unwrap();
    for left in [4, 3, 2, 1] {
        assert_eq!(
            lock_outs.begin(&RULE, &key).await.unwrap(),
            Attempt::Allowed { left }
        );
    }
    for _ in 0..3 {
        assert_eq!(
            lock_outs.begin(&RULE, &key).await.unwrap(),
            Attempt::Allowed { left: 0 }
        );
        lock_outs.take_back(&RULE, &key).await.unwrap();
    }
    lock_outs.begin(&RULE, &key).await.unwrap();
    let locked = lock_outs.begin(&RULE, &key).await.unwrap();
    assert!(matches!(locked, Attempt::Locked { .. }), "{locked:?}");
    // what is over is not touched
    clock.advance(SignedDuration::from_mins(10));
    lock_outs.take_back(&RULE, &key).await.unwrap();
    assert_eq!(
        lock_outs.begin(&RULE, &key).await.unwrap(),
        Attempt::Allowed { left: 4 }
    );
}

#[tokio::test]
async fn tries_are_seen_without_one_being_taken_and_for_as_long_as_they_count() {
    let clock = clock();
    let lock_outs = cloud().lock_outs(&table().await, clock.clone());
    let key = Key::id("one");
    assert_eq!(lock_outs.tries(&RULE, &key).await.unwrap(), (0, Duration::ZERO));
    for _ in 0..2 {
        lock_outs.begin(&RULE, &key).await.unwrap();
    }
    clock.advance(SignedDuration::from_mins(4));
    for _ in 0..2 {
        let seen = lock_outs.tries(&RULE, &key).await.unwrap();
        assert_eq!(seen, (2, Duration::from_mins(6)));
    }
    clock.advance(SignedDuration::from_mins(6));
    assert_eq!(lock_outs.tries(&RULE, &key).await.unwrap(), (0, Duration::ZERO));
}
