//! Commands on hashes.

#[cfg(test)]
mod tests;

use super::scan;
use crate::base::number::{LongDouble, parse_i64};
use crate::resp::Reply;
use crate::server::command::{Begin, Command, Find, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::event::class;
use crate::store::{Edit, Keyspace, NewValue};
use crate::types::entry::Pair;
use crate::types::hash::{self, Hash, Limits};
use crate::types::{Inline, Slot, Value};

/// The first argument is the one key; what is done to it is said by the flags.
const fn key(flags: &'static [&'static str]) -> Keys {
    Keys { flags, begin: Begin::Index(1), find: Find::Range { last: 0, step: 1, limit: 0 } }
}

const BASE: Command =
    Command { since: "2.0.0", group: Group::Hash, categories: &["hash"], ..Command::BASE };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "hdel",
        summary: "Removes fields from a hash, and the key with the last of them",
        complexity: "O(N) for N fields given",
        arity: -3,
        flags: WRITE | FAST,
        keys: &[key(&["RW", "delete"])],
        args: "key field [field ...]",
        history: &[("2.4.0", "Takes several fields")],
        element: 2,
        handler: hdel,
        ..BASE
    },
    Command {
        name: "hexists",
        summary: "Tells whether a hash has a field",
        arity: 3,
        flags: READONLY | FAST,
        keys: &[key(&["RO"])],
        args: "key field",
        element: 2,
        handler: hexists,
        ..BASE
    },
    Command {
        name: "hget",
        summary: "Returns the value of a field of a hash",
        arity: 3,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key field",
        element: 2,
        handler: hget,
        ..BASE
    },
    Command {
        name: "hgetall",
        summary: "Returns all fields of a hash with their values",
        complexity: "O(N) for a hash of N fields",
        arity: 2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key",
        tips: &["nondeterministic_output_order"],
        handler: hgetall,
        ..BASE
    },
    Command {
        name: "hincrby",
        summary: "Adds to the integer in a field of a hash, which is 0 if there is none",
        arity: 4,
        flags: WRITE | DENYOOM | FAST,
        keys: &[key(&["RW", "access", "update"])],
        args: "key field increment",
        element: 2,
        handler: hincrby,
        ..BASE
    },
    Command {
        name: "hincrbyfloat",
        summary: "Adds to the number in a field of a hash, which is 0 if there is none",
        since: "2.6.0",
        arity: 4,
        flags: WRITE | DENYOOM | FAST,
        keys: &[key(&["RW", "access", "update"])],
        args: "key field increment:double",
        handler: hincrbyfloat,
        ..BASE
    },
    Command {
        name: "hkeys",
        summary: "Returns all fields of a hash",
        complexity: "O(N) for a hash of N fields",
        arity: 2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key",
        tips: &["nondeterministic_output_order"],
        handler: hkeys,
        ..BASE
    },
    Command {
        name: "hlen",
        summary: "Returns how many fields a hash has",
        arity: 2,
        flags: READONLY | FAST,
        keys: &[key(&["RO"])],
        args: "key",
        handler: hlen,
        ..BASE
    },
    Command {
        name: "hmget",
        summary: "Returns the values of several fields of a hash",
        complexity: "O(N) for N fields given",
        arity: -3,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key field [field ...]",
        element: 2,
        handler: hmget,
        ..BASE
    },
    Command {
        name: "hmset",
        summary: "Sets several fields of a hash",
        complexity: "O(N) for N fields given",
        arity: -4,
        flags: WRITE | DENYOOM | FAST,
        keys: &[key(&["RW", "update"])],
        args: "key field value [field value ...]",
        deprecated: Some(("`HSET` with multiple field-value pairs", "4.0.0")),
        handler: hmset,
        ..BASE
    },
    Command {
        name: "hrandfield",
        summary: "Returns fields of a hash drawn at random",
        since: "6.2.0",
        complexity: "O(N) for N fields returned",
        arity: -2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key [count [WITHVALUES]]",
        tips: &["nondeterministic_output"],
        handler: hrandfield,
        ..BASE
    },
    Command {
        name: "hscan",
        summary: "Goes through the fields of a hash in steps",
        since: "2.8.0",
        complexity: "O(1) for a step, O(N) for all steps through a hash of N fields",
        arity: -3,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key cursor [MATCH pattern] [COUNT count]",
        tips: &["nondeterministic_output"],
        handler: hscan,
        ..BASE
    },
    Command {
        name: "hset",
        summary: "Sets fields of a hash, which is created if there is none",
        complexity: "O(N) for N fields given",
        arity: -4,
        flags: WRITE | DENYOOM | FAST,
        keys: &[key(&["RW", "update"])],
        args: "key field value [field value ...]",
        history: &[("4.0.0", "Takes several fields with their values")],
        element: 2,
        handler: hset,
        ..BASE
    },
    Command {
        name: "hsetnx",
        summary: "Sets a field of a hash unless the hash has it",
        arity: 4,
        flags: WRITE | DENYOOM | FAST,
        keys: &[key(&["RW", "insert"])],
        args: "key field value",
        element: 2,
        handler: hsetnx,
        ..BASE
    },
    Command {
        name: "hstrlen",
        summary: "Returns how long the value of a field of a hash is",
        since: "3.2.0",
        arity: 3,
        flags: READONLY | FAST,
        keys: &[key(&["RO"])],
        args: "key field",
        handler: hstrlen,
        ..BASE
    },
    Command {
        name: "hvals",
        summary: "Returns all values of a hash",
        complexity: "O(N) for a hash of N fields",
        arity: 2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key",
        tips: &["nondeterministic_output_order"],
        handler: hvals,
        ..BASE
    },
];

