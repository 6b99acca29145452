//! Who may use the system: companies, their users, passwords, sessions, refresh tokens and the
//! signing of access tokens (S1); what they may do: roles, the role tree, groups and API keys (S3A, S12).

pub mod access;
pub mod api_key;
pub mod bulk;
mod code;
pub mod company;
pub mod dictionary;
pub mod escalation;
pub mod gdpr;
pub mod group;
pub mod group_member;
pub mod invite;
pub mod joining;
pub mod lifecycle;
pub mod login;
pub mod member;
pub mod oauth;
pub mod password;
pub mod preference;
mod profile;
pub mod refresh_token;
pub mod release;
pub mod role;
pub mod role_permission;
pub mod role_tree;
pub mod session;
pub mod signup;
pub mod tenant;
pub mod token;
pub mod user;
pub mod user_role;

pub use invite::InviteToken;
pub use login::{Credentials, Login};
pub use member::Member;
pub use password::Password;
pub use refresh_token::{RefreshToken, Rotation};
pub use session::{Session, SessionView};
pub use signup::Signup;
pub use tenant::Tenant;
pub use token::Signer;
pub use user::User;
