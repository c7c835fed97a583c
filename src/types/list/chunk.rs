//! A piece of a large list: packed elements in a buffer with room at both ends, or compressed.
//! Must not know its neighbours.

use super::limits::entry_size;
use super::packed::{self, Backward, Forward, Gap, Patch};
use crate::types::allocated;

/// A first buffer has so many bytes; it doubles as long as that is not too large.
const FIRST_CAPACITY: usize = 1024;
/// Less is not worth compressing, as in Redis.
const COMPRESS_FROM: usize = 48;
/// Nor is it where so little is gained.
const LEAST_GAIN: usize = 8;

/// Which end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

#[derive(Clone)]
enum Data {
    /// `buffer[start..end]` are packed elements.
    Plain { buffer: Box<[u8]>, start: usize, end: usize },
    /// They are `len` bytes when decompressed.
    Compressed { bytes: Box<[u8]>, len: usize },
}

#[derive(Clone)]
pub struct Chunk {
    data: Data,
    count: usize,
    /// Bytes its elements would take as entries of a listpack.
    entry_bytes: usize,
    /// Which of the chunks it was when the list was frozen, from 1; 0 if it has changed since. In
    /// a list that is not frozen it means nothing.
    pub number: u32,
}

impl Chunk {
    pub fn new() -> Chunk {
        let data = Data::Plain { buffer: Box::default(), start: 0, end: 0 };
        Chunk { data, count: 0, entry_bytes: 0, number: 0 }
    }

