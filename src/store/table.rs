//! The records of one database: found by key, and by the time they expire.
//!
//! This is the one place where table words become records. Its invariant: each word in `table`
//! is a live record that only this structure owns; each record with an expiry is in `wheel` at
//! the position the record holds. Must not know what a value means, nor what a client is.
#![allow(unsafe_code)]

use super::expiry::{Step, Timed, Wheel};
use super::record::{Record, View};
use crate::base::hash::Seed;
use crate::base::prefetch;
use crate::base::rng::Rng;
use crate::base::table::{Place, Table};
use crate::types::Object;

pub struct Records {
    table: Table,
    wheel: Wheel,
    seed: Seed,
}

// SAFETY: records are plain owned memory (objects are Send); nothing is shared between threads.
unsafe impl Send for Records {}

/// A word of the table as a record.
#[inline]
fn record(word: u64) -> Record {
    // SAFETY: by the invariant of `Records` every word in its table and wheel is a live record.
    unsafe { Record::from_word(word) }
}

/// How the wheel asks for and tells of its entries.
struct Entries;

impl Timed for Entries {
    fn time(&self, word: u64) -> i64 {
        record(word).expire_at().unwrap_or(i64::MAX)
    }

    fn moved(&mut self, word: u64, position: u32) {
        record(word).set_wheel_position(position);
    }
}

impl Records {
    /// An empty set of records whose expiries are later than `now_ms`, mostly.
    pub fn new(seed: Seed, now_ms: i64) -> Records {
        Records { table: Table::new(), wheel: Wheel::new(now_ms), seed }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys that have an expiry.
    pub fn expiring(&self) -> usize {
        self.wheel.len()
    }

    /// The mean of when keys expire, in milliseconds since 1970, from a sample of those that do.
    pub fn mean_expiry(&self) -> Option<i64> {
        const SAMPLE: usize = 256;
        self.wheel.mean_time(SAMPLE, &Entries)
    }

    /// Slots of the hash table, for its load.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    /// First of two hints for a look-up soon to come: fetches the table's line.
    #[inline]
    pub fn prefetch_line(&self, hash: u64) {
        self.table.prefetch(hash);
    }

    /// Second hint: fetches the record the line points to.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        if let Some(word) = self.table.candidate(hash) {
            prefetch::address(word as usize);
        }
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        self.table.find(hash, |word| record(word).key() == key)
    }

    #[inline]
    pub fn view(&self, place: Place) -> View<'_> {
        // SAFETY: the record lives and stays unchanged while `self` is borrowed.
        unsafe { View::new(record(self.table.get(place))) }
    }

    /// Adds a record that no table holds, for a key (of this hash) that has none.
    pub fn put(&mut self, hash: u64, mut new: Record) -> Place {
        if let Some(time) = new.expire_at() {
            let position = self.wheel.insert(time, new.word());
            new.set_wheel_position(position);
        }
        let seed = &self.seed;
        self.table.insert(hash, new.word(), |word| seed.hash(record(word).key()))
    }

    /// Takes a record out. The caller must put it somewhere else or free it.
    pub fn take(&mut self, place: Place) -> Record {
        let old = record(self.table.remove(place));
        self.forget_expiry(old);
        old
    }

    fn forget_expiry(&mut self, old: Record) {
        if let Some(time) = old.expire_at() {
            self.wheel.remove(time, old.wheel_position(), &mut Entries);
        }
    }

    /// Changes a record in place, and follows it when it moves in memory.
    #[inline]
    pub fn update<T>(&mut self, place: Place, change: impl FnOnce(&mut Record) -> T) -> T {
        let before = self.table.get(place);
        let mut changed = record(before);
        let result = change(&mut changed);
        if changed.word() != before {
            self.table.replace(place, changed.word());
            if let Some(time) = changed.expire_at() {
                self.wheel.replace(time, changed.wheel_position(), changed.word());
            }
        }
        result
    }

    /// The object of a large value, to be changed in place.
    pub fn object_mut(&mut self, place: Place) -> Option<&mut Object> {
        let pointer: *mut Object = record(self.table.get(place)).object_mut()?;
        // SAFETY: the object belongs to a record of this table, which is borrowed exclusively
        // for as long as the reference lives.
        Some(unsafe { &mut *pointer })
    }

    /// The inline bytes of a small value, to be overwritten in place.
    pub fn bytes_mut(&mut self, place: Place) -> &mut [u8] {
        let bytes: *mut [u8] = record(self.table.get(place)).bytes_mut();
        // SAFETY: as in `object_mut`.
        unsafe { &mut *bytes }
    }

    /// Gives a record an expiry, another one, or none.
    pub fn set_expire_at(&mut self, place: Place, expire_at: Option<i64>) {
        let mut changed = record(self.table.get(place));
        self.forget_expiry(changed);
        changed.set_expire_at(expire_at);
        if let Some(time) = expire_at {
            let position = self.wheel.insert(time, changed.word());
            changed.set_wheel_position(position);
        }
        self.table.replace(place, changed.word());
    }

    /// One step of the wheel: the place of a record that is due at `now_ms`, which the caller
    /// must remove; or whether there may be more to do.
    pub fn next_due(&mut self, now_ms: i64) -> Due {
        match self.wheel.step(now_ms, &mut Entries) {
            Step::Idle => Due::None,
            Step::Moved => Due::Later,
            Step::Due(word) => {
                // It left the wheel, so the record must forget its position there: an expiry
                // is only ever removed together with the record, right after this.
                let due = record(word);
                let position = self.wheel.insert(i64::MIN, word);
                record(word).set_wheel_position(position);
                match self.table.find(self.seed.hash(due.key()), |w| w == word) {
                    Some(place) => Due::Now(place),
                    None => Due::Later,
                }
            }
        }
    }

    /// When [`Records::next_due`] has something to do next, in milliseconds since 1970.
    pub fn next_time(&self) -> Option<i64> {
        self.wheel.next_time()
    }

    pub fn random(&self, rng: &mut Rng) -> Option<View<'_>> {
        // SAFETY: as in `view`.
        self.table.random(rng).map(|word| unsafe { View::new(record(word)) })
    }

    /// A step of SCAN: visits some records and returns the next cursor, 0 at the end.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(View<'a>)) -> u64 {
        // SAFETY: as in `view`.
        self.table.scan(cursor, |word| visit(unsafe { View::new(record(word)) }))
    }

    pub fn iter(&self) -> impl Iterator<Item = View<'_>> {
        // SAFETY: as in `view`.
        self.table.iter().map(|word| unsafe { View::new(record(word)) })
    }
}

/// See [`Records::next_due`].
pub enum Due {
    Now(Place),
    Later,
    None,
}

impl Drop for Records {
    fn drop(&mut self) {
        while self.table.drain_some(|word| drop(record(word).free())) {}
    }
}
