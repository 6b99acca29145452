//! How often somebody may try. Counters live in `DynamoDB`, under keyed hashes of addresses.
//!
//! When `DynamoDB` is away, login and signup fail closed (503): without the count a password could be
//! guessed without end, and companies made without end. Refresh fails open: its token can't be
//! guessed, and closing it would end every session within 15 minutes.

use cloud::{Attempt, Cloud, Key, LockOut, LockOuts, RateLimit, RateLimiter};
use config::Env;
use kernel::{Clock, Code, Error, Origin, Result, Sealer};
use std::time::Duration;
use web::Quota;

/// S1.6: 5 wrong passwords for one address in one company, then 10 minutes none.
const WRONG_PASSWORDS: LockOut = LockOut::of("login");
/// On a developer's machine everybody has one address, and tests sign up hundreds of companies.
const LOCAL_FACTOR: u32 = 100;

/// What one address may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub logins: RateLimit,
    pub signups: RateLimit,
    pub refreshes: RateLimit,
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
    };

    /// So many times the default.
    #[must_use]
    pub const fn times(factor: u32) -> Self {
        let Self {
            mut logins,
            mut signups,
            mut refreshes,
        } = Self::DEFAULT;
        logins.capacity *= factor;
        signups.capacity *= factor;
        refreshes.capacity *= factor;
        Self {
            logins,
            signups,
            refreshes,
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
        match self.take(&self.limits.refreshes, origin, quota).await {
            Err(error) if error.code() != Code::RateLimited => {
                tracing::warn!(
                    cause = telemetry::chain(&error),
                    "refreshing without a rate limit"
                );
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Counts a guess, before the password is looked at.
    pub(crate) async fn guess(&self, lock_key: &str) -> Result<()> {
        match self
            .lock_outs
            .begin(&WRONG_PASSWORDS, &Key::personal(&self.sealer, lock_key))
            .await?
        {
            Attempt::Allowed { .. } => Ok(()),
            Attempt::Locked { retry_after } => Err(too_many(retry_after)),
        }
    }

    /// The password was right. Not worth failing a login for: the count also ends by itself.
    pub(crate) async fn guessed_right(&self, lock_key: &str) {
        if let Err(error) = self
            .lock_outs
            .clear(&WRONG_PASSWORDS, &Key::personal(&self.sealer, lock_key))
            .await
        {
            tracing::warn!(
                cause = telemetry::chain(&error),
                "a lock-out counter was not cleared"
            );
        }
    }

    async fn take(&self, limit: &RateLimit, origin: &Origin, quota: &Quota) -> Result<()> {
        // The gateway always tells the address.
        let Some(ip) = &origin.ip else { return Ok(()) };
        let decision = self.limiter.take(limit, &Key::personal(&self.sealer, ip)).await?;
        quota.note(decision.limit, decision.remaining, decision.reset_after);
        if decision.allowed {
            Ok(())
        } else {
            Err(too_many(decision.reset_after))
        }
    }
}

/// The same whether there is such an account or not.
fn too_many(retry_after: Duration) -> Error {
    // Rounded up, so that coming back at that second is late enough.
    let retry_after = Duration::from_secs(retry_after.as_secs() + 1);
    Error::new(Code::RateLimited, "Too many attempts; try again later.").with_retry_after(retry_after)
}
