//! Commands on keys, whatever they hold.

use super::expiration::{self, Condition};
use super::scan;
use crate::base::glob;
use crate::server::command::{Command, Group, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::introspect::help;
use crate::store::View;
use crate::store::db::Transfer;
use crate::store::event::class;
use crate::types::Type;
use crate::types::string::Str;

#[cfg(test)]
mod tests;

const SAME_OBJECT: Error = Error::Static("ERR source and destination objects are the same");
const NO_SUCH_DB: Error = Error::Static("ERR DB index is out of range");

const INSPECT: &[Keys] = &[Keys::at(1, &["RO"])];
const INSPECT_ALL: &[Keys] = &[Keys::every(1, &["RO"])];
const READ: &[Keys] = &[Keys::at(1, &["RO", "access"])];
const UPDATE: &[Keys] = &[Keys::at(1, &["RW", "update"])];
const DELETE_ALL: &[Keys] = &[Keys::every(1, &["RM", "delete"])];
const EACH_AND_SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const EXPIRE_HISTORY: &[(&str, &str)] = &[("7.0.0", "Takes `NX`, `XX`, `GT` and `LT`.")];
const TTL_HISTORY: &[(&str, &str)] = &[("2.8.0", "Answers -2 if there is no key.")];

const BASE: Command = Command { group: Group::Generic, categories: &["keyspace"], ..Command::BASE };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "copy",
        summary: "Copies a key's value and expiry to another key",
        since: "6.2.0",
        complexity: "O(N) where N is the number of elements of the value",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["RO", "access"]), Keys::at(2, &["OW", "update"])],
        args: "source destination [DB destination-db:integer] [REPLACE]",
        handler: copy,
        ..BASE
    },
    Command {
        name: "del",
        summary: "Deletes keys",
        complexity: "O(N) where N is the number of keys; large values are freed in the background",
        arity: -2,
        flags: WRITE,
        keys: DELETE_ALL,
        args: "key...",
        tips: EACH_AND_SUM,
        handler: del,
        ..BASE
    },
    Command {
        name: "exists",
        summary: "Counts how many of the given keys exist",
        complexity: "O(N) where N is the number of keys",
        arity: -2,
        flags: READONLY | FAST,
        keys: INSPECT_ALL,
        args: "key...",
        tips: EACH_AND_SUM,
        history: &[("3.0.3", "Takes several keys.")],
        handler: exists,
        ..BASE
    },
    Command {
        name: "expire",
        summary: "Lets a key expire after some seconds",
        arity: -3,
        flags: WRITE | FAST,
        keys: UPDATE,
        args: "key seconds condition:[NX | XX | GT | LT]@7.0.0",
        history: EXPIRE_HISTORY,
        handler: |ctx| expire(ctx, 1000, false),
        ..BASE
    },
    Command {
        name: "expireat",
        summary: "Lets a key expire at a Unix time in seconds",
        since: "1.2.0",
        arity: -3,
        flags: WRITE | FAST,
        keys: UPDATE,
        args: "key unix-time-seconds condition:[NX | XX | GT | LT]@7.0.0",
        history: EXPIRE_HISTORY,
        handler: |ctx| expire(ctx, 1000, true),
        ..BASE
    },
    Command {
        name: "expiretime",
        summary: "Returns the Unix time in seconds at which a key expires",
        since: "7.0.0",
        arity: 2,
        flags: READONLY | FAST,
        keys: READ,
        args: "key",
        handler: |ctx| ttl(ctx, 1000, true),
        ..BASE
    },
    Command {
        name: "keys",
        summary: "Returns the keys whose names match a pattern",
        complexity: "O(N) where N is the number of keys in the database",
        arity: 2,
        flags: READONLY,
        categories: &["keyspace", "dangerous"],
        args: "pattern",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        handler: keys,
        ..BASE
    },
    Command {
        name: "move",
        summary: "Moves a key to another database",
        arity: 3,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "access", "update"])],
        args: "key db:integer",
        handler: move_key,
        ..BASE
    },
    Command {
        name: "object",
        summary: "Tells how a value is kept",
        since: "2.2.3",
        complexity: "O(1)",
        arity: -2,
        subcommands: OBJECT,
        ..Command { group: Group::Generic, ..Command::BASE }
    },
    Command {
        name: "persist",
        summary: "Takes away a key's expiry",
        since: "2.2.0",
        arity: 2,
        flags: WRITE | FAST,
        keys: UPDATE,
        args: "key",
        handler: persist,
        ..BASE
    },
    Command {
        name: "pexpire",
        summary: "Lets a key expire after some milliseconds",
        since: "2.6.0",
        arity: -3,
        flags: WRITE | FAST,
        keys: UPDATE,
        args: "key milliseconds condition:[NX | XX | GT | LT]@7.0.0",
        history: EXPIRE_HISTORY,
        handler: |ctx| expire(ctx, 1, false),
        ..BASE
    },
    Command {
        name: "pexpireat",
        summary: "Lets a key expire at a Unix time in milliseconds",
        since: "2.6.0",
        arity: -3,
        flags: WRITE | FAST,
        keys: UPDATE,
        args: "key unix-time-milliseconds condition:[NX | XX | GT | LT]@7.0.0",
        history: EXPIRE_HISTORY,
        handler: |ctx| expire(ctx, 1, true),
        ..BASE
    },
    Command {
        name: "pexpiretime",
        summary: "Returns the Unix time in milliseconds at which a key expires",
        since: "7.0.0",
        arity: 2,
        flags: READONLY | FAST,
        keys: READ,
        args: "key",
        handler: |ctx| ttl(ctx, 1, true),
        ..BASE
    },
    Command {
        name: "pttl",
        summary: "Returns the milliseconds after which a key expires",
        since: "2.6.0",
        arity: 2,
        flags: READONLY | FAST,
        keys: READ,
        args: "key",
        tips: &["nondeterministic_output"],
        history: TTL_HISTORY,
        handler: |ctx| ttl(ctx, 1, false),
        ..BASE
    },
    Command {
        name: "randomkey",
        summary: "Returns the name of a key chosen at random",
        arity: 1,
        flags: READONLY | TOUCHES_ARBITRARY_KEYS,
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        handler: randomkey,
        ..BASE
    },
    Command {
        name: "rename",
        summary: "Gives a key another name, in place of the key that had it",
        arity: 3,
        flags: WRITE,
        keys: &[Keys::at(1, &["RW", "access", "delete"]), Keys::at(2, &["OW", "update"])],
        args: "key newkey",
        handler: rename,
        ..BASE
    },
    Command {
        name: "renamenx",
        summary: "Gives a key another name if no key has it",
        arity: 3,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "access", "delete"]), Keys::at(2, &["OW", "insert"])],
        args: "key newkey",
        history: &[("3.2.0", "Equal names are no error any more.")],
        handler: renamenx,
        ..BASE
    },
    Command {
        name: "scan",
        summary: "Iterates over the names of the keys in a database, a few at a time",
        since: "2.8.0",
        complexity: "O(1) a call, O(N) for a whole iteration over N keys",
        flags: READONLY | TOUCHES_ARBITRARY_KEYS,
        arity: -2,
        args: "cursor [MATCH pattern] [COUNT count] [TYPE type@6.0.0]",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        history: &[("6.0.0", "Takes `TYPE`.")],
        handler: scan_keys,
        ..BASE
    },
    Command {
        name: "touch",
        summary: "Counts how many of the given keys exist, as an access to each",
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys",
        arity: -2,
        flags: READONLY | FAST,
        keys: INSPECT_ALL,
        args: "key...",
        tips: EACH_AND_SUM,
        handler: touch,
        ..BASE
    },
    Command {
        name: "ttl",
        summary: "Returns the seconds after which a key expires",
        arity: 2,
        flags: READONLY | FAST,
        keys: READ,
        args: "key",
        tips: &["nondeterministic_output"],
        history: TTL_HISTORY,
        handler: |ctx| ttl(ctx, 1000, false),
        ..BASE
    },
    Command {
        name: "type",
        summary: "Returns the type of the value that a key holds",
        arity: 2,
        flags: READONLY | FAST,
        keys: INSPECT,
        args: "key",
        handler: type_of,
        ..BASE
    },
    Command {
        name: "unlink",
        summary: "Deletes keys, and frees their memory in the background",
        since: "4.0.0",
        complexity: "O(N) where N is the number of keys; large values are freed in the background",
        arity: -2,
        flags: WRITE | FAST,
        keys: DELETE_ALL,
        args: "key...",
        tips: EACH_AND_SUM,
        handler: del,
        ..BASE
    },
];

