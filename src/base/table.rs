//! A hash table of 48-bit words that never stalls: growing and shrinking cost a bounded piece of
//! work per insertion or removal, however large the table is.
//!
//! It knows nothing of what the words mean (usually they are pointers to records): the owner
//! compares, hashes and frees them. That keeps this file free of `unsafe`, but for a prefetch.
//!
//! ```text
//! hash   [ tag: 16 bits | ............ | segment: low bits ]
//!
//! segments  0 1 2 3 | 4 5        linear hashing: one segment at a time is split or merged
//!                                (Litwin 1980), so there is no directory and no doubling
//! segment   [block][block]...    a few to about a hundred lines in blocks of eight; the tag times
//!                                the number of lines says which line is home, so re-sizing a
//!                                segment needs no hash, only the words themselves. All blocks
//!                                have one size, so growing and shrinking leave no holes behind
//! line      8 words of 64 bits   [ tag 16 | word 48 ]; a full line spills into the next one
//! ```
//!
//! An entry whose home line is full lies in the first following line with room, so every line
//! between its home and itself is full: a search ends at the first line that is not. Removal
//! restores that rule by moving spilled entries back.

use super::prefetch;
use super::rng::Rng;

/// Words must be non-zero and below this bound.
pub const WORD_LIMIT: u64 = 1 << 48;
const WORD_MASK: u64 = WORD_LIMIT - 1;
const SLOTS: usize = 8;
/// Entries a line may hold on average before its segment grows: 7 of 8.
const LOAD: usize = 7;
/// Average entries a segment: more makes splits longer, fewer makes more segments.
const SEGMENT_ENTRIES: usize = 400;
/// Average entries a segment while more of them are expected: one block of them. A segment is split
/// at less cost while there is little in it.
const EARLY_ENTRIES: usize = BLOCK * LOAD;
/// Segments are kept in chunks, so that no array of them is ever copied whole.
const CHUNK: usize = 1024;

/// As long as a cache line, and aligned as one: a look-up touches no second line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; SLOTS]);

const EMPTY_LINE: Line = Line([0; SLOTS]);

impl Line {
    fn free_slot(&self) -> Option<usize> {
        self.0.iter().position(|&w| w == 0)
    }

    fn is_full(&self) -> bool {
        self.0.iter().all(|&w| w != 0)
    }

    /// The slots whose entry has this tag, as bits. Without a branch for each slot, as nobody can
    /// predict which one it is.
    #[inline]
    fn tagged(&self, tag: u64) -> u32 {
        let slots = self.0.iter().enumerate();
        slots.fold(0, |bits, (slot, e)| bits | u32::from(e >> 48 == tag) << slot)
    }
}

/// Never 0, so that no tag is an empty slot's.
#[inline]
fn tag_of(hash: u64) -> u64 {
    (hash >> 48).max(1)
}

fn entry(tag: u64, word: u64) -> u64 {
    debug_assert!(word != 0 && word < WORD_LIMIT);
    tag << 48 | word
}

/// Where an entry is. Valid until the table is changed by anything but `replace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    segment: u32,
    line: u16,
    slot: u16,
}

/// Lines a block has. The first block of a small table is shorter.
const BLOCK: usize = 8;

/// Aligned to its size: a look-up reads one cache line of it.
#[derive(Default)]
#[repr(align(32))]
struct Segment {
    blocks: Vec<Box<[Line]>>,
    len: usize,
}

/// The next size of a segment, in lines.
fn grown(lines: usize) -> usize {
    if lines < BLOCK { (lines * 2).max(1) } else { lines + BLOCK }
}

fn lines_for(entries: usize) -> usize {
    match entries.div_ceil(LOAD) {
        few @ 0..BLOCK => few.next_power_of_two(),
        many => many.next_multiple_of(BLOCK),
    }
}

impl Segment {
    fn with_lines(lines: usize) -> Segment {
        let mut segment = Segment::default();
        segment.set_lines(lines);
        segment
    }

    /// Makes room for so many lines. Lines that stay keep their entries, not their meaning.
    fn set_lines(&mut self, lines: usize) {
        debug_assert!(lines < BLOCK || lines.is_multiple_of(BLOCK));
        if lines < BLOCK || self.lines() < BLOCK {
            self.blocks.clear();
        }
        let blocks = lines.div_ceil(BLOCK);
        self.blocks.truncate(blocks);
        while self.blocks.len() < blocks {
            self.blocks.push(vec![EMPTY_LINE; lines.min(BLOCK)].into_boxed_slice());
        }
    }

