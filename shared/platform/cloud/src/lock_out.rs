//! Lock-outs: an attempt is counted before the password is looked at, so that parallel guesses get
//! no more tries than guesses one by one.

use crate::error::from_sdk;
use crate::state::{Item, Key, Table, number, number_of, text};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use kernel::{Clock, Error, Result};
use std::time::Duration;

/// Each conflict means that another attempt was counted, and no more than `tries` can be.
const ROUNDS: usize = 32;

/// So many tries within a time, then none for a time.
#[derive(Clone, Copy, Debug)]
pub struct LockOut {
    /// Keeps the counters of different rules apart.
    pub name: &'static str,
    pub tries: u32,
    /// From the first try on; the count starts anew afterwards.
    pub within: Duration,
    /// From the last try on.
    pub lock_for: Duration,
}

impl LockOut {
    /// The rule for passwords: 5 tries in 10 minutes, then 10 minutes none.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self {
            name,
            tries: 5,
            within: Duration::from_mins(10),
            lock_for: Duration::from_mins(10),
        }
    }
}

/// Whether the secret may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It may, and this try is counted; `left` more may follow.
    Allowed { left: u32 },
    /// It may not, whether or not it is right.
    Locked { retry_after: Duration },
}

/// Counts attempts in the state table.
#[derive(Clone, Debug)]
pub struct LockOuts {
    table: Table,
    clock: Clock,
}

/// The tries of one key, until when they count (milliseconds since 1970).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Count {
    tries: u32,
    until: i64,
}

impl LockOuts {
    pub(crate) fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock }
    }

    /// Counts a try; call it before the check, and [`LockOuts::clear`] when the check succeeded.
    /// A first try costs one call, the later ones two.
    ///
    /// An error (unavailable, when `DynamoDB` is away or throttles) is no permission: the route
    /// says whether it goes on without one.
    pub async fn begin(&self, rule: &LockOut, key: &Key) -> Result<Attempt> {
        let now = self.clock.now().as_millisecond();
        let mut seen = None;
        for _ in 0..ROUNDS {
            let next = match seen {
                Some(Count { tries, until }) if until > now => {
                    if tries >= rule.tries {
                        let wait = u64::try_from(until - now).unwrap_or(0);
                        return Ok(Attempt::Locked {
                            retry_after: Duration::from_millis(wait),
                        });
                    }
                    let last = tries + 1 == rule.tries;
                    Count {
                        tries: tries + 1,
                        until: if last { now + millis(rule.lock_for) } else { until },
                    }
                }
                _ => Count {
                    tries: 1,
                    until: now
                        + millis(if rule.tries == 1 {
                            rule.lock_for
                        } else {
                            rule.within
                        }),
                },
            };
            match self.replace(rule, key, seen, next, now).await? {
                Ok(()) => {
                    return Ok(Attempt::Allowed {
                        left: rule.tries.saturating_sub(next.tries),
                    });
                }
                Err(found) => seen = found,
            }
        }
        Err(Error::unavailable("a lock-out counter changes too often"))
    }

    /// How many tries of a key count now, and for how long they still do. Takes none.
    pub async fn tries(&self, rule: &LockOut, key: &Key) -> Result<(u32, Duration)> {
        let request = self.table.client.get_item().table_name(&self.table.name);
        let found = request
            .key("pk", pk(rule, key))
            .key("sk", text("tries"))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| from_sdk("dynamodb.GetItem", &error))?;
        let now = self.clock.now().as_millisecond();
        let count = found.item().and_then(Count::of).filter(|count| count.until > now);
        Ok(count.map_or((0, Duration::ZERO), |count| {
            let left = u64::try_from(count.until - now).unwrap_or(0);
            (count.tries, Duration::from_millis(left))
        }))
    }

    /// Forgets the tries of a key, because the last of them was right.
    pub async fn clear(&self, rule: &LockOut, key: &Key) -> Result<()> {
        let request = self.table.client.delete_item().table_name(&self.table.name);
        let request = request.key("pk", pk(rule, key)).key("sk", text("tries"));
        request
            .send()
            .await
            .map_err(|error| from_sdk("dynamodb.DeleteItem", &error))?;
        Ok(())
    }

    /// Takes back the one try of a check that succeeded, where that says nothing of the tries before:
    /// they stay counted.
    pub async fn take_back(&self, rule: &LockOut, key: &Key) -> Result<()> {
        let request = self.table.client.update_item().table_name(&self.table.name);
        let request = request
            .key("pk", pk(rule, key))
            .key("sk", text("tries"))
            .update_expression("SET tries = tries - :one")
            .condition_expression("tries > :none AND valid_until > :now")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":now", number(self.clock.now().as_millisecond()));
        match request.send().await {
            Ok(_) => Ok(()),
            // Its time is over, or it was cleared meanwhile.
            Err(SdkError::ServiceError(service)) if service.err().is_conditional_check_failed_exception() => {
                Ok(())
            }
            Err(error) => Err(from_sdk("dynamodb.UpdateItem", &error)),
        }
    }

    /// Writes `next` if the count is still what was seen, else gives what is there. Nothing seen
    /// stands for no count or one whose time is over.
    async fn replace(
        &self,
        rule: &LockOut,
        key: &Key,
        seen: Option<Count>,
        next: Count,
        now: i64,
    ) -> Result<Result<(), Option<Count>>> {
        let mut request = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .key("pk", pk(rule, key))
            .key("sk", text("tries"))
            .update_expression("SET tries = :tries, valid_until = :until, expires_at = :expires_at")
            .expression_attribute_values(":tries", number(next.tries))
            .expression_attribute_values(":until", number(next.until))
            .expression_attribute_values(":expires_at", number(next.until / 1000 + 60))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        request = match seen {
            Some(seen) => request
                .condition_expression("tries = :seen_tries AND valid_until = :seen_until")
                .expression_attribute_values(":seen_tries", number(seen.tries))
                .expression_attribute_values(":seen_until", number(seen.until)),
            None => request
                .condition_expression("attribute_not_exists(pk) OR valid_until <= :now")
                .expression_attribute_values(":now", number(now)),
        };
        match request.send().await {
            Ok(_) => Ok(Ok(())),
            Err(SdkError::ServiceError(service)) if service.err().is_conditional_check_failed_exception() => {
                let UpdateItemError::ConditionalCheckFailedException(failed) = service.into_err() else {
                    return Err(Error::internal("a failed condition without its error"));
                };
                Ok(Err(failed.item.as_ref().and_then(Count::of)))
            }
            Err(error) => Err(from_sdk("dynamodb.UpdateItem", &error)),
        }
    }
}

impl Count {
    fn of(item: &Item) -> Option<Self> {
        let tries = u32::try_from(number_of(item, "tries")?).ok()?;
        Some(Self {
            tries,
            until: number_of(item, "valid_until")?,
        })
    }
}

fn pk(rule: &LockOut, key: &Key) -> aws_sdk_dynamodb::types::AttributeValue {
    text(format!("lock#{}#{key}", rule.name))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
