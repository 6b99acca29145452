//! A company is closed, kept for 30 days in case that was a mistake, and then deleted with all it has
//! (S18.2). Closed, nobody gets in, as if it were suspended; activating it opens it again. Deleting goes
//! in batches, over several runs of the scheduler where there is much, and can't be undone.

use crate::admins;
use crate::company::{Company, CompanyStatus};
use audit::event;
use db::{Db, Row, Tx};
use jiff::Timestamp;
use kernel::{Error, Result, TenantId};
use notifications::notice::Notice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

const FIND: &str = "SELECT status, closed_at, delete_after, deleted_at FROM app.deletion_of($1)";
const CLOSE: &str = "UPDATE tenants SET status = 'closed', updated_at = $2 WHERE id = $1";
/// The database refuses it before the time, by its own clock.
const BEGIN: &str =
    "UPDATE tenants SET status = 'deleting', updated_at = $2 WHERE id = $1 AND closed_at IS NOT NULL";
const DELETE_ROWS: &str = "SELECT app.delete_tenant($1)";

/// How far the deletion of a company is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeletionStatus {
    /// It waits, and the company can be opened again.
    Closed,
    /// It has begun, and can't be undone.
    Deleting,
    /// Nothing of the company is left.
    Deleted,
}

/// When a company's data is deleted, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompanyDeletion {
    pub id: Uuid,
    pub status: DeletionStatus,
    pub closed_at: Timestamp,
    /// Until then the company can be opened again.
    pub delete_after: Timestamp,
    /// Since when nothing of it is left.
    pub deleted_at: Option<Timestamp>,
}

/// What closes a company.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct CloseCompany {
    /// The company's slug, typed once more: its data will be deleted.
    #[schemars(length(min = 1, max = 100))]
    pub confirm: String,
}

/// Closes the company that the transaction entered and `company` was read from, and tells its admins, by mail
/// whatever they prefer: nobody sees their inbox any more. One that is closed stays as it is.
///
/// # Errors
/// 422 when `confirm` is not its slug.
pub async fn close(tx: &Tx, company: &Company, body: &CloseCompany) -> Result<CompanyDeletion> {
    if body.confirm.trim() != company.slug {
        return Err(Error::field(
            "confirm",
            "mismatch",
            "Repeat the company's slug, to be sure that it is this one.",
        ));
    }
    let id = company.id;
    let is_open = matches!(company.status, CompanyStatus::Active | CompanyStatus::Suspended);
    if !is_open {
        return find_within(tx, id).await;
    }
    let admins = admins::find(tx, None).await?;
    tx.execute(CLOSE, &[&id, &tx.clock().now()]).await?;
    let deletion = find_within(tx, id).await?;
    let payload = json!({ "delete_after": deletion.delete_after });
    event::publish(tx, "tenant.closed", id, &payload).await?;
    let last_day = last_day(deletion.delete_after, &company.timezone)?;
    admins.tell(tx, &Notice::CompanyClosed { last_day }).await?;
    Ok(deletion)
}

/// The last day on which the company can surely be opened again, where it is: `2026-12-21`.
fn last_day(delete_after: Timestamp, timezone: &str) -> Result<String> {
    let there = delete_after.in_tz(timezone).map_err(Error::internal)?;
    let day = there.date().yesterday().map_err(Error::internal)?;
    Ok(day.to_string())
}

async fn find_within(tx: &Tx, id: Uuid) -> Result<CompanyDeletion> {
    let row = tx.query_opt(FIND, &[&id]).await?;
    from_row(id, &row.ok_or_else(Error::not_found)?)
}

/// How far the deletion of a company is, of one that is gone as well.
///
/// # Errors
/// 404 when there is no such company, or it is not closed.
pub async fn find(db: &Db, id: Uuid) -> Result<CompanyDeletion> {
    let rows = db.lookup(FIND, &[&id]).await?;
    from_row(id, rows.first().ok_or_else(Error::not_found)?)
}

fn from_row(id: Uuid, row: &Row) -> Result<CompanyDeletion> {
    Ok(CompanyDeletion {
        id,
        status: match row.get("status") {
            "closed" => DeletionStatus::Closed,
            "deleting" => DeletionStatus::Deleting,
            "deleted" => DeletionStatus::Deleted,
            _ => return Err(Error::internal("a closed company's status is unknown")),
        },
        closed_at: row.get("closed_at"),
        delete_after: row.get("delete_after"),
        deleted_at: row.get("deleted_at"),
    })
}

/// Whether nothing is kept for the company any more: it is deleted, or that has begun.
///
/// # Errors
/// 503 when the database is away.
pub async fn is_over(db: &Db, tenant: TenantId) -> Result<bool> {
    let rows = db.lookup(FIND, &[&tenant.0]).await?;
    Ok(rows
        .first()
        .is_some_and(|row| row.get::<_, &str>("status") != "closed"))
}

/// Begins to delete the entered company, or goes on; false when it was opened again.
///
/// # Errors
/// Internal before its time.
pub async fn begin(tx: &Tx) -> Result<bool> {
    let begun = tx.execute(BEGIN, &[&tx.tenant().0, &tx.clock().now()]).await?;
    Ok(begun > 0)
}

/// Deletes what the entered company has, at most so many rows; returns how many. After none, the company
/// itself is gone.
///
/// # Errors
/// Internal when that has not [begun](begin).
pub async fn delete_rows(tx: &Tx, at_most: i32) -> Result<i64> {
    let row = tx.query_one(DELETE_ROWS, &[&at_most]).await?;
    Ok(row.get(0))
}
