//! Groups and their members.

use crate::App;
use axum::extract::State;
use entitlements::override_::{self, Scope};
use identity::group::{self, CreateGroup, Group, GroupFilter, NewGroup, UpdateGroup};
use identity::group_member::{self, AddMembers, Member, MemberQuery, Members};
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, Created, IdPath, IfMatch, Json, NoContent, Path, Query, Record, Result};

/// Lists groups, newest first.
///
/// `search` finds a part of a name or code.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<GroupFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Group>>> {
    let page = page.check(group::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| group::list(&tx, &filter, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Creates a group.
///
/// Its members will hold the roles of `role_ids`, which may grant only what the caller holds.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CreateGroup>,
) -> Result<Created<Group>> {
    let new = NewGroup::parse(&body)?;
    let created = app
        .db
        .write(&caller, async |tx| group::insert(&tx, &new).await)
        .await?;
    Ok(Created(created))
}

/// Gets a group.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<Group>> {
    let found = app
        .db
        .read(&caller, async |tx| group::find(&tx, path.id).await)
        .await?;
    Ok(Record(found))
}

/// Changes a group.
///
/// A merge-patch; `role_ids` replaces the roles. The roles of a group that is not active count for
/// nobody. What members gain must be the caller's to give, and no member gives it to themselves or brings
/// the group back into use.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdateGroup>,
) -> Result<Record<Group>> {
    let updated = app.db.write(&caller, async |tx| {
        let current = group::find_for_update(&tx, path.id).await?;
        if_match.check(&current)?;
        group::update(&tx, current, body).await
    });
    Ok(Record(updated.await?))
}

/// Deletes a group without members.
///
/// While it has members, 409 says how many. Overrides of what the plan says go with it; without members
/// they count for nobody.
pub async fn delete(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<NoContent> {
    let deleted = app.db.write(&caller, async |tx| {
        // Held as strongly as deleting it needs before anything is written to the audit log: others hold
        // the group while they wait for that.
        let group = group::find_for_update(&tx, path.id).await?;
        let scope = Scope::Group(group.id);
        let overrides = override_::find_for_update(&tx, scope).await?;
        if !overrides.values().is_empty() {
            override_::replace(&tx, scope, &overrides, &[]).await?;
        }
        group::delete(&tx, &group).await
    });
    deleted.await?;
    Ok(NoContent)
}

/// Lists the members of a group, latest first.
pub async fn members(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Member>>> {
    let page = page.check(group_member::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| group_member::list(&tx, path.id, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Adds members to a group.
///
/// Up to 100 at once; those who are members already stay. The group's roles may grant only what the
/// caller holds, and nobody adds themselves, whatever the group gives: its members may be whom
/// approvals ask, or have limits of their own.
pub async fn add_members(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Json(body): Json<AddMembers>,
) -> Result<Created<Members>> {
    let user_ids = body.parse()?;
    let added = app
        .db
        .write(&caller, async |tx| {
            Box::pin(group_member::add(&tx, path.id, &user_ids)).await
        })
        .await?;
    Ok(Created(added))
}

/// Removes a member from a group.
///
/// `user_id` names the member in the query.
pub async fn remove_member(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    Query(member): Query<MemberQuery>,
) -> Result<NoContent> {
    app.db
        .write(&caller, async |tx| {
            group_member::remove(&tx, path.id, member.user_id).await
        })
        .await?;
    Ok(NoContent)
}
