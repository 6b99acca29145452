//! `/v1/auth`.

mod endings;
mod guard;
mod limits;
mod refresh;
mod sessions;
mod settings;
pub(crate) mod setup;
mod signup;
mod timing;
