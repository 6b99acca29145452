//! Provider accounts.

use crate::support::{World, connect, meta_account, number_id};
use jiff::SignedDuration;
use kernel::page::PageQuery;
use kernel::{Code, Patch};
use messaging::account::{self, CreateAccount, NewAccount, Status, UpdateAccount};
use serde_json::{Value, json};
use testkit::{TestDb, admin_client};

fn unchanged() -> UpdateAccount {
    UpdateAccount {
        display_phone_number: None,
        label: Patch::Absent,
        status: None,
        credentials: None,
    }
}

#[tokio::test]
async fn credentials_go_in_and_never_come_out() {
    let world = World::new().await;
    let shown = serde_json::to_string(&world.account).unwrap();
    let full = world.test.db.read(&world.caller, async |tx| {
        account::find_with_credentials(&tx, world.account.id).await
    });
    let full = full.await.unwrap();
    let admin = admin_client(&world.test.admin).await;
    let stored = "SELECT row_to_json(a)::text || coalesce((SELECT string_agg(l.entity_type || l.after_data::text, '') FROM audit_logs l
        WHERE l.tenant_id = a.tenant_id), '') FROM channel_accounts a WHERE a.tenant_id = $1";
    let stored: String = admin.query_one(stored, &[&world.tenant.0]).await.unwrap().get(0);
    assert!(stored.contains("channel_account"));
    for text in [shown, format!("{full:?}"), stored] {
        for secret in ["EAAG-token", "app-secret", "verify-me"] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
    assert_eq!(full.credentials.app_secret.unwrap().expose(), "app-secret");
    assert_eq!(full.provider_key, world.account.phone_number_id.clone().unwrap());
    assert_eq!(world.account.display_phone_number, "+20233334444");
}

#[tokio::test]
async fn connecting_twice_names_the_first_and_another_tenant_may_connect_the_same() {
    let world = World::new().await;
    let number = world.account.phone_number_id.clone().unwrap();
    let twice = connect(&world.test, &world.caller, meta_account(&number))
        .await
        .unwrap_err();
    assert_eq!(twice.code(), Code::Duplicate);
    assert_eq!(twice.details().unwrap()["id"], json!(world.account.id));
    let other = TestDb::system(world.test.tenant().await);
    connect(&world.test, &other, meta_account(&number)).await.unwrap();
    world
        .write(async |tx| account::archive(&tx, world.account.id).await)
        .await
        .unwrap();
    connect(&world.test, &world.caller, meta_account(&number))
        .await
        .unwrap();
}

#[tokio::test]
async fn twilio_accounts_are_known_by_their_number() {
    let world = World::new().await;
    let sid = format!("AC{}", number_id());
    let body = json!({ "provider": "twilio", "provider_account_id": sid, "display_phone_number": "+14155238886",
                       "credentials": { "auth_token": "t0ken" } });
    let created = connect(&world.test, &world.caller, serde_json::from_value(body).unwrap())
        .await
        .unwrap();
    assert_eq!(created.phone_number_id, None);
    let full = world.test.db.read(&world.caller, async |tx| {
        account::find_with_credentials(&tx, created.id).await
    });
    assert_eq!(full.await.unwrap().provider_key, format!("{sid}/+14155238886"));
    let moved = UpdateAccount {
        display_phone_number: Some("+14155238887".to_owned()),
        ..unchanged()
    };
    let refused = world
        .write(async |tx| account::update(&tx, created, moved).await)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ValidationFailed);
}

