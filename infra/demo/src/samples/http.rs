//! HTTP requests as API Gateway (payload format 2.0) and function URLs hand them over.

use crate::facts::present;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

/// A request of a sample.
pub struct Request<'a> {
    pub name: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    pub headers: Vec<(&'a str, String)>,
    pub body: Option<String>,
}

/// The request through the HTTP API.
pub fn through_api(request: &Request<'_>) -> Value {
    event(
        request,
        &route_key(request.path),
        "local.execute-api.us-east-1.amazonaws.com",
    )
}

/// The request through a function's URL.
pub fn through_url(request: &Request<'_>) -> Value {
    event(request, "$default", "local.lambda-url.us-east-1.on.aws")
}

/// The route of the template that takes the path: families are told apart by their first two segments.
fn route_key(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').collect();
    match segments[..] {
        [_, "v1", family, _, ..] => format!("ANY /v1/{family}/{{proxy+}}"),
        _ => format!("ANY {path}"),
    }
}

fn event(request: &Request<'_>, route_key: &str, domain: &str) -> Value {
    let Request {
        name,
        method,
        path,
        query,
        headers,
        body,
    } = request;
    let mut all: Map<String, Value> = Map::new();
    for (header, value) in [
        ("accept", "*/*"),
        ("host", domain),
        ("user-agent", "sample"),
        ("x-request-id", *name),
    ] {
        all.insert(header.to_owned(), value.into());
    }
    all.extend(
        headers
            .iter()
            .map(|(header, value)| ((*header).to_owned(), value.clone().into())),
    );
    // As AWS does with everything but text and JSON.
    let binary = all
        .get("content-type")
        .is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    let parameters: Map<String, Value> = form_urlencoded::parse(query.as_bytes())
        .map(|(key, value)| (key.into_owned(), value.into()))
        .collect();
    let proxy = route_key
        .strip_suffix("{proxy+}")
        .and_then(|route| path.strip_prefix(route.strip_prefix("ANY ")?));
    present(&[
        ("version", "2.0".into()),
        ("routeKey", route_key.into()),
        ("rawPath", (*path).into()),
        ("rawQueryString", (*query).into()),
        ("headers", all.into()),
        (
            "queryStringParameters",
            if parameters.is_empty() {
                Value::Null
            } else {
                parameters.into()
            },
        ),
        (
            "pathParameters",
            proxy.map_or(Value::Null, |proxy| json!({ "proxy": proxy })),
        ),
        (
            "requestContext",
            json!({
                "accountId": "000000000000",
                "apiId": "local",
                "domainName": domain,
                "domainPrefix": "local",
                "http": {
                    "method": method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "sample",
                },
                "requestId": name,
                "routeKey": route_key,
                "stage": "$default",
                "time": "01/Jan/2025:00:00:00 +0000",
                "timeEpoch": 1_735_689_600_000_i64,
            }),
        ),
        (
            "body",
            body.as_ref().map_or(Value::Null, |body| {
                if binary {
                    STANDARD.encode(body).into()
                } else {
                    body.clone().into()
                }
            }),
        ),
        ("isBase64Encoded", binary.into()),
    ])
}
