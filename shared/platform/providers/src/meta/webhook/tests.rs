use serde_json::json;

use super::*;
use crate::inbound::{EventKind, InboundMessage, MAX_ID_BYTES};

const ACCOUNT: &str = "105550001112223";

fn now() -> Timestamp {
    "2026-05-01T10:00:00Z".parse().unwrap()
}

fn body(account: &str, value: &Value) -> Value {
    let mut value = value.clone();
    value["messaging_product"] = "whatsapp".into();
    value["metadata"] = json!({ "display_phone_number": "20233334444", "phone_number_id": account });
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": value }] }] })
}

fn text(id: &str) -> Value {
    json!({ "from": "201001234567", "id": id, "timestamp": "1777629599", "type": "text", "text": { "body": "hello" } })
}

fn read(body: &str) -> Vec<InboundEvent> {
    events(body.as_bytes(), now()).unwrap()
}

fn message(event: &InboundEvent) -> &InboundMessage {
    match &event.kind {
        EventKind::Message(message) => message,
        other => panic!("not a message: {other:?}"),
    }
}

fn reason(event: &InboundEvent) -> &str {
    match event.kind {
        EventKind::Unreadable { reason } => reason,
        ref other => panic!("readable: {other:?}"),
    }
}

#[test]
fn every_type_of_message_is_readable() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/data/meta-messages.json")).unwrap();
    for case in &cases {
        let part = match case["raw"].as_str() {
            Some(raw) => raw.to_owned(),
            None => case["message"].to_string(),
        };
        let head = r#""from":"201001234567","id":"wamid.in1","timestamp":"1777629599""#;
        let item = if part == "{}" {
            format!("{{{head}}}")
        } else {
            part.replacen('{', &format!("{{{head},"), 1)
        };
        let contacts =
            json!([{ "profile": { "name": "Salma" }, "wa_id": "201001234567", "user_id": "EG.1" }]);
        let whole = body(ACCOUNT, &json!({ "contacts": contacts, "messages": ["@"] }))
            .to_string()
            .replace("\"@\"", &item);

        let found = read(&whole);
        let name = &case["name"];
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].account_key, ACCOUNT);
        assert_eq!(found[0].external_event_id, "wamid.in1");
        assert_eq!(found[0].raw["id"], "wamid.in1", "{name}");
        let message = message(&found[0]);
        assert_eq!(message.provider_message_id, "wamid.in1");
        assert_eq!(message.from_e164, "+201001234567");
        assert_eq!(message.to, "+20233334444");
        assert_eq!(message.profile_name.as_deref(), Some("Salma"));
        assert_eq!(message.sent_at.as_second(), 1_777_629_599);
        assert_eq!(message.kind.as_str(), case["type"], "{name}");
        assert_eq!(message.body, case["body"].as_str().unwrap(), "{name}");
        assert_eq!(json!(message.reply_to), case["reply_to"], "{name}");
        let media: Vec<_> = message.media.iter().map(|m| json!({ "id": m.provider_media_id, "url": m.url, "mime_type": m.mime_type, "sha256": m.sha256, "filename": m.filename })).collect();
        let expected = case.get("media").cloned().unwrap_or(json!([]));
        assert_eq!(json!(media), expected, "{name}");
    }
    let types: std::collections::HashSet<_> = cases.iter().map(|case| case["type"].to_string()).collect();
    assert_eq!(types.len(), 14, "each type has a case");
}

#[test]
fn every_status_is_understood_or_kept() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/data/meta-statuses.json")).unwrap();
    for case in &cases {
        let found = read(&body(ACCOUNT, &json!({ "statuses": [case["status"]] })).to_string());
        let name = &case["name"];
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].raw, case["status"], "{name}");
        let EventKind::Status(status) = &found[0].kind else {
            assert_eq!(reason(&found[0]), case["unreadable"], "{name}");
            continue;
        };
        assert_eq!(status.status.as_str(), case["becomes"], "{name}");
        assert_eq!(status.provider_message_id, "wamid.out1");
        assert_eq!(
            found[0].external_event_id,
            format!("wamid.out1:{}", status.status.as_str())
        );
        assert_eq!(status.at.as_second(), 1_777_629_500);
        assert_eq!(json!(status.client_ref), case["client_ref"], "{name}");
        let error = status
            .error
            .as_ref()
            .map(|e| json!({ "code": e.code, "title": e.title }));
        assert_eq!(json!(error), case["error"], "{name}");
    }
}

