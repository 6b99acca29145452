//! The secrets of an account: checked, sealed, and never serialised.

use super::Provider;
use crate::context;
use db::{Row, Tx};
use kernel::{Error, Result, Secret, Validator};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Meta takes `access_token`, `app_secret` and `verify_token`; Twilio takes `auth_token`.
/// Written, never read back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Meta: sends.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub access_token: Option<Secret>,
    /// Meta: signs webhooks.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub app_secret: Option<Secret>,
    /// Meta: answers the webhook handshake.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub verify_token: Option<Secret>,
    /// Twilio: sends and signs webhooks.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub auth_token: Option<Secret>,
}

impl Credentials {
    /// The fields, by name, and which provider has them.
    fn fields(&self) -> [(&'static str, Provider, &Option<Secret>); 4] {
        [
            ("access_token", Provider::Meta, &self.access_token),
            ("app_secret", Provider::Meta, &self.app_secret),
            ("verify_token", Provider::Meta, &self.verify_token),
            ("auth_token", Provider::Twilio, &self.auth_token),
        ]
    }

    pub(super) fn check(&self, validator: &mut Validator, provider: Provider, all: bool) {
        for (name, of, value) in self.fields() {
            let path = format!("credentials.{name}");
            match value {
                Some(_) if of != provider => {
                    validator.reject(path, "not_allowed", "This provider has no such secret.");
                }
                Some(secret) if secret.expose().is_empty() || secret.expose().len() > 2048 => {
                    validator.reject(path, "invalid", "This holds 1 to 2048 characters.");
                }
                None if of == provider && all => {
                    validator.reject(path, "required", "This must not be empty.");
                }
                _ => {}
            }
        }
    }

    /// These, and the other's where these have none.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            access_token: self.access_token.or(other.access_token),
            app_secret: self.app_secret.or(other.app_secret),
            verify_token: self.verify_token.or(other.verify_token),
            auth_token: self.auth_token.or(other.auth_token),
        }
    }

    pub(super) fn seal(&self, tx: &Tx) -> Result<Vec<u8>> {
        let given = self
            .fields()
            .into_iter()
            .filter_map(|(name, _, value)| Some((name, value.as_ref()?.expose())));
        let fields: BTreeMap<_, _> = given.collect();
        let json = serde_json::to_vec(&fields).map_err(Error::internal)?;
        Ok(tx
            .sealer()
            .seal(&context(tx, "channel_accounts.credentials"), &json)?
            .0)
    }

    pub(super) fn open(tx: &Tx, row: &Row) -> Result<Self> {
        let json = tx.sealer().open(
            &context(tx, "channel_accounts.credentials"),
            row.get("credentials_sealed"),
        )?;
        // The parser's message would quote what it read.
        serde_json::from_slice(&json).map_err(|_| Error::internal("stored credentials are malformed"))
    }
}
