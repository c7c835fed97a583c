//! The keyed hash of keys and members: fast on short strings, and seeded per process so that a
//! client cannot choose keys that collide.

use foldhash::quality::FixedState;
use std::hash::BuildHasher;

/// A process's secret for hashing.
#[derive(Clone)]
pub struct Seed(FixedState);

impl Seed {
    pub fn new(seed: u64) -> Seed {
        Seed(FixedState::with_seed(seed))
    }

    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        use std::hash::Hasher;
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}
