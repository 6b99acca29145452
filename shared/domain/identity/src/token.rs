//! Signing access tokens (S1.6): JWT, `EdDSA` over Ed25519, with the id of the key. What a token says
//! and how it is verified is `web`'s, which every function has; only `auth` can sign.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// How long an access token is good for.
pub const LIFETIME_SECONDS: i64 = 15 * 60;

/// Signs with the active key.
pub struct Signer {
    header: Header,
    key: EncodingKey,
}

impl Signer {
    /// `pkcs8` is the DER of the Ed25519 key that `kid` names.
    ///
    /// # Errors
    /// Internal, when the key can't sign.
    pub fn new(kid: &str, pkcs8: &[u8]) -> Result<Self> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid.to_owned());
        let signer = Self {
            header,
            key: EncodingKey::from_ed_der(pkcs8),
        };
        // The key is parsed when it signs: find out now that it can.
        signer.sign(&json!({}))?;
        Ok(signer)
    }

    /// # Errors
    /// Internal, when the claims can't be written as JSON.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String> {
        jsonwebtoken::encode(&self.header, claims, &self.key).map_err(Error::internal)
    }
}

/// The JWK set (RFC 7517, RFC 8037) of `(kid, raw public key in base64url)`.
pub fn jwks<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let jwk = |(kid, x)| json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x });
    json!({ "keys": keys.into_iter().map(jwk).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{DecodingKey, jwk::JwkSet};

    /// The key of RFC 8037, appendix A.1, as PKCS #8 (RFC 8410).
    fn rfc_key() -> Vec<u8> {
        let mut der = vec![
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ];
        der.extend(
            URL_SAFE_NO_PAD
                .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
                .unwrap(),
        );
        der
    }

    const RFC_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn signs_as_rfc_8037_does() {
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            jsonwebtoken::crypto::sign(message, &EncodingKey::from_ed_der(&rfc_key()), Algorithm::EdDSA)
                .unwrap();
        assert_eq!(
            signature,
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn the_published_key_verifies_what_was_signed_and_nothing_else() {
        let token = Signer::new("2026-a", &rfc_key())
            .unwrap()
            .sign(&json!({ "sub": "x" }))
            .unwrap();
        assert_eq!(
            jsonwebtoken::decode_header(&token).unwrap().kid.as_deref(),
            Some("2026-a")
        );
        let set: JwkSet = serde_json::from_value(jwks([("2026-a", RFC_X)])).unwrap();
        let key = DecodingKey::from_jwk(set.find("2026-a").unwrap()).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let verify = |message: &str| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::EdDSA).unwrap()
        };
        assert!(verify(message));
        assert!(!verify(&format!("{message}A")));
    }

    #[test]
    fn a_key_that_is_none_stops_the_start() {
        assert!(Signer::new("x", &rfc_key()[..40]).is_err());
        assert!(Signer::new("x", b"").is_err());
    }
}
