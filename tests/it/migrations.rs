//! Applying the schema.

use testkit::database::{migrate, migrations_dir};
use testkit::{admin_client, fresh_database};

fn count() -> usize {
    let files = std::fs::read_dir(migrations_dir()).unwrap();
    files
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .starts_with('V')
        })
        .count()
}

#[tokio::test]
async fn a_second_run_does_nothing() {
    let empty = fresh_database(false).await;
    assert_eq!(migrate(&empty.admin).await.applied.len(), count());
    assert_eq!(migrate(&empty.admin).await.applied, Vec::<String>::new());
}

#[tokio::test]
async fn two_runs_at_once_apply_everything_once() {
    let empty = fresh_database(false).await;
    let (one, two) = futures::join!(migrate(&empty.admin), migrate(&empty.admin));
    assert_eq!(one.applied.len() + two.applied.len(), count());
    let admin = admin_client(&empty.admin).await;
    let applied: i64 = admin
        .query_one("SELECT count(*) FROM refinery_schema_history", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(usize::try_from(applied).unwrap(), count());
}

#[tokio::test]
async fn partitions_are_there_before_they_are_needed() {
    let own = fresh_database(true).await;
    let admin = admin_client(&own.admin).await;
    let partitions = async || -> Vec<String> {
        let sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'webhook_events'::regclass ORDER BY 1";
        admin
            .query(sql, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    let now = partitions().await;
    assert_eq!(now.len(), 5, "last month, this one and three ahead: {now:?}");
    let later = "SELECT app.maintain_partitions(now() + interval '3 months', 3)";
    assert!(admin.query_one(later, &[]).await.unwrap().get::<_, i32>(0) > 0);
    let then = partitions().await;
    assert!(then.last() > now.last(), "{then:?}");
    assert!(
        !then.contains(&now[0]),
        "webhooks are kept for two months: {then:?}"
    );
    assert_eq!(
        admin.query_one(later, &[]).await.unwrap().get::<_, i32>(0),
        0,
        "and again without effect"
    );
}

/// A role that may bypass row-level security is refused before it sees a row.
#[tokio::test]
async fn the_application_refuses_to_work_as_somebody_who_sees_everything() {
    let own = fresh_database(true).await;
    let admin = admin_client(&own.admin).await;
    let refused = async |settings: &config::Database| {
        let db = db::Db::new(settings, testkit::keys::sealer(), kernel::Clock::system()).unwrap();
        let code = |error: kernel::Error| error.code();
        (
            db.warm_up().await.map_err(code),
            db.lookup("SELECT 1", &[]).await.map(drop).map_err(code),
        )
    };
    let internal = kernel::Code::Internal;
    assert_eq!(refused(&own.settings).await, (Ok(()), Ok(())));
    assert_eq!(refused(&own.admin).await, (Err(internal), Err(internal)));
    for role in ["m3_owner", "m3_lookup"] {
        let member = format!("member_{}", testkit::unique()).replace('-', "_");
        let make = format!("CREATE ROLE {member} LOGIN PASSWORD 'x' IN ROLE {role}");
        admin.batch_execute(&make).await.unwrap();
        let settings = config::Database {
            username: member.clone(),
            ..own.admin.clone()
        };
        let outcome = refused(&settings).await;
        admin.batch_execute(&format!("DROP ROLE {member}")).await.unwrap();
        assert_eq!(outcome, (Err(internal), Err(internal)), "a member of {role}");
    }
    let away = config::Database {
        port: 1,
        ..own.settings.clone()
    };
    let unavailable = kernel::Code::Unavailable;
    assert_eq!(
        refused(&away).await,
        (Ok(()), Err(unavailable)),
        "it may be back in a moment"
    );
}
