//! A record: a key, its expiry and a short value in one allocation.
//!
//! ```text
//! meta   1 byte    kind of value (3 bits) | mark (1) | form of expiry (2) | wide (1) | raw (1)
//! access 3 bytes   LRU seconds, or LFU minutes and counter, as OBJECT IDLETIME / FREQ need them
//! key    1 or 4    length of the key       (4 bytes when `wide`)
//! value  1 or 4    length of the value's bytes
//! expiry 0, 6 or 8 milliseconds since 1970, then 4 bytes of position in the timing wheel
//! key bytes
//! value bytes      the inline bytes; for a large value the 8 bytes of a pointer to its `Object`
//! ```
//!
//! Nothing is aligned and nothing is padded: at a hundred million keys a byte is a hundred
//! megabytes. Must not know tables or databases.
#![allow(unsafe_code)]

use crate::types::{Inline, Object, Type, Value};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A record as the table and the timing wheel hold it: an owned pointer without a destructor.
/// Whoever takes the last copy out of the keyspace must call [`Record::free`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record(NonNull<u8>);

const WIDE: u8 = 0x40;
const RAW: u8 = 0x80;
const KIND_MASK: u8 = 0x07;
const KIND_OBJECT: u8 = 7;
const MARK: u8 = 0x08;
const EXPIRY_SHIFT: u8 = 4;
const POSITION_BYTES: usize = 4;
const POINTER_BYTES: usize = 8;
/// Milliseconds that fit the short form of an expiry: the year 10889.
const SHORT_EXPIRY_LIMIT: i64 = 1 << 48;

/// The lengths a header declares, and the offsets that follow from them.
#[derive(Clone, Copy)]
struct Shape {
    wide: bool,
    expiry: usize,
    key: usize,
    value: usize,
}

impl Shape {
    fn new(key: usize, value: usize, expire_at: Option<i64>) -> Shape {
        let expiry = match expire_at {
            None => 0,
            Some(ms) if (0..SHORT_EXPIRY_LIMIT).contains(&ms) => 6,
            Some(_) => 8,
        };
        Shape { wide: key > 0xFF || value > 0xFF, expiry, key, value }
    }

    /// The shape with another length of the value.
    fn with_value(self, value: usize) -> Shape {
        Shape { wide: self.key > 0xFF || value > 0xFF, value, ..self }
    }

    /// The shape with another key.
    fn with_key(self, key: usize) -> Shape {
        Shape { wide: key > 0xFF || self.value > 0xFF, key, ..self }
    }

    fn expiry_at(&self) -> usize {
        if self.wide { 12 } else { 6 }
    }

    fn key_at(&self) -> usize {
        self.expiry_at() + if self.expiry > 0 { self.expiry + POSITION_BYTES } else { 0 }
    }

    fn value_at(&self) -> usize {
        self.key_at() + self.key
    }

    fn total(&self) -> usize {
        self.value_at() + self.value
    }

    fn layout(&self) -> Layout {
        // Lengths are bounded by MAX_KEY and MAX_INLINE, far from the limit of a layout.
        Layout::from_size_align(self.total(), 1).expect("record size")
    }
}

/// The longest key a record can hold: its length field has 32 bits.
pub const MAX_KEY: usize = u32::MAX as usize;

impl Record {
    /// Makes a record. `value` is either inline bytes of a kind or an object.
    pub fn new(key: &[u8], value: NewValue<'_>, expire_at: Option<i64>) -> Record {
        assert!(key.len() <= MAX_KEY);
        let (kind, raw, bytes) = match &value {
            NewValue::Inline(kind, bytes) => (*kind as u8, false, bytes.len()),
            NewValue::Raw(bytes) => (Inline::Str as u8, true, bytes.len()),
            NewValue::Object(_) => (KIND_OBJECT, false, POINTER_BYTES),
        };
        let shape = Shape::new(key.len(), bytes, expire_at);
        let mut record = Record::allocate(shape);
        record.write_header(kind | if raw { RAW } else { 0 }, shape);
        record.slice_mut(shape.key_at(), key.len()).copy_from_slice(key);
        match value {
            NewValue::Inline(_, bytes) | NewValue::Raw(bytes) => {
                record.slice_mut(shape.value_at(), bytes.len()).copy_from_slice(bytes)
            }
            NewValue::Object(object) => record.put_object(object),
        }
        record.set_access(0);
        if let Some(ms) = expire_at {
            record.write_expiry(shape, ms);
        }
        record
    }

