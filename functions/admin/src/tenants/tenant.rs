//! One company, and the list of them.

use crate::App;
use axum::extract::State;
use identity::company::{
    self, Company, CompanyFilter, CompanyStatus, CompanySummary, CreateCompany, NewCompany, Provisioned,
    UpdateCompany,
};
use identity::signup;
use kernel::page::PageQuery;
use kernel::{Caller, Code, Page, TenantId};
use telemetry::Metrics;
use uuid::Uuid;
use web::{Created, IdPath, IfMatch, Json, Operator, Path, Query, Record, Result};

/// Lists companies, newest first.
///
/// That somebody looked is in the system's own log, with the filters: a list of all companies is in
/// none of their audit logs.
pub async fn list(
    State(app): State<App>,
    operator: Operator,
    Query(filter): Query<CompanyFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<CompanySummary>>> {
    let page = page.check(company::SORTS)?;
    let listed = company::list(&app.db, filter, &page).await?;
    tracing::info!(
        request_id = operator.origin.request_id,
        status = filter.status.map(CompanyStatus::as_str),
        limit = page.limit,
        companies = listed.data.len(),
        "the companies were listed"
    );
    Metrics::of("admin").count("CompaniesListed").emit(app.db.clock());
    Ok(Json(listed))
}

/// Makes a company and invites its super admin by mail.
///
/// Repeated with the same `Idempotency-Key`, it answers with what the first made. The company's own
/// audit log tells that it was made, and from where. 429 when the mailbox had five links within the hour.
pub async fn create(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<CreateCompany>,
) -> Result<Created<Provisioned>> {
    let new = NewCompany::parse(&body)?;
    let key = operator
        .idempotency
        .as_ref()
        .map(|idempotency| new.key(app.db.sealer(), &idempotency.key));
    let repeat = async || -> Result<Option<Created<Provisioned>>> {
        let Some(key) = &key else { return Ok(None) };
        let Some(earlier) = signup::earlier(&app.db, key).await? else {
            return Ok(None);
        };
        let caller = act_for(earlier.tenant.0, &operator);
        let found = app.db.read(&caller, async |tx| {
            company::find_provisioned(&tx, earlier.user_id).await
        });
        let found = found.await?;
        if let Some(idempotency) = &operator.idempotency {
            idempotency.mark_replayed();
        }
        Ok(Some(Created(found)))
    };
    if let Some(answer) = repeat().await? {
        return Ok(answer);
    }
    let caller = act_for(app.db.clock().id(), &operator);
    let made = app.db.write(&caller, async |tx| {
        app.mails.ask_mailbox(new.admin_email()).await?;
        company::insert(&tx, &new, key.as_ref(), &app.app_url).await
    });
    match made.await {
        Ok(made) => Ok(Created(made)),
        // Of two with the same key, the slower one finds what the faster made.
        Err(error) if error.code() == Code::Conflict => repeat().await?.ok_or_else(|| error.into()),
        Err(error) => Err(error.into()),
    }
}

/// Gets a company; its audit log tells that it was looked at.
pub async fn get(
    State(app): State<App>,
    operator: Operator,
    Path(path): Path<IdPath>,
) -> Result<Record<Company>> {
    let caller = act_for(path.id, &operator);
    // Looking is written down, and so is not a read.
    let found = app.db.write(&caller, async |tx| company::find(&tx).await).await?;
    Ok(Record(found))
}

/// Changes a company: its name, language, time zone, or whether it may work.
///
/// The users of a company that is suspended are refused at their next request. A company that was closed
/// is opened again by a status; 409 once its deletion has begun.
pub async fn update(
    State(app): State<App>,
    operator: Operator,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdateCompany>,
) -> Result<Record<Company>> {
    let caller = act_for(path.id, &operator);
    let updated = app.db.write(&caller, async |tx| {
        let current = company::find_for_update(&tx).await?;
        if_match.check(&current)?;
        let changed = body.apply(&current, tx.clock().now())?;
        company::update(&tx, &current, &changed).await?;
        Ok(changed)
    });
    Ok(Record(updated.await?))
}

pub(super) fn act_for(tenant: Uuid, operator: &Operator) -> Caller {
    #[expect(
        clippy::disallowed_methods,
        reason = "the holder of the provisioning key acts for every company"
    )]
    Caller::verified_system(TenantId(tenant), "operator", operator.origin.clone())
}
