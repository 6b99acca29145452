//! Conversations over the real thing: functions in process, Postgres, the local AWS, fake providers.

mod accounts;
mod conversations;
mod inbound;
mod outbound;
mod stack;
mod sweeps;
