//! Every function and queue has its alarms, what alarms and the dashboard read is written by somebody, and what
//! to do about each alarm stands in OPERATIONS.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use yaml_rust2::Yaml;

use super::metrics::{self, Metric};
use super::template::{Template, yaml};
use crate::paths::root;

/// Names of functions and queues begin with the stack's, which the template of alarms calls so.
const PREFIX: &str = "${Prefix}-";
const OURS: &str = "M3CoreCRM";

/// A metric that an alarm or the dashboard reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    namespace: String,
    name: String,
    /// A search of the dashboard names no values.
    dimensions: BTreeMap<String, Option<String>>,
}

/// Fails with what has no alarm, and with alarms on what is not there.
pub fn run() -> Result<()> {
    let read = |file: &str| fs::read_to_string(root().join(file)).with_context(|| file.to_owned());
    let template = Template::parse(&read("template.yaml")?)?;
    let monitoring = yaml(&read("infra/templates/monitoring.yaml")?)?;
    let mut problems = problems(&template, &monitoring, &metrics::written(&root())?)?;
    problems.extend(unexplained(&monitoring, &read("docs/OPERATIONS.md")?));
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"));
}

fn problems(template: &Template, monitoring: &Yaml, written: &BTreeSet<Metric>) -> Result<Vec<String>> {
    let (alarms, shown) = reads(monitoring)?;
    let mut problems = Vec::new();
    let mut need = |namespace: &str, name: &str, dimension: &str, value: String| {
        let wanted = Read {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: BTreeMap::from([(dimension.to_owned(), Some(format!("{PREFIX}{value}")))]),
        };
        if !alarms.contains(&wanted) {
            problems.push(format!("{value} has no alarm on {namespace} {name}"));
        }
    };
    for function in &template.functions {
        need("AWS/Lambda", "Errors", "FunctionName", function.name.clone());
        if function.is_http {
            need("AWS/Lambda", "Duration", "FunctionName", function.name.clone());
        }
    }
    for queue in &template.queues {
        let dead_letters = format!("{}-dlq", queue.name);
        need(
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "QueueName",
            dead_letters,
        );
        if queue.is_consumed {
            need(
                "AWS/SQS",
                "ApproximateAgeOfOldestMessage",
                "QueueName",
                queue.name.clone(),
            );
        }
    }
    for read in alarms.union(&shown) {
        problems.extend(unknown(read, template, written));
    }
    Ok(problems)
}

/// The alarms whose description names no heading of OPERATIONS.md: `See "heading".`
fn unexplained(monitoring: &Yaml, operations: &str) -> Vec<String> {
    let headings: BTreeSet<&str> = operations
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .split(": `")
                .next()
                .unwrap_or(line)
                .trim()
        })
        .map(|heading| heading.trim_matches('`'))
        .collect();
    let mut descriptions = Vec::new();
    described(monitoring, &mut descriptions);
    let is_explained = |text: &&str| {
        let named = text
            .split_once("See \"")
            .and_then(|(_, rest)| rest.split_once('"'));
        named.is_some_and(|(heading, _)| headings.contains(heading))
    };
    let left = descriptions.into_iter().filter(|text| !is_explained(text));
    left.map(|text| format!("docs/OPERATIONS.md has no section for the alarm \"{text}\""))
        .collect()
}

/// The descriptions of alarms anywhere below a node.
fn described<'a>(node: &'a Yaml, found: &mut Vec<&'a str>) {
    found.extend(node["AlarmDescription"].as_str());
    let below = node.as_hash().into_iter().flat_map(|hash| hash.values());
    for node in below.chain(node.as_vec().into_iter().flatten()) {
        described(node, found);
    }
}

/// Why a metric will never have a value.
fn unknown(read: &Read, template: &Template, written: &BTreeSet<Metric>) -> Option<String> {
    let is_function = |name: &str| template.functions.iter().any(|function| function.name == name);
    let is_queue = |name: &str| {
        let name = name.strip_suffix("-dlq").unwrap_or(name);
        template.queues.iter().any(|queue| queue.name == name)
    };
    let names: BTreeSet<String> = read.dimensions.keys().cloned().collect();
    let function = read.dimensions.get("Function").cloned().flatten();
    if read.namespace == OURS {
        let wrote = |metric: &Metric| {
            let by = metric.function.as_ref().or(function.as_ref());
            metric.name == read.name
                && metric.dimensions == names
                && function
                    .as_ref()
                    .is_none_or(|wanted| by == Some(wanted) && is_function(wanted))
        };
        let of = function.as_deref().unwrap_or("any function");
        return (!written.iter().any(wrote)).then(|| {
            format!(
                "monitoring.yaml reads {} of {of} by {names:?}, which nobody writes",
                read.name
            )
        });
    }
    let ours = read.dimensions.values().flatten();
    let mut strange = ours
        .filter_map(|value| value.strip_prefix(PREFIX))
        .filter(|name| !is_function(name) && !is_queue(name));
    let name = strange.next()?;
    Some(format!(
        "monitoring.yaml reads {} of {name}, which template.yaml does not deploy",
        read.name
    ))
}

