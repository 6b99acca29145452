//! A company of a test's own, with a number at Meta.
//!
//! All that is personal or secret in these tests carries one of the [`MARKS`], so that one look at the
//! logs tells whether any of it leaked.

use crate::stack::{Answer, Stack, digits, unique};
use kernel::Secret;
use providers::signature::sign_meta;
use serde_json::{Value, json};

/// What gives away personal data and secrets of these tests: phone numbers, names, addresses, message
/// texts, passwords, provider secrets, refresh tokens, access tokens.
pub const MARKS: [&str; 8] = [
    "9655077",
    "Quillfeather",
    "@e2e.example",
    "e2e-text",
    "e2e-password",
    "e2e-secret",
    "m3r_",
    "eyJ",
];

/// A company, signed in.
pub struct Tenant {
    pub stack: Stack,
    pub id: String,
    pub token: String,
    pub phone_number_id: String,
    /// Once a number is connected.
    pub account_id: String,
    pub app_secret: Secret,
}

impl Tenant {
    /// Signs a company up.
    pub async fn sign_up(stack: &Stack) -> Self {
        let name = unique();
        let body = json!({
            "tenant_name": format!("E2E {name}"),
            "full_name": "Olive Quillfeather",
            "email": format!("{name}@e2e.example"),
            "password": format!("e2e-password-{}", unique()),
            "delivery": "body",
        });
        let answer = stack
            .api(
                "POST",
                "/v1/auth/signup",
                &[("content-type", "application/json")],
                body.to_string(),
            )
            .await;
        let signed_up = answer.expect(201);
        assert!(signed_up["refresh_token"].as_str().unwrap().starts_with("m3r_"));
        Self {
            stack: stack.clone(),
            id: signed_up["tenant"]["id"].as_str().unwrap().to_owned(),
            token: signed_up["access_token"].as_str().unwrap().to_owned(),
            phone_number_id: digits(15),
            account_id: String::new(),
            app_secret: Secret::new(format!("e2e-secret-{name}")),
        }
    }

    /// Signs a company up and connects a number of Meta's.
    pub async fn connected(stack: &Stack) -> Self {
        let mut tenant = Self::sign_up(stack).await;
        let body = json!({
            "provider": "meta",
            "provider_account_id": digits(15),
            "phone_number_id": tenant.phone_number_id,
            "display_phone_number": format!("+9655077{}", &digits(5)[1..]),
            "credentials": {
                "access_token": "e2e-secret-access-token",
                "app_secret": tenant.app_secret.expose(),
                "verify_token": "e2e-secret-verify-token",
            },
        });
        let answer = tenant.call("POST", "/v1/whatsapp-accounts", &body).await;
        assert!(
            !answer.text.contains("e2e-secret"),
            "credentials are never read back: {}",
            answer.text
        );
        tenant.account_id = answer.expect(201)["id"].as_str().unwrap().to_owned();
        tenant
    }

    /// A request with the company's token.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.stack.api(method, path, &headers, body).await
    }

    /// The body of a GET that has to succeed.
    pub async fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null).await.expect(200)
    }

    /// What Meta would post of this number.
    pub fn told(&self, what: &Value) -> String {
        let mut value = json!({
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "96550770000", "phone_number_id": self.phone_number_id },
        });
        for (name, part) in what.as_object().unwrap() {
            value[name] = part.clone();
        }
        let entry = json!({ "id": "1", "changes": [{ "field": "messages", "value": value }] });
        json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string()
    }

    /// A text message of a person as Meta would post it.
    pub fn message(&self, id: &str, from: &str, text: &str) -> String {
        let now = kernel::Clock::system().now().as_second().to_string();
        self.told(&json!({
            "contacts": [{ "wa_id": from, "profile": { "name": "Basil Quillfeather" } }],
            "messages": [{ "from": from, "id": id, "timestamp": now, "type": "text", "text": { "body": text } }],
        }))
    }

    /// Posts a body as Meta would, signed with the number's app secret.
    pub async fn post(&self, body: &str) -> Answer {
        let signature = sign_meta(&self.app_secret, body.as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("x-hub-signature-256", signature.as_str()),
        ];
        self.stack.webhook("/v1/webhooks/meta", &headers, body).await
    }

    /// Every message of the company, over all conversations.
    pub async fn messages(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for conversation in self.get("/v1/conversations?limit=200").await["data"]
            .as_array()
            .unwrap()
        {
            let path = format!(
                "/v1/conversations/{}/messages?limit=200",
                conversation["id"].as_str().unwrap()
            );
            all.extend(self.get(&path).await["data"].as_array().unwrap().clone());
        }
        all
    }

    /// Waits for the message with this provider id.
    pub async fn received(&self, provider_id: &str) -> Value {
        let look = async || {
            self.messages()
                .await
                .into_iter()
                .find(|message| message["provider_message_id"] == provider_id)
        };
        self.stack.wait_for("the message", look).await
    }
}

/// A number that a person may have.
pub fn person() -> String {
    format!("9655077{}", &digits(5)[1..])
}

/// An id as Meta makes them.
pub fn wamid() -> String {
    format!("wamid.{}", unique())
}
