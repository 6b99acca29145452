//! The question that a module asks before a sensitive action.

use crate::command::Command;
use crate::facts::Facts;
use crate::policy;
use crate::request::{self, ApprovalRequest};
use audit::event;
use db::Tx;
use jiff::{SignedDuration, Timestamp};
use kernel::{Code, Error, Result};
use notifications::notice::Notice;
use notifications::people;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// Each mails up to a hundred colleagues, and may be taken back and asked for again.
const ASKED_AT_MOST: i32 = 30;
const WITHIN: SignedDuration = SignedDuration::from_hours(1);

const ASKED_TOO_OFTEN: &str = "SELECT app.asked_too_often($1, $2, $3, $4)";

/// Whether an action may go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Gate {
    /// No policy asks for an approval: go on.
    Open,
    /// It was not done and waits: answer 202 with the request.
    Waiting(Box<ApprovalRequest>),
}

/// Asks whether an action needs approval now, and stores it when it does. `facts` is looked at only
/// when a policy is about the action. `app_url` is where people open the web client, without a
/// trailing slash: the approvers' links begin with it.
///
/// # Errors
/// 409 `DUPLICATE` when the same action waits already, naming the request; 409 `CONFLICT` when there
/// is a stage that nobody could approve; 403 when a program asks for what needs an approval; 429 when
/// this person has asked for 30 approvals within an hour; whatever `facts` fails with.
pub async fn gate(
    tx: &Tx,
    app_url: &str,
    command: &Command,
    facts: impl Future<Output = Result<Facts>> + Send,
) -> Result<Gate> {
    let policies = policy::of_action(tx, command.action_code()).await?;
    if policies.is_empty() {
        return Ok(Gate::Open);
    }
    let facts = facts.await?;
    if let Some(name) = facts.undeclared(command.action().facts) {
        return Err(Error::internal(format!("the fact {name} is not declared")));
    }
    let steps = policy::demanded(&policies, &facts)?;
    if steps.is_empty() {
        return Ok(Gate::Open);
    }
    // On the heap: handlers hold this, and rarely need it.
    let made = Box::pin(ask(tx, app_url, command, &facts, &steps)).await?;
    Ok(Gate::Waiting(Box::new(made)))
}

/// Stores the request and asks who decides first.
async fn ask(
    tx: &Tx,
    app_url: &str,
    command: &Command,
    facts: &Facts,
    steps: &[policy::Demanded],
) -> Result<ApprovalRequest> {
    let requester = request::person(tx)?;
    within_rate(tx, requester).await?;
    let made = request::insert(tx, command, facts, requester, steps).await?;
    let payload = json!({ "action_code": made.action_code, "object_type": made.object_type, "object_id": made.object_id });
    let (stages, ()) = futures::try_join!(
        request::stages(tx, made.id),
        event::publish(tx, "approval.requested", made.id, &payload)
    )?;
    if !stages.iter().all(request::Stage::can_be_decided) {
        return Err(Error::new(
            Code::Conflict,
            "This needs an approval, and there is a step that nobody but you could give it for: name another approver in the policy.",
        ));
    }
    let asked = Notice::ApprovalRequested {
        title: made.title.clone(),
        url: request::url(app_url, made.id),
    };
    let first = stages.iter().take(1).flat_map(request::Stage::deciders);
    people::tell(tx, first, &asked).await?;
    Ok(made)
}

/// Refuses one request more than a person may make.
async fn within_rate(tx: &Tx, requester: Uuid) -> Result<()> {
    let now = tx.clock().now();
    let since = now.saturating_sub(WITHIN).map_err(Error::internal)?;
    let params: db::Params<'_> = &[&tx.tenant().0, &requester, &since, &ASKED_AT_MOST];
    let oldest: Option<Timestamp> = tx.query_one(ASKED_TOO_OFTEN, params).await?.get(0);
    let Some(oldest) = oldest else {
        return Ok(());
    };
    let wait = Duration::try_from(oldest.duration_since(since)).unwrap_or_default();
    Err(Error::rate_limited(
        "You have asked for many approvals within an hour; wait before you ask for another.",
        wait,
    ))
}
