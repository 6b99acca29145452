//! Signing in, whichever way somebody proved who they are: a password, or another system's word. One
//! place decides whether a second factor is due; until it was given there is no session and no token
//! but the challenge's, which opens nothing else.

use crate::login::FoundAccount;
use crate::method::PhoneChannel;
use crate::oauth::{self, Subject};
use crate::opaque::Opaque;
use crate::otp::Otp;
use crate::proof::wrong_code;
use crate::user::Account;
use crate::{RefreshToken, Session, backup_code, session, totp, trail};
use db::{Db, Tx};
use jiff::SignedDuration;
use kernel::{Code, Error, Result, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// How long the second step may take, and a code that is sent for it lasts no longer.
pub const CHALLENGE_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// Wrong codes that a challenge bears.
pub const MAX_ATTEMPTS: i16 = 5;
const PREFIX: &str = "m3c_";

// Takes the user's row, as everything does that ends what a password opened: of a login and a new
// password at the same time, the later sees the other.
const TAKE_USER: &str = "SELECT twofa_methods FROM users
    WHERE tenant_id = $1 AND id = $2 AND status = 'active' AND ($3::text IS NULL OR password_hash = $3)
    FOR NO KEY UPDATE";
const CHALLENGE: &str =
    "INSERT INTO login_challenges (tenant_id, id, user_id, token_hash, created_at, expires_at, identity_provider, subject_hash)
    SELECT $1, $3, $2, $4, $5, $6, $7, $8 FROM tenants t WHERE t.id = $1 AND t.status = 'active' RETURNING id";
const OWNER: &str = "SELECT tenant_id, user_id FROM app.challenge_owner($1)";
// The attempt is counted by the statement that finds the challenge, before the code is looked at.
const ATTEMPT: &str = "UPDATE login_challenges SET attempts = attempts + 1
    WHERE tenant_id = $1 AND token_hash = $2 AND user_id = $3 AND used_at IS NULL AND expires_at > $4 AND attempts < $5
    RETURNING id, attempts, channel, code_hash, identity_provider, subject_hash";
const USE: &str = "UPDATE login_challenges SET used_at = $3 WHERE tenant_id = $1 AND id = $2";

/// A token that is good for the second step of one login.
#[derive(Clone, Debug)]
pub struct ChallengeToken(Opaque);

impl ChallengeToken {
    /// A new one.
    ///
    /// # Errors
    /// Internal, when the system has no randomness.
    pub fn generate() -> Result<Self> {
        Opaque::generate(PREFIX).map(Self)
    }

    /// # Errors
    /// As [`over`], for what can't be one.
    pub fn parse(text: &str) -> Result<Self> {
        Opaque::parse(PREFIX, text).map(Self).ok_or_else(over)
    }

    /// For the answer to the client, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is stored.
    pub(crate) fn hash(&self) -> Vec<u8> {
        self.0.hash()
    }
}

/// What the first step came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Begun {
    /// It was enough.
    SignedIn(Box<Account>, Session),
    /// One of these is due.
    SecondFactor { methods: Vec<String> },
}

/// What the second step came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Finished {
    SignedIn(Box<Account>, Session),
    /// The code is wrong, and so many more may be tried.
    Wrong {
        attempts_left: i16,
    },
    /// The challenge is unknown, used, expired, or had too many wrong codes.
    Over,
}

/// What is given in the second step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// A code of the authenticator app.
    Totp,
    /// A code that was sent by SMS.
    Sms,
    /// A code that was sent by WhatsApp.
    Whatsapp,
    /// One of the backup codes.
    BackupCode,
}

impl Factor {
    /// How its code is sent; `None` for those that the user has.
    #[must_use]
    pub fn channel(self) -> Option<PhoneChannel> {
        match self {
            Self::Sms => Some(PhoneChannel::Sms),
            Self::Whatsapp => Some(PhoneChannel::Whatsapp),
            Self::Totp | Self::BackupCode => None,
        }
    }
}