/// The hash in a value, with all its fields.
#[inline]
pub(super) fn hash_of(value: Value<'_>) -> Result<Hash<'_>, Error> {
    Hash::of(value).ok_or(Error::WRONG_TYPE)
}

/// The hash at a key, if there is one, read on behalf of a client: without fields that are due.
#[inline]
pub(super) fn read<'a>(keys: &'a mut Keyspace, key: &[u8]) -> Result<Option<Hash<'a>>, Error> {
    let now_ms = keys.fields_now();
    keys.read(key).map(|view| hash_of(view.value()).map(|hash| hash.at(now_ms))).transpose()
}

/// The hash at a key, for change. A new one is empty, and must not stay so. Who calls this has
/// called [`Keyspace::expire_fields`] with the fields it looks at.
#[inline]
pub(super) fn upsert<'a>(keys: &'a mut Keyspace, key: &[u8]) -> Result<Edit<'a>, Error> {
    let edit = keys.upsert(key, NewValue::Inline(Inline::Hash, b""));
    hash_of(edit.value())?;
    Ok(edit)
}

pub(super) fn limits(ctx: &Ctx) -> Limits {
    let config = &ctx.server.config;
    Limits { entries: config.hash_max_listpack_entries, value: config.hash_max_listpack_value }
}

/// Sets the fields given as arguments; returns how many of them are new.
fn set_fields(ctx: &mut Ctx) -> Result<i64, Error> {
    if !ctx.args.len().is_multiple_of(2) {
        return Err(Error::arity(&ctx.entry.full_name));
    }
    let limits = limits(ctx);
    ctx.keys.expire_fields(ctx.args.get(1), ctx.args.from(2).iter().step_by(2));
    let mut edit = upsert(ctx.keys, ctx.args.get(1))?;
    let mut new = 0;
    for at in (2..ctx.args.len()).step_by(2) {
        let is_new = hash::insert(&mut edit, ctx.args.get(at), ctx.args.get(at + 1), &limits);
        new += i64::from(is_new);
    }
    edit.notify(class::HASH, "hset");
    Ok(new)
}

fn hset(ctx: &mut Ctx) -> Result<(), Error> {
    let new = set_fields(ctx)?;
    ctx.out.int(new);
    Ok(())
}

fn hmset(ctx: &mut Ctx) -> Result<(), Error> {
    set_fields(ctx)?;
    ctx.out.ok();
    Ok(())
}

fn hsetnx(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let (field, value) = (ctx.arg(2), ctx.arg(3));
    ctx.keys.expire_fields(ctx.args.get(1), std::iter::once(field));
    let mut edit = upsert(ctx.keys, ctx.args.get(1))?;
    let is_new = hash_of(edit.value())?.get(field).is_none();
    if is_new {
        hash::insert(&mut edit, field, value, &limits);
        edit.notify(class::HASH, "hset");
    }
    ctx.out.int(is_new.into());
    Ok(())
}

