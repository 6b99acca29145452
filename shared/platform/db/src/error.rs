//! What Postgres says, in our words.

use kernel::{Code, Error};
use serde_json::{Value, json};
use std::error::Error as _;
use tokio_postgres::error::{DbError, SqlState};

/// Maps a database error. Errors that a request can cause (a foreign key to a record that is not
/// there, a key that is taken) become 4xx where the domain did not catch them first; a server that
/// is away becomes 503; anything else is internal. Values never enter the message: Postgres puts
/// row contents into `detail`, so only code and constraint are kept.
#[must_use]
pub fn from_postgres(error: tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        return Error::unavailable(Described::of(&error));
    };
    if let Some(ours) = raised_by_us(said) {
        return ours;
    }
    let described = Described::of(&error);
    match *said.code() {
        SqlState::UNIQUE_VIOLATION => {
            Error::new(Code::Conflict, "A record with these values is already there.").with_source(described)
        }
        SqlState::FOREIGN_KEY_VIOLATION => Error::not_found().with_source(described),
        SqlState::UNTRANSLATABLE_CHARACTER | SqlState::CHARACTER_NOT_IN_REPERTOIRE => {
            Error::invalid_request("A text holds a character that can't be stored.").with_source(described)
        }
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW => Error::unavailable(described),
        _ => Error::internal(described),
    }
}

/// What `app.enter` refuses, by the code that it raises and that `app.refusal` foretells.
#[must_use]
pub fn refused(code: &str) -> Option<Error> {
    Some(match code {
        "M3401" => Error::unauthenticated(),
        "M3402" => Error::new(
            Code::Forbidden,
            "This company's account is suspended or closed; contact support.",
        ),
        "M3403" => Error::new(Code::Forbidden, "You do not have the permission that this needs."),
        "M3404" => Error::new(
            Code::AuthEmailUnverified,
            "Verify your e-mail address first; /v1/auth/resend-verification sends the link again.",
        ),
        "M3405" => Error::new(
            Code::AuthTwoFactorSetupRequired,
            "Your company asks for a second factor: set one up at /v1/auth/totp/setup first.",
        ),
        "M3406" => Error::new(
            Code::AuthPhoneUnverified,
            "Your company asks for a verified phone: verify yours at /v1/auth/phone/verify/start first.",
        ),
        "M3407" => Error::new(Code::PlanRequired, "Your plan does not include this."),
        "M3408" => Error::new(
            Code::PlanRequired,
            "Your company's subscription is past due; until it is settled only administration and exports work.",
        )
        .with_details(json!({ "reason": "past_due" })),
        _ => return None,
    })
}

/// What our own functions and triggers refuse, by the codes that the migrations give it.
fn raised_by_us(said: &DbError) -> Option<Error> {
    let code = said.code().code();
    refused(code).or_else(|| raised_elsewhere(code, said.detail()))
}

fn raised_elsewhere(code: &str, detail: Option<&str>) -> Option<Error> {
    Some(match code {
        "M3409" => Error::new(
            Code::Conflict,
            "A company keeps at least one active super admin; make another one first.",
        ),
        "M3410" => Error::new(Code::Conflict, "The role tree would have a cycle."),
        "M3411" => Error::new(Code::LimitReached, "A role tree holds at most 500 edges.")
            .with_details(json!({ "key": "roles.hierarchy", "limit": 500 })),
        "M3412" => Error::new(
            Code::Conflict,
            "Approvals wait for it, or will: name another approver in the policies and have the requests decided first.",
        )
        .with_details(our_details(detail)),
        "M3L01" => Error::new(
            Code::LimitReached,
            "Your plan's limit is reached; remove something, or have the limit raised.",
        )
        .with_details(our_details(detail)),
        "M3I02" => Error::new(
            Code::Conflict,
            "A request with this Idempotency-Key is being answered; try again in a moment.",
        )
        .with_retry_after(std::time::Duration::from_secs(1)),
        "M3I03" => Error::field(
            "Idempotency-Key",
            "reused",
            "This Idempotency-Key was used for a different request; use a new one.",
        ),
        _ => return None,
    })
}

/// The detail of an error that we raise with one, which is ours and not Postgres': a JSON object.
fn our_details(detail: Option<&str>) -> Value {
    detail
        .and_then(|detail| serde_json::from_str(detail).ok())
        .unwrap_or_else(|| json!({}))
}

/// An earlier statement of the transaction failed.
pub(crate) fn is_aborted(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

/// The answer to this idempotency key is stored.
pub(crate) fn is_replay(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "M3I01")
}

/// A database error without the data that Postgres adds to it.
#[derive(Debug)]
struct Described(String);

impl Described {
    fn of(error: &tokio_postgres::Error) -> Self {
        let text = match error.as_db_error() {
            Some(said) => format!(
                "{} {} (table {}, constraint {})",
                said.code().code(),
                said.message().split('"').step_by(2).collect::<Vec<_>>().join("…"),
                said.table().unwrap_or("-"),
                said.constraint().unwrap_or("-"),
            ),
            None => match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        };
        Self(text)
    }
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Described {}
