//! Releases, for the What's New panel (S21.7, S21.9). Migrations write them.

use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Page, PageRequest, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    pub id: Uuid,
    /// As the tag without its `v`: `0.2.0`.
    pub version: String,
    pub released_at: Timestamp,
    /// What is new, in words for people.
    pub notes: String,
    /// Feature switches that it turned, by name.
    pub toggles: Value,
}

/// What the feed can be sorted by.
pub static SORTS: &[Sort] = &[Sort {
    name: "released_at",
    column: "l.released_at",
    key: KeyType::Timestamp,
}];

/// Everybody's, read as if it were the company's.
const LIST: &str = "SELECT l.id, l.version, l.released_at, l.notes, l.toggles
     FROM (SELECT $1::uuid AS tenant_id, r.* FROM release_log r WHERE r.env = 'prod') l";

/// One page of the releases.
///
/// # Errors
/// As the database fails.
pub async fn list(tx: &Tx, page: &PageRequest) -> Result<Page<Release>> {
    let view = |row: &Row| {
        Ok(Release {
            id: row.get("id"),
            version: row.get("version"),
            released_at: row.get("released_at"),
            notes: row.get("notes"),
            toggles: row.get("toggles"),
        })
    };
    let key = |release: &Release| (Key::Timestamp(release.released_at), release.id);
    Sql::list(tx, LIST, "l").fetch(tx, page, view, key).await
}
