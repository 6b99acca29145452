//! Whose a record is: given to users of the company who are active, and handed over when one leaves.

use db::Tx;
use kernel::{Error, Patch, Result};
use uuid::Uuid;

/// Whoever deactivates the user waits for the record to be written, and then finds it; who comes after
/// that finds nobody active.
const HOLD: &str = "SELECT 1 FROM users WHERE tenant_id = $1 AND id = $2 AND status = 'active' FOR SHARE";
const OWNED: &str =
    "SELECT count(*) FROM contacts WHERE tenant_id = $1 AND owner_user_id = $2 AND archived_at IS NULL";
const REASSIGN: &str = "UPDATE contacts SET owner_user_id = $3, updated_at = $4
     WHERE tenant_id = $1 AND owner_user_id = $2 AND archived_at IS NULL";

/// Holds a user as they are until the transaction ends; whether the company has them, and active. Comes
/// before the record's own row is held: everybody takes users first. Asks nothing for nobody.
///
/// # Errors
/// As the database fails.
pub async fn hold(tx: &Tx, user_id: Option<Uuid>) -> Result<bool> {
    match user_id {
        Some(user_id) => Ok(tx.query_opt(HOLD, &[&tx.tenant().0, &user_id]).await?.is_some()),
        None => Ok(true),
    }
}

/// Refuses a change that gives a record to a user whom [`hold`] did not find. Whose it is already, it
/// stays, though they have left.
///
/// # Errors
/// 404, as for a user whom the company does not have.
pub fn check(change: &Patch<Uuid>, current: Option<Uuid>, held: bool) -> Result<()> {
    if held || change.value() == current.as_ref() {
        Ok(())
    } else {
        Err(Error::not_found())
    }
}

/// How many contacts a user owns.
///
/// # Errors
/// As the database fails.
pub async fn owned_by(tx: &Tx, user_id: Uuid) -> Result<i64> {
    Ok(tx.query_one(OWNED, &[&tx.tenant().0, &user_id]).await?.get(0))
}

/// Gives all that one user owns to another of the company.
///
/// # Errors
/// 404 when the company has no such other user.
pub async fn reassign(tx: &Tx, from: Uuid, to: Uuid) -> Result<u64> {
    tx.execute(REASSIGN, &[&tx.tenant().0, &from, &to, &tx.clock().now()])
        .await
}
