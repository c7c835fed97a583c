//! Strings: bytes, or an integer kept as such.
//!
//! Short strings live in their record; those above [`INLINE_LIMIT`] are vectors of their own, so
//! that growing one does not move its key.

mod frozen;

use super::{Inline, Object, Slot, Value};
use crate::base::number::{digits, parse_i64};
use std::ops::Range;

pub use frozen::Frozen;

/// Bytes a string may have within its record.
pub const INLINE_LIMIT: usize = 1024;

/// The longest string that OBJECT ENCODING calls `embstr`.
pub const EMBSTR_LIMIT: usize = 44;

/// The longest decimal form of an `i64`.
const INTEGER_DIGITS: usize = 20;

/// A string as it is read.
#[derive(Clone, Copy)]
pub enum Str<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Str<'a> {
    /// The string in a value, or none if it is of another type.
    #[inline]
    pub fn of(value: Value<'a>) -> Option<Str<'a>> {
        match value {
            Value::Inline(Inline::Str, bytes) => Some(Str::Bytes(bytes)),
            Value::Inline(Inline::Int, bytes) => Some(Str::Int(int_from(bytes))),
            Value::Object(Object::String(bytes)) => Some(Str::Bytes(bytes)),
            Value::Object(Object::FrozenString(frozen)) => Some(Str::Bytes(frozen.bytes())),
            _ => None,
        }
    }

    /// Calls `f` with the string's bytes, an integer's in decimal.
    #[inline]
    pub fn with<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Str::Bytes(bytes) => f(bytes),
            Str::Int(n) => f(itoa::Buffer::new().format(n).as_bytes()),
        }
    }

    /// The number the string is the decimal form of, if it is one's.
    #[inline]
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Str::Int(n) => Some(n),
            Str::Bytes(bytes) => integer(bytes),
        }
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.with(<[u8]>::to_vec)
    }

    pub fn len(self) -> usize {
        match self {
            Str::Bytes(bytes) => bytes.len(),
            Str::Int(n) => digits(n) as usize,
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The integer in the bytes of an [`Inline::Int`].
#[inline]
pub fn int_from(bytes: &[u8]) -> i64 {
    bytes.first_chunk().map_or(0, |b| i64::from_le_bytes(*b))
}

/// The integer that these bytes are the decimal form of: such a string is kept as an
/// [`Inline::Int`].
#[inline]
pub fn integer(bytes: &[u8]) -> Option<i64> {
    match bytes {
        // Most strings are no numbers, and most of those can be told at once.
        [b'-' | b'0'..=b'9', ..] if bytes.len() <= INTEGER_DIGITS => parse_i64(bytes),
        _ => None,
    }
}

/// Makes a string slot hold an integer: in place if it held one.
#[inline]
pub fn set_integer(slot: &mut impl Slot, n: i64) {
    if let Value::Inline(Inline::Int, _) = slot.value() {
        slot.bytes_mut().copy_from_slice(&n.to_le_bytes());
    } else {
        slot.set_inline(Inline::Int, &n.to_le_bytes());
    }
}

/// Adds bytes to the end of a string and returns its new length. The caller has checked the type
/// and the new length.
pub fn append(slot: &mut impl Slot, bytes: &[u8]) -> usize {
    let len = Str::of(slot.value()).map_or(0, Str::len);
    overwrite(slot, len, bytes)
}

/// Overwrites a string from `at` on, with zero bytes between its old end and `at`, and returns
/// its new length. The caller has checked the type and the new length.
pub fn overwrite(slot: &mut impl Slot, at: usize, bytes: &[u8]) -> usize {
    if let Value::Inline(Inline::Int, digits) = slot.value() {
        let mut text = itoa::Buffer::new();
        let text = text.format(int_from(digits));
        slot.set_inline(Inline::Str, text.as_bytes());
    }
    let len = match slot.object_mut() {
        Some(Object::String(string)) => {
            overwrite_vec(string, at, bytes);
            string.len()
        }
        Some(Object::FrozenString(frozen)) => {
            let string = frozen.bytes_mut(at..at + bytes.len());
            overwrite_vec(string, at, bytes);
            string.len()
        }
        _ => overwrite_inline(slot, at, bytes),
    };
    slot.set_raw();
    len
}

fn overwrite_inline(slot: &mut impl Slot, at: usize, bytes: &[u8]) -> usize {
    let Value::Inline(_, old) = slot.value() else { return 0 };
    let (old_len, end) = (old.len(), at + bytes.len());
    if end > INLINE_LIMIT {
        let mut string = old.to_vec();
        overwrite_vec(&mut string, at, bytes);
        slot.set_object(Object::String(string));
        return end;
    }
    if end > old_len {
        slot.splice(old_len, 0, end - old_len).fill(0);
    }
    slot.bytes_mut()[at..end].copy_from_slice(bytes);
    old_len.max(end)
}

fn overwrite_vec(string: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if at == string.len() {
        string.extend_from_slice(bytes);
        return;
    }
    let end = at + bytes.len();
    if end / 2 > string.capacity() {
        // Zeros that come from the system cost no time until they are written to.
        let mut longer = vec![0; end];
        longer[..string.len()].copy_from_slice(string);
        *string = longer;
    } else if end > string.len() {
        string.resize(end, 0);
    }
    string[at..end].copy_from_slice(bytes);
}

/// All bytes of a string, to be overwritten in place; an integer becomes its digits first. The
/// caller has checked the type.
pub fn bytes_mut(slot: &mut impl Slot) -> &mut [u8] {
    bytes_mut_of(slot, 0..usize::MAX)
}

/// The same, of which only these are overwritten.
pub fn bytes_mut_of(slot: &mut impl Slot, range: Range<usize>) -> &mut [u8] {
    if let Value::Inline(Inline::Int, digits) = slot.value() {
        let mut text = itoa::Buffer::new();
        let text = text.format(int_from(digits));
        slot.set_inline(Inline::Str, text.as_bytes());
    }
    slot.set_raw();
    if matches!(slot.value(), Value::Inline(..)) {
        return slot.bytes_mut();
    }
    match slot.object_mut() {
        Some(Object::String(string)) => string,
        Some(Object::FrozenString(frozen)) => frozen.bytes_mut(range),
        _ => &mut [],
    }
}

/// Replaces `remove` bytes of a string at `at` by `with`. The caller has checked the type and that
/// these bytes are there; an integer has no bytes.
pub fn splice(slot: &mut impl Slot, at: usize, remove: usize, with: &[u8]) {
    if remove == with.len() {
        bytes_mut_of(slot, at..at + remove)[at..at + remove].copy_from_slice(with);
        return;
    }
    if let Value::Inline(_, bytes) = slot.value()
        && bytes.len() - remove + with.len() > INLINE_LIMIT
    {
        let string = [&bytes[..at], with, &bytes[at + remove..]].concat();
        slot.set_object(Object::String(string));
        return;
    }
    match slot.object_mut() {
        Some(Object::String(string)) => {
            string.splice(at..at + remove, with.iter().copied());
        }
        Some(Object::FrozenString(frozen)) => {
            // What is behind moves.
            let string = frozen.bytes_mut(at..usize::MAX);
            string.splice(at..at + remove, with.iter().copied());
        }
        _ => slot.splice(at, remove, with.len()).copy_from_slice(with),
    }
    slot.set_raw();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Loose;
    use proptest::prelude::*;

    fn bytes_of(slot: &Loose) -> Vec<u8> {
        Str::of(slot.value()).unwrap().to_vec()
    }

    #[test]
    fn integers_are_told_by_their_one_spelling() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            ("", None),
            ("-", None),
            ("1a", None),
            ("000000000000000000001", None),
        ] {
            assert_eq!(integer(text.as_bytes()), expected, "{text:?}");
            assert_eq!(Str::Bytes(text.as_bytes()).as_integer(), expected, "{text:?}");
        }
    }

    #[test]
    fn an_integer_becomes_its_digits_when_it_is_changed() {
        let mut slot = Loose::Inline(Inline::Int, (-42i64).to_le_bytes().to_vec());
        assert_eq!(append(&mut slot, b"x"), 4);
        assert_eq!(bytes_of(&slot), b"-42x");
        set_integer(&mut slot, 7);
        assert_eq!(Str::of(slot.value()).unwrap().as_integer(), Some(7));
        set_integer(&mut slot, -8);
        assert_eq!(bytes_of(&slot), b"-8");
        assert!(matches!(slot.value(), Value::Inline(Inline::Int, _)));
    }

    #[test]
    fn long_strings_leave_the_record() {
        let mut slot = Loose::Inline(Inline::Str, b"start".to_vec());
        assert_eq!(append(&mut slot, &[b'x'; INLINE_LIMIT - 5]), INLINE_LIMIT);
        assert!(matches!(slot.value(), Value::Inline(Inline::Str, _)));
        assert_eq!(append(&mut slot, b"y"), INLINE_LIMIT + 1);
        assert!(matches!(slot.value(), Value::Object(Object::String(_))));
        assert!(bytes_of(&slot).starts_with(b"startxx") && bytes_of(&slot).ends_with(b"xy"));
    }

    #[test]
    fn appending_does_not_copy_the_whole_string_each_time() {
        let mut slot = Loose::Inline(Inline::Str, Vec::new());
        let mut moves = 0;
        let mut capacity = 0;
        for _ in 0..100_000 {
            append(&mut slot, b"0123456789");
            if let Some(Object::String(string)) = slot.object_mut()
                && string.capacity() != capacity
            {
                moves += 1;
                capacity = string.capacity();
            }
        }
        assert_eq!(bytes_of(&slot).len(), 1_000_000);
        assert!((1..20).contains(&moves), "{moves}");
    }

    proptest! {
        #[test]
        fn splicing_agrees_with_a_plain_vector(
            first in proptest::collection::vec(any::<u8>(), 0..1200),
            changes in proptest::collection::vec(
                (
                    any::<prop::sample::Index>(),
                    0usize..40,
                    proptest::collection::vec(any::<u8>(), 0..60),
                ),
                0..20,
            ),
        ) {
            let mut slot = Loose::Inline(Inline::Str, Vec::new());
            append(&mut slot, &first);
            let mut model = first;
            for (at, remove, with) in changes {
                let at = at.index(model.len() + 1);
                let remove = remove.min(model.len() - at);
                splice(&mut slot, at, remove, &with);
                model.splice(at..at + remove, with);
                prop_assert_eq!(&bytes_of(&slot), &model);
                prop_assert_eq!(bytes_mut(&mut slot), &mut model[..]);
            }
        }

        #[test]
        fn overwriting_agrees_with_a_plain_vector(
            first in proptest::collection::vec(any::<u8>(), 0..40),
            changes in proptest::collection::vec(
                (0u32..6, 0usize..1500, proptest::collection::vec(any::<u8>(), 0..300)), 0..30
            ),
        ) {
            let mut slot = Loose::Inline(Inline::Str, first.clone());
            let mut model = first;
            for (kind, at, bytes) in changes {
                let at = match kind {
                    0..3 => model.len(),
                    3 | 4 => at % (model.len() + 1),
                    _ => at,
                };
                let expected = model.len().max(at + bytes.len());
                model.resize(expected, 0);
                model[at..at + bytes.len()].copy_from_slice(&bytes);
                prop_assert_eq!(overwrite(&mut slot, at, &bytes), expected);
                prop_assert_eq!(&bytes_of(&slot), &model);
                prop_assert_eq!(Str::of(slot.value()).unwrap().len(), expected);
            }
        }
    }
}
