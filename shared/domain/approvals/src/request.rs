//! Requests for approval: what waits, its steps, and what was decided (S3A.3, S3A.4).

mod new;

use crate::policy::{from_json, from_text};
use crate::step::{ApproverMode, Kind};
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Code, Error, Page, PageRequest, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

pub(crate) use new::{deadlines, insert};

/// What requests can be sorted by.
pub static SORTS: &[Sort] = &[Sort {
    name: "created_at",
    column: "r.created_at",
    key: KeyType::Timestamp,
}];

const LIST: &str = "SELECT r.* FROM approval_requests r";

const DETAIL: &str = "SELECT r.*,
        (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.seq) FROM approval_request_steps s
         WHERE s.tenant_id = r.tenant_id AND s.request_id = r.id) AS steps,
        (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.id) FROM approval_actions a
         WHERE a.tenant_id = r.tenant_id AND a.request_id = r.id) AS actions,
        (SELECT jsonb_agg(to_jsonb(d) ORDER BY d.step_seq, d.user_id)
         FROM app.approval_deciders(r.tenant_id, r.id) d) AS deciders
     FROM approval_requests r WHERE r.tenant_id = $1 AND r.id = $2";

const STAGES: &str = "SELECT s.seq, s.stage, s.kind, d.user_id FROM approval_request_steps s
     LEFT JOIN app.approval_deciders($1, $2, ARRAY['open', 'waiting']) d ON d.step_seq = s.seq
     WHERE s.tenant_id = $1 AND s.request_id = $2 ORDER BY s.seq";

/// Where people open a request.
pub(crate) fn url(app_url: &str, id: Uuid) -> String {
    format!("{app_url}/approvals/requests/{id}")
}

const LOCK: &str = "SELECT state FROM approval_requests WHERE tenant_id = $1 AND id = $2 FOR UPDATE";

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Pending,
    /// Approved and carried out.
    Approved,
    Rejected,
    Cancelled,
    /// Approved, and could not be carried out any more; `failure_reason` says why.
    Failed,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// How far a step of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// The steps before it come first.
    Waiting,
    Open,
    Approved,
    Rejected,
    /// Not needed any more.
    Skipped,
}

impl StepState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Skipped => "skipped",
        }
    }
}

/// A request for approval.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalRequest {
    pub id: Uuid,
    /// The policy that asked first; each step names its own.
    pub policy_id: Uuid,
    pub action_code: String,
    pub object_type: String,
    pub object_id: Uuid,
    pub title: String,
    /// The facts that the policies looked at.
    pub payload: Value,
    pub requester_user_id: Uuid,
    pub state: State,
    /// The `seq` of the first step that is open, or was last.
    pub current_step: i32,
    pub failure_reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub decided_at: Option<Timestamp>,
    pub executed_at: Option<Timestamp>,
}

/// A step of a request, as its policy had it when the request was made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestStep {
    pub seq: i32,
    /// Steps of one stage are open together.
    pub stage: i32,
    pub policy_id: Uuid,
    pub policy_name: String,
    pub kind: Kind,
    pub approver_mode: ApproverMode,
    pub approver_ref: String,
    pub quorum: Option<i32>,
    pub self_approval_allowed: bool,
    pub sla_hours: Option<i32>,
    pub state: StepState,
    pub opened_at: Option<Timestamp>,
    /// When it is escalated.
    pub due_at: Option<Timestamp>,
    pub reminded_at: Option<Timestamp>,
    pub escalated_at: Option<Timestamp>,
    pub decided_at: Option<Timestamp>,
}

/// What an approver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Reject,
}

impl Decision {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// What an approver said.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    pub id: Uuid,
    pub step_seq: i32,
    pub approver_user_id: Uuid,
    pub decision: Decision,
    pub comment: Option<String>,
    pub created_at: Timestamp,
}

/// Somebody who may decide an open step now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Decider {
    pub step_seq: i32,
    pub user_id: Uuid,
    /// Not named by the step: it came to them because nobody else can, or did in time.
    pub escalated: bool,
}

/// A request with its steps, what was decided, and who may decide what is open.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestDetail {
    #[serde(flatten)]
    pub request: ApprovalRequest,
    pub steps: Vec<RequestStep>,
    pub actions: Vec<Action>,
    pub deciders: Vec<Decider>,
}

/// Which requests have to do with the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mine {
    /// Those that the caller made.
    Requested,
    /// Those that wait for the caller's decision.
    ToDecide,
}

/// The filters of the list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct RequestFilter {
    pub state: Option<State>,
    pub mine: Option<Mine>,
    pub action_code: Option<String>,
    pub object_type: Option<String>,
    pub object_id: Option<Uuid>,
}

/// # Errors
/// 404 when the company has no such request.
pub async fn find(tx: &Tx, id: Uuid) -> Result<RequestDetail> {
    Ok(find_with_command(tx, id).await?.0)
}

