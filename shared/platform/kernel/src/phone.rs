//! Phone numbers in E.164 (S1.8: strict).

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};

/// A valid number, `+` and digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phone(String);

impl Phone {
    /// Strict E.164: a plus, a country code and a number that the country has. Spaces, dashes and
    /// parentheses are allowed and dropped; a national number is refused, because nobody said of
    /// which country.
    #[must_use]
    pub fn parse(input: &str) -> Option<Self> {
        let input = input.trim();
        if !input.starts_with('+') || input.len() > 32 {
            return None;
        }
        let number = PHONE_NUMBER_UTIL.parse(input, None).ok()?;
        PHONE_NUMBER_UTIL.is_valid_number(&number).then(|| {
            Self(
                PHONE_NUMBER_UTIL
                    .format(&number, PhoneNumberFormat::E164)
                    .into_owned(),
            )
        })
    }

    /// A number that a provider vouches for: digits with or without the plus. Providers know
    /// numbers that no public numbering plan lists, so only the shape is checked.
    #[must_use]
    pub fn from_provider(input: &str) -> Option<Self> {
        let digits = input.trim().trim_start_matches('+');
        let shape = (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        (shape && !digits.starts_with('0')).then(|| Self(format!("+{digits}")))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The country it is of, as in ISO 3166: `EG`. `None` for a number of no country, as a satellite's.
    #[must_use]
    pub fn country(&self) -> Option<String> {
        let number = PHONE_NUMBER_UTIL.parse(&self.0, None).ok()?;
        let region = PHONE_NUMBER_UTIL.get_region_for_number(&number)?;
        let code: &str = &region.as_region_str();
        (code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())).then(|| code.to_owned())
    }

    /// For display without the permission to see it: `+20*******67`.
    #[must_use]
    pub fn masked(&self) -> String {
        let (head, rest) = self.0.split_at(self.0.len().min(3));
        let tail = rest.len().saturating_sub(2);
        format!("{head}{}{}", "*".repeat(tail), &rest[tail..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_egypt_and_the_gulf_in_any_grouping() {
        for (input, e164) in [
            ("+20 100 123 4567", "+201001234567"),
            ("+971 (50) 123-4567", "+971501234567"),
            ("+966501234567", "+966501234567"),
            ("+965 5001 2345", "+96550012345"),
        ] {
            assert_eq!(Phone::parse(input).unwrap().as_str(), e164);
        }
    }

    #[test]
    fn knows_the_country() {
        for (number, country) in [
            ("+201001234567", Some("EG")),
            ("+96550012345", Some("KW")),
            ("+14165550123", Some("CA")),
            ("+883510000000094", None),
        ] {
            let number = Phone::from_provider(number).unwrap();
            assert_eq!(number.country().as_deref(), country, "{number:?}");
        }
    }

    #[test]
    fn refuses_national_short_and_foreign_shapes() {
        for bad in [
            "01001234567",
            "+20",
            "+2010012345678901",
            "tel:+201001234567",
            "+abc",
            "",
            "+20100123456x",
        ] {
            assert!(Phone::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn masks_all_but_the_country_and_two_digits() {
        assert_eq!(Phone::parse("+201001234567").unwrap().masked(), "+20********67");
    }
}
