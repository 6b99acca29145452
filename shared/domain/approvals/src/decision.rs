//! Deciding: one approver after the other, however many come at once.
//!
//! The approval that was missing and the command that it sets free are one transaction: either both
//! are done or neither. A command that can't be done any more rolls both back; then the approval is
//! recorded alone, with the reason, in a second transaction that decides anew from what it finds.

use crate::command::{CarryOut, Command};
use crate::progress::{self, Next, Progress};
use crate::request::{self, Decision, RequestDetail, State, StepState};
use audit::event;
use db::{Db, Tx};
use jiff::Timestamp;
use kernel::{Caller, Code, Error, Feature, Result, Validator};
use notifications::notice::Notice;
use notifications::people;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const ACT: &str = "INSERT INTO approval_actions
     (tenant_id, request_id, approver_user_id, decision, comment, created_at, id, step_seq)
     SELECT $1, $2, $3, $4, $5, $6, new.* FROM unnest($7::uuid[], $8::integer[]) AS new";

const MOVE_STEPS: &str = "UPDATE approval_request_steps s
     SET state = new.state,
         opened_at = CASE WHEN new.state = 'open' THEN $6 ELSE s.opened_at END,
         remind_at = CASE WHEN new.state = 'open' THEN new.remind_at ELSE s.remind_at END,
         due_at = CASE WHEN new.state = 'open' THEN new.due_at ELSE s.due_at END,
         decided_at = CASE WHEN new.state IN ('approved', 'rejected') THEN $6 ELSE s.decided_at END
     FROM unnest($3::integer[], $4::text[], $5::timestamptz[], $7::timestamptz[]) AS new (seq, state, remind_at, due_at)
     WHERE s.tenant_id = $1 AND s.request_id = $2 AND s.seq = new.seq";

const MOVE: &str = "UPDATE approval_requests
     SET state = $3, current_step = $4, failure_reason = $5, updated_at = $6,
         decided_at = CASE WHEN $3 = 'pending' THEN NULL ELSE $6::timestamptz END,
         executed_at = CASE WHEN $3 = 'approved' THEN $6::timestamptz END
     WHERE tenant_id = $1 AND id = $2 AND state = 'pending'";

/// The requester stays who they are, and the approver there, until the transaction ends.
const REQUESTER: &str = "SELECT FROM users WHERE tenant_id = $1 AND id = $2 FOR SHARE";
const REFUSAL: &str = "SELECT app.refusal($1, $2, $3, $4, $5)";
const APPROVER: &str = "SELECT FROM users WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE";

/// The body of a decision.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// Shown to the requester and the other approvers.
    #[schemars(length(max = 2000))]
    pub comment: Option<String>,
}

/// A checked decision.
#[derive(Clone, Debug)]
pub struct NewDecision {
    decision: Decision,
    comment: Option<String>,
}

/// What a decision needs of the function that takes it.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Where people open the web client, without a trailing slash.
    pub app_url: &'a str,
    pub carry_out: CarryOut,
}

impl NewDecision {
    /// # Errors
    /// 422 for a comment that is too long.
    pub fn parse(decision: Decision, body: &Decide) -> Result<Self> {
        let mut validator = Validator::default();
        let comment = validator.optional_text("comment", body.comment.as_deref(), 2000);
        validator.finish().map(|()| Self { decision, comment })
    }
}

/// Records what the caller decides, and carries the command out when that was the last approval
/// needed. One rejection rejects. An approver of several open steps decides all of them at once.
///
/// # Errors
/// 404 when the company has no such request; 409 when it is decided already, or the caller did
/// before; 403 when the caller is no approver of a step that is open, or asked for it themselves.
pub async fn decide(
    db: &Db,
    caller: &Caller,
    means: Means<'_>,
    id: Uuid,
    new: &NewDecision,
) -> Result<RequestDetail> {
    let mut impossible = None;
    let decided = db
        .write(caller, async |tx| {
            let open = Open::read(&tx, id, new).await?;
            if open.approves_last() {
                let done = open.carry_out(&tx, means.carry_out).await;
                if let Err(error) = &done {
                    impossible = reason(error);
                }
                done?;
            }
            Box::pin(open.record(&tx, means.app_url, None)).await
        })
        .await;
    match impossible {
        None => decided,
        Some(reason) => {
            db.write(caller, async |tx| {
                let open = Open::read(&tx, id, new).await?;
                Box::pin(open.record(&tx, means.app_url, Some(&reason))).await
            })
            .await
        }
    }
}

/// Why a command can't be done any more; nothing when it may be done a moment later, or when the
/// fault is ours.
fn reason(error: &Error) -> Option<String> {
    let later = matches!(
        error.code(),
        Code::Internal | Code::Unavailable | Code::RateLimited
    );
    (!later).then(|| error.message().to_owned())
}

