//! Reads replies: bytes to values, as they arrive. For those who talk to a server: a replica to
//! its primary, the tests to the server. Knows RESP2 and RESP3 alike and takes either.
//!
//! The decoder keeps its place between calls, so no byte is looked at twice, and takes memory only
//! for bytes it has seen: a reply that announces a gigabyte costs nothing until it comes.
//! RESP3's streamed strings and aggregates (`$?`, `*?`) are refused; no server sends them.
//! The format: <https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md>

use crate::base::{args, number};
use std::fmt;

/// Longest line: simple strings, errors, numbers and lengths.
const MAX_LINE: usize = 64 * 1024;
/// Deepest nesting. A server's own replies are far below; the limit keeps the call stack in
/// bounds when a value is compared or dropped.
const MAX_DEPTH: usize = 128;

/// What a server answers. Aggregates keep the order of the wire.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// RESP3's null.
    Null,
    /// RESP2's null bulk string, `$-1`.
    NullBulk,
    /// RESP2's null array, `*-1`.
    NullArray,
    Simple(Vec<u8>),
    /// The whole text, with the code in front; both the simple and the bulk form.
    Error(Vec<u8>),
    Int(i64),
    Double(f64),
    Bool(bool),
    /// Decimal digits, perhaps behind a `-`.
    BigNumber(Vec<u8>),
    Bulk(Vec<u8>),
    Verbatim {
        format: [u8; 3],
        text: Vec<u8>,
    },
    Array(Vec<Value>),
    Set(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Push(Vec<Value>),
    /// A value with attributes in front of it.
    Attributed {
        attributes: Vec<(Value, Value)>,
        value: Box<Value>,
    },
}

impl Value {
    /// The bytes of a string of any form; none for all else.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(bytes) | Value::Bulk(bytes) => Some(bytes),
            Value::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullBulk | Value::NullArray)
    }
}

/// Shows bytes as text, quoted where that is needed.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = |kind: &str, bytes: &[u8]| {
            write!(f, "{kind}({})", String::from_utf8_lossy(&args::quote(bytes)))
        };
        match self {
            Value::Simple(bytes) => text("Simple", bytes),
            Value::Error(bytes) => text("Error", bytes),
            Value::BigNumber(digits) => text("BigNumber", digits),
            Value::Bulk(bytes) => text("Bulk", bytes),
            Value::Verbatim { text: bytes, .. } => text("Verbatim", bytes),
            Value::Null => f.write_str("Null"),
            Value::NullBulk => f.write_str("NullBulk"),
            Value::NullArray => f.write_str("NullArray"),
            Value::Int(n) => write!(f, "Int({n})"),
            Value::Double(x) => write!(f, "Double({x})"),
            Value::Bool(x) => write!(f, "Bool({x})"),
            Value::Array(values) => f.debug_list().entries(values).finish(),
            Value::Set(values) => f.debug_set().entries(values).finish(),
            Value::Map(pairs) => {
                f.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish()
            }
            Value::Push(values) => f.debug_tuple("Push").field(values).finish(),
            Value::Attributed { attributes, value } => {
                f.debug_tuple("Attributed").field(attributes).field(value).finish()
            }
        }
    }
}

/// Why the bytes are no reply. The connection is of no use after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    UnknownType(u8),
    LineTooLong,
    /// A length, number, boolean or null that cannot be read as such.
    BadLine,
    /// A bulk string longer than the limit.
    TooLarge,
    TooDeep,
    /// A bulk string without CRLF behind it, or a verbatim string without its format.
    BadBulk,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownType(byte) => return write!(f, "unknown reply type 0x{byte:02x}"),
            Self::LineTooLong => "too long a line in a reply",
            Self::BadLine => "invalid number in a reply",
            Self::TooLarge => "too long a bulk string in a reply",
            Self::TooDeep => "too deeply nested reply",
            Self::BadBulk => "malformed bulk string in a reply",
        })
    }
}

impl std::error::Error for ReadError {}

#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Array,
    Set,
    Map,
    Push,
    /// Its pairs, and then the value they belong to.
    Attribute,
}

