//! Taking a file apart into batches of entries that only need to be put into a keyspace. Knows how
//! the keyspace hashes, and nothing else of it: this may be done by another thread.

use super::load::{Loaded, Options};
use super::read::{Entry, Item, Reader};
use super::{Error, Problem};
use crate::base::hash::Seed;
use crate::base::table::Part;
use crate::store::{Keyspace, NewValue, db};
use crate::types::{Inline, Object};
use log::{debug, info, warn};
use std::io::Read;

/// Keys without elements are told one by one up to this number.
const EMPTY_KEYS_TOLD: u64 = 10;
/// Entries whose places in the table are fetched together.
const FETCHED: usize = 16;
/// Memory that a batch keeps for the next one, in bytes.
const KEPT: usize = 4 << 20;

/// Entries, and what was learned of the file with them.
#[derive(Default)]
pub struct Batch {
    entries: Vec<Prepared>,
    /// Of the entries' keys.
    hashes: Vec<u64>,
    /// Keys and inline values, each behind the one before.
    bytes: Vec<u8>,
    /// Keys that are there already give way.
    replaces: bool,
    /// How many keys a database is said to have.
    sizes: Vec<(usize, u64)>,
    /// Bytes of the file up to the batch's end.
    pub offset: u64,
    /// What was in the file up to there, but for the number of keys.
    pub loaded: Loaded,
    pub end: End,
}

/// What comes behind a batch.
#[derive(Default)]
pub enum End {
    #[default]
    More,
    Nothing,
    Failure(Error),
}

/// An entry whose key and inline value are in [`Batch::bytes`].
struct Prepared {
    db: usize,
    key_len: usize,
    value: PreparedValue,
    expire_at: Option<i64>,
    idle_s: Option<u64>,
    frequency: Option<u8>,
    /// Where in the file it ends.
    end: u64,
}

enum PreparedValue {
    /// So many bytes.
    Inline(Inline, usize),
    Raw(usize),
    Object(Box<Object>),
}

impl Batch {
    fn clear(&mut self) {
        self.entries.clear();
        self.hashes.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.sizes.clear();
    }

    fn push(&mut self, seed: &Seed, db: usize, entry: Entry<'_>) {
        let Entry { key, value, expire_at, idle_s, frequency, .. } = entry;
        self.bytes.extend_from_slice(key);
        let mut keep = |bytes: &[u8]| {
            self.bytes.extend_from_slice(bytes);
            bytes.len()
        };
        let value = match value {
            NewValue::Inline(kind, bytes) => PreparedValue::Inline(kind, keep(bytes)),
            NewValue::Raw(bytes) => PreparedValue::Raw(keep(bytes)),
            NewValue::Object(object) => PreparedValue::Object(object),
        };
        self.hashes.push(seed.hash(key));
        let (key_len, end) = (key.len(), 0);
        self.entries.push(Prepared { db, key_len, value, expire_at, idle_s, frequency, end });
    }

    /// Tells where the entry pushed last ends, which is known when nothing of it is in use.
    fn ends(&mut self, offset: u64) {
        if let Some(last) = self.entries.last_mut().filter(|last| last.end == 0) {
            last.end = offset;
        }
    }

    /// Puts the entries into a keyspace; adds their number to `count`. The database that is
    /// selected then is any.
    ///
    /// # Errors
    /// A key that is there already.
    pub fn take_in(&mut self, keys: &mut Keyspace, count: &mut u64) -> Result<(), Error> {
        let mut bytes = &self.bytes[..];
        let mut take = |len| {
            let taken;
            (taken, bytes) = bytes.split_at(len);
            taken
        };
        for (db, size) in self.sizes.drain(..) {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            keys.expect(db, size.saturating_add(keys.records(db).len()));
        }
        for (nth, entry) in self.entries.drain(..).enumerate() {
            if nth % FETCHED == 0 {
                fetch_ahead(keys, entry.db, &self.hashes[nth..]);
            }
            let key = take(entry.key_len);
            let value = match entry.value {
                PreparedValue::Inline(kind, len) => NewValue::Inline(kind, take(len)),
                PreparedValue::Raw(len) => NewValue::Raw(take(len)),
                PreparedValue::Object(object) => NewValue::Object(object),
            };
            keys.select(entry.db);
            if self.replaces {
                keys.remove(key);
            }
            let access = keys.access.restored(entry.idle_s, entry.frequency);
            let db::Entry::Vacant(place) = keys.entry_hashed(self.hashes[nth], key) else {
                let (key, db) = (String::from_utf8_lossy(key), entry.db);
                let what = format!("the key '{key}' comes twice in database {db}");
                return Err(Error { offset: entry.end, problem: Problem::Refused(what) });
            };
            let mut edit = place.insert(value, entry.expire_at);
            if let Some(access) = access {
                edit.set_access(access);
            }
            *count += 1;
        }
        Ok(())
    }
}

