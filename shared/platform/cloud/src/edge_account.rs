//! A provider account as the webhook edge knows it, and as an item of the state table.

use crate::state::{Item, binary, number, number_of, text, text_of};
use jiff::Timestamp;
use kernel::{Result, Sealer, Secret, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Who posts the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    Meta,
    Twilio,
}

impl Provider {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Twilio => "twilio",
        }
    }
}

/// What a provider signs its webhooks with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum EdgeSecret {
    Meta {
        app_secret: Secret,
        verify_token: Secret,
    },
    Twilio {
        auth_token: Secret,
    },
}

/// One tenant's account as the edge knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeAccount {
    pub tenant: TenantId,
    pub account_id: Uuid,
    /// Meta: the `phone_number_id`. Twilio: the `AccountSid`, `/`, the number in E.164.
    pub provider_key: String,
    pub secret: EdgeSecret,
    /// Of the account's row; an older version never replaces a newer one.
    pub updated_at: Timestamp,
}

impl EdgeSecret {
    /// What Meta's handshake has to show; Twilio has none.
    pub(crate) fn verify_token(&self) -> Option<&str> {
        match self {
            Self::Meta { verify_token, .. } => Some(verify_token.expose()),
            Self::Twilio { .. } => None,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Meta {
                app_secret,
                verify_token,
            } => {
                json!({ "app_secret": app_secret.expose(), "verify_token": verify_token.expose() })
            }
            Self::Twilio { auth_token } => json!({ "auth_token": auth_token.expose() }),
        }
    }
}

impl EdgeAccount {
    #[must_use]
    pub fn provider(&self) -> Provider {
        match self.secret {
            EdgeSecret::Meta { .. } => Provider::Meta,
            EdgeSecret::Twilio { .. } => Provider::Twilio,
        }
    }

    pub(crate) fn to_item(&self, pk: String, sealer: &Sealer) -> Result<Item> {
        let sealed = sealer.seal(
            &context(self.tenant, self.account_id),
            self.secret.to_json().to_string().as_bytes(),
        )?;
        Ok([
            ("pk", text(pk)),
            ("sk", text(self.account_id.to_string())),
            ("tenant_id", text(self.tenant.to_string())),
            ("provider_key", text(&self.provider_key)),
            ("secret_sealed", binary(sealed.0)),
            ("updated_at", number(self.updated_at.as_microsecond())),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
    }

    /// One entry that does not open must not hide the others under the same key.
    pub(crate) fn open(item: &Item, sealer: &Sealer) -> Option<Self> {
        let account = Self::try_open(item, sealer);
        if account.is_none() {
            tracing::error!(
                account_id = text_of(item, "sk"),
                "an account of the edge directory does not open"
            );
        }
        account
    }

    fn try_open(item: &Item, sealer: &Sealer) -> Option<Self> {
        let tenant = TenantId(text_of(item, "tenant_id")?.parse().ok()?);
        let account_id = text_of(item, "sk")?.parse().ok()?;
        let sealed = item.get("secret_sealed")?.as_b().ok()?;
        let secret = sealer.open(&context(tenant, account_id), sealed.as_ref()).ok()?;
        Some(Self {
            tenant,
            account_id,
            provider_key: text_of(item, "provider_key")?.to_owned(),
            secret: serde_json::from_slice(&secret).ok()?,
            updated_at: Timestamp::from_microsecond(number_of(item, "updated_at")?).ok()?,
        })
    }
}

fn context(tenant: TenantId, account_id: Uuid) -> String {
    format!("{tenant}/edge_accounts/{account_id}")
}
