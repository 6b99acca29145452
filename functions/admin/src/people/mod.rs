//! Users and their lifecycle, job titles and departments, what is new (S12, S21.7).

pub mod bulk;
pub mod department;
pub mod dictionary;
pub mod invite;
pub mod job_title;
pub mod lifecycle;
pub mod links;
pub mod mails;
pub(crate) mod ownership;
pub mod preferences;
pub mod release;
pub mod session;
pub mod user;

use crate::App;
use db::Tx;
use identity::escalation::{self, Granted, Grants};
use kernel::{Feature, Permission as P, Result};
use web::{Access, Routes};

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    dictionaries(users(table)).get("/v1/admin/releases", Access::SignedIn, release::list)
}

fn users(table: Routes<App>) -> Routes<App> {
    table
        .get("/v1/admin/users", P::UserRead, user::list)
        .post("/v1/admin/users", P::UserManage, user::create)
        .get("/v1/admin/users/{id}", P::UserRead, user::get)
        .patch("/v1/admin/users/{id}", P::UserUpdate, user::update)
        .delete("/v1/admin/users/{id}", P::UserDelete, lifecycle::delete)
        .post("/v1/admin/users/invite", P::UserInvite, invite::create)
        .post("/v1/admin/users/accept-invite", Access::Public, invite::accept)
        .post(
            "/v1/admin/users/{id}/resend-invite",
            P::UserInvite,
            invite::resend,
        )
        .post("/v1/admin/users/bulk", P::UserManage, bulk::run)
        .post("/v1/admin/users/{id}/suspend", P::UserSuspend, lifecycle::suspend)
        .post(
            "/v1/admin/users/{id}/reactivate",
            P::UserReinstate,
            lifecycle::reactivate,
        )
        .post(
            "/v1/admin/users/{id}/deactivate",
            P::UserDeactivate,
            lifecycle::deactivate,
        )
        .post(
            "/v1/admin/users/{id}/force-logout",
            P::UserForceLogout,
            lifecycle::force_logout,
        )
        .post(
            "/v1/admin/users/{id}/reset-password",
            P::UserManage,
            lifecycle::reset_password,
        )
        .post(
            "/v1/admin/users/{id}/reset-2fa",
            P::TwoFaManageTenant,
            lifecycle::reset_2fa,
        )
        .get("/v1/admin/users/{id}/sessions", P::UserRead, session::list)
        .delete(
            "/v1/admin/users/{id}/sessions/{session_id}",
            P::SessionRevokeTenant,
            session::revoke,
        )
        .get("/v1/admin/users/{id}/preferences", P::UserRead, preferences::get)
        .put(
            "/v1/admin/users/{id}/preferences",
            P::UserUpdate,
            preferences::put,
        )
}

fn dictionaries(table: Routes<App>) -> Routes<App> {
    table
        .get("/v1/admin/job-title-codes", P::CodeManage, job_title::list)
        .post(
            "/v1/admin/job-title-codes",
            (P::CodeManage, Feature::AdminCustomDictionaries),
            job_title::create,
        )
        .patch("/v1/admin/job-title-codes/{id}", P::CodeManage, job_title::update)
        .delete("/v1/admin/job-title-codes/{id}", P::CodeManage, job_title::delete)
        .get("/v1/admin/department-codes", P::CodeManage, department::list)
        .post(
            "/v1/admin/department-codes",
            (P::CodeManage, Feature::AdminCustomDictionaries),
            department::create,
        )
        .patch(
            "/v1/admin/department-codes/{id}",
            P::CodeManage,
            department::update,
        )
        .delete(
            "/v1/admin/department-codes/{id}",
            P::CodeManage,
            department::delete,
        )
}

/// Roles and groups that the caller may give to a user: groups only where the plan has them, as at the
/// groups' own endpoints.
async fn hand_out(tx: &Tx, grants: &Grants, also: &[P]) -> Result<Granted> {
    if !grants.group_ids.is_empty() {
        entitlements::require_feature(tx, Feature::RbacGroups).await?;
    }
    escalation::may_hand_out(tx, grants, also).await
}
