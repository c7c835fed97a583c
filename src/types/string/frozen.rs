//! A long string that was frozen: its bytes, and blocks of them as they were.

use crate::types::Type;
use crate::types::frozen::{Head, Piece, Ticket, Visit};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes that are kept, and read, at a time.
const BLOCK: usize = if cfg!(test) { 8 } else { 64 << 10 };

pub struct Frozen {
    ticket: Ticket,
    bytes: Vec<u8>,
    /// How many there were.
    len: usize,
    /// The block to be read next.
    next: usize,
    /// Blocks that have changed, by their numbers.
    kept: BTreeMap<usize, Box<[u8]>>,
}

impl Frozen {
    pub fn new(ticket: Ticket, bytes: Vec<u8>) -> Frozen {
        let len = bytes.len();
        Frozen { ticket, bytes, len, next: 0, kept: BTreeMap::new() }
    }

    pub fn head(&self) -> (Ticket, Head) {
        (self.ticket, Head::new(Type::String, self.len))
    }

    /// The bytes as they are now.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// What becomes of the string when it is no longer frozen, and what is not needed any more.
    pub fn into_parts(self) -> (Vec<u8>, BTreeMap<usize, Box<[u8]>>) {
        (self.bytes, self.kept)
    }

    fn block(&self, number: usize) -> Range<usize> {
        number * BLOCK..self.len.min((number + 1) * BLOCK)
    }

    /// The bytes as they are now, of which only these are to be changed; new ones may be added.
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut Vec<u8> {
        let end = range.end.min(self.len).div_ceil(BLOCK);
        for number in (range.start / BLOCK).max(self.next)..end {
            if !self.kept.contains_key(&number) {
                self.kept.insert(number, self.bytes[self.block(number)].into());
            }
        }
        &mut self.bytes
    }

    /// Hands over the next block; false if it was the last.
    pub fn read(&mut self, visit: &mut Visit<'_>) -> bool {
        let block = self.block(self.next);
        if block.is_empty() {
            return false;
        }
        let more = block.end < self.len;
        match self.kept.remove(&self.next) {
            Some(bytes) => visit(Piece::Bytes(&bytes)),
            None => visit(Piece::Bytes(&self.bytes[block])),
        }
        self.next += 1;
        more
    }
}