/// An aggregate whose end has not come.
#[derive(Debug)]
struct Open {
    kind: Aggregate,
    /// Values still to come, keys and values counted apart.
    missing: u64,
    values: Vec<Value>,
}

/// A string whose length has come; `bytes` will be that and CRLF.
#[derive(Debug)]
struct Bulk {
    kind: u8,
    wanted: usize,
    bytes: Vec<u8>,
}

/// What one line turned out to be.
enum Step {
    Value(Value),
    Bulk(Bulk),
    Open(Aggregate, u64),
}

/// Reads the replies of one connection.
#[derive(Debug)]
pub struct Decoder {
    max_bulk: usize,
    open: Vec<Open>,
    bulk: Option<Bulk>,
    /// The part of a line that has come.
    line: Vec<u8>,
}

impl Default for Decoder {
    /// Takes bulk strings up to 512 MB, Redis's default limit.
    fn default() -> Decoder {
        Decoder::new(512 * 1024 * 1024)
    }
}

impl Decoder {
    /// Refuses bulk strings of more than `max_bulk` bytes.
    pub fn new(max_bulk: usize) -> Decoder {
        Decoder { max_bulk, open: Vec::new(), bulk: None, line: Vec::new() }
    }

    /// Whether no reply has begun that has not ended.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.bulk.is_none() && self.line.is_empty()
    }

    /// Reads up to the end of the next value. Returns how many of the bytes were used, and the
    /// value, or none if it goes on behind them.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Value>), ReadError> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let (taken, value) =
                if self.bulk.is_some() { self.feed_bulk(rest)? } else { self.feed_line(rest)? };
            used += taken;
            if let Some(whole) = value.and_then(|value| self.place(value)) {
                return Ok((used, Some(whole)));
            }
        }
        Ok((used, None))
    }

    fn feed_bulk(&mut self, bytes: &[u8]) -> Result<(usize, Option<Value>), ReadError> {
        let Some(mut bulk) = self.bulk.take() else { return Ok((0, None)) };
        let taken = bytes.len().min(bulk.wanted - bulk.bytes.len());
        bulk.bytes.extend_from_slice(&bytes[..taken]);
        if bulk.bytes.len() < bulk.wanted {
            self.bulk = Some(bulk);
            return Ok((taken, None));
        }
        bulk.finish().map(|value| (taken, Some(value)))
    }

    fn feed_line(&mut self, bytes: &[u8]) -> Result<(usize, Option<Value>), ReadError> {
        let end = memchr::memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        if self.line.len() + taken > MAX_LINE {
            return Err(ReadError::LineTooLong);
        }
        self.line.extend_from_slice(&bytes[..taken]);
        if end.is_none() {
            return Ok((taken, None));
        }
        let mut line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\r\n").ok_or(ReadError::BadLine)?;
        let (&kind, text) = text.split_first().ok_or(ReadError::BadLine)?;
        let value = match self.step(kind, text)? {
            Step::Value(value) => Some(value),
            Step::Bulk(bulk) => {
                self.bulk = Some(bulk);
                None
            }
            Step::Open(kind, missing) => self.begin(kind, missing)?,
        };
        // Kept for the next line.
        line.clear();
        self.line = line;
        Ok((taken, value))
    }

    fn step(&self, kind: u8, text: &[u8]) -> Result<Step, ReadError> {
        let aggregate = |kind| length(text).map(|len| Step::Open(kind, len));
        let pairs = |kind| length(text).map(|len| Step::Open(kind, len.saturating_mul(2)));
        let value = match kind {
            b'$' if text == b"-1" => Value::NullBulk,
            b'*' if text == b"-1" => Value::NullArray,
            b'$' | b'=' | b'!' => return self.bulk(kind, text).map(Step::Bulk),
            b'*' => return aggregate(Aggregate::Array),
            b'~' => return aggregate(Aggregate::Set),
            b'>' => return aggregate(Aggregate::Push),
            b'%' => return pairs(Aggregate::Map),
            b'|' => return pairs(Aggregate::Attribute),
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b':' => Value::Int(number::parse_i64(text).ok_or(ReadError::BadLine)?),
            b',' => Value::Double(double(text).ok_or(ReadError::BadLine)?),
            b'#' if text == b"t" => Value::Bool(true),
            b'#' if text == b"f" => Value::Bool(false),
            b'(' if is_big_number(text) => Value::BigNumber(text.to_vec()),
            b'_' if text.is_empty() => Value::Null,
            b'#' | b'(' | b'_' => return Err(ReadError::BadLine),
            other => return Err(ReadError::UnknownType(other)),
        };
        Ok(Step::Value(value))
    }

    fn bulk(&self, kind: u8, text: &[u8]) -> Result<Bulk, ReadError> {
        let len = length(text)?;
        if len > self.max_bulk as u64 {
            return Err(ReadError::TooLarge);
        }
        Ok(Bulk { kind, wanted: len as usize + 2, bytes: Vec::new() })
    }

    /// Begins an aggregate; returns it at once if nothing is to come.
    fn begin(&mut self, kind: Aggregate, missing: u64) -> Result<Option<Value>, ReadError> {
        let missing = missing.saturating_add(matches!(kind, Aggregate::Attribute) as u64);
        let open = Open { kind, missing, values: Vec::new() };
        if missing == 0 {
            return Ok(Some(open.finish()));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(ReadError::TooDeep);
        }
        self.open.push(open);
        Ok(None)
    }

    /// Puts a value where it belongs; returns it, or what it was the last part of, if that is
    /// nobody's part.
    fn place(&mut self, mut value: Value) -> Option<Value> {
        while let Some(mut open) = self.open.pop() {
            open.values.push(value);
            open.missing -= 1;
            if open.missing > 0 {
                self.open.push(open);
                return None;
            }
            value = open.finish();
        }
        Some(value)
    }
}

