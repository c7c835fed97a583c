//! Hashes: fields, each with a value.
//!
//! A small hash is packed into its key's record ([`packed`]); one with more or longer fields than
//! its [`Limits`] is a table ([`Table`]), and stays one. Which of the two it is shows in its name
//! and in the order of its fields alone.

mod packed;
#[cfg(test)]
mod tests;

use super::entry::Pair;
use super::packed::MAX_BYTES;
use super::{Inline, Object, Slot, Value};
use crate::base::rng::Rng;
use packed::Packed;
use std::collections::HashSet;

/// A large hash.
pub use super::entry::Entries as Table;

/// What a hash may be and still be packed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fields it may have (`hash-max-listpack-entries`).
    pub entries: usize,
    /// Bytes that a field or a value may have (`hash-max-listpack-value`).
    pub value: usize,
}

/// A hash as it is read.
#[derive(Clone, Copy)]
pub struct Hash<'a>(Encoding<'a>);

#[derive(Clone, Copy)]
enum Encoding<'a> {
    Packed(Packed<'a>),
    Table(&'a Table),
}

impl<'a> Hash<'a> {
    /// The hash in a value, or none if it is of another type.
    #[inline]
    pub fn of(value: Value<'a>) -> Option<Hash<'a>> {
        match value {
            Value::Inline(Inline::Hash, bytes) => Some(Hash(Encoding::Packed(Packed(bytes)))),
            Value::Object(Object::Hash(table)) => Some(Hash(Encoding::Table(table))),
            _ => None,
        }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding_name(&self) -> &'static str {
        match self.0 {
            Encoding::Packed(_) => "listpack",
            Encoding::Table(_) => "hashtable",
        }
    }

    pub fn len(&self) -> usize {
        match self.0 {
            Encoding::Packed(packed) => packed.len(),
            Encoding::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self.0 {
            Encoding::Packed(packed) => packed.0.is_empty(),
            Encoding::Table(table) => table.is_empty(),
        }
    }

    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<&'a [u8]> {
        match self.0 {
            Encoding::Packed(packed) => packed.get(field),
            Encoding::Table(table) => table.find(field).map(|place| table.get(place).1),
        }
    }

    /// All fields with their values; those of a packed hash in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        let (packed, table) = match self.0 {
            Encoding::Packed(packed) => (Some(packed), None),
            Encoding::Table(table) => (None, Some(table)),
        };
        packed.into_iter().flat_map(Packed::iter).chain(table.into_iter().flat_map(Table::iter))
    }

    /// A step of HSCAN: visits some fields and returns the next cursor, 0 at the end. What is in
    /// the hash from the first step to the last is visited at least once.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(Pair<'a>)) -> u64 {
        match self.0 {
            // All at once, as Redis does: where a field is changes with every removal before it.
            Encoding::Packed(packed) => {
                packed.iter().for_each(visit);
                0
            }
            Encoding::Table(table) => table.scan(cursor, visit),
        }
    }

    /// A field drawn with equal chances; none if there is no field.
    pub fn random(&self, rng: &mut Rng) -> Option<Pair<'a>> {
        match self.0 {
            Encoding::Packed(packed) if packed.0.is_empty() => None,
            Encoding::Packed(packed) => packed.iter().nth(rng.index(packed.len())),
            Encoding::Table(table) => table.random(rng),
        }
    }

    /// Visits `count` fields, each drawn with equal chances from all: one may come repeatedly.
    pub fn draw(&self, count: u64, rng: &mut Rng, mut visit: impl FnMut(Pair<'a>)) {
        match self.0 {
            Encoding::Packed(packed) => {
                // Each draw would walk half of the bytes without this index.
                let items: Vec<_> = packed.items().collect();
                if !items.is_empty() {
                    (0..count).for_each(|_| visit(packed.pair(items[rng.index(items.len())])));
                }
            }
            Encoding::Table(table) => {
                (0..count).for_each(|_| table.random(rng).into_iter().for_each(&mut visit));
            }
        }
    }

    /// Visits `count` different fields, or all if there are not so many: each choice of fields
    /// is as likely as any other.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Pair<'a>)) {
        if let Encoding::Table(table) = self.0
            && count < table.len() / 3
        {
            // Few of many: at most every third draw is one that was seen already.
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let Some(pair) = table.random(rng) else { return };
                if seen.insert(pair.0) {
                    visit(pair);
                }
            }
            return;
        }
        // Each field is taken with the chance that its share of those still to come gives it
        // (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S).
        let mut left = self.len();
        let mut wanted = count.min(left);
        for pair in self.iter() {
            if wanted == 0 {
                break;
            }
            if rng.index(left) < wanted {
                visit(pair);
                wanted -= 1;
            }
            left -= 1;
        }
    }
}

/// Sets a field of the hash in `slot`; true if it is new.
pub fn insert<S: Slot>(slot: &mut S, field: &[u8], value: &[u8], limits: &Limits) -> bool {
    if let Value::Inline(_, bytes) = slot.value() {
        let size = bytes.len() + packed::entry_size(field, value);
        if field.len().max(value.len()) <= limits.value && size <= MAX_BYTES {
            let is_new = packed::insert(slot, field, value);
            if is_packed_beyond(slot, limits.entries) {
                unpack(slot);
            }
            return is_new;
        }
        unpack(slot);
    }
    let Some(Object::Hash(table)) = slot.object_mut() else { unreachable!("not a hash") };
    match table.find(field) {
        Some(place) => {
            table.set_value(place, value);
            false
        }
        None => {
            table.insert(field, value);
            true
        }
    }
}

fn is_packed_beyond<S: Slot>(slot: &S, entries: usize) -> bool {
    matches!(slot.value(), Value::Inline(_, bytes) if Packed(bytes).is_longer_than(entries))
}

/// Makes a packed hash a table.
fn unpack<S: Slot>(slot: &mut S) {
    let mut table = Table::new();
    for (field, value) in Hash::of(slot.value()).iter().flat_map(Hash::iter) {
        table.insert(field, value);
    }
    slot.set_object(Object::Hash(table));
}

/// Removes a field from the hash in `slot`; false if there is none, and then nothing changes.
pub fn remove<S: Slot>(slot: &mut S, field: &[u8]) -> bool {
    let place = match slot.value() {
        Value::Inline(..) => return packed::remove(slot, field),
        Value::Object(Object::Hash(table)) => table.find(field),
        Value::Object(_) => None,
    };
    let Some(place) = place else { return false };
    let Some(Object::Hash(table)) = slot.object_mut() else { unreachable!("not a hash") };
    table.remove(place);
    true
}