    /// A block of the right size, with nothing in it yet.
    fn allocate(shape: Shape) -> Record {
        // SAFETY: a record is never empty, so the layout's size is not zero.
        let pointer = unsafe { alloc(shape.layout()) };
        match NonNull::new(pointer) {
            Some(pointer) => Record(pointer),
            None => handle_alloc_error(shape.layout()),
        }
    }

    /// Gives the value, its expiry and its access another key, without copying an object. This
    /// record ends; the new one is in no wheel yet.
    pub fn renamed(self, key: &[u8]) -> Record {
        let renamed = self.duplicate_bytes(key);
        // The object, if there is one, belongs to the new record now.
        self.deallocate();
        renamed
    }

    /// A copy of the value, its expiry and its access under another key, in no wheel yet.
    pub fn copied(&self, key: &[u8]) -> Record {
        let mut copy = self.duplicate_bytes(key);
        if let Value::Object(object) = self.value() {
            copy.put_object(Box::new(object.clone()));
        }
        copy
    }

    /// All of the record under another key. An object's pointer is copied as it is, so only one
    /// of the two records may keep it.
    fn duplicate_bytes(&self, key: &[u8]) -> Record {
        assert!(key.len() <= MAX_KEY);
        let old = self.shape();
        let new = old.with_key(key.len());
        let mut record = Record::allocate(new);
        record.write_header(self.byte(0) & (KIND_MASK | RAW), new);
        record.set_access(self.access());
        record.slice_mut(new.key_at(), key.len()).copy_from_slice(key);
        let value = self.slice(old.value_at(), old.value);
        record.slice_mut(new.value_at(), new.value).copy_from_slice(value);
        if let Some(ms) = self.expire_at() {
            record.write_expiry(new, ms);
        }
        record
    }

    /// The record as a table's word.
    #[inline]
    pub fn word(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The record behind a word made by [`Record::word`] whose record was not freed since.
    ///
    /// # Safety
    /// The word must come from `word` of a record that still lives.
    #[inline]
    pub unsafe fn from_word(word: u64) -> Record {
        // SAFETY: by the caller's promise the word was a live, therefore non-null, pointer.
        Record(unsafe {
            NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(word as usize))
        })
    }

    #[inline]
    fn byte(&self, at: usize) -> u8 {
        // SAFETY: callers stay within the header's first six bytes, which every record has.
        unsafe { *self.0.as_ptr().add(at) }
    }

