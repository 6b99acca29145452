//! Every file of events/, invoked twice, works as it is on a stack that was freshly seeded.

use crate::stack::{Stack, root, xtask};
use demo::{Expected, Sample};
use serde_json::Value;

#[tokio::test]
async fn every_sample_works_and_works_again() {
    xtask(&["seed"]);
    let stack = Stack::running();
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
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
