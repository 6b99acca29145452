//! Accepting an invitation.

use crate::App;
use crate::answer::{Delivered, Delivery, TokenAnswer};
use axum::extract::State;
use identity::InviteToken;
use identity::joining::{self, Acceptance, Invitee};
use identity::user::Account;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use web::{Json, Origin, Quota, Result};

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
    #[serde(default)]
    pub delivery: Delivery,
}

/// Who joined, and the tokens of their first session.
#[derive(Serialize, JsonSchema)]
pub struct AcceptedAnswer {
    #[serde(flatten)]
    pub account: Account,
    /// Absent when the user has a second factor: log in with it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenAnswer>,
}

/// Accepts an invitation and logs in.
///
/// Sets the password and verifies the address; the same for a link to choose a new password. A link
/// that was used, replaced, has expired or never was is refused with one and the same 422.
pub async fn create(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<AcceptBody>,
) -> Result<Delivered<200, AcceptedAnswer>> {
    app.guard.link_from(&origin, &quota).await?;
    let token = InviteToken::parse(&body.token)?;
    let answer = Answer {
        full_name: body.full_name.as_deref(),
        password: &body.password,
        delivery: body.delivery,
    };
    accept(&app, &origin, &token, &answer, |_| Ok(())).await
}

/// What somebody brings to a link.
pub(crate) struct Answer<'a> {
    pub full_name: Option<&'a str>,
    pub password: &'a str,
    pub delivery: Delivery,
}

/// Spends the link and opens a session; `check` may refuse whom it is for.
pub(crate) async fn accept<const STATUS: u16>(
    app: &App,
    origin: &kernel::Origin,
    token: &InviteToken,
    answer: &Answer<'_>,
    check: impl FnOnce(&Invitee) -> kernel::Result<()>,
) -> Result<Delivered<STATUS, AcceptedAnswer>> {
    let caller = App::act_for(token.tenant, origin);
    let invitee = app
        .db
        .read(&caller, async |tx| joining::open(&tx, token).await)
        .await?;
    check(&invitee)?;
    let acceptance = Acceptance::parse(&invitee, answer.full_name, answer.password)?;
    let refresh_token = app.tokens.refresh_token()?;
    let accepted = app.db.write(&caller, async |tx| {
        joining::accept(&tx, token, &acceptance, Some(&refresh_token)).await
    });
    let accepted = accepted.await?;
    let (tokens, cookie) = match accepted.session {
        Some(session) => {
            let (tokens, cookie) = app.tokens_of(token.tenant, session, &refresh_token, answer.delivery)?;
            (Some(tokens), cookie)
        }
        None => (None, None),
    };
    let account = accepted.account;
    Ok(Delivered::new(AcceptedAnswer { account, tokens }, cookie))
}