pub(crate) async fn find_with_command(tx: &Tx, id: Uuid) -> Result<(RequestDetail, Value)> {
    let row = tx
        .query_opt(DETAIL, &[&tx.tenant().0, &id])
        .await?
        .ok_or_else(Error::not_found)?;
    let detail = RequestDetail {
        request: from_row(&row)?,
        steps: from_json(row.get("steps"))?.unwrap_or_default(),
        actions: from_json(row.get("actions"))?.unwrap_or_default(),
        deciders: from_json(row.get("deciders"))?.unwrap_or_default(),
    };
    Ok((detail, row.get("command")))
}

/// The steps of a request that are open together, each with who could decide it were it open now.
pub(crate) struct Stage {
    kind: Kind,
    steps: BTreeMap<i32, Vec<Uuid>>,
}

impl Stage {
    /// Whether there is somebody for it: of flat steps one is enough.
    pub(crate) fn can_be_decided(&self) -> bool {
        let mut steps = self.steps.values();
        match self.kind {
            Kind::Flat => steps.any(|deciders| !deciders.is_empty()),
            Kind::Sequential | Kind::Parallel => steps.all(|deciders| !deciders.is_empty()),
        }
    }

    pub(crate) fn deciders(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.steps.values().flatten().copied()
    }
}

/// The stages of a request in their order.
pub(crate) async fn stages(tx: &Tx, id: Uuid) -> Result<Vec<Stage>> {
    let mut stages: BTreeMap<i32, Stage> = BTreeMap::new();
    for row in tx.query(STAGES, &[&tx.tenant().0, &id]).await? {
        let stage = stages.entry(row.get("stage")).or_insert(Stage {
            kind: from_text(row.get("kind"))?,
            steps: BTreeMap::new(),
        });
        let deciders = stage.steps.entry(row.get("seq")).or_default();
        deciders.extend(row.get::<_, Option<Uuid>>("user_id"));
    }
    Ok(stages.into_values().collect())
}

/// Holds a request until the transaction ends: of several who decide, each sees what the one before
/// did.
///
/// # Errors
/// 404 when the company has no such request, 409 with `details.state` when it is decided.
pub(crate) async fn lock_pending(tx: &Tx, id: Uuid) -> Result<()> {
    match lock(tx, id).await? {
        State::Pending => Ok(()),
        state => Err(Error::new(Code::Conflict, "This request is decided already.")
            .with_details(json!({ "state": state }))),
    }
}

/// As [`lock_pending`], whatever its state, which it returns.
///
/// # Errors
/// 404 when the company has no such request.
pub(crate) async fn lock(tx: &Tx, id: Uuid) -> Result<State> {
    let row = tx.query_opt(LOCK, &[&tx.tenant().0, &id]).await?;
    from_text(row.ok_or_else(Error::not_found)?.get(0))
}

/// One page of the company's requests.
///
/// # Errors
/// 403 for `mine` of a caller that is no person.
pub async fn list(tx: &Tx, filter: &RequestFilter, page: &PageRequest) -> Result<Page<ApprovalRequest>> {
    let mut sql = Sql::list(tx, LIST, "r");
    sql.filter_opt("r.state = $", filter.state.map(State::as_str));
    sql.filter_opt("r.action_code = $", filter.action_code.clone());
    sql.filter_opt("r.object_type = $", filter.object_type.clone());
    sql.filter_opt("r.object_id = $", filter.object_id);
    match filter.mine {
        Some(Mine::Requested) => sql.filter("r.requester_user_id = $", person(tx)?),
        Some(Mine::ToDecide) => sql.filter(
            // Worked out once: nothing of it is about the row.
            "r.state = 'pending' AND r.id = ANY (ARRAY(
                 SELECT d.id FROM app.approvals_to_decide(app.current_tenant_id(), $) AS d (id)))",
            person(tx)?,
        ),
        None => {}
    }
    sql.fetch(tx, page, from_row, |request| {
        (Key::Timestamp(request.created_at), request.id)
    })
    .await
}

/// The person behind the transaction.
///
/// # Errors
/// 403 when it is a program.
pub(crate) fn person(tx: &Tx) -> Result<Uuid> {
    tx.caller().user_id().ok_or_else(|| {
        Error::new(
            Code::Forbidden,
            "Approvals are asked for and given by people; use a person's access token.",
        )
    })
}

fn from_row(row: &Row) -> Result<ApprovalRequest> {
    Ok(ApprovalRequest {
        id: row.get("id"),
        policy_id: row.get("policy_id"),
        action_code: row.get("action_code"),
        object_type: row.get("object_type"),
        object_id: row.get("object_id"),
        title: row.get("title"),
        payload: row.get("payload"),
        requester_user_id: row.get("requester_user_id"),
        state: from_text(row.get("state"))?,
        current_step: row.get("current_step"),
        failure_reason: row.get("failure_reason"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
        decided_at: row.get("decided_at"),
        executed_at: row.get("executed_at"),
    })
}
