//! System messages: from the notice to the provider, the inbox, and what stays behind.

mod inbox;
mod sending;
mod setup;
