//! Refresh tokens (S1.6): opaque, kept as a hash, good for 30 days unless set otherwise, and for one use. The rules of
//! that use are `app.rotate_refresh_token` in the migrations, because one statement must decide.

use crate::opaque::Opaque;
use aws_lc_rs::digest;
use db::{Db, Tx};
use jiff::SignedDuration;
use kernel::{Error, Origin, Result, TenantId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use uuid::Uuid;

/// How long a refresh token, and the session it keeps alive, lasts without use, unless it is set otherwise.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

const PREFIX: &str = "m3r_";

const OWNER: &str = "SELECT tenant_id, session_id, user_id FROM app.refresh_token_owner($1)";
const ROTATE: &str = "SELECT outcome, user_id, session_id FROM app.rotate_refresh_token($1, $2, $3, $4, $5)";

/// A refresh token as a client holds it.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    secret: Opaque,
    lasts: SignedDuration,
}

/// Whose a refresh token is, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub tenant: TenantId,
    pub user_id: Uuid,
    pub session_id: Uuid,
}

/// What came of spending a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rotation {
    /// The successor is the session's live token.
    Rotated { user_id: Uuid, session_id: Uuid },
    /// The token or what it belongs to is over.
    Over,
    /// The token was spent before, so somebody has a copy: the session is revoked.
    Reused,
}

impl RefreshToken {
    /// A new one.
    ///
    /// # Errors
    /// Internal, when the system has no randomness.
    pub fn generate() -> Result<Self> {
        Opaque::generate(PREFIX).map(Self::of)
    }

    fn of(secret: Opaque) -> Self {
        Self {
            secret,
            lasts: LIFETIME,
        }
    }

    /// The same, good for so long once it is stored.
    #[must_use]
    pub fn lasting(self, lasts: SignedDuration) -> Self {
        Self { lasts, ..self }
    }

    /// How long it is good for once it is stored.
    #[must_use]
    pub fn lasts(&self) -> SignedDuration {
        self.lasts
    }

    /// `None` for what can't be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Opaque::parse(PREFIX, text).map(Self::of)
    }

    /// For the answer to the client, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.secret.expose()
    }

    /// What is stored.
    pub(crate) fn hash(&self) -> Vec<u8> {
        self.secret.hash()
    }
}

/// Finds whose token it is, before a tenant is known.
///
/// # Errors
/// 503 when the database is away.
pub async fn owner(db: &Db, token: &RefreshToken) -> Result<Option<Owner>> {
    let rows = db.lookup(OWNER, &[&token.hash()]).await?;
    Ok(rows.first().map(|row| Owner {
        tenant: TenantId(row.get(0)),
        session_id: row.get(1),
        user_id: row.get(2),
    }))
}

/// Spends `token` for `successor`, or revokes the family when it was spent before. Commit it
/// whatever the outcome: a revocation must stay.
///
/// # Errors
/// As [`Tx::query`].
pub async fn rotate(tx: &Tx, token: &RefreshToken, successor: &RefreshToken) -> Result<Rotation> {
    let now = tx.clock().now();
    let client = client(tx.caller().origin());
    let row = tx
        .query_one(
            ROTATE,
            &[
                &token.hash(),
                &client,
                &successor.hash(),
                &now,
                &(now + successor.lasts()),
            ],
        )
        .await?;
    match row.get(0) {
        "rotated" => Ok(Rotation::Rotated {
            user_id: row.get(1),
            session_id: row.get(2),
        }),
        "over" => Ok(Rotation::Over),
        "reused" => Ok(Rotation::Reused),
        other => Err(Error::internal(format!("unknown outcome of a rotation: {other}"))),
    }
}

/// What tells one client from another well enough for ten seconds: its user agent and network. Not
/// its whole address, which may change between a request and its repetition.
fn client(origin: &Origin) -> Vec<u8> {
    let network = match origin.ip.as_deref().map(str::parse) {
        Some(Ok(IpAddr::V4(ip))) => ip.octets()[..3].to_vec(),
        Some(Ok(IpAddr::V6(ip))) => ip.octets()[..8].to_vec(),
        _ => Vec::new(),
    };
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(origin.user_agent.as_deref().unwrap_or_default().as_bytes());
    hash.update(&[0]);
    hash.update(&network);
    hash.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_generate_makes_parses() {
        let token = RefreshToken::generate().unwrap();
        assert_eq!(token.expose().len(), 47);
        assert_eq!(RefreshToken::parse(token.expose()).unwrap().hash(), token.hash());
        assert_ne!(token.hash(), RefreshToken::generate().unwrap().hash());
        assert!(!format!("{token:?}").contains(&token.expose()[4..]));
        let short = &token.expose()[..46];
        for bad in [
            "",
            "m3r_",
            &token.expose()[4..],
            short,
            &format!("{}A", token.expose()),
            "m3r_+++++++++++++++++++++++++++++++++++++++++++",
        ] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_client_is_its_agent_and_its_network() {
        let of = |ip: Option<&str>, agent: Option<&str>| {
            client(&Origin {
                request_id: String::new(),
                ip: ip.map(str::to_owned),
                user_agent: agent.map(str::to_owned),
                trace: None,
            })
        };
        let one = of(Some("192.0.2.7"), Some("Firefox"));
        assert_eq!(one, of(Some("192.0.2.99"), Some("Firefox")));
        for other in [
            of(Some("192.0.3.7"), Some("Firefox")),
            of(Some("192.0.2.7"), Some("curl")),
            of(None, Some("Firefox")),
            of(Some("192.0.2.7"), None),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(of(Some("2001:db8::1"), None), of(Some("2001:db8::ffff"), None));
        assert_ne!(of(Some("2001:db8::1"), None), of(Some("2001:db8:0:1::1"), None));
    }
}
