//! How much of what costs something an address, a mailbox or a company may ask for.

use cloud::{LINKS, MAILBOX, RateLimit};
use std::time::Duration;

/// What one address may do, and one mailbox or company bear.
#[derive(Clone, Debug)]
pub struct Limits {
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
