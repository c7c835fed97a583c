//! A large sorted set: a hash table that finds members, and a tree that keeps their order. Both
//! point to the same blocks, which belong to the table.
#![allow(unsafe_code)]

use super::Element;
use super::member::Member;
use super::order::Point;
use super::tree::{Iter, Tree};
use crate::base::hash::Seed;
use crate::base::table::{Ahead, Place, Table};
use crate::types::frozen::{Elements, Found, Head, Memory, Piece, Thawed, Ticket, Visit};
use crate::types::{Type, allocated};
use std::ops::Range;

pub struct Sorted {
    /// Each word is a member that only this set owns; the tree has the same ones.
    table: Table,
    tree: Tree,
    /// It is too large for a record, but still what OBJECT ENCODING calls a listpack.
    pub is_listpack: bool,
    frozen: Memory<Elements<Behind>>,
}

/// How far a frozen set was read: up to this element, once there is one.
#[derive(Default)]
struct Behind(Option<(f64, Box<[u8]>)>);

impl Behind {
    fn point(&self) -> Point<'_> {
        match &self.0 {
            Some((score, bytes)) => Point::behind(*score, bytes),
            None => Point::start(),
        }
    }

    fn is_ahead(&self, member: Member) -> bool {
        !self.point().is_behind(member.order(), || member.bytes())
    }
}

#[inline]
fn hash(bytes: &[u8]) -> u64 {
    Seed::of_process().hash(bytes)
}

/// The member behind a word of the table of a [`Sorted`].
#[inline]
fn member(word: u64) -> Member {
    // SAFETY: all words in the table are from `Member::word`, and a member is freed only after it
    // has left the table.
    unsafe { Member::from_word(word) }
}

impl Sorted {
    pub fn new(is_listpack: bool) -> Sorted {
        Sorted { table: Table::new(), tree: Tree::new(), is_listpack, frozen: Memory::default() }
    }

    pub fn len(&self) -> usize {
        self.tree.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding_name(&self) -> &'static str {
        if self.is_listpack { "listpack" } else { "skiplist" }
    }

    /// Where a member is, valid until a member is inserted or removed, and its score.
    #[inline]
    pub fn find(&self, bytes: &[u8]) -> Option<(Place, f64)> {
        let (place, word) = self.table.find(hash(bytes), |word| member(word).bytes() == bytes)?;
        Some((place, member(word).score()))
    }

