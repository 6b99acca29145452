//! Second factors that are codes to the verified phone, and backup codes.

use crate::App;
use crate::proving::{Offered, Verdict};
use axum::extract::State;
use identity::method::{self, PhoneChannel};
use identity::proof::Proof;
use identity::{backup_code, method::Method};
use kernel::{Caller, Error};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use web::{Auth, Json, NoContent, Result};

/// Proof that the user is at the device, one of the two.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofBody {
    /// Of the authenticator app, or a backup code.
    pub code: Option<String>,
    pub password: Option<String>,
}

impl ProofBody {
    pub(crate) fn parse(&self) -> kernel::Result<Proof> {
        Proof::parse(self.password.as_deref(), self.code.as_deref())
    }
}

/// The second factors that are on now.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct FactorAnswer {
    pub twofa_methods: Vec<String>,
    /// Ten codes, each good once in place of a second factor, shown now and never again; `null` when
    /// another second factor was on already.
    pub backup_codes: Option<Vec<String>>,
}

/// New backup codes.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct BackupCodes {
    /// Ten, each good once; shown now and never again.
    pub backup_codes: Vec<String>,
}

/// Turns on login codes by SMS to the verified phone.
///
/// 403 `AUTH_PHONE_UNVERIFIED` without one. The first second factor comes with ten backup codes.
pub async fn enable_sms(State(app): State<App>, Auth(caller): Auth) -> Result<Json<FactorAnswer>> {
    enable(&app, &caller, PhoneChannel::Sms).await
}

/// Turns off login codes by SMS.
///
/// Needs a code of the authenticator app, a backup code, or the password. 409 when they are not on; then
/// the proof is not looked at.
pub async fn disable_sms(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<ProofBody>,
) -> Result<NoContent> {
    disable(&app, &caller, &body, Method::Sms).await
}

/// Turns on login codes by WhatsApp to the verified phone.
///
/// 403 `AUTH_PHONE_UNVERIFIED` without one. The first second factor comes with ten backup codes.
pub async fn enable_whatsapp(State(app): State<App>, Auth(caller): Auth) -> Result<Json<FactorAnswer>> {
    enable(&app, &caller, PhoneChannel::Whatsapp).await
}

/// Turns off login codes by WhatsApp.
///
/// Needs a code of the authenticator app, a backup code, or the password. 409 when they are not on; then
/// the proof is not looked at.
pub async fn disable_whatsapp(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<ProofBody>,
) -> Result<NoContent> {
    disable(&app, &caller, &body, Method::Whatsapp).await
}

/// Makes ten new backup codes; those from before are worth nothing any more.
///
/// Needs a code of the authenticator app, a backup code, or the password. 409 when no second factor is
/// on.
pub async fn regenerate_backup_codes(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<ProofBody>,
) -> Result<Json<BackupCodes>> {
    let proof = body.parse()?;
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let verdict = Verdict::default();
    let made = app.db.write(&caller, async |tx| {
        verdict.note(proof.check(&tx, user_id).await)?;
        let backup_codes = backup_code::regenerate(&tx, user_id).await?;
        Ok(BackupCodes { backup_codes })
    });
    let made = app.with_proof(&caller, Offered::of(&proof), &verdict, Box::pin(made));
    Ok(Json(made.await?))
}

async fn enable(app: &App, caller: &Caller, channel: PhoneChannel) -> Result<Json<FactorAnswer>> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let enabled = app.db.write(caller, async |tx| {
        let on = method::enable(&tx, user_id, channel).await?;
        Ok(FactorAnswer {
            twofa_methods: on.methods,
            backup_codes: on.backup_codes,
        })
    });
    Ok(Json(enabled.await?))
}

pub(crate) async fn disable(
    app: &App,
    caller: &Caller,
    body: &ProofBody,
    method: Method,
) -> Result<NoContent> {
    let proof = body.parse()?;
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let verdict = Verdict::default();
    let removed = app.db.write(caller, async |tx| {
        method::must_be_on(&tx, user_id, method).await?;
        verdict.note(proof.check(&tx, user_id).await)?;
        method::remove(&tx, user_id, method).await
    });
    app.with_proof(caller, Offered::of(&proof), &verdict, Box::pin(removed))
        .await?;
    Ok(NoContent)
}
