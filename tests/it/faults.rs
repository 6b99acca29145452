//! Parts of the system go away while work arrives; afterwards all of it is done, once.

use crate::messaging::stack::{Stack, aws_env, digits, message, meta_body, text_message};
use crate::webhooks::Edge;
use futures::StreamExt;
use futures::future::join_all;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_postgres::Client;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};
use worker::{Message, SqsEvent};

/// Ends every connection of the application, as a restart does; while it is down, none is accepted.
struct Outage<'a> {
    admin: Client,
    name: &'a str,
}

impl<'a> Outage<'a> {
    async fn of(stack: &'a Stack) -> Self {
        let mut settings = stack.world.test.admin.clone();
        settings.dbname = "postgres".to_owned();
        Self {
            admin: testkit::admin_client(&settings).await,
            name: &stack.world.test.admin.dbname,
        }
    }

    async fn restart(&self) {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'm3_app'";
        self.admin.query(kill, &[&self.name]).await.unwrap();
    }

    async fn down(&self) {
        self.admin
            .batch_execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", self.name))
            .await
            .unwrap();
        self.restart().await;
    }

    async fn up(&self) {
        self.admin
            .batch_execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name))
            .await
            .unwrap();
    }
}

async fn stored(stack: &Stack) -> i64 {
    let sql = "SELECT count(*) FROM messages WHERE tenant_id = $1";
    stack
        .world
        .admin_sql()
        .await
        .query_one(sql, &[&stack.world.tenant.0])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_down_while_five_hundred_webhooks_arrive() {
    let edge = Edge::alone().await;
    let stack = &edge.stack;
    let number = edge.connect("secret-a").await;
    let outage = Outage::of(stack).await;
    outage.down().await;
    let posts = (0..500).map(|n| {
        let body = meta_body(&[(
            &number,
            &[text_message(&format!("2010{:08}", n % 40), "hello")],
            &[],
        )]);
        let edge = &edge;
        async move { edge.meta(&body, "secret-a").await.status }
    });
    let answers: Vec<u16> = futures::stream::iter(posts).buffer_unordered(20).collect().await;
    assert!(answers.iter().all(|status| *status == 200));

    let queued = edge.queued().await;
    assert_eq!(queued.len(), 500);
    let refused = stack
        .processor
        .handle(message(None, queued[0].payload.clone()))
        .await;
    assert!(refused.unwrap_err().is_transient(), "it goes back to the queue");

    outage.up().await;
    // Each of them twice, as a queue may deliver them.
    let work = queued.iter().chain(&queued).map(|envelope| async {
        while let Err(error) = stack
            .processor
            .handle(message(None, envelope.payload.clone()))
            .await
        {
            assert!(error.is_transient(), "{error:?}");
        }
    });
    futures::stream::iter(work)
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
    assert_eq!(stored(stack).await, 500);
    let contacts = "SELECT count(*) FROM contacts WHERE tenant_id = $1";
    let contacts: i64 = stack
        .world
        .admin_sql()
        .await
        .query_one(contacts, &[&stack.world.tenant.0])
        .await
        .unwrap()
        .get(0);
    assert_eq!(contacts, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_restarts_in_the_middle_of_a_batch() {
    let stack = Stack::alone().await;
    let account = stack.connect(&digits()).await;
    let outage = Outage::of(&stack).await;
    let seen = AtomicUsize::new(0);
    let handler = async |message: Message<providers::intake::Webhook>| {
        if seen.fetch_add(1, Ordering::Relaxed) == 4 {
            outage.restart().await;
        }
        stack.processor.handle(message).await
    };
    let mut left: Vec<String> = (0..10)
        .map(|n| {
            let body = meta_body(&[(
                &account.provider_key,
                &[text_message(&format!("201000000{n:03}"), "hello")],
                &[],
            )]);
            let webhook = stack.webhook_of(&body, vec![account.clone()]);
            kernel::Envelope::new(None, "req-test", webhook)
                .to_json()
                .unwrap()
        })
        .collect();
    let mut rounds = 0;
    while !left.is_empty() {
        rounds += 1;
        assert!(rounds <= 5, "five receives, then the dead-letter queue");
        let records: Vec<_> = left
            .iter()
            .enumerate()
            .map(|(at, body)| json!({ "messageId": at.to_string(), "body": body, "attributes": {} }))
            .collect();
        let event: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
        let budget = worker::Budget::of(Duration::from_mins(1));
        let answer = worker::process_batch("test", &handler, event, budget, &kernel::Clock::system()).await;
        let failed: Vec<usize> = answer
            .batch_item_failures
            .iter()
            .map(|failure| failure.item_identifier.parse().unwrap())
            .collect();
        left = left
            .into_iter()
            .enumerate()
            .filter(|(at, _)| failed.contains(at))
            .map(|(_, body)| body)
            .collect();
    }
    assert_eq!(stored(&stack).await, 10);
}

#[tokio::test]
async fn a_request_during_a_restart_is_a_503_and_the_next_one_works() {
    let stack = Stack::alone().await;
    let (api, me) = (stack.world.contacts(), &stack.me);
    api.get(me, "/v1/contacts").await.expect(200);
    let outage = Outage::of(&stack).await;
    outage.down().await;
    let answer = api.get(me, "/v1/contacts").await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.expect_code(503, "UNAVAILABLE");
    outage.up().await;
    api.get(me, "/v1/contacts").await.expect(200);
}

#[tokio::test]
async fn a_throttled_dynamodb_asks_to_come_again() {
    let throttled = MockServer::start().await;
    let body = json!({ "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slow down" });
    let answer = ResponseTemplate::new(400).set_body_raw(body.to_string(), "application/x-amz-json-1.0");
    Mock::given(any()).respond_with(answer).mount(&throttled).await;
    let cloud = cloud::Cloud::connect(&aws_env(&throttled.uri())).unwrap();
    let edge = Edge::new().await.with_directory(&cloud);
    let body = meta_body(&[(&digits(), &[text_message("201001234567", "hello")], &[])]);
    let answers = join_all((0..5).map(|_| edge.meta(&body, "secret-a"))).await;
    for answer in answers {
        assert!(answer.headers.contains_key("retry-after"));
        answer.expect_code(503, "UNAVAILABLE");
    }
}
