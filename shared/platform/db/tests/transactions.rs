//! Tenant transactions against a real Postgres, as the application role.

use kernel::{Code, Nudge, Result};
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

#[tokio::test]
async fn an_answer_of_an_earlier_version_is_a_conflict_and_no_failure() {
    let test = testkit::database().await;
    let tenant = test.tenant().await;
    let (user_id, session_id) = (testkit::unique(), testkit::unique());
    let person = TestDb::system(tenant);
    let made = test.db.write(&person, async |tx| {
        tx.execute(
            "INSERT INTO users (tenant_id, id, email, email_norm, full_name) VALUES ($1, $2, 'a@example.com', 'a@example.com', 'A')",
            &[&tenant.0, &user_id],
        )
        .await?;
        tx.execute(
            "INSERT INTO sessions (tenant_id, id, user_id, created_at, last_used_at, expires_at) VALUES ($1, $2, $3, now(), now(), now() + interval '1 day')",
            &[&tenant.0, &session_id, &user_id],
        )
        .await
    });
    made.await.unwrap();
    let key = kernel::Idempotency::new(testkit::unique().to_string(), [7; 32]);
    let caller = TestDb::user(tenant, user_id, session_id).with_idempotency(Some(key));
    let first = test
        .db
        .write(&caller, async |tx| tx.execute(NAME, &[&tenant.0, &"once"]).await)
        .await;
    assert_eq!(first.unwrap(), 1);
    let again: Result<(String, String)> = test
        .db
        .write(&caller, async |tx| {
            tx.execute(NAME, &[&tenant.0, &"twice"]).await?;
            Ok(Default::default())
        })
        .await;
    assert_eq!(again.unwrap_err().code(), Code::Conflict);
}

#[tokio::test]
async fn nudges_leave_with_the_commit_and_not_without_it() {
    let test = testkit::database().await;
    let tenant = test.tenant().await;
    let caller = TestDb::system(tenant);
    let (sender, receiver) = std::sync::mpsc::channel();
    let db = test.db.clone().with_after_commit(std::sync::Arc::new(
        move |caller: kernel::Caller, nudges: Vec<Nudge>| {
            sender.send((caller.tenant(), nudges)).unwrap();
            Box::pin(std::future::ready(()))
        },
    ));
    let id = testkit::unique();
    let lost: Result<()> = db
        .write(&caller, async |tx| {
            tx.execute(NAME, &[&tenant.0, &"lost"]).await?;
            tx.nudge(Nudge::Event(id));
            Err(kernel::Error::not_found())
        })
        .await;
    lost.unwrap_err();
    db.write(&caller, async |tx| {
        tx.nudge(Nudge::Delivery(id));
        tx.execute(NAME, &[&tenant.0, &"kept"]).await
    })
    .await
    .unwrap();
    assert_eq!(
        receiver.try_iter().collect::<Vec<_>>(),
        [(tenant, vec![Nudge::Delivery(id)])]
    );
}

#[tokio::test]
async fn transactions_in_quick_succession_on_one_connection_do_not_mix() {
    let test = testkit::database().await;
    let tenant = test.tenant().await;
    let caller = TestDb::system(tenant);
    let settings = config::Database {
        max_connections: 1,
        ..test.settings.clone()
    };
    let db = db::Db::new(&settings, test.db.sealer().clone(), test.db.clock().clone()).unwrap();
    for nth in 0..50 {
        let name = format!("name {nth}");
        db.write(&caller, async |tx| tx.execute(NAME, &[&tenant.0, &name]).await)
            .await
            .unwrap();
        let read = db.read(&caller, async |tx| tx.query_one(NAMES, &[]).await).await;
        assert_eq!(read.unwrap().get::<_, String>(0), name);
        let elsewhere = TestDb::system(kernel::TenantId(testkit::unique()));
        let others = db.read(&elsewhere, async |tx| tx.query(NAMES, &[]).await).await;
        assert!(others.unwrap().is_empty());
    }
}
