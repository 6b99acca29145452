//! Taking a request back.

use crate::request::{self, RequestDetail, State};
use audit::event;
use db::Tx;
use kernel::{Code, Error, Permission, Result};
use notifications::notice::Notice;
use notifications::people;
use serde_json::json;
use uuid::Uuid;

const REQUESTER: &str = "SELECT requester_user_id FROM approval_requests WHERE tenant_id = $1 AND id = $2";

const MAY_MANAGE: &str = "SELECT app.require_permission($1, $2, $3, $4)";

const CANCEL: &str = "WITH steps AS (
         UPDATE approval_request_steps SET state = 'skipped'
         WHERE tenant_id = $1 AND request_id = $2 AND state IN ('waiting', 'open')
     )
     UPDATE approval_requests SET state = 'cancelled', updated_at = $3, decided_at = $3
     WHERE tenant_id = $1 AND id = $2 AND state = 'pending'";

/// Cancels a request that waits. Its requester may; somebody else only if they may manage policies
/// now, by all that a route with that permission asks for, and the requester is told. Those who were asked
/// for their approval find it in the inbox only: a mail for each would let whoever asks and takes back
/// again mail their colleagues twice as often. `app_url` is where people open the web client, without a
/// trailing slash.
///
/// # Errors
/// 404 when the company has no such request, 403 when it is another's, 409 when it is decided; for
/// another's request also whatever the route of a policy would be refused with.
pub async fn cancel(tx: &Tx, app_url: &str, id: Uuid) -> Result<RequestDetail> {
    let (me, tenant, now) = (request::person(tx)?, tx.tenant().0, tx.clock().now());
    let found = tx.query_opt(REQUESTER, &[&tenant, &id]).await?;
    let requester: Uuid = found.ok_or_else(Error::not_found)?.get(0);
    if requester != me {
        may_manage(tx, me).await?;
    }
    request::lock_pending(tx, id).await?;
    let before = request::find(tx, id).await?;
    tx.execute(CANCEL, &[&tenant, &id, &now]).await?;
    let payload = json!({ "cancelled_by": me });
    let (after, ()) = futures::try_join!(
        request::find(tx, id),
        event::publish(tx, "approval.cancelled", id, &payload)
    )?;
    tell(tx, app_url, me, &before).await?;
    Ok(after)
}

/// Tells everybody to whom this request was something but who took it back.
async fn tell(tx: &Tx, app_url: &str, me: Uuid, taken_back: &RequestDetail) -> Result<()> {
    let request = &taken_back.request;
    let (title, url) = (request.title.clone(), request::url(app_url, request.id));
    let requester = request.requester_user_id;
    let decided = Notice::ApprovalDecided {
        title: title.clone(),
        decision: State::Cancelled.as_str().to_owned(),
        url: url.clone(),
    };
    let whom = Some(requester).filter(|requester| *requester != me);
    people::tell(tx, whom.into_iter(), &decided).await?;
    let deciding = taken_back.deciders.iter().map(|decider| decider.user_id);
    let approved = taken_back.actions.iter().map(|action| action.approver_user_id);
    let asked = deciding
        .chain(approved)
        .filter(|asked| *asked != me && *asked != requester);
    people::tell_in_inbox(tx, asked, &Notice::ApprovalWithdrawn { title, url }).await
}

async fn may_manage(tx: &Tx, me: Uuid) -> Result<()> {
    let manage = Permission::ApprovalsPoliciesManage.code();
    let asked = tx
        .query(MAY_MANAGE, &[&tx.tenant().0, &me, &manage, &tx.clock().now()])
        .await;
    match asked {
        Err(error) if error.code() == Code::Forbidden => Err(Error::new(
            Code::Forbidden,
            "Only who asked for it, or who manages policies, can take a request back.",
        )
        .with_details(json!({ "permission": manage }))),
        asked => asked.map(drop),
    }
}
