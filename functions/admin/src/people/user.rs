//! One user, and the list of them.

use super::hand_out;
use crate::App;
use axum::extract::State;
use identity::escalation::Grants;
use identity::invite::{self, NewColleague, Start};
use identity::lifecycle;
use identity::member::{self, Member, MemberFilter, UpdateMember};
use kernel::Page;
use kernel::page::PageQuery;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use web::{Auth, Created, IdPath, IfMatch, Json, Path, Query, Result, Tagged};

/// A colleague to be made or invited.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUserBody {
    pub email: String,
    #[schemars(length(max = 120))]
    pub full_name: Option<String>,
    /// Roles by id.
    #[serde(default)]
    pub role_ids: Vec<Uuid>,
    /// Roles by code: `staff`, …
    #[serde(default)]
    pub roles: Vec<String>,
    /// Needs groups in the plan.
    #[serde(default)]
    pub group_ids: Vec<Uuid>,
}

impl NewUserBody {
    pub(super) fn grants(&self) -> Grants {
        Grants {
            role_ids: self.role_ids.clone(),
            roles: self.roles.clone(),
            group_ids: self.group_ids.clone(),
        }
    }
}

/// Lists users, newest first.
///
/// `search` finds words that a name starts with, or one whole e-mail address.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<MemberFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Member>>> {
    let page = page.check(member::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| member::list(&tx, &filter, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Creates a user who is active at once.
///
/// The user gets a link by mail to choose a password, good for seven days; following it also
/// verifies the address. To have somebody join only when they accept, invite them instead. Roles and
/// groups that give more than the caller holds are refused with 403, groups without a plan that has
/// them with 402. A mailbox gets five links an hour and a company sends 200 a day; more are 429.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<NewUserBody>,
) -> Result<Created<Member>> {
    add(&app, &caller, &body, Start::Active).await
}

/// Makes a colleague, active or invited.
pub(super) async fn add(
    app: &App,
    caller: &kernel::Caller,
    body: &NewUserBody,
    start: Start,
) -> Result<Created<Member>> {
    let new = NewColleague::parse(&body.email, body.full_name.as_deref())?;
    let grants = body.grants();
    let made = app.db.write(caller, async |tx| {
        let granted = hand_out(&tx, &grants, &[]).await?;
        app.mails.ask(tx.tenant(), new.email()).await?;
        let id = invite::insert(&tx, &new, &granted, start, &app.app_url).await?;
        member::find(&tx, id).await
    });
    Ok(Created(made.await?))
}

/// Gets a user: profile, security, roles and groups.
///
/// What the user may do all in all, and why, is at `effective-permissions`; what happened to them at
/// `audit_url`. Of the `ETag`, PATCH compares only what it can change.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Tagged<Member>> {
    let found = app
        .db
        .read(&caller, async |tx| member::find(&tx, path.id).await)
        .await?;
    Ok(Tagged::new(found, Member::profile))
}

/// Changes a user's profile.
///
/// A merge-patch: fields that are absent stay, fields that are null are cleared. With `If-Match`,
/// only when nobody changed the profile meanwhile. Status, roles and groups have endpoints of their own.
/// Who is no super admin chooses no manager for themselves and makes themselves nobody's: approvals ask
/// managers.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdateMember>,
) -> Result<Tagged<Member>> {
    let updated = app.db.write(&caller, async |tx| {
        lifecycle::target(&tx, path.id).await?;
        let current = member::find_for_update(&tx, path.id).await?;
        if_match.check(&current.profile())?;
        let changed = body.apply(&current, tx.clock().now())?;
        member::update(&tx, &current, &changed).await?;
        Ok(changed)
    });
    Ok(Tagged::new(updated.await?, Member::profile))
}
