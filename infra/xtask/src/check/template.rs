//! What template.yaml deploys, as far as other files have to keep in step with it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use yaml_rust2::{Yaml, YamlLoader};

/// A deployed function.
pub struct Function {
    /// Its folder under functions/.
    pub name: String,
    /// Whether somebody waits for its answer.
    pub is_http: bool,
    /// What else it is called, each of which must be the same.
    pub also_called: Vec<(&'static str, String)>,
}

/// A queue that gives up on a message after some attempts.
pub struct Queue {
    pub name: String,
    /// Whether a function works on it.
    pub is_consumed: bool,
}

/// The functions and queues of template.yaml.
pub struct Template {
    pub functions: Vec<Function>,
    pub queues: Vec<Queue>,
}

/// Names of what is deployed begin with the stack's.
const STACK: &str = "${AWS::StackName}-";

impl Template {
    pub fn parse(text: &str) -> Result<Self> {
        let document = yaml(text)?;
        let resources = document["Resources"]
            .as_hash()
            .context("the template has no Resources")?;
        let of_type = |wanted: &'static str| {
            let is_it = move |(_, resource): &(&Yaml, &Yaml)| resource["Type"].as_str() == Some(wanted);
            resources.iter().filter(is_it)
        };
        let consumed: BTreeSet<&str> = of_type("AWS::Lambda::EventSourceMapping")
            .filter_map(|(_, mapping)| mapping["Properties"]["EventSourceArn"].as_str())
            .filter_map(|arn| arn.strip_suffix(".Arn"))
            .collect();
        let functions = of_type("AWS::Serverless::Function").map(|(id, resource)| function(id, resource));
        let queues = of_type("AWS::SQS::Queue")
            .filter(|(_, queue)| queue["Properties"]["RedrivePolicy"].as_hash().is_some())
            .map(|(id, queue)| Queue {
                name: short(&queue["Properties"]["QueueName"]),
                is_consumed: id.as_str().is_some_and(|id| consumed.contains(id)),
            });
        Ok(Self {
            functions: functions.collect(),
            queues: queues.collect(),
        })
    }
}

/// The one document of a YAML file; `!Ref X` and its like read as plain `X`.
pub fn yaml(text: &str) -> Result<Yaml> {
    let documents = YamlLoader::load_from_str(text)?;
    documents.into_iter().next().context("the file is empty")
}

fn function(id: &Yaml, resource: &Yaml) -> Function {
    let properties = &resource["Properties"];
    let text = |node: &Yaml| node.as_str().unwrap_or_default().to_owned();
    let folder = text(&properties["CodeUri"]);
    let name = folder.strip_prefix("functions/").unwrap_or(&folder).to_owned();
    let is_request = |event: &Yaml| event["Type"].as_str() == Some("HttpApi");
    let mut events = properties["Events"]
        .as_hash()
        .into_iter()
        .flat_map(|events| events.values());
    Function {
        is_http: properties["FunctionUrlConfig"].as_hash().is_some() || events.any(is_request),
        also_called: vec![
            ("its logical id", dashed(&text(id))),
            (
                "BuildProperties.Binary",
                text(&resource["Metadata"]["BuildProperties"]["Binary"]),
            ),
            ("FunctionName", short(&properties["FunctionName"])),
            (
                "M3_FUNCTION",
                text(&properties["Environment"]["Variables"]["M3_FUNCTION"]),
            ),
        ],
        name,
    }
}

/// `outbox-relay` of `OutboxRelayFunction`.
fn dashed(logical_id: &str) -> String {
    crate::aws::function_name(logical_id)
}

fn short(name: &Yaml) -> String {
    let name = name.as_str().unwrap_or_default();
    name.strip_prefix(STACK).unwrap_or(name).to_owned()
}
