//! Requests about the audit log and a person's data.

use super::Expected;
use super::api::{Line, OK};
use crate::Demo;
use anyhow::Result;
use serde_json::{Value, json};

pub fn lines(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let get = |what, target: &str| ("admin", what, "GET", target.to_owned(), Value::Null, OK);
    let layla = demo.text("/contacts/layla/id")?;
    let forgotten = demo.text("/contacts/forgotten/id")?;
    let export = json!({ "subject_type": "contact", "subject_id": layla });
    let erase = json!({ "subject_type": "contact", "subject_id": forgotten, "confirm": "Former Client" });
    Ok(vec![
        get(
            "audit-logs-list",
            "/v1/admin/audit-logs?action_prefix=contact.&limit=20",
        ),
        get("audit-logs-export", "/v1/admin/audit-logs/export?format=csv"),
        get("compliance-get", "/v1/admin/compliance"),
        (
            "admin",
            "compliance-update",
            "PATCH",
            "/v1/admin/compliance".to_owned(),
            json!({ "audit_keep_months": 24, "inbox_keep_days": 60 }),
            OK,
        ),
        (
            "admin",
            "gdpr-export",
            "POST",
            "/v1/admin/gdpr/export".to_owned(),
            export,
            Expected::Statuses(&[201], &[201]),
        ),
        // Again the answer is repeated, while its key is remembered (24 hours).
        (
            "admin",
            "gdpr-erase",
            "POST",
            "/v1/admin/gdpr/erase".to_owned(),
            erase,
            OK,
        ),
    ])
}
