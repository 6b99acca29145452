//! What approvers say.

use crate::App;
use crate::carry_out::carry_out;
use approvals::decision::{self, Decide, Means, NewDecision};
use approvals::request::{Decision, RequestDetail};
use axum::extract::State;
use kernel::Caller;
use uuid::Uuid;
use web::{Auth, IdPath, Json, Path, Result};

/// Approves a request.
///
/// For every open step that the caller is an approver of. With the last approval needed, the action
/// is carried out for its requester and the request is `approved`; when it can't be done any more,
/// the request is `failed` and `failure_reason` says why.
pub async fn approve(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Json(body): Json<Decide>,
) -> Result<Json<RequestDetail>> {
    decide(&app, &caller, path.id, Decision::Approve, &body).await
}

/// Rejects a request.
///
/// One rejection ends it; the action is dropped.
pub async fn reject(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Json(body): Json<Decide>,
) -> Result<Json<RequestDetail>> {
    decide(&app, &caller, path.id, Decision::Reject, &body).await
}

async fn decide(
    app: &App,
    caller: &Caller,
    id: Uuid,
    decision: Decision,
    body: &Decide,
) -> Result<Json<RequestDetail>> {
    let new = NewDecision::parse(decision, body)?;
    let means = Means {
        app_url: &app.app_url,
        carry_out,
    };
    Ok(Json(decision::decide(&app.db, caller, means, id, &new).await?))
}
