//! Requests to the HTTP API: one for every endpoint.

use super::http::{Request, through_api};
use super::{Expected, Sample, compliance, plan};
use crate::Demo;
use anyhow::Result;
use serde_json::{Value, json};

pub(super) const OK: Expected = Expected::Statuses(&[200], &[200]);
/// Of what is made once: again the same answer, while its key is remembered (24 hours).
pub(super) const MADE: Expected = Expected::Statuses(&[201], &[201]);
/// Gone is gone.
pub(super) const DELETED: Expected = Expected::Statuses(&[204], &[404]);

/// One line of the table: function, what, method, path with query, body, what is expected.
pub(super) type Line<'a> = (&'static str, &'static str, &'static str, String, Value, Expected);

pub fn samples(demo: &Demo, token: &str) -> Result<Vec<Sample>> {
    let mut lines = auth(demo)?;
    lines.extend(super::access::lines(demo)?);
    lines.extend(super::oauth::lines());
    lines.extend(super::approvals::lines(demo)?);
    lines.extend(super::security::samples(demo)?);
    lines.extend(contacts(demo)?);
    lines.extend(plan::lines(demo)?);
    lines.extend(me());
    lines.extend(accounts(demo)?);
    lines.extend(conversations(demo)?);
    lines.extend(compliance::lines(demo)?);
    Ok(lines.into_iter().map(|line| sample(line, token)).collect())
}

fn sample((function, what, method, target, body, expected): Line<'_>, token: &str) -> Sample {
    let name = if what.is_empty() {
        function.to_owned()
    } else {
        format!("{function}-{what}")
    };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let signed_in = !matches!(
        what,
        "signup"
            | "login"
            | "refresh"
            | "logout"
            | "oauth-start"
            | "oauth-callback"
            | "register-super-admin"
            | "login-2fa"
            | "verify-email"
            | "resend-verification"
            | "forgot-password"
            | "reset-password"
            | "health"
            | "openapi"
            | "jwks"
    );
    let mut headers = Vec::new();
    if signed_in {
        headers.push(("authorization", format!("Bearer {token}")));
    }
    if !body.is_null() {
        headers.push(("content-type", "application/json".to_owned()));
    }
    // What makes a sample harmless to repeat; what spends a token has no use for it.
    if method == "POST" && (signed_in || matches!(what, "signup" | "register-super-admin")) {
        headers.push(("idempotency-key", format!("sample-{name}")));
    }
    let body = (!body.is_null()).then(|| body.to_string());
    let event = through_api(&Request {
        name: &name,
        method,
        path,
        query,
        headers,
        body,
    });
    Sample {
        name,
        function,
        event,
        expected,
    }
}

fn auth(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let post = |what, body, expected| ("auth", what, "POST", format!("/v1/auth/{what}"), body, expected);
    let login = json!({
        "email": demo.text("/user/email")?,
        "password": demo.text("/user/password")?,
        "tenant": demo.text("/tenant/slug")?,
        "delivery": "body",
    });
    let signup = json!({
        "tenant_name": "Sample Homes",
        "full_name": "Sample Owner",
        "email": "owner@sample-homes.example",
        "password": demo.text("/user/password")?,
        "delivery": "body",
    });
    let revoked = format!("/v1/auth/sessions/{}", demo.text("/sessions/revoked/id")?);
    Ok(vec![
        post("signup", signup, Expected::Statuses(&[201], &[201])),
        post("login", login, OK),
        // Again within ten seconds the lost answer is repeated; later it would be a stolen token.
        post(
            "refresh",
            json!({ "refresh_token": demo.text("/sessions/refreshed/refresh_token")? }),
            OK,
        ),
        post(
            "logout",
            json!({ "refresh_token": demo.text("/sessions/left/refresh_token")? }),
            Expected::Statuses(&[204], &[204]),
        ),
        (
            "auth",
            "sessions-list",
            "GET",
            "/v1/auth/sessions?limit=20".to_owned(),
            Value::Null,
            OK,
        ),
        ("auth", "sessions-revoke", "DELETE", revoked, Value::Null, DELETED),
    ])
}

