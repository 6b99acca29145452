//! What the contacts routes are compared with: axum and tokio-postgres by hand, no layers. It gives
//! the same answers from the same schema as the same role: the token verified, the tenant's
//! transaction pipelined with its COMMIT in one trip, the same statement, channel values opened and
//! sealed. It has no request ids, no error bodies, no logs, no metrics, no idempotency and, unless
//! told to, no check of session and permission.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use bench::{AUDIENCE, ISSUER, Serve};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kernel::{Clock, Phone, Sealer, text};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::try_join;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};
use uuid::Uuid;
use web::Claims;

const SET_TENANT: &str =
    "SELECT set_config('app.current_tenant_id', $1, true), set_config('app.origin', $2, true)";
const ENTER: &str = "SELECT app.enter($1, $2, $3, NULL, NULL, $4, NULL, $5, $6)";
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.first_name, c.last_name, c.job_title, c.lifecycle_stage, c.source, c.owner_user_id, c.created_at,
                    c.updated_at, ch.*
             FROM contacts c LEFT JOIN LATERAL (
                 SELECT array_agg(x.id), array_agg(x.type), array_agg(x.value_sealed), array_agg(x.is_primary),
                        array_agg(x.opt_in), array_agg(x.verified_at)
                 FROM (SELECT * FROM contact_channels o WHERE o.tenant_id = c.tenant_id AND o.contact_id = c.id ORDER BY o.id) x
             ) ch ON true WHERE c.tenant_id = $1 AND ",
            $rest
        )
    };
}
const LIST: &str = select!("c.archived_at IS NULL ORDER BY c.created_at DESC, c.id DESC LIMIT 51");
const LIST_AFTER: &str = select!(
    "c.archived_at IS NULL AND (c.created_at, c.id) < ($2, $3) ORDER BY c.created_at DESC, c.id DESC LIMIT 51"
);
const GET: &str = select!("c.id = $2 AND c.archived_at IS NULL");
const CREATE: &str = "WITH contact AS (
        INSERT INTO contacts (tenant_id, id, first_name, last_name, name_norm, lifecycle_stage, source, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, 'lead', 'manual', $6, $6)
    ), names AS (
        INSERT INTO contact_names (tenant_id, word, contact_id) SELECT $1, word, $2 FROM unnest($7::text[]) AS word
    )
    INSERT INTO contact_channels (tenant_id, contact_id, created_at, id, type, value_sealed, value_hash, value_masked,
                                  claims_value, is_primary)
    VALUES ($1, $2, $6, $8, 'phone', $9, $10, $11, true, true)";
const PUBLISH: &str = "INSERT INTO event_outbox (tenant_id, id, type, entity_id, payload, created_at)
    VALUES ($1, $2, 'contact.created', $3, '{}', $4)";
const CONSUME: &str = "SELECT app.consume($1, $2, 'contacts.max', 1, $3)";
const CLAIM_EVENT: &str =
    "INSERT INTO webhook_event_keys (tenant_id, provider, account_key, external_event_id, created_at)
    VALUES ($1, 'meta', $2, $3, $4) ON CONFLICT DO NOTHING";
const KEEP_WEBHOOK: &str =
    "INSERT INTO webhook_events (tenant_id, id, provider, account_key, external_event_id, kind, status,
        payload_sealed, received_at, processed_at)
    VALUES ($1, $2, 'meta', $3, $4, 'message', 'processed', $5, $6, $6)";

struct App {
    sessions: Vec<Session>,
    next: AtomicUsize,
    key: DecodingKey,
    validation: Validation,
    sealer: Sealer,
    clock: Clock,
    authorise: bool,
    tenant: Option<Uuid>,
}

/// A connection and what is prepared on it.
struct Session {
    client: Client,
    set_tenant: Statement,
    enter: Statement,
    list: Statement,
    list_after: Statement,
    get: Statement,
    create: Statement,
    publish: Statement,
    consume: Statement,
    claim_event: Statement,
    keep_webhook: Statement,
}

