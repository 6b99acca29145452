//! WhatsApp Cloud API.

pub mod error;
mod message;
pub mod send;
pub mod webhook;
