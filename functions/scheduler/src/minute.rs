//! What was left half done: deliveries whose sender died, accounts that the edge was not told of.
//! What waits too long: approvals. Companies that have no seat left.

use crate::{App, NAME};
use approvals::sla;
use audit::gdpr;
use cloud::{EdgeAccount, EdgeSecret};
use identity::admins;
use jiff::SignedDuration;
use kernel::{Caller, Error, Result, TenantId};
use messaging::account::{self, FullAccount};
use messaging::delivery;
use notifications::delivery::UNCONFIRMED_AFTER;
use telemetry::{Metrics, Unit};
use uuid::Uuid;
use worker::{Task, caller_for};

const ABANDONED: &str = "SELECT tenant_id, id FROM app.abandoned_deliveries($1, $2)";
const LATE_APPROVALS: &str = "SELECT tenant_id, id FROM app.late_approvals($1, $2)";
const UNPUBLISHED: &str = "SELECT tenant_id, id FROM app.unpublished_accounts($1, $2)";
/// A request that changed an account tells the edge itself; this is when it must have died.
const ACCOUNT_GRACE: SignedDuration = SignedDuration::from_secs(30);
const SEAT_ALERTS: &str = "SELECT tenant_id, id FROM app.untold_seat_alerts($1, $2)";
const AT_MOST: i32 = 500;
const UNFINISHED_ERASURES: &str = "SELECT tenant_id, id FROM app.unfinished_erasures($1, $2)";

/// Does all it finds; one row's failure does not hold up the others and is returned in the end.
pub async fn run(app: &App, task: &Task) -> Result<()> {
    let mut outcome = Ok(());
    for (tenant, id) in find(app, ABANDONED, UNCONFIRMED_AFTER).await? {
        outcome = outcome.and(give_up(app, task, tenant, id).await);
    }
    for (tenant, id) in find(app, UNPUBLISHED, ACCOUNT_GRACE).await? {
        outcome = outcome.and(publish(app, &caller_for(tenant, NAME, &task.request_id), id).await);
    }
    for (tenant, id) in find(app, LATE_APPROVALS, SignedDuration::ZERO).await? {
        outcome = outcome.and(attend(app, &caller_for(tenant, NAME, &task.request_id), id).await);
    }
    for (tenant, _) in find(app, SEAT_ALERTS, SignedDuration::ZERO).await? {
        let caller = caller_for(tenant, NAME, &task.request_id);
        let tell = app.db.write(&caller, async |tx| admins::tell_of_seats(&tx).await);
        outcome = outcome.and(tell.await);
    }
    for (tenant, id) in find(app, UNFINISHED_ERASURES, gdpr::SETTLES_AFTER).await? {
        outcome = outcome.and(settle(app, &caller_for(tenant, NAME, &task.request_id), id).await);
    }
    outcome
}

/// Reminds of an approval, or escalates it.
async fn attend(app: &App, caller: &Caller, id: Uuid) -> Result<()> {
    let attend = async |tx| sla::attend(&tx, &app.app_url, id).await;
    app.db.write(caller, attend).await.map(drop)
}

async fn find(app: &App, sql: &'static str, grace: SignedDuration) -> Result<Vec<(TenantId, Uuid)>> {
    let before = app
        .db
        .clock()
        .now()
        .saturating_sub(grace)
        .map_err(Error::internal)?;
    let rows = app.db.lookup(sql, &[&before, &AT_MOST]).await?;
    Ok(rows
        .iter()
        .map(|row| (TenantId(row.get(0)), row.get(1)))
        .collect())
}

async fn give_up(app: &App, task: &Task, tenant: TenantId, id: Uuid) -> Result<()> {
    let caller = caller_for(tenant, NAME, &task.request_id);
    let give_up = async |tx| delivery::give_up(&tx, id).await;
    if app.db.write(&caller, give_up).await? {
        tracing::warn!(%tenant, delivery_id = %id, "nobody knows whether this was sent; it counts as failed");
        Metrics::of(NAME)
            .metric("DeliveriesUnconfirmed", 1.0, Unit::Count)
            .emit(app.db.clock());
    }
    Ok(())
}

/// What an erasure left: exports that were being written meanwhile, audit lines that were too many.
async fn settle(app: &App, caller: &Caller, id: Uuid) -> Result<()> {
    app.bucket.delete_all(&gdpr::exports_of(caller.tenant())).await?;
    app.db
        .write(caller, async |tx| gdpr::settle(&tx, id).await)
        .await
        .map(drop)
}

pub(crate) async fn publish(app: &App, caller: &Caller, id: Uuid) -> Result<()> {
    let full = app
        .db
        .read(caller, async |tx| account::find_with_credentials(&tx, id).await)
        .await?;
    let entry = entry(caller, &full)?;
    if full.in_use() {
        app.accounts.put(&entry).await?;
    } else {
        app.accounts
            .remove(entry.provider(), &entry.provider_key, id)
            .await?;
    }
    // One that has changed meanwhile is found again a minute later.
    app.db
        .write(caller, async |tx| {
            account::mark_published(&tx, id, entry.updated_at).await
        })
        .await
        .map(drop)
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
