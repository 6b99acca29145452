//! Requests about users, invitations, dictionaries and companies.

use super::http::{Request, through_api};
use super::{Expected, Sample};
use crate::Demo;
use anyhow::Result;
use serde_json::{Value, json};

const OK: Expected = Expected::Statuses(&[200], &[200]);
/// Of what is made once: again the same answer, while its key is remembered (24 hours).
const MADE: Expected = Expected::Statuses(&[201], &[201]);
/// A link is good once.
const SPENT: Expected = Expected::Statuses(&[200, 201], &[422]);

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    User,
    Operator,
    Nobody,
}

/// One line of the table: function, what, method, path with query, body, what is expected.
type Line = (&'static str, &'static str, &'static str, String, Value, Expected);

pub fn samples(demo: &Demo, token: &str) -> Result<Vec<Sample>> {
    let key = demo.text("/provisioning_key")?;
    let mut samples = Vec::new();
    for (by, lines) in [
        (By::User, users(demo)?),
        (By::User, lifecycle(demo)?),
        (By::User, dictionaries(demo)?),
        (By::Operator, tenants(demo)?),
        (By::Nobody, links(demo)?),
    ] {
        let credential = match by {
            By::User => Some(("authorization", format!("Bearer {token}"))),
            By::Operator => Some(("x-provisioning-key", key.to_owned())),
            By::Nobody => None,
        };
        samples.extend(lines.into_iter().map(|line| sample(line, credential.as_ref())));
    }
    Ok(samples)
}

fn sample(
    (function, what, method, target, body, expected): Line,
    credential: Option<&(&'static str, String)>,
) -> Sample {
    let name = format!("{function}-{what}");
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers: Vec<(&str, String)> = credential.cloned().into_iter().collect();
    if !body.is_null() {
        headers.push(("content-type", "application/json".to_owned()));
    }
    // What makes a sample harmless to repeat; what spends a link has no use for it.
    if method == "POST" && credential.is_some() {
        headers.push(("idempotency-key", format!("sample-{name}")));
    }
    let event = through_api(&Request {
        name: &name,
        method,
        path,
        query,
        headers,
        body: (!body.is_null()).then(|| body.to_string()),
    });
    Sample {
        name,
        function,
        event,
        expected,
    }
}

fn one(demo: &Demo, who: &str) -> Result<String> {
    Ok(format!(
        "/v1/admin/users/{}",
        demo.text(&format!("/people/{who}/id"))?
    ))
}

fn users(demo: &Demo) -> Result<Vec<Line>> {
    let new = |name: &str| json!({ "email": format!("{name}@demo-realty.example"), "full_name": "Sample Colleague", "roles": ["staff"] });
    let colleague = one(demo, "colleague")?;
    let changed =
        json!({ "locale": "ar", "timezone": "Asia/Kuwait", "manager_user_id": demo.text("/user/id")? });
    let preferences = json!({
        "email_on_sms": true,
        "quiet_hours": { "start": "21:00", "end": "08:00", "channels": ["sms", "whatsapp"] },
    });
    let settings = format!("{colleague}/preferences");
    let list = "/v1/admin/users?status=active&limit=20".to_owned();
    Ok(vec![
        ("admin", "users-list", "GET", list, Value::Null, OK),
        (
            "admin",
            "users-create",
            "POST",
            "/v1/admin/users".to_owned(),
            new("created"),
            MADE,
        ),
        ("admin", "users-get", "GET", colleague.clone(), Value::Null, OK),
        ("admin", "users-update", "PATCH", colleague, changed, OK),
        (
            "admin",
            "users-invite",
            "POST",
            "/v1/admin/users/invite".to_owned(),
            new("sampled"),
            MADE,
        ),
        (
            "admin",
            "users-preferences-get",
            "GET",
            settings.clone(),
            Value::Null,
            OK,
        ),
        ("admin", "users-preferences-put", "PUT", settings, preferences, OK),
    ])
}

fn lifecycle(demo: &Demo) -> Result<Vec<Line>> {
    let post = |what: &'static str, who: &str, body: Value| -> Result<Line> {
        let verb = what.trim_start_matches("users-");
        Ok((
            "admin",
            what,
            "POST",
            format!("{}/{verb}", one(demo, who)?),
            body,
            OK,
        ))
    };
    let bulk =
        json!({ "action": "assign_role", "role": "staff", "user_ids": [demo.text("/people/colleague/id")?] });
    let heir = || anyhow::Ok(json!({ "reassign_to": demo.text("/people/colleague/id")? }));
    let gone = Expected::Statuses(&[204], &[204]);
    let sessions = format!("/v1/admin/users/{}/sessions", demo.text("/user/id")?);
    let ended = format!("{sessions}/{}", demo.text("/sessions/ended/id")?);
    Ok(vec![
        post("users-resend-invite", "waiting", json!({}))?,
        post("users-suspend", "paused", heir()?)?,
        post("users-reactivate", "paused", json!({}))?,
        post("users-deactivate", "left", heir()?)?,
        post("users-force-logout", "colleague", json!({}))?,
        post("users-reset-password", "colleague", json!({}))?,
        post("users-reset-2fa", "colleague", json!({}))?,
        ("admin", "users-sessions-list", "GET", sessions, Value::Null, OK),
        (
            "admin",
            "users-sessions-revoke",
            "DELETE",
            ended,
            Value::Null,
            Expected::Statuses(&[204], &[404]),
        ),
        (
            "admin",
            "users-bulk",
            "POST",
            "/v1/admin/users/bulk".to_owned(),
            bulk,
            OK,
        ),
        (
            "admin",
            "users-delete",
            "DELETE",
            one(demo, "leaving")?,
            Value::Null,
            gone,
        ),
        (
            "admin",
            "releases",
            "GET",
            "/v1/admin/releases?limit=5".to_owned(),
            Value::Null,
            OK,
        ),
    ])
}

fn dictionaries(demo: &Demo) -> Result<Vec<Line>> {
    let deleted = Expected::Statuses(&[204], &[404]);
    let mut lines = Vec::new();
    for (family, names, own, old) in [
        (
            "job-title-codes",
            [
                "job-titles-list",
                "job-titles-create",
                "job-titles-update",
                "job-titles-delete",
            ],
            "title",
            "old_title",
        ),
        (
            "department-codes",
            [
                "departments-list",
                "departments-create",
                "departments-update",
                "departments-delete",
            ],
            "department",
            "old_department",
        ),
    ] {
        let all = format!("/v1/admin/{family}");
        let one = |which: &str| anyhow::Ok(format!("{all}/{}", demo.text(&format!("/codes/{which}/id"))?));
        let new = json!({ "code": "sample", "label": "Sample", "description": "Made by a sample" });
        let [list, create, update, delete] = names;
        lines.push((
            "admin",
            list,
            "GET",
            format!("{all}?is_active=true"),
            Value::Null,
            OK,
        ));
        lines.push(("admin", create, "POST", all.clone(), new, MADE));
        lines.push((
            "admin",
            update,
            "PATCH",
            one(own)?,
            json!({ "label": "Demo, renamed" }),
            OK,
        ));
        lines.push(("admin", delete, "DELETE", one(old)?, Value::Null, deleted));
    }
    Ok(lines)
}

fn tenants(demo: &Demo) -> Result<Vec<Line>> {
    let one = format!("/v1/tenants/{}", demo.text("/tenant/id")?);
    let new = json!({
        "name": "Provisioned Homes",
        "locale": "ar",
        "timezone": "Africa/Cairo",
        "admin": { "email": "owner@provisioned-homes.example", "full_name": "Provisioned Owner" },
    });
    let made = Expected::Statuses(&[201], &[201]);
    let again = format!(
        "/v1/tenants/{}/resend-invite",
        demo.text("/provisioned/tenant/id")?
    );
    let admin = json!({ "email": demo.text("/provisioned/admin/email")? });
    let closed = format!("/v1/tenants/{}", demo.text("/closed/tenant/id")?);
    let close = format!("{closed}?confirm={}", demo.text("/closed/tenant/slug")?);
    let deletion = format!("{closed}/deletion");
    Ok(vec![
        (
            "admin",
            "tenants-list",
            "GET",
            "/v1/tenants?limit=20".to_owned(),
            Value::Null,
            OK,
        ),
        (
            "admin",
            "tenants-create",
            "POST",
            "/v1/tenants".to_owned(),
            new,
            made,
        ),
        ("admin", "tenants-get", "GET", one.clone(), Value::Null, OK),
        ("admin", "tenants-resend-invite", "POST", again, admin, OK),
        ("admin", "tenants-close", "DELETE", close, Value::Null, OK),
        ("admin", "tenants-deletion-get", "GET", deletion, Value::Null, OK),
        (
            "admin",
            "tenants-update",
            "PATCH",
            one,
            json!({ "timezone": "Asia/Kuwait" }),
            OK,
        ),
    ])
}

fn links(demo: &Demo) -> Result<Vec<Line>> {
    let password = demo.text("/user/password")?;
    let token = |who: &str| demo.text(&format!("/people/{who}/token")).map(str::to_owned);
    let accept = |who: &str| anyhow::Ok(json!({ "token": token(who)?, "password": password }));
    let mut signed_in = accept("invited")?;
    signed_in["delivery"] = json!("body");
    let register = json!({
        "invite_token": token("registering")?, "full_name": "Sample Colleague", "password": password, "delivery": "body",
    });
    let path = "/v1/admin/users/accept-invite".to_owned();
    Ok(vec![
        (
            "admin",
            "users-accept-invite",
            "POST",
            path,
            accept("joining")?,
            SPENT,
        ),
        (
            "auth",
            "accept-invite",
            "POST",
            "/v1/auth/accept-invite".to_owned(),
            signed_in,
            SPENT,
        ),
        (
            "auth",
            "register",
            "POST",
            "/v1/auth/register".to_owned(),
            register,
            SPENT,
        ),
    ])
}
