//! What Twilio's error codes mean for a message.

use crate::send::SendErrorKind::{self, Permanent, Transient};

/// The meaning of `code`, `None` where the HTTP status says enough.
pub fn meaning(code: i64) -> Option<(SendErrorKind, &'static str)> {
    Some(match code {
        20_003 | 20_008 | 20_403 => (Permanent, "AUTH"),
        // API, queue, per-number, channel and daily limits.
        14_107 | 20_429 | 21_611 | 30_001 | 30_022 | 63_018 | 63_038 => (Transient, "RATE_LIMITED"),
        20_500 | 20_503 => (Transient, "UNAVAILABLE"),
        63_016 => (Permanent, "WINDOW_CLOSED"),
        21_610 => (Permanent, "UNSUBSCRIBED"),
        21_211 | 21_214 | 21_217 | 21_614 | 63_003 | 63_024 => (Permanent, "INVALID_RECIPIENT"),
        30_003..=30_007 | 63_015 | 63_032 => (Permanent, "UNDELIVERABLE"),
        21_655..=21_658 | 63_005 | 63_027 | 63_028 | 63_040..=63_042 => (Permanent, "TEMPLATE"),
        // Suspended account, number not ours or not able, country not allowed, no such channel.
        21_212 | 21_408 | 21_603 | 21_606 | 21_612 | 21_659 | 21_660 | 30_002 | 63_007 | 63_020 => {
            (Permanent, "ACCOUNT")
        }
        _ => return None,
    })
}
