//! Putting a file into a keyspace, a slice of work at a time. Must not know files or the server.

use super::decode::{Batch, Decoder, End};
use super::{Error, Limits, Problem};
use crate::persist::ahead::{Ahead, Next, is_worth_a_thread};
use crate::store::Keyspace;
use std::io::Read;

/// Bytes of the file that another thread takes apart for one slice at most: about a millisecond's
/// work for who puts them in.
const PIECE: u64 = 256 << 10;

#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub limits: Limits,
    /// What `rdbchecksum` says.
    pub checks_sum: bool,
    /// Keys that expired before this time, in milliseconds since 1970, are left out: not where
    /// commands follow that tell when keys went away.
    pub leaves_out_expired: Option<i64>,
    /// A key that is there already gives way to the file's; otherwise that is an error.
    pub replaces: bool,
    /// No more bytes of the file than this are loaded in one go, if that is said.
    pub slice: Option<u64>,
}

/// What was in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys that are in the keyspace now.
    pub keys: u64,
    /// Keys that were left out.
    pub expired: u64,
    pub empty: u64,
    pub functions: u64,
    /// The file is the base of an append-only file.
    pub is_aof_base: bool,
    /// From what history of data it is, and how far in it, where that is told.
    pub replication: Replication,
}

/// What `repl-*` fields say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    pub id: Option<String>,
    pub offset: Option<i64>,
    pub stream_db: Option<i64>,
}

/// Takes a file apart and puts it in, in turn.
pub struct Loader<R> {
    decoder: Decoder<R>,
    batch: Batch,
    loaded: Loaded,
}

impl<R: Read> Loader<R> {
    pub fn new(source: R, options: Options) -> Result<Loader<R>, Error> {
        let decoder = Decoder::new(source, options)?;
        Ok(Loader { decoder, batch: Batch::default(), loaded: Loaded::default() })
    }

    /// Loads about the next `max_bytes` bytes; false when all is loaded. The selected database
    /// stays the same.
    pub fn step(&mut self, keys: &mut Keyspace, max_bytes: u64) -> Result<bool, Error> {
        let Loader { decoder, batch, loaded } = self;
        decoder.fill(batch, max_bytes, keys.seed(), keys.databases());
        put(batch, keys, loaded)
    }

    /// Bytes of the file that were read; when all is loaded, those of its RDB part.
    pub fn offset(&self) -> u64 {
        self.decoder.offset()
    }

    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// When all is loaded: what was in the file, what was read from the source behind it, and the
    /// source.
    pub fn finish(self) -> (Loaded, Vec<u8>, R) {
        let (rest, source) = self.decoder.into_rest();
        (self.loaded, rest, source)
    }
}

/// Puts a batch into the keyspace; false if it was the last.
fn put(batch: &mut Batch, keys: &mut Keyspace, loaded: &mut Loaded) -> Result<bool, Error> {
    let selected = keys.current();
    let taken = batch.take_in(keys, &mut loaded.keys);
    keys.select(selected);
    *loaded = Loaded { keys: loaded.keys, ..std::mem::take(&mut batch.loaded) };
    let result = match (taken, std::mem::take(&mut batch.end)) {
        (Err(e), _) | (Ok(()), End::Failure(e)) => Err(e),
        (Ok(()), end) => Ok(matches!(end, End::More)),
    };
    if !matches!(result, Ok(true)) {
        (0..keys.databases()).for_each(|db| keys.expect(db, 0));
    }
    result
}

/// Loads a file that is taken apart by a thread of its own, if that is worth it.
pub struct AheadLoader<R> {
    /// What has not begun yet.
    decoder: Option<Decoder<R>>,
    batches: Option<Ahead<Batch>>,
    piece: u64,
    len: u64,
    offset: u64,
    loaded: Loaded,
}

impl<R: Read + Send + 'static> AheadLoader<R> {
    /// `len`: bytes the file has.
    pub fn new(source: R, options: Options, len: u64) -> Result<AheadLoader<R>, Error> {
        let decoder = Decoder::new(source, options)?;
        let (offset, loaded) = (decoder.offset(), Loaded::default());
        let piece = options.slice.map_or(PIECE, |slice| slice.min(PIECE));
        Ok(AheadLoader { decoder: Some(decoder), batches: None, piece, len, offset, loaded })
    }

    /// Loads the next piece, if that is there; false when all is loaded. The selected database
    /// stays the same.
    pub fn step(&mut self, keys: &mut Keyspace) -> Result<bool, Error> {
        if let Some(decoder) = self.decoder.take() {
            self.batches = Some(self.begin(decoder, keys)?);
        }
        let Some(batches) = &mut self.batches else { return Ok(false) };
        match batches.next() {
            Next::Later => Ok(true),
            Next::Gone => Err(self.error("the thread that takes it apart has ended".into())),
            Next::Piece(mut batch) => {
                let more = put(&mut batch, keys, &mut self.loaded)?;
                self.offset = batch.offset;
                match more {
                    true => batches.give_back(batch),
                    false => self.batches = None,
                }
                Ok(more)
            }
        }
    }

    fn begin(&self, mut decoder: Decoder<R>, keys: &Keyspace) -> Result<Ahead<Batch>, Error> {
        let (seed, databases) = (keys.seed().clone(), keys.databases());
        let piece = self.piece;
        let fill = move |batch: &mut Batch| decoder.fill(batch, piece, &seed, databases);
        Ahead::new(is_worth_a_thread(self.len, PIECE), fill)
            .map_err(|e| self.error(format!("no thread can be started: {e}")))
    }

    fn error(&self, why: String) -> Error {
        Error { offset: self.offset, problem: Problem::Io(why) }
    }

    /// Bytes of the file that were loaded; in the end, those of its RDB part.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }
}
