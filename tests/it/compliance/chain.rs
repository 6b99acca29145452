//! What was changed, taken out, swapped or cut off shows; what was erased or expired does not.

use super::setup::Office;
use crate::messaging::stack::{Stack, task};
use crate::support::World;
use serde_json::json;

#[tokio::test]
async fn every_kind_of_tampering_is_found() {
    let office = Office::new().await;
    office.audit(6, "x").await;
    assert_eq!(office.break_at().await, None);
    let tenant = office.world.tenant;
    let first = office
        .actions()
        .await
        .iter()
        .position(|action| action == "test.done")
        .unwrap();
    let seq = i64::try_from(first).unwrap() + 2;
    for (what, tamper, at) in [
        (
            "data",
            "UPDATE audit_logs SET after_data = '{}' WHERE seq = $2::bigint",
            seq,
        ),
        (
            "address",
            "UPDATE audit_logs SET ip = '203.0.113.9' WHERE seq = $2::bigint",
            seq,
        ),
        (
            "action",
            "UPDATE audit_logs SET action = 'x' WHERE seq = $2::bigint",
            seq,
        ),
        (
            "digest",
            "UPDATE audit_logs SET data_digest = sha256('x') WHERE seq = $2::bigint",
            seq,
        ),
        (
            "origin's digest",
            "UPDATE audit_logs SET origin_digest = sha256('x') WHERE seq = $2::bigint",
            seq,
        ),
        (
            "hash",
            "UPDATE audit_logs SET hash = sha256('x') WHERE seq = $2::bigint",
            seq,
        ),
        (
            "version",
            "UPDATE audit_logs SET chain_version = 1 WHERE seq = $2::bigint",
            seq,
        ),
        (
            "data dropped and not marked",
            "UPDATE audit_logs SET after_data = NULL, data_salt = NULL WHERE seq = $2::bigint",
            seq,
        ),
        (
            "data and digest",
            "UPDATE audit_logs SET after_data = '{}', data_digest = app.audit_digest(data_salt, '[null, {}]') WHERE seq = $2::bigint",
            seq,
        ),
        ("deleted", "DELETE FROM audit_logs WHERE seq = $2::bigint", seq),
        (
            "swapped",
            "UPDATE audit_logs SET seq = CASE seq WHEN $2::bigint THEN $2::bigint + 1 ELSE $2::bigint END WHERE seq IN ($2::bigint, $2::bigint + 1)",
            seq,
        ),
        ("cut off", "DELETE FROM audit_logs WHERE seq >= $2::bigint", seq),
        (
            "moved in time",
            "UPDATE audit_logs SET created_at = created_at - interval '1 day' WHERE seq = $2::bigint",
            seq,
        ),
    ] {
        let mut admin = office.world.admin_sql().await;
        let transaction = admin.transaction().await.unwrap();
        let tampered = tamper.replacen("WHERE", "WHERE tenant_id = $1 AND", 1);
        assert!(
            transaction.execute(&tampered, &[&tenant.0, &at]).await.unwrap() > 0,
            "{what}"
        );
        let enter = "SELECT set_config('app.current_tenant_id', $1, true)";
        transaction.query(enter, &[&tenant.to_string()]).await.unwrap();
        let found = transaction
            .query_one("SELECT app.audit_chain_break()", &[])
            .await
            .unwrap();
        assert_eq!(found.get::<_, Option<i64>>(0), Some(at), "{what}");
        transaction.rollback().await.unwrap();
    }
    assert_eq!(office.break_at().await, None);
}

/// A chain that began before lines were chained over digests.
#[tokio::test]
async fn old_lines_verify_by_the_old_rule_and_can_be_erased() {
    let office = Office::new().await;
    office.audit(4, "x").await;
    let admin = office.world.admin_sql().await;
    let tenant = office.world.tenant.0;
    let age = "UPDATE audit_logs SET chain_version = 1, data_salt = NULL, data_digest = NULL, origin_salt = NULL, origin_digest = NULL
               WHERE tenant_id = $1 AND seq <= 4";
    admin.execute(age, &[&tenant]).await.unwrap();
    rehash(&office.world).await;
    assert_eq!(office.break_at().await, None);
    let entity: uuid::Uuid = admin
        .query_one(
            "SELECT entity_id FROM audit_logs WHERE tenant_id = $1 AND seq = 4",
            &[&tenant],
        )
        .await
        .unwrap()
        .get(0);
    let caller = testkit::TestDb::system(office.world.tenant);
    let erase = office.world.test.db.write(&caller, async |tx| {
        let erased = tx
            .query_one(
                "SELECT app.erase_audit_of($1, '{}'::uuid[], now(), 10)",
                &[&vec![entity]],
            )
            .await?;
        Ok(erased.get::<_, i64>(0))
    });
    assert_eq!(erase.await.unwrap(), 1);
    assert_eq!(office.break_at().await, None);
    admin
        .execute(
            "UPDATE audit_logs SET action = 'x' WHERE tenant_id = $1 AND seq = 3",
            &[&tenant],
        )
        .await
        .unwrap();
    assert_eq!(office.break_at().await, Some(3));
}

