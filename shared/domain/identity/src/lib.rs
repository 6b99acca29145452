//! Who may use the system: companies, their users, passwords, sessions, refresh tokens and the
//! signing of access tokens (S1).

pub mod gdpr;
pub mod login;
pub mod password;
pub mod refresh_token;
pub mod session;
pub mod signup;
pub mod tenant;
pub mod token;
pub mod user;

pub use login::{Credentials, Login};
pub use password::Password;
pub use refresh_token::{RefreshToken, Rotation};
pub use session::{Session, SessionView};
pub use signup::Signup;
pub use tenant::Tenant;
pub use token::Signer;
pub use user::User;
