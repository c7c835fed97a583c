//! All encodings through the one interface, against simple models.

use super::*;
use crate::base::rng::Rng;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Miri is slow, and looks at what is done rather than how often.
const CASES: u32 = if cfg!(miri) { 4 } else { 256 };

const DEFAULT: Limits = Limits { ints: 512, entries: 128, value: 64 };
const NEVER_SMALL: Limits = Limits { ints: 0, entries: 0, value: 64 };
const UNLIMITED: Limits = Limits { ints: usize::MAX, entries: usize::MAX, value: usize::MAX };

fn nothing() -> Loose {
    Loose::Inline(Inline::IntSet, Vec::new())
}

fn set(slot: &Loose) -> Set<'_> {
    Set::of(slot.value()).unwrap()
}

fn add(slot: &mut Loose, text: &str, limits: &Limits) -> bool {
    insert(slot, Member::Text(text.as_bytes()), limits)
}

fn text(member: Member<'_>) -> String {
    member.with_text(|text| String::from_utf8(text.to_vec()).unwrap())
}

fn texts(slot: &Loose) -> BTreeSet<String> {
    set(slot).iter().map(text).collect()
}

fn made<T: ToString>(members: impl IntoIterator<Item = T>, limits: &Limits) -> Loose {
    let mut slot = nothing();
    for member in members {
        assert!(add(&mut slot, &member.to_string(), limits));
    }
    slot
}

/// How Redis 7.2 calls a set, by what its documentation and its configuration file say of the
/// three directives. Nothing but adding members changes it.
#[derive(Debug)]
struct Model {
    members: BTreeSet<String>,
    encoding: &'static str,
}

fn is_int(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

impl Model {
    fn insert(&mut self, member: &str, limits: &Limits) -> bool {
        if !self.members.insert(member.to_string()) {
            return false;
        }
        let fits = |text: &String| text.len() <= limits.value;
        let is_compact = || self.members.len() <= limits.entries && self.members.iter().all(fits);
        self.encoding = match self.encoding {
            "intset" if is_int(member) && self.members.len() <= limits.ints => "intset",
            "intset" if !is_int(member) && is_compact() => "listpack",
            "listpack" if self.members.len() <= limits.entries && fits(&member.to_string()) => {
                "listpack"
            }
            _ => "hashtable",
        };
        true
    }
}

const ODD: [&str; 8] = ["", "-0", "007", "+1", "1.0", "9223372036854775808", "-", "x"];
/// The first number that a table keeps as text.
const LIMIT: i64 = 1 << 46;
const EDGES: [i64; 9] = [0, -1, i64::MAX, i64::MIN, LIMIT, LIMIT - 1, -LIMIT, -LIMIT - 1, 32768];

/// Few different members, of all kinds: short and long text, integers of all widths, what looks
/// like an integer but is none.
fn members() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => (-20i64..20).prop_map(|n| n.to_string()),
        1 => (any::<i64>(), 0u32..64).prop_map(|(n, shift)| (n >> 60 << shift).to_string()),
        1 => prop::sample::select(&EDGES[..]).prop_map(|n| n.to_string()),
        1 => prop::sample::select(&ODD[..]).prop_map(str::to_string),
        1 => (0usize..12).prop_map(|n| "m".repeat(n * n)),
    ]
}

/// Integers only, in order that some runs stay with them.
fn ints() -> impl Strategy<Value = String> {
    (-40i64..40, 0u32..48).prop_map(|(n, shift)| (n << (shift / 12 * 12)).to_string())
}

fn limits() -> impl Strategy<Value = Limits> {
    let most = || prop_oneof![0usize..40, Just(usize::MAX)];
    let value = prop_oneof![0usize..8, 15usize..25, Just(64), Just(usize::MAX)];
    (most(), most(), value).prop_map(|(ints, entries, value)| Limits { ints, entries, value })
}

