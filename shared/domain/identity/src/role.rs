//! Roles: the system's, which are everybody's and nobody's to change, and a company's own (S12.4).

use crate::access::{self, actor, codes, parse_permissions};
use crate::code::{self, Named};
use audit::event;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Code, Error, Page, PageRequest, Patch, Permission, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What roles can be listed by.
pub static SORTS: &[Sort] = &[
    Sort {
        name: "created_at",
        column: "r.created_at",
        key: KeyType::Timestamp,
    },
    Sort {
        name: "name",
        column: "r.name",
        key: KeyType::Text,
    },
    Sort {
        name: "code",
        column: "r.code",
        key: KeyType::Text,
    },
];

// Two ranges of the index on the company: an OR would read every company's roles.
const LIST: &str = "SELECT r.*, ARRAY(SELECT rp.permission_code FROM role_permissions rp WHERE rp.role_id = r.id ORDER BY 1) AS permissions
     FROM (SELECT o.tenant_id, false AS is_system, o.id, o.code, o.name, o.description, o.created_at, o.updated_at
           FROM roles o WHERE o.tenant_id = $1
           UNION ALL
           SELECT $1, true, o.id, o.code, o.name, o.description, o.created_at, o.updated_at
           FROM roles o WHERE o.tenant_id IS NULL) r";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.tenant_id IS NULL AS is_system, r.code, r.name, r.description, r.created_at, r.updated_at,
                    ARRAY(SELECT rp.permission_code FROM role_permissions rp WHERE rp.role_id = r.id ORDER BY 1) AS permissions
             FROM roles r",
            $rest
        )
    };
}
const FIND: &str = select!(" WHERE (r.tenant_id = $1 OR r.tenant_id IS NULL) AND r.id = $2");
const LOCK: &str = select!(" WHERE r.tenant_id = $1 AND r.id = $2 FOR UPDATE OF r");

const INSERT: &str = "WITH made AS (
         INSERT INTO roles (tenant_id, id, code, name, description, created_at, updated_at)
         SELECT $1, $2, $3, $4, $5, $6, $6 WHERE NOT EXISTS (SELECT FROM roles s WHERE s.tenant_id IS NULL AND s.code = $3)
         ON CONFLICT (tenant_id, code) DO NOTHING RETURNING id
     ), granted AS (
         INSERT INTO role_permissions (role_id, tenant_id, permission_code)
         SELECT made.id, $1, p.code FROM made, permissions p WHERE p.code = ANY ($7::text[]) OR p.self_service
         RETURNING permission_code
     )
     SELECT EXISTS (SELECT FROM made), ARRAY(SELECT permission_code FROM granted ORDER BY 1),
            app.permissions_lacking($1, $8, $9, $7)";

const HOLDER_OF_CODE: &str = "SELECT id FROM roles WHERE (tenant_id = $1 OR tenant_id IS NULL) AND code = $2";

const UPDATE: &str =
    "UPDATE roles SET name = $3, description = $4, updated_at = $5 WHERE tenant_id = $1 AND id = $2";

const DELETE: &str = "WITH used AS (
         SELECT (SELECT count(*) FROM user_roles ur WHERE ur.tenant_id = $1 AND ur.role_id = $2) AS users,
                (SELECT count(*) FROM group_roles gr WHERE gr.tenant_id = $1 AND gr.role_id = $2) AS groups,
                (SELECT count(*) FROM role_hierarchy h WHERE h.tenant_id = $1 AND h.parent_role_id = $2) AS child_roles
     ), loose AS (
         DELETE FROM role_hierarchy h USING used
         WHERE h.tenant_id = $1 AND h.child_role_id = $2 AND used.users + used.groups + used.child_roles = 0
     ), gone AS (
         DELETE FROM roles r USING used
         WHERE r.tenant_id = $1 AND r.id = $2 AND used.users + used.groups + used.child_roles = 0 RETURNING r.id
     )
     SELECT EXISTS (SELECT FROM gone), used.users, used.groups, used.child_roles FROM used";

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Role {
    pub id: Uuid,
    pub code: String,
    pub name: String,
    pub description: String,
    /// One of the system's roles, which can't be changed.
    pub is_system: bool,
    /// Codes of the permissions that it grants by itself, without what it inherits.
    pub permissions: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The body that makes a role.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRole {
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What the role is known by; made of the name when absent. It can't be changed later.
    #[schemars(length(max = 50), regex(pattern = "^[a-z][a-z0-9_.-]*$"))]
    pub code: Option<String>,
    #[schemars(length(max = 500))]
    pub description: Option<String>,
    /// Codes of permissions. Those that everybody needs for themselves are added.
    #[serde(default)]
    pub permissions: Vec<String>,
}

/// The body that changes a role.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateRole {
    #[schemars(length(min = 1, max = 100))]
    pub name: Option<String>,
    #[serde(default)]
    pub description: Patch<String>,
}

/// The filters of the list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct RoleFilter {
    /// A part of the name or the code.
    pub search: Option<String>,
    /// Only the system's roles, or only the company's own.
    pub is_system: Option<bool>,
}

/// A checked role that is not stored yet.
#[derive(Clone, Debug)]
pub struct NewRole {
    named: Named,
    permissions: BTreeSet<Permission>,
}

