//! Commands on strings.

use super::expiration::{self, Expiration, deadline};
use crate::server::command::{Begin, Command, Find, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::{Ctx, Origin};
use crate::server::error::Error;
use crate::server::{keys, process};
use crate::store::NewValue;
use crate::store::db::{Entry, Expiry};
use crate::store::event::class;
use crate::types::lcs::{self, Lcs};
use crate::types::string::{self, Str};
use crate::types::{Inline, Slot};
use compare::Comparison;

pub mod compare;
pub mod msetex;
#[cfg(test)]
mod tests;

const OVERFLOW: Error = Error::Static("ERR increment or decrement would overflow");
const TOO_LONG: Error =
    Error::Static("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

const READ_AND_UPDATE: &[Keys] = &[Keys::at(1, &["RW", "access", "update"])];
const OVERWRITE: &[Keys] = &[Keys::at(1, &["OW", "update"])];

const BASE: Command = Command { group: Group::String, categories: &["string"], ..Command::BASE };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "append",
        summary: "Adds bytes to the end of a string, or creates it",
        since: "2.0.0",
        complexity: "O(M) for M bytes added, whatever the length of the string, on average",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        keys: &[Keys::at(1, &["RW", "insert"])],
        args: "key value",
        handler: append,
        ..BASE
    },
    Command {
        name: "decr",
        summary: "Subtracts one from the number a key holds, which is 0 if the key does not exist",
        arity: 2,
        flags: WRITE | DENYOOM | FAST,
        keys: READ_AND_UPDATE,
        args: "key",
        handler: |ctx| increment(ctx, -1),
        ..BASE
    },
    Command {
        name: "decrby",
        summary: "Subtracts from the number a key holds, which is 0 if the key does not exist",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        keys: READ_AND_UPDATE,
        args: "key decrement",
        handler: decrby,
        ..BASE
    },
    Command {
        name: "get",
        summary: "Returns the string a key holds",
        arity: 2,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key",
        handler: get,
        ..BASE
    },
    Command {
        name: "getdel",
        summary: "Returns the string a key holds and deletes the key",
        since: "6.2.0",
        arity: 2,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "access", "delete"])],
        args: "key",
        handler: getdel,
        ..BASE
    },
    Command {
        name: "getex",
        summary: "Returns the string a key holds and sets or removes the key's expiry",
        since: "6.2.0",
        arity: -2,
        flags: WRITE | FAST,
        keys: READ_AND_UPDATE,
        args: "key expiration:[EX seconds | PX milliseconds | EXAT unix-time-seconds \
               | PXAT unix-time-milliseconds | PERSIST]",
        handler: getex,
        ..BASE
    },
    Command {
        name: "getrange",
        summary: "Returns a part of the string a key holds",
        since: "2.4.0",
        complexity: "O(N) where N is the length of the part",
        arity: 4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key start end",
        handler: getrange,
        ..BASE
    },
    Command {
        name: "getset",
        summary: "Sets the string a key holds and returns the one it held before",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        keys: READ_AND_UPDATE,
        args: "key value",
        deprecated: Some(("`SET` with the `GET` argument", "6.2.0")),
        handler: getset,
        ..BASE
    },
    Command {
        name: "incr",
        summary: "Adds one to the number a key holds, which is 0 if the key does not exist",
        arity: 2,
        flags: WRITE | DENYOOM | FAST,
        keys: READ_AND_UPDATE,
        args: "key",
        handler: |ctx| increment(ctx, 1),
        ..BASE
    },
    Command {
        name: "incrby",
        summary: "Adds to the number a key holds, which is 0 if the key does not exist",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        keys: READ_AND_UPDATE,
        args: "key increment",
        handler: incrby,
        ..BASE
    },
    Command {
        name: "incrbyfloat",
        summary: "Adds a number with decimals to the number a key holds, 0 if there is no key",
        since: "2.6.0",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        keys: READ_AND_UPDATE,
        args: "key increment:double",
        handler: incrbyfloat,
        ..BASE
    },
    Command {
        name: "lcs",
        summary: "Finds the longest common subsequence of two strings",
        since: "7.0.0",
        complexity: "O(N*M) where N and M are the lengths of the strings",
        arity: -3,
        flags: READONLY,
        keys: &[Keys {
            flags: &["RO", "access"],
            begin: Begin::Index(1),
            find: Find::Range { last: 1, step: 1, limit: 0 },
        }],
        args: "key1:key key2:key [LEN] [IDX] [MINMATCHLEN min-match-len:integer] [WITHMATCHLEN]",
        handler: lcs,
        ..BASE
    },
    Command {
        name: "mget",
        summary: "Returns the strings that several keys hold",
        complexity: "O(N) where N is the number of keys",
        arity: -2,
        flags: READONLY | FAST,
        keys: &[Keys::every(1, &["RO", "access"])],
        args: "key...",
        tips: &["request_policy:multi_shard"],
        handler: mget,
        ..BASE
    },
    Command {
        name: "mset",
        summary: "Sets the strings that several keys hold",
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: &[Keys::every(2, &["OW", "update"])],
        args: "data:(key value)...",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        handler: mset,
        ..BASE
    },
    Command {
        name: "msetnx",
        summary: "Sets the strings that several keys hold if none of the keys exists",
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: &[Keys::every(2, &["OW", "insert"])],
        args: "data:(key value)...",
        handler: msetnx,
        ..BASE
    },
    Command {
        name: "psetex",
        summary: "Sets the string a key holds, to expire after some milliseconds",
        since: "2.6.0",
        arity: 4,
        flags: WRITE | DENYOOM,
        keys: OVERWRITE,
        args: "key milliseconds value",
        deprecated: Some(("`SET` with the `PX` argument", "2.6.12")),
        handler: |ctx| setex(ctx, Expiration::Milliseconds),
        ..BASE
    },
    Command {
        name: "set",
        summary: "Sets the string a key holds, whatever it held before",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["RW", "access", "update", "variable_flags"])],
        args: "key value condition:[NX | XX | IFEQ ifeq-value@8.4.0 | IFNE ifne-value@8.4.0 \
               | IFDEQ ifdeq-digest@8.4.0 | IFDNE ifdne-digest@8.4.0]@2.6.12 [GET@6.2.0] \
               expiration:[EX seconds@2.6.12 | PX milliseconds@2.6.12 \
               | EXAT unix-time-seconds@6.2.0 | PXAT unix-time-milliseconds@6.2.0 \
               | KEEPTTL@6.0.0]",
        history: &[
            ("2.6.12", "Takes `EX`, `PX`, `NX` and `XX`."),
            ("6.0.0", "Takes `KEEPTTL`."),
            ("6.2.0", "Takes `GET`, `EXAT` and `PXAT`."),
            ("7.0.0", "Takes `NX` together with `GET`."),
            ("8.4.0", "Takes `IFEQ`, `IFNE`, `IFDEQ` and `IFDNE`."),
        ],
        find_keys: Some(keys::of_set),
        handler: set,
        ..BASE
    },
    Command {
        name: "setex",
        summary: "Sets the string a key holds, to expire after some seconds",
        since: "2.0.0",
        arity: 4,
        flags: WRITE | DENYOOM,
        keys: OVERWRITE,
        args: "key seconds value",
        deprecated: Some(("`SET` with the `EX` argument", "2.6.12")),
        handler: |ctx| setex(ctx, Expiration::Seconds),
        ..BASE
    },
    Command {
        name: "setnx",
        summary: "Sets the string a key holds if the key does not exist",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        keys: &[Keys::at(1, &["OW", "insert"])],
        args: "key value",
        deprecated: Some(("`SET` with the `NX` argument", "2.6.12")),
        handler: setnx,
        ..BASE
    },
    Command {
        name: "setrange",
        summary: "Overwrites a part of the string a key holds, or creates it",
        since: "2.2.0",
        complexity: "O(M) where M is the length of the new part, if the string need not grow",
        arity: 4,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["RW", "update"])],
        args: "key offset value",
        handler: setrange,
        ..BASE
    },
    Command {
        name: "strlen",
        summary: "Returns the length of the string a key holds",
        since: "2.2.0",
        arity: 2,
        flags: READONLY | FAST,
        keys: &[Keys::at(1, &["RO"])],
        args: "key",
        handler: strlen,
        ..BASE
    },
    Command {
        name: "substr",
        summary: "Returns a part of the string a key holds",
        complexity: "O(N) where N is the length of the part",
        arity: 4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key start end",
        deprecated: Some(("`GETRANGE`", "2.0.0")),
        handler: getrange,
        ..BASE
    },
];

