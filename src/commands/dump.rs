//! DUMP and RESTORE: a value as bytes, and back.

use crate::persist::rdb::payload::{self, Refusal};
use crate::persist::rdb::write::Writer;
use crate::server::command::{Command, Group, Keys, flag::*};
use crate::server::ctx::{Ctx, Origin};
use crate::server::error::Error;
use crate::store::event::class;
use log::warn;

#[cfg(test)]
mod tests;

const BUSY: Error = Error::Static("BUSYKEY Target key name already exists.");
const BAD_TTL: Error = Error::Static("ERR Invalid TTL value, must be >= 0");
const BAD_IDLE_TIME: Error = Error::Static("ERR Invalid IDLETIME value, must be >= 0");
const BAD_FREQUENCY: Error = Error::Static("ERR Invalid FREQ value, must be >= 0 and <= 255");
const BAD_FOOTER: Error = Error::Static("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: Error = Error::Static("ERR Bad data format");

const BASE: Command = Command { group: Group::Generic, categories: &["keyspace"], ..Command::BASE };

const RESTORE: Command = Command {
    name: "restore",
    summary: "Creates a key from what DUMP has made of a value",
    complexity: "O(N) where N is the size of the payload; O(N*log(N)) for sorted sets",
    arity: -4,
    flags: WRITE | DENYOOM | NEVER_HELD,
    categories: &["keyspace", "dangerous"],
    keys: &[Keys::at(1, &["OW", "update"])],
    args: "key ttl serialized-value [REPLACE]@3.0.0 [ABSTTL]@5.0.0 [IDLETIME seconds]@5.0.0 \
           [FREQ frequency:integer]@5.0.0",
    history: &[
        ("3.0.0", "Takes `REPLACE`."),
        ("5.0.0", "Takes `ABSTTL`."),
        ("5.0.0", "Takes `IDLETIME` and `FREQ`."),
    ],
    handler: restore,
    ..BASE
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "dump",
        summary: "Returns a key's value as bytes that RESTORE understands",
        complexity: "O(N) where N is the size of the value",
        arity: 2,
        flags: READONLY,
        keys: &[Keys::at(1, &["RO", "access"])],
        args: "key",
        tips: &["nondeterministic_output"],
        handler: dump,
        ..BASE
    },
    RESTORE,
    Command {
        name: "restore-asking",
        summary: "RESTORE for a key on its way to another node of a cluster",
        group: Group::Server,
        since: "3.0.0",
        flags: WRITE | DENYOOM | ASKING | NEVER_HELD,
        ..RESTORE
    },
];

fn dump(ctx: &mut Ctx) -> Result<(), Error> {
    let compresses = ctx.server.config.rdbcompression;
    match ctx.keys.read(ctx.arg(1)) {
        Some(view) => {
            let payload = payload::dump(&mut Writer::new(compresses), view.value());
            ctx.out.bulk(&payload);
        }
        None => ctx.out.null(),
    }
    Ok(())
}

/// What RESTORE is told besides key and value.
struct Options {
    replaces: bool,
    /// The time to live is a time.
    is_absolute: bool,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

fn options(ctx: &Ctx) -> Result<Options, Error> {
    let mut options =
        Options { replaces: false, is_absolute: false, idle_s: None, frequency: None };
    let mut index = 4;
    while index < ctx.args.len() {
        let has_more = index + 1 < ctx.args.len();
        if ctx.is_word(index, "replace") {
            options.replaces = true;
        } else if ctx.is_word(index, "absttl") {
            options.is_absolute = true;
        } else if ctx.is_word(index, "idletime") && has_more && options.frequency.is_none() {
            index += 1;
            let seconds = u64::try_from(ctx.int_arg(index)?).map_err(|_| BAD_IDLE_TIME)?;
            options.idle_s = Some(seconds);
        } else if ctx.is_word(index, "freq") && has_more && options.idle_s.is_none() {
            index += 1;
            let counter = u8::try_from(ctx.int_arg(index)?).map_err(|_| BAD_FREQUENCY)?;
            options.frequency = Some(counter);
        } else {
            return Err(Error::SYNTAX);
        }
        index += 1;
    }
    Ok(options)
}

fn restore(ctx: &mut Ctx) -> Result<(), Error> {
    let key = ctx.arg(1);
    let options = options(ctx)?;
    if !options.replaces && ctx.keys.exists(key) {
        return Err(BUSY);
    }
    let ttl = ctx.int_arg(2)?;
    let expire_at = match ttl {
        0 => None,
        ..0 => return Err(BAD_TTL),
        ms if options.is_absolute => Some(ms),
        ms => Some(ms.saturating_add(ctx.now_ms())),
    };
    let checks_sum = ctx.server.switches.payload_checksums;
    let is_over = expire_at.is_some_and(|at| at <= ctx.now_ms()) && ctx.origin != Origin::File;
    let restored =
        payload::restore(ctx.arg(3), ctx.server.config.value_limits(), checks_sum, |new| {
            let access = ctx.keys.access.restored(options.idle_s, options.frequency);
            let was_there = ctx.keys.remove(key);
            if is_over {
                return was_there;
            }
            let mut edit = ctx.keys.insert(key, new, expire_at);
            if let Some(access) = access {
                edit.set_access(access);
            }
            edit.notify(class::GENERIC, "restore");
            false
        });
    let only_removed = restored.map_err(|refusal| refused(key, refusal))?;
    if only_removed {
        ctx.keys.notify(class::GENERIC, "del", key);
        ctx.propagate([b"DEL", key]);
    } else if let Some(at) = expire_at.filter(|_| !options.is_absolute && !is_over) {
        propagate_absolute(ctx, at);
    }
    ctx.out.ok();
    Ok(())
}

fn refused(key: &[u8], refusal: Refusal) -> Error {
    match refusal {
        Refusal::Footer => BAD_FOOTER,
        Refusal::Format(error) => {
            warn!("RESTORE of {}: {error}", String::from_utf8_lossy(key));
            BAD_FORMAT
        }
    }
}

/// Files and replicas are told when the key expires, not after what time.
fn propagate_absolute(ctx: &mut Ctx, at: i64) {
    let mut time = itoa::Buffer::new();
    let time = time.format(at).as_bytes();
    let args = ctx.args;
    let words = args.iter().enumerate().map(|(nth, word)| if nth == 2 { time } else { word });
    ctx.propagate(words.chain([&b"ABSTTL"[..]]));
}
