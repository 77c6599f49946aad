//! Maps by member name, for look-ups by the million.

use crate::random::Random;
use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::sync::Arc;

/// A hasher whose secret comes from the caller's entropy: nobody outside can choose names that collide, and the same seed is the
/// same run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyed(u64);

impl Keyed {
    pub(crate) fn new(random: &mut dyn Random) -> Self {
        Self(random.bits())
    }
}

impl BuildHasher for Keyed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// A map by name.
pub(crate) type Names<V> = HashMap<Arc<str>, V, Keyed>;
