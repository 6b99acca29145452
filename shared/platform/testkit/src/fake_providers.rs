//! A server that answers as Meta, Twilio, Infobip and Brevo do, for tests and for the local stack.
//!
//! - Requests that the real provider would refuse are refused, in its own words.
//! - `GET /requests` is what it got, oldest first (`?provider=meta` for one of them); `DELETE`
//!   forgets it.
//! - `POST /behaviour` makes sends fail, or has statuses posted back: see [`Behaviour`]. `GET`
//!   shows what is set, `DELETE` resets it.
//!
//! Behaviours hold for sends only; look-ups and media always answer.

mod behaviour;
mod brevo;
mod call;
mod callbacks;
mod infobip;
mod meta;
mod state;
mod twilio;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;

pub use behaviour::{Behaviour, Mode, StatusWebhooks};
use call::Call;
pub use call::{Answer, Provider, Recorded};
use state::Shared;

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How long `timeout` holds a connection unless told otherwise.
const TIMEOUT: Duration = Duration::from_mins(1);
const SLOW: Duration = Duration::from_secs(2);

/// Starts servers.
pub struct FakeProviders;

/// A running server; dropped, it stops.
pub struct Handle {
    task: JoinHandle<()>,
    state: Arc<Shared>,
}

impl FakeProviders {
    /// Listens on 127.0.0.1; port 0 takes a free one. Returns the base URL, without a trailing
    /// slash.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(port: u16) -> std::io::Result<(String, Handle)> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Shared::new(url.clone()).map_err(std::io::Error::other)?);
        let task = tokio::spawn(serve(listener, router(Arc::clone(&state))));
        Ok((url, Handle { task, state }))
    }
}

impl Handle {
    /// What it got so far, as `GET /requests`.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests(None)
    }

    /// As `POST /behaviour`.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.behave(behaviour);
    }

    /// Runs until the process ends.
    pub async fn wait(mut self) {
        // An error would mean that the task was cancelled or panicked; either way it is over.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(state: Arc<Shared>) -> Router {
    Router::new()
        .route("/requests", get(requests).delete(forget))
        .route("/behaviour", get(behaviours).post(behave).delete(reset))
        .fallback(provider)
        .with_state(state)
}

/// Serves by hand, because dropping a connection in place of an answer is not in axum's power.
async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let router = router.clone();
                let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let router = router.clone();
                    async move {
                        let response = router.oneshot(request.map(Body::new)).await.map_err(|_| Dropped)?;
                        match response.extensions().get::<Dropped>() {
                            Some(_) => Err(Dropped),
                            None => Ok(response),
                        }
                    }
                });
                connections.spawn(async move {
                    // Clients that hang up, and our own hanging up, end here.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Marks an answer that must never be written.
#[derive(Debug, Clone, Copy)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("told to drop the connection")
    }
}

impl std::error::Error for Dropped {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    provider: Option<Provider>,
}

async fn requests(State(state): State<Arc<Shared>>, Query(wanted): Query<Wanted>) -> Json<Vec<Recorded>> {
    Json(state.requests(wanted.provider))
}

async fn forget(State(state): State<Arc<Shared>>) -> StatusCode {
    state.forget();
    StatusCode::NO_CONTENT
}

async fn behaviours(State(state): State<Arc<Shared>>) -> Json<Vec<Behaviour>> {
    Json(state.behaviours())
}

async fn behave(State(state): State<Arc<Shared>>, Json(behaviour): Json<Behaviour>) -> StatusCode {
    state.behave(behaviour);
    StatusCode::NO_CONTENT
}

async fn reset(State(state): State<Arc<Shared>>) -> StatusCode {
    state.reset();
    StatusCode::NO_CONTENT
}

/// Everything that is not ours is the providers'.
async fn provider(State(state): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let call = Call::new(&head, body);
    let Some(provider) = call.provider() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let number = state.record(provider, &call);
    if !call.is_send() {
        let answer = answer(provider, &call, &state);
        state.answered(number, &answer, Mode::Ok);
        return answer.into_response();
    }
    let behaviour = state.next_behaviour(provider);
    let mode = behaviour.mode.unwrap_or_default();
    if mode == Mode::Timeout {
        tokio::time::sleep(behaviour.delay(TIMEOUT)).await;
        return dropped();
    }
    if mode == Mode::Slow {
        tokio::time::sleep(behaviour.delay(SLOW)).await;
    }
    let answer = match behaviour.refusal(provider) {
        Some(refusal) => refusal,
        None => answer(provider, &call, &state),
    };
    state.answered(number, &answer, mode);
    if let Some(sent) = &answer.sent {
        callbacks::start(&state, provider, &call, sent);
    }
    if mode == Mode::AcceptThenDrop {
        dropped()
    } else {
        answer.into_response()
    }
}

fn answer(provider: Provider, call: &Call, state: &Shared) -> Answer {
    match provider {
        Provider::Meta => meta::answer(call, state),
        Provider::Twilio => twilio::answer(call, state),
        Provider::Infobip => infobip::answer(call, state),
        Provider::Brevo => brevo::answer(call, state),
    }
}

fn dropped() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Dropped);
    response
}

#[cfg(test)]
mod tests;
