//! Policies: which action needs whose approval, and when (S3A.3, S3A.4).

mod body;

use crate::condition::Condition;
use crate::facts::Facts;
use crate::step::{self, Approver, Kind, Step};
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Error, Feature, Limit, Page, PageRequest, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub use body::{CreatePolicy, NewPolicy, UpdatePolicy};

/// What policies can be sorted by.
pub static SORTS: &[Sort] = &[Sort {
    name: "created_at",
    column: "p.created_at",
    key: KeyType::Timestamp,
}];

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.name, p.action_code, p.object_type, p.conditions, p.self_approval_allowed, p.active,
                    p.created_at, p.updated_at,
                    (SELECT jsonb_agg(jsonb_build_object(
                                'seq', s.seq, 'kind', s.kind, 'approver_mode', s.approver_mode,
                                'approver_ref', s.approver_ref, 'threshold', s.threshold, 'quorum', s.quorum,
                                'sla_hours', s.sla_hours) ORDER BY s.seq)
                     FROM approval_steps s WHERE s.tenant_id = p.tenant_id AND s.policy_id = p.id) AS steps
             FROM approval_policies p",
            $rest
        )
    };
}

const LIST: &str = select!("");
const FIND: &str = select!(" WHERE p.tenant_id = $1 AND p.id = $2 AND p.archived_at IS NULL");
const LOCK: &str = "SELECT FROM approval_policies
     WHERE tenant_id = $1 AND id = $2 AND archived_at IS NULL FOR NO KEY UPDATE";

