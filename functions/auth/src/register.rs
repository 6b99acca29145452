//! Registering with a company that is there already.

use crate::App;
use crate::accept_invite::{self, AcceptedAnswer, Answer};
use crate::answer::{Delivered, Delivery};
use axum::extract::State;
use http::HeaderMap;
use identity::InviteToken;
use identity::invite::refused;
use kernel::Email;
use schemars::JsonSchema;
use serde::Deserialize;
use web::{Json, Origin, Quota, Result};

/// A person with an invitation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterBody {
    /// As in the link of the invitation.
    pub invite_token: String,
    pub full_name: String,
    /// The address that was invited; may be left out.
    pub email: Option<String>,
    /// At least 12 characters; common passwords are refused.
    pub password: String,
    #[serde(default)]
    pub delivery: Delivery,
}

/// Adds a user to a company that invited them.
///
/// As accepting the invitation, with a name. `X-Tenant-Id` may name the company. An invitation that
/// was used, replaced, has expired, is for another company or address, or never was, is refused with
/// one and the same 422.
pub async fn create(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    headers: HeaderMap,
    Json(body): Json<RegisterBody>,
) -> Result<Delivered<201, AcceptedAnswer>> {
    app.guard.link_from(&origin, &quota).await?;
    let token = InviteToken::parse(&body.invite_token)?;
    if let Some(named) = headers.get("x-tenant-id")
        && named.to_str().ok().and_then(|named| named.parse().ok()) != Some(token.tenant.0)
    {
        return Err(refused().into());
    }
    let answer = Answer {
        full_name: Some(&body.full_name),
        password: &body.password,
        delivery: body.delivery,
    };
    let claimed = body.email.as_deref();
    accept_invite::accept(&app, &origin, &token, &answer, |invitee| {
        let same = |claimed: &str| normalised(claimed) == normalised(&invitee.email);
        if claimed.is_none_or(same) {
            Ok(())
        } else {
            Err(refused())
        }
    })
    .await
}

fn normalised(address: &str) -> Option<String> {
    Email::parse(address).map(|email| email.normalised)
}