fn check(steps: Vec<(bool, String)>, limits: Limits) -> Result<(), TestCaseError> {
    let mut slot = nothing();
    let mut model = Model { members: BTreeSet::new(), encoding: "intset" };
    for (adds, member) in steps {
        let had = model.members.contains(&member);
        prop_assert_eq!(set(&slot).contains(Member::Text(member.as_bytes())), had);
        if let Ok(number) = member.parse()
            && is_int(&member)
        {
            prop_assert_eq!(set(&slot).contains(Member::Int(number)), had);
        }
        if adds {
            prop_assert_eq!(add(&mut slot, &member, &limits), model.insert(&member, &limits));
        } else {
            let gone = remove(&mut slot, Member::Text(member.as_bytes()));
            prop_assert_eq!(gone, model.members.remove(&member));
        }
        prop_assert_eq!(set(&slot).encoding_name(), model.encoding);
        prop_assert_eq!(set(&slot).len(), model.members.len());
        prop_assert_eq!(set(&slot).is_empty(), model.members.is_empty());
    }
    prop_assert_eq!(&texts(&slot), &model.members);
    prop_assert_eq!(texts(&slot.clone()), model.members);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn agrees_with_a_model(
        steps in prop::collection::vec((prop::bool::weighted(0.7), members()), 1..150),
        limits in limits(),
    ) {
        check(steps, limits)?;
    }

    #[test]
    fn integers_agree_with_a_model(
        steps in prop::collection::vec((prop::bool::weighted(0.8), ints()), 1..150),
        limits in limits(),
    ) {
        check(steps, limits)?;
    }

    /// Members that stay are seen, whatever else comes and goes, also when the set is converted
    /// in between.
    #[test]
    fn a_scan_sees_all_that_stays(
        stays in 0usize..600,
        ints in 0usize..700,
        entries in 0usize..700,
        is_int: bool,
        changes in prop::collection::vec((any::<bool>(), 0usize..300), 0..40),
    ) {
        let limits = Limits { ints, entries, value: 64 };
        let name = |n: usize| if is_int { n.to_string() } else { format!("member:{n}") };
        let mut slot = made((0..stays).map(name), &limits);
        let mut seen = BTreeSet::new();
        let mut extra = stays..stays;
        let mut cursor = 0;
        let mut changes = changes.into_iter();
        loop {
            cursor = set(&slot).scan(cursor, |member| _ = seen.insert(text(member)));
            if cursor == 0 {
                break;
            }
            match changes.next() {
                Some((true, count)) => for _ in 0..count {
                    add(&mut slot, &name(extra.end), &limits);
                    extra.end += 1;
                },
                Some((false, count)) => for n in extra.by_ref().take(count) {
                    remove(&mut slot, Member::Text(name(n).as_bytes()));
                },
                None => {}
            }
        }
        for n in 0..stays {
            prop_assert!(seen.contains(&name(n)), "{n} was not seen");
        }
    }

    #[test]
    fn samples_are_different_members(len in 0usize..200, count in 0usize..250, seed: u64) {
        for slot in all_forms(len) {
            let mut sampled = BTreeSet::new();
            let mut visits = 0;
            set(&slot).sample(count, &mut Rng::from_seed(seed), |member| {
                assert!(set(&slot).contains(member));
                sampled.insert(text(member));
                visits += 1;
            });
            prop_assert_eq!(visits, count.min(len));
            prop_assert_eq!(sampled.len(), visits);
        }
    }

    #[test]
    fn what_does_not_stay_is_handed_over(len in 0usize..300, share in 0usize..100, seed: u64) {
        let stays = len * share / 100;
        for mut slot in all_forms(len) {
            let before = texts(&slot);
            let mut gone = BTreeSet::new();
            retain_random(&mut slot, stays, &mut Rng::from_seed(seed), &DEFAULT, |member| {
                assert!(gone.insert(text(member)));
            });
            prop_assert_eq!(set(&slot).len(), stays);
            prop_assert!(gone.is_disjoint(&texts(&slot)));
            gone.extend(texts(&slot));
            prop_assert_eq!(gone, before);
        }
    }

    #[test]
    fn algebra_agrees_with_that_of_the_library(
        sets in prop::collection::vec(
            (prop::collection::btree_set(members(), 0..60), limits()), 1..5,
        ),
        limits in limits(),
    ) {
        let models: Vec<BTreeSet<String>> = sets.iter().map(|(model, _)| model.clone()).collect();
        let slots: Vec<Loose> = sets.iter().map(|(model, limits)| made(model, limits)).collect();
        let operands: Vec<Set<'_>> = slots.iter().map(set).collect();
        let together = |combine: fn(&BTreeSet<String>, &BTreeSet<String>) -> BTreeSet<String>| {
            models[1..].iter().fold(models[0].clone(), |sum, model| combine(&sum, model))
        };

        let result = algebra::union(&operands, &limits);
        prop_assert_eq!(texts(&result), together(|a, b| a | b));
        check_name(&result, &limits)?;

        let common = together(|a, b| a & b);
        let result = algebra::intersection(&mut operands.clone(), &limits);
        prop_assert_eq!(&texts(&result), &common);
        check_name(&result, &limits)?;
        // An intersection of integers is an intset wherever it may be.
        if !common.is_empty() && common.iter().all(|m| is_int(m)) && common.len() <= limits.ints {
            prop_assert_eq!(set(&result).encoding_name(), "intset");
        }

        let different = together(|a, b| a - b);
        let others = &mut operands[1..].to_vec();
        let result = algebra::difference(operands[0], others, &limits);
        prop_assert_eq!(&texts(&result), &different);
        let mut visited = BTreeSet::new();
        algebra::subtract(operands[0], others, |member| assert!(visited.insert(text(member))));
        prop_assert_eq!(visited, different);
    }
}

