//! Commands on sets.

mod algebra;
#[cfg(test)]
mod tests;

use super::scan;
use crate::base::number::parse_i64;
use crate::base::rng::Rng;
use crate::resp::Reply;
use crate::resp::parse::OwnedArgs;
use crate::server::command::{Command, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::{Ctx, Propagation};
use crate::server::error::Error;
use crate::store::db::{Entry, Vacant};
use crate::store::event::class;
use crate::store::{Edit, Keyspace, NewValue};
use crate::types::set::{self, Limits, Member, Set};
use crate::types::{Loose, Slot, Value};

pub use algebra::COMMANDS as ALGEBRA;

const BASE: Command =
    Command { since: "1.0.0", group: Group::Set, categories: &["set"], ..Command::BASE };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        summary: "Adds members to a set, which is created if there is none",
        complexity: "O(N) for N members given",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        keys: &[Keys::at(1, &["RW", "insert"])],
        args: "key member...",
        history: &[("2.4.0", "Takes several members")],
        element: 2,
        handler: sadd,
        ..BASE
    },
    Command {
        name: "scard",
        summary: "Returns how many members a set has",
        complexity: "O(1), but O(N) for a set of N members in the compact form",
        arity: 2,
        flags: READONLY | FAST,
        keys: &[Keys::at(1, &["RO"])],
        args: "key",
        handler: scard,
        ..BASE
    },
    Command {
        name: "sismember",
        summary: "Tells whether a set has a member",
        arity: 3,
        flags: READONLY | FAST,
        keys: &[Keys::at(1, &["RO"])],
        args: "key member",
        element: 2,
        handler: sismember,
        ..BASE
    },
    Command {
        name: "smembers",
        summary: "Returns all members of a set",
        complexity: "O(N) for a set of N members",
        arity: 2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key",
        tips: &["nondeterministic_output_order"],
        handler: smembers,
        ..BASE
    },
    Command {
        name: "smismember",
        summary: "Tells which of the members given a set has",
        since: "6.2.0",
        complexity: "O(N) for N members given",
        arity: -3,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key member...",
        element: 2,
        handler: smismember,
        ..BASE
    },
    Command {
        name: "smove",
        summary: "Moves a member from one set to another",
        arity: 4,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "access", "delete"]), Keys::at(2, &["RW", "insert"])],
        args: "source destination member",
        handler: smove,
        ..BASE
    },
    Command {
        name: "spop",
        summary: "Removes members drawn at random and returns them",
        complexity: "O(N) for N members removed",
        arity: -2,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "access", "delete"])],
        args: "key [count]@3.2.0",
        tips: &["nondeterministic_output"],
        history: &[("3.2.0", "Takes a count")],
        handler: spop,
        ..BASE
    },
    Command {
        name: "srandmember",
        summary: "Returns members drawn at random",
        complexity: "O(N) for N members returned",
        arity: -2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key [count]@2.6.0",
        tips: &["nondeterministic_output"],
        history: &[("2.6.0", "Takes a count")],
        handler: srandmember,
        ..BASE
    },
    Command {
        name: "srem",
        summary: "Removes members from a set, and the key with the last of them",
        complexity: "O(N) for N members given",
        arity: -3,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "delete"])],
        args: "key member...",
        history: &[("2.4.0", "Takes several members")],
        element: 2,
        handler: srem,
        ..BASE
    },
    Command {
        name: "sscan",
        summary: "Goes through the members of a set in steps",
        since: "2.8.0",
        complexity: "O(1) for a step, O(N) for all steps through a set of N members",
        arity: -3,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key cursor [MATCH pattern] [COUNT count]",
        tips: &["nondeterministic_output"],
        handler: sscan,
        ..BASE
    },
];

#[inline]
fn set_of(value: Value<'_>) -> Result<Set<'_>, Error> {
    Set::of(value).ok_or(Error::WRONG_TYPE)
}

/// The set at a key, if there is one, read on behalf of a client.
#[inline]
fn read<'a>(keys: &'a mut Keyspace, key: &[u8]) -> Result<Option<Set<'a>>, Error> {
    keys.read(key).map(|view| set_of(view.value())).transpose()
}

fn limits(ctx: &Ctx) -> Limits {
    let config = &ctx.server.config;
    Limits {
        ints: config.set_max_intset_entries,
        entries: config.set_max_listpack_entries,
        value: config.set_max_listpack_value,
    }
}

fn write(out: &mut Reply, member: Member<'_>) {
    match member {
        Member::Int(number) => out.bulk_int(number),
        Member::Text(text) => out.bulk(text),
    }
}

