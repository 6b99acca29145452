use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::{basic_auth, body_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::SendErrorKind::{Permanent, Transient, Unknown};
use super::*;
use crate::http::{Endpoints, Timeouts};

const NUMBER: &str = "105550001112223";

fn http(base: &str) -> Http {
    let endpoints = Endpoints {
        meta_api_url: format!("{base}/v23.0"),
        twilio_api_url: base.to_owned(),
        brevo_api_url: base.to_owned(),
        webhooks_url: "https://hooks.example".into(),
    };
    let timeouts = Timeouts {
        connect: Duration::from_millis(500),
        total: Duration::from_millis(500),
    };
    Http::new(endpoints, timeouts).unwrap()
}

fn meta() -> Account {
    Account::Meta {
        access_token: Secret::new("EAAG-secret".into()),
    }
}

fn twilio() -> Account {
    Account::Twilio {
        account_sid: "AC01".into(),
        auth_token: Secret::new("tok-secret".into()),
    }
}

fn message(channel: Channel, content: Content) -> OutboundMessage {
    OutboundMessage {
        id: "row 7&x".into(),
        channel,
        from: NUMBER.into(),
        to: "+201001234567".into(),
        content,
        request_id: "req-7".into(),
        trace: Some("Root=1-5759e988-bd862e3fe1be46a994272793".into()),
    }
}

fn text() -> OutboundMessage {
    message(Channel::Whatsapp, Content::Text("أهلا".into()))
}

fn template(params: &[&str]) -> Content {
    let params = params.iter().map(|&param| param.to_owned()).collect();
    Content::Template {
        name: "visit_reminder".into(),
        language: "ar".into(),
        params,
    }
}

/// Sends to a server that gives one answer.
async fn answered(account: &Account, answer: ResponseTemplate) -> Result<Accepted, SendError> {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(answer)
        .expect(1)
        .mount(&server)
        .await;
    account.send(&http(&server.uri()), &text()).await
}

/// Sends to a server that reads the request, writes `answer` and hangs up.
async fn cut_off(account: &Account, answer: &'static str) -> SendError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let http = http(&base);
    let message = text();
    let (sent, ()) = tokio::join!(account.send(&http, &message), server);
    sent.unwrap_err()
}

#[tokio::test]
async fn meta_gets_text_with_token_and_our_id() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("/v23.0/{NUMBER}/messages")))
        .and(header("authorization", "Bearer EAAG-secret"))
        .and(header("x-request-id", "req-7"))
        .and(header("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793"))
        .and(body_json(json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+201001234567",
            "type": "text", "text": { "body": "أهلا", "preview_url": false },
            "biz_opaque_callback_data": "row 7&x",
        })))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "messaging_product": "whatsapp", "contacts": [{ "input": "+201001234567", "wa_id": "201001234567" }],
            "messages": [{ "id": "wamid.HBg=" }],
        })))
        .expect(1)
        .mount(&server)
        .await;
    let accepted = meta().send(&http(&server.uri()), &text()).await.unwrap();
    assert_eq!(accepted.provider_message_id, "wamid.HBg=");
}

#[tokio::test]
async fn meta_gets_templates_with_and_without_parameters() {
    let server = MockServer::start().await;
    let yes = ResponseTemplate::new(200).set_body_json(json!({ "messages": [{ "id": "wamid.1" }] }));
    Mock::given(method("POST"))
        .respond_with(yes)
        .expect(2)
        .mount(&server)
        .await;
    let http = http(&server.uri());
    for content in [template(&["Salma", "5 May"]), template(&[])] {
        meta()
            .send(&http, &message(Channel::Whatsapp, content))
            .await
            .unwrap();
    }
    let sent = server.received_requests().await.unwrap();
    let sent: Vec<Value> = sent
        .iter()
        .map(|request| request.body_json::<Value>().unwrap()["template"].clone())
        .collect();
    assert_eq!(
        sent[0],
        json!({
            "name": "visit_reminder", "language": { "code": "ar" },
            "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "Salma" }, { "type": "text", "text": "5 May" }] }],
        })
    );
    assert_eq!(
        sent[1],
        json!({ "name": "visit_reminder", "language": { "code": "ar" } })
    );
}

