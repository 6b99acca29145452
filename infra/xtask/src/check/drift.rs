//! Folders under functions/, the deployed functions and the sample events must name the same functions.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::template::Template;
use crate::build::function_names;
use crate::paths::{read_json, root};

/// Every function is deployed and has a sample event, and nothing is deployed or sampled that has no code.
pub fn run() -> Result<()> {
    let template = Template::parse(&fs::read_to_string(root().join("template.yaml"))?)?;
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

fn problems(functions: &[String], template: &Template, events: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for name in functions {
        if !template.functions.iter().any(|deployed| deployed.name == *name) {
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
    for deployed in &template.functions {
        let name = &deployed.name;
        if !functions.contains(name) {
            problems.push(format!(
                "template.yaml deploys functions/{name}, which does not exist"
            ));
        }
        for (what, other) in deployed.also_called.iter().filter(|(_, other)| other != name) {
            problems.push(format!(
                "template.yaml calls functions/{name} something else: {what} says {other}"
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

    fn deployed(names: &[&str]) -> Template {
        let function = |name: &&str| {
            format!(
                "  {name}: {{Type: AWS::Serverless::Function, Properties: {{CodeUri: functions/{name}, \
                 FunctionName: !Sub \"${{AWS::StackName}}-{name}\", Environment: {{Variables: {{M3_FUNCTION: {name}}}}}}}, \
                 Metadata: {{BuildProperties: {{Binary: {name}}}}}}}\n"
            )
        };
        let functions: String = names.iter().map(function).collect();
        Template::parse(&format!("Resources:\n{functions}")).unwrap()
    }

    #[test]
    fn all_in_step() {
        let events = names(&["me", "messaging-list"]);
        assert_eq!(
            problems(
                &names(&["me", "messaging"]),
                &deployed(&["me", "messaging"]),
                &events
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_kind_of_drift_is_told() {
        let mut template = deployed(&["me", "old"]);
        template.functions[0].also_called[2].1 = "you".to_owned();
        assert_eq!(
            problems(
                &names(&["me", "auth"]),
                &template,
                &names(&["messaging-list", "auth"])
            ),
            [
                "functions/me has no sample: add events/me.json or events/me-<what>.json",
                "functions/auth is not in template.yaml: add a function with CodeUri: functions/auth",
                "template.yaml calls functions/me something else: FunctionName says you",
                "template.yaml deploys functions/old, which does not exist",
                "events/messaging-list.json begins with no function's name",
            ]
        );
    }
}
