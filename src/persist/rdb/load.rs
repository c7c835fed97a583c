//! Putting a file into a keyspace, a slice of work at a time. Must not know files or the server.

use super::read::{Entry, Item, Reader};
use super::{Error, Limits, Problem};
use crate::store::{Keyspace, db};
use log::{debug, info, warn};
use std::io::Read;

/// Keys without elements are told one by one up to this number.
const EMPTY_KEYS_TOLD: u64 = 10;

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

pub struct Loader<R> {
    reader: Reader<R>,
    options: Options,
    loaded: Loaded,
}

impl<R: Read> Loader<R> {
    pub fn new(source: R, options: Options) -> Result<Loader<R>, Error> {
        let reader = Reader::new(source, options.limits, options.checks_sum)?;
        Ok(Loader { reader, options, loaded: Loaded::default() })
    }

    /// Loads about the next `max_bytes` bytes; false when all is loaded. The selected database
    /// stays the same.
    pub fn step(&mut self, keys: &mut Keyspace, max_bytes: u64) -> Result<bool, Error> {
        let selected = keys.current();
        let result = self.load_until(keys, self.offset().saturating_add(max_bytes));
        keys.select(selected);
        result
    }

    fn load_until(&mut self, keys: &mut Keyspace, goal: u64) -> Result<bool, Error> {
        while self.reader.offset() < goal {
            let problem = match self.reader.next()? {
                Item::Entry(entry) => take_in(keys, entry, &self.options, &mut self.loaded).err(),
                Item::EmptyKey(key) => {
                    self.loaded.empty += 1;
                    if self.loaded.empty <= EMPTY_KEYS_TOLD {
                        warn!("skipping empty key: {}", String::from_utf8_lossy(key));
                    }
                    None
                }
                Item::Aux { name, value } => {
                    note(name, value, &mut self.loaded);
                    None
                }
                Item::Size { .. } => None,
                Item::Function(code) => {
                    self.loaded.functions += 1;
                    let library = code.split(|b| *b == b'\n').next().unwrap_or_default();
                    warn!(
                        "Skipping a library of functions, as there are none here: {}",
                        String::from_utf8_lossy(library)
                    );
                    None
                }
                Item::ModuleAux(name) => {
                    info!("Skipping what the module type '{name}' has in the file besides values");
                    None
                }
                Item::End => {
                    if self.loaded.empty > 0 {
                        warn!("empty keys skipped: {}", self.loaded.empty);
                    }
                    return Ok(false);
                }
            };
            if let Some(problem) = problem {
                return Err(self.reader.error(problem));
            }
        }
        Ok(true)
    }

    /// Bytes of the file that were read; when all is loaded, those of its RDB part.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// When all is loaded: what was in the file, what was read from the source behind it, and the
    /// source.
    pub fn finish(self) -> (Loaded, Vec<u8>, R) {
        let (rest, source) = self.reader.into_rest();
        (self.loaded, rest, source)
    }
}

fn take_in(
    keys: &mut Keyspace,
    entry: Entry<'_>,
    options: &Options,
    loaded: &mut Loaded,
) -> Result<(), Problem> {
    let Entry { db, key, value, expire_at, idle_s, frequency } = entry;
    let Some(db) = usize::try_from(db).ok().filter(|db| *db < keys.databases()) else {
        return Err(Problem::Refused(format!(
            "a key of database {db}, but 'databases' is {}",
            keys.databases()
        )));
    };
    if let (Some(at), Some(now)) = (expire_at, options.leaves_out_expired)
        && at < now
    {
        loaded.expired += 1;
        return Ok(());
    }
    keys.select(db);
    if options.replaces {
        keys.remove(key);
    }
    let access = keys.access.restored(idle_s, frequency);
    match keys.entry(key) {
        db::Entry::Vacant(place) => {
            let mut edit = place.insert(value, expire_at);
            if let Some(access) = access {
                edit.set_access(access);
            }
            loaded.keys += 1;
            Ok(())
        }
        db::Entry::Occupied(_) => {
            let key = String::from_utf8_lossy(key);
            Err(Problem::Refused(format!("the key '{key}' comes twice in database {db}")))
        }
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