/// A string in the encoding that fits it; `integer` is where an integer's bytes are kept.
#[inline]
fn encoded<'a>(value: &'a [u8], integer: &'a mut [u8; 8]) -> NewValue<'a> {
    match string::integer(value) {
        Some(n) => {
            *integer = n.to_le_bytes();
            NewValue::Inline(Inline::Int, integer)
        }
        None => NewValue::Inline(Inline::Str, value),
    }
}

#[inline]
fn store(ctx: &mut Ctx, key: &[u8], value: &[u8], expiry: Expiry) {
    ctx.keys.set(key, encoded(value, &mut [0; 8]), expiry);
}

/// Fires the events of a key that was set.
fn notify_set(ctx: &mut Ctx, key: &[u8], expiry: Expiry) {
    ctx.keys.notify(class::STRING, "set", key);
    if let Expiry::At(_) = expiry {
        ctx.keys.notify(class::GENERIC, "expire", key);
    }
}

/// Replies with the string the first key holds, null if there is no key; tells whether there is.
#[inline]
fn reply_value(ctx: &mut Ctx) -> Result<bool, Error> {
    let Some(view) = ctx.keys.read(ctx.args.get(1)) else {
        ctx.out.null();
        return Ok(false);
    };
    match Str::of(view.value()).ok_or(Error::WRONG_TYPE)? {
        Str::Bytes(bytes) => ctx.out.bulk(bytes),
        Str::Int(n) => ctx.out.bulk_int(n),
    }
    Ok(true)
}

