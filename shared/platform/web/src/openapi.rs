//! The API's description, from the route tables and the handlers' types.

use crate::Routes;
use crate::routes::{Access, Endpoint};
use crate::serve::Web;
use aide::openapi::OpenApi;
use aide::transform::TransformOperation;
use axum::extract::FromRef;
use serde_json::{Value, json};

/// The document being put together, function by function.
pub struct Document(Value);

/// An empty document.
#[must_use]
pub fn document() -> Document {
    let mut api = OpenApi::default();
    api.info.title = "M3CoreCRM".to_owned();
    api.info.version = "1".to_owned();
    let mut document = serde_json::to_value(&api).unwrap_or_default();
    document["paths"] = json!({});
    document["components"] = json!({ "schemas": {} });
    Document(document)
}

impl Document {
    /// Adds a function's endpoints.
    #[must_use]
    pub fn with<S: Clone + Send + Sync + 'static>(mut self, routes: Routes<S>) -> Self
    where
        Web: FromRef<S>,
    {
        // Finishing a router resets these.
        aide::generate::infer_responses(true);
        aide::generate::extract_schemas(true);
        let function = routes.function();
        let mut api = OpenApi::default();
        drop(routes.into_described().finish_api(&mut api));
        self.merge(function, serde_json::to_value(&api).unwrap_or_default());
        self
    }

    /// Two functions may call different things alike: the later one's gets its function's name.
    fn merge(&mut self, function: &str, part: Value) {
        let schemas = part["components"]["schemas"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let known = self.0["components"]["schemas"].clone();
        let mut text = part.to_string();
        for name in schemas
            .iter()
            .filter(|(name, schema)| known.get(*name).is_some_and(|other| other != *schema))
            .map(|(name, _)| name)
        {
            text = text.replace(
                &format!("\"#/components/schemas/{name}\""),
                &format!("\"#/components/schemas/{}\"", renamed(function, name)),
            );
        }
        let part: Value = serde_json::from_str(&text).unwrap_or_default();
        for (path, item) in part["paths"].as_object().into_iter().flatten() {
            self.0["paths"][path] = item.clone();
        }
        for (name, schema) in part["components"]["schemas"].as_object().into_iter().flatten() {
            let taken = known.get(name).is_some_and(|other| *other != schemas[name]);
            let name = if taken {
                renamed(function, name)
            } else {
                name.clone()
            };
            self.0["components"]["schemas"][&name] = schema.clone();
        }
    }

    /// The finished document. `describe` gives the text of a handler from its path in the source.
    #[must_use]
    pub fn finish(self, describe: impl Fn(&str) -> Option<String>) -> Value {
        let mut document = self.0;
        document["components"]["schemas"]["Problem"] = problem_schema();
        document["components"]["securitySchemes"]["bearer"] = json!({
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "An access token of /v1/auth/login, or an API key.",
        });
        document["components"]["securitySchemes"]["provisioning"] = json!({
            "type": "apiKey", "in": "header", "name": "X-Provisioning-Key",
            "description": "The key of who runs the system.",
        });
        document["components"]["parameters"] = header_parameters();
        for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
            for (method, operation) in operations.as_object_mut().into_iter().flatten() {
                complete(method, operation, &describe);
                if path.starts_with("/v1/webhooks/") {
                    operation["servers"] =
                        json!([{ "url": "/", "description": "The webhooks' own address, a function URL." }]);
                }
            }
        }
        document
    }
}

fn renamed(function: &str, name: &str) -> String {
    let (first, rest) = function.split_at(1);
    format!("{}{}{name}", first.to_uppercase(), rest.replace('-', ""))
}

/// What an endpoint says of itself in the document.
pub(crate) struct Described(&'static Endpoint);

impl Described {
    pub(crate) fn of(endpoint: &'static Endpoint) -> Self {
        Self(endpoint)
    }

    pub(crate) fn apply(self, operation: TransformOperation<'_>) -> TransformOperation<'_> {
        let endpoint = self.0;
        let name = endpoint
            .handler
            .split_once("::")
            .map_or(endpoint.handler, |(_, name)| name)
            .replace("::", ".");
        let mut operation = operation
            .id(&format!("{}.{name}", endpoint.function))
            .tag(endpoint.function);
        let extensions = &mut operation.inner_mut().extensions;
        extensions.insert("x-handler".to_owned(), endpoint.handler.into());
        if let Some(permission) = endpoint.access.permission() {
            extensions.insert("x-permission".to_owned(), permission.code().into());
        }
        if let Some(feature) = endpoint.access.feature() {
            extensions.insert("x-feature".to_owned(), feature.code().into());
        }
        match endpoint.access {
            Access::Public => operation,
            Access::Operator => operation.security_requirement("provisioning"),
            Access::SignedIn | Access::Permission(_) | Access::Gated(..) => {
                operation.security_requirement("bearer")
            }
        }
    }
}

fn complete(method: &str, operation: &mut Value, describe: &impl Fn(&str) -> Option<String>) {
    let Some(object) = operation.as_object_mut() else {
        return;
    };
    let handler = object.remove("x-handler");
    if let Some(text) = handler.as_ref().and_then(Value::as_str).and_then(describe) {
        let (summary, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        object.insert(
            "summary".to_owned(),
            summary.replace('\n', " ").trim_end_matches('.').into(),
        );
        if !rest.is_empty() {
            object.insert("description".to_owned(), rest.into());
        }
    }
    if method == "post" && object.contains_key("security") {
        let parameters = object.entry("parameters").or_insert_with(|| json!([]));
        if let Some(parameters) = parameters.as_array_mut() {
            parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        }
    }
    let responses = object.entry("responses").or_insert_with(|| json!({}));
    responses["default"] = json!({
        "description": "An error.",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
}

fn header_parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "in": "header", "name": "Idempotency-Key", "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
            "description": "Repeated with the same key within 24 hours, the first answer comes again and nothing is done twice.",
        },
        "IfMatch": {
            "in": "header", "name": "If-Match", "schema": { "type": "string" },
            "description": "The ETag that was seen: 412 when somebody else changed the record meanwhile.",
        },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "message", "request_id"],
            "properties": {
                "code": { "type": "string" },
                "message": { "type": "string" },
                "request_id": { "type": "string" },
                "details": { "type": "object" },
            },
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_may_call_different_things_alike() {
        let part = |path: &str, schema: Value| {
            json!({
                "paths": { path: { "get": { "schema": { "$ref": "#/components/schemas/State" } } } },
                "components": { "schemas": { "State": schema, "Page": { "type": "object" } } },
            })
        };
        let mut document = document();
        document.merge("deals", part("/deals", json!({ "enum": ["open"] })));
        document.merge("webhook-log", part("/log", json!({ "enum": ["kept"] })));
        let merged = document.finish(|_| None);
        let schemas = &merged["components"]["schemas"];
        assert_eq!(schemas["State"], json!({ "enum": ["open"] }));
        assert_eq!(schemas["WebhooklogState"], json!({ "enum": ["kept"] }));
        assert_eq!(schemas["Page"], json!({ "type": "object" }));
        assert_eq!(
            merged["paths"]["/log"]["get"]["schema"]["$ref"],
            "#/components/schemas/WebhooklogState"
        );
        assert_eq!(
            merged["paths"]["/deals"]["get"]["schema"]["$ref"],
            "#/components/schemas/State"
        );
    }
}
