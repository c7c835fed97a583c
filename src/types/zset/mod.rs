//! Sorted sets: members, each with a score, in the order of scores, and of the members' bytes
//! where scores are equal. Scores are doubles but never NaN.
//!
//! A small set is packed into its key's record ([`packed`]); a larger one is a table of members
//! with a tree over them ([`Sorted`]), and stays one. What OBJECT ENCODING calls it follows
//! [`Limits`], not what it is in memory: changing a record of many kilobytes costs more than
//! Redis's limits ask for.
//!
//! Everything about order is asked in ranks: [`Zset::position`] finds how many elements stand
//! before a [`Point`], and [`Zset::range`] gives the elements of some ranks.

mod leaf;
mod member;
mod order;
mod packed;
mod sorted;
#[cfg(test)]
mod tests;
mod tree;

use super::{Inline, Object, Slot, Value};
use crate::base::rng::Rng;
use crate::base::table::Place;
use packed::Packed;
use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

pub use order::Point;
pub use sorted::Sorted;

/// A member and its score.
pub type Element<'a> = (&'a [u8], f64);

/// Larger sets are not packed, whatever the limits are.
const PACKED_BYTES: usize = 4096;

/// What a sorted set may be and still be called a listpack.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members it may have (`zset-max-listpack-entries`).
    pub entries: usize,
    /// Bytes that a member may have (`zset-max-listpack-value`).
    pub value: usize,
}

/// A sorted set as it is read.
#[derive(Clone, Copy)]
pub struct Zset<'a>(Encoding<'a>);

