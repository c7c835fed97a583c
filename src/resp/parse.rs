//! Cuts commands out of a buffer of received bytes, in place.
//!
//! A command is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or a line of words
//! (`GET k\r\n`). Arguments are spans of the buffer; nothing is copied, but for quoted words of a
//! line, which are unquoted where they stand. A command that has not arrived whole leaves its
//! progress in [`Partial`], so that no byte is looked at twice, however slowly they come.
//!
//! Limits and error texts are Redis's (`networking.c`, `processMultibulkBuffer`).

use crate::base::{args, number};
use std::fmt;

/// Longest line that is not a bulk string: inline commands and length lines.
const MAX_LINE: usize = 64 * 1024;
/// Limits on clients that have not authenticated yet.
const UNAUTHENTICATED_ARGS: i64 = 10;
const UNAUTHENTICATED_BULK: i64 = 16 * 1024;

/// A part of the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub len: usize,
}

/// A command's arguments; the first is its name.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub fn new(buf: &'a [u8], spans: &'a [Span]) -> Args<'a> {
        Args { buf, spans }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`, which must be there (the gate has checked the arity).
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.buf[span.start..span.start + span.len]
    }

    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone + use<'a> {
        let buf = self.buf;
        self.spans.iter().map(move |s| &buf[s.start..s.start + s.len])
    }

    /// The arguments from `index` on.
    pub fn from(&self, index: usize) -> Args<'a> {
        Args { buf: self.buf, spans: &self.spans[index.min(self.spans.len())..] }
    }

    /// The first `count` arguments, or all if there are not so many.
    pub fn first(&self, count: usize) -> Args<'a> {
        Args { buf: self.buf, spans: &self.spans[..count.min(self.spans.len())] }
    }

    /// The arguments from `index` on that are before `end`; both must be within.
    pub fn range(&self, index: usize, end: usize) -> Args<'a> {
        Args { buf: self.buf, spans: &self.spans[index..end] }
    }
}

/// Arguments that are not part of a received buffer.
#[derive(Clone, Debug, Default)]
pub struct OwnedArgs {
    buf: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    pub fn push(&mut self, arg: &[u8]) {
        self.spans.push(Span { start: self.buf.len(), len: arg.len() });
        self.buf.extend_from_slice(arg);
    }

    pub fn args(&self) -> Args<'_> {
        Args { buf: &self.buf, spans: &self.spans }
    }

    /// Bytes of memory taken.
    pub fn memory(&self) -> usize {
        self.buf.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut args = OwnedArgs::default();
        iter.into_iter().for_each(|arg| args.push(arg.as_ref()));
        args
    }
}

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`, in bytes.
    pub max_bulk: u64,
    pub authenticated: bool,
}

/// How far an incomplete command has been read. Offsets count from the command's first byte.
#[derive(Clone, Debug, Default)]
pub struct Partial {
    /// Bytes looked at.
    at: usize,
    /// Arguments still to come; 0 before the array's length is known.
    missing: usize,
    /// Length of the bulk string whose bytes are next, if known.
    bulk: Option<usize>,
    spans: Vec<Span>,
    canonical: bool,
}

impl Partial {
    /// Bytes the buffer must hold before there can be progress, for reading large arguments with
    /// fewer steps; 0 if unknown.
    pub fn wants(&self) -> usize {
        self.bulk.map_or(0, |len| self.at + len + 2)
    }

    /// Bytes that were looked at, and those of them that are arguments.
    pub fn progress(&self) -> (usize, usize) {
        (self.at, self.spans.iter().map(|span| span.len).sum())
    }

    /// Bytes of memory it owns.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }
}

/// What was found at the start of the bytes.
#[derive(Debug)]
pub enum Parsed {
    /// A command of `len` bytes, whose spans were added. `canonical` says that its bytes are
    /// exactly what writing it anew as an array of bulk strings would give.
    Command {
        len: usize,
        canonical: bool,
    },
    /// Bytes that are no command: an empty line or array.
    Nothing {
        len: usize,
    },
    Incomplete(Box<Partial>),
}

