//! Webhook signatures, over the bytes as they came. All comparisons are constant-time.
//!
//! A check answers yes or no and nothing else: why a signature is wrong helps only who forges it.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use kernel::Secret;

/// Whether `X-Hub-Signature-256` (`sha256=<hex>`) is Meta's HMAC-SHA256 of the raw body.
pub fn meta(header: &str, app_secret: &Secret, body: &[u8]) -> bool {
    let Some(tag) = header.strip_prefix("sha256=").and_then(unhex) else {
        return false;
    };
    hmac::verify(&meta_key(app_secret), body, &tag).is_ok()
}

/// The `X-Hub-Signature-256` that Meta would send with this body.
pub fn sign_meta(app_secret: &Secret, body: &[u8]) -> String {
    format!("sha256={}", hex(hmac::sign(&meta_key(app_secret), body).as_ref()))
}

/// Whether `X-Twilio-Signature` fits a form-encoded body posted to `url` (the public URL with its
/// query, as Twilio was told it). An empty body is a form without parameters.
pub fn twilio_form(header: &str, auth_token: &Secret, url: &str, form: &[u8]) -> bool {
    twilio(header, auth_token, url, &joined_parameters(form))
}

/// Whether `X-Twilio-Signature` fits a JSON body: the URL alone is signed, and it must carry the
/// body's own hash as `bodySHA256`. Without that parameter nothing protects the body: refused.
pub fn twilio_json(header: &str, auth_token: &Secret, url: &str, body: &[u8]) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let claimed = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "bodySHA256");
    let Some((_, claimed)) = claimed else { return false };
    let actual = hex(digest(&SHA256, body).as_ref());
    same(&actual, &claimed.to_ascii_lowercase()) && twilio(header, auth_token, url, "")
}

/// Whether the verify token of Meta's GET handshake is the account's.
pub fn meta_verify_token(presented: &str, configured: &Secret) -> bool {
    same(presented, configured.expose())
}

/// Compares in a time that depends on neither text. Both are hashed first, so that their lengths
/// don't show either.
fn same(one: &str, other: &str) -> bool {
    let (one, other) = (digest(&SHA256, one.as_bytes()), digest(&SHA256, other.as_bytes()));
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_ref(), other.as_ref()).is_ok()
}

/// The `X-Twilio-Signature` that Twilio would send with this form.
pub fn sign_twilio_form(auth_token: &Secret, url: &str, form: &[u8]) -> String {
    let key = twilio_key(auth_token);
    BASE64.encode(hmac::sign(
        &key,
        format!("{url}{}", joined_parameters(form)).as_bytes(),
    ))
}

fn twilio(header: &str, auth_token: &Secret, url: &str, parameters: &str) -> bool {
    let Ok(tag) = BASE64.decode(header) else {
        return false;
    };
    let key = twilio_key(auth_token);
    url_forms(url)
        .iter()
        .any(|url| hmac::verify(&key, format!("{url}{parameters}").as_bytes(), &tag).is_ok())
}

/// Name and value of each parameter, joined without separators: sorted by name, then by value,
/// repeats of the same pair once.
fn joined_parameters(form: &[u8]) -> String {
    let pairs: BTreeSet<_> = form_urlencoded::parse(form).collect();
    pairs
        .iter()
        .flat_map(|(name, value)| [name.as_ref(), value.as_ref()])
        .collect()
}

/// The URL as given, without a port, and with the scheme's default port: which of them was signed
/// depends on the proxies in between.
fn url_forms(url: &str) -> Vec<String> {
    let mut forms = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else {
        return forms;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host_at = authority.rfind('@').map_or(0, |at| at + 1);
    let colon = authority
        .rfind(':')
        .filter(|&at| at >= host_at && !authority[at..].contains(']'));
    if let Some(colon) = colon {
        forms.push(format!("{scheme}://{}{path}", &authority[..colon]));
    } else {
        let port = if scheme.eq_ignore_ascii_case("http") {
            80
        } else {
            443
        };
        forms.push(format!("{scheme}://{authority}:{port}{path}"));
    }
    forms
}

fn meta_key(app_secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, app_secret.expose().as_bytes())
}

fn twilio_key(auth_token: &Secret) -> hmac::Key {
    // SHA-1 is Twilio's choice; as an HMAC it still holds.
    hmac::Key::new(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        auth_token.expose().as_bytes(),
    )
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Exactly 64 hexadecimal digits, in either case.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = ((pair[0] as char).to_digit(16)?, (pair[1] as char).to_digit(16)?);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
