//! Only tests live here: `it/` in process, `e2e/` against the deployed local stack.
