//! Conditions on the facts of an action (S3A.2, S3A.3): a small tree, checked when it is stored.
//! Numbers are compared as decimals, never as floats.

use crate::facts::{self, Fact, FactType, FactTypes, Facts};
use kernel::Validator;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// How deep a tree may be.
pub const MAX_DEPTH: usize = 5;
/// How many parts a tree may have.
pub const MAX_PARTS: usize = 50;
/// How many values `in` may list.
pub const MAX_CHOICES: usize = 100;
const MAX_TEXT: usize = 200;
/// A float with so many digits is the decimal that was written; with more it may be another.
const EXACT_DIGITS: usize = 15;

/// When a policy or a step applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Condition {
    /// Each of them holds.
    All { all: Vec<Condition> },
    /// At least one of them holds.
    Any { any: Vec<Condition> },
    /// It does not hold.
    Not { not: Box<Condition> },
    /// A fact compares so with a value. A fact that the action does not have never does.
    Fact(Comparison),
}

/// `{"field": "amount", "op": "gt", "value": 100000}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The name of a fact.
    pub field: String,
    pub op: Operator,
    /// What the fact is: a number, also as text; a text; an id; true or false. For `in` a list of these.
    pub value: Value,
}

/// How a fact is compared. `gt`, `gte`, `lt` and `lte` are for numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
}

impl Condition {
    /// Reads a tree; everything wrong with it is rejected under `path`.
    pub fn parse(value: &Value, path: &str, validator: &mut Validator) -> Option<Self> {
        Parser { validator, parts: 0 }.condition(value, path, 1)
    }

    /// Rejects every fact that the action does not have, and what it never is: such a comparison would
    /// never hold, and the policy would gate nothing.
    pub(crate) fn check_facts(&self, known: FactTypes, path: &str, validator: &mut Validator) {
        match self {
            Self::All { all } => {
                for (at, part) in all.iter().enumerate() {
                    part.check_facts(known, &format!("{path}.all[{at}]"), validator);
                }
            }
            Self::Any { any } => {
                for (at, part) in any.iter().enumerate() {
                    part.check_facts(known, &format!("{path}.any[{at}]"), validator);
                }
            }
            Self::Not { not } => not.check_facts(known, &format!("{path}.not"), validator),
            Self::Fact(comparison) => comparison.check(known, path, validator),
        }
    }

    /// Whether it holds for these facts.
    #[must_use]
    pub fn holds(&self, facts: &Facts) -> bool {
        match self {
            Self::All { all } => all.iter().all(|part| part.holds(facts)),
            Self::Any { any } => any.iter().any(|part| part.holds(facts)),
            Self::Not { not } => !not.holds(facts),
            Self::Fact(comparison) => facts
                .get(&comparison.field)
                .is_some_and(|fact| comparison.holds(fact)),
        }
    }
}

impl Comparison {
    fn check(&self, known: FactTypes, path: &str, validator: &mut Validator) {
        let Some(of) = facts::type_of(known, &self.field) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let message = format!("The action has the facts {}.", names.join(", "));
            return validator.reject(format!("{path}.field"), "unknown", &message);
        };
        let orders = matches!(
            self.op,
            Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte
        );
        if orders && of != FactType::Number {
            let message = format!(
                "{} is no number, and neither more nor less than another.",
                self.field
            );
            return validator.reject(format!("{path}.op"), "invalid", &message);
        }
        let mut check = |value: &Value, path: String| {
            if !fits(of, value) {
                let message = format!("{} is {}.", self.field, described(of));
                validator.reject(path, "invalid", &message);
            }
        };
        match &self.value {
            Value::Array(choices) => {
                for (at, choice) in choices.iter().enumerate() {
                    check(choice, format!("{path}.value[{at}]"));
                }
            }
            value => check(value, format!("{path}.value")),
        }
    }

    fn holds(&self, fact: &Fact) -> bool {
        let ordered = |wanted: fn(std::cmp::Ordering) -> bool| match fact {
            Fact::Number(number) => decimal(&self.value).is_some_and(|value| wanted(number.cmp(&value))),
            Fact::Bool(_) | Fact::Text(_) | Fact::Id(_) => false,
        };
        match self.op {
            Operator::Eq => equals(fact, &self.value),
            Operator::Ne => !equals(fact, &self.value),
            Operator::Gt => ordered(std::cmp::Ordering::is_gt),
            Operator::Gte => ordered(std::cmp::Ordering::is_ge),
            Operator::Lt => ordered(std::cmp::Ordering::is_lt),
            Operator::Lte => ordered(std::cmp::Ordering::is_le),
            Operator::In => self
                .value
                .as_array()
                .is_some_and(|choices| choices.iter().any(|choice| equals(fact, choice))),
        }
    }
}

fn equals(fact: &Fact, value: &Value) -> bool {
    match fact {
        Fact::Bool(fact) => value.as_bool() == Some(*fact),
        Fact::Number(fact) => decimal(value) == Some(*fact),
        Fact::Text(fact) => value.as_str() == Some(fact),
        Fact::Id(fact) => id(value) == Some(*fact),
    }
}

