//! Steps that take too long (S3A.2, S3A.8): a reminder after three quarters of the hours, an
//! escalation after all of them.

use crate::request::{self, Decider, RequestDetail};
use db::{Row, Tx};
use kernel::Result;
use notifications::notice::Notice;
use notifications::people;
use uuid::Uuid;

const ESCALATE: &str = "UPDATE approval_request_steps
     SET escalated_at = $3, reminded_at = coalesce(reminded_at, $3)
     WHERE tenant_id = $1 AND request_id = $2 AND state = 'open' AND escalated_at IS NULL AND due_at <= $3
     RETURNING seq";

const REMIND: &str = "UPDATE approval_request_steps SET reminded_at = $3
     WHERE tenant_id = $1 AND request_id = $2 AND state = 'open' AND reminded_at IS NULL AND remind_at <= $3
     RETURNING seq";

/// Reminds of and escalates the steps of a request that are late, each once. An escalated step can
/// be decided by its approvers' managers too, and by super admins where there are none; those are
/// told. Returns how many steps it was.
///
/// # Errors
/// As the database fails.
pub async fn attend(tx: &Tx, app_url: &str, id: Uuid) -> Result<usize> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    // One after the other: what is escalated needs no reminder any more.
    let escalated = seqs(&tx.query(ESCALATE, &[&tenant, &id, &now]).await?);
    let reminded = seqs(&tx.query(REMIND, &[&tenant, &id, &now]).await?);
    if escalated.is_empty() && reminded.is_empty() {
        return Ok(0);
    }
    let found = request::find(tx, id).await?;
    let (title, url) = (found.request.title.clone(), request::url(app_url, id));
    let (late, soon) = (
        Notice::ApprovalEscalated {
            title: title.clone(),
            url: url.clone(),
        },
        Notice::ApprovalReminder { title, url },
    );
    let to_late = undecided(&found, &escalated).filter(|decider| decider.escalated);
    let to_soon = undecided(&found, &reminded);
    futures::try_join!(
        people::tell(tx, to_late.map(|decider| decider.user_id), &late),
        people::tell(tx, to_soon.map(|decider| decider.user_id), &soon),
    )?;
    Ok(escalated.len() + reminded.len())
}

fn seqs(rows: &[Row]) -> Vec<i32> {
    rows.iter().map(|row| row.get(0)).collect()
}

/// Who may decide these steps and has not.
fn undecided<'a>(found: &'a RequestDetail, seqs: &'a [i32]) -> impl Iterator<Item = &'a Decider> {
    found.deciders.iter().filter(move |decider| {
        let decided = found
            .actions
            .iter()
            .any(|action| action.step_seq == decider.step_seq && action.approver_user_id == decider.user_id);
        seqs.contains(&decider.step_seq) && !decided
    })
}
