//! All encodings through the one interface, against a deque of vectors.

use super::*;
use crate::types::Loose;
use proptest::prelude::*;
use std::collections::VecDeque;

/// Miri is slow, and looks at what is done rather than how often.
const CASES: u32 = if cfg!(miri) { 4 } else { 256 };

type Model = VecDeque<Vec<u8>>;

fn empty() -> Loose {
    Loose::Inline(Inline::List, Vec::new())
}

fn list(slot: &Loose) -> List<'_> {
    List::of(slot.value()).unwrap()
}

fn elements(slot: &Loose, from: End) -> Vec<Vec<u8>> {
    let list = list(slot);
    let mut elements = Vec::new();
    let (index, towards) = match from {
        End::Front => (0, End::Back),
        End::Back => (list.len().saturating_sub(1), End::Front),
    };
    list.visit(index, towards, |element| {
        elements.push(element.to_vec());
        ControlFlow::Continue(())
    });
    elements
}

fn chunk_count(slot: &Loose) -> usize {
    match slot {
        Loose::Object(Object::List(chunks)) => chunks.chunk_count(),
        _ => 1,
    }
}

fn check(slot: &Loose, model: &Model) {
    let list = list(slot);
    assert_eq!(list.len(), model.len());
    assert_eq!(list.is_empty(), model.is_empty());
    assert!(elements(slot, End::Front).iter().eq(model.iter()));
    assert!(elements(slot, End::Back).iter().eq(model.iter().rev()));
    for (index, element) in model.iter().enumerate() {
        assert!(list.with(index, |other| other == element).unwrap());
        assert_eq!(list.find(element), model.iter().position(|other| other == element));
    }
    assert!(list.with(model.len(), |_| ()).is_none());
    if let Loose::Object(Object::List(chunks)) = slot {
        chunks.check();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(End, Vec<Vec<u8>>),
    Insert(usize, Vec<u8>),
    Set(usize, Vec<u8>),
    Remove(usize, usize),
    /// Towards the ends, as pops and trims do.
    Trim(End, usize),
    RemoveEqual(usize, usize, End),
}

/// A few different ones of each length, so that some are equal; and numbers, which are shorter in a
/// listpack.
fn element() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![
        20 => 0usize..40, 4 => 100usize..300, 2 => 1000usize..3000, 1 => 4000usize..9000
    ];
    prop_oneof![
        4 => (len, 0u8..3).prop_map(|(len, byte)| vec![byte + b'a'; len]),
        1 => (0i64..2000).prop_map(|n| n.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        // Nothing that compresses.
        1 => any::<[u8; 32]>().prop_map(|bytes| bytes.to_vec()),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn step() -> impl Strategy<Value = Step> {
    let many = prop::collection::vec(element(), 1..30);
    prop_oneof![
        6 => (end(), many).prop_map(|(end, elements)| Step::Push(end, elements)),
        3 => (any::<usize>(), element()).prop_map(|(at, element)| Step::Insert(at, element)),
        3 => (any::<usize>(), element()).prop_map(|(at, element)| Step::Set(at, element)),
        2 => (any::<usize>(), 1usize..40).prop_map(|(at, count)| Step::Remove(at, count)),
        2 => (end(), 1usize..60).prop_map(|(end, count)| Step::Trim(end, count)),
        1 => (any::<usize>(), 1usize..20, end())
            .prop_map(|(at, most, from)| Step::RemoveEqual(at, most, from)),
    ]
}

fn remove_equal_from_model(model: &mut Model, element: &[u8], most: usize, from: End) -> usize {
    let mut matches: Vec<usize> = (0..model.len()).filter(|&at| model[at] == element).collect();
    if from == End::Back {
        matches.reverse();
    }
    matches.truncate(most);
    matches.sort_unstable();
    for &at in matches.iter().rev() {
        model.remove(at);
    }
    matches.len()
}

fn apply(slot: &mut Loose, model: &mut Model, step: Step, limits: &Limits) {
    match step {
        Step::Push(end, elements) => {
            push(slot, end, elements.iter().map(Vec::as_slice), limits);
            for element in elements {
                match end {
                    End::Front => model.push_front(element),
                    End::Back => model.push_back(element),
                }
            }
        }
        _ if model.is_empty() => {}
        Step::Insert(at, element) => {
            insert(slot, at % model.len(), &element, limits);
            model.insert(at % model.len(), element);
        }
        Step::Set(at, element) => {
            let at = at % model.len();
            set(slot, at, &element, limits);
            model[at] = element;
        }
        Step::Remove(at, count) => {
            let at = at % model.len();
            let count = count.min(model.len() - at);
            remove(slot, at, count, limits);
            model.drain(at..at + count);
        }
        Step::Trim(end, count) => {
            let count = count.min(model.len());
            let at = if end == End::Front { 0 } else { model.len() - count };
            remove(slot, at, count, limits);
            model.drain(at..at + count);
        }
        Step::RemoveEqual(at, most, from) => {
            let element = model[at % model.len()].clone();
            let removed = remove_equal(slot, &element, most, from, limits);
            assert_eq!(removed, remove_equal_from_model(model, &element, most, from));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn agrees_with_a_deque_of_vectors(
        steps in prop::collection::vec(step(), 1..60),
        size in prop_oneof![Just(-1), Just(-2), Just(-5), 0i32..6, Just(60)],
        depth in 0u32..4,
    ) {
        let limits = Limits { size, depth };
        let (mut slot, mut model) = (empty(), Model::new());
        for step in steps {
            apply(&mut slot, &mut model, step, &limits);
            check(&slot, &model);
        }
        let copy = slot.clone();
        if !model.is_empty() {
            remove(&mut slot, 0, model.len(), &limits);
        }
        prop_assert!(list(&slot).is_empty());
        check(&copy, &model);
    }

    /// Redis decides by the size of a listpack and the number of elements, which are counted here
    /// anew each time.
    #[test]
    fn is_called_what_redis_calls_it(
        steps in prop::collection::vec((end(), element(), 0usize..3), 1..200),
        size in prop_oneof![Just(-1), Just(-2), 1i32..20],
    ) {
        let limits = Limits { size, depth: 0 };
        let (mut slot, mut model) = (empty(), Model::new());
        let mut is_quicklist = false;
        for (end, element, kind) in steps {
            let bytes = |model: &Model| {
                7 + model.iter().map(|element| limits::entry_size(element)).sum::<usize>()
            };
            if kind == 0 && !model.is_empty() {
                apply(&mut slot, &mut model, Step::Trim(end, 1), &limits);
                let half = bytes(&model) <= limits.bytes() / 2 || size > 0;
                let few = model.len() <= limits.elements() / 2;
                if half && few && chunk_count(&slot) == 1 {
                    is_quicklist = false;
                }
            } else {
                let large = bytes(&model) + element.len() > limits.bytes();
                is_quicklist |= large || model.len() + 1 > limits.elements();
                apply(&mut slot, &mut model, Step::Push(end, vec![element]), &limits);
            }
            let expected = if is_quicklist { "quicklist" } else { "listpack" };
            prop_assert_eq!(list(&slot).encoding_name(), expected);
            prop_assert_eq!(slot.value().encoding(false), expected);
            if model.is_empty() {
                // The keyspace would remove it.
                (slot, is_quicklist) = (empty(), false);
            }
        }
    }
}

const LIMITS: Limits = Limits { size: -2, depth: 0 };

fn numbered(len: usize, limits: &Limits) -> Loose {
    let mut slot = empty();
    for n in 0..len {
        push(&mut slot, End::Back, std::iter::once(format!("{n:032}").as_bytes()), limits);
    }
    slot
}

#[test]
fn a_million_small_elements_take_a_byte_and_a_half_each_beside_their_own() {
    const LEN: usize = if cfg!(miri) { 2000 } else { 1_000_000 };
    for end in [End::Front, End::Back] {
        let mut slot = empty();
        for n in 0..LEN {
            push(&mut slot, end, std::iter::once(format!("{n:032}").as_bytes()), &LIMITS);
        }
        let Loose::Object(object) = &slot else { panic!("so many in a record") };
        let each = object.memory(0) as f64 / LEN as f64;
        assert!(each < 33.5 || cfg!(miri), "{each} bytes");
        let estimate = object.memory(5) as f64 / LEN as f64;
        assert!((each - estimate).abs() < 1.0, "{each}, not {estimate} bytes");
    }
}

#[test]
fn a_queue_stays_small_and_keeps_its_order() {
    for backlog in [1, 10, 30, 100, 500] {
        let mut slot = empty();
        for n in 0..20_000usize {
            push(&mut slot, End::Back, std::iter::once(format!("{n:032}").as_bytes()), &LIMITS);
            if n >= backlog {
                let first = list(&slot).with(0, <[u8]>::to_vec).unwrap();
                assert_eq!(first, format!("{:032}", n - backlog).as_bytes());
                remove(&mut slot, 0, 1, &LIMITS);
            }
        }
        let memory = match &slot {
            Loose::Inline(_, bytes) => bytes.len(),
            Loose::Object(object) => object.memory(0),
        };
        assert!(memory < 1024 + backlog * 34 + 2 * 8192, "{backlog}: {memory} bytes");
    }
}

#[test]
fn inner_chunks_are_compressed() {
    let limits = Limits { size: -2, depth: 1 };
    let plain = numbered(20_000, &LIMITS);
    let mut slot = numbered(20_000, &limits);
    let memory = |slot: &Loose| match slot {
        Loose::Object(object) => object.memory(0),
        Loose::Inline(_, bytes) => bytes.len(),
    };
    let before = memory(&slot);
    assert!(before < memory(&plain) / 3, "{before} bytes");
    assert!(elements(&slot, End::Back) == elements(&plain, End::Back));
    // A change within decompresses one chunk, and for as long as it takes.
    set(&mut slot, 10_000, b"changed", &limits);
    insert(&mut slot, 5_000, b"inserted", &limits);
    assert_eq!(list(&slot).find(b"changed"), Some(10_001));
    assert!(memory(&slot) < before + 1000);
    // The ends are always plain.
    remove(&mut slot, 0, 7_000, &limits);
    remove(&mut slot, 8_000, 5_001, &limits);
    check(&slot, &elements(&slot, End::Front).into());
    assert_eq!(list(&slot).find(b"changed"), Some(3_001));
}

#[test]
fn what_is_removed_at_once_is_freed_elsewhere() {
    let mut slot = numbered(200_000, &LIMITS);
    let rest = remove(&mut slot, 10, 199_980, &LIMITS).expect("hundreds of chunks");
    assert!(rest.free_effort() > 700);
    assert_eq!(list(&slot).len(), 20);
    assert_eq!(
        list(&slot).with(10, <[u8]>::to_vec).unwrap(),
        format!("{:032}", 199_990).as_bytes()
    );
    assert!(remove(&mut slot, 0, 20, &LIMITS).is_none());
}

#[test]
fn holes_do_not_stay() {
    // Of each chunk, most goes.
    let mut slot = numbered(100_000, &LIMITS);
    let mut keep = 0;
    while keep < list(&slot).len() {
        let count = 199.min(list(&slot).len() - keep);
        remove(&mut slot, keep, count, &LIMITS);
        keep += 1;
    }
    let len = list(&slot).len();
    let Loose::Object(object) = &slot else { panic!("hundreds in a record") };
    assert!(object.memory(0) < len * 33 * 5, "{} bytes for {len}", object.memory(0));
}

#[test]
fn a_list_of_one_is_as_if_pushed() {
    for len in [0, 1, 127, 128, 300, 511, 512, 513] {
        let element = vec![b'x'; len];
        let mut slot = empty();
        push(&mut slot, End::Back, std::iter::once(&element[..]), &LIMITS);
        let mut buffer = [0; INLINE_BYTES];
        if let Some(bytes) = inline_of_one(&element, &mut buffer) {
            let made = Loose::Inline(Inline::List, bytes.to_vec());
            check(&made, &Model::from([element]));
            if let Loose::Inline(_, pushed) = slot {
                assert_eq!(pushed, bytes);
            }
        } else {
            assert!(len > 500);
        }
    }
}

#[test]
fn other_types_are_no_list() {
    assert!(List::of(Value::Inline(Inline::Hash, b"")).is_none());
    assert!(List::of(Value::Object(&Object::String(Vec::new()))).is_none());
}
