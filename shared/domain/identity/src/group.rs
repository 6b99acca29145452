//! Groups of users; every member of an active group holds the group's roles (S3A.3).

use crate::access::{self, SUPER_ADMIN_ID, actor, own_access};
use crate::code::{self, Named};
use audit::event;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Code, Error, Page, PageRequest, Patch, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

const MAX_ROLES: usize = 50;

/// What groups can be listed by.
pub static SORTS: &[Sort] = &[
    Sort {
        name: "created_at",
        column: "g.created_at",
        key: KeyType::Timestamp,
    },
    Sort {
        name: "name",
        column: "g.name",
        key: KeyType::Text,
    },
];

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT g.id, g.code, g.name, g.description, g.kind, g.is_active, g.created_at, g.updated_at,
                    ARRAY(SELECT gr.role_id FROM group_roles gr
                          WHERE gr.tenant_id = g.tenant_id AND gr.group_id = g.id ORDER BY 1) AS role_ids
             FROM groups g",
            $rest
        )
    };
}
const LIST: &str = select!("");
const FIND: &str = select!(" WHERE g.tenant_id = $1 AND g.id = $2");
const LOCK: &str = select!(" WHERE g.tenant_id = $1 AND g.id = $2 FOR UPDATE OF g");

const INSERT: &str = "WITH made AS (
         INSERT INTO groups (tenant_id, id, code, name, description, kind, is_active, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (tenant_id, code) DO NOTHING RETURNING id
     ), given AS (
         INSERT INTO group_roles (tenant_id, group_id, role_id, created_at)
         SELECT $1, made.id, role_id, $8 FROM made, unnest($9::uuid[]) AS role_id
     )
     SELECT EXISTS (SELECT FROM made), app.roles_lacking($1, $10, $11, $9)";

const HOLDER_OF_CODE: &str = "SELECT id FROM groups WHERE tenant_id = $1 AND code = $2";

const UPDATE: &str = "UPDATE groups SET name = $3, description = $4, is_active = $5, updated_at = $6
     WHERE tenant_id = $1 AND id = $2";

// What members gain: roles that are new, and all of them when the group comes to life again ($5).
const SET_ROLES: &str = "WITH gone AS (
         DELETE FROM group_roles gr WHERE gr.tenant_id = $1 AND gr.group_id = $2 AND gr.role_id <> ALL ($3::uuid[])
     ), added AS (
         INSERT INTO group_roles (tenant_id, group_id, role_id, created_at)
         SELECT $1, $2, role_id, $4 FROM unnest($3::uuid[]) AS role_id ON CONFLICT DO NOTHING RETURNING role_id
     ), kept AS (
         SELECT gr.role_id FROM group_roles gr
         WHERE gr.tenant_id = $1 AND gr.group_id = $2 AND ($3::uuid[] IS NULL OR gr.role_id = ANY ($3::uuid[]))
     ), gained AS (
         SELECT role_id FROM added UNION SELECT role_id FROM kept WHERE $5
     )
     SELECT EXISTS (SELECT FROM gained), app.roles_lacking($1, $6, $7, ARRAY(SELECT role_id FROM gained)),
            EXISTS (SELECT FROM group_members m WHERE m.tenant_id = $1 AND m.group_id = $2 AND m.user_id = app.person_behind($1, $6, $7)),
            ARRAY(SELECT role_id FROM added UNION SELECT role_id FROM kept ORDER BY 1)";

const DELETE: &str = "WITH used AS (
         SELECT count(*) AS members FROM group_members m WHERE m.tenant_id = $1 AND m.group_id = $2
     ), loose AS (
         DELETE FROM group_roles gr USING used WHERE gr.tenant_id = $1 AND gr.group_id = $2 AND used.members = 0
     ), gone AS (
         DELETE FROM groups g USING used WHERE g.tenant_id = $1 AND g.id = $2 AND used.members = 0 RETURNING g.id
     )
     SELECT EXISTS (SELECT FROM gone), used.members FROM used";