/// The forms that a server got, each as its pairs in order.
async fn forms(server: &MockServer) -> Vec<Vec<(String, String)>> {
    let requests = server.received_requests().await.unwrap();
    requests
        .iter()
        .map(|request| form_urlencoded::parse(&request.body).into_owned().collect())
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn twilio_gets_a_form_with_a_callback_that_names_our_row() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/2010-04-01/Accounts/AC01/Messages.json"))
        .and(basic_auth("AC01", "tok-secret"))
        .respond_with(
            ResponseTemplate::new(201)
                .set_body_json(json!({ "sid": "SM1", "status": "queued", "error_code": null })),
        )
        .expect(3)
        .mount(&server)
        .await;
    let http = http(&server.uri());
    let mut whatsapp = text();
    whatsapp.from = "+12025550123".into();
    let sms = OutboundMessage {
        channel: Channel::Sms,
        ..whatsapp.clone()
    };
    let by_template = OutboundMessage {
        content: template(&["Salma \"S\"", "5"]),
        ..whatsapp.clone()
    };
    for message in [&whatsapp, &sms, &by_template] {
        assert_eq!(
            twilio().send(&http, message).await.unwrap().provider_message_id,
            "SM1"
        );
    }
    let sent = forms(&server).await;
    let callback = (
        "StatusCallback",
        "https://hooks.example/v1/webhooks/twilio?ref=row+7%26x",
    );
    assert_eq!(
        sent[0],
        pairs(&[
            ("From", "whatsapp:+12025550123"),
            ("To", "whatsapp:+201001234567"),
            callback,
            ("Body", "أهلا")
        ])
    );
    assert_eq!(
        sent[1],
        pairs(&[
            ("From", "+12025550123"),
            ("To", "+201001234567"),
            callback,
            ("Body", "أهلا")
        ])
    );
    assert_eq!(
        sent[2][3..],
        pairs(&[
            ("ContentSid", "visit_reminder"),
            ("ContentVariables", r#"{"1":"Salma \"S\"","2":"5"}"#)
        ])
    );
    assert_eq!(
        crate::twilio::webhook::client_ref("ref=row+7%26x").as_deref(),
        Some("row 7&x")
    );
}

#[tokio::test]
async fn devstub_accepts_and_names_the_row() {
    let accepted = Account::DevStub
        .send(&http("http://127.0.0.1:1"), &text())
        .await
        .unwrap();
    assert_eq!(accepted.provider_message_id, "devstub-row 7&x");
}

#[tokio::test]
async fn the_code_of_a_refusal_decides() {
    let meta_codes = [
        (400, 131_047, Permanent, "WINDOW_CLOSED"),
        (400, 131_026, Permanent, "UNDELIVERABLE"),
        (400, 131_050, Permanent, "UNSUBSCRIBED"),
        (400, 130_429, Transient, "RATE_LIMITED"),
        (400, 80_007, Transient, "RATE_LIMITED"),
        (400, 131_056, Transient, "RATE_LIMITED"),
        (401, 190, Permanent, "AUTH"),
        (404, 132_001, Permanent, "TEMPLATE"),
        (500, 131_000, Transient, "UNAVAILABLE"),
        (400, 100, Permanent, "REJECTED"),
        (400, 999_999, Permanent, "REJECTED"),
        (403, 999_999, Permanent, "AUTH"),
        (503, 999_999, Transient, "UNAVAILABLE"),
    ];
    for (status, code, kind, word) in meta_codes {
        let body = json!({ "error": { "message": "to +201001234567", "type": "OAuthException", "code": code, "fbtrace_id": "A" } });
        let error = answered(&meta(), ResponseTemplate::new(status).set_body_json(body))
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.code), (kind, word), "meta {code}");
        assert_eq!(
            (error.provider_code, error.http_status),
            (Some(code), Some(status))
        );
        assert!(
            !format!("{error} {error:?}").contains("2010"),
            "a provider's text quotes numbers"
        );
    }
    let twilio_codes = [
        (400, 63_016, Permanent, "WINDOW_CLOSED"),
        (400, 21_610, Permanent, "UNSUBSCRIBED"),
        (429, 20_429, Transient, "RATE_LIMITED"),
        (429, 63_018, Transient, "RATE_LIMITED"),
        (401, 20_003, Permanent, "AUTH"),
        (400, 21_211, Permanent, "INVALID_RECIPIENT"),
        (400, 21_606, Permanent, "ACCOUNT"),
        (400, 99_999, Permanent, "REJECTED"),
        (500, 20_500, Transient, "UNAVAILABLE"),
    ];
    for (status, code, kind, word) in twilio_codes {
        let body = json!({ "code": code, "message": "to +201001234567", "more_info": "", "status": status });
        let error = answered(&twilio(), ResponseTemplate::new(status).set_body_json(body))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.code, error.provider_code),
            (kind, word, Some(code)),
            "twilio {code}"
        );
    }
}

