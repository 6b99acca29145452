//! How many links are mailed to one address, and for one company: an invitation goes to whatever address
//! somebody types. Counted within the transaction that mails, once it is known that it does: who may not,
//! and a repetition with the same `Idempotency-Key`, use nothing up. When `DynamoDB` is away nothing is
//! mailed (503), as at the auth function.

use cloud::{Decision, Key, MAILBOX, RateLimit, RateLimiter};
use db::Tx;
use futures::future::try_join_all;
use identity::lifecycle::Target;
use kernel::{Email, Error, Result, Sealer, TenantId};
use std::time::Duration;

/// Counters of one request that are raised at the same time.
const AT_ONCE: usize = 10;

/// What a mailbox bears, and a company sends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Shared with what strangers have the auth function send.
    pub mailbox: RateLimit,
    pub company: RateLimit,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        mailbox: MAILBOX,
        company: RateLimit {
            name: "links-of-tenant",
            capacity: 200,
            per: Duration::from_hours(24),
        },
    };

    /// So many times the default.
    #[must_use]
    pub const fn times(factor: u32) -> Self {
        let mut limits = Self::DEFAULT;
        limits.mailbox.capacity = limits.mailbox.capacity.saturating_mul(factor);
        limits.company.capacity = limits.company.capacity.saturating_mul(factor);
        limits
    }
}

/// Counts the links that are mailed.
#[derive(Clone)]
pub struct Mails {
    limiter: RateLimiter,
    limits: Limits,
    sealer: Sealer,
}

impl Mails {
    /// `sealer` keys the hashes of addresses: the auth function's, which counts the same mailboxes.
    #[must_use]
    pub fn new(limiter: RateLimiter, limits: Limits, sealer: Sealer) -> Self {
        Self {
            limiter,
            limits,
            sealer,
        }
    }

    /// Counts a link that a company has us mail to an address; 429 when it is one too many.
    pub(crate) async fn ask(&self, tenant: TenantId, email: &Email) -> Result<()> {
        let (allowed, decision) = self.take_of_company(tenant, 1).await?;
        if allowed == 0 {
            return Err(company_had_its(&decision));
        }
        self.ask_mailbox(email).await
    }

    /// As [`Mails::ask`], to a user.
    pub(crate) async fn ask_for(&self, tx: &Tx, target: &Target) -> Result<()> {
        self.ask(tx.tenant(), &address(&target.email)?).await
    }

    /// As [`Mails::ask_mailbox`], to a user.
    pub(crate) async fn ask_invitee(&self, target: &Target) -> Result<()> {
        self.ask_mailbox(&address(&target.email)?).await
    }

    /// As [`Mails::ask`], for who runs the system: counted for the mailbox alone.
    pub(crate) async fn ask_mailbox(&self, email: &Email) -> Result<()> {
        self.take_of_mailbox(email).await?
    }

    /// As [`Mails::ask`], to several addresses, one call for each: whether each may be written to, in their
    /// order.
    pub(crate) async fn ask_each(&self, tenant: TenantId, emails: &[&str]) -> Result<Vec<Result<()>>> {
        let wanted = u32::try_from(emails.len()).map_err(Error::internal)?;
        let (allowed, decision) = self.take_of_company(tenant, wanted).await?;
        let (asked, over) = emails.split_at(allowed.min(wanted) as usize);
        let asked: Vec<Email> = asked.iter().map(|email| address(email)).collect::<Result<_>>()?;
        let mut answers = Vec::new();
        for some in asked.chunks(AT_ONCE) {
            answers.extend(try_join_all(some.iter().map(|email| self.take_of_mailbox(email))).await?);
        }
        answers.extend(over.iter().map(|_| Err(company_had_its(&decision))));
        Ok(answers)
    }

    async fn take_of_company(&self, tenant: TenantId, wanted: u32) -> Result<(u32, Decision)> {
        let key = Key::id(tenant);
        self.limiter.take_up_to(&self.limits.company, &key, wanted).await
    }

    /// An error within is the decision, one without that there is none.
    async fn take_of_mailbox(&self, email: &Email) -> Result<Result<()>> {
        let key = Key::personal(&self.sealer, &email.normalised);
        let decision = self.limiter.take(&self.limits.mailbox, &key).await?;
        let message = "This address was sent as many messages as it gets in an hour; try again later.";
        Ok(if decision.allowed {
            Ok(())
        } else {
            Err(Error::rate_limited(message, decision.reset_after))
        })
    }
}

fn company_had_its(decision: &Decision) -> Error {
    let message = "The company had as many links mailed as it may in a day; try again later.";
    Error::rate_limited(message, decision.reset_after)
}

/// An address of ours, in the form in which it is counted.
fn address(email: &str) -> Result<Email> {
    Email::parse(email).ok_or_else(|| Error::internal("a user's address is none"))
}
