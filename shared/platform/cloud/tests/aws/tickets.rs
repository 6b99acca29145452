use crate::setup::{clock, cloud, dump, sealer, table};
use futures::future::join_all;
use jiff::SignedDuration;
use std::time::Duration;

const TEN_MINUTES: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_all_who_come_with_the_secret_one_takes_the_ticket() {
    let tickets = cloud().tickets(&table().await, sealer(), clock(), "test");
    tickets.keep("secret", b"value", TEN_MINUTES).await.unwrap();
    let taken = join_all((0..20).map(|_| tickets.take("secret"))).await;
    let taken: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken, [b"value"]);
    tickets.keep("secret", b"another", TEN_MINUTES).await.unwrap();
    assert_eq!(tickets.take("secret").await.unwrap().unwrap(), b"another");
}

#[tokio::test]
async fn a_ticket_is_of_its_kind_and_of_its_time() {
    let (table, clock) = (table().await, clock());
    let tickets = cloud().tickets(&table, sealer(), clock.clone(), "one");
    let others = cloud().tickets(&table, sealer(), clock.clone(), "other");
    tickets.keep("secret", b"value", TEN_MINUTES).await.unwrap();
    assert_eq!(others.take("secret").await.unwrap(), None);
    assert_eq!(tickets.take("Secret").await.unwrap(), None);
    clock.advance(SignedDuration::from_secs(599));
    assert!(tickets.take("secret").await.unwrap().is_some());
    tickets.keep("secret", b"value", TEN_MINUTES).await.unwrap();
    clock.advance(SignedDuration::from_mins(10));
    assert_eq!(tickets.take("secret").await.unwrap(), None);
}

#[tokio::test]
async fn the_table_tells_neither_the_secret_nor_the_value() {
    let table = table().await;
    let tickets = cloud().tickets(&table, sealer(), clock(), "test");
    tickets
        .keep("the-secret", b"the-value", TEN_MINUTES)
        .await
        .unwrap();
    let stored = dump(&table).await;
    assert!(stored.contains("ticket#test#"), "{stored}");
    assert!(!stored.contains("the-secret") && !stored.contains("the-value"));
}
