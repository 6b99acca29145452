//! Companies, for who runs the system (the review's provisioning, plan 4).

pub mod closing;
pub mod founder;
pub mod tenant;

use crate::App;
use web::{Access, Routes};

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
        .get("/v1/tenants", Access::Operator, tenant::list)
        .post("/v1/tenants", Access::Operator, tenant::create)
        .get("/v1/tenants/{id}", Access::Operator, tenant::get)
        .patch("/v1/tenants/{id}", Access::Operator, tenant::update)
        .delete("/v1/tenants/{id}", Access::Operator, closing::close)
        .get("/v1/tenants/{id}/deletion", Access::Operator, closing::get)
        .post(
            "/v1/tenants/{id}/resend-invite",
            Access::Operator,
            founder::invite_again,
        )
}
