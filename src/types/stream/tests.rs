//! The log against a plain list, and groups against plain maps.

use super::*;
use crate::base::rng::Rng;
use proptest::prelude::*;
use std::collections::BTreeSet;

const CASES: u32 = if cfg!(miri) { 8 } else { 256 };

type Fields = Vec<(Vec<u8>, Vec<u8>)>;
type Model = BTreeMap<StreamId, Fields>;

const LIMITS: Limits = Limits { bytes: 4096, entries: 100 };

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn append(log: &mut Log, id: StreamId, fields: &Fields, limits: &Limits) {
    let pairs = fields.iter().map(|(name, value)| (&name[..], &value[..]));
    let size = payload(pairs.clone()).unwrap();
    log.append(id, pairs, size, limits);
}

fn fields(entry: Entry<'_>) -> (StreamId, Fields) {
    let pairs = entry.pairs().map(|(name, value)| (name.to_vec(), value.to_vec()));
    (entry.id, pairs.collect())
}

/// A log of entries 1-0, 2-0 and so on with the same small fields.
fn numbered(count: u64, limits: &Limits) -> Log {
    let mut log = Log::default();
    for n in 1..=count {
        let fields = vec![(b"f".to_vec(), n.to_string().into_bytes())];
        append(&mut log, id(n, 0), &fields, limits);
    }
    log
}

fn ids(log: &Log) -> Vec<StreamId> {
    log.iter().map(|entry| entry.id).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Add { ms: u64, seq: u64, fields: Fields },
    Delete(usize),
    Trim(Trim),
}

/// For 64 bits.
const TOO_LARGE: &[u8] = b"12345678901234567890";

fn name_or_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![&b"temperature"[..], b"sensor", b"a", b""])
            .prop_map(<[u8]>::to_vec),
        3 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => (-5000i64..5000).prop_map(|n| n.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => prop::sample::select(vec![&b"-"[..], b"-0", b"007", b"+7", b"1.0", TOO_LARGE])
            .prop_map(<[u8]>::to_vec),
    ]
}

fn some_fields() -> impl Strategy<Value = Fields> {
    let usual = name_or_value().prop_map(|value| vec![(b"sensor".to_vec(), value)]);
    let any = prop::collection::vec((name_or_value(), name_or_value()), 1..6);
    prop_oneof![2 => usual, 1 => any]
}

/// How far an ID is from the one before: usually little, sometimes beyond all bounds.
fn step_size() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..3, 1 => 0u64..100_000, 1 => any::<u64>()]
}

