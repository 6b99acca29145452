//! The one way in: whatever proved who somebody is, here it is decided whether that is enough.

use crate::App;
use crate::answer::{Delivered, Delivery, SignedInAnswer};
use futures::future::try_join_all;
use identity::login::{self, FoundAccount};
use identity::sign_in::{self, Begun, CHALLENGE_LIFETIME, ChallengeToken, FirstFactor};
use kernel::{Code, Error, Result};
use serde_json::json;

/// Signs in somebody whose first factor was right. `None` when the user or the company is not active, or
/// the password is not the user's any more.
///
/// # Errors
/// 401 `AUTH_2FA_REQUIRED` with a challenge, where a second factor is on: there is no session until
/// `/v1/auth/login/2fa` was answered.
pub(crate) async fn sign_in<const STATUS: u16>(
    app: &App,
    origin: &kernel::Origin,
    account: FoundAccount,
    proved: FirstFactor<'_>,
    delivery: Delivery,
) -> Result<Option<Delivered<STATUS, SignedInAnswer>>> {
    let (token, challenge) = (app.tokens.refresh_token()?, ChallengeToken::generate()?);
    let caller = App::act_for(account.tenant, origin);
    let begun = app
        .db
        .write(&caller, async |tx| {
            sign_in::begin(&tx, account.user_id, proved, &token, &challenge).await
        })
        .await?;
    match begun {
        None => Ok(None),
        Some(Begun::SignedIn(account, session)) => {
            app.signed_in(*account, session, &token, delivery).map(Some)
        }
        Some(Begun::SecondFactor { methods }) => Err(second_factor_required(&challenge, &methods)),
    }
}

fn second_factor_required(challenge: &ChallengeToken, methods: &[String]) -> Error {
    let message = "One step is left: complete the login at /v1/auth/login/2fa.";
    Error::new(Code::AuthTwoFactorRequired, message).with_details(json!({
        "challenge_token": challenge.expose(),
        "methods": methods,
        "expires_in": CHALLENGE_LIFETIME.as_secs(),
    }))
}

/// A line in the audit log of each account that it could have been; at the last try its owner is told.
pub(crate) async fn audit_failures(
    app: &App,
    origin: &kernel::Origin,
    accounts: impl Iterator<Item = (FoundAccount, bool)>,
) -> Result<()> {
    let noted = accounts.map(async |(account, locked_out)| {
        let caller = App::act_for(account.tenant, origin);
        let noted = app.db.write(&caller, async |tx| {
            login::audit_failure(&tx, account.user_id, locked_out).await
        });
        noted.await
    });
    try_join_all(noted).await?;
    Ok(())
}