/// The application erases through one function, and changes no line by itself.
#[tokio::test]
async fn a_company_erases_its_own_lines_only() {
    let (office, other) = (Office::new().await, Office::new().await);
    other.audit(1, "theirs").await;
    let admin = other.world.admin_sql().await;
    let find = "SELECT entity_id FROM audit_logs WHERE tenant_id = $1 AND action = 'test.done'";
    let entity: uuid::Uuid = admin
        .query_one(find, &[&other.world.tenant.0])
        .await
        .unwrap()
        .get(0);
    let caller = testkit::TestDb::system(office.world.tenant);
    let erase = office.world.test.db.write(&caller, async |tx| {
        let sql = "SELECT app.erase_audit_of($1, $1, now(), 10)";
        Ok(tx
            .query_one(sql, &[&vec![entity, other.me.user_id]])
            .await?
            .get::<_, i64>(0))
    });
    assert_eq!(erase.await.unwrap(), 0);
    let client = office.world.as_application().await;
    for forbidden in [
        "UPDATE audit_logs SET ip = NULL",
        "DELETE FROM audit_logs",
        "UPDATE audit_chains SET anchor_seq = 0",
    ] {
        assert!(client.batch_execute(forbidden).await.is_err(), "{forbidden}");
    }
}

/// Makes the hashes of a chain right again, as if its lines had always been so.
async fn rehash(world: &World) {
    let tenant = world.tenant;
    let sql = format!(
        "DO $$ DECLARE previous bytea := ''; entry audit_logs; BEGIN
            FOR entry IN SELECT * FROM audit_logs WHERE tenant_id = '{tenant}' ORDER BY seq LOOP
                entry.hash := app.audit_hash(previous, entry);
                UPDATE audit_logs SET hash = entry.hash WHERE tenant_id = '{tenant}' AND id = entry.id;
                previous := entry.hash;
            END LOOP;
            UPDATE audit_chains SET hash = previous WHERE tenant_id = '{tenant}';
        END $$"
    );
    world.admin_sql().await.batch_execute(&sql).await.unwrap();
}

/// Moves the first `lines` lines of a company so many months back.
pub async fn age(world: &World, lines: i64, months: i32) {
    let sql = "UPDATE audit_logs SET created_at = created_at - make_interval(months => $3),
            id = overlay(id::text PLACING substr(app.first_id_of(created_at - make_interval(months => $3))::text, 1, 13) FROM 1 FOR 13)::uuid
         WHERE tenant_id = $1 AND seq <= $2";
    let admin = world.admin_sql().await;
    admin
        .execute(sql, &[&world.tenant.0, &lines, &months])
        .await
        .unwrap();
    rehash(world).await;
}

#[tokio::test]
async fn expired_lines_go_and_the_rest_still_verifies_across_months() {
    let stack = Stack::alone().await;
    let office = Office::of(World {
        test: testkit_clone(&stack),
        tenant: stack.world.tenant,
    })
    .await;
    let long = Office::of(World {
        test: testkit_clone(&stack),
        tenant: stack.world.test.tenant().await,
    })
    .await;
    let admin = stack.world.admin_sql().await;
    for months in [16, 12, 8, 4] {
        let sql = format!("SELECT app.maintain_partitions(now() - interval '{months} months', 4)");
        admin.query(&sql, &[]).await.unwrap();
    }
    office.audit(30, "x").await;
    long.audit(30, "x").await;
    // Of one company ten lines are 14 months old and ten 6 months; the other keeps 84 months.
    age(&office.world, 20, 6).await;
    age(&office.world, 10, 8).await;
    age(&long.world, 10, 14).await;
    assert_eq!((office.break_at().await, long.break_at().await), (None, None));
    let keep = json!({ "audit_keep_months": 84 });
    long.api
        .patch(&long.me, "/v1/admin/compliance", &keep)
        .await
        .expect(200);
    let partitions = async || -> i64 {
        let sql = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_logs'::regclass";
        admin.query_one(sql, &[]).await.unwrap().get(0)
    };
    let before = partitions().await;
    stack.scheduler.handle(task("daily")).await.unwrap();
    assert_eq!((office.break_at().await, long.break_at().await), (None, None));
    let kept = async |office: &Office| -> (i64, i64) {
        let sql = "SELECT min(seq), count(*) FROM audit_logs WHERE tenant_id = $1";
        let row = admin.query_one(sql, &[&office.world.tenant.0]).await.unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(kept(&office).await.0, 11);
    assert_eq!(kept(&long).await.0, 1);
    let after = partitions().await;
    assert!(
        after < before,
        "months that nobody has a line in are dropped: {before} {after}"
    );
    // Of the month of the other's old lines nothing is lost.
    stack.scheduler.handle(task("daily")).await.unwrap();
    assert_eq!(kept(&long).await.0, 1);
    // The first line that is kept is chained to the last that went.
    let export = office
        .api
        .get(&office.me, "/v1/admin/audit-logs/export")
        .await
        .expect(200);
    assert_eq!(export["first_seq"], 11);
    assert_eq!(export["chain"], json!({ "holds": true, "break_at": null }));
    admin
        .execute(
            "DELETE FROM audit_logs WHERE tenant_id = $1 AND seq = 11",
            &[&office.world.tenant.0],
        )
        .await
        .unwrap();
    assert_eq!(office.break_at().await, Some(11));
    let export = office
        .api
        .get(&office.me, "/v1/admin/audit-logs/export")
        .await
        .expect(200);
    assert_eq!(export["chain"], json!({ "holds": false, "break_at": 11 }));
}

fn testkit_clone(stack: &Stack) -> testkit::TestDb {
    let test = &stack.world.test;
    testkit::TestDb {
        settings: test.settings.clone(),
        admin: test.admin.clone(),
        db: test.db.clone(),
    }
}
