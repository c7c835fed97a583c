//! Both encodings through the one interface, against simple models.

use super::*;
use crate::base::rng::Rng;
use crate::types::Loose;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Miri is slow, and looks at what is done rather than how often.
const CASES: u32 = if cfg!(miri) { 8 } else { 512 };

const NEVER_PACKED: Limits = Limits { entries: 0, value: 64 };
const ALWAYS_PACKED: Limits = Limits { entries: 1000, value: 1000 };

fn empty() -> Loose {
    Loose::Inline(Inline::Hash, Vec::new())
}

fn hash(slot: &Loose) -> Hash<'_> {
    Hash::of(slot.value()).unwrap()
}

fn name(n: usize) -> Vec<u8> {
    format!("field:{n}").into_bytes()
}

/// A hash of the fields `name(0)` to `name(len - 1)`, each with its own number as value.
fn numbered(len: usize, limits: &Limits) -> Loose {
    let mut slot = empty();
    for n in 0..len {
        assert!(insert(&mut slot, &name(n), n.to_string().as_bytes(), limits));
    }
    slot
}

#[derive(Clone, Debug)]
enum Step {
    Insert { field: usize, len: usize },
    Remove { field: usize },
}

fn steps(fields: usize, max_len: usize) -> impl Strategy<Value = Vec<Step>> {
    let insert = (0..fields, 0..max_len).prop_map(|(field, len)| Step::Insert { field, len });
    let remove = (0..fields).prop_map(|field| Step::Remove { field });
    prop::collection::vec(prop_oneof![2 => insert, 1 => remove], 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// The model keeps the order too, which a packed hash does.
    #[test]
    fn agrees_with_a_list_of_pairs(
        steps in steps(24, 40),
        entries in 0usize..24,
        value in 8usize..50,
    ) {
        let limits = Limits { entries, value };
        let mut slot = empty();
        let mut model: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut is_table = false;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert { field, len } => {
                    let (field, bytes) = (name(field), vec![number as u8; len]);
                    let known = model.iter_mut().find(|pair| pair.0 == field);
                    let is_new = insert(&mut slot, &field, &bytes, &limits);
                    prop_assert_eq!(is_new, known.is_none());
                    is_table |= field.len().max(len) > value;
                    match known {
                        Some(pair) => pair.1 = bytes,
                        None => model.push((field, bytes)),
                    }
                    is_table |= model.len() > entries;
                }
                Step::Remove { field } => {
                    let at = model.iter().position(|pair| pair.0 == name(field));
                    prop_assert_eq!(remove(&mut slot, &name(field)), at.is_some());
                    at.map(|at| model.remove(at));
                }
            }
            let hash = hash(&slot);
            prop_assert_eq!(hash.encoding_name(), if is_table { "hashtable" } else { "listpack" });
            prop_assert_eq!(hash.len(), model.len());
            prop_assert_eq!(hash.is_empty(), model.is_empty());
        }
        let found: Vec<_> = hash(&slot).iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
        if is_table {
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(),
                model.iter().cloned().collect::<BTreeSet<_>>());
        } else {
            prop_assert_eq!(&found, &model);
        }
        let model: BTreeMap<_, _> = model.into_iter().collect();
        for field in (0..30).map(name) {
            prop_assert_eq!(hash(&slot).get(&field), model.get(&field).map(Vec::as_slice));
        }
    }

    /// Fields that stay are seen, whatever else comes and goes, also when the hash is converted
    /// in between.
    #[test]
    fn a_scan_sees_all_that_stays(
        stays in 0usize..600,
        entries in 0usize..700,
        changes in prop::collection::vec((any::<bool>(), 0usize..300), 0..40),
    ) {
        let limits = Limits { entries, value: 64 };
        let mut slot = numbered(stays, &limits);
        let mut seen = BTreeSet::new();
        let mut extra = stays..stays;
        let mut cursor = 0;
        let mut changes = changes.into_iter();
        loop {
            cursor = hash(&slot).scan(cursor, |(field, _)| _ = seen.insert(field.to_vec()));
            if cursor == 0 {
                break;
            }
            match changes.next() {
                Some((true, count)) => for _ in 0..count {
                    insert(&mut slot, &name(extra.end), b"", &limits);
                    extra.end += 1;
                },
                Some((false, count)) => for n in extra.by_ref().take(count) {
                    remove(&mut slot, &name(n));
                },
                None => {}
            }
        }
        for n in 0..stays {
            prop_assert!(seen.contains(&name(n)), "{n} was not seen");
        }
    }

    #[test]
    fn samples_are_different_fields(len in 0usize..200, count in 0usize..250, seed: u64) {
        for limits in [NEVER_PACKED, ALWAYS_PACKED] {
            let slot = numbered(len, &limits);
            let mut sampled = BTreeSet::new();
            let mut visits = 0;
            hash(&slot).sample(count, &mut Rng::from_seed(seed), |(field, value)| {
                assert_eq!(hash(&slot).get(field), Some(value));
                sampled.insert(field);
                visits += 1;
            });
            prop_assert_eq!(visits, count.min(len));
            prop_assert_eq!(sampled.len(), visits);
        }
    }
}

