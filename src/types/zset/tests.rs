//! Both encodings through the one interface, against a simple model.

use super::*;
use crate::base::rng::Rng;
use crate::types::Loose;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Miri is slow, and looks at what is done rather than how often.
const CASES: u32 = if cfg!(miri) { 3 } else { 128 };
const MANY: usize = if cfg!(miri) { 300 } else { 20_000 };

const NEVER_PACKED: Limits = Limits { entries: 0, value: 64 };
const ALWAYS_PACKED: Limits = Limits { entries: 1000, value: 1000 };

type Model = BTreeMap<Vec<u8>, f64>;

fn empty() -> Loose {
    Loose::Inline(Inline::Zset, Vec::new())
}

fn zset(slot: &Loose) -> Zset<'_> {
    Zset::of(slot.value()).unwrap()
}

fn name(n: usize) -> Vec<u8> {
    format!("member:{n}").into_bytes()
}

/// The model's elements in their order, by the comparison of doubles itself.
fn in_order(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(member, &score)| (member.clone(), score)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    all
}

fn owned<'a>(elements: impl Iterator<Item = Element<'a>>) -> Vec<(Vec<u8>, f64)> {
    elements.map(|(member, score)| (member.to_vec(), score)).collect()
}

/// All that can be asked of a set.
fn compare(slot: &Loose, model: &Model, probes: &[f64]) {
    let zset = zset(slot);
    let all = in_order(model);
    assert_eq!(zset.len(), all.len());
    assert_eq!(zset.is_empty(), all.is_empty());
    assert_eq!(owned(zset.iter()), all);
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(owned(zset.iter().rev()), reversed);
    for (rank, (member, score)) in all.iter().enumerate() {
        assert_eq!(zset.rank(member), Some((rank, *score)));
        assert_eq!(zset.score(member).map(f64::to_bits), Some(score.to_bits()));
    }
    for member in (0..5).map(|n| format!("missing:{n}").into_bytes()) {
        assert_eq!(zset.rank(&member), None);
    }
    let below = |score: f64| all.iter().filter(|(_, other)| *other < score).count();
    let not_above = |score: f64| all.iter().filter(|(_, other)| *other <= score).count();
    for &score in probes {
        assert_eq!(zset.position(&Point::before_score(score)), below(score));
        assert_eq!(zset.position(&Point::behind_score(score)), not_above(score));
        let min = -score;
        let expected: Vec<_> =
            all.iter().filter(|(_, other)| (min..=score).contains(other)).cloned().collect();
        assert_eq!(owned(zset.range_by_score(min, score)), expected);
    }
    assert_eq!(zset.position(&Point::start()), 0);
    assert_eq!(zset.position(&Point::end()), all.len());
    for start in [0, all.len() / 3, all.len() * 2 / 3, all.len()] {
        for len in [0, 1, 61, 62, 63, 200, usize::MAX - start] {
            let expected: Vec<_> = all.iter().skip(start).take(len).cloned().collect();
            assert_eq!(owned(zset.range(start..start + len)), expected);
            let reversed: Vec<_> = expected.into_iter().rev().collect();
            assert_eq!(owned(zset.range(start..start + len).rev()), reversed);
        }
        // From both ends until they meet.
        let (mut iter, mut met) = (zset.range(start..all.len()), start..all.len());
        while let Some(rank) = met.next() {
            assert_eq!(iter.next().map(|e| e.0), Some(&all[rank].0[..]));
            assert_eq!(iter.len(), met.len());
            let last = met.next_back().map(|rank| &all[rank].0[..]);
            assert_eq!(iter.next_back().map(|e| e.0), last);
        }
        assert_eq!((iter.next(), iter.next_back()), (None, None));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert {
        member: usize,
        score: f64,
    },
    /// A run of members with scores that go up or down in small steps.
    Run {
        first: usize,
        score: f64,
        step: f64,
        count: usize,
    },
    Remove {
        member: usize,
    },
    RemoveRange {
        start: usize,
        count: usize,
    },
}

/// Few and many different scores, at all distances.
fn scores() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-5i32..5).prop_map(f64::from),
        2 => (0u32..1_000_000).prop_map(f64::from),
        2 => any::<f64>().prop_filter("no score", |score| !score.is_nan()),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324,
        ]),
    ]
}

