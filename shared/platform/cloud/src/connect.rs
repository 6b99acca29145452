//! One configuration, one connection pool, and clients on demand.

use crate::state::Table;
use crate::{Accounts, Bucket, LockOuts, Queue, RateLimiter, Tickets};
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedHttpClient;
use config::Env;
use kernel::{Clock, Error, Result, Sealer};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// The way to AWS, or to what stands in for it at `AWS_ENDPOINT_URL`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cloud(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: SdkConfig,
    sqs: OnceLock<aws_sdk_sqs::Client>,
    s3: OnceLock<aws_sdk_s3::Client>,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    secrets: OnceLock<aws_sdk_secretsmanager::Client>,
}

impl Cloud {
    /// Reads region and credentials from the environment, where Lambda puts them. The provider
    /// chains of `aws-config` would give the same after looking for profile files and IMDS.
    ///
    /// An attempt may take 3 s and a call 10 s, with at most 3 attempts.
    pub fn connect(env: &Env) -> Result<Self> {
        let required = |name| env.required(name).map_err(Error::internal);
        let region = env
            .optional("AWS_REGION")
            .map_or_else(|| required("AWS_DEFAULT_REGION"), Ok)?;
        let credentials = Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            env.optional("AWS_SESSION_TOKEN").map(str::to_owned),
            None,
            "environment",
        );
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(3))
            .operation_timeout(Duration::from_secs(10))
            .build();
        let endpoint = env.optional("AWS_ENDPOINT_URL");
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(timeouts)
            .http_client(http_client(endpoint)?);
        config.set_endpoint_url(endpoint.map(str::to_owned));
        Ok(Self(Arc::new(Inner {
            config: config.build(),
            sqs: OnceLock::new(),
            s3: OnceLock::new(),
            dynamodb: OnceLock::new(),
            secrets: OnceLock::new(),
        })))
    }

    /// The queue at this URL.
    #[must_use]
    pub fn queue(&self, url: &str) -> Queue {
        let client = self
            .0
            .sqs
            .get_or_init(|| aws_sdk_sqs::Client::new(&self.0.config));
        Queue::new(client.clone(), url.to_owned())
    }

    #[must_use]
    pub fn bucket(&self, name: &str) -> Bucket {
        let client = self.0.s3.get_or_init(|| {
            let config = aws_sdk_s3::config::Builder::from(&self.0.config)
                .force_path_style(self.0.config.endpoint_url().is_some())
                .build();
            aws_sdk_s3::Client::from_conf(config)
        });
        Bucket::new(client.clone(), name.to_owned())
    }

    /// The webhook edge's directory of provider accounts; `edge` is the sealer of `EDGE_KEYS_SECRET`.
    #[must_use]
    pub fn accounts(&self, table: &str, edge: Sealer, clock: Clock) -> Accounts {
        Accounts::new(self.table(table), edge, clock)
    }

    #[must_use]
    pub fn rate_limiter(&self, table: &str, clock: Clock) -> RateLimiter {
        RateLimiter::new(self.table(table), clock)
    }

    #[must_use]
    pub fn lock_outs(&self, table: &str, clock: Clock) -> LockOuts {
        LockOuts::new(self.table(table), clock)
    }

    /// Sealed values of one kind that can be taken once.
    #[must_use]
    pub fn tickets(&self, table: &str, sealer: Sealer, clock: Clock, kind: &'static str) -> Tickets {
        Tickets::new(self.table(table), sealer, clock, kind)
    }

    fn table(&self, name: &str) -> Table {
        let client = self
            .0
            .dynamodb
            .get_or_init(|| aws_sdk_dynamodb::Client::new(&self.0.config));
        Table {
            client: client.clone(),
            name: name.to_owned(),
        }
    }

    /// Reads the secrets that these environment variables name, in one call.
    ///
    /// Unavailable when Secrets Manager is; internal, with the variable's name, when a secret is missing.
    pub async fn secrets(&self, env: &Env, variables: &[&'static str]) -> Result<config::Secrets> {
        let client = self
            .0
            .secrets
            .get_or_init(|| aws_sdk_secretsmanager::Client::new(&self.0.config));
        crate::secrets::load(client, env, variables).await
    }
}

/// One pool for all clients. It trusts the five roots that AWS uses: reading the machine's 140
/// takes 2 ms of every cold start. An HTTPS endpoint of someone else is checked with the machine's.
fn http_client(endpoint: Option<&str>) -> Result<SharedHttpClient> {
    let foreign = endpoint.is_some_and(|url| url.starts_with("https://"));
    let roots = TrustStore::empty()
        .with_pem_certificate(AMAZON_ROOTS)
        .with_native_roots(foreign);
    let context = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .map_err(Error::internal)?;
    Ok(Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https())
}
