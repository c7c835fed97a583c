//! What stands behind the last whole command of a file: whether a crash may have left it, or
//! whether the file is damaged. Must not know what is done about it.

use std::io;

use super::read::{MAX_HEADER, Parsed, header, parse};
use crate::persist::files::FileHandle;

/// Files are looked through in pieces of this size. Bytes.
const READ_SIZE: usize = 1 << 20;

/// Looking for commands gives up when it has taken so many steps for each byte looked at. It is
/// linear in what servers write; text that a client made for it could take hours.
const MOST_STEPS: u64 = 8;

/// Whether nothing but zeros follows from this place on: power was lost after the file had been
/// lengthened and before it had been filled.
pub fn only_zeros_from(file: &dyn FileHandle, from: u64, len: u64) -> io::Result<bool> {
    let mut window = vec![0; READ_SIZE];
    let mut at = from;
    while at < len {
        let n = file.read_full_at(&mut window, at)?;
        if n == 0 || window[..n].iter().any(|&b| b != 0) {
            return Ok(false);
        }
        at += n as u64;
    }
    Ok(true)
}

/// Where the next command begins behind an unfinished one, if that is unfinished only because one
/// digit of a length is wrong. Without this, one flipped bit could have the rest of the file cut. A
/// value that a crash has torn may hold anything, commands too, but they hardly stand just where
/// its length with another digit would have them.
pub fn next_if_one_digit_is_wrong(
    file: &dyn FileHandle,
    from: u64,
    len: u64,
) -> io::Result<Option<u64>> {
    let walk = Walk { file, len };
    let Some((count, mut at)) = walk.header(from, b'*')? else { return Ok(None) };
    for nth in 0..count {
        let Some((claimed, start)) = walk.header(at, b'$')? else { return Ok(None) };
        if start.saturating_add(claimed).saturating_add(2) > len {
            for other in with_another_digit(claimed) {
                if let Some(end) = walk.arg_end(start, other)?
                    && let Some(end) = walk.args_end(end, count - nth - 1)?
                    && walk.is_command(end)?
                {
                    return Ok(Some(end));
                }
            }
            return Ok(None);
        }
        at = start + claimed + 2;
    }
    Ok(None)
}

/// The numbers that are written as this one but for one digit.
fn with_another_digit(number: u64) -> impl Iterator<Item = u64> {
    let text = number.to_string();
    let places = 0..text.len();
    places.flat_map(|i| (b'0'..=b'9').map(move |digit| (i, digit))).filter_map(move |(i, digit)| {
        let mut other = text.clone().into_bytes();
        other[i] = digit;
        let other: u64 = str::from_utf8(&other).ok()?.parse().ok()?;
        (other != number && other.to_string().len() == text.len()).then_some(other)
    })
}

/// Goes from one header to the next, without what is between them.
struct Walk<'a> {
    file: &'a dyn FileHandle,
    len: u64,
}

impl Walk<'_> {
    /// The number in a header, and where its line ends.
    fn header(&self, at: u64, sign: u8) -> io::Result<Option<(u64, u64)>> {
        let mut line = [0; MAX_HEADER];
        let n = self.file.read_full_at(&mut line, at)?;
        let found = header(&line[..n], 0, sign).ok();
        Ok(found.map(|(number, end)| (number, at + end as u64)))
    }

    /// Where an argument ends, if a line does behind so many bytes.
    fn arg_end(&self, start: u64, len: u64) -> io::Result<Option<u64>> {
        let end = start.saturating_add(len);
        let mut line_end = [0; 2];
        let is_there = end < self.len
            && self.file.read_full_at(&mut line_end, end)? == 2
            && line_end == *b"\r\n";
        Ok(is_there.then(|| end + 2))
    }

    fn args_end(&self, mut at: u64, count: u64) -> io::Result<Option<u64>> {
        for _ in 0..count {
            let Some((len, start)) = self.header(at, b'$')? else { return Ok(None) };
            let Some(end) = self.arg_end(start, len)? else { return Ok(None) };
            at = end;
        }
        Ok(Some(at))
    }

    /// Whether a command is here, or an annotation. One that does not fit into a piece is believed
    /// to be one if it can fit into the file.
    fn is_command(&self, at: u64) -> io::Result<bool> {
        let left = self.len.saturating_sub(at);
        let mut window = vec![0; left.min(READ_SIZE as u64) as usize];
        let n = self.file.read_full_at(&mut window, at)?;
        Ok(match parse(&window[..n], &mut Vec::new()) {
            Parsed::Whole(_) => true,
            Parsed::Needs(more) => more as u64 <= left,
            Parsed::Bad(_) => false,
        })
    }
}

