//! Sealing one value under a key of its own, which travels apart from it: where the value lies, nobody
//! can read it, and once the key is gone nobody ever will.

use crate::{Error, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const KEY_LEN: usize = 32;

/// The key of one value. Serialised as base64.
#[derive(Clone)]
pub struct SingleKey([u8; KEY_LEN]);

impl SingleKey {
    /// Seals a value under a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(mut value: Vec<u8>) -> Result<(Self, Vec<u8>)> {
        let mut key = [0; KEY_LEN];
        rand::fill(&mut key).map_err(|_| Error::internal("no randomness"))?;
        let key = Self(key);
        key.cipher()?
            .seal_in_place_append_tag(nonce(), Aad::empty(), &mut value)
            .map_err(|_| Error::internal("sealing failed"))?;
        Ok((key, value))
    }

    /// Opens the value that this key was made for.
    ///
    /// # Errors
    /// Internal, when it is another one, or was changed.
    pub fn open(&self, mut sealed: Vec<u8>) -> Result<Vec<u8>> {
        let opened = self.cipher()?.open_in_place(nonce(), Aad::empty(), &mut sealed);
        let len = opened
            .map_err(|_| Error::internal("a value does not open with the key that came for it"))?
            .len();
        sealed.truncate(len);
        Ok(sealed)
    }

    fn cipher(&self) -> Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &self.0).map_err(|_| Error::internal("not an AES key"))?;
        Ok(LessSafeKey::new(key))
    }
}

/// Never the same twice for a key, for a key seals once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl Serialize for SingleKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for SingleKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| de::Error::custom("a key is 32 bytes in base64"))
    }
}

impl std::fmt::Debug for SingleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::SingleKey;

    #[test]
    fn only_its_own_key_opens_a_value_and_no_changed_one() {
        let value = b"from 201001234567".to_vec();
        let (key, sealed) = SingleKey::seal(value.clone()).unwrap();
        let (other, again) = SingleKey::seal(value.clone()).unwrap();
        assert_ne!(sealed, again);
        assert!(!sealed.windows(5).any(|part| part == b"20100"));
        let travelled: SingleKey = serde_json::from_str(&serde_json::to_string(&key).unwrap()).unwrap();
        assert_eq!(travelled.open(sealed.clone()).unwrap(), value);
        assert!(other.open(sealed.clone()).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(changed).is_err(), "byte {at}");
        }
        for wrong in ["\"\"", "\"AAAA\"", "\"no base64\"", "7"] {
            assert!(serde_json::from_str::<SingleKey>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{key:?}"), "***");
    }
}
