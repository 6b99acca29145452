//! What the server remembers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::Clock;
use providers::Timeouts;
use serde_json::Value;

use super::Mode;
use super::behaviour::{Behaviour, StatusWebhooks};
use super::call::{Answer, Call, Provider, Recorded};

/// Older requests and messages are forgotten.
const MAX_KEPT: usize = 20_000;

pub(super) struct Shared {
    /// Our own base URL.
    pub url: String,
    pub client: reqwest::Client,
    pub clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<Recorded>,
    /// How many of the requests before the first kept one are gone.
    forgotten: usize,
    /// Twilio's messages as its look-up shows them.
    messages: VecDeque<Value>,
    behaviours: BTreeMap<Provider, Behaviour>,
    /// Idempotency keys that Brevo has seen.
    keys: BTreeSet<String>,
}

impl Shared {
    pub fn new(url: String) -> Result<Self, providers::ProviderError> {
        let timeouts = Timeouts {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(30),
        };
        Ok(Self {
            url,
            client: providers::http::client(timeouts)?,
            clock: Clock::system(),
            inner: Mutex::default(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request; the number is for [`Shared::answered`].
    pub fn record(&self, provider: Provider, call: &Call) -> usize {
        let mut inner = self.inner();
        if inner.requests.len() == MAX_KEPT {
            inner.requests.pop_front();
            inner.forgotten += 1;
        }
        inner.requests.push_back(Recorded {
            provider,
            at: self.clock.now().to_string(),
            method: call.method.to_string(),
            path: call.path.clone(),
            query: call.query.clone(),
            headers: call.headers.clone(),
            body: call.body.clone(),
            mode: Mode::Ok,
            status: None,
            provider_message_id: None,
        });
        inner.forgotten + inner.requests.len() - 1
    }

    pub fn answered(&self, number: usize, answer: &Answer, mode: Mode) {
        let mut inner = self.inner();
        let at = number.checked_sub(inner.forgotten);
        if let Some(recorded) = at.and_then(|at| inner.requests.get_mut(at)) {
            recorded.mode = mode;
            recorded.status = Some(answer.status.as_u16());
            recorded.provider_message_id = answer.sent.as_ref().map(|sent| sent.provider_message_id.clone());
        }
    }

    pub fn requests(&self, provider: Option<Provider>) -> Vec<Recorded> {
        let inner = self.inner();
        let wanted = inner
            .requests
            .iter()
            .filter(|request| provider.is_none_or(|provider| request.provider == provider));
        wanted.cloned().collect()
    }

    pub fn forget(&self) {
        let mut inner = self.inner();
        inner.forgotten += inner.requests.len();
        inner.requests.clear();
        inner.messages.clear();
    }

    pub fn keep_message(&self, message: Value) {
        let mut inner = self.inner();
        if inner.messages.len() == MAX_KEPT {
            inner.messages.pop_front();
        }
        inner.messages.push_back(message);
    }

    /// False when the key was used before.
    pub fn is_new_key(&self, key: &str) -> bool {
        let mut inner = self.inner();
        if inner.keys.len() == MAX_KEPT {
            inner.keys.clear();
        }
        inner.keys.insert(key.to_owned())
    }

    /// Newest first.
    pub fn messages(&self) -> Vec<Value> {
        self.inner().messages.iter().rev().cloned().collect()
    }

    pub fn behave(&self, behaviour: Behaviour) {
        let mut inner = self.inner();
        let before = inner.behaviours.remove(&behaviour.provider);
        let after = match before {
            Some(before) if behaviour.mode.is_none() => Behaviour {
                status_webhooks: behaviour.status_webhooks.or(before.status_webhooks.clone()),
                ..before
            },
            Some(before) => Behaviour {
                status_webhooks: behaviour.status_webhooks.or(before.status_webhooks),
                ..behaviour
            },
            None => behaviour,
        };
        inner.behaviours.insert(after.provider, after);
    }

    pub fn behaviours(&self) -> Vec<Behaviour> {
        self.inner().behaviours.values().cloned().collect()
    }

    pub fn reset(&self) {
        self.inner().behaviours.clear();
    }

    /// How the next send goes; counts it.
    pub fn next_behaviour(&self, provider: Provider) -> Behaviour {
        let mut inner = self.inner();
        let Some(behaviour) = inner.behaviours.get_mut(&provider) else {
            return Behaviour::ok(provider);
        };
        let now = behaviour.clone();
        if let Some(times) = &mut behaviour.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                *behaviour = Behaviour {
                    status_webhooks: now.status_webhooks.clone(),
                    ..Behaviour::ok(provider)
                };
            }
        }
        now
    }

    pub fn status_webhooks(&self, provider: Provider) -> Option<StatusWebhooks> {
        self.inner().behaviours.get(&provider)?.status_webhooks.clone()
    }
}
