//! What a signed-in user has to prove before something is done: a session alone may be stolen.

use crate::App;
use identity::proof::{self, Proof};
use kernel::{Caller, Code, Error, Result};
use std::pin::Pin;
use std::sync::OnceLock;

/// What is offered. Wrong ones are counted apart: whoever sets up an app of their own with a stolen
/// session has right codes, and those forgive no wrong passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Password,
    /// Of the app in use, or a backup code.
    Code,
    /// A code of the app that is set up.
    NewApp,
}

impl Offered {
    pub fn of(proof: &Proof) -> Self {
        match proof {
            Proof::Password(_) => Self::Password,
            Proof::Code(_) => Self::Code,
        }
    }

    /// As the audit log calls it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "code",
            Self::NewApp => "totp",
        }
    }
}

/// Whether a proof held; nothing, when it was not looked at: the transaction did not open, or an earlier
/// request with the same key was answered before.
#[derive(Debug, Default)]
pub(crate) struct Verdict(OnceLock<bool>);

impl Verdict {
    /// Notes what looking at the proof came to, and passes it on. Any other error says that it was not
    /// looked at: a key that was used before is refused by the first statement, whosever that is.
    pub fn note<T>(&self, outcome: Result<T>) -> Result<T> {
        let held = match &outcome {
            Ok(_) => Some(true),
            Err(error) => match error.code() {
                Code::AuthInvalidCredentials | Code::AuthTwoFactorInvalidCode => Some(false),
                _ => None,
            },
        };
        if let Some(held) = held {
            // The first look counts.
            let _ = self.0.set(held);
        }
        outcome
    }
}

impl App {
    /// Does what needs a proof. The try is counted before the proof is looked at, and those before it are
    /// forgotten when the proof itself held, which `work` notes in `verdict`; one that was wrong leaves a
    /// line in the audit log. Whose session is over looks at nothing and has no try counted: it could lock
    /// the user out of their own account with it. (`work` is boxed because a transaction's future is large.)
    ///
    /// # Errors
    /// 429 after too many wrong ones; as `work`.
    pub(crate) async fn with_proof<T>(
        &self,
        caller: &Caller,
        offered: Offered,
        verdict: &Verdict,
        work: Pin<Box<impl Future<Output = Result<T>>>>,
    ) -> Result<T> {
        let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
        self.guard.proof(offered, user_id).await?;
        let outcome = work.await;
        match verdict.0.get() {
            Some(true) => self.guard.proof_held(offered, user_id).await,
            Some(false) => {
                // A transaction of its own: that of the work is undone, and its idempotency key with it.
                let noting = Self::act_for(caller.tenant(), caller.origin());
                let noted = self.db.write(&noting, async |tx| {
                    proof::audit_failure(&tx, user_id, offered.as_str()).await
                });
                noted.await?;
            }
            None => {
                let refused = |error: &Error| error.code() == Code::Unauthenticated;
                if outcome.as_ref().is_err_and(refused) {
                    self.guard.not_a_proof(offered, user_id).await;
                }
            }
        }
        outcome
    }
}
