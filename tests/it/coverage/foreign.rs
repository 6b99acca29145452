//! Another company's ids are missing ones in every path.

use super::records::{Kind, Records};
use super::{body, filled, functions, query};
use crate::support::{Answer, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use web::{Access, Endpoint};

/// What an id in a path names, by what stands before it.
const PATHS: &[(&str, Kind)] = &[
    ("/v1/admin/api-keys", Kind::ApiKey),
    ("/v1/admin/department-codes", Kind::Department),
    ("/v1/admin/groups", Kind::Group),
    ("/v1/admin/job-title-codes", Kind::JobTitle),
    ("/v1/admin/roles", Kind::Role),
    ("/v1/admin/users", Kind::User),
    ("/v1/admin/users/{id}/sessions", Kind::Session),
    ("/v1/approvals/policies", Kind::Policy),
    ("/v1/approvals/requests", Kind::Request),
    ("/v1/auth/sessions", Kind::Session),
    ("/v1/contacts", Kind::Contact),
    ("/v1/conversations", Kind::Conversation),
    ("/v1/whatsapp-accounts", Kind::Account),
];

/// Who runs the system sees every company; everybody else's paths are the company's own.
fn has_an_id(endpoint: &Endpoint) -> bool {
    endpoint.path.contains('{') && endpoint.access != Access::Operator
}

/// What each parameter of a path names.
pub fn kinds_of(path: &str) -> Vec<Kind> {
    let kind = |(at, _): (usize, &str)| {
        let before = path[..at].trim_end_matches('/');
        let found = PATHS.iter().find(|(prefix, _)| *prefix == before);
        found
            .unwrap_or_else(|| panic!("{path}: add to PATHS what the id after {before} names"))
            .1
    };
    path.match_indices('{').map(kind).collect()
}

/// A request that would do something to the record: only its id can be what is wrong with it.
fn request(endpoint: &Endpoint, ours: &Records, theirs: &Records) -> (String, Value) {
    let change = match (endpoint.method.as_str(), endpoint.path) {
        ("DELETE", "/v1/admin/groups/{id}/members") => {
            return (format!("?user_id={}", theirs.of(Kind::User)), json!({}));
        }
        ("POST", "/v1/admin/groups/{id}/members") => json!({ "user_ids": [ours.of(Kind::User)] }),
        ("PATCH", "/v1/admin/users/{id}") => json!({ "full_name": "Changed" }),
        ("PATCH", "/v1/contacts/{id}") => json!({ "first_name": "Changed" }),
        ("PATCH", "/v1/conversations/{id}") => json!({ "state": "closed" }),
        ("PATCH", path) if path.contains("-codes/") || path.contains("-accounts/") => {
            json!({ "label": "Changed" })
        }
        ("PATCH", _) => json!({ "name": "Changed" }),
        _ => body(endpoint),
    };
    (query(endpoint), change)
}

/// What an answer says apart from the id that was asked for: the same for every id that is nobody's.
pub fn told(answer: &Answer, id: &str) -> (u16, Value) {
    let mut said: Value = serde_json::from_str(&answer.text.replace(id, "the id")).unwrap_or_default();
    if said.get("error").is_some() {
        said["error"]["request_id"] = Value::Null;
    }
    (answer.status, said)
}

/// A digest of each table's rows of a company: everything that is kept of it.
pub async fn everything_of(world: &World) -> BTreeMap<String, String> {
    let admin = world.admin_sql().await;
    let tables = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition";
    let digest = |(table, column): (&str, &str)| {
        format!(
            "SELECT '{table}', coalesce(md5(string_agg(r::text, '|' ORDER BY r::text)), '')
             FROM {table} r WHERE r.{column} = $1"
        )
    };
    let tables = admin.query(tables, &[]).await.unwrap();
    let mut selects = vec![digest(("tenants", "id"))];
    selects.extend(tables.iter().map(|row| digest((row.get(0), "tenant_id"))));
    let rows = admin
        .query(&selects.join(" UNION ALL "), &[&world.tenant.0])
        .await;
    rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn another_companys_id_in_a_path_is_a_missing_one() {
    let (ours, theirs) = (Records::new().await, Records::new().await);
    for (endpoints, api) in functions(&theirs.stack).await {
        for endpoint in endpoints.into_iter().filter(|endpoint| has_an_id(endpoint)) {
            if endpoint.method == "GET" {
                let path = theirs.path(endpoint.path);
                api.get(&theirs.stack.me, &path).await.expect(200);
            }
        }
    }
    let before = everything_of(&theirs.stack.world).await;
    for (endpoints, api) in functions(&ours.stack).await {
        for endpoint in endpoints.into_iter().filter(|endpoint| has_an_id(endpoint)) {
            let (query, body) = request(endpoint, &ours, &theirs);
            let ask = async |ids: &[&str]| {
                let path = filled(endpoint.path, ids) + &query;
                let method = endpoint.method.as_str();
                let answer = api.json(&ours.stack.me, method, &path, &[], &body).await;
                told(&answer, ids[ids.len() - 1])
            };
            let what = format!("{} {}", endpoint.method, endpoint.path);
            let kinds = kinds_of(endpoint.path);
            let our_ids: Vec<&str> = kinds.iter().map(|kind| ours.of(*kind)).collect();
            let their_ids: Vec<&str> = kinds.iter().map(|kind| theirs.of(*kind)).collect();
            let nobodys = testkit::unique().to_string();
            let missing = ask(&vec![nobodys.as_str(); kinds.len()]).await;
            assert_eq!(missing.0, 404, "{what}: {}", missing.1);
            assert_eq!(missing.1["error"]["code"], "NOT_FOUND", "{what}");
            assert_eq!(ask(&their_ids).await, missing, "{what}");
            assert_eq!(ask(&vec!["not-an-id"; kinds.len()]).await.0, 404, "{what}");
            // Of several ids one at a time: the others are right.
            for at in 0..kinds.len() {
                for wrong in [their_ids[at], &nobodys] {
                    let mut ids = our_ids.clone();
                    ids[at] = wrong;
                    assert_eq!(ask(&ids).await, missing, "{what}, {:?}", kinds[at]);
                }
            }
        }
    }
    assert_eq!(
        everything_of(&theirs.stack.world).await,
        before,
        "nothing of theirs changes"
    );
}
