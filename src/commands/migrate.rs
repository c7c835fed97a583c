//! MIGRATE: moves keys to another server. What happens between the command and its reply is in
//! [`migrate`](crate::server::migrate).

use crate::server::command::{Begin, Command, Find, Group, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::migrate::{Order, Target, distinct};
use crate::server::{keys, redact};

#[cfg(test)]
mod tests;

const KEY_AND_KEYS: Error = Error::Static(
    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
);
/// What a timeout that is no time stands for, in milliseconds, as in Redis.
const TIMEOUT_MS: u64 = 1000;
const TAKEN: &[&str] = &["RW", "access", "delete"];

pub const COMMANDS: &[Command] = &[Command {
    name: "migrate",
    summary: "Moves keys to another server, each at once and only when the other one has it",
    since: "2.6.0",
    group: Group::Generic,
    complexity: "That of DUMP here, of RESTORE there, and of what the network takes for the values",
    arity: -6,
    flags: WRITE | NEVER_QUEUED,
    categories: &["keyspace", "dangerous"],
    keys: &[
        Keys::at(3, TAKEN),
        Keys {
            flags: &["RW", "access", "delete", "incomplete"],
            begin: Begin::Keyword { word: "KEYS", from: -2 },
            find: Find::Range { last: -1, step: 1, limit: 0 },
        },
    ],
    find_keys: Some(keys::of_migrate),
    secrets: Some(redact::of_migrate),
    args: "host port:integer key-selector:(key | empty-string:'\"\"') destination-db:integer \
           timeout:integer [COPY]@3.0.0 [REPLACE]@3.0.0 authentication:[AUTH auth/password@4.0.7 | \
           AUTH2 auth2:(username password)@6.0.0] [KEYS keys:key/key ...]@3.0.6",
    tips: &["nondeterministic_output"],
    history: &[
        ("3.0.0", "Takes `COPY` and `REPLACE`."),
        ("3.0.6", "Takes `KEYS`."),
        ("4.0.7", "Takes `AUTH`."),
        ("6.0.0", "Takes `AUTH2`."),
    ],
    handler: migrate,
    ..Command::BASE
}];

/// What stands behind the timeout.
#[derive(Default)]
struct Options {
    copies: bool,
    replaces: bool,
    /// The arguments of AUTH.
    login: std::ops::Range<usize>,
    /// Where the keys behind KEYS begin.
    keys: Option<usize>,
}

fn options(ctx: &Ctx) -> Result<Options, Error> {
    let mut options = Options::default();
    let mut index = 6;
    while index < ctx.args.len() {
        let more = ctx.args.len() - index - 1;
        if ctx.is_word(index, "copy") {
            options.copies = true;
        } else if ctx.is_word(index, "replace") {
            options.replaces = true;
        } else if ctx.is_word(index, "auth") && more >= 1 {
            options.login = index + 1..index + 2;
            index += 1;
        } else if ctx.is_word(index, "auth2") && more >= 2 {
            options.login = index + 1..index + 3;
            index += 2;
        } else if ctx.is_word(index, "keys") {
            if !ctx.arg(3).is_empty() {
                return Err(KEY_AND_KEYS);
            }
            options.keys = Some(index + 1);
            break;
        } else {
            return Err(Error::SYNTAX);
        }
        index += 1;
    }
    Ok(options)
}

fn migrate(ctx: &mut Ctx) -> Result<(), Error> {
    let options = options(ctx)?;
    let timeout_ms = ctx.int_arg(5)?;
    let target_db = ctx.int_arg(4)?;
    let mut wanted = match options.keys {
        Some(first) => distinct(ctx.args.from(first).iter()),
        None => vec![ctx.arg(3)],
    };
    wanted.retain(|key| ctx.keys.read(key).is_some());
    if wanted.is_empty() {
        ctx.out.simple("NOKEY");
        return Ok(());
    }
    let target = Target {
        host: String::from_utf8_lossy(ctx.arg(1)).into(),
        port: port(ctx.arg(2)),
        login: options.login.map(|index| ctx.arg(index).into()).collect(),
    };
    let order = Order {
        target,
        target_db,
        timeout_ms: u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).unwrap_or(TIMEOUT_MS),
        copies: options.copies,
        replaces: options.replaces,
    };
    ctx.migrate(order, &wanted)
}

/// A port; one that is none is 0, where nobody can be reached.
fn port(text: &[u8]) -> u16 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
