//! Intersections, unions and differences. What they are called by OBJECT ENCODING when they are
//! stored follows from the way in which Redis makes them.

use super::{Limits, Member, Name, Set, insert, remove, set_in};
use crate::types::{Inline, Loose};
use std::ops::ControlFlow;

/// Visits the members that all sets have, until told to stop. Brings the sets into another order.
pub fn intersect<'a>(sets: &mut [Set<'a>], mut visit: impl FnMut(Member<'a>) -> ControlFlow<()>) {
    // What decides is how many members are looked for in the others.
    sets.sort_by_cached_key(Set::len);
    let Some((smallest, others)) = sets.split_first() else { return };
    let _ = smallest.iter().try_for_each(|member| {
        let is_common = others.iter().all(|set| set.contains(member));
        if is_common { visit(member) } else { ControlFlow::Continue(()) }
    });
}

/// The members that all sets have. Brings the sets into another order.
pub fn intersection(sets: &mut [Set<'_>], limits: &Limits) -> Loose {
    let smallest = sets.iter().min_by_key(|set| set.len());
    let of_ints = smallest.is_some_and(|set| set.name() == Name::IntSet);
    let mut result = nothing(if of_ints { Inline::IntSet } else { Inline::Set });
    let mut only_ints = true;
    intersect(sets, |member| {
        only_ints = only_ints && member.int().is_some();
        insert(&mut result, member, limits);
        ControlFlow::Continue(())
    });
    let set = set_in(&result);
    if only_ints && set.name() != Name::IntSet && set.len() <= limits.most_ints() {
        let mut numbers: Vec<i64> = set.iter().filter_map(Member::int).collect();
        // So that each goes to the end.
        numbers.sort_unstable();
        result = nothing(Inline::IntSet);
        for number in numbers {
            insert(&mut result, Member::Int(number), limits);
        }
    }
    result
}

/// The members that any of the sets has.
pub fn union(sets: &[Set<'_>], limits: &Limits) -> Loose {
    let mut result = nothing(Inline::IntSet);
    for member in sets.iter().flat_map(Set::iter) {
        insert(&mut result, member, limits);
    }
    result
}

/// Whether a difference is better found by looking each member up in the other sets, or by
/// removing the others' members from a copy. It is Redis's estimate.
pub fn prefers_lookups(first: &Set<'_>, others: &[Set<'_>]) -> bool {
    let lookups = first.len() as u128 * (1 + others.len() as u128) / 2;
    let members: usize = others.iter().map(Set::len).sum();
    lookups <= (first.len() + members) as u128
}

/// Visits the members of the first set that no other has, by looking them up. Brings the others
/// into another order.
pub fn subtract<'a>(first: Set<'a>, others: &mut [Set<'_>], visit: impl FnMut(Member<'a>)) {
    // A large set is more likely to have a member, and the search ends there.
    others.sort_by_cached_key(|set| std::cmp::Reverse(set.len()));
    let is_alone = |member: &Member<'_>| !others.iter().any(|set| set.contains(*member));
    first.iter().filter(is_alone).for_each(visit);
}

/// The members of the first set that no other has. Brings the others into another order.
pub fn difference(first: Set<'_>, others: &mut [Set<'_>], limits: &Limits) -> Loose {
    let mut result = nothing(Inline::IntSet);
    if prefers_lookups(&first, others) {
        subtract(first, others, |member| _ = insert(&mut result, member, limits));
        return result;
    }
    first.iter().for_each(|member| _ = insert(&mut result, member, limits));
    for set in others {
        if set_in(&result).is_empty() {
            break;
        }
        set.iter().for_each(|member| _ = remove(&mut result, member));
    }
    result
}

fn nothing(kind: Inline) -> Loose {
    Loose::Inline(kind, Vec::new())
}