const OBJECT_BASE: Command = Command {
    since: "2.2.3",
    arity: 3,
    flags: READONLY,
    keys: &[Keys::at(2, &["RO"])],
    args: "key",
    tips: &["nondeterministic_output"],
    ..BASE
};

const OBJECT: &[Command] = &[
    Command {
        name: "encoding",
        summary: "Returns the name of the form in which a value is kept",
        handler: object_encoding,
        ..OBJECT_BASE
    },
    Command {
        name: "freq",
        summary: "Returns how often a value is accessed, as the logarithm of a count that decays",
        since: "4.0.0",
        handler: object_freq,
        ..OBJECT_BASE
    },
    Command {
        name: "help",
        summary: "Explains the subcommands",
        since: "6.2.0",
        arity: 2,
        flags: LOADING | STALE,
        handler: help,
        ..BASE
    },
    Command {
        name: "idletime",
        summary: "Returns the seconds since a value was accessed",
        handler: object_idletime,
        ..OBJECT_BASE
    },
    Command {
        name: "refcount",
        summary: "Returns how many references there are to a value",
        handler: object_refcount,
        ..OBJECT_BASE
    },
];

fn del(ctx: &mut Ctx) -> Result<(), Error> {
    let mut deleted = 0;
    for key in ctx.args.from(1).iter() {
        if ctx.keys.remove(key) {
            ctx.keys.notify(class::GENERIC, "del", key);
            deleted += 1;
        }
    }
    ctx.out.int(deleted);
    Ok(())
}

