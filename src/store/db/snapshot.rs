//! Snapshots without fork: every entry as it was at one moment, while commands go on changing
//! them. Must not know where the entries go ([`Sink`]) nor what a large value is made of.
//!
//! Each record has a mark. Between snapshots all marks of a database are alike; one begins by
//! changing what they are compared with, so that all records count as not yet seen, and ends when
//! it has walked over all of them. Who changes a record first shows it to the snapshot, if that
//! has not seen it; new records are born seen. So each entry is shown exactly once, in no order,
//! as it was at the beginning, and the memory this takes is what waits in the sink.
//!
//! ```text
//!   begin ──► walk, some records a step ──────────────────────────► complete
//!               ▲ large values: part by part, between steps
//!   a change ───┘ shows the record first     a removal: a large value is kept for later
//! ```
//!
//! A snapshot that is given up goes on walking without showing anything: the marks must be alike
//! again before another one can begin.

use super::{Garbage, Keyspace, Records};
use crate::base::table::Place;
use crate::store::record::{Kept, NewValue, Record, View};
use crate::types::{Object, Value};
use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// Values whose effort to be freed is more than this are shown in parts. In tests any object is.
const LARGE: usize = if cfg!(test) { 0 } else { 64 };

/// How far a sink has come in a large value: 0 is its beginning, what else is the sink's business.
pub type Position = u128;

