//! Whether an example fits its schema.
//!
//! Stricter than a validator of JSON Schema: a member that the schema does not name is an error, for an
//! example that still has it shows what the API no longer says. It knows the keywords that our types
//! give, and fails on any other.

use serde_json::{Map, Value};
use uuid::Uuid;

/// What a value is held against.
#[derive(Clone, Copy)]
pub struct Schemas<'a> {
    /// The whole description: references begin there.
    pub document: &'a Value,
}

impl<'a> Schemas<'a> {
    /// Holds a value against a schema.
    ///
    /// # Errors
    /// Where the value first differs, and in what.
    pub fn check(self, schema: &Value, value: &Value) -> Result<(), String> {
        self.fits(schema, value, "")
    }

    fn fits(self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        // `true` takes everything.
        let Some(schema) = schema.as_object() else {
            return Ok(());
        };
        for (keyword, rule) in schema {
            let fits = match keyword.as_str() {
                "$ref" => self.fits(self.named(rule)?, value, at).map(|()| true)?,
                "allOf" => list(rule)
                    .iter()
                    .try_for_each(|part| self.fits(part, value, at))
                    .map(|()| true)?,
                "anyOf" | "oneOf" => self.any(list(rule), value, at)?,
                "type" => is_any_of(rule, value),
                "const" => rule == value,
                "enum" => list(rule).contains(value),
                "format" => has_format(rule, value),
                "minimum" => number(value) >= number(rule),
                "maximum" => value.is_null() || number(value) <= number(rule),
                "minLength" => length(value).is_none_or(|length| Some(length) >= rule.as_u64()),
                "maxLength" => length(value).is_none_or(|length| Some(length) <= rule.as_u64()),
                "items" => {
                    for (index, item) in list(value).iter().enumerate() {
                        self.fits(rule, item, &format!("{at}/{index}"))?;
                    }
                    true
                }
                // the members are looked at below; the rest describes, or binds what is sent alone
                "required"
                | "properties"
                | "additionalProperties"
                | "title"
                | "description"
                | "default"
                | "minItems"
                | "maxItems"
                | "pattern" => true,
                other => return Err(format!("{at}: no rule is known for `{other}` of the schema")),
            };
            if !fits {
                return Err(format!("{at}: {value} is not as `{keyword}` says: {rule}"));
            }
        }
        self.members(schema, value, at)
    }

    fn any(self, schemas: &[Value], value: &Value, at: &str) -> Result<bool, String> {
        let mut reasons = Vec::new();
        for schema in schemas {
            match self.fits(schema, value, at) {
                Ok(()) => return Ok(true),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; or "))
    }

    /// The members of an object: all that are required, none that has no name in the schema.
    fn members(self, schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
        let Some(object) = value.as_object() else {
            return Ok(());
        };
        let required = schema.get("required").map(list).unwrap_or_default();
        if let Some(missing) = required
            .iter()
            .filter_map(Value::as_str)
            .find(|name| !object.contains_key(*name))
        {
            return Err(format!("{at}: {missing} is missing"));
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (name, member) in object {
            let at = format!("{at}/{name}");
            match (properties.and_then(|properties| properties.get(name)), others) {
                (Some(rule), _) => self.fits(rule, member, &at)?,
                (None, Some(rule)) if *rule != Value::Bool(false) => self.fits(rule, member, &at)?,
                (None, None) if properties.is_none() => {}
                _ => return Err(format!("{at}: the schema has no such member")),
            }
        }
        Ok(())
    }

    fn named(self, reference: &Value) -> Result<&'a Value, String> {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        pointer
            .and_then(|pointer| self.document.pointer(pointer))
            .ok_or_else(|| format!("nothing is at {reference}"))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// `type`: one name or several.
fn is_any_of(rule: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    is(rule) || list(rule).iter().any(is)
}

/// The formats of numbers are the sizes of our types, and `minimum` and `maximum` say the same.
fn has_format(rule: &Value, value: &Value) -> bool {
    let (Some(format), Some(text)) = (rule.as_str(), value.as_str()) else {
        return true;
    };
    match format {
        "uuid" => text.parse::<Uuid>().is_ok(),
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        _ => true,
    }
}

/// Of what is no number, none: it is not judged by size.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::INFINITY)
}

fn length(value: &Value) -> Option<u64> {
    value
        .as_str()
        .and_then(|text| u64::try_from(text.chars().count()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, value: &Value) -> Result<(), String> {
        let document = json!({ "components": { "schemas": {
            "Name": { "type": "string", "minLength": 1, "maxLength": 3 },
        } } });
        Schemas { document: &document }.check(schema, value)
    }

    #[test]
    fn a_value_fits_what_describes_it() {
        let schema = json!({
            "type": "object",
            "properties": {
                "id": { "type": "string", "format": "uuid" },
                "at": { "type": ["string", "null"], "format": "date-time" },
                "name": { "allOf": [{ "$ref": "#/components/schemas/Name" }], "description": "Short." },
                "size": { "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 9 }, { "type": "null" }] },
                "kinds": { "type": "array", "items": { "oneOf": [{ "const": "a" }, { "enum": ["b", "c"] }] } },
                "free": {},
                "facts": { "type": "object", "additionalProperties": { "type": "boolean" } },
            },
            "required": ["id"],
        });
        let id = "01941f29-7c00-7000-8000-000000000001";
        for good in [
            json!({ "id": id }),
            json!({ "id": id, "at": null, "name": "abc", "size": null, "kinds": [], "free": null, "facts": {} }),
            json!({
                "id": id, "at": "2025-01-01T00:00:00Z", "name": "a", "size": 9, "kinds": ["a", "c"],
                "free": { "of": ["any"] }, "facts": { "true": true },
            }),
        ] {
            assert_eq!(check(&schema, &good), Ok(()));
        }
        for (bad, reason) in [
            (json!({}), "id is missing"),
            (json!([]), "`type`"),
            (json!({ "id": "7" }), "/id: "),
            (json!({ "id": id, "at": "today" }), "/at: "),
            (json!({ "id": id, "name": "long" }), "`maxLength`"),
            (json!({ "id": id, "name": "" }), "`minLength`"),
            (json!({ "id": id, "size": 10 }), "`maximum`"),
            (json!({ "id": id, "size": 0 }), "`minimum`"),
            (json!({ "id": id, "size": 1.5 }), "`type`"),
            (json!({ "id": id, "kinds": ["a", "d"] }), "/kinds/1: "),
            (json!({ "id": id, "facts": { "true": 1 } }), "/facts/true: "),
            (
                json!({ "id": id, "gone": 1 }),
                "/gone: the schema has no such member",
            ),
        ] {
            let said = check(&schema, &bad).unwrap_err();
            assert!(said.contains(reason), "{bad}: {said}");
        }
    }

    #[test]
    fn what_the_check_does_not_know_is_no_pass() {
        assert!(check(&json!({ "not": {} }), &json!(1)).is_err());
        assert!(check(&json!({ "$ref": "#/components/schemas/Gone" }), &json!(1)).is_err());
    }
}
