//! Entry IDs: milliseconds since 1970 and a number within the millisecond. Must not know streams.

use crate::base::number::parse_u64;

/// Ordered by time, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since 1970, or whatever the client counts.
    pub ms: u64,
    pub seq: u64,
}

/// The longest text of an ID: two numbers of 64 bits and what is between them.
const TEXT_BYTES: usize = 41;

/// Redis reads an ID through a buffer of this size.
const PARSE_BYTES: usize = 127;

/// An ID as a command was given it, of which the number may be left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialId {
    pub ms: u64,
    pub seq: Seq,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seq {
    Given(u64),
    /// `ms-*`
    Auto,
    /// `ms`
    Missing,
}

impl PartialId {
    /// Reads `ms`, `ms-seq` or `ms-*`.
    pub fn parse(text: &[u8]) -> Option<PartialId> {
        if text.len() > PARSE_BYTES {
            return None;
        }
        // In Redis it is a C string.
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        let Some(dash) = text.iter().position(|&byte| byte == b'-') else {
            return Some(PartialId { ms: parse_u64(text)?, seq: Seq::Missing });
        };
        let seq = match &text[dash + 1..] {
            b"*" => Seq::Auto,
            digits => Seq::Given(parse_u64(digits)?),
        };
        Some(PartialId { ms: parse_u64(&text[..dash])?, seq })
    }

    /// The ID, if its number is not left to the stream; `missing` stands for one not given.
    pub fn complete(self, missing: u64) -> Option<StreamId> {
        let seq = match self.seq {
            Seq::Given(seq) => seq,
            Seq::Missing => missing,
            Seq::Auto => return None,
        };
        Some(StreamId { ms: self.ms, seq })
    }
}

impl StreamId {
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    pub fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// Reads an ID; `missing` stands for a number that is not given.
    pub fn parse(text: &[u8], missing: u64) -> Option<StreamId> {
        PartialId::parse(text)?.complete(missing)
    }

    /// The one behind it, or none behind the last.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| StreamId { ms, seq: 0 }),
        }
    }

    /// The one before it, or none before the first.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| StreamId { ms, seq: u64::MAX }),
        }
    }

    /// Calls `f` with the ID's text, `ms-seq`.
    #[inline]
    pub fn with_text<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        self.with_separator(b'-', f)
    }

    /// The same with another byte between the numbers.
    pub fn with_separator<T>(self, separator: u8, f: impl FnOnce(&[u8]) -> T) -> T {
        let mut text = [0; TEXT_BYTES];
        let mut len = 0;
        let mut put = |part: &[u8]| {
            text[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        };
        let mut digits = itoa::Buffer::new();
        put(digits.format(self.ms).as_bytes());
        put(&[separator]);
        put(digits.format(self.seq).as_bytes());
        f(&text[..len])
    }

    pub fn text(self) -> Vec<u8> {
        self.with_text(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_redis_reads_them() {
        let id = |ms, seq| Some(StreamId { ms, seq });
        for (text, expected) in [
            ("5", id(5, 7)),
            ("5-3", id(5, 3)),
            ("0-0", id(0, 0)),
            ("005-03", id(5, 3)),
            ("+5-+3", id(5, 3)),
            ("18446744073709551615-18446744073709551615", Some(StreamId::MAX)),
            ("1-1\0junk", id(1, 1)),
            ("18446744073709551616-0", None),
            ("0-18446744073709551616", None),
            ("", None),
            ("-", None),
            ("+", None),
            ("*", None),
            ("-5", None),
            ("5-", None),
            ("5-*", None),
            ("1--3", None),
            ("1-2-3", None),
            ("1-a", None),
            ("a-1", None),
            ("1.5", None),
        ] {
            assert_eq!(StreamId::parse(text.as_bytes(), 7), expected, "{text:?}");
        }
        assert_eq!(StreamId::parse(&[b'1'; 128], 0), None);
        let auto = PartialId { ms: 5, seq: Seq::Auto };
        assert_eq!(PartialId::parse(b"5-*"), Some(auto));
    }

    #[test]
    fn neighbours_carry_over_and_end() {
        let max = u64::MAX;
        let id = StreamId::new;
        assert_eq!(id(1, 2).next(), Some(id(1, 3)));
        assert_eq!(id(1, max).next(), Some(id(2, 0)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(id(1, 2).previous(), Some(id(1, 1)));
        assert_eq!(id(1, 0).previous(), Some(id(0, max)));
        assert_eq!(StreamId::MIN.previous(), None);
        assert_eq!(StreamId::MAX.text(), format!("{max}-{max}").as_bytes());
        assert_eq!(id(1, 2).with_separator(b'.', <[u8]>::to_vec), b"1.2");
    }
}
