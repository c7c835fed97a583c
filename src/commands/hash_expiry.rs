//! Commands on hashes whose fields expire: those of Redis 7.4 and 8.0.
//!
//! What the append-only file sees has absolute times, and names the fields that were found.

use super::expiration::{Condition, Expiration, invalid_time, is_past};
use super::hash::{hash_of, limits, read, upsert};
use crate::base::number::parse_i64;
use crate::resp::{Args, Reply};
use crate::server::command::{Command, Group, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::event::class;
use crate::store::{Edit, Keyspace};
use crate::types::Slot;
use crate::types::hash;

#[cfg(test)]
mod tests;

/// What is answered for a field that is not there.
const NO_FIELD: i64 = -2;
/// ... and for one that does not expire.
const NO_EXPIRY: i64 = -1;

const FIELDS: &str = "key FIELDS fields:(numfields:integer field...)";
const COMPLEXITY: &str = "O(N) for N fields given";

const BASE: Command = Command {
    since: "7.4.0",
    group: Group::Hash,
    complexity: COMPLEXITY,
    categories: &["hash"],
    ..Command::BASE
};

const EXPIRE: Command = Command {
    arity: -6,
    flags: WRITE | DENYOOM | FAST,
    keys: &[Keys::at(1, &["RW", "update"])],
    ..BASE
};

const TTL: Command = Command {
    arity: -5,
    flags: READONLY | FAST,
    keys: &[Keys::at(1, &["RO", "access"])],
    args: FIELDS,
    ..BASE
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "hexpire",
        summary: "Lets fields of a hash expire after some seconds",
        args: "key seconds condition:[NX | XX | GT | LT] \
               FIELDS fields:(numfields:integer field...)",
        handler: |ctx| expire(ctx, 1000, false),
        ..EXPIRE
    },
    Command {
        name: "hexpireat",
        summary: "Lets fields of a hash expire at a Unix time in seconds",
        args: "key unix-time-seconds condition:[NX | XX | GT | LT] \
               FIELDS fields:(numfields:integer field...)",
        handler: |ctx| expire(ctx, 1000, true),
        ..EXPIRE
    },
    Command {
        name: "hexpiretime",
        summary: "Returns the Unix times in seconds at which fields of a hash expire",
        handler: |ctx| ttl(ctx, 1000, true),
        ..TTL
    },
    Command {
        name: "hgetdel",
        summary: "Returns the values of fields of a hash and removes them, and the key with the \
                  last of them",
        since: "8.0.0",
        arity: -5,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "access", "delete"])],
        args: FIELDS,
        handler: hgetdel,
        ..BASE
    },
    Command {
        name: "hgetex",
        summary: "Returns the values of fields of a hash, and sets or takes away when they expire",
        since: "8.0.0",
        arity: -5,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "access", "update"])],
        args: "key expiration:[EX seconds | PX milliseconds | EXAT unix-time-seconds | \
               PXAT unix-time-milliseconds | PERSIST] FIELDS fields:(numfields:integer field...)",
        handler: hgetex,
        ..BASE
    },
    Command {
        name: "hpersist",
        summary: "Takes away the expiry of fields of a hash",
        arity: -5,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "update"])],
        args: FIELDS,
        handler: hpersist,
        ..BASE
    },
    Command {
        name: "hpexpire",
        summary: "Lets fields of a hash expire after some milliseconds",
        args: "key milliseconds condition:[NX | XX | GT | LT] \
               FIELDS fields:(numfields:integer field...)",
        handler: |ctx| expire(ctx, 1, false),
        ..EXPIRE
    },
    Command {
        name: "hpexpireat",
        summary: "Lets fields of a hash expire at a Unix time in milliseconds",
        args: "key unix-time-milliseconds condition:[NX | XX | GT | LT] \
               FIELDS fields:(numfields:integer field...)",
        handler: |ctx| expire(ctx, 1, true),
        ..EXPIRE
    },
    Command {
        name: "hpexpiretime",
        summary: "Returns the Unix times in milliseconds at which fields of a hash expire",
        handler: |ctx| ttl(ctx, 1, true),
        ..TTL
    },
    Command {
        name: "hpttl",
        summary: "Returns the milliseconds after which fields of a hash expire",
        tips: &["nondeterministic_output"],
        handler: |ctx| ttl(ctx, 1, false),
        ..TTL
    },
    Command {
        name: "hsetex",
        summary: "Sets fields of a hash, and when they expire",
        since: "8.0.0",
        arity: -6,
        flags: WRITE | DENYOOM | FAST,
        keys: &[Keys::at(1, &["RW", "update"])],
        args: "key condition:[FNX | FXX] expiration:[EX seconds | PX milliseconds | \
               EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] \
               FIELDS fields:(numfields:integer data:(field value)...)",
        handler: hsetex,
        ..BASE
    },
    Command {
        name: "httl",
        summary: "Returns the seconds after which fields of a hash expire",
        tips: &["nondeterministic_output"],
        handler: |ctx| ttl(ctx, 1000, false),
        ..TTL
    },
];

