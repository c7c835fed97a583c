//! Snapshots without fork: every entry as it was at one moment, while commands go on changing
//! them. Must not know where the entries go ([`Sink`]) nor what a large value is made of.
//!
//! Each record has a mark. Between snapshots all marks of a database are alike; one begins by
//! changing what they are compared with, so that all records count as not yet seen, and ends when
//! it has walked over all of them. Who changes a record first shows it to the snapshot, if that
//! has not seen it; new records are born seen. So each entry is shown exactly once, in no order,
//! as it was at the beginning, and the memory this takes is what waits in the sink.
//!
//! A large value is not shown at once but frozen ([`Object::freeze`]), and shown in parts, one
//! value after the other: it may change meanwhile, go to another key or leave its database.
//!
//! ```text
//!   begin ──► walk, some records a step ─┬────────────────────────► complete
//!                                        │  ▲ when those are shown
//!   a change ───┬── shows the record     ▼  │
//!               └── freezes a large one ──► large values, part by part
//! ```
//!
//! A snapshot that is given up goes on walking without showing anything: the marks must be alike
//! again before another one can begin.

use super::{Garbage, Keyspace, Records};
use crate::base::table::Place;
use crate::store::record::{Record, View};
use crate::types::frozen::{Head, Ticket};
use crate::types::{Object, Value};
use std::collections::{BTreeMap, VecDeque};

#[cfg(test)]
mod tests;

/// Values whose effort to be freed is more than this are shown in parts. In tests any object is.
const LARGE: usize = if cfg!(test) { 0 } else { 64 };

/// Where a snapshot's entries go.
pub trait Sink: Send {
    /// An entry of database `db` as it was when the snapshot began.
    fn entry(&mut self, db: usize, entry: View<'_>);

    /// The next part of a large entry, beginning with the first; false if that was the last one.
    /// The value is frozen, and what is frozen is to be taken. Whole entries may come between two
    /// parts, but no other large one.
    fn part(&mut self, db: usize, entry: &mut LargeEntry<'_>) -> bool;

    /// It wants no more for now. What is changed meanwhile is shown to it all the same.
    fn is_full(&mut self) -> bool;

    /// All entries were shown. A sink that is dropped without having been told is incomplete.
    fn complete(self: Box<Self>);
}

/// A large entry of which something is to be shown.
pub struct LargeEntry<'a> {
    pub key: &'a [u8],
    /// Milliseconds since 1970.
    pub expire_at: Option<i64>,
    pub access: u32,
    pub head: Head,
    pub value: &'a mut Object,
}

/// A snapshot on its way.
pub(super) struct Snapshot {
    /// None if the snapshot was given up.
    sink: Option<Box<dyn Sink>>,
    /// Large values that are to be shown, the first of them perhaps in part already. All are
    /// frozen.
    large: BTreeMap<Ticket, Large>,
    next_ticket: Ticket,
    /// Databases that were emptied before they were seen.
    flushed: VecDeque<Records>,
}

/// A large value and what its entry was when it was frozen.
struct Large {
    db: usize,
    key: Box<[u8]>,
    expire_at: Option<i64>,
    access: u32,
    source: Source,
}

/// Where a large value is now.
enum Source {
    /// In the database of this (present) number, under this key.
    Key(usize, Box<[u8]>),
    /// In no database any more.
    Kept(Box<Object>),
}

fn is_large(view: &View<'_>) -> bool {
    matches!(view.value(), Value::Object(object) if object.free_effort() > LARGE)
}

impl Snapshot {
    /// Freezes a large value that was not seen yet, in the database of this present number.
    fn freeze(&mut self, records: &mut Records, db: usize, place: Place) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let view = records.view(place);
        let (key, expire_at, access) =
            (Box::<[u8]>::from(view.key()), view.expire_at(), view.access());
        let (source, db) = (Source::Key(db, key.clone()), records.snapshot_db());
        self.large.insert(ticket, Large { db, key, expire_at, access, source });
        if let Some(object) = records.object_mut(place) {
            object.freeze(ticket);
        }
    }

