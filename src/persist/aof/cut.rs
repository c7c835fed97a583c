//! Cuts the commands out of an AOF, a batch at a time, as it reads the file. Knows nothing of what
//! becomes of them, nor what an end in the midst of one means: this may be done by another thread.

use super::read::{Parsed, parse_more};
use crate::persist::files::FileHandle;
use crate::resp::Args;
use crate::resp::parse::Span;
use std::io;
use std::sync::Arc;

/// Bytes of a batch, unless one command takes more: about a millisecond's work.
pub const PIECE: usize = 256 << 10;

/// Commands that stand one behind the other in the file.
#[derive(Default)]
pub struct Batch {
    /// Where in the file it begins, and where what comes behind it does.
    pub begin: u64,
    pub end: u64,
    /// What was read of the file from `begin` on. What is behind `filled` is of no meaning.
    bytes: Vec<u8>,
    filled: usize,
    spans: Vec<Span>,
    commands: Vec<Command>,
    pub stop: Stop,
}

/// A command's arguments are `spans[first..last]`, counted from `at`.
struct Command {
    at: usize,
    first: usize,
    last: usize,
}

/// Why a batch ends.
#[derive(Default)]
pub enum Stop {
    /// There is more.
    #[default]
    Full,
    /// The file ends here, or in the midst of the next command.
    EndOfFile,
    /// The byte at this place in the file cannot stand there.
    Bad(u64),
    Unreadable(io::Error),
}

impl Batch {
    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn args(&self, nth: usize) -> Args<'_> {
        let Command { at, first, last } = self.commands[nth];
        Args::new(&self.bytes[at..], &self.spans[first..last])
    }

    /// Where in the file a command begins; with as many as there are, where the batch ends.
    pub fn offset(&self, nth: usize) -> u64 {
        self.commands.get(nth).map_or(self.end, |command| self.begin + command.at as u64)
    }
}

/// A file being cut.
pub struct Cutter {
    file: Arc<dyn FileHandle>,
    /// Bytes of the file that count.
    len: u64,
    /// Where the next batch begins, and what of it was read already.
    at: u64,
    rest: Vec<u8>,
}

impl Cutter {
    /// Begins at a place in the file.
    pub fn new(file: Arc<dyn FileHandle>, at: u64, len: u64) -> Cutter {
        Cutter { file, len, at, rest: Vec::new() }
    }

    /// Fills a batch. False if none can come behind it.
    pub fn fill(&mut self, batch: &mut Batch) -> bool {
        batch.spans.clear();
        batch.commands.clear();
        (batch.begin, batch.end) = (self.at, self.at);
        batch.filled = self.rest.len();
        if batch.bytes.len() < batch.filled || batch.bytes.len() > 4 * PIECE.max(batch.filled) {
            batch.bytes = Vec::new();
            batch.bytes.resize(batch.filled.max(PIECE), 0);
        }
        batch.bytes[..batch.filled].copy_from_slice(&self.rest);
        batch.stop = self.read(batch, PIECE).map_or_else(Stop::Unreadable, |()| self.cut(batch));
        self.at = batch.end;
        self.rest.clear();
        self.rest.extend_from_slice(&batch.bytes[(batch.end - batch.begin) as usize..batch.filled]);
        matches!(batch.stop, Stop::Full)
    }

    fn cut(&self, batch: &mut Batch) -> Stop {
        let mut at = 0;
        loop {
            batch.end = batch.begin + at as u64;
            let first = batch.spans.len();
            match parse_more(&batch.bytes[at..batch.filled], &mut batch.spans) {
                Parsed::Whole(len) => {
                    let last = batch.spans.len();
                    if last > first {
                        batch.commands.push(Command { at, first, last });
                    }
                    at += len;
                }
                Parsed::Bad(behind) => return Stop::Bad(batch.end + behind as u64),
                Parsed::Needs(len) if batch.end + len as u64 > self.len => return Stop::EndOfFile,
                // It may begin the next batch.
                Parsed::Needs(_) if at > 0 => return Stop::Full,
                Parsed::Needs(len) => {
                    // As much again as a long command already takes, so that one of many
                    // arguments is not looked at from its beginning too often.
                    if let Err(e) = self.read(batch, len.max(2 * batch.filled)) {
                        return Stop::Unreadable(e);
                    }
                }
            }
        }
    }

    /// Reads on until the batch has so many bytes, or all there are.
    fn read(&self, batch: &mut Batch, wanted: usize) -> io::Result<()> {
        let left = usize::try_from(self.len - batch.begin).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        if wanted <= batch.filled {
            return Ok(());
        }
        if batch.bytes.len() < wanted {
            batch.bytes.resize(wanted, 0);
        }
        let offset = batch.begin + batch.filled as u64;
        let read = self.file.read_full_at(&mut batch.bytes[batch.filled..wanted], offset)?;
        batch.filled += read;
        // It was longer when it was opened.
        if batch.filled < wanted { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
