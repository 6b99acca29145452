//! The second step of a login.

use crate::App;
use crate::answer::{Delivered, Delivery, SignedInAnswer};
use aide::openapi::{Operation, Response as ApiResponse};
use aide::{OperationOutput, generate::GenContext};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use identity::login_code;
use identity::sign_in::{self, ChallengeToken, Factor, Finished};
use kernel::Error;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use web::{Accepted, Json, Origin, Quota, Result};

/// The login under way, and its second factor.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondStepBody {
    /// From the details of `AUTH_2FA_REQUIRED`.
    pub challenge_token: String,
    pub method: Factor,
    /// Left out with `sms` and `whatsapp`: sends one.
    pub code: Option<String>,
    #[serde(default)]
    pub delivery: Delivery,
}

/// That a code is on its way.
#[derive(Serialize, JsonSchema)]
pub struct CodeSent {
    /// Always true.
    pub sent: bool,
    pub method: &'static str,
}

/// 200 with tokens, or 202 when a code was sent.
pub enum SecondStep {
    SignedIn(Box<Delivered<200, SignedInAnswer>>),
    Sent(CodeSent),
}

/// Completes a login with a second factor.
///
/// `method` is one of those that the login named. With `sms` or `whatsapp` and no `code`, a code is sent
/// to the verified phone (202; again after a minute, three times at most); then repeat with the code. A
/// wrong code is 401 `AUTH_2FA_INVALID_CODE` with `attempts_left`; after five, or five minutes, the
/// login has to begin anew (401 `UNAUTHENTICATED`). Five wrong codes within 10 minutes, over all logins
/// of a user, refuse further ones for 10 minutes (429). Each code is accepted once.
pub async fn create(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<SecondStepBody>,
) -> Result<SecondStep> {
    let challenge = ChallengeToken::parse(&body.challenge_token)?;
    let code = body.code.as_deref().map(str::trim);
    if code.is_some_and(|code| code.is_empty() || code.len() > 64)
        || (code.is_none() && body.method.channel().is_none())
    {
        return Err(Error::field("code", "required", "Send the code, of at most 64 characters.").into());
    }
    app.guard.login_from(&origin, &quota).await?;
    let owner = sign_in::owner(&app.db, &challenge)
        .await?
        .ok_or_else(sign_in::over)?;
    let caller = App::act_for(owner.tenant, &origin);
    let (Some(code), user_id) = (code, owner.user_id) else {
        return send(&app, &caller, owner.user_id, &challenge, body.method).await;
    };
    app.guard.second_factor(user_id).await?;
    let token = app.tokens.refresh_token()?;
    let finished = app.db.write(&caller, async |tx| {
        sign_in::finish(&tx, user_id, &challenge, (body.method, code), &token).await
    });
    match finished.await? {
        Finished::SignedIn(account, session) => {
            app.guard.second_factor_right(user_id).await;
            let answer = app.signed_in(*account, session, &token, body.delivery)?;
            Ok(SecondStep::SignedIn(Box::new(answer)))
        }
        Finished::Wrong { attempts_left } => {
            app.guard.login_failed();
            Err(sign_in::wrong(attempts_left).into())
        }
        Finished::Over => Err(sign_in::over().into()),
    }
}

async fn send(
    app: &App,
    caller: &kernel::Caller,
    user_id: uuid::Uuid,
    challenge: &ChallengeToken,
    factor: Factor,
) -> Result<SecondStep> {
    let channel = factor
        .channel()
        .ok_or_else(|| Error::internal("a code that is not sent was to be sent"))?;
    let sent = app.db.write(caller, async |tx| {
        let due = login_code::may_send(&tx, user_id, challenge, channel).await?;
        app.guard.login_code(user_id).await?;
        login_code::send(&tx, due).await
    });
    sent.await?;
    Ok(SecondStep::Sent(CodeSent {
        sent: true,
        method: channel.code(),
    }))
}

impl IntoResponse for SecondStep {
    fn into_response(self) -> Response {
        match self {
            Self::SignedIn(answer) => (*answer).into_response(),
            Self::Sent(sent) => Accepted(sent).into_response(),
        }
    }
}

impl OperationOutput for SecondStep {
    type Inner = SignedInAnswer;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        Json::<SignedInAnswer>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        let mut responses = Delivered::<200, SignedInAnswer>::inferred_responses(ctx, operation);
        responses.extend(Accepted::<CodeSent>::inferred_responses(ctx, operation));
        responses
    }
}