    /// Shows a record that was not seen yet, or sees to it that it will be.
    fn see(&mut self, records: &mut Records, db: usize, place: Place) {
        records.mark_seen(place);
        let Some(sink) = &mut self.sink else { return };
        let view = records.view(place);
        if is_large(&view) {
            self.freeze(records, db, place);
        } else {
            sink.entry(records.snapshot_db(), view);
        }
    }

    #[cold]
    fn see_changing(&mut self, records: &mut Records, db: usize, place: Place) {
        if !records.is_seen(place) {
            self.see(records, db, place);
        }
    }

    /// Shows the next part of the first large value; false if there is none.
    fn part(&mut self, keys: &mut Keyspace) -> bool {
        let Some(mut first) = self.large.first_entry() else { return false };
        let Large { db, key, expire_at, access, source } = first.get_mut();
        let value = match source {
            Source::Key(db, key) => {
                let place = keys.find(*db, key);
                place.and_then(|place| keys.dbs[*db].object_mut(place))
            }
            Source::Kept(object) => Some(&mut **object),
        };
        let frozen = value.and_then(|value| value.frozen().map(|(_, head)| (value, head)));
        let Some(((value, head), sink)) = frozen.zip(self.sink.as_mut()) else {
            debug_assert!(false, "a large value is lost");
            first.remove();
            return true;
        };
        let (expire_at, access) = (*expire_at, *access);
        let mut entry = LargeEntry { key, expire_at, access, head, value };
        if !sink.part(*db, &mut entry) {
            let thawed = value.thaw();
            keys.garbage.extend(thawed.map(Garbage::Thawed));
            if let Source::Kept(object) = first.remove().source {
                keys.free(object);
            }
        }
        true
    }

    /// Does a little; false if nothing is left to do.
    fn advance(&mut self, keys: &mut Keyspace) -> bool {
        if self.part(keys) {
            return true;
        }
        if let Some(db) = (0..keys.dbs.len()).find(|&db| keys.dbs[db].is_partly_seen()) {
            self.walk(&mut keys.dbs[db], db);
        } else if let Some(mut records) = self.flushed.pop_front() {
            self.walk(&mut records, FLUSHED);
            match records.is_partly_seen() {
                true => self.flushed.push_front(records),
                false => keys.garbage.push(Garbage::Database(records)),
            }
        } else {
            return false;
        }
        true
    }

    /// Shows a few records; large ones are frozen, and taken out of a database that was emptied.
    fn walk(&mut self, records: &mut Records, db: usize) {
        let snapshot_db = records.snapshot_db();
        let mut large: Vec<Box<[u8]>> = Vec::new();
        records.step_snapshot(|view| {
            let Some(sink) = &mut self.sink else { return true };
            match is_large(&view) {
                true => large.push(view.key().into()),
                false => sink.entry(snapshot_db, view),
            }
            true
        });
        for key in large {
            let Some((place, _)) = records.find(records.hash(&key), &key) else { continue };
            self.freeze(records, db, place);
            if db == FLUSHED {
                records.take(place).free().into_iter().for_each(|object| _ = self.keep(object));
            }
        }
    }

    /// Keeps a value that has left its database, if it is still to be shown; else it is returned.
    fn keep(&mut self, object: Box<Object>) -> Option<Box<Object>> {
        let large = object.frozen().and_then(|(ticket, _)| self.large.get_mut(&ticket));
        let Some(large) = large else { return Some(object) };
        large.source = Source::Kept(object);
        None
    }
}

/// The present number of a database that was emptied.
const FLUSHED: usize = usize::MAX;

impl Keyspace {
    /// Begins a snapshot of all databases as they are now; false if one is still on its way.
    /// [`Keyspace::step_snapshot`] is to be called until it is complete.
    pub fn begin_snapshot(&mut self, sink: Box<dyn Sink>) -> bool {
        if self.snapshot.is_some() {
            return false;
        }
        self.dbs.iter_mut().enumerate().for_each(|(db, records)| records.begin_snapshot(db));
        let (large, flushed) = (BTreeMap::new(), VecDeque::new());
        let snapshot = Snapshot { sink: Some(sink), large, next_ticket: 0, flushed };
        self.snapshot = Some(Box::new(snapshot));
        true
    }