fn hdel(ctx: &mut Ctx) -> Result<(), Error> {
    let mut removed = 0;
    ctx.keys.expire_fields(ctx.args.get(1), ctx.args.from(2).iter());
    if let Some(mut edit) = ctx.keys.edit(ctx.args.get(1)) {
        hash_of(edit.value())?;
        for field in ctx.args.from(2).iter() {
            removed += i64::from(hash::remove(&mut edit, field));
        }
        if removed > 0 {
            edit.notify(class::HASH, "hdel");
        }
        if hash_of(edit.value())?.is_empty() {
            edit.remove_emptied();
        }
    }
    ctx.out.int(removed);
    Ok(())
}

fn hincrby(ctx: &mut Ctx) -> Result<(), Error> {
    let increment = ctx.int_arg(3)?;
    let limits = limits(ctx);
    let field = ctx.arg(2);
    ctx.keys.expire_fields(ctx.args.get(1), std::iter::once(field));
    // Nothing fails after this if the hash is new: its field counts as 0.
    let mut edit = upsert(ctx.keys, ctx.args.get(1))?;
    let old = match hash_of(edit.value())?.get(field) {
        None => 0,
        Some(text) => parse_i64(text).ok_or(Error::Static("ERR hash value is not an integer"))?,
    };
    let overflow = Error::Static("ERR increment or decrement would overflow");
    let new = old.checked_add(increment).ok_or(overflow)?;
    hash::update(&mut edit, field, itoa::Buffer::new().format(new).as_bytes(), &limits);
    edit.notify(class::HASH, "hincrby");
    ctx.out.int(new);
    Ok(())
}

fn hincrbyfloat(ctx: &mut Ctx) -> Result<(), Error> {
    let increment = LongDouble::parse(ctx.arg(3)).ok_or(Error::NOT_A_FLOAT)?;
    if !increment.is_finite() {
        return Err(Error::Static("ERR value is NaN or Infinity"));
    }
    let limits = limits(ctx);
    let (key, field) = (ctx.arg(1), ctx.arg(2));
    ctx.keys.expire_fields(key, std::iter::once(field));
    // Nothing fails after this if the hash is new: its field counts as 0.
    let mut edit = upsert(ctx.keys, key)?;
    let expires = hash_of(edit.value())?.expire_at(field).flatten().is_some();
    let new = match hash_of(edit.value())?.get(field) {
        None => increment,
        Some(text) => {
            let old = LongDouble::parse(text);
            old.ok_or(Error::Static("ERR hash value is not a float"))? + increment
        }
    };
    if !new.is_finite() {
        return Err(Error::Static("ERR increment would produce NaN or Infinity"));
    }
    let text = new.to_human();
    hash::update(&mut edit, field, &text, &limits);
    edit.notify(class::HASH, "hincrbyfloat");
    drop(edit);
    ctx.out.bulk(&text);
    // Whoever repeats the command must not add with other arithmetic. Older servers read HSET.
    if expires {
        ctx.propagate([b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, &text]);
    } else {
        ctx.propagate([b"HSET", key, field, &text]);
    }
    Ok(())
}

fn hget(ctx: &mut Ctx) -> Result<(), Error> {
    let hash = read(ctx.keys, ctx.args.get(1))?;
    match hash.and_then(|hash| hash.get(ctx.args.get(2))) {
        Some(value) => ctx.out.bulk(value),
        None => ctx.out.null(),
    }
    Ok(())
}

fn hmget(ctx: &mut Ctx) -> Result<(), Error> {
    let most = ctx.most_output();
    let hash = read(ctx.keys, ctx.args.get(1))?;
    let fields = ctx.args.from(2);
    ctx.out.array(fields.len());
    for field in fields.iter() {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => ctx.out.bulk(value),
            None => ctx.out.null(),
        }
        if ctx.out.within(most).is_break() {
            break;
        }
    }
    ctx.check_output(most);
    Ok(())
}

fn hexists(ctx: &mut Ctx) -> Result<(), Error> {
    let hash = read(ctx.keys, ctx.args.get(1))?;
    let value = hash.and_then(|hash| hash.get(ctx.args.get(2)));
    ctx.out.int(value.is_some().into());
    Ok(())
}

