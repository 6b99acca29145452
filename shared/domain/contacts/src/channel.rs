//! How a contact is reached. Values are stored sealed, found by a keyed hash, and claimed by one
//! contact of a tenant.

use jiff::Timestamp;
use kernel::{Email, Phone, Result, Sealer, TenantId, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most channels that a contact has.
pub const MAX_CHANNELS: usize = 20;

/// The kind of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelType {
    Email,
    Phone,
    Whatsapp,
}

impl ChannelType {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Whatsapp => "whatsapp",
        }
    }

    fn from_column(text: &str) -> Self {
        match text {
            "email" => Self::Email,
            "phone" => Self::Phone,
            _ => Self::Whatsapp,
        }
    }
}

/// A channel of a contact.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Channel {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub channel_type: ChannelType,
    /// An e-mail address, or a phone number in E.164.
    pub value: String,
    pub is_primary: bool,
    /// Whether the contact agreed to marketing on this channel.
    pub opt_in: bool,
    pub verified_at: Option<Timestamp>,
}

/// A channel in a create request.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateChannel {
    #[serde(rename = "type")]
    pub channel_type: ChannelType,
    /// An e-mail address, or a phone number in E.164 (`+201001234567`).
    pub value: String,
    /// The channel of its type to prefer; the first of each type is when none says so.
    #[serde(default)]
    pub is_primary: bool,
    /// Whether the contact agreed to marketing on this channel.
    #[serde(default)]
    pub opt_in: bool,
    /// Where the contact agreed: a form, a call, an event.
    pub opt_in_source: Option<String>,
}

/// A checked value in the three forms it is kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    normalised: String,
    masked: String,
    kind: &'static str,
}

impl Address {
    #[must_use]
    pub fn phone(phone: &Phone) -> Self {
        Self {
            normalised: phone.as_str().to_owned(),
            masked: phone.masked(),
            kind: "phone",
        }
    }

    #[must_use]
    pub fn email(email: &Email) -> Self {
        Self {
            normalised: email.normalised.clone(),
            masked: email.masked(),
            kind: "email",
        }
    }

    /// The hash that finds it among the tenant's channels.
    #[must_use]
    pub fn hash(&self, sealer: &Sealer, tenant: TenantId) -> Vec<u8> {
        sealer.lookup_hash(&format!("{tenant}/{}", self.kind), &self.normalised)
    }
}

pub(crate) fn seal_context(tenant: TenantId) -> String {
    format!("{tenant}/contact_channels.value")
}

/// Channels to insert, a column each, as `unnest` takes them.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub ids: Vec<Uuid>,
    pub types: Vec<&'static str>,
    pub sealed: Vec<Vec<u8>>,
    pub hashes: Vec<Vec<u8>>,
    pub masked: Vec<String>,
    pub claims: Vec<bool>,
    pub primary: Vec<bool>,
    pub opt_in: Vec<bool>,
    pub opt_in_sources: Vec<Option<String>>,
}

/// A parsed channel of a new contact.
#[derive(Clone, Debug)]
pub struct NewChannel {
    pub(crate) channel_type: ChannelType,
    pub(crate) address: Address,
    pub(crate) is_primary: bool,
    pub(crate) opt_in: bool,
    pub(crate) opt_in_source: Option<String>,
}

impl NewChannel {
    /// The WhatsApp channel of somebody who wrote to us.
    #[must_use]
    pub fn whatsapp(phone: &Phone) -> Self {
        Self {
            channel_type: ChannelType::Whatsapp,
            address: Address::phone(phone),
            is_primary: true,
            opt_in: false,
            opt_in_source: None,
        }
    }

    /// The channel as it was stored.
    pub(crate) fn stored(&self, id: Uuid) -> Channel {
        Channel {
            id,
            channel_type: self.channel_type,
            value: self.address.normalised.clone(),
            is_primary: self.is_primary,
            opt_in: self.opt_in,
            verified_at: None,
        }
    }

