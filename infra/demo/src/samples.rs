//! The files of events/: `<function>-<what>.json`, each an event as Lambda hands it to the function,
//! with tokens and signatures that hold on every local stack that is freshly seeded.

mod access;
mod api;
mod approvals;
mod compliance;
mod http;
mod oauth;
mod people;
mod plan;
mod queues;
mod security;
mod webhooks;

use crate::{Demo, Keys};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One file of events/.
pub struct Sample {
    /// The file's name without `.json`.
    pub name: String,
    /// The function it is for.
    pub function: &'static str,
    pub event: Value,
    pub expected: Expected,
}

/// What a function answers to its sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// These statuses the first time, and again.
    Statuses(&'static [u16], &'static [u16]),
    /// A batch response without failures.
    Batch,
    /// Anything but a function error.
    Report,
}

/// Every sample, in the order of names.
///
/// # Errors
/// When the demo tenant's facts or keys are incomplete.
pub fn all() -> Result<Vec<Sample>> {
    let (demo, keys) = (Demo::load()?, Keys::load()?);
    let mut samples = api::samples(&demo, &keys.token(&demo)?)?;
    samples.extend(people::samples(&demo, &keys.token(&demo)?)?);
    samples.extend(webhooks::samples(&demo)?);
    samples.extend(queues::samples(&demo)?);
    samples.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(samples)
}

/// Writes events/, and removes files that no sample has.
///
/// # Errors
/// When a file can't be written, or an endpoint has no sample.
pub fn write(root: &Path) -> Result<()> {
    let (wanted, found) = (wanted()?, found(root)?);
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(root.join("events").join(name))?;
    }
    for (name, text) in &wanted {
        fs::write(root.join("events").join(name), text)?;
    }
    uncovered(root)
}

/// Fails with the files of events/ that are not what [`write`] would write.
///
/// # Errors
/// When there are any, or an endpoint has no sample.
pub fn check(root: &Path) -> Result<()> {
    let (wanted, found) = (wanted()?, found(root)?);
    let changed = wanted
        .iter()
        .filter(|(name, text)| found.get(*name) != Some(*text))
        .map(|(name, _)| name);
    let surplus = found.keys().filter(|name| !wanted.contains_key(*name));
    let stale: Vec<&str> = changed.chain(surplus).map(String::as_str).collect();
    if !stale.is_empty() {
        bail!(
            "events/ is not up to date ({}); run `cargo xtask events` and commit it",
            stale.join(", ")
        );
    }
    uncovered(root)
}

fn wanted() -> Result<BTreeMap<String, String>> {
    let text = |sample: &Sample| anyhow::Ok(serde_json::to_string_pretty(&sample.event)? + "\n");
    all()?
        .iter()
        .map(|sample| Ok((format!("{}.json", sample.name), text(sample)?)))
        .collect()
}

fn found(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(root.join("events")).context("events/")? {
        let entry = entry?;
        files.insert(
            entry.file_name().to_string_lossy().into_owned(),
            fs::read_to_string(entry.path())?,
        );
    }
    Ok(files)
}

/// Fails with the endpoints of openapi.json that no sample calls.
fn uncovered(root: &Path) -> Result<()> {
    let document: Value = serde_json::from_str(&fs::read_to_string(root.join("openapi.json"))?)?;
    let called: Vec<(String, String)> = all()?
        .iter()
        .filter_map(|sample| {
            let text = |pointer| {
                sample
                    .event
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .map(str::to_owned)
            };
            Some((
                text("/requestContext/http/method")?.to_lowercase(),
                text("/rawPath")?,
            ))
        })
        .collect();
    let mut missing = Vec::new();
    for (template, operations) in document["paths"].as_object().into_iter().flatten() {
        for method in operations
            .as_object()
            .into_iter()
            .flat_map(|operations| operations.keys())
        {
            if !called
                .iter()
                .any(|(verb, path)| verb == method && fits(template, path))
            {
                missing.push(format!("{} {template}", method.to_uppercase()));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "no event calls {}: add samples in infra/demo/src/samples",
        missing.join(", ")
    );
}

/// Whether a path is one that a template stands for: `/v1/contacts/7` for `/v1/contacts/{id}`.
#[must_use]
pub fn fits(template: &str, path: &str) -> bool {
    let (wanted, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    wanted.len() == given.len()
        && wanted
            .iter()
            .zip(&given)
            .all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_same_each_time_and_named_after_their_function() {
        let (one, other) = (wanted().unwrap(), wanted().unwrap());
        assert_eq!(one, other);
        for sample in all().unwrap() {
            assert!(
                sample.name == sample.function || sample.name.starts_with(&format!("{}-", sample.function))
            );
        }
    }

    #[test]
    fn a_path_fits_its_template_and_no_other() {
        assert!(fits("/v1/contacts/{id}", "/v1/contacts/7"));
        assert!(!fits("/v1/contacts/{id}", "/v1/contacts"));
        assert!(!fits("/v1/contacts/{id}", "/v1/conversations/7"));
    }
}
