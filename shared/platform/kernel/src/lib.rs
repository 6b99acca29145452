//! The words every other crate speaks: ids, callers, permissions, errors, pages, sealed personal data.
//! Pure: nothing here talks to a network, a disk or a database.

pub mod api_key;
pub mod caller;
pub mod clock;
pub mod email;
pub mod entitlement;
pub mod envelope;
pub mod error;
pub mod nudge;
pub mod page;
pub mod patch;
pub mod permission;
pub mod phone;
pub mod seal;
pub mod secret;
pub mod single_key;
pub mod text;
pub mod validate;

pub use api_key::ApiKeyToken;
pub use caller::{Actor, Caller, Idempotency, Origin, TenantId};
pub use clock::Clock;
pub use email::Email;
pub use entitlement::{Feature, Limit};
pub use envelope::Envelope;
pub use error::{Code, Error, Result};
pub use nudge::Nudge;
pub use page::{Page, PageRequest};
pub use patch::Patch;
pub use permission::Permission;
pub use phone::Phone;
pub use seal::{Sealed, Sealer};
pub use secret::Secret;
pub use single_key::SingleKey;
pub use validate::Validator;
