//! The records of one database: found by key, and by the time they expire.
//!
//! This is the one place where table words become records. Its invariant: each word in `table`
//! is a live record that only this structure owns; each record with an expiry is in `wheel` at
//! the position the record holds; each hash with fields that expire is in `fields` at the time
//! noted in the hash. Must not know what a value means, nor what a client is.
#![allow(unsafe_code)]

use super::expiry::{Step, Timed, Wheel};
use super::record::{Record, View};
use crate::base::hash::Seed;
use crate::base::prefetch;
use crate::base::rng::Rng;
use crate::base::table::{Ahead, Part, Place, Table};
use crate::types::hash::Expiring;
use crate::types::{Object, Value};
use std::collections::BTreeSet;

pub struct Records {
    table: Table,
    wheel: Wheel,
    /// Hashes with fields that expire: when the first of them does, and the record.
    fields: BTreeSet<(i64, u64)>,
    /// The first time in `fields`, or the end of time: every look-up compares it.
    next_field: i64,
    seed: Seed,
    /// What records have as their mark, but those that the running snapshot has not seen.
    mark: bool,
    /// Where the running snapshot goes on, until it has come across all of these records.
    cursor: Option<u64>,
    snapshot_db: usize,
}

/// The hash in a record, if it has, or had, fields that expire.
#[inline]
fn expiring(record: &mut Record) -> Option<&mut Expiring> {
    match record.object_mut() {
        Some(Object::ExpiringHash(hash)) => Some(hash),
        _ => None,
    }
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
        let (table, wheel) = (Table::new(), Wheel::new(now_ms));
        Records {
            table,
            wheel,
            fields: BTreeSet::new(),
            next_field: i64::MAX,
            seed,
            mark: false,
            cursor: None,
            snapshot_db: 0,
        }
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

    /// Bytes of the table by which records are found.
    pub fn table_memory(&self) -> usize {
        self.capacity() * size_of::<u64>()
    }

    /// Bytes of what knows when records, and fields of hashes, expire.
    pub fn expiry_memory(&self) -> usize {
        self.wheel.memory() + self.fields.len() * size_of::<(i64, u64)>()
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    /// Has the table grow for so many records that are about to come.
    pub fn expect(&mut self, records: usize) {
        self.table.expect(records);
    }

    /// Hints for look-ups soon to come: fetches one after the other what each of them will read.
    /// All hashes take a step before any takes the next, so that nothing is waited for.
    pub fn prefetch(&self, hashes: &[u64]) {
        for part in [Part::Segment, Part::Block, Part::Line] {
            hashes.iter().for_each(|&hash| self.table.prefetch(hash, part));
        }
        for &hash in hashes {
            match self.table.candidate(hash) {
                Some(word) => {
                    // A short record lies in two cache lines more often than in one.
                    prefetch::address(word as usize);
                    prefetch::address(word as usize + prefetch::LINE);
                }
                None => self.table.prefetch(hash, Part::NextLine),
            }
        }
    }

    /// The same a part at a time. The parts before it should have come.
    #[inline]
    pub fn prefetch_part(&self, hash: u64, part: Part) {
        self.table.prefetch(hash, part);
    }

    /// The look-up of an element in a large collection, whose record is looked into already.
    #[inline]
    pub fn element_ahead(&self, hash: u64, element: &[u8]) -> Option<Ahead<'_>> {
        // Another key's record does no harm.
        let word = self.table.candidate(hash)?;
        // SAFETY: as in `view`.
        match unsafe { View::new(record(word)) }.value() {
            Value::Object(object) => object.ahead(element),
            _ => None,
        }
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<(Place, View<'_>)> {
        let (place, word) = self.table.find(hash, |word| record(word).key() == key)?;
        // SAFETY: as in `view`.
        Some((place, unsafe { View::new(record(word)) }))
    }

    #[inline]
    pub fn view(&self, place: Place) -> View<'_> {
        // SAFETY: the record lives and stays unchanged while `self` is borrowed.
        unsafe { View::new(record(self.table.get(place))) }
    }

    /// Notes an access in a record: `touched` makes its new access bits from the old ones.
    #[inline]
    pub fn touch(&mut self, place: Place, touched: impl FnOnce(u32) -> u32) -> View<'_> {
        let mut record = record(self.table.get(place));
        let before = record.access();
        let now = touched(before);
        if now != before {
            record.set_access(now);
        }
        // SAFETY: as in `view`.
        unsafe { View::new(record) }
    }

    /// Adds a record that no table holds, for a key (of this hash) that has none.
    pub fn put(&mut self, hash: u64, mut new: Record) -> Place {
        // What comes after a snapshot has begun is not part of it.
        new.set_mark(self.mark);
        if let Some(time) = new.expire_at() {
            let position = self.wheel.insert(time, new.word());
            new.set_wheel_position(position);
        }
        self.schedule_fields(&mut new);
        let seed = &self.seed;
        self.table.insert(hash, new.word(), |word| seed.hash(record(word).key()))
    }

    /// A snapshot begins: all records there are now belong to it, as those of database `db`.
    /// The one before must have seen all of its own.
    pub fn begin_snapshot(&mut self, db: usize) {
        self.snapshot_db = db;
        if !self.table.is_empty() {
            self.mark = !self.mark;
            self.cursor = Some(0);
        }
    }

    /// The number of this database when the last snapshot began.
    pub fn snapshot_db(&self) -> usize {
        self.snapshot_db
    }

    /// Whether the running snapshot may not have seen some of these records.
    #[inline]
    pub fn is_partly_seen(&self) -> bool {
        self.cursor.is_some()
    }

    #[inline]
    pub fn is_seen(&self, place: Place) -> bool {
        record(self.table.get(place)).mark() == self.mark
    }

    #[inline]
    pub fn mark_seen(&mut self, place: Place) {
        record(self.table.get(place)).set_mark(self.mark);
    }

    /// Goes on with the snapshot: visits some records that it has not seen, and marks those for
    /// which `visit` says so. When it is at the end the snapshot has come across them all.
    pub fn step_snapshot<'a>(&'a mut self, mut visit: impl FnMut(View<'a>) -> bool) {
        let Some(cursor) = self.cursor else { return };
        let mark = self.mark;
        let next = self.table.scan(cursor, |word| {
            let mut own = record(word);
            // SAFETY: as in `view`; the mark is no part of what a view shows.
            if own.mark() != mark && visit(unsafe { View::new(own) }) {
                own.set_mark(mark);
            }
        });
        self.cursor = Some(next).filter(|&next| next != 0);
    }

    /// Takes a record out. The caller must put it somewhere else or free it.
    pub fn take(&mut self, place: Place) -> Record {
        let mut old = record(self.table.remove(place));
        self.forget_expiry(old);
        self.forget_fields(&mut old);
        old
    }

    /// Makes `fields` true for a record whose value may have changed.
    #[inline]
    fn schedule_fields(&mut self, changed: &mut Record) {
        let word = changed.word();
        if let Some(hash) = expiring(changed) {
            self.schedule(word, hash, |hash| hash.fields.earliest());
        }
    }

    fn schedule(
        &mut self,
        word: u64,
        hash: &mut Expiring,
        time: impl FnOnce(&Expiring) -> Option<i64>,
    ) {
        let time = time(hash);
        if hash.scheduled != time {
            hash.scheduled.into_iter().for_each(|ms| _ = self.fields.remove(&(ms, word)));
            time.into_iter().for_each(|ms| _ = self.fields.insert((ms, word)));
            hash.scheduled = time;
            self.next_field = self.fields.first().map_or(i64::MAX, |first| first.0);
        }
    }

    #[inline]
    fn forget_fields(&mut self, old: &mut Record) {
        let word = old.word();
        if let Some(hash) = expiring(old) {
            self.schedule(word, hash, |_| None);
        }
    }

    /// Says that the value of a record has changed in place: fields of a hash may be due earlier
    /// or later.
    #[inline]
    pub fn value_changed(&mut self, place: Place) {
        self.schedule_fields(&mut record(self.table.get(place)));
    }

    /// Says that a record is about to lose its value.
    #[inline]
    pub fn value_goes(&mut self, place: Place) {
        self.forget_fields(&mut record(self.table.get(place)));
    }

    /// When the first field of any hash is due, in milliseconds since 1970; the end of time if
    /// there is none.
    #[inline]
    pub fn next_field(&self) -> i64 {
        self.next_field
    }

    /// Hashes that have fields that expire.
    pub fn with_expiring_fields(&self) -> usize {
        self.fields.len()
    }

    /// A hash with fields that are due at `now_ms`, of which the caller must remove some.
    pub fn hash_due(&self, now_ms: i64) -> Option<Place> {
        let (_, word) = *self.fields.first().filter(|(ms, _)| *ms <= now_ms)?;
        let found = self.table.find(self.seed.hash(record(word).key()), |w| w == word);
        found.map(|(place, _)| place)
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
            self.follow_fields(before, &mut changed);
        }
        result
    }

    /// Makes `fields` true for a record that has moved in memory.
    #[inline]
    fn follow_fields(&mut self, before: u64, changed: &mut Record) {
        let word = changed.word();
        if let Some(hash) = expiring(changed)
            && let Some(ms) = hash.scheduled
            && word != before
        {
            self.fields.remove(&(ms, before));
            self.fields.insert((ms, word));
        }
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
        let before = self.table.get(place);
        let mut changed = record(before);
        self.forget_expiry(changed);
        changed.set_expire_at(expire_at);
        if let Some(time) = expire_at {
            let position = self.wheel.insert(time, changed.word());
            changed.set_wheel_position(position);
        }
        self.table.replace(place, changed.word());
        self.follow_fields(before, &mut changed);
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
                    Some((place, _)) => Due::Now(place),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::NewValue;
    use crate::types::{Inline, Value};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    impl Records {
        /// Checks what must hold between the table, the wheel and the records.
        pub fn check(&mut self) {
            let words: Vec<u64> = self.table.iter().collect();
            assert_eq!(words.len(), self.len());
            let mut expiring = 0;
            for word in words {
                let own = record(word);
                assert!(self.cursor.is_some() || own.mark() == self.mark);
                let place = place(self, own.key());
                assert_eq!(place.map(|place| self.table.get(place)), Some(word));
                if let Some(time) = own.expire_at() {
                    expiring += 1;
                    assert_eq!(self.wheel.at(time, own.wheel_position()), Some(word));
                }
            }
            assert_eq!(expiring, self.expiring());
            let hashes = self.table.iter().filter_map(|word| {
                let mut own = record(word);
                let hash = super::expiring(&mut own)?;
                assert_eq!(hash.scheduled, hash.fields.earliest());
                hash.scheduled.map(|ms| (ms, word))
            });
            assert_eq!(hashes.collect::<BTreeSet<_>>(), self.fields);
            let first = self.fields.first().map_or(i64::MAX, |first| first.0);
            assert_eq!(self.next_field, first);
        }
    }

    const START: i64 = 1_700_000_000_000;

    #[derive(Default)]
    struct Model(BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>);

    fn key(number: u16) -> Vec<u8> {
        format!("key:{number}").into_bytes()
    }

    fn place(records: &Records, key: &[u8]) -> Option<Place> {
        records.find(records.hash(key), key).map(|(place, _)| place)
    }

    fn put(records: &mut Records, key: &[u8], value: &[u8], expire_at: Option<i64>) -> Place {
        let record = Record::new(key, NewValue::Inline(Inline::Str, value), expire_at);
        records.put(records.hash(key), record)
    }

    fn value_of(view: View<'_>) -> Vec<u8> {
        match view.value() {
            Value::Inline(_, bytes) => bytes.to_vec(),
            Value::Object(_) => panic!("no objects here"),
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Put(u16, usize, Option<i64>),
        Replace(u16, usize),
        Expire(u16, Option<i64>),
        Take(u16),
        Pass(i64),
    }

    /// After how many milliseconds: soon, late, and before now.
    fn after() -> impl Strategy<Value = i64> {
        (0u32..42, -2i64..1 << 41).prop_map(|(shift, ms)| ms >> shift)
    }

    fn op() -> impl Strategy<Value = Op> {
        let number = 0u16..600;
        let expiry = || proptest::option::of(after());
        prop_oneof![
            8 => (number.clone(), 0usize..400, expiry())
                .prop_map(|(n, len, after)| Op::Put(n, len, after)),
            4 => (number.clone(), 0usize..400).prop_map(|(n, len)| Op::Replace(n, len)),
            4 => (number.clone(), expiry()).prop_map(|(n, after)| Op::Expire(n, after)),
            3 => number.prop_map(Op::Take),
            2 => after().prop_map(|ms| Op::Pass(ms.max(0))),
        ]
    }

    fn apply(records: &mut Records, model: &mut Model, now: &mut i64, op: Op) {
        match op {
            Op::Put(number, len, after) => {
                let (key, value) = (key(number), vec![number as u8; len]);
                assert_eq!(place(records, &key).is_some(), model.0.contains_key(&key));
                if place(records, &key).is_none() {
                    let expire_at = after.map(|ms| *now + ms);
                    put(records, &key, &value, expire_at);
                    model.0.insert(key, (value, expire_at));
                }
            }
            Op::Replace(number, len) => {
                let (key, value) = (key(number), vec![number as u8 ^ 0xFF; len]);
                if let Some(place) = place(records, &key) {
                    let new = NewValue::Inline(Inline::Str, &value);
                    records.update(place, |record| record.set_value(new));
                    model.0.get_mut(&key).unwrap().0 = value;
                }
            }
            Op::Expire(number, after) => {
                let key = key(number);
                if let Some(place) = place(records, &key) {
                    let expire_at = after.map(|ms| *now + ms);
                    records.set_expire_at(place, expire_at);
                    model.0.get_mut(&key).unwrap().1 = expire_at;
                }
            }
            Op::Take(number) => {
                let key = key(number);
                if let Some(place) = place(records, &key) {
                    let record = records.take(place);
                    assert_eq!(record.key(), key);
                    record.free();
                    model.0.remove(&key);
                }
            }
            Op::Pass(ms) => {
                *now += ms;
                pass(records, model, *now);
            }
        }
    }

    /// Removes what is due, which must be exactly what the model says.
    fn pass(records: &mut Records, model: &mut Model, now: i64) {
        let is_due = |expire_at: Option<i64>| expire_at.is_some_and(|at| at <= now);
        let due: BTreeSet<Vec<u8>> =
            model.0.iter().filter(|(_, (_, at))| is_due(*at)).map(|(key, _)| key.clone()).collect();
        let mut gone = BTreeSet::new();
        loop {
            match records.next_due(now) {
                Due::Now(place) => {
                    let record = records.take(place);
                    gone.insert(record.key().to_vec());
                    record.free();
                }
                Due::Later => {}
                Due::None => break,
            }
        }
        assert_eq!(gone, due);
        model.0.retain(|_, (_, at)| !is_due(*at));
    }

    proptest! {
        #[test]
        fn table_wheel_and_records_agree(
            ops in proptest::collection::vec(op(), 0..400),
        ) {
            let mut now = START;
            let mut records = Records::new(Seed::new(1), now);
            let mut model = Model::default();
            for (step, op) in ops.into_iter().enumerate() {
                apply(&mut records, &mut model, &mut now, op);
                if step % 16 == 0 {
                    records.check();
                }
            }
            records.check();
            prop_assert_eq!(records.len(), model.0.len());
            for (key, (value, expire_at)) in &model.0 {
                let view = records.view(place(&records, key).unwrap());
                prop_assert_eq!((value_of(view), view.expire_at()), (value.clone(), *expire_at));
            }
            pass(&mut records, &mut model, i64::MAX);
            prop_assert_eq!(records.expiring(), 0);
        }
    }

    #[test]
    fn views_walk_over_all_records() {
        let mut records = Records::new(Seed::new(2), START);
        for number in 0..2000 {
            put(&mut records, &key(number), b"value", None);
        }
        let all: BTreeSet<Vec<u8>> = (0..2000).map(key).collect();
        assert_eq!(records.iter().map(|view| view.key().to_vec()).collect::<BTreeSet<_>>(), all);
        let (mut cursor, mut seen) = (0, BTreeSet::new());
        loop {
            cursor = records.scan(cursor, |view| {
                seen.insert(view.key().to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, all);
        let mut rng = crate::base::rng::Rng::from_seed(3);
        assert!(all.contains(records.random(&mut rng).unwrap().key()));
    }

    #[test]
    fn an_object_moves_between_databases_with_its_record() {
        let (mut a, mut b) = (Records::new(Seed::new(4), START), Records::new(Seed::new(4), START));
        let object = Box::new(Object::String(vec![7; 5000]));
        let record = Record::new(b"key", NewValue::Object(object), Some(START + 5));
        let from = a.put(a.hash(b"key"), record);
        let Some(Object::String(bytes)) = a.object_mut(from) else { panic!() };
        bytes.push(8);
        let record = a.take(from).renamed(b"another");
        assert_eq!((a.len(), a.expiring()), (0, 0));
        let to = b.put(b.hash(b"another"), record);
        b.check();
        assert_eq!(b.view(to).expire_at(), Some(START + 5));
        assert!(matches!(b.view(to).value(), Value::Object(Object::String(s)) if s.len() == 5001));
        assert!(matches!(b.next_due(START + 5), Due::Now(place) if place == to));
    }
}