/// A set made of nothing is not called what its limits do not allow.
fn check_name(slot: &Loose, limits: &Limits) -> Result<(), TestCaseError> {
    let members = texts(slot);
    match set(slot).encoding_name() {
        "intset" => {
            prop_assert!(members.len() <= limits.ints && members.iter().all(|m| is_int(m)));
        }
        "listpack" => prop_assert!(
            members.len() <= limits.entries && members.iter().all(|m| m.len() <= limits.value)
        ),
        _ => prop_assert!(
            members.len() > limits.ints.min(limits.entries)
                || members.iter().any(|m| m.len() > limits.value)
        ),
    }
    Ok(())
}

/// A set of so many members in each of its forms.
fn all_forms(len: usize) -> [Loose; 4] {
    let name = |n: usize| format!("member:{n}");
    [
        made(0..len, &UNLIMITED),
        made((0..len).map(name), &UNLIMITED),
        made(0..len, &NEVER_SMALL),
        made((0..len).map(name), &NEVER_SMALL),
    ]
}

#[test]
fn names_at_the_limits_of_redis() {
    let mut ints = made(0..512, &DEFAULT);
    assert_eq!(set(&ints).encoding_name(), "intset");
    add(&mut ints, "512", &DEFAULT);
    assert_eq!(set(&ints).encoding_name(), "hashtable");

    // Integers become text if they are few.
    let mut few = made(0..127, &DEFAULT);
    add(&mut few, "x", &DEFAULT);
    assert_eq!(set(&few).encoding_name(), "listpack");
    assert_eq!(set(&few).len(), 128);
    add(&mut few, "y", &DEFAULT);
    assert_eq!(set(&few).encoding_name(), "hashtable");
    let mut many = made(0..128, &DEFAULT);
    add(&mut many, "x", &DEFAULT);
    assert_eq!(set(&many).encoding_name(), "hashtable");

    let mut long = made(["x".repeat(64)], &DEFAULT);
    assert_eq!(set(&long).encoding_name(), "listpack");
    add(&mut long, &"x".repeat(65), &DEFAULT);
    assert_eq!(set(&long).encoding_name(), "hashtable");

    // The integers that are there must fit, too.
    let short = Limits { value: 3, ..DEFAULT };
    for (number, name) in [(-99, "listpack"), (-100, "hashtable"), (1000, "hashtable")] {
        let mut ints = made([number, 1], &short);
        add(&mut ints, "x", &short);
        assert_eq!(set(&ints).encoding_name(), name, "{number}");
    }
}

