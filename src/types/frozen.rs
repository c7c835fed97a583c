//! Large values as they were at one moment, read piece by piece while they go on changing: what a
//! value remembers for that, and the form in which its pieces are handed over. Must not know who
//! reads them, nor why.
//!
//! A value is frozen by its owner, who gives it a [`Ticket`]. From then on its type keeps what a
//! change is about to destroy, unless that was read already: an element of a table or a sorted
//! set, a chunk of a list, a node of a stream, a block of a string. A value that is not frozen
//! pays one test for this where it changes. What was kept is forgotten as it is read, and all of
//! it when the value is thawed.

use super::Type;
use super::stream::{Entries, LogState, Pending, StreamId};
use crate::base::table::{Table, Walk};
use crate::types::packed::{push_varint, varint};
use std::any::Any;
use std::collections::VecDeque;

/// By which the owner of a frozen value knows it again.
pub type Ticket = u64;

/// What is known of a frozen value from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Type,
    /// Elements; bytes of a string, nodes of a stream.
    pub len: usize,
    /// When the first of a hash's fields expired, in milliseconds since 1970.
    pub first_field_time: Option<i64>,
}

impl Head {
    pub fn new(kind: Type, len: usize) -> Head {
        Head { kind, len, first_field_time: None }
    }
}

