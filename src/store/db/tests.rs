//! The keyspace against a plain map, and what it promises beyond one.

use super::*;
use crate::types::string::{self, Str};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const START: i64 = 1_700_000_000_000;
const DBS: usize = 2;

/// What a key should hold: its bytes, and when it expires.
type Content = (Vec<u8>, Option<i64>);

struct Model {
    dbs: [BTreeMap<Vec<u8>, Content>; DBS],
    now: i64,
    dirty: u64,
}

impl Model {
    fn is_live(&self, content: &Content) -> bool {
        content.1.is_none_or(|at| at > self.now)
    }

    fn get(&self, db: usize, key: &[u8]) -> Option<Content> {
        self.dbs[db].get(key).filter(|content| self.is_live(content)).cloned()
    }

    fn live(&self, db: usize) -> BTreeMap<Vec<u8>, Content> {
        let live = self.dbs[db].iter().filter(|(_, content)| self.is_live(content));
        live.map(|(key, content)| (key.clone(), content.clone())).collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Select(usize),
    Set(u8, Vec<u8>, Expiry),
    Append(u8, Vec<u8>),
    Expire(u8, Option<i64>),
    Remove(u8),
    Rename(u8, u8, bool),
    Copy(u8, usize, u8, bool),
    Move(u8, usize),
    Swap,
    Flush(usize),
    Pass(i64),
    ExpireDue,
}

fn key() -> impl Strategy<Value = u8> {
    0u8..40
}

/// Expiries and times are milliseconds from now here.
fn after() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0i64..50, 1 => 0i64..100_000]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![4 => 0usize..20, 1 => 200usize..300, 1 => 1000usize..5000];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

fn op() -> impl Strategy<Value = Op> {
    let expiry = prop_oneof![
        3 => Just(Expiry::Never),
        1 => Just(Expiry::Keep),
        3 => after().prop_map(Expiry::At),
    ];
    prop_oneof![
        2 => (0..DBS).prop_map(Op::Select),
        12 => (key(), value(), expiry).prop_map(|(key, value, expiry)| Op::Set(key, value, expiry)),
        4 => (key(), value()).prop_map(|(key, value)| Op::Append(key, value)),
        4 => (key(), proptest::option::of(after())).prop_map(|(key, at)| Op::Expire(key, at)),
        2 => key().prop_map(Op::Remove),
        4 => (key(), key(), any::<bool>()).prop_map(|(from, to, r)| Op::Rename(from, to, r)),
        4 => (key(), 0..DBS, key(), any::<bool>())
            .prop_map(|(from, db, to, replace)| Op::Copy(from, db, to, replace)),
        2 => (key(), 0..DBS).prop_map(|(key, db)| Op::Move(key, db)),
        1 => Just(Op::Swap),
        1 => (0..DBS * 10).prop_map(Op::Flush),
        4 => after().prop_map(Op::Pass),
        2 => Just(Op::ExpireDue),
    ]
}

fn name(key: u8) -> Vec<u8> {
    // Some names need the wide form of a record.
    let len = if key.is_multiple_of(8) { 300 } else { 3 };
    format!("{key:03}").into_bytes().repeat(len / 3)
}

fn content(view: View<'_>) -> Content {
    (Str::of(view.value()).unwrap().to_vec(), view.expire_at())
}

