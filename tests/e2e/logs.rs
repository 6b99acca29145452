//! What the processes of the stack wrote down: ids and codes, never personal data or secrets.

use crate::stack::{Stack, local};
use crate::tenant::{MARKS, Tenant, person, wamid};
use serde_json::json;

/// Fails with the lines of `.local/logs` that hold one of the marks or `also`.
///
/// # Panics
/// When there is such a line, or no log at all.
#[track_caller]
pub fn tell_nothing(also: &[&str]) {
    let mut leaks = Vec::new();
    let mut lines = 0;
    for entry in std::fs::read_dir(local("logs")).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for line in text.lines() {
            lines += 1;
            if MARKS.iter().chain(also).any(|mark| line.contains(mark)) {
                leaks.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert!(lines > 0, "the stack has written no logs");
    assert!(
        leaks.is_empty(),
        "{} lines tell too much, such as\n{}",
        leaks.len(),
        leaks[0]
    );
}

/// How many lines of a function's log count this metric.
fn counted(function: &str, metric: &str) -> usize {
    let log = std::fs::read(local("logs").join(format!("{function}.log"))).unwrap_or_default();
    let counts = format!("\"{metric}\":1.0");
    String::from_utf8_lossy(&log).matches(&counts).count()
}

#[tokio::test]
async fn refusals_and_failures_name_nobody() {
    let stack = Stack::running();
    let tenant = Tenant::connected(&stack).await;
    let from = person();
    let contact = json!({
        "first_name": "Basil",
        "last_name": "Quillfeather",
        "channels": [{ "type": "email", "value": "basil@e2e.example" }, { "type": "phone", "value": format!("+{from}") }],
    });
    tenant.call("POST", "/v1/contacts", &contact).await.expect(201);
    tenant
        .call("POST", "/v1/contacts", &contact)
        .await
        .expect_error(409, "DUPLICATE");
    tenant
        .call(
            "GET",
            "/v1/contacts?phone=9655077xx&email=@e2e.example",
            &json!(null),
        )
        .await
        .expect_error(422, "VALIDATION_FAILED");
    let login =
        json!({ "email": "nobody@e2e.example", "password": "e2e-password-wrong", "delivery": "body" });
    let failed_before = counted("auth", "LoginFailed");
    tenant.call("POST", "/v1/auth/login", &login).await.expect(401);
    let told = async || (counted("auth", "LoginFailed") > failed_before).then_some(());
    stack.wait_for("the metric that an alarm counts", told).await;
    let spent = json!({ "refresh_token": format!("m3r_{}", "A".repeat(43)) });
    tenant.call("POST", "/v1/auth/refresh", &spent).await.expect(401);

    // A known contact writes, is answered, and the provider refuses the answer.
    let id = wamid();
    tenant
        .post(&tenant.message(&id, &from, "e2e-text: \u{0} hello"))
        .await
        .expect(200);
    let message = tenant.received(&id).await;
    let path = format!(
        "/v1/conversations/{}/messages",
        message["conversation_id"].as_str().unwrap()
    );
    let template =
        json!({ "template_code": "no_such_template", "payload": { "parameters": ["Basil Quillfeather"] } });
    let reply = tenant.call("POST", &path, &template).await.expect(202);
    let look = async || {
        let messages = tenant.messages().await;
        let status = messages.iter().find(|message| message["id"] == reply["id"])?["status"].clone();
        (status != "queued" && status != "sending").then_some(())
    };
    stack.wait_for("the end of the reply", look).await;
    tell_nothing(&[&tenant.token, &from]);
}
