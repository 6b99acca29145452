//! A function's routes on a socket, as one process serves them: `axum::serve` in place of Lambda.

use admin_function::people::links::Links;
use admin_function::people::mails::{self, Mails};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bench::Serve;
use cloud::Cloud;
use config::Env;
use db::Db;
use kernel::{Caller, Clock, Error, Origin, Phone, TenantId};
use messaging::Channel;
use messaging::account::Provider;
use messaging::inbound::{self, Event, InboundMessage, Kind};
use std::sync::Arc;
use tokio::net::TcpListener;
use uuid::Uuid;
use web::Web;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    telemetry::init();
    let serve = Serve::from_argument()?;
    let service = match serve.function.as_str() {
        "admin" => admin(&serve).await?,
        "contacts" => contacts(&serve).await?,
        "messaging" => messaging(&serve)?,
        "webhooks" => webhooks(&serve)?,
        other => anyhow::bail!("no function {other}"),
    };
    let listener = TcpListener::bind(("127.0.0.1", serve.port)).await?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, service).await?;
    Ok(())
}

fn database(serve: &Serve) -> anyhow::Result<Db> {
    let Some(settings) = &serve.database else {
        anyhow::bail!("no database was given")
    };
    Ok(Db::new(settings, bench::sealer()?, Clock::system())?)
}

fn web() -> anyhow::Result<Web> {
    Ok(Web::new(
        Clock::system(),
        Some(bench::verifier()?),
        "https://app.invalid",
    ))
}

fn cloud(serve: &Serve) -> anyhow::Result<Cloud> {
    let env = Env::from_pairs([
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "bench"),
        (
            "AWS_ENDPOINT_URL",
            serve.aws_endpoint.as_deref().unwrap_or_default(),
        ),
    ]);
    Ok(Cloud::connect(&env)?)
}

async fn contacts(serve: &Serve) -> anyhow::Result<Router> {
    let db = database(serve)?;
    db.warm_up().await?;
    let app = contacts_function::App {
        db: db.clone(),
        web: web()?,
        app_url: "https://app.test".into(),
    };
    // The texts that the process has prepared, to explain them; asked while it has one connection.
    let statements = get(async move || {
        let sql = "SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%FROM contacts c%'";
        let rows = db.lookup(sql, &[]).await.unwrap_or_default();
        axum::Json(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>())
    });
    Ok(contacts_function::routes()
        .into_service(app)
        .route("/bench/statements", statements))
}

async fn admin(serve: &Serve) -> anyhow::Result<Router> {
    let (cloud, db) = (cloud(serve)?, database(serve)?);
    db.warm_up().await?;
    let limiter = || cloud.rate_limiter("state", Clock::system());
    let app = admin_function::App {
        web: web()?,
        bucket: cloud.bucket("bench"),
        links: Links::new(limiter(), cloud::LINKS, bench::sealer()?),
        mails: Mails::new(limiter(), mails::Limits::times(1), bench::sealer()?),
        app_url: "https://app.invalid".into(),
        is_dev: false,
        db,
    };
    Ok(admin_function::routes().into_service(app))
}

fn messaging(serve: &Serve) -> anyhow::Result<Router> {
    let cloud = cloud(serve)?;
    let queues = config::Env::from_pairs([
        ("EVENT_OUTBOX_QUEUE_URL", "http://127.0.0.1/bench/event-outbox"),
        (
            "OUTBOUND_MESSAGES_QUEUE_URL",
            "http://127.0.0.1/bench/outbound-messages",
        ),
    ]);
    let app = messaging_function::App {
        db: database(serve)?.with_after_commit(cloud.after_commit(&queues)?),
        web: web()?,
        accounts: Arc::new(cloud.accounts("state", bench::sealer()?, Clock::system())),
    };
    let service = messaging_function::routes().into_service(app.clone());
    let Some((tenant, account)) = serve.account else {
        return Ok(service);
    };
    let route = post(
        async move || match receive(&app.db, TenantId(tenant), account).await {
            Ok(()) => StatusCode::OK,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        },
    );
    Ok(service.route("/bench/inbound", route))
}

/// Stores a message that nobody sent before, as inbound-message-processor does.
#[expect(clippy::disallowed_methods, reason = "stands in for a verified webhook")]
async fn receive(db: &Db, tenant: TenantId, account_id: Uuid) -> kernel::Result<()> {
    let (id, now) = (db.clock().id(), db.clock().now());
    let caller = Caller::verified_system(
        tenant,
        "bench",
        Origin {
            request_id: id.to_string(),
            ..Origin::default()
        },
    );
    // One of 1000 people.
    let from = Phone::from_provider(&format!("2010{:08}", id.as_u128() % 1000))
        .ok_or_else(|| Error::internal("no number"))?;
    let message = InboundMessage {
        provider_message_id: id.to_string(),
        channel: Channel::Whatsapp,
        from,
        profile_name: Some("Mona".to_owned()),
        sent_at: now,
        kind: "text",
        body: "Is the apartment on the third floor still free?".to_owned(),
        media: Vec::new(),
        reply_to_provider_message_id: None,
    };
    let event = Event {
        account_id,
        account_key: bench::PHONE_NUMBER_ID.to_owned(),
        external_event_id: id.to_string(),
        kind: Kind::Message(message),
        raw: serde_json::json!({ "id": id, "type": "text" }),
    };
    let events = [event];
    db.write(&caller, async |tx| {
        inbound::receive(&tx, Provider::Meta, now, &events).await
    })
    .await
    .map(drop)
}

fn webhooks(serve: &Serve) -> anyhow::Result<Router> {
    anyhow::ensure!(serve.database.is_none(), "the webhook edge takes no database");
    let cloud = cloud(serve)?;
    let app = webhooks_function::App {
        accounts: Arc::new(cloud.accounts("state", bench::sealer()?, Clock::system())),
        global: Arc::new(config::GlobalAccounts::default()),
        queue: cloud.queue("http://127.0.0.1/bench/inbound-webhooks"),
        bucket: cloud.bucket("bench"),
        webhooks_url: "http://127.0.0.1".into(),
        web: Web::new(Clock::system(), None, ""),
    };
    Ok(webhooks_function::routes().into_service(app))
}