/// The fields that are listed, with their number, behind the word FIELDS at an argument.
fn fields_at<'a>(ctx: &Ctx<'a>, at: usize, bad_number: &'static str) -> Result<Args<'a>, Error> {
    if !ctx.is_word(at, "fields") {
        return Err(Error::Static(
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ));
    }
    if at + 1 >= ctx.args.len() {
        return Err(Error::arity(&ctx.entry.full_name));
    }
    let number = parse_i64(ctx.arg(at + 1)).filter(|number| *number > 0);
    let number = number.ok_or(Error::Static(bad_number))?;
    if number != (ctx.args.len() - at - 2) as i64 {
        return Err(Error::Static(
            "ERR The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(ctx.args.from(at + 2))
}

const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// When fields are to expire, in milliseconds since 1970, by the number in an argument. `unit_ms`
/// is its unit, and it counts from 1970 or from now.
fn deadline(ctx: &Ctx, index: usize, unit_ms: i64, absolute: bool) -> Result<i64, Error> {
    let number = ctx.int_arg(index)?;
    if number < 0 {
        return Err(Error::Static("ERR invalid expire time, must be >= 0"));
    }
    let start = if absolute { 0 } else { ctx.now_ms() };
    let when = number.checked_mul(unit_ms).and_then(|ms| ms.checked_add(start));
    when.filter(|when| *when <= hash::MAX_EXPIRE_AT).ok_or_else(|| invalid_time(ctx))
}

fn deadline_by(ctx: &Ctx, kind: Expiration, index: usize) -> Result<i64, Error> {
    deadline(ctx, index, kind.unit_ms(), kind.is_absolute())
}

/// Opens the hash at a key for a command that changes these fields: those that were due are gone.
fn open<'k>(
    keys: &'k mut Keyspace,
    key: &'k [u8],
    fields: Option<Args<'_>>,
) -> Result<Option<Edit<'k>>, Error> {
    if let Some(fields) = fields {
        keys.expire_fields(key, fields.iter());
    }
    let edit = keys.edit(key);
    if let Some(edit) = &edit {
        hash_of(edit.value())?;
    }
    Ok(edit)
}

/// Answers the same for each field.
fn answer_each(ctx: &mut Ctx, fields: Args<'_>, answer: impl Fn(&mut Reply)) -> Result<(), Error> {
    ctx.out.array(fields.len());
    fields.iter().for_each(|_| answer(ctx.out));
    Ok(())
}

/// Ends a change: fires its event, and removes the key if its last field was.
fn finish(mut edit: Edit<'_>, event: &'static str) -> Result<(), Error> {
    edit.notify(class::HASH, event);
    if hash_of(edit.value())?.is_empty() {
        edit.remove_emptied();
    }
    Ok(())
}

/// What the append-only file sees of fields that were removed.
fn propagate_removal(ctx: &mut Ctx, fields: &[&[u8]]) {
    let key = ctx.arg(1);
    ctx.propagate([b"HDEL", key].into_iter().chain(fields.iter().copied()));
}

/// ... and of fields that expire at a time, or do not expire any more.
fn propagate_expiry(ctx: &mut Ctx, when: Option<i64>, fields: &[&[u8]]) {
    if !ctx.recorded {
        return;
    }
    let key = ctx.arg(1);
    let (mut time, mut number) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut words: Vec<&[u8]> = match when {
        Some(when) => vec![b"HPEXPIREAT", key, time.format(when).as_bytes()],
        None => vec![b"HPERSIST", key],
    };
    words.extend([b"FIELDS", number.format(fields.len()).as_bytes()]);
    ctx.propagate(words.into_iter().chain(fields.iter().copied()));
}

/// The arguments of HEXPIRE and its relatives.
struct Expire<'a> {
    when: i64,
    condition: Condition,
    fields: Args<'a>,
}

