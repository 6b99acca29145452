use crate::setup::{clock, cloud, dump, sealer, table};
use cloud::{Key, RateLimit};
use futures::future::join_all;
use jiff::SignedDuration;
use std::time::Duration;

const LIMIT: RateLimit = RateLimit {
    name: "test",
    capacity: 20,
    per: Duration::from_mins(1),
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_requests_exactly_the_capacity_passes() {
    let limiter = cloud().rate_limiter(&table().await, clock());
    let key = Key::id("one");
    let decisions = join_all((0..50).map(|_| limiter.take(&LIMIT, &key))).await;
    let allowed = decisions
        .iter()
        .filter(|decision| decision.as_ref().unwrap().allowed)
        .count();
    assert_eq!(allowed, 20);
    assert!(limiter.take(&LIMIT, &Key::id("another")).await.unwrap().allowed);
    let other_limit = RateLimit {
        name: "other",
        ..LIMIT
    };
    assert!(limiter.take(&other_limit, &key).await.unwrap().allowed);
}

#[tokio::test]
async fn a_new_window_starts_full() {
    let clock = clock();
    let limiter = cloud().rate_limiter(&table().await, clock.clone());
    let (limit, key) = (RateLimit { capacity: 2, ..LIMIT }, Key::id("one"));
    clock.advance(SignedDuration::from_secs(15));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let decision = limiter.take(&limit, &key).await.unwrap();
        assert_eq!(
            (decision.limit, decision.reset_after),
            (2, Duration::from_secs(45))
        );
        seen.push((decision.allowed, decision.remaining));
    }
    assert_eq!(seen, [(true, 1), (true, 0), (false, 0)]);
    clock.advance(SignedDuration::from_secs(45));
    let decision = limiter.take(&limit, &key).await.unwrap();
    assert!(decision.allowed);
    assert_eq!(decision.reset_after, Duration::from_mins(1));
}

#[tokio::test]
async fn counters_expire_and_name_nobody() {
    let table = table().await;
    let limiter = cloud().rate_limiter(&table, clock());
    limiter
        .take(&LIMIT, &Key::personal(&sealer(), "mona@example.com"))
        .await
        .unwrap();
    let items = dump(&table).await;
    assert!(!items.contains("mona"), "{items}");
    // the window's end, 10:01, and a minute
    assert!(items.contains("\"expires_at\": N(\"1777629720\")"), "{items}");
}

#[tokio::test]
async fn several_at_once_get_what_is_left_and_not_more() {
    let limiter = cloud().rate_limiter(&table().await, clock());
    let (limit, key) = (RateLimit { capacity: 5, ..LIMIT }, Key::id("one"));
    let mut allowed = Vec::new();
    for wanted in [3, 4, 1, 0] {
        allowed.push(limiter.take_up_to(&limit, &key, wanted).await.unwrap().0);
    }
    assert_eq!(allowed, [3, 2, 0, 0]);
    assert!(!limiter.take(&limit, &key).await.unwrap().allowed);
}
