//! AWS away, slow or throttling, played by a server of our own.

use crate::setup::{clock, env, sealer};
use cloud::{Cloud, Key, LockOut, Outgoing, Provider, RateLimit, Unsent};
use config::Env;
use kernel::Code;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const LIMIT: RateLimit = RateLimit {
    name: "test",
    capacity: 1,
    per: Duration::from_secs(1),
};

async fn answering(response: impl Respond + 'static) -> (MockServer, Cloud) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(response)
        .mount(&server)
        .await;
    let cloud = Cloud::connect(&env(&server.uri())).unwrap();
    (server, cloud)
}

#[tokio::test]
async fn a_throttled_table_makes_every_question_unavailable() {
    let throttled =
        json!({ "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException" });
    let (server, cloud) = answering(ResponseTemplate::new(400).set_body_json(throttled)).await;
    let key = Key::id("one");
    let limiter = cloud.rate_limiter("state", clock());
    assert_eq!(
        limiter.take(&LIMIT, &key).await.unwrap_err().code(),
        Code::Unavailable
    );
    assert_eq!(
        server.received_requests().await.unwrap().len(),
        3,
        "tried three times"
    );
    let lock_outs = cloud.lock_outs("state", clock());
    assert_eq!(
        lock_outs
            .begin(&LockOut::of("password"), &key)
            .await
            .unwrap_err()
            .code(),
        Code::Unavailable
    );
    let accounts = cloud.accounts("state", sealer(), clock());
    assert_eq!(
        accounts.find(Provider::Meta, "1").await.unwrap_err().code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn nothing_listening_is_unavailable_and_a_missing_table_a_mistake() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let cloud = Cloud::connect(&env(&format!("http://{address}"))).unwrap();
    let error = cloud
        .rate_limiter("state", clock())
        .take(&LIMIT, &Key::id("one"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);

    let missing = json!({ "__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException" });
    let (_server, cloud) = answering(ResponseTemplate::new(400).set_body_json(missing)).await;
    let error = cloud
        .rate_limiter("state", clock())
        .take(&LIMIT, &Key::id("one"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Internal);
}

#[tokio::test]
async fn a_nudge_waits_a_second_at_most() {
    let (_server, cloud) = answering(ResponseTemplate::new(200).set_delay(Duration::from_secs(5))).await;
    let started = Instant::now();
    let queue = cloud.queue("http://127.0.0.1/000000000000/q");
    assert_eq!(queue.nudge(&[Outgoing::new(None, "req", 1)]).await, 1);
    assert!(
        started.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        started.elapsed()
    );
}

/// Takes entry 0, refuses entry 1 as wrong, and entry 2 as often as it is told to.
struct Partly {
    refusals: usize,
    calls: AtomicUsize,
}

impl Respond for Partly {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let body: Value = request.body_json().unwrap();
        let ids = body["Entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["Id"].as_str().unwrap().to_owned());
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for id in ids {
            match id.as_str() {
                "1" => {
                    failed.push(json!({ "Id": id, "Code": "InvalidMessageContents", "SenderFault": true }));
                }
                "2" if call < self.refusals => {
                    failed.push(json!({ "Id": id, "Code": "InternalError", "SenderFault": false }));
                }
                _ => successful.push(json!({ "Id": id, "MessageId": id, "MD5OfMessageBody": "" })),
            }
        }
        ResponseTemplate::new(200).set_body_json(json!({ "Successful": successful, "Failed": failed }))
    }
}

#[tokio::test]
async fn what_sqs_could_not_take_is_offered_again_and_what_it_refused_is_not() {
    let messages: Vec<_> = (0..3).map(|n| Outgoing::new(None, "req", n)).collect();
    let refused = Unsent {
        index: 1,
        permanent: true,
        code: "InvalidMessageContents".to_owned(),
    };
    for (refusals, calls, expected) in [
        (2, 3, vec![refused.clone()]),
        (
            9,
            3,
            vec![
                refused.clone(),
                Unsent {
                    index: 2,
                    permanent: false,
                    code: "InternalError".to_owned(),
                },
            ],
        ),
    ] {
        let (server, cloud) = answering(Partly {
            refusals,
            calls: AtomicUsize::new(0),
        })
        .await;
        let queue = cloud.queue("http://127.0.0.1/000000000000/q");
        assert_eq!(queue.send_batch(&messages).await, expected);
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests.len(), calls);
        let last: Value = requests[calls - 1].body_json().unwrap();
        assert_eq!(
            last["Entries"].as_array().unwrap().len(),
            1,
            "only the third is offered again"
        );
    }
}

#[tokio::test]
async fn a_session_token_is_sent_and_a_missing_credential_named() {
    let server = MockServer::start().await;
    let answer =
        ResponseTemplate::new(200).set_body_json(json!({ "MessageId": "m", "MD5OfMessageBody": "" }));
    Mock::given(header("x-amz-security-token", "session"))
        .respond_with(answer)
        .expect(1)
        .mount(&server)
        .await;
    let env = Env::from_pairs([
        ("AWS_ENDPOINT_URL", server.uri().as_str()),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session"),
    ]);
    let queue = Cloud::connect(&env)
        .unwrap()
        .queue("http://127.0.0.1/000000000000/q");
    // the checksum of the stand-in's answer does not fit; what counts is what was sent
    let _ = queue.send(&Outgoing::new(None, "req", 1)).await;
    server.verify().await;

    let error = Cloud::connect(&Env::from_pairs([("AWS_REGION", "eu-central-1")])).unwrap_err();
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("AWS_ACCESS_KEY_ID")
    );
}
