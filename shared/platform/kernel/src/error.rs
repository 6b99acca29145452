//! One error type for everything a request can end in. What a client sees is the code, the message
//! and the details; what went wrong inside stays in `source`, for the log.

use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The codes of the API's error envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    InvalidRequest,
    Unauthenticated,
    TokenExpired,
    TenantMismatch,
    AuthInvalidCredentials,
    AuthTokenReused,
    AuthTenantRequired,
    AuthOauthRefused,
    AuthOauthNoAccount,
    AuthTwoFactorRequired,
    AuthTwoFactorInvalidCode,
    AuthTwoFactorSetupRequired,
    AuthEmailUnverified,
    AuthPhoneUnverified,
    ProviderNotConfigured,
    PlanRequired,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    Duplicate,
    Stale,
    TooLarge,
    ValidationFailed,
    LimitReached,
    WindowClosed,
    RateLimited,
    Internal,
    Unavailable,
}

impl Code {
    /// The code as clients see it and the HTTP status it is sent with.
    #[must_use]
    pub fn parts(self) -> (&'static str, u16) {
        match self {
            Self::InvalidRequest => ("INVALID_REQUEST", 400),
            Self::Unauthenticated => ("UNAUTHENTICATED", 401),
            Self::TokenExpired => ("TOKEN_EXPIRED", 401),
            Self::TenantMismatch => ("TENANT_MISMATCH", 401),
            Self::AuthInvalidCredentials => ("AUTH_INVALID_CREDENTIALS", 401),
            Self::AuthTokenReused => ("AUTH_TOKEN_REUSED", 401),
            Self::AuthTenantRequired => ("AUTH_TENANT_REQUIRED", 409),
            Self::AuthOauthRefused => ("AUTH_OAUTH_REFUSED", 401),
            Self::AuthOauthNoAccount => ("AUTH_OAUTH_NO_ACCOUNT", 401),
            Self::AuthTwoFactorRequired => ("AUTH_2FA_REQUIRED", 401),
            Self::AuthTwoFactorInvalidCode => ("AUTH_2FA_INVALID_CODE", 401),
            Self::AuthTwoFactorSetupRequired => ("AUTH_2FA_SETUP_REQUIRED", 403),
            Self::AuthEmailUnverified => ("AUTH_EMAIL_UNVERIFIED", 403),
            Self::AuthPhoneUnverified => ("AUTH_PHONE_UNVERIFIED", 403),
            Self::ProviderNotConfigured => ("PROVIDER_NOT_CONFIGURED", 404),
            Self::PlanRequired => ("PLAN_REQUIRED", 402),
            Self::Forbidden => ("FORBIDDEN", 403),
            Self::NotFound => ("NOT_FOUND", 404),
            Self::MethodNotAllowed => ("METHOD_NOT_ALLOWED", 405),
            Self::Conflict => ("CONFLICT", 409),
            Self::Duplicate => ("DUPLICATE", 409),
            Self::Stale => ("STALE", 412),
            Self::TooLarge => ("TOO_LARGE", 413),
            Self::ValidationFailed => ("VALIDATION_FAILED", 422),
            Self::LimitReached => ("LIMIT_REACHED", 422),
            Self::WindowClosed => ("WINDOW_CLOSED", 422),
            Self::RateLimited => ("RATE_LIMITED", 429),
            Self::Internal => ("INTERNAL", 500),
            Self::Unavailable => ("UNAVAILABLE", 503),
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.parts().0
    }

    #[must_use]
    pub fn status(self) -> u16 {
        self.parts().1
    }
}

/// What went wrong, for the client and, apart from it, for the log.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    message: Cow<'static, str>,
    details: Option<Value>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// `message` is shown to the client: it says what to do, and carries no personal data.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            details: None,
            retry_after: None,
            source: None,
        }))
    }

    /// A record that is not there, or that belongs to another tenant: the same answer.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "There is no such record.")
    }

    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            Code::Unauthenticated,
            "Send a valid access token as `Authorization: Bearer <token>`.",
        )
    }

    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    /// Something that can't happen did; the client learns nothing of it.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "Something went wrong on our side.").with_source(source)
    }

    /// A database, queue or provider that is away; the same request may succeed a little later.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(
            Code::Unavailable,
            "A part of the system is not available; try again in a moment.",
        )
        .with_source(source)
        .with_retry_after(Duration::from_secs(2))
    }

    /// 429, to come back after `wait`: rounded up to a second, so that coming back then is late enough.
    pub fn rate_limited(message: &'static str, wait: Duration) -> Self {
        Self::new(Code::RateLimited, message).with_retry_after(Duration::from_secs(wait.as_secs() + 1))
    }

    /// 422 for one field; see [`crate::Validator`] for several.
    pub fn field(path: &str, code: &'static str, message: &str) -> Self {
        Self::fields(vec![json!({ "path": path, "code": code, "message": message })])
    }

    pub(crate) fn fields(fields: Vec<Value>) -> Self {
        Self::new(Code::ValidationFailed, "Some fields are not valid.")
            .with_details(json!({ "fields": fields }))
    }

    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    #[must_use]
    pub fn details(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether trying again later may help: the thing that failed was away, not wrong.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.0.code, Code::Unavailable | Code::RateLimited)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
