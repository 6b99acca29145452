//! `/v1/auth`.

mod guard;
mod refresh;
mod sessions;
pub(crate) mod setup;
mod signup;
