//! `/v1/admin/users`, dictionaries, releases and `/v1/tenants`.

mod bulk;
mod dictionaries;
mod invites;
mod lifecycle;
pub(crate) mod setup;
mod tenants;
mod told;
mod users;
