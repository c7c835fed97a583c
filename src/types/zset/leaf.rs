//! A leaf of the tree of a large sorted set: some dozens of elements in their order.
//!
//! An element is a pointer, with 16 bits of its score in the pointer's unused ones: how far it is
//! from `base`, in units of 2^`shift`. Elements with different tags are in their tags' order, so a
//! search looks at the elements themselves only where tags are equal. Base and unit are chosen
//! when elements move between leaves, to spread these elements well; what comes later and lies
//! outside has the least or the greatest tag, which is never wrong, only less telling.

use super::member::{Member, Tagged};
use super::order::Point;
use crate::base::prefetch;
use std::ops::Range;

/// Elements a leaf holds at most: with them it takes 512 bytes, which allocators have blocks for.
pub const CAPACITY: usize = 62;
const _: () = assert!(size_of::<Leaf>() == 512);

/// Bytes of a processor's cache line.
const LINE: usize = 64;

pub struct Leaf {
    base: u64,
    shift: u8,
    len: u8,
    entries: [Tagged; CAPACITY],
}

impl Leaf {
    pub fn new() -> Box<Leaf> {
        Box::new(Leaf { base: 0, shift: 0, len: 0, entries: [Tagged::NONE; CAPACITY] })
    }

    /// A leaf of one element that continues another one.
    pub fn beside(&self, member: Member) -> Box<Leaf> {
        let mut leaf = Leaf::new();
        leaf.spread(self.first().order(), self.last().order());
        leaf.base = member.order().saturating_sub(0x8000 << leaf.shift);
        leaf.put(0, member);
        leaf
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_full(&self) -> bool {
        self.len() == CAPACITY
    }

    #[inline]
    pub fn entries(&self) -> &[Tagged] {
        &self.entries[..self.len()]
    }

    /// # Panics
    /// If it is empty.
    pub fn first(&self) -> Member {
        self.entries()[0].member()
    }

    /// # Panics
    /// If it is empty.
    pub fn last(&self) -> Member {
        self.entries()[self.len() - 1].member()
    }

    /// Asks the processor to fetch all of it: a search reads its lines one after the other, and
    /// each would have to be waited for.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::read(&self.base);
        self.entries.iter().step_by(LINE / size_of::<Tagged>()).for_each(prefetch::read);
    }

    #[inline]
    fn tag(&self, order: u64) -> u16 {
        (order.saturating_sub(self.base) >> self.shift).min(0xFFFF) as u16
    }

    /// Chooses base and unit so that orders from `first` to `last` lie in the middle half of the
    /// tags.
    fn spread(&mut self, first: u64, last: u64) {
        let width = last - first;
        self.base = first.saturating_sub(width / 2);
        // The highest bit of the width is to become bit 14.
        self.shift = (64 - width.leading_zeros()).saturating_sub(15) as u8;
    }

    /// How many elements stand before a point.
    #[inline]
    pub fn position(&self, point: &Point) -> usize {
        let tag = point.order().map(|order| self.tag(order));
        self.entries().partition_point(|entry| self.is_before(*entry, point, tag))
    }

    /// Whether an element stands before a point whose order has this tag, if it has an order.
    #[inline]
    fn is_before(&self, entry: Tagged, point: &Point, tag: Option<u16>) -> bool {
        match tag {
            Some(tag) if entry.tag() != tag => entry.tag() < tag,
            _ => {
                let member = entry.member();
                point.is_behind(member.order(), || member.bytes())
            }
        }
    }

    /// Adds an element at its place in the order, for which there must be room.
    pub fn put(&mut self, at: usize, member: Member) {
        let len = self.len();
        self.entries.copy_within(at..len, at + 1);
        self.entries[at] = Tagged::new(member, self.tag(member.order()));
        self.len += 1;
    }

    pub fn remove(&mut self, range: Range<usize>) {
        let len = self.len();
        self.entries.copy_within(range.end..len, range.start);
        self.len -= range.len() as u8;
    }

    /// Whether the element at `at` could have this score and stay where it is, between others.
    pub fn may_stay(&self, at: usize, score: f64) -> bool {
        if at == 0 || at + 1 >= self.len() {
            return false;
        }
        let point = Point::before(score, self.entries[at].member().bytes());
        let tag = point.order().map(|order| self.tag(order));
        self.is_before(self.entries[at - 1], &point, tag)
            && !self.is_before(self.entries[at + 1], &point, tag)
    }

    /// Gives an element a score with which it [may stay](Leaf::may_stay).
    pub fn rescore(&mut self, at: usize, score: f64) {
        let member = self.entries[at].member();
        member.set_score(score);
        self.entries[at] = Tagged::new(member, self.tag(member.order()));
    }

    /// Takes these elements in place of its own.
    pub fn fill(&mut self, entries: &[Tagged]) {
        self.len = entries.len() as u8;
        entries.iter().for_each(|entry| entry.prefetch());
        if let [first, .., last] = entries {
            self.spread(first.member().order(), last.member().order());
        }
        for (at, entry) in entries.iter().enumerate() {
            let member = entry.member();
            self.entries[at] = Tagged::new(member, self.tag(member.order()));
        }
    }
}
