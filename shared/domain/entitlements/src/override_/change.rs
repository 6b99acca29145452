//! What a change of overrides amounts to.

use super::{MAX_LIMIT, Overrides, SetOverride, changed};

/// What setting overrides would change, for those who have to approve it.
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
#[must_use]
pub fn change(current: &Overrides, wanted: &[SetOverride]) -> Change {
    let codes = changed(&current.overrides, wanted);
    let find = |code: &str| wanted.iter().find(|new| new.code == code);
    let set: Vec<&SetOverride> = codes.iter().filter_map(|code| find(code)).collect();
    let (features, limits) = (&current.effective.features, &current.effective.limits);
    let is_on = |code: &str| features.iter().any(|state| state.code == code && state.enabled);
    let was = |code: &str| {
        let state = limits.iter().find(|state| state.code == code);
        state.map_or(0, |state| state.limit_value.unwrap_or(MAX_LIMIT))
    };
    let to = |new: &SetOverride| new.limit_value.unwrap_or(MAX_LIMIT);
    let raised = set
        .iter()
        .filter(|new| new.enabled.is_none() && to(new) > was(&new.code));
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
    Change {
        codes: codes.len(),
        removed: codes.len() - set.len(),
        features_on: set
            .iter()
            .filter(|new| new.enabled == Some(true) && !is_on(&new.code))
            .count(),
        highest_limit: raised.map(|new| to(new)).max(),
        values: values.collect::<Vec<_>>().join(", "),
    }
}
