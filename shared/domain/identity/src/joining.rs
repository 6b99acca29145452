//! Following the link of `invite`: a password is chosen, the address is proved, a colleague has joined
//! (S1.4, S12.2).

use crate::invite::{InviteToken, refused};
use crate::user::{self, Account};
use crate::{Password, RefreshToken, Session, admins, credential, member, session, trail};
use db::{Row, Tx};
use kernel::{Error, Result, Validator};
use notifications::notice::Notice;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const OPEN: &str = "SELECT u.email, u.full_name, t.name FROM invites i
     JOIN users u ON u.tenant_id = i.tenant_id AND u.id = i.user_id JOIN tenants t ON t.id = i.tenant_id
     WHERE i.tenant_id = $1 AND i.token_hash = $2 AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > $3
       AND t.status = 'active' AND u.status = CASE i.purpose WHEN 'invite' THEN 'invited' ELSE 'active' END";
/// The user before the link, as everybody takes them who sends it again or closes the account: else
/// two of them could wait for each other.
const TAKE: &str =
    "SELECT i.inviter_id FROM invites i JOIN users u ON u.tenant_id = i.tenant_id AND u.id = i.user_id
     WHERE i.tenant_id = $1 AND i.token_hash = $2 FOR NO KEY UPDATE OF u";
/// Of several at once, one finds the link unused; the others wait for it and then do not.
const ACCEPT: &str = "WITH spent AS (
         UPDATE invites i SET accepted_at = $3
         WHERE i.tenant_id = $1 AND i.token_hash = $2 AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > $3
           AND EXISTS (SELECT FROM tenants t WHERE t.id = i.tenant_id AND t.status = 'active')
         RETURNING i.user_id, i.purpose
     )
     UPDATE users u SET status = 'active', password_hash = $4, full_name = coalesce($5, u.full_name),
            email_verified_at = coalesce(u.email_verified_at, $3), updated_at = $3
     FROM spent s JOIN users was ON was.tenant_id = $1 AND was.id = s.user_id
     WHERE u.tenant_id = $1 AND u.id = s.user_id
       AND u.status = CASE s.purpose WHEN 'invite' THEN 'invited' ELSE 'active' END
     RETURNING u.id, u.full_name, u.twofa_methods, s.purpose, was.email_verified_at IS NULL";
const AUDIT: &str = "SELECT app.audit_as($1, $2, 'user', $1, NULL)";

/// Whom a link that works is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitee {
    pub email: String,
    full_name: String,
    tenant_name: String,
}

/// What somebody brings to a link, checked, with the password hashed.
#[derive(Debug)]
pub struct Acceptance {
    full_name: Option<String>,
    password_hash: String,
}

/// Whom the link is for.
///
/// # Errors
/// [`refused`] when it does not work.
pub async fn open(tx: &Tx, token: &InviteToken) -> Result<Invitee> {
    let row = tx
        .query_opt(OPEN, &[&tx.tenant().0, &token.hash(), &tx.clock().now()])
        .await?;
    let row: Row = row.ok_or_else(refused)?;
    Ok(Invitee {
        email: row.get(0),
        full_name: row.get(1),
        tenant_name: row.get(2),
    })
}

impl Acceptance {
    /// Checks what somebody brings, and hashes the password: between [`open`] and [`accept`], so that
    /// no transaction waits for it and nobody without a link makes us hash.
    ///
    /// # Errors
    /// 422 with every field that is wrong; the name may be left out when it is known.
    pub fn parse(invitee: &Invitee, full_name: Option<&str>, password: &str) -> Result<Self> {
        let mut validator = Validator::default();
        let full_name = validator.optional_text("full_name", full_name, 120);
        if full_name.is_none() && invitee.full_name.is_empty() {
            validator.reject("full_name", "required", "This must not be empty.");
        }
        let known = [invitee.email.as_str(), invitee.tenant_name.as_str()];
        let password = Password::choose(&mut validator, "password", password, &known);
        validator.finish()?;
        Ok(Self {
            full_name,
            password_hash: password.hash()?,
        })
    }
}

/// What following a link came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    pub account: Account,
    /// The user's first session, when a refresh token was given and no second factor is due.
    pub session: Option<Session>,
}

/// Spends the link: the user is active, has the password, and their address is verified. Whatever a
/// former password opened ends. With `refresh_token` it also signs in, unless the user has a second
/// factor, which a link can't replace.
///
/// # Errors
/// [`refused`] when the link does not work (any more); 422 `LIMIT_REACHED` when there is no seat left.
pub async fn accept(
    tx: &Tx,
    token: &InviteToken,
    acceptance: &Acceptance,
    refresh_token: Option<&RefreshToken>,
) -> Result<Accepted> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let Acceptance {
        full_name,
        password_hash,
    } = acceptance;
    let hash = token.hash();
    let link = tx.query_opt(TAKE, &[&tenant, &hash]).await?.ok_or_else(refused)?;
    let admins = admins::find(tx, link.get(0)).await?;
    let row = tx
        .query_opt(ACCEPT, &[&tenant, &hash, &now, password_hash, full_name])
        .await?;
    let row = row.ok_or_else(refused)?;
    let (user_id, full_name): (Uuid, String) = (row.get(0), row.get(1));
    let has_second_factor = !row.get::<_, Vec<String>>(2).is_empty();
    let joined = row.get::<_, &str>(3) == "invite";
    if !joined {
        credential::end_all_but(tx, user_id, None).await?;
    }
    let action = if joined {
        "user.inviteAccepted"
    } else {
        "user.passwordChosen"
    };
    let audit_params: [&(dyn db::ToSql + Sync); 2] = [&user_id, &action];
    futures::try_join!(
        tx.execute(AUDIT, &audit_params),
        member::write_names(tx, user_id, &full_name),
    )?;
    if row.get(4) {
        trail::tell(tx, user_id, "user.verified", &trail::nothing()).await?;
    }
    if joined {
        let name = full_name.clone();
        let notice = Notice::InviteAccepted { user_id, name };
        admins.tell(tx, &notice).await?;
    }
    let session = match refresh_token {
        Some(token) if !has_second_factor => session::open(tx, user_id, token).await?,
        _ => None,
    };
    let account = user::find(tx, user_id).await?.ok_or_else(gone)?;
    Ok(Accepted { account, session })
}

fn gone() -> Error {
    Error::internal("a user who just followed a link is gone")
}
