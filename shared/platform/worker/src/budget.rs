//! How much of an invocation's time is left.

use kernel::Clock;
use std::time::Duration;
use tokio::time::Instant;

/// The time of one invocation.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    started: Instant,
    total: Duration,
}

impl Budget {
    /// From now on.
    #[must_use]
    pub fn of(total: Duration) -> Self {
        Self {
            started: Instant::now(),
            total,
        }
    }

    /// From now to a deadline as Lambda gives it, in milliseconds since 1970.
    #[must_use]
    pub fn until(deadline_ms: u64, clock: &Clock) -> Self {
        let now = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
        Self::of(Duration::from_millis(deadline_ms.saturating_sub(now)))
    }

    /// Whether more than a fifth is left: less is too little to begin something with.
    #[must_use]
    pub fn may_start(&self) -> bool {
        self.started.elapsed() < self.total.mul_f64(0.8)
    }

    /// When to give up what runs, so that the rest of the invocation can still be answered for.
    #[must_use]
    pub fn cut_off(&self) -> Instant {
        self.started + self.total.mul_f64(0.95)
    }
}
