//! Examples of every operation: what its sample sends, and what it is answered.

use crate::answers::{Answers, json_answers};
use crate::operations::{Operation, operations};
use crate::schema::Schemas;
use crate::tidy::tidy;
use demo::Sample;
use serde_json::Value;

const JSON: &str = "application/json";

/// Puts the examples in; returns what is missing or does not fit.
///
/// The parameters of an operation get what its samples send and no more: together they are a request that
/// works, also for a client that fills in every example.
pub fn add(document: &mut Value, samples: &[Sample], answers: &Answers) -> Vec<String> {
    let bare = document.clone();
    let schemas = Schemas { document: &bare };
    let mut problems = Vec::new();
    let mut shown = Vec::new();
    for operation in operations(&bare, samples) {
        let described = &mut document["paths"][&operation.path][&operation.method];
        let mut found = send(described, schemas, &operation);
        if let Some(sample) = operation.samples.first() {
            shown.push(&sample.name);
            found.extend(answer(
                described,
                schemas,
                &sample.name,
                answers.get(&sample.name),
            ));
        } else {
            found.push("no sample in infra/demo/src/samples calls it".to_owned());
        }
        problems.extend(
            found
                .into_iter()
                .map(|problem| format!("{}: {problem}", operation.name())),
        );
    }
    let surplus = answers.keys().filter(|name| !shown.contains(name));
    problems.extend(surplus.map(|name| format!("{} shows nothing: delete it", file(name))));
    problems
}

/// What is sent: the body and the parameters in the path and behind the question mark.
fn send(described: &mut Value, schemas: Schemas<'_>, operation: &Operation<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(content) = described.pointer_mut("/requestBody/content/application~1json") {
        match operation.body() {
            Some(body) => problems.extend(put(content, schemas, body, "the sample's body")),
            None => problems.push("no sample in infra/demo/src/samples sends a body".to_owned()),
        }
    }
    let (mut examples, mut without) = (0, Vec::new());
    let parameters = described.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let sent = match parameter["in"].as_str() {
            Some("path") => operation.segment(&name),
            Some("query") => operation.query(&name),
            // Headers repeat a request or guard a change: an example of one would be wrong the next time.
            _ => continue,
        };
        let Some(text) = sent else {
            without.push((name, parameter["required"] == true));
            continue;
        };
        examples += 1;
        let typed = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        let is_typed = schemas.check(&parameter["schema"], &typed).is_ok();
        let value = if is_typed { typed } else { text.into() };
        problems.extend(put(parameter, schemas, value, &name));
    }
    let missing = without
        .into_iter()
        .filter(|(_, is_required)| *is_required || examples == 0);
    problems.extend(missing.map(|(name, _)| format!("no sample in infra/demo/src/samples sends `{name}`")));
    problems
}

/// What is answered: an example of each success that is JSON.
fn answer(
    described: &mut Value,
    schemas: Schemas<'_>,
    sample: &str,
    kept: Option<&serde_json::Map<String, Value>>,
) -> Vec<String> {
    let statuses: Vec<String> = json_answers(described)
        .into_iter()
        .map(|(status, _)| status.clone())
        .collect();
    let mut problems = Vec::new();
    for status in &statuses {
        let Some(body) = kept.and_then(|kept| kept.get(status)) else {
            problems.push(format!("{} has no answer {status}", file(sample)));
            continue;
        };
        if tidy(body.clone()) != *body {
            problems.push(format!(
                "{} holds a secret or a list of more than two",
                file(sample)
            ));
        }
        let content = &mut described["responses"][status]["content"][JSON];
        problems.extend(put(content, schemas, body.clone(), &file(sample)));
    }
    let unknown = kept
        .into_iter()
        .flatten()
        .filter(|(status, _)| !statuses.contains(status));
    problems.extend(unknown.map(|(status, _)| {
        format!(
            "{} has an answer {status}, which is none of its own",
            file(sample)
        )
    }));
    problems
}

/// Puts an example beside the schema that it has to fit.
fn put(beside: &mut Value, schemas: Schemas<'_>, example: Value, what: &str) -> Option<String> {
    let judged = schemas.check(&beside["schema"], &example);
    beside["example"] = example;
    judged
        .err()
        .map(|reason| format!("{what} does not fit its schema: {reason}"))
}

