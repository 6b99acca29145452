//! Logging in: whose account an e-mail and a password open (S1.4, S1.6).

use crate::link::Purpose;
use crate::{Password, trail};
use db::{Db, Tx};
use kernel::{Code, Email, Error, Result, TenantId, Validator};
use notifications::notice::Notice;
use serde_json::json;
use std::fmt;
use uuid::Uuid;

const TENANT_NAMED: &str = "SELECT app.tenant_named($1)";
const CANDIDATES: &str = "SELECT tenant_id, tenant_slug, tenant_status, user_id, user_status, password_hash, verified FROM app.login_candidates($1, $2)";
const AUDIT_FAILURE: &str = "SELECT app.audit('auth.login_failed', 'user', $1, NULL, NULL)";

const AUDIT_LOCK_OUT: &str = "SELECT app.audit('auth.locked_out', 'user', $1, NULL, NULL)";
const OWNER: &str =
    "SELECT FROM users u WHERE u.tenant_id = $1 AND u.id = $2 AND u.status = 'active' FOR KEY SHARE OF u";

/// The scope of a login that names no tenant.
const ANY_TENANT: &str = "any";

/// What somebody claims.
#[derive(Debug)]
pub struct Credentials {
    pub email: Email,
    password: Password,
    /// The slug or the id of a tenant.
    tenant: Option<String>,
}

impl Credentials {
    /// # Errors
    /// 422 with the fields that can't be right.
    pub fn parse(email: &str, password: &str, tenant: Option<&str>) -> Result<Self> {
        let mut validator = Validator::default();
        let parsed = Email::parse(email);
        if parsed.is_none() {
            validator.reject("email", "invalid", "This is not an e-mail address.");
        }
        if password.is_empty() {
            validator.reject("password", "required", "This must not be empty.");
        } else if password.len() > 2048 {
            validator.reject("password", "too_long", "A password has at most 256 characters.");
        }
        let tenant = validator
            .optional_text("tenant", tenant, 100)
            .map(|tenant| tenant.to_lowercase());
        validator.finish()?;
        let email = parsed.ok_or_else(|| Error::internal("an address was accepted and is none"))?;
        Ok(Self {
            email,
            password: Password::claim(password),
            tenant,
        })
    }

    /// Finds the accounts that this could be about.
    ///
    /// # Errors
    /// 503 when the database is away.
    pub async fn find(&self, db: &Db) -> Result<Login<'_>> {
        let (scope, candidates) = candidates(db, &self.email, self.tenant.as_deref()).await?;
        Ok(Login {
            credentials: self,
            scope,
            candidates,
        })
    }
}

/// Whom somebody asks us to write to.
#[derive(Debug)]
pub struct Addressee {
    pub email: Email,
    /// The slug or the id of a tenant.
    tenant: Option<String>,
}

impl Addressee {
    /// # Errors
    /// 422 with the fields that can't be right.
    pub fn parse(email: &str, tenant: Option<&str>) -> Result<Self> {
        let mut validator = Validator::default();
        let parsed = Email::parse(email);
        if parsed.is_none() {
            validator.reject("email", "invalid", "This is not an e-mail address.");
        }
        let tenant = validator
            .optional_text("tenant", tenant, 100)
            .map(|tenant| tenant.to_lowercase());
        validator.finish()?;
        let email = parsed.ok_or_else(|| Error::internal("an address was accepted and is none"))?;
        Ok(Self { email, tenant })
    }

    /// The active accounts with this address that a link is of use to, four at most: verified ones first.
    ///
    /// # Errors
    /// 503 when the database is away.
    pub async fn accounts(&self, db: &Db, purpose: Purpose) -> Result<Vec<FoundAccount>> {
        let (_, candidates) = candidates(db, &self.email, self.tenant.as_deref()).await?;
        let waiting = candidates.iter().filter(|candidate| match purpose {
            Purpose::ResetPassword => candidate.active,
            Purpose::VerifyEmail => candidate.active && !candidate.verified,
        });
        Ok(waiting.map(|candidate| candidate.account).collect())
    }
}

