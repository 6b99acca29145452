//! Keys for tests.

use kernel::{Sealer, Secret};
use std::collections::BTreeMap;

/// A sealer whose keys are the same in every test process, so that processes share a database.
#[must_use]
pub fn sealer() -> Sealer {
    let keys = BTreeMap::from([("test-1".to_owned(), Secret::new(vec![7; 32]))]);
    Sealer::new("test-1", &keys, &Secret::new(vec![8; 32])).expect("test keys are well-formed")
}
