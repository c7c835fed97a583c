//! A small hash: a run of bytes, searched from its start.
//!
//! ```text
//! entry  1 byte   length of the field (high 4 bits) | length of the value (low 4 bits)
//!        varint   if the field's length is 15: what it has above 15
//!        varint   if the value's length is 15: what it has above 15
//!        field bytes
//!        value bytes
//! ```
//!
//! Entries stay in the order in which their fields came. There is no count in front: who inserts
//! has walked all entries anyway, and a small hash's memory is mostly such headers.

use crate::types::entry::Pair;
use crate::types::packed::{put, put_varint, varint, varint_size};
use crate::types::{Slot, Value};
use std::ops::Range;

/// Lengths from here on do not fit their 4 bits.
const LONG: usize = 15;

/// The bytes of a packed hash.
#[derive(Clone, Copy)]
pub struct Packed<'a>(pub &'a [u8]);

/// Where an entry is.
#[derive(Clone, Copy)]
pub struct Item {
    start: usize,
    field: usize,
    value: usize,
    end: usize,
}

impl Item {
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

fn long_size(len: usize) -> usize {
    if len < LONG { 0 } else { varint_size(len - LONG) }
}

/// Bytes an entry takes.
pub fn entry_size(field: &[u8], value: &[u8]) -> usize {
    1 + long_size(field.len()) + long_size(value.len()) + field.len() + value.len()
}

fn put_long(out: &mut &mut [u8], len: usize) {
    if len >= LONG {
        put_varint(out, len - LONG);
    }
}

/// Writes an entry over `out`, which has its size.
fn write_entry(mut out: &mut [u8], field: &[u8], value: &[u8]) {
    let (high, low) = (field.len().min(LONG), value.len().min(LONG));
    put(&mut out, &[(high << 4 | low) as u8]);
    put_long(&mut out, field.len());
    put_long(&mut out, value.len());
    put(&mut out, field);
    put(&mut out, value);
    debug_assert!(out.is_empty());
}

impl<'a> Packed<'a> {
    /// The entry that starts here; none at the end.
    #[inline]
    fn item(self, start: usize) -> Option<Item> {
        let lengths = *self.0.get(start)?;
        let mut field = start + 1;
        let (mut high, mut low) = ((lengths >> 4) as usize, (lengths & 15) as usize);
        if high == LONG {
            high += varint(self.0, &mut field);
        }
        if low == LONG {
            low += varint(self.0, &mut field);
        }
        let value = field + high;
        Some(Item { start, field, value, end: value + low })
    }

    pub fn items(self) -> impl Iterator<Item = Item> + use<'a> {
        std::iter::successors(self.item(0), move |item| self.item(item.end))
    }

    #[inline]
    pub fn pair(self, item: Item) -> Pair<'a> {
        (&self.0[item.field..item.value], &self.0[item.value..item.end])
    }

    pub fn iter(self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        self.items().map(move |item| self.pair(item))
    }

    pub fn len(self) -> usize {
        self.items().count()
    }

    /// Whether there are more entries than this. Cheap where the answer is plain from the size.
    pub fn is_longer_than(self, entries: usize) -> bool {
        self.0.len() > entries && self.len() > entries
    }

    #[inline]
    pub fn find(self, field: &[u8]) -> Option<Item> {
        let mut at = 0;
        while let Some(item) = self.item(at) {
            if item.value - item.field == field.len() && self.0[item.field..item.value] == *field {
                return Some(item);
            }
            at = item.end;
        }
        None
    }

    pub fn get(self, field: &[u8]) -> Option<&'a [u8]> {
        self.find(field).map(|item| &self.0[item.value..item.end])
    }
}

/// The packed hash in a slot; an empty one for any other value.
fn packed<S: Slot>(slot: &S) -> Packed<'_> {
    match slot.value() {
        Value::Inline(_, bytes) => Packed(bytes),
        Value::Object(_) => Packed(&[]),
    }
}

/// Sets a field; true if it is new.
pub fn insert<S: Slot>(slot: &mut S, field: &[u8], value: &[u8]) -> bool {
    let bytes = packed(slot);
    let found = bytes.find(field);
    let span = match found {
        Some(item) if item.end - item.value == value.len() => {
            slot.bytes_mut()[item.value..item.end].copy_from_slice(value);
            return false;
        }
        Some(item) => item.span(),
        None => bytes.0.len()..bytes.0.len(),
    };
    let place = slot.splice(span.start, span.len(), entry_size(field, value));
    write_entry(place, field, value);
    found.is_none()
}

/// Removes a field; false if there is none.
pub fn remove<S: Slot>(slot: &mut S, field: &[u8]) -> bool {
    let Some(item) = packed(slot).find(field) else { return false };
    slot.splice(item.start, item.span().len(), 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Inline, Loose};

    fn packed_bytes(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut slot = Loose::Inline(Inline::Hash, Vec::new());
        for (field, value) in pairs {
            assert!(insert(&mut slot, field.as_bytes(), value.as_bytes()));
        }
        packed(&slot).0.to_vec()
    }

    #[test]
    fn the_layout_is_as_described() {
        assert_eq!(packed_bytes(&[("ab", "c"), ("", "")]), b"\x21abc\x00");
        // 14 is the longest that needs no more than its four bits.
        let (short, long) = ("f".repeat(14), "v".repeat(15));
        let bytes = packed_bytes(&[(&short, &long)]);
        assert_eq!(bytes[..3], [0xEF, 0, b'f']);
        assert_eq!(bytes.len(), 2 + 14 + 15);
        let (field, value) = ("f".repeat(15 + 127), "v".repeat(15 + 128));
        let bytes = packed_bytes(&[(&field, &value)]);
        assert_eq!(bytes[..5], [0xFF, 127, 0x80, 1, b'f']);
        assert_eq!(bytes.len(), 4 + field.len() + value.len());
    }

    #[test]
    fn five_small_fields_take_a_byte_each_more_than_their_data() {
        let pairs = [("f1", "11"), ("f2", "22"), ("f3", "33"), ("f4", "44"), ("f5", "55")];
        assert_eq!(packed_bytes(&pairs).len(), 20 + 5);
    }

    #[test]
    fn lengths_of_all_sizes_come_back() {
        for len in [0, 1, 14, 15, 16, 142, 143, 144, 16_398, 16_399, 16_400, 3_000_000] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut slot = Loose::Inline(Inline::Hash, Vec::new());
            insert(&mut slot, b"before", b"1");
            insert(&mut slot, &bytes, b"field");
            insert(&mut slot, b"value", &bytes);
            assert_eq!(packed(&slot).get(&bytes), Some(&b"field"[..]), "{len}");
            assert!(packed(&slot).get(b"value") == Some(&bytes), "{len}");
            assert_eq!(packed(&slot).len(), 3);
        }
    }
}