fn steps(members: usize, count: usize) -> impl Strategy<Value = Vec<Step>> {
    let insert = (0..members, scores()).prop_map(|(member, score)| Step::Insert { member, score });
    let run =
        (0..members, scores(), -2i32..=2, 1..count).prop_map(|(first, score, step, count)| {
            Step::Run { first, score, step: step.into(), count }
        });
    let remove = (0..members).prop_map(|member| Step::Remove { member });
    let range =
        (0..members, 0..count).prop_map(|(start, count)| Step::RemoveRange { start, count });
    prop::collection::vec(prop_oneof![8 => insert, 2 => run, 4 => remove, 1 => range], 1..100)
}

fn check_insert(slot: &mut Loose, model: &mut Model, limits: &Limits, name: &[u8], score: f64) {
    let old = model.get(name).copied();
    let change = insert(slot, name, score, limits);
    assert_eq!(change, Change { old, new: Some(score) });
    assert_eq!(change.is_new(), old.is_none());
    assert_eq!(change.is_update(), old.is_some_and(|old| old != score));
    if old != Some(score) {
        // The sign of a zero is lost where the set is packed.
        let is_packed = matches!(slot, Loose::Inline(..));
        model.insert(name.to_vec(), if is_packed { score + 0.0 } else { score });
    }
}

