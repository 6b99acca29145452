//! Roles, the role tree, groups, permissions and API keys (S3A, S12.5).

use crate::App;
use web::Routes;

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
}
