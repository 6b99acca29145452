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
    /// A code, or an id.
    Text(String),
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

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }

    /// The user that a fact names.
    pub(crate) fn user(&self, name: &str) -> Option<Uuid> {
        match self.get(name)? {
            Fact::Text(text) => text.parse().ok(),
            Fact::Bool(_) | Fact::Number(_) => None,
        }
    }

    /// As approvers see them. Numbers are text, so that every digit arrives.
    pub(crate) fn to_json(&self) -> Value {
        let shown = self.0.iter().map(|(name, fact)| {
            let value = match fact {
                Fact::Bool(value) => Value::from(*value),
                Fact::Number(number) => Value::from(number.to_string()),
                Fact::Text(text) => Value::from(text.as_str()),
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
        Self::Text(id.to_string())
    }
}
