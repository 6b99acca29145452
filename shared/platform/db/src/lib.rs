//! The database: a pool, tenant transactions, look-ups before a tenant is known, and lists.
//!
//! ```text
//! db.read(&caller, async |tx| …)    BEGIN READ ONLY + app.enter + first statement   1 trip; COMMIT is not waited for
//! db.write(&caller, async |tx| …)   BEGIN + app.enter + first statement             1 trip, …, COMMIT
//! db.lookup("app.login_candidates", …)                                              1 trip, no tenant
//! ```
//!
//! Only a [`kernel::Caller`] opens a [`Tx`], and every `Tx` has entered its tenant before its first
//! statement runs: the two travel together, and the statement fails when entering does.

mod answers;
mod connect;
mod error;
mod list;
#[cfg(feature = "migrate")]
pub mod migrate;
mod tx;
mod used_keys;

pub use connect::Db;
pub use error::{from_postgres, refused};
pub use list::Sql;
pub use tokio_postgres::{Row, types::ToSql};
pub use tx::Tx;

/// The parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];
