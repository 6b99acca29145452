//! Roles, the role tree, groups, permissions and API keys (S3A, S12.5).

pub mod api_key;
pub mod group;
pub mod hierarchy;
pub mod permission;
pub mod role;
pub mod user_role;

use crate::App;
use kernel::{Feature, Permission as P};
use web::Routes;

/// Of the role tree and of groups' members the plan gates what adds. What a company has of them from a
/// plan that it has no more goes on counting, so it can always be seen and taken back.
pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
        .get("/v1/admin/roles", P::RoleRead, role::list)
        .post("/v1/admin/roles", P::RolesManage, role::create)
        .get(
            "/v1/admin/roles/hierarchy",
            P::RolesHierarchyManage,
            hierarchy::list,
        )
        .post(
            "/v1/admin/roles/hierarchy",
            (P::RolesHierarchyManage, Feature::RbacRoleHierarchy),
            hierarchy::add,
        )
        .delete(
            "/v1/admin/roles/hierarchy",
            P::RolesHierarchyManage,
            hierarchy::remove,
        )
        .get("/v1/admin/roles/{id}", P::RoleRead, role::get)
        .patch("/v1/admin/roles/{id}", P::RolesManage, role::update)
        .delete("/v1/admin/roles/{id}", P::RolesManage, role::delete)
        .get(
            "/v1/admin/roles/{id}/permissions",
            P::RoleRead,
            permission::matrix,
        )
        .put(
            "/v1/admin/roles/{id}/permissions",
            P::RolesManage,
            permission::replace,
        )
        .get("/v1/admin/groups", P::GroupsManage, group::list)
        .post(
            "/v1/admin/groups",
            (P::GroupsManage, Feature::RbacGroups),
            group::create,
        )
        .get("/v1/admin/groups/{id}", P::GroupsManage, group::get)
        .patch("/v1/admin/groups/{id}", P::GroupsManage, group::update)
        .delete("/v1/admin/groups/{id}", P::GroupsManage, group::delete)
        .get(
            "/v1/admin/groups/{id}/members",
            P::GroupsMembersManage,
            group::members,
        )
        .post(
            "/v1/admin/groups/{id}/members",
            (P::GroupsMembersManage, Feature::RbacGroups),
            group::add_members,
        )
        .delete(
            "/v1/admin/groups/{id}/members",
            P::GroupsMembersManage,
            group::remove_member,
        )
        .post("/v1/admin/users/{id}/roles", P::RoleAssign, user_role::change)
        .get(
            "/v1/admin/users/{id}/effective-permissions",
            P::UserRead,
            permission::effective,
        )
        .get("/v1/admin/api-keys", P::ApiKeysManage, api_key::list)
        .post("/v1/admin/api-keys", P::ApiKeysManage, api_key::create)
        .get("/v1/admin/api-keys/{id}", P::ApiKeysManage, api_key::get)
        .delete("/v1/admin/api-keys/{id}", P::ApiKeysManage, api_key::revoke)
}
