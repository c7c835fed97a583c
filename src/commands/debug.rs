//! DEBUG: what tests and people in search of an error need. `enable-debug-command` must allow it.

use super::config;
use crate::base::glob;
use crate::base::number::{parse_f64, parse_i64};
use crate::server::command::{Command, Group, Handler, flag::*};
use crate::server::config::{Allowed, read_bytes};
use crate::server::ctx::{Ctx, Origin, Propagation};
use crate::server::error::Error;
use crate::server::introspect::wrong_subcommand;
use crate::server::snapshot::{self, Reload};
use crate::server::{identity, log as server_log, process};
use crate::store::digest::Digest;
use crate::store::{NewValue, View};
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::stream::{Entry, Stream};
use crate::types::string::Str;
use crate::types::zset::Zset;
use crate::types::{Inline, Value};
use log::{info, warn};
use std::io::Write;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const COMMANDS: &[Command] = &[Command {
    name: "debug",
    summary: "Looks at the inside of the server, and disturbs it",
    group: Group::Server,
    complexity: "Depends on the subcommand",
    arity: -2,
    flags: ADMIN | NOSCRIPT | LOADING | STALE | PROTECTED,
    handler: debug,
    ..Command::BASE
}];

/// A subcommand. In Redis they are not in the table of commands, so neither are they here.
struct Subcommand {
    name: &'static str,
    /// Number of arguments, DEBUG and the subcommand's name included.
    args: RangeInclusive<usize>,
    syntax: &'static str,
    text: &'static str,
    run: Handler,
}

const fn sub(
    name: &'static str,
    args: RangeInclusive<usize>,
    syntax: &'static str,
    text: &'static str,
    run: Handler,
) -> Subcommand {
    Subcommand { name, args, syntax, text, run }
}

const MANY: usize = usize::MAX;

const SUBCOMMANDS: &[Subcommand] = &[
    sub(
        "aof-flush-sleep",
        3..=3,
        "AOF-FLUSH-SLEEP <microseconds>",
        "Have each write to the append-only file wait so long before.",
        aof_flush_sleep,
    ),
    sub(
        "change-repl-id",
        2..=2,
        "CHANGE-REPL-ID",
        "Give the data's history another name: replicas must copy all of it.",
        change_repl_id,
    ),
    sub(
        "config-rewrite-force-all",
        2..=2,
        "CONFIG-REWRITE-FORCE-ALL",
        "CONFIG REWRITE with every directive, also those that have their default.",
        rewrite_all,
    ),
    sub(
        "digest",
        2..=2,
        "DIGEST",
        "A signature of all data: equal for equal keys and values.",
        digest,
    ),
    sub(
        "digest-value",
        2..=MANY,
        "DIGEST-VALUE [<key> ...]",
        "A signature of each key's value.",
        digest_value,
    ),
    sub("error", 3..=3, "ERROR <text>", "Reply with this error.", error),
    sub("help", 2..=2, "", "", help),
    sub(
        "reload",
        2..=MANY,
        "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
        "Save all data, and load the file into emptied databases; with NOFLUSH beside what is \
         there, which must be other keys, or with MERGE gives way.",
        reload,
    ),
    sub(
        "loadaof",
        2..=2,
        "LOADAOF",
        "Make the append-only file durable, and load it into emptied databases.",
        server_log::reload,
    ),
    sub("log", 3..=3, "LOG <message>", "Write a line into the server's log.", log_message),
    sub("object", 3..=3, "OBJECT <key>", "How a value is kept.", object),
    sub("panic", 2..=2, "PANIC", "Crash by an error of the program's own finding.", panic),
    sub("pause-cron", 3..=3, "PAUSE-CRON <0|1>", "Stop the periodic work, or go on.", pause_cron),
    sub(
        "populate",
        3..=5,
        "POPULATE <count> [<prefix>] [<size>]",
        "Create the missing ones of so many keys <prefix>:<number>, with values of <size> bytes; \
         not in the append-only file.",
        populate,
    ),
    sub(
        "protocol",
        3..=3,
        "PROTOCOL <type>",
        "Reply with a value of this type: string, integer, double, bignum, null, array, set, \
         map, attrib, push, verbatim, true, false.",
        protocol,
    ),
    sub(
        "quicklist-packed-threshold",
        3..=3,
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "Understood and without effect: how large an element of a list may be and still share its \
         chunk follows from list-max-listpack-size.",
        quicklist_packed_threshold,
    ),
    sub(
        "replybuffer",
        4..=4,
        "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|milliseconds>",
        "Understood and without effect: clients own no buffers between their replies. So is \
         REPLYBUFFER RESIZING <0|1>.",
        reply_buffer,
    ),
    sub(
        "set-skip-checksum-validation",
        3..=3,
        "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
        "Have RESTORE take payloads whose checksum is wrong, or refuse them again.",
        skip_checksums,
    ),
    sub("segfault", 2..=2, "SEGFAULT", "Crash as of an invalid memory access.", |_| {
        process::crash()
    }),
    sub(
        "set-active-expire",
        3..=3,
        "SET-ACTIVE-EXPIRE <0|1>",
        "With 0, keys only expire when somebody looks at them.",
        set_active_expire,
    ),
    sub("sleep", 3..=3, "SLEEP <seconds>", "Stand still for so long; decimals allowed.", sleep),
    sub(
        "stringmatch-len",
        4..=4,
        "STRINGMATCH-LEN <length> <pattern>",
        "Match a text of so many letters 'a': for patterns that take long.",
        string_match_len,
    ),
    sub(
        "stringmatch-test",
        2..=2,
        "STRINGMATCH-TEST",
        "Match random texts with random patterns.",
        string_match_test,
    ),
];

