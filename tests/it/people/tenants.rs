//! Companies, with the provisioning key and without.

use super::setup::{Office, PASSWORD, PROVISIONING_KEY, address, operate, public, tenant_of};
use crate::support::World;
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn company() -> Value {
    json!({ "name": "Delta Homes", "timezone": "Africa/Cairo", "locale": "ar", "admin": { "email": address(), "full_name": "Basma Nour" } })
}

#[tokio::test]
async fn only_the_key_opens() {
    let office = Office::new().await;
    let bearer = format!("Bearer {}", office.me.token);
    let one = format!("/v1/tenants/{}", office.world.tenant);
    let again = format!("{one}/resend-invite");
    let (close, deletion) = (format!("{one}?confirm=x"), format!("{one}/deletion"));
    for (method, path, body) in [
        ("GET", "/v1/tenants", Value::Null),
        ("POST", "/v1/tenants", company()),
        ("GET", &one, Value::Null),
        ("PATCH", &one, json!({ "status": "suspended" })),
        ("DELETE", &close, Value::Null),
        ("GET", &deletion, Value::Null),
        ("POST", &again, json!({ "email": address() })),
    ] {
        let shortened = &PROVISIONING_KEY[1..];
        for header in [
            vec![],
            vec![("authorization", bearer.as_str())],
            vec![("x-provisioning-key", "wrong")],
            vec![("x-provisioning-key", "")],
            vec![("x-provisioning-key", shortened)],
            vec![
                ("authorization", bearer.as_str()),
                ("x-provisioning-key", bearer.as_str()),
            ],
        ] {
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(header);
            let body = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            let answer = office.api.call(method, path, &headers, body).await;
            answer.expect_code(401, "UNAUTHENTICATED");
        }
    }
    let sql = office.world.admin_sql().await;
    let status: String = sql
        .query_one(
            "SELECT status FROM tenants WHERE id = $1",
            &[&office.world.tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(status, "active");
    // The key is not a user's token, either.
    let headers = [("x-provisioning-key", PROVISIONING_KEY)];
    office
        .api
        .call("GET", "/v1/admin/users", &headers, "")
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_company_is_made_and_its_super_admin_joins() {
    let office = Office::new().await;
    let body = company();
    let made = operate(&office.api, "POST", "/v1/tenants", &body)
        .await
        .expect(201);
    assert_eq!(
        (&made["name"], &made["timezone"], &made["status"]),
        (&json!("Delta Homes"), &json!("Africa/Cairo"), &json!("active"))
    );
    let world = World {
        test: testkit::database().await,
        tenant: tenant_of(&made),
    };
    let theirs = Office {
        api: office.api.clone(),
        me: office.me.clone(),
        world,
    };
    let email = body["admin"]["email"].as_str().unwrap();
    let token = theirs.links(email).await.pop().unwrap();
    let answer = json!({ "token": token, "password": PASSWORD, "delivery": "body" });
    let joined = public(&office.auth().await, "/v1/auth/accept-invite", &answer)
        .await
        .expect(200);
    assert_eq!(
        (&joined["user"]["roles"], &joined["tenant"]["id"]),
        (&json!(["super_admin"]), &made["id"])
    );
    let sql = office.world.admin_sql().await;
    let by: Vec<String> = sql
        .query(
            "SELECT actor FROM audit_logs WHERE tenant_id = $1 AND action = 'tenant.created'",
            &[&theirs.world.tenant.0],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(by, ["operator"]);
    for (change, path) in [
        (json!({ "name": " " }), "name"),
        (json!({ "timezone": "Nowhere" }), "timezone"),
        (json!({ "admin": { "email": "x" } }), "email"),
    ] {
        let mut bad = body.clone();
        bad.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let error = operate(&office.api, "POST", "/v1/tenants", &bad)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(error["details"]["fields"][0]["path"], path);
    }
}

#[tokio::test]
async fn repeated_with_its_key_one_company_is_made() {
    let office = Office::new().await;
    let body = company();
    let key = testkit::unique().to_string();
    let send = async |body: Value| {
        let headers = [
            ("content-type", "application/json"),
            ("x-provisioning-key", PROVISIONING_KEY),
            ("idempotency-key", key.as_str()),
        ];
        office
            .api
            .call("POST", "/v1/tenants", &headers, body.to_string())
            .await
    };
    let answers = join_all((0..4).map(|_| send(body.clone()))).await;
    let first = answers[0].json();
    for answer in &answers {
        assert_eq!((answer.status, answer.json()), (201, first.clone()));
    }
    let replayed = answers
        .iter()
        .filter(|answer| answer.headers.contains_key("idempotency-replayed"));
    assert_eq!(replayed.count(), 3);
    for (at, value) in [
        ("/name", json!("Another")),
        ("/locale", json!("en")),
        ("/timezone", json!("Asia/Kuwait")),
        ("/admin/full_name", json!("Salma Aziz")),
        ("/admin/full_name", Value::Null),
        ("/admin/email", json!(address())),
    ] {
        let mut other = body.clone();
        *other.pointer_mut(at).unwrap() = value;
        let error = send(other).await.expect_code(422, "VALIDATION_FAILED");
        assert_eq!(error["details"]["fields"][0]["code"], "reused", "{at}");
    }
    // Spelled otherwise it is the same request.
    let mut same = body.clone();
    same["admin"]["email"] = json!(body["admin"]["email"].as_str().unwrap().to_uppercase());
    same["name"] = json!(" Delta Homes ");
    assert_eq!(send(same).await.expect(201), first);
}

#[tokio::test]
async fn a_company_is_changed_only_as_it_was_seen() {
    let office = Office::new().await;
    let path = format!("/v1/tenants/{}", office.world.tenant);
    let seen = operate(&office.api, "GET", &path, &Value::Null).await;
    let tag = seen.headers["etag"].clone();
    let change = async |tag: &str, name: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("x-provisioning-key", PROVISIONING_KEY),
            ("if-match", tag),
        ];
        let body = json!({ "name": name }).to_string();
        office.api.call("PATCH", &path, &headers, body).await
    };
    let answers = join_all(["A", "B", "C"].map(|name| change(&tag, name))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412]);
    let changed = answers.iter().find(|answer| answer.status == 200).unwrap();
    change(&changed.headers["etag"], "D").await.expect(200);
}

/// What is logged while it is the subscriber.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn that_the_companies_were_listed_is_in_the_log_and_no_company_is() {
    let office = Office::new().await;
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .with_writer(move || writer.clone());
    let _guard = tracing_subscriber::registry().with(layer).set_default();
    let headers = [
        ("x-provisioning-key", PROVISIONING_KEY),
        ("x-request-id", "looking-around"),
    ];
    let path = "/v1/tenants?status=active&limit=2";
    let listed = office.api.call("GET", path, &headers, "").await.expect(200);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("the companies were listed"))
        .unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (
            &line["fields"]["request_id"],
            &line["fields"]["status"],
            &line["fields"]["limit"]
        ),
        (&json!("looking-around"), &json!("active"), &json!(2))
    );
    for company in listed["data"].as_array().unwrap() {
        for secret in ["name", "slug"] {
            assert!(!line.to_string().contains(company[secret].as_str().unwrap()));
        }
    }
    assert!(!text.contains(PROVISIONING_KEY));
}