    /// Bytes of the record, for as long as the caller can vouch for: callers tie 'a to a borrow
    /// of the record or of its owner.
    #[inline]
    fn slice<'a>(&self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: callers pass ranges of the shape the header declares, which was allocated and
        // written whole by `new` or `reshape`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    #[inline]
    fn slice_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        // SAFETY: as in `slice`; the keyspace has one owner, so no other reference is alive.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr().add(at), len) }
    }

    fn read_u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.slice(at, 4));
        u32::from_le_bytes(bytes)
    }

    #[inline]
    fn shape(&self) -> Shape {
        let meta = self.byte(0);
        let expiry = [0, 6, 8, 8][(meta >> EXPIRY_SHIFT) as usize & 3];
        if meta & WIDE == 0 {
            let (key, value) = (self.byte(4) as usize, self.byte(5) as usize);
            Shape { wide: false, expiry, key, value }
        } else {
            let (key, value) = (self.read_u32(4) as usize, self.read_u32(8) as usize);
            Shape { wide: true, expiry, key, value }
        }
    }

    fn write_header(&mut self, kind: u8, shape: Shape) {
        let form = match shape.expiry {
            0 => 0,
            6 => 1,
            _ => 2,
        };
        let wide = if shape.wide { WIDE } else { 0 };
        self.slice_mut(0, 1)[0] = kind | form << EXPIRY_SHIFT | wide;
        if shape.wide {
            self.slice_mut(4, 4).copy_from_slice(&(shape.key as u32).to_le_bytes());
            self.slice_mut(8, 4).copy_from_slice(&(shape.value as u32).to_le_bytes());
        } else {
            self.slice_mut(4, 2).copy_from_slice(&[shape.key as u8, shape.value as u8]);
        }
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        self.slice(shape.key_at(), shape.key)
    }

    fn kind(&self) -> u8 {
        self.byte(0) & KIND_MASK
    }

    #[inline]
    pub fn value(&self) -> Value<'_> {
        self.value_for()
    }

    /// The value, with the lifetime rule of `slice`.
    #[inline]
    fn value_for<'a>(&self) -> Value<'a> {
        let shape = self.shape();
        let kind = self.kind();
        if kind == KIND_OBJECT {
            // SAFETY: an object record owns the box its pointer bytes were made from.
            Value::Object(unsafe { &*self.object_pointer(shape) })
        } else {
            Value::Inline(Inline::from_bits(kind), self.slice(shape.value_at(), shape.value))
        }
    }

    /// Whether a string was made by growing or overwriting, which OBJECT ENCODING calls `raw`.
    pub fn is_raw(&self) -> bool {
        self.byte(0) & RAW != 0
    }

    pub fn set_raw(&mut self) {
        self.slice_mut(0, 1)[0] |= RAW;
    }

    /// The inline bytes of the value, for changes that keep their length; empty for an object.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let shape = self.shape();
        if self.kind() == KIND_OBJECT {
            return &mut [];
        }
        self.slice_mut(shape.value_at(), shape.value)
    }

    pub fn object_mut(&mut self) -> Option<&mut Object> {
        let shape = self.shape();
        // SAFETY: an object record owns the box its pointer bytes were made from, and the
        // keyspace has one owner, so no other reference is alive.
        (self.kind() == KIND_OBJECT).then(|| unsafe { &mut *self.object_pointer(shape) })
    }

    fn object_pointer(&self, shape: Shape) -> *mut Object {
        let mut bytes = [0; POINTER_BYTES];
        bytes.copy_from_slice(self.slice(shape.value_at(), POINTER_BYTES));
        std::ptr::with_exposed_provenance_mut(u64::from_le_bytes(bytes) as usize)
    }

    fn put_object(&mut self, object: Box<Object>) {
        let shape = self.shape();
        let address = Box::into_raw(object).expose_provenance() as u64;
        self.slice_mut(shape.value_at(), POINTER_BYTES).copy_from_slice(&address.to_le_bytes());
    }

    /// Gives up the object. Whoever calls must overwrite the pointer, or end the record.
    fn release_object(&mut self, shape: Shape) -> Option<Box<Object>> {
        // SAFETY: the pointer came from Box::into_raw in `put_object`, and by the rule above it
        // is taken back once.
        (self.kind() == KIND_OBJECT).then(|| unsafe { Box::from_raw(self.object_pointer(shape)) })
    }

    /// Puts another value in the old one's place and gives back the old one's object, if it had
    /// one. The record may move: the caller must store the new [`Record::word`].
    #[inline]
    pub fn set_value(&mut self, value: NewValue<'_>) -> Option<Box<Object>> {
        let shape = self.shape();
        let old = self.release_object(shape);
        match value {
            NewValue::Inline(kind, bytes) => self.put_bytes(kind as u8, shape, bytes),
            NewValue::Raw(bytes) => self.put_bytes(Inline::Str as u8 | RAW, shape, bytes),
            NewValue::Object(object) => {
                self.reshape(KIND_OBJECT, shape, shape.with_value(POINTER_BYTES));
                self.put_object(object);
            }
        }
        old
    }

    #[inline]
    fn put_bytes(&mut self, meta: u8, shape: Shape, bytes: &[u8]) {
        if bytes.len() == shape.value {
            // The usual case where values are overwritten: only they and their kind change.
            let kept = self.byte(0) & !(KIND_MASK | RAW);
            self.slice_mut(0, 1)[0] = kept | meta;
            self.slice_mut(shape.value_at(), bytes.len()).copy_from_slice(bytes);
            return;
        }
        let new = shape.with_value(bytes.len());
        self.reshape(meta, shape, new);
        self.slice_mut(new.value_at(), bytes.len()).copy_from_slice(bytes);
    }

    /// Replaces `remove` inline bytes at `at` by `insert` bytes, which hold anything at first.
    /// The record may move.
    pub fn splice(&mut self, at: usize, remove: usize, insert: usize) {
        let shape = self.shape();
        assert!(self.kind() != KIND_OBJECT && at + remove <= shape.value);
        let tail = shape.value - at - remove;
        let new = shape.with_value(shape.value - remove + insert);
        let meta = self.byte(0) & (KIND_MASK | RAW);
        if insert >= remove {
            self.reshape(meta, shape, new);
            self.bytes_mut().copy_within(at + remove..at + remove + tail, at + insert);
        } else {
            self.bytes_mut().copy_within(at + remove..at + remove + tail, at + insert);
            self.reshape(meta, shape, new);
        }
    }

    /// Changes kind and lengths. Keeps key, mark, access time, expiry (where both shapes have one),
    /// wheel position, and as many of the value's first bytes as fit the new shape.
    fn reshape(&mut self, meta: u8, old: Shape, new: Shape) {
        let meta = meta | self.byte(0) & MARK;
        if old.wide == new.wide && old.expiry == new.expiry {
            // Everything before the value stays where it is.
            if old.value != new.value {
                self.reallocate(old.total(), new.total());
            }
            self.write_header(meta, new);
            return;
        }
        let (old_key, new_key) = (old.key_at(), new.key_at());
        let body = new.key + old.value.min(new.value);
        let expiry = (self.expire_at(), self.wheel_position());
        if new.total() > old.total() {
            self.reallocate(old.total(), new.total());
        }
        // SAFETY: both ranges lie within the larger of the two shapes, which is what is
        // allocated at this point.
        unsafe {
            let base = self.0.as_ptr();
            std::ptr::copy(base.add(old_key), base.add(new_key), body);
        }
        if new.total() < old.total() {
            self.reallocate(old.total(), new.total());
        }
        self.write_header(meta, new);
        if new.expiry > 0
            && let (Some(ms), position) = expiry
        {
            self.write_expiry(new, ms);
            self.set_wheel_position(position);
        }
    }

    fn reallocate(&mut self, old: usize, new: usize) {
        let layout = Layout::from_size_align(old, 1).expect("record size");
        // SAFETY: the block was allocated with this layout, and the new size is not zero.
        let pointer = unsafe { realloc(self.0.as_ptr(), layout, new) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        self.0 = pointer;
    }

    /// Milliseconds since 1970 at which the key goes away.
    #[inline]
    pub fn expire_at(&self) -> Option<i64> {
        let form = (self.byte(0) >> EXPIRY_SHIFT) & 3;
        if form == 0 {
            return None;
        }
        let shape = self.shape();
        let mut bytes = [0; 8];
        bytes[..shape.expiry].copy_from_slice(self.slice(shape.expiry_at(), shape.expiry));
        Some(i64::from_le_bytes(bytes))
    }

    fn write_expiry(&mut self, shape: Shape, ms: i64) {
        let bytes = ms.to_le_bytes();
        self.slice_mut(shape.expiry_at(), shape.expiry).copy_from_slice(&bytes[..shape.expiry]);
        self.set_wheel_position(0);
    }

    /// Sets or takes away the expiry. The record may move; its wheel position is reset.
    pub fn set_expire_at(&mut self, expire_at: Option<i64>) {
        let shape = self.shape();
        let new = Shape::new(shape.key, shape.value, expire_at);
        if new.expiry != shape.expiry {
            self.reshape(self.byte(0) & (KIND_MASK | RAW), shape, new);
        }
        if let Some(ms) = expire_at {
            self.write_expiry(new, ms);
        }
    }

    /// Where the timing wheel keeps this record; 0 when it has no expiry.
    pub fn wheel_position(&self) -> u32 {
        let shape = self.shape();
        if shape.expiry == 0 { 0 } else { self.read_u32(shape.expiry_at() + shape.expiry) }
    }

    pub fn set_wheel_position(&mut self, position: u32) {
        let shape = self.shape();
        if shape.expiry > 0 {
            let at = shape.expiry_at() + shape.expiry;
            self.slice_mut(at, POSITION_BYTES).copy_from_slice(&position.to_le_bytes());
        }
    }

    /// The 24 access bits.
    pub fn access(&self) -> u32 {
        u32::from_le_bytes([self.byte(1), self.byte(2), self.byte(3), 0])
    }

    #[inline]
    pub fn set_access(&mut self, access: u32) {
        self.slice_mut(1, 3).copy_from_slice(&access.to_le_bytes()[..3]);
    }

    /// A bit for the record's owner, false at first: by it a snapshot knows which records it has
    /// seen (see `snapshot`).
    #[inline]
    pub fn mark(&self) -> bool {
        self.byte(0) & MARK != 0
    }

    #[inline]
    pub fn set_mark(&mut self, mark: bool) {
        let others = self.byte(0) & !MARK;
        self.slice_mut(0, 1)[0] = others | if mark { MARK } else { 0 };
    }

    /// Bytes of the allocation.
    pub fn size(&self) -> usize {
        self.shape().total()
    }

    /// Ends the record and gives back its object, if it had one, so that the caller can choose
    /// where a large one is freed.
    pub fn free(mut self) -> Option<Box<Object>> {
        let object = self.release_object(self.shape());
        self.deallocate();
        object
    }

    fn deallocate(self) {
        // SAFETY: the block was allocated with this layout; the caller holds the last copy.
        unsafe { dealloc(self.0.as_ptr(), self.shape().layout()) };
    }
}

