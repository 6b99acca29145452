//! The caller's phone.

use crate::App;
use axum::extract::State;
use identity::method::PhoneChannel;
use identity::phone_verification::{
    self, Confirmation, MAX_STARTS, PhoneVerification, START_WINDOW, VerifiedPhone,
};
use kernel::{Code, Error, Phone};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use web::{Accepted, Auth, Json, NoContent, Quota, Result};

/// The number to verify.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartBody {
    /// With `+` and country code.
    pub e164: String,
    pub channel: PhoneChannel,
}

/// The code that came.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmBody {
    /// The number that it was sent to.
    pub e164: String,
    /// 6 digits.
    pub code: String,
}

/// Sends a code to a phone, to verify that it is the caller's.
///
/// 6 digits, good for 10 minutes and 5 attempts; three starts an hour. A number gets six codes an hour,
/// whoever asks for them, and a company 200 a day. A verification under way is replaced. 409 while SMS or
/// WhatsApp login codes go to another number.
pub async fn start(
    State(app): State<App>,
    Auth(caller): Auth,
    quota: Quota,
    Json(body): Json<StartBody>,
) -> Result<Accepted<PhoneVerification>> {
    let phone = parse(&body.e164)?;
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let window = Duration::from_secs(START_WINDOW.as_secs().unsigned_abs());
    let started = app.db.write(&caller, async |tx| {
        let may = phone_verification::may_start(&tx, user_id, &phone).await;
        let starting = may.inspect_err(|error| {
            if error.code() == Code::RateLimited {
                quota.note(MAX_STARTS, 0, error.retry_after().unwrap_or(window));
            }
        })?;
        app.guard.phone_code(&caller, &quota, &phone).await?;
        phone_verification::start(&tx, starting, body.channel).await
    });
    let (verification, left) = started.await?;
    quota.note(MAX_STARTS, left, window);
    Ok(Accepted(verification))
}

/// Sends another code for the verification under way.
///
/// At most one a minute, and six for a verification; a number and a company get no more than for a
/// start. It is good for another 10 minutes, and the former code is worth nothing any more; the attempts
/// made stay counted.
pub async fn resend(
    State(app): State<App>,
    Auth(caller): Auth,
    quota: Quota,
) -> Result<Accepted<PhoneVerification>> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let sent = app.db.write(&caller, async |tx| {
        let resending = phone_verification::may_resend(&tx, user_id).await?;
        app.guard.phone_code(&caller, &quota, &resending.phone).await?;
        phone_verification::resend(&tx, &resending).await
    });
    Ok(Accepted(sent.await?))
}

/// Confirms a phone with the code that was sent to it.
///
/// From then on it is the caller's verified phone, in place of a former one. 409 when SMS or WhatsApp
/// login codes, turned on meanwhile, go to another number. A wrong code uses up no `Idempotency-Key`.
pub async fn confirm(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<ConfirmBody>,
) -> Result<Json<VerifiedPhone>> {
    let phone = parse(&body.e164)?;
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let tried = app.db.write(&caller, async |tx| {
        let tried = phone_verification::confirm(&tx, user_id, &phone, &body.code).await?;
        if !matches!(tried, Confirmation::Verified(_)) {
            // Committed, since it counts, and no answer: a request that failed is not repeated from memory.
            tx.release_key().await?;
        }
        Ok(tried)
    });
    match tried.await? {
        Confirmation::Verified(phone) => Ok(Json(phone)),
        Confirmation::Wrong { attempts_left } => {
            let message = format!("This code is not right; {attempts_left} more may be tried.");
            Err(Error::field("code", "wrong", &message).into())
        }
        Confirmation::Over => Err(Error::field(
            "code",
            "expired",
            "No code for this number can be confirmed (any more); start again.",
        )
        .into()),
    }
}

/// Drops the verification under way.
///
/// 404 when there is none.
pub async fn cancel(State(app): State<App>, Auth(caller): Auth) -> Result<NoContent> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let dropped = app
        .db
        .write(&caller, async |tx| phone_verification::cancel(&tx, user_id).await);
    if dropped.await? {
        Ok(NoContent)
    } else {
        Err(Error::not_found().into())
    }
}

fn parse(e164: &str) -> kernel::Result<Phone> {
    Phone::parse(e164).ok_or_else(|| {
        let message = "This is not a phone number in E.164: `+`, country code, number.";
        Error::field("e164", "invalid", message)
    })
}
