//! The bytes after many changes are compared with those of redis-server elsewhere (the scripts);
//! here with a list of registers.

use super::*;
use crate::types::{Inline, Loose};
use proptest::prelude::*;

fn slot_of(bytes: &[u8]) -> Loose {
    let mut slot = Loose::Inline(Inline::Str, Vec::new());
    string::append(&mut slot, bytes);
    slot
}

fn registers_of(slot: &Loose) -> [u8; REGISTERS] {
    let mut registers = [0; REGISTERS];
    of_slot(slot).unwrap().merge_into(&mut registers).unwrap();
    registers
}

fn bytes_of(slot: &Loose) -> Vec<u8> {
    Str::of(slot.value()).unwrap().to_vec()
}

/// Registers close together, so that runs meet, and values of which many are equal.
fn changes(values: std::ops::Range<u8>) -> impl Strategy<Value = Vec<(usize, u8)>> {
    let index = prop_oneof![0usize..30, 60usize..70, 16300usize..REGISTERS, 0usize..REGISTERS];
    proptest::collection::vec((index, values), 0..400)
}

proptest! {
    #[test]
    fn both_forms_agree_with_a_list_of_registers(
        changes in changes(1..35),
        sparse_max in prop_oneof![Just(3000usize), Just(0), 16usize..400],
    ) {
        let mut slot = slot_of(&empty());
        let mut model = [0; REGISTERS];
        for (index, value) in changes {
            let raised = raise(&mut slot, (index, value), sparse_max).unwrap();
            prop_assert_eq!(raised, model[index] < value);
            model[index] = value.max(model[index]);
            let hll = of_slot(&slot).unwrap();
            if hll.encoding == Encoding::Sparse {
                prop_assert!(hll.bytes.len() <= sparse_max.max(HEADER + 2));
                prop_assert!(model[index] <= 32);
            }
        }
        prop_assert!(registers_of(&slot) == model);
        let hll = of_slot(&slot).unwrap();
        prop_assert_eq!(hll.histogram().unwrap(), histogram_of(&model));
        make_dense(&mut slot).unwrap();
        prop_assert!(registers_of(&slot) == model);
        let mut merged = slot_of(&empty());
        raise(&mut merged, (REGISTERS - 1, 1), sparse_max).unwrap();
        raise(&mut merged, (40, 3), sparse_max).unwrap();
        raise_all(&mut merged, &model, sparse_max).unwrap();
        model[REGISTERS - 1] = model[REGISTERS - 1].max(1);
        model[40] = model[40].max(3);
        prop_assert!(registers_of(&merged) == model);
    }

    #[test]
    fn neighbours_of_equal_value_are_joined(
        changes in changes(1..3),
    ) {
        let mut slot = slot_of(&empty());
        for change in &changes {
            raise(&mut slot, *change, 1 << 20).unwrap();
        }
        // What counts is that the form is not much longer than it need be.
        let model = registers_of(&slot);
        let edges = model.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let set = model.iter().filter(|value| **value > 0).count();
        prop_assert!(bytes_of(&slot).len() <= HEADER + 2 + 2 * edges + set);
    }

    /// Whatever a string holds: an error or an answer, and no panic.
    #[test]
    fn hostile_strings_do_no_harm(
        dense in any::<bool>(),
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            proptest::collection::vec(any::<u8>(), dense::SIZE),
            proptest::collection::vec(prop_oneof![Just(0x7Fu8), Just(0xFF), Just(0x3F)], 0..8),
        ],
        card in any::<[u8; 8]>(),
        changes in changes(1..52),
        sparse_max in 0usize..4000,
    ) {
        let mut bytes = [MAGIC, &[!dense as u8, 1, 2, 3]].concat();
        bytes.extend(card);
        bytes.extend(body);
        prop_assert_eq!(Hll::of(&bytes).is_some(), !dense || bytes.len() == HEADER + dense::SIZE);
        let Some(hll) = Hll::of(&bytes) else { return Ok(()) };
        _ = hll.cached();
        let histogram = hll.histogram();
        let mut registers = [0; REGISTERS];
        prop_assert_eq!(histogram.is_ok(), hll.merge_into(&mut registers).is_ok());
        if let Ok(histogram) = histogram {
            prop_assert_eq!(histogram, histogram_of(&registers));
            _ = estimate(&histogram);
        }
        let mut slot = slot_of(&bytes);
        for change in changes {
            _ = raise(&mut slot, change, sparse_max);
        }
        _ = make_dense(&mut slot);
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        _ = Hll::of(&bytes);
        let magic = [MAGIC, &bytes].concat();
        if let Some(hll) = Hll::of(&magic) {
            _ = hll.runs().map(Iterator::count);
        }
    }
}

#[test]
fn the_hash_is_murmur() {
    // Redis's own: the bytes of HyperLogLogs with these elements (redis-server 7.0.15).
    for (element, index, value) in [("a", 12711, 2), ("foo", 7348, 5), ("0123456789", 1021, 2)] {
        assert_eq!(place_of(element.as_bytes()), (index, value), "{element}");
    }
}

#[test]
fn estimates_are_close() {
    let mut slot = slot_of(&empty());
    let mut checkpoint = 1;
    for n in 1..=100_000u64 {
        raise(&mut slot, place_of(&n.to_le_bytes()), 3000).unwrap();
        if n == checkpoint {
            let card = estimate(&of_slot(&slot).unwrap().histogram().unwrap());
            assert!(card.abs_diff(n) <= n / 25, "{n}: {card}");
            checkpoint *= 10;
        }
    }
    assert_eq!(of_slot(&slot).unwrap().encoding(), Encoding::Dense);
}

#[test]
fn an_estimate_is_kept_until_something_is_added() {
    let mut slot = slot_of(&empty());
    assert_eq!(of_slot(&slot).unwrap().cached(), Some(0));
    raise(&mut slot, (7, 1), 3000).unwrap();
    assert_eq!(of_slot(&slot).unwrap().cached(), None);
    set_cached(string::bytes_mut(&mut slot), 12345);
    assert_eq!(of_slot(&slot).unwrap().cached(), Some(12345));
    make_dense(&mut slot).unwrap();
    assert_eq!(of_slot(&slot).unwrap().cached(), Some(12345));
    assert!(!raise(&mut slot, (7, 1), 3000).unwrap());
    assert_eq!(of_slot(&slot).unwrap().cached(), Some(12345));
    assert!(raise(&mut slot, (7, 2), 3000).unwrap());
    assert_eq!(of_slot(&slot).unwrap().cached(), None);
}

#[test]
fn registers_that_no_hash_leads_to_have_an_estimate() {
    let mut histogram = [0; 64];
    histogram[63] = REGISTERS as u32;
    assert_eq!(estimate(&histogram), 1 << 63);
    let mut empty = [0; 64];
    empty[0] = REGISTERS as u32;
    assert_eq!(estimate(&empty), 0);
}
