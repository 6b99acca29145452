//! Key material as Secrets Manager holds it.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use kernel::{Error, Sealer, Secret};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::collections::BTreeMap;

/// Keys that seal personal data: `{"active", "keys": {id: base64}, "lookup_key": base64}`.
#[derive(Clone, Debug, Deserialize)]
pub struct DataKeys {
    active: String,
    keys: BTreeMap<String, Bytes>,
    lookup_key: Bytes,
}

impl DataKeys {
    /// # Errors
    /// When a key has the wrong length or the active one is missing.
    pub fn sealer(&self) -> Result<Sealer, Error> {
        let keys = self
            .keys
            .iter()
            .map(|(id, key)| (id.clone(), key.0.clone()))
            .collect();
        Sealer::new(&self.active, &keys, &self.lookup_key.0)
    }
}

/// The public keys that access tokens verify with; what `/.well-known/jwks.json` publishes.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenKeys {
    pub keys: Vec<TokenKey>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct TokenKey {
    pub kid: String,
    /// The raw Ed25519 key, base64url: the `x` of its JWK.
    pub public_key: String,
}

impl TokenKey {
    /// The raw 32 bytes.
    ///
    /// # Errors
    /// Internal, when the key is not base64url of 32 bytes.
    pub fn raw(&self) -> Result<Vec<u8>, Error> {
        let raw = URL_SAFE_NO_PAD
            .decode(&self.public_key)
            .ok()
            .filter(|raw| raw.len() == 32);
        raw.ok_or_else(|| {
            Error::internal(format!(
                "the public key {} is not 32 bytes in base64url",
                self.kid
            ))
        })
    }
}

/// The private keys; `active` signs.
#[derive(Clone, Debug, Deserialize)]
pub struct SigningKeys {
    pub active: String,
    pub keys: Vec<SigningKey>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SigningKey {
    pub kid: String,
    /// PKCS#8 DER.
    #[serde(deserialize_with = "base64_secret")]
    pub private_key: Secret<Vec<u8>>,
}

/// The key of who runs the system, as SHA-256 hashes of it: `{"sha256": [base64]}`. While it changes
/// there are two.
#[derive(Clone, Debug, Deserialize)]
pub struct ProvisioningKeys {
    sha256: Vec<Bytes>,
}

impl ProvisioningKeys {
    /// The hashes.
    pub fn sha256(&self) -> impl Iterator<Item = &[u8]> {
        self.sha256.iter().map(|hash| hash.0.expose().as_slice())
    }
}

#[derive(Clone, Debug)]
struct Bytes(Secret<Vec<u8>>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        base64_secret(deserializer).map(Self)
    }
}

fn base64_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<Vec<u8>>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD
        .decode(text)
        .map(Secret::new)
        .map_err(|_| D::Error::custom("not base64"))
}
