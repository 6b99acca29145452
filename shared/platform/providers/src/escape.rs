//! Makes a provider's JSON safe for parsers and for Postgres, which stores neither NUL nor half a
//! surrogate pair, and measures its nesting without recursion.

use std::borrow::Cow;

/// U+FFFD, escaped: as long as the six bytes it replaces.
const REPLACEMENT: &[u8; 6] = b"\\ufffd";

/// The body as UTF-8 in which `\u0000`, escapes of lone surrogates, raw NULs and invalid bytes
/// are U+FFFD. Borrows when nothing had to change. One pass, no recursion.
///
/// Run it after the signature was checked: signatures are over the bytes as sent.
pub fn safe(json: &[u8]) -> Cow<'_, str> {
    let mut text = String::from_utf8_lossy(json);
    if text.contains('\0') {
        text = Cow::Owned(text.replace('\0', "\u{fffd}"));
    }
    let bad = bad_escapes(text.as_bytes());
    if bad.is_empty() {
        return text;
    }
    let mut bytes = text.into_owned().into_bytes();
    for start in bad {
        bytes[start..start + 6].copy_from_slice(REPLACEMENT);
    }
    // ASCII replaced by ASCII of the same length, so this is the same UTF-8 still; the lossy
    // conversion only spares an unreachable error.
    Cow::Owned(
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
    )
}

/// Offsets of the escapes that have to go.
fn bad_escapes(json: &[u8]) -> Vec<usize> {
    let mut bad = Vec::new();
    let mut at = 0;
    while let Some(found) = json
        .get(at..)
        .and_then(|rest| rest.iter().position(|&b| b == b'\\'))
    {
        at += found;
        let Some(unit) = code_unit(json, at) else {
            // Any other escape, `\\` above all, is two bytes.
            at += 2;
            continue;
        };
        let paired = (0xD800..0xDC00).contains(&unit)
            && code_unit(json, at + 6).is_some_and(|low| (0xDC00..0xE000).contains(&low));
        if paired {
            at += 12;
            continue;
        }
        if unit == 0 || (0xD800..0xE000).contains(&unit) {
            bad.push(at);
        }
        at += 6;
    }
    bad
}

/// The value of a `\uXXXX` that starts at `at`.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let hex = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    hex.iter().try_fold(0u16, |unit, &digit| {
        let value = (digit as char).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

/// The deepest nesting of arrays and objects, brackets inside strings not counted. 0 for a
/// scalar. Linear, and works on anything, JSON or not.
pub fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> String {
        serde_json::from_str(&safe(json.as_bytes())).unwrap()
    }

    #[test]
    fn replaces_what_postgres_refuses() {
        assert_eq!(parsed(r#""a\u0000b""#), "a\u{fffd}b");
        assert_eq!(parsed(r#""\ud83d""#), "\u{fffd}");
        assert_eq!(parsed(r#""\uDE2E""#), "\u{fffd}");
        assert_eq!(parsed(r#""\ud83dx\ude2e""#), "\u{fffd}x\u{fffd}");
        assert_eq!(parsed(r#""\ude2e\ud83d""#), "\u{fffd}\u{fffd}");
        assert_eq!(parsed(r#""\ud83d\ud83d\ude2e""#), "\u{fffd}😮");
        assert_eq!(parsed("\"a\0b\""), "a\u{fffd}b");
        assert_eq!(safe(b"\"\xff\""), "\"\u{fffd}\"");
    }

    #[test]
    fn leaves_what_is_fine_and_borrows_it() {
        for json in [
            r#""\ud83d\ude2e""#,
            r#""\\u0000 \\\\ud83d""#,
            r#""\u0001\n\"""#,
            "\"مرحبا\"",
            "",
            "\\",
            "\\u00",
            "\\u00g0",
        ] {
            let cow = safe(json.as_bytes());
            assert_eq!(cow, json);
            assert!(matches!(cow, Cow::Borrowed(_)), "{json}");
        }
    }

    #[test]
    fn a_backslash_escaped_before_u_is_not_an_escape_but_three_are() {
        assert_eq!(safe(br#""\\\u0000""#), r#""\\\ufffd""#);
    }

    #[test]
    fn depth_ignores_strings_and_survives_anything() {
        assert_eq!(depth(b"1"), 0);
        assert_eq!(depth(br#"{"a":[{"b":1}],"c":[]}"#), 3);
        assert_eq!(depth(br#"["[[[","\"[[","\\",[]]"#), 2);
        assert_eq!(depth(b"]]]}[["), 2);
        assert_eq!(depth("[".repeat(10_000).as_bytes()), 10_000);
    }
}
