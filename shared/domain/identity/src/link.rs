//! Links that are sent to a mailbox (S1.4): who follows one reads what is sent there. A link is good
//! once, for a time, and until a newer one of its kind takes its place.

use crate::login::FoundAccount;
use crate::opaque::Opaque;
use crate::{trail, user};
use audit::log;
use db::{Db, Tx};
use jiff::SignedDuration;
use kernel::{Error, Result, TenantId};
use notifications::notice::{self, Channel, Notice, To};
use serde_json::json;
use uuid::Uuid;

const PREFIX: &str = "m3l_";

// Holds the user: whoever is being erased gets no link.
const ISSUE: &str = "WITH made AS (
        INSERT INTO user_links (tenant_id, user_id, purpose, token_hash, email_norm, created_at, expires_at)
        SELECT u.tenant_id, u.id, $3, $4, u.email_norm, $5, $6 FROM users u JOIN tenants t ON t.id = u.tenant_id
        WHERE u.tenant_id = $1 AND u.id = $2 AND u.status = 'active' AND t.status = 'active'
          AND ($3 <> 'verify_email' OR u.email_verified_at IS NULL)
        FOR KEY SHARE OF u
        ON CONFLICT (tenant_id, user_id, purpose) DO UPDATE
        SET token_hash = excluded.token_hash, email_norm = excluded.email_norm, created_at = excluded.created_at,
            expires_at = excluded.expires_at, used_at = NULL
        RETURNING user_id)
    SELECT u.email, app.language_of(u.tenant_id, u.id) FROM made
    JOIN users u ON u.tenant_id = $1 AND u.id = made.user_id";
const OWNER: &str = "SELECT tenant_id, user_id FROM app.link_owner($1, $2)";
const VERIFY: &str = "WITH spent AS (
        UPDATE user_links SET used_at = $3
        WHERE tenant_id = $1 AND user_id = $4 AND purpose = 'verify_email' AND token_hash = $2
          AND used_at IS NULL AND expires_at > $3
        RETURNING user_id, email_norm)
    UPDATE users u SET email_verified_at = coalesce(u.email_verified_at, $3), updated_at = $3 FROM spent
    WHERE u.tenant_id = $1 AND u.id = spent.user_id AND u.email_norm = spent.email_norm AND u.status = 'active'
    RETURNING u.id";

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To prove that the address is the user's; good for 24 hours.
    VerifyEmail,
    /// To choose a new password; good for an hour.
    ResetPassword,
}

impl Purpose {
    fn code(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
        }
    }

    fn lifetime(self) -> SignedDuration {
        match self {
            Self::VerifyEmail => SignedDuration::from_hours(24),
            Self::ResetPassword => SignedDuration::from_hours(1),
        }
    }

    fn notice(self, app_url: &str, token: &LinkToken) -> Notice {
        let token = token.0.expose();
        match self {
            Self::VerifyEmail => Notice::VerifyEmail {
                url: format!("{app_url}/verify-email?token={token}"),
            },
            Self::ResetPassword => Notice::ResetPassword {
                url: format!("{app_url}/reset-password?token={token}"),
            },
        }
    }
}

/// The token of a link.
#[derive(Clone, Debug)]
pub struct LinkToken(Opaque);

impl LinkToken {
    /// A new one.
    ///
    /// # Errors
    /// Internal, when the system has no randomness.
    pub fn generate() -> Result<Self> {
        Opaque::generate(PREFIX).map(Self)
    }

    /// The token that came with a request.
    ///
    /// # Errors
    /// As [`refused`], for what can't be one.
    pub fn parse(text: &str) -> Result<Self> {
        Opaque::parse(PREFIX, text).map(Self).ok_or_else(refused)
    }

    pub(crate) fn hash(&self) -> Vec<u8> {
        self.0.hash()
    }
}

/// The answer to a token that opens nothing, whatever the reason.
#[must_use]
pub fn refused() -> Error {
    Error::field(
        "token",
        "invalid",
        "This link was used, replaced by a newer one, or is too old; ask for another.",
    )
}

/// Sends a user a link to `<app_url>/…?token=…`. False, and nothing is sent, when the user could not
/// use it: not active, or nothing left to verify.
///
/// # Errors
/// As [`Tx::query`].
pub async fn send(
    tx: &Tx,
    user_id: Uuid,
    purpose: Purpose,
    token: &LinkToken,
    app_url: &str,
) -> Result<bool> {
    let (now, code) = (tx.clock().now(), purpose.code());
    let expires_at = now + purpose.lifetime();
    let issued = tx
        .query_opt(
            ISSUE,
            &[&tx.tenant().0, &user_id, &code, &token.hash(), &now, &expires_at],
        )
        .await?;
    let Some(row) = issued else { return Ok(false) };
    let to = To {
        user_id: Some(user_id),
        channel: Channel::Email,
        address: row.get(0),
        locale: row.get(1),
    };
    notice::send(tx, &to, &purpose.notice(app_url, token)).await?;
    // Not the user's doing: anybody may ask for a link to be sent to an address.
    let about = json!({ "purpose": code });
    log::record(tx, "user.linkSent", "user", Some(user_id), &about).await?;
    Ok(true)
}

/// Finds whose link it is, before a tenant is known. It may be over all the same.
///
/// # Errors
/// 503 when the database is away.
pub async fn owner(db: &Db, purpose: Purpose, token: &LinkToken) -> Result<Option<FoundAccount>> {
    let rows = db.lookup(OWNER, &[&purpose.code(), &token.hash()]).await?;
    Ok(rows.first().map(|row| FoundAccount {
        tenant: TenantId(row.get(0)),
        user_id: row.get(1),
    }))
}

/// Spends a link of this user's for the address to be verified.
///
/// # Errors
/// As [`refused`], when it is over.
pub async fn verify_email(tx: &Tx, user_id: Uuid, token: &LinkToken) -> Result<()> {
    let now = tx.clock().now();
    user::take(tx, user_id).await?;
    let spent = tx
        .query_opt(VERIFY, &[&tx.tenant().0, &token.hash(), &now, &user_id])
        .await?;
    spent.ok_or_else(refused)?;
    trail::tell(tx, user_id, "user.verified", &trail::nothing()).await
}
