//! How often somebody may try. Counters live in `DynamoDB`, under keyed hashes of addresses.
//!
//! When `DynamoDB` is away, whatever can be guessed or sent without end fails closed (503): login, its
//! second step, signup, links by mail, and proofs of a signed-in user. What a token of 256 random bits
//! opens fails open: refresh (closing it would end every session within 15 minutes) and links.

use cloud::{Attempt, Cloud, Decision, Key, LockOut, LockOuts, RateLimit, RateLimiter};
use config::Env;
use kernel::{Clock, Code, Email, Error, Origin, Result, Sealer};
use std::pin::Pin;
use std::time::Duration;
use uuid::Uuid;
use web::Quota;

/// S1.6: 5 wrong passwords for one address in one company, then 10 minutes none.
const WRONG_PASSWORDS: LockOut = LockOut::of("login");
/// As many wrong second factors of one user, over all of the user's logins under way.
const WRONG_SECOND_FACTORS: LockOut = LockOut::of("second-factor");
/// As many wrong passwords or codes of a user who is signed in. Counted apart, so that a stolen session
/// locks nobody out of logging in.
const WRONG_PROOFS: LockOut = LockOut::of("proof");
/// Login codes that are sent to one user, whose password somebody has.
const LOGIN_CODES: RateLimit = RateLimit {
    name: "login-codes",
    capacity: 10,
    per: Duration::from_hours(1),
};
/// Messages that strangers can have us send to one mailbox.
const MAILS_TO: RateLimit = RateLimit {
    name: "mail-to",
    capacity: 5,
    per: Duration::from_hours(1),
};
/// On a developer's machine everybody has one address, and tests sign up hundreds of companies.
const LOCAL_FACTOR: u32 = 100;

/// What one address may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub logins: RateLimit,
    pub signups: RateLimit,
    pub refreshes: RateLimit,
    /// Asking for a link by mail.
    pub mails: RateLimit,
    /// Following one.
    pub links: RateLimit,
}

impl Limits {
    /// A whole office behind one address may log in after a holiday; a list of stolen passwords may not.
    pub const DEFAULT: Self = Self {
        logins: RateLimit {
            name: "login-ip",
            capacity: 300,
            per: Duration::from_mins(10),
        },
        signups: RateLimit {
            name: "signup-ip",
            capacity: 30,
            per: Duration::from_hours(1),
        },
        refreshes: RateLimit {
            name: "refresh-ip",
            capacity: 1200,
            per: Duration::from_mins(10),
        },
        mails: RateLimit {
            name: "mail-ip",
            capacity: 60,
            per: Duration::from_hours(1),
        },
        links: RateLimit {
            name: "link-ip",
            capacity: 300,
            per: Duration::from_mins(10),
        },
    };

    /// So many times the default.
    #[must_use]
    pub const fn times(factor: u32) -> Self {
        let Self {
            mut logins,
            mut signups,
            mut refreshes,
            mut mails,
            mut links,
        } = Self::DEFAULT;
        logins.capacity *= factor;
        signups.capacity *= factor;
        refreshes.capacity *= factor;
        mails.capacity *= factor;
        links.capacity *= factor;
        Self {
            logins,
            signups,
            refreshes,
            mails,
            links,
        }
    }
}

/// Counts tries.
#[derive(Clone)]
pub struct Guard {
    lock_outs: LockOuts,
    limiter: RateLimiter,
    sealer: Sealer,
    limits: Limits,
}

impl Guard {
    /// `sealer` keys the hashes.
    #[must_use]
    pub fn new(cloud: &Cloud, table: &str, sealer: Sealer, clock: Clock, limits: Limits) -> Self {
        let (lock_outs, limiter) = (
            cloud.lock_outs(table, clock.clone()),
            cloud.rate_limiter(table, clock),
        );
        Self {
            lock_outs,
            limiter,
            sealer,
            limits,
        }
    }

    pub(crate) fn from_config(env: &Env, cloud: &Cloud, sealer: Sealer, clock: Clock) -> Result<Self> {
        let table = env.required("STATE_TABLE").map_err(Error::internal)?;
        let local = env.required("M3_ENV").map_err(Error::internal)? == "local";
        Ok(Self::new(
            cloud,
            table,
            sealer,
            clock,
            Limits::times(if local { LOCAL_FACTOR } else { 1 }),
        ))
    }

    /// Counts a login from an address.
    pub(crate) async fn login_from(&self, origin: &Origin, quota: &Quota) -> Result<()> {
        self.take(&self.limits.logins, origin, quota).await
    }

    /// Counts a signup from an address.
    pub(crate) async fn signup_from(&self, origin: &Origin, quota: &Quota) -> Result<()> {
        self.take(&self.limits.signups, origin, quota).await
    }

    /// Counts a refresh from an address.
    pub(crate) async fn refresh_from(&self, origin: &Origin, quota: &Quota) -> Result<()> {
        self.take_open(&self.limits.refreshes, origin, quota).await
    }

