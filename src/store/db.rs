//! The databases, and the one door through which keys are read and changed.
//!
//! Reading goes through [`Keyspace::read`], changing through the guard [`Edit`], creating through
//! [`Keyspace::insert`]. They make an expired key vanish before anybody sees it, count hits and
//! misses, and mark keys as changed; no command does any of that itself. What follows from a
//! change (files, replicas, watching clients) is left for `server` to take from here.

use super::access::Access;
use super::event::{Events, class};
use super::interest::{Cause, Concerns, Interests};
use super::record::{NewValue, Record, View};
use super::table::{Due, Records};
use crate::base::hash::Seed;
use crate::base::rng::Rng;
use crate::base::table::{Ahead, Part, Place};
use crate::types::frozen::Thawed;
use crate::types::string::INLINE_LIMIT;
use crate::types::{Inline, Object, Slot, Type, Value, hash};

pub mod snapshot;
#[cfg(test)]
mod tests;

/// Values whose freeing takes more allocator calls than this are freed elsewhere.
const FREE_HERE: usize = 64;
/// Fields of a hash that expire in one piece of work, told as one.
const FIELDS_AT_ONCE: usize = 64;
/// Keys drawn by RANDOMKEY while keys whose time has come are not removed.
const PAUSED_DRAWS: u32 = 100;

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
    /// Fields of hashes that did.
    pub expired_fields: u64,
    /// Off while a file is loaded: then keys go away by the commands in the file alone.
    pub expiry_enabled: bool,
    /// On while clients are paused: a key whose time has come is not there for anybody, but stays
    /// until the pause ends. It must be on only while nothing writes, as the key is in the way of a
    /// new one.
    pub expiry_paused: bool,
    /// Off for clients with CLIENT NO-TOUCH.
    pub touch: bool,
    /// What each access writes into a record.
    pub access: Access,
    /// What expired and files and replicas have not been told of yet.
    pub expired_untold: Vec<Expired>,
    /// Keys whose changes somebody wants to hear of.
    pub interests: Interests,
    /// What happened to keys, for those who listen.
    pub events: Events,
    /// Large values that are no longer part of any database, to be freed off the loop.
    pub garbage: Vec<Garbage>,
    snapshot: Option<Box<snapshot::Snapshot>>,
}

/// A key, or fields of it, that went away because their time had come.
#[derive(Debug, PartialEq, Eq)]
pub struct Expired {
    pub db: usize,
    pub key: Box<[u8]>,
    /// The fields of the hash; none for the key as a whole.
    pub fields: Vec<Box<[u8]>>,
}

/// Something large to be freed.
pub enum Garbage {
    Object(Box<Object>),
    Database(Records),
    /// What a value has kept while it was frozen.
    Thawed(Thawed),
}

impl From<Object> for Garbage {
    fn from(object: Object) -> Garbage {
        Garbage::Object(Box::new(object))
    }
}

impl Garbage {
    /// How many values it holds, for statistics.
    pub fn count(&self) -> usize {
        match self {
            Garbage::Object(_) => 1,
            Garbage::Thawed(_) => 0,
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
            expired_fields: 0,
            expiry_enabled: true,
            expiry_paused: false,
            touch: true,
            access: Access::new(seed_number),
            expired_untold: Vec::new(),
            interests: Interests::new(databases),
            events: Events::default(),
            garbage: Vec::new(),
            snapshot: None,
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

    /// What [`Keyspace::hash`] hashes with, for a thread that hashes keys ahead.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Has a database grow for so many keys that are about to come, or none any more.
    pub fn expect(&mut self, db: usize, keys: usize) {
        self.dbs[db].expect(keys);
    }

    /// Has the memory fetched that look-ups of keys with these hashes will read.
    pub fn prefetch(&self, db: usize, hashes: &[u64]) {
        self.dbs[db].prefetch(hashes);
    }

    /// The same a part at a time, for who has other work in between.
    #[inline]
    pub fn prefetch_part(&self, db: usize, hash: u64, part: Part) {
        self.dbs[db].prefetch_part(hash, part);
    }

    /// The look-up of an element in the collection whose key has this hash, if that is a large one.
    #[inline]
    pub fn element_ahead(&self, db: usize, hash: u64, element: &[u8]) -> Option<Ahead<'_>> {
        self.dbs[db].element_ahead(hash, element)
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
            _ if self.fields_are_due(self.current)
                && self.fields_all_due(self.db().view(place)) =>
            {
                self.expire_fields_and_key(place);
                None
            }
            _ => Some(place),
        }
    }