/// Copies of records whose values are inline, for somebody who reads them in his own time.
#[derive(Default)]
pub struct Copies(Vec<u8>);

impl Copies {
    /// Adds a record; false if its value is an object, which a copy could not keep.
    #[inline]
    pub fn push(&mut self, view: View<'_>) -> bool {
        if view.record.kind() == KIND_OBJECT {
            return false;
        }
        self.0.extend_from_slice(view.record.slice(0, view.record.shape().total()));
        true
    }

    /// Bytes of all copies.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = View<'_>> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            // Of the whole rest, as a pointer to its first byte would be to that alone.
            let pointer = NonNull::new(rest.as_ptr().cast_mut()).filter(|_| !rest.is_empty())?;
            let record = Record(pointer);
            rest = &rest[record.shape().total()..];
            // SAFETY: what begins here is all of a record, as `push` added it, and it lives as
            // long as `self` is borrowed. Records need no alignment.
            Some(unsafe { View::new(record) })
        })
    }
}

/// A record as it is read: it lives as long as the borrow 'a of its owner.
#[derive(Clone, Copy)]
pub struct View<'a> {
    record: Record,
    owner: PhantomData<&'a ()>,
}

impl<'a> View<'a> {
    /// # Safety
    /// The record must live, and not be changed, for all of 'a.
    #[inline]
    pub unsafe fn new(record: Record) -> View<'a> {
        View { record, owner: PhantomData }
    }

    #[inline]
    pub fn key(&self) -> &'a [u8] {
        let shape = self.record.shape();
        self.record.slice(shape.key_at(), shape.key)
    }

    #[inline]
    pub fn value(&self) -> Value<'a> {
        self.record.value_for()
    }

    pub fn is_raw(&self) -> bool {
        self.record.is_raw()
    }

    #[inline]
    pub fn expire_at(&self) -> Option<i64> {
        self.record.expire_at()
    }

    pub fn access(&self) -> u32 {
        self.record.access()
    }

    /// Bytes of the record's allocation; an object's own are not counted.
    pub fn size(&self) -> usize {
        self.record.size()
    }
}

