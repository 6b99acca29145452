//! A request as it is made: its steps are a snapshot of the policies'.

use super::{ApprovalRequest, StepState, from_row};
use crate::command::Command;
use crate::facts::Facts;
use crate::policy::Demanded;
use crate::step::{ApproverMode, Dynamic, Kind};
use db::Tx;
use jiff::{SignedDuration, Timestamp};
use kernel::{Code, Error, Result};
use serde_json::json;
use uuid::Uuid;

const INSERT: &str = "WITH request AS (
         INSERT INTO approval_requests
         (tenant_id, id, policy_id, action_code, object_type, object_id, object_key, title, command, payload,
          requester_user_id, current_step, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $12)
         ON CONFLICT (tenant_id, action_code, object_id, object_key) WHERE state = 'pending' DO NOTHING
         RETURNING *
     ), steps AS (
         INSERT INTO approval_request_steps
         (tenant_id, request_id, id, seq, stage, policy_id, policy_name, kind, approver_mode, approver_ref,
          approver_user_id, approver_group_id, approver_role_id, manager_of_user_id, quorum, self_approval_allowed,
          sla_hours, state, opened_at, remind_at, due_at)
         SELECT request.tenant_id, request.id, new.*
         FROM request, unnest($13::uuid[], $14::integer[], $15::integer[], $16::uuid[], $17::text[], $18::text[], $19::text[],
                              $20::text[], $21::uuid[], $22::uuid[], $23::uuid[], $24::uuid[], $25::integer[],
                              $26::boolean[], $27::integer[], $28::text[], $29::timestamptz[], $30::timestamptz[],
                              $31::timestamptz[]) AS new
     )
     SELECT * FROM request";

const PENDING: &str = "SELECT id FROM approval_requests
     WHERE tenant_id = $1 AND action_code = $2 AND object_id = $3 AND object_key = $4 AND state = 'pending'";

/// Stores a request with its steps, the first stage open.
///
/// # Errors
/// 409 `DUPLICATE` with `details.approval_request_id` when the same action waits already.
pub(crate) async fn insert(
    tx: &Tx,
    command: &Command,
    facts: &Facts,
    requester: Uuid,
    steps: &[Demanded],
) -> Result<ApprovalRequest> {
    let (id, now) = (tx.clock().id(), tx.clock().now());
    let stored = serde_json::to_value(command).map_err(Error::internal)?;
    let (payload, columns) = (facts.to_json(), Columns::of(tx, steps, facts, requester, now));
    let first = steps.first().map(|step| step.policy_id);
    let (action_code, object_type) = (command.action_code(), command.object_type());
    let (object_id, object_key, title) = (
        command.object_id(tx.tenant()),
        command.object_key(),
        command.title(),
    );
    let tenant = tx.tenant().0;
    let of_request: [&(dyn db::ToSql + Sync); 12] = [
        &tenant,
        &id,
        &first,
        &action_code,
        &object_type,
        &object_id,
        &object_key,
        &title,
        &stored,
        &payload,
        &requester,
        &now,
    ];
    let mut params = of_request.to_vec();
    params.extend(columns.params());
    if let Some(row) = tx.query_opt(INSERT, &params).await? {
        return from_row(&row);
    }
    let pending = tx
        .query_opt(PENDING, &[&tenant, &action_code, &object_id, &object_key])
        .await?;
    let pending: Option<Uuid> = pending.map(|row| row.get(0));
    Err(Error::new(Code::Duplicate, "This waits for approval already.")
        .with_details(json!({ "approval_request_id": pending })))
}

