//! Entries of which some expire: [`Entries`] whose blocks may hold a time, and those times in
//! order. Must not know the time: who asks, says what time it is.
//!
//! An entry that expires takes 7 bytes more in its block and 12 in the order. Nothing goes away by
//! itself. An entry is due from its time on; until somebody takes it out, it is among the others,
//! and reading with a `now` passes over it.

use super::{Entries, Entry, MAX_TIME, Pair, Place, hash};
use crate::base::rng::Rng;
use crate::base::table::Ahead;
use crate::types::frozen::Ticket;
use std::cell::Cell;
use std::collections::BTreeSet;

/// A time (48 bits) and the word of an entry that expires then (48 bits), ordered like a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due([u32; 3]);

impl Due {
    fn new(ms: i64, word: u64) -> Due {
        Due([(ms >> 16) as u32, (ms as u32) << 16 | (word >> 32) as u32, word as u32])
    }

    /// Later than all that is due at `ms`, and not later than what is due after it.
    fn after(ms: i64) -> Due {
        if ms >= MAX_TIME { Due([u32::MAX; 3]) } else { Due::new(ms.max(-1) + 1, 0) }
    }

    fn ms(self) -> i64 {
        i64::from(self.0[0]) << 16 | i64::from(self.0[1] >> 16)
    }

    fn word(self) -> u64 {
        u64::from(self.0[1] & 0xFFFF) << 32 | u64::from(self.0[2])
    }
}

/// See the module's description.
#[derive(Default)]
pub struct Expiring {
    entries: Entries,
    /// One for each entry with a time, and no others.
    order: BTreeSet<Due>,
    /// How many entries are due at a time, as counted last: that time and the number. Counting
    /// goes on from there, so each entry is counted once.
    counted: Cell<(i64, usize)>,
}

impl From<Entries> for Expiring {
    /// Takes over entries, none of which expires.
    fn from(entries: Entries) -> Expiring {
        Expiring { entries, ..Expiring::default() }
    }
}

impl Expiring {
    /// Entries, whether due or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries that expire.
    pub fn timed(&self) -> usize {
        self.order.len()
    }

    /// How many entries are due at `now_ms`.
    pub fn due(&self, now_ms: i64) -> usize {
        let (until, count) = self.counted.get();
        let from = if until <= now_ms { Due::after(until) } else { Due([0; 3]) };
        let end = Due::after(now_ms);
        // Whichever end is nearer: when all are due at once, there is nothing behind them.
        let (mut ahead, mut behind) = (self.order.range(from..end), self.order.range(end..));
        let mut steps = 0;
        let new = loop {
            if ahead.next().is_none() {
                break steps;
            }
            if behind.next().is_none() {
                let before = if until <= now_ms { count } else { 0 };
                break self.order.len() - before - steps;
            }
            steps += 1;
        };
        let count = if until <= now_ms { count + new } else { new };
        self.counted.set((now_ms, count));
        count
    }

    /// Whether every entry is due.
    pub fn all_due(&self, now_ms: i64) -> bool {
        self.order.len() == self.entries.len()
            && self.order.last().is_none_or(|last| last.ms() <= now_ms)
    }

    /// When the first entry expires, in milliseconds since 1970.
    pub fn earliest(&self) -> Option<i64> {
        self.order.first().map(|due| due.ms())
    }

    pub fn find(&self, field: &[u8]) -> Option<Place> {
        self.entries.find(field)
    }

