//! Which samples call which operation.

use demo::Sample;
use demo::samples::fits;
use serde_json::{Map, Value};

/// An operation of the description.
pub struct Operation<'a> {
    /// `get`, as the description has it.
    pub method: String,
    /// `/v1/contacts/{id}`.
    pub path: String,
    /// In the order of names.
    pub samples: Vec<&'a Sample>,
}

impl Operation<'_> {
    /// `GET /v1/contacts/{id}`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    /// What the description says of it.
    pub fn description<'d>(&self, document: &'d Value) -> &'d Value {
        &document["paths"][&self.path][&self.method]
    }

    /// The segment of a sample's path that stands for `{name}`.
    pub fn segment(&self, name: &str) -> Option<&str> {
        let place = self
            .path
            .split('/')
            .position(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) == Some(name))?;
        target(self.samples.first()?)?.1.split('/').nth(place)
    }

    /// A parameter behind the question mark, of the first sample that has it.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.samples
            .iter()
            .find_map(|sample| sample.event["queryStringParameters"][name].as_str())
    }

    /// The JSON body of the first sample that sends one.
    pub fn body(&self) -> Option<Value> {
        self.samples
            .iter()
            .find_map(|sample| serde_json::from_str(sample.event["body"].as_str()?).ok())
    }
}

/// Every operation.
pub fn operations<'a>(document: &Value, samples: &'a [Sample]) -> Vec<Operation<'a>> {
    let none = Map::new();
    let paths = document["paths"].as_object().unwrap_or(&none);
    let mut all = Vec::new();
    for (path, operations) in paths {
        for method in operations.as_object().unwrap_or(&none).keys() {
            let call = |sample: &&Sample| {
                target(sample).is_some_and(|(verb, called)| {
                    verb.eq_ignore_ascii_case(method) && template(paths, method, called) == Some(path)
                })
            };
            all.push(Operation {
                method: method.clone(),
                path: path.clone(),
                samples: samples.iter().filter(call).collect(),
            });
        }
    }
    all
}

/// The method and path of a sample that is a request.
pub fn target(sample: &Sample) -> Option<(&str, &str)> {
    let method = sample.event.pointer("/requestContext/http/method")?;
    Some((method.as_str()?, sample.event["rawPath"].as_str()?))
}

/// As the router chooses: `/v1/roles/hierarchy` before `/v1/roles/{id}`.
fn template<'p>(paths: &'p Map<String, Value>, method: &str, path: &str) -> Option<&'p String> {
    paths
        .iter()
        .filter(|(template, operations)| operations.get(method).is_some() && fits(template, path))
        .map(|(template, _)| template)
        .min_by_key(|template| template.matches('{').count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sample_belongs_to_the_path_that_the_router_chooses() {
        let samples = demo::samples::all().unwrap();
        let document = json!({ "paths": {
            "/v1/admin/roles/{id}": { "get": {}, "delete": {} },
            "/v1/admin/roles/hierarchy": { "get": {}, "delete": {} },
            "/v1/contacts": { "get": {} },
        } });
        let found = operations(&document, &samples);
        let names = |name: &str| {
            let one = found.iter().find(|operation| operation.name() == name).unwrap();
            one.samples
                .iter()
                .map(|sample| sample.name.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("GET /v1/admin/roles/{id}"), ["admin-roles-get"]);
        assert_eq!(
            names("DELETE /v1/admin/roles/hierarchy"),
            ["admin-roles-hierarchy-remove"]
        );
        assert_eq!(names("GET /v1/contacts"), ["contacts-list", "contacts-search"]);
        let contacts = found
            .iter()
            .find(|operation| operation.path == "/v1/contacts")
            .unwrap();
        assert_eq!(
            (contacts.query("search"), contacts.query("cursor")),
            (Some("lay"), None)
        );
        let role = found
            .iter()
            .find(|operation| operation.name() == "GET /v1/admin/roles/{id}");
        assert_eq!(role.unwrap().segment("id").unwrap().len(), 36);
    }
}
