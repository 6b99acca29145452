//! The main job, from the outside: a company signs up, connects its number, gets a message, answers it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::api::{Api, Login, MetaNumber, text};
use crate::step::step;

const NUMBER: MetaNumber = MetaNumber {
    business_account_id: "300000000000001",
    phone_number_id: "300000000000101",
    display_phone_number: "+96522220301",
    app_secret: "local-smoke-meta-app-secret",
};
const CUSTOMER: &str = "96550000301";
/// How long a message may take through the queues.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the main job in a tenant of its own, printing each step.
pub fn smoke(stack: &Value) -> Result<()> {
    let webhooks_url = text(stack, "/webhooks_url")?;
    let login = Login {
        tenant: "Smoke Test",
        full_name: "Smoke Test",
        email: "smoke@example.com",
        password: text(stack, "/demo/password")?,
    };
    let api = step("a company signs up", || {
        Api::enter(text(stack, "/api_url")?, &login).map(|(api, how)| (api, how.to_owned()))
    })?;
    step("connects its number", || {
        NUMBER.connect(&api).map(|how| ((), how.to_owned()))
    })?;
    let received = step("a message comes in", || {
        let id = NUMBER.receive_text(webhooks_url, CUSTOMER, "Smoke Customer", "Is it still for sale?")?;
        Ok((id, "accepted".to_owned()))
    })?;
    let conversation = step("it is in its thread", || {
        let conversation = wait_for("the conversation", || conversation_with(&api, &received))?;
        let id = conversation["id"]
            .as_str()
            .context("a conversation without id")?
            .to_owned();
        Ok((
            id,
            format!(
                "conversation of contact {}",
                conversation["contact_id"].as_str().unwrap_or("?")
            ),
        ))
    })?;
    let reply = step("the agent replies", || {
        let path = format!("/v1/conversations/{conversation}/messages");
        let answer = api.expect(
            202,
            "POST",
            &path,
            &json!({ "body": "Yes, it is. When would you like to see it?" }),
        )?;
        let id = answer.body["id"]
            .as_str()
            .context("a message without id")?
            .to_owned();
        Ok((id, answer.body["status"].as_str().unwrap_or("?").to_owned()))
    })?;
    let provider_id = step("it goes out", || {
        let sent = wait_for("the reply's sending", || {
            message(&api, &conversation, &reply, &["sent", "delivered"])
        })?;
        let id = sent["provider_message_id"]
            .as_str()
            .context("a sent message without the provider's id")?
            .to_owned();
        Ok((id, "sent".to_owned()))
    })?;
    step("its delivery comes back", || {
        NUMBER.receive_status(webhooks_url, &provider_id, CUSTOMER, "delivered")?;
        wait_for("the delivery", || {
            message(&api, &conversation, &reply, &["delivered"])
        })?;
        Ok(((), "delivered".to_owned()))
    })
}

/// The conversation that holds the message with this provider id.
fn conversation_with(api: &Api, provider_id: &str) -> Result<Option<Value>> {
    let conversations = api.get("/v1/conversations?limit=50")?;
    for conversation in conversations["data"].as_array().into_iter().flatten() {
        let id = conversation["id"].as_str().unwrap_or_default();
        let messages = api.get(&format!("/v1/conversations/{id}/messages?limit=20"))?;
        let list = messages["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        if list
            .iter()
            .any(|message| message["provider_message_id"] == provider_id)
        {
            return Ok(Some(conversation.clone()));
        }
    }
    Ok(None)
}

/// The message once it has one of the statuses; a failed one is an error.
fn message(api: &Api, conversation: &str, id: &str, wanted: &[&str]) -> Result<Option<Value>> {
    let messages = api.get(&format!("/v1/conversations/{conversation}/messages?limit=20"))?;
    let list = messages["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(found) = list.iter().find(|message| message["id"] == id) else {
        return Ok(None);
    };
    match found["status"].as_str() {
        Some("failed" | "dead") => bail!("the message failed: {found}"),
        Some(status) if wanted.contains(&status) => Ok(Some(found.clone())),
        _ => Ok(None),
    }
}

/// Looks until there is something, or patience ends.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("{what} did not show within {PATIENCE:?}; look at `cargo xtask logs`");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