const INSERT: &str = "INSERT INTO approval_policies
     (tenant_id, id, name, action_code, object_type, conditions, self_approval_allowed, active, created_at, updated_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";

const INSERT_STEPS: &str = "INSERT INTO approval_steps
     (tenant_id, policy_id, id, seq, kind, approver_mode, approver_ref, approver_user_id, approver_group_id,
      approver_role_id, threshold, quorum, sla_hours)
     SELECT $1, $2, new.* FROM unnest($3::uuid[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::uuid[],
                                      $9::uuid[], $10::uuid[], $11::jsonb[], $12::integer[], $13::integer[]) AS new";

const UPDATE: &str = "UPDATE approval_policies
     SET name = $3, action_code = $4, object_type = $5, conditions = $6, self_approval_allowed = $7, active = $8,
         updated_at = $9
     WHERE tenant_id = $1 AND id = $2";

const DELETE_STEPS: &str = "DELETE FROM approval_steps WHERE tenant_id = $1 AND policy_id = $2";

const ARCHIVE: &str = "UPDATE approval_policies SET archived_at = $3, updated_at = $3
     WHERE tenant_id = $1 AND id = $2 AND archived_at IS NULL RETURNING active";

const OF_ACTION: &str = "SELECT p.id, p.name, p.conditions, p.self_approval_allowed, s.seq, s.kind, s.approver_mode,
            s.approver_ref, s.approver_user_id, s.approver_group_id, s.approver_role_id, s.threshold, s.quorum, s.sla_hours
     FROM approval_policies p JOIN approval_steps s ON s.tenant_id = p.tenant_id AND s.policy_id = p.id
     WHERE p.tenant_id = $1 AND p.action_code = $2 AND p.active AND p.archived_at IS NULL
     ORDER BY p.created_at, p.id, s.seq";

/// A policy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    pub id: Uuid,
    pub name: String,
    /// The action that it gates: `contact.delete` or `entitlement.override`.
    pub action_code: String,
    /// `contact`, `entitlements`.
    pub object_type: String,
    /// When it applies; null: every time.
    pub conditions: Option<Condition>,
    /// Whether an approver may approve what they asked for themselves.
    pub self_approval_allowed: bool,
    pub active: bool,
    pub steps: Vec<Step>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The filters of the list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct PolicyFilter {
    pub action_code: Option<String>,
    pub active: Option<bool>,
}

/// A step that an action has to pass, with the policy that asks for it.
pub(crate) struct Demanded {
    pub policy_id: Uuid,
    pub policy_name: String,
    pub self_approval_allowed: bool,
    pub step: Step,
    pub approver: Approver,
}

/// Stores a policy. From its commit on it gates.
///
/// # Errors
/// 404 when a step names a user, group or role that the company does not have.
pub async fn insert(tx: &Tx, new: NewPolicy) -> Result<Policy> {
    let (id, now) = (tx.clock().id(), tx.clock().now());
    let approvers = step::resolve(tx, &new.steps).await?;
    let policy = Policy {
        id,
        name: new.name,
        action_code: new.action_code,
        object_type: new.object_type,
        conditions: new.conditions,
        self_approval_allowed: new.self_approval_allowed,
        active: new.active,
        steps: new.steps,
        created_at: now,
        updated_at: now,
    };
    within_plan(tx, None, &policy).await?;
    write(tx, INSERT, &policy).await?;
    insert_steps(tx, &policy, &approvers).await?;
    Ok(policy)
}

/// Counts policies in force against the plan, and lets only a plan that has them have parallel steps:
/// new ones, and those that come into force. What a company had when its plan lost them stays, and can
/// be renamed and taken out of force.
async fn within_plan(tx: &Tx, before: Option<&Policy>, policy: &Policy) -> Result<()> {
    let was_active = before.is_some_and(|before| before.active);
    let are_same = before.is_some_and(|before| before.steps == policy.steps);
    let is_parallel = policy.steps.iter().any(|step| step.kind == Kind::Parallel);
    if is_parallel && (!are_same || (policy.active && !was_active)) {
        entitlements::require_feature(tx, Feature::ApprovalsParallelSteps).await?;
    }
    match (was_active, policy.active) {
        (false, true) => entitlements::consume(tx, Limit::ApprovalsPoliciesMax, 1).await,
        (true, false) => entitlements::release(tx, Limit::ApprovalsPoliciesMax, 1).await,
        _ => Ok(()),
    }
}

/// Writes a changed policy, as [`UpdatePolicy::apply`] made it from `before`, which
/// [`find_for_update`] read. Requests that wait already are not touched.
///
/// # Errors
/// As [`insert`].
pub async fn update(tx: &Tx, before: &Policy, policy: &Policy) -> Result<()> {
    within_plan(tx, Some(before), policy).await?;
    if policy.steps != before.steps {
        let approvers = step::resolve(tx, &policy.steps).await?;
        tx.execute(DELETE_STEPS, &[&tx.tenant().0, &policy.id]).await?;
        insert_steps(tx, policy, &approvers).await?;
    }
    write(tx, UPDATE, policy).await
}

async fn write(tx: &Tx, sql: &str, policy: &Policy) -> Result<()> {
    let conditions = json(policy.conditions.as_ref())?;
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &policy.id,
        &policy.name,
        &policy.action_code,
        &policy.object_type,
        &conditions,
        &policy.self_approval_allowed,
        &policy.active,
        &policy.updated_at,
    ];
    tx.execute(sql, params).await.map(drop)
}

async fn insert_steps(tx: &Tx, policy: &Policy, approvers: &[Approver]) -> Result<()> {
    fn each<T, U>(of: &[T], value: impl FnMut(&T) -> U) -> Vec<U> {
        of.iter().map(value).collect()
    }
    let steps = policy.steps.as_slice();
    let thresholds = steps.iter().map(|step| json(step.threshold.as_ref()));
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &policy.id,
        &each(steps, |_| tx.clock().id()),
        &each(steps, |step| step.seq),
        &each(steps, |step| step.kind.as_str()),
        &each(steps, |step| step.approver_mode.as_str()),
        &each(steps, |step| step.approver_ref.clone()),
        &each(approvers, |approver| approver.user),
        &each(approvers, |approver| approver.group),
        &each(approvers, |approver| approver.role),
        &thresholds.collect::<Result<Vec<_>>>()?,
        &each(steps, |step| step.quorum),
        &each(steps, |step| step.sla_hours),
    ];
    tx.execute(INSERT_STEPS, params).await.map(drop)
}

/// # Errors
/// 404 when the company has no such policy.
pub async fn find(tx: &Tx, id: Uuid) -> Result<Policy> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &id]).await?;
    from_row(&row.ok_or_else(Error::not_found)?)
}

