//! A flood of one company's messages, and another company that gets one.
//!
//! On AWS the tenant is the message group of a fair queue, and the other company does not even wait
//! for the flood. The local queue has no fair order: here its message stands behind all of them, so
//! what is measured is the worst case, the whole flood worked off.

use crate::logs;
use crate::stack::{Stack, digits};
use crate::tenant::{Tenant, person, wamid};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const MESSAGES: usize = 5_000;
const IN_A_WEBHOOK: usize = 50;
/// How long the other company's message may take from its webhook to its conversation.
const BOUND: Duration = Duration::from_mins(1);

#[tokio::test]
async fn five_thousand_messages_of_one_company_hold_up_another_for_a_minute_at_most() {
    let stack = Stack::running();
    let (flooded, other) = (Tenant::connected(&stack).await, Tenant::connected(&stack).await);
    let bodies: Vec<String> = (0..MESSAGES / IN_A_WEBHOOK).map(|_| many(&flooded)).collect();
    stream::iter(&bodies)
        .for_each_concurrent(8, async |body| {
            flooded.post(body).await.expect(200);
        })
        .await;

    let (id, started) = (wamid(), Instant::now());
    let body = other.message(&id, &person(), "e2e-text: am I heard?");
    other.post(&body).await.expect(200);
    other.received(&id).await;
    let took = started.elapsed();
    assert!(took <= BOUND, "the other company waited {took:?}");

    let all = async || (count(&flooded).await == MESSAGES as u64).then_some(());
    stack.wait_for("the whole flood, once", all).await;
    logs::tell_nothing(&[&flooded.token, &other.token]);
}

/// A webhook with many messages of some people.
fn many(tenant: &Tenant) -> String {
    let now = kernel::Clock::system().now().as_second().to_string();
    let senders: Vec<String> = (0..5).map(|_| format!("9655077{}", &digits(5)[1..])).collect();
    let messages: Vec<Value> = (0..IN_A_WEBHOOK)
        .map(|nth| {
            let from = &senders[nth % senders.len()];
            json!({ "from": from, "id": wamid(), "timestamp": now, "type": "text", "text": { "body": "e2e-text: flood" } })
        })
        .collect();
    tenant.told(&json!({ "messages": messages }))
}

/// How many messages the company has, by the unread counts of its conversations.
async fn count(tenant: &Tenant) -> u64 {
    let (mut sum, mut path) = (0, "/v1/conversations?limit=200".to_owned());
    loop {
        let page = tenant.get(&path).await;
        let data = page["data"].as_array().unwrap();
        sum += data
            .iter()
            .map(|one| one["unread_count"].as_u64().unwrap())
            .sum::<u64>();
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/conversations?limit=200&cursor={cursor}"),
            None => return sum,
        }
    }
}
