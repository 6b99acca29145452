//! Everything around a request: its id, its origin, its idempotency key, the error envelope, one
//! log line and its metrics.

use crate::auth::TokenVerifier;
use crate::problem::{Problem, Raised, envelope, of_status};
use crate::quota::Quota;
use crate::routes::Routes;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, FromRef, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use kernel::{Clock, Code, Error, Idempotency, Origin};
use lambda_http::request::RequestContext;
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;
use telemetry::{Metrics, Unit};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;

/// The largest body that a route takes.
const MAX_BODY: usize = 1024 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// X-Ray's, as the gateway sets it.
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the web layer itself needs; part of every function's state.
#[derive(Clone)]
pub struct Web(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    clock: Clock,
    verifier: Option<TokenVerifier>,
    cors_origins: Vec<HeaderValue>,
    operator_keys: Vec<Vec<u8>>,
}

impl Web {
    /// For a function whose callers carry access tokens. `cors_origins` is a comma-separated list.
    #[must_use]
    pub fn new(clock: Clock, verifier: Option<TokenVerifier>, cors_origins: &str) -> Self {
        let cors_origins = cors_origins
            .split(',')
            .filter_map(|origin| HeaderValue::from_str(origin.trim()).ok());
        let cors_origins = cors_origins.filter(|origin| !origin.is_empty()).collect();
        Self(Arc::new(Inner {
            clock,
            verifier,
            cors_origins,
            operator_keys: Vec::new(),
        }))
    }

    /// The same, for a function that who runs the system calls, too.
    #[must_use]
    pub fn with_operator(self, keys: &config::ProvisioningKeys) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.operator_keys = keys.sha256().map(<[u8]>::to_vec).collect();
        Self(Arc::new(inner))
    }

    /// Reads what every HTTP function is configured with.
    ///
    /// # Errors
    /// Internal, when a setting or key is missing or malformed.
    pub fn from_config(env: &config::Env, secrets: &config::Secrets, clock: Clock) -> kernel::Result<Self> {
        let keys: config::TokenKeys = secrets
            .parse(config::secret::TOKEN_KEYS)
            .map_err(Error::internal)?;
        let issuer = env.required("TOKEN_ISSUER").map_err(Error::internal)?;
        let verifier = TokenVerifier::new(&keys, issuer, env.or("TOKEN_AUDIENCE", "m3corecrm"))?;
        Ok(Self::new(clock, Some(verifier), env.or("CORS_ORIGINS", "")))
    }

    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn operator_keys(&self) -> &[Vec<u8>] {
        &self.0.operator_keys
    }

    pub(crate) fn verifier(&self) -> Option<&TokenVerifier> {
        self.0.verifier.as_ref()
    }
}

/// Runs a function on Lambda. Its table is built while `app` waits for secrets and the database.
///
/// # Errors
/// When the function can't start, or the runtime ends.
pub async fn run<S>(
    app: impl Future<Output = kernel::Result<S>>,
    routes: fn() -> Routes<S>,
) -> Result<(), lambda_http::Error>
where
    S: Clone + Send + Sync + 'static,
    Web: FromRef<S>,
{
    let (app, routes) = futures::join!(app, async { routes() });
    lambda_http::run(routes.into_service(app?)).await
}

pub(crate) fn surround<S: Clone + Send + Sync + 'static>(
    function: &'static str,
    router: Router<S>,
    state: S,
) -> Router
where
    Web: FromRef<S>,
{
    let web = Web::from_ref(&state);
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(web.0.cors_origins.clone()))
        .allow_credentials(true)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-tenant-id"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            REQUEST_ID,
            REPLAYED,
            HeaderName::from_static("ratelimit-limit"),
            HeaderName::from_static("ratelimit-remaining"),
            HeaderName::from_static("ratelimit-reset"),
        ]);
    router
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state((function, web), around))
        .layer(cors)
        .with_state(state)
}