impl<'a> Expire<'a> {
    fn parse(ctx: &Ctx<'a>, unit_ms: i64, absolute: bool) -> Result<Expire<'a>, Error> {
        let when = deadline(ctx, 2, unit_ms, absolute)?;
        let mut condition = Condition::default();
        let given = condition.set(ctx.arg(3));
        let bad_number = "ERR Parameter `numFields` should be greater than 0";
        let fields = fields_at(ctx, if given { 4 } else { 3 }, bad_number)?;
        Ok(Expire { when, condition, fields })
    }
}

/// HEXPIRE and its relatives: the time's unit in milliseconds, and whether it counts from 1970 or
/// from now.
fn expire(ctx: &mut Ctx, unit_ms: i64, absolute: bool) -> Result<(), Error> {
    let parsed = Expire::parse(ctx, unit_ms, absolute);
    let past = parsed.as_ref().is_ok_and(|parsed| is_past(ctx, parsed.when));
    let named = parsed.as_ref().ok().map(|parsed| parsed.fields);
    let Some(mut edit) = open(ctx.keys, ctx.args.get(1), named)? else {
        return answer_each(ctx, parsed?.fields, |out| out.int(NO_FIELD));
    };
    let Expire { when, condition, fields } = parsed?;
    ctx.out.array(fields.len());
    let mut changed = Vec::new();
    for field in fields.iter() {
        let answer = match hash_of(edit.value())?.expire_at(field) {
            None => NO_FIELD,
            Some(present) if !condition.holds(present, when) => 0,
            Some(_) => {
                changed.push(field);
                set_or_remove(&mut edit, field, when, past)
            }
        };
        ctx.out.int(answer);
    }
    if changed.is_empty() {
        return Ok(());
    }
    finish(edit, if past { "hdel" } else { "hexpire" })?;
    match past {
        true => propagate_removal(ctx, &changed),
        false => propagate_expiry(ctx, Some(when), &changed),
    }
    Ok(())
}

/// Lets a field expire, or removes it if its time is past; returns what HEXPIRE answers.
fn set_or_remove(edit: &mut Edit<'_>, field: &[u8], when: i64, past: bool) -> i64 {
    if past {
        hash::remove(edit, field);
        2
    } else {
        hash::set_expire_at(edit, field, Some(when));
        1
    }
}

/// HTTL and its relatives: the unit of the answers in milliseconds, and whether they count from
/// 1970 or from now.
fn ttl(ctx: &mut Ctx, unit_ms: i64, absolute: bool) -> Result<(), Error> {
    let parsed = fields_at(ctx, 2, NOT_POSITIVE);
    let start = if absolute { 0 } else { ctx.now_ms() };
    let hash = read(ctx.keys, ctx.args.get(1))?;
    let fields = parsed?;
    ctx.out.array(fields.len());
    for field in fields.iter() {
        ctx.out.int(match hash.and_then(|hash| hash.expire_at(field)) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            // A second that has begun counts.
            Some(Some(when)) => ((when - start).max(0) + unit_ms - 1) / unit_ms,
        });
    }
    Ok(())
}

fn hpersist(ctx: &mut Ctx) -> Result<(), Error> {
    let parsed = fields_at(ctx, 2, NOT_POSITIVE);
    let named = parsed.as_ref().ok().copied();
    let Some(mut edit) = open(ctx.keys, ctx.args.get(1), named)? else {
        return answer_each(ctx, parsed?, |out| out.int(NO_FIELD));
    };
    let fields = parsed?;
    ctx.out.array(fields.len());
    let mut changed = Vec::new();
    for field in fields.iter() {
        ctx.out.int(match hash_of(edit.value())?.expire_at(field) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            Some(Some(_)) => {
                hash::set_expire_at(&mut edit, field, None);
                changed.push(field);
                1
            }
        });
    }
    if !changed.is_empty() {
        finish(edit, "hpersist")?;
        propagate_expiry(ctx, None, &changed);
    }
    Ok(())
}

