//! Signing in with an identity provider, against one that the test runs.

mod abuse;
mod issuer;
mod recovery;
mod second_factor;
mod setup;
mod sign_in;
