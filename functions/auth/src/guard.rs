//! How often somebody may try. Counters live in `DynamoDB`, under keyed hashes of addresses.
//!
//! When `DynamoDB` is away, whatever can be guessed or sent without end fails closed (503): login, its
//! second step, signup, links by mail, codes to phones, and proofs of a signed-in user. What a token of
//! 256 random bits opens fails open: refresh (closing it would end every session within 15 minutes),
//! logout and links.

use crate::limits::Limits;
use crate::proving::Offered;
use cloud::{Attempt, Cloud, Decision, Key, LockOut, LockOuts, RateLimit, RateLimiter, too_many};
use config::Env;
use futures::future::try_join_all;
use kernel::{Caller, Clock, Code, Email, Error, Origin, Phone, Result, Sealer};
use std::time::Duration;
use telemetry::Metrics;
use uuid::Uuid;
use web::Quota;

/// What wrong passwords are counted by (S1.6); `guesses` says of whom. [`Limits`] says how many there may be.
pub(crate) const WRONG_PASSWORDS: &str = "login";
/// As many wrong second factors of one user, over all of the user's logins under way.
const WRONG_SECOND_FACTORS: &str = "second-factor";
/// As many wrong passwords of a user who is signed in. Counted apart, so that a stolen session locks
/// nobody out of logging in.
const WRONG_PASSWORD_PROOFS: &str = "proof-password";
/// As many wrong codes of the app in use, or backup codes, of one.
const WRONG_CODE_PROOFS: &str = "proof-code";
/// As many wrong codes of an app that is not in use yet.
const WRONG_NEW_APPS: &str = "new-app";
/// Login codes that are sent to one user, whose password somebody has.
const LOGIN_CODES: RateLimit = RateLimit {
    name: "login-codes",
    capacity: 10,
    per: Duration::from_hours(1),
};
/// Codes that are sent to verify one number, whoever asks and wherever.
const CODES_TO: RateLimit = RateLimit {
    name: "phone-to",
    capacity: 6,
    per: Duration::from_hours(1),
};
/// New passwords that one user chooses who knows the old one: each is told by mail, and ends other sessions.
const PASSWORD_CHANGES: RateLimit = RateLimit {
    name: "password-changes",
    capacity: 5,
    per: Duration::from_hours(1),
};
/// Messages that a mailbox gets beyond one for each request, where the address has accounts in several
/// companies: as many as one request is good for. They are left out silently, and have a budget of their own:
/// of the mailbox's it would show how many accounts there are.
const MORE_MAILS: RateLimit = RateLimit {
    name: "mail-more",
    capacity: 3,
    per: Duration::from_hours(1),
};
/// On a developer's machine everybody has one address, and tests sign up hundreds of companies.
const LOCAL_FACTOR: u32 = 100;

/// Counts tries.
#[derive(Clone)]
pub struct Guard {
    pub(crate) lock_outs: LockOuts,
    limiter: RateLimiter,
    pub(crate) sealer: Sealer,
    limits: Limits,
    clock: Clock,
}

impl Guard {
    /// `sealer` keys the hashes.
    #[must_use]
    pub fn new(cloud: &Cloud, table: &str, sealer: Sealer, clock: Clock, limits: Limits) -> Self {
        let (lock_outs, limiter) = (
            cloud.lock_outs(table, clock.clone()),
            cloud.rate_limiter(table, clock.clone()),
        );
        Self {
            lock_outs,
            limiter,
            sealer,
            limits,
            clock,
        }
    }

    pub(crate) fn from_config(env: &Env, cloud: &Cloud, sealer: Sealer, clock: Clock) -> Result<Self> {
        let table = env.required("STATE_TABLE").map_err(Error::internal)?;
        let local = env.required("M3_ENV").map_err(Error::internal)? == "local";
        let limits = Limits::from_env(env, if local { LOCAL_FACTOR } else { 1 }).map_err(Error::internal)?;
        Ok(Self::new(cloud, table, sealer, clock, limits))
    }

    /// Tells operators of a wrong password or second factor; of whom is said in the audit log alone.
    pub(crate) fn login_failed(&self) {
        Metrics::of("auth").count("LoginFailed").emit(&self.clock);
    }

    /// Counts a login from an address.
    pub(crate) async fn login_from(&self, origin: &Origin, quota: &Quota) -> Result<()> {
        self.take(&self.limits.logins, origin, quota).await
    }

    /// Counts a signup from an address.
    pub(crate) async fn signup_from(&self, origin: &Origin, quota: &Quota) -> Result<()> {
        self.take(&self.limits.signups, origin, quota).await
    }