/// What a group is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// People who work together.
    #[default]
    Team,
    /// A business of the company, which messaging channels can belong to.
    Business,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Business => "business",
        }
    }
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    pub id: Uuid,
    pub code: String,
    pub name: String,
    pub description: String,
    pub kind: Kind,
    /// The roles of an inactive group count for nobody.
    pub is_active: bool,
    /// The roles that every member holds.
    pub role_ids: Vec<Uuid>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The body that makes a group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGroup {
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What the group is known by; made of the name when absent. It can't be changed later.
    #[schemars(length(max = 50), regex(pattern = "^[a-z][a-z0-9_.-]*$"))]
    pub code: Option<String>,
    #[schemars(length(max = 500))]
    pub description: Option<String>,
    #[serde(default)]
    pub kind: Kind,
    /// True unless said otherwise.
    pub is_active: Option<bool>,
    /// The roles that every member holds; at most 50.
    #[serde(default)]
    pub role_ids: Vec<Uuid>,
}

/// The body that changes a group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateGroup {
    #[schemars(length(min = 1, max = 100))]
    pub name: Option<String>,
    #[serde(default)]
    pub description: Patch<String>,
    pub is_active: Option<bool>,
    /// Replaces the roles that every member holds.
    pub role_ids: Option<Vec<Uuid>>,
}

/// The filters of the list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct GroupFilter {
    /// A part of the name or the code.
    pub search: Option<String>,
    pub kind: Option<Kind>,
    pub is_active: Option<bool>,
}

/// A checked group that is not stored yet.
#[derive(Clone, Debug)]
pub struct NewGroup {
    named: Named,
    kind: Kind,
    is_active: bool,
    role_ids: Vec<Uuid>,
}

impl NewGroup {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn parse(body: &CreateGroup) -> Result<Self> {
        let mut validator = Validator::default();
        let named = Named::parse(
            &mut validator,
            body.code.as_deref(),
            &body.name,
            body.description.as_deref(),
        );
        let role_ids = parse_roles(&mut validator, &body.role_ids);
        validator.finish().map(|()| Self {
            named,
            kind: body.kind,
            is_active: body.is_active.unwrap_or(true),
            role_ids,
        })
    }
}

fn parse_roles(validator: &mut Validator, role_ids: &[Uuid]) -> Vec<Uuid> {
    if role_ids.len() > MAX_ROLES {
        validator.reject("role_ids", "too_many", "A group gives at most 50 roles.");
    }
    if let Some(at) = role_ids.iter().position(|id| *id == SUPER_ADMIN_ID) {
        let message = "super_admin is given to people, not to groups.";
        validator.reject(format!("role_ids[{at}]"), "not_allowed", message);
    }
    let mut role_ids = role_ids.to_vec();
    role_ids.sort_unstable();
    role_ids.dedup();
    role_ids
}

/// Makes a group.
///
/// # Errors
/// 409 `DUPLICATE` with `details.id` when a group has this code; 404 for a role that is not there;
/// 403 for roles that grant what the caller does not hold.
pub async fn insert(tx: &Tx, new: &NewGroup) -> Result<Group> {
    let (id, now, (user, key)) = (tx.clock().id(), tx.clock().now(), actor(tx));
    let Named {
        code,
        name,
        description,
    } = &new.named;
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &id,
        code,
        name,
        description,
        &new.kind.as_str(),
        &new.is_active,
        &now,
        &new.role_ids,
        &user,
        &key,
    ];
    let created = json!({ "code": code, "role_ids": new.role_ids });
    let (row, ()) = futures::try_join!(
        tx.query_one(INSERT, params),
        event::publish(tx, "group.created", id, &created)
    )?;
    access::refuse_lacking(tx, &row.get::<_, Vec<String>>(1))?;
    if !row.get::<_, bool>(0) {
        let holder = tx.query_opt(HOLDER_OF_CODE, &[&tx.tenant().0, code]).await?;
        return Err(Error::new(Code::Duplicate, "Another group has this code.")
            .with_details(json!({ "id": holder.map(|row| row.get::<_, Uuid>(0)) })));
    }
    Ok(Group {
        id,
        code: code.clone(),
        name: name.clone(),
        description: description.clone(),
        kind: new.kind,
        is_active: new.is_active,
        role_ids: new.role_ids.clone(),
        created_at: now,
        updated_at: now,
    })
}

/// # Errors
/// 404 when the company has no such group.
pub async fn find(tx: &Tx, id: Uuid) -> Result<Group> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &id]).await?;
    row.as_ref().map(record).ok_or_else(Error::not_found)
}

/// As [`find`], and holds the group until the transaction ends.
///
/// # Errors
/// As [`find`].
pub async fn find_for_update(tx: &Tx, id: Uuid) -> Result<Group> {
    let row = tx.query_opt(LOCK, &[&tx.tenant().0, &id]).await?;
    row.as_ref().map(record).ok_or_else(Error::not_found)
}