#[tokio::test]
async fn a_suspended_company_is_out_at_the_next_request() {
    let office = Office::new().await;
    let path = format!("/v1/tenants/{}", office.world.tenant);
    let before = operate(&office.api, "GET", &path, &Value::Null).await;
    assert!(before.headers.contains_key("etag"));
    assert_eq!(before.expect(200)["status"], "active");
    let suspended = operate(&office.api, "PATCH", &path, &json!({ "status": "suspended" }))
        .await
        .expect(200);
    assert_eq!(suspended["status"], "suspended");
    office.get("/v1/admin/users").await.expect_code(403, "FORBIDDEN");
    let renamed = operate(
        &office.api,
        "PATCH",
        &path,
        &json!({ "status": "active", "name": "New name" }),
    )
    .await;
    assert_eq!(renamed.expect(200)["name"], "New name");
    office.get("/v1/admin/users").await.expect(200);
    for (body, status) in [
        (json!({ "status": "deleted" }), 422),
        (json!({ "slug": "other" }), 422),
        (json!({ "locale": "x" }), 422),
    ] {
        assert_eq!(
            operate(&office.api, "PATCH", &path, &body).await.status,
            status,
            "{body}"
        );
    }
    let nobody = format!("/v1/tenants/{}", testkit::unique());
    operate(&office.api, "GET", &nobody, &Value::Null)
        .await
        .expect_code(404, "NOT_FOUND");
    operate(&office.api, "PATCH", &nobody, &json!({}))
        .await
        .expect_code(404, "NOT_FOUND");
    let sql = office.world.admin_sql().await;
    let lines: Vec<(String, String)> = sql
        .query("SELECT action, actor FROM audit_logs WHERE tenant_id = $1 AND entity_type = 'tenant' ORDER BY seq", &[&office.world.tenant.0])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let line = |action: &str| (action.to_owned(), "operator".to_owned());
    assert_eq!(
        lines,
        [
            line("tenant.read"),
            line("tenant.updated"),
            line("tenant.updated")
        ]
    );
}

#[tokio::test]
async fn the_list_pages_over_all_companies() {
    let office = Office::new().await;
    for _ in 0..4 {
        office.world.test.tenant().await;
    }
    let newest = operate(&office.api, "GET", "/v1/tenants?limit=2", &Value::Null)
        .await
        .expect(200);
    assert_eq!(newest["data"].as_array().unwrap().len(), 2);
    let mut keys: Vec<&String> = newest["data"][0].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["created_at", "id", "name", "slug", "status"]);
    let next = format!(
        "/v1/tenants?limit=2&cursor={}",
        newest["next_cursor"].as_str().unwrap()
    );
    let older = operate(&office.api, "GET", &next, &Value::Null).await.expect(200);
    assert!(older["data"][0]["created_at"].as_str() <= newest["data"][1]["created_at"].as_str());
    assert_ne!(older["data"][0]["id"], newest["data"][1]["id"]);
    let oldest = operate(
        &office.api,
        "GET",
        "/v1/tenants?limit=1&sort=created_at&status=active",
        &Value::Null,
    )
    .await;
    assert_eq!(oldest.expect(200)["data"].as_array().unwrap().len(), 1);
    operate(&office.api, "GET", "/v1/tenants?status=gone", &Value::Null)
        .await
        .expect_code(422, "VALIDATION_FAILED");
}