    #[inline]
    fn lines(&self) -> usize {
        match self.blocks.as_slice() {
            [first] => first.len(),
            blocks => blocks.len() * BLOCK,
        }
    }

    #[inline]
    fn line(&self, at: usize) -> &Line {
        &self.blocks[at / BLOCK][at % BLOCK]
    }

    #[inline]
    fn line_mut(&mut self, at: usize) -> &mut Line {
        &mut self.blocks[at / BLOCK][at % BLOCK]
    }

    #[inline]
    fn home(&self, tag: u64) -> usize {
        (tag as usize * self.lines()) >> 16
    }

    #[inline]
    fn next(&self, line: usize) -> usize {
        if line + 1 == self.lines() { 0 } else { line + 1 }
    }

    fn put(&mut self, entry: u64) -> (usize, usize) {
        let mut at = self.home(entry >> 48);
        loop {
            if let Some(slot) = self.line(at).free_slot() {
                self.line_mut(at).0[slot] = entry;
                self.len += 1;
                return (at, slot);
            }
            at = self.next(at);
        }
    }

    fn resize(&mut self, lines: usize) {
        let entries: Vec<u64> = self.entries().collect();
        self.blocks.iter_mut().for_each(|block| block.fill(EMPTY_LINE));
        self.set_lines(lines);
        self.len = 0;
        for entry in entries {
            self.put(entry);
        }
    }

    /// Whether it has to grow before another entry comes.
    #[inline]
    fn is_crowded(&self) -> bool {
        self.len >= self.lines() * LOAD
    }

    fn entries(&self) -> impl Iterator<Item = u64> + '_ {
        let lines = self.blocks.iter().flat_map(|block| block.iter());
        lines.flat_map(|l| l.0.iter().copied().filter(|&e| e != 0))
    }

    /// Empties a slot and moves spilled entries back, so that searches still find them.
    fn clear(&mut self, line: usize, slot: usize) {
        let mut hole = line;
        let mut was_full = self.line(line).is_full();
        self.line_mut(line).0[slot] = 0;
        self.len -= 1;
        let mut hole_slot = slot;
        let mut at = self.next(line);
        while was_full && at != hole {
            let full = self.line(at).is_full();
            if let Some(from) = self.spilled(at, hole) {
                self.line_mut(hole).0[hole_slot] = self.line(at).0[from];
                self.line_mut(at).0[from] = 0;
                (hole, hole_slot) = (at, from);
            }
            was_full = full;
            at = self.next(at);
        }
    }

    /// A slot of line `at` whose entry would rather live in `hole` (an earlier line) than there.
    fn spilled(&self, at: usize, hole: usize) -> Option<usize> {
        let lines = self.lines();
        let distance = |from: usize| if at >= from { at - from } else { at + lines - from };
        self.line(at)
            .0
            .iter()
            .position(|&e| e != 0 && distance(self.home(e >> 48)) >= distance(hole))
    }

    fn shrink_if_sparse(&mut self) {
        let (len, lines) = (self.len, self.lines());
        if lines > 1 && len * 2 < lines * LOAD {
            self.resize(lines_for(len + len / 8 + 1));
        }
    }
}

/// The memory that a look-up reads, one piece after the other: each tells where the next one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The segment's header.
    Segment,
    /// Its list of blocks.
    Block,
    /// The line where the hash is at home.
    Line,
    /// The line behind that one if it is full: it may have taken the entry, or will.
    NextLine,
    /// What the first word with its tag points to.
    Entry,
}

impl Part {
    /// One after the other, as far as most look-ups go.
    pub const USUAL: [Part; 4] = [Part::Segment, Part::Block, Part::Line, Part::Entry];
}

/// A look-up that is soon to come.
#[derive(Clone, Copy)]
pub struct Ahead<'a> {
    table: &'a Table,
    hash: u64,
}

