//! `/v1/approvals`, and what it gates.
