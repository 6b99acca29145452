//! Seats (S12.4). Somebody active takes one, and somebody invited while the invitation can be accepted,
//! unless `read_only` is all they hold, directly or through active groups; suspended and deactivated
//! people take none.
//!
//! Triggers on users, invitations, roles and groups give and take seats, when a transaction commits, so
//! that 422 `LIMIT_REACHED` with key `users.max` is what COMMIT answers when there is none left. Whoever
//! takes the last one also writes `tenant.seat.limit_reached`, as an event and an audit line. What time
//! does no trigger sees: an invitation that ran out counts as without a seat from that moment, and its
//! row goes when somebody takes a seat, or with [`release_expired`].

use db::{Row, Tx};
use kernel::{Limit, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How the company's seats are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seats {
    /// Active and invited people with a seat.
    pub used: i64,
    /// Null when unlimited.
    pub allowed: Option<i64>,
    /// Null when unlimited.
    pub available: Option<i64>,
    /// Of those used, by people who are active.
    pub active: i64,
    /// Of those used, by people who were invited and have not answered.
    pub pending_invites: i64,
    /// Active and invited people without a seat: they only look, or their invitation ran out.
    pub without_seat: i64,
    /// Seats by role, given directly or by active groups; who has several counts in each.
    pub by_role: Vec<SeatsOf>,
    /// Seats by group; who is in several counts in each.
    pub by_group: Vec<SeatsOf>,
}

/// The seats of a role's holders or a group's members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatsOf {
    pub id: Uuid,
    pub code: String,
    pub name: String,
    pub used: i64,
}

const USED: &str = "SELECT count(*) FILTER (WHERE s.user_id IS NOT NULL AND u.status = 'active') AS active,
            count(*) FILTER (WHERE s.user_id IS NOT NULL AND u.status = 'invited') AS invited,
            count(*) FILTER (WHERE s.user_id IS NULL) AS without_seat,
            app.limit_of($1, NULL, $2, $3) AS allowed
     FROM users u LEFT JOIN seats s ON s.tenant_id = u.tenant_id AND s.user_id = u.id
       AND s.user_id NOT IN (SELECT l.user_id FROM app.late_seats($1) l)
     WHERE u.tenant_id = $1 AND u.status IN ('active', 'invited')";

// Who has a role twice counts once.
const BY_ROLE: &str = "SELECT r.id, r.code, r.name, count(*) AS used
     FROM seats s JOIN (
         SELECT ur.user_id, ur.role_id FROM user_roles ur WHERE ur.tenant_id = $1
         UNION
         SELECT m.user_id, gr.role_id FROM group_members m
         JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id AND g.is_active
         JOIN group_roles gr ON gr.tenant_id = g.tenant_id AND gr.group_id = g.id
         WHERE m.tenant_id = $1
     ) held ON held.user_id = s.user_id
     JOIN roles r ON r.id = held.role_id
     WHERE s.tenant_id = $1 AND s.user_id NOT IN (SELECT l.user_id FROM app.late_seats($1) l)
     GROUP BY r.id, r.code, r.name ORDER BY count(*) DESC, r.code, r.id LIMIT 500";

const BY_GROUP: &str = "SELECT g.id, g.code, g.name, count(*) AS used
     FROM seats s JOIN group_members m ON m.tenant_id = s.tenant_id AND m.user_id = s.user_id
     JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
     WHERE s.tenant_id = $1 AND s.user_id NOT IN (SELECT l.user_id FROM app.late_seats($1) l)
     GROUP BY g.id, g.code, g.name ORDER BY count(*) DESC, g.code, g.id LIMIT 500";

const RELEASE: &str = "SELECT app.release_late_seats($1)";

/// Frees the company's seats whose invitation can't be accepted any more, and says so in the audit log.
/// Returns how many.
///
/// # Errors
/// As the database fails.
pub async fn release_expired(tx: &Tx) -> Result<i64> {
    let row = tx.query_one(RELEASE, &[&tx.tenant().0]).await?;
    Ok(row.get(0))
}

/// How the seats are used now.
///
/// # Errors
/// As the database fails.
pub async fn overview(tx: &Tx) -> Result<Seats> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let users_max = Limit::UsersMax.code();
    let params: [&(dyn db::ToSql + Sync); 3] = [&tenant, &users_max, &now];
    let only: [&(dyn db::ToSql + Sync); 1] = [&tenant];
    let (counted, by_role, by_group) = futures::try_join!(
        tx.query_one(USED, &params),
        tx.query(BY_ROLE, &only),
        tx.query(BY_GROUP, &only)
    )?;
    let (active, pending_invites): (i64, i64) = (counted.get("active"), counted.get("invited"));
    let (used, allowed): (i64, Option<i64>) = (active + pending_invites, counted.get("allowed"));
    Ok(Seats {
        used,
        allowed,
        available: allowed.map(|allowed| (allowed - used).max(0)),
        active,
        pending_invites,
        without_seat: counted.get("without_seat"),
        by_role: by_role.iter().map(part).collect(),
        by_group: by_group.iter().map(part).collect(),
    })
}

fn part(row: &Row) -> SeatsOf {
    SeatsOf {
        id: row.get("id"),
        code: row.get("code"),
        name: row.get("name"),
        used: row.get("used"),
    }
}