/// A string may not become longer than what could be sent in one argument. What is in the
/// append-only file was allowed once.
pub(super) fn length_limit(ctx: &Ctx) -> u64 {
    if ctx.origin == Origin::File { u64::MAX } else { ctx.server.config.proto_max_bulk_len }
}

fn check_length(len: usize, more: usize, limit: u64) -> Result<(), Error> {
    if len as u64 + more as u64 > limit { Err(TOO_LONG) } else { Ok(()) }
}

/// Strings that grow by less are not asked whether there is memory for them. Bytes.
const PROBED_GROWTH: u64 = 32 << 20;

/// Refuses to have a string grow to a length for which there is no memory, as far as the system
/// tells: a few bytes of a command, which may come from a damaged file, can ask for any length, and
/// an allocation that fails is the end of the process.
pub(super) fn check_memory(ctx: &mut Ctx, key: &[u8], len: u64) -> Result<(), Error> {
    if len < PROBED_GROWTH { Ok(()) } else { probe_memory(ctx, key, len) }
}

#[cold]
fn probe_memory(ctx: &mut Ctx, key: &[u8], len: u64) -> Result<(), Error> {
    const NO_MEMORY: Error = Error::Static("OOM there is no memory for a string of that length");
    let old = ctx.keys.peek(key).and_then(|view| Str::of(view.value()).map(|string| string.len()));
    if len < PROBED_GROWTH + old.unwrap_or(0) as u64 {
        return Ok(());
    }
    // Where the system promises what it does not have, that tells nothing.
    let machine = process::total_memory();
    let fits = machine == 0 || len <= machine;
    let len = usize::try_from(len).map_err(|_| NO_MEMORY)?;
    let reserved = fits && Vec::<u8>::new().try_reserve_exact(len).is_ok();
    if reserved { Ok(()) } else { Err(NO_MEMORY) }
}

fn get(ctx: &mut Ctx) -> Result<(), Error> {
    reply_value(ctx).map(drop)
}

fn getdel(ctx: &mut Ctx) -> Result<(), Error> {
    if reply_value(ctx)? {
        ctx.keys.remove(ctx.arg(1));
        ctx.keys.notify(class::GENERIC, "del", ctx.args.get(1));
        ctx.propagate([&b"DEL"[..], ctx.arg(1)]);
    }
    Ok(())
}

