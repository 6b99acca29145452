//! What people say about themselves, checked: pictures, languages, time zones.

use kernel::Validator;

/// A language tag: letters, then parts after hyphens (BCP 47, without looking each part up).
pub(crate) fn locale(validator: &mut Validator, path: &str, tag: &str) -> String {
    let mut parts = tag.split('-');
    let language = parts.next().unwrap_or_default();
    let good = (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.all(|part| {
            (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        && tag.len() <= 35;
    if !good {
        validator.reject(path, "invalid", "Give a language tag like en, ar or ar-EG.");
    }
    tag.to_owned()
}

/// An IANA time zone, as the database of time zones spells it.
pub(crate) fn timezone(validator: &mut Validator, path: &str, name: &str) -> String {
    let found = jiff::tz::TimeZone::get(name).ok();
    if let Some(known) = found.as_ref().and_then(jiff::tz::TimeZone::iana_name) {
        return known.to_owned();
    }
    validator.reject(path, "invalid", "Give an IANA time zone like Asia/Kuwait.");
    String::new()
}

/// An `https` address with a host and no user.
pub(crate) fn is_https(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    host.is_some_and(|host| host.contains('.') && host.chars().all(plain))
        && url.len() <= 2048
        && url.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_addresses_with_a_host_are_pictures() {
        for good in ["https://cdn.example.com/a.png", "https://example.com:8443/x?y=1"] {
            assert!(is_https(good), "{good}");
        }
        for bad in [
            "http://example.com/a.png",
            "https://",
            "https:///a.png",
            "https://localhost/a",
            "https://user:pw@example.com/",
            "https://exa mple.com",
            "javascript:alert(1)",
            "data:image/png;base64,AAAA",
        ] {
            assert!(!is_https(bad), "{bad}");
        }
        assert!(!is_https(&format!("https://example.com/{}", "x".repeat(2048))));
    }

    #[test]
    fn time_zones_are_those_of_the_database() {
        let check = |name: &str| {
            let mut validator = Validator::default();
            let known = timezone(&mut validator, "timezone", name);
            validator.finish().ok().map(|()| known)
        };
        assert_eq!(check("Asia/Kuwait").as_deref(), Some("Asia/Kuwait"));
        assert_eq!(check("africa/cairo").as_deref(), Some("Africa/Cairo"));
        assert_eq!(check("UTC").as_deref(), Some("UTC"));
        for bad in ["", "Mars/Olympus", "+03:00", "../../etc/passwd"] {
            assert_eq!(check(bad), None, "{bad}");
        }
    }

    #[test]
    fn locales_are_language_tags() {
        let good = |tag: &str| {
            let mut validator = Validator::default();
            locale(&mut validator, "locale", tag);
            validator.finish().is_ok()
        };
        assert!(["en", "ar", "ar-EG", "zh-Hant-TW"].into_iter().all(good));
        assert!(
            !["", "EN", "english", "en_US", "en-", "e", "en-'x"]
                .into_iter()
                .any(good)
        );
    }
}
