//! Who may use the system: companies, their users, passwords, sessions, refresh tokens and the
//! signing of access tokens (S1).

pub mod backup_code;
pub mod credential;
pub mod link;
pub mod login;
pub mod me;
pub mod method;
mod opaque;
mod otp;
pub mod password;
pub mod phone_verification;
pub mod policy;
pub mod proof;
pub mod refresh_token;
pub mod session;
pub mod sign_in;
pub mod signup;
pub mod tenant;
pub mod token;
pub mod totp;
mod trail;
pub mod user;

pub use link::LinkToken;
pub use login::{Credentials, Login};
pub use password::Password;
pub use refresh_token::{RefreshToken, Rotation};
pub use session::{Session, SessionView};
pub use signup::Signup;
pub use tenant::Tenant;
pub use token::Signer;
pub use user::User;