#[tokio::test]
async fn a_refusal_without_a_readable_body_is_judged_by_its_status() {
    let large = "x".repeat(100_000);
    let cases = [
        (429, Transient, "RATE_LIMITED"),
        (500, Transient, "UNAVAILABLE"),
        (502, Transient, "UNAVAILABLE"),
        (504, Unknown, "TIMEOUT"),
        (408, Transient, "UNAVAILABLE"),
        (401, Permanent, "AUTH"),
        (404, Permanent, "REJECTED"),
    ];
    for account in [meta(), twilio()] {
        for (status, kind, word) in cases {
            for body in [
                "",
                "<html>",
                "[]",
                "{\"error\":\"no\"}",
                "{\"error\":{\"code\":\"131047\"}}",
                &large,
            ] {
                let error = answered(&account, ResponseTemplate::new(status).set_body_string(body))
                    .await
                    .unwrap_err();
                assert_eq!(
                    (error.kind, error.code, error.http_status),
                    (kind, word, Some(status)),
                    "{body:.30}"
                );
            }
        }
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    for (sent, expected) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("99999999", Some(86_400)),
        ("-1", None),
        ("soon", None),
    ] {
        let answer = ResponseTemplate::new(429).insert_header("retry-after", sent);
        let error = answered(&meta(), answer).await.unwrap_err();
        assert_eq!(error.retry_after, expected.map(Duration::from_secs), "{sent}");
    }
}

#[tokio::test]
async fn a_yes_without_an_id_is_unknown() {
    for account in [meta(), twilio()] {
        for body in [
            "",
            "{",
            "{}",
            "{\"messages\":[]}",
            "{\"messages\":[{\"id\":\"\"}],\"sid\":\"\"}",
            "{\"messages\":[{\"id\":7}],\"sid\":7}",
        ] {
            let error = answered(&account, ResponseTemplate::new(200).set_body_string(body))
                .await
                .unwrap_err();
            assert_eq!((error.kind, error.code), (Unknown, "BAD_ANSWER"), "{body}");
        }
        let redirect = ResponseTemplate::new(307).insert_header("location", "http://127.0.0.1:1/");
        assert_eq!(
            answered(&account, redirect).await.unwrap_err().kind,
            Permanent,
            "redirects are not followed"
        );
    }
}

#[tokio::test]
async fn silence_after_the_request_is_unknown_and_no_connection_is_transient() {
    for account in [meta(), twilio()] {
        let late = ResponseTemplate::new(200).set_delay(Duration::from_secs(5));
        let error = answered(&account, late).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Unknown, "TIMEOUT"));

        assert_eq!(cut_off(&account, "").await.code, "NO_ANSWER");
        assert_eq!(cut_off(&account, "").await.kind, Unknown);
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"messages\":[{\"id\":";
        assert_eq!(cut_off(&account, half).await.kind, Unknown);
        let half = "HTTP/1.1 503 Sorry\r\ncontent-length: 100\r\n\r\n{";
        assert_eq!(cut_off(&account, half).await.kind, Transient);

        // Bound and dropped: nobody listens there any more.
        let port = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        for scheme in ["http", "https"] {
            let error = account
                .send(&http(&format!("{scheme}://127.0.0.1:{port}")), &text())
                .await
                .unwrap_err();
            assert_eq!((error.kind, error.code), (Transient, "CONNECT"));
        }
    }
}

#[tokio::test]
async fn what_becomes_part_of_the_path_is_checked() {
    let http = http("http://127.0.0.1:1");
    for bad in ["", "../1", "1/2", "1?x", "١"] {
        let message = OutboundMessage {
            from: bad.into(),
            ..text()
        };
        assert_eq!(
            meta().send(&http, &message).await.unwrap_err().code,
            "ACCOUNT",
            "{bad}"
        );
        let account = Account::Twilio {
            account_sid: bad.into(),
            auth_token: Secret::new("t".into()),
        };
        assert_eq!(
            account.send(&http, &text()).await.unwrap_err().code,
            "ACCOUNT",
            "{bad}"
        );
    }
}