fn debug(ctx: &mut Ctx) -> Result<(), Error> {
    if !is_allowed(ctx) {
        return Err(Error::Static(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
             \"local\", you can run it from a local connection, otherwise you need to set this \
             option in the configuration file, and then restart the server.",
        ));
    }
    let name = ctx.arg(1);
    let count = ctx.args.len();
    let found = SUBCOMMANDS.iter().find(|sub| name.eq_ignore_ascii_case(sub.name.as_bytes()));
    match found.filter(|sub| sub.args.contains(&count)) {
        Some(sub) => (sub.run)(ctx),
        None => Err(wrong_subcommand(ctx)),
    }
}

fn is_allowed(ctx: &mut Ctx) -> bool {
    match ctx.server.config.enable_debug_command {
        _ if ctx.origin == Origin::File => true,
        Allowed::Yes => true,
        Allowed::Local => ctx.client().is_local(),
        Allowed::No => false,
    }
}

/// In the form of a container's, which DEBUG is to its users.
fn help(ctx: &mut Ctx) -> Result<(), Error> {
    let shown = || SUBCOMMANDS.iter().filter(|sub| !sub.syntax.is_empty());
    ctx.out.array(1 + shown().count() * 2 + 2);
    ctx.out.simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for sub in shown() {
        ctx.out.simple(sub.syntax);
        ctx.out.simple(&format!("    {}", sub.text));
    }
    ctx.out.simple("HELP");
    ctx.out.simple("    Print this help.");
    Ok(())
}

/// A number as C's `atoi` takes it: what is none is 0.
fn switch_arg(ctx: &Ctx, index: usize) -> bool {
    let arg = ctx.arg(index);
    let digits = arg.iter().skip(usize::from(arg.first() == Some(&b'-')));
    digits.take_while(|byte| byte.is_ascii_digit()).any(|&digit| digit != b'0')
}

fn positive_arg(ctx: &Ctx, index: usize) -> Result<usize, Error> {
    let number = parse_i64(ctx.arg(index)).and_then(|number| usize::try_from(number).ok());
    number.ok_or(Error::Static("ERR value is out of range, must be positive"))
}

// ---------------------------------------------------------------------------------------------
// Data.

fn digest(ctx: &mut Ctx) -> Result<(), Error> {
    let digest = Digest::of_all(ctx.keys);
    ctx.out.simple(&digest.hex());
    Ok(())
}

/// Also of keys whose time has come: it leaves no trace.
fn digest_value(ctx: &mut Ctx) -> Result<(), Error> {
    let keys = ctx.args.from(2);
    ctx.out.array(keys.len());
    for key in keys.iter() {
        let digest = find(ctx, key).map(|view| Digest::of_value(&view));
        ctx.out.simple(&digest.unwrap_or_default().hex());
    }
    Ok(())
}

/// A key as it is, though its time may have come.
fn find<'k>(ctx: &'k Ctx, key: &[u8]) -> Option<View<'k>> {
    let records = ctx.keys.records(ctx.keys.current());
    records.find(records.hash(key), key).map(|(_, view)| view)
}

fn object(ctx: &mut Ctx) -> Result<(), Error> {
    let now_s = ctx.now_ms() / 1000;
    let view = find(ctx, ctx.arg(2)).ok_or(Error::NO_SUCH_KEY)?;
    let access = i64::from(view.access());
    let text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{access} \
         lru_seconds_idle:{}",
        view.key().as_ptr(),
        view.value().encoding(view.is_raw()),
        serialized_length(view.value()),
        (now_s - access) & 0x00FF_FFFF,
    );
    ctx.out.simple(&text);
    Ok(())
}