#[test]
fn a_record_holds_little_whatever_the_limits_say() {
    let inline = |slot: &Loose| match slot.value() {
        Value::Inline(_, bytes) => Some(bytes.len()),
        Value::Object(_) => None,
    };
    let wide = |n: i64| i64::MAX - n;
    let mut ints = made((0..512).map(wide), &UNLIMITED);
    assert_eq!(inline(&ints), Some(INLINE_BYTES));
    add(&mut ints, "1", &UNLIMITED);
    assert_eq!((inline(&ints), set(&ints).encoding_name()), (None, "intset"));
    assert_eq!(set(&ints).len(), 513);

    // What it is called still follows the limits.
    let mut hash = ints.clone();
    add(&mut hash, "2", &Limits { ints: 513, ..UNLIMITED });
    assert_eq!(set(&hash).encoding_name(), "hashtable");
    let mut hash = ints.clone();
    add(&mut hash, "x", &Limits { value: 18, ..UNLIMITED });
    assert_eq!(set(&hash).encoding_name(), "hashtable");
    let mut packed = ints.clone();
    add(&mut packed, "x", &Limits { entries: 514, value: 19, ..UNLIMITED });
    assert_eq!((inline(&packed), set(&packed).encoding_name()), (None, "listpack"));
    add(&mut packed, "y", &Limits { entries: 514, ..UNLIMITED });
    assert_eq!(set(&packed).encoding_name(), "hashtable");

    let mut packed = made((0..100).map(|n| format!("{n:040}")), &UNLIMITED);
    assert_eq!((inline(&packed), set(&packed).encoding_name()), (None, "listpack"));
    assert!(!add(&mut packed, &format!("{:040}", 7), &UNLIMITED));
    assert_eq!(set(&packed).len(), 100);
    // So do integers that are too many for it as text.
    let mut ints = made((0..500).map(wide), &UNLIMITED);
    assert!(inline(&ints).is_some());
    add(&mut ints, "x", &UNLIMITED);
    assert_eq!((inline(&ints), set(&ints).encoding_name()), (None, "listpack"));
}

#[test]
fn many_at_once_make_a_hash_table_at_once() {
    for (members, int, text) in
        [(1, "intset", "listpack"), (128, "intset", "listpack"), (513, "hashtable", "hashtable")]
    {
        for (first, name) in [("1", int), ("x", text)] {
            let new = empty(Member::Text(first.as_bytes()), members, &DEFAULT);
            assert_eq!(set(&new).encoding_name(), name, "{members} {first}");
            let mut slot = made([first], &DEFAULT);
            prepare(&mut slot, members, &DEFAULT);
            assert_eq!(set(&slot).encoding_name(), name, "{members} {first}");
            assert_eq!(texts(&slot), [first.to_string()].into());
        }
    }
    // An intset that would be too large might still be a listpack.
    let limits = Limits { ints: 2, ..DEFAULT };
    let new = empty(Member::Text(b"1"), 3, &limits);
    assert_eq!(set(&new).encoding_name(), "listpack");
}

#[test]
fn what_stays_of_a_hash_table_may_be_a_listpack_again() {
    let limits = Limits { ints: 10, entries: 10, value: 64 };
    for (stays, name) in [(10, "listpack"), (11, "hashtable")] {
        let mut slot = made(0..100, &limits);
        assert_eq!(set(&slot).encoding_name(), "hashtable");
        retain_random(&mut slot, stays, &mut Rng::from_seed(1), &limits, |_| {});
        assert_eq!(set(&slot).encoding_name(), name);
    }
}

