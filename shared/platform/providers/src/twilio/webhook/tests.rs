use serde_json::json;

use super::*;
use crate::inbound::EventKind;

fn now() -> Timestamp {
    "2026-05-01T10:00:00Z".parse().unwrap()
}

fn read(form: &str, client_ref: Option<&str>) -> InboundEvent {
    event(form.as_bytes(), client_ref, now()).unwrap().unwrap()
}

#[test]
fn every_form_of_message_is_readable() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/data/twilio-forms.json")).unwrap();
    for case in &cases {
        let form = case["form"].as_str().unwrap();
        let name = &case["name"];
        let event = read(form, None);
        assert_eq!(event.account_key, "AC01", "{name}");
        assert_eq!(event.external_event_id, "SM11", "{name}");
        assert_eq!(account_sid(form.as_bytes()), Ok(Some("AC01".into())));
        let EventKind::Message(message) = &event.kind else {
            panic!("{name}: {event:?}")
        };
        assert_eq!(message.from_e164, "+201001234567", "{name}");
        assert_eq!(message.to, "+12025550123", "{name}");
        assert_eq!(message.sent_at, now());
        assert_eq!(message.channel.as_str(), case["channel"], "{name}");
        assert_eq!(message.kind.as_str(), case["type"], "{name}");
        assert_eq!(message.body, case["body"].as_str().unwrap(), "{name}");
        assert_eq!(json!(message.reply_to), case["reply_to"], "{name}");
        assert_eq!(json!(message.profile_name), case["profile_name"], "{name}");
        let urls: Vec<_> = message.media.iter().map(|media| media.url.clone()).collect();
        assert_eq!(
            json!(urls),
            case.get("media").cloned().unwrap_or(json!([])),
            "{name}"
        );
        for (field, value) in case["raw"].as_object().into_iter().flatten() {
            assert_eq!(event.raw[field], *value, "{name}");
        }
    }
}

#[test]
fn statuses_carry_our_reference_and_the_error() {
    let form = "MessageSid=SM1&SmsSid=SM1&AccountSid=AC1&From=%2B15017122661&To=%2B15558675310&MessageStatus=undelivered&SmsStatus=undelivered&ErrorCode=30003&ApiVersion=2010-04-01";
    let event = read(form, client_ref("ref=row-7&x=1").as_deref());
    let EventKind::Status(status) = &event.kind else {
        panic!("{event:?}")
    };
    assert_eq!(event.external_event_id, "SM1:failed");
    assert_eq!(status.status, DeliveryStatus::Failed);
    assert_eq!(status.error.as_ref().unwrap().code, "30003");
    assert_eq!(status.client_ref.as_deref(), Some("row-7"));

    for (word, expected) in [
        ("sent", "sent"),
        ("delivered", "delivered"),
        ("read", "read"),
        ("failed", "failed"),
        ("canceled", "failed"),
    ] {
        let event = read(
            &format!("MessageSid=SM1&AccountSid=AC1&MessageStatus={word}"),
            None,
        );
        let EventKind::Status(status) = &event.kind else {
            panic!("{event:?}")
        };
        assert_eq!(
            (status.status.as_str(), &status.error),
            (expected, &None),
            "{word}"
        );
    }
    for word in ["accepted", "scheduled", "queued", "sending"] {
        let form = format!("MessageSid=SM1&AccountSid=AC1&MessageStatus={word}");
        assert_eq!(event_of(&form), None, "{word} says nothing");
    }
}

fn event_of(form: &str) -> Option<InboundEvent> {
    event(form.as_bytes(), None, now()).unwrap()
}

#[test]
fn what_cannot_be_read_is_kept() {
    for (form, expected) in [
        ("", "no account"),
        ("{\"a\":1}", "no account"),
        ("AccountSid=AC1&MessageSid=SM1&From=AcmeCo&Body=x", "no sender"),
        ("AccountSid=AC1&From=%2B201001234567&Body=x", "no message id"),
        (
            "AccountSid=AC1&MessageSid=SM1&MessageStatus=teleported",
            "unknown status",
        ),
        ("AccountSid=AC1&MessageStatus=sent", "no message id"),
    ] {
        let event = read(form, None);
        let EventKind::Unreadable { reason } = event.kind else {
            panic!("{event:?}")
        };
        assert_eq!(reason, expected, "{form}");
        assert_eq!(event.external_event_id.len(), 64);
    }
}

#[test]
fn repeated_parameters_are_kept_and_the_first_counts() {
    let event = read(
        "AccountSid=AC1&AccountSid=AC2&MessageSid=SM1&From=%2B201001234567&Body=x",
        None,
    );
    assert_eq!(event.account_key, "AC1");
    assert_eq!(event.raw["AccountSid"], json!(["AC1", "AC2"]));
    assert_eq!(
        account_sid(b"AccountSid=AC1&AccountSid=AC2"),
        Ok(Some("AC1".into()))
    );
}

#[test]
fn json_says_the_same_as_a_form() {
    let fields = json!({ "AccountSid": "AC1", "MessageSid": "SM1", "From": "+201001234567", "To": "+14155238886",
                         "Body": "x", "NumMedia": 0 });
    let form = "AccountSid=AC1&MessageSid=SM1&From=%2B201001234567&To=%2B14155238886&Body=x&NumMedia=0";
    assert_eq!(read(&fields.to_string(), None), read(form, None));
    assert_eq!(account_sid(fields.to_string().as_bytes()), Ok(Some("AC1".into())));
    for broken in ["{", "{\"AccountSid\":", "{}x"] {
        assert_eq!(
            account_sid(broken.as_bytes()),
            Err(ProviderError::NotForm),
            "{broken}"
        );
    }
    assert_eq!(account_sid(b"{}"), Ok(None));
}

#[test]
fn a_flood_of_parameters_is_refused() {
    let form = "a=1&".repeat(MAX_PARAMETERS + 1);
    assert_eq!(event(form.as_bytes(), None, now()), Err(ProviderError::NotForm));
    assert_eq!(account_sid(form.as_bytes()), Err(ProviderError::NotForm));
    assert_eq!(client_ref(&format!("ref={}", "x".repeat(300))), None);
}
