//! Job titles and departments: words that a company chooses from (S12.3). Those without a company
//! are everybody's, and nobody's to change.

use crate::code;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Code, Error, Page, PageRequest, Patch, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many words of one kind a company adds.
const MAX_CODES: i64 = 500;

/// Which dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    JobTitle,
    Department,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::JobTitle => "job_title",
            Self::Department => "department",
        }
    }
}

/// A word of a dictionary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DictionaryCode {
    pub id: Uuid,
    /// Its name for programs: lower case, digits and `_`.
    pub code: String,
    /// Its name for people.
    pub label: String,
    pub description: String,
    /// Whether it can still be chosen.
    pub is_active: bool,
    /// Everybody's, so not to be changed.
    pub is_default: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The body that adds a word.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCode {
    /// Lower case letters, digits and `_`, beginning with a letter.
    #[schemars(length(min = 1, max = 50))]
    pub code: String,
    #[schemars(length(min = 1, max = 100))]
    pub label: String,
    #[schemars(length(max = 500))]
    pub description: Option<String>,
}

/// The body that changes a word. Its code stays: programs refer to it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateCode {
    #[schemars(length(min = 1, max = 100))]
    pub label: Option<String>,
    #[serde(default)]
    pub description: Patch<String>,
    pub is_active: Option<bool>,
}

/// The filters of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub struct CodeFilter {
    pub is_active: Option<bool>,
}

/// What the lists can be sorted by.
pub static SORTS: &[Sort] = &[
    Sort {
        name: "code",
        column: "d.code",
        key: KeyType::Text,
    },
    Sort {
        name: "created_at",
        column: "d.created_at",
        key: KeyType::Timestamp,
    },
];

/// The company's and everybody's, both as rows of the company so that one page holds them.
const LIST: &str = "SELECT d.id, d.code, d.label, d.description, d.is_active, d.is_default, d.created_at, d.updated_at
     FROM (SELECT c.tenant_id, false AS is_default, c.id, c.kind, c.code, c.label, c.description, c.is_active, c.created_at, c.updated_at
           FROM dictionary_codes c WHERE c.tenant_id = $1
           UNION ALL
           SELECT $1, true, c.id, c.kind, c.code, c.label, c.description, c.is_active, c.created_at, c.updated_at
           FROM dictionary_codes c WHERE c.tenant_id IS NULL) d";
const LOCK: &str = "SELECT d.id, d.code, d.label, d.description, d.is_active, false AS is_default, d.created_at, d.updated_at
     FROM dictionary_codes d WHERE d.tenant_id = $1 AND d.kind = $2 AND d.id = $3 FOR NO KEY UPDATE";
const IS_DEFAULT: &str =
    "SELECT FROM dictionary_codes d WHERE d.tenant_id IS NULL AND d.kind = $1 AND d.id = $2";
const INSERT: &str = "INSERT INTO dictionary_codes (tenant_id, id, kind, code, label, description, created_at, updated_at)
     SELECT $1, $2, $3, $4, $5, $6, $7, $7
     WHERE NOT EXISTS (SELECT FROM dictionary_codes d WHERE d.tenant_id IS NULL AND d.kind = $3 AND d.code = $4)
     ON CONFLICT DO NOTHING RETURNING id";
const COUNT: &str = "SELECT count(*) FROM dictionary_codes WHERE tenant_id = $1 AND kind = $2";
const UPDATE: &str =
    "UPDATE dictionary_codes SET label = $3, description = $4, is_active = $5, updated_at = $6
     WHERE tenant_id = $1 AND id = $2";
/// A word that somebody has is only taken out of the choice.
const DELETE: &str = "WITH used AS (
         SELECT EXISTS (SELECT FROM users u WHERE u.tenant_id = $1 AND (u.job_title_id = $2 OR u.department_id = $2)) AS used
     ), gone AS (
         DELETE FROM dictionary_codes d USING used WHERE d.tenant_id = $1 AND d.id = $2 AND NOT used.used
     )
     UPDATE dictionary_codes d SET is_active = false, updated_at = $3 FROM used
     WHERE d.tenant_id = $1 AND d.id = $2 AND used.used";

/// One page of a dictionary: the company's own words and everybody's.
///
/// # Errors
/// As the database fails.
pub async fn list(
    tx: &Tx,
    kind: Kind,
    filter: CodeFilter,
    page: &PageRequest,
) -> Result<Page<DictionaryCode>> {
    let mut sql = Sql::list(tx, LIST, "d");
    sql.filter("d.kind = $", kind.as_str());
    sql.filter_opt("d.is_active = $", filter.is_active);
    let by_code = page.sort.key == KeyType::Text;
    sql.fetch(
        tx,
        page,
        |row| Ok(read(row)),
        |code| {
            let key = if by_code {
                Key::Text(code.code.clone())
            } else {
                Key::Timestamp(code.created_at)
            };
            (key, code.id)
        },
    )
    .await
}

