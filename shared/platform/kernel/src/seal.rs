//! Personal data and provider secrets at rest: AES-256-GCM with the key's id in front, a keyed
//! HMAC-SHA-256 for look-up. A plain hash of a phone number could be guessed by trying them all.

use crate::{Error, Result, Secret};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use std::collections::BTreeMap;
use std::sync::Arc;

const NONCE_LEN: usize = 12;

/// A sealed value: one byte length of the key id, the key id, the nonce, the ciphertext with tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

/// Seals and opens with a set of keys, one of which is active.
#[derive(Clone)]
pub struct Sealer(Arc<Keys>);

struct Keys {
    active: String,
    by_id: BTreeMap<String, LessSafeKey>,
    lookup: hmac::Key,
}

impl Sealer {
    /// `keys` are 32 bytes each; `active` names the one that seals, all of them open.
    ///
    /// # Errors
    /// When a key has another length or the active one is missing.
    pub fn new(
        active: &str,
        keys: &BTreeMap<String, Secret<Vec<u8>>>,
        lookup: &Secret<Vec<u8>>,
    ) -> Result<Self> {
        let by_id = keys
            .iter()
            .map(|(id, key)| {
                let key = UnboundKey::new(&AES_256_GCM, key.expose())
                    .map_err(|_| Error::internal(format!("data key {id} is not 32 bytes long")))?;
                Ok((id.clone(), LessSafeKey::new(key)))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        if !by_id.contains_key(active) || active.len() > usize::from(u8::MAX) {
            return Err(Error::internal(format!(
                "the active data key {active} is not among the keys"
            )));
        }
        if lookup.expose().len() < 32 {
            return Err(Error::internal("the look-up key is shorter than 32 bytes"));
        }
        let lookup = hmac::Key::new(hmac::HMAC_SHA256, lookup.expose());
        Ok(Self(Arc::new(Keys {
            active: active.to_owned(),
            by_id,
            lookup,
        })))
    }

    /// Seals a value for one place; `context` (tenant and field) must be the same when opened, so
    /// that a sealed value copied elsewhere is worth nothing.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Sealed> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| Error::internal("no randomness"))?;
        let mut text = plain.to_vec();
        let keys = &*self.0;
        keys.by_id[&keys.active]
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut text)
            .map_err(|_| Error::internal("sealing failed"))?;
        let id = keys.active.as_bytes();
        let mut sealed = Vec::with_capacity(1 + id.len() + NONCE_LEN + text.len());
        sealed.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
        sealed.extend_from_slice(id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(Sealed(sealed))
    }

    /// Opens what [`Sealer::seal`] made for the same context.
    ///
    /// # Errors
    /// Internal, when the key is unknown or the value was changed or moved.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let opened = self.try_open(context, sealed);
        opened.ok_or_else(|| Error::internal("a sealed value does not open: unknown key, or changed"))
    }

    fn try_open(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&id_len, rest) = sealed.split_first()?;
        let (id, rest) = rest.split_at_checked(usize::from(id_len))?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        let key = self.0.by_id.get(std::str::from_utf8(id).ok()?)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let len = key
            .open_in_place(nonce, Aad::from(context), &mut text)
            .ok()?
            .len();
        text.truncate(len);
        Some(text)
    }

    /// Like [`Sealer::open`], for text.
    ///
    /// # Errors
    /// As [`Sealer::open`], and when the value is not UTF-8.
    pub fn open_text(&self, context: &str, sealed: &[u8]) -> Result<String> {
        String::from_utf8(self.open(context, sealed)?)
            .map_err(|_| Error::internal("a sealed text is not UTF-8"))
    }

    /// The keyed hash that finds a value without opening any. `context` keeps the hashes of
    /// different tenants and kinds apart.
    #[must_use]
    pub fn lookup_hash(&self, context: &str, normalised: &str) -> Vec<u8> {
        let mut hmac = hmac::Context::with_key(&self.0.lookup);
        hmac.update(&(context.len() as u64).to_be_bytes());
        hmac.update(context.as_bytes());
        hmac.update(normalised.as_bytes());
        hmac.sign().as_ref().to_vec()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("active", &self.0.active)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(active: &str) -> Sealer {
        let keys = [("k1", 1), ("k2", 2)].map(|(id, byte)| (id.to_owned(), Secret::new(vec![byte; 32])));
        Sealer::new(active, &BTreeMap::from(keys), &Secret::new(vec![9; 32])).unwrap()
    }

    #[test]
    fn opens_what_it_sealed_also_after_the_key_was_rotated() {
        let old = sealer("k1").seal("t1/phone", b"+201001234567").unwrap();
        assert_eq!(
            sealer("k2").open_text("t1/phone", &old.0).unwrap(),
            "+201001234567"
        );
        assert_ne!(
            old,
            sealer("k1").seal("t1/phone", b"+201001234567").unwrap(),
            "a nonce is never used twice"
        );
    }

    #[test]
    fn refuses_another_place_and_any_changed_byte() {
        let sealer = sealer("k1");
        let sealed = sealer.seal("t1/phone", b"+201001234567").unwrap().0;
        assert!(sealer.open("t2/phone", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("t1/phone", &changed).is_err(), "byte {at}");
            assert!(sealer.open("t1/phone", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn look_up_hashes_differ_by_context_and_key() {
        let sealer = sealer("k1");
        let hash = sealer.lookup_hash("t1", "+201001234567");
        assert_eq!(hash, sealer.lookup_hash("t1", "+201001234567"));
        assert_ne!(hash, sealer.lookup_hash("t2", "+201001234567"));
        assert_ne!(sealer.lookup_hash("a", "bc"), sealer.lookup_hash("ab", "c"));
    }
}
