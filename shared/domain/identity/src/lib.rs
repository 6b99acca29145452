//! Who may use the system: companies, their users, passwords, sessions, refresh tokens and the
//! signing of access tokens (S1).

pub mod bulk;
pub mod company;
pub mod dictionary;
pub mod escalation;
pub mod invite;
pub mod joining;
pub mod lifecycle;
pub mod login;
pub mod member;
pub mod password;
pub mod preference;
mod profile;
pub mod refresh_token;
pub mod release;
pub mod session;
pub mod signup;
pub mod tenant;
pub mod token;
pub mod user;

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
