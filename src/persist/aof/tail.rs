//! What stands behind the last whole command of a file: whether a crash may have left it, or
//! whether the file is damaged. Must not know what is done about it.

use std::io;

use super::read::{Parsed, parse};
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

/// Where a whole command begins inside of what an unfinished one claims as its own. That is the
/// mark of a damaged length in the middle of a file: a crash cuts a file, and what it leaves of the
/// last command holds no other. Without this, one flipped bit could have the rest of the file cut.
/// So much that looks like commands that telling takes too long counts as one.
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
                return Ok(Some(base + begin as u64));
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

    fn find(bytes: &[u8]) -> Option<u64> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aof");
        std::fs::write(&path, bytes).unwrap();
        let file = RealFiles.open(&path, Open::Read).unwrap();
        find_command_behind(&*file, 0, bytes.len() as u64).unwrap()
    }

    #[test]
    fn text_made_to_take_long_counts_as_a_command() {
        let begun = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999\r\n";
        let text = [&begun[..], &b"some text, with\r\n* a list\r\n".repeat(5000)].concat();
        assert_eq!(find(&text), None);
        // None of these is whole, and all that follows belongs to each.
        let nested = [&begun[..], &b"$8\r\n\r\n*99999\r\n".repeat(5000)].concat();
        assert!(find(&nested).is_some());
    }
}
