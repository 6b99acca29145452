//! Suspending, deactivating, reactivating, signing out.

use super::ownership::{self, Owned};
use crate::App;
use audit::log;
use axum::extract::{FromRequest, Request, State};
use identity::invite;
use identity::lifecycle::{self, Change};
use identity::member::{self, Member};
use kernel::Caller;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use web::{Auth, IdPath, Json, NoContent, Path, Problem, Query, Result};

/// Whose records become whose.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// An active colleague who gets the user's contacts and conversations, also when the account is
    /// closed already.
    pub reassign_to: Option<Uuid>,
}

/// A user who is back, and what is theirs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reactivated {
    #[serde(flatten)]
    pub user: Member,
    /// What the user owns now, for whoever looks at whether it should still be so.
    pub owned: Owned,
}

/// How many sessions were ended.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedOut {
    pub sessions_ended: u64,
}

/// Suspends a user.
///
/// Logging in is refused, every session at its next request. The user's records stay theirs unless
/// `reassign_to` is given. The user is told by mail. Suspending a suspended user changes nothing else.
pub async fn suspend(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Optional(body): Optional<HandOver>,
) -> Result<Json<Member>> {
    apply(&app, &caller, path.id, Change::Suspend, body).await
}

/// Reactivates a suspended or deactivated user.
///
/// Takes a seat. Who never accepted an invitation is invited again and needs a new link. The user has
/// their roles and groups again, which may grant only what the caller holds (403,
/// `details.permissions`). `owned` counts what is still theirs, also when they were active already.
pub async fn reactivate(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Json<Reactivated>> {
    let reactivated = app.db.write(&caller, async |tx| {
        let target = lifecycle::target(&tx, path.id).await?;
        let is_due = target.check(Change::Reactivate)?;
        let owned = ownership::of(&tx, path.id).await?;
        if is_due {
            let about = json!({ "owned": owned });
            lifecycle::change(&tx, &[target], Change::Reactivate, &about).await?;
        }
        let user = member::find(&tx, path.id).await?;
        Ok(Reactivated { user, owned })
    });
    Ok(Json(reactivated.await?))
}

/// Deactivates a user who left.
///
/// As suspending, and the seat is free. 409 with the counts while the user owns contacts or
/// conversations, unless `reassign_to` says who gets them.
pub async fn deactivate(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Optional(body): Optional<HandOver>,
) -> Result<Json<Member>> {
    apply(&app, &caller, path.id, Change::Deactivate, body).await
}

/// Deletes a user: the same as deactivating.
///
/// The audit log and records go on referring to the user.
pub async fn delete(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Query(query): Query<HandOver>,
) -> Result<NoContent> {
    apply(&app, &caller, path.id, Change::Deactivate, query).await?;
    Ok(NoContent)
}

/// Suspends or deactivates.
async fn apply(
    app: &App,
    caller: &Caller,
    id: Uuid,
    change: Change,
    hand_over: HandOver,
) -> Result<Json<Member>> {
    let changed = app.db.write(caller, async |tx| {
        let (target, heir) = lifecycle::target_and_heir(&tx, id, hand_over.reassign_to).await?;
        let is_due = target.check(change)?;
        let about = match &heir {
            Some(heir) => ownership::hand_over(&tx, &target, heir).await?,
            None if is_due && change == Change::Deactivate => ownership::refuse_any(&tx, id).await?,
            None => json!({}),
        };
        if is_due {
            lifecycle::change(&tx, &[target], change, &about).await?;
        } else if heir.is_some() {
            log::record(&tx, "user.recordsReassigned", "user", Some(id), &about).await?;
        }
        member::find(&tx, id).await
    });
    Ok(Json(changed.await?))
}

/// Signs a user out everywhere.
///
/// Their access tokens are refused from the next request on, their refresh tokens too.
pub async fn force_logout(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Json<SignedOut>> {
    let sessions_ended = app.db.write(&caller, async |tx| {
        let target = lifecycle::target(&tx, path.id).await?;
        lifecycle::force_logout(&tx, &target).await
    });
    let sessions_ended = sessions_ended.await?;
    Ok(Json(SignedOut { sessions_ended }))
}

/// Mails a user a link to choose a new password, and signs them out everywhere.
///
/// The old password goes on working until the link is followed, which ends it and what it opened.
/// Identities of providers are unlinked at once.
/// 429 when the mailbox or the company had its links.
pub async fn reset_password(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Json<SignedOut>> {
    let sessions_ended = app.db.write(&caller, async |tx| {
        let target = lifecycle::target(&tx, path.id).await?;
        invite::may_reset_password(&target)?;
        app.mails.ask_for(&tx, &target).await?;
        invite::reset_password(&tx, &target, &app.app_url).await
    });
    let sessions_ended = sessions_ended.await?;
    Ok(Json(SignedOut { sessions_ended }))
}

/// Takes a user's second factors, who has lost them, and signs them out everywhere.
///
/// The next login takes the password alone; where the company asks for a second factor, a new one is
/// set up then. Nobody does it to themselves (409).
pub async fn reset_2fa(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Json<SignedOut>> {
    let sessions_ended = app.db.write(&caller, async |tx| {
        let target = lifecycle::target(&tx, path.id).await?;
        lifecycle::reset_second_factors(&tx, &target).await
    });
    let sessions_ended = sessions_ended.await?;
    Ok(Json(SignedOut { sessions_ended }))
}

/// A JSON body that may be left out.
pub struct Optional<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned + Default> FromRequest<S> for Optional<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if axum::body::HttpBody::is_end_stream(request.body()) {
            return Ok(Self(T::default()));
        }
        Json::from_request(request, state)
            .await
            .map(|Json(body)| Self(body))
    }
}

impl<T: JsonSchema> aide::OperationInput for Optional<T> {
    fn operation_input(ctx: &mut aide::generate::GenContext, operation: &mut aide::openapi::Operation) {
        <Json<T> as aide::OperationInput>::operation_input(ctx, operation);
    }
}