impl Open {
    fn finish(mut self) -> Value {
        match self.kind {
            Aggregate::Array => Value::Array(self.values),
            Aggregate::Set => Value::Set(self.values),
            Aggregate::Push => Value::Push(self.values),
            Aggregate::Map => Value::Map(into_pairs(self.values)),
            Aggregate::Attribute => match self.values.pop() {
                Some(value) => Value::Attributed {
                    attributes: into_pairs(self.values),
                    value: Box::new(value),
                },
                None => Value::Null,
            },
        }
    }
}

impl Bulk {
    fn finish(mut self) -> Result<Value, ReadError> {
        if !self.bytes.ends_with(b"\r\n") {
            return Err(ReadError::BadBulk);
        }
        self.bytes.truncate(self.wanted - 2);
        match self.kind {
            b'!' => Ok(Value::Error(self.bytes)),
            b'=' => match self.bytes.as_slice() {
                [a, b, c, b':', text @ ..] => {
                    Ok(Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() })
                }
                _ => Err(ReadError::BadBulk),
            },
            _ => Ok(Value::Bulk(self.bytes)),
        }
    }
}

fn into_pairs(values: Vec<Value>) -> Vec<(Value, Value)> {
    let mut values = values.into_iter();
    std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect()
}

fn length(text: &[u8]) -> Result<u64, ReadError> {
    let len = number::parse_i64(text).ok_or(ReadError::BadLine)?;
    u64::try_from(len).map_err(|_| ReadError::BadLine)
}

