//! Wrong input through the real doors is answered in our envelope.

use crate::logs;
use crate::stack::Stack;
use crate::tenant::{Tenant, person, wamid};
use serde_json::json;

#[tokio::test]
async fn a_webhook_with_a_bad_signature_or_none_is_refused() {
    let stack = Stack::running();
    let tenant = Tenant::connected(&stack).await;
    let id = wamid();
    let body = tenant.message(&id, &person(), "e2e-text: forged");
    let wrong = format!("sha256={}", "0".repeat(64));
    for headers in [vec![], vec![("x-hub-signature-256", wrong.as_str())]] {
        stack
            .webhook("/v1/webhooks/meta", &headers, body.as_str())
            .await
            .expect_error(401, "UNAUTHENTICATED");
    }
    stack
        .webhook("/v1/webhooks/twilio", &[], "AccountSid=AC1")
        .await
        .expect_error(401, "UNAUTHENTICATED");

    // What comes after a forgery is there, so the forgery has had its time.
    let honest = wamid();
    tenant
        .post(&tenant.message(&honest, &person(), "e2e-text: honest"))
        .await
        .expect(200);
    tenant.received(&honest).await;
    assert!(
        tenant
            .messages()
            .await
            .iter()
            .all(|message| message["provider_message_id"] != *id)
    );
    logs::tell_nothing(&[&tenant.token]);
}

#[tokio::test]
async fn bodies_that_are_no_json_too_large_or_misspelt_are_refused() {
    let stack = Stack::running();
    let tenant = Tenant::sign_up(&stack).await;
    let bearer = format!("Bearer {}", tenant.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    stack
        .api("POST", "/v1/contacts", &headers, "{\"first_name\": ")
        .await
        .expect_error(400, "INVALID_REQUEST");
    let large = json!({ "first_name": "Quillfeather".repeat(2 * 1024 * 1024 / 12) });
    stack
        .api("POST", "/v1/contacts", &headers, large.to_string())
        .await
        .expect_error(413, "TOO_LARGE");
    let misspelt = json!({ "first_nam": "Olive Quillfeather" });
    let error = stack
        .api("POST", "/v1/contacts", &headers, misspelt.to_string())
        .await
        .expect_error(422, "VALIDATION_FAILED");
    assert!(error["details"]["fields"].is_array(), "{error}");
    logs::tell_nothing(&[&tenant.token]);
}

#[tokio::test]
async fn unknown_paths_methods_and_tokens_are_refused() {
    let stack = Stack::running();
    let tenant = Tenant::sign_up(&stack).await;
    for path in ["/", "/v1/nothing", "/v1/contacts/a/b", "/v2/contacts"] {
        tenant
            .call("GET", path, &json!(null))
            .await
            .expect_error(404, "NOT_FOUND");
    }
    stack
        .webhook("/v1/webhooks/nobody", &[], "{}")
        .await
        .expect_error(404, "NOT_FOUND");
    tenant
        .call("PUT", "/v1/contacts", &json!({}))
        .await
        .expect_error(405, "METHOD_NOT_ALLOWED");
    stack
        .api("GET", "/v1/contacts", &[], "")
        .await
        .expect_error(401, "UNAUTHENTICATED");
    let forged = [("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.")];
    stack
        .api("GET", "/v1/contacts", &forged, "")
        .await
        .expect_error(401, "UNAUTHENTICATED");
    let given = [("x-request-id", "e2e-given-id")];
    let error = stack
        .api("GET", "/v1/me", &given, "")
        .await
        .expect_error(401, "UNAUTHENTICATED");
    assert_eq!(error["request_id"], "e2e-given-id");
    logs::tell_nothing(&[&tenant.token]);
}
