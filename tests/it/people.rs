//! `/v1/admin/users`, dictionaries, releases and `/v1/tenants`.

mod bulk;
mod dictionaries;
mod founders;
mod groups;
mod handing_over;
mod invites;
mod lifecycle;
pub(crate) mod locks;
mod mails;
mod races;
mod resets;
pub(crate) mod setup;
mod tenants;
mod told;
mod users;
