//! New passwords.

use crate::App;
use crate::proving::{Offered, Verdict};
use axum::extract::State;
use identity::link::{self, LinkToken, Purpose};
use identity::{Password, credential, login};
use kernel::Error;
use schemars::JsonSchema;
use serde::Deserialize;
use web::{Auth, Json, NoContent, Origin, Quota, Result};

/// A link that was mailed, and what the password shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetBody {
    /// The `token` of the link.
    pub token: String,
    /// At least 12 characters; common passwords are refused.
    pub password: String,
}

/// What the password is, and what it shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeBody {
    pub current_password: String,
    /// At least 12 characters; common passwords are refused.
    pub new_password: String,
}

/// Sets a new password by the link that `/v1/auth/forgot-password` sent.
///
/// Ends every session of the user and every login under way, lifts a lock-out, and unlinks the identities
/// of providers: signing in with one links it anew. The link is good once, for an hour; a password that is
/// refused does not spend it. A second factor stays on.
pub async fn reset(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<ResetBody>,
) -> Result<NoContent> {
    let token = LinkToken::parse(&body.token)?;
    app.guard.link_from(&origin, &quota).await?;
    let owner = link::owner(&app.db, Purpose::ResetPassword, &token)
        .await?
        .ok_or_else(link::refused)?;
    let caller = App::act_for(owner.tenant, &origin);
    let holder = app
        .db
        .read(&caller, async |tx| credential::holder(&tx, owner.user_id).await)
        .await?
        .ok_or_else(link::refused)?;
    let hash = holder.choose("password", &body.password)?.hash()?;
    app.db
        .write(&caller, async |tx| {
            credential::reset(&tx, &holder, &token, &hash).await
        })
        .await?;
    app.guard
        .guessed_right(&login::lock_keys(owner.tenant, holder.email_norm()))
        .await;
    Ok(NoContent)
}

/// Changes the caller's password.
///
/// Needs the present one. Ends the caller's other sessions and every login under way, and unlinks the
/// identities of providers; this session goes on. 5 wrong passwords within 10 minutes refuse further tries
/// for 10 minutes, and 5 changes within an hour further changes.
pub async fn change(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<ChangeBody>,
) -> Result<NoContent> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    if body.current_password.is_empty() || body.current_password.len() > 2048 {
        return Err(Error::field(
            "current_password",
            "invalid",
            "A password has 1 to 256 characters.",
        )
        .into());
    }
    let current = Password::claim(&body.current_password);
    let verdict = Verdict::default();
    let change = app.db.write(&caller, async |tx| {
        let holder = credential::holder(&tx, user_id).await?;
        let holder = holder.ok_or_else(Error::unauthenticated)?;
        verdict.note(holder.knows(&current))?;
        let hash = holder.choose("new_password", &body.new_password)?.hash()?;
        app.guard.password_change(user_id).await?;
        credential::change(&tx, &holder, &hash).await
    });
    app.with_proof(&caller, Offered::Password, &verdict, Box::pin(change))
        .await?;
    Ok(NoContent)
}
