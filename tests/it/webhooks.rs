//! The webhook edge: what is signed by whom, and what reaches the queue.

use crate::messaging::stack::{Stack, digits, drain, meta_account, meta_body, sqs, text_message};
use crate::support::{Answer, Api, World};
use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use config::GlobalAccounts;
use kernel::Secret;
use providers::intake::{Source, Webhook, WebhookBody};
use providers::signature;
use serde_json::{Value, json};
use std::sync::Arc;

const GLOBAL_SECRET: &str = "global-app-secret";
const HOOKS: &str = "https://hooks.test";

/// The edge beside a company's stack.
pub struct Edge {
    pub stack: Stack,
    api: Api,
    queue_url: String,
}

impl Edge {
    pub async fn new() -> Self {
        Self::of(Stack::new().await, global()).await
    }

    /// With a database of its own.
    pub async fn alone() -> Self {
        Self::of(Stack::alone().await, global()).await
    }

    async fn of(mut stack: Stack, global: Value) -> Self {
        let cloud = cloud::Cloud::connect(&crate::messaging::stack::aws_env(
            &crate::messaging::stack::endpoint(),
        ))
        .unwrap();
        let queue_url = sqs()
            .create_queue()
            .queue_name(format!("in-{}", digits()))
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap();
        let global: GlobalAccounts = serde_json::from_value(global).unwrap();
        let bucket = format!("hooks-{}", testkit::unique());
        crate::messaging::stack::s3()
            .create_bucket()
            .bucket(&bucket)
            .send()
            .await
            .unwrap();
        let app = webhooks_function::App {
            accounts: Arc::clone(&stack.app.accounts),
            global: Arc::new(global),
            queue: cloud.queue(&queue_url),
            bucket: cloud.bucket(&bucket),
            webhooks_url: HOOKS.into(),
            web: stack.world.web(),
        };
        stack.processor.bucket = app.bucket.clone();
        Self {
            stack,
            api: Api(webhooks_function::routes().into_service(app)),
            queue_url,
        }
    }

    /// The same edge with another AWS behind it.
    pub fn with_directory(self, cloud: &cloud::Cloud) -> Self {
        let app = webhooks_function::App {
            accounts: Arc::new(cloud.accounts("state", testkit::keys::sealer(), kernel::Clock::system())),
            global: Arc::default(),
            queue: cloud.queue(&self.queue_url),
            bucket: cloud.bucket("b"),
            webhooks_url: HOOKS.into(),
            web: self.stack.world.web(),
        };
        Self {
            api: Api(webhooks_function::routes().into_service(app)),
            ..self
        }
    }

    pub async fn meta(&self, body: &str, signed_with: &str) -> Answer {
        let signature = signature::sign_meta(&Secret::new(signed_with.to_owned()), body.as_bytes());
        self.meta_signed(body, &signature).await
    }

    async fn meta_signed(&self, body: &str, signature: &str) -> Answer {
        let headers = [
            ("x-hub-signature-256", signature),
            ("content-type", "application/json"),
        ];
        self.api
            .call("POST", "/v1/webhooks/meta", &headers, body.to_owned())
            .await
    }

