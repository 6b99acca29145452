//! Closing a company, and how far its deletion is.

use super::tenant::act_for;
use crate::App;
use axum::extract::State;
use identity::closing::{self, CloseCompany, CompanyDeletion};
use identity::company;
use telemetry::Metrics;
use web::{IdPath, IfMatch, Json, Operator, Path, Query, Result};

/// Closes a company: nobody gets in any more, and after 30 days all its data is deleted.
///
/// `confirm` repeats its slug. Its admins are told by mail. Until its deletion begins, a change of its
/// status to `active` opens it again as it was. One that is closed stays closed since when it was.
pub async fn close(
    State(app): State<App>,
    operator: Operator,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Query(body): Query<CloseCompany>,
) -> Result<Json<CompanyDeletion>> {
    let caller = act_for(path.id, &operator);
    let closed = app.db.write(&caller, async |tx| {
        let current = company::find_for_update(&tx).await?;
        if_match.check(&current)?;
        closing::close(&tx, &current, &body).await
    });
    let deletion = closed.await?;
    Metrics::of("admin").count("CompaniesClosed").emit(app.db.clock());
    Ok(Json(deletion))
}

/// Gets how far a company's deletion is, also when nothing else of the company is left.
///
/// 404 for one that is not closed. That somebody looked is in the system's own log.
pub async fn get(
    State(app): State<App>,
    operator: Operator,
    Path(path): Path<IdPath>,
) -> Result<Json<CompanyDeletion>> {
    let found = closing::find(&app.db, path.id).await?;
    tracing::info!(
        request_id = operator.origin.request_id,
        company = %path.id,
        "a company's deletion was looked at"
    );
    Ok(Json(found))
}