impl NewRole {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn parse(body: &CreateRole) -> Result<Self> {
        let mut validator = Validator::default();
        let named = Named::parse(
            &mut validator,
            body.code.as_deref(),
            &body.name,
            body.description.as_deref(),
        );
        let permissions = parse_permissions(&mut validator, "permissions", &body.permissions);
        validator.finish().map(|()| Self { named, permissions })
    }
}

/// Makes a role of the company.
///
/// # Errors
/// 409 `DUPLICATE` with `details.id` when a role has this code; 403 for permissions that the caller
/// does not hold.
pub async fn insert(tx: &Tx, new: &NewRole) -> Result<Role> {
    let (id, now) = (tx.clock().id(), tx.clock().now());
    let (
        (user, key),
        Named {
            code,
            name,
            description,
        },
    ) = (actor(tx), &new.named);
    let wanted = codes(&new.permissions);
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &id,
        code,
        name,
        description,
        &now,
        &wanted,
        &user,
        &key,
    ];
    let created = json!({ "code": code });
    let (row, ()) = futures::try_join!(
        tx.query_one(INSERT, params),
        event::publish(tx, "role.created", id, &created)
    )?;
    access::refuse_lacking(tx, &row.get::<_, Vec<String>>(2))?;
    if !row.get::<_, bool>(0) {
        let holder = tx.query_opt(HOLDER_OF_CODE, &[&tx.tenant().0, code]).await?;
        return Err(Error::new(Code::Duplicate, "Another role has this code.")
            .with_details(json!({ "id": holder.map(|row| row.get::<_, Uuid>(0)) })));
    }
    Ok(Role {
        id,
        code: code.clone(),
        name: name.clone(),
        description: description.clone(),
        is_system: false,
        permissions: row.get(1),
        created_at: now,
        updated_at: now,
    })
}

/// # Errors
/// 404 when there is no such role in the system or the company.
pub async fn find(tx: &Tx, id: Uuid) -> Result<Role> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &id]).await?;
    row.as_ref().map(record).ok_or_else(Error::not_found)
}

/// As [`find`], for a role that is to be changed, and holds it until the transaction ends.
///
/// # Errors
/// As [`find`]; 409 for a role of the system.
pub async fn find_for_update(tx: &Tx, id: Uuid) -> Result<Role> {
    if let Some(row) = tx.query_opt(LOCK, &[&tx.tenant().0, &id]).await? {
        return Ok(record(&row));
    }
    find(tx, id).await?;
    Err(Error::new(
        Code::Conflict,
        "The system's roles can't be changed; make a role of your own that inherits from it.",
    ))
}

/// A page of the system's and the company's roles.
///
/// # Errors
/// As the database fails.
pub async fn list(tx: &Tx, filter: &RoleFilter, page: &PageRequest) -> Result<Page<Role>> {
    let mut sql = Sql::list(tx, LIST, "r");
    sql.filter_opt("r.is_system = $", filter.is_system);
    sql.filter_opt(
        "(strpos(lower(r.name), lower($)) > 0 OR strpos(r.code, lower($)) > 0)",
        filter.search.as_deref().map(str::trim).map(str::to_owned),
    );
    let sort = page.sort.name;
    sql.fetch(
        tx,
        page,
        |row| Ok(record(row)),
        |role| {
            let key = match sort {
                "name" => Key::Text(role.name.clone()),
                "code" => Key::Text(role.code.clone()),
                _ => Key::Timestamp(role.created_at),
            };
            (key, role.id)
        },
    )
    .await
}

impl UpdateRole {
    /// What the role becomes.
    ///
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn apply(self, role: Role, now: Timestamp) -> Result<Role> {
        let mut validator = Validator::default();
        let name = match self.name {
            Some(name) => validator.text("name", &name, 100),
            None => role.name.clone(),
        };
        let description = code::patched_description(&mut validator, &self.description, &role.description);
        validator.finish().map(|()| Role {
            name,
            description,
            updated_at: now,
            ..role
        })
    }
}

/// Writes a role as [`UpdateRole::apply`] made it from the one that [`find_for_update`] read.
///
/// # Errors
/// As the database fails.
pub async fn update(tx: &Tx, role: &Role) -> Result<()> {
    let payload = json!({ "code": role.code });
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &role.id,
        &role.name,
        &role.description,
        &role.updated_at,
    ];
    futures::try_join!(
        tx.execute(UPDATE, params),
        event::publish(tx, "role.updated", role.id, &payload)
    )
    .map(drop)
}

/// Deletes a role that nobody and nothing has (S12.8).
///
/// # Errors
/// As [`find_for_update`]; 409 with the counts of users and groups that have it and of roles that
/// inherit from it.
pub async fn delete(tx: &Tx, id: Uuid) -> Result<()> {
    let role = find_for_update(tx, id).await?;
    let payload = json!({ "code": role.code });
    let params: db::Params<'_> = &[&tx.tenant().0, &id];
    let (row, ()) = futures::try_join!(
        tx.query_one(DELETE, params),
        event::publish(tx, "role.deleted", id, &payload)
    )?;
    if row.get(0) {
        return Ok(());
    }
    let count = |column: usize| row.get::<_, i64>(column);
    Err(Error::new(
        Code::Conflict,
        "The role is in use; take it from those who have it first.",
    )
    .with_details(json!({ "users": count(1), "groups": count(2), "child_roles": count(3) })))
}

fn record(row: &Row) -> Role {
    Role {
        id: row.get("id"),
        code: row.get("code"),
        name: row.get("name"),
        description: row.get("description"),
        is_system: row.get("is_system"),
        permissions: row.get("permissions"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    }
}
