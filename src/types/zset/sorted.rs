//! A large sorted set: a hash table that finds members, and a tree that keeps their order. Both
//! point to the same blocks, which belong to the table.
#![allow(unsafe_code)]

use super::Element;
use super::member::Member;
use super::order::Point;
use super::tree::{Iter, Tree};
use crate::base::hash::Seed;
use crate::base::table::{Ahead, Place, Table};
use crate::types::allocated;
use std::ops::Range;

pub struct Sorted {
    /// Each word is a member that only this set owns; the tree has the same ones.
    table: Table,
    tree: Tree,
    /// It is too large for a record, but still what OBJECT ENCODING calls a listpack.
    pub is_listpack: bool,
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
        Sorted { table: Table::new(), tree: Tree::new(), is_listpack }
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
    }

    pub fn set_score(&mut self, place: Place, score: f64) {
        self.tree.rescore(member(self.table.get(place)), score);
    }

    /// Removes the elements of these ranks.
    pub fn remove(&mut self, ranks: Range<usize>) {
        let table = &mut self.table;
        self.tree.remove(ranks, |gone| {
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
