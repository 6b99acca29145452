//! The demo tenant: its fixed rows by infra/demo, as administrator; the rest through the public API, as
//! a client would fill it.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::api::{Api, MetaNumber, text};
use crate::build::tool;
use crate::paths::{read_json, root};
use crate::process::bare;
use crate::smoke::wait_for;

const CONTACTS: [(&str, &str, &str, &str); 3] = [
    ("Omar", "Nasser", "+96550000002", "omar@example.com"),
    ("Maria", "Santos", "+351910000003", "maria@example.com"),
    ("James", "Carter", "+447400000004", "james@example.com"),
];
/// A conversation whose window closes earlier than this gets another message, so that it can be replied to.
const WINDOW_LEFT_SECONDS: i64 = 3600;

/// What is fixed of the demo tenant.
pub fn facts() -> Result<Value> {
    read_json(&root().join("infra/local/demo.json"))
}

/// Puts the demo tenant's fixed rows back as they were. Builds the tool unless `binaries` has it.
fn restore(stack: &Value, binaries: Option<&std::path::Path>) -> Result<()> {
    let mut command = match binaries {
        Some(folder) => bare(folder.join("demo")),
        None => tool("demo")?,
    };
    let mut child = command.arg("seed").stdin(Stdio::piped()).spawn()?;
    // Not an argument: it may hold a password, and arguments are everybody's to read.
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(text(stack, "/admin_database_url")?.as_bytes())?;
    drop(input);
    if !child.wait()?.success() {
        bail!("the demo tenant could not be stored");
    }
    Ok(())
}

/// Fills the demo tenant; the text says what there is now.
pub fn seed(stack: &Value, binaries: Option<&std::path::Path>) -> Result<String> {
    restore(stack, binaries)?;
    let demo = facts()?;
    let api = Api::log_in(stack, text(&demo, "/user/email")?)?;
    let published = accounts(&api, &demo)?;
    let contacts = contacts(&api)?;
    let conversation = format!("/v1/conversations/{}", text(&demo, "/conversation/id")?);
    let message = if is_open(&api.get(&conversation)?) {
        "a conversation that can be replied to"
    } else {
        let from = text(&demo, "/contacts/layla/phone")?.trim_start_matches('+');
        let question = "Hello, is the flat on the third floor still for sale?";
        number(&demo)?.receive_text(text(stack, "/webhooks_url")?, from, "Layla Haddad", question)?;
        wait_for("the message in the conversation", || {
            Ok(is_open(&api.get(&conversation)?).then_some(()))
        })?;
        "1 message received"
    };
    Ok(format!(
        "{published} accounts, {contacts} contacts created, {message}"
    ))
}

/// Has the API tell the webhook edge of the accounts that were stored behind its back.
fn accounts(api: &Api, demo: &Value) -> Result<usize> {
    let accounts = demo["accounts"]
        .as_object()
        .context("demo.json names no accounts")?;
    for account in accounts.values() {
        let id = account["id"].as_str().unwrap_or_default();
        let path = format!("/v1/whatsapp-accounts/{id}");
        api.expect(200, "PATCH", &path, &json!({ "status": "active" }))?;
    }
    Ok(accounts.len())
}

fn contacts(api: &Api) -> Result<usize> {
    let mut created = 0;
    for (first_name, last_name, phone, email) in CONTACTS {
        let body = json!({
            "first_name": first_name,
            "last_name": last_name,
            "channels": [{ "type": "whatsapp", "value": phone }, { "type": "email", "value": email }],
        });
        let answer = api.post("/v1/contacts", &body)?;
        match answer.status {
            201 => created += 1,
            409 => {}
            status => bail!("POST /v1/contacts answered {status}: {}", answer.body),
        }
    }
    Ok(created)
}

fn is_open(conversation: &Value) -> bool {
    let expires_at = conversation["window_expires_at"]
        .as_str()
        .and_then(|at| at.parse::<jiff::Timestamp>().ok());
    expires_at.is_some_and(|at| at.as_second() > crate::api::unix_seconds() + WINDOW_LEFT_SECONDS)
}

fn number(demo: &Value) -> Result<MetaNumber<'_>> {
    Ok(MetaNumber {
        business_account_id: text(demo, "/accounts/meta/provider_account_id")?,
        phone_number_id: text(demo, "/accounts/meta/phone_number_id")?,
        display_phone_number: text(demo, "/accounts/meta/display_phone_number")?,
        app_secret: text(demo, "/accounts/meta/credentials/app_secret")?,
    })
}
