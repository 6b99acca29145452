use super::setup::{Office, call_from, download, fetch, objects};
use crate::messaging::stack::s3;
use admin_function::compliance::export::{ExportQuery, Format, Limits, run};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/v1/admin/audit-logs/export";

#[tokio::test]
async fn the_log_comes_as_json_lines_and_verified() {
    let office = Office::new().await;
    office.audit(3, "x").await;
    let export = office.api.get(&office.me, PATH).await.expect(200);
    let lines = String::from_utf8(download(&export).await).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(export["rows"], json!(lines.len()));
    assert_eq!(export["first_seq"], 1);
    assert_eq!(export["last_seq"], json!(lines.len()));
    assert_eq!(export["chain"], json!({ "holds": true, "break_at": null }));
    let seqs: Vec<i64> = lines.iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    assert!(seqs.is_sorted());
    assert!(office.actions().await.contains(&"audit.exported".to_owned()));
    let expires_at: jiff::Timestamp = export["expires_at"].as_str().unwrap().parse().unwrap();
    let lifetime = expires_at
        .duration_since(office.world.test.db.clock().now())
        .as_secs();
    assert!((880..=900).contains(&lifetime), "{lifetime}");
    // The bucket takes no other signature.
    let forged = export["url"]
        .as_str()
        .unwrap()
        .replace("X-Amz-Expires=900", "X-Amz-Expires=90000");
    assert_ne!(fetch(&forged).await.status(), 200);

    let all = objects(&office.bucket).await;
    assert!(
        all[0]
            .0
            .starts_with(&format!("exports/{}/audit/", office.world.tenant)),
        "{}",
        all[0].0
    );
    let other = Office::new().await;
    let theirs = other.api.get(&other.me, PATH).await.expect(200);
    assert!(
        !String::from_utf8(download(&theirs).await)
            .unwrap()
            .contains("test.done")
    );
}

#[tokio::test]
async fn a_part_is_verified_from_the_line_before_it() {
    let office = Office::new().await;
    office.audit(2, "old").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let from = office.world.test.db.clock().now();
    office.audit(2, "new").await;
    let export = office
        .api
        .get(&office.me, &format!("{PATH}?from={from}"))
        .await
        .expect(200);
    assert_eq!(export["rows"], 2);
    assert_eq!(export["chain"]["holds"], true);
    let part = office
        .api
        .get(&office.me, &format!("{PATH}?to={from}"))
        .await
        .expect(200);
    assert_eq!(
        part["last_seq"].as_i64().unwrap() + 1,
        export["first_seq"].as_i64().unwrap()
    );
    assert_eq!(part["chain"]["holds"], true);
    let none = office
        .api
        .get(
            &office.me,
            &format!("{PATH}?from=2020-01-01T00:00:00Z&to=2020-02-01T00:00:00Z"),
        )
        .await
        .expect(200);
    assert_eq!(
        (&none["rows"], &none["first_seq"], &none["chain"]["holds"]),
        (&json!(0), &Value::Null, &json!(true))
    );
    assert_eq!(download(&none).await, b"");

    // The line before the part was changed, and with it its hash.
    let admin = office.world.admin_sql().await;
    let change = "UPDATE audit_logs SET hash = sha256('x') WHERE tenant_id = $1 AND seq = $2";
    let first = export["first_seq"].as_i64().unwrap();
    admin
        .execute(change, &[&office.world.tenant.0, &(first - 1)])
        .await
        .unwrap();
    let broken = office
        .api
        .get(&office.me, &format!("{PATH}?from={from}"))
        .await
        .expect(200);
    assert_eq!(broken["chain"], json!({ "holds": false, "break_at": first }));
}

/// What is missing at the end of a part shows by what follows it.
#[tokio::test]
async fn a_part_is_verified_up_to_the_line_after_it() {
    let office = Office::new().await;
    let clock = office.world.test.db.clock();
    let pause = || tokio::time::sleep(Duration::from_millis(20));
    office.audit(2, "old").await;
    pause().await;
    let from = clock.now();
    office.audit(3, "mid").await;
    pause().await;
    let quiet = clock.now();
    pause().await;
    let to = clock.now();
    office.audit(2, "new").await;
    let part = async |from: jiff::Timestamp, to: jiff::Timestamp| {
        let path = format!("{PATH}?from={from}&to={to}");
        let export = office.api.get(&office.me, &path).await.expect(200);
        (export["rows"].as_i64().unwrap(), export)
    };
    let (rows, export) = part(from, to).await;
    assert_eq!((rows, &export["chain"]["holds"]), (3, &json!(true)));
    let (first, last) = (
        export["first_seq"].as_i64().unwrap(),
        export["last_seq"].as_i64().unwrap(),
    );
    let (rows, export) = part(quiet, to).await;
    assert_eq!((rows, &export["chain"]["holds"]), (0, &json!(true)));

    let broken_at = async |(rows, export): (i64, Value), expected_rows: i64, at: i64| {
        assert_eq!(rows, expected_rows);
        assert_eq!(export["chain"], json!({ "holds": false, "break_at": at }));
    };
    let admin = office.world.admin_sql().await;
    let run = async |sql: &str, at: i64| {
        let params: [&(dyn db::ToSql + Sync); 2] = [&office.world.tenant.0, &at];
        assert!(admin.execute(sql, &params).await.unwrap() > 0);
    };
    // The last line says something else, and its hash is of what it says.
    run(
        "UPDATE audit_logs SET action = 'x' WHERE tenant_id = $1 AND seq = $2",
        last,
    )
    .await;
    run(
        "UPDATE audit_logs a SET hash = app.audit_hash(p.hash, a) FROM audit_logs p
         WHERE a.tenant_id = $1 AND a.seq = $2 AND p.tenant_id = $1 AND p.seq = a.seq - 1",
        last,
    )
    .await;
    broken_at(part(from, to).await, 3, last + 1).await;
    run("DELETE FROM audit_logs WHERE tenant_id = $1 AND seq = $2", last).await;
    broken_at(part(from, to).await, 2, last).await;
    broken_at(part(quiet, to).await, 0, last).await;
    run(
        "DELETE FROM audit_logs WHERE tenant_id = $1 AND seq >= $2 AND seq <= $2 + 1",
        first,
    )
    .await;
    broken_at(part(from, to).await, 0, first).await;
    // And whatever came afterwards.
    run("DELETE FROM audit_logs WHERE tenant_id = $1 AND seq >= $2", first).await;
    broken_at(part(from, to).await, 0, first).await;
}

