//! Which actions need whose approval.

use crate::App;
use approvals::policy::{self, CreatePolicy, NewPolicy, Policy, PolicyFilter, UpdatePolicy};
use axum::extract::State;
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, Created, IdPath, IfMatch, Json, NoContent, Path, Query, Record, Result};

/// Lists approval policies, newest first.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<PolicyFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Policy>>> {
    let page = page.check(policy::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| policy::list(&tx, &filter, &page).await);
    Ok(Json(listed.await?))
}

/// Creates an approval policy.
///
/// From now on the action `action_code` waits for approval whenever `conditions` hold for its facts
/// (without any: every time). Steps open in the order of `seq`. A `sequential` step needs one of its
/// approvers; of neighbouring `flat` steps any one approver is enough; neighbouring `parallel` steps
/// open together and each needs all its approvers, or `quorum` of them. A step with a `threshold`
/// applies only when that holds. When several policies match an action, all of them must approve.
/// Where a step names nobody who can approve, super admins decide.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CreatePolicy>,
) -> Result<Created<Policy>> {
    let new = NewPolicy::parse(&body)?;
    let created = app.db.write(&caller, async |tx| policy::insert(&tx, new).await);
    Ok(Created(created.await?))
}

/// Gets an approval policy.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<Policy>> {
    let found = app.db.read(&caller, async |tx| policy::find(&tx, path.id).await);
    Ok(Record(found.await?))
}

/// Changes an approval policy.
///
/// A merge-patch; `steps` replaces all of them. Requests that wait already keep the steps that they
/// began with.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdatePolicy>,
) -> Result<Record<Policy>> {
    let updated = app.db.write(&caller, async |tx| {
        let current = policy::find_for_update(&tx, path.id).await?;
        if_match.check(&current)?;
        let changed = body.apply(current.clone(), tx.clock().now())?;
        policy::update(&tx, &current, &changed).await?;
        Ok(changed)
    });
    Ok(Record(updated.await?))
}

/// Deletes an approval policy.
///
/// It gates nothing any more. Requests that wait keep the steps that they began with.
pub async fn delete(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<NoContent> {
    let archived = app
        .db
        .write(&caller, async |tx| policy::archive(&tx, path.id).await);
    archived.await?;
    Ok(NoContent)
}
