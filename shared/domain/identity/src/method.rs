//! Second factors that a user has on. `users.twofa_methods` says which: it is what a login and a
//! company's demand for a second factor go by.

use crate::{backup_code, trail};
use audit::{event, log};
use db::Tx;
use futures::future::try_join_all;
use kernel::{Code, Error, Result};
use notifications::notice::{Channel, Notice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

// Takes the user's row, so that of two changes at once the later sees the earlier.
const TAKE_USER: &str = "SELECT twofa_methods, phone_verified_at IS NOT NULL FROM users
    WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE";
const SET: &str = "UPDATE users SET twofa_methods = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2";
const FORGET_APP: &str = "DELETE FROM totp_secrets WHERE tenant_id = $1 AND user_id = $2";
const END_CHALLENGES: &str = "DELETE FROM login_challenges WHERE tenant_id = $1 AND user_id = $2";

/// A second factor that can be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// An authenticator app.
    Totp,
    /// A code to the verified phone, by SMS.
    Sms,
    /// A code to the verified phone, by WhatsApp.
    Whatsapp,
}

impl Method {
    /// As in `users.twofa_methods`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
        }
    }
}

/// How a code reaches a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhoneChannel {
    Sms,
    Whatsapp,
}

impl PhoneChannel {
    #[must_use]
    pub fn code(self) -> &'static str {
        self.method().code()
    }

    /// The second factor that sends by it.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::Sms => Method::Sms,
            Self::Whatsapp => Method::Whatsapp,
        }
    }

    pub(crate) fn of(code: &str) -> Result<Self> {
        match code {
            "sms" => Ok(Self::Sms),
            "whatsapp" => Ok(Self::Whatsapp),
            other => Err(Error::internal(format!("unknown channel {other}"))),
        }
    }

    pub(crate) fn notice(self) -> Channel {
        match self {
            Self::Sms => Channel::Sms,
            Self::Whatsapp => Channel::Whatsapp,
        }
    }
}

/// What turning a factor on came to.
#[derive(Clone, Debug)]
pub struct TurnedOn {
    /// The factors that are on now.
    pub methods: Vec<String>,
    /// Ten, with the user's first factor. With another one already on there are none: whoever has but a
    /// stolen session would get codes that stand in for that one.
    pub backup_codes: Option<Vec<String>>,
}

/// Turns a factor on that the user has proved to have.
pub(crate) async fn add(tx: &Tx, user_id: Uuid, method: Method) -> Result<TurnedOn> {
    let (methods, _) = take(tx, user_id).await?;
    turn_on(tx, user_id, methods, method).await
}

/// Turns codes to the verified phone on.
///
/// # Errors
/// 403 `AUTH_PHONE_UNVERIFIED` without a verified phone.
pub async fn enable(tx: &Tx, user_id: Uuid, channel: PhoneChannel) -> Result<TurnedOn> {
    let (methods, has_phone) = take(tx, user_id).await?;
    if !has_phone {
        return Err(Error::new(
            Code::AuthPhoneUnverified,
            "Verify your phone first, at /v1/auth/phone/verify/start.",
        ));
    }
    turn_on(tx, user_id, methods, channel.method()).await
}

/// Checks that there is something to turn off, before the proof for it is looked at: one that is looked at
/// and then serves for nothing would be good again. Holds the user's row.
///
/// # Errors
/// 409 when the factor is not on.
pub async fn must_be_on(tx: &Tx, user_id: Uuid, method: Method) -> Result<()> {
    let (methods, _) = take(tx, user_id).await?;
    let is_on = methods.iter().any(|on| on == method.code());
    is_on.then_some(()).ok_or_else(not_on)
}

/// Turns a factor off; without another one the backup codes go too, as there is nothing they stand for.
///
/// # Errors
/// 409 when it is not on.
pub async fn remove(tx: &Tx, user_id: Uuid, method: Method) -> Result<()> {
    let code = method.code();
    let (mut methods, _) = take(tx, user_id).await?;
    let before = methods.len();
    methods.retain(|on| on != code);
    if methods.len() == before {
        return Err(not_on());
    }
    set(tx, user_id, &methods).await?;
    if method == Method::Totp {
        tx.execute(FORGET_APP, &[&tx.tenant().0, &user_id]).await?;
    }
    if methods.is_empty() {
        backup_code::forget(tx, user_id).await?;
    }
    trail::warn(tx, user_id, &Notice::SecondFactorOff { method: code }).await?;
    trail::tell(tx, user_id, "twofa.disabled", &json!({ "method": code })).await
}

/// Removes every second factor of a user who has none of them any more, for an administrator, who is the
/// caller: the app and its secret (also one that was not confirmed), codes to the phone, backup codes,
/// and the logins that wait for one. The phone stays verified. The user is told when there was a factor.
///
/// # Errors
/// 404 when the company has no such user; as [`Tx::query`].
pub async fn reset_all(tx: &Tx, user_id: Uuid) -> Result<()> {
    let tenant = tx.tenant().0;
    let (methods, _) = take(tx, user_id).await?;
    tx.execute(FORGET_APP, &[&tenant, &user_id]).await?;
    backup_code::forget(tx, user_id).await?;
    tx.execute(END_CHALLENGES, &[&tenant, &user_id]).await?;
    if !methods.is_empty() {
        set(tx, user_id, &[]).await?;
        trail::warn(tx, user_id, &Notice::SecondFactorsReset).await?;
    }
    let told: Vec<Value> = methods.iter().map(|method| json!({ "method": method })).collect();
    try_join_all(
        told.iter()
            .map(|about| event::publish(tx, "twofa.disabled", user_id, about)),
    )
    .await?;
    let about = json!({ "methods": methods });
    log::record(tx, "twofa.reset", "user", Some(user_id), &about).await
}

pub(crate) fn not_on() -> Error {
    Error::new(Code::Conflict, "This second factor is not on.")
}

/// The factors that are on, and whether the user has a verified phone. Holds the user's row.
async fn take(tx: &Tx, user_id: Uuid) -> Result<(Vec<String>, bool)> {
    let row = tx.query_opt(TAKE_USER, &[&tx.tenant().0, &user_id]).await?;
    let row = row.ok_or_else(Error::not_found)?;
    Ok((row.get(0), row.get(1)))
}

async fn set(tx: &Tx, user_id: Uuid, methods: &[String]) -> Result<()> {
    tx.execute(SET, &[&tx.tenant().0, &user_id, &methods, &tx.clock().now()])
        .await
        .map(drop)
}

async fn turn_on(tx: &Tx, user_id: Uuid, before: Vec<String>, method: Method) -> Result<TurnedOn> {
    let code = method.code();
    if before.iter().any(|on| on == code) {
        return Ok(TurnedOn {
            methods: before,
            backup_codes: None,
        });
    }
    let is_first = before.is_empty();
    let mut methods = before;
    methods.push(code.to_owned());
    methods.sort();
    set(tx, user_id, &methods).await?;
    trail::warn(tx, user_id, &Notice::SecondFactorOn { method: code }).await?;
    let backup_codes = if is_first {
        Some(backup_code::issue(tx, user_id).await?)
    } else {
        None
    };
    trail::tell(tx, user_id, "twofa.enabled", &json!({ "method": code })).await?;
    Ok(TurnedOn {
        methods,
        backup_codes,
    })
}
