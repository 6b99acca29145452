//! Queue messages, schedules, and what is invoked by hand.

use super::{Expected, Sample, webhooks};
use crate::Demo;
use anyhow::{Result, anyhow};
use base64::{Engine, engine::general_purpose::STANDARD};
use kernel::Envelope;
use providers::intake::{Source, VerifiedAccount, Webhook, WebhookBody};
use serde_json::{Value, json};
use uuid::Uuid;

/// A message, a delivery and an event that are not there: whoever is woken for nothing does nothing.
const NOTHING: Uuid = Uuid::from_u128(0x0194_1f29_7c00_7000_8000_0000_0000_00ff);

pub fn samples(demo: &Demo) -> Result<Vec<Sample>> {
    let tenant = Some(demo.tenant()?);
    let meta = webhook(
        demo,
        Source::Meta,
        "meta",
        webhooks::meta_message(demo)?.to_string().into_bytes(),
    )?;
    let twilio = webhook(
        demo,
        Source::Twilio,
        "twilio",
        webhooks::twilio_form(demo)?.into_bytes(),
    )?;
    let wake = notifications::delivery::Wake { id: NOTHING };
    let nudge = audit::outbox::Wake { ids: vec![NOTHING] };
    let envelope = |name: &str, payload: Value| Envelope::new(tenant, name, payload);
    let batch = |function: &'static str, what: &str, queue, payload| -> Result<Sample> {
        let name = name(function, what);
        let event = sqs(&name, queue, &envelope(&name, payload))?;
        Ok(Sample {
            name,
            function,
            event,
            expected: Expected::Batch,
        })
    };
    Ok(vec![
        batch(
            "inbound-message-processor",
            "meta",
            "inbound-webhooks",
            serde_json::to_value(meta)?,
        )?,
        batch(
            "inbound-message-processor",
            "twilio",
            "inbound-webhooks",
            serde_json::to_value(twilio)?,
        )?,
        batch(
            "outbound-message-sender",
            "",
            "outbound-messages",
            serde_json::to_value(wake)?,
        )?,
        batch(
            "outbox-relay",
            "nudge",
            "event-outbox",
            serde_json::to_value(nudge)?,
        )?,
        plain("outbox-relay", "sweep", json!({ "task": "sweep" })),
        plain("scheduler", "minute", json!({ "task": "minute" })),
        plain("scheduler", "hourly", json!({ "task": "hourly" })),
        plain("scheduler", "daily", json!({ "task": "daily" })),
        plain("migrator", "", json!({})),
    ])
}

fn webhook(demo: &Demo, source: Source, account: &str, body: Vec<u8>) -> Result<Webhook> {
    let text = |name: &str| demo.text(&format!("/accounts/{account}/{name}"));
    let provider_key = match source {
        Source::Meta => text("phone_number_id")?.to_owned(),
        Source::Twilio => format!(
            "{}/{}",
            text("provider_account_id")?,
            text("display_phone_number")?
        ),
    };
    Ok(Webhook {
        source,
        received_at: "2025-01-01T00:00:01Z".parse()?,
        body: WebhookBody::Base64(STANDARD.encode(body)),
        query: String::new(),
        accounts: vec![VerifiedAccount {
            provider_key,
            tenant_id: demo.tenant()?.0,
            account_id: demo.id(&format!("/accounts/{account}/id"))?,
        }],
    })
}

/// A batch of one message, as Lambda hands it over.
fn sqs(name: &str, queue: &str, envelope: &Envelope<Value>) -> Result<Value> {
    let body = envelope.to_json().map_err(|error| anyhow!("{error:?}"))?;
    let group = envelope.tenant().map(|tenant| tenant.to_string());
    Ok(json!({
        "Records": [{
            "messageId": format!("sample-{name}"),
            "receiptHandle": "sample",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "ApproximateFirstReceiveTimestamp": "1735689601000",
                "MessageGroupId": group,
                "SenderId": "000000000000",
                "SentTimestamp": "1735689601000",
            },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:m3corecrm-{queue}"),
            "awsRegion": "us-east-1",
        }],
    }))
}

fn plain(function: &'static str, what: &str, event: Value) -> Sample {
    // outbox-relay answers its schedule as it answers a batch.
    let expected = if function == "outbox-relay" {
        Expected::Batch
    } else {
        Expected::Report
    };
    Sample {
        name: name(function, what),
        function,
        event,
        expected,
    }
}

fn name(function: &str, what: &str) -> String {
    if what.is_empty() {
        function.to_owned()
    } else {
        format!("{function}-{what}")
    }
}
