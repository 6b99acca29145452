//! Twilio: the URL is part of what is signed.

use crate::App;
use crate::intake::{enqueue, refuse};
use axum::extract::State;
use cloud::{EdgeAccount, EdgeSecret, Provider};
use kernel::{Result, Secret};
use providers::intake::{Source, VerifiedAccount};
use providers::signature;
use providers::twilio::webhook::account_sid;
use web::{Origin, Raw, Text};

/// Takes messages and delivery statuses from Twilio.
///
/// The request must be signed (`X-Twilio-Signature`) with the auth token of its `AccountSid`. The
/// answer is an empty `TwiML` document: nothing is said back to the sender.
pub async fn receive(State(app): State<App>, Origin(origin): Origin, raw: Raw) -> web::Result<Text> {
    let accounts = verify(&app, &raw).await?;
    enqueue(&app, &origin, Source::Twilio, raw, accounts).await?;
    Ok(Text("text/xml; charset=utf-8", "<Response/>".to_owned()))
}

async fn verify(app: &App, raw: &Raw) -> Result<Vec<VerifiedAccount>> {
    let refused = || refuse(app, Source::Twilio);
    let header = raw
        .headers
        .get("x-twilio-signature")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(refused)?;
    let question_mark = if raw.query.is_empty() { "" } else { "?" };
    let url = format!("{}{}{question_mark}{}", app.webhooks_url, raw.path, raw.query);
    let content_type = raw
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_json = content_type.starts_with("application/json");
    let signed_with = |token: &Secret| {
        if is_json {
            signature::twilio_json(header, token, &url, &raw.body)
        } else {
            signature::twilio_form(header, token, &url, &raw.body)
        }
    };
    let sid = account_sid(&raw.body).ok().flatten().ok_or_else(refused)?;
    let mut candidates = app.accounts.find(Provider::Twilio, &sid).await?;
    if !candidates.is_empty() && signers(&candidates, &signed_with).is_empty() {
        candidates = app.accounts.refresh(Provider::Twilio, &sid).await?;
    }
    let accounts = signers(&candidates, &signed_with);
    let signed_by_global = || {
        app.global
            .twilio
            .as_ref()
            .is_some_and(|twilio| twilio.account_sid == sid && signed_with(&twilio.auth_token))
    };
    if accounts.is_empty() && !(candidates.is_empty() && signed_by_global()) {
        return Err(refused());
    }
    Ok(accounts)
}

/// The accounts (numbers) of this `AccountSid` whose token signed the request.
fn signers(candidates: &[EdgeAccount], signed_with: &impl Fn(&Secret) -> bool) -> Vec<VerifiedAccount> {
    let signed = candidates.iter().filter(|account| match &account.secret {
        EdgeSecret::Twilio { auth_token } => signed_with(auth_token),
        EdgeSecret::Meta { .. } => false,
    });
    signed
        .map(|account| VerifiedAccount {
            provider_key: account.provider_key.clone(),
            tenant_id: account.tenant.0,
            account_id: account.account_id,
        })
        .collect()
}
