//! A small set: a run of bytes, searched from its start.
//!
//! ```text
//! member  varint   length of the text
//!         text
//! ```
//!
//! Members stay in the order in which they came.

use crate::types::packed::{put, put_varint, varint, varint_size};
use crate::types::{Slot, Value};
use std::ops::Range;

/// The bytes of a packed set.
#[derive(Clone, Copy)]
pub struct Packed<'a>(pub &'a [u8]);

/// Bytes a member takes.
pub fn member_size(text: &[u8]) -> usize {
    varint_size(text.len()) + text.len()
}

/// Writes a member over `out`, which has its size.
pub fn write_member(mut out: &mut [u8], text: &[u8]) {
    put_varint(&mut out, text.len());
    put(&mut out, text);
    debug_assert!(out.is_empty());
}

impl<'a> Packed<'a> {
    /// Where the text of the member that starts here is; none at the end.
    #[inline]
    fn text_at(self, start: usize) -> Option<Range<usize>> {
        let mut text = start;
        if start >= self.0.len() {
            return None;
        }
        let len = varint(self.0, &mut text);
        Some(text..text + len)
    }

    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let text = self.text_at(at)?;
            at = text.end;
            Some(&self.0[text])
        })
    }

    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// The bytes of a member, its length included, or how many members there are instead.
    #[inline]
    pub fn search(self, text: &[u8]) -> Result<Range<usize>, usize> {
        let (mut at, mut members) = (0, 0);
        while let Some(found) = self.text_at(at) {
            let end = found.end;
            if found.len() == text.len() && self.0[found] == *text {
                return Ok(at..end);
            }
            at = end;
            members += 1;
        }
        Err(members)
    }
}

/// The packed set in a slot; an empty one for any other value.
fn packed<S: Slot>(slot: &S) -> Packed<'_> {
    match slot.value() {
        Value::Inline(_, bytes) => Packed(bytes),
        Value::Object(_) => Packed(&[]),
    }
}

/// Adds a member that is not there, as [`Packed::search`] has just told.
pub fn append<S: Slot>(slot: &mut S, text: &[u8]) {
    let end = packed(slot).0.len();
    write_member(slot.splice(end, 0, member_size(text)), text);
}

/// Removes a member; false if it is not there.
pub fn remove<S: Slot>(slot: &mut S, text: &[u8]) -> bool {
    let Ok(span) = packed(slot).search(text) else { return false };
    slot.splice(span.start, span.len(), 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Inline, Loose};

    #[test]
    fn the_layout_is_as_described() {
        let mut slot = Loose::Inline(Inline::Set, Vec::new());
        for text in [&b"ab"[..], b"", b"c"] {
            append(&mut slot, text);
        }
        assert_eq!(packed(&slot).0, b"\x02ab\x00\x01c");
        assert_eq!(packed(&slot).search(b""), Ok(3..4));
        assert_eq!(packed(&slot).search(b"a"), Err(3));
        assert!(remove(&mut slot, b"") && !remove(&mut slot, b""));
        assert_eq!(packed(&slot).0, b"\x02ab\x01c");
    }

    #[test]
    fn lengths_of_all_sizes_come_back() {
        for len in [0, 1, 127, 128, 16_383, 16_384] {
            let text: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut slot = Loose::Inline(Inline::Set, Vec::new());
            append(&mut slot, b"before");
            append(&mut slot, &text);
            append(&mut slot, b"behind");
            assert!(packed(&slot).iter().eq([&b"before"[..], &text, b"behind"]));
            assert_eq!(packed(&slot).0.len(), 14 + member_size(&text));
        }
    }
}