#[test]
fn a_hash_of_nothing_has_nothing_to_draw() {
    let mut table = empty();
    insert(&mut table, b"f", b"v", &NEVER_PACKED);
    assert!(remove(&mut table, b"f"));
    for slot in [empty(), table] {
        let mut rng = Rng::from_seed(1);
        assert!(hash(&slot).random(&mut rng).is_none());
        _ = hash(&slot).draw(10, &mut rng, |_| panic!("there is nothing"));
        hash(&slot).sample(10, &mut rng, |_| panic!("there is nothing"));
        assert_eq!(hash(&slot).scan(0, |_| panic!("there is nothing")), 0);
    }
}

#[test]
fn other_types_are_no_hash() {
    assert!(Hash::of(Value::Inline(Inline::Str, b"")).is_none());
    assert!(Hash::of(Value::Object(&Object::String(Vec::new()))).is_none());
}

#[test]
fn lower_limits_take_effect_at_the_next_change() {
    let mut slot = numbered(20, &ALWAYS_PACKED);
    let lower = Limits { entries: 19, value: 64 };
    assert_eq!(hash(&slot).encoding_name(), "listpack");
    insert(&mut slot, &name(3), b"x", &lower);
    assert_eq!(hash(&slot).encoding_name(), "hashtable");
    assert_eq!(hash(&slot).len(), 20);
    // And higher ones do not bring the packed form back.
    remove(&mut slot, &name(3));
    insert(&mut slot, &name(4), b"x", &ALWAYS_PACKED);
    assert_eq!(hash(&slot).encoding_name(), "hashtable");
}

#[test]
fn a_copy_is_independent() {
    for limits in [NEVER_PACKED, ALWAYS_PACKED] {
        let mut slot = numbered(100, &limits);
        let copy = slot.clone();
        insert(&mut slot, &name(1), b"changed", &limits);
        remove(&mut slot, &name(2));
        assert_eq!(hash(&copy).get(&name(1)), Some(&b"1"[..]));
        assert_eq!(hash(&copy).get(&name(2)), Some(&b"2"[..]));
        assert_eq!(hash(&copy).len(), 100);
    }
}

/// How often each of `len` fields comes when `rounds` times some are visited.
fn counts(len: usize, rounds: usize, mut visit: impl FnMut(&mut dyn FnMut(Pair<'_>))) -> Vec<u32> {
    let mut counts = vec![0; len];
    for _ in 0..rounds {
        visit(&mut |(_, value)| {
            counts[std::str::from_utf8(value).unwrap().parse::<usize>().unwrap()] += 1;
        });
    }
    counts
}

/// Within seven standard deviations of a binomial distribution.
fn assert_even(counts: &[u32], draws: usize, chance: f64) {
    let mean = draws as f64 * chance;
    let allowed = 7.0 * (mean * (1.0 - chance)).sqrt();
    for (n, &count) in counts.iter().enumerate() {
        assert!((f64::from(count) - mean).abs() <= allowed, "{n}: {count}, not {mean}±{allowed}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "statistics take too long")]
fn draws_are_fair() {
    const LEN: usize = 40;
    let mut rng = Rng::from_seed(5);
    for limits in [NEVER_PACKED, ALWAYS_PACKED] {
        let slot = numbered(LEN, &limits);
        let hash = hash(&slot);
        let one = counts(LEN, 40_000, |visit| visit(hash.random(&mut rng).unwrap()));
        assert_even(&one, 40_000, 1.0 / LEN as f64);
        let many = counts(LEN, 10, |visit| {
            _ = hash.draw(4000, &mut rng, |pair| {
                visit(pair);
                ControlFlow::Continue(())
            });
        });
        assert_eq!(many.iter().sum::<u32>(), 40_000);
        assert_even(&many, 40_000, 1.0 / LEN as f64);
        // Both ways of sampling a table: few of many, and not so few.
        for count in [3, 30] {
            let sampled = counts(LEN, 10_000, |visit| hash.sample(count, &mut rng, visit));
            assert_even(&sampled, 10_000, count as f64 / LEN as f64);
        }
    }
}
