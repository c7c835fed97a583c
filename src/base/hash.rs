//! The keyed hash of keys and members: fast on short strings, and seeded per process so that a
//! client cannot choose keys that collide.

use super::rng::Rng;
use foldhash::quality::FixedState;
use std::hash::BuildHasher;
use std::sync::LazyLock;

/// A secret for hashing.
#[derive(Clone)]
pub struct Seed(FixedState);

/// Tests have no secret, so that a failure can be repeated.
static OF_PROCESS: LazyLock<Seed> =
    LazyLock::new(|| Seed::new(if cfg!(test) { 1 } else { Rng::from_os().next_u64() }));

/// For the maps of the standard library.
impl BuildHasher for Seed {
    type Hasher = <FixedState as BuildHasher>::Hasher;

    #[inline]
    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

impl Default for Seed {
    fn default() -> Seed {
        Seed::of_process().clone()
    }
}

impl Seed {
    pub fn new(seed: u64) -> Seed {
        Seed(FixedState::with_seed(seed))
    }

    /// The secret of this process, drawn at its first use. All collections share it: they can be
    /// many, and a seed of its own would cost each of them memory.
    #[inline]
    pub fn of_process() -> &'static Seed {
        &OF_PROCESS
    }

    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        use std::hash::Hasher;
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}
