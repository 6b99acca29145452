//! The audit log, and a person's data: exported, erased (S18).

use crate::App;
use web::Routes;

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
}
