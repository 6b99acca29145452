//! Taking a request back.

use crate::request::{self, RequestDetail};
use audit::event;
use db::Tx;
use kernel::{Code, Error, Permission, Result};
use serde_json::json;
use uuid::Uuid;

const MAY_CANCEL: &str = "SELECT r.requester_user_id = $3 OR app.user_may($1, $3, $4)
     FROM approval_requests r WHERE r.tenant_id = $1 AND r.id = $2";

const CANCEL: &str = "WITH steps AS (
         UPDATE approval_request_steps SET state = 'skipped'
         WHERE tenant_id = $1 AND request_id = $2 AND state IN ('waiting', 'open')
     )
     UPDATE approval_requests SET state = 'cancelled', updated_at = $3, decided_at = $3
     WHERE tenant_id = $1 AND id = $2 AND state = 'pending'";

/// Cancels a request that waits: its requester may, and who manages policies.
///
/// # Errors
/// 404 when the company has no such request, 403 when it is another's, 409 when it is decided.
pub async fn cancel(tx: &Tx, id: Uuid) -> Result<RequestDetail> {
    let (me, tenant) = (request::person(tx)?, tx.tenant().0);
    let manage = Permission::ApprovalsPoliciesManage.code();
    let allowed = tx.query_opt(MAY_CANCEL, &[&tenant, &id, &me, &manage]).await?;
    if !allowed.ok_or_else(Error::not_found)?.get::<_, bool>(0) {
        return Err(Error::new(
            Code::Forbidden,
            "Only who asked for it, or who manages policies, can take a request back.",
        )
        .with_details(json!({ "permission": manage })));
    }
    request::lock_pending(tx, id).await?;
    tx.execute(CANCEL, &[&tenant, &id, &tx.clock().now()]).await?;
    let payload = json!({ "cancelled_by": me });
    let (after, ()) = futures::try_join!(
        request::find(tx, id),
        event::publish(tx, "approval.cancelled", id, &payload)
    )?;
    Ok(after)
}
