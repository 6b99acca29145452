//! Rate limits: a counter for each key and window, raised by one unconditional update.

use crate::error::from_sdk;
use crate::state::{Key, Table, number, number_of, text};
use aws_sdk_dynamodb::types::ReturnValue;
use kernel::{Clock, Error, Result};
use std::time::Duration;

/// So many in so long, in windows that start at whole multiples of `per`. Around the border of two
/// windows twice as many can pass; in return every decision costs one call and is exact.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Keeps the counters of different limits apart.
    pub name: &'static str,
    pub capacity: u32,
    pub per: Duration,
}

/// Links out of mails that one address may follow. Several functions follow them, and who tries links
/// has one budget for all.
pub const LINKS: RateLimit = RateLimit {
    name: "link-ip",
    capacity: 300,
    per: Duration::from_mins(10),
};

/// Messages to one mailbox that its owner did not ask for: a stranger did, or a colleague. Whichever
/// function sends them, a mailbox has one budget for all, keyed by [`Key::personal`] of the normalised
/// address.
pub const MAILBOX: RateLimit = RateLimit {
    name: "mail-to",
    capacity: 5,
    per: Duration::from_hours(1),
};

/// What came of one request, as the `RateLimit-*` headers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub limit: u32,
    pub remaining: u32,
    /// Until the window ends.
    pub reset_after: Duration,
}

impl Decision {
    /// # Errors
    /// 429 when it is not allowed: the same whether there is such an account or not.
    pub fn check(&self) -> Result<()> {
        if self.allowed {
            Ok(())
        } else {
            Err(too_many(self.reset_after))
        }
    }
}

/// 429 for who tried too often.
#[must_use]
pub fn too_many(wait: Duration) -> Error {
    Error::rate_limited("Too many attempts; try again later.", wait)
}

/// Counts requests in the state table.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    table: Table,
    clock: Clock,
}

impl RateLimiter {
    pub(crate) fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock }
    }

    /// Takes one from the key's window. Of any number of parallel calls exactly `capacity` are allowed.
    ///
    /// An error (unavailable, when `DynamoDB` is away or throttles) is no decision: the route says
    /// whether it goes on without one.
    pub async fn take(&self, limit: &RateLimit, key: &Key) -> Result<Decision> {
        let (_, decision) = self.take_up_to(limit, key, 1).await?;
        Ok(decision)
    }

    /// As [`RateLimiter::take`], several at once in one call: how many of them are allowed, and what to
    /// say of the last.
    pub async fn take_up_to(&self, limit: &RateLimit, key: &Key, wanted: u32) -> Result<(u32, Decision)> {
        let now = u128::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        let per = limit.per.as_millis().max(1);
        let window = now / per;
        let ends = (window + 1) * per;
        let answer = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .key("pk", text(format!("rate#{}#{key}", limit.name)))
            .key("sk", text(window.to_string()))
            .update_expression("ADD taken :wanted SET expires_at = :expires_at")
            .expression_attribute_values(":wanted", number(wanted))
            .expression_attribute_values(":expires_at", number(ends / 1000 + 60))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await
            .map_err(|error| from_sdk("dynamodb.UpdateItem", &error))?;
        let taken = answer.attributes().and_then(|item| number_of(item, "taken"));
        let taken = taken.and_then(|taken| u32::try_from(taken).ok());
        let taken = taken.ok_or_else(|| Error::internal("a rate counter is not a number"))?;
        let left_before = limit.capacity.saturating_sub(taken.saturating_sub(wanted));
        let decision = Decision {
            allowed: taken <= limit.capacity,
            limit: limit.capacity,
            remaining: limit.capacity.saturating_sub(taken),
            reset_after: Duration::from_millis(u64::try_from(ends - now).unwrap_or(u64::MAX)),
        };
        Ok((wanted.min(left_before), decision))
    }
}
