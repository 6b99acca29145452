//! The role tree: a child role holds what its parents hold (S3A.2).

use crate::access::{self, Granter, SUPER_ADMIN, actor};
use crate::role;
use audit::event;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Code, Error, Page, PageRequest, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// What edges can be listed by.
pub static SORTS: &[Sort] = &[Sort {
    name: "created_at",
    column: "e.created_at",
    key: KeyType::Timestamp,
}];

// A page continues after an id, and an edge is named by two.
const LIST: &str = "SELECT e.*, parent.code AS parent_code, child.code AS child_code
     FROM (SELECT h.*, md5(concat(h.parent_role_id, h.child_role_id))::uuid AS id FROM role_hierarchy h) e
     JOIN roles parent ON parent.id = e.parent_role_id JOIN roles child ON child.id = e.child_role_id";
const ADD: &str = "SELECT app.add_role_edge($1, $2, $3)";
const LACKING: &str = "SELECT app.roles_lacking($1, $2, $3, ARRAY[$4::uuid])";
const REMOVE: &str =
    "DELETE FROM role_hierarchy WHERE tenant_id = $1 AND parent_role_id = $2 AND child_role_id = $3";

/// Two roles, of which the child inherits from the parent: a body, or a query.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeEnds {
    pub parent_role_id: Uuid,
    pub child_role_id: Uuid,
}

/// An edge of the role tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    pub parent_role_id: Uuid,
    pub parent_code: String,
    /// The role that inherits.
    pub child_role_id: Uuid,
    pub child_code: String,
    pub created_at: Timestamp,
}

/// A page of the company's edges, newest first unless asked otherwise.
///
/// # Errors
/// As the database fails.
pub async fn list(tx: &Tx, page: &PageRequest) -> Result<Page<Edge>> {
    let listed = Sql::list(tx, LIST, "e")
        .fetch(
            tx,
            page,
            |row| Ok((row.get::<_, Uuid>("id"), record(row))),
            |(id, edge)| (Key::Timestamp(edge.created_at), *id),
        )
        .await?;
    Ok(Page {
        data: listed.data.into_iter().map(|(_, edge)| edge).collect(),
        next_cursor: listed.next_cursor,
    })
}

/// Lets a role of the company inherit from another role.
///
/// # Errors
/// 404 when there is no such role; 409 for a child of the system's, a parent `super_admin`, an edge
/// that is there (`DUPLICATE`) or one that would close a cycle; 403 when the parent grants what the
/// caller does not hold, or the caller holds the child; 422 `LIMIT_REACHED` for a 501st edge.
pub async fn add(tx: &Tx, ends: EdgeEnds) -> Result<Edge> {
    let EdgeEnds {
        parent_role_id,
        child_role_id,
    } = ends;
    let ((user, key), now) = (actor(tx), tx.clock().now());
    let lacking: db::Params<'_> = &[&tx.tenant().0, &user, &key, &parent_role_id];
    let (parent, child, granter, lacking) = futures::try_join!(
        role::find(tx, parent_role_id),
        role::find(tx, child_role_id),
        Granter::of(tx),
        tx.query_one(LACKING, lacking)
    )?;
    if child.is_system {
        return Err(Error::new(
            Code::Conflict,
            "The system's roles can't be changed, so none of them inherits; make a role of your own.",
        ));
    }
    if parent.is_system && parent.code == SUPER_ADMIN {
        return Err(Error::new(
            Code::Conflict,
            "Nothing inherits from super_admin; it is given to people.",
        ));
    }
    access::refuse_lacking(tx, &lacking.get::<_, Vec<String>>(0))?;
    granter.must_not_hold(child_role_id)?;
    let payload = json!({ "parent_role_id": parent_role_id, "added": true });
    let edge: db::Params<'_> = &[&parent_role_id, &child_role_id, &now];
    let (row, ()) = futures::try_join!(
        tx.query_one(ADD, edge),
        event::publish(tx, "role.hierarchy.changed", child_role_id, &payload)
    )?;
    if !row.get::<_, bool>(0) {
        return Err(Error::new(
            Code::Duplicate,
            "The child inherits from this parent already.",
        ));
    }
    Ok(Edge {
        parent_role_id,
        parent_code: parent.code,
        child_role_id,
        child_code: child.code,
        created_at: now,
    })
}

/// Ends an inheritance.
///
/// # Errors
/// 404 when there is no such edge.
pub async fn remove(tx: &Tx, ends: EdgeEnds) -> Result<()> {
    let params: db::Params<'_> = &[&tx.tenant().0, &ends.parent_role_id, &ends.child_role_id];
    let payload = json!({ "parent_role_id": ends.parent_role_id, "added": false });
    let (removed, ()) = futures::try_join!(
        tx.execute(REMOVE, params),
        event::publish(tx, "role.hierarchy.changed", ends.child_role_id, &payload)
    )?;
    if removed == 0 {
        return Err(Error::not_found());
    }
    Ok(())
}

fn record(row: &Row) -> Edge {
    Edge {
        parent_role_id: row.get("parent_role_id"),
        parent_code: row.get("parent_code"),
        child_role_id: row.get("child_role_id"),
        child_code: row.get("child_code"),
        created_at: row.get("created_at"),
    }
}
