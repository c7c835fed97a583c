//! Counts of durations by size, in memory that does not grow, from which any percentile can be
//! told to within a fixed share of its value. The layout is HdrHistogram's (Gil Tene,
//! hdrhistogram.org), and with it the answers are those of Redis, which uses the C version.
//!
//! Values below `2 << BITS` have a bucket each. From there on each power of two is cut into
//! `1 << BITS` buckets of the same width, so a bucket is at most `1 / (1 << BITS)` of its values
//! wide. Counting is index arithmetic and one addition. Must not know what is counted.

use std::fmt;

/// `LEN` buckets, `1 << BITS` for each power of two but for the smallest values, which have twice
/// as many. What is too large for them is counted in the last one.
#[derive(Clone)]
pub struct Histogram<const BITS: u32, const LEN: usize> {
    counts: Box<[u64; LEN]>,
}

impl<const BITS: u32, const LEN: usize> Histogram<BITS, LEN> {
    /// Takes all the memory it will ever have: eight bytes a bucket.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Histogram<BITS, LEN> {
        let counts = vec![0; LEN].into_boxed_slice();
        Histogram { counts: counts.try_into().expect("the length is the one asked for") }
    }

    #[inline]
    pub fn record(&mut self, value: u64) {
        self.counts[Self::index(value).min(LEN - 1)] += 1;
    }

    /// The bucket of a value, if there were buckets without end.
    #[inline]
    fn index(value: u64) -> usize {
        let single = (2 << BITS) - 1;
        let shift = 63 - (value | single).leading_zeros() - BITS;
        ((shift as usize) << BITS) + (value >> shift) as usize
    }

    /// The smallest value of a bucket, and how many it has.
    fn range(index: usize) -> (u64, u64) {
        let half = 1 << BITS;
        if index < 2 * half {
            return (index as u64, 1);
        }
        let shift = (index >> BITS) - 1;
        (((index % half + half) as u64) << shift, 1 << shift)
    }

    /// The largest value that is counted in this bucket.
    fn highest(index: usize) -> u64 {
        let (lowest, width) = Self::range(index);
        lowest + (width - 1)
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value that `percent` of all values do not exceed: the largest one of its bucket, but of
    /// 0 percent the smallest; 0 if there are no values.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = (percent.min(100.0) / 100.0 * self.count() as f64 + 0.5) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return if percent == 0.0 { Self::range(index).0 } else { Self::highest(index) };
            }
        }
        0
    }

    /// Values and how many are not above them, at the end of the bucket of `first` and then of
    /// each value twice as large, until all are counted.
    pub fn doubling(&self, first: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let all = self.count();
        let (mut from, mut level, mut seen) = (0, first, 0);
        std::iter::from_fn(move || {
            if seen >= all {
                return None;
            }
            let end = Self::index(level).min(LEN - 1);
            seen += self.counts[from..=end].iter().sum::<u64>();
            (from, level) = (end + 1, level * 2);
            Some((Self::highest(end), seen))
        })
    }
}

impl<const BITS: u32, const LEN: usize> fmt::Debug for Histogram<BITS, LEN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        f.debug_map().entries(used.map(|(index, count)| (Self::range(index).0, count))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram as Hdr;
    use proptest::prelude::*;

    type Seconds = Histogram<7, 3072>;
    type Small = Histogram<2, 16>;

    /// As many small ones as large ones.
    fn value() -> impl Strategy<Value = u64> {
        (0u32..30).prop_flat_map(|bits| 0u64..1 << bits)
    }

    /// The bucket that the definition gives a value: the largest width that is a power of two and
    /// leaves at least `1 << bits` buckets below the value.
    fn bucket(value: u64, bits: u32) -> (u64, u64) {
        let mut width = 1;
        while value / width >= 2 << bits {
            width *= 2;
        }
        (value / width * width, value / width * width + width - 1)
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        let mut next = 0;
        for index in 0..3072 {
            let (lowest, width) = Seconds::range(index);
            assert_eq!(lowest, next);
            assert_eq!(bucket(lowest, 7), (lowest, Seconds::highest(index)));
            assert_eq!(
                (Seconds::index(lowest), Seconds::index(lowest + width - 1)),
                (index, index)
            );
            next = lowest + width;
        }
        assert_eq!(next, 1 << 30);
    }

    #[test]
    fn what_is_too_large_is_counted_in_the_last_bucket() {
        let mut small = Small::new();
        for value in [u64::MAX, 1 << 40, 32, 31, 28] {
            small.record(value);
        }
        assert_eq!((small.count(), small.percentile(0.0), small.percentile(100.0)), (5, 28, 31));
    }

    #[test]
    fn without_values_there_are_no_percentiles() {
        assert_eq!((Small::new().percentile(50.0), Small::new().doubling(4).count()), (0, 0));
    }

    #[test]
    fn levels_end_when_all_is_counted() {
        let mut times = Seconds::new();
        for ns in [900, 1024, 1031, 1032, 3000, 33_023, 33_024] {
            times.record(ns);
        }
        let levels: Vec<(u64, u64)> = times.doubling(1024).collect();
        let wanted =
            [(1031, 3), (2063, 4), (4127, 5), (8255, 5), (16_511, 5), (33_023, 6), (66_047, 7)];
        assert_eq!(levels, wanted);
        times.record(600_000_000);
        assert_eq!(times.doubling(1024).last(), Some(((1 << 30) - 1, 8)));
    }

    proptest! {
        #[test]
        fn buckets_are_those_of_hdrhistogram(values in prop::collection::vec(value(), 1..200)) {
            // As Redis makes it: 1 ns to 1 s with two significant digits.
            let mut theirs = Hdr::<u64>::new_with_bounds(1, 1_000_000_000, 2).unwrap();
            let mut ours = Seconds::new();
            for &value in &values {
                theirs.record(value).unwrap();
                ours.record(value);
            }
            prop_assert_eq!(ours.count(), theirs.len());
            for value in values {
                let index = Seconds::index(value);
                prop_assert_eq!(Seconds::range(index).0, theirs.lowest_equivalent(value));
                prop_assert_eq!(Seconds::highest(index), theirs.highest_equivalent(value));
                prop_assert_eq!(ours.counts[index], theirs.count_at(value));
            }
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_values(
            mut values in prop::collection::vec(value(), 1..200),
            percent in 0.0f64..=100.0,
        ) {
            let mut times = Seconds::new();
            values.iter().for_each(|value| times.record(*value));
            values.sort_unstable();
            let rank = (percent / 100.0 * values.len() as f64 + 0.5) as usize;
            let (lowest, highest) = bucket(values[rank.max(1) - 1], 7);
            let wanted = if percent == 0.0 { lowest } else { highest };
            prop_assert_eq!(times.percentile(percent), wanted);
            for (level, seen) in times.doubling(1024) {
                let below = values.iter().filter(|value| **value <= level).count();
                prop_assert_eq!(seen, below as u64);
            }
        }
    }
}