fn exists(ctx: &mut Ctx) -> Result<(), Error> {
    let count = ctx.args.from(1).iter().filter(|key| ctx.keys.inspect(key).is_some()).count();
    ctx.out.int(count as i64);
    Ok(())
}

fn touch(ctx: &mut Ctx) -> Result<(), Error> {
    // Even for clients whose other commands are no accesses.
    ctx.keys.touch = true;
    let count = ctx.args.from(1).iter().filter(|key| ctx.keys.read(key).is_some()).count();
    ctx.out.int(count as i64);
    Ok(())
}

fn type_of(ctx: &mut Ctx) -> Result<(), Error> {
    let view = ctx.keys.inspect(ctx.args.get(1));
    ctx.out.simple(view.map_or("none", |view| view.value().kind().name()));
    Ok(())
}

fn rename(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.keys.rename(ctx.arg(1), ctx.arg(2), true) == Transfer::Missing {
        return Err(Error::NO_SUCH_KEY);
    }
    ctx.out.ok();
    Ok(())
}

fn renamenx(ctx: &mut Ctx) -> Result<(), Error> {
    let transfer = ctx.keys.rename(ctx.arg(1), ctx.arg(2), false);
    if transfer == Transfer::Missing {
        return Err(Error::NO_SUCH_KEY);
    }
    ctx.out.int((transfer == Transfer::Done) as i64);
    Ok(())
}