fn getex(ctx: &mut Ctx) -> Result<(), Error> {
    let mut expiration = None;
    let mut persist = false;
    let mut at = 2;
    while at < ctx.args.len() {
        if ctx.is_word(at, "persist") && expiration.is_none() {
            persist = true;
            at += 1;
        } else if let Some(kind) = Expiration::at(ctx, at)
            && !persist
        {
            expiration = Some((kind.combined(expiration)?, at + 1));
            at += 2;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if !reply_value(ctx)? {
        return Ok(());
    }
    let key = ctx.arg(1);
    if let Some((kind, at)) = expiration {
        let when = deadline(ctx, kind, at)?;
        if kind.is_absolute() && expiration::is_past(ctx, when) {
            expiration::delete_expired(ctx, key);
            return Ok(());
        }
        if let Some(mut edit) = ctx.keys.edit(key) {
            edit.set_expire_at(Some(when));
            edit.notify(class::GENERIC, "expire");
        }
        ctx.propagate([&b"PEXPIREAT"[..], key, itoa::Buffer::new().format(when).as_bytes()]);
    } else if persist {
        if let Some(mut edit) = ctx.keys.edit(key)
            && edit.view().expire_at().is_some()
        {
            edit.set_expire_at(None);
            edit.notify(class::GENERIC, "persist");
        }
        ctx.propagate([&b"PERSIST"[..], key]);
    }
    Ok(())
}

fn getset(ctx: &mut Ctx) -> Result<(), Error> {
    reply_value(ctx)?;
    let (key, value) = (ctx.arg(1), ctx.arg(2));
    store(ctx, key, value, Expiry::Never);
    notify_set(ctx, key, Expiry::Never);
    ctx.propagate([&b"SET"[..], key, value]);
    Ok(())
}

fn getrange(ctx: &mut Ctx) -> Result<(), Error> {
    let (start, end) = (ctx.int_arg(2)?, ctx.int_arg(3)?);
    let Some(view) = ctx.keys.read(ctx.args.get(1)) else {
        ctx.out.bulk(b"");
        return Ok(());
    };
    let string = Str::of(view.value()).ok_or(Error::WRONG_TYPE)?;
    string.with(|bytes| ctx.out.bulk(part(bytes, start, end)));
    Ok(())
}

/// The bytes from `start` to `end`, both included, both counted from the end if negative.
fn part(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let len = bytes.len() as i64;
    // Where both are before the beginning they would meet there otherwise.
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let from_start = |index: i64| if index < 0 { (index + len).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end { b"" } else { &bytes[start as usize..=end as usize] }
}

/// What a SET asks for.
#[derive(Default)]
struct SetOptions<'a> {
    only_new: bool,
    only_existing: bool,
    comparison: Option<Comparison<'a>>,
    get: bool,
    keep_ttl: bool,
    /// Its kind, and the argument that has the number.
    expiration: Option<(Expiration, usize)>,
}

impl<'a> SetOptions<'a> {
    fn parse(ctx: &Ctx<'a>) -> Result<SetOptions<'a>, Error> {
        let mut options = SetOptions::default();
        let mut at = 3;
        while at < ctx.args.len() {
            let compares = options.comparison.is_some();
            if ctx.is_word(at, "nx") && !options.only_existing && !compares {
                options.only_new = true;
            } else if ctx.is_word(at, "xx") && !options.only_new && !compares {
                options.only_existing = true;
            } else if ctx.is_word(at, "get") {
                options.get = true;
            } else if ctx.is_word(at, "keepttl") && options.expiration.is_none() {
                options.keep_ttl = true;
            } else if let Some(kind) = Expiration::at(ctx, at)
                && !options.keep_ttl
            {
                at += 1;
                options.expiration = Some((kind.combined(options.expiration)?, at));
            } else if let Some(comparison) = Comparison::at(ctx, at)?
                && !(options.only_new || options.only_existing || compares)
            {
                at += 1;
                options.comparison = Some(comparison);
            } else {
                return Err(Error::SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }

    /// Whether what the key holds allows it to be set.
    fn allow(&self, ctx: &mut Ctx, key: &[u8]) -> Result<bool, Error> {
        match self.comparison {
            Some(comparison) => comparison.holds(ctx.keys.peek(key)),
            None if self.only_new => Ok(!ctx.keys.exists(key)),
            None if self.only_existing => Ok(ctx.keys.exists(key)),
            None => Ok(true),
        }
    }
}

#[inline]
fn set(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.args.len() > 3 {
        return set_with_options(ctx);
    }
    let key = ctx.arg(1);
    store(ctx, key, ctx.arg(2), Expiry::Never);
    ctx.keys.notify(class::STRING, "set", key);
    ctx.out.ok();
    Ok(())
}

fn set_with_options(ctx: &mut Ctx) -> Result<(), Error> {
    let options = SetOptions::parse(ctx)?;
    let expiry = match options.expiration {
        Some((kind, at)) => Expiry::At(deadline(ctx, kind, at)?),
        None if options.keep_ttl => Expiry::Keep,
        None => Expiry::Never,
    };
    let (key, value) = (ctx.arg(1), ctx.arg(2));
    if options.get {
        reply_value(ctx)?;
    }
    if !options.allow(ctx, key)? {
        if !options.get {
            ctx.out.null();
        }
        return Ok(());
    }
    store(ctx, key, value, expiry);
    notify_set(ctx, key, expiry);
    if !options.get {
        ctx.out.ok();
    }
    if let Expiry::At(when) = expiry {
        propagate_set(ctx, key, value, when);
    } else if options.comparison.is_some() {
        // Whoever repeats it need not compare, nor know how.
        let words = [b"SET", key, value, b"KEEPTTL"];
        ctx.propagate(&words[..if options.keep_ttl { 4 } else { 3 }]);
    } else if options.get {
        // A file's reader has no use for the reply.
        let args = ctx.args.iter().enumerate();
        let others = args.filter(|(at, arg)| *at < 3 || !arg.eq_ignore_ascii_case(b"get"));
        ctx.propagate(others.map(|(_, arg)| arg));
    }
    Ok(())
}

fn propagate_set(ctx: &mut Ctx, key: &[u8], value: &[u8], when: i64) {
    ctx.propagate([&b"SET"[..], key, value, b"PXAT", itoa::Buffer::new().format(when).as_bytes()]);
}

fn setex(ctx: &mut Ctx, kind: Expiration) -> Result<(), Error> {
    let when = deadline(ctx, kind, 2)?;
    let (key, value) = (ctx.arg(1), ctx.arg(3));
    store(ctx, key, value, Expiry::At(when));
    notify_set(ctx, key, Expiry::At(when));
    propagate_set(ctx, key, value, when);
    ctx.out.ok();
    Ok(())
}

fn setnx(ctx: &mut Ctx) -> Result<(), Error> {
    let is_new = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Occupied(_) => false,
        Entry::Vacant(vacant) => {
            let mut edit = vacant.insert(encoded(ctx.args.get(2), &mut [0; 8]), None);
            edit.notify(class::STRING, "set");
            true
        }
    };
    ctx.out.int(is_new as i64);
    Ok(())
}

fn setrange(ctx: &mut Ctx) -> Result<(), Error> {
    let offset = usize::try_from(ctx.int_arg(2)?)
        .map_err(|_| Error::Static("ERR offset is out of range"))?;
    let (key, value) = (ctx.arg(1), ctx.arg(3));
    let limit = length_limit(ctx);
    let end = offset as u64 + value.len() as u64;
    if end <= limit && !value.is_empty() {
        check_memory(ctx, key, end)?;
    }
    let len = match ctx.keys.entry(key) {
        Entry::Occupied(mut edit) => {
            let len = Str::of(edit.value()).ok_or(Error::WRONG_TYPE)?.len();
            if value.is_empty() {
                len
            } else {
                check_length(offset, value.len(), limit)?;
                edit.notify(class::STRING, "setrange");
                string::overwrite(&mut edit, offset, value)
            }
        }
        Entry::Vacant(_) if value.is_empty() => 0,
        Entry::Vacant(vacant) => {
            check_length(offset, value.len(), limit)?;
            let mut edit = vacant.insert(NewValue::Inline(Inline::Str, b""), None);
            edit.notify(class::STRING, "setrange");
            string::overwrite(&mut edit, offset, value)
        }
    };
    ctx.out.int(len as i64);
    Ok(())
}

fn strlen(ctx: &mut Ctx) -> Result<(), Error> {
    let len = match ctx.keys.read(ctx.args.get(1)) {
        Some(view) => Str::of(view.value()).ok_or(Error::WRONG_TYPE)?.len(),
        None => 0,
    };
    ctx.out.int(len as i64);
    Ok(())
}

fn append(ctx: &mut Ctx) -> Result<(), Error> {
    let (key, value, limit) = (ctx.arg(1), ctx.arg(2), length_limit(ctx));
    let len = match ctx.keys.entry(key) {
        Entry::Occupied(mut edit) => {
            let len = Str::of(edit.value()).ok_or(Error::WRONG_TYPE)?.len();
            check_length(len, value.len(), limit)?;
            edit.notify(class::STRING, "append");
            string::append(&mut edit, value)
        }
        Entry::Vacant(vacant) => {
            vacant.insert(encoded(value, &mut [0; 8]), None).notify(class::STRING, "append");
            value.len()
        }
    };
    ctx.out.int(len as i64);
    Ok(())
}

fn mget(ctx: &mut Ctx) -> Result<(), Error> {
    let most = ctx.most_output();
    ctx.out.array(ctx.args.len() - 1);
    for key in ctx.args.from(1).iter() {
        match ctx.keys.read(key).and_then(|view| Str::of(view.value())) {
            Some(Str::Bytes(bytes)) => ctx.out.bulk(bytes),
            Some(Str::Int(n)) => ctx.out.bulk_int(n),
            None => ctx.out.null(),
        }
        if ctx.out.within(most).is_break() {
            break;
        }
    }
    ctx.check_output(most);
    Ok(())
}

fn mset(ctx: &mut Ctx) -> Result<(), Error> {
    check_pairs(ctx)?;
    set_pairs(ctx);
    ctx.out.ok();
    Ok(())
}

fn msetnx(ctx: &mut Ctx) -> Result<(), Error> {
    check_pairs(ctx)?;
    let all_new = ctx.args.iter().skip(1).step_by(2).all(|key| !ctx.keys.exists(key));
    if all_new {
        set_pairs(ctx);
    }
    ctx.out.int(all_new as i64);
    Ok(())
}

/// Each key must have its value.
fn check_pairs(ctx: &Ctx) -> Result<(), Error> {
    let is_odd = ctx.args.len().is_multiple_of(2);
    if is_odd { Err(Error::arity(&ctx.entry.full_name)) } else { Ok(()) }
}

fn set_pairs(ctx: &mut Ctx) {
    for at in (1..ctx.args.len()).step_by(2) {
        let key = ctx.arg(at);
        store(ctx, key, ctx.arg(at + 1), Expiry::Never);
        notify_set(ctx, key, Expiry::Never);
    }
}

#[inline]
fn increment(ctx: &mut Ctx, by: i64) -> Result<(), Error> {
    let sum = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Occupied(mut edit) => {
            let string = Str::of(edit.value()).ok_or(Error::WRONG_TYPE)?;
            let old = string.as_integer().ok_or(Error::NOT_AN_INTEGER)?;
            let sum = old.checked_add(by).ok_or(OVERFLOW)?;
            string::set_integer(&mut edit, sum);
            edit.notify(class::STRING, "incrby");
            sum
        }
        Entry::Vacant(vacant) => {
            let value = NewValue::Inline(Inline::Int, &by.to_le_bytes());
            vacant.insert(value, None).notify(class::STRING, "incrby");
            by
        }
    };
    ctx.out.int(sum);
    Ok(())
}

fn incrby(ctx: &mut Ctx) -> Result<(), Error> {
    let by = ctx.int_arg(2)?;
    increment(ctx, by)
}

fn decrby(ctx: &mut Ctx) -> Result<(), Error> {
    let by = ctx.int_arg(2)?.checked_neg();
    increment(ctx, by.ok_or(Error::Static("ERR decrement would overflow"))?)
}

fn incrbyfloat(ctx: &mut Ctx) -> Result<(), Error> {
    use crate::base::number::LongDouble;
    let key = ctx.arg(1);
    let old = match ctx.keys.edit(key) {
        Some(edit) => Str::of(edit.value()).ok_or(Error::WRONG_TYPE)?.with(LongDouble::parse),
        None => LongDouble::parse(b"0"),
    };
    let old = old.ok_or(Error::NOT_A_FLOAT)?;
    let sum = old + LongDouble::parse(ctx.arg(2)).ok_or(Error::NOT_A_FLOAT)?;
    if !sum.is_finite() {
        return Err(Error::Static("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.to_human();
    // Kept as text even where it is a whole number, as Redis does.
    ctx.keys.set(key, NewValue::Inline(Inline::Str, &text), Expiry::Keep);
    ctx.keys.notify(class::STRING, "incrbyfloat", key);
    ctx.out.bulk(&text);
    ctx.propagate([&b"SET"[..], key, &text, b"KEEPTTL"]);
    Ok(())
}

/// What LCS asks for.
#[derive(Default)]
struct LcsOptions {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: i64,
}

impl LcsOptions {
    fn parse(ctx: &Ctx) -> Result<LcsOptions, Error> {
        let mut options = LcsOptions::default();
        let mut at = 3;
        while at < ctx.args.len() {
            if ctx.is_word(at, "idx") {
                options.idx = true;
            } else if ctx.is_word(at, "len") {
                options.len = true;
            } else if ctx.is_word(at, "withmatchlen") {
                options.with_match_len = true;
            } else if ctx.is_word(at, "minmatchlen") && at + 1 < ctx.args.len() {
                at += 1;
                options.min_match_len = ctx.int_arg(at)?;
            } else {
                return Err(Error::SYNTAX);
            }
            at += 1;
        }
        if options.len && options.idx {
            return Err(Error::Static(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

fn lcs(ctx: &mut Ctx) -> Result<(), Error> {
    let mut length = |key| match ctx.keys.read(key) {
        Some(view) => Str::of(view.value()).map(Str::len),
        None => Some(0),
    };
    let lengths = (length(ctx.args.get(1)), length(ctx.args.get(2)));
    let (Some(a_len), Some(b_len)) = lengths else {
        return Err(Error::Static("ERR The specified keys must contain string values"));
    };
    let options = LcsOptions::parse(ctx)?;
    if a_len.max(b_len) >= u32::MAX as usize - 1 {
        return Err(Error::Static("ERR String too long for LCS"));
    }
    let memory = lcs::table_size(a_len, b_len);
    if memory.is_none_or(|bytes| bytes > ctx.server.config.proto_max_bulk_len) {
        return Err(Error::Static(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    // Copied only now that they are known to be short.
    let copy = |key| {
        let string = ctx.keys.view(key).and_then(|view| Str::of(view.value()));
        string.map_or_else(Vec::new, Str::to_vec)
    };
    let (a, b) = (copy(ctx.args.get(1)), copy(ctx.args.get(2)));
    let table = Lcs::new(&a, &b).ok_or(Error::Static(
        "ERR Insufficient memory, failed allocating transient memory for LCS",
    ))?;
    if options.idx {
        reply_matches(ctx, &table, &options);
    } else if options.len {
        ctx.out.int(table.len() as i64);
    } else {
        ctx.out.bulk(&table.bytes());
    }
    Ok(())
}

fn reply_matches(ctx: &mut Ctx, table: &Lcs, options: &LcsOptions) {
    ctx.out.map(2);
    ctx.out.bulk(b"matches");
    let open = ctx.out.open();
    let mut count = 0;
    table.matches(|run| {
        if (run.len as i64) < options.min_match_len {
            return;
        }
        count += 1;
        ctx.out.array(if options.with_match_len { 3 } else { 2 });
        for start in [run.a, run.b] {
            ctx.out.array(2);
            ctx.out.int(start as i64);
            ctx.out.int((start + run.len - 1) as i64);
        }
        if options.with_match_len {
            ctx.out.int(run.len as i64);
        }
    });
    ctx.out.close_array(open, count);
    ctx.out.bulk(b"len");
    ctx.out.int(table.len() as i64);
}
