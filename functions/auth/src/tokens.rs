//! Access tokens: made here, verified everywhere.

use config::{Env, Secrets, SigningKeys, TokenKeys, secret};
use identity::refresh_token::{self, Owner};
use identity::token::{LIFETIME_SECONDS, Signer};
use identity::{RefreshToken, Session};
use jiff::SignedDuration;
use kernel::{Clock, Error, Result, TenantId};
use web::{Claims, TokenVerifier};

/// Makes and verifies the access tokens of one issuer.
pub struct Tokens {
    signer: Signer,
    verifier: TokenVerifier,
    issuer: String,
    audience: String,
    access_seconds: i64,
    refresh_lasts: SignedDuration,
}

impl Tokens {
    /// # Errors
    /// Internal, when the active key is missing, can't sign, or is not among the published ones:
    /// nobody would accept its tokens.
    pub fn new(signing: &SigningKeys, published: &TokenKeys, issuer: &str, audience: &str) -> Result<Self> {
        let active = signing.keys.iter().find(|key| key.kid == signing.active);
        let active = active
            .ok_or_else(|| Error::internal(format!("the signing key {} is missing", signing.active)))?;
        let tokens = Self {
            signer: Signer::new(&active.kid, active.private_key.expose())?,
            verifier: TokenVerifier::new(published, issuer, audience)?,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            access_seconds: LIFETIME_SECONDS,
            refresh_lasts: refresh_token::LIFETIME,
        };
        let probe = tokens.claims(
            TenantId(uuid::Uuid::nil()),
            Session {
                id: uuid::Uuid::nil(),
                user_id: uuid::Uuid::nil(),
            },
            0,
        );
        let probe = Claims {
            iat: 0,
            exp: i64::MAX,
            ..probe
        };
        tokens
            .verifier
            .verify(&tokens.signer.sign(&probe)?, &Clock::system())
            .map_err(|_| {
                Error::internal(format!(
                    "the signing key {} is not the one that is published",
                    active.kid
                ))
            })?;
        Ok(tokens)
    }

    pub(crate) fn from_config(env: &Env, secrets: &Secrets) -> Result<Self> {
        let signing: SigningKeys = secrets.parse(secret::TOKEN_SIGNING).map_err(Error::internal)?;
        let published: TokenKeys = secrets.parse(secret::TOKEN_KEYS).map_err(Error::internal)?;
        let issuer = env.required("TOKEN_ISSUER").map_err(Error::internal)?;
        let audience = env.or("TOKEN_AUDIENCE", "m3corecrm");
        Self::new(&signing, &published, issuer, audience)?
            .lasting(env)
            .map_err(Error::internal)
    }

    /// The same, good for as long as the environment says (S1.6): `ACCESS_TOKEN_MINUTES`, `REFRESH_TOKEN_DAYS`.
    ///
    /// # Errors
    /// When one is no number, or out of bounds.
    pub fn lasting(self, env: &Env) -> config::Result<Self> {
        let minutes = env.number("ACCESS_TOKEN_MINUTES", 15, 1..=60)?;
        let days = env.number("REFRESH_TOKEN_DAYS", 30, 1..=90)?;
        Ok(Self {
            access_seconds: i64::from(minutes) * 60,
            refresh_lasts: SignedDuration::from_hours(i64::from(days) * 24),
            ..self
        })
    }

    /// How long an access token is good for.
    pub(crate) fn access_seconds(&self) -> i64 {
        self.access_seconds
    }

    /// A new refresh token.
    pub(crate) fn refresh_token(&self) -> Result<RefreshToken> {
        Ok(RefreshToken::generate()?.lasting(self.refresh_lasts))
    }

    /// An access token of a session.
    pub(crate) fn access_token(&self, tenant: TenantId, session: Session, clock: &Clock) -> Result<String> {
        self.signer
            .sign(&self.claims(tenant, session, clock.now().as_second()))
    }

    /// Whose session an access token is of.
    pub(crate) fn owner(&self, token: &str, clock: &Clock) -> Result<Owner> {
        let claims = self.verifier.verify(token, clock)?;
        Ok(Owner {
            tenant: TenantId(claims.tid),
            user_id: claims.sub,
            session_id: claims.sid,
        })
    }

    fn claims(&self, tenant: TenantId, session: Session, now: i64) -> Claims {
        Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: session.user_id,
            tid: tenant.0,
            sid: session.id,
            iat: now,
            exp: now + self.access_seconds,
        }
    }
}