/// The accounts of an address, four at most, in one tenant when it is named; and what guesses at it are
/// counted by.
async fn candidates(db: &Db, email: &Email, tenant: Option<&str>) -> Result<(String, Vec<Candidate>)> {
    let named: Option<Uuid> = match tenant {
        Some(tenant) => db
            .lookup(TENANT_NAMED, &[&tenant])
            .await?
            .first()
            .and_then(|row| row.get(0)),
        None => None,
    };
    // A tenant that is named and does not exist has no accounts, and costs the same look-up.
    let within = tenant.map(|_| named.unwrap_or(Uuid::nil()));
    let rows = db.lookup(CANDIDATES, &[&email.normalised, &within]).await?;
    let candidates = rows.iter().map(|row| Candidate {
        account: FoundAccount {
            tenant: TenantId(row.get(0)),
            user_id: row.get(3),
        },
        slug: row.get(1),
        active: row.get::<_, &str>(2) == "active" && row.get::<_, &str>(4) == "active",
        password_hash: row.get(5),
        verified: row.get(6),
    });
    let scope = match (named, tenant) {
        (Some(id), _) => id.to_string(),
        (None, Some(unknown)) => unknown.to_owned(),
        (None, None) => ANY_TENANT.to_owned(),
    };
    Ok((scope, candidates.collect()))
}

/// What guesses at an address in a tenant may have been counted by.
#[must_use]
pub fn lock_keys(tenant: TenantId, email_norm: &str) -> [String; 2] {
    [
        lock_key(&tenant.to_string(), email_norm),
        lock_key(ANY_TENANT, email_norm),
    ]
}

fn lock_key(scope: &str, email_norm: &str) -> String {
    format!("{scope}/{email_norm}")
}

/// An account that a login named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundAccount {
    pub tenant: TenantId,
    pub user_id: Uuid,
}

/// The accounts that a password opens.
pub struct Opened<'a> {
    login: &'a Login<'a>,
    /// With the hash that the password was right for.
    accounts: Vec<(&'a Candidate, &'a str)>,
}

/// An account that a password opens, and the hash that it was right for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Verified<'a> {
    pub account: FoundAccount,
    pub password_hash: &'a str,
}

// Which accounts, and never their hashes.
impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.accounts.iter().map(|(found, _)| found))
            .finish()
    }
}

impl fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.account.fmt(f)
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.account.fmt(f)
    }
}

impl<'a> Opened<'a> {
    /// The one account. `None` whether the password was wrong, nobody has the address or the account
    /// is suspended: nobody is told which.
    ///
    /// # Errors
    /// 409 `AUTH_TENANT_REQUIRED` when there are several.
    pub fn account(&self) -> Result<Option<Verified<'a>>> {
        match self.accounts.as_slice() {
            [] => Ok(None),
            [(one, hash)] => Ok(Some(Verified {
                account: one.account,
                password_hash: hash,
            })),
            several => {
                let slugs: Vec<&str> = several.iter().map(|(found, _)| found.slug.as_str()).collect();
                let message = "These credentials are right in several companies; repeat with `tenant`.";
                Err(Error::new(Code::AuthTenantRequired, message).with_details(json!({ "tenants": slugs })))
            }
        }
    }

    /// Whether the address is that of whoever knows the password: they verified it in each of these
    /// companies. Anybody may sign a company up with somebody else's address and know that password.
    #[must_use]
    pub fn is_the_owners(&self) -> bool {
        self.accounts.iter().all(|(found, _)| found.verified)
    }

    /// What the wrong passwords were counted by that are forgotten with this one. Where no company was named
    /// they were guesses at the accounts of others, too, so an account that anybody may have made forgives
    /// none of those.
    #[must_use]
    pub fn forgiven(&self) -> Vec<String> {
        let email = &self.login.credentials.email.normalised;
        if self.is_the_owners() {
            let accounts = self.accounts.iter().map(|(found, _)| found.account);
            let by_company = accounts.map(|account| lock_key(&account.tenant.to_string(), email));
            return by_company.chain([lock_key(ANY_TENANT, email)]).collect();
        }
        let named = self.login.is_named().then(|| self.login.lock_key());
        named.into_iter().collect()
    }
}

