//! Links by mail: asking for one, and following the one that verifies an address.

use crate::App;
use crate::login::FAILURE_TIME;
use axum::extract::State;
use futures::future::try_join_all;
use identity::link::{self, LinkToken, Purpose};
use identity::login::Addressee;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use web::{Accepted, Json, NoContent, Origin, Quota, Result};

/// Whose mailbox.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailboxBody {
    pub email: String,
    /// The slug or id of the company; without it a link is sent for each company's account, for four at
    /// most, those with a verified address first, and for three accounts more than one request each in an hour.
    pub tenant: Option<String>,
}

/// That a link is on its way, if there is an account for it.
#[derive(Serialize, JsonSchema)]
pub struct Asked {
    /// Always true: whether there is such an account is not told.
    pub accepted: bool,
}

/// The token of a link.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkBody {
    /// The `token` of the link that was mailed.
    pub token: String,
}

/// Sends the link that verifies an e-mail address again.
///
/// It replaces the one before and is good for 24 hours. The answer is the same, and takes as long,
/// whether or not there is an account that waits for it.
pub async fn resend_verification(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<MailboxBody>,
) -> Result<Accepted<Asked>> {
    send(&app, &origin, &quota, &body, Purpose::VerifyEmail).await
}

/// Sends a link to choose a new password.
///
/// It replaces the one before and is good for an hour. The answer is the same, and takes as long,
/// whether or not there is such an account.
pub async fn forgot_password(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<MailboxBody>,
) -> Result<Accepted<Asked>> {
    send(&app, &origin, &quota, &body, Purpose::ResetPassword).await
}

/// Verifies an e-mail address by the link that was sent to it.
///
/// A link is good once, for 24 hours, and until a newer one is sent.
pub async fn verify_email(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<LinkBody>,
) -> Result<NoContent> {
    let token = LinkToken::parse(&body.token)?;
    app.guard.link_from(&origin, &quota).await?;
    let owner = link::owner(&app.db, Purpose::VerifyEmail, &token)
        .await?
        .ok_or_else(link::refused)?;
    let caller = App::act_for(owner.tenant, &origin);
    app.db
        .write(&caller, async |tx| {
            link::verify_email(&tx, owner.user_id, &token).await
        })
        .await?;
    Ok(NoContent)
}

async fn send(
    app: &App,
    origin: &kernel::Origin,
    quota: &Quota,
    body: &MailboxBody,
    purpose: Purpose,
) -> Result<Accepted<Asked>> {
    let began = Instant::now();
    let addressee = Addressee::parse(&body.email, body.tenant.as_deref())?;
    app.guard.mail(origin, quota, &addressee.email).await?;
    let accounts = addressee.accounts(&app.db, purpose).await?;
    let mails = app.guard.mails_to(&addressee.email, accounts.len()).await?;
    let sent = accounts.iter().take(mails).map(async |account| {
        let token = LinkToken::generate()?;
        let caller = App::act_for(account.tenant, origin);
        let sent = app.db.write(&caller, async |tx| {
            link::send(&tx, account.user_id, purpose, &token, &app.app_url).await
        });
        sent.await
    });
    try_join_all(sent).await?;
    tokio::time::sleep_until(began + FAILURE_TIME).await;
    Ok(Accepted(Asked { accepted: true }))
}