    /// Counts a link that is followed.
    pub(crate) async fn link_from(&self, origin: &Origin, quota: &Quota) -> Result<()> {
        self.take_open(&self.limits.links, origin, quota).await
    }

    /// Counts a link that is asked for: from this address, and to this mailbox, whoever has it.
    pub(crate) async fn mail(&self, origin: &Origin, quota: &Quota, email: &Email) -> Result<()> {
        self.take(&self.limits.mails, origin, quota).await?;
        self.take_key(&MAILS_TO, &Key::personal(&self.sealer, &email.normalised))
            .await
    }

    /// Counts a login code that is sent to a user.
    pub(crate) async fn login_code(&self, user_id: Uuid) -> Result<()> {
        self.take_key(&LOGIN_CODES, &Key::id(user_id)).await
    }

    /// Counts a guess, before the password is looked at; how many more are left.
    pub(crate) async fn guess(&self, lock_key: &str) -> Result<u32> {
        self.begin(&WRONG_PASSWORDS, &Key::personal(&self.sealer, lock_key))
            .await
    }

    /// The password was right.
    pub(crate) async fn guessed_right(&self, lock_key: &str) {
        self.clear(&WRONG_PASSWORDS, &Key::personal(&self.sealer, lock_key))
            .await;
    }

    /// Counts a second factor of a user, before it is looked at.
    pub(crate) async fn second_factor(&self, user_id: Uuid) -> Result<()> {
        self.begin(&WRONG_SECOND_FACTORS, &Key::id(user_id))
            .await
            .map(drop)
    }

    /// The second factor was right.
    pub(crate) async fn second_factor_right(&self, user_id: Uuid) {
        self.clear(&WRONG_SECOND_FACTORS, &Key::id(user_id)).await;
    }

    /// Does what needs a password or code of a signed-in user. The try is counted before it is looked
    /// at, and forgotten when the proof held, whatever else the work came to. (`work` is boxed because a
    /// transaction's future is large.)
    ///
    /// # Errors
    /// 429 after too many wrong ones; as `work`.
    pub(crate) async fn with_proof<T>(
        &self,
        user_id: Uuid,
        work: Pin<Box<impl Future<Output = Result<T>>>>,
    ) -> Result<T> {
        let key = Key::id(user_id);
        self.begin(&WRONG_PROOFS, &key).await?;
        let outcome = work.await;
        let unproved = |error: &Error| {
            matches!(
                error.code(),
                Code::AuthInvalidCredentials
                    | Code::AuthTwoFactorInvalidCode
                    | Code::Internal
                    | Code::Unavailable
            )
        };
        if !outcome.as_ref().is_err_and(unproved) {
            self.clear(&WRONG_PROOFS, &key).await;
        }
        outcome
    }

    async fn begin(&self, rule: &LockOut, key: &Key) -> Result<u32> {
        match self.lock_outs.begin(rule, key).await? {
            Attempt::Allowed { left } => Ok(left),
            Attempt::Locked { retry_after } => Err(too_many(retry_after)),
        }
    }

    /// Not worth failing a request for: the count also ends by itself.
    async fn clear(&self, rule: &LockOut, key: &Key) {
        if let Err(error) = self.lock_outs.clear(rule, key).await {
            tracing::warn!(
                cause = telemetry::chain(&error),
                "a lock-out counter was not cleared"
            );
        }
    }

    async fn take_open(&self, limit: &RateLimit, origin: &Origin, quota: &Quota) -> Result<()> {
        match self.take(limit, origin, quota).await {
            Err(error) if error.code() != Code::RateLimited => {
                tracing::warn!(
                    cause = telemetry::chain(&error),
                    limit = limit.name,
                    "going on without a rate limit"
                );
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn take(&self, limit: &RateLimit, origin: &Origin, quota: &Quota) -> Result<()> {
        // The gateway always tells the address.
        let Some(ip) = &origin.ip else { return Ok(()) };
        let decision = self.limiter.take(limit, &Key::personal(&self.sealer, ip)).await?;
        quota.note(decision.limit, decision.remaining, decision.reset_after);
        allowed(decision)
    }

    async fn take_key(&self, limit: &RateLimit, key: &Key) -> Result<()> {
        allowed(self.limiter.take(limit, key).await?)
    }
}

fn allowed(decision: Decision) -> Result<()> {
    if decision.allowed {
        Ok(())
    } else {
        Err(too_many(decision.reset_after))
    }
}

/// The same whether there is such an account or not.
fn too_many(retry_after: Duration) -> Error {
    // Rounded up, so that coming back at that second is late enough.
    let retry_after = Duration::from_secs(retry_after.as_secs() + 1);
    Error::new(Code::RateLimited, "Too many attempts; try again later.").with_retry_after(retry_after)
}