    /// What [`Expiring::find`] will look at.
    #[inline]
    pub fn ahead(&self, field: &[u8]) -> Ahead<'_> {
        self.entries.ahead(field)
    }

    pub fn get(&self, place: Place) -> Pair<'_> {
        self.entries.get(place)
    }

    fn entry(&self, place: Place) -> Entry {
        Entry::from_word(self.entries.table.get(place))
    }

    /// When an entry expires, in milliseconds since 1970.
    pub fn expire_at(&self, place: Place) -> Option<i64> {
        self.entry(place).expire_at()
    }

    /// Adds an entry for a field that has none. It does not expire.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> Place {
        self.entries.insert(field, value)
    }

    /// Changes a value, and not when it expires.
    pub fn set_value(&mut self, place: Place, value: &[u8]) {
        self.change(place, |entry| entry.set_value(value));
    }

    /// Says when an entry expires, in milliseconds since 1970 from 0 to [`MAX_TIME`].
    pub fn set_expire_at(&mut self, place: Place, expire_at: Option<i64>) {
        let expire_at = expire_at.map(|ms| ms.clamp(0, MAX_TIME));
        self.change(place, |entry| entry.set_expire_at(expire_at));
    }

    /// Changes an entry, and follows it when it moves in memory or in time.
    fn change(&mut self, place: Place, change: impl FnOnce(&mut Entry)) {
        let entry = self.entry(place);
        let before = entry.expire_at().map(|ms| Due::new(ms, entry.word()));
        self.entries.change(place, change);
        let entry = self.entry(place);
        let after = entry.expire_at().map(|ms| Due::new(ms, entry.word()));
        if before != after {
            before.into_iter().for_each(|due| self.forget(due));
            after.into_iter().for_each(|due| self.remember(due));
        }
    }

    fn remember(&mut self, due: Due) {
        self.order.insert(due);
        let (until, count) = self.counted.get();
        self.counted.set((until, count + usize::from(due.ms() <= until)));
    }

    fn forget(&mut self, due: Due) {
        self.order.remove(&due);
        let (until, count) = self.counted.get();
        self.counted.set((until, count - usize::from(due.ms() <= until)));
    }

    /// See [`Object::freeze`](crate::types::Object::freeze).
    pub fn freeze(&mut self, ticket: Ticket) {
        self.entries.freeze(ticket, self.earliest());
    }

    /// Its entries, of which what was frozen is to be read.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    pub fn entries_mut(&mut self) -> &mut Entries {
        &mut self.entries
    }

    pub fn remove(&mut self, place: Place) {
        let entry = self.entry(place);
        if let Some(ms) = entry.expire_at() {
            self.forget(Due::new(ms, entry.word()));
        }
        self.entries.remove(place);
    }

    /// Removes one entry that is due and returns its field; none if nothing is due.
    pub fn take_due(&mut self, now_ms: i64) -> Option<Box<[u8]>> {
        let due = self.order.first().copied().filter(|due| due.ms() <= now_ms)?;
        let field: Box<[u8]> = Entry::from_word(due.word()).field().into();
        let (place, _) = self.entries.table.find(hash(&field), |word| word == due.word())?;
        self.remove(place);
        Some(field)
    }

    fn is_live(entry: Entry, now_ms: i64) -> bool {
        entry.expire_at().is_none_or(|ms| ms > now_ms)
    }

    /// An entry that is not due.
    pub fn live(&self, field: &[u8], now_ms: i64) -> Option<Place> {
        self.find(field).filter(|place| Self::is_live(self.entry(*place), now_ms))
    }

    /// The entries that are not due, in no order.
    pub fn iter(&self, now_ms: i64) -> impl Iterator<Item = Pair<'_>> {
        self.with_times(now_ms).map(|(pair, _)| pair)
    }

    /// The entries that are not due, and when they expire.
    pub fn with_times(&self, now_ms: i64) -> impl Iterator<Item = (Pair<'_>, Option<i64>)> {
        let entries = self.entries.table.iter().map(Entry::from_word);
        let live = entries.filter(move |entry| Self::is_live(*entry, now_ms));
        live.map(|entry| (entry.pair(), entry.expire_at()))
    }

    /// An entry drawn with equal chances from all; none if that one is due.
    pub fn random(&self, now_ms: i64, rng: &mut Rng) -> Option<Pair<'_>> {
        let entry = Entry::from_word(self.entries.table.random(rng)?);
        Self::is_live(entry, now_ms).then(|| entry.pair())
    }

    /// A step of SCAN: visits some entries that are not due and returns the next cursor, 0 at the
    /// end.
    pub fn scan<'a>(&'a self, cursor: u64, now_ms: i64, mut visit: impl FnMut(Pair<'a>)) -> u64 {
        self.entries.table.scan(cursor, |word| {
            let entry = Entry::from_word(word);
            if Self::is_live(entry, now_ms) {
                visit(entry.pair());
            }
        })
    }

    /// About how many bytes of memory it takes, judged by so many entries (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        // Nodes of a B-tree are about two thirds full.
        self.entries.memory(samples) + self.order.len() * size_of::<Due>() * 3 / 2
    }
}

