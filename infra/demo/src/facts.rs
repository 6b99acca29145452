//! What `infra/local/demo.json` and `infra/local/keys.json` say.

use anyhow::{Context, Result, anyhow};
use config::{DataKeys, SigningKeys};
use identity::token::Signer;
use kernel::{Sealer, Secret, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;
use web::Claims;

/// The issuer of the local stack's tokens: not its address, whose port differs by machine.
const ISSUER: &str = "https://local.m3corecrm";
const AUDIENCE: &str = "m3corecrm";
/// 2025-01-01 and 2100-01-01, in seconds.
const ISSUED_AT: i64 = 1_735_689_600;
const EXPIRES_AT: i64 = 4_102_444_800;

/// The demo tenant's facts.
pub struct Demo(pub(crate) Value);

impl Demo {
    /// # Errors
    /// When the file is no JSON.
    pub fn load() -> Result<Self> {
        Ok(Self(serde_json::from_str(include_str!("../../local/demo.json"))?))
    }

    /// A text, by JSON pointer.
    ///
    /// # Errors
    /// When there is none.
    pub fn text(&self, pointer: &str) -> Result<&str> {
        let found = self.0.pointer(pointer).and_then(Value::as_str);
        found.with_context(|| format!("infra/local/demo.json has no {pointer}"))
    }

    /// An id, by JSON pointer.
    ///
    /// # Errors
    /// When there is none.
    pub fn id(&self, pointer: &str) -> Result<Uuid> {
        self.text(pointer)?
            .parse()
            .with_context(|| format!("{pointer} is no id"))
    }

    /// A provider secret, by JSON pointer.
    ///
    /// # Errors
    /// When there is none.
    pub fn secret(&self, pointer: &str) -> Result<Secret> {
        Ok(Secret::new(self.text(pointer)?.to_owned()))
    }

    /// The demo tenant.
    ///
    /// # Errors
    /// When the file does not name it.
    pub fn tenant(&self) -> Result<TenantId> {
        Ok(TenantId(self.id("/tenant/id")?))
    }
}

/// The local stack's keys.
pub struct Keys(Value);

impl Keys {
    /// # Errors
    /// When the file is no JSON.
    pub fn load() -> Result<Self> {
        Ok(Self(serde_json::from_str(include_str!("../../local/keys.json"))?))
    }

    /// Seals as the functions do.
    ///
    /// # Errors
    /// When the keys are malformed.
    pub fn sealer(&self) -> Result<Sealer> {
        let keys: DataKeys = serde_json::from_value(self.0["data_keys"].clone())?;
        keys.sealer().map_err(|error| anyhow!("the data keys: {error:?}"))
    }

    /// The demo user's access token, good until 2100. The same at every call: Ed25519 signs without
    /// chance.
    ///
    /// # Errors
    /// When the key can't sign.
    pub fn token(&self, demo: &Demo) -> Result<String> {
        let signing: SigningKeys = serde_json::from_value(self.0["token_signing"].clone())?;
        let active = signing.keys.iter().find(|key| key.kid == signing.active);
        let active = active.context("the active signing key is missing")?;
        let signer = Signer::new(&active.kid, active.private_key.expose());
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: demo.id("/user/id")?,
            tid: demo.tenant()?.0,
            sid: demo.id("/sessions/main/id")?,
            iat: ISSUED_AT,
            exp: EXPIRES_AT,
        };
        let signed = signer.and_then(|signer| signer.sign(&claims));
        signed.map_err(|error| anyhow!("the signing key: {error:?}"))
    }
}

/// A JSON object without its null members.
pub(crate) fn present(fields: &[(&str, Value)]) -> Value {
    let mut object = json!({});
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        object[*name] = value.clone();
    }
    object
}
