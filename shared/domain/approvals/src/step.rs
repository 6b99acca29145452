//! The steps of a policy: who has to approve, in what order, how fast (S3A.3).

use crate::condition::Condition;
use crate::facts::{self, FactTypes};
use db::Tx;
use kernel::{Error, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// How many steps a policy may have.
pub const MAX_STEPS: usize = 10;
const MAX_SEQ: i32 = 1000;
const MAX_QUORUM: i32 = 100;
/// A year.
const MAX_SLA_HOURS: i32 = 8760;

const RESOLVE: &str = "SELECT DISTINCT ON (given.at) u.id AS user_id, g.id AS group_id, r.id AS role_id
     FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[])
          WITH ORDINALITY AS given (user_id, group_id, role_id, role_code, at)
     LEFT JOIN users u ON u.tenant_id = $1 AND u.id = given.user_id
     LEFT JOIN groups g ON g.tenant_id = $1 AND g.id = given.group_id
     LEFT JOIN roles r ON (r.tenant_id = $1 OR r.tenant_id IS NULL) AND (r.id = given.role_id OR r.code = given.role_code)
     ORDER BY given.at, r.tenant_id NULLS LAST";

/// How a step takes part. Steps open in the order of `seq`; neighbours of kind `flat`, and
/// neighbours of kind `parallel`, open together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Any one approver of this step, or of the flat steps beside it, is enough.
    #[default]
    Flat,
    /// Opens when the step before it has approved; one of its approvers is enough.
    Sequential,
    /// Needs all of its approvers, or `quorum` of them, and all parallel steps beside it.
    Parallel,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Sequential => "sequential",
            Self::Parallel => "parallel",
        }
    }
}

/// How a step says who approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApproverMode {
    /// Everybody who holds a role.
    Role,
    /// Everybody in a group.
    Group,
    /// One user.
    User,
    /// Whoever stands in a relation to the object.
    Dynamic,
}

impl ApproverMode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Group => "group",
            Self::User => "user",
            Self::Dynamic => "dynamic",
        }
    }
}

/// A dynamic approver (S3A.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dynamic {
    /// The manager of the object's owner; of the requester, where nobody owns it.
    OwnerManager,
    PipelineOwner,
    ProjectOwner,
}

impl Dynamic {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "owner.manager" => Some(Self::OwnerManager),
            "pipeline.owner" => Some(Self::PipelineOwner),
            "project.owner" => Some(Self::ProjectOwner),
            _ => None,
        }
    }

    /// The fact that names the user whom it starts from.
    pub(crate) fn fact(self) -> &'static str {
        match self {
            Self::OwnerManager => "owner_user_id",
            Self::PipelineOwner => "pipeline_owner_user_id",
            Self::ProjectOwner => "project_owner_user_id",
        }
    }
}

/// A step of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    pub seq: i32,
    pub kind: Kind,
    pub approver_mode: ApproverMode,
    /// A role's code or id; a group's or user's id; `owner.manager`, and where the action's object has
    /// one, `pipeline.owner` or `project.owner`.
    pub approver_ref: String,
    /// The step applies only when this holds.
    pub threshold: Option<Condition>,
    /// Of a parallel step: how many approvers; null: all.
    pub quorum: Option<i32>,
    /// Approvers are reminded after three quarters of it; then it is escalated.
    pub sla_hours: Option<i32>,
}

/// A step in a body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateStep {
    /// The place in the order; by default the place in the list.
    #[schemars(range(min = 1, max = 1000))]
    pub seq: Option<i32>,
    #[serde(default)]
    pub kind: Kind,
    pub approver_mode: ApproverMode,
    /// A role's code or id; a group's or user's id; `owner.manager`, and where the action's object has
    /// one, `pipeline.owner` or `project.owner`.
    #[schemars(length(max = 64))]
    pub approver_ref: String,
    /// The step applies only when this holds.
    #[serde(default)]
    #[schemars(with = "Option<Condition>")]
    pub threshold: Option<Value>,
    /// Of a parallel step: how many approvers; by default all.
    #[schemars(range(min = 1, max = 100))]
    pub quorum: Option<i32>,
    #[schemars(range(min = 1, max = 8760))]
    pub sla_hours: Option<i32>,
}

/// Who a step's reference names. Nobody, when what it named is gone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Approver {
    pub user: Option<Uuid>,
    pub group: Option<Uuid>,
    pub role: Option<Uuid>,
}

