//! Twilio: SMS, and WhatsApp beside Meta.

pub mod error;
pub mod send;
pub mod webhook;