    /// Removes a key whose time has come.
    fn expire(&mut self, place: Place) {
        if self.expiry_paused {
            return;
        }
        let key: Box<[u8]> = self.db().view(place).key().into();
        self.expired += 1;
        self.events.push(self.current, class::EXPIRED, "expired", &key);
        self.expired_untold.push(Expired { db: self.current, key, fields: Vec::new() });
        self.discard(place, Cause::Time);
    }

    /// The time by which fields of hashes are due or not ([`Hash::at`](crate::types::hash::Hash)),
    /// in milliseconds since 1970.
    #[inline]
    pub fn fields_now(&self) -> i64 {
        if self.expiry_enabled { self.now_ms } else { i64::MIN }
    }

    /// Whether there are fields in a database that are due and still there.
    #[inline]
    fn fields_are_due(&self, db: usize) -> bool {
        self.dbs[db].next_field() <= self.now_ms && self.expiry_enabled
    }

    /// Whether a key holds a hash of which every field is due.
    fn fields_all_due(&self, view: View<'_>) -> bool {
        let Value::Object(Object::ExpiringHash(hash)) = view.value() else { return false };
        hash.fields.all_due(self.now_ms)
    }

    /// Removes a hash with its last fields, all of which are due.
    fn expire_fields_and_key(&mut self, place: Place) {
        if self.expiry_paused {
            return;
        }
        let view = self.db().view(place);
        let key: Box<[u8]> = view.key().into();
        if let Value::Object(Object::ExpiringHash(hash)) = view.value() {
            self.expired_fields += hash.fields.len() as u64;
        }
        self.events.push(self.current, class::HASH, "hexpired", &key);
        self.events.push(self.current, class::GENERIC, "del", &key);
        self.expired_untold.push(Expired { db: self.current, key, fields: Vec::new() });
        self.discard(place, Cause::Time);
    }

    /// Takes fields that are due out of a hash that keeps others, as `take` gives them.
    fn expire_fields_of(
        &mut self,
        place: Place,
        take: impl FnMut(&mut hash::Expiring) -> Option<Box<[u8]>>,
    ) {
        if self.expiry_paused {
            return;
        }
        let mut take = take;
        self.before_change(place);
        let Some(Object::ExpiringHash(hash)) = self.db_mut().object_mut(place) else { return };
        let fields: Vec<_> = std::iter::from_fn(|| take(hash)).collect();
        if fields.is_empty() {
            return;
        }
        self.db_mut().value_changed(place);
        self.note_change(place, Cause::Time);
        let key: Box<[u8]> = self.db().view(place).key().into();
        self.expired_fields += fields.len() as u64;
        self.events.push(self.current, class::HASH, "hexpired", &key);
        self.expired_untold.push(Expired { db: self.current, key, fields });
    }