/// Begins to fetch what the next keys need, each step for keys that are one group nearer.
fn fetch_ahead(keys: &Keyspace, db: usize, hashes: &[u64]) {
    for (groups, part) in
        [Part::NextLine, Part::Line, Part::Block, Part::Segment].iter().enumerate()
    {
        let few = hashes.iter().skip((1 + groups) * FETCHED).take(FETCHED);
        few.for_each(|&hash| keys.prefetch_part(db, hash, *part));
    }
}

pub struct Decoder<R> {
    reader: Reader<R>,
    options: Options,
    loaded: Loaded,
}

impl<R: Read> Decoder<R> {
    pub fn new(source: R, options: Options) -> Result<Decoder<R>, Error> {
        let reader = Reader::new(source, options.limits, options.checks_sum)?;
        Ok(Decoder { reader, options, loaded: Loaded::default() })
    }

    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    pub fn into_rest(self) -> (Vec<u8>, R) {
        self.reader.into_rest()
    }

    /// Fills a batch with what is in about the next `max_bytes` bytes of the file, for a keyspace
    /// of so many databases that hashes its keys with `seed`. False if nothing comes behind it.
    pub fn fill(
        &mut self,
        batch: &mut Batch,
        max_bytes: u64,
        seed: &Seed,
        databases: usize,
    ) -> bool {
        batch.clear();
        batch.replaces = self.options.replaces;
        let goal = self.offset().saturating_add(max_bytes);
        batch.end = loop {
            if self.offset() >= goal {
                break End::More;
            }
            match self.next(batch, seed, databases) {
                Ok(true) => {}
                Ok(false) => break End::Nothing,
                Err(e) => break End::Failure(e),
            }
        };
        batch.offset = self.offset();
        batch.loaded.clone_from(&self.loaded);
        matches!(batch.end, End::More)
    }

    /// Takes one item; false at the end.
    fn next(&mut self, batch: &mut Batch, seed: &Seed, databases: usize) -> Result<bool, Error> {
        let (loaded, mut size, mut refused) = (&mut self.loaded, None, None);
        match self.reader.next()? {
            Item::Entry(entry) => {
                let expires = entry.expire_at.zip(self.options.leaves_out_expired);
                match usize::try_from(entry.db) {
                    Ok(db) if db < databases => {
                        if expires.is_some_and(|(at, now)| at < now) {
                            loaded.expired += 1;
                        } else {
                            batch.push(seed, db, entry);
                        }
                    }
                    _ => refused = Some(entry.db),
                }
            }
            Item::EmptyKey(key) => {
                loaded.empty += 1;
                if loaded.empty <= EMPTY_KEYS_TOLD {
                    warn!("skipping empty key: {}", String::from_utf8_lossy(key));
                }
            }
            Item::Aux { name, value } => note(name, value, loaded),
            Item::Size { keys, .. } => size = Some(keys),
            Item::Function(code) => {
                loaded.functions += 1;
                let library = code.split(|b| *b == b'\n').next().unwrap_or_default();
                warn!(
                    "Skipping a library of functions, as there are none here: {}",
                    String::from_utf8_lossy(library)
                );
            }
            Item::ModuleAux(name) => {
                info!("Skipping what the module type '{name}' has in the file besides values");
            }
            Item::End => {
                if loaded.empty > 0 {
                    warn!("empty keys skipped: {}", loaded.empty);
                }
                return Ok(false);
            }
        }
        batch.ends(self.reader.offset());
        if let Some(db) = refused {
            let what = format!("a key of database {db}, but 'databases' is {databases}");
            return Err(self.reader.error(Problem::Refused(what)));
        }
        if let (Some(size), Ok(db)) = (size, usize::try_from(self.reader.db()))
            && db < databases
        {
            batch.sizes.push((db, size));
        }
        Ok(true)
    }
}

fn note(name: &[u8], value: &[u8], loaded: &mut Loaded) {
    let text = || String::from_utf8_lossy(value).into_owned();
    let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    match name {
        b"aof-base" => loaded.is_aof_base = value == b"1",
        b"repl-id" => loaded.replication.id = Some(text()),
        b"repl-offset" => loaded.replication.offset = number(),
        b"repl-stream-db" => loaded.replication.stream_db = number(),
        b"redis-ver" | b"valkey-ver" => {
            let of = String::from_utf8_lossy(name);
            info!("Loading RDB produced by version {} ({of})", text());
        }
        _ => debug!("RDB: {} is {}", String::from_utf8_lossy(name), text()),
    }
}
