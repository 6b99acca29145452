//! The local stack's secrets. Its keys are infra/local/keys.json, the same on every machine; the
//! application role's password is made once and kept in `.local/secrets.json`, readable by its owner
//! only, because `DATABASE_URL` may name a server that others reach too.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::paths::{Paths, read_json, root};
use crate::server::Server;

/// The application role's password, made on first use.
pub fn app_password(paths: &Paths) -> Result<String> {
    let file = paths.local.join("secrets.json");
    if !file.exists() {
        let made = json!({ "app_password": URL_SAFE_NO_PAD.encode(random(18)?) });
        let mut handle = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)?;
        handle.write_all(made.to_string().as_bytes())?;
    }
    let stored = read_json(&file)?;
    let password = stored["app_password"]
        .as_str()
        .context("secrets.json names no password")?;
    Ok(password.to_owned())
}

/// Forgets it.
pub fn wipe(paths: &Paths) -> Result<()> {
    let file = paths.local.join("secrets.json");
    if file.exists() {
        fs::remove_file(file)?;
    }
    Ok(())
}

/// The values of Secrets Manager, by the environment variable that names each.
pub fn secrets(app_password: &str, server: &Server, database: &str) -> Result<Value> {
    let keys = read_json(&root().join("infra/local/keys.json"))?;
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
    Ok(json!({
        "DATABASE_SECRET": connection("m3_app", app_password),
        "DATABASE_OWNER_SECRET": connection(server.admin.get_user().unwrap_or("postgres"), &admin_password),
        "TOKEN_KEYS_SECRET": keys["token_keys"],
        "TOKEN_SIGNING_SECRET": keys["token_signing"],
        "DATA_KEYS_SECRET": keys["data_keys"],
        "EDGE_KEYS_SECRET": keys["edge_keys"],
        "GLOBAL_ACCOUNTS_SECRET": keys["global_accounts"],
        "OAUTH_PROVIDERS_SECRET": keys["oauth_providers"],
        "PROVISIONING_KEY_SECRET": keys["provisioning"],
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
