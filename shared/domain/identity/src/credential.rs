//! New passwords: reset by a link (S1.4), or changed by who knows the old one. Either way everything
//! that the old one opened ends.

use crate::link::{self, LinkToken};
use crate::{Password, oauth, trail, user};
use db::Tx;
use kernel::{Code, Error, Result, Validator};
use notifications::notice::Notice;
use uuid::Uuid;

const HOLDER: &str = "SELECT u.email, u.email_norm, t.name, u.password_hash
    FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.tenant_id = $1 AND u.id = $2";
const RESET: &str = "WITH spent AS (
        UPDATE user_links SET used_at = $3
        WHERE tenant_id = $1 AND purpose = 'reset_password' AND token_hash = $2 AND used_at IS NULL AND expires_at > $3
        RETURNING user_id, email_norm)
    UPDATE users u SET password_hash = $4, email_verified_at = coalesce(u.email_verified_at, $3), updated_at = $3
    FROM spent JOIN users was ON was.tenant_id = $1 AND was.id = spent.user_id
    WHERE u.tenant_id = $1 AND u.id = spent.user_id AND u.email_norm = spent.email_norm AND u.status = 'active'
    RETURNING u.id, was.email_verified_at IS NULL";
const CHANGE: &str = "UPDATE users SET password_hash = $4, updated_at = $5
    WHERE tenant_id = $1 AND id = $2 AND password_hash = $3 RETURNING id";
const END_SESSIONS: &str = "UPDATE sessions SET revoked_at = $3, revoked_reason = 'revoked'
    WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL AND id IS DISTINCT FROM $4";
const END_CHALLENGES: &str = "DELETE FROM login_challenges WHERE tenant_id = $1 AND user_id = $2";
const END_LINKS: &str = "DELETE FROM user_links WHERE tenant_id = $1 AND user_id = $2 AND purpose = 'reset_password' AND used_at IS NULL";
const END_INVITES: &str = "UPDATE invites SET revoked_at = $3
    WHERE tenant_id = $1 AND user_id = $2 AND purpose = 'password' AND accepted_at IS NULL AND revoked_at IS NULL";

/// Who gets a new password, and what it must not be made of.
#[derive(Debug)]
pub struct Holder {
    user_id: Uuid,
    email: String,
    email_norm: String,
    tenant_name: String,
    password_hash: Option<String>,
}

/// A user of the entered tenant.
///
/// # Errors
/// As [`Tx::query`].
pub async fn holder(tx: &Tx, user_id: Uuid) -> Result<Option<Holder>> {
    let row = tx.query_opt(HOLDER, &[&tx.tenant().0, &user_id]).await?;
    Ok(row.map(|row| Holder {
        user_id,
        email: row.get(0),
        email_norm: row.get(1),
        tenant_name: row.get(2),
        password_hash: row.get(3),
    }))
}

impl Holder {
    /// The new password, if it may be one.
    ///
    /// # Errors
    /// 422 for `path`.
    pub fn choose(&self, path: &str, input: &str) -> Result<Password> {
        let mut validator = Validator::default();
        let known = [self.email.as_str(), &self.tenant_name];
        let password = Password::choose(&mut validator, path, input, &known);
        validator.finish().map(|()| password)
    }

    /// Whether this is the holder's password.
    ///
    /// # Errors
    /// 401 `AUTH_INVALID_CREDENTIALS` when it is not.
    pub fn knows(&self, password: &Password) -> Result<()> {
        if password.verify(self.password_hash.as_deref())? {
            Ok(())
        } else {
            Err(wrong_password())
        }
    }

    /// The address as it is compared, for the counter of wrong passwords.
    #[must_use]
    pub fn email_norm(&self) -> &str {
        &self.email_norm
    }
}

/// Spends a link for a new password. Ends every session and login under way; the address is proved
/// by the way. `hash` is computed before, to hold no transaction open meanwhile.
///
/// # Errors
/// As [`link::refused`], when the link is over.
pub async fn reset(tx: &Tx, holder: &Holder, token: &LinkToken, hash: &str) -> Result<()> {
    let now = tx.clock().now();
    user::take(tx, holder.user_id).await?;
    let spent = tx
        .query_opt(RESET, &[&tx.tenant().0, &token.hash(), &now, &hash])
        .await?;
    let spent = spent.filter(|row| row.get::<_, Uuid>(0) == holder.user_id);
    let newly_verified: bool = spent.ok_or_else(link::refused)?.get(1);
    end_all_but(tx, holder.user_id, None).await?;
    if newly_verified {
        trail::tell(tx, holder.user_id, "user.verified", &trail::nothing()).await?;
    }
    trail::note(tx, holder.user_id, "auth.password_reset", &trail::nothing()).await
}

/// Replaces the password of the caller, who has proved to [know it](Holder::knows). Ends the caller's
/// other sessions. `hash` is of one that the holder may [choose](Holder::choose).
///
/// # Errors
/// 401 `AUTH_INVALID_CREDENTIALS` when it was changed meanwhile.
pub async fn change(tx: &Tx, holder: &Holder, hash: &str) -> Result<()> {
    let old = holder.password_hash.as_deref();
    let now = tx.clock().now();
    let changed = tx
        .query_opt(CHANGE, &[&tx.tenant().0, &holder.user_id, &old, &hash, &now])
        .await?;
    changed.ok_or_else(wrong_password)?;
    end_all_but(tx, holder.user_id, tx.caller().session_id()).await?;
    trail::note(tx, holder.user_id, "auth.password_changed", &trail::nothing()).await
}

/// The present password was needed, and this is not it.
#[must_use]
pub fn wrong_password() -> Error {
    Error::new(Code::AuthInvalidCredentials, "This is not your present password.")
}

/// Ends what the former password opened, or could still replace the new one: sessions except `kept`,
/// logins under way, links to choose a password, whoever asked for them, and identities of providers, which
/// open the account without any: whoever had the mailbox for a day could have linked one of their own.
/// Tells the user.
///
/// The transaction holds the user's row.
///
/// # Errors
/// As [`Tx::query`].
pub(crate) async fn end_all_but(tx: &Tx, user_id: Uuid, kept: Option<Uuid>) -> Result<()> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let sessions: db::Params<'_> = &[&tenant, &user_id, &now, &kept];
    let invites: db::Params<'_> = &[&tenant, &user_id, &now];
    let of_user: db::Params<'_> = &[&tenant, &user_id];
    // On the heap: so many statements at once make a large future.
    let all = async {
        futures::try_join!(
            tx.execute(END_SESSIONS, sessions),
            tx.execute(END_CHALLENGES, of_user),
            tx.execute(END_LINKS, of_user),
            tx.execute(END_INVITES, invites),
            oauth::unlink_all(tx, user_id),
        )
    };
    Box::pin(all).await?;
    trail::warn(tx, user_id, &Notice::PasswordChanged).await
}
