//! The manifest: which files make up the AOF, and in which order. The format is that of Redis 7
//! (described in the comments of its aof.c), so that each server reads the other's:
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b
//! file appendonly.aof.1.incr.aof seq 1 type h
//! file appendonly.aof.2.incr.aof seq 2 type i
//! ```
//!
//! At most one base (b), history (h: to be deleted), increments (i) in rising order. Unknown
//! key-value pairs are skipped, lines that begin with `#` are comments. Must not know what the
//! files hold.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::base::args;
use crate::persist::files::{Files, Open};

/// Longer lines are refused, as Redis refuses them. Bytes, with the line end.
const MAX_LINE: usize = 1024;
/// No sane manifest is longer; bytes.
const MAX_MANIFEST: u64 = 64 << 20;

/// Nobody has written so many files; what is damaged should not come to an end of numbers.
const SEQ_MAX: i64 = i64::MAX / 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Base,
    History,
    Incr,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    pub seq: i64,
    pub kind: Kind,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<Entry>,
    pub history: Vec<Entry>,
    pub incrs: Vec<Entry>,
    /// The highest numbers used so far; a base in the history counts no more, as in Redis.
    base_seq: i64,
    incr_seq: i64,
}

/// What is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Counts from 1; 0 if the file as a whole is meant.
    pub line_number: usize,
    pub line: String,
    /// In Redis's words, which its test suite looks for.
    pub message: &'static str,
}

impl ParseError {
    /// The lines to log.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec!["*** FATAL AOF MANIFEST FILE ERROR ***".to_string()];
        if self.line_number > 0 {
            lines.push(format!("Reading the manifest file, at line {}", self.line_number));
            lines.push(format!(">>> '{}'", self.line));
        }
        lines.push(self.message.to_string());
        lines
    }
}

/// Why there is no manifest.
#[derive(Debug)]
pub enum ReadError {
    Io(io::Error),
    Parse(ParseError),
}

/// The manifest's file name.
pub fn file_name(append_file_name: &OsStr) -> OsString {
    with_suffix(append_file_name, ".manifest")
}

pub fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut out = name.to_os_string();
    out.push(suffix);
    out
}

