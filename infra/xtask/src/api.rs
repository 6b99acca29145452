//! The public API as a client uses it.

use anyhow::{Context, Result, bail};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::keys::random;
use crate::paths::{Paths, read_json};

/// A tenant and its first user.
pub struct Login<'a> {
    pub tenant: &'a str,
    pub full_name: &'a str,
    pub email: &'a str,
    pub password: &'a str,
}

/// The API with somebody's token.
pub struct Api {
    base: String,
    token: String,
}

impl Api {
    /// Logs in, signing up first when there is no such account; the text says which it was.
    pub fn enter(base: &str, login: &Login) -> Result<(Self, &'static str)> {
        let anonymous = Self {
            base: base.to_owned(),
            token: String::new(),
        };
        let known = anonymous.post(
            "/v1/auth/login",
            &json!({
                "email": login.email, "password": login.password, "delivery": "body",
            }),
        )?;
        let (answer, how) = if known.status == 200 {
            (known, "logged in")
        } else {
            let signup = json!({
                "tenant_name": login.tenant, "full_name": login.full_name, "email": login.email,
                "password": login.password, "delivery": "body",
            });
            (
                anonymous.expect(201, "POST", "/v1/auth/signup", &signup)?,
                "signed up",
            )
        };
        let token = answer.body["access_token"]
            .as_str()
            .context("the answer has no access_token")?
            .to_owned();
        Ok((
            Self {
                base: base.to_owned(),
                token,
            },
            how,
        ))
    }

    /// Logs in as somebody who has the demo user's password.
    pub fn log_in(stack: &Value, email: &str) -> Result<Self> {
        let base = text(stack, "/api_url")?.to_owned();
        let anonymous = Self {
            base: base.clone(),
            token: String::new(),
        };
        let body = json!({ "email": email, "password": text(stack, "/demo/password")?, "delivery": "body" });
        let answer = anonymous.expect(200, "POST", "/v1/auth/login", &body)?;
        let token = answer.body["access_token"]
            .as_str()
            .context("the answer has no access_token")?
            .to_owned();
        Ok(Self { base, token })
    }

    /// The access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A POST with a fresh Idempotency-Key; any status is an answer.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send("POST", path, body)
    }

    /// The body of a GET that has to succeed.
    pub fn get(&self, path: &str) -> Result<Value> {
        Ok(self.expect(200, "GET", path, &Value::Null)?.body)
    }

    /// A request that has to be answered with `status`.
    pub fn expect(&self, status: u16, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let answer = self.send(method, path, body)?;
        if answer.status != status {
            bail!(
                "{method} {path} answered {} instead of {status}: {}",
                answer.status,
                answer.body
            );
        }
        Ok(answer)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let bearer = format!("Bearer {}", self.token);
        let key = URL_SAFE_NO_PAD.encode(random(16)?);
        let mut headers = vec![("content-type", "application/json")];
        if !self.token.is_empty() {
            headers.push(("authorization", &bearer));
        }
        if method == "POST" {
            headers.push(("idempotency-key", &key));
        }
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        http::send(method, &format!("{}{path}", self.base), &headers, &bytes)
    }
}

/// A WhatsApp number at Meta, and what its webhooks are signed with.
pub struct MetaNumber<'a> {
    pub business_account_id: &'a str,
    pub phone_number_id: &'a str,
    pub display_phone_number: &'a str,
    pub app_secret: &'a str,
}

impl MetaNumber<'_> {
    /// Connects the number to the caller's tenant, unless it is; the text says which.
    pub fn connect(&self, api: &Api) -> Result<&'static str> {
        let accounts = api.get("/v1/whatsapp-accounts?limit=200")?;
        let list = accounts["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        if list
            .iter()
            .any(|account| account["phone_number_id"] == self.phone_number_id)
        {
            return Ok("connected already");
        }
        let body = json!({
            "provider": "meta",
            "provider_account_id": self.business_account_id,
            "phone_number_id": self.phone_number_id,
            "display_phone_number": self.display_phone_number,
            "credentials": {
                "access_token": "local-access-token",
                "app_secret": self.app_secret,
                "verify_token": "local-verify-token",
            },
        });
        let answer = api.expect(201, "POST", "/v1/whatsapp-accounts", &body)?;
        if answer.body.to_string().contains(self.app_secret) {
            bail!("the account's secret is in the answer");
        }
        Ok("connected")
    }

    /// Posts a text message from `from` (digits) as Meta would, signed; returns the message's id.
    pub fn receive_text(&self, webhooks_url: &str, from: &str, name: &str, text: &str) -> Result<String> {
        let id = format!("wamid.{}", URL_SAFE_NO_PAD.encode(random(18)?));
        self.deliver(
            webhooks_url,
            &json!({
                "contacts": [{ "wa_id": from, "profile": { "name": name } }],
                "messages": [{
                    "from": from, "id": id, "timestamp": unix_seconds().to_string(),
                    "type": "text", "text": { "body": text },
                }],
            }),
        )?;
        Ok(id)
    }

    /// Posts a status of an outbound message, signed.
    pub fn receive_status(
        &self,
        webhooks_url: &str,
        message_id: &str,
        recipient: &str,
        status: &str,
    ) -> Result<()> {
        self.deliver(
            webhooks_url,
            &json!({
                "statuses": [{
                    "id": message_id, "status": status, "recipient_id": recipient,
                    "timestamp": unix_seconds().to_string(),
                }],
            }),
        )
    }

    fn deliver(&self, webhooks_url: &str, content: &Value) -> Result<()> {
        let mut value = json!({
            "messaging_product": "whatsapp",
            "metadata": {
                "display_phone_number": self.display_phone_number.trim_start_matches('+'),
                "phone_number_id": self.phone_number_id,
            },
        });
        if let (Some(target), Some(source)) = (value.as_object_mut(), content.as_object()) {
            target.extend(source.clone());
        }
        let body = json!({
            "object": "whatsapp_business_account",
            "entry": [{
                "id": self.business_account_id,
                "changes": [{ "field": "messages", "value": value }],
            }],
        })
        .to_string();
        let headers = [
            ("content-type", "application/json"),
            ("x-hub-signature-256", &self.sign(body.as_bytes())),
        ];
        let answer = http::send(
            "POST",
            &format!("{webhooks_url}/v1/webhooks/meta"),
            &headers,
            body.as_bytes(),
        )?;
        if answer.status != 200 {
            bail!("the webhook was answered {}: {}", answer.status, answer.body);
        }
        Ok(())
    }

    fn sign(&self, body: &[u8]) -> String {
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, self.app_secret.as_bytes()),
            body,
        );
        tag.as_ref()
            .iter()
            .fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }
}

/// What `up` wrote about the running stack.
pub fn stack(paths: &Paths) -> Result<Value> {
    read_json(&paths.stack_json()).context("no stack is running: start one with `cargo xtask up`")
}

/// A string of the stack's description.
pub fn text<'a>(stack: &'a Value, pointer: &str) -> Result<&'a str> {
    stack
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("stack.json has no {pointer}"))
}

/// Now, as a provider stamps its messages.
pub fn unix_seconds() -> i64 {
    let elapsed = std::time::SystemTime::UNIX_EPOCH.elapsed();
    elapsed.map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}
