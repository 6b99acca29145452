//! Meta: one body may speak for several accounts, and one secret has signed all of it.

use crate::App;
use crate::intake::{enqueue, refuse};
use axum::extract::State;
use cloud::{EdgeAccount, EdgeSecret, Provider};
use kernel::{Code, Error, Result, Secret};
use providers::intake::{Source, VerifiedAccount};
use providers::meta::webhook::{Challenge, phone_number_ids};
use providers::{escape, signature};
use schemars::JsonSchema;
use serde::Serialize;
use web::{Json, Origin, Raw, Text};

/// No message of Meta's comes near this.
const MAX_DEPTH: usize = 100;

/// That a webhook is safe with us.
#[derive(Serialize, JsonSchema)]
pub struct Accepted {
    /// Always `accepted`.
    pub status: &'static str,
}

/// Answers Meta's handshake.
///
/// Meta asks once when a webhook is set up, with the verify token that the account was created with.
pub async fn handshake(State(app): State<App>, raw: Raw) -> web::Result<Text> {
    let challenge = Challenge::from_query(&raw.query).ok_or_else(|| {
        Error::invalid_request("Send hub.mode=subscribe, hub.verify_token and hub.challenge.")
    })?;
    let global = app.global.meta.as_ref().map(|meta| &meta.verify_token);
    let known = global.is_some_and(|token| signature::meta_verify_token(&challenge.verify_token, token))
        || app.accounts.knows_verify_token(&challenge.verify_token).await?;
    if !known {
        return Err(Error::new(Code::Forbidden, "No account has this verify token.").into());
    }
    Ok(Text("text/plain; charset=utf-8", challenge.challenge))
}

/// Takes messages and delivery statuses from Meta.
///
/// The body must be signed (`X-Hub-Signature-256`) with the app secret of every account it names.
pub async fn receive(
    State(app): State<App>,
    Origin(origin): Origin,
    raw: Raw,
) -> web::Result<Json<Accepted>> {
    let accounts = verify(&app, &raw).await?;
    if escape::depth(&raw.body) > MAX_DEPTH {
        return Err(Error::invalid_request("The body is nested deeper than 100 levels.").into());
    }
    if let Some(accounts) = accounts {
        enqueue(&app, &origin, Source::Meta, raw, accounts).await?;
    }
    Ok(Json(Accepted { status: "accepted" }))
}

/// The accounts that the body speaks for; `None` when it speaks for none.
async fn verify(app: &App, raw: &Raw) -> Result<Option<Vec<VerifiedAccount>>> {
    let header = raw
        .headers
        .get("x-hub-signature-256")
        .and_then(|value| value.to_str().ok());
    let header = header.ok_or_else(|| refuse(app, Source::Meta))?;
    let signed_with = |secret: &Secret| signature::meta(header, secret, &raw.body);
    let signed_by_global = || {
        app.global
            .meta
            .as_ref()
            .is_some_and(|meta| signed_with(&meta.app_secret))
    };
    let Ok(ids) = phone_number_ids(&raw.body) else {
        return Err(if signed_by_global() {
            Error::invalid_request("The body is not a webhook of Meta's.")
        } else {
            refuse(app, Source::Meta)
        });
    };
    let mut accounts = Vec::new();
    for id in &ids {
        match owner(app, id, &signed_with).await? {
            Owner::Verified(account) => accounts.push(account),
            Owner::Nobody if signed_by_global() => {}
            Owner::Nobody | Owner::Others => return Err(refuse(app, Source::Meta)),
        }
    }
    if ids.is_empty() {
        return if signed_by_global() {
            Ok(None)
        } else {
            Err(refuse(app, Source::Meta))
        };
    }
    Ok(Some(accounts))
}

enum Owner {
    /// The oldest account with this number whose secret signed the body.
    Verified(VerifiedAccount),
    /// Companies have the number, and none of their secrets signed the body.
    Others,
    Nobody,
}

async fn owner(app: &App, phone_number_id: &str, signed_with: &impl Fn(&Secret) -> bool) -> Result<Owner> {
    let signer = |candidates: &[EdgeAccount]| {
        candidates
            .iter()
            .find(|account| is_signed(account, signed_with))
            .map(verified)
    };
    let mut candidates = app.accounts.find(Provider::Meta, phone_number_id).await?;
    let mut found = signer(&candidates);
    if found.is_none() && !candidates.is_empty() {
        // The secret may have been changed within the minute that we believe what we know.
        candidates = app.accounts.refresh(Provider::Meta, phone_number_id).await?;
        found = signer(&candidates);
    }
    Ok(match found {
        Some(account) => Owner::Verified(account),
        None if candidates.is_empty() => Owner::Nobody,
        None => Owner::Others,
    })
}

fn is_signed(account: &EdgeAccount, signed_with: &impl Fn(&Secret) -> bool) -> bool {
    match &account.secret {
        EdgeSecret::Meta { app_secret, .. } => signed_with(app_secret),
        EdgeSecret::Twilio { .. } => false,
    }
}

fn verified(account: &EdgeAccount) -> VerifiedAccount {
    VerifiedAccount {
        provider_key: account.provider_key.clone(),
        tenant_id: account.tenant.0,
        account_id: account.account_id,
    }
}