fn hgetdel(ctx: &mut Ctx) -> Result<(), Error> {
    let parsed = fields_at(ctx, 2, NOT_POSITIVE);
    let named = parsed.as_ref().ok().copied();
    let Some(mut edit) = open(ctx.keys, ctx.args.get(1), named)? else {
        return answer_each(ctx, parsed?, |out| out.null());
    };
    let fields = parsed?;
    ctx.out.array(fields.len());
    let mut removed = Vec::new();
    for field in fields.iter() {
        match hash_of(edit.value())?.get(field) {
            None => ctx.out.null(),
            Some(value) => {
                ctx.out.bulk(value);
                hash::remove(&mut edit, field);
                removed.push(field);
            }
        }
    }
    if !removed.is_empty() {
        finish(edit, "hdel")?;
        propagate_removal(ctx, &removed);
    }
    Ok(())
}

/// What HGETEX does to the fields it returns.
#[derive(Clone, Copy)]
enum Change {
    None,
    Persist,
    At(i64),
}

fn hgetex_arguments<'a>(ctx: &Ctx<'a>) -> Result<(Change, Args<'a>), Error> {
    let (change, at) = match Expiration::named(ctx.arg(2)) {
        Some(kind) => (Change::At(deadline_by(ctx, kind, 3)?), 4),
        None if ctx.is_word(2, "persist") => (Change::Persist, 3),
        None => (Change::None, 2),
    };
    Ok((change, fields_at(ctx, at, NOT_POSITIVE)?))
}

fn hgetex(ctx: &mut Ctx) -> Result<(), Error> {
    let parsed = hgetex_arguments(ctx);
    let past = matches!(&parsed, Ok((Change::At(when), _)) if is_past(ctx, *when));
    let named = parsed.as_ref().ok().map(|parsed| parsed.1);
    let Some(mut edit) = open(ctx.keys, ctx.args.get(1), named)? else {
        return answer_each(ctx, parsed?.1, |out| out.null());
    };
    let (change, fields) = parsed?;
    ctx.out.array(fields.len());
    let mut changed = Vec::new();
    for field in fields.iter() {
        let hash = hash_of(edit.value())?;
        let Some(value) = hash.get(field) else {
            ctx.out.null();
            continue;
        };
        ctx.out.bulk(value);
        match change {
            Change::Persist if hash.expire_at(field) != Some(None) => {
                hash::set_expire_at(&mut edit, field, None);
            }
            Change::At(when) => _ = set_or_remove(&mut edit, field, when, past),
            _ => continue,
        }
        changed.push(field);
    }
    if changed.is_empty() {
        return Ok(());
    }
    match change {
        Change::At(_) if past => {
            finish(edit, "hdel")?;
            propagate_removal(ctx, &changed);
        }
        Change::At(when) => {
            finish(edit, "hexpire")?;
            propagate_expiry(ctx, Some(when), &changed);
        }
        _ => {
            finish(edit, "hpersist")?;
            propagate_expiry(ctx, None, &changed);
        }
    }
    Ok(())
}

/// The options of HSETEX.
#[derive(Default)]
struct SetOptions<'a> {
    /// All fields must exist (true), or none of them (false).
    exist: Option<bool>,
    keep_ttl: bool,
    /// When the fields are to expire, and where that is said.
    when: Option<(i64, usize)>,
    /// Fields and values by turns.
    pairs: Option<Args<'a>>,
}