/// Creates the key of a set that is to get so many members, `first` among them.
fn create<'a>(vacant: Vacant<'a>, first: &[u8], members: usize, limits: &Limits) -> Edit<'a> {
    match set::empty(Member::Text(first), members, limits) {
        Loose::Inline(kind, bytes) => vacant.insert(NewValue::Inline(kind, &bytes), None),
        Loose::Object(object) => vacant.insert(NewValue::Object(Box::new(object)), None),
    }
}

fn sadd(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let members = ctx.args.from(2);
    let mut edit = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Vacant(vacant) => create(vacant, members.get(0), members.len(), &limits),
        Entry::Occupied(mut edit) => {
            set_of(edit.value())?;
            set::prepare(&mut edit, members.len(), &limits);
            edit
        }
    };
    let mut added = 0;
    for member in members.iter() {
        added += i64::from(set::insert(&mut edit, Member::Text(member), &limits));
    }
    if added > 0 {
        edit.notify(class::SET, "sadd");
    }
    ctx.out.int(added);
    Ok(())
}

fn srem(ctx: &mut Ctx) -> Result<(), Error> {
    let mut removed = 0;
    if let Some(mut edit) = ctx.keys.edit(ctx.args.get(1)) {
        set_of(edit.value())?;
        for member in ctx.args.from(2).iter() {
            removed += i64::from(set::remove(&mut edit, Member::Text(member)));
        }
        if removed > 0 {
            edit.notify(class::SET, "srem");
            remove_if_empty(edit)?;
        }
    }
    ctx.out.int(removed);
    Ok(())
}

fn remove_if_empty(edit: Edit<'_>) -> Result<(), Error> {
    if set_of(edit.value())?.is_empty() {
        edit.remove_emptied();
    }
    Ok(())
}

fn smove(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let (from, to, member) = (ctx.arg(1), ctx.arg(2), ctx.arg(3));
    let Some(source) = ctx.keys.edit(from) else {
        ctx.out.int(0);
        return Ok(());
    };
    let is_there = set_of(source.value())?.contains(Member::Text(member));
    drop(source);
    if let Some(destination) = ctx.keys.edit(to) {
        set_of(destination.value())?;
    }
    ctx.out.int(is_there.into());
    if from == to || !is_there {
        return Ok(());
    }
    if let Some(mut source) = ctx.keys.edit(from) {
        set::remove(&mut source, Member::Text(member));
        source.notify(class::SET, "srem");
        remove_if_empty(source)?;
    }
    let mut destination = match ctx.keys.entry(to) {
        Entry::Vacant(vacant) => create(vacant, member, 1, &limits),
        Entry::Occupied(edit) => edit,
    };
    if set::insert(&mut destination, Member::Text(member), &limits) {
        destination.notify(class::SET, "sadd");
    }
    Ok(())
}

fn sismember(ctx: &mut Ctx) -> Result<(), Error> {
    let set = read(ctx.keys, ctx.args.get(1))?;
    let found = set.is_some_and(|set| set.contains(Member::Text(ctx.args.get(2))));
    ctx.out.int(found.into());
    Ok(())
}

fn smismember(ctx: &mut Ctx) -> Result<(), Error> {
    let set = read(ctx.keys, ctx.args.get(1))?;
    let members = ctx.args.from(2);
    ctx.out.array(members.len());
    for member in members.iter() {
        let found = set.is_some_and(|set| set.contains(Member::Text(member)));
        ctx.out.int(found.into());
    }
    Ok(())
}

fn scard(ctx: &mut Ctx) -> Result<(), Error> {
    let set = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.int(set.map_or(0, |set| set.len()) as i64);
    Ok(())
}

fn smembers(ctx: &mut Ctx) -> Result<(), Error> {
    let set = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.set(set.map_or(0, |set| set.len()));
    set.iter().flat_map(Set::iter).for_each(|member| write(ctx.out, member));
    Ok(())
}

fn spop(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.args.len() {
        2 => pop_one(ctx),
        3 => pop_many(ctx),
        _ => Err(Error::SYNTAX),
    }
}

/// Takes a member drawn at random out of a set and gives its text.
fn pop(edit: &mut Edit<'_>, rng: &mut Rng) -> Result<Option<Vec<u8>>, Error> {
    let member = set_of(edit.value())?.random(rng);
    let text = member.map(|member| member.with_text(<[u8]>::to_vec));
    if let Some(text) = &text {
        set::remove(edit, Member::Text(text));
    }
    Ok(text)
}

fn pop_one(ctx: &mut Ctx) -> Result<(), Error> {
    let key = ctx.arg(1);
    let popped = match ctx.keys.edit(key) {
        None => None,
        Some(mut edit) => {
            let popped = pop(&mut edit, &mut ctx.server.rng)?;
            edit.notify(class::SET, "spop");
            remove_if_empty(edit)?;
            popped
        }
    };
    match popped {
        None => ctx.out.null(),
        Some(text) => {
            ctx.out.bulk(&text);
            // Whoever repeats the command must not draw another one.
            ctx.propagate([b"SREM", key, &text]);
        }
    }
    Ok(())
}

