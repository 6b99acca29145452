//! How much of what costs something an address, a mailbox or a company may ask for.

use cloud::{LINKS, MAILBOX, RateLimit};
use config::Env;
use std::time::Duration;

/// What one address may do, and one account, mailbox or company bear.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Wrong passwords, and of each kind of proof as many, of one account within 10 minutes (S1.6).
    pub wrong_tries: u32,
    /// How long none is looked at after that.
    pub back_off: Duration,
    pub logins: RateLimit,
    pub signups: RateLimit,
    pub refreshes: RateLimit,
    /// Asking for a link by mail.
    pub mails: RateLimit,
    /// Following one.
    pub links: RateLimit,
    /// Asking for a code to verify a phone.
    pub phones: RateLimit,
    /// Messages that strangers can have us send to one mailbox.
    pub mailbox: RateLimit,
    /// Codes to verify phones that one company can have us send: each costs money.
    pub phones_of_tenant: RateLimit,
}

impl Limits {
    /// A whole office behind one address may log in after a holiday; a list of stolen passwords may not.
    pub const DEFAULT: Self = Self {
        wrong_tries: 5,
        back_off: Duration::from_mins(10),
        logins: RateLimit {
            name: "login-ip",
            capacity: 300,
            per: Duration::from_mins(10),
        },
        signups: RateLimit {
            name: "signup-ip",
            capacity: 30,
            per: Duration::from_hours(1),
        },
        refreshes: RateLimit {
            name: "refresh-ip",
            capacity: 1200,
            per: Duration::from_mins(10),
        },
        mails: RateLimit {
            name: "mail-ip",
            capacity: 60,
            per: Duration::from_hours(1),
        },
        links: LINKS,
        phones: RateLimit {
            name: "phone-ip",
            capacity: 60,
            per: Duration::from_hours(1),
        },
        mailbox: MAILBOX,
        phones_of_tenant: RateLimit {
            name: "phone-tenant",
            capacity: 200,
            per: Duration::from_hours(24),
        },
    };

    /// As the environment says (`LOGIN_TRIES`, `LOGIN_BACKOFF_MINUTES`); what addresses may do is so many times
    /// the default.
    pub(crate) fn from_env(env: &Env, factor: u32) -> config::Result<Self> {
        let minutes = env.number("LOGIN_BACKOFF_MINUTES", 10, 1..=1440)?;
        Ok(Self {
            wrong_tries: env.number("LOGIN_TRIES", Self::DEFAULT.wrong_tries, 3..=20)?,
            back_off: Duration::from_mins(minutes.into()),
            ..Self::times(factor)
        })
    }

    /// So many times the default.
    #[must_use]
    pub const fn times(factor: u32) -> Self {
        let mut limits = Self::DEFAULT;
        limits.logins.capacity *= factor;
        limits.signups.capacity *= factor;
        limits.refreshes.capacity *= factor;
        limits.mails.capacity *= factor;
        limits.links.capacity *= factor;
        limits.phones.capacity *= factor;
        limits.mailbox.capacity *= factor;
        limits.phones_of_tenant.capacity *= factor;
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_how_many_tries_there_are_and_a_mistake_is_told() {
        let none = Limits::from_env(&Env::from_pairs([]), 1).unwrap();
        assert_eq!((none.wrong_tries, none.back_off), (5, Duration::from_mins(10)));
        let set = [("LOGIN_TRIES", "3"), ("LOGIN_BACKOFF_MINUTES", "60")];
        let set = Limits::from_env(&Env::from_pairs(set), 1).unwrap();
        assert_eq!((set.wrong_tries, set.back_off), (3, Duration::from_hours(1)));
        for (name, value) in [
            ("LOGIN_TRIES", "0"),
            ("LOGIN_TRIES", "many"),
            ("LOGIN_BACKOFF_MINUTES", "1441"),
        ] {
            let refused = Limits::from_env(&Env::from_pairs([(name, value)]), 1).unwrap_err();
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }
}
