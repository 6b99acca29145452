use crate::setup::{cloud, secretsmanager, unique};
use config::{Env, secret};
use std::error::Error as _;

async fn create(text: &str) -> (String, String) {
    let name = unique("secret");
    let answer = secretsmanager()
        .create_secret()
        .name(&name)
        .secret_string(text)
        .send()
        .await
        .unwrap();
    (name, answer.arn.unwrap())
}

#[tokio::test]
async fn loads_by_name_and_by_arn() {
    let (name, _) = create(r#"{"a":1}"#).await;
    let (_, arn) = create(r#"{"b":2}"#).await;
    let env = Env::from_pairs([
        ("DATABASE_SECRET", &name),
        ("TOKEN_KEYS_SECRET", &arn),
        ("DATA_KEYS_SECRET", &arn),
    ]);
    let variables = [secret::DATABASE, secret::TOKEN_KEYS, secret::DATA_KEYS];
    let secrets = cloud().secrets(&env, &variables).await.unwrap();
    assert_eq!(
        secrets.parse::<serde_json::Value>(secret::DATABASE).unwrap()["a"],
        1
    );
    assert_eq!(
        secrets.parse::<serde_json::Value>(secret::TOKEN_KEYS).unwrap()["b"],
        2
    );
    assert_eq!(
        secrets.parse::<serde_json::Value>(secret::DATA_KEYS).unwrap()["b"],
        2,
        "two variables, one secret"
    );
}

#[tokio::test]
async fn what_is_missing_is_named_and_what_is_there_not_shown() {
    let (name, _) = create("hunter2").await;
    let env = Env::from_pairs([
        ("DATABASE_SECRET", &name),
        ("DATA_KEYS_SECRET", &unique("absent")),
    ]);
    let error = cloud()
        .secrets(&env, &[secret::DATABASE, secret::DATA_KEYS])
        .await
        .unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert_eq!(
        cause,
        "the secret of DATA_KEYS_SECRET can't be read: ResourceNotFoundException"
    );
    assert!(!error.is_transient() && !format!("{error:?}").contains("hunter2"));
    let error = cloud().secrets(&env, &[secret::EDGE_KEYS]).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("EDGE_KEYS_SECRET"));
}
