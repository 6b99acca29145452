//! Tests through the deployed local stack.
