//! The token of an API key. It carries the tenant and the key's id beside the secret, so the key is
//! checked by the statement that opens the transaction and needs no look-up before.

use crate::{Error, Result, Secret, TenantId};
use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// Lets secret scanners and people tell what they found.
pub const PREFIX: &str = "m3k_";
const SECRET_BYTES: usize = 32;
/// The beginning of a token that holds the tenant, the key and no bit of the secret: 32 bytes are 42
/// characters of base64 and a part of the next.
const SHOWN_CHARS: usize = PREFIX.len() + 42;

/// An API key as a program sends it.
#[derive(Clone, Debug)]
pub struct ApiKeyToken {
    pub tenant: TenantId,
    pub key_id: Uuid,
    secret: Secret<[u8; SECRET_BYTES]>,
}

impl ApiKeyToken {
    /// A new one.
    ///
    /// # Errors
    /// Internal, when the system has no randomness.
    pub fn generate(tenant: TenantId, key_id: Uuid) -> Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        rand::fill(&mut secret).map_err(|_| Error::internal("no randomness"))?;
        Ok(Self {
            tenant,
            key_id,
            secret: Secret::new(secret),
        })
    }

    /// `None` for what can't be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (tenant, rest) = bytes.split_first_chunk::<16>()?;
        let (key_id, secret) = rest.split_first_chunk::<16>()?;
        Some(Self {
            tenant: TenantId(Uuid::from_bytes(*tenant)),
            key_id: Uuid::from_bytes(*key_id),
            secret: Secret::new(secret.try_into().ok()?),
        })
    }

    /// For the answer that creates the key, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> String {
        let parts: [&[u8]; 3] = [
            self.tenant.0.as_bytes(),
            self.key_id.as_bytes(),
            self.secret.expose(),
        ];
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(parts.concat()))
    }

    /// The beginning of it, for people to recognise the key by.
    #[must_use]
    pub fn shown(&self) -> String {
        self.expose().chars().take(SHOWN_CHARS).collect()
    }

    /// What is stored: 256 random bits need no salt and no slow hash.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, self.secret.expose()).as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_shows_itself_to_nobody() {
        let token = ApiKeyToken::generate(TenantId(Uuid::from_u128(7)), Uuid::from_u128(8)).unwrap();
        let read = ApiKeyToken::parse(&token.expose()).unwrap();
        assert_eq!(
            (read.tenant, read.key_id, read.hash()),
            (token.tenant, token.key_id, token.hash())
        );
        assert!(format!("{token:?}").contains("***"));
    }

    #[test]
    fn what_is_shown_of_a_token_does_not_depend_on_its_secret() {
        let token = || ApiKeyToken::generate(TenantId(Uuid::from_u128(7)), Uuid::from_u128(8)).unwrap();
        let tokens: Vec<ApiKeyToken> = (0..64).map(|_| token()).collect();
        assert!(tokens.iter().all(|token| token.shown() == tokens[0].shown()));
        assert!(tokens[0].expose().starts_with(&tokens[0].shown()));
        let other = ApiKeyToken::generate(TenantId(Uuid::from_u128(7)), Uuid::from_u128(9 << 4)).unwrap();
        assert_ne!(other.shown(), tokens[0].shown());
    }

    #[test]
    fn what_is_too_short_too_long_or_something_else_is_none() {
        let token = ApiKeyToken::generate(TenantId(Uuid::nil()), Uuid::nil())
            .unwrap()
            .expose();
        for text in [
            "",
            "m3k_",
            "m3r_AAAA",
            &token[..token.len() - 2],
            &format!("{token}AAAA"),
        ] {
            assert!(ApiKeyToken::parse(text).is_none(), "{text}");
        }
    }
}
