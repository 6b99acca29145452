//! SDK errors in our words.

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use kernel::Error;

/// Codes that AWS sends with a 4xx status and that go away by themselves.
const PASSING: [&str; 14] = [
    "KmsThrottled",
    "OverLimit",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Unavailable when the service was away, slow or throttled us; internal when it refused what we
/// asked. Only the operation, the code and the status are kept: a raw answer may hold a secret.
pub fn from_sdk<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E, HttpResponse>) -> Error {
    match error {
        SdkError::TimeoutError(_) => Error::unavailable(format!("{operation}: timed out")),
        SdkError::DispatchFailure(failure) => {
            let cause = failure
                .as_connector_error()
                .map(ToString::to_string)
                .unwrap_or_default();
            Error::unavailable(format!("{operation}: not sent: {cause}"))
        }
        SdkError::ResponseError(_) => {
            Error::unavailable(format!("{operation}: the answer could not be read"))
        }
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("no code");
            let status = service.raw().status().as_u16();
            let text = format!("{operation}: {code} ({status})");
            if status >= 500 || status == 429 || PASSING.contains(&code) {
                Error::unavailable(text)
            } else {
                Error::internal(text)
            }
        }
        _ => Error::internal(format!("{operation}: the request could not be built")),
    }
}
