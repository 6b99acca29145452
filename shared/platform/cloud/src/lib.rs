//! SQS, S3, `DynamoDB` and Secrets Manager behind small structs that speak our words.
//!
//! [`Cloud::connect`] does no I/O, and a client is built when something first asks for it, so a
//! function pays at start-up for what it uses.

mod accounts;
mod bucket;
mod connect;
mod edge_account;
mod error;
mod lock_out;
mod nudges;
mod queue;
mod rate;
mod secrets;
mod state;
mod tickets;
mod upload;

pub use accounts::Accounts;
pub use bucket::Bucket;
pub use connect::Cloud;
pub use edge_account::{EdgeAccount, EdgeSecret, Provider};
pub use lock_out::{Attempt, LockOut, LockOuts};
pub use queue::{MAX_MESSAGE_BYTES, Outgoing, Queue, Unsent};
pub use rate::{Decision, LINKS, MAILBOX, RateLimit, RateLimiter, too_many};
pub use state::Key;
pub use tickets::Tickets;
pub use upload::Upload;