    /// What [`Sorted::find`] will look at.
    #[inline]
    pub fn ahead(&self, bytes: &[u8]) -> Ahead<'_> {
        Ahead::new(&self.table, hash(bytes))
    }

    /// Adds a member that is not there, as [`Sorted::find`] has just told.
    pub fn insert(&mut self, bytes: &[u8], score: f64) {
        // Its place in the tree is fetched while it is made and put into the table.
        self.tree.prefetch(&Point::before(score, bytes));
        let new = Member::new(score, bytes);
        self.table.insert(hash(bytes), new.word(), |word| hash(member(word).bytes()));
        self.tree.insert(new);
        self.after_change(new);
    }

    pub fn set_score(&mut self, place: Place, score: f64) {
        let changed = member(self.table.get(place));
        if let Some(frozen) = self.frozen.get_mut() {
            save(frozen, changed);
        }
        self.tree.rescore(changed, score);
        self.after_change(changed);
    }

    #[inline]
    fn after_change(&mut self, changed: Member) {
        if let Some(frozen) = self.frozen.get_mut() {
            frozen.after_change(frozen.position.is_ahead(changed), changed.word());
        }
    }

    /// See [`Object::freeze`](crate::types::Object::freeze).
    pub fn freeze(&mut self, ticket: Ticket) {
        let head = Head::new(Type::Zset, self.len());
        self.frozen = Memory::new(Elements::new(ticket, head));
    }

    pub fn frozen(&self) -> Option<(Ticket, Head)> {
        self.frozen.get().map(|frozen| (frozen.ticket, frozen.head))
    }

    /// See [`Object::read_frozen`](crate::types::Object::read_frozen). In the set's order, but for
    /// what was changed.
    pub fn read_frozen(&mut self, most: usize, visit: &mut Visit<'_>) -> bool {
        let Some(frozen) = self.frozen.get_mut() else { return false };
        let count = frozen.read_saved(most, |found| {
            if let Found::Saved(member, _, bits) = found {
                visit(Piece::Scored(member, f64::from_bits(bits)));
            }
        });
        let start = self.tree.position(&frozen.position.point());
        let end = self.tree.len().min(start + most.saturating_sub(count));
        let mut last = None;
        for member in self.tree.range(start..end) {
            if frozen.reads(member.word()) {
                visit(Piece::Scored(member.bytes(), member.score()));
            }
            last = Some(member);
        }
        if let Some(last) = last {
            frozen.position = Behind(Some((last.score(), last.bytes().into())));
        }
        frozen.has_more(end < self.tree.len())
    }

    /// See [`Object::thaw`](crate::types::Object::thaw).
    pub fn thaw(&mut self) -> Option<Thawed> {
        self.frozen.take()
    }

    /// Removes the elements of these ranks.
    pub fn remove(&mut self, ranks: Range<usize>) {
        let (table, frozen) = (&mut self.table, &mut self.frozen);
        self.tree.remove(ranks, |gone| {
            if let Some(frozen) = frozen.get_mut() {
                save(frozen, gone);
            }
            let word = gone.word();
            let place = table.find(hash(gone.bytes()), |other| other == word);
            table.remove(place.expect("the tree's members are the table's").0);
            // SAFETY: it was in the table, so it lives; now neither table nor tree has it.
            unsafe { gone.free() };
        });
    }

    /// How many elements stand before a point.
    #[inline]
    pub fn position(&self, point: &Point) -> usize {
        self.tree.position(point)
    }

    /// The elements of these ranks, which must exist.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        self.tree.range(ranks)
    }

    /// A step of SCAN: visits some elements and returns the next cursor, 0 at the end.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(Element<'a>)) -> u64 {
        self.table.scan(cursor, |word| visit(element(member(word))))
    }

    /// About how many bytes of memory it takes, judged by so many elements (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        let looked_at = if samples == 0 { self.len() } else { samples.min(self.len()) };
        let size = |word| allocated(member(word).size());
        let sum: usize = self.table.iter().take(looked_at).map(size).sum();
        let members = sum as u128 * self.len() as u128 / looked_at.max(1) as u128;
        members as usize + self.table.capacity() * size_of::<u64>() + self.tree.memory()
    }
}

#[cfg(test)]
impl Sorted {
    pub fn tree_memory(&self) -> usize {
        self.tree.memory()
    }

    /// Fails if anything is not as it must be.
    pub fn check(&self) {
        self.tree.check();
        assert_eq!(self.table.len(), self.tree.len());
    }
}

/// A member of a frozen set is about to change or to go away.
#[cold]
fn save(frozen: &mut Elements<Behind>, member: Member) {
    let is_ahead = frozen.position.is_ahead(member);
    let (bytes, bits) = (member.bytes(), member.score().to_bits());
    frozen.before_change(is_ahead, member.word(), (bytes, b""), bits);
}

/// What an element is to those who read it. Callers tie 'a to a borrow of the set.
#[inline]
pub fn element<'a>(member: Member) -> Element<'a> {
    (member.bytes(), member.score())
}

impl Clone for Sorted {
    fn clone(&self) -> Sorted {
        let mut copy = Sorted::new(self.is_listpack);
        for (bytes, score) in self.range(0..self.len()).map(element) {
            copy.insert(bytes, score);
        }
        copy
    }
}

impl Drop for Sorted {
    fn drop(&mut self) {
        // SAFETY: the table owns its words' members, and neither it nor the tree looks at one
        // again: draining compares nothing, and the tree's nodes have no destructor.
        while self.table.drain_some(|word| unsafe { member(word).free() }) {}
    }
}
