//! Environment and secrets, read once when the process starts, into typed structs. What is missing
//! or malformed stops the process then, with its name, and never a request later.

use kernel::{Sealer, Secret};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

mod keys;
mod oauth;

pub use keys::{DataKeys, ProvisioningKeys, SigningKey, SigningKeys, TokenKey, TokenKeys};
pub use oauth::{OauthClient, OauthCredential, OauthProviders};

/// A setting that is missing or wrong: which, and why.
#[derive(Debug)]
pub struct ConfigError(String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

pub type Result<T> = std::result::Result<T, ConfigError>;

/// The process environment.
#[derive(Clone, Debug)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// Takes what the process was started with.
    #[must_use]
    pub fn from_process() -> Self {
        Self(std::env::vars().collect())
    }

    /// For tests.
    #[must_use]
    pub fn from_pairs<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// # Errors
    /// When the variable is not set or empty.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.optional(name)
            .ok_or_else(|| ConfigError(format!("the environment variable {name} is not set")))
    }

    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A number within these bounds; `default` when the variable is not set or empty.
    ///
    /// # Errors
    /// When it is no number, or out of bounds.
    pub fn number(&self, name: &str, default: u32, bounds: RangeInclusive<u32>) -> Result<u32> {
        let Some(text) = self.optional(name) else {
            return Ok(default);
        };
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| {
            let (least, most) = bounds.into_inner();
            ConfigError(format!(
                "the environment variable {name} is no number from {least} to {most}"
            ))
        })
    }

    #[must_use]
    pub fn or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.optional(name).unwrap_or(default)
    }
}

/// The texts of the secrets that a function asked for, by the environment variable that named each.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeMap<&'static str, Secret>);

impl Secrets {
    #[must_use]
    pub fn new(texts: BTreeMap<&'static str, Secret>) -> Self {
        Self(texts)
    }

    /// Parses one secret.
    ///
    /// # Errors
    /// When the function did not ask for it, or it is not what `T` describes. The error names the
    /// secret and never shows it.
    pub fn parse<T: for<'de> Deserialize<'de>>(&self, variable: &'static str) -> Result<T> {
        let text = self
            .0
            .get(variable)
            .ok_or_else(|| ConfigError(format!("the secret of {variable} was not loaded")))?;
        serde_json::from_str(text.expose()).map_err(|error| {
            ConfigError(format!(
                "the secret of {variable} is malformed at column {}",
                error.column()
            ))
        })
    }

    /// The sealer for a set of data keys.
    ///
    /// # Errors
    /// When the keys are missing or malformed.
    pub fn sealer(&self, variable: &'static str) -> Result<Sealer> {
        self.parse::<DataKeys>(variable)?
            .sealer()
            .map_err(|error| ConfigError(format!("{variable}: {error:?}")))
    }
}

/// Environment variables that name secrets.
pub mod secret {
    pub const DATABASE: &str = "DATABASE_SECRET";
    pub const DATABASE_OWNER: &str = "DATABASE_OWNER_SECRET";
    pub const TOKEN_KEYS: &str = "TOKEN_KEYS_SECRET";
    pub const TOKEN_SIGNING: &str = "TOKEN_SIGNING_SECRET";
    pub const DATA_KEYS: &str = "DATA_KEYS_SECRET";
    pub const EDGE_KEYS: &str = "EDGE_KEYS_SECRET";
    pub const GLOBAL_ACCOUNTS: &str = "GLOBAL_ACCOUNTS_SECRET";
    pub const OAUTH_PROVIDERS: &str = "OAUTH_PROVIDERS_SECRET";
    pub const PROVISIONING_KEY: &str = "PROVISIONING_KEY_SECRET";
}

/// How to reach the database.
#[derive(Clone, Debug, Deserialize)]
pub struct Database {
    pub host: String,
    pub port: u16,
    pub dbname: String,
    pub username: String,
    pub password: Secret,
    #[serde(default)]
    pub tls: Tls,
    /// Connections a process may hold: a request needs one, a worker works on four records at once.
    #[serde(default = "default_connections")]
    pub max_connections: usize,
}

fn default_connections() -> usize {
    4
}

/// Whether the connection is encrypted and the server's certificate checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    #[default]
    Require,
    /// For a server on this machine.
    Disable,
}

/// The provider accounts that serve every tenant without one of its own.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GlobalAccounts {
    pub meta: Option<GlobalMeta>,
    pub twilio: Option<GlobalTwilio>,
    pub brevo: Option<GlobalBrevo>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct GlobalMeta {
    pub app_secret: Secret,
    pub verify_token: Secret,
    pub access_token: Secret,
    pub phone_number_id: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct GlobalTwilio {
    pub account_sid: String,
    pub auth_token: Secret,
    /// The number that SMS come from, in E.164; without it none are sent.
    pub from: Option<String>,
}

/// What e-mails go out with.
#[derive(Clone, Debug, Deserialize)]
pub struct GlobalBrevo {
    pub api_key: Secret,
    /// An address that Brevo has verified.
    pub sender_email: String,
    pub sender_name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_secret_is_named_and_not_shown() {
        let secrets = Secrets::new(BTreeMap::from([(
            secret::DATABASE,
            Secret::new(r#"{"password":"hunter2","port":"x"}"#.to_owned()),
        )]));
        let error = secrets
            .parse::<Database>(secret::DATABASE)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("DATABASE_SECRET") && !error.contains("hunter2"),
            "{error}"
        );
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let env = Env::from_pairs([("BUCKET", "")]);
        assert!(env.required("BUCKET").unwrap_err().to_string().contains("BUCKET"));
        assert_eq!(env.or("BUCKET", "b"), "b");
    }

    #[test]
    fn a_number_out_of_bounds_is_refused_with_its_variable_and_its_bounds() {
        let tries = |value: &str| Env::from_pairs([("LOGIN_TRIES", value)]).number("LOGIN_TRIES", 5, 3..=20);
        for (value, expected) in [("", 5), ("3", 3), ("20", 20)] {
            assert_eq!(tries(value).unwrap(), expected, "{value:?}");
        }
        for wrong in ["2", "21", "0", "-3", "3.0", " 3", "three", "4294967301"] {
            let message = tries(wrong).unwrap_err().to_string();
            let named = ["LOGIN_TRIES", "3", "20"]
                .iter()
                .all(|part| message.contains(part));
            assert!(named, "{wrong:?}: {message}");
        }
        let unset = Env::from_pairs([]).number("LOGIN_TRIES", 5, 3..=20);
        assert_eq!(unset.unwrap(), 5);
    }
}
