//! A small sorted set: a run of bytes, its elements in their order.
//!
//! ```text
//! element  1 byte   form of the score (high 2 bits) | length of the member (low 6 bits)
//!          varint   if the member's length is 63: what it has above 63
//!          score    by its form: an integer of 1, 2 or 4 bytes, or a double of 8
//!          member bytes
//! ```
//!
//! There is no count in front: who inserts has walked all elements anyway, and a small set's
//! memory is mostly such headers.

use super::Element;
use super::order::{Point, order};
use crate::types::packed::{put, put_varint, varint, varint_size};
use crate::types::{Slot, Value};
use std::ops::Range;

/// Lengths from here on do not fit their 6 bits.
const LONG: usize = 63;
const FORM_SHIFT: u8 = 6;

/// Bytes of a score in each of the four forms.
const SCORE_BYTES: [usize; 4] = [1, 2, 4, 8];

/// The bytes of a packed sorted set.
#[derive(Clone, Copy)]
pub struct Packed<'a>(pub &'a [u8]);

/// Where an element is, and its score.
#[derive(Clone, Copy)]
pub struct Item {
    pub start: usize,
    pub score: f64,
    member: usize,
    end: usize,
}

impl Item {
    pub fn len(&self) -> usize {
        self.end - self.start
    }
}

/// The shortest form that holds a score. The negative zero loses its sign, as it does in Redis's
/// small sets.
fn form_of(score: f64) -> u8 {
    let is = |integer: f64| integer == score;
    if is(score as i8 as f64) {
        0
    } else if is(score as i16 as f64) {
        1
    } else if is(score as i32 as f64) {
        2
    } else {
        3
    }
}

/// Bytes an element takes.
pub fn element_size(member: &[u8], score: f64) -> usize {
    let long = if member.len() < LONG { 0 } else { varint_size(member.len() - LONG) };
    1 + long + SCORE_BYTES[form_of(score) as usize] + member.len()
}

/// Writes an element over `out`, which has its size.
fn write_element(mut out: &mut [u8], member: &[u8], score: f64) {
    let form = form_of(score);
    put(&mut out, &[form << FORM_SHIFT | member.len().min(LONG) as u8]);
    if member.len() >= LONG {
        put_varint(&mut out, member.len() - LONG);
    }
    write_score(&mut out, form, score);
    put(&mut out, member);
    debug_assert!(out.is_empty());
}

fn write_score(out: &mut &mut [u8], form: u8, score: f64) {
    match form {
        0 => put(out, &(score as i8).to_le_bytes()),
        1 => put(out, &(score as i16).to_le_bytes()),
        2 => put(out, &(score as i32).to_le_bytes()),
        _ => put(out, &score.to_le_bytes()),
    }
}

/// As many bytes as asked for.
#[inline]
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[at..at + N]);
    taken
}

impl<'a> Packed<'a> {
    /// The element that starts here; none at the end.
    #[inline]
    fn item(self, start: usize) -> Option<Item> {
        let head = *self.0.get(start)?;
        let mut at = start + 1;
        let mut len = (head & LONG as u8) as usize;
        if len == LONG {
            len += varint(self.0, &mut at);
        }
        let form = head >> FORM_SHIFT;
        let score = match form {
            0 => i8::from_le_bytes(take(self.0, at)) as f64,
            1 => i16::from_le_bytes(take(self.0, at)) as f64,
            2 => i32::from_le_bytes(take(self.0, at)) as f64,
            _ => f64::from_le_bytes(take(self.0, at)),
        };
        let member = at + SCORE_BYTES[form as usize];
        Some(Item { start, score, member, end: member + len })
    }

    fn items(self) -> impl Iterator<Item = Item> + use<'a> {
        std::iter::successors(self.item(0), move |item| self.item(item.end))
    }

    #[inline]
    pub fn member(self, item: &Item) -> &'a [u8] {
        &self.0[item.member..item.end]
    }

    pub fn len(self) -> usize {
        self.items().count()
    }

    /// Whether there are more elements than this. Cheap where the answer is plain from the size.
    pub fn is_longer_than(self, entries: usize) -> bool {
        self.0.len() > entries && self.len() > entries
    }

    /// A member's element and rank.
    #[inline]
    pub fn find(self, member: &[u8]) -> Option<(usize, Item)> {
        self.items().enumerate().find(|(_, item)| self.member(item) == member)
    }

    /// How many elements stand before a point, and the offset where they end.
    pub fn position(self, point: &Point) -> (usize, usize) {
        let (mut rank, mut at) = (0, 0);
        for item in self.items() {
            if !point.is_behind(order(item.score), || self.member(&item)) {
                break;
            }
            (rank, at) = (rank + 1, item.end);
        }
        (rank, at)
    }

    /// Where the elements of these ranks, which must exist, are.
    fn span(self, ranks: Range<usize>) -> Range<usize> {
        let mut ends = self.items().map(|item| item.end);
        let mut skip = |count: usize| {
            if count == 0 { None } else { ends.nth(count - 1) }
        };
        let start = skip(ranks.start).unwrap_or(0);
        start..skip(ranks.len()).unwrap_or(start)
    }

    pub fn range(self, ranks: Range<usize>) -> Iter<'a> {
        let at = self.span(0..ranks.start).end;
        Iter { packed: self, at, left: ranks.len(), starts: Vec::new() }
    }
}

