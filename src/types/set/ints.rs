//! A small set of integers: a sorted array, searched by halves.
//!
//! ```text
//! width    1 byte   bytes that each number takes: 2, 4 or 8, as the widest of them ever needed
//! numbers  two's complement, low bytes first, in ascending order
//! ```
//!
//! A set that has never had a number has no width either.

use crate::base::number::digits;
use crate::types::{Inline, Slot, Value};

/// The bytes of a sorted set of integers.
#[derive(Clone, Copy)]
pub struct Ints<'a>(pub &'a [u8]);

/// Bytes a number needs.
fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        2
    } else if i32::try_from(number).is_ok() {
        4
    } else {
        8
    }
}

#[inline]
fn leading<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| bytes[at])
}

impl<'a> Ints<'a> {
    fn width(self) -> usize {
        self.0.first().map_or(0, |&width| width as usize)
    }

    pub fn len(self) -> usize {
        match self.width() {
            0 => 0,
            width => (self.0.len() - 1) / width,
        }
    }

    fn offset(self, at: usize) -> usize {
        1 + at * self.width()
    }

    #[inline]
    pub fn get(self, at: usize) -> i64 {
        let bytes = &self.0[self.offset(at)..];
        match self.width() {
            2 => i16::from_le_bytes(leading(bytes)).into(),
            4 => i32::from_le_bytes(leading(bytes)).into(),
            _ => i64::from_le_bytes(leading(bytes)),
        }
    }

    pub fn iter(self) -> impl Iterator<Item = i64> + use<'a> {
        (0..self.len()).map(move |at| self.get(at))
    }

    /// Where a number is, or where it would be.
    #[inline]
    pub fn search(self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).cmp(&number) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Bytes of the set with one more number.
    pub fn size_with(self, number: i64) -> usize {
        1 + (self.len() + 1) * self.width().max(width_of(number))
    }

    /// The most bytes that a number's text has.
    pub fn longest_text(self) -> usize {
        // The texts between those of the ends are no longer than the longer of them.
        let ends = [0, self.len().saturating_sub(1)];
        let ends = ends.into_iter().filter(|&at| at < self.len());
        ends.map(|at| digits(self.get(at)) as usize).max().unwrap_or(0)
    }
}

/// The integers in a slot; none for any other value.
fn ints<S: Slot>(slot: &S) -> Ints<'_> {
    match slot.value() {
        Value::Inline(_, bytes) => Ints(bytes),
        Value::Object(_) => Ints(&[]),
    }
}

/// Puts in a number that is not there, at the place that [`Ints::search`] has just told.
pub fn insert<S: Slot>(slot: &mut S, at: usize, number: i64) {
    let old = ints(slot);
    let width = width_of(number);
    if width <= old.width() {
        let (offset, width) = (old.offset(at), old.width());
        slot.splice(offset, 0, width).copy_from_slice(&number.to_le_bytes()[..width]);
        return;
    }
    let mut bytes = Vec::with_capacity(1 + (old.len() + 1) * width);
    bytes.push(width as u8);
    let before = (0..at).map(|at| old.get(at));
    let after = (at..old.len()).map(|at| old.get(at));
    for number in before.chain([number]).chain(after) {
        bytes.extend_from_slice(&number.to_le_bytes()[..width]);
    }
    slot.set_inline(Inline::IntSet, &bytes);
}

/// Removes the number at a place.
pub fn remove<S: Slot>(slot: &mut S, at: usize) {
    let old = ints(slot);
    let (offset, width) = (old.offset(at), old.width());
    slot.splice(offset, width, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Loose;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn empty() -> Loose {
        Loose::Inline(Inline::IntSet, Vec::new())
    }

    fn add(slot: &mut Loose, number: i64) -> bool {
        let found = ints(slot).search(number);
        found.is_err_and(|at| {
            assert!(ints(slot).size_with(number) > ints(slot).0.len());
            let size = ints(slot).size_with(number);
            insert(slot, at, number);
            assert_eq!(ints(slot).0.len(), size);
            true
        })
    }

    #[test]
    fn the_layout_is_as_described() {
        let mut slot = empty();
        for number in [1, -1, 258] {
            assert!(add(&mut slot, number));
        }
        assert_eq!(ints(&slot).0, [2, 0xFF, 0xFF, 1, 0, 2, 1]);
        assert!(add(&mut slot, 32768));
        assert_eq!(ints(&slot).0.len(), 1 + 4 * 4);
        assert!(add(&mut slot, -2_147_483_649));
        assert_eq!(ints(&slot).0.len(), 1 + 5 * 8);
        assert!(ints(&slot).iter().eq([-2_147_483_649, -1, 1, 258, 32768]));
    }

    #[test]
    fn the_longest_text_is_known_from_the_ends() {
        for (numbers, longest) in [
            (&[][..], 0),
            (&[0][..], 1),
            (&[-5, 3][..], 2),
            (&[1, 100, 5][..], 3),
            (&[i64::MIN, i64::MAX][..], 20),
        ] {
            let mut slot = empty();
            numbers.iter().for_each(|&number| assert!(add(&mut slot, number)));
            assert_eq!(ints(&slot).longest_text(), longest, "{numbers:?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_set(
            steps in prop::collection::vec((0u8..3, any::<i64>(), 0u32..64), 0..200),
        ) {
            let mut slot = empty();
            let mut model = BTreeSet::new();
            for (action, number, shift) in steps {
                // Few different ones, and all widths.
                let number = (number >> 60) << shift;
                if action > 0 {
                    prop_assert_eq!(add(&mut slot, number), model.insert(number));
                } else {
                    let found = ints(&slot).search(number);
                    prop_assert_eq!(found.is_ok(), model.remove(&number));
                    if let Ok(at) = found {
                        remove(&mut slot, at);
                    }
                }
                prop_assert_eq!(ints(&slot).len(), model.len());
            }
            prop_assert!(ints(&slot).iter().eq(model.iter().copied()));
        }
    }
}
