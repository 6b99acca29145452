//! `/v1/admin/users`, dictionaries, releases and `/v1/tenants`.

mod bulk;
mod dictionaries;
mod founders;
mod groups;
mod handing_over;
mod invites;
mod language;
mod lifecycle;
pub(crate) mod locks;
mod mails;
mod races;
mod resets;
mod seat_checked;
pub(crate) mod setup;
mod tenants;
mod timeline;
mod told;
mod users;
