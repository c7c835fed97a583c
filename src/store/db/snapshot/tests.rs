//! A snapshot beside a model, while everything changes.

use super::*;
use crate::base::rng::Rng;
use crate::store::db::{Expiry, Transfer};
use crate::types::{Inline, Slot};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const START: i64 = 1_700_000_000_000;
const DBS: usize = 3;

/// Database and key; value and expiry.
type Entries = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

/// Collects what it is shown. Large values it takes in three parts, and looks each time whether
/// they are what they were.
#[derive(Default)]
struct Collector {
    entries: Arc<Mutex<Entries>>,
    is_complete: Arc<AtomicBool>,
    begun: Vec<u8>,
    /// How many calls until it is full for once.
    fills_after: u32,
}

fn bytes(view: &View<'_>) -> Vec<u8> {
    match view.value() {
        Value::Inline(_, bytes) => bytes.to_vec(),
        Value::Object(Object::String(bytes)) => bytes.clone(),
        Value::Object(_) => panic!("only strings here"),
    }
}

impl Sink for Collector {
    fn entry(&mut self, db: usize, entry: View<'_>) {
        let key = (db, entry.key().to_vec());
        let former = self.entries.lock().unwrap().insert(key, (bytes(&entry), entry.expire_at()));
        assert_eq!(former, None, "{:?} was shown twice", entry.key());
    }

    fn part(&mut self, db: usize, entry: View<'_>, from: Position) -> Option<Position> {
        match from {
            0 => self.begun = bytes(&entry),
            _ => assert_eq!(self.begun, bytes(&entry)),
        }
        if from == 2 {
            self.entry(db, entry);
        }
        (from < 2).then_some(from + 1)
    }

    fn is_full(&mut self) -> bool {
        self.fills_after = self.fills_after.checked_sub(1).unwrap_or(5);
        self.fills_after == 0
    }

    fn complete(self: Box<Self>) {
        self.is_complete.store(true, Ordering::Relaxed);
    }
}

fn all(keys: &Keyspace) -> Entries {
    let of_db = |db: usize| keys.dbs[db].iter().map(move |view| (db, view));
    let entries = (0..DBS).flat_map(of_db);
    entries.map(|(db, v)| ((db, v.key().to_vec()), (bytes(&v), v.expire_at()))).collect()
}

/// Something that changes one key, or many.
fn change(keys: &mut Keyspace, rng: &mut Rng) {
    let key = |rng: &mut Rng| format!("key:{}", rng.below(300)).into_bytes();
    keys.select(rng.index(DBS));
    let (name, other) = (key(rng), key(rng));
    match rng.below(1000) {
        0..=299 => {
            let text = vec![rng.below(256) as u8; rng.index(20)];
            let expiry = match rng.below(3) {
                0 => Expiry::Keep,
                1 => Expiry::Never,
                _ => Expiry::At(START + 1 + rng.below(1000) as i64),
            };
            keys.set(&name, NewValue::Inline(Inline::Str, &text), expiry);
        }
        300..=499 => {
            let object = Object::String(vec![b'o'; rng.index(30)]);
            keys.set(&name, NewValue::Object(Box::new(object)), Expiry::Keep);
        }
        500..=699 => {
            if let Some(mut edit) = keys.edit(&name) {
                match edit.value() {
                    Value::Inline(..) => edit.splice(0, 0, 1)[0] = b'+',
                    Value::Object(_) => match edit.object_mut() {
                        Some(Object::String(bytes)) => bytes.push(b'+'),
                        _ => panic!("only strings here"),
                    },
                }
            }
        }
        700..=799 => _ = keys.remove(&name),
        800..=849 => {
            let at = (rng.below(2) == 0).then_some(START + 5000);
            keys.edit(&name).into_iter().for_each(|mut edit| edit.set_expire_at(at));
        }
        850..=899 => _ = keys.rename(&name, &other, true),
        900..=929 => _ = keys.move_to(&name, rng.index(DBS)),
        930..=959 if name != other => {
            assert_ne!(keys.copy_to(&name, rng.index(DBS), &other, true), Transfer::Occupied);
        }
        960..=964 => _ = keys.flush(rng.index(DBS)),
        965..=979 => keys.swap(rng.index(DBS), rng.index(DBS)),
        980..=984 => {
            keys.set_now(keys.now_ms + 100);
            keys.expire_due(|| false);
        }
        _ => {}
    }
}

/// Changes at random, and snapshots one after the other, some given up: each complete one has
/// every entry as it was at its beginning, once.
fn check(seed: u64) -> u32 {
    let mut rng = Rng::from_seed(seed);
    let mut keys = Keyspace::new(DBS, seed, START);
    let mut completed = 0;
    for _ in 0..500 {
        change(&mut keys, &mut rng);
    }
    for _ in 0..40 {
        let sink = Collector::default();
        let (shown, is_complete) = (sink.entries.clone(), sink.is_complete.clone());
        let expected = all(&keys);
        assert!(keys.begin_snapshot(Box::new(sink)));
        let given_up_after = if rng.below(4) == 0 { 1 + rng.below(40) } else { u64::MAX };
        let mut steps = 0;
        while keys.in_snapshot() {
            for _ in 0..rng.below(20) {
                change(&mut keys, &mut rng);
            }
            let mut left = rng.below(10);
            keys.step_snapshot(|| {
                left = left.saturating_sub(1);
                left == 0
            });
            steps += 1;
            if is_complete.load(Ordering::Relaxed) {
                assert!(!keys.in_snapshot());
                assert!(*shown.lock().unwrap() == expected, "seed {seed}");
                completed += 1;
            }
            if steps == given_up_after && keys.in_snapshot() {
                keys.abort_snapshot();
                shown.lock().unwrap().clear();
            }
        }
        if !is_complete.load(Ordering::Relaxed) {
            assert!(shown.lock().unwrap().is_empty(), "seed {seed}: shown after the end");
        }
        for db in &mut keys.dbs {
            db.check();
        }
    }
    completed
}

#[test]
fn each_entry_is_shown_once_as_it_was_at_the_beginning() {
    let completed: u32 = (0..60).map(check).sum();
    assert!(completed > 1000, "{completed}");
}