/// Bytes of the value in an RDB file without compression: a string's are exact, of other types
/// it is as if each element were written as a string.
fn serialized_length(value: Value<'_>) -> usize {
    let count = |n: usize| match n {
        0..64 => 1,
        64..16384 => 2,
        16384..=0xFFFF_FFFF => 5,
        _ => 9,
    };
    let string = |bytes: &[u8]| match parse_i64(bytes).filter(|_| bytes.len() <= 11) {
        Some(number) if i8::try_from(number).is_ok() => 2,
        Some(number) if i16::try_from(number).is_ok() => 3,
        Some(number) if i32::try_from(number).is_ok() => 5,
        _ => count(bytes.len()) + bytes.len(),
    };
    if let Some(hash) = Hash::of(value) {
        let pairs = hash.iter().map(|(field, value)| string(field) + string(value));
        return count(hash.len()) + pairs.sum::<usize>();
    }
    if let Some(set) = Set::of(value) {
        let members = set.iter().map(|member| member.with_text(string));
        return count(set.len()) + members.sum::<usize>();
    }
    if let Some(list) = List::of(value) {
        let mut bytes = count(list.len());
        list.for_each(|element| bytes += string(element));
        return bytes;
    }
    if let Some(stream) = Stream::of(value) {
        let id = 16;
        let entry = |entry: Entry<'_>| {
            let pairs = entry.pairs().map(|(field, value)| string(field) + value.with(string));
            id + pairs.sum::<usize>()
        };
        return count(stream.log.nodes()) + stream.log.iter().map(entry).sum::<usize>();
    }
    if let Some(zset) = Zset::of(value) {
        let elements = zset.iter().map(|(member, _)| string(member) + size_of::<f64>());
        return count(zset.len()) + elements.sum::<usize>();
    }
    Str::of(value).map_or(0, |text| text.with(string))
}

fn populate(ctx: &mut Ctx) -> Result<(), Error> {
    let count = positive_arg(ctx, 2)?;
    let prefix = if ctx.args.len() > 3 { ctx.arg(3) } else { b"key" };
    let size = if ctx.args.len() > 4 { positive_arg(ctx, 4)? } else { 0 };
    if size as u64 > ctx.server.config.proto_max_bulk_len {
        return Err(Error::OUT_OF_RANGE);
    }
    ctx.propagation = Propagation::Nothing;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for number in 0..count {
        key.clear();
        key.extend_from_slice(prefix);
        // Writing to a vector does not fail.
        let _ = write!(key, ":{number}");
        if ctx.keys.exists(&key) {
            continue;
        }
        value.clear();
        let _ = write!(value, "value:{number}");
        if size > 0 {
            value.resize(size, 0);
        }
        ctx.keys.insert(&key, NewValue::Inline(Inline::Str, &value), None);
    }
    ctx.out.ok();
    Ok(())
}

fn set_active_expire(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.server.switches.active_expire = switch_arg(ctx, 2);
    ctx.out.ok();
    Ok(())
}

/// Longer texts would stop the server for as long as the caller likes.
const MATCH_LEN_MAX: i64 = 1 << 20;

fn string_match_len(ctx: &mut Ctx) -> Result<(), Error> {
    let len = ctx.int_arg(2)?;
    if !(0..=MATCH_LEN_MAX).contains(&len) {
        return Err(Error::OUT_OF_RANGE);
    }
    let text = vec![b'a'; len as usize];
    ctx.out.int(glob::matches(ctx.arg(3), &text, false).into());
    Ok(())
}

