//! The answers that the description shows: `infra/openapi/answers/<sample>.json`, each by its status.
//!
//! They are recorded on a running stack. What no sample can be answered there, because it takes a secret
//! of somebody's mailbox or an approval first, is written by hand, and held against the schema likewise.

use crate::operations::{operations, target};
use crate::schema::Schemas;
use crate::tidy::tidy;
use anyhow::{Context, Result, bail};
use demo::Sample;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The answers by sample, then by status.
pub type Answers = BTreeMap<String, Map<String, Value>>;

/// Where they are kept.
pub fn folder(root: &Path) -> PathBuf {
    root.join("infra/openapi/answers")
}

/// Reads what is kept.
///
/// # Errors
/// When a file is no JSON object.
pub fn load(root: &Path) -> Result<Answers> {
    let mut answers = Answers::new();
    for entry in fs::read_dir(folder(root))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let answer = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default();
        answers.insert(name.to_string_lossy().into_owned(), answer);
    }
    Ok(answers)
}

/// Sends every sample to the stack and keeps what succeeded, unless what is kept has the same shape.
///
/// # Errors
/// When the stack does not answer, or a file can't be written.
pub fn record(root: &Path, document: &Value, samples: &[Sample], endpoint: &str) -> Result<()> {
    let mut kept = load(root)?;
    let schemas = Schemas { document };
    let operations = operations(document, samples);
    for sample in samples.iter().filter(|sample| target(sample).is_some()) {
        let answer = invoke(endpoint, sample)?;
        let shown = |sample: &Sample| {
            operations
                .iter()
                .find(|operation| operation.samples.first().map(|first| &first.name) == Some(&sample.name))
        };
        let Some(operation) = shown(sample) else { continue };
        let status = answer["statusCode"].to_string();
        let Some(content) = json_answers(operation.description(document))
            .into_iter()
            .find_map(|(documented, content)| (*documented == status).then_some(content))
        else {
            continue;
        };
        let body = serde_json::from_str(answer["body"].as_str().unwrap_or_default());
        let body = tidy(body.with_context(|| format!("the answer to {}", sample.name))?);
        let file = kept.entry(sample.name.clone()).or_default();
        let is_good = |old: &Value| {
            schemas.check(&content["schema"], old).is_ok() && tidy(old.clone()) == *old && shows(old, &body)
        };
        if file.get(&status).is_some_and(is_good) {
            continue;
        }
        file.insert(status, body);
        let path = folder(root).join(format!("{}.json", sample.name));
        fs::write(&path, serde_json::to_string_pretty(file)? + "\n")?;
        writeln!(std::io::stdout(), "  recorded {}", sample.name)?;
    }
    Ok(())
}

/// The successful answers of an operation that are JSON, by status.
pub fn json_answers(operation: &Value) -> Vec<(&String, &Value)> {
    let responses = operation["responses"].as_object();
    responses
        .into_iter()
        .flatten()
        .filter(|(status, _)| status.starts_with('2'))
        .filter_map(|(status, response)| Some((status, response["content"].get("application/json")?)))
        .collect()
}

fn invoke(endpoint: &str, sample: &Sample) -> Result<Value> {
    let url = format!("{endpoint}/2015-03-31/functions/{}/invocations", sample.function);
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let mut response = agent
        .post(&url)
        .send(sample.event.to_string())
        .with_context(|| url.clone())?;
    let failed = response.headers().contains_key("x-amz-function-error");
    let text = response.body_mut().read_to_string()?;
    if failed {
        bail!("{} failed: {text}", sample.name);
    }
    serde_json::from_str(&text).with_context(|| format!("the answer to {}", sample.name))
}

/// Whether an answer that is kept shows all that the new one does: the same members of the same types.
/// Null is as good as what may stand in its place, an empty list is not.
fn shows(kept: &Value, new: &Value) -> bool {
    match (kept, new) {
        (_, Value::Null)
        | (Value::Null, _)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => true,
        (Value::Array(kept), Value::Array(new)) => {
            new.iter().all(|new| kept.iter().any(|kept| shows(kept, new)))
        }
        (Value::Object(kept), Value::Object(new)) => {
            kept.len() == new.len()
                && new
                    .iter()
                    .all(|(name, new)| kept.get(name).is_some_and(|kept| shows(kept, new)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_recorded_anew_only_when_it_shows_something_else() {
        let kept = json!({ "id": "a", "at": "2025-01-01T00:00:00Z", "data": [{ "n": 1 }], "none": null });
        for same in [
            json!({ "id": "b", "at": "2026-01-01T00:00:00Z", "data": [{ "n": 2 }, { "n": 3 }], "none": null }),
            json!({ "id": "b", "at": null, "data": [], "none": "something" }),
        ] {
            assert!(shows(&kept, &same), "{same}");
        }
        for other in [
            json!({ "id": "a", "at": null, "data": [1], "none": null }),
            json!({ "id": "a", "at": null, "data": [{ "n": 1, "m": 1 }], "none": null }),
            json!({ "id": "a", "at": null, "data": [] }),
            json!({ "id": "a", "at": null, "data": [], "none": null, "more": 1 }),
            json!({ "id": 7, "at": null, "data": [], "none": null }),
        ] {
            assert!(!shows(&kept, &other), "{other}");
        }
        assert!(!shows(&json!([]), &kept["data"]));
    }
}
