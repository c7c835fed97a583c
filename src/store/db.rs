//! The databases, and the one door through which keys are read and changed.
//!
//! Reading goes through [`Keyspace::read`], changing through the guard [`Edit`], creating through
//! [`Keyspace::insert`]. They make an expired key vanish before anybody sees it, count hits and
//! misses, and mark keys as changed; no command does any of that itself. What follows from a
//! change (files, replicas, watching clients) is left for `server` to take from here.

use super::access::Access;
use super::record::{NewValue, Record, View};
use super::table::{Due, Records};
use crate::base::hash::Seed;
use crate::base::rng::Rng;
use crate::base::table::Place;
use crate::types::string::INLINE_LIMIT;
use crate::types::{Inline, Object, Slot, Type, Value};

#[cfg(test)]
mod tests;

/// Values whose freeing takes more allocator calls than this are freed elsewhere.
const FREE_HERE: usize = 64;

/// All databases of a server.
pub struct Keyspace {
    dbs: Vec<Records>,
    seed: Seed,
    /// The database that reads and edits go to.
    current: usize,
    /// Milliseconds since 1970, as of the current command.
    pub now_ms: i64,
    /// Changes since the server started; never goes back.
    pub dirty: u64,
    pub hits: u64,
    pub misses: u64,
    /// Keys that went away because their time had come.
    pub expired: u64,
    /// Off while a file is loaded: then keys go away by the commands in the file alone.
    pub expiry_enabled: bool,
    /// Off for clients with CLIENT NO-TOUCH.
    pub touch: bool,
    /// What each access writes into a record.
    pub access: Access,
    /// Expired keys that files and replicas have not been told of yet.
    pub expired_untold: Vec<(usize, Box<[u8]>)>,
    /// Large values that are no longer part of any database, to be freed off the loop.
    pub garbage: Vec<Garbage>,
}

/// Something large to be freed.
pub enum Garbage {
    Object(Box<Object>),
    Database(Records),
}

impl Garbage {
    /// How many values it holds, for statistics.
    pub fn count(&self) -> usize {
        match self {
            Garbage::Object(_) => 1,
            Garbage::Database(records) => records.len(),
        }
    }
}

/// What a write does with a key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Keep,
    Never,
    /// Milliseconds since 1970.
    At(i64),
}

/// What became of a key that was to be renamed, moved or copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    Done,
    /// There is no such key.
    Missing,
    /// There is a key already where this one was to go.
    Occupied,
}

impl Keyspace {
    pub fn new(databases: usize, seed_number: u64, now_ms: i64) -> Keyspace {
        let seed = Seed::new(seed_number);
        Keyspace {
            dbs: (0..databases).map(|_| Records::new(seed.clone(), now_ms)).collect(),
            seed,
            current: 0,
            now_ms,
            dirty: 0,
            hits: 0,
            misses: 0,
            expired: 0,
            expiry_enabled: true,
            touch: true,
            access: Access::new(seed_number),
            expired_untold: Vec::new(),
            garbage: Vec::new(),
        }
    }

    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// Chooses the database for what follows.
    #[inline]
    pub fn select(&mut self, db: usize) {
        debug_assert!(db < self.dbs.len());
        self.current = db;
    }

    pub fn current(&self) -> usize {
        self.current
    }

    /// The time all commands of this moment see, in milliseconds since 1970.
    pub fn set_now(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.access.set_now(now_ms / 1000);
    }

    #[inline]
    fn db(&self) -> &Records {
        &self.dbs[self.current]
    }

    #[inline]
    fn db_mut(&mut self) -> &mut Records {
        &mut self.dbs[self.current]
    }

    pub fn records(&self, db: usize) -> &Records {
        &self.dbs[db]
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    /// Has the memory fetched that look-ups of keys with these hashes will read.
    pub fn prefetch(&self, db: usize, hashes: &[u64]) {
        self.dbs[db].prefetch(hashes);
    }

    /// The place of a live key; one whose time has come is removed first.
    #[inline]
    fn locate(&mut self, key: &[u8]) -> Option<Place> {
        self.locate_hashed(self.seed.hash(key), key)
    }

    #[inline]
    fn locate_hashed(&mut self, hash: u64, key: &[u8]) -> Option<Place> {
        let (place, view) = self.db().find(hash, key)?;
        match view.expire_at() {
            Some(at) if at <= self.now_ms && self.expiry_enabled => {
                self.expire(place);
                None
            }
            _ => Some(place),
        }
    }

    fn expire(&mut self, place: Place) {
        let key = self.db().view(place).key().into();
        self.expired += 1;
        self.expired_untold.push((self.current, key));
        self.discard(place);
    }

    fn discard(&mut self, place: Place) {
        if let Some(object) = self.db_mut().take(place).free() {
            self.free(object);
        }
    }

    fn free(&mut self, object: Box<Object>) {
        if object.free_effort() > FREE_HERE {
            self.garbage.push(Garbage::Object(object));
        }
    }

    #[inline]
    fn note_access(&mut self, place: Place) -> View<'_> {
        let (records, access) = (&mut self.dbs[self.current], &mut self.access);
        if !self.touch {
            return records.view(place);
        }
        records.touch(place, |before| access.touched(before))
    }

