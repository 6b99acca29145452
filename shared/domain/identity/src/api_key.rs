//! API keys: what programs call with. Each is scoped to permissions; its token is shown when it is
//! made, and only the hash of its secret is kept.

use crate::access::{self, actor, codes, parse_permissions};
use audit::event;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{ApiKeyToken, Error, Page, PageRequest, Permission, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What API keys can be listed by.
pub static SORTS: &[Sort] = &[Sort {
    name: "created_at",
    column: "k.created_at",
    key: KeyType::Timestamp,
}];

const INSERT: &str = "WITH made AS (
         INSERT INTO api_keys (tenant_id, id, name, prefix, secret_hash, scopes, created_by, created_at, expires_at, parent_key_id)
         SELECT $1, $2, $3, $4, $5, $6::text[], app.person_behind($1, $9, $10), $7,
                least($8, (SELECT k.expires_at FROM api_keys k WHERE k.tenant_id = $1 AND k.id = $10)), $10
         WHERE $10::uuid IS NULL
            OR EXISTS (SELECT FROM api_keys k WHERE k.tenant_id = $1 AND k.id = $10 AND k.revoked_at IS NULL)
         RETURNING *
     )
     SELECT made.*, app.permissions_lacking($1, $9, $10, $6) AS lacking FROM made";
const LIST: &str = "SELECT * FROM api_keys k";
const FIND: &str = "SELECT * FROM api_keys k WHERE k.tenant_id = $1 AND k.id = $2";
/// A key that makes one and a revocation come one after the other in a company: else the new key could
/// be missed.
const TAKE_TURN: &str = "SELECT pg_advisory_xact_lock(hashtextextended('api_keys/' || $1::uuid::text, 0))";
const REVOKE: &str = "WITH RECURSIVE ended AS (
         SELECT k.id FROM api_keys k WHERE k.tenant_id = $1 AND k.id = $2 AND k.revoked_at IS NULL
         UNION
         SELECT k.id FROM ended JOIN api_keys k ON k.tenant_id = $1 AND k.parent_key_id = ended.id
     )
     UPDATE api_keys k SET revoked_at = $3 FROM ended
     WHERE k.tenant_id = $1 AND k.id = ended.id AND k.revoked_at IS NULL RETURNING k.id";

/// An API key, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKey {
    pub id: Uuid,
    pub name: String,
    /// The beginning of the token, to recognise it by; no part of its secret.
    pub prefix: String,
    /// Codes of the permissions that it may use.
    pub scopes: Vec<String>,
    /// The user who made it.
    pub created_by: Option<Uuid>,
    /// The key that made it, when a key did; it ends with that one.
    pub parent_key_id: Option<Uuid>,
    pub created_at: Timestamp,
    /// Null: it does not expire.
    pub expires_at: Option<Timestamp>,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CreatedApiKey {
    #[serde(flatten)]
    pub key: ApiKey,
    /// Send it as `Authorization: Bearer <token>`. It is not shown again.
    pub token: String,
}

/// The body that makes an API key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Codes of the permissions that it may use, each one that its maker holds.
    #[schemars(length(min = 1))]
    pub scopes: Vec<String>,
    /// When it stops working; never unless given.
    pub expires_at: Option<Timestamp>,
}

/// A checked key that is not stored yet.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    name: String,
    scopes: BTreeSet<Permission>,
    expires_at: Option<Timestamp>,
}

impl NewApiKey {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn parse(body: &CreateApiKey, now: Timestamp) -> Result<Self> {
        let mut validator = Validator::default();
        let name = validator.text("name", &body.name, 100);
        let scopes = parse_permissions(&mut validator, "scopes", &body.scopes);
        if body.scopes.is_empty() {
            validator.reject("scopes", "required", "Name what the key may do.");
        }
        for permission in Permission::SELF_SERVICE {
            if scopes.contains(permission) {
                let message = format!("{permission} is for a person's own account; a key stands for nobody.");
                validator.reject("scopes", "not_allowed", &message);
            }
        }
        if body.expires_at.is_some_and(|at| at <= now) {
            validator.reject("expires_at", "past", "This must be in the future.");
        }
        validator.finish().map(|()| Self {
            name,
            scopes,
            expires_at: body.expires_at,
        })
    }
}

/// Makes a key. One that a key makes does not outlive it.
///
/// # Errors
/// 401 when the key that asks was revoked meanwhile; 403 for scopes that the caller does not hold: a key,
/// too, hands on no more than its own.
pub async fn insert(tx: &Tx, new: &NewApiKey) -> Result<CreatedApiKey> {
    let (id, now, (user, key)) = (tx.clock().id(), tx.clock().now(), actor(tx));
    let token = ApiKeyToken::generate(tx.tenant(), id)?;
    let (scopes, prefix, hash) = (codes(&new.scopes), token.shown(), token.hash());
    let hash = hash.as_slice();
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &id,
        &new.name,
        &prefix,
        &hash,
        &scopes,
        &now,
        &new.expires_at,
        &user,
        &key,
    ];
    let payload = json!({ "scopes": scopes });
    if key.is_some() {
        tx.execute(TAKE_TURN, &[&tx.tenant().0]).await?;
    }
    let (row, ()) = futures::try_join!(
        tx.query_opt(INSERT, params),
        event::publish(tx, "api_key.created", id, &payload)
    )?;
    let row = row.ok_or_else(Error::unauthenticated)?;
    access::refuse_lacking(tx, &row.get::<_, Vec<String>>("lacking"))?;
    Ok(CreatedApiKey {
        key: record(&row),
        token: token.expose(),
    })
}

/// # Errors
/// 404 when the company never had such a key.
pub async fn find(tx: &Tx, id: Uuid) -> Result<ApiKey> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &id]).await?;
    row.as_ref().map(record).ok_or_else(Error::not_found)
}

/// A page of the company's keys, revoked ones included, newest first unless asked otherwise.
///
/// # Errors
/// As the database fails.
pub async fn list(tx: &Tx, page: &PageRequest) -> Result<Page<ApiKey>> {
    let sql = Sql::list(tx, LIST, "k");
    sql.fetch(
        tx,
        page,
        |row| Ok(record(row)),
        |key| (Key::Timestamp(key.created_at), key.id),
    )
    .await
}

/// Ends a key, those that it made, those that they made …: from the next request on each is refused.
///
/// # Errors
/// 404 when there is no such key, or it was revoked before.
pub async fn revoke(tx: &Tx, id: Uuid) -> Result<()> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    tx.execute(TAKE_TURN, &[&tenant]).await?;
    let rows = tx.query(REVOKE, &[&tenant, &id, &now]).await?;
    let revoked: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    if revoked.is_empty() {
        return Err(Error::not_found());
    }
    event::publish_each(tx, "api_key.revoked", &revoked, &json!({})).await
}

fn record(row: &Row) -> ApiKey {
    ApiKey {
        id: row.get("id"),
        name: row.get("name"),
        prefix: row.get("prefix"),
        scopes: row.get("scopes"),
        created_by: row.get("created_by"),
        parent_key_id: row.get("parent_key_id"),
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        last_used_at: row.get("last_used_at"),
        revoked_at: row.get("revoked_at"),
    }
}