type Params<'a, const N: usize> = [&'a (dyn ToSql + Sync); N];

type Answer<T> = Result<T, StatusCode>;

#[derive(Serialize)]
struct Contact {
    id: Uuid,
    first_name: String,
    last_name: Option<String>,
    job_title: Option<String>,
    lifecycle_stage: String,
    source: String,
    owner_user_id: Option<Uuid>,
    channels: Vec<Channel>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct Channel {
    id: Uuid,
    #[serde(rename = "type")]
    kind: String,
    value: String,
    is_primary: bool,
    opt_in: bool,
    verified_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Page {
    data: Vec<Contact>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct After {
    at: Option<Timestamp>,
    id: Option<Uuid>,
}

#[derive(Deserialize)]
struct CreateContact {
    first_name: String,
    last_name: Option<String>,
    channels: Vec<CreateChannel>,
}

#[derive(Deserialize)]
struct CreateChannel {
    value: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let serve = Serve::from_argument()?;
    let Some(database) = &serve.database else {
        anyhow::bail!("no database was given")
    };
    let mut sessions = Vec::new();
    for _ in 0..database.max_connections {
        sessions.push(Session::open(database).await?);
    }
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let app = Arc::new(App {
        sessions,
        next: AtomicUsize::new(0),
        key: DecodingKey::from_ed_der(&bench::public_key()?),
        validation,
        sealer: bench::sealer()?,
        clock: Clock::system(),
        authorise: serve.authorise,
        tenant: serve.account.map(|(tenant, _)| tenant),
    });
    let router = Router::new()
        .route("/hello", get(async || "hello"))
        .route("/v1/contacts", get(list).post(create))
        .route("/v1/contacts/{id}", get(find))
        .route("/sql", get(sql))
        .route("/v1/webhooks/meta", post(webhook))
        .with_state(app);
    let listener = TcpListener::bind(("127.0.0.1", serve.port)).await?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

impl Session {
    async fn open(settings: &config::Database) -> anyhow::Result<Self> {
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
        Ok(Self {
            set_tenant: client.prepare(SET_TENANT).await?,
            enter: client.prepare(ENTER).await?,
            list: client.prepare(LIST).await?,
            list_after: client.prepare(LIST_AFTER).await?,
            get: client.prepare(GET).await?,
            create: client.prepare(CREATE).await?,
            publish: client.prepare(PUBLISH).await?,
            consume: client.prepare(CONSUME).await?,
            claim_event: client.prepare(CLAIM_EVENT).await?,
            keep_webhook: client.prepare(KEEP_WEBHOOK).await?,
            client,
        })
    }

    /// Enters the caller's tenant, the plain way or the way the system does.
    async fn enter(&self, app: &App, claims: &Claims, permission: &str) -> Result<(), tokio_postgres::Error> {
        let origin = format!(r#"{{"actor":"user","user_id":"{}"}}"#, claims.sub);
        if app.authorise {
            let params: Params<'_, 6> = [
                &claims.tid,
                &Some(claims.sub),
                &Some(claims.sid),
                &Some(permission),
                &origin,
                &app.clock.now(),
            ];
            self.client.query(&self.enter, &params).await.map(drop)
        } else {
            self.client
                .query(&self.set_tenant, &[&claims.tid.to_string(), &origin])
                .await
                .map(drop)
        }
    }
}

impl App {
    fn session(&self) -> &Session {
        &self.sessions[self.next.fetch_add(1, Ordering::Relaxed) % self.sessions.len()]
    }

    fn verify(&self, headers: &HeaderMap) -> Answer<Claims> {
        let header = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let token = header.strip_prefix("Bearer ").ok_or(StatusCode::UNAUTHORIZED)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        decoded
            .map(|data| data.claims)
            .map_err(|_| StatusCode::UNAUTHORIZED)
    }

    fn contact(&self, tenant: Uuid, row: &Row) -> Answer<Contact> {
        Ok(Contact {
            id: row.get(0),
            first_name: row.get(1),
            last_name: row.get(2),
            job_title: row.get(3),
            lifecycle_stage: row.get(4),
            source: row.get(5),
            owner_user_id: row.get(6),
            created_at: row.get(7),
            updated_at: row.get(8),
            channels: self.channels(tenant, row)?,
        })
    }

    fn channels(&self, tenant: Uuid, row: &Row) -> Answer<Vec<Channel>> {
        let Some(ids) = row.get::<_, Option<Vec<Uuid>>>(9) else {
            return Ok(Vec::new());
        };
        let (kinds, sealed, primary): (Vec<&str>, Vec<&[u8]>, Vec<bool>) =
            (row.get(10), row.get(11), row.get(12));
        let (opt_in, verified): (Vec<bool>, Vec<Option<Timestamp>>) = (row.get(13), row.get(14));
        let context = format!("{tenant}/contact_channels.value");
        let channels = ids.into_iter().enumerate().map(|(at, id)| {
            Ok(Channel {
                id,
                kind: kinds[at].to_owned(),
                value: self.sealer.open_text(&context, sealed[at]).map_err(failed)?,
                is_primary: primary[at],
                opt_in: opt_in[at],
                verified_at: verified[at],
            })
        });
        channels.collect()
    }
}

fn failed<E>(_: E) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(after): Query<After>,
) -> Answer<Json<Page>> {
    let claims = app.verify(&headers)?;
    let session = app.session();
    let rows = async {
        match (after.at, after.id) {
            (Some(at), Some(id)) => {
                session
                    .client
                    .query(&session.list_after, &[&claims.tid, &at, &id])
                    .await
            }
            _ => session.client.query(&session.list, &[&claims.tid]).await,
        }
    };
    let ((), (), rows, ()) = try_join!(
        session.client.batch_execute("BEGIN READ ONLY"),
        session.enter(&app, &claims, "contact.read"),
        rows,
        session.client.batch_execute("COMMIT"),
    )
    .map_err(failed)?;
    let data = rows
        .iter()
        .take(50)
        .map(|row| app.contact(claims.tid, row))
        .collect::<Answer<Vec<_>>>()?;
    let next_cursor = data
        .last()
        .filter(|_| rows.len() > 50)
        .map(|last| format!("at={}&id={}", last.created_at, last.id));
    Ok(Json(Page { data, next_cursor }))
}

async fn find(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Path(id): Path<Uuid>,
) -> Answer<Json<Contact>> {
    let claims = app.verify(&headers)?;
    let session = app.session();
    let params: Params<'_, 2> = [&claims.tid, &id];
    let ((), (), rows, ()) = try_join!(
        session.client.batch_execute("BEGIN READ ONLY"),
        session.enter(&app, &claims, "contact.read"),
        session.client.query(&session.get, &params),
        session.client.batch_execute("COMMIT"),
    )
    .map_err(failed)?;
    app.contact(claims.tid, rows.first().ok_or(StatusCode::NOT_FOUND)?)
        .map(Json)
}

async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(body): Json<CreateContact>,
) -> Answer<(StatusCode, Json<Contact>)> {
    let claims = app.verify(&headers)?;
    let (id, event_id, channel_id, now) = (app.clock.id(), app.clock.id(), app.clock.id(), app.clock.now());
    let channel = body.channels.first().ok_or(StatusCode::UNPROCESSABLE_ENTITY)?;
    let phone = Phone::parse(&channel.value).ok_or(StatusCode::UNPROCESSABLE_ENTITY)?;
    let name = format!(
        "{} {}",
        body.first_name,
        body.last_name.as_deref().unwrap_or_default()
    );
    let (sort_key, words) = (text::sort_key(&name), text::search_words(&name));
    let sealed = app.sealer.seal(
        &format!("{}/contact_channels.value", claims.tid),
        phone.as_str().as_bytes(),
    );
    let sealed = sealed.map_err(failed)?.0;
    let hash = app
        .sealer
        .lookup_hash(&format!("{}/phone", claims.tid), phone.as_str());
    let (tenant, masked) = (claims.tid, phone.masked());
    let params: Params<'_, 11> = [
        &tenant,
        &id,
        &body.first_name,
        &body.last_name,
        &sort_key,
        &now,
        &words,
        &channel_id,
        &sealed,
        &hash,
        &masked,
    ];
    let event: Params<'_, 4> = [&tenant, &event_id, &id, &now];
    let consumed: Params<'_, 3> = [&tenant, &claims.sub, &now];
    let session = app.session();
    try_join!(
        session.client.batch_execute("BEGIN"),
        session.enter(&app, &claims, "contact.create"),
        session.client.execute(&session.create, &params),
        session.client.execute(&session.publish, &event),
        session.client.execute(&session.consume, &consumed),
        session.client.batch_execute("COMMIT"),
    )
    .map_err(failed)?;
    let channel = Channel {
        id: channel_id,
        kind: "phone".to_owned(),
        value: phone.as_str().to_owned(),
        is_primary: true,
        opt_in: false,
        verified_at: None,
    };
    let contact = Contact {
        id,
        first_name: body.first_name,
        last_name: body.last_name,
        job_title: None,
        lifecycle_stage: "lead".to_owned(),
        source: "manual".to_owned(),
        owner_user_id: None,
        channels: vec![channel],
        created_at: now,
        updated_at: now,
    };
    Ok((StatusCode::CREATED, Json(contact)))
}

/// The list's statement alone, prepared, 200 times in a row: the median in microseconds.
async fn sql(State(app): State<Arc<App>>, headers: HeaderMap) -> Answer<String> {
    let claims = app.verify(&headers)?;
    let session = app.session();
    session
        .client
        .batch_execute("BEGIN READ ONLY")
        .await
        .map_err(failed)?;
    session
        .enter(&app, &claims, "contact.read")
        .await
        .map_err(failed)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        session
            .client
            .query(&session.list, &[&claims.tid])
            .await
            .map_err(failed)?;
        times.push(started.elapsed().as_micros());
    }
    session.client.batch_execute("COMMIT").await.map_err(failed)?;
    times.sort_unstable();
    Ok(times[times.len() / 2].to_string())
}

