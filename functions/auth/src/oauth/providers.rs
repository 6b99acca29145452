//! The providers that are configured, and sign-ins that are under way with them.

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cloud::{Cloud, Tickets};
use config::{OauthClient, OauthCredential, OauthProviders};
use identity::oauth::IdentityProvider;
use kernel::{Clock, Code, Error, Result, Sealer};
use providers::oidc::{Credential, Identity, Oidc, OidcError, Pending, Registration};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long somebody may take to sign in at the provider, and to choose a company.
const LIFETIME: Duration = Duration::from_mins(10);

/// Sign-ins with identity providers. Cheap to clone.
#[derive(Clone)]
pub struct Oauth(Arc<Inner>);

struct Inner {
    settings: OauthProviders,
    states: Tickets,
    clock: Clock,
    /// Made with the first sign-in: most starts of the function see none.
    oidc: OnceLock<Oidc>,
}

/// What is kept under a state.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    provider: IdentityProvider,
    step: Step,
}

#[derive(Serialize, Deserialize)]
enum Step {
    /// The person is at the provider.
    Begun(Pending),
    /// The code is spent and told who it is, but not in which company.
    Known { code_hash: Vec<u8>, identity: Identity },
}

impl Oauth {
    /// `sealer` seals what is kept in the table meanwhile.
    #[must_use]
    pub fn new(settings: OauthProviders, cloud: &Cloud, table: &str, sealer: Sealer, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            settings,
            states: cloud.tickets(table, sealer, clock.clone(), "oauth"),
            clock,
            oidc: OnceLock::new(),
        }))
    }

    /// The address at which the person signs in.
    ///
    /// # Errors
    /// 404 without a registration, 422 for a redirect that is not configured, 503 when the provider is away.
    pub(crate) async fn begin(&self, provider: IdentityProvider, redirect_uri: &str) -> Result<String> {
        let registration = self.registration(provider)?;
        if !self
            .0
            .settings
            .redirect_uris
            .iter()
            .any(|allowed| allowed == redirect_uri)
        {
            let message = "This is none of the addresses that are configured.";
            return Err(Error::field("redirectUri", "not_allowed", message));
        }
        let state = random()?;
        let begun = self.oidc()?.begin(&registration, redirect_uri, &state).await;
        let (url, pending) = begun.map_err(|error| failed(provider, error))?;
        self.keep(provider, &state, Step::Begun(pending)).await?;
        Ok(url)
    }

    /// Who came back. The state is spent, whatever comes of it.
    ///
    /// # Errors
    /// 404 without a registration, 401 for a state or a code that is not good, 503 when the provider is away.
    pub(crate) async fn identity(
        &self,
        provider: IdentityProvider,
        state: &str,
        code: &str,
    ) -> Result<Identity> {
        let registration = self.registration(provider)?;
        let taken = self.0.states.take(state).await?.ok_or_else(refused)?;
        let under_way: UnderWay = serde_json::from_slice(&taken).map_err(Error::internal)?;
        if under_way.provider != provider {
            return Err(refused());
        }
        match under_way.step {
            Step::Begun(pending) => {
                let finished = self.oidc()?.finish(&registration, &pending, code).await;
                finished.map_err(|error| failed(provider, error))
            }
            Step::Known { code_hash, identity } if code_hash == hash(code) => Ok(identity),
            Step::Known { .. } => Err(refused()),
        }
    }

    /// Lets the same state and code be repeated once with a company, since the provider takes a code once.
    pub(crate) async fn keep_identity(
        &self,
        provider: IdentityProvider,
        state: &str,
        code: &str,
        who: &Identity,
    ) -> Result<()> {
        let step = Step::Known {
            code_hash: hash(code),
            identity: who.clone(),
        };
        self.keep(provider, state, step).await
    }

    async fn keep(&self, provider: IdentityProvider, state: &str, step: Step) -> Result<()> {
        let under_way = serde_json::to_vec(&UnderWay { provider, step }).map_err(Error::internal)?;
        self.0.states.keep(state, &under_way, LIFETIME).await
    }

    fn oidc(&self) -> Result<&Oidc> {
        if self.0.oidc.get().is_none() {
            let made = Oidc::new(self.0.clock.clone()).map_err(Error::internal)?;
            // Whoever else was first made the same.
            let _ = self.0.oidc.set(made);
        }
        self.0
            .oidc
            .get()
            .ok_or_else(|| Error::internal("no client for identity providers"))
    }

    fn registration(&self, provider: IdentityProvider) -> Result<Registration> {
        let settings = &self.0.settings;
        let (client, issuer) = match provider {
            IdentityProvider::Google => (&settings.google, "https://accounts.google.com"),
            IdentityProvider::Apple => (&settings.apple, "https://appleid.apple.com"),
            IdentityProvider::Linkedin => (&settings.linkedin, "https://www.linkedin.com/oauth"),
        };
        let client = client.as_ref().ok_or_else(not_configured)?;
        // LinkedIn's tokens have no nonce, and it answers a client that has a secret and sends PKCE with
        // `invalid_client`. State and secret still bind a code to who began.
        let linkedin = provider == IdentityProvider::Linkedin;
        Ok(Registration {
            issuer: client.issuer.clone().unwrap_or_else(|| issuer.to_owned()),
            client_id: client.client_id.clone(),
            credential: credential(client),
            pkce: client.pkce.unwrap_or(!linkedin),
            forgets_nonce: linkedin,
            // Apple tells an address only in a form.
            form_post: provider == IdentityProvider::Apple,
        })
    }
}

fn credential(client: &OauthClient) -> Credential {
    match client.credential.clone() {
        OauthCredential::Secret { client_secret } => Credential::Secret(client_secret),
        OauthCredential::Key {
            team_id,
            key_id,
            private_key,
        } => Credential::Key {
            team_id,
            key_id,
            private_key,
        },
    }
}

fn failed(provider: IdentityProvider, error: OidcError) -> Error {
    tracing::warn!(provider = provider.as_str(), %error, "an identity provider's sign-in failed");
    match error {
        OidcError::Away(_) => Error::unavailable(error),
        OidcError::Refused(_) => refused(),
        OidcError::Misconfigured(_) => Error::internal(error),
    }
}

fn refused() -> Error {
    Error::new(
        Code::AuthOauthRefused,
        "This sign-in is over, or is not what was begun; begin again.",
    )
}

fn not_configured() -> Error {
    Error::new(
        Code::ProviderNotConfigured,
        "Signing in with this provider is not set up.",
    )
}

fn random() -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| Error::internal("no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn hash(code: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, code.as_bytes()).as_ref().to_vec()
}
