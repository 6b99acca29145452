//! `OpenID` Connect: who somebody is, by the word of Google, Apple or LinkedIn (AppA.5).
//!
//! The authorisation-code flow with PKCE and a nonce. Errors hold words of ours only: those of the
//! library quote tokens and answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::{Clock, Secret};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreTokenResponse,
};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, DiscoveryError,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    NonceVerifier, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse,
};
use serde::{Deserialize, Serialize};

use crate::http::{Timeouts, client, read};

/// One exchange; signing in takes three at most, within the 15 s of a request.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(4),
};
/// What a provider says of itself is asked for again after this long, and when it signs with a key
/// that is not among those it named.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// Apple allows half a year.
const SECRET_LIFETIME_SECONDS: i64 = 300;
/// None with a shared secret: everybody who knows the client's could sign.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 3] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What we are to a provider, and what is peculiar to it.
#[derive(Clone, Debug)]
pub struct Registration {
    /// `https://accounts.google.com`
    pub issuer: String,
    pub client_id: String,
    pub credential: Credential,
    /// Whether it takes PKCE from a client with a secret.
    pub pkce: bool,
    /// Whether it leaves the nonce out of its tokens. One that is there is checked all the same.
    pub forgets_nonce: bool,
    /// Whether it hands the code over in a form instead of in the address.
    pub form_post: bool,
}

/// How we prove to the provider who we are.
#[derive(Clone, Debug)]
pub enum Credential {
    Secret(Secret),
    /// Apple: a token that we sign each time.
    Key {
        team_id: String,
        key_id: String,
        /// PKCS#8 in PEM, as Apple gives it out.
        private_key: Secret,
    },
}

/// What has to be kept, secretly, until the person comes back with a code.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pending {
    redirect_uri: String,
    nonce: String,
    verifier: Option<String>,
}

/// Somebody, as the provider knows them.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// Never changes, and is nobody else's at this provider.
    pub subject: String,
    pub email: Option<String>,
    /// Whether the provider made sure that the address is theirs.
    pub email_verified: bool,
}

/// Why there is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OidcError {
    /// The provider did not answer, or nothing that can be read.
    Away(&'static str),
    /// The code or the token is not good.
    Refused(&'static str),
    /// The provider does not know us, or our settings make no sense.
    Misconfigured(&'static str),
}

impl fmt::Display for OidcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Away(what) | Self::Refused(what) | Self::Misconfigured(what)) = self;
        f.write_str(what)
    }
}

impl std::error::Error for OidcError {}

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Talks to identity providers, and remembers for a while what they say of themselves.
pub struct Oidc {
    http: reqwest::Client,
    clock: Clock,
    known: Mutex<BTreeMap<String, (Timestamp, CoreProviderMetadata)>>,
}

impl Oidc {
    /// # Errors
    /// [`crate::ProviderError::Client`].
    pub fn new(clock: Clock) -> Result<Self, crate::ProviderError> {
        Ok(Self {
            http: client(TIMEOUTS)?,
            clock,
            known: Mutex::default(),
        })
    }

    /// Where to send the person, and what to keep until they come back with `state`.
    ///
    /// # Errors
    /// [`OidcError::Away`], [`OidcError::Misconfigured`].
    pub async fn begin(
        &self,
        registration: &Registration,
        redirect_uri: &str,
        state: &str,
    ) -> Result<(String, Pending), OidcError> {
        let (metadata, _) = self.metadata(registration, false).await?;
        let client = self.client(registration, metadata, redirect_uri)?;
        let (state, nonce) = (CsrfToken::new(state.to_owned()), Nonce::new_random_len(32));
        let kept = nonce.secret().clone();
        let mut request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .add_scope(Scope::new("email".to_owned()));
        let mut verifier = None;
        if registration.pkce {
            let (challenge, secret) = PkceCodeChallenge::new_random_sha256();
            request = request.set_pkce_challenge(challenge);
            verifier = Some(secret.into_secret());
        }
        if registration.form_post {
            request = request.add_extra_param("response_mode", "form_post");
        }
        let (url, ..) = request.url();
        let pending = Pending {
            redirect_uri: redirect_uri.to_owned(),
            nonce: kept,
            verifier,
        };
        Ok((url.to_string(), pending))
    }

    /// Changes the code for an identity token and checks it: signature, issuer, audience, expiry, nonce.
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn finish(
        &self,
        registration: &Registration,
        pending: &Pending,
        code: &str,
    ) -> Result<Identity, OidcError> {
        let (metadata, remembered) = self.metadata(registration, false).await?;
        let mut client = self.client(registration, metadata, &pending.redirect_uri)?;
        let tokens = self.exchange(&client, pending, code).await?;
        let mut checked = self.check(&client, registration, pending, &tokens);
        if remembered && matches!(checked, Err(ClaimsVerificationError::SignatureVerification(_))) {
            let (metadata, _) = self.metadata(registration, true).await?;
            client = self.client(registration, metadata, &pending.redirect_uri)?;
            checked = self.check(&client, registration, pending, &tokens);
        }
        checked.map_err(|error| OidcError::Refused(reason(&error)))
    }