fn string_match_test(ctx: &mut Ctx) -> Result<(), Error> {
    const ROUNDS: usize = 1_000_000;
    let rng = &mut ctx.server.rng;
    for _ in 0..ROUNDS {
        let mut bytes = [0; 64];
        rng.fill(&mut bytes);
        bytes.iter_mut().for_each(|byte| *byte &= 0x7F);
        let (text, pattern) = bytes.split_at(32);
        let (text, pattern) = (&text[..rng.index(32)], &pattern[..rng.index(32)]);
        // That it comes back is the test.
        let _ = glob::matches(pattern, text, false);
    }
    ctx.out.simple("Apparently Redis did not crash: test passed");
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// The server.

fn aof_flush_sleep(ctx: &mut Ctx) -> Result<(), Error> {
    let micros = parse_i64(ctx.arg(2)).and_then(|micros| u64::try_from(micros).ok()).unwrap_or(0);
    ctx.server.log.set_flush_sleep(Duration::from_micros(micros));
    ctx.out.ok();
    Ok(())
}

fn reload(ctx: &mut Ctx) -> Result<(), Error> {
    let mut what = Reload { saves: true, flushes: true, merges: false };
    for word in ctx.args.from(2).iter() {
        match word.to_ascii_lowercase().as_slice() {
            b"merge" => what.merges = true,
            b"noflush" => what.flushes = false,
            b"nosave" => what.saves = false,
            _ => {
                let text = "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.";
                return Err(Error::Static(text));
            }
        }
    }
    ctx.propagation = Propagation::Nothing;
    snapshot::reload(ctx.server, ctx.keys, what).map_err(|reason| {
        log::warn!("DEBUG RELOAD: {reason}");
        Error::Static("ERR Error trying to load the RDB dump, check server logs.")
    })?;
    log::warn!("DB reloaded by DEBUG RELOAD");
    ctx.out.ok();
    Ok(())
}

fn change_repl_id(ctx: &mut Ctx) -> Result<(), Error> {
    info!("Changing replication IDs after receiving DEBUG change-repl-id");
    ctx.server.identity.replication_id = identity::random_id(&mut ctx.server.rng);
    ctx.out.ok();
    Ok(())
}

fn rewrite_all(ctx: &mut Ctx) -> Result<(), Error> {
    config::rewrite_file(ctx, true)?
        .map_err(|e| format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {}", config::os_message(&e)))?;
    ctx.out.ok();
    Ok(())
}

fn pause_cron(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.server.switches.cron = !switch_arg(ctx, 2);
    ctx.out.ok();
    Ok(())
}

fn skip_checksums(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.server.switches.payload_checksums = !switch_arg(ctx, 2);
    ctx.out.ok();
    Ok(())
}

fn reply_buffer(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.is_word(2, "peak-reset-time") {
        if !ctx.is_word(3, "never") && !ctx.is_word(3, "reset") {
            ctx.int_arg(3)?;
        }
    } else if !ctx.is_word(2, "resizing") {
        return Err(wrong_subcommand(ctx));
    }
    ctx.out.ok();
    Ok(())
}

fn quicklist_packed_threshold(ctx: &mut Ctx) -> Result<(), Error> {
    /// Redis takes no more, as its own form has lengths of 32 bits.
    const MOST: u64 = (1 << 32) - (1 << 20);
    let size = read_bytes(ctx.arg(2)).filter(|&size| size <= MOST);
    let wrong = "ERR argument must be a memory value bigger than 1 and smaller than 4gb";
    size.ok_or(Error::Static(wrong))?;
    ctx.out.ok();
    Ok(())
}

fn sleep(ctx: &mut Ctx) -> Result<(), Error> {
    let seconds = parse_f64(ctx.arg(2)).unwrap_or(0.0);
    // What is no time to wait is none: negative, infinite.
    ctx.server.clock.sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    ctx.out.ok();
    Ok(())
}

fn log_message(ctx: &mut Ctx) -> Result<(), Error> {
    warn!("DEBUG LOG: {}", String::from_utf8_lossy(ctx.arg(2)));
    ctx.out.ok();
    Ok(())
}

fn panic(_: &mut Ctx) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    panic!("DEBUG PANIC called at Unix time {}", now.as_secs());
}

// ---------------------------------------------------------------------------------------------
// Replies.

fn error(ctx: &mut Ctx) -> Result<(), Error> {
    Err(Error::Bytes(ctx.arg(2).to_vec()))
}

fn protocol(ctx: &mut Ctx) -> Result<(), Error> {
    let name = ctx.arg(2).to_ascii_lowercase();
    let out = &mut *ctx.out;
    match name.as_slice() {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.int(12345),
        // Written so that nobody takes it for an inexact pi.
        b"double" => out.double(f64::from(3141) / 1000.0),
        b"bignum" => out.big_number("1234567999999999999999999999999999999"),
        b"null" => out.null(),
        b"array" => {
            out.array(3);
            (0..3).for_each(|n| out.int(n));
        }
        b"set" => {
            out.set(3);
            (0..3).for_each(|n| out.int(n));
        }
        b"map" => {
            out.map(3);
            for n in 0..3 {
                out.int(n);
                out.bool(n == 1);
            }
        }
        b"attrib" => {
            if out.is_resp3() {
                out.attribute(1);
                out.bulk(b"key-popularity");
                out.array(2);
                out.bulk(b"key:123");
                out.int(90);
            }
            out.bulk(b"Some real reply following the attribute");
        }
        b"push" if !out.is_resp3() => {
            return Err(Error::Static("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.int(42);
            // A push is no answer, and the client waits for one.
            out.bulk(b"Some real reply following the push reply");
        }
        b"true" => out.bool(true),
        b"false" => out.bool(false),
        b"verbatim" => out.verbatim("txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(Error::Static(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
