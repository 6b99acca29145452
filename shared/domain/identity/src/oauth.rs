//! Signing in with an account at an identity provider: whose it is here (AppA.5).

use crate::login::FoundAccount;
use crate::trail;
use db::{Db, Tx};
use kernel::{Code, Email, Error, Result, TenantId};
use notifications::notice::Notice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const CANDIDATES: &str =
    "SELECT tenant_id, tenant_slug, user_id, linked, active FROM app.oauth_candidates($1, $2, $3, $4)";
const LINK: &str = "INSERT INTO user_identities (tenant_id, id, user_id, provider, subject_hash, created_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
const IS_LINKED: &str = "SELECT EXISTS (SELECT FROM user_identities i
    WHERE i.tenant_id = $1 AND i.user_id = $2 AND i.provider = $3 AND i.subject_hash = $4)";
const UNLINK_ALL: &str = "DELETE FROM user_identities WHERE tenant_id = $1 AND user_id = $2";

/// An identity provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdentityProvider {
    Google,
    Apple,
    Linkedin,
}

impl IdentityProvider {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Apple => "apple",
            Self::Linkedin => "linkedin",
        }
    }
}

/// Somebody whom a provider vouches for, with an address that it has made sure of.
#[derive(Debug)]
pub struct Vouched<'a> {
    pub provider: IdentityProvider,
    /// The provider's name for the person.
    pub subject: &'a str,
    pub email: &'a Email,
}

/// An account that this opens, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub account: FoundAccount,
    /// Of its company.
    pub slug: String,
    /// Whether it was opened this way before.
    pub linked: bool,
    /// Whether user and company may sign in at all.
    pub active: bool,
}

/// The accounts that somebody's identity opens, in one company when it is named by slug or id; at most
/// 20, those first that are active. Accounts whose own address was never verified are not among them.
///
/// # Errors
/// 503 when the database is away.
pub async fn find(db: &Db, vouched: &Vouched<'_>, tenant: Option<&str>) -> Result<Vec<Candidate>> {
    let subject = subject_hash(db.sealer(), vouched);
    let rows = db
        .lookup(
            CANDIDATES,
            &[
                &vouched.provider.as_str(),
                &subject,
                &vouched.email.normalised,
                &tenant,
            ],
        )
        .await?;
    let candidates = rows.iter().map(|row| Candidate {
        account: FoundAccount {
            tenant: TenantId(row.get(0)),
            user_id: row.get(2),
        },
        slug: row.get(1),
        linked: row.get(3),
        active: row.get(4),
    });
    Ok(candidates.collect())
}

/// An identity as it is kept: whose it is can be compared, and not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub(crate) provider: String,
    pub(crate) hash: Vec<u8>,
}

impl Subject {
    /// How this identity is kept.
    #[must_use]
    pub fn of(sealer: &kernel::Sealer, vouched: &Vouched<'_>) -> Self {
        Self {
            provider: vouched.provider.as_str().to_owned(),
            hash: subject_hash(sealer, vouched),
        }
    }
}

/// Makes the identity one of this user's, in the transaction that opens a session with it: an address
/// alone, of somebody who can't give the second factor, links nothing. The user is told: from now on it
/// opens the account whatever becomes of the address. The transaction holds the user's row.
///
/// # Errors
/// As [`no_account`] when the user has another identity of this provider, or another user has this one.
pub(crate) async fn link(tx: &Tx, user_id: Uuid, subject: &Subject) -> Result<()> {
    let Subject { provider, hash } = subject;
    let tenant = tx.tenant().0;
    let (id, now) = (tx.clock().id(), tx.clock().now());
    let made = tx
        .execute(LINK, &[&tenant, &id, &user_id, provider, hash, &now])
        .await?;
    if made == 1 {
        let provider = provider.clone();
        return trail::warn(tx, user_id, &Notice::IdentityLinked { provider }).await;
    }
    if is_linked(tx, user_id, subject).await? {
        Ok(())
    } else {
        Err(no_account())
    }
}

/// Whether the identity is one of this user's, whose row the transaction holds.
pub(crate) async fn is_linked(tx: &Tx, user_id: Uuid, subject: &Subject) -> Result<bool> {
    let Subject { provider, hash } = subject;
    let params: db::Params<'_> = &[&tx.tenant().0, &user_id, provider, hash];
    Ok(tx.query_one(IS_LINKED, params).await?.get(0))
}

/// Makes no identity the user's any more. Whoever signs in with a verified address of theirs links anew.
pub(crate) async fn unlink_all(tx: &Tx, user_id: Uuid) -> Result<u64> {
    tx.execute(UNLINK_ALL, &[&tx.tenant().0, &user_id]).await
}

/// The answer to an identity that opens no account.
#[must_use]
pub fn no_account() -> Error {
    Error::new(
        Code::AuthOauthNoAccount,
        "No active account here has this e-mail address, verified; ask for an invitation, or log in with a password.",
    )
}

/// The same in every company, since a sign-in names none.
fn subject_hash(sealer: &kernel::Sealer, vouched: &Vouched<'_>) -> Vec<u8> {
    let context = format!("user_identities.subject/{}", vouched.provider.as_str());
    sealer.lookup_hash(&context, vouched.subject)
}