    async fn exchange(
        &self,
        client: &Client,
        pending: &Pending,
        code: &str,
    ) -> Result<CoreTokenResponse, OidcError> {
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| OidcError::Away("the provider names no token endpoint"))?;
        if let Some(verifier) = &pending.verifier {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.clone()));
        }
        let fetch = |request| fetch(self.http.clone(), request);
        request.request_async(&fetch).await.map_err(|error| match error {
            RequestTokenError::Request(_) => OidcError::Away("the token endpoint did not answer"),
            RequestTokenError::ServerResponse(answer) => match answer.error() {
                CoreErrorResponseType::InvalidClient | CoreErrorResponseType::UnauthorizedClient => {
                    OidcError::Misconfigured("the provider does not accept our credential")
                }
                _ => OidcError::Refused("the provider refused the code"),
            },
            _ => OidcError::Away("the token endpoint's answer is unreadable"),
        })
    }

    fn check(
        &self,
        client: &Client,
        registration: &Registration,
        pending: &Pending,
        tokens: &CoreTokenResponse,
    ) -> Result<Identity, ClaimsVerificationError> {
        let now = self.clock.now().as_second();
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || DateTime::from_timestamp(now, 0).unwrap_or_default());
        let expected = Nonce::new(pending.nonce.clone());
        let nonce = |found: Option<&Nonce>| match found {
            None if registration.forgets_nonce => Ok(()),
            found => (&expected).verify(found),
        };
        let Some(token) = tokens.id_token() else {
            return Err(ClaimsVerificationError::Unsupported(String::new()));
        };
        let claims = token.claims(&verifier, nonce)?;
        let party = claims.authorized_party();
        if party.is_some_and(|party| party.as_str() != registration.client_id) {
            return Err(ClaimsVerificationError::InvalidAudience(String::new()));
        }
        Ok(Identity {
            subject: claims.subject().to_string(),
            email: claims.email().map(|email| email.to_string()),
            email_verified: claims.email_verified() == Some(true),
        })
    }

    fn client(
        &self,
        registration: &Registration,
        metadata: CoreProviderMetadata,
        redirect_uri: &str,
    ) -> Result<Client, OidcError> {
        let redirect = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|_| OidcError::Misconfigured("a redirect URI is no URL"))?;
        let secret = registration.secret(self.clock.now().as_second())?;
        let id = ClientId::new(registration.client_id.clone());
        // In the body: Apple and LinkedIn take it nowhere else.
        Ok(
            CoreClient::from_provider_metadata(metadata, id, Some(ClientSecret::new(secret)))
                .set_auth_type(AuthType::RequestBody)
                .set_redirect_uri(redirect),
        )
    }

    /// What the provider says of itself, and whether that is from memory.
    async fn metadata(
        &self,
        registration: &Registration,
        anew: bool,
    ) -> Result<(CoreProviderMetadata, bool), OidcError> {
        let now = self.clock.now();
        if !anew {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, metadata)) = known.get(&registration.issuer)
                && now.duration_since(*at) < REMEMBERED
            {
                return Ok((metadata.clone(), true));
            }
        }
        let issuer = IssuerUrl::new(registration.issuer.clone())
            .map_err(|_| OidcError::Misconfigured("an issuer is no URL"))?;
        let fetch = |request| fetch(self.http.clone(), request);
        let found = CoreProviderMetadata::discover_async(issuer, &fetch).await;
        let metadata = found.map_err(|error| match error {
            DiscoveryError::Request(_) => OidcError::Away("the provider did not answer"),
            _ => OidcError::Away("what the provider says of itself is unreadable"),
        })?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(registration.issuer.clone(), (now, metadata.clone()));
        Ok((metadata, false))
    }
}

impl Registration {
    fn secret(&self, now: i64) -> Result<String, OidcError> {
        let (team_id, key_id, private_key) = match &self.credential {
            Credential::Secret(secret) => return Ok(secret.expose().clone()),
            Credential::Key {
                team_id,
                key_id,
                private_key,
            } => (team_id, key_id, private_key),
        };
        let header = Header {
            kid: Some(key_id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        let claims = serde_json::json!({
            "iss": team_id, "sub": self.client_id, "aud": self.issuer, "iat": now, "exp": now + SECRET_LIFETIME_SECONDS,
        });
        let key = EncodingKey::from_ec_pem(private_key.expose().as_bytes());
        key.and_then(|key| jsonwebtoken::encode(&header, &claims, &key))
            .map_err(|_| OidcError::Misconfigured("the private key is not PKCS#8 of P-256 in PEM"))
    }
}

/// No answer, or one that says that there is none.
#[derive(Debug)]
struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

impl std::error::Error for NoAnswer {}

async fn fetch(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
    let (head, body) = request.into_parts();
    let request = http
        .request(head.method, head.uri.to_string())
        .headers(head.headers)
        .body(body);
    let response = request.send().await.map_err(|_| NoAnswer)?;
    let (status, headers) = (response.status(), response.headers().clone());
    if status.is_server_error() || status.as_u16() == 429 {
        return Err(NoAnswer);
    }
    let mut answer = HttpResponse::new(read(response).await.ok_or(NoAnswer)?);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    Ok(answer)
}

fn reason(error: &ClaimsVerificationError) -> &'static str {
    match error {
        ClaimsVerificationError::Expired(_) => "the identity token is expired",
        ClaimsVerificationError::InvalidAudience(_) => "the identity token is for somebody else",
        ClaimsVerificationError::InvalidIssuer(_) => "the identity token is of another issuer",
        ClaimsVerificationError::InvalidNonce(_) => "the identity token's nonce is not ours",
        ClaimsVerificationError::SignatureVerification(_) => "the identity token's signature is not right",
        _ => "there is no usable identity token",
    }
}
