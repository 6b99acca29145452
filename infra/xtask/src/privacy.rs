//! Searches the logs of the whole suite for what must never be in one.
//!
//! The tests' people are the marks: whatever a test of `tests/it` calls a person, writes to them, or keeps secret
//! is read from its source, so that a new test is searched for without a list to keep.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use proc_macro2::{TokenStream, TokenTree};

use crate::paths::root;
use crate::source;

/// What secrets that the system makes look like, and the tests' own that stand beside no field's name.
const SHAPES: &[&str] = &[
    "@example.com",
    "\"2010",
    "otpauth://",
    "Bearer ",
    "m3r_",
    "m3k_",
    "m3i_",
    "m3l_",
    "m3c_",
    "eyJ",
    "EAAG-",
    "xkeysib-",
    "violet tram lantern",
    "the-operators-own-key",
    "m3-client-secret",
    "904417",
    "Gyrfalcon",
];

/// The fields whose values are people's names.
const NAMES: &[&str] = &[
    "first_name",
    "last_name",
    "full_name",
    "surname",
    "formatted_name",
    "confirm",
];

/// The fields whose values nobody but their owner and the company may read, each as a whole.
const TEXTS: &[&str] = &[
    "body",
    "text",
    "caption",
    "comment",
    "note",
    "job_title",
    "opt_in_source",
    "password",
    "current_password",
    "new_password",
    "access_token",
    "app_secret",
    "auth_token",
    "verify_token",
    "client_secret",
    "api_key",
];

/// Shorter values say nothing, or are said by everybody.
const SHORTEST_NAME: usize = 4;
const SHORTEST_TEXT: usize = 8;

/// Names that lines of a log are made of.
const HARMLESS: &[&str] = &[
    "Changed", "Client", "Imported", "Last", "Once", "Other", "Theirs", "Twice",
];

/// Fails naming the lines that hold any of it.
pub fn search(logs: &Path) -> Result<String> {
    search_for(&marks(&root().join("tests/it"))?, logs)
}

/// Everything that may not be in a log, from the source of the tests in a folder.
fn marks(tests: &Path) -> Result<BTreeSet<String>> {
    let mut marks: BTreeSet<String> = SHAPES.iter().map(|&shape| shape.to_owned()).collect();
    for file in source::files(tests)? {
        collect(source::tokens(&file)?, &mut marks);
    }
    for word in HARMLESS {
        marks.remove(*word);
    }
    Ok(marks)
}

/// Adds what strings hold, and the values that stand as `"field": "value"`.
fn collect(tokens: TokenStream, marks: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let string = |at: usize| match tokens.get(at) {
        Some(TokenTree::Literal(literal)) => source::string(literal),
        _ => None,
    };
    for (at, token) in tokens.iter().enumerate() {
        let field = match token {
            TokenTree::Punct(colon) if colon.as_char() == ':' => at.checked_sub(1).and_then(string),
            _ => None,
        };
        if let (Some(field), Some(value)) = (field, string(at + 1)) {
            marks.extend(of_field(&field, &value));
        }
        match token {
            TokenTree::Group(group) => collect(group.stream(), marks),
            TokenTree::Literal(_) => marks.extend(string(at).iter().flat_map(|text| addresses(text))),
            _ => {}
        }
    }
}

fn of_field(field: &str, value: &str) -> Vec<String> {
    if NAMES.contains(&field) {
        let words = value.split(|c: char| !c.is_alphanumeric());
        let is_name = |word: &&str| {
            !word.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && word.chars().count() >= SHORTEST_NAME
        };
        return words.filter(is_name).map(str::to_owned).collect();
    }
    let text = value.trim();
    let is_one = TEXTS.contains(&field) && text.chars().count() >= SHORTEST_TEXT;
    is_one.then(|| text.to_owned()).into_iter().collect()
}

/// The phone numbers in a text, with and without their plus, and its e-mail addresses; of one that a test puts
/// together only the domain is here.
fn addresses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('+') {
        let digits: String = text[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        if (8..=15).contains(&digits.len()) {
            found.push(digits);
        }
    }
    for word in text.split(|c: char| c.is_whitespace() || "\"'<>(),;?=/".contains(c)) {
        if let Some((name, domain)) = word.split_once('@')
            && domain.contains('.')
            && !domain.contains('{')
        {
            let is_whole = !name.contains('{');
            found.push(if is_whole {
                word.to_owned()
            } else {
                format!("@{domain}")
            });
        }
    }
    found
}