/// The columns of the steps to be.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    seqs: Vec<i32>,
    stages: Vec<i32>,
    policies: Vec<Uuid>,
    policy_names: Vec<String>,
    kinds: Vec<&'static str>,
    modes: Vec<&'static str>,
    refs: Vec<String>,
    users: Vec<Option<Uuid>>,
    groups: Vec<Option<Uuid>>,
    roles: Vec<Option<Uuid>>,
    managers_of: Vec<Option<Uuid>>,
    quorums: Vec<Option<i32>>,
    self_approvals: Vec<bool>,
    sla_hours: Vec<Option<i32>>,
    states: Vec<&'static str>,
    opened: Vec<Option<Timestamp>>,
    remind: Vec<Option<Timestamp>>,
    due: Vec<Option<Timestamp>>,
}

impl Columns {
    fn of(tx: &Tx, steps: &[Demanded], facts: &Facts, requester: Uuid, now: Timestamp) -> Self {
        let mut columns = Self::default();
        for ((demanded, stage), seq) in steps.iter().zip(stages(steps)).zip(1..) {
            let step = &demanded.step;
            let opens = stage == 1;
            let (remind, due) = deadlines(now, step.sla_hours.filter(|_| opens));
            let dynamic = (step.approver_mode == ApproverMode::Dynamic)
                .then(|| Dynamic::parse(&step.approver_ref))
                .flatten();
            let from = dynamic.and_then(|dynamic| facts.user(dynamic.fact()));
            let (user, manager_of) = match dynamic {
                Some(Dynamic::OwnerManager) => (None, Some(from.unwrap_or(requester))),
                Some(Dynamic::PipelineOwner | Dynamic::ProjectOwner) => (from, None),
                None => (demanded.approver.user, None),
            };
            columns.ids.push(tx.clock().id());
            columns.seqs.push(seq);
            columns.stages.push(stage);
            columns.policies.push(demanded.policy_id);
            columns.policy_names.push(demanded.policy_name.clone());
            columns.kinds.push(step.kind.as_str());
            columns.modes.push(step.approver_mode.as_str());
            columns.refs.push(step.approver_ref.clone());
            columns.users.push(user);
            columns.groups.push(demanded.approver.group);
            columns.roles.push(demanded.approver.role);
            columns.managers_of.push(manager_of);
            columns.quorums.push(step.quorum);
            columns.self_approvals.push(demanded.self_approval_allowed);
            columns.sla_hours.push(step.sla_hours);
            let state = if opens {
                StepState::Open
            } else {
                StepState::Waiting
            };
            columns.states.push(state.as_str());
            columns.opened.push(opens.then_some(now));
            columns.remind.push(remind);
            columns.due.push(due);
        }
        columns
    }

    fn params(&self) -> [&(dyn db::ToSql + Sync); 19] {
        [
            &self.ids,
            &self.seqs,
            &self.stages,
            &self.policies,
            &self.policy_names,
            &self.kinds,
            &self.modes,
            &self.refs,
            &self.users,
            &self.groups,
            &self.roles,
            &self.managers_of,
            &self.quorums,
            &self.self_approvals,
            &self.sla_hours,
            &self.states,
            &self.opened,
            &self.remind,
            &self.due,
        ]
    }
}

/// The stage of each step, from 1: neighbours of one policy and one kind share a stage, except that
/// a sequential step always has its own.
fn stages(steps: &[Demanded]) -> Vec<i32> {
    let mut stage = 0;
    let mut before: Option<&Demanded> = None;
    let each = steps.iter().map(|step| {
        let shares = before.is_some_and(|before| {
            before.policy_id == step.policy_id
                && before.step.kind == step.step.kind
                && step.step.kind != Kind::Sequential
        });
        stage += i32::from(!shares);
        before = Some(step);
        stage
    });
    each.collect()
}

/// When to remind and when to escalate: after three quarters of the hours, and after all of them.
pub(crate) fn deadlines(
    opened_at: Timestamp,
    sla_hours: Option<i32>,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let after = |minutes: i64| {
        sla_hours.and_then(|hours| {
            let wait = SignedDuration::from_mins(i64::from(hours) * minutes);
            opened_at.checked_add(wait).ok()
        })
    };
    (after(45), after(60))
}
