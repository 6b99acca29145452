//! Giving roles to users and taking them (S1.4, S12.4).

use crate::access::{self, Granter, Named, SUPER_ADMIN_ID, actor, own_access};
use audit::event;
use db::{Row, Tx};
use kernel::{Code, Error, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

const MAX_AT_ONCE: usize = 50;

const RESOLVE: &str = "SELECT r.id, r.code, r.name FROM roles r
     WHERE (r.tenant_id = $1 OR r.tenant_id IS NULL) AND (r.id = ANY ($2) OR r.code = ANY ($3)) ORDER BY r.code";
const LACKING: &str = "SELECT app.roles_lacking($1, $4, $5, ARRAY(SELECT r.id FROM roles r
     WHERE (r.tenant_id = $1 OR r.tenant_id IS NULL) AND (r.id = ANY ($2) OR r.code = ANY ($3))))";
const LOCK: &str = "SELECT FROM users WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE";
const OTHER_SUPER_ADMINS: &str = "SELECT FROM app.super_admins($1) other WHERE other.user_id <> $2 LIMIT 1";
const CHANGE: &str = "WITH gone AS (
         DELETE FROM user_roles ur WHERE ur.tenant_id = $1 AND ur.user_id = $2 AND ur.role_id = ANY ($3::uuid[])
     ), added AS (
         INSERT INTO user_roles (tenant_id, user_id, role_id, created_at)
         SELECT $1, $2, role_id, $5 FROM unnest($4::uuid[]) AS role_id ON CONFLICT DO NOTHING RETURNING role_id
     )
     SELECT r.id, r.code, r.name FROM roles r
     WHERE (r.tenant_id = $1 OR r.tenant_id IS NULL) AND r.id IN (
         SELECT ur.role_id FROM user_roles ur
         WHERE ur.tenant_id = $1 AND ur.user_id = $2 AND ur.role_id <> ALL ($3::uuid[])
         UNION SELECT role_id FROM added)
     ORDER BY r.code";

/// The body that gives and takes roles.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRoles {
    /// Ids or codes of roles to give; at most 50.
    #[serde(default)]
    pub assign: Vec<String>,
    /// Ids or codes of roles to take; at most 50.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// Roles by id or by code, as a body names them.
#[derive(Clone, Debug, Default)]
pub struct RoleRefs {
    ids: Vec<Uuid>,
    codes: Vec<String>,
}

impl RoleRefs {
    /// Reads ids and codes. Whether there are such roles, the database says.
    pub fn parse(validator: &mut Validator, path: &str, named: &[String]) -> Self {
        if named.len() > MAX_AT_ONCE {
            validator.reject(path, "too_many", "Name at most 50 roles at once.");
            return Self::default();
        }
        let mut refs = Self::default();
        for name in named {
            match name.parse() {
                Ok(id) => refs.ids.push(id),
                Err(_) => refs.codes.push(kernel::text::without_nul(name.clone())),
            }
        }
        refs
    }

    fn all_in(&self, roles: &[Named]) -> bool {
        self.ids.iter().all(|id| roles.iter().any(|role| role.id == *id))
            && self
                .codes
                .iter()
                .all(|code| roles.iter().any(|role| role.code == *code))
    }
}

/// A checked change of a user's roles.
#[derive(Clone, Debug)]
pub struct Change {
    assign: RoleRefs,
    remove: RoleRefs,
}

/// The roles that a user was given, groups' apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserRoles {
    pub user_id: Uuid,
    pub roles: Vec<Named>,
}

impl ChangeRoles {
    /// # Errors
    /// 422 for more than 50 roles, or none at all.
    pub fn parse(&self) -> Result<Change> {
        let mut validator = Validator::default();
        if self.assign.is_empty() && self.remove.is_empty() {
            validator.reject("", "required", "Name roles to assign or to remove.");
        }
        let change = Change {
            assign: RoleRefs::parse(&mut validator, "assign", &self.assign),
            remove: RoleRefs::parse(&mut validator, "remove", &self.remove),
        };
        validator.finish().map(|()| change)
    }
}

