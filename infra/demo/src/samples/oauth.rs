//! Signing in with an identity provider. The local stack has none, and says so.

use super::Expected;
use super::api::Line;
use serde_json::{Value, json};

const NOT_CONFIGURED: Expected = Expected::Statuses(&[404], &[404]);

pub fn lines() -> Vec<Line<'static>> {
    let start =
        "/v1/auth/oauth/start?provider=google&redirectUri=http%3A%2F%2Flocalhost%3A3000%2Foauth%2Fcallback";
    let back = json!({ "provider": "google", "code": "4/0A-sample", "state": "sample", "delivery": "body" });
    vec![
        (
            "auth",
            "oauth-start",
            "GET",
            start.to_owned(),
            Value::Null,
            NOT_CONFIGURED,
        ),
        (
            "auth",
            "oauth-callback",
            "POST",
            "/v1/auth/oauth/callback".to_owned(),
            back,
            NOT_CONFIGURED,
        ),
    ]
}
