//! The floor of a function's start-up, written by hand: the same SDK clients, the same one call for
//! the secrets, one database connection, then a handler that says hello.
//!
//! Arguments: `contacts` or `webhooks`, then how far to go: `clients`, `secrets` or `all`.

use anyhow::Context;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedHttpClient;
use config::{Database, Env};
use lambda_http::{Body, Error, Request, Response, run, service_fn};
use tokio_postgres::NoTls;

/// The same five roots that `cloud` trusts.
const AMAZON_ROOTS: &[u8] = include_bytes!("../../../../shared/platform/cloud/src/amazon-roots.pem");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    let (function, upto) = (
        arguments.get(1).map(String::as_str),
        arguments.get(2).map(String::as_str),
    );
    let env = Env::from_process();
    let config = sdk_config(&env)?;
    let secrets = aws_sdk_secretsmanager::Client::new(&config);
    let queues = aws_sdk_sqs::Client::new(&config);
    let webhook_clients = (function == Some("webhooks")).then(|| {
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .build();
        (
            aws_sdk_dynamodb::Client::new(&config),
            aws_sdk_s3::Client::from_conf(s3),
        )
    });
    let mut connected = None;
    if upto != Some("clients") {
        let variables: &[&str] = if function == Some("webhooks") {
            &["EDGE_KEYS_SECRET", "GLOBAL_ACCOUNTS_SECRET"]
        } else {
            &["DATABASE_SECRET", "TOKEN_KEYS_SECRET", "DATA_KEYS_SECRET"]
        };
        let ids = variables
            .iter()
            .map(|name| env.required(name).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()?;
        let answer = secrets
            .batch_get_secret_value()
            .set_secret_id_list(Some(ids))
            .send()
            .await?;
        if upto == Some("all") && function == Some("contacts") {
            let text = answer
                .secret_values()
                .iter()
                .find(|value| value.name() == env.optional("DATABASE_SECRET"));
            let text = text
                .and_then(|value| value.secret_string())
                .context("no database secret")?;
            connected = Some(connect(&serde_json::from_str(text)?).await?);
        }
    }
    run(service_fn(async |_: Request| {
        let held = (&webhook_clients, &connected, &queues);
        Ok::<_, Error>(Response::new(Body::from(if held.1.is_some() {
            "hello"
        } else {
            "hello without database"
        })))
    }))
    .await
}

async fn connect(settings: &Database) -> anyhow::Result<tokio_postgres::Client> {
    let mut postgres = tokio_postgres::Config::new();
    postgres
        .host(&settings.host)
        .port(settings.port)
        .dbname(&settings.dbname);
    postgres
        .user(&settings.username)
        .password(settings.password.expose());
    let (client, connection) = postgres.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn sdk_config(env: &Env) -> anyhow::Result<SdkConfig> {
    let credentials = Credentials::new(
        env.required("AWS_ACCESS_KEY_ID")?,
        env.required("AWS_SECRET_ACCESS_KEY")?,
        None,
        None,
        "environment",
    );
    Ok(SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(env.required("AWS_REGION")?.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(env.required("AWS_ENDPOINT_URL")?)
        .http_client(http_client()?)
        .build())
}

fn http_client() -> anyhow::Result<SharedHttpClient> {
    let roots = TrustStore::empty()
        .with_pem_certificate(AMAZON_ROOTS)
        .with_native_roots(false);
    let context = TlsContext::builder().with_trust_store(roots).build()?;
    Ok(Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https())
}