    /// Removes those of these fields that are due from the hash at a key. A command that changes
    /// fields does this first, so that what it finds there is live.
    #[inline]
    pub fn expire_fields<'f>(&mut self, key: &[u8], fields: impl Iterator<Item = &'f [u8]>) {
        if self.fields_are_due(self.current) {
            self.expire_fields_named(key, fields);
        }
    }

    #[cold]
    fn expire_fields_named<'f>(&mut self, key: &[u8], fields: impl Iterator<Item = &'f [u8]>) {
        let Some(place) = self.locate(key) else { return };
        let (now, mut fields) = (self.now_ms, fields);
        self.expire_fields_of(place, |hash| {
            fields.find_map(|field| {
                let place = hash.fields.find(field)?;
                hash.fields.expire_at(place).filter(|ms| *ms <= now)?;
                hash.fields.remove(place);
                Some(field.into())
            })
        });
    }

    /// Removes some of the fields that are due of a hash that has such fields.
    fn expire_some_fields(&mut self, place: Place) {
        if self.fields_all_due(self.db().view(place)) {
            return self.expire_fields_and_key(place);
        }
        let (now, mut left) = (self.now_ms, FIELDS_AT_ONCE);
        self.expire_fields_of(place, |hash| {
            left = left.checked_sub(1)?;
            hash.fields.take_due(now)
        });
    }

    /// Records what happened to a key of the current database, as one of [`class`].
    #[inline]
    pub fn notify(&mut self, class: u16, name: &'static str, key: &[u8]) {
        self.events.push(self.current, class, name, key);
    }

    /// Notes that a key has changed for those who wait for it or watch it.
    #[inline]
    fn note_change(&mut self, place: Place, cause: Cause) {
        if !self.interests.is_empty() {
            let key = self.dbs[self.current].view(place).key();
            self.interests.note(self.current, key, cause);
        }
    }

    fn discard(&mut self, place: Place, cause: Cause) {
        self.note_change(place, cause);
        self.take_for_good(place);
    }

    /// Ends a value that is part of no database: a large one off the loop.
    pub fn free(&mut self, object: Box<Object>) {
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
            self.notify(class::MISS, "keymiss", key);
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
                self.notify(class::MISS, "keymiss", key);
                None
            }
        }
    }

    /// Reads a key without leaving a trace, for the server itself.
    pub fn peek(&mut self, key: &[u8]) -> Option<View<'_>> {
        let place = self.locate(key)?;
        Some(self.db().view(place))
    }

    /// Reads a key without leaving a trace or removing one whose time has come: several can be
    /// looked at side by side.
    pub fn view(&self, key: &[u8]) -> Option<View<'_>> {
        let (_, view) = self.db().find(self.seed.hash(key), key)?;
        Some(view).filter(|view| self.is_live(self.current, view))
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
        self.entry_hashed(self.seed.hash(key), key)
    }

    /// The same for a key whose hash is known.
    #[inline]
    pub fn entry_hashed<'a>(&'a mut self, hash: u64, key: &'a [u8]) -> Entry<'a> {
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
        self.notify(class::NEW, "new", key);
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
        self.transfer(from, self.current, to, ["rename_from", "rename_to"])
    }

    /// Moves a key of the current database to another one, where it must not exist.
    pub fn move_to(&mut self, key: &[u8], db: usize) -> Transfer {
        if self.locate(key).is_none() {
            return Transfer::Missing;
        }
        if !self.vacate(db, key, false) {
            return Transfer::Occupied;
        }
        self.transfer(key, db, key, ["move_from", "move_to"])
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
        self.interests.note(db, to, Cause::Command);
        self.events.push(db, class::NEW, "new", to);
        self.events.push(db, class::GENERIC, "copy_to", to);
        self.dirty += 1;
        Transfer::Done
    }

    /// Makes sure that a database does not have a key; false if it does and may not lose it.
    /// Another one takes its place, whose coming is what is noted.
    fn vacate(&mut self, db: usize, key: &[u8], replace: bool) -> bool {
        let selected = std::mem::replace(&mut self.current, db);
        let place = self.locate(key);
        if let Some(place) = place.filter(|_| replace) {
            self.take_for_good(place);
        }
        self.current = selected;
        place.is_none() || replace
    }

    /// Puts a key where there is none; `events` are what happens to its old and its new name.
    fn transfer(
        &mut self,
        from: &[u8],
        db: usize,
        to: &[u8],
        events: [&'static str; 2],
    ) -> Transfer {
        let Some(place) = self.locate(from) else { return Transfer::Missing };
        self.note_change(place, Cause::Command);
        self.before_change(place);
        let mut record = self.db_mut().take(place);
        if self.touch {
            record.set_access(self.access.touched(record.access()));
        }
        if from != to {
            record = record.renamed(to);
        }
        self.follow_transfer(db, to, &record);
        self.dbs[db].put(self.seed.hash(to), record);
        self.interests.note(db, to, Cause::Command);
        self.events.push(db, class::NEW, "new", to);
        self.notify(class::GENERIC, events[0], from);
        self.events.push(db, class::GENERIC, events[1], to);
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
        let had = |key: &[u8]| old.find(self.seed.hash(key), key).is_some();
        self.interests.note_all(db, had);
        if keys > 0 {
            self.let_go(db, old);
        }
        keys
    }

    /// Marks a change that no key shows: for a command that files and replicas must see although
    /// it found nothing to do here.
    pub fn mark_changed(&mut self) {
        self.dirty += 1;
    }

    pub fn swap(&mut self, a: usize, b: usize) {
        self.expire_of_interest([a, b]);
        self.dbs.swap(a, b);
        self.follow_swap(a, b);
        for db in [a, b] {
            let has = |key: &[u8]| {
                let hash = self.seed.hash(key);
                [a, b].iter().any(|&db| self.dbs[db].find(hash, key).is_some())
            };
            self.interests.note_all(db, has);
        }
        self.dirty += 1;
    }

    /// Removes from both databases the keys whose time has come and that somebody waits for or
    /// watches in either: an expired key in the place of none is no change.
    fn expire_of_interest(&mut self, dbs: [usize; 2]) {
        if self.interests.is_empty() {
            return;
        }
        let keys: Vec<Box<[u8]>> = dbs.iter().flat_map(|&db| self.interests.keys(db)).collect();
        let current = self.current;
        for db in dbs {
            self.select(db);
            for key in &keys {
                self.locate(key);
            }
        }
        self.select(current);
    }

    /// A live key of the current database, drawn with equal chances. While expiry is paused there
    /// may be none, and to prove it would take too long: then it may be one whose time has come.
    pub fn random(&mut self, rng: &mut Rng) -> Option<Box<[u8]>> {
        let mut tries_left = PAUSED_DRAWS;
        loop {
            let key: Box<[u8]> = self.db().random(rng)?.key().into();
            if self.locate(&key).is_some() {
                return Some(key);
            }
            if self.expiry_paused {
                tries_left -= 1;
                if tries_left == 0 {
                    return Some(key);
                }
            }
        }
    }

    /// Whether a key is there although its time has come, as no more than a pause allows.
    pub fn is_overdue(&self, db: usize, key: &[u8]) -> bool {
        let found = self.dbs[db].find(self.seed.hash(key), key);
        self.expiry_paused && found.is_some_and(|(_, view)| !self.is_live(db, &view))
    }

    /// A step of SCAN over the current database: hands live records to `visit`.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(View<'a>)) -> u64 {
        self.db().scan(cursor, |view| {
            if self.is_live(self.current, &view) {
                visit(view);
            }
        })
    }

    /// All live records of a database.
    pub fn iter(&self, db: usize) -> impl Iterator<Item = View<'_>> {
        self.dbs[db].iter().filter(move |view| self.is_live(db, view))
    }

    fn is_live(&self, db: usize, view: &View<'_>) -> bool {
        !self.expiry_enabled
            || view.expire_at().is_none_or(|at| at > self.now_ms)
                && !(self.fields_are_due(db) && self.fields_all_due(*view))
    }

    /// When the next key of any database, or field of a hash, is due, in milliseconds since 1970.
    pub fn next_expiry(&self) -> Option<i64> {
        if self.expiry_paused {
            return None;
        }
        let keys = self.dbs.iter().filter_map(Records::next_time);
        let fields = self.dbs.iter().map(Records::next_field).filter(|ms| *ms < i64::MAX);
        keys.chain(fields).min()
    }

    /// Removes keys and fields whose time has come until `out_of_time` says to stop; true if there
    /// may be more to do.
    pub fn expire_due(&mut self, mut out_of_time: impl FnMut() -> bool) -> bool {
        if self.expiry_paused {
            return false;
        }
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
            while let Some(place) = self.dbs[db].hash_due(self.now_ms) {
                self.expire_some_fields(place);
                if out_of_time() {
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
        self.keys.before_change(place);
        self.keys.db_mut().value_goes(place);
        let old = self.keys.db_mut().update(place, |record| record.set_value(fitting(value)));
        if let Some(object) = old {
            self.keys.let_go_of(object);
        }
    }

    /// Writes a long string into the memory of the one before, if it fits without waste.
    fn reuse_buffer(&mut self, bytes: &[u8]) -> bool {
        if self.keys.in_snapshot() {
            // It may want the old bytes.
            return false;
        }
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
            self.keys.before_change(self.place);
            self.keys.db_mut().set_expire_at(self.place, expire_at);
            self.changed = true;
        }
    }

    /// Sets the bits that tell of the key's use: no change to anybody.
    pub fn set_access(&mut self, access: u32) {
        self.keys.db_mut().touch(self.place, |_| access);
    }

    /// Records what happened to the key, as one of [`class`].
    #[inline]
    pub fn notify(&mut self, class: u16, name: &'static str) {
        if self.keys.events.wanted & class != 0 {
            let keys = &mut *self.keys;
            let key = keys.dbs[keys.current].view(self.place).key();
            keys.events.push(keys.current, class, name, key);
        }
    }

    /// The object, for what is no change to those who watch the key or wait for it, nor to files
    /// (unless [`Edit::mark_changed`] or [`Keyspace::mark_changed`] is called).
    pub fn object_unmarked(&mut self) -> Option<&mut Object> {
        self.keys.before_change(self.place);
        self.keys.db_mut().object_mut(self.place)
    }

    pub fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// Tells some of those who want to hear of the key, although it does not change.
    pub fn note_for(&mut self, concerns: Concerns) {
        let keys = &mut *self.keys;
        if !keys.interests.is_empty() {
            let key = keys.dbs[keys.current].view(self.place).key();
            keys.interests.note_for(concerns, keys.current, key, Cause::Command);
        }
    }

    /// Removes the key.
    pub fn remove(mut self) {
        // The place is gone before the guard is.
        self.changed = false;
        self.keys.dirty += 1;
        self.keys.discard(self.place, Cause::Command);
    }

    /// Removes a collection from which the last element was taken.
    pub fn remove_emptied(mut self) {
        self.notify(class::GENERIC, "del");
        self.remove();
    }
}

impl Slot for Edit<'_> {
    fn value(&self) -> Value<'_> {
        self.view().value()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.keys.before_change(self.place);
        self.changed = true;
        self.keys.db_mut().bytes_mut(self.place)
    }

    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        self.keys.before_change(self.place);
        self.changed = true;
        let records = self.keys.db_mut();
        records.update(self.place, |record| record.splice(at, remove, insert));
        &mut records.bytes_mut(self.place)[at..at + insert]
    }

    fn object_mut(&mut self) -> Option<&mut Object> {
        self.keys.before_change(self.place);
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
        self.keys.before_change(self.place);
        self.keys.db_mut().update(self.place, |record| record.set_raw());
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        if self.changed {
            self.keys.dirty += 1;
            self.keys.db_mut().value_changed(self.place);
            self.keys.note_change(self.place, Cause::Command);
        }
    }
}