fn apply(keys: &mut Keyspace, model: &mut Model, op: Op) {
    let db = keys.current();
    match op {
        Op::Select(db) => keys.select(db),
        Op::Set(key, value, expiry) => {
            let key = name(key);
            let before = model.get(db, &key).and_then(|content| content.1);
            let (expiry, expire_at) = match expiry {
                Expiry::Never => (Expiry::Never, None),
                Expiry::Keep => (Expiry::Keep, before),
                Expiry::At(after) => (Expiry::At(model.now + after), Some(model.now + after)),
            };
            keys.set(&key, NewValue::Inline(Inline::Str, &value), expiry);
            model.dbs[db].insert(key, (value, expire_at));
            model.dirty += 1;
        }
        Op::Append(key, value) => append(keys, model, &name(key), &value),
        Op::Expire(key, after) => {
            let key = name(key);
            let expire_at = after.map(|after| model.now + after);
            let edit = keys.edit(&key);
            assert_eq!(edit.is_some(), model.get(db, &key).is_some());
            if let Some(mut edit) = edit {
                edit.set_expire_at(expire_at);
                let content = model.dbs[db].get_mut(&key).unwrap();
                let before = std::mem::replace(&mut content.1, expire_at);
                model.dirty += (before.is_some() || expire_at.is_some()) as u64;
            }
        }
        Op::Remove(key) => {
            let removed = keys.remove(&name(key));
            assert_eq!(removed, model.get(db, &name(key)).is_some());
            model.dbs[db].remove(&name(key));
            model.dirty += removed as u64;
        }
        Op::Rename(from, to, replace) => {
            let transfer = keys.rename(&name(from), &name(to), replace);
            expect_transfer(model, (db, from), (db, to), replace, true, transfer);
        }
        Op::Copy(from, to_db, to, replace) if (db, from) != (to_db, to) => {
            let transfer = keys.copy_to(&name(from), to_db, &name(to), replace);
            expect_transfer(model, (db, from), (to_db, to), replace, false, transfer);
        }
        Op::Move(key, to_db) if db != to_db => {
            let transfer = keys.move_to(&name(key), to_db);
            expect_transfer(model, (db, key), (to_db, key), false, true, transfer);
        }
        Op::Copy(..) | Op::Move(..) => {}
        Op::Swap => {
            keys.swap(0, 1);
            model.dbs.swap(0, 1);
            model.dirty += 1;
        }
        Op::Flush(db) if db < DBS => {
            model.dirty += keys.flush(db) as u64;
            model.dbs[db].clear();
        }
        Op::Flush(_) => {}
        Op::Pass(ms) => {
            model.now += ms;
            keys.set_now(model.now);
        }
        Op::ExpireDue => {
            assert!(!keys.expire_due(|| false));
            for db in 0..DBS {
                model.dbs[db] = model.live(db);
                assert_eq!(keys.records(db).len(), model.dbs[db].len());
            }
        }
    }
}

fn append(keys: &mut Keyspace, model: &mut Model, key: &[u8], value: &[u8]) {
    let db = keys.current();
    let before = model.get(db, key);
    match keys.entry(key) {
        Entry::Occupied(mut edit) => {
            assert_eq!(Some(content(edit.view())), before);
            string::append(&mut edit, value);
        }
        Entry::Vacant(vacant) => {
            assert_eq!(before, None);
            vacant.insert(NewValue::Raw(value), None);
        }
    }
    let (bytes, expire_at) = before.unwrap_or_default();
    model.dbs[db].insert(key.to_vec(), ([&bytes, value].concat(), expire_at));
    model.dirty += 1;
}

fn expect_transfer(
    model: &mut Model,
    (from_db, from): (usize, u8),
    (to_db, to): (usize, u8),
    replace: bool,
    is_move: bool,
    transfer: Transfer,
) {
    let (from, to) = (name(from), name(to));
    let same = (from_db, &from) == (to_db, &to);
    let Some(content) = model.get(from_db, &from) else {
        assert_eq!(transfer, Transfer::Missing);
        return;
    };
    if model.get(to_db, &to).is_some() && !replace {
        assert_eq!(transfer, Transfer::Occupied);
        return;
    }
    assert_eq!(transfer, Transfer::Done);
    if !same {
        model.dbs[to_db].insert(to, content);
        if is_move {
            model.dbs[from_db].remove(&from);
        }
        model.dirty += 1;
    }
}

