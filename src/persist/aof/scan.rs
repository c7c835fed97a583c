//! Looks through one file of an AOF without loading it: hands out its commands and annotations, and
//! says where it ends well and what becomes of the rest. It tells a torn tail from damage as
//! loading does, by the same functions; what loading would do about it is the caller's knowledge.

use std::io;
use std::sync::Arc;

use super::load::RDB_MAGICS;
use super::read::{Parsed, parse};
use super::tail::{find_command_behind, next_if_one_digit_is_wrong, only_zeros_from};
use crate::persist::files::FileHandle;
use crate::resp::Args;
use crate::resp::parse::Span;

/// Files are read in pieces of this size, or of a command's. Bytes.
const READ_SIZE: usize = 256 << 10;

/// What comes next in a file.
pub enum Found<'a> {
    Command(Args<'a>),
    /// A line that begins with `#`, with its end.
    Annotation(&'a [u8]),
    End(End),
}

/// How a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind a whole command.
    Whole,
    /// As a crash may leave it: a server cuts it there, if it is the last file.
    Torn(Fault),
    /// No crash leaves this: no server loads it.
    Damaged {
        fault: Fault,
        /// Where a whole command begins behind the damage, if one does.
        goes_on_at: Option<u64>,
    },
}

/// What is wrong, and at which byte of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub offset: u64,
    pub what: String,
}

/// Whether the file begins with a part in RDB format.
pub fn begins_in_rdb_format(file: &dyn FileHandle) -> io::Result<bool> {
    let mut head = [0; 6];
    let n = file.read_full_at(&mut head, 0)?;
    Ok(RDB_MAGICS.iter().any(|magic| head[..n].starts_with(magic)))
}

/// A file being looked through.
pub struct Scan {
    file: Arc<dyn FileHandle>,
    len: u64,
    /// Bytes read ahead, those before `start` done with; `offset` is where in the file `start` is.
    buf: Vec<u8>,
    start: usize,
    offset: u64,
    spans: Vec<Span>,
    /// Where the MULTI of an open transaction begins.
    multi_at: Option<u64>,
}

impl Scan {
    /// Begins at a place in a file of `len` bytes.
    pub fn new(file: Arc<dyn FileHandle>, from: u64, len: u64) -> Scan {
        let (buf, spans) = (Vec::new(), Vec::new());
        Scan { file, len, buf, start: 0, offset: from, spans, multi_at: None }
    }

    /// Where in the file the next command or annotation begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the last whole command ends, or the last whole transaction: where a torn file is cut.
    pub fn sound_to(&self) -> u64 {
        self.multi_at.unwrap_or(self.offset)
    }

    /// Whether a transaction is open.
    pub fn is_in_transaction(&self) -> bool {
        self.multi_at.is_some()
    }