/// As [`find`], and holds the row until the transaction ends.
///
/// # Errors
/// As [`find`].
pub async fn find_for_update(tx: &Tx, id: Uuid) -> Result<Policy> {
    tx.query_opt(LOCK, &[&tx.tenant().0, &id])
        .await?
        .ok_or_else(Error::not_found)?;
    // In a trip of its own: the steps, too, are what the one before us made of them.
    find(tx, id).await
}

/// One page of the company's policies.
///
/// # Errors
/// As the database fails.
pub async fn list(tx: &Tx, filter: &PolicyFilter, page: &PageRequest) -> Result<Page<Policy>> {
    let mut sql = Sql::list(tx, LIST, "p");
    sql.only("p.archived_at IS NULL");
    sql.filter_opt("p.action_code = $", filter.action_code.clone());
    sql.filter_opt("p.active = $", filter.active);
    sql.fetch(tx, page, from_row, |policy| {
        (Key::Timestamp(policy.created_at), policy.id)
    })
    .await
}

/// Takes a policy out of force for good. Requests that wait keep their steps; returns whether it
/// was active.
///
/// # Errors
/// 404 when the company has no such policy.
pub async fn archive(tx: &Tx, id: Uuid) -> Result<bool> {
    let archived = tx
        .query_opt(ARCHIVE, &[&tx.tenant().0, &id, &tx.clock().now()])
        .await?;
    let was_active = archived.ok_or_else(Error::not_found)?.get(0);
    if was_active {
        entitlements::release(tx, Limit::ApprovalsPoliciesMax, 1).await?;
    }
    Ok(was_active)
}

/// Every policy in force for an action, step by step, the oldest policy first.
pub(crate) async fn of_action(tx: &Tx, action_code: &str) -> Result<Vec<Row>> {
    tx.query(OF_ACTION, &[&tx.tenant().0, &action_code]).await
}

/// Of the rows of [`of_action`], the steps that apply to these facts.
pub(crate) fn demanded(rows: &[Row], facts: &Facts) -> Result<Vec<Demanded>> {
    let mut demanded = Vec::new();
    for row in rows {
        let applies = |column| -> Result<bool> {
            let condition: Option<Condition> = from_json(row.get(column))?;
            Ok(condition.is_none_or(|condition| condition.holds(facts)))
        };
        if applies("conditions")? && applies("threshold")? {
            demanded.push(from_joined(row)?);
        }
    }
    Ok(demanded)
}

fn from_joined(row: &Row) -> Result<Demanded> {
    Ok(Demanded {
        policy_id: row.get("id"),
        policy_name: row.get("name"),
        self_approval_allowed: row.get("self_approval_allowed"),
        step: Step {
            seq: row.get("seq"),
            kind: from_text(row.get("kind"))?,
            approver_mode: from_text(row.get("approver_mode"))?,
            approver_ref: row.get("approver_ref"),
            threshold: from_json(row.get("threshold"))?,
            quorum: row.get("quorum"),
            sla_hours: row.get("sla_hours"),
        },
        approver: Approver {
            user: row.get("approver_user_id"),
            group: row.get("approver_group_id"),
            role: row.get("approver_role_id"),
        },
    })
}

fn from_row(row: &Row) -> Result<Policy> {
    Ok(Policy {
        id: row.get("id"),
        name: row.get("name"),
        action_code: row.get("action_code"),
        object_type: row.get("object_type"),
        conditions: from_json(row.get("conditions"))?,
        self_approval_allowed: row.get("self_approval_allowed"),
        active: row.get("active"),
        steps: from_json(row.get("steps"))?.unwrap_or_default(),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}

fn json(condition: Option<&Condition>) -> Result<Option<Value>> {
    let json = condition.map(serde_json::to_value).transpose();
    json.map_err(Error::internal)
}

/// What a JSON column holds.
pub(crate) fn from_json<T: DeserializeOwned>(column: Option<Value>) -> Result<Option<T>> {
    column
        .map(serde_json::from_value)
        .transpose()
        .map_err(Error::internal)
}

/// What a column with a CHECK holds.
pub(crate) fn from_text<T: DeserializeOwned>(column: &str) -> Result<T> {
    serde_json::from_value(Value::from(column)).map_err(Error::internal)
}