/// Compares all of a database, without looking keys up: that would let them expire.
fn check_all(keys: &mut Keyspace, model: &Model) {
    for db in 0..DBS {
        keys.dbs[db].check();
        let live = model.live(db);
        let found: BTreeMap<Vec<u8>, Content> =
            keys.iter(db).map(|view| (view.key().to_vec(), content(view))).collect();
        assert_eq!(found, live);
    }
    let (mut cursor, mut scanned) = (0, BTreeSet::new());
    loop {
        cursor = keys.scan(cursor, |view| assert!(scanned.insert(view.key().to_vec())));
        if cursor == 0 {
            break;
        }
    }
    assert!(scanned.iter().eq(model.live(keys.current()).keys()));
    assert_eq!(keys.dirty, model.dirty);
}

proptest! {
    #[test]
    fn the_keyspace_is_a_map_whose_keys_expire(
        ops in proptest::collection::vec(op(), 1..250),
        probes in proptest::collection::vec(key(), 250),
    ) {
        let mut keys = Keyspace::new(DBS, 1, START);
        keys.set_now(START);
        let mut model = Model { dbs: Default::default(), now: START, dirty: 0 };
        for (step, (op, probe)) in ops.into_iter().zip(probes).enumerate() {
            apply(&mut keys, &mut model, op);
            if step % 20 == 0 {
                check_all(&mut keys, &model);
            }
            let (probe, db) = (name(probe), keys.current());
            let expected = model.get(db, &probe);
            prop_assert_eq!(keys.exists(&probe), expected.is_some());
            prop_assert_eq!(keys.read(&probe).map(content), expected);
        }
        check_all(&mut keys, &model);
        prop_assert_eq!(keys.expired, keys.expired_untold.len() as u64);
    }
}

fn text(bytes: &[u8]) -> NewValue<'_> {
    NewValue::Inline(Inline::Str, bytes)
}

fn keyspace() -> Keyspace {
    let mut keys = Keyspace::new(DBS, 1, START);
    keys.set_now(START);
    keys
}

#[test]
fn keys_expire_to_the_millisecond_and_are_told_once() {
    let mut keys = keyspace();
    keys.set(b"read", text(b"v"), Expiry::At(START + 10));
    keys.select(1);
    keys.set(b"unread", text(b"v"), Expiry::At(START + 10));
    assert_eq!(keys.next_expiry(), Some(START + 10));
    keys.set_now(START + 9);
    assert!(!keys.expire_due(|| false));
    assert!(keys.exists(b"unread"));
    keys.select(0);
    assert!(keys.exists(b"read"));
    keys.set_now(START + 10);
    assert!(!keys.exists(b"read"));
    assert_eq!(keys.records(1).len(), 1);
    assert!(!keys.expire_due(|| false));
    assert_eq!((keys.records(0).len(), keys.records(1).len()), (0, 0));
    assert_eq!(keys.expired, 2);
    let told: Vec<(usize, &[u8])> =
        keys.expired_untold.iter().map(|expired| (expired.db, &expired.key[..])).collect();
    assert_eq!(told, [(0, &b"read"[..]), (1, b"unread")]);
    assert_eq!((keys.next_expiry(), keys.current()), (None, 0));
}

#[test]
fn expiring_many_keys_can_be_interrupted() {
    let mut keys = keyspace();
    for n in 0..1000u32 {
        keys.set(&n.to_le_bytes(), text(b"v"), Expiry::At(START + 10));
    }
    keys.set_now(START + 10);
    let mut calls = 0;
    while keys.expire_due(|| true) {
        calls += 1;
        assert!(calls < 1000);
    }
    assert!(calls > 10, "{calls}");
    assert_eq!((keys.len(), keys.expired), (0, 1000));
}

#[test]
fn nothing_expires_while_expiry_is_off() {
    let mut keys = keyspace();
    keys.expiry_enabled = false;
    keys.set(b"key", text(b"v"), Expiry::At(5));
    assert!(keys.exists(b"key"));
    assert_eq!(keys.iter(0).count(), 1);
    assert!(keys.random(&mut crate::base::rng::Rng::from_seed(1)).is_some());
    keys.expiry_enabled = true;
    assert_eq!(keys.iter(0).count(), 0);
    assert!(!keys.exists(b"key"));
}

