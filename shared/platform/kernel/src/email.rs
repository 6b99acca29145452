//! E-mail addresses.

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization;

/// An address as given and as compared: NFKC, lower case, without surrounding space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    pub address: String,
    pub normalised: String,
}

impl Email {
    /// `None` when it is not an address with a domain, or longer than 254 bytes.
    #[must_use]
    pub fn parse(input: &str) -> Option<Self> {
        let address = input.trim();
        let options = Options::default()
            .with_required_tld()
            .without_display_text()
            .without_domain_literal();
        EmailAddress::parse_with_options(address, options).ok()?;
        let normalised: String = address.nfkc().collect::<String>().to_lowercase();
        (address.len() <= 254 && !normalised.contains(char::is_whitespace)).then(|| Self {
            address: address.to_owned(),
            normalised,
        })
    }

    /// For display without the permission to see it: `a***@example.com`.
    #[must_use]
    pub fn masked(&self) -> String {
        match self.normalised.split_once('@') {
            Some((local, domain)) => format!("{}***@{domain}", local.chars().next().unwrap_or('*')),
            None => "***".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_without_case_and_refuses_what_is_no_address() {
        let email = Email::parse(" Mona.Ali@Example.COM ").unwrap();
        assert_eq!(email.normalised, "mona.ali@example.com");
        assert_eq!(email.masked(), "m***@example.com");
        for bad in [
            "",
            "mona",
            "mona@",
            "@x.com",
            "mona@localhost",
            "Mona <mona@x.com>",
            "a b@x.com",
            "mona@[127.0.0.1]",
        ] {
            assert!(Email::parse(bad).is_none(), "{bad}");
        }
    }
}
