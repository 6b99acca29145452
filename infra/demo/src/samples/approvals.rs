//! Requests to `/v1/approvals`.

use super::Expected;
use super::api::Line;
use crate::Demo;
use anyhow::Result;
use serde_json::{Value, json};

const OK: Expected = Expected::Statuses(&[200], &[200]);
const MADE: Expected = Expected::Statuses(&[201], &[201]);
/// Gone is gone.
const DELETED: Expected = Expected::Statuses(&[204], &[404]);
/// Again the same answer, while its key is remembered (24 hours).
const DECIDED: Expected = Expected::Statuses(&[200], &[200]);

pub fn lines(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let (policies, requests) = ("/v1/approvals/policies", "/v1/approvals/requests");
    let policy = |which: &str| {
        anyhow::Ok(format!(
            "{policies}/{}",
            demo.text(&format!("/approvals/policies/{which}/id"))?
        ))
    };
    let request = |which: &str| {
        anyhow::Ok(format!(
            "{requests}/{}",
            demo.text(&format!("/approvals/requests/{which}/id"))?
        ))
    };
    let line = |what, method, target, body, expected| ("approvals", what, method, target, body, expected);
    let none = || Value::Null;
    Ok(vec![
        line(
            "policies-list",
            "GET",
            format!("{policies}?active=true&limit=20"),
            none(),
            OK,
        ),
        line("policies-create", "POST", policies.to_owned(), new_policy(), MADE),
        line("policies-get", "GET", policy("main")?, none(), OK),
        line(
            "policies-update",
            "PATCH",
            policy("main")?,
            json!({ "name": "Limits" }),
            OK,
        ),
        line("policies-delete", "DELETE", policy("deleted")?, none(), DELETED),
        line(
            "requests-list",
            "GET",
            format!("{requests}?mine=to_decide&limit=20"),
            none(),
            OK,
        ),
        line("requests-get", "GET", request("approved")?, none(), OK),
        line(
            "requests-approve",
            "POST",
            format!("{}/approve", request("approved")?),
            json!({ "comment": "It is a duplicate." }),
            DECIDED,
        ),
        line(
            "requests-reject",
            "POST",
            format!("{}/reject", request("rejected")?),
            json!({ "comment": "We still need this one." }),
            DECIDED,
        ),
        line(
            "requests-cancel",
            "POST",
            format!("{}/cancel", request("cancelled")?),
            json!({}),
            DECIDED,
        ),
    ])
}

fn new_policy() -> Value {
    json!({
        "name": "Large limits",
        "action_code": "entitlement.override",
        "object_type": "entitlements",
        // above what another sample sets
        "conditions": { "all": [
            { "field": "scope", "op": "eq", "value": "tenant" },
            { "field": "highest_limit", "op": "gt", "value": 100_000 },
        ] },
        "steps": [
            { "kind": "sequential", "approver_mode": "dynamic", "approver_ref": "owner.manager", "sla_hours": 24 },
            {
                "kind": "sequential", "approver_mode": "role", "approver_ref": "finance_manager",
                "threshold": { "field": "highest_limit", "op": "gte", "value": 1_000_000 },
            },
        ],
    })
}