#[test]
fn large_values_are_freed_elsewhere() {
    let mut keys = keyspace();
    let large = vec![b'x'; 1 << 20];
    for key in [&b"removed"[..], b"replaced", b"expired", b"renamed over", b"copied over"] {
        let expiry = if key == b"expired" { Expiry::At(START + 1) } else { Expiry::Never };
        keys.set(key, text(&large), expiry);
    }
    keys.set(b"small", text(b"v"), Expiry::Never);
    assert!(keys.garbage.is_empty());
    keys.remove(b"removed");
    assert_eq!(keys.garbage.len(), 1);
    keys.set(b"replaced", text(b"v"), Expiry::Never);
    assert_eq!(keys.garbage.len(), 2);
    keys.set_now(START + 1);
    assert!(!keys.exists(b"expired"));
    assert_eq!(keys.garbage.len(), 3);
    keys.copy_to(b"small", 0, b"copied over", true);
    assert_eq!(keys.garbage.len(), 4);
    keys.rename(b"small", b"renamed over", true);
    assert_eq!(keys.garbage.len(), 5);
    keys.remove(b"replaced");
    assert_eq!(keys.garbage.len(), 5);
    keys.flush(0);
    assert_eq!(keys.garbage.iter().map(Garbage::count).sum::<usize>(), 7);
}

#[test]
fn a_long_string_is_written_into_the_memory_of_the_one_before() {
    let mut keys = keyspace();
    let address = |keys: &mut Keyspace| match keys.peek(b"key").unwrap().value() {
        Value::Object(Object::String(string)) => (string.as_ptr(), string.capacity()),
        _ => panic!("not a long string"),
    };
    keys.set(b"key", text(&[b'a'; 10_000]), Expiry::Never);
    let first = address(&mut keys);
    for len in [10_000, 9_999, 5_001] {
        keys.set(b"key", text(&vec![b'b'; len]), Expiry::Never);
        assert_eq!(content(keys.peek(b"key").unwrap()).0, vec![b'b'; len]);
        assert_eq!(address(&mut keys), first);
    }
    // Not if that would waste half of it.
    keys.set(b"key", text(&[b'c'; 4_000]), Expiry::Never);
    assert_eq!(address(&mut keys).1, 4_000);
}

#[test]
fn edits_mark_what_they_change() {
    let mut keys = keyspace();
    keys.set(b"key", text(b"v"), Expiry::Never);
    let dirty = keys.dirty;
    drop(keys.edit(b"key"));
    keys.edit(b"key").unwrap().set_expire_at(None);
    assert!(!keys.remove(b"nope"));
    assert_eq!(keys.dirty, dirty);
    keys.edit(b"key").unwrap().bytes_mut()[0] = b'w';
    assert_eq!(keys.dirty, dirty + 1);
    let mut edit = keys.edit(b"key").unwrap();
    edit.set_value(text(b"longer"));
    edit.remove();
    assert_eq!(keys.dirty, dirty + 2);
}

/// A step in the life of hashes whose fields expire, by database and numbers of keys.
#[derive(Clone, Debug)]
enum HashOp {
    /// Sets a field, and when it expires.
    Set(u8, u8, Option<i64>),
    Remove(u8, u8),
    /// The key's own expiry: its record moves in memory.
    Expire(u8, Option<i64>),
    Replace(u8),
    Rename(u8, u8),
    Copy(u8, usize, u8),
    Move(u8, usize),
    Delete(u8),
    Swap,
    Flush(usize),
    Select(usize),
    Pass(i64),
    ExpireDue,
}