/// Members that one SREM names when many were popped.
const SREM_MEMBERS: usize = 1024;
/// With fewer members left than a fifth of those popped, Redis makes a new set of those left.
const LEFT_SHARE: usize = 5;

fn pop_many(ctx: &mut Ctx) -> Result<(), Error> {
    let count = count_arg(ctx)?;
    let (key, limits) = (ctx.arg(1), limits(ctx));
    let Some(mut edit) = ctx.keys.edit(key) else {
        ctx.out.set(0);
        return Ok(());
    };
    let set = set_of(edit.value())?;
    let len = set.len();
    ctx.out.set(count.min(len));
    if count == 0 {
        return Ok(());
    }
    edit.notify(class::SET, "spop");
    if count >= len {
        set_of(edit.value())?.iter().for_each(|member| write(ctx.out, member));
        edit.remove_emptied();
        let lazy = ctx.server.config.lazyfree_lazy_server_del;
        ctx.propagate([if lazy { &b"UNLINK"[..] } else { b"DEL" }, key]);
        return Ok(());
    }
    let (out, rng, recorded) = (&mut *ctx.out, &mut ctx.server.rng, ctx.recorded);
    let mut commands = Vec::new();
    let mut note = |text: &[u8]| {
        out.bulk(text);
        if recorded {
            add_to_last(&mut commands, key, text);
        }
    };
    let left = len - count;
    if left.saturating_mul(LEFT_SHARE) > count {
        for _ in 0..count {
            pop(&mut edit, rng)?.iter().for_each(|text| note(text));
        }
    } else {
        set::retain_random(&mut edit, left, rng, &limits, |member| member.with_text(&mut note));
    }
    drop(edit);
    if recorded {
        ctx.propagation = Propagation::Rewritten(commands);
    }
    Ok(())
}

/// Adds a member to the last of a row of SREMs, or to a new one if that is long.
fn add_to_last(commands: &mut Vec<OwnedArgs>, key: &[u8], text: &[u8]) {
    match commands.last_mut() {
        Some(last) if last.args().len() < 2 + SREM_MEMBERS => last.push(text),
        _ => commands.push([b"SREM", key, text].iter().collect()),
    }
}

/// The count of SPOP.
fn count_arg(ctx: &Ctx) -> Result<usize, Error> {
    let count = parse_i64(ctx.arg(2)).and_then(|count| usize::try_from(count).ok());
    count.ok_or(Error::Static("ERR value is out of range, must be positive"))
}

fn srandmember(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.args.len() {
        2 => {
            let set = read(ctx.keys, ctx.args.get(1))?;
            match set.and_then(|set| set.random(&mut ctx.server.rng)) {
                Some(member) => write(ctx.out, member),
                None => ctx.out.null(),
            }
            Ok(())
        }
        3 => draw_many(ctx),
        _ => Err(Error::SYNTAX),
    }
}

fn draw_many(ctx: &mut Ctx) -> Result<(), Error> {
    let count = ctx.int_arg(2)?;
    if count == i64::MIN {
        let (least, most) = (-i64::MAX, i64::MAX);
        let text = format!("ERR value is out of range, value must between {least} and {most}");
        return Err(Error::Text(text));
    }
    let most = ctx.most_output();
    let Some(set) = read(ctx.keys, ctx.args.get(1))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let (out, rng) = (&mut *ctx.out, &mut ctx.server.rng);
    if count < 0 {
        out.array(wanted);
        _ = set.draw(count.unsigned_abs(), rng, |member| {
            write(out, member);
            out.within(most)
        });
        ctx.check_output(most);
    } else {
        let len = wanted.min(set.len());
        out.array(len);
        set.sample(len, rng, |member| write(out, member));
    }
    Ok(())
}

fn sscan(ctx: &mut Ctx) -> Result<(), Error> {
    let cursor = scan::cursor(ctx.arg(2))?;
    let set = read(ctx.keys, ctx.args.get(1))?;
    scan::reply(ctx.out, cursor, ctx.args.from(3), set)
}

impl<'a> scan::Scanned for Set<'a> {
    type Element = Member<'a>;
    const PARTS: usize = 1;

    fn step(&self, cursor: u64, visit: impl FnMut(Member<'a>)) -> u64 {
        self.scan(cursor, visit)
    }

    fn matches(member: &Member<'a>, options: &scan::Options<'_>) -> bool {
        member.with_text(|text| options.matches(text))
    }

    fn write(member: Member<'a>, out: &mut Reply) {
        write(out, member);
    }
}