    pub(crate) fn parse_all(bodies: &[CreateChannel], validator: &mut Validator) -> Vec<Self> {
        if bodies.len() > MAX_CHANNELS {
            validator.reject("channels", "too_many", "A contact has at most 20 channels.");
        }
        let mut parsed: Vec<Self> = Vec::new();
        for (index, body) in bodies.iter().take(MAX_CHANNELS).enumerate() {
            let path = format!("channels[{index}].value");
            let address = match body.channel_type {
                ChannelType::Email => Email::parse(&body.value).map(|email| Address::email(&email)),
                ChannelType::Phone | ChannelType::Whatsapp => {
                    Phone::parse(&body.value).map(|phone| Address::phone(&phone))
                }
            };
            let Some(address) = address else {
                let message = match body.channel_type {
                    ChannelType::Email => "This is not an e-mail address.",
                    ChannelType::Phone | ChannelType::Whatsapp => {
                        "Give a valid number in E.164, like +201001234567."
                    }
                };
                validator.reject(path, "invalid", message);
                continue;
            };
            if parsed
                .iter()
                .any(|other| other.channel_type == body.channel_type && other.address == address)
            {
                validator.reject(path, "repeated", "This channel is there twice.");
            }
            let source = validator.optional_text(
                &format!("channels[{index}].opt_in_source"),
                body.opt_in_source.as_deref(),
                200,
            );
            parsed.push(Self {
                channel_type: body.channel_type,
                address,
                is_primary: body.is_primary,
                opt_in: body.opt_in,
                opt_in_source: source,
            });
        }
        choose_primaries(&mut parsed);
        parsed
    }

    pub(crate) fn columns(
        channels: &[Self],
        sealer: &Sealer,
        tenant: TenantId,
        new_id: impl Fn() -> Uuid,
    ) -> Result<Columns> {
        let mut columns = Columns::default();
        for channel in channels {
            let hash = channel.address.hash(sealer, tenant);
            columns.ids.push(new_id());
            columns.types.push(channel.channel_type.as_str());
            columns.sealed.push(
                sealer
                    .seal(&seal_context(tenant), channel.address.normalised.as_bytes())?
                    .0,
            );
            columns.masked.push(channel.address.masked.clone());
            columns.claims.push(!columns.hashes.contains(&hash));
            columns.hashes.push(hash);
            columns.primary.push(channel.is_primary);
            columns.opt_in.push(channel.opt_in);
            columns.opt_in_sources.push(channel.opt_in_source.clone());
        }
        Ok(columns)
    }
}

/// One primary a type: the first that says so, else the first.
fn choose_primaries(channels: &mut [NewChannel]) {
    for channel_type in [ChannelType::Email, ChannelType::Phone, ChannelType::Whatsapp] {
        let of_type = |channel: &NewChannel| channel.channel_type == channel_type;
        let chosen = channels
            .iter()
            .position(|c| of_type(c) && c.is_primary)
            .or_else(|| channels.iter().position(of_type));
        for (index, channel) in channels
            .iter_mut()
            .enumerate()
            .filter(|(_, channel)| channel.channel_type == channel_type)
        {
            channel.is_primary = Some(index) == chosen;
        }
    }
}

/// The channels of a contact's row: arrays in the order the channels were made.
pub(crate) fn from_row(row: &db::Row, sealer: &Sealer, tenant: TenantId) -> Result<Vec<Channel>> {
    let Some(ids) = row.get::<_, Option<Vec<Uuid>>>("channel_ids") else {
        return Ok(Vec::new());
    };
    let types: Vec<&str> = row.get("channel_types");
    let sealed: Vec<&[u8]> = row.get("channel_values");
    let primary: Vec<bool> = row.get("channel_primary");
    let opt_in: Vec<bool> = row.get("channel_opt_in");
    let verified: Vec<Option<Timestamp>> = row.get("channel_verified");
    let context = seal_context(tenant);
    ids.into_iter()
        .enumerate()
        .map(|(at, id)| {
            Ok(Channel {
                id,
                channel_type: ChannelType::from_column(types[at]),
                value: sealer.open_text(&context, sealed[at])?,
                is_primary: primary[at],
                opt_in: opt_in[at],
                verified_at: verified[at],
            })
        })
        .collect()
}
