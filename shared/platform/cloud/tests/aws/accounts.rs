use crate::setup::{clock, cloud, dump, sealer, table};
use cloud::{Accounts, EdgeAccount, EdgeSecret, Provider};
use jiff::{SignedDuration, Timestamp};
use kernel::{Clock, Secret, TenantId};
use uuid::Uuid;

const META_KEY: &str = "106540352242922";
const TWILIO_KEY: &str = "AC0123456789abcdef0123456789abcdef/+201001234567";

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn meta_secret(name: &str) -> EdgeSecret {
    EdgeSecret::Meta {
        app_secret: secret(&format!("app-{name}")),
        verify_token: secret(&format!("verify-{name}")),
    }
}

fn account(tenant: u128, id: u128, key: &str, secret: EdgeSecret) -> EdgeAccount {
    EdgeAccount {
        tenant: TenantId(Uuid::from_u128(tenant)),
        account_id: Uuid::from_u128(id),
        provider_key: key.to_owned(),
        secret,
        updated_at: "2026-05-01T09:00:00.123456Z".parse::<Timestamp>().unwrap(),
    }
}

async fn directory() -> (Accounts, Accounts, Clock, String) {
    let (clock, table, cloud) = (clock(), table().await, cloud());
    let writer = cloud.accounts(&table, sealer(), clock.clone());
    let reader = cloud.accounts(&table, sealer(), clock.clone());
    (writer, reader, clock, table)
}

#[tokio::test]
async fn an_account_is_known_at_once_and_its_secrets_are_sealed() {
    let (writer, edge, _, table) = directory().await;
    assert!(edge.find(Provider::Meta, META_KEY).await.unwrap().is_empty());
    let account = account(1, 11, META_KEY, meta_secret("a"));
    writer.put(&account).await.unwrap();
    writer.put(&account).await.unwrap();
    assert_eq!(*edge.find(Provider::Meta, META_KEY).await.unwrap(), [account]);
    assert!(edge.find(Provider::Twilio, META_KEY).await.unwrap().is_empty());
    let items = dump(&table).await;
    assert!(!items.contains("app-a") && !items.contains("verify-a"), "{items}");
}

#[tokio::test]
async fn tenants_share_a_key_and_the_oldest_comes_first() {
    let (writer, edge, _, _) = directory().await;
    let first = account(2, 11, META_KEY, meta_secret("a"));
    let second = account(1, 12, META_KEY, meta_secret("b"));
    writer.put(&second).await.unwrap();
    writer.put(&first).await.unwrap();
    assert_eq!(
        *edge.find(Provider::Meta, META_KEY).await.unwrap(),
        [first, second]
    );
    writer
        .remove(Provider::Meta, META_KEY, Uuid::from_u128(11))
        .await
        .unwrap();
    assert_eq!(edge.refresh(Provider::Meta, META_KEY).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_found_is_believed_for_a_minute_unless_asked_anew() {
    let (writer, edge, clock, _) = directory().await;
    let mut account = account(1, 11, META_KEY, meta_secret("a"));
    writer.put(&account).await.unwrap();
    edge.find(Provider::Meta, META_KEY).await.unwrap();
    let before = std::mem::replace(&mut account.secret, meta_secret("b"));
    account.updated_at += SignedDuration::from_secs(1);
    writer.put(&account).await.unwrap();

    clock.advance(SignedDuration::from_secs(59));
    assert_eq!(
        edge.find(Provider::Meta, META_KEY).await.unwrap()[0].secret,
        before
    );
    assert_eq!(
        *edge.refresh(Provider::Meta, META_KEY).await.unwrap(),
        [account.clone()]
    );
    writer
        .remove(Provider::Meta, META_KEY, account.account_id)
        .await
        .unwrap();
    assert_eq!(edge.find(Provider::Meta, META_KEY).await.unwrap().len(), 1);
    clock.advance(SignedDuration::from_secs(60));
    assert!(edge.find(Provider::Meta, META_KEY).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_older_version_never_replaces_a_newer_one() {
    let (writer, edge, _, _) = directory().await;
    let old = account(1, 11, META_KEY, meta_secret("a"));
    let new = EdgeAccount {
        updated_at: old.updated_at + SignedDuration::from_secs(1),
        ..account(1, 11, META_KEY, meta_secret("b"))
    };
    writer.put(&new).await.unwrap();
    writer.put(&old).await.unwrap();
    assert_eq!(*edge.find(Provider::Meta, META_KEY).await.unwrap(), [new]);
    assert!(!edge.knows_verify_token("verify-a").await.unwrap());
}

#[tokio::test]
async fn verify_tokens_follow_the_accounts_that_have_them() {
    let (writer, edge, _, table) = directory().await;
    let mut one = account(1, 11, META_KEY, meta_secret("a"));
    let other = account(2, 12, "another", meta_secret("a"));
    writer.put(&one).await.unwrap();
    assert!(edge.knows_verify_token("verify-a").await.unwrap());
    assert!(!edge.knows_verify_token("verify-b").await.unwrap());

    writer.put(&other).await.unwrap();
    one.secret = meta_secret("b");
    writer.put(&one).await.unwrap();
    assert!(edge.knows_verify_token("verify-b").await.unwrap());
    assert!(
        edge.knows_verify_token("verify-a").await.unwrap(),
        "the other tenant's still counts"
    );
    writer
        .remove(Provider::Meta, "another", other.account_id)
        .await
        .unwrap();
    assert!(!edge.knows_verify_token("verify-a").await.unwrap());
    writer
        .remove(Provider::Meta, META_KEY, one.account_id)
        .await
        .unwrap();
    writer
        .remove(Provider::Meta, META_KEY, one.account_id)
        .await
        .unwrap();
    assert_eq!(dump(&table).await, "[]", "nothing stays behind");
}

#[tokio::test]
async fn twilio_accounts_are_found_by_number_and_by_sid() {
    let (writer, edge, _, table) = directory().await;
    let account = account(
        1,
        11,
        TWILIO_KEY,
        EdgeSecret::Twilio {
            auth_token: secret("token-a"),
        },
    );
    writer.put(&account).await.unwrap();
    let sid = TWILIO_KEY.split_once('/').unwrap().0;
    for name in [TWILIO_KEY, sid] {
        let found = edge.find(Provider::Twilio, name).await.unwrap();
        assert_eq!(*found, std::slice::from_ref(&account)[..], "{name}");
    }
    writer
        .remove(Provider::Twilio, TWILIO_KEY, Uuid::from_u128(11))
        .await
        .unwrap();
    assert_eq!(dump(&table).await, "[]");
}

#[tokio::test]
async fn at_most_twenty_entries_are_tried() {
    let (writer, edge, _, _) = directory().await;
    for n in 0..22 {
        writer
            .put(&account(n, n, META_KEY, meta_secret("a")))
            .await
            .unwrap();
    }
    let found = edge.find(Provider::Meta, META_KEY).await.unwrap();
    assert_eq!(
        found
            .iter()
            .map(|account| account.account_id.as_u128())
            .collect::<Vec<_>>(),
        (0..20).collect::<Vec<_>>()
    );
}