/// What the alarms read, and what the dashboard shows.
fn reads(monitoring: &Yaml) -> Result<(BTreeSet<Read>, BTreeSet<Read>)> {
    let (mut alarms, mut shown) = (BTreeSet::new(), BTreeSet::new());
    let resources = monitoring["Resources"]
        .as_hash()
        .context("monitoring.yaml has no Resources")?;
    for (id, resource) in resources {
        if id.as_str().is_some_and(|id| id.starts_with("Fn::ForEach::")) {
            let variable = resource[0].as_str().context("a ForEach without a variable")?;
            for item in resource[1]
                .as_vec()
                .into_iter()
                .flatten()
                .filter_map(Yaml::as_str)
            {
                collect(
                    &resource[2],
                    &|text| text.replace(&format!("${{{variable}}}"), item),
                    &mut alarms,
                );
            }
        } else if resource["Type"].as_str() == Some("AWS::CloudWatch::Dashboard") {
            let body = resource["Properties"]["DashboardBody"]
                .as_str()
                .context("a dashboard without a body")?;
            shown.extend(of_dashboard(&serde_json::from_str(body)?)?);
        } else {
            collect(resource, &str::to_owned, &mut alarms);
        }
    }
    Ok((alarms, shown))
}

/// Every metric named anywhere below a node.
fn collect(node: &Yaml, fill: &dyn Fn(&str) -> String, found: &mut BTreeSet<Read>) {
    if let (Some(namespace), Some(name)) = (node["Namespace"].as_str(), node["MetricName"].as_str()) {
        let dimensions = node["Dimensions"].as_vec().into_iter().flatten();
        let dimension = |dimension: &Yaml| {
            let value = dimension["Value"].as_str().map(fill);
            Some((dimension["Name"].as_str()?.to_owned(), value))
        };
        found.insert(Read {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.filter_map(dimension).collect(),
        });
    }
    let below = node.as_hash().into_iter().flat_map(|hash| hash.values());
    for node in below.chain(node.as_vec().into_iter().flatten()) {
        collect(node, fill, found);
    }
}

/// Every metric that the widgets name, with CloudWatch's abbreviations written out: `.` is the same as in the
/// line before, `...` everything before the rest of the line.
fn of_dashboard(body: &Value) -> Result<BTreeSet<Read>> {
    let mut found = BTreeSet::new();
    for widget in body["widgets"].as_array().into_iter().flatten() {
        let mut before: Vec<String> = Vec::new();
        for line in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            if let Some(expression) = line[0]["expression"].as_str() {
                found.insert(of_search(expression).with_context(|| expression.to_owned())?);
                continue;
            }
            let given: Vec<&str> = line
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let full = if let Some((&"...", rest)) = given.split_first() {
                let kept = before.len().saturating_sub(rest.len());
                let rest = rest.iter().map(|&text| text.to_owned());
                before[..kept].iter().cloned().chain(rest).collect()
            } else {
                spelt_out(&given, &before)
            };
            if let [namespace, name, dimensions @ ..] = full.as_slice() {
                let pairs = dimensions.chunks_exact(2);
                found.insert(Read {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    dimensions: pairs
                        .map(|pair| (pair[0].clone(), Some(pair[1].clone())))
                        .collect(),
                });
            }
            before = full;
        }
    }
    Ok(found)
}

/// A line whose dots stand for what is in their place in the line before.
fn spelt_out(given: &[&str], before: &[String]) -> Vec<String> {
    let same = |(at, &text): (usize, &&str)| match before.get(at) {
        Some(same) if text == "." => same.clone(),
        _ => text.to_owned(),
    };
    given.iter().enumerate().map(same).collect()
}

/// `SEARCH('{namespace,dimension} MetricName="name"', …)`.
fn of_search(expression: &str) -> Option<Read> {
    let (schema, rest) = expression.split_once('{')?.1.split_once('}')?;
    let name = rest.split_once("MetricName=\"")?.1.split_once('"')?.0;
    let mut parts = schema.split(',').map(str::to_owned);
    Some(Read {
        namespace: parts.next()?,
        name: name.to_owned(),
        dimensions: parts.map(|dimension| (dimension, None)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Resources:
  MeFunction:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: functions/me, Events: {Me: {Type: HttpApi}}}
  SenderFunction:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: functions/sender}
  Mail: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub "${AWS::StackName}-mail", RedrivePolicy: {}}}
  MailDead: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub "${AWS::StackName}-mail-dlq"}}
  MailToSender: {Type: AWS::Lambda::EventSourceMapping, Properties: {EventSourceArn: !GetAtt Mail.Arn}}
"#;

    const ALARMS: &str = r#"
