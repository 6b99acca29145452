//! What conditions are about: the facts of an action, gathered by the module that has it.

use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Bool(bool),
    /// Exact: an amount in major units, a percentage, a count.
    Number(Decimal),
    /// A code, or a text.
    Text(String),
    Id(Uuid),
}

/// What a fact is, as its action declares it. Conditions compare it with nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactType {
    Bool,
    Number,
    Text,
    /// One of these codes.
    Code(&'static [&'static str]),
    Id,
}

/// The facts that an action has, by name.
pub(crate) type FactTypes = &'static [(&'static str, FactType)];

/// What the fact of this name is; nothing, when there is none.
pub(crate) fn type_of(facts: FactTypes, name: &str) -> Option<FactType> {
    let known = facts.iter().find(|(known, _)| *known == name);
    known.map(|(_, of)| *of)
}

/// The facts of an action by name. They are shown to approvers, so no personal data.
///
/// Dynamic approvers are found by facts too: `owner_user_id` for `owner.manager`,
/// `pipeline_owner_user_id` for `pipeline.owner`, `project_owner_user_id` for `project.owner`.
#[derive(Clone, Debug, Default)]
pub struct Facts(BTreeMap<&'static str, Fact>);

impl Facts {
    /// Adds a fact, when there is one.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: Option<impl Into<Fact>>) -> Self {
        if let Some(fact) = fact {
            self.0.insert(name, fact.into());
        }
        self
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.get(name)
    }

    /// One that is not declared as what it is: no policy could ask for it.
    pub(crate) fn undeclared(&self, declared: FactTypes) -> Option<&'static str> {
        let is_declared = |name, fact: &Fact| match (type_of(declared, name), fact) {
            (Some(FactType::Bool), Fact::Bool(_))
            | (Some(FactType::Number), Fact::Number(_))
            | (Some(FactType::Text | FactType::Code(_)), Fact::Text(_))
            | (Some(FactType::Id), Fact::Id(_)) => true,
            (_, Fact::Bool(_) | Fact::Number(_) | Fact::Text(_) | Fact::Id(_)) => false,
        };
        let found = self.0.iter().find(|(name, fact)| !is_declared(name, fact));
        found.map(|(name, _)| *name)
    }

    /// The user that a fact names.
    pub(crate) fn user(&self, name: &str) -> Option<Uuid> {
        match self.get(name)? {
            Fact::Id(id) => Some(*id),
            Fact::Bool(_) | Fact::Number(_) | Fact::Text(_) => None,
        }
    }

    /// As approvers see them. Numbers are text, so that every digit arrives.
    pub(crate) fn to_json(&self) -> Value {
        let shown = self.0.iter().map(|(name, fact)| {
            let value = match fact {
                Fact::Bool(value) => Value::from(*value),
                Fact::Number(number) => Value::from(number.to_string()),
                Fact::Text(text) => Value::from(text.as_str()),
                Fact::Id(id) => Value::from(id.to_string()),
            };
            ((*name).to_owned(), value)
        });
        Value::Object(shown.collect())
    }
}

impl From<bool> for Fact {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Decimal> for Fact {
    fn from(number: Decimal) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Fact {
    fn from(count: usize) -> Self {
        Self::Number(Decimal::from(count))
    }
}

impl From<i64> for Fact {
    fn from(number: i64) -> Self {
        Self::Number(Decimal::from(number))
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Uuid> for Fact {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}
