//! The authenticator app, under the names of S1.4 and of Appendix A.4.

use crate::App;
use crate::factor::{self, ProofBody};
use crate::proving::{Offered, Verdict};
use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use identity::method::Method;
use identity::{proof, totp};
use kernel::{Caller, Error};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use web::{Auth, Json, NoContent, Result};

/// What an authenticator app needs to know.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct SetupAnswer {
    /// `otpauth://totp/M3CRM:<e-mail>?secret=…&issuer=M3CRM`.
    pub otpauth_uri: String,
    /// The secret in base32, for those who can't scan.
    pub secret: String,
    /// The URI as a QR code: `data:image/png;base64,…`.
    pub qr_png_data_url: String,
}

/// As [`SetupAnswer`], in the names of Appendix A.4.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssueAnswer {
    pub otpauth_url: String,
    pub secret: String,
    pub qr_png_data_url: String,
}

/// A code of the app.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeBody {
    /// 6 digits.
    pub code: String,
}

/// That the app is in use.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct ConfirmAnswer {
    /// Always true.
    pub ok: bool,
    /// Ten codes, each good once in place of a second factor, shown now and never again; `null` when
    /// another second factor was on already.
    pub backup_codes: Option<Vec<String>>,
}

/// As [`ConfirmAnswer`], in the names of Appendix A.4.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyAnswer {
    pub ok: bool,
    pub recovery_codes_issued: bool,
    /// Shown now and never again.
    pub recovery_codes: Option<Vec<String>>,
}

/// Begins to set up an authenticator app.
///
/// Nothing is asked of the user until `/v1/auth/totp/confirm` was answered; beginning again makes a new
/// secret. 409 while an app is in use.
pub async fn set_up(State(app): State<App>, Auth(caller): Auth) -> Result<Json<SetupAnswer>> {
    Ok(Json(begin(&app, &caller).await?))
}

/// Begins to set up an authenticator app: `/v1/auth/totp/setup` in the names of Appendix A.4.
pub async fn issue(State(app): State<App>, Auth(caller): Auth) -> Result<Json<IssueAnswer>> {
    let made = begin(&app, &caller).await?;
    Ok(Json(IssueAnswer {
        otpauth_url: made.otpauth_uri,
        secret: made.secret,
        qr_png_data_url: made.qr_png_data_url,
    }))
}

/// Takes the authenticator app into use, with a code that it shows.
///
/// From now on a login asks for a code. The first second factor comes with ten backup codes.
pub async fn confirm(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CodeBody>,
) -> Result<Json<ConfirmAnswer>> {
    Ok(Json(take_into_use(&app, &caller, &body).await?))
}

/// Takes the authenticator app into use: `/v1/auth/totp/confirm` in the names of Appendix A.4.
pub async fn verify(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CodeBody>,
) -> Result<Json<VerifyAnswer>> {
    let done = take_into_use(&app, &caller, &body).await?;
    Ok(Json(VerifyAnswer {
        ok: done.ok,
        recovery_codes_issued: done.backup_codes.is_some(),
        recovery_codes: done.backup_codes,
    }))
}

/// Stops using the authenticator app.
///
/// Needs a code of it, a backup code, or the password: a session alone may be stolen. 409 when none is in
/// use; then the proof is not looked at.
pub async fn disable(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<ProofBody>,
) -> Result<NoContent> {
    factor::disable(&app, &caller, &body, Method::Totp).await
}

async fn begin(app: &App, caller: &Caller) -> Result<SetupAnswer> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let made = app.db.write(caller, async |tx| {
        let setup = totp::set_up(&tx, user_id).await?;
        Ok(SetupAnswer {
            otpauth_uri: setup.otpauth_url,
            secret: setup.secret,
            qr_png_data_url: format!("data:image/png;base64,{}", STANDARD.encode(setup.qr_png)),
        })
    });
    Ok(made.await?)
}

async fn take_into_use(app: &App, caller: &Caller, body: &CodeBody) -> Result<ConfirmAnswer> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let verdict = Verdict::default();
    let confirmed = app.db.write(caller, async |tx| {
        let on = totp::confirm(&tx, user_id, &body.code).await;
        let on = verdict.note(on.and_then(|on| on.ok_or_else(proof::wrong_code)))?;
        Ok(ConfirmAnswer {
            ok: true,
            backup_codes: on.backup_codes,
        })
    });
    Ok(app
        .with_proof(caller, Offered::NewApp, &verdict, Box::pin(confirmed))
        .await?)
}
