//! Which client has read which key, as its cache may hold it: keys by name, clients by number.
//! Must not know what clients are.
//!
//! A key is a record like those of the databases, in a table that grows in bounded steps; its
//! value is the set of its readers' numbers. So a key of 16 bytes with one reader takes 32 bytes
//! and 8 for its slot of the table, of which 7 of 8 are used at best.

use crate::base::hash::Seed;
use crate::base::rng::Rng;
use crate::base::table::Place;
use crate::store::db::Garbage;
use crate::store::record::{MAX_KEY, NewValue, Record};
use crate::store::table::Records;
use crate::types::set::{self, Limits, Member, Set};
use crate::types::{Inline, Loose, Object, Slot, Value};

/// More readers than this are kept in a hash table.
const LIMITS: Limits = Limits { ints: 512, entries: 0, value: 0 };

pub struct Readers {
    records: Records,
    seed: Seed,
    /// Readers of all keys.
    items: usize,
}

impl Readers {
    pub fn new(seed_number: u64) -> Readers {
        let seed = Seed::new(seed_number);
        Readers { records: Records::new(seed.clone(), 0), seed, items: 0 }
    }

    /// How many keys have readers.
    pub fn keys(&self) -> usize {
        self.records.len()
    }

    /// How many readers all keys have together.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Notes that a client has read a key.
    pub fn add(&mut self, key: &[u8], id: u64) {
        if key.len() > MAX_KEY {
            // There can be no such key.
            return;
        }
        let reader = Member::Int(id as i64);
        let hash = self.seed.hash(key);
        let is_new = match self.records.find(hash, key).map(|(place, _)| place) {
            Some(place) => {
                let mut slot = Opened { records: &mut self.records, place };
                set::insert(&mut slot, reader, &LIMITS)
            }
            None => {
                let mut first = Loose::Inline(Inline::IntSet, Vec::new());
                set::insert(&mut first, reader, &LIMITS);
                if let Loose::Inline(kind, bytes) = first {
                    let value = NewValue::Inline(kind, &bytes);
                    self.records.put(hash, Record::new(key, value, None));
                }
                true
            }
        };
        self.items += usize::from(is_new);
    }

    /// Forgets a key, and hands over who has read it.
    pub fn take(&mut self, key: &[u8], mut visit: impl FnMut(u64)) {
        if self.records.is_empty() {
            return;
        }
        let Some((place, view)) = self.records.find(self.seed.hash(key), key) else { return };
        let readers = Set::of(view.value());
        let mut count = 0;
        for reader in readers.iter().flat_map(Set::iter) {
            count += 1;
            visit(reader.int().unwrap_or_default() as u64);
        }
        self.items -= count;
        self.records.take(place).free();
    }

    /// A key drawn with equal chances.
    pub fn random(&self, rng: &mut Rng) -> Option<Box<[u8]>> {
        self.records.random(rng).map(|view| view.key().into())
    }

    /// Forgets all; what has to be freed comes back.
    pub fn clear(&mut self) -> Option<Garbage> {
        self.items = 0;
        if self.records.is_empty() {
            return None;
        }
        let empty = Records::new(self.seed.clone(), 0);
        Some(Garbage::Database(std::mem::replace(&mut self.records, empty)))
    }
}

/// A key's readers, opened for change.
struct Opened<'a> {
    records: &'a mut Records,
    place: Place,
}

impl Opened<'_> {
    fn set_value(&mut self, value: NewValue<'_>) {
        self.records.update(self.place, |record| record.set_value(value));
    }
}

impl Slot for Opened<'_> {
    fn value(&self) -> Value<'_> {
        self.records.view(self.place).value()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.records.bytes_mut(self.place)
    }

    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        self.records.update(self.place, |record| record.splice(at, remove, insert));
        &mut self.records.bytes_mut(self.place)[at..at + insert]
    }

    fn object_mut(&mut self) -> Option<&mut Object> {
        self.records.object_mut(self.place)
    }

    fn set_inline(&mut self, kind: Inline, bytes: &[u8]) {
        self.set_value(NewValue::Inline(kind, bytes));
    }

    fn set_object(&mut self, object: Object) {
        self.set_value(NewValue::Object(Box::new(object)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn taken(readers: &mut Readers, key: &[u8]) -> BTreeSet<u64> {
        let mut ids = BTreeSet::new();
        readers.take(key, |id| assert!(ids.insert(id), "{id} twice"));
        ids
    }

    #[test]
    fn a_key_that_everybody_reads() {
        let mut readers = Readers::new(1);
        let ids: Vec<u64> = (0..2000).map(|n| n * 40_000).collect();
        for _ in 0..2 {
            ids.iter().for_each(|&id| readers.add(b"hot", id));
        }
        readers.add(b"cold", u64::from(u32::MAX));
        assert_eq!((readers.keys(), readers.items()), (2, 2001));
        assert!(taken(&mut readers, b"hot").into_iter().eq(ids));
        assert_eq!((readers.keys(), readers.items()), (1, 1));
        assert!(readers.clear().is_some() && readers.clear().is_none());
        assert_eq!((readers.keys(), readers.items()), (0, 0));
        assert!(taken(&mut readers, b"cold").is_empty());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Add(u8, u64),
        Take(u8),
        Clear,
    }

    fn op() -> impl Strategy<Value = Op> {
        let id = (any::<u64>(), 1u32..63).prop_map(|(id, shift)| id >> shift);
        prop_oneof![
            40 => (0u8..12, id).prop_map(|(key, id)| Op::Add(key, id)),
            5 => (0u8..12).prop_map(Op::Take),
            1 => Just(Op::Clear),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_of_sets(ops in prop::collection::vec(op(), 1..300)) {
            let mut readers = Readers::new(7);
            let mut model: BTreeMap<Vec<u8>, BTreeSet<u64>> = BTreeMap::new();
            // Short and long names, the empty one among them.
            let name = |key: u8| vec![b'k'; key as usize * key as usize * 3];
            for op in ops {
                match op {
                    Op::Add(key, id) => {
                        readers.add(&name(key), id);
                        model.entry(name(key)).or_default().insert(id);
                    }
                    Op::Take(key) => {
                        let expected = model.remove(&name(key)).unwrap_or_default();
                        prop_assert_eq!(taken(&mut readers, &name(key)), expected);
                    }
                    Op::Clear => {
                        prop_assert_eq!(readers.clear().is_some(), !model.is_empty());
                        model.clear();
                    }
                }
                prop_assert_eq!(readers.keys(), model.len());
                prop_assert_eq!(readers.items(), model.values().map(BTreeSet::len).sum::<usize>());
                let random = readers.random(&mut Rng::from_seed(1));
                prop_assert_eq!(random.is_some(), !model.is_empty());
                prop_assert!(random.is_none_or(|key| model.contains_key(&*key)));
            }
        }
    }
}