    /// Takes packed elements.
    pub fn from_packed(bytes: &[u8]) -> Chunk {
        let data = Data::Plain { buffer: bytes.into(), start: 0, end: bytes.len() };
        let (mut count, mut entry_bytes) = (0, 0);
        for element in Forward::new(bytes) {
            count += 1;
            entry_bytes += entry_size(element);
        }
        Chunk { data, count, entry_bytes, number: 0 }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes its elements would take as entries of a listpack.
    pub fn entry_bytes(&self) -> usize {
        self.entry_bytes
    }

    /// Bytes of its packed elements, compressed or not.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Plain { start, end, .. } => end - start,
            Data::Compressed { len, .. } => *len,
        }
    }

    /// Bytes of memory, this structure not counted.
    pub fn memory(&self) -> usize {
        match &self.data {
            Data::Plain { buffer, .. } => allocated(buffer.len()),
            Data::Compressed { bytes, .. } => allocated(bytes.len()),
        }
    }

    pub fn is_compressed(&self) -> bool {
        matches!(self.data, Data::Compressed { .. })
    }

    /// The packed elements; nothing if they are compressed.
    #[inline]
    pub fn plain(&self) -> &[u8] {
        match &self.data {
            Data::Plain { buffer, start, end } => &buffer[*start..*end],
            Data::Compressed { .. } => &[],
        }
    }

    /// The packed elements, decompressed into `scratch` if need be.
    #[inline]
    pub fn bytes<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        match &self.data {
            Data::Plain { buffer, start, end } => &buffer[*start..*end],
            Data::Compressed { bytes, len } => {
                scratch.resize(*len, 0);
                decompress(bytes, scratch);
                scratch
            }
        }
    }

    pub fn compress(&mut self) {
        let plain = self.plain();
        let len = plain.len();
        if len < COMPRESS_FROM {
            return;
        }
        let bytes = lz4_flex::block::compress(plain);
        if bytes.len() + LEAST_GAIN < len {
            self.data = Data::Compressed { bytes: bytes.into_boxed_slice(), len };
        }
    }

    pub fn decompress(&mut self) {
        if let Data::Compressed { bytes, len } = &self.data {
            let mut buffer = vec![0; *len].into_boxed_slice();
            decompress(bytes, &mut buffer);
            self.data = Data::Plain { buffer, start: 0, end: *len };
        }
    }

    /// Whether an element can be pushed at an end of this plain chunk, so that it does not become
    /// larger than `most` bytes and does not move its bytes too often.
    #[inline]
    pub fn takes(&self, end: End, element: &[u8], most: usize) -> bool {
        // At most; what its separator takes more now is bounded by what a longer one takes.
        let more = packed::size_alone(element);
        let Data::Plain { buffer, start, end: last } = &self.data else { return false };
        let room = match end {
            End::Front => *start,
            End::Back => buffer.len() - last,
        };
        let len = last - start;
        // One byte a separator where lengths are alike: let them fill the buffer up.
        let exact = if element.len() < 128 { element.len() + 1 } else { more };
        if self.count == 0 || len + exact <= most {
            return self.count == 0
                || room >= exact
                || buffer.len() < most
                || len + more <= buffer.len() / 2;
        }
        false
    }

    /// Bytes of an element of this plain chunk.
    pub fn element_len(&self, index: usize) -> usize {
        packed::get(self.plain(), index, self.count).len()
    }

    #[inline]
    pub fn push(&mut self, end: End, element: &[u8], most: usize) {
        let index = match end {
            End::Front => 0,
            End::Back => self.count,
        };
        self.replace(index, 0, Some(element), most);
    }

    /// Replaces the elements from `index` on, `remove` of them, by one or none. The chunk must be
    /// plain. `most` is what its buffer may grow to without need.
    pub fn replace(&mut self, index: usize, remove: usize, element: Option<&[u8]>, most: usize) {
        let bytes = self.plain();
        let first = packed::gap(bytes, index, self.count);
        let mut last = first;
        let mut entry_bytes = self.entry_bytes;
        if remove * 2 > self.count {
            // Those that stay are fewer.
            last = packed::gap(bytes, index + remove, self.count);
            entry_bytes = entries(Forward::new(bytes).take(index))
                + entries(Backward::new(bytes).take(self.count - index - remove));
        } else {
            for _ in 0..remove {
                let next = packed::next_gap(bytes, last);
                entry_bytes -= entry_size(&bytes[last.end()..next.at]);
                last = next;
            }
        }
        self.patch(first, last, element, most);
        self.count = self.count - remove + usize::from(element.is_some());
        self.entry_bytes = entry_bytes + element.map_or(0, entry_size);
    }

    fn patch(&mut self, first: Gap, last: Gap, element: Option<&[u8]>, most: usize) {
        let patch = Patch::new(first, last, element, self.len());
        let size = patch.size();
        let at = first.at;
        self.splice(at, last.end() - at, size, most);
        let Data::Plain { buffer, start, .. } = &mut self.data else { return };
        patch.write(&mut buffer[*start + at..*start + at + size]);
    }

    /// Replaces `remove` bytes at `at` by `insert` ones that hold anything. Moves the shorter side.
    fn splice(&mut self, at: usize, remove: usize, insert: usize, most: usize) {
        let Data::Plain { buffer, start, end } = &self.data else { return };
        let (head, tail) = (at, end - start - at - remove);
        if insert > remove {
            let more = insert - remove;
            let side = if head < tail { End::Front } else { End::Back };
            let room = match side {
                End::Front => *start,
                End::Back => buffer.len() - end,
            };
            if room < more {
                self.make_room(side, more, most);
            }
        }
        let Data::Plain { buffer, start, end } = &mut self.data else { return };
        if head < tail {
            let new_start = *start + remove - insert;
            buffer.copy_within(*start..*start + head, new_start);
            *start = new_start;
        } else {
            buffer.copy_within(*end - tail..*end, *start + head + insert);
            *end = *start + head + insert + tail;
        }
        if insert < remove {
            self.shrink();
        }
    }

    /// Has room for `more` bytes at one end.
    #[cold]
    fn make_room(&mut self, side: End, more: usize, most: usize) {
        let Data::Plain { buffer, start, end } = &mut self.data else { return };
        let (len, capacity) = (*end - *start, buffer.len());
        let free = capacity - len;
        if free >= more && free >= capacity / 2 {
            // Half at each end, so that pushing at both by turns does not move all each time.
            let before = match side {
                End::Front => (free / 2).max(more),
                End::Back => (free / 2).min(free - more),
            };
            buffer.copy_within(*start..*end, before);
            (*start, *end) = (before, before + len);
            return;
        }
        let wanted = (capacity * 2).max(FIRST_CAPACITY).min(most);
        let capacity = wanted.max(len + more);
        let before = match side {
            End::Front => capacity - len,
            End::Back => 0,
        };
        self.reallocate(capacity, before);
    }

    fn reallocate(&mut self, capacity: usize, before: usize) {
        let Data::Plain { buffer, start, end } = &mut self.data else { return };
        let mut new = Vec::with_capacity(capacity);
        new.resize(before, 0);
        new.extend_from_slice(&buffer[*start..*end]);
        (*start, *end) = (before, new.len());
        new.resize(capacity, 0);
        *buffer = new.into_boxed_slice();
    }

    /// Gives memory back where most of the buffer is unused.
    #[inline]
    fn shrink(&mut self) {
        let Data::Plain { buffer, start, end } = &self.data else { return };
        let (len, capacity) = (end - start, buffer.len());
        if capacity > FIRST_CAPACITY && len < capacity / 4 {
            let capacity = (len * 2).max(FIRST_CAPACITY);
            self.reallocate(capacity, (capacity - len) / 2);
        }
    }

    /// It will not be pushed at soon: gives back memory that is worth it.
    pub fn seal(&mut self) {
        if let Data::Plain { buffer, start, end } = &self.data
            && buffer.len() - (end - start) > buffer.len() / 8
        {
            self.reallocate(end - start, 0);
        }
    }

    /// Takes away the elements from `index` on, as a chunk of their own. Both have no room.
    pub fn split_off(&mut self, index: usize) -> Chunk {
        let (head, tail) = {
            let bytes = self.plain();
            let mut walk = Forward::new(bytes);
            (packed::pack(walk.by_ref().take(index)), packed::pack(walk))
        };
        *self = Chunk::from_packed(&head);
        Chunk::from_packed(&tail)
    }

    /// Appends what another plain chunk has.
    pub fn append(&mut self, other: &Chunk) {
        let elements = Forward::new(self.plain()).chain(Forward::new(other.plain()));
        let bytes = packed::pack(elements);
        let (count, entry_bytes) = (self.count + other.count, self.entry_bytes + other.entry_bytes);
        let len = bytes.len();
        let data = Data::Plain { buffer: bytes.into_boxed_slice(), start: 0, end: len };
        *self = Chunk { data, count, entry_bytes, number: 0 };
    }

    /// Keeps those elements of a plain chunk that `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let kept = packed::pack(Forward::new(self.plain()).filter(|element| keep(element)));
        *self = Chunk::from_packed(&kept);
    }
}

fn entries<'a>(elements: impl Iterator<Item = &'a [u8]>) -> usize {
    elements.map(entry_size).sum()
}

fn decompress(bytes: &[u8], out: &mut [u8]) {
    // They are as this process compressed them.
    let len = lz4_flex::block::decompress_into(bytes, out).expect("a compressed chunk");
    assert_eq!(len, out.len());
}