    /// What comes next. Once that is an end, nothing else does.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_found(&mut self) -> io::Result<Found<'_>> {
        loop {
            match parse(&self.buf[self.start..], &mut self.spans) {
                Parsed::Whole(len) => return Ok(self.take(len)),
                Parsed::Needs(n) if self.offset + n as u64 <= self.len => self.fill(n)?,
                Parsed::Needs(_) => return self.at_end().map(Found::End),
                Parsed::Bad(at) => return self.at_bad_byte(at as u64).map(Found::End),
            }
        }
    }

    fn take(&mut self, len: usize) -> Found<'_> {
        let at = self.start;
        let begin = self.offset;
        self.start += len;
        self.offset += len as u64;
        if self.spans.is_empty() {
            return Found::Annotation(&self.buf[at..at + len]);
        }
        let args = Args::new(&self.buf[at..], &self.spans);
        if args.get(0).eq_ignore_ascii_case(b"multi") {
            self.multi_at.get_or_insert(begin);
        } else if args.get(0).eq_ignore_ascii_case(b"exec") {
            self.multi_at = None;
        }
        Found::Command(args)
    }

    /// Reads on until `n` bytes from `start` on are there; the file is long enough.
    fn fill(&mut self, n: usize) -> io::Result<()> {
        self.buf.drain(..self.start);
        self.start = 0;
        let have = self.buf.len();
        // Twice what a long command already takes, so that one of many arguments is not looked at
        // from its beginning too often.
        let rest = usize::try_from(self.len - self.offset).unwrap_or(usize::MAX);
        let want = n.max(have * 2).max(READ_SIZE).min(rest);
        if self.buf.capacity() > 4 * READ_SIZE.max(want) {
            self.buf.shrink_to(want);
        }
        self.buf.resize(want, 0);
        let read = self.file.read_full_at(&mut self.buf[have..], self.offset + have as u64)?;
        self.buf.truncate(have + read);
        if self.buf.len() < n { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// The file ends here, or in the middle of a command.
    fn at_end(&self) -> io::Result<End> {
        if self.offset == self.len {
            return Ok(match self.multi_at {
                None => End::Whole,
                Some(offset) => End::Torn(Fault {
                    offset,
                    what: "the file ends before the EXEC of this MULTI".to_string(),
                }),
            });
        }
        let goes_on_at = next_if_one_digit_is_wrong(&*self.file, self.offset, self.len)?;
        Ok(match goes_on_at {
            None => End::Torn(Fault {
                offset: self.offset,
                what: "the file ends within this command".to_string(),
            }),
            Some(_) => End::Damaged {
                fault: Fault {
                    offset: self.offset,
                    what: "this command claims to reach beyond the end of the file".to_string(),
                },
                goes_on_at,
            },
        })
    }

    /// The byte `at` bytes behind the command's beginning cannot stand there.
    fn at_bad_byte(&self, at: u64) -> io::Result<End> {
        let offset = self.offset + at;
        if only_zeros_from(&*self.file, offset, self.len)? {
            let what = "nothing but zeros follows".to_string();
            return Ok(End::Torn(Fault { offset, what }));
        }
        let mut byte = [0];
        self.file.read_full_at(&mut byte, offset)?;
        let shown = byte[0].escape_ascii();
        let what = format!("unexpected byte '{shown}', in the command at offset {}", self.offset);
        let goes_on_at = find_command_behind(&*self.file, self.offset, self.len)?;
        Ok(End::Damaged { fault: Fault { offset, what }, goes_on_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::files::{Files, Open, RealFiles};

    /// What is found in a file, as words, where it is sound to, and how it ends.
    fn scan(bytes: &[u8]) -> (Vec<String>, u64, End) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aof");
        std::fs::write(&path, bytes).unwrap();
        let file: Arc<dyn FileHandle> = RealFiles.open(&path, Open::Read).unwrap().into();
        let mut scan = Scan::new(file, 0, bytes.len() as u64);
        let mut words = Vec::new();
        loop {
            match scan.next_found().unwrap() {
                Found::Command(args) => words.push(String::from_utf8_lossy(args.get(0)).into()),
                Found::Annotation(line) => {
                    words.push(String::from_utf8_lossy(line).trim_end().into());
                }
                Found::End(end) => return (words, scan.sound_to(), end),
            }
        }
    }

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    const MULTI: &[u8] = b"*1\r\n$5\r\nmulti\r\n";
    const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

    #[test]
    fn hands_out_what_is_there() {
        let bytes = [b"#TS:12\r\n", PING, MULTI, PING, EXEC, b"#x\n"].concat();
        let (words, sound_to, end) = scan(&bytes);
        assert_eq!(words, ["#TS:12", "PING", "multi", "PING", "EXEC", "#x"]);
        assert_eq!((sound_to, end), (bytes.len() as u64, End::Whole));
        assert_eq!(scan(b""), (Vec::new(), 0, End::Whole));
        let large = [b"*1\r\n$1000000\r\n", &[b'x'; 1_000_000][..], b"\r\n", PING].concat();
        assert_eq!(scan(&large).0.len(), 2);
    }

    #[test]
    fn tells_what_a_crash_leaves_from_damage() {
        let len = PING.len() as u64;
        for cut in 1..PING.len() {
            let (words, sound_to, end) = scan(&[PING, &PING[..cut]].concat());
            assert_eq!((words.len(), sound_to), (1, len), "{cut}");
            assert!(matches!(end, End::Torn(Fault { offset, .. }) if offset == len), "{end:?}");
        }
        let (_, sound_to, end) = scan(&[PING, MULTI, PING].concat());
        assert_eq!(sound_to, len);
        assert!(matches!(end, End::Torn(Fault { offset, .. }) if offset == len), "{end:?}");
        let (_, sound_to, end) = scan(&[PING, &PING[..6], &[0; 99]].concat());
        assert_eq!(sound_to, len);
        assert!(matches!(end, End::Torn(Fault { offset, .. }) if offset == len + 6), "{end:?}");

        let (_, sound_to, end) = scan(&[PING, b"!!!\r\n", PING].concat());
        let goes_on_at = Some(len + 5);
        assert_eq!(sound_to, len);
        let what = format!("unexpected byte '!', in the command at offset {len}");
        assert_eq!(end, End::Damaged { fault: Fault { offset: len, what }, goes_on_at });
        let (_, sound_to, end) = scan(&[PING, b"*1\r\n$90\r\nPING-PING-\r\n", PING].concat());
        assert_eq!(sound_to, len);
        let begins = |end: &End| match end {
            End::Damaged { fault, goes_on_at } => (fault.offset, *goes_on_at),
            other => panic!("{other:?}"),
        };
        assert_eq!(begins(&end), (len, Some(len + 21)));
        let (_, _, end) = scan(&[PING, b"!!!"].concat());
        assert_eq!(begins(&end), (len, None));
    }
}