    /// Counts a refresh, or a logout, from an address.
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
        self.mail_to(email).await
    }

    /// Counts a message that a stranger has us send to a mailbox.
    pub(crate) async fn mail_to(&self, email: &Email) -> Result<()> {
        let key = Key::personal(&self.sealer, &email.normalised);
        self.take_key(&self.limits.mailbox, &key).await
    }

    /// To how many accounts of a mailbox one request may write that was counted by [`Guard::mail`], of so many.
    pub(crate) async fn mails_to(&self, email: &Email, accounts: usize) -> Result<usize> {
        let more = u32::try_from(accounts.saturating_sub(1)).map_err(Error::internal)?;
        if more == 0 {
            return Ok(accounts);
        }
        let key = Key::personal(&self.sealer, &email.normalised);
        let (allowed, _) = self.limiter.take_up_to(&MORE_MAILS, &key, more).await?;
        Ok(1 + allowed as usize)
    }

    /// Counts a code that verifies a phone, once it is known that it is sent: from this address, in this
    /// company, and to this number. Where one of them has had its codes, the others have none counted.
    pub(crate) async fn phone_code(&self, caller: &Caller, quota: &Quota, phone: &Phone) -> Result<()> {
        let mut wanted = vec![
            (&self.limits.phones_of_tenant, Key::id(caller.tenant())),
            (&CODES_TO, Key::personal(&self.sealer, phone.as_str())),
        ];
        let ip = caller.origin().ip.as_deref();
        wanted.extend(ip.map(|ip| (&self.limits.phones, Key::personal(&self.sealer, ip))));
        let left = self.take_each(&wanted, 0).await?;
        if let Some(used_up) = left.iter().find(|decision| decision.remaining == 0) {
            return Err(too_many(used_up.reset_after));
        }
        let taken = self.take_each(&wanted, 1).await?;
        if let (Some(_), Some(decision)) = (ip, taken.last()) {
            quota.note(decision.limit, decision.remaining, decision.reset_after);
        }
        taken.iter().try_for_each(Decision::check)
    }

    /// Counts a new password that a user chooses.
    pub(crate) async fn password_change(&self, user_id: Uuid) -> Result<()> {
        self.take_key(&PASSWORD_CHANGES, &Key::id(user_id)).await
    }

    /// Counts a login code that is sent to a user.
    pub(crate) async fn login_code(&self, user_id: Uuid) -> Result<()> {
        self.take_key(&LOGIN_CODES, &Key::id(user_id)).await
    }

    /// Counts a second factor of a user, before it is looked at.
    pub(crate) async fn second_factor(&self, user_id: Uuid) -> Result<()> {
        self.begin(WRONG_SECOND_FACTORS, &Key::id(user_id))
            .await
            .map(drop)
    }

    /// The second factor was right.
    pub(crate) async fn second_factor_right(&self, user_id: Uuid) {
        self.clear(WRONG_SECOND_FACTORS, &Key::id(user_id)).await;
    }

    /// Counts a proof of a signed-in user, before it is looked at.
    pub(crate) async fn proof(&self, offered: Offered, user_id: Uuid) -> Result<()> {
        self.begin(wrong(offered), &Key::id(user_id)).await.map(drop)
    }

    /// The proof held.
    pub(crate) async fn proof_held(&self, offered: Offered, user_id: Uuid) {
        self.clear(wrong(offered), &Key::id(user_id)).await;
    }

    /// Nothing was looked at: whoever asked may not enter.
    pub(crate) async fn not_a_proof(&self, offered: Offered, user_id: Uuid) {
        let rule = self.rule(wrong(offered));
        warn(self.lock_outs.take_back(&rule, &Key::id(user_id)).await);
    }

    /// Tells operators of a try after too many.
    pub(crate) fn locked_out(&self) {
        Metrics::of("auth").count("LockedOut").emit(&self.clock);
    }

    /// Counts a try; how many more are left.
    pub(crate) async fn begin(&self, wrong: &'static str, key: &Key) -> Result<u32> {
        match self.lock_outs.begin(&self.rule(wrong), key).await? {
            Attempt::Allowed { left } => Ok(left),
            Attempt::Locked { retry_after } => {
                self.locked_out();
                Err(too_many(retry_after))
            }
        }
    }

    pub(crate) async fn clear(&self, wrong: &'static str, key: &Key) {
        warn(self.lock_outs.clear(&self.rule(wrong), key).await);
    }

    /// How much is borne of what is wrong.
    pub(crate) fn rule(&self, wrong: &'static str) -> LockOut {
        LockOut {
            tries: self.limits.wrong_tries,
            lock_for: self.limits.back_off,
            ..LockOut::of(wrong)
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
        decision.check()
    }

    async fn take_each(&self, wanted: &[(&RateLimit, Key)], amount: u32) -> Result<Vec<Decision>> {
        let taken = wanted.iter().map(async |(limit, key)| {
            let (_, decision) = self.limiter.take_up_to(limit, key, amount).await?;
            Ok(decision)
        });
        try_join_all(taken).await
    }

    async fn take_key(&self, limit: &RateLimit, key: &Key) -> Result<()> {
        self.limiter.take(limit, key).await?.check()
    }
}

fn wrong(offered: Offered) -> &'static str {
    match offered {
        Offered::Password => WRONG_PASSWORD_PROOFS,
        Offered::Code => WRONG_CODE_PROOFS,
        Offered::NewApp => WRONG_NEW_APPS,
    }
}

/// Not worth failing a request for: a count also ends by itself.
pub(crate) fn warn(changed: Result<()>) {
    if let Err(error) = changed {
        tracing::warn!(
            cause = telemetry::chain(&error),
            "a lock-out counter was not changed"
        );
    }
}