/// Whether a line holds a mark: a short number only where it stands alone, and the beginning of phone numbers
/// only before the rest of one, for fractions of a second and ids hold every one sooner or later.
fn holds(line: &str, mark: &str) -> bool {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short_number = mark.len() < 8 && is_number(mark);
    let begins_number = mark.strip_prefix('"').is_some_and(is_number);
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + mark.len()..];
        if begins_number {
            return rest.len() >= 8 && is_number(rest.get(..8).unwrap_or("none"));
        }
        let after = rest.chars().next();
        !is_short_number
            || !(before.is_some_and(|c| c.is_alphanumeric() || c == '.')
                || after.is_some_and(char::is_alphanumeric))
    })
}

fn search_for(marks: &BTreeSet<String>, logs: &Path) -> Result<String> {
    let mut lines = 0;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(logs)?.flatten() {
        let text = std::fs::read_to_string(entry.path())?;
        for line in text.lines() {
            lines += 1;
            if let Some(what) = marks.iter().find(|what| holds(line, what)) {
                found.push(format!("{what}: {line}"));
            }
        }
    }
    if lines == 0 {
        bail!("the suite logged nothing, so nothing was searched");
    }
    if found.is_empty() {
        return Ok(format!(
            "{lines} lines of the suite's logs hold none of {} marks of people and secrets",
            marks.len()
        ));
    }
    found.truncate(10);
    bail!("personal data in the logs:\n{}", found.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one file.
    fn folder(name: &str, file: &str, text: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("m3-privacy-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
        folder
    }

    const TEST: &str = r#"
        async fn a_test() {
            let body = json!({ "full_name": "Ximena from Oro", "body": "come to the quay", "code": "staff-only-code",
                "channels": [{ "type": "phone", "value": "+96550012345" }], "email": format!("ximena-{}@quay.example", 1) });
            call("to=heron@quay.example", [("first_name", "B")]);
        }"#;

    #[test]
    fn what_a_test_calls_its_people_and_tells_them_is_a_mark() {
        let tests = folder("marks", "test.rs", TEST);
        let found = marks(&tests).unwrap();
        let own: Vec<&str> = found
            .iter()
            .map(String::as_str)
            .filter(|mark| !SHAPES.contains(mark))
            .collect();
        assert_eq!(
            own,
            [
                "96550012345",
                "@quay.example",
                "Ximena",
                "come to the quay",
                "heron@quay.example"
            ]
        );
        std::fs::remove_dir_all(&tests).unwrap();
    }

    #[test]
    fn a_name_in_a_line_is_found_and_an_id_is_not() {
        let tests = folder("planted", "test.rs", TEST);
        let marks = marks(&tests).unwrap();
        let search = |text: &str| {
            let logs = folder("logs", "a.log", text);
            search_for(&marks, &logs).map_err(|error| error.to_string())
        };
        assert!(search("").is_err());
        assert!(search("{\"tenant_id\":\"01a1fef2-51fd-7377-a941-ae92802c052a\",\"status\":200}\n").is_ok());
        let chances = "{\"timestamp\":\"2026-11-22T03:46:49.904417Z\",\"id\":\"01a1fef2-51fd-7377-a941-904417ae9280\",\"request_id\":\"20104417-1fdb-4373-9a5f-aecd75d718b0\"}\n";
        assert!(search(chances).is_ok());
        for planted in [
            "+96550012345",
            "Ximena",
            "m3r_abc",
            "somebody@example.com",
            "904417",
            "code 904417.",
            "201001234567",
        ] {
            let told = search(&format!("{{\"status\":200}}\n{{\"to\":\"{planted}\"}}\n"));
            assert!(told.is_err_and(|told| told.contains(planted)), "{planted}");
        }
        std::fs::remove_dir_all(&tests).unwrap();
        std::fs::remove_dir_all(folder("logs", "a.log", "")).unwrap();
    }

    /// Were the tests elsewhere, the search would find nothing and say that all is well.
    #[test]
    fn the_suite_has_people() {
        let found = marks(&root().join("tests/it")).unwrap();
        assert!(found.len() > SHAPES.len() + 30, "only {found:?}");
        assert!(found.contains("201001234567") && found.contains("Qaraqush"));
    }
}
