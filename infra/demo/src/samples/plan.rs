//! Requests about the plan, overrides and seats.

use super::api::{Line, OK};
use crate::Demo;
use anyhow::Result;
use serde_json::{Value, json};

pub(super) fn lines(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let (user, team) = (demo.text("/user/id")?, demo.text("/team/id")?);
    let overrides = "/v1/admin/entitlements/overrides";
    let get = |what, target: String| ("admin", what, "GET", target, Value::Null, OK);
    let put = |what, target: String, body| ("admin", what, "PUT", target, body, OK);
    let one = |new: Value| json!({ "overrides": [new] });
    Ok(vec![
        get("overrides-tenant-get", format!("{overrides}/tenant")),
        put(
            "overrides-tenant-set",
            format!("{overrides}/tenant"),
            one(json!({ "code": "sms.monthlyCap", "limit_value": 1000 })),
        ),
        get(
            "overrides-group-get",
            format!("{overrides}/group?group_id={team}"),
        ),
        put(
            "overrides-group-set",
            format!("{overrides}/group?group_id={team}"),
            one(json!({ "code": "maps.publicViews", "enabled": false })),
        ),
        get("overrides-user-get", format!("{overrides}/user?user_id={user}")),
        put(
            "overrides-user-set",
            format!("{overrides}/user?user_id={user}"),
            one(json!({ "code": "tasks.max", "unlimited": true })),
        ),
        get(
            "entitlements-effective",
            format!("/v1/admin/entitlements/effective?user_id={user}"),
        ),
        get(
            "users-effective-entitlements",
            format!("/v1/admin/users/{user}/effective-entitlements"),
        ),
        get("seats", "/v1/admin/seats".to_owned()),
        get("plan", "/v1/admin/plan".to_owned()),
        (
            "admin",
            "plan-preview",
            "POST",
            "/v1/admin/plan/preview".to_owned(),
            json!({ "plan": "dev_free" }),
            OK,
        ),
    ])
}
