//! What SCAN, HSCAN, SSCAN and ZSCAN have in common: the cursor and the options.

use crate::base::glob;
use crate::base::number::{parse_i64, parse_u64};
use crate::resp::{Args, Reply};
use crate::server::error::Error;

/// A step that finds little looks at no more than so many places for each element asked for.
const PLACES_PER_ELEMENT: usize = 10;

/// The options of a scan.
pub struct Options<'a> {
    /// How many elements are asked for; at least 1.
    count: usize,
    pattern: Option<&'a [u8]>,
    /// The name of the only type wanted, as it came.
    pub kind: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// Reads the options. Only SCAN itself has the option TYPE.
    pub fn parse(args: Args<'a>, has_type: bool) -> Result<Options<'a>, Error> {
        let mut options = Options { count: 10, pattern: None, kind: None };
        for at in (0..args.len()).step_by(2) {
            if at + 1 == args.len() {
                return Err(Error::SYNTAX);
            }
            let (word, value) = (args.get(at), args.get(at + 1));
            if word.eq_ignore_ascii_case(b"count") {
                let count = parse_i64(value).ok_or(Error::NOT_AN_INTEGER)?;
                let count = usize::try_from(count).ok().filter(|&count| count > 0);
                options.count = count.ok_or(Error::SYNTAX)?;
            } else if word.eq_ignore_ascii_case(b"match") {
                // An asterisk would only cost time.
                options.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else if word.eq_ignore_ascii_case(b"type") && has_type {
                options.kind = Some(value);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }

    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }

    /// Repeats a scan's `step` until enough elements were seen, whether they matched or not.
    /// `step` takes a cursor and returns the next one and how many elements it has seen.
    pub fn repeat(&self, mut cursor: u64, mut step: impl FnMut(u64) -> (u64, usize)) -> u64 {
        let mut seen = 0;
        for _ in 0..self.count.saturating_mul(PLACES_PER_ELEMENT) {
            let (next, more) = step(cursor);
            cursor = next;
            seen += more;
            if cursor == 0 || seen >= self.count {
                break;
            }
        }
        cursor
    }
}

/// A collection as it is read, for [`reply`].
pub trait Scanned {
    type Element;
    /// Bulk strings that the reply has for each element.
    const PARTS: usize;

    /// Visits some elements and returns the next cursor, 0 at the end.
    fn step(&self, cursor: u64, visit: impl FnMut(Self::Element)) -> u64;
    fn matches(element: &Self::Element, options: &Options<'_>) -> bool;
    fn write(element: Self::Element, out: &mut Reply);
}

/// Scans a collection, if there is one, from a cursor on, with the options in `args`.
pub fn reply<C: Scanned>(
    out: &mut Reply,
    cursor: u64,
    args: Args<'_>,
    collection: Option<C>,
) -> Result<(), Error> {
    let (mut next, mut found) = (0, Vec::new());
    // Redis looks at the options only if there is something to scan.
    if let Some(collection) = collection {
        let options = Options::parse(args, false)?;
        next = options.repeat(cursor, |cursor| {
            let mut visited = 0;
            let next = collection.step(cursor, |element| {
                visited += 1;
                if C::matches(&element, &options) {
                    found.push(element);
                }
            });
            (next, visited)
        });
    }
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next).as_bytes());
    out.array(found.len() * C::PARTS);
    found.into_iter().for_each(|element| C::write(element, out));
    Ok(())
}

/// Reads a cursor. Redis asks C's `strtoul`, for which nothing is 0, and -1 is the greatest.
pub fn cursor(text: &[u8]) -> Result<u64, Error> {
    const INVALID: Error = Error::Static("ERR invalid cursor");
    match text {
        [] => Ok(0),
        [b'-', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            parse_u64(digits).map(u64::wrapping_neg).ok_or(INVALID)
        }
        [first, ..] if first.is_ascii_whitespace() || *first == 0x0b => Err(INVALID),
        _ => parse_u64(text).ok_or(INVALID),
    }
}
