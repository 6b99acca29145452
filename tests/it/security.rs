//! Proving who somebody is: links by mail, second factors, phones, and what a company asks.

mod links;
mod locks;
mod login_2fa;
mod password;
mod phone;
pub(crate) mod policy;
mod proofs;
mod purge;
mod register;
pub(crate) mod setup;
mod totp;