fn hash_op() -> impl Strategy<Value = HashOp> {
    let (key, field) = (0u8..6, 0u8..5);
    let after = || proptest::option::weighted(0.8, 1i64..60);
    prop_oneof![
        10 => (key.clone(), field.clone(), after()).prop_map(|(k, f, ms)| HashOp::Set(k, f, ms)),
        2 => (key.clone(), field).prop_map(|(k, f)| HashOp::Remove(k, f)),
        2 => (key.clone(), after()).prop_map(|(k, ms)| HashOp::Expire(k, ms)),
        1 => key.clone().prop_map(HashOp::Replace),
        2 => (key.clone(), key.clone()).prop_map(|(from, to)| HashOp::Rename(from, to)),
        2 => (key.clone(), 0..DBS, key.clone()).prop_map(|(k, db, to)| HashOp::Copy(k, db, to)),
        2 => (key.clone(), 0..DBS).prop_map(|(k, db)| HashOp::Move(k, db)),
        1 => key.prop_map(HashOp::Delete),
        1 => Just(HashOp::Swap),
        1 => (0usize..30).prop_map(HashOp::Flush),
        2 => (0..DBS).prop_map(HashOp::Select),
        4 => (0i64..30).prop_map(HashOp::Pass),
        2 => Just(HashOp::ExpireDue),
    ]
}

/// When the fields of each hash expire, by field.
type Hashes = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Option<i64>>>;

struct HashModel {
    dbs: [Hashes; DBS],
    /// When the keys themselves expire.
    keys: [BTreeMap<Vec<u8>, i64>; DBS],
    now: i64,
}

impl HashModel {
    fn expire(&mut self) {
        let now = self.now;
        for (hashes, keys) in self.dbs.iter_mut().zip(&mut self.keys) {
            hashes.retain(|key, fields| {
                fields.retain(|_, at| at.is_none_or(|at| at > now));
                !fields.is_empty() && keys.get(key).is_none_or(|at| *at > now)
            });
            keys.retain(|key, _| hashes.contains_key(key));
        }
    }

    fn take(&mut self, db: usize, key: &[u8]) -> (BTreeMap<Vec<u8>, Option<i64>>, Option<i64>) {
        (self.dbs[db].remove(key).unwrap(), self.keys[db].remove(key))
    }

    fn put(&mut self, db: usize, key: &[u8], value: (BTreeMap<Vec<u8>, Option<i64>>, Option<i64>)) {
        self.dbs[db].insert(key.to_vec(), value.0);
        self.keys[db].remove(key);
        value.1.into_iter().for_each(|at| _ = self.keys[db].insert(key.to_vec(), at));
    }
}

fn apply_to_hashes(keys: &mut Keyspace, model: &mut HashModel, op: HashOp) {
    const LIMITS: hash::Limits = hash::Limits { entries: 3, value: 64 };
    let db = keys.current();
    let has = |model: &HashModel, db: usize, key: u8| model.dbs[db].contains_key(&name(key));
    match op {
        HashOp::Set(key, field, after) => {
            let (key, field) = (name(key), vec![field; field as usize + 1]);
            let at = after.map(|ms| model.now + ms);
            keys.expire_fields(&key, std::iter::once(&field[..]));
            let mut edit = keys.upsert(&key, NewValue::Inline(Inline::Hash, b""));
            hash::insert(&mut edit, &field, b"value", &LIMITS);
            hash::set_expire_at(&mut edit, &field, at);
            model.dbs[db].entry(key).or_default().insert(field, at);
        }
        HashOp::Remove(key, field) if has(model, db, key) => {
            let (key, field) = (name(key), vec![field; field as usize + 1]);
            keys.expire_fields(&key, std::iter::once(&field[..]));
            let mut edit = keys.edit(&key).unwrap();
            let removed = hash::remove(&mut edit, &field);
            assert_eq!(removed, model.dbs[db].get_mut(&key).unwrap().remove(&field).is_some());
            if hash::Hash::of(edit.value()).unwrap().is_empty() {
                edit.remove_emptied();
            }
        }
        HashOp::Expire(key, after) if has(model, db, key) => {
            let at = after.map(|ms| model.now + ms);
            keys.edit(&name(key)).unwrap().set_expire_at(at);
            model.keys[db].remove(&name(key));
            at.into_iter().for_each(|at| _ = model.keys[db].insert(name(key), at));
        }
        HashOp::Replace(key) if has(model, db, key) => {
            keys.edit(&name(key)).unwrap().set_value(NewValue::Inline(Inline::Hash, b"\x11f1"));
            let fields = BTreeMap::from([(b"f".to_vec(), None)]);
            model.dbs[db].insert(name(key), fields);
        }
        HashOp::Rename(from, to) if has(model, db, from) && from != to => {
            assert_eq!(keys.rename(&name(from), &name(to), true), Transfer::Done);
            let value = model.take(db, &name(from));
            model.put(db, &name(to), value);
        }
        HashOp::Copy(from, to_db, to) if has(model, db, from) && (db, from) != (to_db, to) => {
            assert_eq!(keys.copy_to(&name(from), to_db, &name(to), true), Transfer::Done);
            let value = model.take(db, &name(from));
            model.put(db, &name(from), value.clone());
            model.put(to_db, &name(to), value);
        }
        HashOp::Move(key, to) if has(model, db, key) && db != to && !has(model, to, key) => {
            assert_eq!(keys.move_to(&name(key), to), Transfer::Done);
            let value = model.take(db, &name(key));
            model.put(to, &name(key), value);
        }
        HashOp::Delete(key) => {
            assert_eq!(keys.remove(&name(key)), has(model, db, key));
            model.dbs[db].remove(&name(key));
        }
        HashOp::Swap => {
            keys.swap(0, 1);
            model.dbs.swap(0, 1);
            model.keys.swap(0, 1);
        }
        HashOp::Flush(db) if db < DBS => {
            keys.flush(db);
            model.dbs[db].clear();
        }
        HashOp::Select(db) => keys.select(db),
        HashOp::Pass(ms) => {
            model.now += ms;
            keys.set_now(model.now);
        }
        HashOp::ExpireDue => while keys.expire_due(|| true) {},
        _ => {}
    }
    model.expire();
}