#[derive(Clone, Copy)]
enum Encoding<'a> {
    Packed(Packed<'a>),
    Sorted(&'a Sorted),
}

/// Elements in their order; [`Iterator::rev`] gives them from the end.
#[derive(Clone)]
pub enum Iter<'a> {
    Packed(packed::Iter<'a>),
    Sorted(tree::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Iter::Packed(iter) => iter.next(),
            Iter::Sorted(iter) => iter.next().map(sorted::element),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Iter::Packed(iter) => iter.size_hint(),
            Iter::Sorted(iter) => iter.size_hint(),
        }
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Element<'a>> {
        match self {
            Iter::Packed(iter) => iter.next_back(),
            Iter::Sorted(iter) => iter.next_back().map(sorted::element),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> Zset<'a> {
    /// The sorted set in a value, or none if it is of another type.
    #[inline]
    pub fn of(value: Value<'a>) -> Option<Zset<'a>> {
        match value {
            Value::Inline(Inline::Zset, bytes) => Some(Zset(Encoding::Packed(Packed(bytes)))),
            Value::Object(Object::Zset(sorted)) => Some(Zset(Encoding::Sorted(sorted))),
            _ => None,
        }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding_name(&self) -> &'static str {
        match self.0 {
            Encoding::Packed(_) => "listpack",
            Encoding::Sorted(sorted) => sorted.encoding_name(),
        }
    }

    pub fn len(&self) -> usize {
        match self.0 {
            Encoding::Packed(packed) => packed.len(),
            Encoding::Sorted(sorted) => sorted.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self.0 {
            Encoding::Packed(packed) => packed.0.is_empty(),
            Encoding::Sorted(sorted) => sorted.is_empty(),
        }
    }

    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0 {
            Encoding::Packed(packed) => packed.find(member).map(|(_, item)| item.score),
            Encoding::Sorted(sorted) => sorted.find(member).map(|(_, score)| score),
        }
    }

    /// A member's rank, from 0 for the one with the least score, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0 {
            Encoding::Packed(packed) => packed.find(member).map(|(rank, item)| (rank, item.score)),
            Encoding::Sorted(sorted) => {
                let (_, score) = sorted.find(member)?;
                Some((sorted.position(&Point::before(score, member)), score))
            }
        }
    }

    /// How many elements stand before a point: the rank of the first one behind it.
    pub fn position(&self, point: &Point) -> usize {
        match self.0 {
            Encoding::Packed(packed) => packed.position(point).0,
            Encoding::Sorted(sorted) => sorted.position(point),
        }
    }

    /// The ranks of the elements between two points; none if the second is before the first.
    pub fn ranks(&self, from: &Point, to: &Point) -> Range<usize> {
        let start = self.position(from);
        start..self.position(to).max(start)
    }

    /// The elements of these ranks, cut to those there are.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'a> {
        let end = ranks.end.min(self.len());
        let ranks = ranks.start.min(end)..end;
        match self.0 {
            Encoding::Packed(packed) => Iter::Packed(packed.range(ranks)),
            Encoding::Sorted(sorted) => Iter::Sorted(sorted.range(ranks)),
        }
    }

    /// All elements with scores from `min` to `max`, both included.
    pub fn range_by_score(&self, min: f64, max: f64) -> Iter<'a> {
        self.range(self.ranks(&Point::before_score(min), &Point::behind_score(max)))
    }

    /// All elements in their order.
    pub fn iter(&self) -> Iter<'a> {
        self.range(0..usize::MAX)
    }

    /// A step of ZSCAN: visits some elements and returns the next cursor, 0 at the end. What is in
    /// the set from the first step to the last is visited at least once.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(Element<'a>)) -> u64 {
        match self.0 {
            // All at once, as Redis does: where a member is changes with every removal before it.
            Encoding::Packed(_) => {
                self.iter().for_each(visit);
                0
            }
            Encoding::Sorted(sorted) => sorted.scan(cursor, visit),
        }
    }

    /// An element drawn with equal chances; none if there is no element.
    pub fn random(&self, rng: &mut Rng) -> Option<Element<'a>> {
        let len = self.len();
        if len == 0 { None } else { self.at(rng.index(len)) }
    }

    /// The element of a rank.
    pub fn at(&self, rank: usize) -> Option<Element<'a>> {
        self.range(rank..rank.saturating_add(1)).next()
    }

    /// Visits `count` elements, each drawn with equal chances from all: one may come repeatedly.
    /// Ends early when `visit` says so.
    pub fn draw(
        &self,
        count: u64,
        rng: &mut Rng,
        mut visit: impl FnMut(Element<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.is_empty() {
            return ControlFlow::Continue(());
        }
        if let Encoding::Packed(_) = self.0 {
            // Each draw would walk half of the bytes without this index.
            let elements: Vec<_> = self.iter().collect();
            return (0..count).try_for_each(|_| visit(elements[rng.index(elements.len())]));
        }
        (0..count).try_for_each(|_| self.random(rng).into_iter().try_for_each(&mut visit))
    }

    /// Visits `count` different elements, or all if there are not so many: each choice of elements
    /// is as likely as any other.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Element<'a>)) {
        let len = self.len();
        if matches!(self.0, Encoding::Sorted(_)) && count < len / 3 {
            // Few of many: at most every third draw is one that was seen already.
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let rank = rng.index(len);
                if seen.insert(rank) {
                    self.at(rank).into_iter().for_each(&mut visit);
                }
            }
            return;
        }
        // Each element is taken with the chance that its share of those still to come gives it
        // (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S).
        let (mut left, mut wanted) = (len, count.min(len));
        for element in self.iter() {
            if wanted == 0 {
                break;
            }
            if rng.index(left) < wanted {
                visit(element);
                wanted -= 1;
            }
            left -= 1;
        }
    }
}

/// What an update did: the score before, if the member was there, and the one it has now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub old: Option<f64>,
    pub new: Option<f64>,
}

impl Change {
    pub fn is_new(&self) -> bool {
        self.old.is_none() && self.new.is_some()
    }

    /// Whether the member was there and has another score now. Both zeros are the same.
    pub fn is_update(&self) -> bool {
        self.old.is_some() && self.old != self.new
    }
}

