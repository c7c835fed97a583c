//! A large list: a deque of chunks. Each has as many bytes or elements as the [`Limits`] say; a
//! larger element has a chunk of its own.

use super::chunk::{Chunk, End};
use super::frozen::Frozen;
use super::limits::{LISTPACK_EMPTY, Limits};
use super::packed::{self, Backward, Forward};
use crate::types::frozen::{Head, Memory, Thawed, Ticket, Visit};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Freeing looks at so many chunks to tell how long it will take.
const LOOK_AT: usize = 64;

#[derive(Clone)]
pub struct Chunks {
    /// None is empty.
    chunks: VecDeque<Chunk>,
    /// Elements in all of them.
    count: usize,
    /// Chunks at each end that are not compressed; 0 for all.
    depth: usize,
    /// Whether Redis would call it a quicklist.
    is_quicklist: bool,
    frozen: Memory<Frozen>,
}

/// An element's chunk, and its index there.
#[derive(Clone, Copy)]
struct Place {
    chunk: usize,
    index: usize,
}

impl Chunks {
    pub fn new(is_quicklist: bool, limits: &Limits) -> Chunks {
        let depth = usize::try_from(limits.depth).unwrap_or(usize::MAX);
        let (chunks, frozen) = (VecDeque::new(), Memory::default());
        Chunks { chunks, count: 0, depth, is_quicklist, frozen }
    }

    /// Takes packed elements as the first chunk of an empty list.
    pub fn set_packed(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.chunks.push_back(Chunk::from_packed(bytes));
            self.count += self.chunks[0].count();
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn is_quicklist(&self) -> bool {
        self.is_quicklist
    }

    pub fn make_quicklist(&mut self) {
        self.is_quicklist = true;
    }

    /// Bytes of a listpack of all its elements.
    pub fn listpack_bytes(&self) -> usize {
        LISTPACK_EMPTY + self.chunks.iter().map(Chunk::entry_bytes).sum::<usize>()
    }

    /// Elements are about to be added: it may no longer be a listpack.
    pub fn note_growth(&mut self, bytes: usize, elements: usize, limits: &Limits) {
        self.is_quicklist = self.is_quicklist
            || limits.exceeded_by(self.listpack_bytes() + bytes, self.count + elements);
    }

    /// Elements were removed: it may be a listpack again.
    pub fn note_shrinking(&mut self, limits: &Limits) {
        if self.is_quicklist && self.chunks.len() == 1 {
            let bytes = self.listpack_bytes();
            self.is_quicklist = !limits.suits_again(bytes, self.count);
        }
    }

    /// The packed elements, if they are in one chunk of at most so many bytes.
    pub fn packed_within(&self, most: usize) -> Option<&[u8]> {
        match self.chunks.len() {
            1 if self.chunks[0].len() <= most => Some(self.chunks[0].plain()),
            _ => None,
        }
    }

    /// About how many allocations freeing this takes.
    pub fn free_effort(&self) -> usize {
        let pages = self.chunks.iter().take(LOOK_AT).map(|chunk| chunk.memory() / 4096);
        self.chunks.len() + pages.sum::<usize>()
    }

    /// Bytes of memory, judged by so many of its elements (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        let slots = self.chunks.capacity() * size_of::<Chunk>();
        let per_chunk = (self.count / self.chunks.len().max(1)).max(1);
        let look_at = match samples {
            0 => self.chunks.len(),
            _ => samples.div_ceil(per_chunk).min(self.chunks.len()),
        };
        // Those at the ends are not like the others.
        let skip = (self.chunks.len() - look_at) / 2;
        let seen: usize = self.chunks.iter().skip(skip).take(look_at).map(Chunk::memory).sum();
        let all = seen as u128 * self.chunks.len() as u128 / look_at.max(1) as u128;
        slots + all as usize
    }

    /// Where an element is. Counts from the nearer end. The index must be less than the length.
    fn locate(&self, index: usize) -> Place {
        if index <= self.count / 2 {
            let mut left = index;
            for (chunk, piece) in self.chunks.iter().enumerate() {
                if left < piece.count() {
                    return Place { chunk, index: left };
                }
                left -= piece.count();
            }
        } else {
            let mut left = self.count - index;
            for (chunk, piece) in self.chunks.iter().enumerate().rev() {
                if left <= piece.count() {
                    return Place { chunk, index: piece.count() - left };
                }
                left -= piece.count();
            }
        }
        unreachable!("an index beyond the end of a list")
    }