/// A page of the company's groups, newest first unless asked otherwise.
///
/// # Errors
/// As the database fails.
pub async fn list(tx: &Tx, filter: &GroupFilter, page: &PageRequest) -> Result<Page<Group>> {
    let mut sql = Sql::list(tx, LIST, "g");
    sql.filter_opt("g.is_active = $", filter.is_active);
    sql.filter_opt("g.kind = $", filter.kind.map(Kind::as_str));
    sql.filter_opt(
        "(strpos(lower(g.name), lower($)) > 0 OR strpos(g.code, lower($)) > 0)",
        filter.search.as_deref().map(str::trim).map(str::to_owned),
    );
    let by_name = page.sort.key == KeyType::Text;
    sql.fetch(
        tx,
        page,
        |row| Ok(record(row)),
        |group| {
            let key = if by_name {
                Key::Text(group.name.clone())
            } else {
                Key::Timestamp(group.created_at)
            };
            (key, group.id)
        },
    )
    .await
}

/// Changes the group that [`find_for_update`] read. Roles given, and all roles of a group that
/// comes to life again, count at the next request of every member.
///
/// # Errors
/// 422 with every field that is wrong; 404 for a role that is not there; 403 when members would gain
/// what the caller does not hold, or the caller, a member, anything, as by a group that is in use again:
/// approvals ask its members.
pub async fn update(tx: &Tx, current: Group, body: UpdateGroup) -> Result<Group> {
    let reactivated = !current.is_active && body.is_active == Some(true);
    let (group, wanted) = apply(current, body, tx.clock().now())?;
    let (tenant, (user, key)) = (tx.tenant().0, actor(tx));
    let columns: db::Params<'_> = &[
        &tenant,
        &group.id,
        &group.name,
        &group.description,
        &group.is_active,
        &group.updated_at,
    ];
    let roles: db::Params<'_> = &[
        &tenant,
        &group.id,
        &wanted,
        &group.updated_at,
        &reactivated,
        &user,
        &key,
    ];
    let payload = json!({ "code": group.code, "is_active": group.is_active, "role_ids": wanted });
    let (_, row, ()) = futures::try_join!(
        tx.execute(UPDATE, columns),
        tx.query_one(SET_ROLES, roles),
        event::publish(tx, "group.updated", group.id, &payload)
    )?;
    access::refuse_lacking(tx, &row.get::<_, Vec<String>>(1))?;
    let (gained, caller_is_member): (bool, bool) = (row.get(0), row.get(2));
    if (gained || reactivated) && caller_is_member {
        return Err(own_access());
    }
    Ok(Group {
        role_ids: row.get(3),
        ..group
    })
}

/// The group as it becomes, and the roles it is to have when they were given.
fn apply(group: Group, body: UpdateGroup, now: Timestamp) -> Result<(Group, Option<Vec<Uuid>>)> {
    let mut validator = Validator::default();
    let name = match body.name {
        Some(name) => validator.text("name", &name, 100),
        None => group.name.clone(),
    };
    let description = code::patched_description(&mut validator, &body.description, &group.description);
    let wanted = body
        .role_ids
        .map(|role_ids| parse_roles(&mut validator, &role_ids));
    validator.finish()?;
    let group = Group {
        name,
        description,
        is_active: body.is_active.unwrap_or(group.is_active),
        updated_at: now,
        ..group
    };
    Ok((group, wanted))
}

/// Deletes a group that has no members (S12.8), as [`find_for_update`] read it.
///
/// # Errors
/// 409 with the count of its members.
pub async fn delete(tx: &Tx, group: &Group) -> Result<()> {
    let payload = json!({ "code": group.code });
    let params: db::Params<'_> = &[&tx.tenant().0, &group.id];
    let (row, ()) = futures::try_join!(
        tx.query_one(DELETE, params),
        event::publish(tx, "group.deleted", group.id, &payload)
    )?;
    if row.get(0) {
        return Ok(());
    }
    Err(
        Error::new(Code::Conflict, "The group has members; remove them first.")
            .with_details(json!({ "members": row.get::<_, i64>(1) })),
    )
}

fn record(row: &Row) -> Group {
    Group {
        id: row.get("id"),
        code: row.get("code"),
        name: row.get("name"),
        description: row.get("description"),
        kind: match row.get("kind") {
            "business" => Kind::Business,
            _ => Kind::Team,
        },
        is_active: row.get("is_active"),
        role_ids: row.get("role_ids"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    }
}
