//! The members of large sets: words of a table that are either numbers or own a block of text.
//!
//! ```text
//! word   1 in its lowest bit: the other 47 bits are a number, whose decimal form is the member
//!        0 in its lowest bit: the address of a block
//! block  1 byte   length of the text, below 255; 255 says that a length of 6 bytes follows
//!        text
//! ```
//!
//! A member has one form only: text that is a number of 47 bits in its decimal form is never a
//! block. So two members are the same if their words or their texts are. Must not know which
//! encoding Redis would call this.
#![allow(unsafe_code)]

use super::Member;
use crate::base::hash::Seed;
use crate::base::rng::Rng;
use crate::base::table::{Ahead, Table as Words, WORD_LIMIT, Walk};
use crate::types::Type;
use crate::types::frozen::{Elements, Found, Head, Memory, Piece, Thawed, Ticket, Visit};
use itoa::Buffer;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::HashSet;
use std::ptr::NonNull;

pub use crate::base::table::Place;

/// Numbers from `-NUMBER_LIMIT` to `NUMBER_LIMIT - 1` are words.
const NUMBER_LIMIT: i64 = 1 << 46;
/// The bit that tells numbers from blocks, which are aligned for it.
const NUMBER: u64 = 1;
const ALIGN: usize = 2;

/// The first byte of a block whose length does not fit it.
const WIDE: u8 = 0xFF;
const LENGTH_BYTES: usize = 6;

/// The word of a number, if it has one.
#[inline]
fn number_word(number: i64) -> Option<u64> {
    let fits = (-NUMBER_LIMIT..NUMBER_LIMIT).contains(&number);
    fits.then_some(((number as u64) << 1 | NUMBER) & (WORD_LIMIT - 1))
}

/// The number a word is, if it is one.
#[inline]
fn word_number(word: u64) -> Option<i64> {
    // The number's highest bit becomes the sign.
    (word & NUMBER != 0).then_some((word << 16) as i64 >> 17)
}

/// An owned pointer to a block, without a destructor. Every value of this type points to a block
/// that [`Block::new`] made and [`Block::free`] has not freed: it is private to this module, and
/// [`Table`] keeps exactly one of each as a word.
#[derive(Clone, Copy)]
struct Block(NonNull<u8>);

fn header_size(len: usize) -> usize {
    if len < WIDE as usize { 1 } else { 1 + LENGTH_BYTES }
}

fn layout(len: usize) -> Layout {
    // The length is that of a slice that exists, so the sum cannot overflow a layout in practice:
    // the address space has 47 bits. Those 47 bits also fit the header's length.
    Layout::from_size_align(header_size(len) + len, ALIGN).expect("block size")
}

impl Block {
    fn new(text: &[u8]) -> Block {
        let layout = layout(text.len());
        // SAFETY: the size is not zero, as there is always a header.
        let pointer = unsafe { alloc(layout) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        let mut block = Block(pointer);
        let header = header_size(text.len());
        if header == 1 {
            block.write(0, &[text.len() as u8]);
        } else {
            block.write(0, &[WIDE]);
            block.write(1, &(text.len() as u64).to_le_bytes()[..LENGTH_BYTES]);
        }
        block.write(header, text);
        block
    }

    fn word(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The block behind a word of a [`Table`]; none if the word is a number.
    #[inline]
    fn from_word(word: u64) -> Option<Block> {
        if word & NUMBER != 0 {
            return None;
        }
        // A place that is no longer valid gives 0; that it could give another word is no harm.
        let pointer = std::ptr::with_exposed_provenance_mut(word as usize);
        Some(Block(NonNull::new(pointer).expect("a place of this table")))
    }

    /// Bytes of the block. Callers tie 'a to a borrow of the block's owner.
    #[inline]
    fn slice<'a>(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: the block lives, and callers pass ranges within the size its header declares,
        // all of which `new` has written.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: `new` passes ranges within the block it has just allocated; `bytes` is older.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(at), bytes.len());
        }
    }

