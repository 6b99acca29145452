//! Which API keys this process noted the use of within the last minute.

use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

const INTERVAL: SignedDuration = SignedDuration::from_mins(1);
/// Beyond this many keys the older entries are dropped; they would be due in a moment anyway.
const REMEMBERED: usize = 1024;

#[derive(Clone, Debug, Default)]
pub(crate) struct UsedKeys(Arc<Mutex<HashMap<Uuid, Timestamp>>>);

impl UsedKeys {
    /// Whether the last noted use of the key is a minute ago, or was never noted.
    pub(crate) fn is_due(&self, key: Uuid, now: Timestamp) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get(&key).is_none_or(|at| due(*at, now))
    }

    pub(crate) fn note(&self, key: Uuid, now: Timestamp) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= REMEMBERED {
            noted.retain(|_, at| !due(*at, now));
        }
        if noted.len() >= REMEMBERED {
            noted.clear();
        }
        noted.insert(key, now);
    }
}

fn due(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) >= INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_once_a_minute() {
        let (used, key) = (UsedKeys::default(), Uuid::from_u128(1));
        let now: Timestamp = "2026-05-01T10:00:00Z".parse().unwrap();
        assert!(used.is_due(key, now));
        used.note(key, now);
        assert!(!used.is_due(key, now + SignedDuration::from_secs(59)));
        assert!(used.is_due(Uuid::from_u128(2), now));
        assert!(used.is_due(key, now + INTERVAL));
    }

    #[test]
    fn however_many_keys_there_are_only_so_many_are_remembered() {
        let used = UsedKeys::default();
        let now: Timestamp = "2026-05-01T10:00:00Z".parse().unwrap();
        for key in 0..5000 {
            used.note(Uuid::from_u128(key), now);
        }
        assert!(used.0.lock().unwrap().len() <= REMEMBERED);
        assert!(!used.is_due(Uuid::from_u128(4999), now));
    }
}