fn trim() -> impl Strategy<Value = Trim> {
    let to = prop_oneof![
        (0u64..60).prop_map(TrimTo::Len),
        (0u64..60).prop_map(|ms| TrimTo::Id(id(ms, 1))),
    ];
    (to, any::<bool>(), prop::option::of(0u64..40)).prop_map(|(to, approximate, limit)| Trim {
        to,
        approximate,
        limit,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let add = (step_size(), step_size(), some_fields()).prop_map(|(ms, seq, fields)| Step::Add {
        ms,
        seq,
        fields,
    });
    let delete = any::<prop::sample::Index>().prop_map(|index| Step::Delete(index.index(1 << 20)));
    prop::collection::vec(
        prop_oneof![12 => add, 4 => delete, 1 => trim().prop_map(Step::Trim)],
        1..150,
    )
}

/// The ID that is so much greater than the last one, if there is such an ID.
fn above(last: StreamId, ms: u64, seq: u64) -> Option<StreamId> {
    let seq = if ms == 0 { last.seq.checked_add(seq)?.checked_add(1)? } else { seq };
    Some(id(last.ms.checked_add(ms)?, seq))
}

fn trim_both(log: &mut Log, model: &mut Model, trim: &Trim) {
    let doomed: Vec<StreamId> = match trim.to {
        TrimTo::Len(max) => {
            model.keys().take(model.len().saturating_sub(max as usize)).copied().collect()
        }
        TrimTo::Id(min) => model.range(..min).map(|(id, _)| *id).collect(),
    };
    let removed = log.trim(trim) as usize;
    if !trim.approximate && trim.limit.is_none() {
        assert_eq!(removed, doomed.len());
    }
    assert!(removed <= doomed.len());
    assert!(trim.limit.is_none_or(|limit| removed as u64 <= limit || !trim.approximate));
    doomed.iter().take(removed).for_each(|id| _ = model.remove(id));
}

fn check(log: &Log, model: &Model) {
    assert_eq!(log.len(), model.len() as u64);
    let all: Model = log.iter().map(fields).collect();
    assert_eq!(&all, model);
    let back: Vec<StreamId> = log.range_back(StreamId::MIN, StreamId::MAX).map(|e| e.id).collect();
    assert!(back.iter().eq(model.keys().rev()));
    assert_eq!(log.first_id(), model.keys().next().copied().unwrap_or_default());
    assert_eq!(log.top_id(), model.keys().next_back().copied().unwrap_or_default());
}

fn check_range(log: &Log, model: &Model, start: StreamId, end: StreamId) {
    let expected: Vec<StreamId> =
        model.keys().copied().filter(|id| (start..=end).contains(id)).collect();
    let range: Vec<StreamId> = log.range(start, end).map(|entry| entry.id).collect();
    assert_eq!(range, expected);
    let mut back: Vec<StreamId> = log.range_back(start, end).map(|entry| entry.id).collect();
    back.reverse();
    assert_eq!(back, expected);
    assert_eq!(log.get(start).is_some(), model.contains_key(&start));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn agrees_with_a_map(
        steps in steps(),
        bytes in prop::sample::select(vec![0usize, 1, 100, 400, 4096]),
        entries in 0u64..12,
        seed: u64,
    ) {
        let limits = Limits { bytes, entries };
        let (mut log, mut model, mut added) = (Log::default(), Model::new(), 0);
        let (mut rng, mut seen) = (Rng::from_seed(seed), vec![StreamId::MIN, StreamId::MAX]);
        for step in steps {
            match step {
                Step::Add { ms, seq, fields } => {
                    let Some(new) = above(log.last_id(), ms, seq) else { continue };
                    assert_eq!(log.next_id(NewId::Given(new), 0), Ok(new));
                    append(&mut log, new, &fields, &limits);
                    model.insert(new, fields);
                    seen.push(new);
                    added += 1;
                }
                Step::Delete(index) => {
                    let doomed = seen[index % seen.len()];
                    assert_eq!(log.delete(doomed), model.remove(&doomed).is_some());
                }
                Step::Trim(trim) => trim_both(&mut log, &mut model, &trim),
            }
            let (start, end) = (seen[rng.index(seen.len())], seen[rng.index(seen.len())]);
            check_range(&log, &model, start, end);
        }
        check(&log, &model);
        check(&log.clone(), &model);
        assert_eq!(log.entries_added(), added);
    }

    #[test]
    fn groups_agree_with_a_map(steps in prop::collection::vec((0u8..4, 0u64..20, 0u8..4), 1..200)) {
        let mut group = Group::default();
        let mut model: BTreeMap<StreamId, (u8, i64)> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for (time, (what, ms, name)) in steps.into_iter().enumerate() {
            let entry = id(ms, 0);
            match what {
                0 | 1 => {
                    let consumer = group.consumer_id(&[name]);
                    assert_eq!(consumer.is_some(), names.contains(&name));
                    let consumer = consumer.unwrap_or_else(|| group.create_consumer(&[name], 0));
                    names.insert(name);
                    let delivered_ms = time as i64;
                    group.assign(entry, Pending { consumer, delivered_ms, deliveries: 1 });
                    model.insert(entry, (name, delivered_ms));
                }
                2 => assert_eq!(group.forget(entry), model.remove(&entry).is_some()),
                _ => {
                    let count = model.values().filter(|(owner, _)| *owner == name).count();
                    let expected = names.remove(&name).then_some(count);
                    assert_eq!(group.delete_consumer(&[name]), expected);
                    model.retain(|_, (owner, _)| *owner != name);
                }
            }
            let owner = |pending: Pending| group.consumer(pending.consumer).name[0];
            let all = group.pending_range(StreamId::MIN, None);
            let all: Vec<_> = all.map(|(id, p)| (id, (owner(p), p.delivered_ms))).collect();
            assert!(all.iter().copied().eq(model.iter().map(|(id, pending)| (*id, *pending))));
            assert_eq!(group.pending_len(), model.len());
            for &name in &names {
                let consumer = group.consumer_id(&[name]).unwrap();
                let of_one = group.pending_range(id(5, 0), Some(consumer)).map(|(id, _)| id);
                let expected = model.iter().filter(|(id, (owner, _))| *owner == name && id.ms >= 5);
                assert!(of_one.eq(expected.map(|(id, _)| *id)));
            }
            assert!(group.consumers().map(|(_, c)| c.name[0]).eq(names.iter().copied()));
        }
    }
}

#[test]
fn new_ids_follow_the_clock_and_never_go_back() {
    let mut log = numbered(5, &LIMITS);
    assert_eq!(log.next_id(NewId::Auto, 9), Ok(id(9, 0)));
    assert_eq!(log.next_id(NewId::Auto, 5), Ok(id(5, 1)));
    assert_eq!(log.next_id(NewId::Auto, 1), Ok(id(5, 1)));
    assert_eq!(log.next_id(NewId::AutoSeq(5), 9), Ok(id(5, 1)));
    assert_eq!(log.next_id(NewId::AutoSeq(6), 9), Ok(id(6, 0)));
    assert_eq!(log.next_id(NewId::AutoSeq(4), 9), Err(NoId::NotAboveLast));
    assert_eq!(log.next_id(NewId::Given(id(5, 0)), 9), Err(NoId::NotAboveLast));
    log.set_last_id(id(7, u64::MAX));
    assert_eq!(log.next_id(NewId::Auto, 1), Ok(id(8, 0)));
    assert_eq!(log.next_id(NewId::AutoSeq(7), 1), Err(NoId::NotAboveLast));
    log.set_last_id(StreamId::MAX);
    assert_eq!(log.next_id(NewId::Auto, u64::MAX), Err(NoId::Exhausted));
    assert_eq!(log.next_id(NewId::Given(StreamId::MAX), 0), Err(NoId::Exhausted));
    assert_eq!(Log::default().next_id(NewId::AutoSeq(0), 0), Ok(id(0, 1)));
    assert_eq!(Log::default().next_id(NewId::Given(StreamId::MIN), 0), Err(NoId::NotAboveLast));
}

#[test]
fn approximate_trimming_removes_whole_nodes() {
    let trim = |to, limit| Trim { to, approximate: true, limit };
    let mut log = numbered(1000, &LIMITS);
    assert_eq!(log.nodes(), 10);
    assert_eq!(log.trim(&trim(TrimTo::Len(901), None)), 0);
    assert_eq!(log.trim(&trim(TrimTo::Len(850), None)), 100);
    assert_eq!(log.trim(&trim(TrimTo::Len(0), Some(99))), 0);
    assert_eq!(log.trim(&trim(TrimTo::Len(0), Some(250))), 200);
    assert_eq!(log.trim(&trim(TrimTo::Id(id(400, 0)), None)), 0);
    assert_eq!(log.trim(&trim(TrimTo::Id(id(401, 0)), None)), 100);
    assert_eq!((log.len(), log.first_id()), (600, id(401, 0)));
    // A node ends where its last entry was, deleted or not.
    assert!(log.delete(id(500, 0)));
    assert_eq!(log.trim(&trim(TrimTo::Id(id(500, 0)), None)), 0);
    assert_eq!(log.trim(&trim(TrimTo::Id(id(501, 0)), None)), 99);
    assert_eq!(log.trim(&trim(TrimTo::Len(0), None)), 500);
    assert_eq!((log.len(), log.nodes(), log.top_id()), (0, 0, StreamId::MIN));
    assert_eq!((log.last_id(), log.entries_added()), (id(1000, 0), 1000));
}

#[test]
fn deleted_entries_count_for_a_nodes_limit() {
    let mut log = numbered(60, &LIMITS);
    (1..60).for_each(|ms| assert!(log.delete(id(ms, 0))));
    for ms in 61..=140 {
        append(&mut log, id(ms, 0), &vec![(b"f".to_vec(), b"v".to_vec())], &LIMITS);
    }
    assert_eq!(log.nodes(), 2);
    assert_eq!(log.range(id(101, 0), StreamId::MAX).count(), 40);
    (60..=140).for_each(|ms| assert!(log.delete(id(ms, 0))));
    assert_eq!((log.nodes(), log.max_deleted_id(), ids(&log)), (0, id(140, 0), vec![]));
}

#[test]
fn an_id_set_back_leaves_room_for_new_entries() {
    let mut log = numbered(10, &LIMITS);
    let trim = Trim { to: TrimTo::Id(id(10, 0)), approximate: false, limit: None };
    assert!(log.delete(id(10, 0)));
    assert_eq!(log.trim(&trim), 9);
    log.set_max_deleted_id(id(1, 0));
    log.set_last_id(id(1, 0));
    append(&mut log, id(2, 5), &vec![(b"f".to_vec(), b"v".to_vec())], &LIMITS);
    assert_eq!((ids(&log), log.first_id(), log.top_id()), (vec![id(2, 5)], id(2, 5), id(2, 5)));
}

#[test]
fn what_was_read_is_known_where_nothing_is_missing() {
    let mut stream = Stream { log: numbered(10, &LIMITS), ..Stream::default() };
    let lag = |stream: &Stream, last, read| stream.lag(&Group::new(id(last, 0), read));
    assert_eq!(Stream::default().lag(&Group::new(id(5, 0), None)), Some(0));
    assert_eq!(lag(&stream, 0, None), Some(10));
    assert_eq!(lag(&stream, 1, None), Some(9));
    assert_eq!(lag(&stream, 4, None), None);
    assert_eq!(lag(&stream, 4, Some(4)), Some(6));
    assert_eq!(lag(&stream, 10, None), Some(0));
    assert_eq!(lag(&stream, 11, None), None);
    assert_eq!(lag(&stream, 4, Some(i64::MAX)), Some(10 - i64::MAX));
    // What is missing matters to those who have not passed it.
    stream.log.delete(id(6, 0));
    assert_eq!(lag(&stream, 4, Some(4)), None);
    assert_eq!(lag(&stream, 7, Some(7)), Some(3));
    assert_eq!(lag(&stream, 0, None), None);
    stream.log.trim(&Trim { to: TrimTo::Len(2), approximate: false, limit: None });
    assert_eq!(lag(&stream, 0, None), Some(2));
    stream.log.trim(&Trim { to: TrimTo::Len(0), approximate: false, limit: None });
    assert_eq!(lag(&stream, 0, None), Some(0));
}

#[test]
fn a_million_small_entries_take_little_memory() {
    let mut log = Log::default();
    let count = if cfg!(miri) { 300u64 } else { 100_000 };
    for n in 0..count {
        let fields = vec![
            (b"sensor".to_vec(), format!("id-{}", n % 1000).into_bytes()),
            (b"temperature".to_vec(), (n % 100_000).to_string().into_bytes()),
        ];
        append(&mut log, id(1_700_000_000_000 + n / 3, n % 3), &fields, &LIMITS);
    }
    let bytes = log.memory(0) as f64 / count as f64;
    assert!(bytes < 20.0, "{bytes} bytes an entry");
}
