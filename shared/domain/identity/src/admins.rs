//! Those who look after the company: its super admins and admins, and what they are told (S12.7).

use db::Tx;
use kernel::Result;
use notifications::notice::Notice;
use notifications::people;
use uuid::Uuid;

/// A company of many admins has its first ones told.
const ADMINS: &str = "SELECT u.id FROM users u
     WHERE u.tenant_id = $1 AND u.status = 'active' AND u.id IS DISTINCT FROM $2
       AND EXISTS (SELECT FROM app.roles_held($1, u.id) held JOIN roles r ON r.id = held.role_id
                   WHERE r.tenant_id IS NULL AND r.code IN ('super_admin', 'admin'))
     ORDER BY u.id LIMIT 20";
const RECORD_TOLD: &str =
    "UPDATE seat_alerts SET told_at = $2 WHERE tenant_id = $1 AND told_at IS NULL RETURNING seats";

/// Tells the admins, except who did it.
///
/// # Errors
/// As the database fails.
pub async fn tell(tx: &Tx, notice: &Notice) -> Result<()> {
    tell_with(tx, None, notice).await
}

/// As [`tell`], and somebody who need not be an admin.
///
/// # Errors
/// As the database fails.
pub async fn tell_with(tx: &Tx, also: Option<Uuid>, notice: &Notice) -> Result<()> {
    let rows = tx
        .query(ADMINS, &[&tx.tenant().0, &tx.caller().user_id()])
        .await?;
    let told = rows.iter().map(|row| row.get::<_, Uuid>(0)).chain(also);
    people::tell(tx, told, notice).await
}

/// Tells the admins, once, that the last seat was taken.
///
/// # Errors
/// As the database fails.
pub async fn tell_of_seats(tx: &Tx) -> Result<()> {
    let params: db::Params<'_> = &[&tx.tenant().0, &tx.clock().now()];
    match tx.query_opt(RECORD_TOLD, params).await? {
        Some(row) => tell(tx, &Notice::SeatLimitReached { limit: row.get(0) }).await,
        None => Ok(()),
    }
}