fn apply(slot: &mut Loose, model: &mut Model, limits: &Limits, step: Step) {
    match step {
        Step::Insert { member, score } => {
            check_insert(slot, model, limits, &name(member), score);
        }
        Step::Run { first, score, step, count } => {
            for n in 0..count {
                let score = score + step * n as f64;
                check_insert(slot, model, limits, &name(first + n), score);
            }
        }
        Step::Remove { member } => {
            let name = name(member);
            assert_eq!(remove(slot, &name), model.remove(&name));
        }
        Step::RemoveRange { start, count } => {
            let all = in_order(model);
            let end = start.saturating_add(count).min(all.len());
            let start = start.min(end);
            remove_range(slot, start..end);
            all[start..end].iter().for_each(|(member, _)| _ = model.remove(member));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_packed_set_agrees_with_the_model(steps in steps(60, 20)) {
        let (mut slot, mut model) = (empty(), Model::new());
        for step in steps {
            apply(&mut slot, &mut model, &ALWAYS_PACKED, step);
            prop_assert!(matches!(slot, Loose::Inline(..)));
        }
        compare(&slot, &model, &[0.0, -0.0, 1.0, 4.0, 1000.0, f64::INFINITY]);
    }

    #[test]
    fn a_large_set_agrees_with_the_model(steps in steps(2000, 400)) {
        let (mut slot, mut model) = (empty(), Model::new());
        for step in steps {
            apply(&mut slot, &mut model, &NEVER_PACKED, step);
            if let Loose::Object(Object::Zset(sorted)) = &slot {
                sorted.check();
            }
        }
        compare(&slot, &model, &[0.0, -0.0, 1.0, 4.0, 1000.0, f64::INFINITY]);
        let copy = slot.clone();
        drop(slot);
        compare(&copy, &model, &[]);
    }

    #[test]
    fn its_name_follows_the_limits(
        steps in steps(40, 10),
        entries in 0usize..40,
        value in 7usize..10,
    ) {
        let limits = Limits { entries, value };
        let (mut slot, mut model) = (empty(), Model::new());
        let mut is_skiplist = false;
        for step in steps {
            let step = match step {
                Step::Run { .. } => continue,
                step => step,
            };
            if let Step::Insert { member, .. } = &step {
                let is_new = !model.contains_key(&name(*member));
                is_skiplist |= is_new && (model.len() >= entries || name(*member).len() > value);
            }
            apply(&mut slot, &mut model, &limits, step);
            let expected = if is_skiplist { "skiplist" } else { "listpack" };
            prop_assert_eq!(zset(&slot).encoding_name(), expected);
        }
        compare(&slot, &model, &[1.0]);
    }

    /// Members alone decide where all scores are equal.
    #[test]
    fn points_between_members(
        members in prop::collection::btree_set(prop::collection::vec(b'a'..b'e', 0..6), 0..300),
        probe in prop::collection::vec(b'a'..b'e', 0..6),
        packed: bool,
    ) {
        let mut slot = empty();
        let limits = if packed { &ALWAYS_PACKED } else { &NEVER_PACKED };
        for member in &members {
            insert(&mut slot, member, 0.0, limits);
        }
        let below = members.iter().filter(|member| **member < probe).count();
        let not_above = members.iter().filter(|member| **member <= probe).count();
        let zset = zset(&slot);
        prop_assert_eq!(zset.position(&Point::before_member(&probe)), below);
        prop_assert_eq!(zset.position(&Point::behind_member(&probe)), not_above);
        let ranks = zset.ranks(&Point::behind_member(&probe), &Point::before_member(&probe));
        prop_assert!(ranks.is_empty());
    }

    /// Members that stay are seen, whatever else comes and goes.
    #[test]
    fn a_scan_sees_all_that_stays(
        stays in 0usize..600,
        changes in prop::collection::vec((any::<bool>(), 0usize..300), 0..40),
    ) {
        let limits = Limits { entries: 128, value: 64 };
        let mut slot = empty();
        for n in 0..stays {
            insert(&mut slot, &name(n), n as f64, &limits);
        }
        let mut seen = BTreeSet::new();
        let mut extra = stays..stays;
        let (mut cursor, mut changes) = (0, changes.into_iter());
        loop {
            cursor = zset(&slot).scan(cursor, |(member, _)| _ = seen.insert(member.to_vec()));
            if cursor == 0 {
                break;
            }
            match changes.next() {
                Some((true, count)) => for _ in 0..count {
                    insert(&mut slot, &name(extra.end), 1.0, &limits);
                    extra.end += 1;
                },
                Some((false, count)) => for n in extra.by_ref().take(count) {
                    prop_assert!(remove(&mut slot, &name(n)).is_some());
                },
                None => {}
            }
        }
        for n in 0..stays {
            prop_assert!(seen.contains(&name(n)), "{} was not seen", n);
        }
    }
}

/// A large set of members `name(0)` to `name(len - 1)`.
fn large(len: usize, score: impl Fn(usize) -> f64) -> Loose {
    let mut slot = empty();
    for n in 0..len {
        insert(&mut slot, &name(n), score(n), &NEVER_PACKED);
    }
    slot
}

fn sorted(slot: &Loose) -> &Sorted {
    let Loose::Object(Object::Zset(sorted)) = slot else { panic!("not a large sorted set") };
    sorted
}

#[test]
fn nodes_are_nearly_full_where_scores_only_rise_or_only_fall() {
    for sign in [1.0, -1.0] {
        let slot = large(MANY, |n| sign * n as f64);
        let elements = owned(zset(&slot).iter());
        assert!(elements.is_sorted_by(|a, b| a.1 < b.1));
        let bytes = sorted(&slot).tree_memory() as f64 / MANY as f64;
        // 8 bytes an element and 16 a leaf of 62, and the nodes above.
        assert!(cfg!(miri) || bytes < 9.5, "{bytes} bytes an element");
    }
}

#[test]
fn leaves_are_well_filled_where_scores_are_random() {
    let mut rng = Rng::from_seed(1);
    let random: Vec<f64> = (0..MANY).map(|_| rng.below(1 << 40) as f64).collect();
    let slot = large(MANY, |n| random[n]);
    let bytes = sorted(&slot).tree_memory() as f64 / MANY as f64;
    assert!(cfg!(miri) || bytes < 12.5, "{bytes} bytes an element");
}

#[test]
fn memory_follows_the_elements() {
    let mut slot = large(MANY, |n| (n * 7919 % 10_007) as f64);
    let before = sorted(&slot).memory(0);
    let mut rng = Rng::from_seed(2);
    let mut len = MANY;
    while len > MANY / 20 {
        let rank = rng.index(len);
        remove_range(&mut slot, rank..rank + 1);
        len -= 1;
    }
    let after = sorted(&slot).memory(0);
    assert!(after < before / 8, "{after} of {before} bytes for a twentieth of the elements");
    remove_range(&mut slot, 0..len);
    assert!(zset(&slot).is_empty());
    insert(&mut slot, b"again", 1.0, &NEVER_PACKED);
    assert_eq!(zset(&slot).rank(b"again"), Some((0, 1.0)));
}

#[test]
fn a_set_too_large_for_a_record_keeps_the_name_that_the_limits_give_it() {
    let limits = Limits { entries: 128, value: 64 };
    let mut slot = empty();
    let long = |n: usize| format!("{n:064}").into_bytes();
    for n in 0..128 {
        insert(&mut slot, &long(n), n as f64, &limits);
        assert_eq!(zset(&slot).encoding_name(), "listpack", "{n}");
    }
    assert!(matches!(slot, Loose::Object(_)));
    remove(&mut slot, &long(0));
    insert(&mut slot, &long(0), 0.5, &limits);
    assert_eq!(zset(&slot).encoding_name(), "listpack");
    let mut other = slot.clone();
    insert(&mut slot, &long(128), 0.5, &limits);
    assert_eq!(zset(&slot).encoding_name(), "skiplist");
    remove(&mut other, &long(0));
    insert(&mut other, &[b'x'; 65], 0.5, &limits);
    assert_eq!(zset(&other).encoding_name(), "skiplist");
}

#[test]
fn a_record_never_holds_more_than_its_share() {
    let limits = Limits { entries: usize::MAX, value: usize::MAX };
    let mut slot = empty();
    for n in 0..2000 {
        insert(&mut slot, &name(n), 1e100, &limits);
        if let Loose::Inline(_, bytes) = &slot {
            assert!(bytes.len() <= PACKED_BYTES);
        }
    }
    assert_eq!((zset(&slot).len(), zset(&slot).encoding_name()), (2000, "listpack"));
}

#[test]
fn draws_and_samples_are_fair() {
    for limits in [&ALWAYS_PACKED, &NEVER_PACKED] {
        let mut slot = empty();
        (0..100).for_each(|n| _ = insert(&mut slot, &[n], n.into(), limits));
        let mut rng = Rng::from_seed(3);
        let rounds: u32 = if cfg!(miri) { 20 } else { 2000 };
        for count in [10, 60] {
            let mut counts = [[0u32; 100]; 3];
            for _ in 0..rounds {
                let mut different = BTreeSet::new();
                zset(&slot).sample(count, &mut rng, |(member, score)| {
                    assert_eq!(score, f64::from(member[0]));
                    assert!(different.insert(member[0]));
                    counts[0][member[0] as usize] += 1;
                });
                assert_eq!(different.len(), count);
                let mut drawn = 0;
                _ = zset(&slot).draw(count as u64, &mut rng, |(member, _)| {
                    counts[1][member[0] as usize] += 1;
                    drawn += 1;
                    ControlFlow::Continue(())
                });
                assert_eq!(drawn, count);
                for _ in 0..count {
                    counts[2][zset(&slot).random(&mut rng).unwrap().0[0] as usize] += 1;
                }
            }
            let expected = rounds as f64 * count as f64 / 100.0;
            for count in counts.into_iter().flatten() {
                // Seven standard deviations of the least even case.
                let off = (f64::from(count) - expected).abs();
                assert!(off < 7.0 * expected.sqrt(), "{count} instead of {expected}");
            }
        }
        let mut all = 0;
        zset(&slot).sample(1000, &mut rng, |_| all += 1);
        assert_eq!(all, 100);
    }
    _ = zset(&empty()).draw(5, &mut Rng::from_seed(3), |_| panic!("nothing is there"));
    assert_eq!(zset(&empty()).random(&mut Rng::from_seed(3)), None);
}

#[test]
fn a_large_set_can_be_freed_by_another_thread() {
    let slot = large(1000, |n| n as f64);
    std::thread::spawn(move || assert_eq!(zset(&slot).iter().count(), 1000)).join().unwrap();
}
