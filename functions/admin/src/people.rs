//! Users and their lifecycle, job titles and departments (S12).

use crate::App;
use web::Routes;

pub(crate) fn routes(table: Routes<App>) -> Routes<App> {
    table
}