/// Checks the steps of a body, for an action with these facts, and puts them in order.
pub(crate) fn parse_all(
    bodies: &[CreateStep],
    facts: Option<FactTypes>,
    validator: &mut Validator,
) -> Vec<Step> {
    if bodies.is_empty() || bodies.len() > MAX_STEPS {
        validator.reject(
            "steps",
            "out_of_range",
            &format!("A policy has 1 to {MAX_STEPS} steps."),
        );
        return Vec::new();
    }
    let mut taken = BTreeSet::new();
    let parsed = bodies.iter().enumerate().map(|(at, body)| {
        let position = i32::try_from(at + 1).unwrap_or(i32::MAX);
        let path = format!("steps[{at}]");
        let step = parse(body, position, &path, validator);
        check_facts(&step, facts, &path, validator);
        if !taken.insert(step.seq) {
            validator.reject(
                format!("steps[{at}].seq"),
                "repeated",
                "Another step has this place.",
            );
        }
        step
    });
    let mut steps: Vec<Step> = parsed.collect();
    steps.sort_by_key(|step| step.seq);
    steps
}

fn parse(body: &CreateStep, position: i32, path: &str, validator: &mut Validator) -> Step {
    let seq = body.seq.unwrap_or(position);
    within(validator, &format!("{path}.seq"), Some(seq), MAX_SEQ);
    within(validator, &format!("{path}.quorum"), body.quorum, MAX_QUORUM);
    within(
        validator,
        &format!("{path}.sla_hours"),
        body.sla_hours,
        MAX_SLA_HOURS,
    );
    if body.quorum.is_some() && body.kind != Kind::Parallel {
        validator.reject(
            format!("{path}.quorum"),
            "not_allowed",
            "Only parallel steps have a quorum.",
        );
    }
    let at = format!("{path}.approver_ref");
    let approver_ref = validator.text(&at, &body.approver_ref, 64);
    match body.approver_mode {
        ApproverMode::User | ApproverMode::Group if approver_ref.parse::<Uuid>().is_err() => {
            validator.reject(&at, "invalid", "This is the id of a user or group.");
        }
        ApproverMode::Dynamic if Dynamic::parse(&approver_ref).is_none() => {
            let message = "This is owner.manager, pipeline.owner or project.owner.";
            validator.reject(&at, "invalid", message);
        }
        _ => {}
    }
    let threshold = body
        .threshold
        .as_ref()
        .and_then(|tree| Condition::parse(tree, &format!("{path}.threshold"), validator));
    Step {
        seq,
        kind: body.kind,
        approver_mode: body.approver_mode,
        approver_ref,
        threshold,
        quorum: body.quorum,
        sla_hours: body.sla_hours,
    }
}

/// Rejects a threshold that asks for what the action does not have, and an approver who is found by it:
/// the step would name nobody, and every request would go to super admins.
pub(crate) fn check_facts(step: &Step, facts: Option<FactTypes>, path: &str, validator: &mut Validator) {
    let Some(facts) = facts else {
        return;
    };
    if let Some(threshold) = &step.threshold {
        threshold.check_facts(facts, &format!("{path}.threshold"), validator);
    }
    let dynamic = match step.approver_mode {
        ApproverMode::Dynamic => Dynamic::parse(&step.approver_ref),
        ApproverMode::Role | ApproverMode::Group | ApproverMode::User => None,
    };
    if dynamic.is_some_and(|dynamic| {
        dynamic != Dynamic::OwnerManager && facts::type_of(facts, dynamic.fact()).is_none()
    }) {
        let message = format!("What this action is about has no {}.", step.approver_ref);
        validator.reject(format!("{path}.approver_ref"), "not_allowed", &message);
    }
}

fn within(validator: &mut Validator, path: &str, value: Option<i32>, max: i32) {
    if value.is_some_and(|value| value < 1 || value > max) {
        validator.reject(path, "out_of_range", &format!("This is between 1 and {max}."));
    }
}

/// Finds the users, groups and roles that steps refer to, in the order of the steps.
///
/// # Errors
/// 404 when the company has no such user, group or role.
pub(crate) async fn resolve(tx: &Tx, steps: &[Step]) -> Result<Vec<Approver>> {
    let ids = |mode: ApproverMode| -> Vec<Option<Uuid>> {
        steps
            .iter()
            .map(|step| Some(step).filter(|step| step.approver_mode == mode))
            .map(|step| step.and_then(|step| step.approver_ref.parse().ok()))
            .collect()
    };
    let codes: Vec<Option<&str>> = steps
        .iter()
        .map(|step| Some(step).filter(|step| step.approver_mode == ApproverMode::Role))
        .map(|step| step.map(|step| step.approver_ref.as_str()))
        .collect();
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &ids(ApproverMode::User),
        &ids(ApproverMode::Group),
        &ids(ApproverMode::Role),
        &codes,
    ];
    let rows = tx.query(RESOLVE, params).await?;
    let found = rows.iter().zip(steps).map(|(row, step)| {
        let approver = Approver {
            user: row.get("user_id"),
            group: row.get("group_id"),
            role: row.get("role_id"),
        };
        let named = approver.user.or(approver.group).or(approver.role);
        match (step.approver_mode, named) {
            (ApproverMode::Dynamic, _) | (_, Some(_)) => Ok(approver),
            (_, None) => Err(Error::not_found()),
        }
    });
    found.collect()
}
