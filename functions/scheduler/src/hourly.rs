//! Companies that were closed 30 days ago are deleted (S18.2).
//!
//! In two steps, an hour apart: first the webhook edge forgets the company's accounts; when nothing that was
//! under way can come any more, its exports and rows go. Each may be cut short and goes on an hour later.

use crate::{App, NAME, minute};
use audit::gdpr::exports_of;
use identity::closing;
use kernel::{Caller, Result, TenantId};
use messaging::account;
use telemetry::Metrics;
use worker::{Task, caller_for};

const TO_DELETE: &str = "SELECT tenant_id FROM app.tenants_to_delete($1)";
/// Companies that one run looks at; the rest have their turn an hour later.
const COMPANIES: i32 = 100;
/// Rows that one transaction deletes, unless that takes it too long.
const ROWS: i32 = 2000;

/// Does what there is time for; one company's failure does not hold up the others and is returned in the end.
pub async fn run(app: &App, task: &Task) -> Result<()> {
    let mut outcome = Ok(());
    for row in &app.db.lookup(TO_DELETE, &[&COMPANIES]).await? {
        let tenant = TenantId(row.get(0));
        let deleted = delete(app, task, &caller_for(tenant, NAME, &task.request_id)).await;
        outcome = outcome.and(deleted);
    }
    outcome
}

async fn delete(app: &App, task: &Task, company: &Caller) -> Result<()> {
    let begun = app.db.write(company, async |tx| {
        let known = if closing::begin(&tx).await? {
            Some(account::archive_all(&tx).await?)
        } else {
            None
        };
        Ok(known)
    });
    match begun.await? {
        None => return Ok(()),
        Some(known) if !known.is_empty() => {
            for id in known {
                minute::publish(app, company, id).await?;
            }
            return Ok(());
        }
        Some(_) => {}
    }
    app.bucket.delete_all(&exports_of(company.tenant())).await?;
    let (mut rows, mut at_most) = (0, ROWS);
    while task.budget.may_start() {
        let batch = async |tx| closing::delete_rows(&tx, at_most).await;
        match app.db.write(company, batch).await {
            Ok(0) => {
                tracing::info!(tenant = %company.tenant(), rows, "a closed company was deleted");
                Metrics::of(NAME).count("CompaniesDeleted").emit(app.db.clock());
                return Ok(());
            }
            Ok(batch) => rows += batch,
            // Each person is looked for in all that may name them, where what was deleted still lies.
            Err(error) if error.is_transient() && at_most > 1 => at_most = (at_most / 10).max(1),
            Err(error) => return Err(error),
        }
    }
    tracing::info!(tenant = %company.tenant(), rows, "a closed company is being deleted");
    Ok(())
}
