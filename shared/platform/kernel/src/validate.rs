//! Collects what is wrong with a body, so that a client sees all of it at once.

use crate::{Error, Result};
use serde_json::{Value, json};

/// Field errors found so far.
#[derive(Debug, Default)]
pub struct Validator(Vec<Value>);

impl Validator {
    /// Notes that `path` is wrong. `code` is for programs, `message` for people.
    pub fn reject(&mut self, path: impl AsRef<str>, code: &'static str, message: &str) {
        self.0
            .push(json!({ "path": path.as_ref(), "code": code, "message": message }));
    }

    /// Trims a text that must hold 1 to `max` characters and none that can't be stored or shown.
    pub fn text(&mut self, path: &str, value: &str, max: usize) -> String {
        let trimmed = value.trim();
        if trimmed.is_empty() {
            self.reject(path, "required", "This must not be empty.");
        }
        self.check_text(path, trimmed, max);
        trimmed.to_owned()
    }

    /// As [`Validator::text`], where nothing and an empty text are the same: none.
    pub fn optional_text(&mut self, path: &str, value: Option<&str>, max: usize) -> Option<String> {
        let trimmed = value.map(str::trim).filter(|value| !value.is_empty())?;
        self.check_text(path, trimmed, max);
        Some(trimmed.to_owned())
    }

    fn check_text(&mut self, path: &str, value: &str, max: usize) {
        if value.chars().count() > max {
            self.reject(path, "too_long", &format!("This holds at most {max} characters."));
        }
        if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.reject(
                path,
                "invalid_characters",
                "This must not hold control characters.",
            );
        }
    }

    /// # Errors
    /// 422 `VALIDATION_FAILED` with every field that was rejected.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::fields(self.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_every_field() {
        let mut validator = Validator::default();
        validator.text("name", "  ", 10);
        validator.text("title", "x\u{0}y", 10);
        assert_eq!(
            validator.optional_text("note", Some(" a "), 10).as_deref(),
            Some("a")
        );
        let error = validator.finish().unwrap_err();
        let fields = error.details().unwrap()["fields"].as_array().unwrap().clone();
        assert_eq!(
            fields
                .iter()
                .map(|f| f["code"].as_str().unwrap())
                .collect::<Vec<_>>(),
            ["required", "invalid_characters"]
        );
    }
}
