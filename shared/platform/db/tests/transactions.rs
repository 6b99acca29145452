//! Tenant transactions against a real Postgres, as the application role.

use kernel::{Code, Result};
use testkit::TestDb;

const NAME: &str = "UPDATE tenants SET name = $2 WHERE id = $1";
const NAMES: &str = "SELECT name FROM tenants";

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_kept_a_failed_one_is_not() {
    let test = testkit::database().await;
    let tenant = test.tenant().await;
    let caller = TestDb::system(tenant);
    let db = test.db.clone();
    let spawned = tokio::spawn({
        let (db, caller) = (db.clone(), caller.clone());
        async move {
            db.write(&caller, async |tx| tx.execute(NAME, &[&tenant.0, &"kept"]).await)
                .await
        }
    });
    spawned.await.unwrap().unwrap();
    let failed: Result<()> = db
        .write(&caller, async |tx| {
            tx.execute(NAME, &[&tenant.0, &"lost"]).await?;
            Err(kernel::Error::not_found())
        })
        .await;
    assert_eq!(failed.unwrap_err().code(), Code::NotFound);
    let names = db
        .read(&caller, async |tx| tx.query(NAMES, &[]).await)
        .await
        .unwrap();
    assert_eq!(names.len(), 1, "a tenant sees itself and nobody else");
    assert_eq!(names[0].get::<_, String>(0), "kept");
}

#[tokio::test]
async fn a_dropped_error_does_not_commit() {
    let test = testkit::database().await;
    let tenant = test.tenant().await;
    let caller = TestDb::system(tenant);
    let outcome = test
        .db
        .write(&caller, async |tx| {
            tx.execute(NAME, &[&tenant.0, &"half"]).await?;
            drop(tx.execute("SELECT 1 / 0", &[]).await);
            Ok(())
        })
        .await;
    assert_eq!(outcome.unwrap_err().code(), Code::Internal);
    let names = test
        .db
        .read(&caller, async |tx| tx.query(NAMES, &[]).await)
        .await
        .unwrap();
    assert_eq!(names[0].get::<_, String>(0), "Test");
}

#[tokio::test]
async fn a_read_can_not_write() {
    let test = testkit::database().await;
    let tenant = test.tenant().await;
    let outcome = test
        .db
        .read(&TestDb::system(tenant), async |tx| {
            tx.execute(NAME, &[&tenant.0, &"x"]).await
        })
        .await;
    assert_eq!(outcome.unwrap_err().code(), Code::Internal);
}

/// Statements that start together fail for the reason that the transaction could not be opened,
/// whichever answer comes first.
#[tokio::test(flavor = "multi_thread")]
async fn together_with_a_refused_entry_nothing_else_is_the_reason() {
    let test = testkit::database().await;
    let tenant = test.tenant().await;
    let nobody = testkit::unique();
    let caller = TestDb::user(tenant, nobody, nobody);
    for _ in 0..200 {
        let outcome = test
            .db
            .write(&caller, async |tx| {
                let params: db::Params<'_> = &[&tenant.0, &"x"];
                futures::try_join!(
                    tx.execute(NAME, params),
                    tx.execute(NAME, params),
                    tx.query(NAMES, &[])
                )
                .map(drop)
            })
            .await;
        assert_eq!(outcome.unwrap_err().code(), Code::Unauthenticated);
    }
}