impl Manifest {
    /// Reads the manifest in the AOF directory; `None` if there is none.
    pub fn read(files: &dyn Files, path: &Path) -> Result<Option<Manifest>, ReadError> {
        let file = match files.open(path, Open::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ReadError::Io(e)),
        };
        let len = file.len().map_err(ReadError::Io)?;
        if len > MAX_MANIFEST {
            return Err(ReadError::Io(io::ErrorKind::FileTooLarge.into()));
        }
        let mut bytes = vec![0; len as usize];
        let n = file.read_full_at(&mut bytes, 0).map_err(ReadError::Io)?;
        Manifest::parse(&bytes[..n]).map(Some).map_err(ReadError::Parse)
    }

    pub fn parse(bytes: &[u8]) -> Result<Manifest, ParseError> {
        let mut manifest = Manifest::default();
        if bytes.is_empty() {
            let message = "Found an empty AOF manifest";
            return Err(ParseError { line_number: 0, line: String::new(), message });
        }
        for (i, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
            if line.first() == Some(&b'#') {
                continue;
            }
            manifest.parse_line(line).map_err(|message| ParseError {
                line_number: i + 1,
                line: String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)])
                    .trim_end()
                    .to_string(),
                message,
            })?;
        }
        Ok(manifest)
    }

    fn parse_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        const INVALID: &str = "Invalid AOF manifest file format";
        if line.last() != Some(&b'\n') || line.len() > MAX_LINE {
            return Err("The AOF manifest file contains too long line");
        }
        let words = args::split(line).ok_or(INVALID)?;
        if words.len() < 6 || words.len() % 2 != 0 {
            return Err(INVALID);
        }
        let (mut name, mut seq, mut kind) = (None, 0, None);
        for pair in words.chunks_exact(2) {
            let value = &pair[1];
            match pair[0].to_ascii_lowercase().as_slice() {
                b"file" if !is_file_name(value) => {
                    return Err("File can't be a path, just a filename");
                }
                b"file" => name = Some(OsString::from_vec(value.clone())),
                b"seq" => seq = leading_number(value),
                b"type" => kind = value.first().copied(),
                _ => {}
            }
        }
        let (Some(name), Some(kind), true) = (name, kind, seq != 0) else { return Err(INVALID) };
        if seq > SEQ_MAX {
            return Err(INVALID);
        }
        match kind {
            b'b' if self.base.is_some() => return Err("Found duplicate base file information"),
            b'b' => {
                self.base = Some(Entry { name, seq, kind: Kind::Base });
                self.base_seq = seq;
            }
            b'h' => self.history.push(Entry { name, seq, kind: Kind::History }),
            b'i' if seq <= self.incr_seq => return Err("Found a non-monotonic sequence number"),
            b'i' => {
                self.incrs.push(Entry { name, seq, kind: Kind::Incr });
                self.incr_seq = seq;
            }
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    pub fn format(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in self.base.iter().chain(&self.history).chain(&self.incrs) {
            out.extend_from_slice(b"file ");
            quote_if_needed(entry.name.as_bytes(), &mut out);
            let kind = match entry.kind {
                Kind::Base => 'b',
                Kind::History => 'h',
                Kind::Incr => 'i',
            };
            out.extend_from_slice(format!(" seq {} type {kind}\n", entry.seq).as_bytes());
        }
        out
    }

    /// Replaces the manifest in the AOF directory, durably: after a crash there is the old one or
    /// the new one, and the files that it names.
    pub fn write(&self, files: &dyn Files, dir: &Path, append_file_name: &OsStr) -> io::Result<()> {
        let name = file_name(append_file_name);
        let mut temp = OsString::from("temp-");
        temp.push(&name);
        let temp = dir.join(temp);
        let file = files.open(&temp, Open::Truncate)?;
        file.write_all_at(&self.format(), 0)?;
        file.sync_all()?;
        // The manifest's new name might last where those of the files in it do not.
        files.sync_dir(dir)?;
        files.rename(&temp, &dir.join(name))?;
        files.sync_dir(dir)
    }

    /// Nothing to load and nothing to append to.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incrs.is_empty()
    }

    /// The files to load, in order.
    pub fn to_load(&self) -> impl Iterator<Item = &Entry> {
        self.base.iter().chain(&self.incrs)
    }

    /// Gives the AOF a new base; the one before becomes history. `suffix` is `rdb` or `aof`.
    pub fn add_base(&mut self, append_file_name: &OsStr, suffix: &str) -> &Entry {
        if let Some(mut old) = self.base.take() {
            old.kind = Kind::History;
            self.history.insert(0, old);
        }
        let (seq, name) = self.unused(self.base_seq, append_file_name, &format!("base.{suffix}"));
        self.base_seq = seq;
        self.base.insert(Entry { name, seq, kind: Kind::Base })
    }

    /// Makes everything history: what follows begins without it.
    pub fn retire(&mut self) {
        for mut old in self.base.take().into_iter().chain(self.incrs.drain(..)) {
            old.kind = Kind::History;
            self.history.insert(0, old);
        }
    }

    /// All increments but the last become history.
    pub fn keep_last_incr(&mut self) {
        let last = self.incrs.len().saturating_sub(1);
        for mut old in self.incrs.drain(..last) {
            old.kind = Kind::History;
            self.history.insert(0, old);
        }
    }

    /// Begins a new increment.
    pub fn add_incr(&mut self, append_file_name: &OsStr) -> &Entry {
        let (seq, name) = self.unused(self.incr_seq, append_file_name, "incr.aof");
        self.incr_seq = seq;
        self.incrs.push(Entry { name, seq, kind: Kind::Incr });
        &self.incrs[self.incrs.len() - 1]
    }

    /// The next number and name that no file of the history has: those are still to be deleted.
    fn unused(&self, seq: i64, append_file_name: &OsStr, suffix: &str) -> (i64, OsString) {
        let mut seq = seq;
        loop {
            seq += 1;
            let name = with_suffix(append_file_name, &format!(".{seq}.{suffix}"));
            if self.history.iter().all(|old| old.name != name) {
                return (seq, name);
            }
        }
    }

    /// Makes a file of an earlier version, which kept a single one, the base.
    pub fn adopt_base(&mut self, append_file_name: &OsStr) {
        let name = append_file_name.to_os_string();
        self.base = Some(Entry { name, seq: 1, kind: Kind::Base });
        self.base_seq = 1;
    }

    /// Where the files of this manifest's entries are.
    pub fn path(dir: &Path, entry: &Entry) -> PathBuf {
        dir.join(&entry.name)
    }
}

fn is_file_name(name: &[u8]) -> bool {
    !name.iter().any(|&b| b == b'/' || b == b'\\')
}

/// As C's atoll: what leads in digits, else 0.
fn leading_number(text: &[u8]) -> i64 {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let value = digits
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0i64, |n, b| n.saturating_mul(10).saturating_add(i64::from(b - b'0')));
    sign * value
}

