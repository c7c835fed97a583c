//! Intersections, unions and differences of sets.

use super::{BASE, limits, read, write};
use crate::base::number::parse_i64;
use crate::resp::{Args, Reply};
use crate::server::command::{Begin, Command, Find, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::Keyspace;
use crate::store::event::class;
use crate::types::set::{Member, Set, algebra};
use crate::types::{Loose, Slot};
use std::ops::ControlFlow;

const EVERY_KEY: Keys = Keys::every(1, &["RO", "access"]);

/// All keys but the first.
const SOURCES: Keys = Keys { begin: Begin::Index(2), ..EVERY_KEY };

const COUNTED_KEYS: Keys = Keys {
    flags: &["RO", "access"],
    begin: Begin::Index(1),
    find: Find::Count { at: 0, first: 1, step: 1 },
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "sdiff",
        summary: "Returns the members of a set that no other of the sets has",
        complexity: "O(N) for N members in all sets",
        arity: -2,
        flags: READONLY,
        keys: &[EVERY_KEY],
        args: "key...",
        tips: &["nondeterministic_output_order"],
        handler: sdiff,
        ..BASE
    },
    Command {
        name: "sdiffstore",
        summary: "Stores the members of a set that no other of the sets has",
        complexity: "O(N) for N members in all sets",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["OW", "update"]), SOURCES],
        args: "destination key...",
        handler: sdiffstore,
        ..BASE
    },
    Command {
        name: "sinter",
        summary: "Returns the members that all sets have",
        complexity: "O(N*M) at worst for N members in the smallest of M sets",
        arity: -2,
        flags: READONLY,
        keys: &[EVERY_KEY],
        args: "key...",
        tips: &["nondeterministic_output_order"],
        handler: sinter,
        ..BASE
    },
    Command {
        name: "sintercard",
        summary: "Counts the members that all sets have",
        since: "7.0.0",
        complexity: "O(N*M) at worst for N members in the smallest of M sets",
        arity: -3,
        flags: READONLY | MOVABLEKEYS,
        keys: &[COUNTED_KEYS],
        args: "numkeys key... [LIMIT limit:integer]",
        handler: sintercard,
        ..BASE
    },
    Command {
        name: "sinterstore",
        summary: "Stores the members that all sets have",
        complexity: "O(N*M) at worst for N members in the smallest of M sets",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["RW", "update"]), SOURCES],
        args: "destination key...",
        handler: sinterstore,
        ..BASE
    },
    Command {
        name: "sunion",
        summary: "Returns the members that any of the sets has",
        complexity: "O(N) for N members in all sets",
        arity: -2,
        flags: READONLY,
        keys: &[EVERY_KEY],
        args: "key...",
        tips: &["nondeterministic_output_order"],
        handler: sunion,
        ..BASE
    },
    Command {
        name: "sunionstore",
        summary: "Stores the members that any of the sets has",
        complexity: "O(N) for N members in all sets",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["OW", "update"]), SOURCES],
        args: "destination key...",
        handler: sunionstore,
        ..BASE
    },
];

/// The sets at some keys, read on behalf of a client; none where there is no key.
fn sets<'k>(keys: &'k mut Keyspace, names: Args<'_>) -> Result<Vec<Option<Set<'k>>>, Error> {
    for name in names.iter() {
        read(keys, name)?;
    }
    // All at once now: reading might have changed the table, looking does not.
    let records = keys.records(keys.current());
    let find = |name: &[u8]| {
        let (_, view) = records.find(records.hash(name), name)?;
        Set::of(view.value())
    };
    Ok(names.iter().map(find).collect())
}

/// The same for an intersection: none at all if one of them is missing and so nothing is common.
fn sets_to_intersect<'k>(keys: &'k mut Keyspace, names: Args<'_>) -> Result<Vec<Set<'k>>, Error> {
    let sets: Option<Vec<Set<'k>>> = sets(keys, names)?.into_iter().collect();
    Ok(sets.unwrap_or_default())
}

