//! What the binaries of the benchmark share: keys and tokens, and what a server is told to serve.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::{Clock, Sealer};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use web::{Claims, TokenVerifier};

pub const ISSUER: &str = "https://bench.invalid";
pub const AUDIENCE: &str = "m3corecrm";
/// Of the Meta account whose webhooks are posted.
pub const APP_SECRET: &str = "bench-app-secret";
pub const PHONE_NUMBER_ID: &str = "100200300";

/// What a server of the benchmark is started with: JSON, its one argument.
#[derive(Debug, Deserialize)]
pub struct Serve {
    /// `bench-served`: contacts, messaging or webhooks.
    #[serde(default)]
    pub function: String,
    pub port: u16,
    pub database: Option<config::Database>,
    /// Where AWS is played.
    pub aws_endpoint: Option<String>,
    /// `bench-minimal`: whether a transaction also checks session and permission.
    #[serde(default)]
    pub authorise: bool,
    /// `bench-minimal`: the tenant and account that webhooks are written for.
    pub account: Option<(Uuid, Uuid)>,
}

impl Serve {
    /// # Errors
    /// When the process was not started with one argument of that shape.
    pub fn from_argument() -> anyhow::Result<Self> {
        let argument = std::env::args().nth(1).unwrap_or_default();
        Ok(serde_json::from_str(&argument)?)
    }
}

/// `DATA_KEYS_SECRET` and `EDGE_KEYS_SECRET`.
pub fn data_keys() -> Value {
    json!({ "active": "b1", "keys": { "b1": STANDARD.encode([7; 32]) }, "lookup_key": STANDARD.encode([8; 32]) })
}

/// # Errors
/// Never, with the keys above.
pub fn sealer() -> anyhow::Result<Sealer> {
    let keys: config::DataKeys = serde_json::from_value(data_keys())?;
    Ok(keys.sealer()?)
}

fn pair() -> anyhow::Result<Ed25519KeyPair> {
    Ok(Ed25519KeyPair::from_seed_unchecked(&[5; 32])?)
}

/// `TOKEN_KEYS_SECRET`.
///
/// # Errors
/// Never, with a seed of 32 bytes.
pub fn token_keys() -> anyhow::Result<Value> {
    let key = URL_SAFE_NO_PAD.encode(pair()?.public_key().as_ref());
    Ok(json!({ "keys": [{ "kid": "bench", "public_key": key }] }))
}

/// # Errors
/// As [`token_keys`].
pub fn verifier() -> anyhow::Result<TokenVerifier> {
    Ok(TokenVerifier::new(
        &serde_json::from_value(token_keys()?)?,
        ISSUER,
        AUDIENCE,
    )?)
}

/// The raw public key.
///
/// # Errors
/// As [`token_keys`].
pub fn public_key() -> anyhow::Result<Vec<u8>> {
    Ok(pair()?.public_key().as_ref().to_vec())
}

/// An access token that lasts for the run.
///
/// # Errors
/// As [`token_keys`].
pub fn token(tenant: Uuid, user: Uuid, session: Uuid) -> anyhow::Result<String> {
    let iat = Clock::system().now().as_second();
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: user,
        tid: tenant,
        sid: session,
        iat,
        exp: iat + 6 * 3600,
    };
    let header = Header {
        kid: Some("bench".to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    let key = EncodingKey::from_ed_der(pair()?.to_pkcs8()?.as_ref());
    Ok(jsonwebtoken::encode(&header, &claims, &key)?)
}