fn quote_if_needed(name: &[u8], out: &mut Vec<u8>) {
    // Redis leaves a single quote alone, and then cannot read the line it wrote.
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(*b, b'\\' | b'"' | b'\'');
    if name.iter().all(plain) {
        out.extend_from_slice(name);
    } else {
        out.extend_from_slice(&args::quote(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::files::RealFiles;

    fn error(text: &str) -> (usize, &'static str) {
        let e = Manifest::parse(text.as_bytes()).unwrap_err();
        (e.line_number, e.message)
    }

    #[test]
    fn reads_what_redis_writes() {
        let text = "file a.2.base.rdb seq 2 type b\n\
                    file a.1.incr.aof seq 1 type h\n\
                    file a.2.incr.aof seq 2 type i\n\
                    file a.5.incr.aof seq 5 type i\n";
        let mut m = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(m.base.as_ref().unwrap().name, "a.2.base.rdb");
        assert_eq!(m.history.len(), 1);
        assert_eq!(m.incrs.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(m.format(), text.as_bytes());
        assert_eq!(m.add_incr("a".as_ref()).name, "a.6.incr.aof");
        assert_eq!(m.add_base("a".as_ref(), "aof").name, "a.3.base.aof");
        let text = String::from_utf8(m.format()).unwrap();
        assert!(text.starts_with("file a.3.base.aof seq 3 type b\nfile a.2.base.rdb seq 2 type h"));
    }

    #[test]
    fn names_of_files_that_are_to_be_deleted_are_not_used() {
        let text = "file a.2.base.rdb seq 2 type b\n\
                    file a.3.base.rdb seq 3 type h\n\
                    file a.1.incr.aof seq 1 type h\n\
                    file a.2.incr.aof seq 2 type h\n";
        let mut m = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(m.add_incr("a".as_ref()).name, "a.3.incr.aof");
        assert_eq!(m.add_base("a".as_ref(), "rdb").name, "a.4.base.rdb");
    }

    #[test]
    fn tolerates_comments_other_keys_and_odd_case() {
        let text = "# a comment without meaning\n\
                    FILE x seq 1 type b newkey newvalue\n\
                    seq 7 type incr file y\n#";
        let m = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(m.base.unwrap().name, "x");
        assert_eq!((m.incrs[0].seq, m.incrs[0].name.to_str()), (7, Some("y")));
    }

    #[test]
    fn refuses_with_the_line_and_in_redis_words() {
        let incr = "file a seq 1 type i\n";
        let invalid = "Invalid AOF manifest file format";
        assert_eq!(error(""), (0, "Found an empty AOF manifest"));
        assert_eq!(error(&format!("{incr}\nfile b seq 2 type i\n")), (2, invalid));
        assert_eq!(error("filx a seq 1 type b\n"), (1, invalid));
        assert_eq!(error(&format!("{incr}file a type i\n")), (2, invalid));
        assert_eq!(error("file a seq 1 type i newkey\n"), (1, invalid));
        assert_eq!(error("file a seq 0 type i\n"), (1, invalid));
        assert_eq!(error("file a seq x type i\n"), (1, invalid));
        assert_eq!(error("file a seq 9223372036854775807 type i\n"), (1, invalid));
        assert_eq!(error("file a seq 99999999999999999999 type b\n"), (1, invalid));
        assert_eq!(error("file \"a seq 1 type i\n"), (1, invalid));
        assert_eq!(error("file \"a\"b seq 1 type i\n"), (1, invalid));
        assert_eq!(error("file a seq 1 type \"\"\n"), (1, invalid));
        let monotonic = "Found a non-monotonic sequence number";
        assert_eq!(error(&format!("file b seq 2 type i\n{incr}")), (2, monotonic));
        assert_eq!(error(&format!("{incr}{incr}")), (2, monotonic));
        assert_eq!(error("file b seq -1 type i\n"), (1, monotonic));
        let twice = "file a seq 1 type b\nfile b seq 2 type b\n";
        assert_eq!(error(twice), (2, "Found duplicate base file information"));
        assert_eq!(error("file a seq 1 type x\n"), (1, "Unknown AOF file type"));
        let long = "The AOF manifest file contains too long line";
        assert_eq!(error(&format!("file {} seq 1 type b\n", "a".repeat(1024))), (1, long));
        assert_eq!(error("file a seq 1 type b"), (1, long), "the last line has no end");
        assert_eq!(error("file ../a seq 1 type b\n").1, "File can't be a path, just a filename");
        assert_eq!(
            Manifest::parse(b"filx\n").unwrap_err().lines(),
            [
                "*** FATAL AOF MANIFEST FILE ERROR ***",
                "Reading the manifest file, at line 1",
                ">>> 'filx'",
                invalid
            ]
        );
    }

    #[test]
    fn names_with_blanks_and_control_bytes_survive() {
        let dir = tempfile::tempdir().unwrap();
        for name in [&b" file seq \n\n.aof "[..], b"a\"b c'", b"\x07\x08\t\r\xff\x01", b"it's"] {
            let name = OsStr::from_bytes(name);
            let mut m = Manifest::default();
            m.add_base(name, "rdb");
            m.add_incr(name);
            m.write(&RealFiles, dir.path(), name).unwrap();
            let path = dir.path().join(file_name(name));
            assert_eq!(Manifest::read(&RealFiles, &path).unwrap(), Some(m));
        }
        let mut m = Manifest::default();
        m.add_incr(" file seq \n\n.aof ".as_ref());
        let line = "file \" file seq \\n\\n.aof .1.incr.aof\" seq 1 type i\n";
        assert_eq!(m.format(), line.as_bytes(), "as the test suite of Redis expects it");
    }
}
