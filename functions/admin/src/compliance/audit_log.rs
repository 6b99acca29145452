//! The audit log, page by page.

use crate::App;
use audit::line::{self, AuditFilter, AuditLine};
use axum::extract::State;
use kernel::Page;
use kernel::page::PageQuery;
use web::{Auth, Json, Query, Result};

/// Lists the company's audit log, newest first.
///
/// `action` finds one action, `action_prefix` a family of them (`auth.`). A change of a record is
/// `<record>.created`, `.updated` or `.deleted`. A change of a user's roles is one line
/// `user.role.changed` and a line `user.role.created` or `.deleted` for each role; of a role's parents
/// `role.hierarchy.changed` and `role.hierarchy.created` or `.deleted`; of a role's permissions
/// `role.permission.…`, of a user's groups `group.member.…`. `entity_id` of a user finds these, too. What is secret or encrypted
/// reads `***` in `before_data` and `after_data`; a line whose person was erased has neither, and says
/// so with `erased_at`.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<AuditFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<AuditLine>>> {
    let (filter, page) = (filter.check()?, page.check(line::SORTS)?);
    let listed = app
        .db
        .read(&caller, async |tx| line::list(&tx, &filter, &page).await)
        .await?;
    Ok(Json(listed))
}