fn file(sample: &str) -> String {
    format!("infra/openapi/answers/{sample}.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Three operations as the handlers describe them, and answers to two.
    fn described() -> (Value, Answers) {
        let text = |name: &str, place: &str| {
            let schema = json!({ "type": ["string", "null"] });
            json!({ "in": place, "name": name, "required": place == "path", "schema": schema })
        };
        let limit = json!({ "in": "query", "name": "limit", "schema": { "type": ["integer", "null"] } });
        let answers = |status: &str| {
            json!({
                status: { "content": { JSON: { "schema": { "type": "object", "properties": { "n": { "type": "integer" } } } } } },
                "default": { "content": { JSON: { "schema": {} } } },
            })
        };
        let document = json!({ "paths": {
            "/v1/contacts": { "get": {
                "parameters": [limit, text("search", "query"), text("cursor", "query")],
                "responses": answers("200"),
            } },
            "/v1/contacts/{id}": {
                "patch": {
                    "parameters": [text("id", "path"), { "$ref": "#/components/parameters/IfMatch" }],
                    "requestBody": { "content": { JSON: { "schema": { "type": "object" } } } },
                    "responses": answers("200"),
                },
                "delete": { "parameters": [text("id", "path")], "responses": { "204": {} } },
            },
        } });
        let kept = |n: Value| json!({ "200": { "n": n } }).as_object().cloned().unwrap();
        let answers = [
            ("contacts-list".to_owned(), kept(json!(1))),
            ("contacts-update".to_owned(), kept(json!(2))),
        ];
        (document, answers.into())
    }

    fn problems(document: Value, answers: &Answers) -> Vec<String> {
        add(&mut { document }, &demo::samples::all().unwrap(), answers)
    }

    #[test]
    fn every_operation_shows_what_is_sent_and_what_is_answered() {
        let (mut document, answers) = described();
        let problems = add(&mut document, &demo::samples::all().unwrap(), &answers);
        assert_eq!(problems, Vec::<String>::new());
        let list = &document["paths"]["/v1/contacts"]["get"];
        assert_eq!(list["parameters"][0]["example"], 20);
        assert_eq!(list["parameters"][1]["example"], "lay");
        assert!(list["parameters"][2].get("example").is_none());
        let shown = &list["responses"]["200"]["content"][JSON]["example"];
        assert_eq!(*shown, json!({ "n": 1 }));
        let update = &document["paths"]["/v1/contacts/{id}"]["patch"];
        assert!(update["parameters"][0]["example"].is_string());
        assert!(update["requestBody"]["content"][JSON]["example"].is_object());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let (document, answers) = described();
        for (spoil, said) in [
            (
                "list",
                "infra/openapi/answers/contacts-list.json has no answer 200",
            ),
            ("list-type", "contacts-list.json does not fit its schema: /n"),
            ("list-secret", "contacts-list.json holds a secret"),
            ("list-status", "contacts-list.json has an answer 201"),
            (
                "surplus",
                "infra/openapi/answers/contacts-gone.json shows nothing",
            ),
        ] {
            let mut answers = answers.clone();
            let list = answers.get_mut("contacts-list").unwrap();
            match spoil {
                "list" => list.clear(),
                "list-type" => drop(list.insert("200".to_owned(), json!({ "n": "1" }))),
                "list-secret" => drop(list.insert("200".to_owned(), json!({ "secret": "LJ2XA6F2" }))),
                "list-status" => drop(list.insert("201".to_owned(), json!({}))),
                _ => drop(answers.insert("contacts-gone".to_owned(), serde_json::Map::new())),
            }
            let found = problems(document.clone(), &answers);
            assert!(
                found.iter().any(|problem| problem.contains(said)),
                "{spoil}: {found:?}"
            );
        }
        let mut unsampled = document.clone();
        unsampled["paths"]["/v1/flats/{id}"]["get"] = json!({ "parameters": [
            { "in": "path", "name": "id", "required": true, "schema": {} },
        ] });
        unsampled["paths"]["/v1/contacts/{id}"]["delete"]["requestBody"] =
            json!({ "content": { JSON: { "schema": {} } } });
        let found = problems(unsampled, &answers);
        assert_eq!(
            found,
            [
                "DELETE /v1/contacts/{id}: no sample in infra/demo/src/samples sends a body",
                "GET /v1/flats/{id}: no sample in infra/demo/src/samples sends `id`",
                "GET /v1/flats/{id}: no sample in infra/demo/src/samples calls it",
            ]
        );
    }
}
