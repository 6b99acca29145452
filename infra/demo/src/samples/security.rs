//! Requests about passwords, second factors and phones. What needs a secret that only a mailbox or an
//! authenticator app has shows the request and is refused.

use super::Expected;
use super::api::Line;
use crate::Demo;
use anyhow::Result;
use serde_json::{Value, json};

/// Nothing opens with a token that nobody was sent.
const UNKNOWN_LINK: Expected = Expected::Statuses(&[422], &[422]);
/// Refused, and after five tries for a time not looked at.
const WRONG: Expected = Expected::Statuses(&[401, 429], &[401, 429]);
/// No second factor is on.
const NOT_ON: Expected = Expected::Statuses(&[409, 429], &[409, 429]);
const NO_PHONE: Expected = Expected::Statuses(&[403], &[403]);
const OK: Expected = Expected::Statuses(&[200], &[200]);
/// A mailbox gets five messages an hour, a user three codes.
const SENT: Expected = Expected::Statuses(&[202, 429], &[202, 429]);

pub fn samples(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let mut lines = links(demo)?;
    lines.extend(factors(demo)?);
    lines.extend(phone());
    let security = || "/v1/admin/security".to_owned();
    lines.push(("admin", "security-get", "GET", security(), Value::Null, OK));
    let days = json!({ "grace_days": 14 });
    lines.push(("admin", "security-update", "PATCH", security(), days, OK));
    Ok(lines)
}

fn post(what: &'static str, path: &str, body: Value, expected: Expected) -> Line<'static> {
    ("auth", what, "POST", format!("/v1/auth/{path}"), body, expected)
}

fn links(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let mailbox = json!({ "email": demo.text("/user/email")?, "tenant": demo.text("/tenant/slug")? });
    let token = format!("m3l_{}", "A".repeat(43));
    let register = json!({
        "tenant_name": "Sample Towers",
        "full_name": "Sample Owner",
        "email": "owner@sample-towers.example",
        "password": demo.text("/user/password")?,
    });
    let made = Expected::Statuses(&[201], &[201]);
    let change =
        json!({ "current_password": "not-the-password-it-has", "new_password": "amber-kite-41-meadow" });
    let reset = json!({ "token": token, "password": "amber-kite-41-meadow" });
    Ok(vec![
        post("register-super-admin", "register-super-admin", register, made),
        post(
            "verify-email",
            "verify-email",
            json!({ "token": token }),
            UNKNOWN_LINK,
        ),
        post(
            "resend-verification",
            "resend-verification",
            mailbox.clone(),
            SENT,
        ),
        post("forgot-password", "forgot-password", mailbox, SENT),
        post("reset-password", "reset-password", reset, UNKNOWN_LINK),
        post("change-password", "change-password", change, WRONG),
    ])
}

fn factors(demo: &Demo) -> Result<Vec<Line<'static>>> {
    let challenge = format!("m3c_{}", "A".repeat(43));
    let second =
        json!({ "challenge_token": challenge, "method": "totp", "code": "123456", "delivery": "body" });
    let code = || json!({ "code": "123456" });
    let password = json!({ "password": demo.text("/user/password")? });
    Ok(vec![
        post(
            "login-2fa",
            "login/2fa",
            second,
            Expected::Statuses(&[401], &[401]),
        ),
        post("totp-setup", "totp/setup", json!({}), OK),
        post("totp-confirm", "totp/confirm", code(), WRONG),
        post("totp-disable", "totp/disable", password.clone(), NOT_ON),
        post("2fa-totp-issue", "2fa/totp/issue", json!({}), OK),
        post("2fa-totp-verify", "2fa/totp/verify", code(), WRONG),
        post("2fa-backup-codes", "2fa/backup-codes", password.clone(), NOT_ON),
        post("twofa-sms-enable", "twofa/sms/enable", json!({}), NO_PHONE),
        post("twofa-sms-disable", "twofa/sms/disable", password.clone(), NOT_ON),
        post(
            "twofa-whatsapp-enable",
            "twofa/whatsapp/enable",
            json!({}),
            NO_PHONE,
        ),
        post(
            "twofa-whatsapp-disable",
            "twofa/whatsapp/disable",
            password,
            NOT_ON,
        ),
    ])
}

fn phone() -> Vec<Line<'static>> {
    let start = json!({ "e164": "+96550000009", "channel": "whatsapp" });
    let confirm = json!({ "e164": "+96550000009", "code": "123456" });
    let again = Expected::Statuses(&[202, 409, 429], &[202, 409, 429]);
    let dropped = Expected::Statuses(&[204, 404], &[404]);
    let cancel = "/v1/auth/phone/verify/cancel".to_owned();
    vec![
        post("phone-verify-start", "phone/verify/start", start, SENT),
        post("phone-verify-resend", "phone/verify/resend", json!({}), again),
        post(
            "phone-verify-confirm",
            "phone/verify/confirm",
            confirm,
            UNKNOWN_LINK,
        ),
        (
            "auth",
            "phone-verify-cancel",
            "DELETE",
            cancel,
            Value::Null,
            dropped,
        ),
    ]
}
