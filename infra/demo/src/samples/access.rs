//! Requests to `/v1/admin`: roles, the role tree, groups, role assignment, API keys.

use super::Expected;
use super::api::{DELETED, Line, MADE, OK};
use crate::Demo;
use anyhow::Result;
use serde_json::{Value, json};

const AGAIN: Expected = Expected::Statuses(&[201], &[201]);

pub(super) fn lines(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let mut lines = roles(demo)?;
    lines.extend(tree(demo)?);
    lines.extend(groups(demo)?);
    lines.extend(users(demo)?);
    lines.extend(keys(demo)?);
    Ok(lines)
}

fn get(what: &'static str, target: String) -> Line<'static> {
    ("admin", what, "GET", target, Value::Null, OK)
}

fn delete(what: &'static str, target: String) -> Line<'static> {
    ("admin", what, "DELETE", target, Value::Null, DELETED)
}

fn roles(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let list = "/v1/admin/roles";
    let one = |which: &str| {
        anyhow::Ok(format!(
            "{list}/{}",
            demo.text(&format!("/access/roles/{which}/id"))?
        ))
    };
    let agent = one("agent")?;
    let permissions = format!("{agent}/permissions");
    let new = json!({
        "name": "Sample role",
        "description": "Reads contacts and conversations.",
        "permissions": ["contact.read", "messaging.read"],
    });
    let granted = json!({ "permissions": ["contact.read", "contact.create"] });
    Ok(vec![
        get("roles-list", format!("{list}?search=a&sort=name&limit=20")),
        ("admin", "roles-create", "POST", list.to_owned(), new, MADE),
        get("roles-get", agent.clone()),
        (
            "admin",
            "roles-update",
            "PATCH",
            agent,
            json!({ "description": "Sells." }),
            OK,
        ),
        delete("roles-delete", one("deleted")?),
        get("roles-permissions-get", permissions.clone()),
        ("admin", "roles-permissions-set", "PUT", permissions, granted, OK),
    ])
}

fn tree(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let tree = "/v1/admin/roles/hierarchy";
    let role = |which: &str| demo.text(&format!("/access/roles/{which}/id"));
    let (agent, senior, junior) = (role("agent")?, role("senior")?, role("junior")?);
    let edge = json!({ "parent_role_id": agent, "child_role_id": senior });
    Ok(vec![
        get("roles-hierarchy-list", format!("{tree}?limit=20")),
        (
            "admin",
            "roles-hierarchy-add",
            "POST",
            tree.to_owned(),
            edge,
            MADE,
        ),
        delete(
            "roles-hierarchy-remove",
            format!("{tree}?parent_role_id={agent}&child_role_id={junior}"),
        ),
    ])
}

fn groups(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let list = "/v1/admin/groups";
    let one = |which: &str| {
        anyhow::Ok(format!(
            "{list}/{}",
            demo.text(&format!("/access/groups/{which}/id"))?
        ))
    };
    let (sales, support) = (one("sales")?, one("support")?);
    let colleague = demo.text("/access/colleague/id")?;
    let agent = demo.text("/access/roles/agent/id")?;
    let new = json!({ "name": "Sample group", "kind": "team", "role_ids": [agent] });
    let joining = json!({ "user_ids": [colleague] });
    Ok(vec![
        get("groups-list", format!("{list}?is_active=true&sort=name&limit=20")),
        ("admin", "groups-create", "POST", list.to_owned(), new, MADE),
        get("groups-get", sales.clone()),
        (
            "admin",
            "groups-update",
            "PATCH",
            sales.clone(),
            json!({ "description": "Sells." }),
            OK,
        ),
        delete("groups-delete", one("deleted")?),
        get("groups-members-list", format!("{sales}/members?limit=20")),
        (
            "admin",
            "groups-members-add",
            "POST",
            format!("{sales}/members"),
            joining,
            AGAIN,
        ),
        delete(
            "groups-members-remove",
            format!("{support}/members?user_id={colleague}"),
        ),
    ])
}

fn users(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let colleague = format!("/v1/admin/users/{}", demo.text("/access/colleague/id")?);
    let change = json!({ "assign": ["staff"], "remove": ["read_only"] });
    Ok(vec![
        (
            "admin",
            "users-roles",
            "POST",
            format!("{colleague}/roles"),
            change,
            OK,
        ),
        get(
            "users-effective-permissions",
            format!("{colleague}/effective-permissions"),
        ),
    ])
}

fn keys(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let list = "/v1/admin/api-keys";
    let one = |which: &str| {
        anyhow::Ok(format!(
            "{list}/{}",
            demo.text(&format!("/access/api_keys/{which}/id"))?
        ))
    };
    let new = json!({
        "name": "Sample website",
        "scopes": ["contact.create"],
        "expires_at": "2099-12-31T00:00:00Z",
    });
    Ok(vec![
        get("api-keys-list", format!("{list}?limit=20")),
        ("admin", "api-keys-create", "POST", list.to_owned(), new, AGAIN),
        get("api-keys-get", one("website")?),
        delete("api-keys-revoke", one("revoked")?),
    ])
}
