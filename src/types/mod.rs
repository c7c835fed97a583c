//! The data types. Each type's encodings are its own business; must not know keys, databases or
//! clients.
//!
//! A small value is a run of bytes inside its key's record, of a kind given by [`Inline`]; a large
//! one is an [`Object`]. A type changes its value through [`Slot`], which its tests implement
//! over a plain vector and the store over a record.

pub mod bitfield;
pub mod bits;
pub mod entry;
pub mod frozen;
pub mod geo;
pub mod hash;
pub mod hll;
pub mod lcs;
pub mod list;
pub mod packed;
pub mod set;
pub mod stream;
pub mod string;
pub mod zset;

use crate::base::table::Ahead;
use frozen::{Head, Thawed, Ticket, Visit};

/// What TYPE answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    String,
    List,
    Set,
    Zset,
    Hash,
    Stream,
}

impl Type {
    pub const ALL: [Type; 6] =
        [Type::String, Type::List, Type::Set, Type::Zset, Type::Hash, Type::Stream];

    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::Zset => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }
}

/// Kinds of values that are bytes within their record. The numbers are part of the record's
/// layout in memory, never of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Inline {
    /// The bytes of a string.
    Str = 0,
    /// A string that is the decimal form of these eight bytes, an `i64` in little-endian order.
    Int = 1,
    /// A packed hash.
    Hash = 2,
    /// A packed list.
    List = 3,
    /// A packed set.
    Set = 4,
    /// A set of integers, sorted.
    IntSet = 5,
    /// A packed sorted set.
    Zset = 6,
}

impl Inline {
    #[inline]
    pub fn from_bits(bits: u8) -> Inline {
        match bits {
            0 => Inline::Str,
            1 => Inline::Int,
            2 => Inline::Hash,
            3 => Inline::List,
            4 => Inline::Set,
            5 => Inline::IntSet,
            _ => Inline::Zset,
        }
    }
}

/// A value too large, or too much changed, to live in its record.
pub enum Object {
    String(Vec<u8>),
    /// See [`Object::freeze`].
    FrozenString(Box<string::Frozen>),
    Hash(hash::Table),
    /// A hash with fields that expire.
    ExpiringHash(Box<hash::Expiring>),
    Zset(zset::Sorted),
    Set(set::Large),
    List(list::Chunks),
    /// In a box of its own, so that other objects need not be as large.
    Stream(Box<stream::Stream>),
}

impl Clone for Object {
    /// The copy is not frozen.
    fn clone(&self) -> Object {
        match self {
            Object::String(bytes) => Object::String(bytes.clone()),
            Object::FrozenString(frozen) => Object::String(frozen.bytes().to_vec()),
            Object::Hash(table) => Object::Hash(table.clone()),
            Object::ExpiringHash(hash) => Object::ExpiringHash(hash.clone()),
            Object::Zset(sorted) => Object::Zset(sorted.clone()),
            Object::Set(set) => Object::Set(set.clone()),
            Object::List(chunks) => Object::List(chunks.clone()),
            Object::Stream(stream) => Object::Stream(stream.clone()),
        }
    }
}

impl Object {
    /// From now on the value can be read as it is now, whatever becomes of it, with
    /// [`Object::read_frozen`]. Takes a step for each chunk of a list, and for each group and
    /// consumer of a stream.
    pub fn freeze(&mut self, ticket: Ticket) {
        match self {
            Object::String(bytes) => {
                let frozen = string::Frozen::new(ticket, std::mem::take(bytes));
                *self = Object::FrozenString(Box::new(frozen));
            }
            Object::FrozenString(_) => {}
            Object::Hash(table) => table.freeze(ticket, None),
            Object::ExpiringHash(hash) => hash.fields.freeze(ticket),
            Object::Zset(sorted) => sorted.freeze(ticket),
            Object::Set(set) => set.freeze(ticket),
            Object::List(chunks) => chunks.freeze(ticket),
            Object::Stream(stream) => stream.freeze(ticket),
        }
    }