/// Where a snapshot's entries go.
pub trait Sink: Send {
    /// An entry of database `db` as it was when the snapshot began.
    fn entry(&mut self, db: usize, entry: View<'_>);

    /// The next part of a large entry, which stays as it is until its last part was taken: where
    /// to go on, or none at its end. Whole entries may come between two parts.
    fn part(&mut self, db: usize, entry: View<'_>, from: Position) -> Option<Position>;

    /// It wants no more for now. What is changed meanwhile is shown to it all the same.
    fn is_full(&mut self) -> bool;

    /// All entries were shown. A sink that is dropped without having been told is incomplete.
    fn complete(self: Box<Self>);
}

/// A snapshot on its way.
pub(super) struct Snapshot {
    /// None if the snapshot was given up.
    sink: Option<Box<dyn Sink>>,
    /// The large value that is shown in parts now.
    large: Option<Large>,
    /// Keys of large values not seen yet, by the databases' present numbers.
    queue: VecDeque<(usize, Box<[u8]>)>,
    /// Large values that left their databases before they were seen.
    kept: VecDeque<(usize, Kept)>,
    /// Databases that were emptied before they were seen.
    flushed: VecDeque<Records>,
}

struct Large {
    source: Source,
    at: Position,
}

enum Source {
    /// Still in the database of this (present) number.
    Key(usize, Box<[u8]>),
    /// Kept, from the database that had this number.
    Kept(usize, Kept),
}

impl Large {
    fn is_at(&self, db: usize, key: &[u8]) -> bool {
        matches!(&self.source, Source::Key(own_db, own) if *own_db == db && **own == *key)
    }
}

fn is_large(view: &View<'_>) -> bool {
    matches!(view.value(), Value::Object(object) if object.free_effort() > LARGE)
}

impl Snapshot {
    fn show(&mut self, db: usize, entry: View<'_>) {
        if let Some(sink) = &mut self.sink {
            sink.entry(db, entry);
        }
    }

    /// Keeps a large value that has left its database unseen.
    fn keep(&mut self, db: usize, record: Record) {
        self.kept.push_back((db, Kept::new(record)));
    }

    /// Shows one part of the large value, which ends when there are no more.
    fn part(&mut self, keys: &mut Keyspace) {
        let (Some(large), Some(sink)) = (&mut self.large, &mut self.sink) else { return };
        let next = match &large.source {
            Source::Key(db, key) => {
                let records = &keys.dbs[*db];
                let found = records.find(keys.seed.hash(key), key);
                found.and_then(|(_, view)| sink.part(records.snapshot_db(), view, large.at))
            }
            Source::Kept(db, kept) => sink.part(*db, kept.view(), large.at),
        };
        if let Some(at) = next {
            large.at = at;
            return;
        }
        if let Some(Large { source: Source::Kept(_, kept), .. }) = self.large.take() {
            keys.free_kept(kept);
        }
    }

    /// Does a little; false if nothing is left to do.
    fn advance(&mut self, keys: &mut Keyspace) -> bool {
        if self.large.is_some() {
            self.part(keys);
        } else if let Some((db, kept)) = self.kept.pop_front() {
            self.large = Some(Large { source: Source::Kept(db, kept), at: 0 });
        } else if let Some((db, key)) = self.queue.pop_front() {
            let records = &mut keys.dbs[db];
            let found = records.find(keys.seed.hash(&key), &key).map(|(place, _)| place);
            if let Some(place) = found.filter(|&place| !records.is_seen(place)) {
                records.mark_seen(place);
                self.large = Some(Large { source: Source::Key(db, key), at: 0 });
            }
        } else if let Some(db) = (0..keys.dbs.len()).find(|&db| keys.dbs[db].is_partly_seen()) {
            self.walk(&mut keys.dbs[db], |key| (db, key));
        } else if let Some(mut records) = self.flushed.pop_front() {
            self.walk_flushed(&mut records);
            match records.is_partly_seen() {
                true => self.flushed.push_front(records),
                false => keys.garbage.push(Garbage::Database(records)),
            }
        } else {
            return false;
        }
        true
    }

    /// Shows a few records; large ones only become part of the queue.
    fn walk(&mut self, records: &mut Records, place: impl Fn(Box<[u8]>) -> (usize, Box<[u8]>)) {
        let db = records.snapshot_db();
        let Snapshot { sink, queue, .. } = self;
        records.step_snapshot(|view| {
            let Some(sink) = sink else { return true };
            let is_large = is_large(&view);
            if is_large {
                queue.push_back(place(view.key().into()));
            } else {
                sink.entry(db, view);
            }
            !is_large
        });
    }

    /// The same for a database that nobody else sees any more: its large values are taken out.
    fn walk_flushed(&mut self, records: &mut Records) {
        let mut large = Vec::new();
        let db = records.snapshot_db();
        records.step_snapshot(|view| {
            let Some(sink) = &mut self.sink else { return true };
            match is_large(&view) {
                true => large.push(Box::<[u8]>::from(view.key())),
                false => sink.entry(db, view),
            }
            true
        });
        for key in large {
            let found = records.find(records.hash(&key), &key).map(|(place, _)| place);
            let record = found.map(|place| records.take(place));
            record.into_iter().for_each(|record| self.keep(db, record));
        }
    }
}

impl Keyspace {
    /// Begins a snapshot of all databases as they are now; false if one is still on its way.
    /// [`Keyspace::step_snapshot`] is to be called until it is complete.
    pub fn begin_snapshot(&mut self, sink: Box<dyn Sink>) -> bool {
        if self.snapshot.is_some() {
            return false;
        }
        self.dbs.iter_mut().enumerate().for_each(|(db, records)| records.begin_snapshot(db));
        let (large, queue) = (None, VecDeque::new());
        let (kept, flushed) = (VecDeque::new(), VecDeque::new());
        self.snapshot = Some(Box::new(Snapshot { sink: Some(sink), large, queue, kept, flushed }));
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
        if let Some(Large { source: Source::Kept(_, kept), .. }) = snapshot.large.take() {
            self.free_kept(kept);
        }
        snapshot.kept.drain(..).for_each(|(_, kept)| self.free_kept(kept));
        // What is queued has no mark yet, and the walk has been there.
        for (db, key) in snapshot.queue.drain(..) {
            let records = &mut self.dbs[db];
            let found = records.find(self.seed.hash(&key), &key).map(|(place, _)| place);
            found.into_iter().for_each(|place| records.mark_seen(place));
        }
        self.garbage.extend(snapshot.flushed.drain(..).map(Garbage::Database));
        self.snapshot = Some(snapshot);
    }

    fn free_kept(&mut self, kept: Kept) {
        if let Some(object) = kept.into_object() {
            self.free(object);
        }
    }

    /// To be called before a record of the current database is changed.
    #[inline]
    pub(super) fn before_change(&mut self, place: Place) {
        if self.snapshot.is_some() {
            self.show_changing(place);
        }
    }

    #[cold]
    fn show_changing(&mut self, place: Place) {
        let current = self.current;
        let Some(mut snapshot) = self.snapshot.take() else { return };
        let records = &mut self.dbs[current];
        if !records.is_seen(place) {
            records.mark_seen(place);
            snapshot.show(records.snapshot_db(), records.view(place));
        } else {
            let key = records.view(place).key();
            if snapshot.large.as_ref().is_some_and(|large| large.is_at(current, key)) {
                while snapshot.large.is_some() && snapshot.sink.is_some() {
                    snapshot.part(self);
                }
            }
        }
        self.snapshot = Some(snapshot);
    }

    /// Takes a record out of the current database for good, and frees it when nobody needs it.
    pub(super) fn take_for_good(&mut self, place: Place) {
        let record = match &self.snapshot {
            Some(_) => self.take_in_snapshot(place),
            None => Some(self.db_mut().take(place)),
        };
        if let Some(object) = record.and_then(Record::free) {
            self.free(object);
        }
    }

    /// Takes a record out; none if the snapshot keeps it, as it is large and not wholly seen.
    #[cold]
    fn take_in_snapshot(&mut self, place: Place) -> Option<Record> {
        let current = self.current;
        let records = &mut self.dbs[current];
        let (is_seen, db) = (records.is_seen(place), records.snapshot_db());
        let view = records.view(place);
        let snapshot = self.snapshot.as_mut().filter(|snapshot| snapshot.sink.is_some());
        let Some(snapshot) = snapshot else { return Some(records.take(place)) };
        if let Some(large) = &mut snapshot.large
            && large.is_at(current, view.key())
        {
            large.source = Source::Kept(db, Kept::new(records.take(place)));
            return None;
        }
        if !is_seen && is_large(&view) {
            snapshot.keep(db, records.take(place));
            return None;
        }
        if !is_seen {
            snapshot.show(db, view);
        }
        Some(records.take(place))
    }

    /// To be called before the value of a record of the current database is replaced: true if a
    /// large one must be given to [`Keyspace::keep_replaced`] afterwards.
    #[inline]
    pub(super) fn before_replacement(&mut self, place: Place) -> bool {
        self.snapshot.is_some() && self.show_replaced(place)
    }

    #[cold]
    fn show_replaced(&mut self, place: Place) -> bool {
        let records = self.db();
        let view = records.view(place);
        let wanted = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.sink.is_some());
        if wanted && !records.is_seen(place) && is_large(&view) {
            self.db_mut().mark_seen(place);
            return true;
        }
        self.show_changing(place);
        false
    }

    /// Keeps the large value that a record had when it was replaced, under the record's key.
    pub(super) fn keep_replaced(&mut self, place: Place, old: Box<Object>) {
        let (db, now) = (self.db().snapshot_db(), self.db().view(place));
        // Its expiry and access are still what they were.
        let mut record = Record::new(now.key(), NewValue::Object(old), now.expire_at());
        record.set_access(now.access());
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.keep(db, record);
        }
    }

