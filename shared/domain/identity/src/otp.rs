//! One-time codes that are sent (S1.8): 6 digits, kept as a keyed hash. A slow hash would defend
//! nothing over a million values; the key and the bounded attempts do.

use aws_lc_rs::{constant_time, rand};
use db::Tx;
use kernel::{Error, Result, Secret};
use uuid::Uuid;

const DIGITS: usize = 6;
const CODES: u32 = 1_000_000;

/// A code on its way to a person.
#[derive(Clone, Debug)]
pub(crate) struct Otp(Secret);

impl Otp {
    /// One of a million, each as likely as the others.
    pub fn generate() -> Result<Self> {
        // Numbers past the last whole million would make some codes likelier.
        let bound = u32::MAX - u32::MAX % CODES;
        loop {
            let mut bytes = [0; 4];
            rand::fill(&mut bytes).map_err(|_| Error::internal("no randomness"))?;
            let number = u32::from_be_bytes(bytes);
            if number < bound {
                return Ok(Self(Secret::new(format!("{:0DIGITS$}", number % CODES))));
            }
        }
    }

    /// What somebody typed, with spaces between groups; `None` for what is no code.
    pub fn parse(input: &str) -> Option<Self> {
        let digits = digits(input);
        (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| Self(Secret::new(digits)))
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is stored for the code of one purpose, `of`: the same code elsewhere has another hash.
    pub fn hash(&self, tx: &Tx, of: Uuid) -> Vec<u8> {
        let context = format!("{}/otp/{of}", tx.tenant());
        tx.sealer().lookup_hash(&context, self.0.expose())
    }

    pub fn is(&self, tx: &Tx, of: Uuid, stored: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.hash(tx, of), stored).is_ok()
    }
}

/// A code as typed, without what people put between its groups.
pub(crate) fn digits(input: &str) -> String {
    input
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .take(32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_six_digits_and_differ() {
        let codes: std::collections::HashSet<String> = (0..200)
            .map(|_| Otp::generate().unwrap().expose().to_owned())
            .collect();
        assert!(codes.len() > 190);
        assert!(
            codes
                .iter()
                .all(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))
        );
        assert!(!format!("{:?}", Otp::parse("123456").unwrap()).contains("123456"));
    }

    #[test]
    fn groups_are_joined_and_what_is_no_code_is_refused() {
        assert_eq!(Otp::parse(" 123 456 ").unwrap().expose(), "123456");
        assert_eq!(Otp::parse("123-456").unwrap().expose(), "123456");
        for bad in ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", &"1".repeat(10_000)] {
            assert!(Otp::parse(bad).is_none());
        }
    }
}