    /// Whether a snapshot is on its way, be it one that was given up.
    pub fn in_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Goes on until `out_of_time` says to stop or the sink is full; true if it waits for the sink.
    /// When all was shown the snapshot ends.
    pub fn step_snapshot(&mut self, mut out_of_time: impl FnMut() -> bool) -> bool {
        let Some(mut snapshot) = self.snapshot.take() else { return false };
        let is_full = loop {
            if snapshot.sink.as_mut().is_some_and(|sink| sink.is_full()) {
                break true;
            }
            if !snapshot.advance(self) {
                snapshot.sink.into_iter().for_each(Sink::complete);
                return false;
            }
            if out_of_time() {
                break false;
            }
        };
        self.snapshot = Some(snapshot);
        is_full
    }

    /// Gives the running snapshot up: its sink is dropped.
    pub fn abort_snapshot(&mut self) {
        let Some(mut snapshot) = self.snapshot.take() else { return };
        snapshot.sink = None;
        for large in std::mem::take(&mut snapshot.large).into_values() {
            match large.source {
                Source::Kept(object) => self.free(object),
                Source::Key(db, key) => {
                    let place = self.find(db, &key);
                    let object = place.and_then(|place| self.dbs[db].object_mut(place));
                    self.garbage.extend(object.and_then(Object::thaw).map(Garbage::Thawed));
                }
            }
        }
        self.garbage.extend(snapshot.flushed.drain(..).map(Garbage::Database));
        self.snapshot = Some(snapshot);
    }

    fn find(&self, db: usize, key: &[u8]) -> Option<Place> {
        self.dbs[db].find(self.seed.hash(key), key).map(|(place, _)| place)
    }

    /// To be called before a record of the current database is changed.
    #[inline]
    pub(super) fn before_change(&mut self, place: Place) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.see_changing(&mut self.dbs[self.current], self.current, place);
        }
    }

    /// Takes a record out of the current database for good, and frees it when nobody needs it.
    pub(super) fn take_for_good(&mut self, place: Place) {
        self.before_change(place);
        if let Some(object) = self.db_mut().take(place).free() {
            self.let_go_of(object);
        }
    }

    /// Ends a value that has left its record, unless the snapshot wants it.
    pub(super) fn let_go_of(&mut self, object: Box<Object>) {
        let unwanted = match &mut self.snapshot {
            Some(snapshot) => snapshot.keep(object),
            None => Some(object),
        };
        unwanted.into_iter().for_each(|object| self.free(object));
    }

    /// To be called when a record, of which [`Keyspace::before_change`] was told, was put under
    /// this key.
    pub(super) fn follow_transfer(&mut self, db: usize, key: &[u8], record: &Record) {
        let Some(snapshot) = &mut self.snapshot else { return };
        if let Value::Object(object) = record.value()
            && let Some((ticket, _)) = object.frozen()
            && let Some(large) = snapshot.large.get_mut(&ticket)
        {
            large.source = Source::Key(db, key.into());
        }
    }

    /// What becomes of a database that was emptied: it is freed when the snapshot has seen it.
    pub(super) fn let_go(&mut self, db: usize, mut old: Records) {
        let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.sink.is_some())
        else {
            return self.garbage.push(Garbage::Database(old));
        };
        for large in snapshot.large.values_mut() {
            if let Source::Key(own, key) = &large.source
                && *own == db
                && let Some((place, _)) = old.find(old.hash(key), key)
                && let Some(object) = old.take(place).free()
            {
                large.source = Source::Kept(object);
            }
        }
        match old.is_partly_seen() {
            true => snapshot.flushed.push_back(old),
            false => self.garbage.push(Garbage::Database(old)),
        }
    }

    /// Follows two databases that have exchanged their numbers.
    pub(super) fn follow_swap(&mut self, a: usize, b: usize) {
        let Some(snapshot) = &mut self.snapshot else { return };
        for large in snapshot.large.values_mut() {
            match &mut large.source {
                Source::Key(db, _) if *db == a => *db = b,
                Source::Key(db, _) if *db == b => *db = a,
                _ => {}
            }
        }
    }
}
