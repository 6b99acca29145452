//! The bodies that make and change a policy, and what is checked of them.

use super::Policy;
use crate::command::{self, ACTIONS};
use crate::condition::Condition;
use crate::facts::FactTypes;
use crate::step::{self, CreateStep, Step};
use jiff::Timestamp;
use kernel::{Patch, Result, Validator};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The body that makes a policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePolicy {
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    #[schemars(length(min = 1, max = 64))]
    pub action_code: String,
    #[schemars(length(min = 1, max = 64))]
    pub object_type: String,
    /// A tree over the action's facts, at most 5 levels deep and of at most 50 parts.
    #[serde(default)]
    #[schemars(with = "Option<Condition>")]
    pub conditions: Option<Value>,
    #[serde(default)]
    pub self_approval_allowed: bool,
    #[serde(default = "yes")]
    pub active: bool,
    #[schemars(length(min = 1, max = 10))]
    pub steps: Vec<CreateStep>,
}

/// The body that changes a policy. `steps`, when given, replaces all of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatePolicy {
    #[schemars(length(min = 1, max = 100))]
    pub name: Option<String>,
    #[schemars(length(min = 1, max = 64))]
    pub action_code: Option<String>,
    #[schemars(length(min = 1, max = 64))]
    pub object_type: Option<String>,
    #[serde(default)]
    #[schemars(with = "Option<Condition>")]
    pub conditions: Patch<Value>,
    pub self_approval_allowed: Option<bool>,
    pub active: Option<bool>,
    #[schemars(length(min = 1, max = 10))]
    pub steps: Option<Vec<CreateStep>>,
}

/// A checked policy that is not stored yet.
#[derive(Clone, Debug)]
pub struct NewPolicy {
    pub(super) name: String,
    pub(super) action_code: String,
    pub(super) object_type: String,
    pub(super) conditions: Option<Condition>,
    pub(super) self_approval_allowed: bool,
    pub(super) active: bool,
    pub(super) steps: Vec<Step>,
}

impl NewPolicy {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn parse(body: &CreatePolicy) -> Result<Self> {
        let mut validator = Validator::default();
        let action_code = validator.text("action_code", &body.action_code, 64);
        let facts = facts_of(&action_code);
        let new = Self {
            name: validator.text("name", &body.name, 100),
            action_code,
            object_type: validator.text("object_type", &body.object_type, 64),
            conditions: body
                .conditions
                .as_ref()
                .and_then(|tree| Condition::parse(tree, "conditions", &mut validator)),
            self_approval_allowed: body.self_approval_allowed,
            active: body.active,
            steps: step::parse_all(&body.steps, facts, &mut validator),
        };
        let conditions = new.conditions.as_ref();
        check_action(&new.action_code, &new.object_type, conditions, &mut validator);
        validator.finish().map(|()| new)
    }
}

impl UpdatePolicy {
    /// The policy after the change.
    ///
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn apply(&self, current: Policy, now: Timestamp) -> Result<Policy> {
        let mut validator = Validator::default();
        let was_active = current.active;
        let mut text = |path, value: &Option<String>, current| match value {
            Some(value) => validator.text(path, value, 64),
            None => current,
        };
        let action_code = text("action_code", &self.action_code, current.action_code);
        let object_type = text("object_type", &self.object_type, current.object_type);
        let facts = facts_of(&action_code);
        let conditions = match &self.conditions {
            Patch::Absent => current.conditions,
            Patch::Null => None,
            Patch::Value(tree) => Condition::parse(tree, "conditions", &mut validator),
        };
        let changed = Policy {
            name: match &self.name {
                Some(name) => validator.text("name", name, 100),
                None => current.name,
            },
            action_code,
            object_type,
            conditions,
            self_approval_allowed: self
                .self_approval_allowed
                .unwrap_or(current.self_approval_allowed),
            active: self.active.unwrap_or(current.active),
            steps: match &self.steps {
                Some(steps) => step::parse_all(steps, facts, &mut validator),
                None => current.steps,
            },
            updated_at: now,
            ..current
        };
        // One that was made when this was not checked can still be renamed and taken out of force.
        let is_new = self.action_code.is_some()
            || self.object_type.is_some()
            || self.steps.is_some()
            || matches!(self.conditions, Patch::Value(_))
            || (changed.active && !was_active);
        if is_new {
            let conditions = changed.conditions.as_ref();
            check_action(
                &changed.action_code,
                &changed.object_type,
                conditions,
                &mut validator,
            );
            if self.steps.is_none() {
                for (at, kept) in changed.steps.iter().enumerate() {
                    step::check_facts(kept, facts, &format!("steps[{at}]"), &mut validator);
                }
            }
        }
        validator.finish().map(|()| changed)
    }
}

fn yes() -> bool {
    true
}

/// A policy for an action that does not exist, or that asks for a fact which its action does not have or
/// which is never of that kind, would gate nothing, and nobody would notice.
fn check_action(
    action_code: &str,
    object_type: &str,
    conditions: Option<&Condition>,
    validator: &mut Validator,
) {
    let Some(action) = command::action(action_code) else {
        let codes: Vec<&str> = ACTIONS.iter().map(|action| action.code).collect();
        let message = format!("The actions are {}.", codes.join(", "));
        if !action_code.is_empty() {
            validator.reject("action_code", "unknown", &message);
        }
        return;
    };
    if action.object_type != object_type && !object_type.is_empty() {
        let message = format!("The object_type of {action_code} is {}.", action.object_type);
        validator.reject("object_type", "invalid", &message);
    }
    if let Some(conditions) = conditions {
        conditions.check_facts(action.facts, "conditions", validator);
    }
}

/// The facts of an action; nothing when there is no such action, which is said elsewhere.
fn facts_of(action_code: &str) -> Option<FactTypes> {
    command::action(action_code).map(|action| action.facts)
}
