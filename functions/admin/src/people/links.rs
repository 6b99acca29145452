//! How often an address may follow links. When `DynamoDB` is away they are followed all the same: a
//! token of 256 random bits is not guessed.

use cloud::{Key, RateLimit, RateLimiter};
use kernel::{Origin, Result, Sealer};
use web::Quota;

/// Counts the links that an address follows.
#[derive(Clone)]
pub struct Links {
    limiter: RateLimiter,
    limit: RateLimit,
    sealer: Sealer,
}

impl Links {
    /// `sealer` keys the hashes of addresses.
    #[must_use]
    pub fn new(limiter: RateLimiter, limit: RateLimit, sealer: Sealer) -> Self {
        Self {
            limiter,
            limit,
            sealer,
        }
    }

    pub(crate) async fn follow(&self, origin: &Origin, quota: &Quota) -> Result<()> {
        // The gateway always tells the address.
        let Some(ip) = &origin.ip else { return Ok(()) };
        let taken = self
            .limiter
            .take(&self.limit, &Key::personal(&self.sealer, ip))
            .await;
        let decision = match taken {
            Ok(decision) => decision,
            Err(error) => {
                tracing::warn!(
                    cause = telemetry::chain(&error),
                    limit = self.limit.name,
                    "going on without a rate limit"
                );
                return Ok(());
            }
        };
        quota.note(decision.limit, decision.remaining, decision.reset_after);
        decision.check()
    }
}
