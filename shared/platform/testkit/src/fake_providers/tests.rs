use std::time::Duration;

use kernel::Secret;
use providers::{
    Account, Channel, Content, Endpoints, EventKind, Http, OutboundMessage, SendError, SendErrorKind,
    Timeouts,
};
use serde_json::{Value, json};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

const NUMBER: &str = "105550001112223";

struct Bench {
    url: String,
    handle: Handle,
    client: reqwest::Client,
}

impl Bench {
    async fn start() -> Self {
        let (url, handle) = FakeProviders::start(0).await.unwrap();
        let client = providers::http::client(Timeouts::default()).unwrap();
        Self { url, handle, client }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
        let mut request = self.client.post(format!("{}{path}", self.url)).json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (
            response.status().as_u16(),
            response.json().await.unwrap_or_default(),
        )
    }

    /// Through the adapter that production uses.
    async fn send(&self, account: &Account, webhooks_url: &str) -> Result<String, SendError> {
        let endpoints = Endpoints {
            meta_api_url: format!("{}/v23.0", self.url),
            twilio_api_url: self.url.clone(),
            brevo_api_url: self.url.clone(),
            webhooks_url: webhooks_url.into(),
        };
        let timeouts = Timeouts {
            connect: Duration::from_secs(1),
            total: Duration::from_millis(700),
        };
        let from = if account.provider() == "meta" {
            NUMBER
        } else {
            "+12025550123"
        };
        let message = OutboundMessage {
            id: "row-1".into(),
            channel: Channel::Whatsapp,
            from: from.into(),
            to: "+201001234567".into(),
            content: Content::Text("أهلا".into()),
            request_id: "req-7".into(),
            trace: None,
        };
        let sent = account
            .send(&Http::new(endpoints, timeouts).unwrap(), &message)
            .await?;
        Ok(sent.provider_message_id)
    }

    async fn told(&self, account: &Account, behaviour: Value) -> SendError {
        let (status, _) = self.post("/behaviour", &[], behaviour).await;
        assert_eq!(status, 204);
        self.send(account, "http://hooks.invalid").await.unwrap_err()
    }
}

fn meta() -> Account {
    Account::Meta {
        access_token: Secret::new("EAAG".into()),
    }
}

fn twilio() -> Account {
    Account::Twilio {
        account_sid: "AC01".into(),
        auth_token: Secret::new("tok".into()),
    }
}

