//! A line of the audit log as its readers see it, and the list of them (S18.7).

use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Page, PageRequest, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Lines are listed by their ids, which are ordered in time.
pub static SORTS: &[Sort] = &[Sort {
    name: "created_at",
    column: "a.id",
    key: KeyType::Id,
}];

const LIST: &str =
    "SELECT a.id, a.seq, a.action, a.entity_type, a.entity_id, a.before_data, a.after_data, a.actor,
    a.actor_user_id, a.ip, a.user_agent, a.request_id, a.created_at, a.hash, a.erased_at FROM audit_logs a";

/// Who did what to which record, and what the record was and became.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLine {
    pub id: Uuid,
    /// Its place in the company's chain, from 1.
    pub seq: i64,
    /// `contact.updated`, `auth.login`, …
    pub action: String,
    pub entity_type: String,
    pub entity_id: Option<Uuid>,
    /// What the record was; secrets and encrypted fields are `***`.
    pub before_data: Option<Value>,
    /// What it became, or what is to be said of an event that changed no record.
    pub after_data: Option<Value>,
    /// `user`, `api_key:<id>`, or the function of the system that acted.
    pub actor: String,
    pub actor_user_id: Option<Uuid>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
    pub created_at: Timestamp,
    /// Over this line and the one before it, in hexadecimal.
    pub hash: String,
    /// When personal data was erased from this line.
    pub erased_at: Option<Timestamp>,
}

/// Which lines to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct AuditFilter {
    /// The first moment, included.
    pub from: Option<Timestamp>,
    /// The last moment, not included.
    pub to: Option<Timestamp>,
    /// The user who acted.
    #[serde(alias = "actor_user_id")]
    pub user_id: Option<Uuid>,
    pub action: Option<String>,
    /// The beginning of the action: `auth.`, `user.role`.
    pub action_prefix: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<Uuid>,
    pub request_id: Option<String>,
}

impl AuditFilter {
    /// # Errors
    /// 422 for a text that nothing can be called, and a range that ends before it begins.
    pub fn check(self) -> Result<Self> {
        let mut validator = Validator::default();
        let mut text = |path, value: Option<String>| validator.optional_text(path, value.as_deref(), 200);
        let checked = Self {
            action: text("action", self.action),
            action_prefix: text("action_prefix", self.action_prefix),
            entity_type: text("entity_type", self.entity_type),
            request_id: text("request_id", self.request_id),
            ..self
        };
        check_range(&mut validator, checked.from, checked.to);
        validator.finish().map(|()| checked)
    }
}

/// Refuses a range that ends before it begins, or lies before there were computers: ids count from 1970.
pub(crate) fn check_range(validator: &mut Validator, from: Option<Timestamp>, to: Option<Timestamp>) {
    for (path, at) in [("from", from), ("to", to)] {
        if at.is_some_and(|at| at < Timestamp::UNIX_EPOCH) {
            validator.reject(path, "out_of_range", "This is before 1970.");
        }
    }
    if let (Some(from), Some(to)) = (from, to)
        && to <= from
    {
        validator.reject("to", "out_of_range", "This must be later than `from`.");
    }
}

/// One page of the company's audit log, newest first unless asked otherwise.
pub async fn list(tx: &Tx, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditLine>> {
    let mut sql = Sql::list(tx, LIST, "a");
    // The time is in the id, to the millisecond: a range of ids is a range of every index and of months.
    sql.filter_opt("a.id >= app.first_id_of($) AND a.created_at >= $", filter.from);
    sql.filter_opt(
        "a.id < app.first_id_of($::timestamptz + interval '1 millisecond') AND a.created_at < $",
        filter.to,
    );
    sql.filter_opt("a.actor_user_id = $", filter.user_id);
    sql.filter_opt("a.action COLLATE \"C\" = $", filter.action.clone());
    sql.filter_opt(
        "a.action COLLATE \"C\" >= $ AND a.action COLLATE \"C\" < $ || U&'\\+10FFFF'",
        filter.action_prefix.clone(),
    );
    sql.filter_opt("a.entity_type = $", filter.entity_type.clone());
    sql.filter_opt("a.entity_id = $", filter.entity_id);
    sql.filter_opt("a.request_id = $", filter.request_id.clone());
    sql.fetch(
        tx,
        page,
        |row| Ok(from_row(row)),
        |line| (Key::Id(line.id), line.id),
    )
    .await
}

pub(crate) fn from_row(row: &Row) -> AuditLine {
    let data = |column: &str| row.get::<_, Option<Value>>(column).map(masked);
    AuditLine {
        id: row.get("id"),
        seq: row.get("seq"),
        action: row.get("action"),
        entity_type: row.get("entity_type"),
        entity_id: row.get("entity_id"),
        before_data: data("before_data"),
        after_data: data("after_data"),
        actor: row.get("actor"),
        actor_user_id: row.get("actor_user_id"),
        ip: row.get("ip"),
        user_agent: row.get("user_agent"),
        request_id: row.get("request_id"),
        created_at: row.get("created_at"),
        hash: hex(row.get("hash")),
        erased_at: row.get("erased_at"),
    }
}

/// The triggers mask what their tables name; this masks what a table forgot to, by the names that
/// such columns have.
fn masked(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = match value {
                    Value::Null => Value::Null,
                    _ if is_secret(&name) => Value::from("***"),
                    value => masked(value),
                };
                (name, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        other => other,
    }
}

fn is_secret(name: &str) -> bool {
    ["_sealed", "_hash", "_salt"]
        .iter()
        .any(|end| name.ends_with(end))
        || ["password", "secret", "token", "credentials", "pepper"]
            .iter()
            .any(|part| name.contains(part))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_sealed_hashed_or_secret_is_masked_at_any_depth() {
        let data = json!({ "phone_sealed": "\\x01", "password_hash": null, "name": "A",
                           "list": [{ "access_token": "t", "value_masked": "+20**" }] });
        let shown = json!({ "phone_sealed": "***", "password_hash": null, "name": "A",
                            "list": [{ "access_token": "***", "value_masked": "+20**" }] });
        assert_eq!(masked(data), shown);
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