/// Where a member was found.
enum Found {
    Packed(packed::Item),
    Sorted(Place),
}

/// Looks a member up in the sorted set in `slot` and sets the score that `decide` wants, which is
/// told the one it has. If it wants none, or the same, nothing changes.
pub fn update<S: Slot>(
    slot: &mut S,
    member: &[u8],
    limits: &Limits,
    decide: impl FnOnce(Option<f64>) -> Option<f64>,
) -> Change {
    let found = match slot.value() {
        Value::Inline(_, bytes) => {
            Packed(bytes).find(member).map(|(_, item)| (item.score, Found::Packed(item)))
        }
        Value::Object(Object::Zset(sorted)) => {
            sorted.find(member).map(|(place, score)| (score, Found::Sorted(place)))
        }
        Value::Object(_) => None,
    };
    let old = found.as_ref().map(|(score, _)| *score);
    let Some(score) = decide(old) else { return Change { old, new: old } };
    match found {
        Some((old, _)) if old == score => return Change { old: Some(old), new: Some(old) },
        Some((_, Found::Packed(item))) => packed::set_score(slot, &item, member, score),
        Some((_, Found::Sorted(place))) => {
            if let Some(Object::Zset(sorted)) = slot.object_mut() {
                sorted.set_score(place, score);
            }
        }
        None => add(slot, member, score, limits),
    }
    Change { old, new: Some(score) }
}

/// Sets a member's score.
pub fn insert<S: Slot>(slot: &mut S, member: &[u8], score: f64, limits: &Limits) -> Change {
    update(slot, member, limits, |_| Some(score))
}

/// Adds a member that is not there.
fn add<S: Slot>(slot: &mut S, member: &[u8], score: f64, limits: &Limits) {
    if let Value::Inline(_, bytes) = slot.value() {
        let size = bytes.len() + packed::element_size(member, score);
        let is_listpack = member.len() <= limits.value
            && limits.entries > 0
            && !Packed(bytes).is_longer_than(limits.entries - 1);
        if is_listpack && size <= PACKED_BYTES {
            packed::insert(slot, member, score);
            return;
        }
        unpack(slot, is_listpack);
    }
    let Some(Object::Zset(sorted)) = slot.object_mut() else { unreachable!("not a sorted set") };
    sorted.insert(member, score);
    sorted.is_listpack &= member.len() <= limits.value && sorted.len() <= limits.entries;
}

/// Makes a packed set a large one.
fn unpack<S: Slot>(slot: &mut S, is_listpack: bool) {
    let mut sorted = Sorted::new(is_listpack);
    for (member, score) in Zset::of(slot.value()).iter().flat_map(Zset::iter) {
        sorted.insert(member, score);
    }
    slot.set_object(Object::Zset(sorted));
}

/// From now on OBJECT ENCODING calls the set in `slot` a skiplist.
pub fn make_skiplist<S: Slot>(slot: &mut S) {
    match slot.object_mut() {
        Some(Object::Zset(sorted)) => sorted.is_listpack = false,
        Some(_) => {}
        None => unpack(slot, false),
    }
}

/// Removes a member from the sorted set in `slot`; its score, or none if it was not there, and
/// then nothing changes.
pub fn remove<S: Slot>(slot: &mut S, member: &[u8]) -> Option<f64> {
    let (rank, score) = Zset::of(slot.value())?.rank(member)?;
    remove_range(slot, rank..rank + 1);
    Some(score)
}

/// Removes the elements of these ranks, which must exist.
pub fn remove_range<S: Slot>(slot: &mut S, ranks: Range<usize>) {
    match slot.value() {
        _ if ranks.is_empty() => {}
        Value::Inline(..) => packed::remove(slot, ranks),
        Value::Object(_) => {
            if let Some(Object::Zset(sorted)) = slot.object_mut() {
                sorted.remove(ranks);
            }
        }
    }
}
