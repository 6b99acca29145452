//! What holds for every endpoint, from the tables themselves: a new one can't be forgotten.

use crate::auth::setup;
use crate::messaging::stack::{Stack, endpoint, meta_account, table};
use crate::support::{Api, Login, World};
use axum::body::Body;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use uuid::Uuid;
use web::{Access, Endpoint};

/// Every HTTP function's table and service.
async fn functions(stack: &Stack) -> Vec<(Vec<&'static Endpoint>, Api)> {
    let world = &stack.world;
    vec![
        (
            admin_function::routes().endpoints().to_vec(),
            crate::people::setup::service(world),
        ),
        (
            auth_function::routes().endpoints().to_vec(),
            auth_service(world).await,
        ),
        (
            approvals_function::routes().endpoints().to_vec(),
            world.approvals(),
        ),
        (contacts_function::routes().endpoints().to_vec(), world.contacts()),
        (me_function::routes().endpoints().to_vec(), world.me()),
        (
            messaging_function::routes().endpoints().to_vec(),
            stack.api.clone(),
        ),
    ]
}

async fn auth_service(world: &World) -> Api {
    setup::function(world, &endpoint(), &table().await, auth_function::Limits::DEFAULT)
}

/// A body that gets past parsing, for endpoints that take one.
fn body(endpoint: &Endpoint) -> serde_json::Value {
    match (endpoint.method.as_str(), endpoint.path) {
        ("PUT", path) if path.contains("/overrides/") => json!({ "overrides": [] }),
        ("POST", "/v1/admin/plan/preview") => json!({ "plan": "dev_free" }),
        ("POST", "/v1/admin/roles" | "/v1/admin/groups") => json!({ "name": "A" }),
        ("PUT", "/v1/admin/roles/{id}/permissions") => json!({ "permissions": [] }),
        ("POST", "/v1/admin/roles/hierarchy") => {
            json!({ "parent_role_id": testkit::unique(), "child_role_id": testkit::unique() })
        }
        ("POST", "/v1/admin/groups/{id}/members") => json!({ "user_ids": [testkit::unique()] }),
        ("POST", "/v1/admin/users/{id}/roles") => json!({ "assign": ["staff"] }),
        ("POST", "/v1/admin/api-keys") => json!({ "name": "A", "scopes": ["contact.read"] }),
        ("POST", "/v1/contacts") => json!({ "first_name": "A" }),
        ("POST", "/v1/approvals/policies") => json!({
            "name": "A", "action_code": "contact.delete", "object_type": "contact",
            "steps": [{ "approver_mode": "role", "approver_ref": "manager" }],
        }),
        ("POST", "/v1/whatsapp-accounts") => meta_account("1"),
        ("POST", "/v1/conversations/{id}/messages") => json!({ "body": "hello" }),
        ("POST", "/v1/admin/users" | "/v1/admin/users/invite") => json!({ "email": "a@example.com" }),
        ("POST", "/v1/admin/users/bulk") => json!({ "action": "suspend", "user_ids": [testkit::unique()] }),
        ("POST", "/v1/admin/job-title-codes" | "/v1/admin/department-codes") => {
            json!({ "code": "a", "label": "A" })
        }
        ("POST", "/v1/admin/gdpr/export") => json!({ "subject_type": "contact", "subject_id": Uuid::nil() }),
        ("POST", "/v1/admin/gdpr/erase") => {
            json!({ "subject_type": "contact", "subject_id": Uuid::nil(), "confirm": "x" })
        }
        ("POST", "/v1/auth/totp/confirm" | "/v1/auth/2fa/totp/verify") => json!({ "code": "123456" }),
        (
            "POST",
            "/v1/auth/totp/disable"
            | "/v1/auth/2fa/backup-codes"
            | "/v1/auth/twofa/sms/disable"
            | "/v1/auth/twofa/whatsapp/disable",
        ) => json!({ "password": setup::PASSWORD }),
        ("POST", "/v1/auth/phone/verify/start") => json!({ "e164": "+201001234567", "channel": "sms" }),
        ("POST", "/v1/auth/phone/verify/confirm") => json!({ "e164": "+201001234567", "code": "123456" }),
        _ => json!({}),
    }
}

/// What an endpoint needs behind its path to get past parsing.
fn query(endpoint: &Endpoint) -> String {
    match (endpoint.method.as_str(), endpoint.path) {
        (_, "/v1/admin/entitlements/overrides/group") => format!("?group_id={}", testkit::unique()),
        ("DELETE", "/v1/admin/roles/hierarchy") => {
            format!("?parent_role_id={0}&child_role_id={0}", testkit::unique())
        }
        (_, "/v1/admin/entitlements/overrides/user") | ("DELETE", "/v1/admin/groups/{id}/members") => {
            format!("?user_id={}", testkit::unique())
        }
        _ => String::new(),
    }
}

async fn call(api: &Api, endpoint: &Endpoint, login: Option<&Login>) -> crate::support::Answer {
    let path = endpoint.path.replace("{id}", &testkit::unique().to_string()) + &query(endpoint);
    let method = endpoint.method.as_str();
    if let Some(login) = login {
        return api.json(login, method, &path, &[], &body(endpoint)).await;
    }
    let headers = [("content-type", "application/json")];
    api.call(method, &path, &headers, Body::from(body(endpoint).to_string()))
        .await
}

