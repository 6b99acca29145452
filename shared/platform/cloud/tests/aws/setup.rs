//! Tables, queues and buckets for one test.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType::S,
};
use cloud::Cloud;
use config::Env;
use kernel::{Clock, Sealer, Secret};
use std::collections::BTreeMap;

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by their environment which AWS to use"
)]
pub fn endpoint() -> String {
    std::env::var("M3_TEST_AWS_ENDPOINT")
        .expect("M3_TEST_AWS_ENDPOINT is not set; `cargo xtask test` sets it")
}

pub fn env(endpoint: &str) -> Env {
    Env::from_pairs([
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ])
}

pub fn cloud() -> Cloud {
    Cloud::connect(&env(&endpoint())).unwrap()
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Clock::system().id())
}

pub fn clock() -> Clock {
    Clock::fixed("2026-05-01T10:00:00Z".parse().unwrap())
}

pub fn sealer() -> Sealer {
    let keys = BTreeMap::from([("k1".to_owned(), Secret::new(vec![1; 32]))]);
    Sealer::new("k1", &keys, &Secret::new(vec![2; 32])).unwrap()
}

/// The SDK's own configuration of a client, for looking behind the crate's back.
macro_rules! raw_client {
    ($name:ident, $sdk:ident) => {
        pub fn $name() -> $sdk::Client {
            let config = $sdk::config::Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .endpoint_url(endpoint())
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .build();
            $sdk::Client::from_conf(config)
        }
    };
}

raw_client!(dynamodb, aws_sdk_dynamodb);
raw_client!(sqs, aws_sdk_sqs);
raw_client!(secretsmanager, aws_sdk_secretsmanager);

/// S3 by path: the stand-in has no names for buckets.
pub fn s3() -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint())
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

pub async fn table() -> String {
    let name = unique("state");
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .unwrap()
    };
    let text = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(S)
            .build()
            .unwrap()
    };
    let request = dynamodb()
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest);
    let request = request
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range));
    request
        .attribute_definitions(text("pk"))
        .attribute_definitions(text("sk"))
        .send()
        .await
        .unwrap();
    name
}

/// Every item of a table, printed: for asserting what is not in it.
pub async fn dump(table: &str) -> String {
    format!(
        "{:?}",
        dynamodb().scan().table_name(table).send().await.unwrap().items()
    )
}

pub async fn queue() -> String {
    let answer = sqs()
        .create_queue()
        .queue_name(unique("queue"))
        .send()
        .await
        .unwrap();
    answer.queue_url.unwrap()
}
