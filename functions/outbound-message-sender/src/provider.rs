//! Which account a delivery goes out with, and how it is put to the provider.

use config::GlobalAccounts;
use kernel::{Error, Result};
use messaging::account::Provider;
use messaging::delivery::Sending;
use notifications::delivery::Content;
use providers::{Account, Channel, OutboundMessage};

/// The tenant's account; without one the global account, and where there is none of those either,
/// the one that sends nothing.
///
/// # Errors
/// The error code of a delivery whose account can't send any more.
pub fn account(sending: &Sending, global: &GlobalAccounts) -> Result<Account, &'static str> {
    let Some(full) = &sending.account else {
        return Ok(match (&global.meta, sending.claimed.channel.as_str()) {
            (Some(meta), "whatsapp") => Account::Meta {
                access_token: meta.access_token.clone(),
            },
            _ => Account::DevStub,
        });
    };
    if !full.in_use() {
        return Err("ACCOUNT_DISCONNECTED");
    }
    let credentials = full.credentials.clone();
    match full.account.provider {
        Provider::Meta => credentials
            .access_token
            .map(|access_token| Account::Meta { access_token }),
        Provider::Twilio => credentials.auth_token.map(|auth_token| Account::Twilio {
            account_sid: full.account.provider_account_id.clone(),
            auth_token,
        }),
    }
    .ok_or("AUTH")
}

/// # Errors
/// Internal, for a channel that no provider here carries.
pub fn message(sending: &Sending, global: &GlobalAccounts, trace: Option<String>) -> Result<OutboundMessage> {
    let claimed = &sending.claimed;
    let from = match &sending.account {
        Some(full) => full
            .account
            .phone_number_id
            .clone()
            .unwrap_or(full.account.display_phone_number.clone()),
        None => global
            .meta
            .as_ref()
            .map(|meta| meta.phone_number_id.clone())
            .unwrap_or_default(),
    };
    Ok(OutboundMessage {
        id: claimed.id.to_string(),
        channel: match claimed.channel.as_str() {
            "whatsapp" => Channel::Whatsapp,
            "sms" => Channel::Sms,
            _ => {
                return Err(Error::internal(
                    "a delivery for a channel that this sender does not serve",
                ));
            }
        },
        from,
        to_e164: claimed.recipient.clone(),
        content: match claimed.content.clone() {
            Content::Text(text) => providers::Content::Text(text),
            Content::Template {
                name,
                language,
                parameters,
            } => providers::Content::Template {
                name,
                language,
                params: parameters,
            },
        },
        request_id: claimed.request_id.clone().unwrap_or_default(),
        trace,
    })
}