#[test]
fn a_difference_that_took_a_copy_is_called_by_its_size() {
    let limits = Limits { ints: 4, entries: 4, value: 64 };
    let first = made(0..6, &limits);
    let other = made(1..6, &limits);
    // One other set: looked up, and so the result was never large.
    let result = algebra::difference(set(&first), &mut [set(&other)], &limits);
    assert_eq!(set(&result).encoding_name(), "intset");
    // Many small ones: their members are removed from a copy.
    let small = made([1], &limits);
    let mut others = [set(&small); 5];
    assert!(!algebra::prefers_lookups(&set(&first), &others));
    let result = algebra::difference(set(&first), &mut others, &limits);
    assert_eq!((set(&result).len(), set(&result).encoding_name()), (5, "hashtable"));
}

#[test]
fn a_set_of_nothing_has_nothing_to_draw() {
    let mut emptied = made([1, 2], &NEVER_SMALL);
    assert!(remove(&mut emptied, Member::Int(1)) && remove(&mut emptied, Member::Text(b"2")));
    let mut ints = made([1], &DEFAULT);
    assert!(remove(&mut ints, Member::Int(1)));
    for slot in [nothing(), Loose::Inline(Inline::Set, Vec::new()), ints, emptied] {
        let mut rng = Rng::from_seed(1);
        assert!(set(&slot).is_empty() && set(&slot).random(&mut rng).is_none());
        _ = set(&slot).draw(10, &mut rng, |_| panic!("there is nothing"));
        set(&slot).sample(10, &mut rng, |_| panic!("there is nothing"));
        assert_eq!(set(&slot).scan(0, |_| panic!("there is nothing")), 0);
    }
}

#[test]
fn other_types_are_no_set() {
    assert!(Set::of(Value::Inline(Inline::Str, b"")).is_none());
    assert!(Set::of(Value::Inline(Inline::Hash, b"")).is_none());
    assert!(Set::of(Value::Object(&Object::String(Vec::new()))).is_none());
}

#[test]
fn a_copy_is_independent() {
    for mut slot in all_forms(100) {
        let copy = slot.clone();
        let one = set(&slot).iter().map(text).next().unwrap();
        add(&mut slot, "new", &UNLIMITED);
        remove(&mut slot, Member::Text(one.as_bytes()));
        assert!(set(&copy).contains(Member::Text(one.as_bytes())));
        assert!(!set(&copy).contains(Member::Text(b"new")));
        assert_eq!(set(&copy).len(), 100);
    }
}

#[test]
#[cfg_attr(miri, ignore = "statistics take too long")]
fn draws_are_fair() {
    const LEN: usize = 40;
    let mut rng = Rng::from_seed(5);
    for slot in all_forms(LEN) {
        let names: Vec<String> = set(&slot).iter().map(text).collect();
        let check = |drawn: Vec<String>| {
            let mut counts = [0u32; LEN];
            for member in &drawn {
                counts[names.iter().position(|name| name == member).unwrap()] += 1;
            }
            // Within seven standard deviations of a binomial distribution.
            let mean = drawn.len() as f64 / LEN as f64;
            for count in counts {
                assert!((f64::from(count) - mean).abs() <= 7.0 * mean.sqrt(), "{counts:?}");
            }
        };
        let mut drawn = Vec::new();
        check((0..20_000).map(|_| text(set(&slot).random(&mut rng).unwrap())).collect());
        _ = set(&slot).draw(20_000, &mut rng, |member| {
            drawn.push(text(member));
            ControlFlow::Continue(())
        });
        assert_eq!(drawn.len(), 20_000);
        check(drawn);
        // Both ways of sampling a table: few of many, and not so few.
        for count in [3, 30] {
            let mut drawn = Vec::new();
            for _ in 0..2000 {
                set(&slot).sample(count, &mut rng, |member| drawn.push(text(member)));
            }
            check(drawn);
        }
    }
}