/// A webhook written to the database in the request: the signature, then the two rows that make it
/// known once and kept, in one trip.
async fn webhook(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Answer<&'static str> {
    let header = headers
        .get("x-hub-signature-256")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let secret = kernel::Secret::new(bench::APP_SECRET.to_owned());
    let ids = providers::meta::webhook::phone_number_ids(&body).map_err(failed)?;
    if !providers::signature::meta(header, &secret, &body) || ids.is_empty() {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let tenant = app.tenant.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    let (id, now) = (app.clock.id(), app.clock.now());
    let sealed = app
        .sealer
        .seal(&format!("{tenant}/webhook_events.payload"), &body)
        .map_err(failed)?
        .0;
    let (key, event) = (bench::PHONE_NUMBER_ID, id.to_string());
    let entered = tenant.to_string();
    let enter: Params<'_, 2> = [&entered, &"{}"];
    let claim: Params<'_, 4> = [&tenant, &key, &event, &now];
    let keep: Params<'_, 6> = [&tenant, &id, &key, &event, &sealed, &now];
    let session = app.session();
    try_join!(
        session.client.batch_execute("BEGIN"),
        session.client.query(&session.set_tenant, &enter),
        session.client.execute(&session.claim_event, &claim),
        session.client.execute(&session.keep_webhook, &keep),
        session.client.batch_execute("COMMIT"),
    )
    .map_err(failed)?;
    Ok("accepted")
}