#[tokio::test]
async fn no_cell_of_the_table_is_a_formula() {
    let office = Office::new().await;
    for agent in ["=HYPERLINK(\"http://evil\")", "+cmd", "-2+3", "@SUM(A1)"] {
        let contact = json!({ "first_name": "=1+1, \"quoted\"\nand more" });
        let contacts = office.world.contacts();
        call_from(
            &contacts,
            Some(&office.me),
            ("=1.2.3.4", agent),
            ("POST", "/v1/contacts"),
            &contact,
        )
        .await
        .expect(201);
    }
    let export = office
        .api
        .get(&office.me, &format!("{PATH}?format=csv"))
        .await
        .expect(200);
    let bytes = download(&export).await;
    let mut reader = csv_reader(&bytes);
    let header = reader.headers().unwrap().clone();
    assert_eq!(
        header.iter().take(4).collect::<Vec<_>>(),
        ["seq", "id", "created_at", "action"]
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(export["rows"], json!(rows.len()));
    let cells: Vec<&str> = rows.iter().flat_map(|row| row.iter()).collect();
    assert!(
        cells
            .iter()
            .all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r']))
    );
    for kept in [
        "'=HYPERLINK(\"http://evil\")",
        "'+cmd",
        "'-2+3",
        "'@SUM(A1)",
        "'=1.2.3.4",
    ] {
        assert!(cells.contains(&kept), "{kept}");
    }
    office
        .api
        .get(&office.me, &format!("{PATH}?format=pdf"))
        .await
        .expect_code(422, "VALIDATION_FAILED");
}

fn csv_reader(bytes: &[u8]) -> csv::Reader<&[u8]> {
    csv::Reader::from_reader(bytes)
}

/// As a verified token makes one.
#[expect(clippy::disallowed_methods, reason = "tests stand in for a verified token")]
fn caller(office: &Office) -> kernel::Caller {
    kernel::Caller::verified_user(
        office.world.tenant,
        office.me.user_id,
        office.me.session_id,
        Some(kernel::Permission::AuditExport),
        kernel::Origin::default(),
    )
}

#[tokio::test]
async fn twenty_thousand_lines_go_in_parts() {
    let office = Office::new().await;
    office.audit(20_000, &"x".repeat(200)).await;
    // A busy machine is no reason to refuse it here.
    let limits = Limits {
        time: Duration::from_mins(1),
        ..Limits::DEFAULT
    };
    let export = run(&office.app, &caller(&office), ExportQuery::default(), limits)
        .await
        .unwrap();
    let export = serde_json::to_value(export).unwrap();
    assert!(export["rows"].as_i64().unwrap() > 20_000);
    assert_eq!(export["chain"]["holds"], true);
    let bytes = download(&export).await;
    assert_eq!(
        bytes.split(|byte| *byte == b'\n').count() - 1,
        usize::try_from(export["rows"].as_i64().unwrap()).unwrap()
    );
    // More than one part: no more than that was held at once.
    assert!(bytes.len() > 5 * 1024 * 1024);
    let listed = s3()
        .list_objects_v2()
        .bucket(&office.bucket)
        .send()
        .await
        .unwrap();
    let tag = listed.contents()[0].e_tag().unwrap();
    assert!(tag.contains('-'), "{tag}");
}

#[tokio::test]
async fn too_much_is_refused_and_leaves_nothing() {
    let office = Office::new().await;
    office.audit(20, "x").await;
    let caller = caller(&office);
    let query = ExportQuery {
        format: Format::Jsonl,
        from: None,
        to: None,
    };
    for limits in [
        Limits {
            rows: 10,
            ..Limits::DEFAULT
        },
        Limits {
            time: Duration::ZERO,
            ..Limits::DEFAULT
        },
    ] {
        let refused = run(&office.app, &caller, query, limits).await.unwrap_err();
        assert_eq!(refused.code(), kernel::Code::ValidationFailed);
        let fields = &refused.details().unwrap()["fields"][0];
        assert_eq!(fields["code"], "too_many");
        assert!(fields["message"].as_str().unwrap().contains("narrow it"));
    }
    assert!(objects(&office.bucket).await.is_empty());
    assert!(!office.actions().await.contains(&"audit.exported".to_owned()));
    for query in ["from=x", "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z"] {
        office
            .api
            .get(&office.me, &format!("{PATH}?{query}"))
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
}