    async fn twilio(&self, path: &str, form: &str, token: &str) -> Answer {
        let signature = signature::sign_twilio_form(
            &Secret::new(token.to_owned()),
            &format!("{HOOKS}{path}"),
            form.as_bytes(),
        );
        let headers = [
            ("x-twilio-signature", signature.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.api.call("POST", path, &headers, form.to_owned()).await
    }

    pub async fn queued(&self) -> Vec<kernel::Envelope<Webhook>> {
        drain(&self.queue_url).await
    }

    /// A connected Meta number with its own app secret.
    pub async fn connect(&self, app_secret: &str) -> String {
        let number = digits();
        let mut body = meta_account(&number);
        body["credentials"]["app_secret"] = json!(app_secret);
        self.stack
            .api
            .post(&self.stack.me, "/v1/whatsapp-accounts", &body)
            .await
            .expect(201);
        number
    }
}

fn global() -> Value {
    json!({
        "meta": { "app_secret": GLOBAL_SECRET, "verify_token": "global-verify", "access_token": "t", "phone_number_id": "1" },
        "twilio": null,
    })
}

fn one_message(number: &str) -> String {
    meta_body(&[(number, &[text_message("201001234567", "hello")], &[])])
}

#[tokio::test]
async fn an_account_is_known_as_soon_as_its_creation_has_answered() {
    let edge = Edge::new().await;
    let number = edge.connect("secret-a").await;
    let body = one_message(&number);
    assert_eq!(
        edge.meta(&body, "secret-a").await.expect(200),
        json!({ "status": "accepted" })
    );
    let queued = edge.queued().await;
    assert_eq!(queued.len(), 1);
    let webhook = &queued[0].payload;
    assert_eq!(webhook.source, Source::Meta);
    assert_eq!(webhook.accounts[0].tenant_id, edge.stack.world.tenant.0);
    assert_eq!(webhook.accounts[0].provider_key, number);
    let WebhookBody::Base64(bytes) = &webhook.body else {
        panic!("a small body travels in the message")
    };
    assert_eq!(
        STANDARD.decode(bytes).unwrap(),
        body.as_bytes(),
        "the bytes as they came"
    );
}

#[tokio::test]
async fn what_is_not_signed_by_the_account_is_refused_and_kept_nowhere() {
    let edge = Edge::new().await;
    let number = edge.connect("secret-a").await;
    let body = one_message(&number);
    let signed = signature::sign_meta(&Secret::new("secret-a".to_owned()), body.as_bytes());
    for wrong in [
        "",
        "sha256=",
        "sha256=00",
        &signed[7..],
        &signed.replace("sha256", "sha1"),
        &format!("{signed}0"),
    ] {
        edge.meta_signed(&body, wrong)
            .await
            .expect_code(401, "UNAUTHENTICATED");
    }
    edge.api
        .call("POST", "/v1/webhooks/meta", &[], body.clone())
        .await
        .expect_code(401, "UNAUTHENTICATED");
    edge.meta(&body, "secret-b")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    edge.meta(&body, GLOBAL_SECRET)
        .await
        .expect_code(401, "UNAUTHENTICATED");
    edge.meta_signed(&body.replace("hello", "hallo"), &signed)
        .await
        .expect_code(401, "UNAUTHENTICATED");
    assert!(edge.queued().await.is_empty());
}

/// Meta signs the text it sends, with `\u` escapes; the same JSON written anew is another text.
#[tokio::test]
async fn the_signature_is_over_the_bytes_and_not_over_the_json() {
    let edge = Edge::new().await;
    let number = edge.connect("secret-a").await;
    let escaped = one_message(&number).replace("hello", "\\u0645\\u0631\\u062d\\u0628\\u0627");
    let written_anew = serde_json::from_str::<Value>(&escaped).unwrap().to_string();
    let signed = signature::sign_meta(&Secret::new("secret-a".to_owned()), escaped.as_bytes());
    edge.meta_signed(&written_anew, &signed)
        .await
        .expect_code(401, "UNAUTHENTICATED");
    edge.meta_signed(&escaped, &signed).await.expect(200);
}

#[tokio::test]
async fn a_body_may_name_only_numbers_of_the_secret_that_signed_it() {
    let edge = Edge::new().await;
    let (mine, theirs) = (edge.connect("secret-a").await, edge.connect("secret-b").await);
    let message = || text_message("201001234567", "hello");
    let both = meta_body(&[(&mine, &[message()], &[]), (&theirs, &[message()], &[])]);
    edge.meta(&both, "secret-a")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    edge.meta(&one_message(&theirs), "secret-a")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    let with_unknown = meta_body(&[(&mine, &[message()], &[]), (&digits(), &[message()], &[])]);
    edge.meta(&with_unknown, "secret-a")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    assert!(edge.queued().await.is_empty());
}

#[tokio::test]
async fn a_number_that_nobody_has_is_checked_with_the_global_secret() {
    let edge = Edge::new().await;
    let body = one_message(&digits());
    edge.meta(&body, "secret-a")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    edge.meta(&body, GLOBAL_SECRET).await.expect(200);
    let queued = edge.queued().await;
    assert!(queued[0].tenant().is_none() && queued[0].payload.accounts.is_empty());
    let without = Edge::of(Stack::new().await, json!({ "meta": null, "twilio": null })).await;
    without
        .meta(&body, GLOBAL_SECRET)
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

/// Who enters a foreign number gets nothing, and takes nothing from its owner.
#[tokio::test]
async fn the_signature_decides_between_two_companies_with_one_number() {
    let edge = Edge::new().await;
    let number = digits();
    for (app_secret, login, world) in [
        ("squatter", None, Some(World::new().await)),
        ("owner", Some(&edge.stack.me), None),
    ] {
        let mut body = meta_account(&number);
        body["credentials"]["app_secret"] = json!(app_secret);
        let login = match (login, &world) {
            (Some(login), _) => login.clone(),
            (None, Some(world)) => world.admin().await,
            (None, None) => unreachable!(),
        };
        edge.stack
            .api
            .post(&login, "/v1/whatsapp-accounts", &body)
            .await
            .expect(201);
    }
    edge.meta(&one_message(&number), "owner").await.expect(200);
    let queued = edge.queued().await;
    assert_eq!(queued[0].payload.accounts.len(), 1);
    assert_eq!(queued[0].payload.accounts[0].tenant_id, edge.stack.world.tenant.0);
}

#[tokio::test]
async fn a_changed_secret_counts_at_once() {
    let edge = Edge::new().await;
    let number = edge.connect("old-secret").await;
    edge.meta(&one_message(&number), "old-secret").await.expect(200);
    let listed = edge
        .stack
        .api
        .get(&edge.stack.me, "/v1/whatsapp-accounts")
        .await
        .expect(200);
    let path = format!(
        "/v1/whatsapp-accounts/{}",
        listed["data"][0]["id"].as_str().unwrap()
    );
    let change = json!({ "credentials": { "app_secret": "new-secret" } });
    edge.stack
        .api
        .patch(&edge.stack.me, &path, &change)
        .await
        .expect(200);
    edge.meta(&one_message(&number), "new-secret").await.expect(200);
    edge.stack.api.delete(&edge.stack.me, &path).await.expect(204);
    edge.meta(&one_message(&number), "new-secret")
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn hostile_bodies_are_answered_and_lose_nothing() {
    let edge = Edge::new().await;
    let number = edge.connect("secret-a").await;
    for text in [
        "\\u0000",
        "\\ud800",
        "\\udc00 x \\ud83d",
        "\u{202e}\u{5d0}",
        "\\u202e",
    ] {
        edge.meta(&one_message(&number).replace("hello", text), "secret-a")
            .await
            .expect(200);
    }
    let deep = |levels: usize| {
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        one_message(&number).replace("\"hello\"", &nested)
    };
    edge.meta(&deep(10_000), "secret-a")
        .await
        .expect_code(400, "INVALID_REQUEST");
    edge.meta(&"[".repeat(10_000), GLOBAL_SECRET)
        .await
        .expect_code(400, "INVALID_REQUEST");
    edge.meta(&"[".repeat(10_000), "secret-a")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    for empty in [
        r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[]}]}"#,
        r#"{"entry":[]}"#,
    ] {
        edge.meta(empty, "secret-a")
            .await
            .expect_code(401, "UNAUTHENTICATED");
        edge.meta(empty, GLOBAL_SECRET).await.expect(200);
    }
    assert_eq!(edge.queued().await.len(), 5);

    let large = one_message(&number).replace("hello", &"x".repeat(3 * 1024 * 1024));
    edge.meta(&large, "secret-a").await.expect(200);
    let queued = edge.queued().await;
    let WebhookBody::Stored { object, key } = &queued[0].payload.body else {
        panic!("3 MB do not fit a queue message")
    };
    assert!(object.starts_with("webhooks/meta/"));
    let stored = edge.stack.processor.bucket.get(object, 4 << 20).await.unwrap();
    assert!(!String::from_utf8_lossy(&stored).contains("xxxx"), "it is sealed");
    assert!(key.open(stored).unwrap() == large.as_bytes());
    edge.meta(&"x".repeat(5 * 1024 * 1024), GLOBAL_SECRET)
        .await
        .expect_code(413, "TOO_LARGE");
}

#[tokio::test]
async fn metas_handshake_wants_a_token_that_an_account_has() {
    let edge = Edge::new().await;
    let number = digits();
    let mut body = meta_account(&number);
    body["credentials"]["verify_token"] = json!(format!("verify-{number}"));
    edge.stack
        .api
        .post(&edge.stack.me, "/v1/whatsapp-accounts", &body)
        .await
        .expect(201);
    let ask = async |query: String| {
        edge.api
            .call("GET", &format!("/v1/webhooks/meta?{query}"), &[], Body::empty())
            .await
    };
    for token in [format!("verify-{number}"), "global-verify".to_owned()] {
        let answer = ask(format!(
            "hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444"
        ))
        .await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "1158201444"));
        assert!(answer.headers["content-type"].starts_with("text/plain"));
    }
    ask("hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1".to_owned())
        .await
        .expect_code(403, "FORBIDDEN");
    ask("hub.mode=unsubscribe&hub.verify_token=global-verify&hub.challenge=1".to_owned())
        .await
        .expect_code(400, "INVALID_REQUEST");
    ask(String::new()).await.expect_code(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn twilio_signs_url_and_form() {
    let edge = Edge::new().await;
    let sid = format!("AC{:032x}", testkit::unique().as_u128());
    let account = json!({ "provider": "twilio", "provider_account_id": sid, "display_phone_number": "+14155238886",
                          "credentials": { "auth_token": "twilio-token" } });
    edge.stack
        .api
        .post(&edge.stack.me, "/v1/whatsapp-accounts", &account)
        .await
        .expect(201);
    let form = format!(
        "MessageSid=SM{}&AccountSid={sid}&From=whatsapp%3A%2B201001234567&To=whatsapp%3A%2B14155238886&Body=hi&NumMedia=0",
        digits()
    );
    let answer = edge.twilio("/v1/webhooks/twilio", &form, "twilio-token").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "<Response/>"));
    edge.twilio("/v1/webhooks/twilio?ref=abc", &form, "twilio-token")
        .await
        .expect_text(200);
    edge.twilio("/v1/webhooks/twilio", &form, "other")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    let signed = signature::sign_twilio_form(
        &Secret::new("twilio-token".to_owned()),
        &format!("{HOOKS}/v1/webhooks/twilio"),
        form.as_bytes(),
    );
    for (path, body) in [
        ("/v1/webhooks/twilio?x=1", form.clone()),
        ("/v1/webhooks/twilio", form.replace("Body=hi", "Body=ho")),
    ] {
        let headers = [
            ("x-twilio-signature", signed.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        edge.api
            .call("POST", path, &headers, body)
            .await
            .expect_code(401, "UNAUTHENTICATED");
    }
    // JSON is signed by its digest in the URL.
    let json = json!({ "MessageSid": "SM1", "AccountSid": sid, "From": "+201001234567", "To": "+14155238886", "Body": "hi" });
    let digest = signature::hex(digest(&SHA256, json.to_string().as_bytes()).as_ref());
    for (path, body, status) in [
        (
            format!("/v1/webhooks/twilio?bodySHA256={digest}"),
            json.to_string(),
            200,
        ),
        (
            format!("/v1/webhooks/twilio?bodySHA256={digest}"),
            json.to_string().replace("hi", "ho"),
            401,
        ),
        ("/v1/webhooks/twilio".to_owned(), json.to_string(), 401),
    ] {
        let signed = signature::sign_twilio_form(
            &Secret::new("twilio-token".to_owned()),
            &format!("{HOOKS}{path}"),
            b"",
        );
        let headers = [
            ("x-twilio-signature", signed.as_str()),
            ("content-type", "application/json"),
        ];
        assert_eq!(
            edge.api.call("POST", &path, &headers, body).await.status,
            status,
            "{path}"
        );
    }
    let queued = edge.queued().await;
    assert_eq!(queued.len(), 3);
    assert_eq!(
        queued[0].payload.accounts[0].provider_key,
        format!("{sid}/+14155238886")
    );
    assert_eq!(
        queued
            .iter()
            .filter(|webhook| webhook.payload.query == "ref=abc")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_directory_that_is_away_asks_the_provider_to_come_again() {
    let nowhere = cloud::Cloud::connect(&crate::messaging::stack::aws_env("http://127.0.0.1:1")).unwrap();
    let away = Edge::new().await.with_directory(&nowhere);
    let answer = away.meta(&one_message(&digits()), "secret-a").await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.expect_code(503, "UNAVAILABLE");
}