fn double(text: &[u8]) -> Option<f64> {
    match text {
        b"nan" | b"-nan" => Some(f64::NAN),
        text => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Reply;
    use proptest::prelude::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn read_all(mut bytes: &[u8]) -> Result<Vec<Value>, ReadError> {
        let mut decoder = Decoder::new(1000);
        let mut values = Vec::new();
        while !bytes.is_empty() {
            let (used, value) = decoder.feed(bytes)?;
            values.extend(value);
            bytes = &bytes[used..];
        }
        assert!(decoder.is_idle(), "{decoder:?}");
        Ok(values)
    }

    #[test]
    fn reads_every_type() {
        let cases: &[(&str, Value)] = &[
            ("+OK\r\n", Value::Simple(b"OK".to_vec())),
            ("+\r\n", Value::Simple(Vec::new())),
            ("-ERR no\r\n", Value::Error(b"ERR no".to_vec())),
            ("!8\r\nERR\r\nxyz\r\n", Value::Error(b"ERR\r\nxyz".to_vec())),
            (":-9223372036854775808\r\n", Value::Int(i64::MIN)),
            ("$0\r\n\r\n", bulk("")),
            ("$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            ("$-1\r\n", Value::NullBulk),
            ("*-1\r\n", Value::NullArray),
            ("_\r\n", Value::Null),
            ("#t\r\n", Value::Bool(true)),
            ("#f\r\n", Value::Bool(false)),
            (",1.5\r\n", Value::Double(1.5)),
            (",-1e+20\r\n", Value::Double(-1e20)),
            (",inf\r\n", Value::Double(f64::INFINITY)),
            (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
            ("(-123456789012345678901\r\n", Value::BigNumber(b"-123456789012345678901".to_vec())),
            ("=7\r\ntxt:a b\r\n", Value::Verbatim { format: *b"txt", text: b"a b".to_vec() }),
            ("*0\r\n", Value::Array(vec![])),
            ("~1\r\n:1\r\n", Value::Set(vec![Value::Int(1)])),
            ("%0\r\n", Value::Map(vec![])),
            (">2\r\n+a\r\n*-1\r\n", {
                Value::Push(vec![Value::Simple(b"a".to_vec()), Value::NullArray])
            }),
            (
                "%1\r\n$1\r\nk\r\n*2\r\n*0\r\n%1\r\n:1\r\n:2\r\n",
                Value::Map(vec![(
                    bulk("k"),
                    Value::Array(vec![
                        Value::Array(vec![]),
                        Value::Map(vec![(Value::Int(1), Value::Int(2))]),
                    ]),
                )]),
            ),
            (
                "|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n",
                Value::Attributed {
                    attributes: vec![(Value::Simple(b"ttl".to_vec()), Value::Int(3))],
                    value: Box::new(bulk("v")),
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read_all(text.as_bytes()), Ok(vec![expected.clone()]), "{text:?}");
        }
        assert!(matches!(read_all(b",nan\r\n").unwrap()[..], [Value::Double(nan)] if nan.is_nan()));
    }

    #[test]
    fn is_shown_as_text() {
        let bytes = b"*3\r\n$4\r\na\r\nb\r\n-ERR no\r\n%1\r\n:1\r\n_\r\n";
        let shown = format!("{:?}", read_all(bytes).unwrap()[0]);
        assert_eq!(shown, r#"[Bulk("a\r\nb"), Error("ERR no"), {Int(1): Null}]"#);
    }

    #[test]
    fn refuses_what_is_no_reply() {
        let deep = "*1\r\n".repeat(MAX_DEPTH + 1);
        let long = format!("+{}", "x".repeat(MAX_LINE));
        let cases: &[(&str, ReadError)] = &[
            ("?\r\n", ReadError::UnknownType(b'?')),
            ("\r\n", ReadError::BadLine),
            ("+OK\n", ReadError::BadLine),
            (":1x\r\n", ReadError::BadLine),
            (":\r\n", ReadError::BadLine),
            ("$-2\r\n", ReadError::BadLine),
            ("*-2\r\n", ReadError::BadLine),
            ("*?\r\n", ReadError::BadLine),
            ("~-1\r\n", ReadError::BadLine),
            ("#x\r\n", ReadError::BadLine),
            ("_x\r\n", ReadError::BadLine),
            ("(1.5\r\n", ReadError::BadLine),
            (",x\r\n", ReadError::BadLine),
            ("$1001\r\n", ReadError::TooLarge),
            ("$9223372036854775807\r\n", ReadError::TooLarge),
            ("$1\r\nabc", ReadError::BadBulk),
            ("=3\r\ntxt\r\n", ReadError::BadBulk),
            (&deep, ReadError::TooDeep),
            (&long, ReadError::LineTooLong),
        ];
        for (text, expected) in cases {
            let shown = &text[..text.len().min(40)];
            assert_eq!(read_all(text.as_bytes()), Err(expected.clone()), "{shown:?}");
        }
    }

    #[test]
    fn what_is_announced_takes_no_memory() {
        let mut decoder = Decoder::default();
        let text = b"*9223372036854775807\r\n%4611686018427387905\r\n$536870912\r\nabc";
        assert_eq!(decoder.feed(text), Ok((text.len(), None)));
        assert!(decoder.bulk.as_ref().unwrap().bytes.capacity() < 64);
        assert!(decoder.open.iter().all(|open| open.values.capacity() == 0));
    }

    /// Writes a value as the server does, in RESP3.
    fn write(out: &mut Reply, value: &Value) {
        match value {
            Value::Null => out.null(),
            Value::NullBulk => out.raw(b"$-1\r\n"),
            Value::NullArray => out.raw(b"*-1\r\n"),
            Value::Simple(text) => out.simple(std::str::from_utf8(text).unwrap()),
            Value::Error(text) => out.error(text),
            Value::Int(n) => out.int(*n),
            Value::Double(x) => out.double(*x),
            Value::Bool(x) => out.bool(*x),
            Value::BigNumber(digits) => out.big_number(std::str::from_utf8(digits).unwrap()),
            Value::Bulk(bytes) => out.bulk(bytes),
            Value::Verbatim { format, text } => {
                out.verbatim(std::str::from_utf8(format).unwrap(), text)
            }
            Value::Array(values) => {
                out.array(values.len());
                values.iter().for_each(|value| write(out, value));
            }
            Value::Set(values) => {
                out.set(values.len());
                values.iter().for_each(|value| write(out, value));
            }
            Value::Push(values) => {
                out.push(values.len());
                values.iter().for_each(|value| write(out, value));
            }
            Value::Map(pairs) => {
                out.map(pairs.len());
                write_pairs(out, pairs);
            }
            Value::Attributed { attributes, value } => {
                out.attribute(attributes.len());
                write_pairs(out, attributes);
                write(out, value);
            }
        }
    }

    fn write_pairs(out: &mut Reply, pairs: &[(Value, Value)]) {
        for (key, value) in pairs {
            write(out, key);
            write(out, value);
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = "[ -~]{0,12}".prop_map(String::into_bytes);
        let leaf = prop_oneof![
            Just(Value::Null),
            Just(Value::NullBulk),
            Just(Value::NullArray),
            text.clone().prop_map(Value::Simple),
            text.prop_map(Value::Error),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("NaN is not equal", |x| !x.is_nan()).prop_map(Value::Double),
            any::<bool>().prop_map(Value::Bool),
            "-?[0-9]{1,30}".prop_map(|digits| Value::BigNumber(digits.into_bytes())),
            any::<Vec<u8>>().prop_map(Value::Bulk),
            any::<Vec<u8>>().prop_map(|text| Value::Verbatim { format: *b"mkd", text }),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let values = prop::collection::vec(inner.clone(), 0..6);
            let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..4);
            prop_oneof![
                values.clone().prop_map(Value::Array),
                values.clone().prop_map(Value::Set),
                values.prop_map(Value::Push),
                pairs.clone().prop_map(Value::Map),
                (pairs, inner).prop_map(|(attributes, value)| Value::Attributed {
                    attributes,
                    value: Box::new(value)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back_in_any_pieces(
            values in prop::collection::vec(any_value(), 1..4),
            cuts in prop::collection::vec(1usize..40, 1..20),
        ) {
            let mut out = Reply::new(Vec::new(), true);
            values.iter().for_each(|value| write(&mut out, value));
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            let (mut bytes, mut cuts) = (out.as_bytes(), cuts.iter().cycle());
            while !bytes.is_empty() {
                let (mut piece, rest) = bytes.split_at((*cuts.next().unwrap()).min(bytes.len()));
                while !piece.is_empty() {
                    let (used, value) = decoder.feed(piece).unwrap();
                    prop_assert!(used > 0);
                    read.extend(value);
                    piece = &piece[used..];
                }
                bytes = rest;
            }
            prop_assert!(decoder.is_idle());
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(
            bytes in prop::collection::vec(
                prop::sample::select(&b"*$%~>|=!+-:,#(_0123\r\n\r\ntf"[..]),
                0..80
            )
        ) {
            let mut decoder = Decoder::new(1000);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let Ok((used, _)) = decoder.feed(rest) else { break };
                prop_assert!(used > 0);
                rest = &rest[used..];
            }
        }
    }
}
