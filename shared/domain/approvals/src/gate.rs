//! The question that a module asks before a sensitive action.

use crate::command::Command;
use crate::facts::Facts;
use crate::policy;
use crate::request::{self, ApprovalRequest};
use audit::event;
use db::Tx;
use kernel::{Code, Error, Result};
use notifications::notice::Notice;
use notifications::people;
use serde::{Deserialize, Serialize};
use serde_json::json;

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
/// is nobody who could approve it; 403 when a program asks for what needs an approval; whatever
/// `facts` fails with.
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
    let steps = policy::demanded(&policies, &facts)?;
    if steps.is_empty() {
        return Ok(Gate::Open);
    }
    let requester = request::person(tx)?;
    let made = request::insert(tx, command, &facts, requester, &steps).await?;
    let payload = json!({ "action_code": made.action_code, "object_type": made.object_type, "object_id": made.object_id });
    let (deciders, ()) = futures::try_join!(
        request::deciders(tx, made.id),
        event::publish(tx, "approval.requested", made.id, &payload)
    )?;
    if deciders.is_empty() {
        return Err(Error::new(
            Code::Conflict,
            "This needs an approval, and there is nobody but you who could give it: name another approver in the policy.",
        ));
    }
    let asked = Notice::ApprovalRequested {
        title: made.title.clone(),
        url: request::url(app_url, made.id),
    };
    people::tell(tx, deciders.iter().map(|decider| decider.user_id), &asked).await?;
    Ok(Gate::Waiting(Box::new(made)))
}