/// A piece of a frozen value. Those of a string, a list and a stream come in their order.
pub enum Piece<'a> {
    /// Bytes of a string.
    Bytes(&'a [u8]),
    /// An element of a list.
    Element(&'a [u8]),
    /// A member of a set.
    Member(super::set::Member<'a>),
    /// A member of a sorted set and its score.
    Scored(&'a [u8], f64),
    /// A field of a hash, its value and when it expires.
    Field(&'a [u8], &'a [u8], Option<i64>),
    /// A node of a stream: the first ID it has had, and its entries.
    Node(StreamId, Entries<'a>),
    /// Behind a stream's nodes: what else it knows, and how many groups follow.
    State(LogState, usize),
    Group(GroupHead<'a>),
    /// An entry that a group waits for to be acknowledged; so many as the group's head says.
    Pending(StreamId, Pending),
    /// Behind those: how many consumers follow.
    Consumers(usize),
    Consumer(ConsumerHead<'a>),
    /// One of the pending entries that the consumer has; so many as its head says.
    Owned(StreamId, Pending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHead<'a> {
    pub name: &'a [u8],
    pub last_id: StreamId,
    pub entries_read: Option<i64>,
    pub pending: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerHead<'a> {
    pub name: &'a [u8],
    pub seen_ms: i64,
    pub active_ms: Option<i64>,
    pub pending: usize,
}

/// Who takes the pieces.
pub type Visit<'v> = dyn FnMut(Piece<'_>) + 'v;

/// What a value remembers while it is frozen. A copy of the value is not frozen.
pub struct Memory<T>(Option<Box<T>>);

impl<T> Default for Memory<T> {
    fn default() -> Memory<T> {
        Memory(None)
    }
}

impl<T> Clone for Memory<T> {
    fn clone(&self) -> Memory<T> {
        Memory(None)
    }
}

/// What a value remembered until it was thawed, which may be much: to be freed where that may
/// take long.
pub type Thawed = Box<dyn Any + Send>;

impl<T: Send + 'static> Memory<T> {
    pub fn new(content: T) -> Memory<T> {
        Memory(Some(Box::new(content)))
    }

    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    #[inline]
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    pub fn take(&mut self) -> Option<Thawed> {
        self.0.take().map(|content| content as Thawed)
    }
}

/// What elements were, one behind the other: first in, first out.
#[derive(Default)]
struct Saved {
    /// None is empty.
    chunks: VecDeque<Vec<u8>>,
    /// Where the first chunk's rest begins.
    at: usize,
}

/// One block of memory holds so many bytes of elements, or one that is longer.
const SAVED_CHUNK: usize = 16 << 10;

impl Saved {
    fn push(&mut self, first: &[u8], second: &[u8], number: u64) {
        let size = first.len() + second.len() + 28;
        let chunk = match self.chunks.back_mut() {
            Some(last) if last.capacity() - last.len() >= size => last,
            _ => {
                self.chunks.push_back(Vec::with_capacity(size.max(SAVED_CHUNK)));
                self.chunks.back_mut().expect("one was pushed")
            }
        };
        push_varint(chunk, first.len());
        push_varint(chunk, second.len());
        chunk.extend_from_slice(&number.to_le_bytes());
        chunk.extend_from_slice(first);
        chunk.extend_from_slice(second);
    }

    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    fn pop(&mut self, visit: impl FnOnce(&[u8], &[u8], u64)) {
        let Some(chunk) = self.chunks.front() else { return };
        let mut at = self.at;
        let (first, second) = (varint(chunk, &mut at), varint(chunk, &mut at));
        let number = chunk[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        at += size_of::<u64>();
        let (middle, end) = (at + first, at + first + second);
        visit(&chunk[at..middle], &chunk[middle..end], number);
        self.at = end;
        if end == chunk.len() {
            self.chunks.pop_front();
            self.at = 0;
        }
    }
}

/// What a collection of elements remembers that come in any order. `Position` says which of them
/// were read; the others are ahead. An element is known by the word it is in a table.
///
/// What is to be read is what is saved, and the elements ahead but those to be skipped: they came
/// later, or are saved.
pub struct Elements<Position> {
    pub ticket: Ticket,
    pub head: Head,
    pub position: Position,
    /// How many of the elements were not read yet.
    left: usize,
    saved: Saved,
    skipped: Table,
}

fn hash_of_word(word: u64) -> u64 {
    let mixed = word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// An element as it was.
pub enum Found<'a> {
    /// As it was saved.
    Saved(&'a [u8], &'a [u8], u64),
    /// It is in its collection still, as this word.
    Word(u64),
}

impl<Position: Default> Elements<Position> {
    pub fn new(ticket: Ticket, head: Head) -> Elements<Position> {
        let (position, saved, skipped) = (Position::default(), Saved::default(), Table::new());
        Elements { ticket, head, position, left: head.len, saved, skipped }
    }
}

impl<Position> Elements<Position> {
    /// To be called before an element changes or goes away: if it is still to be read, it is saved
    /// as these bytes and this number.
    pub fn before_change(&mut self, is_ahead: bool, word: u64, bytes: (&[u8], &[u8]), number: u64) {
        if !self.forget_skipped(word) && is_ahead && self.left > 0 {
            self.saved.push(bytes.0, bytes.1, number);
        }
    }

    /// To be called when an element has come or changed.
    pub fn after_change(&mut self, is_ahead: bool, word: u64) {
        if is_ahead && self.left > 0 {
            self.skipped.insert(hash_of_word(word), word, hash_of_word);
        }
    }

    fn forget_skipped(&mut self, word: u64) -> bool {
        let found = self.skipped.find(hash_of_word(word), |other| other == word);
        found.inspect(|(place, _)| _ = self.skipped.remove(*place)).is_some()
    }

    /// Whether there are elements to be read: not if nothing is ahead, or saved.
    pub fn has_more(&self, is_ahead: bool) -> bool {
        debug_assert!(self.left == 0 || is_ahead || !self.saved.is_empty());
        self.left > 0 && (is_ahead || !self.saved.is_empty())
    }

    /// Hands over saved elements, at most so many; returns how many.
    pub fn read_saved(&mut self, most: usize, mut visit: impl FnMut(Found<'_>)) -> usize {
        let mut count = 0;
        while count < most && !self.saved.is_empty() {
            self.saved.pop(|first, second, number| visit(Found::Saved(first, second, number)));
            count += 1;
        }
        self.left = self.left.saturating_sub(count);
        count
    }

    /// Whether to read an element that the reader comes across: then it is read with that.
    pub fn reads(&mut self, word: u64) -> bool {
        let reads = self.skipped.is_empty() || !self.forget_skipped(word);
        self.left = self.left.saturating_sub(usize::from(reads));
        reads
    }
}

impl Elements<Walk> {
    /// Hands over some elements of a table, about so many; false if these were the last. `rehash`
    /// gives the hash of its words.
    pub fn read(
        &mut self,
        table: &Table,
        most: usize,
        rehash: impl Fn(u64) -> u64 + Copy,
        mut visit: impl FnMut(Found<'_>),
    ) -> bool {
        let mut count = self.read_saved(most, &mut visit);
        while count < most && self.left > 0 && !self.position.is_over() {
            // A position of its own, as it is compared with while it moves.
            let mut position = self.position;
            position.step(table, rehash, |word| {
                count += 1;
                if self.reads(word) {
                    visit(Found::Word(word));
                }
            });
            self.position = position;
            // A table that has become small has many segments' worth of nothing.
            count += 1;
        }
        self.has_more(!self.position.is_over())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_comes_back_in_its_order() {
        let mut saved = Saved::default();
        let (mut pushed, mut popped) = (0u64, 0u64);
        let text =
            |n: u64| vec![n as u8; (n * 37 % 900) as usize + (n % 50 / 49) as usize * 40_000];
        for round in 0..200u64 {
            for _ in 0..round % 7 {
                saved.push(&text(pushed), &text(pushed + 1), pushed);
                pushed += 1;
            }
            for _ in 0..round % 5 {
                if saved.is_empty() {
                    assert_eq!(popped, pushed);
                    break;
                }
                saved.pop(|first, second, number| {
                    assert_eq!(number, popped);
                    assert!(first == text(popped) && second == text(popped + 1));
                });
                popped += 1;
            }
        }
        assert!(popped > 200);
    }
}