    /// Whose value it was when it was frozen, and what is known of it from then; none if it is not
    /// frozen.
    pub fn frozen(&self) -> Option<(Ticket, Head)> {
        match self {
            Object::String(_) => None,
            Object::FrozenString(frozen) => Some(frozen.head()),
            Object::Hash(table) => table.frozen(),
            Object::ExpiringHash(hash) => hash.fields.entries().frozen(),
            Object::Zset(sorted) => sorted.frozen(),
            Object::Set(set) => set.frozen(),
            Object::List(chunks) => chunks.frozen(),
            Object::Stream(stream) => stream.frozen(),
        }
    }

    /// Hands over the next pieces of what was frozen, about `most`: no more than a few times that,
    /// but perhaps none; false if these were the last.
    pub fn read_frozen(&mut self, most: usize, visit: &mut Visit<'_>) -> bool {
        match self {
            Object::String(_) => false,
            Object::FrozenString(frozen) => frozen.read(visit),
            Object::Hash(table) => table.read_frozen(most, visit),
            Object::ExpiringHash(hash) => hash.fields.entries_mut().read_frozen(most, visit),
            Object::Zset(sorted) => sorted.read_frozen(most, visit),
            Object::Set(set) => set.read_frozen(most, visit),
            Object::List(chunks) => chunks.read_frozen(most, visit),
            Object::Stream(stream) => stream.read_frozen(most, visit),
        }
    }

    /// The value is not frozen any more. Returns what it has kept for that.
    pub fn thaw(&mut self) -> Option<Thawed> {
        match self {
            Object::String(_) => None,
            Object::FrozenString(frozen) => {
                let empty = Box::new(string::Frozen::new(0, Vec::new()));
                let (bytes, kept) = std::mem::replace(frozen, empty).into_parts();
                *self = Object::String(bytes);
                Some(Box::new(kept))
            }
            Object::Hash(table) => table.thaw(),
            Object::ExpiringHash(hash) => hash.fields.entries_mut().thaw(),
            Object::Zset(sorted) => sorted.thaw(),
            Object::Set(set) => set.thaw(),
            Object::List(chunks) => chunks.thaw(),
            Object::Stream(stream) => stream.thaw(),
        }
    }
}

impl Object {
    /// About how many allocations freeing this takes: what decides where it is freed.
    pub fn free_effort(&self) -> usize {
        match self {
            // Giving back many pages to the kernel takes long, too.
            Object::String(bytes) => 1 + bytes.capacity() / 4096,
            Object::FrozenString(frozen) => 1 + frozen.capacity() / 4096,
            Object::Hash(table) => table.len(),
            Object::ExpiringHash(hash) => hash.fields.len(),
            Object::Zset(sorted) => sorted.len(),
            Object::Set(set) => set.free_effort(),
            Object::List(chunks) => chunks.free_effort(),
            Object::Stream(stream) => stream.free_effort(),
        }
    }
}

impl Object {
    /// About how many bytes of memory it takes, judged by so many of its elements (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        let inside = match self {
            Object::String(bytes) => bytes.capacity(),
            Object::FrozenString(frozen) => frozen.capacity(),
            Object::Hash(table) => table.memory(samples),
            Object::ExpiringHash(hash) => size_of::<hash::Expiring>() + hash.fields.memory(samples),
            Object::Zset(sorted) => sorted.memory(samples),
            Object::Set(set) => set.memory(samples),
            Object::List(chunks) => chunks.memory(samples),
            Object::Stream(stream) => stream.memory(samples),
        };
        size_of::<Object>() + inside
    }
}

impl Object {
    /// The look-up of an element, if it has a table of them.
    #[inline]
    pub fn ahead(&self, element: &[u8]) -> Option<Ahead<'_>> {
        match self {
            Object::Set(set) => Some(set.ahead(element)),
            Object::Hash(table) => Some(table.ahead(element)),
            Object::ExpiringHash(hash) => Some(hash.fields.ahead(element)),
            Object::Zset(sorted) => Some(sorted.ahead(element)),
            _ => None,
        }
    }
}

/// Allocators hand out blocks of sizes that are multiples of this, in bytes.
const BLOCK: usize = 8;