fn contacts(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let one = |pointer: &str| anyhow::Ok(format!("/v1/contacts/{}", demo.text(pointer)?));
    let new = json!({
        "first_name": "Yusuf",
        "last_name": "Karam",
        "channels": [{ "type": "whatsapp", "value": "+96550000005" }, { "type": "email", "value": "yusuf@example.com" }],
    });
    let changed = json!({ "job_title": "Architect", "lifecycle_stage": "prospect" });
    Ok(vec![
        (
            "contacts",
            "list",
            "GET",
            "/v1/contacts?limit=20&sort=name".to_owned(),
            Value::Null,
            OK,
        ),
        (
            "contacts",
            "search",
            "GET",
            "/v1/contacts?search=lay".to_owned(),
            Value::Null,
            OK,
        ),
        ("contacts", "create", "POST", "/v1/contacts".to_owned(), new, MADE),
        (
            "contacts",
            "get",
            "GET",
            one("/contacts/layla/id")?,
            Value::Null,
            OK,
        ),
        (
            "contacts",
            "update",
            "PATCH",
            one("/contacts/layla/id")?,
            changed,
            OK,
        ),
        (
            "contacts",
            "delete",
            "DELETE",
            one("/contacts/deleted/id")?,
            Value::Null,
            DELETED,
        ),
    ])
}

fn me() -> Vec<Line<'static>> {
    let get = |what, path: &str| ("me", what, "GET", path.to_owned(), Value::Null, OK);
    vec![
        get("", "/v1/me"),
        get("health", "/v1/health"),
        get("openapi", "/v1/openapi.json"),
        get("jwks", "/.well-known/jwks.json"),
    ]
}

fn accounts(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let one = |which: &str| {
        anyhow::Ok(format!(
            "/v1/whatsapp-accounts/{}",
            demo.text(&format!("/accounts/{which}/id"))?
        ))
    };
    let new = json!({
        "provider": "meta",
        "provider_account_id": "200000000000001",
        "phone_number_id": "200000000000109",
        "display_phone_number": "+96522220109",
        "label": "Sample",
        "credentials": demo.0.pointer("/accounts/meta/credentials"),
    });
    let list = "/v1/whatsapp-accounts?limit=20".to_owned();
    Ok(vec![
        ("messaging", "accounts-list", "GET", list, Value::Null, OK),
        (
            "messaging",
            "accounts-create",
            "POST",
            "/v1/whatsapp-accounts".to_owned(),
            new,
            MADE,
        ),
        ("messaging", "accounts-get", "GET", one("meta")?, Value::Null, OK),
        (
            "messaging",
            "accounts-update",
            "PATCH",
            one("meta")?,
            json!({ "label": "Sales" }),
            OK,
        ),
        (
            "messaging",
            "accounts-delete",
            "DELETE",
            one("deleted")?,
            Value::Null,
            DELETED,
        ),
    ])
}

fn conversations(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let one = format!("/v1/conversations/{}", demo.text("/conversation/id")?);
    let messages = format!("{one}/messages");
    let reply = json!({ "body": "Yes, it is. When would you like to see it?" });
    let list = "/v1/conversations?state=open&limit=20".to_owned();
    let queued = Expected::Statuses(&[202], &[202]);
    Ok(vec![
        ("messaging", "conversations-list", "GET", list, Value::Null, OK),
        (
            "messaging",
            "conversations-get",
            "GET",
            one.clone(),
            Value::Null,
            OK,
        ),
        (
            "messaging",
            "conversations-update",
            "PATCH",
            one,
            json!({ "state": "open", "unread_count": 0 }),
            OK,
        ),
        (
            "messaging",
            "messages-list",
            "GET",
            format!("{messages}?limit=20"),
            Value::Null,
            OK,
        ),
        ("messaging", "messages-reply", "POST", messages, reply, queued),
    ])
}