async fn around(
    State((function, web)): State<(&'static str, Web)>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let origin = origin(&request, web.clock());
    let request_id = origin.request_id.clone();
    let method = request.method().clone();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let span = tracing::info_span!("request", %request_id, function, route = %format!("{method} {path}"), tenant_id = tracing::field::Empty);
    request.extensions_mut().insert(origin);
    let quota = Quota::default();
    request.extensions_mut().insert(quota.clone());

    let (idempotency, outcome) = match claim_key(request).await {
        Ok((request, idempotency)) => (idempotency, next.run(request).instrument(span.clone()).await),
        Err(error) => (None, Problem::from(error).into_response()),
    };
    let mut response = span.in_scope(|| finish(outcome, &request_id));
    if idempotency.is_some_and(|idempotency| idempotency.was_replayed()) {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    quota.write(response.headers_mut());
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let response = not_modified(&method, if_none_match.as_ref(), response);

    let status = response.status().as_u16();
    let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
    span.in_scope(|| tracing::info!(status, duration_ms, "answered"));
    Metrics::of(function)
        .count("Requests")
        .metric("Latency", duration_ms, Unit::Milliseconds)
        .metric("Errors", f64::from(u8::from(status >= 500)), Unit::Count)
        .emit(web.clock());
    response
}

/// A GET whose client has the record as it is: 304.
fn not_modified(method: &Method, known: Option<&HeaderValue>, mut response: Response) -> Response {
    let same = known.is_some() && response.headers().get(header::ETAG) == known;
    if *method == Method::GET && response.status() == StatusCode::OK && same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
    response
}

/// Gives an error its body, and its cause to the log.
fn finish(mut response: Response, request_id: &str) -> Response {
    let raised = response
        .extensions_mut()
        .remove::<Raised>()
        .map(|raised| raised.0);
    let raised = raised.or_else(|| of_status(response.status()).map(Arc::new));
    let Some(error) = raised else { return response };
    match error.code() {
        Code::Internal => tracing::error!(cause = telemetry::chain(&*error), "failed"),
        Code::Unavailable => tracing::warn!(cause = telemetry::chain(&*error), "unavailable"),
        code => tracing::info!(code = code.as_str(), "refused"),
    }
    let mut answer = axum::Json(envelope(&error, request_id)).into_response();
    *answer.status_mut() = response.status();
    let mut headers = std::mem::take(response.headers_mut());
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_TYPE);
    answer.headers_mut().extend(headers);
    answer
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::from(Error::internal("a handler panicked")).into_response()
}

/// A POST with an `Idempotency-Key`: what it asks is remembered as a hash, which the database gets keyed,
/// to tell a repetition from another request with the same key.
async fn claim_key(request: Request) -> kernel::Result<(Request, Option<Idempotency>)> {
    let key = request
        .headers()
        .get("idempotency-key")
        .filter(|_| request.method() == Method::POST);
    let Some(key) = key else {
        return Ok((request, None));
    };
    let key = key
        .to_str()
        .ok()
        .filter(|key| (1..=255).contains(&key.len()))
        .map(str::to_owned);
    let Some(key) = key else {
        return Err(Error::field(
            "Idempotency-Key",
            "invalid",
            "An Idempotency-Key is 1 to 255 visible ASCII characters.",
        ));
    };
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| Error::new(Code::TooLarge, "The body is larger than 1 MiB."))?;
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in [
        parts.method.as_str().as_bytes(),
        parts.uri.path().as_bytes(),
        &body,
    ] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(hash.finish().as_ref());
    let idempotency = Idempotency::new(key, fingerprint);
    parts.extensions.insert(idempotency.clone());
    Ok((Request::from_parts(parts, Body::from(body)), Some(idempotency)))
}

fn origin(request: &Request, clock: &Clock) -> Origin {
    let headers = request.headers();
    let given = header_text(headers, &REQUEST_ID)
        .filter(|id| id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic()));
    let gateway = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => Some(context),
        _ => None,
    };
    Origin {
        request_id: given.unwrap_or_else(|| clock.id().to_string()),
        ip: gateway.and_then(|context| context.http.source_ip.clone()),
        user_agent: header_text(headers, &header::USER_AGENT).map(|agent| agent.chars().take(300).collect()),
        trace: header_text(headers, &TRACE).filter(|trace| trace.len() <= 256),
    }
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}