impl<'a> Ahead<'a> {
    pub fn new(table: &'a Table, hash: u64) -> Ahead<'a> {
        Ahead { table, hash }
    }

    /// See [`Table::prefetch`].
    #[inline]
    pub fn prefetch(&self, part: Part) {
        self.table.prefetch(self.hash, part);
    }
}

/// See the module's description.
pub struct Table {
    chunks: Vec<Vec<Segment>>,
    segments: usize,
    len: usize,
    /// Entries there will be when all is here that is expected.
    expected: usize,
    /// No segment has more lines: bounds the draw of a random slot.
    widest: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    pub fn new() -> Table {
        Table { chunks: Vec::new(), segments: 0, len: 0, expected: 0, widest: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Slots there is memory for; with `len` it tells the load.
    pub fn capacity(&self) -> usize {
        self.chunks.iter().flatten().map(|s| s.lines() * SLOTS).sum()
    }

    /// Says how many entries there will be soon, if that is known. Then the table has its segments
    /// early, and a segment that grows has its final size at once. That is never more than a small
    /// multiple of what its entries need now, as nobody need keep such a promise.
    pub fn expect(&mut self, entries: usize) {
        self.expected = entries;
    }

    /// Whether there are fewer segments than are expected.
    #[inline]
    fn is_early(&self) -> bool {
        self.segments * SEGMENT_ENTRIES < self.expected
    }

    /// How many lines a segment is to have that is full.
    #[cold]
    fn lines_when_full(&self, index: usize) -> usize {
        let lines = grown(self.segment(index).lines());
        if self.len >= self.expected || self.is_early() {
            return lines;
        }
        // Its part of the entries, and a little more, as they are not spread evenly.
        let share = self.expected >> segment_bits(index, self.segments);
        lines.max(lines_for(share + share / 16))
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        segment_index(hash, self.segments)
    }

    #[inline]
    fn segment(&self, index: usize) -> &Segment {
        &self.chunks[index / CHUNK][index % CHUNK]
    }

    #[inline]
    fn segment_mut(&mut self, index: usize) -> &mut Segment {
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }

    /// Asks the processor to fetch what a look-up of `hash` reads there. The parts before
    /// it should have been fetched long ago, as their memory is read here.
    #[inline]
    pub fn prefetch(&self, hash: u64, part: Part) {
        if self.len == 0 {
            return;
        }
        let segment = self.segment(self.segment_of(hash));
        let home = || segment.home(tag_of(hash));
        match part {
            Part::Segment => prefetch::read(segment),
            Part::Block => prefetch::read(&segment.blocks[home() / BLOCK]),
            Part::Line => prefetch::read(segment.line(home())),
            Part::NextLine if segment.line(home()).is_full() => {
                prefetch::read(segment.line(segment.next(home())));
            }
            Part::NextLine => {}
            Part::Entry => {
                if let Some(word) = self.candidate(hash) {
                    prefetch::address(word as usize);
                }
            }
        }
    }

    /// The first word that may belong to `hash`, without looking at what it stands for.
    #[inline]
    pub fn candidate(&self, hash: u64) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let segment = self.segment(self.segment_of(hash));
        let tag = tag_of(hash);
        let line = segment.line(segment.home(tag));
        let tagged = line.tagged(tag);
        (tagged != 0).then(|| line.0[tagged.trailing_zeros() as usize] & WORD_MASK)
    }

    /// Finds the entry of `hash` for which `matches` holds: its place and its word.
    #[inline]
    pub fn find(&self, hash: u64, mut matches: impl FnMut(u64) -> bool) -> Option<(Place, u64)> {
        if self.len == 0 {
            return None;
        }
        let index = self.segment_of(hash);
        let segment = self.segment(index);
        let tag = tag_of(hash);
        let mut at = segment.home(tag);
        loop {
            let line = segment.line(at);
            let mut tagged = line.tagged(tag);
            while tagged != 0 {
                let slot = tagged.trailing_zeros();
                let word = line.0[slot as usize] & WORD_MASK;
                if matches(word) {
                    let (segment, line, slot) = (index as u32, at as u16, slot as u16);
                    return Some((Place { segment, line, slot }, word));
                }
                tagged &= tagged - 1;
            }
            if !line.is_full() {
                return None;
            }
            at = segment.next(at);
        }
    }

    #[inline]
    pub fn get(&self, place: Place) -> u64 {
        let segment = self.segment(place.segment as usize);
        segment.line(place.line as usize).0[place.slot as usize] & WORD_MASK
    }

    /// Exchanges the word at a place for another with the same hash.
    #[inline]
    pub fn replace(&mut self, place: Place, word: u64) {
        let segment = self.segment_mut(place.segment as usize);
        let slot = &mut segment.line_mut(place.line as usize).0[place.slot as usize];
        *slot = entry(*slot >> 48, word);
    }

    /// Adds a word that is not there yet. `rehash` gives the hash of any word already inside.
    pub fn insert(&mut self, hash: u64, word: u64, rehash: impl Fn(u64) -> u64) -> Place {
        if self.segments == 0 {
            self.push_segment(Segment::with_lines(1));
        } else if self.len >= self.segments * EARLY_ENTRIES
            && (self.len >= self.segments * SEGMENT_ENTRIES || self.is_early())
        {
            self.split_one(rehash);
        }
        let index = self.segment_of(hash);
        if self.segment(index).is_crowded() {
            let lines = self.lines_when_full(index);
            self.segment_mut(index).resize(lines);
        }
        let segment = self.segment_mut(index);
        let (line, slot) = segment.put(entry(tag_of(hash), word));
        let lines = segment.lines();
        self.widest = self.widest.max(lines);
        self.len += 1;
        Place { segment: index as u32, line: line as u16, slot: slot as u16 }
    }

    /// Takes the word at a place out.
    pub fn remove(&mut self, place: Place) -> u64 {
        let word = self.get(place);
        let segment = self.segment_mut(place.segment as usize);
        segment.clear(place.line as usize, place.slot as usize);
        segment.shrink_if_sparse();
        self.len -= 1;
        if self.len * 2 < (self.segments - 1) * SEGMENT_ENTRIES {
            self.merge_one();
        } else if self.len == 0 {
            *self = Table::new();
        } else if self.segments == 1 {
            // Else draws from a small table that was large would hardly ever hit an entry.
            self.widest = self.segment(0).lines();
        }
        word
    }

    fn push_segment(&mut self, segment: Segment) {
        if self.segments.is_multiple_of(CHUNK) {
            // The first chunk grows with the table; later ones are full size from the start.
            let capacity = if self.segments == 0 { 1 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(segment);
        self.segments += 1;
    }

    /// Adds one segment, and moves to it what is now its own from the segment that held it.
    fn split_one(&mut self, rehash: impl Fn(u64) -> u64) {
        let new_index = self.segments;
        let old_index = new_index - (1 << new_index.ilog2());
        let after = new_index + 1;
        let old = std::mem::take(self.segment_mut(old_index));
        // Usually an entry points to what is hashed.
        old.entries().for_each(|e| prefetch::address((e & WORD_MASK) as usize));
        let mut halves: [Vec<u64>; 2] = [Vec::with_capacity(old.len), Vec::with_capacity(old.len)];
        for e in old.entries() {
            let moves = segment_index(rehash(e & WORD_MASK), after) == new_index;
            halves[moves as usize].push(e);
        }
        drop(old);
        let [stay, go] = halves.map(|entries| {
            let mut segment = Segment::with_lines(lines_for(entries.len() + 1));
            for e in entries {
                segment.put(e);
            }
            segment
        });
        *self.segment_mut(old_index) = stay;
        self.push_segment(go);
    }

    /// Gives the last segment's entries back to the segment they were split from.
    fn merge_one(&mut self) {
        let last = self.segments - 1;
        let into = last - (1 << last.ilog2());
        let chunk = self.chunks.len() - 1;
        let Some(gone) = self.chunks[chunk].pop() else { return };
        if self.chunks[chunk].is_empty() {
            self.chunks.pop();
        }
        self.segments = last;
        let segment = self.segment_mut(into);
        segment.resize(lines_for(segment.len + gone.len + 1));
        for e in gone.entries() {
            segment.put(e);
        }
        let lines = segment.lines();
        self.widest = self.widest.max(lines);
    }

    /// Every word, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks.iter().flatten().flat_map(|s| s.entries().map(|e| e & WORD_MASK))
    }

    /// Takes some words out, a segment's worth at most, without keeping the table usable for
    /// look-ups in between: for freeing a table piece by piece. False when nothing is left.
    pub fn drain_some(&mut self, mut take: impl FnMut(u64)) -> bool {
        let Some(chunk) = self.chunks.last_mut() else { return false };
        if let Some(segment) = chunk.pop() {
            segment.entries().for_each(|e| take(e & WORD_MASK));
            self.len -= segment.len;
            self.segments -= 1;
        } else {
            self.chunks.pop();
        }
        true
    }

    /// A word drawn with equal chances, by drawing slots until one is taken.
    pub fn random(&self, rng: &mut Rng) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let slots = (self.widest * SLOTS) as u64;
        // A table is at least a fifth full but for odd moments, so this nearly always ends soon.
        for _ in 0..1000 {
            let segment = self.segment(rng.below(self.segments as u64) as usize);
            let slot = rng.below(slots) as usize;
            if slot / SLOTS >= segment.lines() {
                continue;
            }
            let e = segment.line(slot / SLOTS).0[slot % SLOTS];
            if e != 0 {
                return Some(e & WORD_MASK);
            }
        }
        let start = rng.below(self.segments as u64) as usize;
        (0..self.segments)
            .map(|i| self.segment((start + i) % self.segments))
            .find_map(|s| s.entries().next())
            .map(|e| e & WORD_MASK)
    }

    /// Visits the entries of one home line and returns where to go on; 0 when the round is
    /// complete. What is in the table from the first call to the last is visited at least once,
    /// whatever is inserted, removed, split or merged in between.
    ///
    /// A cursor is a position in the order of (segment index bit-reversed, tag), with the number
    /// of segment bits it was made with. A split only refines that order. After a merge the
    /// cursor's segment is visited again from its start.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(u64)) -> u64 {
        if self.len == 0 {
            return 0;
        }
        let Cursor { prefix, bits, tag } = Cursor::decode(cursor);
        let index = self.segment_of(prefix.reverse_bits() as u64);
        let now_bits = segment_bits(index, self.segments);
        let start = (index as u32).reverse_bits();
        let segment = self.segment(index);
        let mut line = if now_bits >= bits && start == prefix { segment.home(tag) } else { 0 };
        if cursor == 0 {
            line = 0;
        }
        let mut at = line;
        loop {
            for &e in segment.line(at).0.iter().filter(|&&e| e != 0) {
                if segment.home(e >> 48) == line {
                    visit(e & WORD_MASK);
                }
            }
            if !segment.line(at).is_full() {
                break;
            }
            at = segment.next(at);
            if at == line {
                break;
            }
        }
        if line + 1 < segment.lines() {
            // The least tag whose home is the next line.
            let tag = (((line as u64 + 1) << 16).div_ceil(segment.lines() as u64)).min(0xFFFF);
            return Cursor { prefix: start, bits: now_bits, tag }.encode();
        }
        let step = if now_bits == 0 { 0 } else { 1u32 << (32 - now_bits) };
        match start.checked_add(step) {
            Some(prefix) if step != 0 => Cursor { prefix, bits: now_bits, tag: 0 }.encode(),
            _ => 0,
        }
    }
}

/// A walk over the words that a table has when it begins, while the table goes on changing. It
/// goes through the hashes in the order of their low bits reversed, in which each segment is a run
/// whatever was split or merged. Words that come later ahead of it are met, too; who adds them
/// knows from [`Walk::is_ahead`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    /// Reversed hashes below this are behind.
    next: u64,
}

