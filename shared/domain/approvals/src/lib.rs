//! Sensitive actions that somebody else has to approve first (S3A).