    #[inline]
    fn text_len(self) -> usize {
        match self.slice(0, 1)[0] {
            WIDE => {
                let mut bytes = [0; 8];
                bytes[..LENGTH_BYTES].copy_from_slice(self.slice(1, LENGTH_BYTES));
                u64::from_le_bytes(bytes) as usize
            }
            len => len as usize,
        }
    }

    #[inline]
    fn text<'a>(self) -> &'a [u8] {
        let len = self.text_len();
        self.slice(header_size(len), len)
    }

    fn free(self) {
        // SAFETY: the block was allocated with this layout, and the caller gives up the only
        // pointer to it.
        unsafe { dealloc(self.0.as_ptr(), layout(self.text_len())) };
    }
}

#[inline]
fn hash_text(text: &[u8]) -> u64 {
    Seed::of_process().hash(text)
}

#[inline]
fn hash_word(word: u64) -> u64 {
    match Block::from_word(word) {
        None => Seed::of_process().hash(&word.to_le_bytes()),
        Some(block) => hash_text(block.text()),
    }
}

#[inline]
fn member<'a>(word: u64) -> Member<'a> {
    match (word_number(word), Block::from_word(word)) {
        (None, Some(block)) => Member::Text(block.text()),
        (number, _) => Member::Int(number.unwrap_or(0)),
    }
}

/// A member to be looked for, in its one form and hashed: the same for look-up and insertion.
pub struct Probe<'a> {
    hash: u64,
    form: Form<'a>,
}

enum Form<'a> {
    Number(u64),
    Text(&'a [u8]),
}

impl<'a> Probe<'a> {
    /// The probe of a member. `digits` is room for the text of a number that has no word.
    #[inline]
    pub fn new(member: Member<'a>, digits: &'a mut Buffer) -> Probe<'a> {
        if let Some(word) = member.int().and_then(number_word) {
            return Probe { hash: hash_word(word), form: Form::Number(word) };
        }
        let text = match member {
            Member::Int(number) => digits.format(number).as_bytes(),
            Member::Text(text) => text,
        };
        Probe { hash: hash_text(text), form: Form::Text(text) }
    }
}

/// A hash table of members. It grows and shrinks in bounded steps, and SCAN's guarantee holds for
/// its cursors.
#[derive(Default)]
pub struct Table {
    /// Each word is a number, or a block that only this table owns.
    words: Words,
    /// How many of the words are blocks.
    blocks: usize,
    frozen: Memory<Elements<Walk>>,
}

impl Table {
    #[inline]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Members that have memory of their own.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Where a member is. The place is valid until a member is inserted or removed.
    #[inline]
    pub fn find(&self, probe: &Probe<'_>) -> Option<Place> {
        match probe.form {
            Form::Number(number) => self.words.find(probe.hash, |word| word == number),
            Form::Text(text) => self.words.find(probe.hash, |word| {
                Block::from_word(word).is_some_and(|block| block.text() == text)
            }),
        }
        .map(|(place, _)| place)
    }

