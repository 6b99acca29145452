//! Which account a delivery goes out with, and how it is put to the provider.

use config::GlobalAccounts;
use kernel::{Error, Result};
use messaging::account::{FullAccount, Provider};
use messaging::delivery::Sending;
use notifications::delivery::Content;
use providers::{Account, Channel, OutboundMessage};

/// An account, and what a message comes from in its terms: a number, an address.
pub type Sender = (Account, String);

/// The tenant's account; without one the global account of the channel, and where there is none of
/// those either, the one that sends nothing.
///
/// # Errors
/// The error code of a delivery whose account can't send any more.
pub fn sender(sending: &Sending, global: &GlobalAccounts) -> Result<Sender, &'static str> {
    match &sending.account {
        Some(full) => own(full),
        None => Ok(global_of(&sending.claimed.channel, global)),
    }
}

fn global_of(channel: &str, global: &GlobalAccounts) -> Sender {
    let found = match channel {
        "whatsapp" => global.meta.as_ref().map(|meta| {
            let access_token = meta.access_token.clone();
            (Account::Meta { access_token }, meta.phone_number_id.clone())
        }),
        "sms" => global.twilio.as_ref().and_then(|twilio| {
            let account = Account::Twilio {
                account_sid: twilio.account_sid.clone(),
                auth_token: twilio.auth_token.clone(),
            };
            Some((account, twilio.from.clone()?))
        }),
        "email" => global.brevo.as_ref().map(|brevo| {
            let account = Account::Brevo {
                api_key: brevo.api_key.clone(),
                sender_name: brevo.sender_name.clone(),
            };
            (account, brevo.sender_email.clone())
        }),
        _ => None,
    };
    found.unwrap_or_else(|| (Account::DevStub, String::new()))
}

fn own(full: &FullAccount) -> Result<Sender, &'static str> {
    if !full.in_use() {
        return Err("ACCOUNT_DISCONNECTED");
    }
    let credentials = full.credentials.clone();
    let account = match full.account.provider {
        Provider::Meta => credentials
            .access_token
            .map(|access_token| Account::Meta { access_token }),
        Provider::Twilio => credentials.auth_token.map(|auth_token| Account::Twilio {
            account_sid: full.account.provider_account_id.clone(),
            auth_token,
        }),
    };
    let from = full.account.phone_number_id.as_ref();
    let from = from.unwrap_or(&full.account.display_phone_number).clone();
    account.map(|account| (account, from)).ok_or("AUTH")
}

/// # Errors
/// Internal, for a channel that no provider here carries.
pub fn message(sending: &Sending, from: String, trace: Option<String>) -> Result<OutboundMessage> {
    let claimed = &sending.claimed;
    Ok(OutboundMessage {
        id: claimed.id.to_string(),
        channel: match claimed.channel.as_str() {
            "whatsapp" => Channel::Whatsapp,
            "sms" => Channel::Sms,
            "email" => Channel::Email,
            _ => {
                return Err(Error::internal(
                    "a delivery for a channel that this sender does not serve",
                ));
            }
        },
        from,
        to: claimed.recipient.clone(),
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
            Content::Email { subject, text, html } => providers::Content::Email { subject, text, html },
        },
        request_id: claimed.request_id.clone().unwrap_or_default(),
        trace,
    })
}
