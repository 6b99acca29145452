//! Companies that were closed 30 days ago are deleted (S18.2).
//!
//! In two steps, in runs of their own: first the webhook edge forgets the company's accounts; when nothing that
//! was under way can come any more, its exports and rows go. Each may be cut short and goes on in the next run.

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
    let (mut outcome, mut waiting) = (Ok(()), Vec::new());
    for row in &app.db.lookup(TO_DELETE, &[&COMPANIES]).await? {
        let company = caller_for(TenantId(row.get(0)), NAME, &task.request_id);
        match begin(app, &company).await {
            Ok(true) => waiting.push(Deletion::of(company)),
            Ok(false) => {}
            Err(error) => outcome = Err(error),
        }
    }
    // A batch of each in turn: a large company keeps no other waiting.
    while !waiting.is_empty() && task.budget.may_start() {
        let mut unfinished = Vec::new();
        for mut deletion in waiting {
            match deletion.go_on(app).await {
                Ok(true) => {}
                Ok(false) => unfinished.push(deletion),
                Err(error) => outcome = Err(error),
            }
        }
        waiting = unfinished;
    }
    if !waiting.is_empty() {
        tracing::info!(
            companies = waiting.len(),
            "closed companies are deleted further in an hour"
        );
    }
    outcome
}

/// Whether the company's rows may go: the edge has forgotten its accounts, and its exports are gone.
async fn begin(app: &App, company: &Caller) -> Result<bool> {
    let begun = app.db.write(company, async |tx| {
        if !closing::begin(&tx).await? {
            return Ok(None);
        }
        account::archive_all(&tx).await.map(Some)
    });
    let Some(known) = begun.await? else {
        return Ok(false);
    };
    for id in &known {
        minute::publish(app, company, *id).await?;
    }
    if known.is_empty() {
        app.bucket.delete_all(&exports_of(company.tenant())).await?;
    }
    Ok(known.is_empty())
}

/// A company whose rows are being deleted.
struct Deletion {
    company: Caller,
    /// So far.
    rows: i64,
    /// Of the next transaction.
    at_most: i32,
}

impl Deletion {
    fn of(company: Caller) -> Self {
        Self {
            company,
            rows: 0,
            at_most: ROWS,
        }
    }

    /// Deletes a batch; true when the company is gone.
    async fn go_on(&mut self, app: &App) -> Result<bool> {
        let at_most = self.at_most;
        let batch = async |tx| closing::delete_rows(&tx, at_most).await;
        match app.db.write(&self.company, batch).await {
            Ok(0) => {
                tracing::info!(tenant = %self.company.tenant(), rows = self.rows, "a closed company was deleted");
                Metrics::of(NAME).count("CompaniesDeleted").emit(app.db.clock());
                return Ok(true);
            }
            Ok(rows) => {
                self.rows += rows;
                self.at_most = (at_most * 2).min(ROWS);
            }
            // Each person is looked for in all that may name them, where what was deleted still lies.
            Err(error) if error.is_transient() && at_most > 1 => self.at_most = (at_most / 10).max(1),
            Err(error) => return Err(error),
        }
        Ok(false)
    }
}
