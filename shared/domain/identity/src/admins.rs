//! Those who look after the company: its super admins and admins, and what they are told (S12.7).

use db::Tx;
use kernel::Result;
use notifications::notice::Notice;
use notifications::people;
use uuid::Uuid;

/// A company of many admins has its first ones told. Held from here on, as [`people::tell`] holds whom
/// it writes to: an erasure waits for the audit chain while it holds the person, so who has the chain
/// must not wait for a person.
const ADMINS: &str = "SELECT u.id FROM users u
     WHERE u.tenant_id = $1 AND u.status = 'active' AND u.id IS DISTINCT FROM $2
       AND u.id IN (SELECT $3::uuid
                    UNION ALL
                    SELECT held.user_id FROM roles r CROSS JOIN LATERAL app.holders_of_role($1, r.id) held
                    WHERE r.tenant_id IS NULL AND r.code IN ('super_admin', 'admin'))
     ORDER BY u.id IS NOT DISTINCT FROM $3 DESC, u.id LIMIT 20 FOR KEY SHARE OF u";
const RECORD_TOLD: &str =
    "UPDATE seat_alerts SET told_at = $2 WHERE tenant_id = $1 AND told_at IS NULL RETURNING seats";

/// Whom something is told.
#[derive(Debug)]
pub struct Admins(Vec<Uuid>);

/// The admins, and `also` somebody who need not be one; except who acts. To be found before anything is
/// written to the audit log.
///
/// # Errors
/// As the database fails.
pub async fn find(tx: &Tx, also: Option<Uuid>) -> Result<Admins> {
    let params: db::Params<'_> = &[&tx.tenant().0, &tx.caller().user_id(), &also];
    let rows = tx.query(ADMINS, params).await?;
    Ok(Admins(rows.iter().map(|row| row.get(0)).collect()))
}

impl Admins {
    /// # Errors
    /// As the database fails.
    pub async fn tell(&self, tx: &Tx, notice: &Notice) -> Result<()> {
        people::tell(tx, self.0.iter().copied(), notice).await
    }
}

/// Tells the admins, once, that the last seat was taken.
///
/// # Errors
/// As the database fails.
pub async fn tell_of_seats(tx: &Tx) -> Result<()> {
    let params: db::Params<'_> = &[&tx.tenant().0, &tx.clock().now()];
    let Some(row) = tx.query_opt(RECORD_TOLD, params).await? else {
        return Ok(());
    };
    let notice = Notice::SeatLimitReached { limit: row.get(0) };
    find(tx, None).await?.tell(tx, &notice).await
}
