//! The codes that roles and groups are known by, and the texts they have in common.

use kernel::{Patch, Validator, text};

const MAX_CODE: usize = 50;

/// What a role or group is called, checked.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub code: String,
    pub name: String,
    pub description: String,
}

impl Named {
    /// Without a code the name makes one.
    pub(crate) fn parse(
        validator: &mut Validator,
        code: Option<&str>,
        name: &str,
        description: Option<&str>,
    ) -> Self {
        let name = validator.text("name", name, 100);
        let given = code.map(str::trim).filter(|code| !code.is_empty());
        let code = given.map_or_else(|| from_name(&name), str::to_owned);
        if code.is_empty() {
            validator.reject(
                "code",
                "required",
                "The name has no Latin letters to make a code of: give one.",
            );
        } else if !well_formed(&code) {
            validator.reject(
                "code",
                "invalid",
                "A code is 1 to 50 lower-case Latin letters, digits, '_', '-' and '.', and begins with a letter.",
            );
        }
        Self {
            code,
            name,
            description: description_of(validator, description),
        }
    }
}

fn description_of(validator: &mut Validator, given: Option<&str>) -> String {
    validator
        .optional_text("description", given, 500)
        .unwrap_or_default()
}

/// What a description becomes by a PATCH; cleared, it is empty.
pub(crate) fn patched_description(validator: &mut Validator, patch: &Patch<String>, current: &str) -> String {
    match patch {
        Patch::Absent => current.to_owned(),
        Patch::Null => String::new(),
        Patch::Value(given) => description_of(validator, Some(given)),
    }
}

fn well_formed(code: &str) -> bool {
    code.len() <= MAX_CODE
        && code.starts_with(|c: char| c.is_ascii_lowercase())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte))
}

fn from_name(name: &str) -> String {
    let words: Vec<String> = text::sort_key(name)
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let code: String = words
        .join("_")
        .trim_start_matches(|c: char| !c.is_ascii_lowercase())
        .chars()
        .take(MAX_CODE)
        .collect();
    code.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_makes_a_code_where_none_is_given() {
        for (code, name, expected) in [
            (None, "Élan Sales (Cairo)", Some("elan_sales_cairo")),
            (None, "2nd line", Some("nd_line")),
            (None, "مبيعات", None),
            (None, "007", None),
            (Some(" "), "Sales", Some("sales")),
            (Some("sales.north-1"), "مبيعات", Some("sales.north-1")),
            (Some("Sales"), "Sales", None),
            (Some("1sales"), "Sales", None),
            (Some("sales team"), "Sales", None),
            (Some(&"a".repeat(51)), "Sales", None),
        ] {
            let mut validator = Validator::default();
            let named = Named::parse(&mut validator, code, name, None);
            let taken = validator.finish().is_ok().then_some(named.code);
            assert_eq!(taken.as_deref(), expected, "{code:?} {name}");
        }
        let mut validator = Validator::default();
        let long = Named::parse(&mut validator, None, &"ab ".repeat(33), None);
        assert!(validator.finish().is_ok() && long.code.len() <= MAX_CODE);
    }
}
