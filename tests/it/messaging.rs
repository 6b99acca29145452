//! Conversations over the real thing: functions in process, Postgres, the local AWS, fake providers.

#![allow(clippy::large_futures, reason = "tests have stack to spare")]

mod accounts;
mod conversations;
mod inbound;
mod outbound;
pub(crate) mod stack;
mod sweeps;
mod usage;