fn check(tx: &Tx, granter: &Granter, given: &[Named], lacking: &[String]) -> Result<()> {
    if given.iter().any(|role| role.id == SUPER_ADMIN_ID) {
        granter.must_be_super_admin()?;
    }
    access::refuse_lacking(tx, lacking)
}

async fn resolve(tx: &Tx, refs: &RoleRefs) -> Result<Vec<Named>> {
    let params: db::Params<'_> = &[&tx.tenant().0, &refs.ids, &refs.codes];
    let roles: Vec<Named> = tx.query(RESOLVE, params).await?.iter().map(named).collect();
    if refs.all_in(&roles) {
        Ok(roles)
    } else {
        Err(Error::not_found())
    }
}

async fn lacking(tx: &Tx, refs: &RoleRefs) -> Result<Vec<String>> {
    let (user, key) = actor(tx);
    let params: db::Params<'_> = &[&tx.tenant().0, &refs.ids, &refs.codes, &user, &key];
    tx.query_one(LACKING, params).await.map(|row| row.get(0))
}

/// Gives and takes roles. It counts at the user's next request.
///
/// # Errors
/// 404 when there is no such user or role; 403 for the caller's own roles, for
/// `super_admin` unless the caller is one, and for roles that grant what the caller does not hold; 409
/// when nobody would be left as super admin; 422 for a role that is both given and taken.
pub async fn change(tx: &Tx, user_id: Uuid, change: &Change) -> Result<UserRoles> {
    let user: db::Params<'_> = &[&tx.tenant().0, &user_id];
    let (user, given, lacking, taken, granter) = futures::try_join!(
        tx.query_opt(LOCK, user),
        resolve(tx, &change.assign),
        lacking(tx, &change.assign),
        resolve(tx, &change.remove),
        Granter::of(tx)
    )?;
    user.ok_or_else(Error::not_found)?;
    let taken: Vec<Uuid> = taken.iter().map(|role| role.id).collect();
    if granter.is(user_id) {
        return Err(own_roles(tx, user_id, &taken).await?);
    }
    if taken.contains(&SUPER_ADMIN_ID) {
        granter.must_be_super_admin()?;
    }
    check(tx, &granter, &given, &lacking)?;
    let given: Vec<Uuid> = given.iter().map(|role| role.id).collect();
    if given.iter().any(|id| taken.contains(id)) {
        return Err(Error::field(
            "remove",
            "contradiction",
            "A role is in `assign` and in `remove`.",
        ));
    }
    let now = tx.clock().now();
    let params: db::Params<'_> = &[&tx.tenant().0, &user_id, &taken, &given, &now];
    let payload = json!({ "assigned": given, "removed": taken });
    let (rows, ()) = futures::try_join!(
        tx.query(CHANGE, params),
        event::publish(tx, "user.role.changed", user_id, &payload)
    )?;
    Ok(UserRoles {
        user_id,
        roles: rows.iter().map(named).collect(),
    })
}

/// Why somebody's own roles stay as they are: the last super admin hears that they are the last.
async fn own_roles(tx: &Tx, user_id: Uuid, taken: &[Uuid]) -> Result<Error> {
    if taken.contains(&SUPER_ADMIN_ID) {
        let params: db::Params<'_> = &[&tx.tenant().0, &user_id];
        if tx.query_opt(OTHER_SUPER_ADMINS, params).await?.is_none() {
            return Ok(Error::new(
                Code::Conflict,
                "A company keeps at least one active super admin; make another one first.",
            ));
        }
    }
    Ok(own_access())
}

fn named(row: &Row) -> Named {
    Named {
        id: row.get(0),
        code: row.get(1),
        name: row.get(2),
    }
}
