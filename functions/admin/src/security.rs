//! What a company asks of all its users: a second factor, a verified phone (S1.8, S1.13).

use crate::App;
use axum::extract::State;
use identity::policy::{self, Policy, PolicyPatch};
use kernel::Permission;
use web::{Auth, IfMatch, Json, Record, Result, Routes};

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
        .get("/v1/admin/security", Permission::TwoFaManageTenant, get)
        .patch("/v1/admin/security", Permission::TwoFaManageTenant, update)
}

/// Gets what the company asks of its users before they may work.
pub async fn get(State(app): State<App>, Auth(caller): Auth) -> Result<Record<Policy>> {
    let found = app.db.read(&caller, async |tx| policy::find(&tx).await);
    Ok(Record(found.await?))
}

/// Changes what the company asks of its users before they may work.
///
/// Users have `grace_days` from the change that turns a demand on; afterwards, who does not meet it can
/// only set up what is missing (403 `AUTH_2FA_SETUP_REQUIRED`, `AUTH_PHONE_UNVERIFIED`), the one who
/// turned it on included. `grace_days` sent with a demand that is on already lets the days run anew.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    if_match: IfMatch,
    Json(patch): Json<PolicyPatch>,
) -> Result<Record<Policy>> {
    patch.check()?;
    let changed = app.db.write(&caller, async |tx| {
        policy::update(&tx, &patch, |was| if_match.check(was)).await
    });
    Ok(Record(changed.await?))
}
