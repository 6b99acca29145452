//! The demo tenant: filled through the public API, as a client would, and only with what is missing.

use anyhow::Result;
use serde_json::{Value, json};

use crate::api::{Api, Login, MetaNumber, text};

pub const TENANT: &str = "Demo Realty";
pub const EMAIL: &str = "demo@example.com";
const NUMBER: MetaNumber = MetaNumber {
    business_account_id: "200000000000001",
    phone_number_id: "200000000000101",
    display_phone_number: "+96522220101",
    app_secret: "local-demo-meta-app-secret",
};
const CONTACTS: [(&str, &str, &str, &str); 4] = [
    ("Layla", "Haddad", "+96550000001", "layla@example.com"),
    ("Omar", "Nasser", "+96550000002", "omar@example.com"),
    ("Maria", "Santos", "+351910000003", "maria@example.com"),
    ("James", "Carter", "+447400000004", "james@example.com"),
];

/// The demo user's API.
pub fn demo(stack: &Value) -> Result<(Api, &'static str)> {
    Api::enter(
        text(stack, "/api_url")?,
        &Login {
            tenant: TENANT,
            full_name: "Demo Admin",
            email: EMAIL,
            password: text(stack, "/demo/password")?,
        },
    )
}

/// Fills the demo tenant; the text says what there is now.
pub fn seed(stack: &Value) -> Result<String> {
    let (api, how) = demo(stack)?;
    let account = NUMBER.connect(&api)?;
    let contacts = contacts(&api)?;
    let conversations = api.get("/v1/conversations?limit=1")?;
    let empty = conversations["data"].as_array().is_none_or(Vec::is_empty);
    if empty {
        NUMBER.receive_text(
            text(stack, "/webhooks_url")?,
            "96550000001",
            "Layla Haddad",
            "Hello, is the flat on the third floor still for sale?",
        )?;
    }
    let message = if empty {
        "1 message received"
    } else {
        "messages already there"
    };
    Ok(format!(
        "{how}; WhatsApp account {account}; {contacts} contacts created; {message}"
    ))
}

fn contacts(api: &Api) -> Result<usize> {
    if api.get("/v1/contacts?limit=1")?["data"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
    {
        return Ok(0);
    }
    for (first_name, last_name, phone, email) in CONTACTS {
        let body = json!({
            "first_name": first_name,
            "last_name": last_name,
            "channels": [{ "type": "whatsapp", "value": phone }, { "type": "email", "value": email }],
        });
        api.expect(201, "POST", "/v1/contacts", &body)?;
    }
    Ok(CONTACTS.len())
}
