//! Cuts commands out of an AOF's bytes: arrays of bulk strings, and annotation lines between them
//! that begin with `#` (Redis writes `#TS:<unix seconds>`). Stricter than the network's parser,
//! as only a server wrote this, and pure: bytes in, spans out.

use crate::resp::parse::Span;

/// What stands at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A command, its arguments in the spans; or with no spans an annotation. So many bytes.
    Whole(usize),
    /// All well so far, but it takes at least so many bytes.
    Needs(usize),
    /// This byte cannot stand here.
    Bad(usize),
}

/// `*` or `$`, a number, CR LF.
pub const MAX_HEADER: usize = 24;
/// With the line end; as in Redis.
const MAX_ANNOTATION: usize = 1024;

/// Looks at the beginning of `buf` and puts the arguments' places into `spans`, as far as it comes.
pub fn parse(buf: &[u8], spans: &mut Vec<Span>) -> Parsed {
    spans.clear();
    parse_all(buf, spans).map_or_else(|other| other, Parsed::Whole)
}

/// The same, with a whole command's arguments behind the spans there are.
pub fn parse_more(buf: &[u8], spans: &mut Vec<Span>) -> Parsed {
    let before = spans.len();
    match parse_all(buf, spans) {
        Ok(len) => Parsed::Whole(len),
        Err(other) => {
            spans.truncate(before);
            other
        }
    }
}

fn parse_all(buf: &[u8], spans: &mut Vec<Span>) -> Result<usize, Parsed> {
    if buf.first() == Some(&b'#') {
        return annotation(buf);
    }
    let (count, mut at) = header(buf, 0, b'*')?;
    if count == 0 {
        return Err(Parsed::Bad(1));
    }
    // No memory is taken for the count: each span costs at least five bytes that are there.
    for _ in 0..count {
        let (len, start) = header(buf, at, b'$')?;
        let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len));
        let Some(end) = end.filter(|end| *end < usize::MAX - 2) else {
            return Err(Parsed::Bad(at + 1));
        };
        for (i, wanted) in [(end, b'\r'), (end + 1, b'\n')] {
            match buf.get(i) {
                Some(&byte) if byte == wanted => {}
                Some(_) => return Err(Parsed::Bad(i)),
                None => return Err(Parsed::Needs(end + 2)),
            }
        }
        spans.push(Span { start, len: end - start });
        at = end + 2;
    }
    Ok(at)
}

fn annotation(buf: &[u8]) -> Result<usize, Parsed> {
    let line = &buf[..buf.len().min(MAX_ANNOTATION)];
    match memchr::memchr(b'\n', line) {
        Some(end) => Ok(end + 1),
        None if line.len() < MAX_ANNOTATION => Err(Parsed::Needs(buf.len() + 1)),
        None => Err(Parsed::Bad(MAX_ANNOTATION - 1)),
    }
}

/// The number in the header line at `at`, and where the line ends.
///
/// # Errors
/// Anything but [`Parsed::Whole`].
pub fn header(buf: &[u8], at: usize, sign: u8) -> Result<(u64, usize), Parsed> {
    let line = &buf[at.min(buf.len())..buf.len().min(at + MAX_HEADER)];
    match line.first() {
        Some(&byte) if byte == sign => {}
        Some(_) => return Err(Parsed::Bad(at)),
        None => return Err(Parsed::Needs(at + 1)),
    }
    let mut number: u64 = 0;
    for (i, &byte) in line.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' => {
                number = number
                    .checked_mul(10)
                    .and_then(|n| n.checked_add(u64::from(byte - b'0')))
                    .ok_or(Parsed::Bad(at + i))?;
            }
            b'\r' if i > 1 => {
                return match line.get(i + 1) {
                    Some(b'\n') => Ok((number, at + i + 2)),
                    Some(_) => Err(Parsed::Bad(at + i + 1)),
                    None if line.len() == MAX_HEADER => Err(Parsed::Bad(at + i)),
                    None => Err(Parsed::Needs(at + i + 2)),
                };
            }
            _ => return Err(Parsed::Bad(at + i)),
        }
    }
    if line.len() == MAX_HEADER {
        return Err(Parsed::Bad(at + MAX_HEADER - 1));
    }
    Err(Parsed::Needs(at + line.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Args;
    use proptest::prelude::*;

    fn encode(args: &[Vec<u8>]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..9),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let whole = encode(&args);
            let mut bytes = whole.clone();
            bytes.extend_from_slice(&behind);
            let mut spans = Vec::new();
            prop_assert_eq!(parse(&bytes, &mut spans), Parsed::Whole(whole.len()));
            let read: Vec<Vec<u8>> =
                Args::new(&bytes, &spans).iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read, args);
            for end in 0..whole.len() {
                match parse(&whole[..end], &mut spans) {
                    Parsed::Needs(n) => prop_assert!(end < n && n <= whole.len()),
                    other => prop_assert!(false, "{:?} at {}", other, end),
                }
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut spans = Vec::new();
            if let Parsed::Whole(n) = parse(&bytes, &mut spans) {
                prop_assert!(n <= bytes.len());
            }
        }
    }

    #[test]
    fn says_which_byte_is_bad() {
        let mut spans = Vec::new();
        let mut p = |s: &str| parse(s.as_bytes(), &mut spans);
        assert_eq!(p("!!!*1\r\n"), Parsed::Bad(0));
        assert_eq!(p("*0\r\n"), Parsed::Bad(1));
        assert_eq!(p("*-1\r\n"), Parsed::Bad(1));
        assert_eq!(p("*\r\n"), Parsed::Bad(1));
        assert_eq!(p("*1\n"), Parsed::Bad(2));
        assert_eq!(p("*1\r\n+OK\r\n"), Parsed::Bad(4));
        assert_eq!(p("*1\r\n$2\r\nabc\r\n"), Parsed::Bad(10));
        assert_eq!(p("*1\r\n$-1\r\n"), Parsed::Bad(5));
        assert_eq!(p("*1\r\n$18446744073709551616\r\n"), Parsed::Bad(24));
        assert_eq!(p("*1\r\n$18446744073709551615\r\n"), Parsed::Bad(5));
        assert_eq!(p("*000000000000000000000000001\r\n"), Parsed::Bad(23));
        assert_eq!(p("*1\r\n$9999999999\r\nabc"), Parsed::Needs(17 + 9_999_999_999 + 2));
    }

    #[test]
    fn annotations_are_lines() {
        let mut spans = Vec::new();
        assert_eq!(parse(b"#TS:1628217470\r\n*1", &mut spans), Parsed::Whole(16));
        assert!(spans.is_empty());
        assert_eq!(parse(b"#TS:16", &mut spans), Parsed::Needs(7));
        assert_eq!(parse(&[b'#'; 2000], &mut spans), Parsed::Bad(1023));
    }
}