/// Whether a fact of this kind can be this value.
fn fits(of: FactType, value: &Value) -> bool {
    match of {
        FactType::Bool => value.is_boolean(),
        FactType::Number => decimal(value).is_some(),
        FactType::Text => value.is_string(),
        FactType::Code(codes) => value.as_str().is_some_and(|code| codes.contains(&code)),
        FactType::Id => id(value).is_some(),
    }
}

fn described(of: FactType) -> String {
    match of {
        FactType::Bool => "true or false".to_owned(),
        FactType::Number => "a number".to_owned(),
        FactType::Text => "a text".to_owned(),
        FactType::Code(codes) => format!("one of {}", codes.join(", ")),
        FactType::Id => "an id".to_owned(),
    }
}

fn id(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}

/// The number that a value states exactly.
fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            let digits = text.split('e').next().unwrap_or_default();
            if number.is_f64() && digits.bytes().filter(u8::is_ascii_digit).count() > EXACT_DIGITS {
                return None;
            }
            Decimal::from_str_exact(&text)
                .or_else(|_| Decimal::from_scientific(&text))
                .ok()
        }
        Value::String(text) if text.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b)) => {
            Decimal::from_str_exact(text).ok()
        }
        _ => None,
    }
}

struct Parser<'a> {
    validator: &'a mut Validator,
    parts: usize,
}

impl Parser<'_> {
    fn condition(&mut self, value: &Value, path: &str, depth: usize) -> Option<Condition> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            // Once is enough.
            if self.parts == MAX_PARTS + 1 {
                self.validator.reject(
                    path,
                    "too_many",
                    &format!("A condition has at most {MAX_PARTS} parts."),
                );
            }
            return None;
        }
        if depth > MAX_DEPTH {
            return self.reject(
                path,
                "too_deep",
                &format!("A condition is at most {MAX_DEPTH} levels deep."),
            );
        }
        let Some(object) = value.as_object() else {
            return self.reject(
                path,
                "invalid",
                "This is an object: all, any, not, or field, op and value.",
            );
        };
        let only = (object.len() == 1).then(|| object.iter().next()).flatten();
        match only.map(|(name, value)| (name.as_str(), value)) {
            Some(("all", parts)) => self
                .list(parts, &format!("{path}.all"), depth)
                .map(|all| Condition::All { all }),
            Some(("any", parts)) => self
                .list(parts, &format!("{path}.any"), depth)
                .map(|any| Condition::Any { any }),
            Some(("not", part)) => self
                .condition(part, &format!("{path}.not"), depth + 1)
                .map(|not| Condition::Not { not: Box::new(not) }),
            _ => self.comparison(value, path),
        }
    }

    fn list(&mut self, parts: &Value, path: &str, depth: usize) -> Option<Vec<Condition>> {
        let Some(parts) = parts.as_array().filter(|parts| !parts.is_empty()) else {
            return self.reject(path, "invalid", "This is a list with at least one condition.");
        };
        // Every part is looked at, so that all errors are found at once.
        let read: Vec<_> = parts
            .iter()
            .take(MAX_PARTS + 1)
            .enumerate()
            .map(|(at, part)| self.condition(part, &format!("{path}[{at}]"), depth + 1))
            .collect();
        read.into_iter().collect()
    }

    fn comparison(&mut self, value: &Value, path: &str) -> Option<Condition> {
        let comparison = match Comparison::deserialize(value) {
            Ok(comparison) => comparison,
            Err(error) => return self.reject(path, "invalid", &error.to_string()),
        };
        let name_is_good = (1..=64).contains(&comparison.field.len())
            && comparison
                .field
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
        if !name_is_good {
            return self.reject(
                &format!("{path}.field"),
                "invalid",
                "This is the name of a fact: letters, digits, _ and dots, at most 64.",
            );
        }
        let (value, wanted) = (&comparison.value, format!("{path}.value"));
        match comparison.op {
            Operator::Eq | Operator::Ne if !is_scalar(value) => self.reject(
                &wanted,
                "invalid",
                "This is a text of at most 200 characters, true or false, or a number; one with more than 15 digits as text.",
            ),
            Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte if decimal(value).is_none() => self.reject(
                &wanted,
                "invalid",
                "This is a number; one with more than 15 digits as text.",
            ),
            Operator::In
                if !value.as_array().is_some_and(|choices| {
                    (1..=MAX_CHOICES).contains(&choices.len()) && choices.iter().all(is_scalar)
                }) =>
            {
                self.reject(
                    &wanted,
                    "invalid",
                    &format!("This is a list of 1 to {MAX_CHOICES} texts, numbers, true or false."),
                )
            }
            _ => Some(Condition::Fact(comparison)),
        }
    }

    fn reject<T>(&mut self, path: &str, code: &'static str, message: &str) -> Option<T> {
        self.validator.reject(path, code, message);
        None
    }
}

fn is_scalar(value: &Value) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::Number(_) => decimal(value).is_some(),
        Value::String(text) => text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests;