impl<'a> SetOptions<'a> {
    fn parse(ctx: &Ctx<'a>) -> Result<SetOptions<'a>, Error> {
        let mut options = SetOptions::default();
        let mut at = 2;
        while at < ctx.args.len() {
            if ctx.is_word(at, "fields") {
                options.pairs = Some(pairs_at(ctx, at)?);
                break;
            }
            at += options.option(ctx, at)?;
        }
        Ok(options)
    }

    /// Reads the option at an argument; returns how many arguments it takes.
    fn option(&mut self, ctx: &Ctx, at: usize) -> Result<usize, Error> {
        let exist = match () {
            () if ctx.is_word(at, "fxx") => Some(true),
            () if ctx.is_word(at, "fnx") => Some(false),
            () => None,
        };
        if exist.is_some() {
            if self.exist.is_some() {
                return Err(Error::Static("ERR Only one of FXX or FNX arguments can be specified"));
            }
            self.exist = exist;
            return Ok(1);
        }
        let kind = Expiration::named(ctx.arg(at));
        let keep_ttl = ctx.is_word(at, "keepttl");
        if kind.is_none() && !keep_ttl {
            return Err(Error::Bytes([b"ERR unknown argument: ", ctx.arg(at)].concat()));
        }
        if self.keep_ttl || self.when.is_some() {
            return Err(Error::Static(
                "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
            ));
        }
        self.keep_ttl = keep_ttl;
        let Some(kind) = kind else { return Ok(1) };
        if at + 1 == ctx.args.len() {
            return Err(Error::Static("ERR missing expire time"));
        }
        self.when = Some((deadline_by(ctx, kind, at + 1)?, at));
        Ok(2)
    }
}

/// The fields and values behind the word FIELDS at an argument.
fn pairs_at<'a>(ctx: &Ctx<'a>, at: usize) -> Result<Args<'a>, Error> {
    let arity = || Error::arity(&ctx.entry.full_name);
    if at + 3 >= ctx.args.len() {
        return Err(arity());
    }
    let number = parse_i64(ctx.arg(at + 1)).filter(|n| (1..=i32::MAX.into()).contains(n));
    let number = number.ok_or(Error::Static("ERR invalid number of fields"))?;
    let pairs = ctx.args.from(at + 2);
    if pairs.len() as i64 != 2 * number {
        return Err(arity());
    }
    Ok(pairs)
}

fn hsetex(ctx: &mut Ctx) -> Result<(), Error> {
    let SetOptions { exist, keep_ttl, when, pairs } = SetOptions::parse(ctx)?;
    let pairs = pairs.ok_or_else(|| Error::arity(&ctx.entry.full_name))?;
    let key = ctx.arg(1);
    ctx.keys.expire_fields(key, pairs.iter().step_by(2));
    let hash = ctx.keys.peek(key).map(|view| hash_of(view.value())).transpose()?;
    if let Some(exist) = exist {
        let has = |field| hash.is_some_and(|hash| hash.get(field).is_some());
        if !pairs.iter().step_by(2).all(|field| has(field) == exist) {
            ctx.out.int(0);
            return Ok(());
        }
    }
    ctx.out.int(1);
    if when.is_some_and(|(when, _)| is_past(ctx, when)) {
        return set_and_remove(ctx, pairs);
    }
    let limits = limits(ctx);
    let mut edit = upsert(ctx.keys, key)?;
    for at in (0..pairs.len()).step_by(2) {
        let (field, value) = (pairs.get(at), pairs.get(at + 1));
        if keep_ttl || when.is_some() {
            hash::update(&mut edit, field, value, &limits);
        } else {
            hash::insert(&mut edit, field, value, &limits);
        }
        if let Some((when, _)) = when {
            hash::set_expire_at(&mut edit, field, Some(when));
        }
    }
    edit.notify(class::HASH, "hset");
    if when.is_some() {
        edit.notify(class::HASH, "hexpire");
    }
    drop(edit);
    if let Some((when, option)) = when {
        let (args, mut time) = (ctx.args, itoa::Buffer::new());
        let time = time.format(when).as_bytes();
        ctx.propagate((0..args.len()).map(|at| match at {
            _ if at == option => &b"PXAT"[..],
            _ if at == option + 1 => time,
            _ => args.get(at),
        }));
    }
    Ok(())
}

/// HSETEX with a time in the past: the fields are set, and gone at once.
fn set_and_remove(ctx: &mut Ctx, pairs: Args<'_>) -> Result<(), Error> {
    let key = ctx.arg(1);
    let Some(mut edit) = ctx.keys.edit(key) else {
        ctx.keys.notify(class::HASH, "hset", key);
        ctx.keys.notify(class::HASH, "hdel", key);
        ctx.keys.notify(class::GENERIC, "del", key);
        return Ok(());
    };
    let fields: Vec<&[u8]> = pairs.iter().step_by(2).collect();
    fields.iter().for_each(|field| _ = hash::remove(&mut edit, field));
    edit.notify(class::HASH, "hset");
    finish(edit, "hdel")?;
    propagate_removal(ctx, &fields);
    Ok(())
}