/// What proved, so far, who somebody is.
#[derive(Clone, Copy)]
pub enum FirstFactor<'a> {
    /// A password, which was right for this hash.
    Password(&'a str),
    /// An identity provider's word, for an identity that is linked to the account.
    Linked(&'a Subject),
    /// The same, for an identity that is to be linked once the session opens.
    Unlinked(&'a Subject),
}

/// Signs a user in whose first factor was right, or opens a challenge where a second one is on. `None`
/// when the password or the identity is not the user's any more, or the user or the company is not active.
///
/// # Errors
/// As [`oauth::no_account`], for an identity that can't be linked; as [`Tx::query`].
pub async fn begin(
    tx: &Tx,
    user_id: Uuid,
    proved: FirstFactor<'_>,
    token: &RefreshToken,
    challenge: &ChallengeToken,
) -> Result<Option<Begun>> {
    let tenant = tx.tenant().0;
    let (hash, to_link) = match proved {
        FirstFactor::Password(hash) => (Some(hash), None),
        FirstFactor::Linked(_) => (None, None),
        FirstFactor::Unlinked(subject) => (None, Some(subject)),
    };
    let Some(row) = tx.query_opt(TAKE_USER, &[&tenant, &user_id, &hash]).await? else {
        return Ok(None);
    };
    // A new password may have ended it since it was looked up; now the row is held.
    if let FirstFactor::Linked(subject) = proved
        && !oauth::is_linked(tx, user_id, subject).await?
    {
        return Ok(None);
    }
    let mut methods: Vec<String> = row.get(0);
    if methods.is_empty() {
        let signed_in = open(tx, user_id, token, to_link).await?;
        return Ok(signed_in.map(|(account, session)| Begun::SignedIn(Box::new(account), session)));
    }
    let (id, now) = (tx.clock().id(), tx.clock().now());
    let expires_at = now + CHALLENGE_LIFETIME;
    let opened = tx
        .query_opt(
            CHALLENGE,
            &[
                &tenant,
                &user_id,
                &id,
                &challenge.hash(),
                &now,
                &expires_at,
                &to_link.map(|subject| &subject.provider),
                &to_link.map(|subject| &subject.hash),
            ],
        )
        .await?;
    if opened.is_none() {
        return Ok(None);
    }
    if backup_code::any_left(tx, user_id).await? {
        methods.push("backup_code".to_owned());
    }
    trail::note(tx, user_id, "auth.2fa_requested", &json!({ "methods": methods })).await?;
    Ok(Some(Begun::SecondFactor { methods }))
}

/// Opens the session, and links the identity that it is opened with.
async fn open(
    tx: &Tx,
    user_id: Uuid,
    token: &RefreshToken,
    to_link: Option<&Subject>,
) -> Result<Option<(Account, Session)>> {
    let signed_in = session::sign_in(tx, user_id, token).await?;
    if let (Some(subject), Some(_)) = (to_link, &signed_in) {
        oauth::link(tx, user_id, subject).await?;
    }
    Ok(signed_in)
}

/// Finds whose login waits, before a tenant is known. It may be over all the same.
///
/// # Errors
/// 503 when the database is away.
pub async fn owner(db: &Db, challenge: &ChallengeToken) -> Result<Option<FoundAccount>> {
    let rows = db.lookup(OWNER, &[&challenge.hash()]).await?;
    Ok(rows.first().map(|row| FoundAccount {
        tenant: TenantId(row.get(0)),
        user_id: row.get(1),
    }))
}

/// Completes a login with a second factor. Commit it whatever the outcome: a wrong code must count.
///
/// # Errors
/// As [`oauth::no_account`], for a login that began with an identity that can't be linked; as
/// [`Tx::query`].
pub async fn finish(
    tx: &Tx,
    user_id: Uuid,
    challenge: &ChallengeToken,
    (factor, code): (Factor, &str),
    token: &RefreshToken,
) -> Result<Finished> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    if tx
        .query_opt(TAKE_USER, &[&tenant, &user_id, &None::<&str>])
        .await?
        .is_none()
    {
        return over_for(tx, user_id).await;
    }
    let attempt = tx
        .query_opt(
            ATTEMPT,
            &[&tenant, &challenge.hash(), &user_id, &now, &MAX_ATTEMPTS],
        )
        .await?;
    let Some(attempt) = attempt else {
        return over_for(tx, user_id).await;
    };
    let id: Uuid = attempt.get("id");
    let right = match factor {
        Factor::Totp => totp::accept(tx, user_id, code).await?,
        Factor::BackupCode => backup_code::spend(tx, user_id, code).await?,
        Factor::Sms | Factor::Whatsapp => {
            let sent: Option<&str> = attempt.get("channel");
            let stored: Option<&[u8]> = attempt.get("code_hash");
            sent == factor.channel().map(PhoneChannel::code)
                && Otp::parse(code)
                    .zip(stored)
                    .is_some_and(|(otp, stored)| otp.is(tx, id, stored))
        }
    };
    if !right {
        trail::note(tx, user_id, "auth.2fa_failed", &trail::nothing()).await?;
        let attempts: i16 = attempt.get("attempts");
        return Ok(Finished::Wrong {
            attempts_left: MAX_ATTEMPTS - attempts,
        });
    }
    tx.execute(USE, &[&tenant, &id, &now]).await?;
    let identity: (Option<String>, Option<Vec<u8>>) =
        (attempt.get("identity_provider"), attempt.get("subject_hash"));
    let to_link = identity
        .0
        .zip(identity.1)
        .map(|(provider, hash)| Subject { provider, hash });
    let signed_in = open(tx, user_id, token, to_link.as_ref()).await?;
    Ok(signed_in.map_or(Finished::Over, |(account, session)| {
        Finished::SignedIn(Box::new(account), session)
    }))
}

/// Somebody tried a code too late, once too often, or of a user who may not log in: a line of the log.
async fn over_for(tx: &Tx, user_id: Uuid) -> Result<Finished> {
    let data = json!({ "reason": "over" });
    trail::note(tx, user_id, "auth.2fa_failed", &data).await?;
    Ok(Finished::Over)
}

/// The answer to a challenge that is over, or never was.
#[must_use]
pub fn over() -> Error {
    Error::new(Code::Unauthenticated, "This login is over; log in again.")
}

/// The answer to a wrong code.
#[must_use]
pub fn wrong(attempts_left: i16) -> Error {
    wrong_code().with_details(json!({ "attempts_left": attempts_left }))
}