/// Behind all reversed hashes.
const WALKED: u64 = 1 << 32;

#[inline]
fn reversed(hash: u64) -> u64 {
    (hash as u32).reverse_bits().into()
}

impl Walk {
    /// Whether words of this hash are still to be met.
    #[inline]
    pub fn is_ahead(&self, hash: u64) -> bool {
        reversed(hash) >= self.next
    }

    pub fn is_over(&self) -> bool {
        self.next >= WALKED
    }

    /// Visits the words of one segment, as far as they are ahead. `rehash` gives the hash of any
    /// word of the table.
    pub fn step(&mut self, table: &Table, rehash: impl Fn(u64) -> u64, mut visit: impl FnMut(u64)) {
        if table.is_empty() || self.is_over() {
            self.next = WALKED;
            return;
        }
        let index = table.segment_of((self.next as u32).reverse_bits().into());
        let start = reversed(index as u64);
        for word in table.segment(index).entries().map(|e| e & WORD_MASK) {
            // After a merge a part of the segment may be behind.
            if start == self.next || self.is_ahead(rehash(word)) {
                visit(word);
            }
        }
        self.next = start + (WALKED >> segment_bits(index, table.segments));
    }
}

/// Linear hashing: with `n` segments, the low bits of a hash that name one of them.
#[inline]
fn segment_index(hash: u64, segments: usize) -> usize {
    let level = segments.ilog2();
    let wide = hash as usize & ((2 << level) - 1);
    if wide < segments { wide } else { hash as usize & ((1 << level) - 1) }
}