/// Why a connection cannot go on. `Display` gives the text after `ERR Protocol error: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    InlineTooBig,
    UnbalancedQuotes,
    CountTooBig,
    BulkCountTooBig,
    BadCount,
    BadBulk,
    ExpectedBulk(u8),
    UnauthenticatedCount,
    UnauthenticatedBulk,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InlineTooBig => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::CountTooBig => "too big mbulk count string",
            Self::BulkCountTooBig => "too big bulk count string",
            Self::BadCount => "invalid multibulk length",
            Self::BadBulk => "invalid bulk length",
            Self::ExpectedBulk(got) => return write!(f, "expected '$', got '{}'", *got as char),
            Self::UnauthenticatedCount => "unauthenticated multibulk length",
            Self::UnauthenticatedBulk => "unauthenticated bulk length",
        })
    }
}

/// Reads one command from `buf[start..]`. Its spans (offsets in `buf`) are added to `spans`, which
/// is left as it was unless a command is found. `partial` is what the last call for this same
/// command returned as `Incomplete`, if there was one.
pub fn command(
    buf: &mut [u8],
    start: usize,
    spans: &mut Vec<Span>,
    partial: Option<Box<Partial>>,
    limits: &Limits,
) -> Result<Parsed, ProtocolError> {
    match buf.get(start) {
        None => Ok(Parsed::Incomplete(partial.unwrap_or_default())),
        Some(b'*') => {
            let first = spans.len();
            let result = array(buf, start, spans, partial, limits);
            if !matches!(result, Ok(Parsed::Command { .. })) {
                spans.truncate(first);
            }
            result
        }
        Some(_) => inline(buf, start, spans, partial),
    }
}

/// The position of the `\r` that ends a length line starting at `at`.
fn line_end(buf: &[u8], at: usize) -> Option<usize> {
    let end = at + memchr::memchr(b'\r', &buf[at..])?;
    (end + 1 < buf.len()).then_some(end)
}

/// The number that follows the byte at `at`, and the position of the `\r` behind it, if the line
/// is as nearly all length lines are: one or two digits and a whole line end.
#[inline]
fn short_length(buf: &[u8], at: usize) -> Option<(i64, usize)> {
    let digit = |byte: u8| i64::from(byte - b'0');
    match *buf.get(at + 1..)?.first_chunk()? {
        [a @ b'0'..=b'9', b'\r', b'\n', _] => Some((digit(a), at + 2)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n'] => {
            Some((digit(a) * 10 + digit(b), at + 3))
        }
        _ => None,
    }
}

fn array(
    buf: &[u8],
    start: usize,
    spans: &mut Vec<Span>,
    partial: Option<Box<Partial>>,
    limits: &Limits,
) -> Result<Parsed, ProtocolError> {
    let first = spans.len();
    let (mut at, mut missing, mut bulk, mut canonical) = match &partial {
        Some(p) => (start + p.at, p.missing, p.bulk, p.canonical),
        None => (start, 0, None, true),
    };
    if missing == 0 {
        let Some((count, end)) = array_length(buf, at)? else {
            return Ok(nothing_yet(partial));
        };
        if count > i32::MAX as i64 {
            return Err(ProtocolError::BadCount);
        }
        if count > UNAUTHENTICATED_ARGS && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        canonical &= buf[end + 1] == b'\n';
        at = end + 2;
        if count <= 0 {
            return Ok(Parsed::Nothing { len: at - start });
        }
        missing = count as usize;
    }
    // Spans of a command that comes in pieces stay with its progress until it is whole: copying
    // them with each piece would take quadratic time.
    let mut partial = partial;
    let (list, base) = match &mut partial {
        Some(p) => (&mut p.spans, start),
        None => (&mut *spans, 0),
    };
    while missing > 0 {
        let len = match bulk {
            Some(len) => len,
            None => match bulk_length(buf, at, limits)? {
                Some((len, end)) => {
                    canonical &= buf[end + 1] == b'\n';
                    at = end + 2;
                    len
                }
                None => {
                    bulk = None;
                    break;
                }
            },
        };
        if buf.len() - at < len + 2 {
            bulk = Some(len);
            break;
        }
        canonical &= buf[at + len..at + len + 2] == *b"\r\n";
        list.push(Span { start: at - base, len });
        at += len + 2;
        bulk = None;
        missing -= 1;
    }
    if missing == 0 {
        let whole = partial.iter().flat_map(|p| &p.spans);
        spans.extend(whole.map(|s| Span { start: s.start + start, len: s.len }));
        return Ok(Parsed::Command { len: at - start, canonical });
    }
    let mut state = partial.unwrap_or_else(|| {
        let new = spans[first..].iter();
        let spans = new.map(|s| Span { start: s.start - start, len: s.len }).collect();
        Box::new(Partial { spans, ..Partial::default() })
    });
    (state.at, state.missing, state.bulk, state.canonical) = (at - start, missing, bulk, canonical);
    Ok(Parsed::Incomplete(state))
}

