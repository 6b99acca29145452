//! The running stack, by what `.local/stack.json` says of it.

use providers::Timeouts;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

/// How long anything may take on its way through the queues, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(1);

/// The running stack.
#[derive(Clone)]
pub struct Stack {
    description: Value,
    client: Client,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The error inside our envelope.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Value {
        let request_id = self
            .headers
            .get("x-request-id")
            .map(|id| id.to_str().unwrap().to_owned());
        let body = self.expect(status);
        assert_eq!(body["error"]["code"], code, "{body}");
        assert!(
            body["error"]["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{body}"
        );
        assert_eq!(
            body["error"]["request_id"].as_str(),
            request_id.as_deref(),
            "{body}"
        );
        body["error"].clone()
    }

    /// The body; null when there is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        match self.text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {self:?}")),
        }
    }
}

impl Stack {
    /// # Panics
    /// When no stack is up.
    pub fn running() -> Self {
        let text = std::fs::read_to_string(local("stack.json"))
            .expect("no stack is up; start one with `cargo xtask up`");
        let timeouts = Timeouts {
            connect: Duration::from_secs(5),
            total: PATIENCE,
        };
        Self {
            description: serde_json::from_str(&text).unwrap(),
            client: providers::http::client(timeouts).unwrap(),
        }
    }

    /// A part of stack.json, by JSON pointer.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> &str {
        self.description
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("stack.json has no {pointer}"))
    }

    pub async fn send(&self, method: &str, url: String, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = self
            .client
            .request(Method::from_bytes(method.as_bytes()).unwrap(), &url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request
            .body(body)
            .send()
            .await
            .unwrap_or_else(|error| panic!("{method} {url}: {error:?}"));
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// A request to the API.
    pub async fn api(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        self.send(
            method,
            format!("{}{path}", self.text("/api_url")),
            headers,
            body.into(),
        )
        .await
    }

    /// A post to the webhooks function.
    pub async fn webhook(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        self.send(
            "POST",
            format!("{}{path}", self.text("/webhooks_url")),
            headers,
            body.into(),
        )
        .await
    }

    /// A call to the stand-in of the providers.
    pub async fn providers(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let json = [("content-type", "application/json")];
        self.send(
            method,
            format!("{}{path}", self.text("/fake_providers_url")),
            &json,
            body,
        )
        .await
    }

    /// Invokes a function, as `aws lambda invoke` does.
    pub async fn invoke(&self, function: &str, event: &Value) -> Answer {
        let url = format!(
            "{}/2015-03-31/functions/{function}/invocations",
            self.text("/aws_endpoint")
        );
        self.send("POST", url, &[], event.to_string().into_bytes()).await
    }

    /// Calls SQS.
    pub async fn sqs(&self, action: &str, request: &Value) -> Value {
        let target = format!("AmazonSQS.{action}");
        let headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", target.as_str()),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0",
            ),
        ];
        let body = request.to_string().into_bytes();
        self.send("POST", format!("{}/", self.text("/aws_endpoint")), &headers, body)
            .await
            .expect(200)
    }

    pub async fn queue_url(&self, queue: &str) -> String {
        let answer = self
            .sqs(
                "GetQueueUrl",
                &json!({ "QueueName": format!("m3corecrm-{queue}") }),
            )
            .await;
        answer["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// Asks until `look` finds something.
    pub async fn wait_for<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{what} did not show within {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A file below `.local`.
pub fn local(name: &str) -> PathBuf {
    root().join(".local").join(name)
}

/// The repository's folder.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Runs the developer's tool; returns what it printed.
#[track_caller]
pub fn xtask(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output = command
        .arg("xtask")
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo xtask {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Text that no other run of these tests has.
pub fn unique() -> String {
    kernel::Clock::system().id().simple().to_string()
}

/// So many random digits, the first of them not 0.
pub fn digits(count: usize) -> String {
    let random = kernel::Clock::system().id().as_u128();
    let rest = count - 1;
    format!("7{:0rest$}", random % 10_u128.pow(u32::try_from(rest).unwrap()))
}
