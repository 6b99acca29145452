//! Proof that the person at a signed-in device is its user, before a second factor is turned off or
//! its backup codes are shown: a session alone may be stolen.

use crate::{Password, backup_code, credential, totp, trail, user};
use db::Tx;
use kernel::{Code, Error, Result};
use serde_json::json;
use uuid::Uuid;

/// What somebody offers.
#[derive(Debug)]
pub enum Proof {
    Password(Password),
    /// Of the authenticator app, or a backup code.
    Code(String),
}

impl Proof {
    /// # Errors
    /// 422 unless exactly one of them is there.
    pub fn parse(password: Option<&str>, code: Option<&str>) -> Result<Self> {
        match (password, code) {
            (Some(password), None) if (1..=2048).contains(&password.len()) => {
                Ok(Self::Password(Password::claim(password)))
            }
            (None, Some(code)) if (1..=64).contains(&code.trim().len()) => {
                Ok(Self::Code(code.trim().to_owned()))
            }
            _ => Err(Error::field(
                "code",
                "required",
                "Send either `code` (of the authenticator app, or a backup code) or `password`.",
            )),
        }
    }

    /// # Errors
    /// 401 `AUTH_INVALID_CREDENTIALS` or `AUTH_2FA_INVALID_CODE` when it does not hold.
    pub async fn check(&self, tx: &Tx, user_id: Uuid) -> Result<()> {
        user::take(tx, user_id).await?;
        match self {
            Self::Password(password) => {
                let hash = user::password_hash(tx, user_id).await?;
                if !password.verify(hash.as_deref())? {
                    return Err(credential::wrong_password());
                }
            }
            Self::Code(code) => {
                if !totp::accept(tx, user_id, code).await? && !backup_code::spend(tx, user_id, code).await? {
                    return Err(wrong_code());
                }
            }
        }
        Ok(())
    }
}

/// Writes to the user's audit log that somebody signed in as them offered what was no proof. For a
/// transaction of its own: the one that looked at it is rolled back.
///
/// # Errors
/// As [`Tx::query`].
pub async fn audit_failure(tx: &Tx, user_id: Uuid, method: &str) -> Result<()> {
    trail::note(tx, user_id, "auth.proof_failed", &json!({ "method": method })).await
}

/// The answer to a code that is wrong, was used before, or is not of this time.
#[must_use]
pub fn wrong_code() -> Error {
    Error::new(Code::AuthTwoFactorInvalidCode, "This code is not right.")
}
