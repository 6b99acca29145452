//! The audit log, and a person's data: exported, erased (S18).

pub mod audit_log;
pub mod export;
pub mod gdpr;
pub mod settings;

use crate::App;
use kernel::Permission::{AuditExport, AuditRead, GdprManage};
use web::Routes;

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
        .get("/v1/admin/audit-logs", AuditRead, audit_log::list)
        .get("/v1/admin/audit-logs/export", AuditExport, export::audit_log)
        .get("/v1/admin/compliance", GdprManage, settings::get)
        .patch("/v1/admin/compliance", GdprManage, settings::update)
        .post("/v1/admin/gdpr/export", GdprManage, gdpr::export)
        .post("/v1/admin/gdpr/erase", GdprManage, gdpr::erase)
}