#[test]
fn the_handshake_is_read_from_the_query() {
    let query = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=v%2Bt";
    let found = Challenge::from_query(query).unwrap();
    assert_eq!(
        (found.verify_token.as_str(), found.challenge.as_str()),
        ("v+t", "1158201444")
    );
    for bad in [
        "",
        "hub.mode=subscribe",
        "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=t",
        "hub.mode=subscribe&hub.challenge=1",
    ] {
        assert_eq!(Challenge::from_query(bad), None, "{bad}");
    }
}

#[test]
fn one_bad_message_costs_only_itself() {
    let deep = format!(
        "{{\"id\":\"wamid.deep\",\"x\":{}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let huge_number = r#"{"id":"wamid.num","x":1e999}"#;
    let long_id = text(&"i".repeat(MAX_ID_BYTES + 1));
    let mut hidden = text("wamid.hidden");
    hidden["from"] = Value::Null;
    let whole = body(ACCOUNT, &json!({ "messages": [text("wamid.1"), "@deep", 5, null, "@number", long_id, hidden, {}, text("wamid.2")] }))
        .to_string()
        .replace("\"@deep\"", &deep)
        .replace("\"@number\"", huge_number);

    let found = read(&whole);
    assert_eq!(found.len(), 9);
    assert_eq!(message(&found[0]).provider_message_id, "wamid.1");
    assert_eq!(message(&found[8]).provider_message_id, "wamid.2");
    let reasons: Vec<_> = found[1..8].iter().map(reason).collect();
    assert_eq!(
        reasons,
        [
            "not buildable",
            "no message id",
            "no message id",
            "not buildable",
            "no message id",
            "no sender",
            "no message id"
        ]
    );
    assert_eq!(found[1].raw.as_str(), Some(deep.as_str()), "kept as text");
    assert!(
        found
            .iter()
            .all(|event| event.external_event_id.len() <= MAX_ID_BYTES)
    );
    assert_eq!(
        read(&whole)[1].external_event_id,
        found[1].external_event_id,
        "a redelivery has the same id"
    );
    assert_eq!(phone_number_ids(whole.as_bytes()).unwrap(), [ACCOUNT]);
}

#[test]
fn many_accounts_in_one_body_are_all_named_and_kept_apart() {
    let changes: Vec<_> = (0..50)
        .map(|at| {
            body(
                &format!("10{}", at % 3),
                &json!({ "messages": [text(&format!("wamid.{at}"))] }),
            )["entry"][0]["changes"][0]
                .clone()
        })
        .collect();
    let whole = json!({ "entry": [{ "changes": changes[..20] }, { "changes": changes[20..] }] }).to_string();
    assert_eq!(phone_number_ids(whole.as_bytes()).unwrap(), ["100", "101", "102"]);
    let found = read(&whole);
    assert_eq!(found.len(), 50);
    for (at, event) in found.iter().enumerate() {
        assert_eq!(event.account_key, format!("10{}", at % 3));
        assert_eq!(event.external_event_id, format!("wamid.{at}"));
    }
}

#[test]
fn the_edge_names_every_account_that_gets_an_event() {
    let item = text("wamid.1").to_string();
    let value = |metadata: &str| format!(r#"{{"metadata":{metadata},"messages":[{item}]}}"#);
    let change = |value: &str| format!(r#"{{"entry":[{{"changes":[{{"value":{value}}}]}}]}}"#);
    let tricks = [
        // Twice the same key, on every level.
        change(&value(r#"{"phone_number_id":"1","phone_number_id":"2"}"#)),
        change(&format!(
            r#"{{"metadata":{{"phone_number_id":"1"}},"metadata":{{"phone_number_id":"2"}},"messages":[{item}]}}"#
        )),
        format!(
            r#"{{"entry":[],"entry":[{{"changes":[{{"value":{}}}]}}]}}"#,
            value(r#"{"phone_number_id":"2"}"#)
        ),
        // Escapes that hide key or value from a plain search.
        change(&value(r#"{"phone\u005fnumber_id":"\u0032"}"#)),
        change(&value(r#"{"phone_number_id":"2\ud800"}"#)),
        change(&value(r#"{"phone_number_id":"2\u0000"}"#)),
        // No string.
        change(&value(r#"{"phone_number_id":2}"#)),
        change(&value(r#"["2"]"#)),
        change(&value("null")),
        change(&value(&format!(
            r#"{{"phone_number_id":"{}"}}"#,
            "2".repeat(MAX_ID_BYTES + 1)
        ))),
    ];
    for body in tricks {
        let Ok(named) = phone_number_ids(body.as_bytes()) else {
            assert!(events(body.as_bytes(), now()).is_err(), "{body}");
            continue;
        };
        for event in read(&body) {
            let acted_upon = !matches!(event.kind, EventKind::Unreadable { .. });
            assert_eq!(named.contains(&event.account_key), acted_upon, "{body}");
        }
    }
}

#[test]
fn shapes_that_are_not_known_are_passed_over() {
    let quiet = [
        "{}".to_owned(),
        r#"{"entry":null}"#.into(),
        r#"{"entry":{"changes":[]}}"#.into(),
        r#"{"entry":[1,null,"x",[],{},{"changes":7},{"changes":[]},{"changes":[{}, 1, {"value":[]}, {"value":{"messages":{}}}]}]}"#.into(),
        json!({ "entry": [{ "changes": [{ "field": "account_update", "value": { "event": "VERIFIED_ACCOUNT" } }] }] }).to_string(),
        format!(r#"{{"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000)),
    ];
    for body in quiet {
        assert_eq!(phone_number_ids(body.as_bytes()), Ok(vec![]), "{body:.100}");
        assert_eq!(events(body.as_bytes(), now()), Ok(vec![]), "{body:.100}");
    }
    for bad in ["", "[]", "null", "{", "{}{}", "hub.mode=subscribe", "\u{feff}{}"] {
        assert_eq!(
            phone_number_ids(bad.as_bytes()),
            Err(ProviderError::NotJson),
            "{bad}"
        );
        assert_eq!(
            events(bad.as_bytes(), now()),
            Err(ProviderError::NotJson),
            "{bad}"
        );
    }
}

#[test]
fn too_much_is_refused_by_both_readers_alike() {
    let many: Vec<_> = (0..=MAX_ITEMS).map(|_| 1).collect();
    let body_of_items = body(ACCOUNT, &json!({ "statuses": many })).to_string();
    assert_eq!(
        phone_number_ids(body_of_items.as_bytes()),
        Err(ProviderError::TooMany)
    );
    assert_eq!(
        events(body_of_items.as_bytes(), now()),
        Err(ProviderError::TooMany)
    );
    let entries: Vec<_> = (0..=MAX_ACCOUNTS)
        .map(|at| body(&at.to_string(), &json!({}))["entry"][0].clone())
        .collect();
    assert_eq!(
        phone_number_ids(json!({ "entry": entries }).to_string().as_bytes()),
        Err(ProviderError::TooMany)
    );
}

#[test]
fn three_megabytes_of_one_message_are_cut_to_what_a_row_holds() {
    let mut large = text("wamid.large");
    large["text"]["body"] = "ا".repeat(1_500_000).into();
    let found = read(&body(ACCOUNT, &json!({ "messages": [large] })).to_string());
    assert_eq!(message(&found[0]).body.len(), 64 * 1024);
    assert_eq!(found[0].raw["text"]["body"].as_str().unwrap().len(), 3_000_000);
}

#[test]
fn a_name_belongs_to_its_own_sender_and_times_to_the_past() {
    let mut other = text("wamid.other");
    other["from"] = "201009999999".into();
    other["timestamp"] = "99999999999".into();
    let contacts = json!([5, { "wa_id": "201001234567", "profile": { "name": "Salma" } }, { "wa_id": "201009999999", "profile": { "name": "" } }]);
    let found = read(
        &body(
            ACCOUNT,
            &json!({ "contacts": contacts, "messages": [text("wamid.1"), other] }),
        )
        .to_string(),
    );
    assert_eq!(message(&found[0]).profile_name.as_deref(), Some("Salma"));
    assert_eq!(message(&found[1]).profile_name, None);
    assert_eq!(message(&found[1]).sent_at, now());
}