impl Clone for Expiring {
    fn clone(&self) -> Expiring {
        let mut copy = Expiring::default();
        for ((field, value), expire_at) in self.with_times(i64::MIN) {
            let entry = Entry::new(field, value, expire_at);
            copy.entries.put(entry);
            if let Some(ms) = expire_at {
                copy.remember(Due::new(ms, entry.word()));
            }
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Miri is slow, and looks at what is done rather than how often.
    const CASES: u32 = if cfg!(miri) { 4 } else { 256 };

    type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

    #[test]
    fn times_are_ordered_like_numbers() {
        // Entries have no addresses that end in all ones.
        let words = [1, 0xFFFF, 1 << 32, (1 << 48) - 2];
        let times = [0, 1, 0xFFFF, 0x1_0000, 1_700_000_000_000, MAX_TIME];
        let mut last = None;
        for ms in times {
            for word in words {
                let due = Due::new(ms, word);
                assert_eq!((due.ms(), due.word()), (ms, word));
                assert!(last < Some(due));
                assert!(due < Due::after(ms) && due >= Due::after(ms - 1));
                last = Some(due);
            }
        }
        assert_eq!(size_of::<Due>(), 12);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, usize),
        Expire(u8, Option<i64>),
        Remove(u8),
        TakeDue,
        Clone,
        /// The clock goes on, or is set back.
        Pass(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let field = 0u8..60;
        prop_oneof![
            6 => (field.clone(), 0usize..300).prop_map(|(field, len)| Step::Set(field, len)),
            6 => (field.clone(), proptest::option::weighted(0.8, -5i64..100))
                .prop_map(|(field, after)| Step::Expire(field, after)),
            2 => field.prop_map(Step::Remove),
            4 => Just(Step::TakeDue),
            1 => Just(Step::Clone),
            4 => (-10i64..40).prop_map(Step::Pass),
        ]
    }

    fn name(field: u8) -> Vec<u8> {
        // Around the lengths at which the header changes.
        vec![
            field;
            if field.is_multiple_of(3) { 250 + field as usize % 8 } else { field as usize + 1 }
        ]
    }

    fn check(entries: &Expiring, model: &Model, now: i64) {
        let live = |ms: Option<i64>| ms.is_none_or(|ms| ms > now);
        let found: Model =
            entries.with_times(now).map(|((f, v), ms)| (f.to_vec(), (v.to_vec(), ms))).collect();
        let want: Model = model
            .iter()
            .filter(|(_, content)| live(content.1))
            .map(|(field, content)| (field.clone(), content.clone()))
            .collect();
        assert_eq!(found, want);
        assert_eq!(entries.len(), model.len());
        assert_eq!(entries.due(now), model.len() - want.len());
        assert_eq!(entries.all_due(now), want.is_empty());
        assert_eq!(entries.timed(), model.values().filter(|content| content.1.is_some()).count());
        assert_eq!(entries.earliest(), model.values().filter_map(|content| content.1).min());
        for field in (0..60).map(name) {
            let place = entries.live(&field, now);
            assert_eq!(place.is_some(), want.contains_key(&field));
            let expire_at = entries.find(&field).and_then(|place| entries.expire_at(place));
            assert_eq!(expire_at, model.get(&field).and_then(|content| content.1));
        }
    }

    fn apply(entries: &mut Expiring, model: &mut Model, now: &mut i64, step: Step) {
        match step {
            Step::Set(field, len) => {
                let (field, value) = (name(field), vec![field; len]);
                match entries.find(&field) {
                    Some(place) => entries.set_value(place, &value),
                    None => _ = entries.insert(&field, &value),
                }
                model.entry(field).or_default().0 = value;
            }
            Step::Expire(field, after) => {
                if let Some(place) = entries.find(&name(field)) {
                    let expire_at = after.map(|ms| *now + ms);
                    entries.set_expire_at(place, expire_at);
                    model.get_mut(&name(field)).unwrap().1 = expire_at;
                }
            }
            Step::Remove(field) => {
                if let Some(place) = entries.find(&name(field)) {
                    entries.remove(place);
                    model.remove(&name(field));
                }
            }
            Step::TakeDue => {
                let first = model.values().filter_map(|content| content.1).min();
                let taken = entries.take_due(*now);
                assert_eq!(taken.is_some(), first.is_some_and(|ms| ms <= *now));
                if let Some(field) = taken {
                    assert_eq!(model.remove(&field[..]).unwrap().1, first);
                }
            }
            Step::Clone => *entries = entries.clone(),
            Step::Pass(ms) => *now += ms,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(CASES))]
        #[test]
        fn agrees_with_a_map_with_times(steps in prop::collection::vec(step(), 1..300)) {
            let mut now = 1_700_000_000_000;
            let mut entries = Expiring::default();
            let mut model = Model::new();
            for step in steps {
                apply(&mut entries, &mut model, &mut now, step);
                check(&entries, &model, now);
            }
        }
    }

    #[test]
    fn counting_what_is_due_at_once_is_quick_when_nothing_stays() {
        let mut entries = Expiring::default();
        for n in 0..1000u32 {
            let place = entries.insert(&n.to_le_bytes(), b"");
            entries.set_expire_at(place, Some(5000));
        }
        entries.insert(b"stays", b"");
        assert_eq!(entries.due(4999), 0);
        assert_eq!(entries.due(5000), 1000);
        assert!(!entries.all_due(5000));
        assert_eq!(entries.iter(5000).count(), 1);
        while entries.take_due(5000).is_some() {}
        assert_eq!((entries.due(5000), entries.len(), entries.timed()), (0, 1, 0));
    }
}
