//! What is kept of an answer: short lists, and no secret.

use serde_json::Value;

/// How many items a list shows.
const ITEMS: usize = 2;
/// Members whose text is a secret, whatever its form. The other secrets are told by their form.
const SECRETS: [&str; 3] = ["secret", "backup_codes", "recoveryCodes"];
/// What secrets become; all letters of base32, of our tokens and, in small, of backup codes.
const FILLING: &str = "EXAMPLE";
const JWT: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSJ9.eyJzdWIiOiJFWEFNUExFIn0.EXAMPLE";
/// The first bytes of every PNG.
const PICTURE: &str = "data:image/png;base64,iVBORw0KGgo=";

/// The answer as an example: the same each time, also of what is tidy already.
pub fn tidy(mut answer: Value) -> Value {
    shorten(&mut answer, false);
    answer
}

fn shorten(value: &mut Value, is_secret: bool) {
    match value {
        Value::Array(items) => {
            items.truncate(ITEMS);
            for item in items {
                shorten(item, is_secret);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                shorten(member, SECRETS.contains(&name.as_str()));
            }
        }
        Value::String(text) => {
            if let Some(shown) = shown(text, is_secret) {
                *text = shown;
            }
        }
        _ => {}
    }
}

/// What is shown in the place of a text that is not shown as it is.
fn shown(text: &str, is_secret: bool) -> Option<String> {
    if text.starts_with("eyJ") && text.matches('.').count() == 2 {
        return Some(JWT.to_owned());
    }
    if text.starts_with("data:image/png;base64,") {
        return Some(PICTURE.to_owned());
    }
    if let Some((address, query)) = text.split_once('?')
        && query.contains("X-Amz-Signature=")
    {
        let name = address.rsplit('/').next().unwrap_or_default();
        return Some(format!(
            "https://exports.example.com/{name}?X-Amz-Signature={FILLING}"
        ));
    }
    if let Some((before, after)) = text.split_once("?secret=")
        && before.starts_with("otpauth:")
    {
        let secret: String = after.chars().take_while(|&c| c != '&').collect();
        let rest = &after[secret.len()..];
        return Some(format!("{before}?secret={}{rest}", filled(&secret)));
    }
    if is_token(text) {
        let (kind, random) = text.split_at(4);
        return Some(format!("{kind}{}", filled(random)));
    }
    is_secret.then(|| filled(text))
}

/// `m3r_…`, `m3k_…` and their like.
fn is_token(text: &str) -> bool {
    matches!(text.as_bytes(), [b'm', b'3', b'a'..=b'z', b'_', random @ ..]
        if random.len() >= 20 && random.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)))
}

/// As long as the secret; a code of small letters stays one, in its groups.
fn filled(secret: &str) -> String {
    let is_small = !secret.contains(|c: char| c.is_ascii_uppercase());
    let mut filling = FILLING.chars().cycle();
    let shown = secret.chars().map(|c| match filling.next() {
        Some(next) if c != '-' || !is_small => next,
        _ => c,
    });
    let shown: String = shown.collect();
    if is_small { shown.to_lowercase() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_secret_is_shown_and_no_long_list() {
        let random = "k9R2".repeat(12);
        let answer = json!({
            "access_token": format!("eyJ0eXAi.eyJpc3Mi.{random}"),
            "refresh_token": format!("m3r_{random}"),
            "prefix": format!("m3k_{}", &random[..24]),
            "secret": "LJ2XA6F2Q6RTV2BJ",
            "otpauth_uri": "otpauth://totp/M3CRM:demo%40example.com?secret=LJ2XA6F2Q6RTV2BJ&issuer=M3CRM",
            "qr_png_data_url": format!("data:image/png;base64,{random}"),
            "backup_codes": ["k2w4p-9r3qz", "22222-33333", "44444-55555"],
            "url": format!("http://127.0.0.1:4566/bucket/audit/log.csv?X-Amz-Expires=900&X-Amz-Signature={random}"),
            "data": [{ "id": 1, "name": "m3_demo" }, { "id": 2 }, { "id": 3 }],
        });
        let shown = tidy(answer);
        assert_eq!(
            shown,
            json!({
                "access_token": JWT,
                "refresh_token": format!("m3r_{}", &"EXAMPLE".repeat(7)[..48]),
                "prefix": "m3k_EXAMPLEEXAMPLEEXAMPLEEXA",
                "secret": "EXAMPLEEXAMPLEEX",
                "otpauth_uri": "otpauth://totp/M3CRM:demo%40example.com?secret=EXAMPLEEXAMPLEEX&issuer=M3CRM",
                "qr_png_data_url": PICTURE,
                "backup_codes": ["examp-eexam", "examp-eexam"],
                "url": "https://exports.example.com/log.csv?X-Amz-Signature=EXAMPLE",
                "data": [{ "id": 1, "name": "m3_demo" }, { "id": 2 }],
            })
        );
        assert_eq!(tidy(shown.clone()), shown);
    }
}
