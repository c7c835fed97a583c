//! Entries of large hashes: a field and its value in one allocation, and the table that owns them.
//!
//! ```text
//! field  1 byte   length of the field, below 254; 255 says that two lengths of 6 bytes follow
//! value  1 byte   length of the value
//! field bytes
//! value bytes
//! ```
//!
//! An entry that expires ([`expiring`]) has a byte of 254 and the time in front, milliseconds since
//! 1970 in 6 bytes: so a field that is 254 bytes long is written with lengths of 6 bytes, too.
//!
//! A table keeps 8 bytes for an entry besides this block, and allocators round blocks up to 8:
//! a wider header would cost some entries nothing and others 8 bytes. Must not know what the bytes
//! mean.
#![allow(unsafe_code)]

pub mod expiring;

use super::Type;
use super::frozen::{Elements, Found, Head, Memory, Piece, Thawed, Ticket, Visit};
use crate::base::hash::Seed;
use crate::base::rng::Rng;
use crate::base::table::{Ahead, Table, Walk};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;

pub use crate::base::table::Place;

/// A field and its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The first byte of an entry whose lengths do not fit a byte each.
const WIDE: u8 = 0xFF;
/// The first byte of an entry that expires.
const TIMED: u8 = 0xFE;
const NARROW_HEADER: usize = 2;
const LENGTH_BYTES: usize = 6;
const WIDE_HEADER: usize = 1 + 2 * LENGTH_BYTES;
const TIME_BYTES: usize = 6;
/// What an entry that expires has in front.
const PREFIX: usize = 1 + TIME_BYTES;

/// The lengths an entry's header declares.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    field: usize,
    value: usize,
    /// There is a time in front.
    timed: bool,
}

impl Shape {
    #[inline]
    fn is_wide(self) -> bool {
        self.field >= TIMED as usize || self.value > 0xFF
    }

    /// Where the lengths are.
    #[inline]
    fn lengths_at(self) -> usize {
        if self.timed { PREFIX } else { 0 }
    }

    /// Bytes in front of the field.
    #[inline]
    fn header(self) -> usize {
        self.lengths_at() + if self.is_wide() { WIDE_HEADER } else { NARROW_HEADER }
    }

    fn layout(self) -> Layout {
        // Both are lengths of slices that exist, so the sum cannot overflow a layout in practice:
        // the address space has 47 bits. Those 47 bits also fit the header's lengths.
        Layout::from_size_align(self.header() + self.field + self.value, 1).expect("entry size")
    }
}

/// An owned pointer to an entry, without a destructor. Every value of this type points to a block
/// that [`Entry::new`] made and [`Entry::free`] has not freed: it is private to this module, and
/// [`Entries`] keeps exactly one of each as a word of its table.
#[derive(Clone, Copy)]
struct Entry(NonNull<u8>);

impl Entry {
    fn new(field: &[u8], value: &[u8], expire_at: Option<i64>) -> Entry {
        let timed = expire_at.is_some();
        let shape = Shape { field: field.len(), value: value.len(), timed };
        // SAFETY: the size is not zero, as there is always a header.
        let pointer = unsafe { alloc(shape.layout()) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(shape.layout()) };
        let mut entry = Entry(pointer);
        entry.write_header(shape);
        if let Some(ms) = expire_at {
            entry.write_time(ms);
        }
        entry.write(shape.header(), field);
        entry.write(shape.header() + field.len(), value);
        entry
    }