struct Candidate {
    account: FoundAccount,
    slug: String,
    active: bool,
    password_hash: Option<String>,
    /// The address is proved to be this user's.
    verified: bool,
}

/// A login under way.
#[derive(Debug)]
pub struct Login<'a> {
    credentials: &'a Credentials,
    scope: String,
    candidates: Vec<Candidate>,
}

impl Login<'_> {
    /// What failed guesses are counted by: the tenant that was named, by its id however it was
    /// named, and the address. It does not depend on whether there is such an account.
    #[must_use]
    pub fn lock_key(&self) -> String {
        lock_key(&self.scope, &self.credentials.email.normalised)
    }

    /// What guesses are counted by that add to those of [`Login::lock_key`]: to one that names a company
    /// those that name none, and to one that names none, for each account, those that name its company.
    pub fn other_lock_keys(&self) -> Vec<String> {
        let email = &self.credentials.email.normalised;
        if self.is_named() {
            return vec![lock_key(ANY_TENANT, email)];
        }
        let accounts = self.accounts();
        accounts
            .map(|account| lock_key(&account.tenant.to_string(), email))
            .collect()
    }

    /// Whether a company was named.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.credentials.tenant.is_some()
    }

    /// The accounts that the password opens, of those that `may_open` lets pass. A hash is computed for each
    /// that has the address, and one where there is none.
    ///
    /// # Errors
    /// Internal, when a stored hash is malformed.
    pub fn check(&self, may_open: impl Fn(FoundAccount) -> bool) -> Result<Opened<'_>> {
        let password = &self.credentials.password;
        if self.candidates.is_empty() {
            password.verify(None)?;
        }
        let mut accounts = Vec::new();
        for candidate in &self.candidates {
            let hash = candidate.password_hash.as_deref();
            let may_open = candidate.active && may_open(candidate.account);
            if let (true, true, Some(hash)) = (password.verify(hash)?, may_open, hash) {
                accounts.push((candidate, hash));
            }
        }
        Ok(Opened {
            login: self,
            accounts,
        })
    }

    /// The accounts whose owners should know that somebody failed to log in.
    pub fn accounts(&self) -> impl Iterator<Item = FoundAccount> {
        self.candidates.iter().map(|candidate| candidate.account)
    }
}

/// The answer to every login that fails, whatever it failed for.
#[must_use]
pub fn refused() -> Error {
    Error::new(
        Code::AuthInvalidCredentials,
        "The e-mail address or the password is not right.",
    )
}

/// Writes to the account's audit log that somebody failed to log in to it, and tells its owner when
/// that was the last try for now.
///
/// # Errors
/// As [`Tx::query`].
pub async fn audit_failure(tx: &Tx, user_id: Uuid, locked_out: bool) -> Result<()> {
    if !locked_out {
        return tx.execute(AUDIT_FAILURE, &[&user_id]).await.map(drop);
    }
    // The user before the audit log: an erasure holds the one and then waits for the other.
    let owner = tx.query_opt(OWNER, &[&tx.tenant().0, &user_id]).await?;
    if owner.is_some() {
        trail::warn(tx, user_id, &Notice::LockedOut).await?;
    }
    tx.execute(AUDIT_FAILURE, &[&user_id]).await?;
    if owner.is_some() {
        tx.execute(AUDIT_LOCK_OUT, &[&user_id]).await?;
    }
    Ok(())
}
