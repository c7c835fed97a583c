//! Random numbers for sampling, shuffling and timing: fast and seeded, so that a test can repeat
//! a run. Not for secrets: whoever sees a few outputs can tell the next ones.

use std::hash::{BuildHasher, RandomState};

/// xoshiro256** by David Blackman and Sebastiano Vigna (<https://prng.di.unimi.it>): 256 bits of
/// state, a period of 2^256 - 1, about a nanosecond a number.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator that gives the same numbers for the same seed, in every version of the server.
    pub fn from_seed(seed: u64) -> Rng {
        // The state must not be all zero, and similar seeds must not give similar states. Its
        // authors advise SplitMix64 for this; four of its outputs are never all zero.
        let mut split_mix = seed;
        Rng { state: std::array::from_fn(|_| next_split_mix(&mut split_mix)) }
    }

    /// A generator seeded by the operating system.
    pub fn from_os() -> Rng {
        // The only door to the system's random source that std has: each `RandomState` carries
        // 128 random bits, of which its hash of a fixed value lets 64 through.
        Rng::from_seed(RandomState::new().hash_one(0u64))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number from 0 to `bound - 1`, each equally likely.
    ///
    /// # Panics
    /// If `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        // Daniel Lemire, "Fast Random Integer Generation in an Interval" (2019): the high half of
        // a product is the answer, and the low half says whether it fell into the uneven rest.
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let uneven = bound.wrapping_neg() % bound;
            while (product as u64) < uneven {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// An index into something that has `len` items.
    ///
    /// # Panics
    /// If `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Fills the buffer with random bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), with the constants of Vigna's public-domain version.
fn next_split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Rng, next_split_mix};
    use proptest::prelude::*;

    #[test]
    fn gives_the_published_numbers() {
        // The authors' C code started with the state 1, 2, 3, 4.
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let expected = [
            11520,
            0,
            1509978240,
            1215971899390074240,
            1216172134540287360,
            607988272756665600,
            16172922978634559625,
            8476171486693032832,
            10595114339597558777,
            2904607092377533576,
        ];
        assert_eq!(expected, std::array::from_fn(|_| rng.next_u64()));

        let mut state = 1234567;
        let expected = [
            6457827717110365317,
            3203168211198807973,
            9817491932198370423,
            4593380528125082431,
            16408922859458223821,
        ];
        assert_eq!(expected, std::array::from_fn(|_| next_split_mix(&mut state)));
    }

    #[test]
    fn seeds_decide() {
        let numbers = |mut rng: Rng| [rng.next_u64(), rng.next_u64(), rng.next_u64()];
        assert_eq!(numbers(Rng::from_seed(7)), numbers(Rng::from_seed(7)));
        assert_ne!(numbers(Rng::from_seed(7)), numbers(Rng::from_seed(8)));
        assert_ne!(numbers(Rng::from_os()), numbers(Rng::from_os()));
    }

    #[test]
    fn below_is_even_also_where_a_remainder_would_not_be() {
        // For a bound of 3 * 2^62, a remainder gives the lowest third of the range twice as often
        // as each other third; a product without Lemire's rejection, each third number.
        let mut rng = Rng::from_seed(1);
        let third = 1u64 << 62;
        let (mut thirds, mut remainders) = ([0u32; 3], [0u32; 3]);
        for _ in 0..30_000 {
            let number = rng.below(3 * third);
            thirds[(number / third) as usize] += 1;
            remainders[(number % 3) as usize] += 1;
        }
        // Ten thousand each; 500 is six standard deviations.
        for counts in [thirds, remainders] {
            assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 500), "{counts:?}");
        }

        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[rng.index(7)] += 1;
        }
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 600), "{counts:?}");
    }

    #[test]
    #[should_panic(expected = "no number is below 0")]
    fn below_zero_is_refused() {
        Rng::from_seed(1).below(0);
    }

    proptest! {
        #[test]
        fn below_stays_below(seed: u64, bound in 1u64..) {
            let mut rng = Rng::from_seed(seed);
            for _ in 0..20 {
                prop_assert!(rng.below(bound) < bound);
            }
            prop_assert_eq!(rng.below(1), 0);
        }

        #[test]
        fn fill_takes_the_numbers_in_order(seed: u64, len in 0usize..40) {
            let mut filled = vec![0; len];
            Rng::from_seed(seed).fill(&mut filled);
            let mut rng = Rng::from_seed(seed);
            let expected: Vec<u8> = (0..5).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
            prop_assert_eq!(&filled[..], &expected[..len]);
        }
    }
}