#[tokio::test]
async fn without_a_token_only_public_endpoints_answer() {
    let stack = Stack::new().await;
    for (endpoints, api) in functions(&stack).await {
        for endpoint in endpoints
            .iter()
            .filter(|endpoint| endpoint.access != Access::Public)
        {
            let answer = call(&api, endpoint, None).await;
            assert_eq!(answer.status, 401, "{} {}", endpoint.method, endpoint.path);
        }
    }
}

#[tokio::test]
async fn without_the_permission_nothing_is_done() {
    let stack = Stack::new().await;
    let nobody = stack.world.user("no_such_role").await;
    for (endpoints, api) in functions(&stack).await {
        for endpoint in endpoints {
            if let Some(permission) = endpoint.access.permission() {
                let error = call(&api, endpoint, Some(&nobody))
                    .await
                    .expect_code(403, "FORBIDDEN");
                assert_eq!(
                    error["details"]["permission"],
                    permission.code(),
                    "{} {}",
                    endpoint.method,
                    endpoint.path
                );
            }
        }
    }
}

#[tokio::test]
async fn an_id_that_nobody_has_is_404_everywhere() {
    let stack = Stack::new().await;
    let me = stack.world.admin().await;
    for (endpoints, api) in functions(&stack).await {
        let of_a_record =
            |endpoint: &&&Endpoint| endpoint.path.contains("{id}") && endpoint.access != Access::Operator;
        for endpoint in endpoints.iter().filter(of_a_record) {
            call(&api, endpoint, Some(&me))
                .await
                .expect_code(404, "NOT_FOUND");
            let no_id = endpoint.path.replace("{id}", "not-an-id") + &query(endpoint);
            api.json(&me, endpoint.method.as_str(), &no_id, &[], &body(endpoint))
                .await
                .expect_code(404, "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn the_description_names_every_endpoint_and_no_other() {
    let stack = Stack::new().await;
    let declared: BTreeSet<String> = functions(&stack)
        .await
        .iter()
        .flat_map(|(endpoints, _)| endpoints)
        .chain(webhooks_function::routes().endpoints())
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
        .collect();
    let answer = stack
        .world
        .me()
        .call("GET", "/v1/openapi.json", &[], Body::empty())
        .await;
    let document = answer.expect(200);
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .keys()
                .map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    assert_eq!(declared, described);
}

/// Lists are alike: pages of a bounded size, a cursor that is the list's own, sorts that it names.
#[tokio::test]
async fn every_list_keeps_the_contract_of_lists() {
    let stack = Stack::new().await;
    let me = stack.world.admin().await;
    let mut lists = 0;
    for (endpoints, api) in functions(&stack).await {
        for endpoint in endpoints {
            if endpoint.method != "GET" || endpoint.path.contains('{') || endpoint.access == Access::Operator
            {
                continue;
            }
            let ask = async |query: &str| api.get(&me, &format!("{}{query}", endpoint.path)).await;
            let first = ask("?limit=1").await;
            if first.status != 200 || first.json()["data"].as_array().is_none() {
                continue;
            }
            lists += 1;
            let page = first.json();
            let path = endpoint.path;
            assert!(
                page.get("next_cursor").is_some(),
                "{path} says nothing of a next page"
            );
            assert!(page["data"].as_array().unwrap().len() <= 1, "{path} has a bound");
            for (query, status) in [
                ("?limit=0", 422),
                ("?limit=201", 422),
                ("?limit=many", 422),
                ("?cursor=of-another-list", 400),
                ("?sort=nothing", 422),
            ] {
                let answer = ask(query).await;
                assert_eq!(answer.status, status, "{path}{query}: {}", answer.text);
            }
            if let Some(cursor) = page["next_cursor"].as_str() {
                let next = ask(&format!("?limit=1&cursor={cursor}")).await.expect(200);
                assert_ne!(next["data"], page["data"], "{path}: the next page is another");
            }
        }
    }
    assert!(lists >= 14, "only {lists} lists were found");
}

/// operations.tsv is written by hand: who may call what changes on purpose, or not at all.
#[tokio::test]
async fn the_operations_are_those_that_were_planned_for_whom_they_were_planned() {
    let stack = Stack::new().await;
    let declared: BTreeSet<String> = functions(&stack)
        .await
        .iter()
        .flat_map(|(endpoints, _)| endpoints)
        .chain(webhooks_function::routes().endpoints())
        .map(|endpoint| {
            let who = match endpoint.access {
                Access::Public => "public",
                Access::SignedIn => "signed-in",
                Access::Operator => "operator",
                Access::Permission(permission) | Access::Gated(permission, _) => permission.code(),
            };
            let feature = endpoint.access.feature().map_or("-", kernel::Feature::code);
            [
                endpoint.function,
                endpoint.method.as_str(),
                endpoint.path,
                who,
                feature,
            ]
            .join("\t")
        })
        .collect();
    let planned: BTreeSet<String> = include_str!("operations.tsv")
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = planned.difference(&declared).collect();
    let unplanned: Vec<_> = declared.difference(&planned).collect();
    assert!(
        missing.is_empty() && unplanned.is_empty(),
        "missing: {missing:#?}\nunplanned: {unplanned:#?}"
    );
}

#[test]
fn every_function_is_deployed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let template = std::fs::read_to_string(root.join("template.yaml")).unwrap();
    for function in std::fs::read_dir(root.join("functions")).unwrap() {
        let name = function.unwrap().file_name().into_string().unwrap();
        assert!(
            template.contains(&format!("Binary: {name}")),
            "template.yaml builds no {name}"
        );
    }
}
