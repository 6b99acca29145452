//! What the plan includes, overrides, seats (S1.7, S3A.4, S12.4).

pub mod effective;
pub mod overrides;
pub mod subscription;

use crate::App;
use kernel::{Feature, Permission};
use web::Routes;

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    let manage = (
        Permission::EntitlementsOverridesManage,
        Feature::AdminEntitlementsOverrides,
    );
    let tenant = "/v1/admin/entitlements/overrides/tenant";
    let group = "/v1/admin/entitlements/overrides/group";
    let user = "/v1/admin/entitlements/overrides/user";
    table
        .get(tenant, manage, overrides::tenant)
        .put(tenant, manage, overrides::set_tenant)
        .get(group, manage, overrides::group)
        .put(group, manage, overrides::set_group)
        .get(user, manage, overrides::user)
        .put(user, manage, overrides::set_user)
        .get(
            "/v1/admin/entitlements/effective",
            Permission::EntitlementsView,
            effective::of_query,
        )
        .get(
            "/v1/admin/users/{id}/effective-entitlements",
            Permission::EntitlementsView,
            effective::of_user,
        )
        .get("/v1/admin/seats", Permission::SeatsView, subscription::seats)
        .get(
            "/v1/admin/plan",
            (Permission::PlanView, Feature::PlanView),
            subscription::plan,
        )
        .post(
            "/v1/admin/plan/preview",
            Permission::PlanView,
            subscription::preview,
        )
}