/// Writes the members that `visit` is given as a set.
fn write_set(out: &mut Reply, visit: impl FnOnce(&mut dyn FnMut(Member<'_>))) {
    let open = out.open();
    let mut len = 0;
    visit(&mut |member| {
        write(out, member);
        len += 1;
    });
    out.close_set(open, len);
}

/// Writes a set made for this reply, and has it freed.
fn write_result(ctx: &mut Ctx, result: Loose) {
    let set = Set::of(result.value());
    ctx.out.set(set.map_or(0, |set| set.len()));
    set.iter().flat_map(Set::iter).for_each(|member| write(ctx.out, member));
    if let Loose::Object(object) = result {
        ctx.keys.free(Box::new(object));
    }
}

/// Stores a set in the place of whatever is at the first argument, or removes that if the set is
/// empty. `event` is how this is called.
fn store(ctx: &mut Ctx, result: Loose, event: &'static str) {
    let len = Set::of(result.value()).map_or(0, |set| set.len());
    super::super::store::store(ctx, ctx.arg(1), result, len, class::SET, event);
}

fn sinter(ctx: &mut Ctx) -> Result<(), Error> {
    let mut sets = sets_to_intersect(ctx.keys, ctx.args.from(1))?;
    write_set(ctx.out, |visit| {
        algebra::intersect(&mut sets, |member| {
            visit(member);
            ControlFlow::Continue(())
        });
    });
    Ok(())
}

fn sinterstore(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let mut sets = sets_to_intersect(ctx.keys, ctx.args.from(2))?;
    let result = algebra::intersection(&mut sets, &limits);
    store(ctx, result, "sinterstore");
    Ok(())
}

fn sintercard(ctx: &mut Ctx) -> Result<(), Error> {
    let numkeys = parse_i64(ctx.arg(1)).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let numkeys = numkeys.ok_or(Error::Static("ERR numkeys should be greater than 0"))?;
    let words = ctx.args.from(2);
    if numkeys > words.len() {
        return Err(Error::Static("ERR Number of keys can't be greater than number of args"));
    }
    let limit = limit_option(words.from(numkeys))?;
    let mut sets = sets_to_intersect(ctx.keys, words.first(numkeys))?;
    let mut count = 0;
    algebra::intersect(&mut sets, |_| {
        count += 1;
        if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ctx.out.int(count as i64);
    Ok(())
}

/// The limit of SINTERCARD; 0 is none.
fn limit_option(options: Args<'_>) -> Result<usize, Error> {
    let mut limit = 0;
    for at in (0..options.len()).step_by(2) {
        if at + 1 == options.len() || !options.get(at).eq_ignore_ascii_case(b"limit") {
            return Err(Error::SYNTAX);
        }
        let number = parse_i64(options.get(at + 1)).and_then(|n| usize::try_from(n).ok());
        limit = number.ok_or(Error::Static("ERR LIMIT can't be negative"))?;
    }
    Ok(limit)
}

fn sunion(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let sets: Vec<Set<'_>> = sets(ctx.keys, ctx.args.from(1))?.into_iter().flatten().collect();
    if let [only] = sets[..] {
        write_set(ctx.out, |visit| only.iter().for_each(visit));
        return Ok(());
    }
    let result = algebra::union(&sets, &limits);
    write_result(ctx, result);
    Ok(())
}

fn sunionstore(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let sets: Vec<Set<'_>> = sets(ctx.keys, ctx.args.from(2))?.into_iter().flatten().collect();
    let result = algebra::union(&sets, &limits);
    store(ctx, result, "sunionstore");
    Ok(())
}

/// The first set of a difference, if there is one, and the others.
type Operands<'k> = (Option<Set<'k>>, Vec<Set<'k>>);

fn operands<'k>(keys: &'k mut Keyspace, names: Args<'_>) -> Result<Operands<'k>, Error> {
    let mut sets = sets(keys, names)?.into_iter();
    Ok((sets.next().flatten(), sets.flatten().collect()))
}

fn sdiff(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let (first, mut others) = operands(ctx.keys, ctx.args.from(1))?;
    let Some(first) = first else {
        ctx.out.set(0);
        return Ok(());
    };
    if algebra::prefers_lookups(&first, &others) {
        write_set(ctx.out, |visit| algebra::subtract(first, &mut others, visit));
        return Ok(());
    }
    let result = algebra::difference(first, &mut others, &limits);
    write_result(ctx, result);
    Ok(())
}

fn sdiffstore(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let (first, mut others) = operands(ctx.keys, ctx.args.from(2))?;
    let result = match first {
        Some(first) => algebra::difference(first, &mut others, &limits),
        None => algebra::union(&[], &limits),
    };
    store(ctx, result, "sdiffstore");
    Ok(())
}