/// Adds a word.
///
/// # Errors
/// 422 with the fields that are wrong or when the dictionary is full, 409 `DUPLICATE` when the code
/// is taken, also by a default.
pub async fn insert(tx: &Tx, kind: Kind, body: &CreateCode) -> Result<DictionaryCode> {
    let mut validator = Validator::default();
    let code = validator.text("code", &body.code, 50);
    let mut chars = code.chars();
    let good = chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !code.is_empty() && !good {
        validator.reject(
            "code",
            "invalid",
            "A code is lower case letters, digits and _, beginning with a letter.",
        );
    }
    let label = validator.text("label", &body.label, 100);
    let description = validator.optional_text("description", body.description.as_deref(), 500);
    validator.finish()?;
    let (id, now, tenant, description) = (
        tx.clock().id(),
        tx.clock().now(),
        tx.tenant().0,
        description.unwrap_or_default(),
    );
    let params: [&(dyn db::ToSql + Sync); 7] =
        [&tenant, &id, &kind.as_str(), &code, &label, &description, &now];
    let count_params: [&(dyn db::ToSql + Sync); 2] = [&tenant, &kind.as_str()];
    let (inserted, count) =
        futures::try_join!(tx.query_opt(INSERT, &params), tx.query_one(COUNT, &count_params))?;
    if inserted.is_none() {
        return Err(Error::new(Code::Duplicate, "This code is taken.")
            .with_details(serde_json::json!({ "code": code })));
    }
    if count.get::<_, i64>(0) > MAX_CODES {
        return Err(Error::field(
            "code",
            "too_many",
            "A company has at most 500 of its own.",
        ));
    }
    Ok(DictionaryCode {
        id,
        code,
        label,
        description,
        is_active: true,
        is_default: false,
        created_at: now,
        updated_at: now,
    })
}

/// Changes a word of the company; `check` sees it as it was.
///
/// # Errors
/// 404 when there is none, 403 for a default, 422 with the fields that are wrong.
pub async fn update(
    tx: &Tx,
    kind: Kind,
    id: Uuid,
    body: &UpdateCode,
    check: impl FnOnce(&DictionaryCode) -> Result<()>,
) -> Result<DictionaryCode> {
    let current = own(tx, kind, id).await?;
    check(&current)?;
    let mut validator = Validator::default();
    let label = body
        .label
        .as_deref()
        .map(|label| validator.text("label", label, 100));
    let description = code::patched_description(&mut validator, &body.description, &current.description);
    validator.finish()?;
    let changed = DictionaryCode {
        label: label.unwrap_or(current.label),
        description,
        is_active: body.is_active.unwrap_or(current.is_active),
        updated_at: tx.clock().now(),
        ..current
    };
    tx.execute(
        UPDATE,
        &[
            &tx.tenant().0,
            &id,
            &changed.label,
            &changed.description,
            &changed.is_active,
            &changed.updated_at,
        ],
    )
    .await?;
    Ok(changed)
}

/// Deletes a word of the company; one that a user has is made inactive instead, so that the user
/// keeps it and nobody else gets it.
///
/// # Errors
/// 404 when there is none, 403 for a default.
pub async fn delete(tx: &Tx, kind: Kind, id: Uuid) -> Result<()> {
    own(tx, kind, id).await?;
    tx.execute(DELETE, &[&tx.tenant().0, &id, &tx.clock().now()])
        .await
        .map(drop)
}

/// A word of the company, held until the transaction ends.
async fn own(tx: &Tx, kind: Kind, id: Uuid) -> Result<DictionaryCode> {
    if let Some(row) = tx.query_opt(LOCK, &[&tx.tenant().0, &kind.as_str(), &id]).await? {
        return Ok(read(&row));
    }
    let default = tx.query_opt(IS_DEFAULT, &[&kind.as_str(), &id]).await?;
    default.ok_or_else(Error::not_found)?;
    Err(Error::new(
        Code::Forbidden,
        "This is a default of the system; add one of your own instead.",
    ))
}

fn read(row: &Row) -> DictionaryCode {
    DictionaryCode {
        id: row.get("id"),
        code: row.get("code"),
        label: row.get("label"),
        description: row.get("description"),
        is_active: row.get("is_active"),
        is_default: row.get("is_default"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    }
}
