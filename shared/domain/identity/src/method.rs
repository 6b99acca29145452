//! Second factors that a user has on. `users.twofa_methods` says which: it is what a login and a
//! company's demand for a second factor go by.

use crate::trail;
use db::Tx;
use kernel::{Code, Error, Result};
use notifications::notice::Channel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

const ADD: &str = "UPDATE users SET updated_at = $4,
        twofa_methods = ARRAY(SELECT DISTINCT m FROM unnest(twofa_methods || ARRAY[$3::text]) AS m ORDER BY m)
    WHERE tenant_id = $1 AND id = $2 RETURNING twofa_methods";
const ADD_WITH_PHONE: &str = "UPDATE users SET updated_at = $4,
        twofa_methods = ARRAY(SELECT DISTINCT m FROM unnest(twofa_methods || ARRAY[$3::text]) AS m ORDER BY m)
    WHERE tenant_id = $1 AND id = $2 AND phone_verified_at IS NOT NULL RETURNING twofa_methods";
const REMOVE: &str = "UPDATE users SET twofa_methods = array_remove(twofa_methods, $3::text), updated_at = $4
    WHERE tenant_id = $1 AND id = $2 AND twofa_methods @> ARRAY[$3::text] RETURNING twofa_methods";
const FORGET_BACKUP_CODES: &str = "DELETE FROM backup_codes WHERE tenant_id = $1 AND user_id = $2";

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

/// Turns a factor on; returns those that are on now.
pub(crate) async fn add(tx: &Tx, user_id: Uuid, method: Method) -> Result<Vec<String>> {
    let code = method.code();
    let row = tx
        .query_one(ADD, &[&tx.tenant().0, &user_id, &code, &tx.clock().now()])
        .await?;
    trail::tell(tx, user_id, "twofa.enabled", &json!({ "method": code })).await?;
    Ok(row.get(0))
}

/// Turns codes to the verified phone on; returns the factors that are on now.
///
/// # Errors
/// 403 `AUTH_PHONE_UNVERIFIED` without a verified phone.
pub async fn enable(tx: &Tx, user_id: Uuid, channel: PhoneChannel) -> Result<Vec<String>> {
    let code = channel.code();
    let row = tx
        .query_opt(
            ADD_WITH_PHONE,
            &[&tx.tenant().0, &user_id, &code, &tx.clock().now()],
        )
        .await?;
    let no_phone = || {
        Error::new(
            Code::AuthPhoneUnverified,
            "Verify your phone first, at /v1/auth/phone/verify/start.",
        )
    };
    let methods = row.ok_or_else(no_phone)?.get(0);
    trail::tell(tx, user_id, "twofa.enabled", &json!({ "method": code })).await?;
    Ok(methods)
}

/// Turns a factor off; without another one the backup codes go too, as there is nothing they stand for.
///
/// # Errors
/// 409 when it is not on.
pub async fn remove(tx: &Tx, user_id: Uuid, method: Method) -> Result<()> {
    let (tenant, code) = (tx.tenant().0, method.code());
    let row = tx
        .query_opt(REMOVE, &[&tenant, &user_id, &code, &tx.clock().now()])
        .await?;
    let left: Vec<String> = row.ok_or_else(not_on)?.get(0);
    if left.is_empty() {
        tx.execute(FORGET_BACKUP_CODES, &[&tenant, &user_id]).await?;
    }
    trail::tell(tx, user_id, "twofa.disabled", &json!({ "method": code })).await
}

fn not_on() -> Error {
    Error::new(Code::Conflict, "This second factor is not on.")
}