    #[inline]
    fn word(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The entry behind a word of the table of [`Entries`].
    #[inline]
    fn from_word(word: u64) -> Entry {
        // A place that is no longer valid gives 0; that it could give another word is no harm.
        let pointer = std::ptr::with_exposed_provenance_mut(word as usize);
        Entry(NonNull::new(pointer).expect("a place of this table"))
    }

    /// Bytes of the block. Callers tie 'a to a borrow of the entry's owner.
    #[inline]
    fn slice<'a>(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: the block lives, and callers pass ranges within the shape its header declares,
        // all of which `new` or `set_value` has written.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: callers pass ranges within the block. `bytes` is not part of it: they come from
        // outside of `Entries`, which is borrowed exclusively or does not hold this entry yet.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(at), bytes.len());
        }
    }

    /// Writes all of a header but the time.
    fn write_header(&mut self, shape: Shape) {
        let at = shape.lengths_at();
        if shape.timed {
            self.write(0, &[TIMED]);
        }
        if shape.is_wide() {
            let (field, value) = (shape.field as u64, shape.value as u64);
            self.write(at, &[WIDE]);
            self.write(at + 1, &field.to_le_bytes()[..LENGTH_BYTES]);
            self.write(at + 1 + LENGTH_BYTES, &value.to_le_bytes()[..LENGTH_BYTES]);
        } else {
            self.write(at, &[shape.field as u8, shape.value as u8]);
        }
    }

    /// Writes the time of an entry whose header has one.
    fn write_time(&mut self, ms: i64) {
        debug_assert!((0..=MAX_TIME).contains(&ms));
        self.write(1, &ms.to_le_bytes()[..TIME_BYTES]);
    }

    #[inline]
    fn shape(self) -> Shape {
        match *self.slice(0, NARROW_HEADER) {
            [field, value] if field < TIMED => {
                Shape { field: field as usize, value: value as usize, timed: false }
            }
            [first, _] => self.rare_shape(first == TIMED),
            _ => unreachable!("two bytes"),
        }
    }

    fn rare_shape(self, timed: bool) -> Shape {
        let at = if timed { PREFIX } else { 0 };
        match *self.slice(at, NARROW_HEADER) {
            [field, value] if field < TIMED => {
                Shape { field: field as usize, value: value as usize, timed }
            }
            _ => {
                let (field, value) = (self.length(at + 1), self.length(at + 1 + LENGTH_BYTES));
                Shape { field, value, timed }
            }
        }
    }

    /// When the entry expires, in milliseconds since 1970.
    #[inline]
    fn expire_at(self) -> Option<i64> {
        (self.slice(0, 1)[0] == TIMED).then(|| self.length(1) as i64)
    }

    fn length(self, at: usize) -> usize {
        let mut bytes = [0; 8];
        bytes[..LENGTH_BYTES].copy_from_slice(self.slice(at, LENGTH_BYTES));
        u64::from_le_bytes(bytes) as usize
    }

    #[inline]
    fn field<'a>(self) -> &'a [u8] {
        let shape = self.shape();
        self.slice(shape.header(), shape.field)
    }

    #[inline]
    fn pair<'a>(self) -> Pair<'a> {
        let shape = self.shape();
        let value_at = shape.header() + shape.field;
        (self.slice(shape.header(), shape.field), self.slice(value_at, shape.value))
    }

    /// Overwrites the value. The entry may move: the caller must store the new [`Entry::word`].
    fn set_value(&mut self, value: &[u8]) {
        let old = self.shape();
        let new = Shape { value: value.len(), ..old };
        if new.header() != old.header() {
            let moved = Entry::new(self.field(), value, self.expire_at());
            std::mem::replace(self, moved).free();
            return;
        }
        if new != old {
            let size = new.layout().size();
            // SAFETY: the block was allocated with this layout, and the new size is not zero.
            let pointer = unsafe { realloc(self.0.as_ptr(), old.layout(), size) };
            let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(new.layout()) };
            self.0 = pointer;
            self.write_header(new);
        }
        self.write(new.header() + new.field, value);
    }

    /// Sets or takes away the time. The entry may move, as in [`Entry::set_value`].
    fn set_expire_at(&mut self, expire_at: Option<i64>) {
        match expire_at {
            Some(ms) if self.shape().timed => self.write_time(ms),
            None if !self.shape().timed => {}
            _ => {
                let (field, value) = self.pair();
                let moved = Entry::new(field, value, expire_at);
                std::mem::replace(self, moved).free();
            }
        }
    }

    fn free(self) {
        // SAFETY: the block was allocated with this layout, and the caller gives up the only
        // pointer to it.
        unsafe { dealloc(self.0.as_ptr(), self.shape().layout()) };
    }
}

/// The latest time an entry can have, in milliseconds since 1970.
pub const MAX_TIME: i64 = (1 << (8 * TIME_BYTES)) - 1;

/// A hash table of entries, each field at most once. It grows and shrinks in bounded steps, and
/// SCAN's guarantee holds for its cursors.
#[derive(Default)]
pub struct Entries {
    /// Each word is an entry that only this table owns.
    table: Table,
    frozen: Memory<Elements<Walk>>,
}

#[inline]
fn hash(field: &[u8]) -> u64 {
    Seed::of_process().hash(field)
}

#[inline]
fn hash_of_word(word: u64) -> u64 {
    hash(Entry::from_word(word).field())
}