/// The database that an argument names.
fn db_arg(ctx: &Ctx, index: usize) -> Result<usize, Error> {
    let db = ctx.int_arg(index)?;
    if i32::try_from(db).is_err() {
        return Err(Error::Text(format!(
            "ERR value is out of range, value must between {} and {}",
            i32::MIN,
            i32::MAX
        )));
    }
    usize::try_from(db).ok().filter(|&db| db < ctx.keys.databases()).ok_or(NO_SUCH_DB)
}

fn copy(ctx: &mut Ctx) -> Result<(), Error> {
    let (from, to) = (ctx.arg(1), ctx.arg(2));
    let mut db = ctx.keys.current();
    let mut replace = false;
    let mut at = 3;
    while at < ctx.args.len() {
        if ctx.is_word(at, "replace") {
            replace = true;
        } else if ctx.is_word(at, "db") && at + 1 < ctx.args.len() {
            at += 1;
            db = db_arg(ctx, at)?;
        } else {
            return Err(Error::SYNTAX);
        }
        at += 1;
    }
    if db == ctx.keys.current() && from == to {
        return Err(SAME_OBJECT);
    }
    let transfer = ctx.keys.copy_to(from, db, to, replace);
    ctx.out.int((transfer == Transfer::Done) as i64);
    Ok(())
}

fn move_key(ctx: &mut Ctx) -> Result<(), Error> {
    let db = db_arg(ctx, 2)?;
    if db == ctx.keys.current() {
        return Err(SAME_OBJECT);
    }
    let transfer = ctx.keys.move_to(ctx.arg(1), db);
    ctx.out.int((transfer == Transfer::Done) as i64);
    Ok(())
}

fn keys(ctx: &mut Ctx) -> Result<(), Error> {
    let pattern = ctx.arg(1);
    let all = pattern == b"*";
    let open = ctx.out.open();
    let mut count = 0;
    for view in ctx.keys.iter(ctx.keys.current()) {
        if all || glob::matches(pattern, view.key(), false) {
            ctx.out.bulk(view.key());
            count += 1;
        }
    }
    ctx.out.close_array(open, count);
    Ok(())
}

fn scan_keys(ctx: &mut Ctx) -> Result<(), Error> {
    let cursor = scan::cursor(ctx.arg(1))?;
    let options = scan::Options::parse(ctx.args.from(2), true)?;
    // A name that is no type's is not an error: nothing is of that type.
    let kind = options.kind.map(type_named);
    let wanted = |view: &View| {
        kind.is_none_or(|kind| kind == Some(view.value().kind())) && options.matches(view.key())
    };
    let mut found: Vec<&[u8]> = Vec::new();
    let cursor = options.repeat(cursor, |cursor| {
        let mut seen = 0;
        let next = ctx.keys.scan(cursor, |view| {
            seen += 1;
            if wanted(&view) {
                found.push(view.key());
            }
        });
        (next, seen)
    });
    ctx.out.array(2);
    ctx.out.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    ctx.out.array(found.len());
    found.iter().for_each(|key| ctx.out.bulk(key));
    Ok(())
}

fn type_named(name: &[u8]) -> Option<Type> {
    Type::ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
}

fn randomkey(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.keys.random(&mut ctx.server.rng) {
        Some(key) => ctx.out.bulk(&key),
        None => ctx.out.null(),
    }
    Ok(())
}

