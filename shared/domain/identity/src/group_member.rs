//! Who is in a group (S3A.3).

use crate::access::{self, Granter, actor, own_access};
use crate::group;
use audit::event;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Error, Page, PageRequest, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

const MAX_AT_ONCE: usize = 100;

/// What members can be listed by.
pub static SORTS: &[Sort] = &[Sort {
    name: "added_at",
    column: "m.added_at",
    key: KeyType::Timestamp,
}];

const LIST: &str = "SELECT m.id, m.added_at, u.full_name, u.email, u.status
     FROM (SELECT gm.tenant_id, gm.group_id, gm.user_id AS id, gm.added_at FROM group_members gm) m
     JOIN users u ON u.tenant_id = m.tenant_id AND u.id = m.id";

const ADD: &str = "WITH added AS (
         INSERT INTO group_members (tenant_id, group_id, user_id, added_at)
         SELECT $1, $2, user_id, $4 FROM unnest($3::uuid[]) AS user_id
         ON CONFLICT DO NOTHING RETURNING user_id, added_at
     )
     SELECT u.id, coalesce(added.added_at, m.added_at) AS added_at, u.full_name, u.email, u.status
     FROM users u LEFT JOIN added ON added.user_id = u.id
     LEFT JOIN group_members m ON m.tenant_id = u.tenant_id AND m.group_id = $2 AND m.user_id = u.id
     WHERE u.tenant_id = $1 AND u.id = ANY ($3::uuid[]) ORDER BY u.id";

const LACKING: &str = "SELECT app.roles_lacking($1, $3, $4, ARRAY(
         SELECT gr.role_id FROM group_roles gr WHERE gr.tenant_id = $1 AND gr.group_id = $2))";

const REMOVE: &str = "DELETE FROM group_members WHERE tenant_id = $1 AND group_id = $2 AND user_id = $3";

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    pub user_id: Uuid,
    pub full_name: String,
    pub email: String,
    /// `invited`, `active`, `suspended` or `deactivated`.
    pub status: String,
    pub added_at: Timestamp,
}

/// The body that adds members.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMembers {
    /// Users of the company, 1 to 100.
    #[schemars(length(min = 1, max = 100))]
    pub user_ids: Vec<Uuid>,
}

/// Those who were named, each a member now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Members {
    pub data: Vec<Member>,
}

/// The query that names a member.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub struct MemberQuery {
    pub user_id: Uuid,
}

impl AddMembers {
    /// The users, each once.
    ///
    /// # Errors
    /// 422 when there are none or too many.
    pub fn parse(mut self) -> Result<Vec<Uuid>> {
        let mut validator = Validator::default();
        if self.user_ids.is_empty() {
            validator.reject("user_ids", "required", "Name the users to add.");
        }
        if self.user_ids.len() > MAX_AT_ONCE {
            validator.reject("user_ids", "too_many", "At most 100 users are added at once.");
        }
        self.user_ids.sort_unstable();
        self.user_ids.dedup();
        validator.finish().map(|()| self.user_ids)
    }
}

/// A page of a group's members, latest first unless asked otherwise.
///
/// # Errors
/// 404 when the company has no such group.
pub async fn list(tx: &Tx, group_id: Uuid, page: &PageRequest) -> Result<Page<Member>> {
    let mut sql = Sql::list(tx, LIST, "m");
    sql.filter("m.group_id = $", group_id);
    let listed = sql.fetch(
        tx,
        page,
        |row| Ok(record(row)),
        |member| (Key::Timestamp(member.added_at), member.user_id),
    );
    let (_, listed) = futures::try_join!(group::find(tx, group_id), listed)?;
    Ok(listed)
}

/// Adds users to a group, in order and each once; those who are members stay. They hold the group's
/// roles from their next request on.
///
/// # Errors
/// 404 when there is no such group or user; 403 when the group's roles grant what the caller does
/// not hold, or the caller is among the users: membership alone lets decide approvals that ask the
/// group, and brings its entitlements.
pub async fn add(tx: &Tx, group_id: Uuid, user_ids: &[Uuid]) -> Result<Members> {
    let ((user, key), now) = (actor(tx), tx.clock().now());
    let add: db::Params<'_> = &[&tx.tenant().0, &group_id, &user_ids, &now];
    let granted: db::Params<'_> = &[&tx.tenant().0, &group_id, &user, &key];
    let payload = json!({ "added": user_ids });
    let (rows, lacking, granter, ()) = futures::try_join!(
        tx.query(ADD, add),
        tx.query_one(LACKING, granted),
        Granter::of(tx),
        event::publish(tx, "group.members.changed", group_id, &payload)
    )?;
    access::refuse_lacking(tx, &lacking.get::<_, Vec<String>>(0))?;
    if granter.is_among(user_ids) {
        return Err(own_access());
    }
    Ok(Members {
        data: rows.iter().map(record).collect(),
    })
}

/// Takes a user out of a group.
///
/// # Errors
/// 404 when there is no such group, or the user is not in it.
pub async fn remove(tx: &Tx, group_id: Uuid, user_id: Uuid) -> Result<()> {
    let payload = json!({ "removed": [user_id] });
    let params: db::Params<'_> = &[&tx.tenant().0, &group_id, &user_id];
    let (removed, ()) = futures::try_join!(
        tx.execute(REMOVE, params),
        event::publish(tx, "group.members.changed", group_id, &payload)
    )?;
    if removed == 0 {
        return Err(Error::not_found());
    }
    Ok(())
}

fn record(row: &Row) -> Member {
    Member {
        user_id: row.get("id"),
        full_name: row.get("full_name"),
        email: row.get("email"),
        status: row.get("status"),
        added_at: row.get("added_at"),
    }
}
