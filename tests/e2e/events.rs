//! Every file of events/, invoked twice, works as it is on a stack that was freshly seeded.

use crate::stack::{Stack, root, xtask};
use demo::{Expected, Sample};
use jiff::Timestamp;
use serde_json::Value;

#[tokio::test]
async fn every_sample_works_and_works_again() {
    xtask(&["seed"]);
    let stack = Stack::running();
    let token = xtask(&["token"]);
    let begun = kernel::Clock::system().now();
    let mut wrong = Vec::new();
    for sample in demo::samples::all().unwrap() {
        let text = std::fs::read_to_string(root().join(format!("events/{}.json", sample.name))).unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        for again in [false, true] {
            let answer = stack.invoke(sample.function, &event).await;
            let failed = answer.headers.contains_key("x-amz-function-error") || answer.status != 200;
            if failed || !is_expected(&sample, again, &answer.json()) {
                wrong.push(format!(
                    "{} ({}): {}",
                    sample.name,
                    if again { "again" } else { "first" },
                    answer.text
                ));
            }
        }
        if changes_something(&sample) && !is_audited(&stack, token.trim(), &sample, begun).await {
            wrong.push(format!("{}: no new audit line has its request id", sample.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Samples that change nothing of the demo company: what is only tried out, what is done to another
/// company, what asks for an address that nobody has, what comes too soon or has nothing to undo.
const NOT_AUDITED: [&str; 10] = [
    "admin-plan-preview",
    "admin-tenants-close",
    "admin-tenants-create",
    "admin-tenants-resend-invite",
    "auth-forgot-password",
    "auth-phone-verify-cancel",
    "auth-phone-verify-resend",
    "auth-register-super-admin",
    "auth-resend-verification",
    "auth-signup",
];

/// Whether the sample is a request that changed something.
fn changes_something(sample: &Sample) -> bool {
    let method = sample.event.pointer("/requestContext/http/method");
    let is_write = method
        .and_then(Value::as_str)
        .is_some_and(|method| method != "GET");
    let succeeds = matches!(sample.expected, Expected::Statuses(first, _) if first[0] < 300);
    is_write && succeeds && sample.function != "webhooks" && !NOT_AUDITED.contains(&sample.name.as_str())
}

/// Samples carry their name as request id, and so does every line of the audit log that they cause. Lines
/// from before this run say nothing of it.
async fn is_audited(stack: &Stack, token: &str, sample: &Sample, begun: Timestamp) -> bool {
    let bearer = format!("Bearer {token}");
    let path = format!(
        "/v1/admin/audit-logs?request_id={}&from={begun}&limit=1",
        sample.name
    );
    let answer = stack.api("GET", &path, &[("authorization", &bearer)], "").await;
    !answer.expect(200)["data"].as_array().unwrap().is_empty()
}

fn is_expected(sample: &Sample, again: bool, answer: &Value) -> bool {
    match sample.expected {
        Expected::Statuses(first, second) => {
            let status = answer["statusCode"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok());
            status.is_some_and(|status| if again { second } else { first }.contains(&status))
        }
        Expected::Batch => answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty),
        Expected::Report => true,
    }
}
