//! Steps that take too long (S3A.2, S3A.8): a reminder after three quarters of the hours, an
//! escalation after all of them. While a company can't act, because it is suspended or past due and out
//! of grace, nobody may decide and the hours stand still; then they begin anew.

use crate::progress::{self, Next};
use crate::request::{self, Decider, RequestDetail, State};
use db::{Row, Tx};
use kernel::Result;
use notifications::notice::Notice;
use notifications::people;
use uuid::Uuid;

const ON_HOLD: &str = "SELECT EXISTS (SELECT FROM app.companies_on_hold($2) h WHERE h.tenant_id = $1)";

const HOLD: &str = "UPDATE approval_request_steps SET held_since = $3, remind_at = NULL, due_at = NULL
     WHERE tenant_id = $1 AND request_id = $2 AND state = 'open' AND escalated_at IS NULL AND due_at IS NOT NULL";

const HELD: &str = "SELECT seq, sla_hours FROM approval_request_steps
     WHERE tenant_id = $1 AND request_id = $2 AND state = 'open' AND held_since IS NOT NULL";

const RESTART: &str = "UPDATE approval_request_steps s
     SET held_since = NULL, reminded_at = NULL, remind_at = new.remind_at, due_at = new.due_at
     FROM unnest($3::integer[], $4::timestamptz[], $5::timestamptz[]) AS new (seq, remind_at, due_at)
     WHERE s.tenant_id = $1 AND s.request_id = $2 AND s.seq = new.seq";

const ESCALATE: &str = "UPDATE approval_request_steps
     SET escalated_at = $3, reminded_at = coalesce(reminded_at, $3)
     WHERE tenant_id = $1 AND request_id = $2 AND state = 'open' AND escalated_at IS NULL AND due_at <= $3
     RETURNING seq";

const REMIND: &str = "UPDATE approval_request_steps SET reminded_at = $3
     WHERE tenant_id = $1 AND request_id = $2 AND state = 'open' AND reminded_at IS NULL AND remind_at <= $3
     RETURNING seq";

/// Reminds of and escalates the steps of a request that are late, each once. An escalated step can
/// be decided by its approvers' managers too, and by super admins where there are none; those are
/// told. Stops the hours of a company that can't act, and starts them again. Returns how many steps were
/// reminded of or escalated.
///
/// # Errors
/// 404 when the company has no such request.
pub async fn attend(tx: &Tx, app_url: &str, id: Uuid) -> Result<usize> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    // As everybody who decides: the request first, then its steps. Who holds a step and waits for the
    // audit chain, while a last approval has the chain and waits for the step, would wait for ever.
    if request::lock(tx, id).await? != State::Pending {
        return Ok(0);
    }
    let on_hold = tx.query_one(ON_HOLD, &[&tenant, &now]).await?;
    if on_hold.get(0) {
        tx.execute(HOLD, &[&tenant, &id, &now]).await?;
        return Ok(0);
    }
    restart(tx, id).await?;
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

/// Gives the steps that stood still all of their hours again.
async fn restart(tx: &Tx, id: Uuid) -> Result<()> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let held = tx.query(HELD, &[&tenant, &id]).await?;
    if held.is_empty() {
        return Ok(());
    }
    let hours = held.iter().map(|row| row.get("sla_hours"));
    let (remind, due): (Vec<_>, Vec<_>) = hours.map(|hours| request::deadlines(now, hours)).unzip();
    let params: db::Params<'_> = &[&tenant, &id, &seqs(&held), &remind, &due];
    tx.execute(RESTART, params).await.map(drop)
}

fn seqs(rows: &[Row]) -> Vec<i32> {
    rows.iter().map(|row| row.get(0)).collect()
}

/// Who may decide these steps and has not; when nobody else is waited for, because the others have
/// left, those who have: their approval, repeated, brings the request on.
fn undecided<'a>(found: &'a RequestDetail, seqs: &'a [i32]) -> impl Iterator<Item = &'a Decider> {
    let given = found.actions.iter();
    let approvals: Vec<(i32, Uuid)> = given
        .map(|action| (action.step_seq, action.approver_user_id))
        .collect();
    let is_complete = progress::after(&found.steps, &approvals, &found.deciders).next != Next::Waits;
    found.deciders.iter().filter(move |decider| {
        let decided = found
            .actions
            .iter()
            .any(|action| action.step_seq == decider.step_seq && action.approver_user_id == decider.user_id);
        seqs.contains(&decider.step_seq) && (is_complete || !decided)
    })
}
