//! The company's plan and its seats (S1.4, S12.4).

use crate::App;
use axum::extract::State;
use entitlements::plan::{self, CurrentPlan, Preview};
use entitlements::seat::{self, Seats};
use kernel::Error;
use schemars::JsonSchema;
use serde::Deserialize;
use web::{Auth, Json, Result};

/// The plan to try out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewPlan {
    /// `dev_free` or `dev_pro`.
    pub plan: String,
}

/// Shows the company's plan: features, limits, and what is used of them.
///
/// With the company's overrides, and without those of groups and users.
pub async fn plan(State(app): State<App>, Auth(caller): Auth) -> Result<Json<CurrentPlan>> {
    Ok(Json(
        app.db.read(&caller, async |tx| plan::current(&tx).await).await?,
    ))
}

/// Shows what another plan would change: features gained and lost, limits exceeded.
///
/// Changes nothing. In developers' environments only; elsewhere there is no such path (404).
pub async fn preview(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<PreviewPlan>,
) -> Result<Json<Preview>> {
    let is_dev = app.is_dev;
    let previewed = app.db.read(&caller, async |tx| {
        let previewed = plan::preview(&tx, &body.plan).await;
        if is_dev {
            previewed
        } else {
            Err(Error::not_found())
        }
    });
    Ok(Json(previewed.await?))
}

/// Shows the seats: used, allowed, pending invites, and who uses them by role and group.
pub async fn seats(State(app): State<App>, Auth(caller): Auth) -> Result<Json<Seats>> {
    Ok(Json(
        app.db.read(&caller, async |tx| seat::overview(&tx).await).await?,
    ))
}