#[tokio::test]
async fn sends_are_accepted_and_recorded() {
    let bench = Bench::start().await;
    let wamid = bench.send(&meta(), "http://hooks.invalid").await.unwrap();
    let sid = bench.send(&twilio(), "http://hooks.invalid").await.unwrap();
    assert!(wamid.starts_with("wamid."));
    assert_eq!((sid.len(), &sid[..2]), (34, "SM"));
    assert_ne!(wamid, bench.send(&meta(), "http://hooks.invalid").await.unwrap());

    let all: Vec<Value> = bench
        .client
        .get(format!("{}/requests", bench.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0]["method"], "POST");
    assert_eq!(all[0]["path"], format!("/v23.0/{NUMBER}/messages"));
    assert_eq!(all[0]["headers"]["authorization"], "Bearer EAAG");
    assert_eq!(all[0]["body"]["text"]["body"], "أهلا");
    assert_eq!(all[0]["status"], 200);
    assert_eq!(all[0]["provider_message_id"], wamid);
    assert_eq!(all[1]["provider"], "twilio");
    assert_eq!(all[1]["body"]["To"], "whatsapp:+201001234567");

    let only: Vec<Value> = bench
        .client
        .get(format!("{}/requests?provider=twilio", bench.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(only.len(), 1);
    bench
        .client
        .delete(format!("{}/requests", bench.url))
        .send()
        .await
        .unwrap();
    assert!(bench.handle.requests().is_empty());
}

#[tokio::test]
async fn every_mode_looks_to_the_adapter_as_it_should() {
    use SendErrorKind::{Transient, Unknown};
    let bench = Bench::start().await;
    let cases = [
        (json!({ "mode": "fail" }), Transient, "UNAVAILABLE", Some(500)),
        (
            json!({ "mode": "fail", "status": 503 }),
            Transient,
            "UNAVAILABLE",
            Some(503),
        ),
        (
            json!({ "mode": "rate_limited" }),
            Transient,
            "RATE_LIMITED",
            Some(429),
        ),
        (
            json!({ "mode": "slow", "delay_ms": 2000 }),
            Unknown,
            "TIMEOUT",
            None,
        ),
        (json!({ "mode": "timeout" }), Unknown, "TIMEOUT", None),
        (
            json!({ "mode": "timeout", "delay_ms": 1 }),
            Unknown,
            "NO_ANSWER",
            None,
        ),
        (json!({ "mode": "accept_then_drop" }), Unknown, "NO_ANSWER", None),
    ];
    for (account, provider) in [(meta(), "meta"), (twilio(), "twilio")] {
        for (behaviour, kind, code, status) in &cases {
            let mut behaviour = behaviour.clone();
            behaviour["provider"] = provider.into();
            let error = bench.told(&account, behaviour).await;
            assert_eq!(
                (error.kind, error.code, error.http_status),
                (*kind, *code, *status),
                "{provider}"
            );
        }
        let last = bench.handle.requests().pop().unwrap();
        assert!(
            last.provider_message_id.is_some(),
            "what was dropped was taken all the same"
        );
    }
}

#[tokio::test]
async fn rejections_carry_the_code_that_was_asked_for() {
    let bench = Bench::start().await;
    let rejections = [
        (
            meta(),
            json!({ "provider": "meta", "mode": "reject" }),
            "UNDELIVERABLE",
        ),
        (
            meta(),
            json!({ "provider": "meta", "mode": "reject", "code": 131_047 }),
            "WINDOW_CLOSED",
        ),
        (
            twilio(),
            json!({ "provider": "twilio", "mode": "reject" }),
            "INVALID_RECIPIENT",
        ),
        (
            twilio(),
            json!({ "provider": "twilio", "mode": "reject", "code": 63_016 }),
            "WINDOW_CLOSED",
        ),
    ];
    for (account, behaviour, code) in rejections {
        let error = bench.told(&account, behaviour).await;
        assert_eq!(
            (error.kind, error.code, error.http_status),
            (SendErrorKind::Permanent, code, Some(400))
        );
    }
    let told = json!({ "provider": "meta", "mode": "rate_limited", "retry_after_s": 9 });
    assert_eq!(
        bench.told(&meta(), told).await.retry_after,
        Some(Duration::from_secs(9))
    );
    let (status, _) = bench
        .post("/behaviour", &[], json!({ "provider": "meta", "mode": "sulk" }))
        .await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn behaviours_end_after_their_times_or_when_reset() {
    let bench = Bench::start().await;
    bench.handle.behave(Behaviour {
        times: Some(2),
        ..Behaviour::mode(Provider::Meta, Mode::Fail)
    });
    for expected in [false, false, true, true] {
        assert_eq!(
            bench.send(&meta(), "http://hooks.invalid").await.is_ok(),
            expected
        );
    }
    bench.handle.behave(Behaviour::mode(Provider::Meta, Mode::Reject));
    assert!(bench.send(&meta(), "http://hooks.invalid").await.is_err());
    assert!(
        bench.send(&twilio(), "http://hooks.invalid").await.is_ok(),
        "others are not concerned"
    );
    bench
        .client
        .delete(format!("{}/behaviour", bench.url))
        .send()
        .await
        .unwrap();
    assert!(bench.send(&meta(), "http://hooks.invalid").await.is_ok());
}

/// Waits for `count` requests and returns them.
async fn arrived(server: &MockServer, count: usize) -> Vec<wiremock::Request> {
    for _ in 0..200 {
        let requests = server.received_requests().await.unwrap();
        if requests.len() >= count {
            return requests;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{count} webhooks did not arrive");
}

fn header<'a>(request: &'a wiremock::Request, name: &str) -> &'a str {
    request.headers.get(name).unwrap().to_str().unwrap()
}

#[tokio::test]
async fn meta_statuses_come_back_signed_in_order_and_are_retried() {
    let hooks = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&hooks)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&hooks)
        .await;
    let bench = Bench::start().await;
    let webhooks = json!({ "url": hooks.uri(), "app_secret": "shh", "sequence": ["sent", "delivered", "failed"], "delay_ms": 1, "headers": { "x-route": "local" } });
    bench
        .post(
            "/behaviour",
            &[],
            json!({ "provider": "meta", "status_webhooks": webhooks }),
        )
        .await;
    // Setting a mode leaves the statuses alone; they come even when the answer does not.
    let error = bench
        .told(
            &meta(),
            json!({ "provider": "meta", "mode": "accept_then_drop", "times": 1 }),
        )
        .await;
    assert_eq!(error.kind, SendErrorKind::Unknown);
    let wamid = bench.handle.requests()[0..]
        .iter()
        .find_map(|request| request.provider_message_id.clone())
        .unwrap();

    let posted = arrived(&hooks, 4).await;
    let mut statuses = Vec::new();
    for request in &posted {
        assert_eq!(header(request, "x-route"), "local");
        assert!(request.body.is_ascii());
        let signature = header(request, "x-hub-signature-256");
        assert!(providers::signature::meta(
            signature,
            &Secret::new("shh".into()),
            &request.body
        ));
        for event in
            providers::meta::webhook::events(&request.body, "2100-01-01T00:00:00Z".parse().unwrap()).unwrap()
        {
            assert_eq!(event.account_key, NUMBER);
            let EventKind::Status(status) = event.kind else {
                panic!("a status")
            };
            assert_eq!(status.provider_message_id, wamid);
            assert_eq!(status.client_ref.as_deref(), Some("row-1"));
            statuses.push((status.status.as_str(), status.error.is_some()));
        }
    }
    assert_eq!(
        statuses,
        [
            ("sent", false),
            ("sent", false),
            ("delivered", false),
            ("failed", true)
        ]
    );
}

#[tokio::test]
async fn twilio_statuses_come_back_to_the_callback_of_the_send() {
    let hooks = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&hooks)
        .await;
    let bench = Bench::start().await;
    for url in [Value::Null, format!("{}/proxied", hooks.uri()).into()] {
        let webhooks = json!({ "url": url, "auth_token": "tok", "sequence": ["delivered"], "delay_ms": 1 });
        bench
            .post(
                "/behaviour",
                &[],
                json!({ "provider": "twilio", "status_webhooks": webhooks }),
            )
            .await;
        bench.send(&twilio(), &hooks.uri()).await.unwrap();
        arrived(&hooks, 1).await;
    }
    let posted = arrived(&hooks, 2).await;
    assert_eq!(posted[0].url.path(), "/v1/webhooks/twilio");
    assert_eq!(posted[1].url.path(), "/proxied");
    for request in &posted {
        let signed = format!("{}/v1/webhooks/twilio?ref=row-1", hooks.uri());
        let secret = Secret::new("tok".into());
        assert!(providers::signature::twilio_form(
            header(request, "x-twilio-signature"),
            &secret,
            &signed,
            &request.body
        ));
        let reference = providers::twilio::webhook::client_ref(request.url.query().unwrap());
        assert_eq!(reference.as_deref(), Some("row-1"));
    }
}