/// A request that is held, and what the caller's decision brings it to.
struct Open<'a> {
    found: RequestDetail,
    command: Command,
    me: Uuid,
    new: &'a NewDecision,
    /// The steps that the caller decides now.
    mine: Vec<i32>,
    progress: Progress,
}

impl<'a> Open<'a> {
    async fn read(tx: &Tx, id: Uuid, new: &'a NewDecision) -> Result<Self> {
        let me = request::person(tx)?;
        request::lock_pending(tx, id).await?;
        // Only now: what another approver did meanwhile is to be seen.
        let (found, command) = request::find_with_command(tx, id).await?;
        let command = serde_json::from_value(command).map_err(Error::internal)?;
        let of_me: Vec<i32> = found
            .deciders
            .iter()
            .filter(|decider| decider.user_id == me)
            .map(|decider| decider.step_seq)
            .collect();
        if of_me.is_empty() {
            return Err(refusal(found.request.requester_user_id == me));
        }
        let mut approvals: Vec<(i32, Uuid)> = found
            .actions
            .iter()
            .map(|action| (action.step_seq, action.approver_user_id))
            .collect();
        let mine: Vec<i32> = of_me
            .into_iter()
            .filter(|seq| !approvals.contains(&(*seq, me)))
            .collect();
        approvals.extend(mine.iter().map(|seq| (*seq, me)));
        let progress = match new.decision {
            Decision::Approve => progress::after(&found.steps, &approvals, &found.deciders),
            Decision::Reject => rejected(&found, &mine),
        };
        // Who has approved may do so again when the others, whom it waited for, have left.
        if mine.is_empty() && (new.decision == Decision::Reject || progress.next == Next::Waits) {
            return Err(Error::new(
                Code::Conflict,
                "You have decided this already; it waits for others.",
            ));
        }
        Ok(Self {
            found,
            command,
            me,
            new,
            mine,
            progress,
        })
    }

    fn approves_last(&self) -> bool {
        self.new.decision == Decision::Approve && self.progress.next == Next::Done
    }

    /// Does what was asked for, as the requester and under today's rules. Comes before this
    /// transaction writes anything of its own: the audit chain is taken at its end, when the rows
    /// that it needs are held, so that it waits for nobody who waits for the chain.
    async fn carry_out(&self, tx: &Tx, carry_out: CarryOut) -> Result<()> {
        let (tenant, requester) = (tx.tenant().0, self.found.request.requester_user_id);
        let asking: [&(dyn db::ToSql + Sync); 2] = [&tenant, &requester];
        let approving: [&(dyn db::ToSql + Sync); 2] = [&tenant, &self.me];
        futures::try_join!(tx.query(REQUESTER, &asking), tx.query(APPROVER, &approving))?;
        // In a trip of its own: what is read now does not change any more.
        let permission = self.command.permission().code();
        let feature = self.command.feature().map(Feature::code);
        let now = tx.clock().now();
        let params: db::Params<'_> = &[&tenant, &requester, &permission, &feature, &now];
        let refusal: Option<String> = tx.query_one(REFUSAL, params).await?.get(0);
        if let Some(code) = refusal {
            return Err(Error::new(Code::Forbidden, refused(&code)));
        }
        let theirs = tx.on_behalf_of(requester);
        theirs.act().await?;
        carry_out(&theirs, &self.command).await?;
        tx.act().await
    }

    /// Writes the decision and what follows from it, and tells those whom it concerns.
    async fn record(&self, tx: &Tx, app_url: &str, failure: Option<&str>) -> Result<RequestDetail> {
        let (tenant, id, now) = (tx.tenant().0, self.found.request.id, tx.clock().now());
        let ids: Vec<Uuid> = self.mine.iter().map(|_| tx.clock().id()).collect();
        let decision = self.new.decision.as_str();
        let act: [&(dyn db::ToSql + Sync); 8] = [
            &tenant,
            &id,
            &self.me,
            &decision,
            &self.new.comment,
            &now,
            &ids,
            &self.mine,
        ];
        let failure = failure.filter(|_| self.approves_last());
        let (state, current) = (self.outcome(failure), self.current_step());
        let state_text = state.as_str();
        let moved: [&(dyn db::ToSql + Sync); 6] = [&tenant, &id, &state_text, &current, &failure, &now];
        futures::try_join!(
            tx.execute(ACT, &act),
            move_steps(tx, &self.found, &self.progress, now),
            tx.execute(MOVE, &moved),
            self.publish(tx, state),
        )?;
        let after = request::find(tx, id).await?;
        self.tell(tx, app_url, &after).await?;
        Ok(after)
    }