    /// Reads a key on behalf of a client: counts the hit or miss and notes the access.
    #[inline]
    pub fn read(&mut self, key: &[u8]) -> Option<View<'_>> {
        let Some(place) = self.locate(key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        Some(self.note_access(place))
    }

    /// Reads a key on behalf of a client that asks about it rather than for its value (EXISTS,
    /// TYPE, TTL, OBJECT): counts the hit or miss, but is no access.
    pub fn inspect(&mut self, key: &[u8]) -> Option<View<'_>> {
        match self.locate(key) {
            Some(place) => {
                self.hits += 1;
                Some(self.db().view(place))
            }
            None => {
                self.misses += 1;
                None
            }
        }
    }

    /// Reads a key without leaving a trace, for the server itself.
    pub fn peek(&mut self, key: &[u8]) -> Option<View<'_>> {
        let place = self.locate(key)?;
        Some(self.db().view(place))
    }

    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.locate(key).is_some()
    }

    /// Opens a key that exists, for change.
    #[inline]
    pub fn edit(&mut self, key: &[u8]) -> Option<Edit<'_>> {
        let place = self.locate(key)?;
        Some(self.open(place))
    }

    /// Opens a key for change, or the place for it if it does not exist.
    #[inline]
    pub fn entry<'a>(&'a mut self, key: &'a [u8]) -> Entry<'a> {
        let hash = self.seed.hash(key);
        match self.locate_hashed(hash, key) {
            Some(place) => Entry::Occupied(self.open(place)),
            None => Entry::Vacant(Vacant { keys: self, key, hash }),
        }
    }

    #[inline]
    fn open(&mut self, place: Place) -> Edit<'_> {
        self.note_access(place);
        Edit { keys: self, place, changed: false }
    }

    /// Opens a key for change; one that does not exist is created with this value first.
    #[inline]
    pub fn upsert(&mut self, key: &[u8], value: NewValue<'_>) -> Edit<'_> {
        match self.locate(key) {
            Some(place) => self.open(place),
            None => self.insert(key, value, None),
        }
    }

    /// Creates a key that does not exist (as [`Keyspace::edit`] has just told).
    #[inline]
    pub fn insert(&mut self, key: &[u8], value: NewValue<'_>, expire_at: Option<i64>) -> Edit<'_> {
        self.insert_hashed(self.seed.hash(key), key, value, expire_at)
    }

    #[inline]
    fn insert_hashed(
        &mut self,
        hash: u64,
        key: &[u8],
        value: NewValue<'_>,
        expire_at: Option<i64>,
    ) -> Edit<'_> {
        let mut record = Record::new(key, fitting(value), expire_at);
        record.set_access(self.access.fresh());
        let place = self.db_mut().put(hash, record);
        Edit { keys: self, place, changed: true }
    }

    /// Creates a key or overwrites it, whatever it was.
    #[inline]
    pub fn set(&mut self, key: &[u8], value: NewValue<'_>, expiry: Expiry) {
        let hash = self.seed.hash(key);
        let Some(place) = self.locate_hashed(hash, key) else {
            let expire_at = if let Expiry::At(at) = expiry { Some(at) } else { None };
            self.insert_hashed(hash, key, value, expire_at);
            return;
        };
        let mut edit = self.open(place);
        edit.set_value(value);
        match expiry {
            Expiry::Keep => {}
            Expiry::Never => edit.set_expire_at(None),
            Expiry::At(at) => edit.set_expire_at(Some(at)),
        }
    }

    /// Removes a key; false if there was none.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some(edit) = self.edit(key) else { return false };
        edit.remove();
        true
    }

    /// Gives a key another name in the same database. Its expiry goes with it, and its value is
    /// not copied. What was called `to` gives way if `replace` allows it.
    pub fn rename(&mut self, from: &[u8], to: &[u8], replace: bool) -> Transfer {
        if self.locate(from).is_none() {
            return Transfer::Missing;
        }
        if from == to {
            return if replace { Transfer::Done } else { Transfer::Occupied };
        }
        if !self.vacate(self.current, to, replace) {
            return Transfer::Occupied;
        }
        self.transfer(from, self.current, to)
    }

    /// Moves a key of the current database to another one, where it must not exist.
    pub fn move_to(&mut self, key: &[u8], db: usize) -> Transfer {
        if self.locate(key).is_none() {
            return Transfer::Missing;
        }
        if !self.vacate(db, key, false) {
            return Transfer::Occupied;
        }
        self.transfer(key, db, key)
    }

    /// Copies a key of the current database, with its expiry, to `to` in `db`. What is there
    /// gives way if `replace` allows it; it must be another key.
    pub fn copy_to(&mut self, from: &[u8], db: usize, to: &[u8], replace: bool) -> Transfer {
        debug_assert!(db != self.current || from != to);
        if self.read(from).is_none() {
            return Transfer::Missing;
        }
        if !self.vacate(db, to, replace) {
            return Transfer::Occupied;
        }
        let Some(place) = self.locate(from) else { return Transfer::Missing };
        let mut copy = self.db_mut().update(place, |record| record.copied(to));
        copy.set_access(self.access.fresh());
        self.dbs[db].put(self.seed.hash(to), copy);
        self.dirty += 1;
        Transfer::Done
    }

    /// Makes sure that a database does not have a key; false if it does and may not lose it.
    fn vacate(&mut self, db: usize, key: &[u8], replace: bool) -> bool {
        let selected = std::mem::replace(&mut self.current, db);
        let place = self.locate(key);
        if let Some(place) = place.filter(|_| replace) {
            self.discard(place);
        }
        self.current = selected;
        place.is_none() || replace
    }

    fn transfer(&mut self, from: &[u8], db: usize, to: &[u8]) -> Transfer {
        let Some(place) = self.locate(from) else { return Transfer::Missing };
        let mut record = self.db_mut().take(place);
        if self.touch {
            record.set_access(self.access.touched(record.access()));
        }
        if from != to {
            record = record.renamed(to);
        }
        self.dbs[db].put(self.seed.hash(to), record);
        self.dirty += 1;
        Transfer::Done
    }

    pub fn len(&self) -> usize {
        self.db().len()
    }

    pub fn is_empty(&self) -> bool {
        self.db().is_empty()
    }

    /// Empties one database; returns how many keys it had. The memory is freed off the loop.
    pub fn flush(&mut self, db: usize) -> usize {
        let empty = Records::new(self.seed.clone(), self.now_ms);
        let old = std::mem::replace(&mut self.dbs[db], empty);
        let keys = old.len();
        self.dirty += keys as u64;
        if keys > 0 {
            self.garbage.push(Garbage::Database(old));
        }
        keys
    }

    /// Marks a change that no key shows: for a command that files and replicas must see although
    /// it found nothing to do here.
    pub fn mark_changed(&mut self) {
        self.dirty += 1;
    }

    pub fn swap(&mut self, a: usize, b: usize) {
        self.dbs.swap(a, b);
        self.dirty += 1;
    }

    /// A live key of the current database, drawn with equal chances.
    pub fn random(&mut self, rng: &mut Rng) -> Option<Box<[u8]>> {
        loop {
            let key: Box<[u8]> = self.db().random(rng)?.key().into();
            if self.locate(&key).is_some() {
                return Some(key);
            }
        }
    }

    /// A step of SCAN over the current database: hands live records to `visit`.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(View<'a>)) -> u64 {
        self.db().scan(cursor, |view| {
            if self.is_live(&view) {
                visit(view);
            }
        })
    }

    /// All live records of a database.
    pub fn iter(&self, db: usize) -> impl Iterator<Item = View<'_>> {
        self.dbs[db].iter().filter(|view| self.is_live(view))
    }

    fn is_live(&self, view: &View<'_>) -> bool {
        !self.expiry_enabled || view.expire_at().is_none_or(|at| at > self.now_ms)
    }

    /// When the next key of any database is due, in milliseconds since 1970.
    pub fn next_expiry(&self) -> Option<i64> {
        self.dbs.iter().filter_map(Records::next_time).min()
    }

    /// Removes keys whose time has come until `out_of_time` says to stop; true if there may be
    /// more to do.
    pub fn expire_due(&mut self, mut out_of_time: impl FnMut() -> bool) -> bool {
        let selected = self.current;
        let mut more = false;
        for db in 0..self.dbs.len() {
            self.current = db;
            let mut steps = 0u32;
            loop {
                match self.dbs[db].next_due(self.now_ms) {
                    Due::Now(place) => self.expire(place),
                    Due::Later => {}
                    Due::None => break,
                }
                steps += 1;
                if steps.is_multiple_of(64) && out_of_time() {
                    more = true;
                    break;
                }
            }
        }
        self.current = selected;
        more
    }
}