    /// What [`Table::find`] will look at.
    #[inline]
    pub fn ahead(&self, probe: &Probe<'_>) -> Ahead<'_> {
        Ahead::new(&self.words, probe.hash)
    }

    /// Adds a member that is not there, as [`Table::find`] has just told.
    pub fn insert(&mut self, probe: &Probe<'_>) {
        let word = match probe.form {
            Form::Number(word) => word,
            Form::Text(text) => {
                self.blocks += 1;
                Block::new(text).word()
            }
        };
        self.words.insert(probe.hash, word, hash_word);
        if let Some(frozen) = self.frozen.get_mut() {
            frozen.after_change(frozen.position.is_ahead(probe.hash), word);
        }
    }

    pub fn remove(&mut self, place: Place) {
        if self.frozen.is_some() {
            self.save(self.words.get(place));
        }
        if let Some(block) = Block::from_word(self.words.remove(place)) {
            self.blocks -= 1;
            block.free();
        }
    }

    #[cold]
    fn save(&mut self, word: u64) {
        let Some(frozen) = self.frozen.get_mut() else { return };
        let is_ahead = frozen.position.is_ahead(hash_word(word));
        member(word).with_text(|text| frozen.before_change(is_ahead, word, (text, b""), 0));
    }

    /// See [`Object::freeze`](crate::types::Object::freeze).
    pub fn freeze(&mut self, ticket: Ticket) {
        let head = Head::new(Type::Set, self.len());
        self.frozen = Memory::new(Elements::new(ticket, head));
    }

    pub fn frozen(&self) -> Option<(Ticket, Head)> {
        self.frozen.get().map(|frozen| (frozen.ticket, frozen.head))
    }

    /// See [`Object::read_frozen`](crate::types::Object::read_frozen).
    pub fn read_frozen(&mut self, most: usize, visit: &mut Visit<'_>) -> bool {
        let Some(frozen) = self.frozen.get_mut() else { return false };
        frozen.read(&self.words, most, hash_word, |found| match found {
            Found::Saved(text, ..) => visit(Piece::Member(Member::Text(text))),
            Found::Word(word) => visit(Piece::Member(member(word))),
        })
    }

    /// See [`Object::thaw`](crate::types::Object::thaw).
    pub fn thaw(&mut self) -> Option<Thawed> {
        self.frozen.take()
    }

    /// Every member, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        self.words.iter().map(member)
    }

    /// A member drawn with equal chances.
    pub fn random(&self, rng: &mut Rng) -> Option<Member<'_>> {
        self.words.random(rng).map(member)
    }

    /// Visits `count` different members by drawing until there are so many: for few of many.
    pub fn sample_few<'a>(
        &'a self,
        count: usize,
        rng: &mut Rng,
        mut visit: impl FnMut(Member<'a>),
    ) {
        let mut seen = HashSet::with_capacity(count);
        while seen.len() < count {
            let Some(word) = self.words.random(rng) else { return };
            if seen.insert(word) {
                visit(member(word));
            }
        }
    }

    /// About how many bytes of memory it takes, judged by so many members (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        let looked_at = if samples == 0 { self.len() } else { samples.min(self.len()) };
        let size = |word| {
            let block = Block::from_word(word);
            block.map_or(0, |block| crate::types::allocated(layout(block.text_len()).size()))
        };
        let sum: usize = self.words.iter().take(looked_at).map(size).sum();
        let members = sum as u128 * self.len() as u128 / looked_at.max(1) as u128;
        members as usize + self.words.capacity() * size_of::<u64>()
    }

    /// A step of SCAN: visits some members and returns the next cursor, 0 at the end.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(Member<'a>)) -> u64 {
        self.words.scan(cursor, |word| visit(member(word)))
    }
}