/// The length in the `*` line at `at` and where its `\r` is; none if the line is not complete.
#[inline]
fn array_length(buf: &[u8], at: usize) -> Result<Option<(i64, usize)>, ProtocolError> {
    if let Some(short) = short_length(buf, at) {
        return Ok(Some(short));
    }
    let Some(end) = line_end(buf, at + 1) else {
        let too_long = buf.len() - at > MAX_LINE;
        return if too_long { Err(ProtocolError::CountTooBig) } else { Ok(None) };
    };
    let count = number::parse_i64(&buf[at + 1..end]).ok_or(ProtocolError::BadCount)?;
    Ok(Some((count, end)))
}

fn nothing_yet(partial: Option<Box<Partial>>) -> Parsed {
    Parsed::Incomplete(partial.unwrap_or_default())
}

/// The length in a `$` line at `at` and where its `\r` is; none if the line is not complete.
#[inline]
fn bulk_length(
    buf: &[u8],
    at: usize,
    limits: &Limits,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let Some(&kind) = buf.get(at) else { return Ok(None) };
    let (len, end) = match short_length(buf, at) {
        Some(short) if kind == b'$' => short,
        _ => {
            let Some(end) = line_end(buf, at) else {
                let too_long = buf.len() - at > MAX_LINE;
                return if too_long { Err(ProtocolError::BulkCountTooBig) } else { Ok(None) };
            };
            if kind != b'$' {
                return Err(ProtocolError::ExpectedBulk(kind));
            }
            (number::parse_i64(&buf[at + 1..end]).ok_or(ProtocolError::BadBulk)?, end)
        }
    };
    if len < 0 || len as u64 > limits.max_bulk {
        return Err(ProtocolError::BadBulk);
    }
    if len > UNAUTHENTICATED_BULK && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedBulk);
    }
    Ok(Some((len as usize, end)))
}

