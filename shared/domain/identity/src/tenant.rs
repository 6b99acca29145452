//! Tenants: companies that use the system (S1.3).

use aws_lc_rs::rand;
use db::Tx;
use kernel::{Error, Result, text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const SLUG_CHARS: usize = 40;
/// Without what is read as another: no 0, 1, i, l. A power of two, so that a byte picks one
/// without bias.
const SUFFIX_ALPHABET: &[u8; 32] = b"abcdefghjkmnopqrstuvwxyz23456789";
const SUFFIX_CHARS: usize = 6;
/// A suffix has 30 bits: a second collision in a row is not chance.
const ATTEMPTS: usize = 4;

const INSERT: &str =
    "INSERT INTO tenants (id, name, slug, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (slug) DO NOTHING RETURNING id";

/// A company.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tenant {
    pub id: Uuid,
    pub name: String,
    /// Its name in URLs and at login; unique, lower case.
    pub slug: String,
}

/// Inserts the tenant that the transaction entered, with a slug made from its name.
///
/// # Errors
/// As [`Tx::query`].
pub(crate) async fn insert(tx: &Tx, name: &str) -> Result<Tenant> {
    let (id, now) = (tx.tenant().0, tx.clock().now());
    let plain = slug(name);
    for attempt in 0..ATTEMPTS {
        let slug = match &plain {
            Some(plain) if attempt == 0 => plain.clone(),
            Some(plain) => format!("{plain}-{}", suffix()?),
            None => format!("t-{}", suffix()?),
        };
        if tx.query_opt(INSERT, &[&id, &name, &slug, &now]).await?.is_some() {
            return Ok(Tenant {
                id,
                name: name.to_owned(),
                slug,
            });
        }
    }
    Err(Error::internal("no free slug was found"))
}

/// Latin letters and digits of the name with hyphens between; `None` when too little is left (a
/// name in Arabic), or when it would read as an id.
fn slug(name: &str) -> Option<String> {
    let words: Vec<String> = text::sort_key(name)
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let slug: String = words.join("-").chars().take(SLUG_CHARS).collect();
    let slug = slug.trim_end_matches('-');
    (slug.len() >= 2 && slug.parse::<Uuid>().is_err()).then(|| slug.to_owned())
}

fn suffix() -> Result<String> {
    let mut bytes = [0; SUFFIX_CHARS];
    rand::fill(&mut bytes).map_err(|_| Error::internal("no randomness"))?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(SUFFIX_ALPHABET[usize::from(byte % 32)]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_of_what_latin_letters_there_are() {
        for (name, expected) in [
            ("Nile Homes", Some("nile-homes")),
            ("  Élan & Co. (Cairo) ", Some("elan-co-cairo")),
            ("شركة Acme العقارية", Some("acme")),
            ("شركة النيل", None),
            ("x", None),
            ("019a0000-0000-7000-8000-000000000001", None),
            (
                "a b c d e f g h i j k l m n o p q r s t u v w x y z",
                Some("a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q-r-s-t"),
            ),
        ] {
            assert_eq!(slug(name).as_deref(), expected, "{name}");
        }
    }
}
