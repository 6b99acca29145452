//! Wrong passwords (S1.6): an account bears five in all within 10 minutes (or as many as it is set to), of logins
//! that name its company and of those that name none.
//!
//! A guess is counted under what it named, and then both counts are added up: of parallel guesses, whichever
//! is counted last sees the others. What is refused depends on the account only where nobody is told: a login
//! that names a company is refused by two counts that do not ask whether there is such an account, and one that
//! names none does not open an account that had its guesses by name.

use crate::guard::{Guard, WRONG_PASSWORDS, warn};
use cloud::{Key, too_many};
use futures::future::{join_all, try_join_all};
use identity::login::{FoundAccount, Login};
use kernel::Result;

/// A guess that was counted.
pub(crate) struct Guess {
    /// The guesses at each account, with this one.
    counted: Vec<(FoundAccount, u32)>,
    /// How many an account bears.
    borne: u32,
}

impl Guess {
    /// Whether the password of this account may be looked at.
    pub fn may_open(&self, account: FoundAccount) -> bool {
        self.counted
            .iter()
            .any(|(found, tries)| *found == account && *tries <= self.borne)
    }

    /// The accounts whose owners should know of a guess that was wrong, and whether it was the last for now.
    pub fn accounts(&self) -> impl Iterator<Item = (FoundAccount, bool)> {
        self.counted
            .iter()
            .map(|(found, tries)| (*found, *tries == self.borne))
    }
}

impl Guard {
    /// Counts a guess, before the password is looked at.
    ///
    /// # Errors
    /// 429 when the address has had its guesses.
    pub(crate) async fn guess(&self, login: &Login<'_>) -> Result<Guess> {
        let own = self.lock_key(&login.lock_key());
        let rule = self.rule(WRONG_PASSWORDS);
        let left = self.begin(WRONG_PASSWORDS, &own).await?;
        let (tries, borne) = (rule.tries - left, rule.tries);
        let others: Vec<Key> = login
            .other_lock_keys()
            .iter()
            .map(|key| self.lock_key(key))
            .collect();
        let counted = others.iter().map(|key| self.lock_outs.tries(&rule, key));
        let counted = try_join_all(counted).await?;
        if !login.is_named() {
            let each = login.accounts().zip(counted);
            let of_each = each.map(|(account, (added, _))| (account, tries + added));
            let counted = of_each.collect();
            return Ok(Guess { counted, borne });
        }
        let (added, wait) = counted.first().copied().unwrap_or_default();
        if tries + added > borne {
            // It is not looked at.
            self.not_a_guess(login).await;
            self.locked_out();
            return Err(too_many(wait));
        }
        let of_each = login.accounts().map(|account| (account, tries + added));
        let counted = of_each.collect();
        Ok(Guess { counted, borne })
    }

    /// The password was right, for an account that says nothing of the guesses before it: they stay
    /// counted, and this one is not.
    pub(crate) async fn not_a_guess(&self, login: &Login<'_>) {
        let key = self.lock_key(&login.lock_key());
        let rule = self.rule(WRONG_PASSWORDS);
        warn(self.lock_outs.take_back(&rule, &key).await);
    }

    /// The password was right: forgets what was counted so.
    pub(crate) async fn guessed_right(&self, lock_keys: &[String]) {
        let keys: Vec<Key> = lock_keys.iter().map(|key| self.lock_key(key)).collect();
        join_all(keys.iter().map(|key| self.clear(WRONG_PASSWORDS, key))).await;
    }

    fn lock_key(&self, text: &str) -> Key {
        Key::personal(&self.sealer, text)
    }
}