fn hstrlen(ctx: &mut Ctx) -> Result<(), Error> {
    let hash = read(ctx.keys, ctx.args.get(1))?;
    let value = hash.and_then(|hash| hash.get(ctx.args.get(2)));
    ctx.out.int(value.map_or(0, <[u8]>::len) as i64);
    Ok(())
}

fn hlen(ctx: &mut Ctx) -> Result<(), Error> {
    let hash = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.int(hash.map_or(0, |hash| hash.len()) as i64);
    Ok(())
}

fn hgetall(ctx: &mut Ctx) -> Result<(), Error> {
    let hash = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.map(hash.map_or(0, |hash| hash.len()));
    hash.iter().flat_map(Hash::iter).for_each(|(field, value)| {
        ctx.out.bulk(field);
        ctx.out.bulk(value);
    });
    Ok(())
}

fn hkeys(ctx: &mut Ctx) -> Result<(), Error> {
    let hash = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.array(hash.map_or(0, |hash| hash.len()));
    hash.iter().flat_map(Hash::iter).for_each(|(field, _)| ctx.out.bulk(field));
    Ok(())
}

fn hvals(ctx: &mut Ctx) -> Result<(), Error> {
    let hash = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.array(hash.map_or(0, |hash| hash.len()));
    hash.iter().flat_map(Hash::iter).for_each(|(_, value)| ctx.out.bulk(value));
    Ok(())
}

fn hrandfield(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.args.len() == 2 {
        let hash = read(ctx.keys, ctx.args.get(1))?;
        match hash.and_then(|hash| hash.random(&mut ctx.server.rng)) {
            Some((field, _)) => ctx.out.bulk(field),
            None => ctx.out.null(),
        }
        return Ok(());
    }
    let (count, with_values) = random_options(ctx)?;
    let most = ctx.most_output();
    let Some(hash) = read(ctx.keys, ctx.args.get(1))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let len = if count < 0 { wanted } else { wanted.min(hash.len()) };
    let (out, rng) = (&mut *ctx.out, &mut ctx.server.rng);
    let pairs = with_values && out.is_resp3();
    out.array(if with_values && !pairs { len * 2 } else { len });
    let write = |out: &mut Reply, (field, value)| {
        if pairs {
            out.array(2);
        }
        out.bulk(field);
        if with_values {
            out.bulk(value);
        }
    };
    if count < 0 {
        _ = hash.draw(len as u64, rng, |pair| {
            write(out, pair);
            out.within(most)
        });
        ctx.check_output(most);
    } else {
        hash.sample(len, rng, |pair| write(out, pair));
    }
    Ok(())
}

/// The count of HRANDFIELD, and whether values are wanted. A reply holds twice the count then, and
/// says so in a signed number.
fn random_options(ctx: &Ctx) -> Result<(i64, bool), Error> {
    let count = ctx.int_arg(2)?;
    if count == i64::MIN {
        let (least, most) = (-i64::MAX, i64::MAX);
        let text = format!("ERR value is out of range, value must between {least} and {most}");
        return Err(Error::Text(text));
    }
    let with_values = ctx.args.len() > 3;
    if ctx.args.len() > 4 || with_values && !ctx.is_word(3, "withvalues") {
        return Err(Error::SYNTAX);
    }
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Error::OUT_OF_RANGE);
    }
    Ok((count, with_values))
}

fn hscan(ctx: &mut Ctx) -> Result<(), Error> {
    let cursor = scan::cursor(ctx.arg(2))?;
    let hash = read(ctx.keys, ctx.args.get(1))?;
    scan::reply(ctx.out, cursor, ctx.args.from(3), hash)
}

impl<'a> scan::Scanned for Hash<'a> {
    type Element = Pair<'a>;
    const PARTS: usize = 2;

    fn step(&self, cursor: u64, visit: impl FnMut(Pair<'a>)) -> u64 {
        self.scan(cursor, visit)
    }

    fn matches((field, _): &Pair<'a>, options: &scan::Options<'_>) -> bool {
        options.matches(field)
    }

    fn write((field, value): Pair<'a>, out: &mut Reply) {
        out.bulk(field);
        out.bulk(value);
    }
}