    /// What becomes of a database that was emptied: it is freed when the snapshot has seen it.
    pub(super) fn let_go(&mut self, db: usize, mut old: Records) {
        let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.sink.is_some())
        else {
            return self.garbage.push(Garbage::Database(old));
        };
        let mut take = |key: &[u8], only_unseen: bool| {
            let place = old.find(old.hash(key), key).map(|(place, _)| place);
            let place = place.filter(|&place| !(only_unseen && old.is_seen(place)));
            place.map(|place| Kept::new(old.take(place)))
        };
        let number = |old: &Records| old.snapshot_db();
        let mut kept = Vec::new();
        snapshot.queue.retain(|(own, key)| {
            if *own == db {
                kept.extend(take(key, true));
            }
            *own != db
        });
        let in_parts = match &snapshot.large {
            Some(Large { source: Source::Key(own, key), .. }) if *own == db => take(key, false),
            _ => None,
        };
        let old_db = number(&old);
        if let (Some(large), Some(kept)) = (&mut snapshot.large, in_parts) {
            large.source = Source::Kept(old_db, kept);
        }
        snapshot.kept.extend(kept.into_iter().map(|kept| (old_db, kept)));
        match old.is_partly_seen() {
            true => snapshot.flushed.push_back(old),
            false => self.garbage.push(Garbage::Database(old)),
        }
    }

    /// Follows two databases that have exchanged their numbers.
    pub(super) fn follow_swap(&mut self, a: usize, b: usize) {
        let Some(snapshot) = &mut self.snapshot else { return };
        let swapped = |db: &mut usize| match *db {
            db_is if db_is == a => *db = b,
            db_is if db_is == b => *db = a,
            _ => {}
        };
        snapshot.queue.iter_mut().for_each(|(db, _)| swapped(db));
        if let Some(Large { source: Source::Key(db, _), .. }) = &mut snapshot.large {
            swapped(db);
        }
    }
}
