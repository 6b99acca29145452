//! Companies, for who runs the system (the review's provisioning).

use crate::App;
use web::Routes;

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
}
