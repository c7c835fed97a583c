//! What a large list remembers of the moment it was frozen: the chunks that have changed since,
//! and how many of its chunks were read.

use super::chunk::Chunk;
use super::packed::Forward;
use crate::types::Type;
use crate::types::frozen::{Head, Piece, Ticket, Visit};
use std::collections::{BTreeMap, VecDeque};

pub struct Frozen {
    ticket: Ticket,
    head: Head,
    /// The number of the chunk to be read next.
    next: u32,
    last: u32,
    /// Those that have changed or gone, by their numbers.
    kept: BTreeMap<u32, Chunk>,
    /// Where the next one is in the list, or not far from there.
    near: usize,
}

impl Frozen {
    /// The chunks must have been numbered.
    pub fn new(ticket: Ticket, elements: usize, chunks: usize) -> Frozen {
        let head = Head::new(Type::List, elements);
        // More would take more memory than there is.
        let last = u32::try_from(chunks).unwrap_or(u32::MAX);
        Frozen { ticket, head, next: 1, last, kept: BTreeMap::new(), near: 0 }
    }

    pub fn head(&self) -> (Ticket, Head) {
        (self.ticket, self.head)
    }

    /// To be called before the elements of a chunk change.
    #[cold]
    pub fn keep_copy(&mut self, chunk: &mut Chunk) {
        if chunk.number >= self.next {
            self.kept.insert(chunk.number, chunk.clone());
        }
        chunk.number = 0;
    }

    /// To be called with a chunk that is no longer needed: it may be gone afterwards.
    pub fn keep(&mut self, chunk: &mut Chunk) {
        if chunk.number >= self.next {
            let number = chunk.number;
            self.kept.insert(number, std::mem::replace(chunk, Chunk::new()));
        }
    }

    /// Hands over elements, about so many; false if these were the last.
    pub fn read(&mut self, chunks: &VecDeque<Chunk>, most: usize, visit: &mut Visit<'_>) -> bool {
        let (mut count, mut scratch) = (0, Vec::new());
        while count < most && self.next <= self.last {
            let kept = self.kept.remove(&self.next);
            let Some(chunk) = kept.as_ref().or_else(|| self.find_next(chunks)) else {
                debug_assert!(false, "a chunk is missing");
                return false;
            };
            let elements = Forward::new(chunk.bytes(&mut scratch));
            elements.for_each(|element| visit(Piece::Element(element)));
            count += chunk.count();
            self.next += 1;
        }
        self.next <= self.last
    }

    /// The next chunk, which has not changed. Chunks before it may have come and gone.
    fn find_next<'c>(&mut self, chunks: &'c VecDeque<Chunk>) -> Option<&'c Chunk> {
        let is_next = |at: &usize| chunks.get(*at).is_some_and(|chunk| chunk.number == self.next);
        let near = self.near.min(chunks.len());
        let around = (0..chunks.len()).flat_map(|by| [Some(near + by), near.checked_sub(by)]);
        let at = around.flatten().find(is_next)?;
        self.near = at + 1;
        chunks.get(at)
    }
}