impl Clone for Table {
    fn clone(&self) -> Table {
        let (words, frozen) = (Words::new(), Memory::default());
        let mut copy = Table { words, blocks: self.blocks, frozen };
        for word in self.words.iter() {
            let own = Block::from_word(word).map_or(word, |block| Block::new(block.text()).word());
            copy.words.insert(hash_word(own), own, hash_word);
        }
        copy
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let free = |word| {
            if let Some(block) = Block::from_word(word) {
                block.free();
            }
        };
        while self.words.drain_some(free) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Miri is slow, and looks at what is done rather than how often.
    const CASES: u32 = if cfg!(miri) { 4 } else { 256 };
    const STEPS: usize = if cfg!(miri) { 100 } else { 1500 };

    fn find(table: &Table, member: Member<'_>) -> Option<Place> {
        table.find(&Probe::new(member, &mut Buffer::new()))
    }

    fn insert(table: &mut Table, text: &[u8]) -> bool {
        let mut digits = Buffer::new();
        let probe = Probe::new(Member::Text(text), &mut digits);
        let is_new = table.find(&probe).is_none();
        if is_new {
            table.insert(&probe);
        }
        is_new
    }

    fn remove(table: &mut Table, text: &[u8]) -> bool {
        let place = find(table, Member::Text(text));
        place.map(|place| table.remove(place)).is_some()
    }

    fn text(member: Member<'_>) -> Vec<u8> {
        member.with_text(<[u8]>::to_vec)
    }

    fn contents(table: &Table) -> BTreeSet<Vec<u8>> {
        table.iter().map(text).collect()
    }

    #[test]
    fn numbers_of_47_bits_take_no_block() {
        let limit = 1i64 << 46;
        for (member, is_number) in [
            ("0".to_string(), true),
            ("-1".to_string(), true),
            ((limit - 1).to_string(), true),
            (limit.to_string(), false),
            ((-limit).to_string(), true),
            ((-limit - 1).to_string(), false),
            (i64::MAX.to_string(), false),
            (i64::MIN.to_string(), false),
            ("9223372036854775808".to_string(), false),
            ("-0".to_string(), false),
            ("007".to_string(), false),
            ("+7".to_string(), false),
            (" 7".to_string(), false),
            ("7.0".to_string(), false),
            (String::new(), false),
        ] {
            let mut table = Table::default();
            assert!(insert(&mut table, member.as_bytes()));
            assert_eq!(table.blocks(), usize::from(!is_number), "{member}");
            assert!(!insert(&mut table, member.as_bytes()), "{member}");
            assert_eq!(contents(&table), [member.clone().into_bytes()].into());
            // A number is the same member as its text.
            if let Ok(number) = member.parse::<i64>() {
                let found = find(&table, Member::Int(number)).is_some();
                assert_eq!(found, number.to_string() == member, "{member}");
            }
            assert!(remove(&mut table, member.as_bytes()));
            assert_eq!((table.len(), table.blocks()), (0, 0));
        }
    }

    #[test]
    fn texts_of_all_lengths_come_back() {
        let mut table = Table::default();
        let longest = if cfg!(miri) { 300 } else { 70_000 };
        let texts = [0usize, 1, 17, 253, 254, 255, 256, 257, longest];
        let texts = texts.map(|len| (0..len).map(|n| n as u8).collect::<Vec<u8>>());
        for text in &texts {
            assert!(insert(&mut table, text));
        }
        assert_eq!(contents(&table), texts.iter().cloned().collect());
        assert_eq!(layout(17).size(), 18);
        assert_eq!(layout(254).size(), 255);
        assert_eq!(layout(255).size(), 262);
        assert_eq!(table.blocks(), texts.len());
        for text in &texts {
            assert!(remove(&mut table, text) && !remove(&mut table, text));
        }
    }

    #[test]
    fn a_table_can_be_freed_by_another_thread() {
        let mut table = Table::default();
        for n in 0..100 {
            insert(&mut table, format!("{}{n}", if n % 2 == 0 { "x" } else { "" }).as_bytes());
        }
        std::thread::spawn(move || assert_eq!(table.iter().count(), 100)).join().unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(CASES))]
        #[test]
        fn agrees_with_a_set(
            steps in prop::collection::vec((0u8..6, 0u16..400, any::<bool>()), 1..STEPS),
        ) {
            let mut table = Table::default();
            let mut model = BTreeSet::new();
            for (action, number, is_text) in steps {
                let prefix = if is_text { "member:" } else { "" };
                let member = format!("{prefix}{number}").into_bytes();
                if action < 4 {
                    prop_assert_eq!(insert(&mut table, &member), model.insert(member));
                } else {
                    prop_assert_eq!(remove(&mut table, &member), model.remove(&member));
                }
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.blocks(), model.iter().filter(|m| m[0] == b'm').count());
            prop_assert_eq!(&contents(&table), &model);
            let copy = table.clone();
            drop(table);
            prop_assert_eq!(&contents(&copy), &model);
            let mut scanned = BTreeSet::new();
            let mut cursor = 0;
            loop {
                cursor = copy.scan(cursor, |member| _ = scanned.insert(text(member)));
                if cursor == 0 {
                    break;
                }
            }
            prop_assert_eq!(scanned, model);
        }
    }
}
