//! Tokens that only their holder knows: 256 random bits behind a prefix. What is kept is a plain
//! hash: so many random bits need no salt and no slow one.

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kernel::{Error, Result, Secret};

const RANDOM_BYTES: usize = 32;

/// A token as its holder has it.
#[derive(Clone, Debug)]
pub(crate) struct Opaque(Secret);

impl Opaque {
    /// `prefix` lets secret scanners and people tell what they found.
    pub fn generate(prefix: &str) -> Result<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        rand::fill(&mut bytes).map_err(|_| Error::internal("no randomness"))?;
        Ok(Self(Secret::new(format!(
            "{prefix}{}",
            URL_SAFE_NO_PAD.encode(bytes)
        ))))
    }

    /// `None` for what can't be one with this prefix.
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(prefix)?).ok()?;
        (bytes.len() == RANDOM_BYTES).then(|| Self(Secret::new(text.to_owned())))
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    pub fn hash(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.0.expose().as_bytes())
            .as_ref()
            .to_vec()
    }
}