/// Where the next whole command begins that another follows, or the end of the file.
pub fn find_command_behind(file: &dyn FileHandle, from: u64, len: u64) -> io::Result<Option<u64>> {
    let finder = memchr::memmem::Finder::new(b"\r\n*");
    let mut spans = Vec::new();
    let mut window = Vec::new();
    let mut steps = 0;
    let mut base = from;
    while base < len {
        window.resize((len - base).min(2 * READ_SIZE as u64) as usize, 0);
        let n = file.read_full_at(&mut window, base)?;
        for found in finder.find_iter(&window[..n]) {
            let begin = found + 2;
            let parsed = parse(&window[begin..n], &mut spans);
            steps += spans.len() as u64;
            if steps / MOST_STEPS > base - from + n as u64 {
                return Ok(None);
            }
            if let Parsed::Whole(len) = parsed {
                let behind = window[..n].get(begin + len);
                if !spans.is_empty() && matches!(behind, None | Some(b'*' | b'#')) {
                    return Ok(Some(base + begin as u64));
                }
            }
        }
        // Windows overlap by half, so a command up to that long is whole in one of them.
        base += READ_SIZE as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::files::{Files, Open, RealFiles};

    fn with_file<T>(bytes: &[u8], look: impl Fn(&dyn FileHandle, u64) -> io::Result<T>) -> T {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aof");
        std::fs::write(&path, bytes).unwrap();
        let file = RealFiles.open(&path, Open::Read).unwrap();
        look(&*file, bytes.len() as u64).unwrap()
    }

    fn set(claimed: &str, value: &[u8], behind: &[u8]) -> Vec<u8> {
        let header = format!("*4\r\n$3\r\nSET\r\n$1\r\nk\r\n${claimed}\r\n");
        [header.as_bytes(), value, b"\r\n$7\r\nKEEPTTL\r\n", behind].concat()
    }

    fn next(bytes: &[u8]) -> Option<u64> {
        with_file(bytes, |file, len| next_if_one_digit_is_wrong(file, 0, len))
    }

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    #[test]
    fn a_wrong_digit_is_told_from_a_torn_value() {
        let value = [b'x'; 210];
        let end = Some(set("210", &value, b"").len() as u64);
        for claimed in ["910", "710", "290"] {
            let pings = PING.repeat(60);
            assert_eq!(next(&set(claimed, &value, &pings)), None, "{claimed} would fit into it");
            for behind in [PING, b"#TS:1\r\n", b"*1\r\n$4\r\nPING\r\n*1"] {
                assert_eq!(next(&set(claimed, &value, behind)), end, "{claimed}");
            }
            for behind in [&b""[..], b"*", b"*1\r\n$4\r\nPI", b"!"] {
                assert_eq!(next(&set(claimed, &value, behind)), None, "no whole one follows");
            }
        }
        // What follows needs not fit into a piece.
        let value = vec![b'x'; 1_000_000];
        let large = set("3000000", &[b'x'; 3_000_000], b"");
        let end = Some(set("1000000", &value, b"").len() as u64);
        assert_eq!(next(&set("9000000", &value, &large)), end);
        assert_eq!(next(&set("9000000", &value, &large[..2_000_000])), None);
        // More than one digit: so a torn value looks that holds commands.
        for claimed in ["99999", "921", "99"] {
            let bytes = set(claimed, &value, PING);
            assert_eq!(next(&bytes[..bytes.len() - 1]), None, "{claimed}");
        }
        // In the last argument, and in one before which one of any length stands.
        let last = [&b"*2\r\n$4\r\nECHO\r\n$9\r\nx\r\n"[..], PING].concat();
        assert_eq!(next(&last), None, "it is not even unfinished");
        let last = [&b"*2\r\n$4\r\nECHO\r\n$90\r\n1234567890\r\n"[..], PING].concat();
        assert_eq!(next(&last), Some(31));
    }

    #[test]
    fn all_lengths_with_one_other_digit_are_tried() {
        let others = |n| with_another_digit(n).collect::<Vec<u64>>();
        assert_eq!(
            others(30),
            [10, 20, 40, 50, 60, 70, 80, 90, 31, 32, 33, 34, 35, 36, 37, 38, 39]
        );
        assert_eq!(others(7), [0, 1, 2, 3, 4, 5, 6, 8, 9]);
        assert_eq!(others(1000).len(), 3 * 9 + 8);
        assert!(others(u64::MAX).iter().all(|n| n.to_string().len() == 20));
    }

    #[test]
    fn looking_for_a_command_takes_no_longer_than_reading() {
        let find = |bytes: &[u8]| with_file(bytes, |file, len| find_command_behind(file, 0, len));
        let begun = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999\r\n";
        let text = [&begun[..], &b"some text, with\r\n* a list\r\n".repeat(5000)].concat();
        assert_eq!(find(&text), None);
        assert_eq!(find(&[&text, PING].concat()), Some(text.len() as u64));
        // None of these is whole, and all that follows belongs to each.
        let nested = [&begun[..], &b"$8\r\n\r\n*99999\r\n".repeat(5000), PING].concat();
        assert_eq!(find(&nested), None);
    }
}