proptest! {
    /// Fields go to the millisecond wherever their hash goes, and the next is always known.
    #[test]
    fn fields_expire_wherever_their_hash_goes(
        ops in proptest::collection::vec(hash_op(), 1..200),
    ) {
        let mut keys = keyspace();
        let mut model = HashModel { dbs: Default::default(), keys: Default::default(), now: START };
        for op in ops {
            apply_to_hashes(&mut keys, &mut model, op);
            let mut first = i64::MAX;
            for db in 0..DBS {
                keys.dbs[db].check();
                let found: Hashes = keys
                    .iter(db)
                    .map(|view| {
                        let hash = hash::Hash::of(view.value()).unwrap().at(model.now);
                        let times = hash.with_times().map(|((field, _), at)| (field.to_vec(), at));
                        (view.key().to_vec(), times.collect())
                    })
                    .collect();
                prop_assert_eq!(&found, &model.dbs[db]);
                let times = model.dbs[db].values().flat_map(|fields| fields.values().flatten());
                first = first.min(times.min().copied().unwrap_or(i64::MAX));
            }
            if first < i64::MAX {
                prop_assert!(keys.next_expiry().unwrap() <= first);
            }
        }
    }
}

#[test]
fn a_paused_expiry_hides_keys_and_keeps_them() {
    let mut keys = keyspace();
    for n in 0..50 {
        keys.set(format!("k{n}").as_bytes(), text(b"v"), Expiry::At(START + 10));
    }
    keys.expiry_paused = true;
    keys.set_now(START + 10);
    assert!(keys.peek(b"k1").is_none() && keys.view(b"k1").is_none());
    assert!(keys.is_overdue(0, b"k1") && !keys.is_overdue(0, b"other"));
    assert!(!keys.expire_due(|| false));
    assert_eq!(keys.next_expiry(), None);
    assert_eq!((keys.records(0).len(), keys.expired), (50, 0));
    // There is nothing else to draw.
    assert!(keys.random(&mut crate::base::rng::Rng::from_seed(1)).is_some());
    keys.expiry_paused = false;
    while keys.expire_due(|| false) {}
    assert_eq!((keys.records(0).len(), keys.expired), (0, 50));
}