/// How many low bits of a hash decide for segment `index`.
fn segment_bits(index: usize, segments: usize) -> u32 {
    let level = segments.ilog2();
    let base = 1usize << level;
    if index >= base || index < segments - base { level + 1 } else { level }
}

/// Fits 53 bits, so that clients which keep cursors in a double can use it.
struct Cursor {
    /// Bit-reversed segment index: the order segments are visited in.
    prefix: u32,
    bits: u32,
    tag: u64,
}

impl Cursor {
    fn decode(cursor: u64) -> Cursor {
        Cursor {
            prefix: (cursor >> 21) as u32,
            bits: (cursor >> 16) as u32 & 31,
            tag: cursor & 0xFFFF,
        }
    }

    fn encode(&self) -> u64 {
        (self.prefix as u64) << 21 | (self.bits as u64 & 31) << 16 | self.tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// A poor hash is a better test than a good one: few tags, so lines overflow.
    fn poor(word: u64) -> u64 {
        (word % 61) << 58 | word.wrapping_mul(0x9E37_79B9) & 0xFFFF
    }

    fn good(word: u64) -> u64 {
        let mixed = word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }

    fn find(table: &Table, word: u64, hash: fn(u64) -> u64) -> Option<Place> {
        table.find(hash(word), |other| other == word).map(|(place, _)| place)
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(
            ops in proptest::collection::vec((0u8..5, 1u64..3000), 1..3000),
            is_poor: bool,
        ) {
            let hash = if is_poor { poor } else { good };
            let mut table = Table::new();
            let mut model = BTreeSet::new();
            for (op, word) in ops {
                match op {
                    0..=2 => {
                        let place = find(&table, word, hash);
                        prop_assert_eq!(place.is_some(), model.contains(&word));
                        if place.is_none() {
                            let place = table.insert(hash(word), word, hash);
                            prop_assert_eq!(table.get(place), word);
                            model.insert(word);
                        }
                    }
                    3 => match find(&table, word, hash) {
                        Some(place) => {
                            prop_assert!(model.remove(&word));
                            prop_assert_eq!(table.remove(place), word);
                        }
                        None => prop_assert!(!model.contains(&word)),
                    },
                    // A run of removals, so that segments shrink and merge.
                    _ => for gone in word..word + 200 {
                        if let Some(place) = find(&table, gone, hash) {
                            table.remove(place);
                        }
                        model.remove(&gone);
                    },
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for word in 1..3300 {
                prop_assert_eq!(find(&table, word, hash).is_some(), model.contains(&word));
            }
            let all: BTreeSet<u64> = table.iter().collect();
            prop_assert_eq!(all, model);
        }

        /// SCAN's guarantee while the table grows and shrinks between the steps.
        #[test]
        fn a_scan_sees_all_that_stays(
            base in 0u64..3000,
            steps in proptest::collection::vec((any::<bool>(), 0u64..800), 0..200),
        ) {
            let mut table = Table::new();
            for word in 1..=base {
                table.insert(good(word), word, good);
            }
            // Words above `base` come and go.
            let mut extra = base;
            let mut seen = BTreeSet::new();
            let mut steps = steps.into_iter();
            let mut cursor = 0;
            loop {
                cursor = table.scan(cursor, |word| {
                    seen.insert(word);
                });
                if cursor == 0 {
                    break;
                }
                match steps.next() {
                    Some((true, n)) => for _ in 0..n {
                        extra += 1;
                        table.insert(good(extra), extra, good);
                    },
                    Some((false, n)) => for _ in 0..n.min(extra - base) {
                        let place = find(&table, extra, good).unwrap();
                        table.remove(place);
                        extra -= 1;
                    },
                    None => {}
                }
            }
            for word in 1..=base {
                prop_assert!(seen.contains(&word), "{word} was not seen");
            }
        }

        #[test]
        fn any_cursor_is_harmless(cursor: u64, len in 0u64..2000) {
            let mut table = Table::new();
            for word in 1..=len {
                table.insert(good(word), word, good);
            }
            let mut at = cursor;
            let mut rounds = 0;
            loop {
                at = table.scan(at, |_| {});
                rounds += 1;
                prop_assert!(rounds < 10_000);
                if at == 0 {
                    break;
                }
            }
        }
    }

    /// A walk while the table changes, now growing, now shrinking: each word is met once that is
    /// there when the walk passes by.
    fn walk_beside_changes(words: u64, hash: fn(u64) -> u64, seed: u64) {
        let mut rng = Rng::from_seed(seed);
        let mut table = Table::new();
        (1..=words).for_each(|word| _ = table.insert(hash(word), word, hash));
        let mut walk = Walk::default();
        let mut ahead: BTreeSet<u64> = (1..=words).collect();
        while !walk.is_over() {
            walk.step(&table, hash, |word| assert!(ahead.remove(&word), "{word}: met again"));
            assert!(ahead.iter().all(|word| walk.is_ahead(hash(*word))), "passed by");
            let growth = rng.below(4);
            for _ in 0..rng.below(words) {
                let word = 1 + rng.below(2 * words);
                match find(&table, word, hash) {
                    Some(place) if rng.below(4) >= growth => {
                        table.remove(place);
                        assert_eq!(ahead.remove(&word), walk.is_ahead(hash(word)));
                    }
                    None if rng.below(4) < growth => {
                        table.insert(hash(word), word, hash);
                        if walk.is_ahead(hash(word)) {
                            ahead.insert(word);
                        }
                    }
                    _ => {}
                }
            }
        }
        assert!(ahead.is_empty());
    }

    #[test]
    fn a_walk_meets_each_word_once_whatever_is_split_or_merged() {
        for seed in 0..20 {
            walk_beside_changes(1 + seed * seed * 30, good, seed);
            walk_beside_changes(1 + seed * 30, poor, seed);
        }
    }

    #[test]
    fn what_is_expected_finds_its_segments_there() {
        let mut table = Table::new();
        let check = |table: &Table, until: u64| {
            assert_eq!(table.len() as u64, until - 1);
            assert!((1..until).all(|word| find(table, word, good).is_some()));
        };
        table.expect(20_000);
        for word in 1..=20_000 {
            table.insert(good(word), word, good);
            // One at a time, and never for entries that did not come.
            assert!(table.segments <= 1 + word as usize / EARLY_ENTRIES);
        }
        check(&table, 20_001);
        assert_eq!(table.segments, 20_000 / SEGMENT_ENTRIES);
        // All were there before half of the entries were.
        table.expect(0);
        (20_001..=40_000).for_each(|word| _ = table.insert(good(word), word, good));
        check(&table, 40_001);
        assert_eq!(table.segments, 40_000 / SEGMENT_ENTRIES);
        // A promise that was not kept does no harm: removals take back what is too much.
        let mut table = Table::new();
        table.expect(usize::MAX);
        (1..=5000).for_each(|word| _ = table.insert(good(word), word, good));
        table.expect(0);
        assert_eq!(table.segments, 1 + 4999 / EARLY_ENTRIES);
        for word in (1001..=5000).rev() {
            table.remove(find(&table, word, good).unwrap());
        }
        check(&table, 1001);
        assert!(table.segments <= 1 + 2 * 1000 / SEGMENT_ENTRIES);
    }

    #[test]
    fn draws_are_fair() {
        let mut table = Table::new();
        for word in 1..=1000 {
            table.insert(good(word), word, good);
        }
        let mut rng = Rng::from_seed(7);
        let mut counts = BTreeMap::new();
        for _ in 0..200_000 {
            *counts.entry(table.random(&mut rng).unwrap()).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 1000);
        // Expected 200 each, standard deviation 14: seven deviations are allowed.
        let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        assert!(*least > 100 && *most < 300, "{least}..{most}");
    }

    #[test]
    fn draws_are_fair_from_what_little_is_left() {
        let mut table = Table::new();
        for word in 1..=100_000 {
            table.insert(good(word), word, good);
        }
        for word in 1..=99_998 {
            let place = find(&table, word, good).unwrap();
            table.remove(place);
        }
        let mut rng = Rng::from_seed(7);
        let firsts = (0..10_000).filter(|_| table.random(&mut rng) == Some(100_000)).count();
        // Expected 5000, standard deviation 50: seven deviations are allowed.
        assert!((4650..5350).contains(&firsts), "{firsts} of 10,000");
    }

    #[test]
    fn memory_follows_the_entries() {
        let mut table = Table::new();
        for word in 1..=100_000 {
            table.insert(good(word), word, good);
        }
        assert!(table.capacity() < 150_000);
        for word in 1..=99_999 {
            let place = find(&table, word, good).unwrap();
            table.remove(place);
        }
        assert!(table.capacity() < 1000, "{} slots for one entry", table.capacity());
        assert!(find(&table, 100_000, good).is_some());
    }
}
