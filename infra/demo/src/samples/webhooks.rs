//! What providers post to the webhooks function's URL, signed with the demo accounts' secrets.

use super::http::{Request, through_url};
use super::{Expected, Sample};
use crate::Demo;
use anyhow::Result;
use providers::signature::{sign_meta, sign_twilio_form};
use serde_json::{Value, json};

const FUNCTION: &str = "webhooks";
/// What Twilio signs. A signature may leave the port out, so this one holds at every local stack.
const TWILIO_URL: &str = "http://127.0.0.1/v1/webhooks/twilio";
/// When the samples were sent, in seconds.
const SENT_AT: &str = "1735689600";

pub fn samples(demo: &Demo) -> Result<Vec<Sample>> {
    let token = demo.text("/accounts/meta/credentials/verify_token")?;
    let query = format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
    let handshake = Request {
        name: "webhooks-meta-handshake",
        method: "GET",
        path: "/v1/webhooks/meta",
        query: &query,
        headers: Vec::new(),
        body: None,
    };
    Ok(vec![
        sample(&handshake),
        meta(demo, "webhooks-meta-message", meta_message(demo)?)?,
        meta(demo, "webhooks-meta-status", meta_status(demo)?)?,
        twilio(demo)?,
    ])
}

/// A text from the demo contact, as Meta posts it.
pub fn meta_message(demo: &Demo) -> Result<Value> {
    let from = demo.text("/contacts/layla/phone")?.trim_start_matches('+');
    let message = json!({
        "contacts": [{ "profile": { "name": "Layla Haddad" }, "wa_id": from }],
        "messages": [{
            "from": from,
            "id": "wamid.SAMPLE-MESSAGE",
            "timestamp": SENT_AT,
            "type": "text",
            "text": { "body": "Is the flat on the third floor still for sale?" },
        }],
    });
    meta_body(demo, &message)
}

/// A delivery report of a message that nobody sent: kept in case its own write is yet to come.
fn meta_status(demo: &Demo) -> Result<Value> {
    let recipient = demo.text("/contacts/layla/phone")?.trim_start_matches('+');
    let status = json!({
        "statuses": [{
            "id": "wamid.SAMPLE-REPLY",
            "status": "delivered",
            "timestamp": SENT_AT,
            "recipient_id": recipient,
            "pricing": { "billable": true, "pricing_model": "PMP", "category": "service" },
        }],
    });
    meta_body(demo, &status)
}

fn meta_body(demo: &Demo, told: &Value) -> Result<Value> {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": {
            "display_phone_number": demo.text("/accounts/meta/display_phone_number")?.trim_start_matches('+'),
            "phone_number_id": demo.text("/accounts/meta/phone_number_id")?,
        },
    });
    for (name, part) in told.as_object().into_iter().flatten() {
        value[name] = part.clone();
    }
    Ok(json!({
        "object": "whatsapp_business_account",
        "entry": [{
            "id": demo.text("/accounts/meta/provider_account_id")?,
            "changes": [{ "field": "messages", "value": value }],
        }],
    }))
}

/// A text from the demo contact, as Twilio posts it.
pub fn twilio_form(demo: &Demo) -> Result<String> {
    let whatsapp = |pointer: &str| anyhow::Ok(format!("whatsapp:{}", demo.text(pointer)?));
    let fields = [
        ("SmsMessageSid", "SM00000000000000000000000000000001".to_owned()),
        ("NumMedia", "0".to_owned()),
        ("ProfileName", "Layla Haddad".to_owned()),
        ("MessageType", "text".to_owned()),
        ("SmsSid", "SM00000000000000000000000000000001".to_owned()),
        (
            "WaId",
            demo.text("/contacts/layla/phone")?
                .trim_start_matches('+')
                .to_owned(),
        ),
        ("SmsStatus", "received".to_owned()),
        ("Body", "Can I see it on Sunday?".to_owned()),
        ("To", whatsapp("/accounts/twilio/display_phone_number")?),
        ("NumSegments", "1".to_owned()),
        ("MessageSid", "SM00000000000000000000000000000001".to_owned()),
        (
            "AccountSid",
            demo.text("/accounts/twilio/provider_account_id")?.to_owned(),
        ),
        ("From", whatsapp("/contacts/layla/phone")?),
        ("ApiVersion", "2010-04-01".to_owned()),
    ];
    Ok(form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish())
}

fn meta(demo: &Demo, name: &'static str, body: Value) -> Result<Sample> {
    let body = body.to_string();
    let signature = sign_meta(
        &demo.secret("/accounts/meta/credentials/app_secret")?,
        body.as_bytes(),
    );
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-hub-signature-256", signature),
    ];
    Ok(sample(&Request {
        name,
        method: "POST",
        path: "/v1/webhooks/meta",
        query: "",
        headers,
        body: Some(body),
    }))
}

fn twilio(demo: &Demo) -> Result<Sample> {
    let body = twilio_form(demo)?;
    let signature = sign_twilio_form(
        &demo.secret("/accounts/twilio/credentials/auth_token")?,
        TWILIO_URL,
        body.as_bytes(),
    );
    let headers = vec![
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ("x-twilio-signature", signature),
    ];
    Ok(sample(&Request {
        name: "webhooks-twilio-message",
        method: "POST",
        path: "/v1/webhooks/twilio",
        query: "",
        headers,
        body: Some(body),
    }))
}

fn sample(request: &Request<'_>) -> Sample {
    Sample {
        name: request.name.to_owned(),
        function: FUNCTION,
        event: through_url(request),
        expected: Expected::Statuses(&[200], &[200]),
    }
}