impl Entries {
    pub fn new() -> Entries {
        Entries::default()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Where a field's entry is. The place is valid until an entry is inserted or removed.
    #[inline]
    pub fn find(&self, field: &[u8]) -> Option<Place> {
        let is_it = |word| Entry::from_word(word).field() == field;
        self.table.find(hash(field), is_it).map(|(place, _)| place)
    }

    /// What [`Entries::find`] will look at.
    #[inline]
    pub fn ahead(&self, field: &[u8]) -> Ahead<'_> {
        Ahead::new(&self.table, hash(field))
    }

    #[inline]
    pub fn get(&self, place: Place) -> Pair<'_> {
        Entry::from_word(self.table.get(place)).pair()
    }

    /// Adds an entry for a field that has none, as [`Entries::find`] has just told.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> Place {
        self.put(Entry::new(field, value, None))
    }

    /// Takes in an entry that no table has, for a field that has none.
    fn put(&mut self, entry: Entry) -> Place {
        let place = self.table.insert(hash(entry.field()), entry.word(), hash_of_word);
        self.after_change(entry);
        place
    }

    pub fn set_value(&mut self, place: Place, value: &[u8]) {
        self.change(place, |entry| entry.set_value(value));
    }

    /// Changes an entry, and follows it when it moves in memory.
    #[inline]
    fn change(&mut self, place: Place, change: impl FnOnce(&mut Entry)) {
        let mut entry = Entry::from_word(self.table.get(place));
        self.before_change(entry);
        change(&mut entry);
        self.table.replace(place, entry.word());
        self.after_change(entry);
    }

    pub fn remove(&mut self, place: Place) {
        let entry = Entry::from_word(self.table.get(place));
        self.before_change(entry);
        self.table.remove(place);
        entry.free();
    }

    #[inline]
    fn before_change(&mut self, entry: Entry) {
        if self.frozen.is_some() {
            self.save(entry);
        }
    }

    #[cold]
    fn save(&mut self, entry: Entry) {
        let Some(frozen) = self.frozen.get_mut() else { return };
        let is_ahead = frozen.position.is_ahead(hash(entry.field()));
        // Times are not negative, so a number above them says that there is none.
        let time = entry.expire_at().map_or(u64::MAX, |ms| ms as u64);
        frozen.before_change(is_ahead, entry.word(), entry.pair(), time);
    }

    #[inline]
    fn after_change(&mut self, entry: Entry) {
        if self.frozen.is_some() {
            self.skip(entry);
        }
    }

    #[cold]
    fn skip(&mut self, entry: Entry) {
        let Some(frozen) = self.frozen.get_mut() else { return };
        let is_ahead = frozen.position.is_ahead(hash(entry.field()));
        frozen.after_change(is_ahead, entry.word());
    }

    /// See [`Object::freeze`](super::Object::freeze). `first_field_time` is for the head.
    pub fn freeze(&mut self, ticket: Ticket, first_field_time: Option<i64>) {
        let head = Head { first_field_time, ..Head::new(Type::Hash, self.len()) };
        self.frozen = Memory::new(Elements::new(ticket, head));
    }

    pub fn frozen(&self) -> Option<(Ticket, Head)> {
        self.frozen.get().map(|frozen| (frozen.ticket, frozen.head))
    }

    /// See [`Object::read_frozen`](super::Object::read_frozen).
    pub fn read_frozen(&mut self, most: usize, visit: &mut Visit<'_>) -> bool {
        let Some(frozen) = self.frozen.get_mut() else { return false };
        frozen.read(&self.table, most, hash_of_word, |found| match found {
            Found::Saved(field, value, time) => {
                let time = i64::try_from(time).ok();
                visit(Piece::Field(field, value, time));
            }
            Found::Word(word) => {
                let entry = Entry::from_word(word);
                let (field, value) = entry.pair();
                visit(Piece::Field(field, value, entry.expire_at()));
            }
        })
    }

    /// See [`Object::thaw`](super::Object::thaw).
    pub fn thaw(&mut self) -> Option<Thawed> {
        self.frozen.take()
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Pair<'_>> {
        self.table.iter().map(|word| Entry::from_word(word).pair())
    }

    /// An entry drawn with equal chances.
    pub fn random(&self, rng: &mut Rng) -> Option<Pair<'_>> {
        self.table.random(rng).map(|word| Entry::from_word(word).pair())
    }

    /// About how many bytes of memory it takes, judged by so many entries (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        let looked_at = if samples == 0 { self.len() } else { samples.min(self.len()) };
        let size = |word| super::allocated(Entry::from_word(word).shape().layout().size());
        let sum: usize = self.table.iter().take(looked_at).map(size).sum();
        let entries = sum as u128 * self.len() as u128 / looked_at.max(1) as u128;
        entries as usize + self.table.capacity() * size_of::<u64>()
    }

    /// A step of SCAN: visits some entries and returns the next cursor, 0 at the end.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(Pair<'a>)) -> u64 {
        self.table.scan(cursor, |word| visit(Entry::from_word(word).pair()))
    }
}

