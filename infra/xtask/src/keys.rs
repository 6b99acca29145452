//! The local stack's secrets: made once, kept in `.local/secrets.json`, readable by their owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::paths::{Paths, read_json};
use crate::server::Server;

/// The provider account that webhooks of unknown numbers are checked with. Fixed, so that the signed
/// samples in events/ are valid on every machine; they open nothing outside it.
const GLOBAL_META_APP_SECRET: &str = "local-global-meta-app-secret";

/// The stored secrets, made on first use: the values of the `*_KEYS` and `*_SIGNING` secrets, the
/// application role's password and the demo user's.
pub fn load(paths: &Paths) -> Result<Value> {
    let file = paths.local.join("secrets.json");
    if file.exists() {
        return read_json(&file);
    }
    let secrets = generate()?;
    let mut handle = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)?;
    handle.write_all(serde_json::to_string_pretty(&secrets)?.as_bytes())?;
    Ok(secrets)
}

/// Forgets them.
pub fn wipe(paths: &Paths) -> Result<()> {
    let file = paths.local.join("secrets.json");
    if file.exists() {
        fs::remove_file(file)?;
    }
    Ok(())
}

/// The values of Secrets Manager, by the environment variable that names each.
pub fn secrets(stored: &Value, server: &Server, database: &str) -> Value {
    let connection = |user: &str, password: &str| {
        json!({
            "host": server.host(), "port": server.port(), "dbname": database,
            "username": user, "password": password,
            "tls": if server.tls() { "require" } else { "disable" },
        })
    };
    let admin_password = server
        .admin
        .get_password()
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    json!({
        "DATABASE_SECRET": connection("m3_app", stored["app_password"].as_str().unwrap_or_default()),
        "DATABASE_OWNER_SECRET": connection(server.admin.get_user().unwrap_or("postgres"), &admin_password),
        "TOKEN_KEYS_SECRET": stored["token_keys"],
        "TOKEN_SIGNING_SECRET": stored["token_signing"],
        "DATA_KEYS_SECRET": stored["data_keys"],
        "EDGE_KEYS_SECRET": stored["edge_keys"],
        "GLOBAL_ACCOUNTS_SECRET": {
            "meta": {
                "app_secret": GLOBAL_META_APP_SECRET,
                "verify_token": "local-global-verify-token",
                "access_token": "local-global-access-token",
                "phone_number_id": "100000000000000",
            },
            "twilio": { "account_sid": "AC00000000000000000000000000000000", "auth_token": "local-global-auth-token" },
        },
    })
}

fn generate() -> Result<Value> {
    let unspecified = |_| anyhow!("the system gave no random numbers");
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(unspecified)?;
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref())
        .map_err(|error| anyhow!("a new key was refused: {error}"))?;
    let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    Ok(json!({
        "app_password": URL_SAFE_NO_PAD.encode(random(18)?),
        "demo_password": format!("demo-{}", URL_SAFE_NO_PAD.encode(random(9)?)),
        "token_keys": { "keys": [{ "kid": "local-1", "public_key": public }] },
        "token_signing": {
            "active": "local-1",
            "keys": [{ "kid": "local-1", "private_key": STANDARD.encode(document.as_ref()) }],
        },
        "data_keys": key_ring()?,
        "edge_keys": key_ring()?,
    }))
}

fn key_ring() -> Result<Value> {
    Ok(json!({
        "active": "k1",
        "keys": { "k1": STANDARD.encode(random(32)?) },
        "lookup_key": STANDARD.encode(random(32)?),
    }))
}

/// Random bytes.
pub fn random(length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow!("the system gave no random numbers"))?;
    Ok(bytes)
}