/// Strings too long for a record become objects, whoever made them.
#[inline]
fn fitting(value: NewValue<'_>) -> NewValue<'_> {
    match value {
        NewValue::Inline(Inline::Str, bytes) | NewValue::Raw(bytes)
            if bytes.len() > INLINE_LIMIT =>
        {
            NewValue::Object(Box::new(Object::String(bytes.to_vec())))
        }
        other => other,
    }
}

/// See [`Keyspace::entry`].
pub enum Entry<'a> {
    Occupied(Edit<'a>),
    Vacant(Vacant<'a>),
}

/// A key that does not exist.
pub struct Vacant<'a> {
    keys: &'a mut Keyspace,
    key: &'a [u8],
    hash: u64,
}

impl<'a> Vacant<'a> {
    /// Creates the key.
    #[inline]
    pub fn insert(self, value: NewValue<'_>, expire_at: Option<i64>) -> Edit<'a> {
        self.keys.insert_hashed(self.hash, self.key, value, expire_at)
    }
}

/// A key opened for change. Dropping it marks the key as changed, if it was.
pub struct Edit<'a> {
    keys: &'a mut Keyspace,
    place: Place,
    changed: bool,
}

impl Edit<'_> {
    #[inline]
    pub fn view(&self) -> View<'_> {
        self.keys.db().view(self.place)
    }

    pub fn kind(&self) -> Type {
        self.view().value().kind()
    }

    /// Replaces the value and keeps the expiry.
    #[inline]
    pub fn set_value(&mut self, value: NewValue<'_>) {
        self.changed = true;
        if let NewValue::Inline(Inline::Str, bytes) | NewValue::Raw(bytes) = &value
            && bytes.len() > INLINE_LIMIT
            && self.reuse_buffer(bytes)
        {
            return;
        }
        let place = self.place;
        let old = self.keys.db_mut().update(place, |record| record.set_value(fitting(value)));
        if let Some(object) = old {
            self.keys.free(object);
        }
    }

    /// Writes a long string into the memory of the one before, if it fits without waste.
    fn reuse_buffer(&mut self, bytes: &[u8]) -> bool {
        match self.keys.db_mut().object_mut(self.place) {
            Some(Object::String(old))
                if (bytes.len()..bytes.len() * 2).contains(&old.capacity()) =>
            {
                old.clear();
                old.extend_from_slice(bytes);
                true
            }
            _ => false,
        }
    }

    pub fn set_expire_at(&mut self, expire_at: Option<i64>) {
        if expire_at.is_some() || self.view().expire_at().is_some() {
            self.keys.db_mut().set_expire_at(self.place, expire_at);
            self.changed = true;
        }
    }

    /// Removes the key.
    pub fn remove(mut self) {
        self.changed = true;
        self.keys.discard(self.place);
    }
}

impl Slot for Edit<'_> {
    fn value(&self) -> Value<'_> {
        self.view().value()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.changed = true;
        self.keys.db_mut().bytes_mut(self.place)
    }

    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        self.changed = true;
        let records = self.keys.db_mut();
        records.update(self.place, |record| record.splice(at, remove, insert));
        &mut records.bytes_mut(self.place)[at..at + insert]
    }

    fn object_mut(&mut self) -> Option<&mut Object> {
        self.changed = true;
        self.keys.db_mut().object_mut(self.place)
    }

    fn set_inline(&mut self, kind: Inline, bytes: &[u8]) {
        self.set_value(NewValue::Inline(kind, bytes));
    }

    fn set_object(&mut self, object: Object) {
        self.set_value(NewValue::Object(Box::new(object)));
    }

    fn set_raw(&mut self) {
        self.keys.db_mut().update(self.place, |record| record.set_raw());
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        if self.changed {
            self.keys.dirty += 1;
        }
    }
}
