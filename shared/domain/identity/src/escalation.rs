//! Handing out rights: nobody gives what they do not hold (S12.8).

use crate::access::{self, Granter, SUPER_ADMIN_ID};
use db::Tx;
use kernel::{Code, Error, Permission, Result};
use serde_json::json;
use uuid::Uuid;

/// How many roles or groups one request hands out.
const MAX_GRANTS: usize = 20;

/// Roles and groups by what a body names them with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    pub role_ids: Vec<Uuid>,
    /// Codes: `staff`, …
    pub roles: Vec<String>,
    pub group_ids: Vec<Uuid>,
}

/// Grants that the caller may give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    pub role_ids: Vec<Uuid>,
    pub group_ids: Vec<Uuid>,
}

/// A system role wins over a company's own of the same code. What a role inherits and what a group
/// gives is handed out with it.
const CHECK: &str = "WITH named AS (
        SELECT r.id FROM roles r WHERE (r.tenant_id = $1 OR r.tenant_id IS NULL) AND r.id = ANY ($2)
        UNION
        SELECT found.id FROM unnest($3::text[]) AS wanted (code) CROSS JOIN LATERAL (
            SELECT r.id FROM roles r WHERE (r.tenant_id = $1 OR r.tenant_id IS NULL) AND r.code = wanted.code
            ORDER BY r.tenant_id NULLS FIRST LIMIT 1) found
    ), given AS (
        SELECT id FROM named
        UNION SELECT gr.role_id FROM group_roles gr WHERE gr.tenant_id = $1 AND gr.group_id = ANY ($4)
    )
    SELECT ARRAY(SELECT id FROM named) AS role_ids,
           (SELECT count(*) FROM roles r WHERE (r.tenant_id = $1 OR r.tenant_id IS NULL) AND r.id = ANY ($2)) AS by_id,
           (SELECT count(DISTINCT r.code) FROM roles r WHERE (r.tenant_id = $1 OR r.tenant_id IS NULL) AND r.code = ANY ($3)) AS by_code,
           (SELECT count(*) FROM groups g WHERE g.tenant_id = $1 AND g.id = ANY ($4)) AS groups,
           app.roles_lacking($1, $5, $6, ARRAY(SELECT id FROM given)) AS lacking,
           app.permissions_lacking($1, $5, $6, $7) AS needed";

/// Finds the roles and groups, and refuses to hand out what the caller does not effectively hold:
/// every permission of the roles, of those they inherit from, and of those the groups give. The role
/// `super_admin` is handed out by super admins only. `also` is what the caller needs besides. An API
/// key holds its scopes; our own functions act for who runs the system and hold everything.
///
/// # Errors
/// 404 for a role or group that the company does not have, 403 with the permissions that are
/// missing, 422 for too many.
pub async fn may_hand_out(tx: &Tx, grants: &Grants, also: &[Permission]) -> Result<Granted> {
    let role_ids = unique(&grants.role_ids);
    let codes = unique(&grants.roles);
    let group_ids = unique(&grants.group_ids);
    for (path, count) in [
        ("role_ids", role_ids.len() + codes.len()),
        ("group_ids", group_ids.len()),
    ] {
        if count > MAX_GRANTS {
            return Err(Error::field(path, "too_many", "At most 20 at a time."));
        }
    }
    let also: Vec<&str> = also.iter().map(|permission| permission.code()).collect();
    let (user, key) = access::actor(tx);
    let params: db::Params<'_> = &[&tx.tenant().0, &role_ids, &codes, &group_ids, &user, &key, &also];
    let (row, granter) = futures::try_join!(tx.query_one(CHECK, params), Granter::of(tx))?;
    let found =
        |column: &str, wanted: usize| row.get::<_, i64>(column) == i64::try_from(wanted).unwrap_or(i64::MAX);
    if !found("by_id", role_ids.len()) || !found("by_code", codes.len()) || !found("groups", group_ids.len())
    {
        return Err(Error::not_found());
    }
    let given: Vec<Uuid> = row.get("role_ids");
    if given.contains(&SUPER_ADMIN_ID) {
        granter.must_be_super_admin()?;
    }
    if let Some(needed) = row.get::<_, Vec<String>>("needed").first()
        && !granter.is_system()
    {
        let message = "You do not have the permission that this needs.";
        return Err(Error::new(Code::Forbidden, message).with_details(json!({ "permission": needed })));
    }
    access::refuse_lacking(tx, &row.get::<_, Vec<String>>("lacking"))?;
    Ok(Granted {
        role_ids: given,
        group_ids,
    })
}

fn unique<T: Ord + Clone>(values: &[T]) -> Vec<T> {
    let mut values = values.to_vec();
    values.sort();
    values.dedup();
    values
}
