//! Another company's ids are missing ones in every parameter and field too.

use super::foreign::{everything_of, told};
use super::records::{Kind, Records};
use super::{endpoints, functions};
use crate::messaging::stack::{BUCKET, s3};
use crate::support::Api;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Method, path, field, and what the field names.
type Reference = (&'static str, &'static str, &'static str, Kind);

/// Every parameter and field that takes an id, as the description tells of it (`?group`, `.role_ids[]`), and
/// the kind that it names. In this order our own ids are taken: what one line makes, a later one takes away.
const REFERENCES: &[Reference] = &[
    ("GET", "/v1/admin/users", "?group", Kind::Group),
    ("POST", "/v1/admin/users", ".role_ids[]", Kind::Role),
    ("POST", "/v1/admin/users", ".roles[]", Kind::RoleCode),
    ("POST", "/v1/admin/users", ".group_ids[]", Kind::Group),
    ("POST", "/v1/admin/users/invite", ".role_ids[]", Kind::Role),
    ("POST", "/v1/admin/users/invite", ".roles[]", Kind::RoleCode),
    ("POST", "/v1/admin/users/invite", ".group_ids[]", Kind::Group),
    ("PATCH", "/v1/admin/users/{id}", ".job_title_id", Kind::JobTitle),
    (
        "PATCH",
        "/v1/admin/users/{id}",
        ".department_id",
        Kind::Department,
    ),
    ("PATCH", "/v1/admin/users/{id}", ".manager_user_id", Kind::User),
    ("POST", "/v1/admin/users/{id}/roles", ".assign[]", Kind::Role),
    ("POST", "/v1/admin/users/{id}/roles", ".assign[]", Kind::RoleCode),
    ("POST", "/v1/admin/users/{id}/roles", ".remove[]", Kind::Role),
    ("POST", "/v1/admin/users/{id}/suspend", ".reassign_to", Kind::User),
    (
        "POST",
        "/v1/admin/users/{id}/deactivate",
        ".reassign_to",
        Kind::User,
    ),
    ("DELETE", "/v1/admin/users/{id}", "?reassign_to", Kind::User),
    ("POST", "/v1/admin/users/bulk", ".user_ids[]", Kind::User),
    ("POST", "/v1/admin/users/bulk", ".group_id", Kind::Group),
    ("POST", "/v1/admin/users/bulk", ".role_id", Kind::Role),
    ("POST", "/v1/admin/users/bulk", ".role", Kind::RoleCode),
    ("POST", "/v1/admin/groups", ".role_ids[]", Kind::Role),
    ("PATCH", "/v1/admin/groups/{id}", ".role_ids[]", Kind::Role),
    ("POST", "/v1/admin/groups/{id}/members", ".user_ids[]", Kind::User),
    ("DELETE", "/v1/admin/groups/{id}/members", "?user_id", Kind::User),
    (
        "DELETE",
        "/v1/admin/roles/hierarchy",
        "?parent_role_id",
        Kind::ParentRole,
    ),
    (
        "POST",
        "/v1/admin/roles/hierarchy",
        ".parent_role_id",
        Kind::ParentRole,
    ),
    (
        "DELETE",
        "/v1/admin/roles/hierarchy",
        "?child_role_id",
        Kind::Role,
    ),
    ("POST", "/v1/admin/roles/hierarchy", ".child_role_id", Kind::Role),
    ("GET", "/v1/admin/entitlements/effective", "?user_id", Kind::User),
    (
        "GET",
        "/v1/admin/entitlements/overrides/group",
        "?group_id",
        Kind::Group,
    ),
    (
        "PUT",
        "/v1/admin/entitlements/overrides/group",
        "?group_id",
        Kind::Group,
    ),
    (
        "PUT",
        "/v1/admin/entitlements/overrides/group",
        ".group_id",
        Kind::Group,
    ),
    (
        "GET",
        "/v1/admin/entitlements/overrides/user",
        "?user_id",
        Kind::User,
    ),
    (
        "PUT",
        "/v1/admin/entitlements/overrides/user",
        "?user_id",
        Kind::User,
    ),
    (
        "PUT",
        "/v1/admin/entitlements/overrides/user",
        ".user_id",
        Kind::User,
    ),
    ("GET", "/v1/admin/audit-logs", "?user_id", Kind::User),
    ("GET", "/v1/admin/audit-logs", "?entity_id", Kind::Contact),
    (
        "POST",
        "/v1/approvals/policies",
        ".steps[].approver_ref",
        Kind::User,
    ),
    (
        "POST",
        "/v1/approvals/policies",
        ".steps[].approver_ref",
        Kind::Group,
    ),
    (
        "POST",
        "/v1/approvals/policies",
        ".steps[].approver_ref",
        Kind::Role,
    ),
    (
        "POST",
        "/v1/approvals/policies",
        ".steps[].approver_ref",
        Kind::RoleCode,
    ),
    (
        "PATCH",
        "/v1/approvals/policies/{id}",
        ".steps[].approver_ref",
        Kind::User,
    ),
    (
        "PATCH",
        "/v1/approvals/policies/{id}",
        ".steps[].approver_ref",
        Kind::Group,
    ),
    (
        "PATCH",
        "/v1/approvals/policies/{id}",
        ".steps[].approver_ref",
        Kind::Role,
    ),
    (
        "PATCH",
        "/v1/approvals/policies/{id}",
        ".steps[].approver_ref",
        Kind::RoleCode,
    ),
    ("GET", "/v1/approvals/requests", "?object_id", Kind::Contact),
    ("GET", "/v1/contacts", "?owner_user_id", Kind::User),
    ("POST", "/v1/contacts", ".owner_user_id", Kind::User),
    ("PATCH", "/v1/contacts/{id}", ".owner_user_id", Kind::User),
    ("GET", "/v1/conversations", "?assignee_user_id", Kind::User),
    ("GET", "/v1/conversations", "?contact_id", Kind::Contact),
    ("PATCH", "/v1/conversations/{id}", ".assignee_user_id", Kind::User),
    ("POST", "/v1/admin/gdpr/export", ".subject_id", Kind::User),
    ("POST", "/v1/admin/gdpr/export", ".subject_id", Kind::Contact),
    ("POST", "/v1/admin/gdpr/erase", ".reassign_to", Kind::User),
    ("POST", "/v1/admin/gdpr/erase", ".subject_id", Kind::User),
    ("POST", "/v1/admin/gdpr/erase", ".subject_id", Kind::Contact),
];

/// What else a request needs, so that only the id can be what is wrong with it. `somebody` is a colleague whom
/// nothing was done to yet.
fn besides(path: &str, field: &str, ours: &Records, somebody: &str) -> Value {
    match (path, field) {
        ("/v1/admin/users" | "/v1/admin/users/invite", _) => {
            json!({ "email": format!("{}@example.com", testkit::unique()) })
        }
        ("/v1/admin/users/bulk", ".user_ids[]") => {
            json!({ "action": "add_to_group", "group_id": ours.of(Kind::Group) })
        }
        ("/v1/admin/users/bulk", ".group_id") => {
            json!({ "action": "add_to_group", "user_ids": [ours.of(Kind::User)] })
        }
        ("/v1/admin/users/bulk", _) => json!({ "action": "assign_role", "user_ids": [ours.of(Kind::User)] }),
        ("/v1/admin/groups", _) => json!({ "name": format!("Team {}", testkit::unique()) }),
        ("/v1/admin/roles/hierarchy", ".parent_role_id") => json!({ "child_role_id": ours.of(Kind::Role) }),
        ("/v1/admin/roles/hierarchy", ".child_role_id") => {
            json!({ "parent_role_id": ours.of(Kind::ParentRole) })
        }
        ("/v1/admin/gdpr/erase", ".reassign_to") => {
            json!({ "subject_type": "user", "subject_id": somebody, "confirm": somebody })
        }
        ("/v1/approvals/policies", _) => {
            json!({ "name": "A", "action_code": "entitlement.override", "object_type": "entitlements",
                    "conditions": { "field": "changes", "op": "gt", "value": 1000 } })
        }
        ("/v1/contacts", _) => json!({ "first_name": "Zubaida" }),
        (path, _) if path.contains("/overrides/") => json!({ "overrides": [] }),
        _ => json!({}),
    }
}

/// The parameters and the body of a request that names a record by this id.
fn naming(line: &Reference, ours: &Records, somebody: &str, id: &str) -> (String, Value) {
    let (_, path, field, kind) = *line;
    let mut body = besides(path, field, ours, somebody);
    let other_end = match field {
        "?parent_role_id" => format!("&child_role_id={}", ours.of(Kind::Role)),
        "?child_role_id" => format!("&parent_role_id={}", ours.of(Kind::ParentRole)),
        _ => String::new(),
    };
    if field.starts_with('?') {
        return (format!("{field}={id}{other_end}"), body);
    }
    let mode = match kind {
        Kind::User => "user",
        Kind::Group => "group",
        Kind::Contact => "contact",
        _ => "role",
    };
    match (field, field.trim_start_matches('.').strip_suffix("[]")) {
        (".steps[].approver_ref", _) => {
            body["steps"] = json!([{ "approver_mode": mode, "approver_ref": id }]);
        }
        (".subject_id", _) => body = json!({ "subject_type": mode, "subject_id": id, "confirm": id }),
        (_, Some(list)) => body[list] = json!([id]),
        (_, None) => body[field.trim_start_matches('.')] = json!(id),
    }
    if path == "/v1/admin/gdpr/export" {
        body.as_object_mut().unwrap().remove("confirm");
    }
    (String::new(), body)
}

/// 404; of a list, nothing; of many at once, none.
fn is_nobodys(told: &(u16, Value)) -> bool {
    let (status, said) = told;
    *status == 404 && said["error"]["code"] == "NOT_FOUND"
        || *status == 200 && (said["data"] == json!([]) || said["succeeded"] == 0)
}

#[tokio::test]
async fn another_companys_id_in_a_field_is_a_missing_one() {
    let (ours, theirs) = (Records::new().await, Records::new().await);
    // Our own data is really exported; the bucket may be there already.
    let _ = s3().create_bucket().bucket(BUCKET).send().await;
    let before = everything_of(&theirs.stack.world).await;
    let services: HashMap<&str, Api> = functions(&ours.stack)
        .await
        .into_iter()
        .map(|(endpoints, api)| (endpoints[0].function, api))
        .collect();
    for line in REFERENCES {
        let (method, template, field, kind) = *line;
        let what = format!("{method} {template} {field} ({kind:?})");
        let endpoints = endpoints();
        let endpoint = endpoints
            .iter()
            .find(|endpoint| endpoint.method == method && endpoint.path == template)
            .unwrap_or_else(|| panic!("{what}: there is no such endpoint"));
        // Who was suspended once is not asked again whose the records are: somebody else for each line.
        let somebody = ours.stack.world.user("staff").await.user_id.to_string();
        let path = match template.strip_prefix("/v1/admin/users/{id}") {
            Some(rest) => format!("/v1/admin/users/{somebody}{rest}"),
            None => ours.path(template),
        };
        let ask = async |id: &str| {
            let (query, body) = naming(line, &ours, &somebody, id);
            let path = format!("{path}{query}");
            let answer = services[endpoint.function].json(&ours.stack.me, method, &path, &[], &body);
            told(&answer.await, id)
        };
        let missing = ask(&testkit::unique().to_string()).await;
        assert!(is_nobodys(&missing), "{what}: {missing:?}");
        assert_eq!(ask(theirs.of(kind)).await, missing, "{what}");
        // A filter may find nothing for our own id as well.
        if method != "GET" || missing.0 == 404 {
            let own = ask(ours.of(kind)).await;
            assert!(
                !is_nobodys(&own) && own.0 < 500,
                "{what}: what of this is wrong is not the id: {own:?}"
            );
        }
    }
    assert_eq!(
        everything_of(&theirs.stack.world).await,
        before,
        "nothing of theirs changes"
    );
}

/// A new parameter or field that takes an id has to be added to [`REFERENCES`].
#[test]
fn every_field_that_takes_an_id_is_tried() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut untried = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let mut fields = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] == "query" {
                    let name = format!("?{}", parameter["name"].as_str().unwrap());
                    ids(&document, &parameter["schema"], &name, &[], &mut fields);
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            ids(&document, body, "", &[], &mut fields);
            for field in fields {
                let tried = REFERENCES.iter().any(|(verb, template, name, _)| {
                    (*verb, *template, *name) == (method.as_str(), path.as_str(), field.as_str())
                });
                if !tried {
                    untried.push(format!("{method} {path} {field}"));
                }
            }
        }
    }
    assert_eq!(untried, Vec::<String>::new());
}

/// The fields of a schema that take ids. `inside` are the schemas that it is part of: conditions hold conditions.
fn ids(document: &Value, schema: &Value, at: &str, inside: &[&str], found: &mut Vec<String>) {
    if let Some(pointer) = schema["$ref"].as_str() {
        if !inside.contains(&pointer) {
            let target = document.pointer(pointer.trim_start_matches('#')).unwrap();
            ids(document, target, at, &[inside, &[pointer]].concat(), found);
        }
        return;
    }
    if schema["format"] == "uuid" && !found.iter().any(|known| known == at) {
        found.push(at.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        ids(document, property, &format!("{at}.{name}"), inside, found);
    }
    if schema["items"].is_object() {
        ids(document, &schema["items"], &format!("{at}[]"), inside, found);
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        for one in schema[several].as_array().into_iter().flatten() {
            ids(document, one, at, inside, found);
        }
    }
}
