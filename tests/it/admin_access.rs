//! Roles, the role tree, groups, what people hold in effect, and API keys.

mod api_keys;
mod assignment;
mod escalation;
mod groups;
mod hierarchy;
mod key_tree;
mod races;
mod reactivating;
mod roles;
pub mod setup;
