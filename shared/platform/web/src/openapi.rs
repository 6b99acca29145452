//! The API's description, from the route tables and the handlers' types.

use crate::Routes;
use crate::routes::{Access, Endpoint};
use crate::serve::Web;
use aide::openapi::OpenApi;
use aide::transform::TransformOperation;
use axum::extract::FromRef;
use serde_json::{Value, json};

/// The document being put together, function by function.
pub struct Document(OpenApi);

/// An empty document.
#[must_use]
pub fn document() -> Document {
    let mut api = OpenApi::default();
    api.info.title = "M3CoreCRM".to_owned();
    api.info.version = "1".to_owned();
    Document(api)
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
        drop(routes.into_described().finish_api(&mut self.0));
        self
    }

    /// The finished document. `describe` gives the text of a handler from its path in the source.
    #[must_use]
    pub fn finish(self, describe: impl Fn(&str) -> Option<String>) -> Value {
        let mut document = serde_json::to_value(&self.0).unwrap_or_default();
        document["components"]["schemas"]["Problem"] = problem_schema();
        document["components"]["securitySchemes"]["bearer"] = json!({
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "An access token of /v1/auth/login, or an API key.",
        });
        document["components"]["securitySchemes"]["provisioning"] = json!({
            "type": "apiKey", "in": "header", "name": "X-Provisioning-Key",
            "description": "The key of who runs the system.",
        });
        for path in document["paths"]
            .as_object_mut()
            .into_iter()
            .flatten()
            .map(|(_, path)| path)
        {
            for operation in path
                .as_object_mut()
                .into_iter()
                .flatten()
                .map(|(_, operation)| operation)
            {
                complete(operation, &describe);
            }
        }
        document
    }
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

fn complete(operation: &mut Value, describe: &impl Fn(&str) -> Option<String>) {
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
    let responses = object.entry("responses").or_insert_with(|| json!({}));
    responses["default"] = json!({
        "description": "An error.",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
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
