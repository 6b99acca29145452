//! What Graph API error codes mean for a message.

use crate::send::SendErrorKind::{self, Permanent, Transient};

/// The meaning of `error.code`, `None` where the HTTP status says enough.
pub fn meaning(code: i64) -> Option<(SendErrorKind, &'static str)> {
    Some(match code {
        0 | 3 | 10 | 102 | 104 | 190 | 200..=299 | 131_005 => (Permanent, "AUTH"),
        // Application, business account, throughput, spam and pair limits.
        4 | 80_007 | 130_429 | 131_048 | 131_056 => (Transient, "RATE_LIMITED"),
        1 | 2 | 131_000 | 131_016 | 131_057 | 133_004 => (Transient, "UNAVAILABLE"),
        131_047 => (Permanent, "WINDOW_CLOSED"),
        // No WhatsApp, an old client, not an allowed recipient, an experiment, too much marketing.
        130_472 | 131_026 | 131_030 | 131_049 => (Permanent, "UNDELIVERABLE"),
        131_050 => (Permanent, "UNSUBSCRIBED"),
        131_021 => (Permanent, "INVALID_RECIPIENT"),
        132_000..=132_999 => (Permanent, "TEMPLATE"),
        // Blocked for policy, locked, unpaid, number not registered.
        368 | 131_031 | 131_042 | 131_045 | 133_010 => (Permanent, "ACCOUNT"),
        33 | 100 | 131_008 | 131_009 | 131_051 => (Permanent, "REJECTED"),
        _ => return None,
    })
}