/// A value to be put into a record.
pub enum NewValue<'a> {
    Inline(Inline, &'a [u8]),
    /// A short string that OBJECT ENCODING calls `raw`.
    Raw(&'a [u8]),
    Object(Box<Object>),
}

impl NewValue<'_> {
    pub fn kind(&self) -> Type {
        match self {
            NewValue::Inline(kind, bytes) => Value::Inline(*kind, bytes).kind(),
            NewValue::Raw(_) => Type::String,
            NewValue::Object(object) => Value::Object(object).kind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Content {
        Inline(Inline, Vec<u8>),
        Raw(Vec<u8>),
        Object(Vec<u8>),
    }

    impl Content {
        fn new_value(&self) -> NewValue<'_> {
            match self {
                Content::Inline(kind, bytes) => NewValue::Inline(*kind, bytes),
                Content::Raw(bytes) => NewValue::Raw(bytes),
                Content::Object(bytes) => NewValue::Object(Box::new(Object::String(bytes.clone()))),
            }
        }

        fn is_object(&self) -> bool {
            matches!(self, Content::Object(_))
        }
    }

    /// What a record should hold.
    #[derive(Clone, Debug)]
    struct Model {
        key: Vec<u8>,
        content: Content,
        expire_at: Option<i64>,
        position: u32,
        access: u32,
    }

    fn check(record: &Record, model: &Model) {
        assert_eq!(record.key(), &model.key[..]);
        let content = match record.value() {
            Value::Inline(Inline::Str, bytes) if record.is_raw() => Content::Raw(bytes.to_vec()),
            Value::Inline(kind, bytes) => Content::Inline(kind, bytes.to_vec()),
            Value::Object(Object::String(bytes)) => Content::Object(bytes.clone()),
            Value::Object(_) => panic!("not a string"),
        };
        assert_eq!(content, model.content);
        assert_eq!(record.expire_at(), model.expire_at);
        assert_eq!(record.wheel_position(), model.position);
        assert_eq!(record.access(), model.access);
        let (key, value) = (
            model.key.len(),
            if model.content.is_object() { 8 } else { value_len(&model.content) },
        );
        let header = if key > 255 || value > 255 { 12 } else { 6 };
        let expiry = match model.expire_at {
            None => 0,
            Some(ms) if (0..1 << 48).contains(&ms) => 10,
            Some(_) => 12,
        };
        assert_eq!(record.size(), header + expiry + key + value);
    }

    fn value_len(content: &Content) -> usize {
        match content {
            Content::Inline(_, bytes) | Content::Raw(bytes) | Content::Object(bytes) => bytes.len(),
        }
    }

    fn object_bytes(object: Option<Box<Object>>) -> Option<Vec<u8>> {
        object.map(|object| match *object {
            Object::String(bytes) => bytes,
            _ => panic!("not a string"),
        })
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(Content),
        Splice(usize, usize, Vec<u8>),
        Overwrite(u8),
        Expire(Option<i64>),
        Move(u32),
        Access(u32),
        Raw,
        Rename(Vec<u8>),
        Copy(Vec<u8>),
    }

    /// Lengths around those at which the header changes.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let len = prop_oneof![4 => 0usize..12, 1 => 250usize..260, 1 => 0usize..1024];
        (len, any::<u8>())
            .prop_map(|(len, first)| (0..len).map(|at| first.wrapping_add(at as u8)).collect())
    }

    fn content() -> impl Strategy<Value = Content> {
        prop_oneof![
            3 => bytes().prop_map(|bytes| Content::Inline(Inline::Str, bytes)),
            1 => any::<[u8; 8]>().prop_map(|n| Content::Inline(Inline::Int, n.to_vec())),
            1 => bytes().prop_map(|bytes| Content::Inline(Inline::Hash, bytes)),
            1 => bytes().prop_map(Content::Raw),
            2 => bytes().prop_map(Content::Object),
        ]
    }

    fn expire_at() -> impl Strategy<Value = Option<i64>> {
        let limit = 1i64 << 48;
        prop_oneof![
            2 => Just(None),
            4 => (0..limit).prop_map(Some),
            1 => (limit - 2..limit + 2).prop_map(Some),
            1 => any::<i64>().prop_map(Some),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => content().prop_map(Op::Set),
            4 => (any::<usize>(), any::<usize>(), bytes())
                .prop_map(|(at, remove, insert)| Op::Splice(at, remove, insert)),
            1 => any::<u8>().prop_map(Op::Overwrite),
            4 => expire_at().prop_map(Op::Expire),
            1 => any::<u32>().prop_map(Op::Move),
            1 => (0u32..1 << 24).prop_map(Op::Access),
            1 => Just(Op::Raw),
            2 => bytes().prop_map(Op::Rename),
            1 => bytes().prop_map(Op::Copy),
        ]
    }

    fn apply(record: &mut Record, model: &mut Model, op: Op) {
        match op {
            Op::Set(content) => {
                let old = object_bytes(record.set_value(content.new_value()));
                assert_eq!(old.is_some(), model.content.is_object());
                assert!(old.is_none_or(|bytes| Content::Object(bytes) == model.content));
                model.content = content;
            }
            Op::Splice(at, remove, insert) => {
                let (Content::Inline(_, bytes) | Content::Raw(bytes)) = &mut model.content else {
                    return;
                };
                let at = at % (bytes.len() + 1);
                let remove = remove % (bytes.len() - at + 1);
                record.splice(at, remove, insert.len());
                record.bytes_mut()[at..at + insert.len()].copy_from_slice(&insert);
                bytes.splice(at..at + remove, insert);
            }
            Op::Overwrite(byte) => {
                record.bytes_mut().fill(byte);
                match &mut model.content {
                    Content::Inline(_, bytes) | Content::Raw(bytes) => bytes.fill(byte),
                    Content::Object(bytes) => {
                        bytes.push(byte);
                        let Some(Object::String(own)) = record.object_mut() else { panic!() };
                        own.push(byte);
                    }
                }
            }
            Op::Expire(expire_at) => {
                record.set_expire_at(expire_at);
                (model.expire_at, model.position) = (expire_at, 0);
            }
            Op::Move(position) => {
                record.set_wheel_position(position);
                model.position = if model.expire_at.is_some() { position } else { 0 };
            }
            Op::Access(access) => {
                record.set_access(access);
                model.access = access;
            }
            Op::Raw => {
                if let Content::Inline(Inline::Str, bytes) = &model.content {
                    record.set_raw();
                    model.content = Content::Raw(bytes.clone());
                }
            }
            Op::Rename(key) => {
                *record = record.renamed(&key);
                (model.key, model.position) = (key, 0);
            }
            Op::Copy(key) => {
                let copy = record.copied(&key);
                check(&copy, &Model { key, position: 0, ..model.clone() });
                copy.free();
            }
        }
    }

    proptest! {
        #[test]
        fn a_record_holds_what_was_put_in(
            key in bytes(),
            content in content(),
            expire_at in expire_at(),
            ops in proptest::collection::vec(op(), 0..40),
        ) {
            let mut record = Record::new(&key, content.new_value(), expire_at);
            let mut model = Model { key, content, expire_at, position: 0, access: 0 };
            check(&record, &model);
            for op in ops {
                apply(&mut record, &mut model, op);
                check(&record, &model);
            }
            let object = object_bytes(record.free());
            prop_assert_eq!(object.is_some(), model.content.is_object());
            prop_assert!(object.is_none_or(|bytes| Content::Object(bytes) == model.content));
        }
    }

    #[test]
    fn a_value_of_the_same_length_stays_where_it_is() {
        for expire_at in [None, Some(1), Some(i64::MAX)] {
            let mut record =
                Record::new(b"key", NewValue::Inline(Inline::Str, b"before!!"), expire_at);
            let word = record.word();
            record.set_wheel_position(7);
            assert!(record.set_value(NewValue::Inline(Inline::Int, b"12345678")).is_none());
            assert!(record.set_value(NewValue::Raw(b"after..!")).is_none());
            assert_eq!(record.word(), word);
            let position = if expire_at.is_some() { 7 } else { 0 };
            assert_eq!((record.expire_at(), record.wheel_position()), (expire_at, position));
            record.free();
        }
    }
}