impl Clone for Entries {
    fn clone(&self) -> Entries {
        let mut copy = Entries::new();
        for (field, value) in self.iter() {
            copy.insert(field, value);
        }
        copy
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        while self.table.drain_some(|word| Entry::from_word(word).free()) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Miri is slow, and looks at what is done rather than how often.
    const CASES: u32 = if cfg!(miri) { 4 } else { 256 };
    const STEPS: usize = if cfg!(miri) { 100 } else { 2000 };

    /// Lengths on both sides of those where the header changes.
    const LENGTHS: [usize; 9] =
        [0, 1, 14, 253, 254, 255, 256, 257, if cfg!(miri) { 300 } else { 70_000 }];

    #[test]
    fn lengths_of_all_sizes_come_back() {
        let bytes = |len: usize, first: usize| -> Vec<u8> {
            (first..first + len).map(|n| n as u8).collect()
        };
        let mut entries = Entries::new();
        for field in LENGTHS {
            let place = entries.insert(&bytes(field, 1), b"");
            for value in LENGTHS.into_iter().chain(LENGTHS.into_iter().rev()) {
                entries.set_value(place, &bytes(value, 7));
                assert!(entries.get(place) == (&bytes(field, 1), &bytes(value, 7)));
            }
        }
        assert_eq!(entries.len(), LENGTHS.len());
    }

    #[test]
    fn small_entries_have_two_bytes_more_than_their_data() {
        let size = |field, value, timed| Shape { field, value, timed }.layout().size();
        assert_eq!(size(16, 32, false), 50);
        assert_eq!(size(253, 255, false), 510);
        assert_eq!(size(254, 0, false), 267);
        assert_eq!(size(0, 256, false), 269);
        assert_eq!(size(16, 32, true), 57);
        assert_eq!(size(0, 256, true), 276);
    }

    #[test]
    #[should_panic(expected = "a place of this table")]
    fn a_place_that_is_gone_is_refused() {
        let mut entries = Entries::new();
        entries.insert(b"stays", b"");
        let place = entries.insert(b"goes", b"");
        entries.remove(place);
        entries.get(place);
    }

    #[test]
    fn a_table_can_be_freed_by_another_thread() {
        let mut entries = Entries::new();
        for n in 0..100u8 {
            entries.insert(&[n], &[n, n]);
        }
        std::thread::spawn(move || assert_eq!(entries.iter().count(), 100)).join().unwrap();
    }

    fn contents(entries: &Entries) -> BTreeMap<Vec<u8>, Vec<u8>> {
        entries.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(CASES))]
        #[test]
        fn agrees_with_a_map(
            steps in prop::collection::vec((0u8..8, 0u16..500, 0usize..40), 1..STEPS),
        ) {
            let mut entries = Entries::new();
            let mut model = BTreeMap::new();
            for (action, name, len) in steps {
                let field = name.to_string().into_bytes();
                let place = entries.find(&field);
                prop_assert_eq!(place.is_some(), model.contains_key(&field));
                match (action, place) {
                    (0..6, None) => {
                        let value = vec![b'x'; len * 10];
                        entries.insert(&field, &value);
                        model.insert(field, value);
                    }
                    (0..4, Some(place)) => {
                        let value = vec![b'y'; len * 10];
                        entries.set_value(place, &value);
                        model.insert(field, value);
                    }
                    (_, Some(place)) => {
                        prop_assert_eq!(entries.get(place).0, &field);
                        entries.remove(place);
                        model.remove(&field);
                    }
                    (_, None) => {}
                }
            }
            prop_assert_eq!(entries.len(), model.len());
            prop_assert_eq!(&contents(&entries), &model);
            let copy = entries.clone();
            drop(entries);
            prop_assert_eq!(&contents(&copy), &model);
            let mut scanned = BTreeSet::new();
            let mut cursor = 0;
            loop {
                cursor = copy.scan(cursor, |(field, _)| _ = scanned.insert(field));
                if cursor == 0 {
                    break;
                }
            }
            prop_assert!(scanned.into_iter().eq(model.keys()));
        }
    }
}
