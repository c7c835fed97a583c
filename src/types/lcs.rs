//! The longest common subsequence of two strings, by the textbook's table (Cormen et al.,
//! "Introduction to Algorithms", 15.4). Must not know where the strings are kept.

/// The table of two strings, which holds the answers.
pub struct Lcs<'a> {
    a: &'a [u8],
    b: &'a [u8],
    /// Lengths for the first `i` bytes of `a` and `j` of `b` at `i * (b.len() + 1) + j`.
    lengths: Vec<u32>,
}

/// A run of bytes that both strings have: the same number from `a` and `b` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub a: usize,
    pub b: usize,
    pub len: usize,
}

/// Bytes of memory the table of strings of these lengths takes; none if that is beyond counting.
pub fn table_size(a: usize, b: usize) -> Option<u64> {
    let cells = (a as u64).checked_add(1)?.checked_mul((b as u64).checked_add(1)?)?;
    cells.checked_mul(size_of::<u32>() as u64)
}

impl<'a> Lcs<'a> {
    /// Fills the table: time and memory go with the product of the lengths, which the caller has
    /// found acceptable. None if there is no memory for it.
    pub fn new(a: &'a [u8], b: &'a [u8]) -> Option<Lcs<'a>> {
        let width = b.len() + 1;
        let cells = usize::try_from(table_size(a.len(), b.len())?).ok()? / size_of::<u32>();
        let mut lengths = Vec::new();
        lengths.try_reserve_exact(cells).ok()?;
        lengths.resize(cells, 0u32);
        for (i, &byte) in a.iter().enumerate() {
            let (above, row) = lengths[i * width..].split_at_mut(width);
            for (j, &other) in b.iter().enumerate() {
                row[j + 1] = if byte == other { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Some(Lcs { a, b, lengths })
    }

    fn length(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * (self.b.len() + 1) + j]
    }

    /// Bytes of the subsequence.
    pub fn len(&self) -> usize {
        self.length(self.a.len(), self.b.len()) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` for each run of the subsequence, from the strings' ends to their beginnings.
    /// Of several equally long subsequences it takes the one that Redis takes.
    pub fn matches(&self, mut visit: impl FnMut(Match)) {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        let mut len = 0;
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                len += 1;
                continue;
            }
            if len > 0 {
                visit(Match { a: i, b: j, len });
                len = 0;
            }
            if self.length(i - 1, j) > self.length(i, j - 1) { i -= 1 } else { j -= 1 }
        }
        if len > 0 {
            visit(Match { a: i, b: j, len });
        }
    }

    /// The subsequence itself.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        let mut end = bytes.len();
        self.matches(|run| {
            let start = end - run.len;
            bytes[start..end].copy_from_slice(&self.a[run.a..run.a + run.len]);
            end = start;
        });
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The length by recursion on the definition.
    fn slow_len(a: &[u8], b: &[u8]) -> usize {
        match (a, b) {
            ([], _) | (_, []) => 0,
            ([x, a_rest @ ..], [y, b_rest @ ..]) if x == y => 1 + slow_len(a_rest, b_rest),
            ([_, a_rest @ ..], [_, b_rest @ ..]) => slow_len(a_rest, b).max(slow_len(a, b_rest)),
        }
    }

    #[test]
    fn table_sizes_that_cannot_be_are_told() {
        assert_eq!(table_size(0, 0), Some(4));
        assert_eq!(table_size(999, 9), Some(40_000));
        assert_eq!(table_size(usize::MAX, 1), None);
        assert_eq!(table_size(1 << 40, 1 << 40), None);
    }

    proptest! {
        #[test]
        fn runs_are_common_ordered_and_longest(a in "[abc]{0,9}", b in "[abc]{0,9}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let lcs = Lcs::new(a, b).unwrap();
            prop_assert_eq!(lcs.len(), slow_len(a, b));
            let (mut a_end, mut b_end, mut total) = (a.len(), b.len(), 0);
            lcs.matches(|run| {
                assert!(run.a + run.len <= a_end && run.b + run.len <= b_end);
                assert_eq!(a[run.a..run.a + run.len], b[run.b..run.b + run.len]);
                (a_end, b_end) = (run.a, run.b);
                total += run.len;
            });
            prop_assert_eq!(total, lcs.len());
            prop_assert_eq!(lcs.bytes().len(), lcs.len());
        }
    }
}
