//! Overrides: what a company, a group or a user has instead of what the plan says (S3A.4).

use crate::App;
use approvals::{ApprovalRequest, Command, Facts, Gate};
use axum::extract::State;
use db::Tx;
use entitlements::override_::{self, Overrides, Scope, SetOverride};
use kernel::{Caller, Error};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use web::{Accepted, Auth, Either, IfMatch, Json, Query, Result, Tagged};

/// The overrides as they are now, or the request that waits.
type Answer = Either<Tagged<Overrides>, Accepted<ApprovalRequest>>;

#[derive(Serialize, Deserialize)]
enum Outcome {
    Changed(Box<Overrides>),
    Waits(Box<ApprovalRequest>),
}

/// Which group.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct GroupQuery {
    #[serde(alias = "groupId")]
    pub group_id: Option<Uuid>,
}

/// Which user.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct UserQuery {
    #[serde(alias = "userId")]
    pub user_id: Option<Uuid>,
}

/// The overrides of the company.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantOverrides {
    /// All of them: what is not here is as the plan says.
    pub overrides: Vec<SetOverride>,
}

/// The overrides of a group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupOverrides {
    /// Here or in the query.
    pub group_id: Option<Uuid>,
    /// All of them: what is not here is as the company's and the plan say.
    pub overrides: Vec<SetOverride>,
}

/// The overrides of a user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserOverrides {
    /// Here or in the query.
    pub user_id: Option<Uuid>,
    /// All of them: what is not here is as the user's groups, the company's and the plan say.
    pub overrides: Vec<SetOverride>,
}

/// Gets what the company has instead of what its plan says.
///
/// `effective` is everything as it is for somebody without overrides of their own and without groups.
pub async fn tenant(State(app): State<App>, Auth(caller): Auth) -> Result<Tagged<Overrides>> {
    find(&app, &caller, Scope::Tenant).await
}

/// Replaces what the company has instead of what its plan says.
///
/// An empty list leaves the plan alone. `admin.entitlementsOverrides` and `dashboard.customSQL` can't be
/// overridden. On trial a limit can be lowered; what is above the trial's counts once the company is on
/// a plan. With `If-Match`, only when nobody changed the overrides meanwhile; what is used of them does
/// not matter. The answer shows what comes of it. Where a policy asks for an approval of
/// `entitlement.override`, the answer is 202 with the request; were the overrides changed by the time it
/// is approved, the request fails and changes nothing.
pub async fn set_tenant(
    State(app): State<App>,
    Auth(caller): Auth,
    if_match: IfMatch,
    Json(body): Json<TenantOverrides>,
) -> Result<Answer> {
    set(&app, &caller, Scope::Tenant, &if_match, body.overrides).await
}

/// Gets what a group's members have instead of what the company has.
///
/// `effective` is everything as it is for a member of this group and no other.
pub async fn group(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(query): Query<GroupQuery>,
) -> Result<Tagged<Overrides>> {
    let id = one("group_id", query.group_id, None)?;
    find(&app, &caller, Scope::Group(id)).await
}

/// Replaces what a group's members have instead of what the company has.
///
/// Somebody in several groups has the largest of theirs. `users.max` is the company's alone. 202 where a
/// policy asks for an approval.
pub async fn set_group(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(query): Query<GroupQuery>,
    if_match: IfMatch,
    Json(body): Json<GroupOverrides>,
) -> Result<Answer> {
    let id = one("group_id", query.group_id, body.group_id)?;
    set(&app, &caller, Scope::Group(id), &if_match, body.overrides).await
}

/// Gets what a user has instead of what their groups and the company have.
///
/// `effective` is everything as it is for the user.
pub async fn user(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(query): Query<UserQuery>,
) -> Result<Tagged<Overrides>> {
    let id = one("user_id", query.user_id, None)?;
    find(&app, &caller, Scope::User(id)).await
}

/// Replaces what a user has instead of what their groups and the company have.
///
/// A user's own override counts before every other. `users.max` is the company's alone. 202 where a
/// policy asks for an approval.
pub async fn set_user(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(query): Query<UserQuery>,
    if_match: IfMatch,
    Json(body): Json<UserOverrides>,
) -> Result<Answer> {
    let id = one("user_id", query.user_id, body.user_id)?;
    set(&app, &caller, Scope::User(id), &if_match, body.overrides).await
}

async fn find(app: &App, caller: &Caller, scope: Scope) -> Result<Tagged<Overrides>> {
    let found = app
        .db
        .read(caller, async |tx| override_::find(&tx, scope).await)
        .await?;
    Ok(tagged(found))
}

async fn set(
    app: &App,
    caller: &Caller,
    scope: Scope,
    if_match: &IfMatch,
    overrides: Vec<SetOverride>,
) -> Result<Answer> {
    override_::check(scope, &overrides)?;
    let outcome = app.db.write(caller, async |tx| {
        let current = override_::find_for_update(&tx, scope).await?;
        if_match.check(&current.replaced())?;
        let command = Command::EntitlementOverride {
            scope,
            before: Some(current.values()),
            overrides: overrides.clone(),
        };
        let facts = facts(&tx, &current, scope, &overrides);
        match approvals::gate(&tx, &app.app_url, &command, facts).await? {
            Gate::Open => {
                let changed = override_::replace(&tx, scope, &current, &overrides).await?;
                Ok(Outcome::Changed(Box::new(changed)))
            }
            Gate::Waiting(request) => Ok(Outcome::Waits(request)),
        }
    });
    Ok(match outcome.await? {
        Outcome::Changed(changed) => Either::Done(tagged(*changed)),
        Outcome::Waits(request) => Either::Waits(Accepted(*request)),
    })
}

fn tagged(overrides: Overrides) -> Tagged<Overrides> {
    Tagged::new(overrides, Overrides::replaced)
}

/// What policies can ask of a change.
async fn facts(tx: &Tx, current: &Overrides, scope: Scope, wanted: &[SetOverride]) -> kernel::Result<Facts> {
    let change = override_::change(tx, scope, current, wanted).await?;
    Ok(Facts::default()
        .with("scope", Some(scope.name()))
        .with("changes", Some(change.codes))
        .with("removed", Some(change.removed))
        .with("features_on", Some(change.features_on))
        .with("highest_limit", change.highest_limit)
        .with("values", Some(change.values.as_str())))
}

/// The id that the query or the body names.
fn one(path: &str, query: Option<Uuid>, body: Option<Uuid>) -> kernel::Result<Uuid> {
    match (query, body) {
        (Some(query), Some(body)) if query != body => Err(Error::field(
            path,
            "contradiction",
            "The query and the body name different ones.",
        )),
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => Err(Error::field(path, "required", "Say which one.")),
    }
}