/// Elements in either direction.
#[derive(Clone)]
pub struct Iter<'a> {
    packed: Packed<'a>,
    at: usize,
    left: usize,
    /// Where those still to come start, noted once somebody goes backwards.
    starts: Vec<u32>,
}

impl<'a> Iter<'a> {
    #[inline]
    fn element(&self, item: Item) -> Element<'a> {
        (self.packed.member(&item), item.score)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        self.left = self.left.checked_sub(1)?;
        let item = self.packed.item(self.at)?;
        self.at = item.end;
        Some(self.element(item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    fn next_back(&mut self) -> Option<Element<'a>> {
        if self.left == 0 {
            return None;
        }
        if self.starts.is_empty() {
            let packed = self.packed;
            let first = packed.item(self.at);
            let items = std::iter::successors(first, |item| packed.item(item.end));
            self.starts = items.take(self.left).map(|item| item.start as u32).collect();
        }
        self.left -= 1;
        let item = self.packed.item(self.starts.pop()? as usize)?;
        Some(self.element(item))
    }
}

/// The packed set in a slot; an empty one for any other value.
fn packed<S: Slot>(slot: &S) -> Packed<'_> {
    match slot.value() {
        Value::Inline(_, bytes) => Packed(bytes),
        Value::Object(_) => Packed(&[]),
    }
}

/// Adds a member that is not there.
pub fn insert<S: Slot>(slot: &mut S, member: &[u8], score: f64) {
    let (_, at) = packed(slot).position(&Point::before(score, member));
    write_element(slot.splice(at, 0, element_size(member, score)), member, score);
}

/// Gives an element another score.
pub fn set_score<S: Slot>(slot: &mut S, item: &Item, member: &[u8], score: f64) {
    let bytes = packed(slot);
    let size = element_size(member, score);
    let (_, mut at) = bytes.position(&Point::before(score, member));
    // The element itself may be one of those that stand before its new place.
    let is_in_place = at == item.start || at == item.end;
    if is_in_place && size == item.len() {
        write_element(&mut slot.bytes_mut()[item.start..item.end], member, score);
        return;
    }
    if at >= item.end {
        at -= item.len();
    }
    slot.splice(item.start, item.len(), 0);
    write_element(slot.splice(at, 0, size), member, score);
}

/// Removes the elements of these ranks, which must exist.
pub fn remove<S: Slot>(slot: &mut S, ranks: Range<usize>) {
    let span = packed(slot).span(ranks);
    slot.splice(span.start, span.len(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Inline, Loose};

    fn packed_bytes(elements: &[(&str, f64)]) -> Vec<u8> {
        let mut slot = Loose::Inline(Inline::Zset, Vec::new());
        for (member, score) in elements {
            insert(&mut slot, member.as_bytes(), *score);
        }
        packed(&slot).0.to_vec()
    }

    #[test]
    fn the_layout_is_as_described() {
        assert_eq!(packed_bytes(&[("ab", 7.0), ("", -1.0)]), b"\x00\xff\x02\x07ab");
        assert_eq!(packed_bytes(&[("a", 300.0)]), b"\x41\x2c\x01a");
        assert_eq!(packed_bytes(&[("a", 65_536.0)]), b"\x81\0\0\x01\0a");
        assert_eq!(packed_bytes(&[("a", 0.5)]), b"\xc1\0\0\0\0\0\0\xe0\x3fa");
        assert_eq!(packed_bytes(&[("a", -0.0)]), b"\x01\0a");
        let long = "m".repeat(63 + 128);
        assert_eq!(packed_bytes(&[(&long, 0.0)])[..5], *b"\x3f\x80\x01\0m");
    }

    #[test]
    fn scores_of_all_forms_and_lengths_of_all_sizes_come_back() {
        let integers = [0, 1, -1, 127, 128, -128, -129, 32767, 32768, -32768, -32769];
        let wide = [i32::MAX as f64, i32::MAX as f64 + 1.0, i32::MIN as f64, 1e300, f64::INFINITY];
        let scores = integers.iter().map(|&n| n as f64).chain(wide).chain([0.1, -1e-300]);
        for score in scores {
            for len in [0, 1, 62, 63, 64, 190, 191, 20_000] {
                let member = vec![b'x'; len];
                let mut slot = Loose::Inline(Inline::Zset, Vec::new());
                insert(&mut slot, &member, score);
                assert_eq!(packed(&slot).0.len(), element_size(&member, score));
                let (rank, item) = packed(&slot).find(&member).unwrap();
                assert_eq!((rank, item.score.to_bits()), (0, score.to_bits()));
            }
        }
    }
}
