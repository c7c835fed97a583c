//! A snapshot beside a model, while everything changes.

mod values;

use super::*;
use crate::base::rng::Rng;
use crate::store::NewValue;
use crate::store::db::{Expiry, Transfer};
use crate::types::Inline;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use values::{Content, Counts};

const START: i64 = 1_700_000_000_000;
const DBS: usize = 3;

/// Database and key; value and expiry.
type Entries = BTreeMap<(usize, Vec<u8>), (Content, Option<i64>)>;

/// Collects what it is shown.
#[derive(Default)]
struct Collector {
    entries: Arc<Mutex<Entries>>,
    is_complete: Arc<AtomicBool>,
    /// The large value of which parts are to come.
    begun: Option<((usize, Vec<u8>), Content, Counts)>,
    parts: usize,
    /// How many calls until it is full for once.
    fills_after: u32,
}

impl Collector {
    fn add(&self, db: usize, key: &[u8], content: Content, expire_at: Option<i64>) {
        let former = self.entries.lock().unwrap().insert((db, key.into()), (content, expire_at));
        assert_eq!(former, None, "{key:?} was shown twice");
    }
}

impl Sink for Collector {
    fn entry(&mut self, db: usize, entry: View<'_>) {
        assert!(!is_large(&entry));
        self.add(db, entry.key(), Content::of(entry.value()), entry.expire_at());
    }

    fn part(&mut self, db: usize, entry: &mut LargeEntry<'_>) -> bool {
        let key = (db, entry.key.to_vec());
        let begun = self.begun.take();
        let begun =
            begun.unwrap_or_else(|| (key.clone(), Content::begin(&entry.head), Counts::default()));
        let (begun_key, mut content, mut counts) = begun;
        assert_eq!(begun_key, key);
        self.parts += 1;
        let has_more = entry.value.read_frozen(1 + self.parts % 20, &mut |piece| {
            counts.note(&piece);
            content.add(piece);
        });
        if has_more {
            self.begun = Some((key, content, counts));
        } else {
            assert!(content.fits(&entry.head), "{:?} of {content:?}", entry.head);
            assert!(counts.agree());
            self.add(db, entry.key, content, entry.expire_at);
        }
        has_more
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
    let content = |view: &View<'_>| (Content::of(view.value()), view.expire_at());
    entries.map(|(db, view)| ((db, view.key().to_vec()), content(&view))).collect()
}

/// Something that changes one key, or many.
fn change(keys: &mut Keyspace, rng: &mut Rng) {
    let key = |rng: &mut Rng| format!("key:{}", rng.below(60)).into_bytes();
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
        300..=399 => {
            keys.set(&name, NewValue::Object(Box::new(values::random_value(rng))), Expiry::Keep);
        }
        400..=699 => {
            if let Some(mut edit) = keys.edit(&name)
                && values::change_value(&mut edit, rng)
            {
                edit.remove_emptied();
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
    for _ in 0..10 {
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
    let completed: u32 = (0..10).map(check).sum();
    assert!(completed > 60, "{completed}");
}
