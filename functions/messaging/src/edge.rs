//! Telling the webhook edge of an account, before the request that changed it is answered. Where
//! that fails the change is committed all the same, and the scheduler's sweep tells the edge.

use crate::App;
use cloud::{EdgeAccount, EdgeSecret};
use kernel::{Caller, Error, Result};
use messaging::account::{self, FullAccount};
use uuid::Uuid;

/// How often an account may change while the edge is told of it.
const ATTEMPTS: usize = 5;

/// # Errors
/// 503 when the edge's directory is away.
pub async fn publish(app: &App, caller: &Caller, id: Uuid) -> Result<()> {
    // The request's own write has its idempotency key; this is another transaction.
    let caller = caller.clone().with_idempotency(None);
    for _ in 0..ATTEMPTS {
        let full = app
            .db
            .read(&caller, async |tx| account::find_with_credentials(&tx, id).await)
            .await?;
        let entry = entry(&caller, &full)?;
        if full.in_use() {
            app.accounts.put(&entry).await?;
        } else {
            app.accounts
                .remove(entry.provider(), &entry.provider_key, id)
                .await?;
        }
        if app
            .db
            .write(&caller, async |tx| {
                account::mark_published(&tx, id, entry.updated_at).await
            })
            .await?
        {
            return Ok(());
        }
    }
    Err(Error::unavailable(
        "the account changes faster than the edge can be told",
    ))
}

fn entry(caller: &Caller, full: &FullAccount) -> Result<EdgeAccount> {
    let missing = || Error::internal("a stored account lacks a secret");
    let credentials = full.credentials.clone();
    let secret = match full.account.provider {
        account::Provider::Meta => EdgeSecret::Meta {
            app_secret: credentials.app_secret.ok_or_else(missing)?,
            verify_token: credentials.verify_token.ok_or_else(missing)?,
        },
        account::Provider::Twilio => EdgeSecret::Twilio {
            auth_token: credentials.auth_token.ok_or_else(missing)?,
        },
    };
    Ok(EdgeAccount {
        tenant: caller.tenant(),
        account_id: full.account.id,
        provider_key: full.provider_key.clone(),
        secret,
        updated_at: full.account.updated_at,
    })
}