/// The conditions of EXPIRE and its relatives, from an argument on.
fn conditions(ctx: &Ctx, from: usize) -> Result<Condition, Error> {
    let mut condition = Condition::default();
    for at in from..ctx.args.len() {
        if !condition.set(ctx.arg(at)) {
            return Err(Error::Bytes([b"ERR Unsupported option ", ctx.arg(at)].concat()));
        }
    }
    let Condition { none, some, greater, less } = condition;
    if none && (some || greater || less) {
        return Err(Error::Static(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if greater && less {
        return Err(Error::Static("ERR GT and LT options at the same time are not compatible"));
    }
    Ok(condition)
}

/// EXPIRE and its relatives: the time's unit in milliseconds, and whether it counts from 1970 or
/// from now.
fn expire(ctx: &mut Ctx, unit_ms: i64, absolute: bool) -> Result<(), Error> {
    let condition = conditions(ctx, 3)?;
    let start = if absolute { 0 } else { ctx.now_ms() };
    let when = ctx.int_arg(2)?.checked_mul(unit_ms).and_then(|ms| ms.checked_add(start));
    let when = when.ok_or_else(|| expiration::invalid_time(ctx))?;
    let key = ctx.arg(1);
    let past = expiration::is_past(ctx, when);
    let Some(mut edit) = ctx.keys.edit(key) else {
        ctx.out.int(0);
        return Ok(());
    };
    if !condition.holds(edit.view().expire_at(), when) {
        drop(edit);
        ctx.out.int(0);
        return Ok(());
    }
    if past {
        drop(edit);
        expiration::delete_expired(ctx, key);
    } else {
        edit.set_expire_at(Some(when));
        edit.notify(class::GENERIC, "expire");
        drop(edit);
        ctx.propagate([&b"PEXPIREAT"[..], key, itoa::Buffer::new().format(when).as_bytes()]);
    }
    ctx.out.int(1);
    Ok(())
}

/// TTL and its relatives: the unit of the answer in milliseconds, and whether it counts from 1970
/// or from now.
fn ttl(ctx: &mut Ctx, unit_ms: i64, absolute: bool) -> Result<(), Error> {
    let start = if absolute { 0 } else { ctx.now_ms() };
    let answer = match ctx.keys.inspect(ctx.args.get(1)).map(|view| view.expire_at()) {
        None => -2,
        Some(None) => -1,
        // To the nearest second.
        Some(Some(when)) => when.saturating_sub(start).max(0).saturating_add(unit_ms / 2) / unit_ms,
    };
    ctx.out.int(answer);
    Ok(())
}

fn persist(ctx: &mut Ctx) -> Result<(), Error> {
    let had_expiry = match ctx.keys.edit(ctx.args.get(1)) {
        Some(mut edit) => {
            let had_expiry = edit.view().expire_at().is_some();
            if had_expiry {
                edit.set_expire_at(None);
                edit.notify(class::GENERIC, "persist");
            }
            had_expiry
        }
        None => false,
    };
    ctx.out.int(had_expiry as i64);
    Ok(())
}

fn object_encoding(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.keys.inspect(ctx.args.get(2)) {
        Some(view) => ctx.out.bulk(view.value().encoding(view.is_raw()).as_bytes()),
        None => ctx.out.null(),
    }
    Ok(())
}

fn object_freq(ctx: &mut Ctx) -> Result<(), Error> {
    let Some(access) = ctx.keys.inspect(ctx.args.get(2)).map(|view| view.access()) else {
        ctx.out.null();
        return Ok(());
    };
    if !ctx.keys.access.is_lfu() {
        return Err(Error::Static(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take \
             some time to adjust.",
        ));
    }
    ctx.out.int(ctx.keys.access.frequency(access).into());
    Ok(())
}

fn object_idletime(ctx: &mut Ctx) -> Result<(), Error> {
    let Some(access) = ctx.keys.inspect(ctx.args.get(2)).map(|view| view.access()) else {
        ctx.out.null();
        return Ok(());
    };
    if ctx.keys.access.is_lfu() {
        return Err(Error::Static(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
             when switching between policies at runtime LRU and LFU data will take some time to \
             adjust.",
        ));
    }
    ctx.out.int(ctx.keys.access.idle_s(access) as i64);
    Ok(())
}

fn object_refcount(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.keys.inspect(ctx.args.get(2)).map(|view| Str::of(view.value())) {
        // Redis has these integers once for all keys, and tells so by the greatest count.
        Some(Some(Str::Int(0..10_000))) => ctx.out.int(i32::MAX as i64),
        Some(_) => ctx.out.int(1),
        None => ctx.out.null(),
    }
    Ok(())
}
