//! Folders under functions/, the deployed functions and the sample events must name the same functions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::build::function_names;
use crate::paths::{read_json, root};

/// Every function is deployed and has a sample event, and nothing is deployed or sampled that has no code.
pub fn run() -> Result<()> {
    let template = fs::read_to_string(root().join("template.yaml")).context("template.yaml")?;
    let folder = root().join("events");
    let events = event_names(&folder)?;
    for event in &events {
        read_json(&folder.join(format!("{event}.json")))?;
    }
    let problems = problems(&function_names()?, &template, &events);
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"));
}

fn event_names(folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .context("events/")?
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_suffix(".json")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok(names)
}

fn problems(functions: &[String], template: &str, events: &[String]) -> Vec<String> {
    let deployed: BTreeSet<&str> = template
        .lines()
        .filter_map(|line| line.trim().strip_prefix("CodeUri: functions/"))
        .collect();
    let mut problems = Vec::new();
    for name in functions {
        if !deployed.contains(name.as_str()) {
            problems.push(format!(
                "functions/{name} is not in template.yaml: add a function with CodeUri: functions/{name}"
            ));
        }
        if !events.iter().any(|event| belongs(event, name)) {
            problems.push(format!(
                "functions/{name} has no sample: add events/{name}.json or events/{name}-<what>.json"
            ));
        }
    }
    for name in deployed {
        if !functions.iter().any(|function| function == name) {
            problems.push(format!(
                "template.yaml deploys functions/{name}, which does not exist"
            ));
        }
    }
    for event in events {
        if !functions.iter().any(|function| belongs(event, function)) {
            problems.push(format!("events/{event}.json begins with no function's name"));
        }
    }
    problems
}

fn belongs(event: &str, function: &str) -> bool {
    event
        .strip_prefix(function)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn all_in_step() {
        let template = "      CodeUri: functions/me\n      CodeUri: functions/messaging\n";
        let events = names(&["me", "messaging-list"]);
        assert_eq!(
            problems(&names(&["me", "messaging"]), template, &events),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_kind_of_drift_is_told() {
        let template = "  CodeUri: functions/me\n  CodeUri: functions/old\n";
        assert_eq!(
            problems(
                &names(&["me", "auth"]),
                template,
                &names(&["messaging-list", "auth"])
            ),
            [
                "functions/me has no sample: add events/me.json or events/me-<what>.json",
                "functions/auth is not in template.yaml: add a function with CodeUri: functions/auth",
                "template.yaml deploys functions/old, which does not exist",
                "events/messaging-list.json begins with no function's name",
            ]
        );
    }
}
