//! Old lines are deleted while they are read, and no others, whatever the application asks for.

use super::chain::age;
use super::setup::Office;
use crate::support::World;
use audit::chain::{Chain, Walk};
use audit::line::AuditLine;
use audit::retention;
use jiff::Timestamp;
use std::time::Duration;
use testkit::TestDb;

const WHOLE: Chain = Chain {
    holds: true,
    break_at: None,
};

/// A company in a database of its own, with so many lines, the first of them 14 months old.
async fn office(lines: i64, old: i64) -> Office {
    let test = testkit::fresh_database(true).await;
    let tenant = test.tenant().await;
    let office = Office::of(World { test, tenant }).await;
    let admin = office.world.admin_sql().await;
    let months = "SELECT app.maintain_partitions(now() - interval '14 months', 14)";
    admin.query(months, &[]).await.unwrap();
    let missing = lines - i64::try_from(office.actions().await.len()).unwrap();
    office.audit(i32::try_from(missing).unwrap(), "x").await;
    age(&office.world, old, 14).await;
    office
}

async fn begin(office: &Office, from: Option<Timestamp>, to: Option<Timestamp>) -> Walk {
    let caller = TestDb::system(office.world.tenant);
    let walk = office
        .world
        .test
        .db
        .read(&caller, async |tx| Walk::start(&tx, from, to, 50_000).await);
    walk.await.unwrap()
}

async fn page(office: &Office, walk: &mut Walk) -> Vec<AuditLine> {
    let caller = TestDb::system(office.world.tenant);
    let lines = office
        .world
        .test
        .db
        .read(&caller, async |tx| walk.next(&tx).await);
    lines.await.unwrap()
}

async fn expire(office: &Office) -> i64 {
    let caller = TestDb::system(office.world.tenant);
    let gone = office
        .world
        .test
        .db
        .write(&caller, async |tx| retention::expire(&tx, 5000).await);
    gone.await.unwrap()
}

#[tokio::test]
async fn lines_that_expire_between_two_pages_are_no_break() {
    let office = office(1300, 1100).await;
    let year_ago = office.world.test.db.clock().now() - Duration::from_hours(24 * 365);
    let mut reading = begin(&office, None, None).await;
    let mut unread = begin(&office, Some(Timestamp::UNIX_EPOCH), None).await;
    let mut all_gone = begin(&office, None, Some(year_ago)).await;
    let mut cheated = begin(&office, None, None).await;
    assert_eq!(page(&office, &mut reading).await.len(), 1000);
    assert_eq!(expire(&office).await, 1100);

    let rest = page(&office, &mut reading).await;
    assert_eq!((rest[0].seq, rest.len()), (1101, 200));
    assert!(page(&office, &mut reading).await.is_empty());
    assert_eq!(
        (reading.first_seq, reading.last_seq, reading.rows),
        (Some(1), Some(1300), 1200)
    );
    assert_eq!(reading.verdict(), WHOLE);

    assert_eq!(page(&office, &mut unread).await.len(), 200);
    assert_eq!((unread.first_seq, unread.verdict()), (Some(1101), WHOLE));

    assert!(page(&office, &mut all_gone).await.is_empty());
    assert_eq!(
        (
            all_gone.first_seq,
            all_gone.last_seq,
            all_gone.rows,
            all_gone.verdict()
        ),
        (None, None, 0, WHOLE)
    );

    // What else is missing still shows, beside what expired.
    let admin = office.world.admin_sql().await;
    let delete = "DELETE FROM audit_logs WHERE tenant_id = $1 AND seq IN (1101, 1150)";
    admin.execute(delete, &[&office.world.tenant.0]).await.unwrap();
    assert_eq!(page(&office, &mut cheated).await.len(), 198);
    assert_eq!(cheated.verdict().break_at, Some(1101));
}

/// The first statement finds where the chain begins, the next the range: between them it moves.
#[tokio::test]
async fn lines_that_expire_while_the_beginning_is_looked_for_are_no_break() {
    let office = office(40, 30).await;
    let mut admin = office.world.admin_sql().await;
    let watching = office.world.admin_sql().await;
    let held = admin.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE audit_logs IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let expiring = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while watching.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let enter = "SELECT set_config('app.current_tenant_id', $1, true)";
        held.query(enter, &[&office.world.tenant.to_string()])
            .await
            .unwrap();
        let gone = held.query_one("SELECT app.expire_audit(now(), 5000)", &[]).await;
        assert_eq!(gone.unwrap().get::<_, i64>(0), 30);
        held.commit().await.unwrap();
    };
    let (mut walk, ()) = futures::join!(begin(&office, Some(Timestamp::UNIX_EPOCH), None), expiring);
    assert_eq!(page(&office, &mut walk).await.len(), 10);
    assert_eq!((walk.first_seq, walk.verdict()), (Some(31), WHOLE));
}

/// The application says what time it is; the database does not take its word.
#[tokio::test]
async fn the_application_can_not_expire_young_lines() {
    let office = office(40, 0).await;
    let application = office.world.as_application().await;
    let enter = "SELECT set_config('app.current_tenant_id', $1, false)";
    application
        .query(enter, &[&office.world.tenant.to_string()])
        .await
        .unwrap();
    let soon = application
        .execute(
            "UPDATE tenants SET audit_keep_months = 11 WHERE id = $1",
            &[&office.world.tenant.0],
        )
        .await;
    assert_eq!(
        soon.unwrap_err().code().unwrap(),
        &tokio_postgres::error::SqlState::CHECK_VIOLATION
    );
    let count = async |sql: &str| -> i64 { application.query_one(sql, &[]).await.unwrap().get(0) };
    for at in ["'2100-01-01'", "'infinity'", "now() + interval '2 years'"] {
        let expire = format!("SELECT app.expire_audit({at}, 5000)");
        let gone = application.query_one(&expire, &[]).await;
        assert_eq!(gone.map_or(0, |row| row.get::<_, i64>(0)), 0, "{at}");
    }
    assert_eq!(count("SELECT count(*) FROM audit_logs").await, 40);
    assert_eq!(office.break_at().await, None);
    // Months of the past that nobody has lines in go, those to come stay.
    application
        .query("SELECT app.drop_empty_audit_months('2100-01-01')", &[])
        .await
        .unwrap();
    let coming = "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit_logs'::regclass AND right(c.relname, 6) >= to_char(now(), 'YYYYMM')";
    assert_eq!(count(coming).await, 4, "this month's and three ahead");
    office.audit(1, "still written").await;
}
