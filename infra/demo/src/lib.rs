//! The demo tenant of the local stack: its fixed rows in the database, and the sample events in
//! events/ that name them.
//!
//! What is fixed stands in `infra/local/demo.json`, the keys in `infra/local/keys.json`.

mod facts;
pub mod samples;
mod seed;

pub use facts::{Demo, Keys};
pub use samples::{Expected, Sample};
pub use seed::seed;