/// What a block of so many bytes takes of an allocator.
pub fn allocated(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK)
}

/// A value as it is read.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Inline(Inline, &'a [u8]),
    Object(&'a Object),
}

impl Value<'_> {
    #[inline]
    pub fn kind(&self) -> Type {
        match self {
            Value::Inline(Inline::Str | Inline::Int, _) => Type::String,
            Value::Inline(Inline::Hash, _) => Type::Hash,
            Value::Inline(Inline::List, _) => Type::List,
            Value::Inline(Inline::Set | Inline::IntSet, _) => Type::Set,
            Value::Inline(Inline::Zset, _) => Type::Zset,
            Value::Object(Object::String(_) | Object::FrozenString(_)) => Type::String,
            Value::Object(Object::Hash(_) | Object::ExpiringHash(_)) => Type::Hash,
            Value::Object(Object::Zset(_)) => Type::Zset,
            Value::Object(Object::Set(_)) => Type::Set,
            Value::Object(Object::List(_)) => Type::List,
            Value::Object(Object::Stream(_)) => Type::Stream,
        }
    }

    /// What OBJECT ENCODING answers. `raw` is what [`Slot::set_raw`] told of the value.
    pub fn encoding(&self, raw: bool) -> &'static str {
        match self {
            Value::Inline(Inline::Int, _) => "int",
            Value::Inline(Inline::Str, bytes) if !raw && bytes.len() <= string::EMBSTR_LIMIT => {
                "embstr"
            }
            Value::Inline(Inline::Str, _)
            | Value::Object(Object::String(_) | Object::FrozenString(_)) => "raw",
            Value::Inline(Inline::IntSet, _) => "intset",
            Value::Inline(Inline::Hash | Inline::List | Inline::Set | Inline::Zset, _) => {
                "listpack"
            }
            Value::Object(Object::Hash(_)) => "hashtable",
            Value::Object(Object::ExpiringHash(hash)) => hash.encoding_name(),
            Value::Object(Object::Zset(sorted)) => sorted.encoding_name(),
            Value::Object(Object::Set(set)) => set.encoding_name(),
            Value::Object(Object::List(chunks)) if chunks.is_quicklist() => "quicklist",
            Value::Object(Object::List(_)) => "listpack",
            Value::Object(Object::Stream(_)) => "stream",
        }
    }
}

/// The place a value is kept in, as its type changes it.
pub trait Slot {
    fn value(&self) -> Value<'_>;
    /// Inline bytes, to be overwritten; empty for an object.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Replaces `remove` inline bytes at `at` by `insert` new ones, to be overwritten by the
    /// caller through the returned slice of exactly those.
    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8];
    fn object_mut(&mut self) -> Option<&mut Object>;
    fn set_inline(&mut self, kind: Inline, bytes: &[u8]);
    fn set_object(&mut self, object: Object);
    /// From now on OBJECT ENCODING calls this string `raw`, until it is replaced as a whole.
    fn set_raw(&mut self) {}
}

/// A slot by itself, outside any keyspace: for tests, and for values under construction.
#[derive(Clone)]
pub enum Loose {
    Inline(Inline, Vec<u8>),
    Object(Object),
}

impl Slot for Loose {
    fn value(&self) -> Value<'_> {
        match self {
            Loose::Inline(kind, bytes) => Value::Inline(*kind, bytes),
            Loose::Object(object) => Value::Object(object),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Loose::Inline(_, bytes) => bytes,
            Loose::Object(_) => &mut [],
        }
    }

    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        match self {
            Loose::Inline(_, bytes) => {
                bytes.splice(at..at + remove, std::iter::repeat_n(0, insert));
                &mut bytes[at..at + insert]
            }
            Loose::Object(_) => &mut [],
        }
    }

    fn object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Loose::Inline(..) => None,
            Loose::Object(object) => Some(object),
        }
    }

    fn set_inline(&mut self, kind: Inline, bytes: &[u8]) {
        *self = Loose::Inline(kind, bytes.to_vec());
    }

    fn set_object(&mut self, object: Object) {
        *self = Loose::Object(object);
    }
}