#[tokio::test]
async fn what_the_provider_refuses_is_refused_in_its_words() {
    let bench = Bench::start().await;
    let messages = format!("/v23.0/{NUMBER}/messages");
    let bearer = [("authorization", "Bearer EAAG")];
    let good = json!({ "messaging_product": "whatsapp", "to": "+201001234567", "type": "text", "text": { "body": "hi" } });
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    assert_eq!(bench.post(&messages, &bearer, good.clone()).await.0, 200);
    let (status, body) = bench.post(&messages, &[], good.clone()).await;
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["type"]),
        (401, &json!(190), &json!("OAuthException"))
    );
    for field in ["messaging_product", "to", "text"] {
        let (status, body) = bench.post(&messages, &bearer, without(field)).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!(100)), "{field}");
    }
    let (status, _) = bench.post("/v23.0/abc/messages", &bearer, good).await;
    assert_eq!(status, 400);

    let twilio = |user: &'static str, form: &'static [(&'static str, &'static str)]| {
        let request = bench
            .client
            .post(format!("{}/2010-04-01/Accounts/AC01/Messages.json", bench.url));
        async move {
            let response = request
                .basic_auth(user, Some("tok"))
                .form(form)
                .send()
                .await
                .unwrap();
            let status = response.status().as_u16();
            (status, response.json::<Value>().await.unwrap()["code"].clone())
        }
    };
    assert_eq!(twilio("AC02", &[]).await, (401, json!(20_003)));
    assert_eq!(twilio("AC01", &[]).await, (400, json!(21_604)));
    assert_eq!(twilio("AC01", &[("To", "0100")]).await, (400, json!(21_211)));
    assert_eq!(
        twilio("AC01", &[("To", "+201001234567")]).await,
        (400, json!(21_603))
    );
    assert_eq!(
        twilio("AC01", &[("To", "+201001234567"), ("From", "+12025550123")]).await,
        (400, json!(21_602))
    );
    assert_eq!(
        twilio(
            "AC01",
            &[("To", "+201001234567"), ("From", "+12025550123"), ("Body", "x")]
        )
        .await,
        (201, Value::Null)
    );
    assert_eq!(
        bench
            .client
            .get(format!("{}/elsewhere/entirely", bench.url))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn infobip_and_brevo_answer_too() {
    let bench = Bench::start().await;
    let key = [("authorization", "App k")];
    let sms = json!({ "messages": [{ "destinations": [{ "to": "201001234567", "messageId": "ours" }, { "to": "201001234568" }], "text": "hi" }] });
    let (status, body) = bench.post("/sms/2/text/advanced", &key, sms.clone()).await;
    assert_eq!((status, &body["messages"][0]["messageId"]), (200, &json!("ours")));
    assert_eq!(body["messages"][1]["status"]["groupName"], "PENDING");
    assert_eq!(bench.post("/sms/2/text/advanced", &[], sms).await.0, 401);
    let (status, body) = bench.post("/sms/2/text/advanced", &key, json!({})).await;
    assert_eq!(
        (status, &body["requestError"]["serviceException"]["messageId"]),
        (400, &json!("BAD_REQUEST"))
    );
    let text = json!({ "from": "2023", "to": "201001234567", "content": { "text": "hi" } });
    assert_eq!(
        bench.post("/whatsapp/1/message/text", &key, text).await.1["messageCount"],
        1
    );
    let template = json!({ "messages": [{ "from": "2023", "to": "201001234567", "content": { "templateName": "t", "language": "ar" } }] });
    assert_eq!(
        bench.post("/whatsapp/1/message/template", &key, template).await.0,
        200
    );
    assert_eq!(
        bench
            .post("/whatsapp/1/message/template", &key, json!({ "messages": [{}] }))
            .await
            .0,
        400
    );

    let mail = json!({ "sender": { "email": "a@b.c" }, "to": [{ "email": "d@e.f" }], "subject": "s", "textContent": "t" });
    let (status, body) = bench
        .post("/v3/smtp/email", &[("api-key", "k")], mail.clone())
        .await;
    assert_eq!(status, 201);
    assert!(
        body["messageId"]
            .as_str()
            .unwrap()
            .ends_with("@smtp-relay.mailin.fr>")
    );
    assert_eq!(
        bench.post("/v3/smtp/email", &[], mail).await.1["code"],
        "unauthorized"
    );
    assert_eq!(
        bench
            .post("/v3/smtp/email", &[("api-key", "k")], json!({ "to": [] }))
            .await
            .1["code"],
        "missing_parameter"
    );
    bench
        .handle
        .behave(Behaviour::mode(Provider::Brevo, Mode::RateLimited));
    assert_eq!(
        bench
            .post("/v3/smtp/email", &[("api-key", "k")], json!({}))
            .await
            .0,
        429
    );
}

#[tokio::test]
async fn media_and_messages_can_be_looked_up() {
    let bench = Bench::start().await;
    let get = |url: String| bench.client.get(url).bearer_auth("EAAG").send();
    let media: Value = get(format!("{}/v23.0/65001", bench.url))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let bytes = get(media["url"].as_str().unwrap().into()).await.unwrap();
    assert_eq!(bytes.headers()["content-type"], "image/png");
    let bytes = bytes.bytes().await.unwrap();
    assert_eq!(json!(bytes.len()), media["file_size"]);
    assert_eq!(
        bench
            .client
            .get(media["url"].as_str().unwrap())
            .send()
            .await
            .unwrap()
            .status(),
        401
    );

    bench
        .handle
        .behave(Behaviour::mode(Provider::Twilio, Mode::AcceptThenDrop));
    assert!(bench.send(&twilio(), "http://hooks.invalid").await.is_err());
    let list = |query: &str| {
        let request = bench.client.get(format!(
            "{}/2010-04-01/Accounts/AC01/Messages.json{query}",
            bench.url
        ));
        async move {
            request
                .basic_auth("AC01", Some("tok"))
                .send()
                .await
                .unwrap()
                .json::<Value>()
                .await
                .unwrap()
        }
    };
    let found = list("?To=whatsapp%3A%2B201001234567").await;
    assert_eq!(
        found["messages"][0]["body"], "أهلا",
        "what was dropped can be found"
    );
    assert_eq!(list("?To=%2B1").await["messages"], json!([]));
    let uri = found["messages"][0]["uri"].as_str().unwrap();
    let one = bench
        .client
        .get(format!("{}{uri}", bench.url))
        .basic_auth("AC01", Some("tok"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        one.json::<Value>().await.unwrap()["sid"],
        found["messages"][0]["sid"]
    );
}