#[tokio::test]
async fn changes_keep_what_they_do_not_name_and_tell_the_edge_again() {
    let world = World::new().await;
    let id = world.account.id;
    let publish = async |version| {
        world
            .write(async |tx| account::mark_published(&tx, id, version).await)
            .await
            .unwrap()
    };
    assert!(publish(world.account.updated_at).await);
    world.advance(SignedDuration::from_secs(1));
    let credentials = serde_json::from_value(json!({ "access_token": "new-token" })).unwrap();
    let change = UpdateAccount {
        credentials: Some(credentials),
        label: Patch::Value("Sales".to_owned()),
        status: Some(Status::Disabled),
        ..unchanged()
    };
    let changed = world
        .write(async |tx| {
            let current = account::find_for_update(&tx, id).await?;
            account::update(&tx, current, change).await
        })
        .await
        .unwrap();
    assert_eq!(
        (changed.label.as_deref(), changed.status),
        (Some("Sales"), Status::Disabled)
    );
    let full = world
        .test
        .db
        .read(&world.caller, async |tx| {
            account::find_with_credentials(&tx, id).await
        })
        .await
        .unwrap();
    assert_eq!(full.credentials.access_token.unwrap().expose(), "new-token");
    assert_eq!(full.credentials.verify_token.unwrap().expose(), "verify-me");
    assert!(!full.published);

    // a slow publisher of the old version must not pass for one of the new
    assert!(publish(changed.updated_at).await);
    assert!(!publish(world.account.updated_at).await);
    let after = world
        .test
        .db
        .read(&world.caller, async |tx| {
            account::find_with_credentials(&tx, id).await
        })
        .await
        .unwrap();
    assert!(!after.published, "the sweep has to publish it again");
    let at = world.now() + SignedDuration::from_secs(1);
    let swept = world
        .test
        .db
        .lookup(
            "SELECT id FROM app.unpublished_accounts($1, $2)",
            &[&at, &100_000],
        )
        .await
        .unwrap();
    assert!(swept.iter().any(|row| row.get::<_, uuid::Uuid>(0) == id));
}

#[tokio::test]
async fn a_deleted_account_and_another_tenants_are_not_found() {
    let world = World::new().await;
    let id = world.account.id;
    let stranger = TestDb::system(world.test.tenant().await);
    let db = &world.test.db;
    let codes = async |caller| {
        let found = db
            .read(caller, async |tx| account::find(&tx, id).await)
            .await
            .map(drop);
        let locked = db
            .write(caller, async |tx| account::find_for_update(&tx, id).await)
            .await
            .map(drop);
        let gone = db.write(caller, async |tx| account::archive(&tx, id).await).await;
        [found, locked, gone].map(|outcome| outcome.err().map(|error| error.code()))
    };
    assert_eq!(codes(&stranger).await, [Some(Code::NotFound); 3]);
    assert_eq!(codes(&world.caller).await, [None, None, None]);
    assert_eq!(codes(&world.caller).await, [Some(Code::NotFound); 3]);
    let page = PageQuery::default().check(account::SORTS).unwrap();
    let listed = db
        .read(&world.caller, async |tx| account::list(&tx, &page).await)
        .await
        .unwrap();
    assert!(listed.data.is_empty());
}

#[test]
fn what_is_missing_or_foreign_is_named() {
    let meta = json!({ "provider": "meta", "provider_account_id": "1", "phone_number_id": "2",
        "display_phone_number": "+15550783881",
        "credentials": { "access_token": "a", "app_secret": "b", "verify_token": "c" } });
    let paths = |change: &dyn Fn(&mut Value)| -> Vec<String> {
        let mut body = meta.clone();
        change(&mut body);
        let Err(error) = NewAccount::parse(serde_json::from_value::<CreateAccount>(body).unwrap()) else {
            return Vec::new();
        };
        let fields = error.details().unwrap()["fields"].as_array().unwrap().clone();
        fields
            .iter()
            .map(|field| field["path"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(paths(&|_| {}).is_empty());
    assert_eq!(
        paths(&|body| body["phone_number_id"] = "../../me".into()),
        ["phone_number_id"]
    );
    assert_eq!(
        paths(&|body| body["phone_number_id"] = Value::Null),
        ["phone_number_id"]
    );
    assert_eq!(
        paths(&|body| body["display_phone_number"] = "01001234567".into()),
        ["display_phone_number"]
    );
    assert_eq!(paths(&|body| body["credentials"] = json!({})).len(), 3);
    assert_eq!(
        paths(&|body| body["credentials"]["app_secret"] = "".into()),
        ["credentials.app_secret"]
    );
    assert_eq!(
        paths(&|body| body["credentials"]["auth_token"] = "x".into()),
        ["credentials.auth_token"]
    );
    let twilio = |body: &mut Value| {
        body["provider"] = "twilio".into();
        body["credentials"] = json!({ "auth_token": "x" });
    };
    assert_eq!(paths(&twilio), ["phone_number_id", "provider_account_id"]);
}
