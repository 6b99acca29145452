//! `/v1/auth`.

mod guard;
mod refresh;
mod sessions;
mod setup;
mod signup;