fn inline(
    buf: &mut [u8],
    start: usize,
    spans: &mut Vec<Span>,
    partial: Option<Box<Partial>>,
) -> Result<Parsed, ProtocolError> {
    let seen = partial.as_ref().map_or(0, |p| p.at);
    let Some(offset) = memchr::memchr(b'\n', &buf[start + seen..]) else {
        if buf.len() - start > MAX_LINE {
            return Err(ProtocolError::InlineTooBig);
        }
        let mut state = partial.unwrap_or_default();
        state.at = buf.len() - start;
        return Ok(Parsed::Incomplete(state));
    };
    let end = start + seen + offset;
    let len = end + 1 - start;
    let line = buf[start..end].strip_suffix(b"\r").unwrap_or(&buf[start..end]);
    let words = args::split(line).ok_or(ProtocolError::UnbalancedQuotes)?;
    if words.is_empty() {
        return Ok(Parsed::Nothing { len });
    }
    // Unquoted words together are never longer than the line they came from.
    let mut at = start;
    for word in words {
        buf[at..at + word.len()].copy_from_slice(&word);
        spans.push(Span { start: at, len: word.len() });
        at += word.len();
    }
    Ok(Parsed::Command { len, canonical: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { max_bulk: 512 << 20, authenticated: true };

    /// Feeds bytes in pieces that end at the given places; returns all commands, or the error.
    fn feed(bytes: &[u8], ends: &[usize], limits: &Limits) -> Result<Vec<Vec<Vec<u8>>>, String> {
        let mut commands = Vec::new();
        let (mut buf, mut partial): (Vec<u8>, Option<Box<Partial>>) = (Vec::new(), None);
        let mut given = 0;
        for end in ends.iter().copied().chain([bytes.len()]) {
            buf.extend_from_slice(&bytes[given.min(end)..end]);
            given = given.max(end);
            let mut at = 0;
            loop {
                let mut spans = Vec::new();
                match command(&mut buf, at, &mut spans, partial.take(), limits) {
                    Ok(Parsed::Command { len, .. }) => {
                        let args = Args::new(&buf, &spans);
                        commands.push(args.iter().map(<[u8]>::to_vec).collect());
                        at += len;
                    }
                    Ok(Parsed::Nothing { len }) => at += len,
                    Ok(Parsed::Incomplete(state)) => {
                        partial = (at < buf.len()).then_some(state);
                        break;
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
            buf.drain(..at);
        }
        Ok(commands)
    }

    fn encode(command: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for arg in command {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    proptest! {
        #[test]
        fn commands_come_back_however_they_are_cut(
            commands in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
                1..6,
            ),
            mut ends in proptest::collection::vec(0usize..2000, 0..12),
        ) {
            let bytes: Vec<u8> = commands.iter().flat_map(|c| encode(c)).collect();
            ends.iter_mut().for_each(|end| *end %= bytes.len() + 1);
            ends.sort_unstable();
            prop_assert_eq!(feed(&bytes, &ends, &LIMITS), Ok(commands));
        }

        #[test]
        fn any_bytes_end_in_commands_or_an_error_the_same_for_any_cut(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(b"*$\r\n1".to_vec())],
                0..200,
            ),
            mut ends in proptest::collection::vec(0usize..200, 0..8),
        ) {
            ends.iter_mut().for_each(|end| *end %= bytes.len() + 1);
            ends.sort_unstable();
            prop_assert_eq!(feed(&bytes, &ends, &LIMITS), feed(&bytes, &[], &LIMITS));
        }
    }

    #[test]
    fn errors_are_those_of_redis() {
        let closed = Limits { authenticated: false, ..LIMITS };
        let long = "x".repeat(MAX_LINE + 1);
        for (bytes, limits, error) in [
            ("*3000000000\r\n", LIMITS, "invalid multibulk length"),
            ("*x\r\n", LIMITS, "invalid multibulk length"),
            ("*1\r\n$-5\r\n", LIMITS, "invalid bulk length"),
            ("*1\r\n$536870913\r\n", LIMITS, "invalid bulk length"),
            ("*1\r\nfoo\r\n", LIMITS, "expected '$', got 'f'"),
            ("*11\r\n", closed, "unauthenticated multibulk length"),
            ("*1\r\n$16385\r\n", closed, "unauthenticated bulk length"),
            (&long, LIMITS, "too big inline request"),
            (&format!("*{long}"), LIMITS, "too big mbulk count string"),
            (&format!("*1\r\n${long}"), LIMITS, "too big bulk count string"),
            ("set \"a\r\n", LIMITS, "unbalanced quotes in request"),
        ] {
            assert_eq!(feed(bytes.as_bytes(), &[], &limits), Err(error.to_string()));
        }
    }

    #[test]
    fn a_large_argument_is_waited_for_as_a_whole() {
        let mut spans = Vec::new();
        let mut buf = b"*2\r\n$3\r\nGET\r\n$1000\r\nab".to_vec();
        let parsed = command(&mut buf, 0, &mut spans, None, &LIMITS);
        let Ok(Parsed::Incomplete(state)) = parsed else { panic!("{parsed:?}") };
        assert_eq!(state.wants(), buf.len() - 2 + 1000 + 2);
        assert!(spans.is_empty());
    }
}