#[test]
fn nothing_prints_a_secret_or_a_person() {
    let printed = format!(
        "{:?} {:?} {:?} {:?}",
        meta(),
        twilio(),
        text(),
        template(&["Salma"])
    );
    for hidden in ["secret", "2010", "أهلا", "Salma"] {
        assert!(!printed.contains(hidden), "{printed}");
    }
}

fn brevo() -> Account {
    Account::Brevo {
        api_key: Secret::new("xkeysib-secret".into()),
        sender_name: "M3".into(),
    }
}

fn mail() -> OutboundMessage {
    OutboundMessage {
        from: "no-reply@m3.example".into(),
        to: "salma@example.com".into(),
        ..message(
            Channel::Email,
            Content::Email {
                subject: "أهلا".into(),
                text: "plain".into(),
                html: "<p>page</p>".into(),
            },
        )
    }
}

async fn mailed(answer: ResponseTemplate) -> Result<Accepted, SendError> {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v3/smtp/email"))
        .and(header("api-key", "xkeysib-secret"))
        .and(body_json(json!({
            "sender": { "email": "no-reply@m3.example", "name": "M3" },
            "to": [{ "email": "salma@example.com" }],
            "subject": "أهلا", "textContent": "plain", "htmlContent": "<p>page</p>",
            "headers": { "idempotencyKey": "row 7&x" },
        })))
        .respond_with(answer)
        .expect(1)
        .mount(&server)
        .await;
    brevo().send(&http(&server.uri()), &mail()).await
}

#[tokio::test]
async fn brevo_takes_an_e_mail() {
    let answer = ResponseTemplate::new(201).set_body_json(json!({ "messageId": "<1@smtp-relay.mailin.fr>" }));
    assert_eq!(
        mailed(answer).await.unwrap().provider_message_id,
        "<1@smtp-relay.mailin.fr>"
    );
    let again = ResponseTemplate::new(400).set_body_json(json!({ "code": "duplicate_parameter" }));
    assert_eq!(mailed(again).await.unwrap().provider_message_id, "row 7&x");
}

#[tokio::test]
async fn brevo_refuses_for_good_or_for_now_and_never_leaves_it_open() {
    for (status, code, expected) in [
        (400, "invalid_parameter", (Permanent, "REJECTED")),
        (401, "unauthorized", (Permanent, "AUTH")),
        (402, "not_enough_credits", (Permanent, "ACCOUNT")),
        (429, "too_many_requests", (Transient, "RATE_LIMITED")),
        (500, "internal_server_error", (Transient, "UNAVAILABLE")),
        (504, "", (Transient, "TIMEOUT")),
        (201, "", (Transient, "BAD_ANSWER")),
    ] {
        let answer = ResponseTemplate::new(status)
            .insert_header("x-sib-ratelimit-reset", "7")
            .set_body_json(json!({ "code": code, "message": "salma@example.com" }));
        let error = mailed(answer).await.unwrap_err();
        assert_eq!((error.kind, error.code), expected, "{status}");
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert!(!format!("{error} {error:?}").contains("example.com"));
    }
    let slow = ResponseTemplate::new(201).set_delay(Duration::from_secs(2));
    let error = mailed(slow).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Transient, "TIMEOUT"));
}

#[tokio::test]
async fn what_a_provider_does_not_carry_is_refused_before_it_is_called() {
    let nowhere = http("http://127.0.0.1:1");
    let by_number = || OutboundMessage {
        from: NUMBER.into(),
        ..mail()
    };
    for (account, message) in [(meta(), by_number()), (twilio(), by_number()), (brevo(), text())] {
        let error = account.send(&nowhere, &message).await.unwrap_err();
        assert_eq!(
            (error.kind, error.code),
            (Permanent, "REJECTED"),
            "{}",
            account.provider()
        );
    }
    assert!(
        !format!("{:?} {:?}", mail(), brevo()).contains("xkeysib")
            && !format!("{:?}", mail().content).contains("page")
    );
}