Resources:
  Fn::ForEach::Errors:
    - Name
    - [me, sender]
    - "Errors&{Name}":
        Properties:
          {Namespace: AWS/Lambda, MetricName: Errors, Dimensions: [{Name: FunctionName, Value: !Sub "${Prefix}-${Name}"}]}
  Slow:
    Properties:
      {Namespace: AWS/Lambda, MetricName: Duration, Dimensions: [{Name: FunctionName, Value: !Sub "${Prefix}-me"}]}
  Dead:
    Properties:
      Namespace: AWS/SQS
      MetricName: ApproximateNumberOfMessagesVisible
      Dimensions: [{Name: QueueName, Value: !Sub "${Prefix}-mail-dlq"}]
  Old:
    Properties:
      Metrics:
        - MetricStat:
            Metric:
              Namespace: AWS/SQS
              MetricName: ApproximateAgeOfOldestMessage
              Dimensions: [{Name: QueueName, Value: !Sub "${Prefix}-mail"}]
  Failing:
    Properties:
      {Namespace: M3CoreCRM, MetricName: SendFailures, Dimensions: [{Name: Function, Value: sender}]}
  Dashboard:
    Type: AWS::CloudWatch::Dashboard
    Properties:
      DashboardBody: !Sub |
        {"widgets": [{"properties": {"metrics": [
          [{"expression": "SEARCH('{M3CoreCRM,Function} MetricName=\"Requests\"', 'Sum', 60)"}],
          ["M3CoreCRM", "Sends", "Function", "sender"],
          [".", "SendFailures", ".", "."],
          ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "${Prefix}-mail"],
          ["...", "${Prefix}-mail-dlq"]]}}]}
"#;

    fn written(metrics: &[(Option<&str>, &str, &[&str])]) -> BTreeSet<Metric> {
        let metric = |(function, name, dimensions): &(Option<&str>, &str, &[&str])| Metric {
            function: function.map(str::to_owned),
            name: (*name).to_owned(),
            dimensions: dimensions.iter().map(|&name| name.to_owned()).collect(),
        };
        metrics.iter().map(metric).collect()
    }

    fn told(alarms: &str, metrics: &[(Option<&str>, &str, &[&str])]) -> Vec<String> {
        let template = Template::parse(TEMPLATE).unwrap();
        problems(&template, &yaml(alarms).unwrap(), &written(metrics)).unwrap()
    }

    const FUNCTION: &[&str] = &["Function"];

    #[test]
    fn all_is_watched_and_all_that_is_read_is_written() {
        let metrics = [
            (None, "Requests", FUNCTION),
            (Some("sender"), "Sends", FUNCTION),
            (Some("sender"), "SendFailures", FUNCTION),
        ];
        assert_eq!(told(ALARMS, &metrics), Vec::<String>::new());
    }

    #[test]
    fn an_alarm_that_nobody_explains_is_told() {
        let alarms = r#"
Resources:
  Fn::ForEach::Errors:
    - Name
    - [me]
    - "Errors&{Name}": {Properties: {AlarmDescription: 'It fails. See "A function fails".'}}
  Pinned: {Properties: {AlarmDescription: 'It is pinned. See "Pinning".'}}
  Other: {Properties: {AlarmDescription: 'Hm. See "Something else".'}}
  Mute: {Properties: {AlarmDescription: Hm.}}
"#;
        let operations = "## Pinning\nSomething else\n### A function fails: `errors-<function>`, `api-5xx`\n";
        assert_eq!(
            unexplained(&yaml(alarms).unwrap(), operations),
            [
                "docs/OPERATIONS.md has no section for the alarm \"Hm. See \"Something else\".\"",
                "docs/OPERATIONS.md has no section for the alarm \"Hm.\"",
            ]
        );
    }

    #[test]
    fn what_nobody_watches_is_told() {
        let alarms = "Resources: {Other: {Properties: {Namespace: AWS/Lambda, MetricName: Errors, \
                      Dimensions: [{Name: FunctionName, Value: \"${Prefix}-gone\"}]}}}";
        assert_eq!(
            told(alarms, &[]),
            [
                "me has no alarm on AWS/Lambda Errors",
                "me has no alarm on AWS/Lambda Duration",
                "sender has no alarm on AWS/Lambda Errors",
                "mail-dlq has no alarm on AWS/SQS ApproximateNumberOfMessagesVisible",
                "mail has no alarm on AWS/SQS ApproximateAgeOfOldestMessage",
                "monitoring.yaml reads Errors of gone, which template.yaml does not deploy",
            ]
        );
    }

    #[test]
    fn what_nobody_writes_so_is_told() {
        let metrics = [
            (Some("me"), "Sends", FUNCTION),
            (Some("sender"), "SendFailures", &["Code", "Function"]),
        ];
        assert_eq!(
            told(ALARMS, &metrics),
            [
                "monitoring.yaml reads Requests of any function by {\"Function\"}, which nobody writes",
                "monitoring.yaml reads SendFailures of sender by {\"Function\"}, which nobody writes",
                "monitoring.yaml reads Sends of sender by {\"Function\"}, which nobody writes",
            ]
        );
    }
}