    /// Hands elements to `visit` until it breaks: from `index` on, towards the back or the front.
    pub fn visit(
        &self,
        index: usize,
        towards: End,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) {
        if index >= self.count {
            return;
        }
        let Place { mut chunk, index } = self.locate(index);
        let mut scratch = Vec::new();
        let mut skip = match towards {
            End::Back => index,
            End::Front => self.chunks[chunk].count() - 1 - index,
        };
        while let Some(piece) = self.chunks.get(chunk) {
            let bytes = piece.bytes(&mut scratch);
            let flow = match towards {
                End::Back => Forward::from(bytes, skip, piece.count()).try_for_each(&mut visit),
                End::Front => Backward::from(bytes, skip, piece.count()).try_for_each(&mut visit),
            };
            if flow.is_break() {
                return;
            }
            skip = 0;
            chunk = match towards {
                End::Back => chunk + 1,
                End::Front => chunk.wrapping_sub(1),
            };
        }
    }

    pub fn push(&mut self, end: End, element: &[u8], limits: &Limits) {
        let most = limits.bytes();
        let last = match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        };
        self.count += 1;
        if let Some(chunk) = last
            && chunk.count() < limits.elements()
            && chunk.takes(end, element, most)
        {
            if let Some(frozen) = self.frozen.get_mut() {
                frozen.keep_copy(chunk);
            }
            chunk.push(end, element, most);
            return;
        }
        self.push_chunk(end, element, most);
    }

    #[cold]
    fn push_chunk(&mut self, end: End, element: &[u8], most: usize) {
        let mut chunk = Chunk::new();
        chunk.push(end, element, most);
        if self.chunks.len() > 1 {
            // The first of all is still pushed at, from the other side.
            let former = match end {
                End::Front => &mut self.chunks[0],
                End::Back => self.chunks.back_mut().expect("more than one"),
            };
            former.seal();
        }
        match end {
            End::Front => self.chunks.push_front(chunk),
            End::Back => self.chunks.push_back(chunk),
        }
        self.settle();
    }

    /// Inserts an element before the one with this index, which must be there.
    pub fn insert(&mut self, index: usize, element: &[u8], limits: &Limits) {
        let most = limits.bytes();
        let Place { chunk, index } = self.locate(index);
        self.count += 1;
        let fits = |chunk: &Chunk| {
            chunk.count() < limits.elements() && chunk.len() + packed::size_alone(element) <= most
        };
        if fits(&self.chunks[chunk]) {
            self.open(chunk).replace(index, 0, Some(element), most);
            self.close(chunk);
        } else if index == 0 && chunk > 0 && fits(&self.chunks[chunk - 1]) {
            self.open(chunk - 1).push(End::Back, element, most);
            self.close(chunk - 1);
        } else {
            self.insert_splitting(Place { chunk, index }, element, limits);
        }
    }

    /// Inserts an element in a chunk of its own, between what was before and behind it.
    fn insert_splitting(&mut self, place: Place, element: &[u8], limits: &Limits) {
        let most = limits.bytes();
        let mut at = place.chunk;
        if place.index > 0 {
            let tail = self.open(at).split_off(place.index);
            self.chunks.insert(at + 1, tail);
            at += 1;
        }
        let mut alone = Chunk::new();
        alone.push(End::Back, element, most);
        self.chunks.insert(at, alone);
        self.tidy_around(at, limits);
    }

    /// Replaces the element with this index, which must be there.
    pub fn set(&mut self, index: usize, element: &[u8], limits: &Limits) {
        let most = limits.bytes();
        let Place { chunk, index } = self.locate(index);
        let piece = self.open(chunk);
        let others = piece.len().saturating_sub(piece.element_len(index));
        let count = piece.count();
        if count == 1 || others + packed::size_alone(element) <= most {
            piece.replace(index, 1, Some(element), most);
            self.tidy_around(chunk, limits);
            return;
        }
        // It would become too large: what was before and behind the old element parts.
        piece.replace(index, 1, None, most);
        if index + 1 < count {
            self.insert_splitting(Place { chunk, index }, element, limits);
        } else {
            self.insert_splitting(Place { chunk: chunk + 1, index: 0 }, element, limits);
        }
    }

    /// Removes elements from `index` on, at least one; they must be there. Returns chunks that are
    /// no longer needed, to be freed elsewhere, if they are many.
    pub fn remove(&mut self, index: usize, count: usize, limits: &Limits) -> Option<Chunks> {
        let most = limits.bytes();
        let before = self.chunks.len();
        let Place { chunk: first, index: skip } = self.locate(index);
        self.count -= count;
        let mut left = count;
        let mut chunk = first;
        if skip > 0 {
            let part = left.min(self.chunks[chunk].count() - skip);
            self.open(chunk).replace(skip, part, None, most);
            left -= part;
            chunk += 1;
        }
        let whole = chunk;
        while left > 0 && self.chunks[chunk].count() <= left {
            left -= self.chunks[chunk].count();
            chunk += 1;
        }
        if left > 0 {
            self.open(chunk).replace(0, left, None, most);
        }
        let is_inner = index > 0 && index < self.count;
        let removed = self.remove_chunks(whole, chunk);
        if is_inner {
            self.tidy_around(first, limits);
        } else if self.chunks.len() != before {
            self.settle();
        }
        removed
    }

    fn remove_chunks(&mut self, from: usize, to: usize) -> Option<Chunks> {
        if let Some(frozen) = self.frozen.get_mut() {
            self.chunks.range_mut(from..to).for_each(|chunk| frozen.keep(chunk));
        }
        let removed = self.chunks.drain(from..to);
        if to - from <= LOOK_AT {
            return None;
        }
        let chunks: VecDeque<Chunk> = removed.collect();
        // A queue that was long once should not remember that for ever.
        if self.chunks.capacity() / 4 > self.chunks.len() {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        let frozen = Memory::default();
        Some(Chunks { chunks, count: 0, depth: 0, is_quicklist: true, frozen })
    }

    /// The chunk that is so many steps away from an end.
    fn nth_from(&self, end: End, steps: usize) -> usize {
        match end {
            End::Front => steps,
            End::Back => self.chunks.len() - 1 - steps,
        }
    }

    /// How many chunks from an end there is none with an element equal to this one; none if there
    /// is no such element.
    pub fn first_with(&self, element: &[u8], from: End) -> Option<usize> {
        let mut scratch = Vec::new();
        (0..self.chunks.len()).find(|&steps| {
            let bytes = self.chunks[self.nth_from(from, steps)].bytes(&mut scratch);
            Forward::new(bytes).any(|other| other == element)
        })
    }

    /// Removes up to `most_matches` elements that are equal to this one, beginning behind `skip`
    /// chunks from an end, as [`Chunks::first_with`] has told. Returns how many.
    pub fn remove_equal(
        &mut self,
        element: &[u8],
        most_matches: usize,
        skip: usize,
        from: End,
        limits: &Limits,
    ) -> usize {
        let mut removed = 0;
        let mut scratch = Vec::new();
        for steps in skip..self.chunks.len() {
            let chunk = self.nth_from(from, steps);
            let bytes = self.chunks[chunk].bytes(&mut scratch);
            let matches = Forward::new(bytes).filter(|other| *other == element).count();
            let part = matches.min(most_matches - removed);
            if part > 0 {
                // From the back, the first ones of a chunk stay.
                let mut stay = if from == End::Back { matches - part } else { 0 };
                let mut remove = part;
                self.open(chunk).retain(|other| {
                    if other != element || remove == 0 {
                        return true;
                    }
                    let stays = stay > 0;
                    stay -= usize::from(stays);
                    remove -= usize::from(!stays);
                    stays
                });
                self.close(chunk);
                removed += part;
            }
            if removed == most_matches {
                break;
            }
        }
        if removed > 0 {
            self.count -= removed;
            self.chunks.retain(|chunk| chunk.count() > 0);
            self.merge_all(limits);
            self.settle();
            (0..self.chunks.len()).for_each(|chunk| self.close(chunk));
        }
        removed
    }

    // -----------------------------------------------------------------------------------------
    // As it was at one moment.

    /// See [`Object::freeze`](crate::types::Object::freeze).
    pub fn freeze(&mut self, ticket: Ticket) {
        (1..).zip(&mut self.chunks).for_each(|(number, chunk)| chunk.number = number);
        self.frozen = Memory::new(Frozen::new(ticket, self.count, self.chunks.len()));
    }

    pub fn frozen(&self) -> Option<(Ticket, Head)> {
        self.frozen.get().map(Frozen::head)
    }

    /// See [`Object::read_frozen`](crate::types::Object::read_frozen).
    pub fn read_frozen(&mut self, most: usize, visit: &mut Visit<'_>) -> bool {
        match self.frozen.get_mut() {
            Some(frozen) => frozen.read(&self.chunks, most, visit),
            None => false,
        }
    }

    /// See [`Object::thaw`](crate::types::Object::thaw).
    pub fn thaw(&mut self) -> Option<Thawed> {
        self.frozen.take()
    }

    // -----------------------------------------------------------------------------------------
    // Chunks that are too small.

    /// Whether a chunk can take its right neighbour, and both are so small that they should be one.
    fn should_merge(&self, left: usize, limits: &Limits) -> bool {
        let (Some(a), Some(b)) = (self.chunks.get(left), self.chunks.get(left + 1)) else {
            return false;
        };
        a.len() + b.len() <= limits.bytes() / 2 && a.count() + b.count() <= limits.elements()
    }

    fn merge(&mut self, left: usize) {
        self.open(left);
        if let Some(mut right) = self.chunks.remove(left + 1) {
            right.decompress();
            self.chunks[left].append(&right);
            if let Some(frozen) = self.frozen.get_mut() {
                frozen.keep(&mut right);
            }
        }
    }

    /// A chunk within the list, or a neighbour of it, was changed or split: merges those that are
    /// small, and compresses what is to be compressed.
    fn tidy_around(&mut self, chunk: usize, limits: &Limits) {
        let first = chunk.saturating_sub(2);
        for left in (first..=chunk + 1).rev() {
            if self.should_merge(left, limits) {
                self.merge(left);
            }
        }
        self.settle();
        for near in first..=chunk + 2 {
            if near < self.chunks.len() {
                self.close(near);
            }
        }
    }

    /// The same for all: removes in one pass the chunks that their left neighbours can take.
    fn merge_all(&mut self, limits: &Limits) {
        let mut merged: VecDeque<Chunk> = VecDeque::with_capacity(self.chunks.len());
        for mut chunk in std::mem::take(&mut self.chunks) {
            if let Some(last) = merged.back_mut()
                && last.len() + chunk.len() <= limits.bytes() / 2
                && last.count() + chunk.count() <= limits.elements()
            {
                last.decompress();
                chunk.decompress();
                if let Some(frozen) = self.frozen.get_mut() {
                    frozen.keep_copy(last);
                }
                last.append(&chunk);
                if let Some(frozen) = self.frozen.get_mut() {
                    frozen.keep(&mut chunk);
                }
            } else {
                merged.push_back(chunk);
            }
        }
        self.chunks = merged;
    }

    // -----------------------------------------------------------------------------------------
    // Compression.

    fn is_inner(&self, chunk: usize) -> bool {
        self.depth > 0 && chunk >= self.depth && self.chunks.len() - chunk > self.depth
    }

    /// A chunk to be changed.
    fn open(&mut self, chunk: usize) -> &mut Chunk {
        let chunk = &mut self.chunks[chunk];
        if let Some(frozen) = self.frozen.get_mut() {
            frozen.keep_copy(chunk);
        }
        chunk.decompress();
        chunk
    }

    /// A chunk was changed.
    fn close(&mut self, chunk: usize) {
        if self.is_inner(chunk) && !self.chunks[chunk].is_compressed() {
            self.chunks[chunk].compress();
        }
    }

    /// Chunks have come or gone: others are the outer and the inner ones now.
    fn settle(&mut self) {
        if self.depth == 0 {
            return;
        }
        let len = self.chunks.len();
        let outer = self.depth.min(len);
        for chunk in (0..outer).chain(len - outer..len) {
            self.chunks[chunk].decompress();
        }
        // Pushing has moved one inwards, splitting up to two.
        for chunk in self.depth..len.min(self.depth.saturating_add(3)) {
            self.close(chunk);
            self.close(len - 1 - chunk);
        }
    }

    #[cfg(test)]
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// What must always be so.
    #[cfg(test)]
    pub fn check(&self) {
        let counts = self.chunks.iter().map(Chunk::count);
        assert!(self.chunks.iter().all(|chunk| chunk.count() > 0));
        assert_eq!(counts.sum::<usize>(), self.count);
        let mut scratch = Vec::new();
        for (at, chunk) in self.chunks.iter().enumerate() {
            let bytes = chunk.bytes(&mut scratch);
            let fresh = Chunk::from_packed(bytes);
            assert_eq!(fresh.count(), chunk.count());
            assert_eq!(fresh.entry_bytes(), chunk.entry_bytes());
            if !self.is_inner(at) {
                assert!(!chunk.is_compressed(), "chunk {at} of {}", self.chunks.len());
            } else if !chunk.is_compressed() {
                // Only as nothing would be gained.
                let mut chunk = chunk.clone();
                chunk.compress();
                assert!(!chunk.is_compressed(), "chunk {at} of {}", self.chunks.len());
            }
        }
    }
}
