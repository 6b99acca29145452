//! What a change of overrides amounts to.

use super::{MAX_LIMIT, Overrides, Scope, SetOverride, changed};
use crate::effective::{self, Effective};
use db::Tx;
use kernel::Result;

/// What setting overrides would change, for those who have to approve it. What is removed counts by what
/// stands behind it: the company's, or the plan's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How many overrides are set, changed or removed.
    pub codes: usize,
    /// How many are removed, so that less special rules count again.
    pub removed: usize,
    /// How many features are switched on that were off.
    pub features_on: usize,
    /// The highest of the limits that are raised; unlimited is [`MAX_LIMIT`].
    pub highest_limit: Option<i64>,
    /// Each of them with its new value: `contacts.max=500, maps.enabled=on, users.max=plan`.
    pub values: String,
}

/// What replacing the overrides of a scope by these would change there.
///
/// # Errors
/// As the database fails.
pub async fn change(tx: &Tx, scope: Scope, current: &Overrides, wanted: &[SetOverride]) -> Result<Change> {
    let codes = changed(&current.overrides, wanted);
    let find = |code: &str| wanted.iter().find(|new| new.code == code);
    let removed: Vec<&str> = codes
        .iter()
        .copied()
        .filter(|code| find(code).is_none())
        .collect();
    let behind = effective::behind(tx, scope.whom(), &removed, scope.name()).await?;
    let turned_on = |code: &str| {
        let on = find(code).map_or_else(|| is_on(&behind, code), |new| new.enabled == Some(true));
        on && !is_on(&current.effective, code)
    };
    let raised_to = |code: &str| {
        let to = match find(code) {
            Some(new) if new.enabled.is_some() => None,
            Some(new) => Some(new.limit_value.unwrap_or(MAX_LIMIT)),
            None => limit(&behind, code),
        };
        to.filter(|to| *to > limit(&current.effective, code).unwrap_or(0))
    };
    let values = codes.iter().map(|code| match find(code) {
        None => format!("{code}=plan"),
        Some(SetOverride {
            enabled: Some(on), ..
        }) => format!("{code}={}", if *on { "on" } else { "off" }),
        Some(SetOverride {
            limit_value: Some(limit),
            ..
        }) => format!("{code}={limit}"),
        Some(_) => format!("{code}=unlimited"),
    });
    Ok(Change {
        codes: codes.len(),
        removed: removed.len(),
        features_on: codes.iter().filter(|code| turned_on(code)).count(),
        highest_limit: codes.iter().filter_map(|code| raised_to(code)).max(),
        values: values.collect::<Vec<_>>().join(", "),
    })
}

fn is_on(effective: &Effective, code: &str) -> bool {
    let mut features = effective.features.iter();
    features.any(|state| state.code == code && state.enabled)
}

/// Unlimited is [`MAX_LIMIT`]; nothing for a feature.
fn limit(effective: &Effective, code: &str) -> Option<i64> {
    let state = effective.limits.iter().find(|state| state.code == code)?;
    Some(state.limit_value.unwrap_or(MAX_LIMIT))
}
