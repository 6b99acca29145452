//! Inviting colleagues.

use super::user::{self, NewUserBody};
use crate::App;
use axum::extract::State;
use identity::InviteToken;
use identity::invite::{self, Start};
use identity::joining::{self, Acceptance};
use identity::lifecycle;
use identity::member::{self, Member};
use identity::user::Account;
use schemars::JsonSchema;
use serde::Deserialize;
use web::{Auth, Created, IdPath, Json, Origin, Path, Quota, Result};

/// What an invited person answers with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptBody {
    /// As in the link.
    pub token: String,
    /// May be left out when the invitation named the person.
    pub full_name: Option<String>,
    /// At least 12 characters; common passwords are refused.
    pub password: String,
}

/// Invites a colleague by mail.
///
/// They join when they follow the link, which is good once and for seven days; the seat is taken
/// from now on. Roles and groups that give more than the caller holds are refused with 403, groups
/// without a plan that has them with 402. A mailbox gets five links an hour and a company sends 200 a
/// day; more are 429.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<NewUserBody>,
) -> Result<Created<Member>> {
    user::add(&app, &caller, &body, Start::Invited).await
}

/// Mails the invitation again, with a new link.
///
/// The link sent before is dead. 409 when the user has joined, 429 when the mailbox or the company had
/// its links.
pub async fn resend(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Json<Member>> {
    let sent = app.db.write(&caller, async |tx| {
        let target = lifecycle::target(&tx, path.id).await?;
        invite::may_be_sent_again(&target)?;
        app.mails.ask_for(&tx, &target).await?;
        invite::resend(&tx, &[target], &app.app_url).await?;
        member::find(&tx, path.id).await
    });
    Ok(Json(sent.await?))
}

/// Accepts an invitation.
///
/// Sets the password and verifies the address; a former password and what it opened are over. Does
/// not log in: `/v1/auth/accept-invite` does. A link that was used, replaced, has expired or never was
/// is refused with one and the same 422.
pub async fn accept(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<AcceptBody>,
) -> Result<Json<Account>> {
    app.links.follow(&origin, &quota).await?;
    let token = InviteToken::parse(&body.token)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the token says which company, and opens nothing else of it"
    )]
    let caller = kernel::Caller::verified_system(token.tenant, "admin", origin);
    let invitee = app
        .db
        .read(&caller, async |tx| joining::open(&tx, &token).await)
        .await?;
    let acceptance = Acceptance::parse(&invitee, body.full_name.as_deref(), &body.password)?;
    let accepted = app
        .db
        .write(&caller, async |tx| {
            joining::accept(&tx, &token, &acceptance, None).await
        })
        .await?;
    Ok(Json(accepted.account))
}
