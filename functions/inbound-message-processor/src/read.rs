//! What a verified body tells, and whom.

use jiff::Timestamp;
use kernel::{Error, Phone, Result, TenantId};
use messaging::Channel;
use messaging::account::Provider;
use messaging::inbound::{Event, InboundMessage, Kind};
use messaging::message::Media;
use notifications::report::{Report, Status};
use providers::intake::{Source, VerifiedAccount};
use providers::{DeliveryStatus, EventKind, InboundEvent, meta, twilio};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The events of one body.
#[derive(Default)]
pub struct Sorted {
    pub by_tenant: BTreeMap<TenantId, Vec<Event>>,
    /// Of accounts that the signature did not prove to be anybody's.
    pub unresolved: Vec<Event>,
}

pub fn provider(source: Source) -> Provider {
    match source {
        Source::Meta => Provider::Meta,
        Source::Twilio => Provider::Twilio,
    }
}

/// Reads a body and gives each event to the companies whose accounts it names, of those that the
/// signature proved.
///
/// # Errors
/// Internal, when the body is not what the edge took it for.
pub fn sort(
    source: Source,
    body: &[u8],
    query: &str,
    received_at: Timestamp,
    accounts: &[VerifiedAccount],
) -> Result<Sorted> {
    let events = match source {
        Source::Meta => meta::webhook::events(body, received_at),
        Source::Twilio => {
            let client_ref = twilio::webhook::client_ref(query);
            let event = twilio::webhook::event(body, client_ref.as_deref(), received_at);
            event.map(|event| event.into_iter().collect())
        }
    };
    let mut sorted = Sorted::default();
    for event in events.map_err(Error::internal)? {
        let owners = owners(source, &event, accounts);
        if owners.is_empty() {
            sorted.unresolved.push(of_account(Uuid::nil(), event));
            continue;
        }
        for (tenant, account_id) in owners {
            sorted
                .by_tenant
                .entry(tenant)
                .or_default()
                .push(of_account(account_id, event.clone()));
        }
    }
    Ok(sorted)
}

/// One account a company. Several companies may share a number's secret, and then each is told.
fn owners(source: Source, event: &InboundEvent, accounts: &[VerifiedAccount]) -> Vec<(TenantId, Uuid)> {
    let named = accounts.iter().filter(|account| match source {
        Source::Meta => account.provider_key == event.account_key,
        Source::Twilio => {
            let Some((sid, number)) = account.provider_key.split_once('/') else {
                return false;
            };
            // A status names no number of ours; the message's own id finds it.
            let to = match &event.kind {
                EventKind::Message(message) => Some(message.to.as_str()),
                _ => None,
            };
            sid == event.account_key && to.is_none_or(|to| to == number)
        }
    });
    let mut seen = BTreeSet::new();
    named
        .filter(|account| seen.insert(account.tenant_id))
        .map(|account| (TenantId(account.tenant_id), account.account_id))
        .collect()
}

fn of_account(account_id: Uuid, event: InboundEvent) -> Event {
    let kind = match event.kind {
        EventKind::Message(message) => message_of(message),
        EventKind::Status(status) => Some(Kind::Status(report_of(status))),
        EventKind::Unreadable { reason } => {
            tracing::warn!(reason, "a part of a webhook is not readable; it is kept");
            None
        }
    };
    Event {
        account_id,
        account_key: event.account_key,
        external_event_id: event.external_event_id,
        kind: kind.unwrap_or(Kind::Unreadable),
        raw: event.raw,
    }
}

fn message_of(message: providers::InboundMessage) -> Option<Kind> {
    Some(Kind::Message(InboundMessage {
        provider_message_id: message.provider_message_id,
        channel: match message.channel {
            providers::Channel::Whatsapp => Channel::Whatsapp,
            providers::Channel::Sms => Channel::Sms,
            providers::Channel::Email => return None,
        },
        from: Phone::from_provider(&message.from_e164)?,
        profile_name: message.profile_name,
        sent_at: message.sent_at,
        kind: message.kind.as_str(),
        body: message.body,
        media: message.media.into_iter().map(media_of).collect(),
        reply_to_provider_message_id: message.reply_to,
    }))
}

fn media_of(media: providers::Media) -> Media {
    Media {
        provider_media_id: media.provider_media_id,
        url: media.url,
        mime_type: media.mime_type,
        sha256: media.sha256,
        filename: media.filename,
    }
}

fn report_of(status: providers::StatusUpdate) -> Report {
    Report {
        provider_message_id: status.provider_message_id,
        status: match status.status {
            DeliveryStatus::Sent => Status::Sent,
            DeliveryStatus::Delivered => Status::Delivered,
            DeliveryStatus::Read => Status::Read,
            DeliveryStatus::Failed => Status::Failed,
        },
        occurred_at: status.at,
        error: status.error.map(|error| (error.code, error.title)),
        delivery_id: status.client_ref.and_then(|id| id.parse().ok()),
    }
}
