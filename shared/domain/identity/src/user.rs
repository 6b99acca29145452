//! Users: people who work in a tenant (S1.3).

use crate::{Tenant, member};
use db::Tx;
use jiff::Timestamp;
use kernel::{Email, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const INSERT: &str =
    "INSERT INTO users (tenant_id, id, email, email_norm, full_name, password_hash, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $7)";
const GIVE_ROLE: &str = "INSERT INTO user_roles (tenant_id, user_id, role_id, created_at)
    SELECT $1, $2, r.id, $4 FROM roles r WHERE r.tenant_id IS NULL AND r.code = $3";
const FIND: &str =
    "SELECT t.id, t.name, t.slug, u.id, u.email, u.full_name, u.email_verified_at, u.created_at,
        ARRAY(SELECT r.code FROM user_roles ur JOIN roles r ON r.id = ur.role_id
              WHERE ur.tenant_id = $1 AND ur.user_id = $2 ORDER BY r.code)
    FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.tenant_id = $1 AND u.id = $2";
const EXISTS: &str = "SELECT FROM users WHERE tenant_id = $1 AND id = $2";
const TAKE: &str = "SELECT id FROM users WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE";
const PASSWORD_HASH: &str = "SELECT password_hash FROM users WHERE tenant_id = $1 AND id = $2";

/// A user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    pub id: Uuid,
    pub email: String,
    pub full_name: String,
    /// Codes of the roles held: `super_admin`, `staff`, …
    pub roles: Vec<String>,
    pub email_verified_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A user and the tenant that the user belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    pub tenant: Tenant,
    pub user: User,
}

/// A user to be made.
pub struct NewUser<'a> {
    pub id: Uuid,
    pub email: &'a Email,
    pub full_name: &'a str,
    /// As [`crate::Password::hash`] makes it.
    pub password_hash: &'a str,
    /// The code of a system role.
    pub role: &'a str,
}

/// Inserts an active user with one role.
///
/// # Errors
/// 409 when the tenant has a user with this address.
pub async fn insert(tx: &Tx, user: &NewUser<'_>) -> Result<()> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let NewUser {
        id,
        email,
        full_name,
        password_hash,
        role,
    } = user;
    tx.execute(
        INSERT,
        &[
            &tenant,
            id,
            &email.address,
            &email.normalised,
            full_name,
            password_hash,
            &now,
        ],
    )
    .await?;
    tx.execute(GIVE_ROLE, &[&tenant, id, role, &now]).await?;
    member::write_names(tx, *id, full_name).await
}

/// A user of the entered tenant.
///
/// # Errors
/// As [`Tx::query`].
pub async fn find(tx: &Tx, id: Uuid) -> Result<Option<Account>> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &id]).await?;
    Ok(row.map(|row| Account {
        tenant: Tenant {
            id: row.get(0),
            name: row.get(1),
            slug: row.get(2),
        },
        user: User {
            id: row.get(3),
            email: row.get(4),
            full_name: row.get(5),
            email_verified_at: row.get(6),
            created_at: row.get(7),
            roles: row.get(8),
        },
    }))
}

/// That the company has this user.
///
/// # Errors
/// 404 when it has not.
pub async fn exists(tx: &Tx, id: Uuid) -> Result<()> {
    let row = tx.query_opt(EXISTS, &[&tx.tenant().0, &id]).await?;
    row.map(drop).ok_or_else(Error::not_found)
}

/// The hash of a user's password; `None` when there is no such user, or no password yet.
///
/// # Errors
/// As [`Tx::query`].
pub async fn password_hash(tx: &Tx, id: Uuid) -> Result<Option<String>> {
    let row = tx.query_opt(PASSWORD_HASH, &[&tx.tenant().0, &id]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// Takes the user's row for the transaction. Whatever changes how somebody proves who they are begins
/// with it, so that two such changes of one user come one after the other and never wait for each other
/// in a circle.
pub(crate) async fn take(tx: &Tx, id: Uuid) -> Result<()> {
    let row = tx.query_opt(TAKE, &[&tx.tenant().0, &id]).await?;
    row.map(drop).ok_or_else(Error::not_found)
}
