//! Strings: bytes, or an integer kept as such.
//!
//! Short strings live in their record; those above [`INLINE_LIMIT`] are vectors of their own, so
//! that growing one does not move its key.

use super::{Inline, Object, Value};

/// Bytes a string may have within its record.
pub const INLINE_LIMIT: usize = 1024;

/// The longest string that OBJECT ENCODING calls `embstr`.
pub const EMBSTR_LIMIT: usize = 44;

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

    pub fn to_vec(self) -> Vec<u8> {
        self.with(<[u8]>::to_vec)
    }

    pub fn len(self) -> usize {
        match self {
            Str::Bytes(bytes) => bytes.len(),
            Str::Int(_) => self.with(<[u8]>::len),
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
