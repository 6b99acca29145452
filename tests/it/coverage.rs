//! What holds for every endpoint, from the tables themselves: a new one can't be forgotten.

mod foreign;
mod gates;
mod gateway;
mod lists;
pub mod records;
mod references;

use crate::auth::setup;
use crate::messaging::stack::{Stack, endpoint, meta_account, table};
use crate::support::{Api, Login, World};
use axum::body::Body;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;
use web::{Access, Endpoint};

/// Every line of every HTTP function's table.
fn endpoints() -> Vec<&'static Endpoint> {
    [
        admin_function::routes().endpoints(),
        approvals_function::routes().endpoints(),
        auth_function::routes().endpoints(),
        contacts_function::routes().endpoints(),
        me_function::routes().endpoints(),
        messaging_function::routes().endpoints(),
        webhooks_function::routes().endpoints(),
    ]
    .concat()
}

/// The functions that people call, each with its table and its service.
pub async fn functions(stack: &Stack) -> Vec<(Vec<&'static Endpoint>, Api)> {
    let world = &stack.world;
    let services = [
        ("admin", crate::people::setup::service(world)),
        ("approvals", world.approvals()),
        ("auth", auth_service(world).await),
        ("contacts", world.contacts()),
        ("me", world.me()),
        ("messaging", stack.api.clone()),
    ];
    let of = |name: &str| {
        let endpoints = endpoints().into_iter();
        endpoints.filter(|endpoint| endpoint.function == name).collect()
    };
    services.map(|(name, api)| (of(name), api)).into()
}

async fn auth_service(world: &World) -> Api {
    setup::function(world, &endpoint(), &table().await, auth_function::Limits::DEFAULT)
}

/// An endpoint's path with these for its parameters, in order.
fn filled(template: &str, ids: &[&str]) -> String {
    let mut ids = ids.iter().copied();
    let segments = template.split('/').map(|segment| {
        let is_parameter = segment.starts_with('{');
        if is_parameter {
            ids.next().unwrap()
        } else {
            segment
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// A body that gets past parsing, for endpoints that take one.
fn body(endpoint: &Endpoint) -> Value {
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

/// Calls an endpoint for records that nobody has.
async fn call(api: &Api, endpoint: &Endpoint, login: Option<&Login>) -> crate::support::Answer {
    let nobodys = testkit::unique().to_string();
    let ids = vec![nobodys.as_str(); endpoint.path.matches('{').count()];
    let path = filled(endpoint.path, &ids) + &query(endpoint);
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
async fn past_due_and_out_of_grace_only_what_is_kept_answers() {
    let stack = Stack::new().await;
    let me = stack.world.admin().await;
    let sql =
        "UPDATE tenant_subscription SET status = 'past_due', grace_ends_at = now() WHERE tenant_id = $1";
    let unpaid = stack.world.admin_sql().await;
    assert_eq!(unpaid.execute(sql, &[&stack.world.tenant.0]).await.unwrap(), 1);
    for (endpoints, api) in functions(&stack).await {
        for endpoint in endpoints {
            let Some(permission) = endpoint.access.permission() else {
                continue;
            };
            let answer = call(&api, endpoint, Some(&me)).await;
            let of = format!("{} {}: {}", endpoint.method, endpoint.path, answer.text);
            assert_eq!(answer.status != 402, permission.is_kept_past_due(), "{of}");
            if answer.status == 402 {
                assert_eq!(answer.json()["error"]["details"]["reason"], "past_due", "{of}");
            }
        }
    }
}

#[tokio::test]
async fn the_description_names_every_endpoint_and_no_other() {
    let declared: BTreeSet<String> = endpoints()
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
        .collect();
    let answer = World::new()
        .await
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

/// operations.tsv is written by hand: who may call what changes on purpose, or not at all.
#[test]
fn the_operations_are_those_that_were_planned_for_whom_they_were_planned() {
    let declared: BTreeSet<String> = endpoints()
        .iter()
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
