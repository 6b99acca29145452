//! What the plan includes, overrides, seats (S1.7, S3A.4).

use crate::App;
use web::Routes;

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
}