    fn outcome(&self, failure: Option<&str>) -> State {
        match (self.new.decision, &self.progress.next, failure) {
            (Decision::Reject, ..) => State::Rejected,
            (Decision::Approve, Next::Waits | Next::Opens, _) => State::Pending,
            (Decision::Approve, Next::Done, None) => State::Approved,
            (Decision::Approve, Next::Done, Some(_)) => State::Failed,
        }
    }

    fn current_step(&self) -> i32 {
        let opened = self
            .progress
            .changed
            .iter()
            .find(|(_, state)| *state == StepState::Open);
        opened.map_or(self.found.request.current_step, |(seq, _)| *seq)
    }

    async fn publish(&self, tx: &Tx, state: State) -> Result<()> {
        let request = &self.found.request;
        let decided = json!({
            "decision": self.new.decision, "state": state, "approver_user_id": self.me,
            "action_code": request.action_code, "object_type": request.object_type, "object_id": request.object_id,
        });
        let what = match state {
            State::Approved => Some("approval.executed"),
            State::Failed => Some("approval.failed"),
            State::Pending | State::Rejected | State::Cancelled => None,
        };
        let outcome = json!({ "action_code": request.action_code, "object_type": request.object_type, "object_id": request.object_id });
        event::publish(tx, "approval.decided", request.id, &decided).await?;
        match what {
            Some(what) => event::publish(tx, what, request.id, &outcome).await,
            None => Ok(()),
        }
    }

    async fn tell(&self, tx: &Tx, app_url: &str, after: &RequestDetail) -> Result<()> {
        let request = &after.request;
        let (title, url) = (request.title.clone(), request::url(app_url, request.id));
        let requester = std::iter::once(request.requester_user_id);
        match request.state {
            State::Pending if self.progress.next == Next::Opens => {
                let deciders = after.deciders.iter().map(|decider| decider.user_id);
                people::tell(tx, deciders, &Notice::ApprovalRequested { title, url }).await
            }
            State::Pending | State::Cancelled => Ok(()),
            State::Approved | State::Rejected => {
                let decision = request.state.as_str().to_owned();
                people::tell(tx, requester, &Notice::ApprovalDecided { title, decision, url }).await
            }
            State::Failed => {
                let reason = request.failure_reason.clone().unwrap_or_default();
                let approvers = after.actions.iter().map(|action| action.approver_user_id);
                let both = requester.chain(approvers);
                people::tell(tx, both, &Notice::ApprovalFailed { title, reason, url }).await
            }
        }
    }
}

/// Why the requester would be refused today, by the codes of `app.enter`.
fn refused(code: &str) -> &'static str {
    match code {
        "M3401" => "The requester's account is not active any more.",
        "M3403" => "The requester does not hold the permission for this any more.",
        "M3404" => "The requester's e-mail address is not verified.",
        "M3405" => "The requester has to set up a second factor first.",
        "M3406" => "The requester has to verify a phone first.",
        "M3407" => "The plan does not include this any more.",
        _ => "The company can't do this now.",
    }
}

fn refusal(is_requester: bool) -> Error {
    let (message, reason) = if is_requester {
        (
            "You asked for this yourself; somebody else has to decide it.",
            "own_request",
        )
    } else {
        ("You are no approver of a step that is open.", "not_an_approver")
    };
    Error::new(Code::Forbidden, message).with_details(json!({ "reason": reason }))
}

/// A rejection ends every step that is not over.
fn rejected(found: &RequestDetail, mine: &[i32]) -> Progress {
    let changed = found.steps.iter().filter_map(|step| match step.state {
        StepState::Open if mine.contains(&step.seq) => Some((step.seq, StepState::Rejected)),
        StepState::Open | StepState::Waiting => Some((step.seq, StepState::Skipped)),
        StepState::Approved | StepState::Rejected | StepState::Skipped => None,
    });
    Progress {
        changed: changed.collect(),
        next: Next::Done,
    }
}

async fn move_steps(tx: &Tx, found: &RequestDetail, progress: &Progress, now: Timestamp) -> Result<()> {
    if progress.changed.is_empty() {
        return Ok(());
    }
    let (seqs, states): (Vec<i32>, Vec<&str>) = progress
        .changed
        .iter()
        .map(|(seq, state)| (*seq, state.as_str()))
        .unzip();
    let hours = |seq: &i32| {
        let step = found.steps.iter().find(|step| step.seq == *seq);
        step.and_then(|step| step.sla_hours)
    };
    let (remind, due): (Vec<_>, Vec<_>) = seqs.iter().map(|seq| request::deadlines(now, hours(seq))).unzip();
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &found.request.id,
        &seqs,
        &states,
        &remind,
        &now,
        &due,
    ];
    tx.execute(MOVE_STEPS, params).await.map(drop)
}
