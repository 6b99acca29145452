//! The matrix of a role: every permission there is, and whether the role grants it (S12.4).

use crate::access::{self, Granter, actor, codes, parse_permissions};
use crate::role;
use audit::event;
use db::{Row, Tx};
use kernel::{Permission, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

const MATRIX: &str = "SELECT p.code, p.description, p.privileged, p.self_service,
            EXISTS (SELECT FROM role_permissions own WHERE own.role_id = $2 AND own.permission_code = p.code),
            ARRAY(SELECT r.code FROM app.roles_above($1, ARRAY[$2]) above
                  JOIN role_permissions rp ON rp.role_id = above.role_id
                  JOIN roles r ON r.id = above.role_id
                  WHERE above.role_id <> $2 AND rp.permission_code = p.code ORDER BY r.code)
     FROM permissions p ORDER BY p.code";

const REPLACE: &str = "WITH wanted AS (
         SELECT p.code FROM permissions p WHERE p.code = ANY ($3::text[]) OR p.self_service
     ), gone AS (
         DELETE FROM role_permissions rp
         WHERE rp.tenant_id = $1 AND rp.role_id = $2 AND rp.permission_code NOT IN (SELECT code FROM wanted)
     ), added AS (
         INSERT INTO role_permissions (role_id, tenant_id, permission_code) SELECT $2, $1, wanted.code FROM wanted
         ON CONFLICT DO NOTHING RETURNING permission_code
     ), noted AS (
         UPDATE roles SET updated_at = $4 WHERE tenant_id = $1 AND id = $2
     )
     SELECT EXISTS (SELECT FROM added), app.permissions_lacking($1, $5, $6, ARRAY(SELECT permission_code FROM added))";

/// A permission, and what a role has to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixEntry {
    pub code: String,
    pub description: String,
    /// Whether the role itself grants it.
    pub granted: bool,
    /// Codes of the roles further up the tree that grant it.
    pub inherited_from: Vec<String>,
    /// Permissions that come with it.
    pub implies: Vec<String>,
    /// Its holder's e-mail address must be verified.
    pub privileged: bool,
    /// Every role carries it.
    pub self_service: bool,
}

/// What a role grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolePermissions {
    pub role_id: Uuid,
    /// Every permission there is, by code.
    pub permissions: Vec<MatrixEntry>,
}

/// The body that says what a role grants from now on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutPermissions {
    /// Codes of permissions. What they imply and what everybody needs for themselves is added.
    pub permissions: Vec<String>,
}

impl PutPermissions {
    /// # Errors
    /// 422 naming each code that is unknown.
    pub fn parse(&self) -> Result<BTreeSet<Permission>> {
        let mut validator = Validator::default();
        let permissions = parse_permissions(&mut validator, "permissions", &self.permissions);
        validator.finish().map(|()| permissions)
    }
}

/// What a role grants.
///
/// # Errors
/// 404 when there is no such role.
pub async fn matrix(tx: &Tx, role_id: Uuid) -> Result<RolePermissions> {
    let (_, permissions) = futures::try_join!(role::find(tx, role_id), entries(tx, role_id))?;
    Ok(RolePermissions { role_id, permissions })
}

async fn entries(tx: &Tx, role_id: Uuid) -> Result<Vec<MatrixEntry>> {
    let rows = tx.query(MATRIX, &[&tx.tenant().0, &role_id]).await?;
    Ok(rows.iter().map(entry).collect())
}

/// Replaces what a role grants; `check` sees what it granted. It counts at the next request of
/// everybody who has the role.
///
/// # Errors
/// As [`role::find_for_update`] and `check`; 403 when it would add what the caller does not hold, or
/// anything to a role that the caller holds.
pub async fn replace(
    tx: &Tx,
    role_id: Uuid,
    wanted: &BTreeSet<Permission>,
    check: impl FnOnce(&RolePermissions) -> Result<()>,
) -> Result<RolePermissions> {
    let (role, granter) = futures::try_join!(role::find_for_update(tx, role_id), Granter::of(tx))?;
    let mut granted = RolePermissions {
        role_id,
        permissions: entries(tx, role_id).await?,
    };
    check(&granted)?;
    let ((user, key), now, codes) = (actor(tx), tx.clock().now(), codes(wanted));
    let params: db::Params<'_> = &[&tx.tenant().0, &role_id, &codes, &now, &user, &key];
    let payload = json!({ "code": role.code, "permissions": codes });
    let (row, ()) = futures::try_join!(
        tx.query_one(REPLACE, params),
        event::publish(tx, "role.updated", role_id, &payload)
    )?;
    access::refuse_lacking(tx, &row.get::<_, Vec<String>>(1))?;
    if row.get(0) {
        granter.must_not_hold(role_id)?;
    }
    for entry in &mut granted.permissions {
        entry.granted = entry.self_service || codes.contains(&entry.code.as_str());
    }
    Ok(granted)
}

fn entry(row: &Row) -> MatrixEntry {
    let code: String = row.get(0);
    let implies = Permission::parse(&code).map_or(&[][..], Permission::implies);
    MatrixEntry {
        implies: implies.iter().map(ToString::to_string).collect(),
        description: row.get(1),
        privileged: row.get(2),
        self_service: row.get(3),
        granted: row.get(4),
        inherited_from: row.get(5),
        code,
    }
}
