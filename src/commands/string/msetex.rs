//! MSETEX: several strings with one expiry, all or none of them.

use super::{BASE, notify_set, store};
use crate::commands::expiration::{Expiration, deadline};
use crate::server::command::{Begin, Command, Find, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::db::Expiry;

pub const COMMANDS: &[Command] = &[Command {
    name: "msetex",
    summary: "Sets the strings that several keys hold, to expire at the same time",
    since: "8.4.0",
    complexity: "O(N) where N is the number of keys",
    arity: -4,
    flags: WRITE | DENYOOM,
    keys: &[Keys {
        flags: &["OW", "update"],
        begin: Begin::Index(1),
        find: Find::Count { at: 0, first: 1, step: 2 },
    }],
    args: "numkeys:integer data:(key value)... condition:[NX | XX] \
           expiration:[EX seconds | PX milliseconds | EXAT unix-time-seconds \
           | PXAT unix-time-milliseconds | KEEPTTL]",
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    handler: msetex,
    ..BASE
}];

#[derive(Default)]
struct Options {
    only_new: bool,
    only_existing: bool,
    keep_ttl: bool,
    expiration: Option<(Expiration, usize)>,
}

impl Options {
    fn parse(ctx: &Ctx, from: usize) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut at = from;
        while at < ctx.args.len() {
            if ctx.is_word(at, "nx") && !options.only_existing {
                options.only_new = true;
            } else if ctx.is_word(at, "xx") && !options.only_new {
                options.only_existing = true;
            } else if ctx.is_word(at, "keepttl") && options.expiration.is_none() {
                options.keep_ttl = true;
            } else if let Some(kind) = Expiration::at(ctx, at)
                && !options.keep_ttl
            {
                at += 1;
                options.expiration = Some((kind.combined(options.expiration)?, at));
            } else {
                return Err(Error::SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn msetex(ctx: &mut Ctx) -> Result<(), Error> {
    let pairs = ctx.int_arg(1).ok().and_then(|n| i32::try_from(n).ok()).filter(|n| *n > 0);
    let pairs = pairs.ok_or(Error::Static("ERR invalid numkeys value"))? as usize;
    let end = 2 + 2 * pairs;
    if end > ctx.args.len() {
        return Err(Error::Static("ERR wrong number of key-value pairs"));
    }
    let options = Options::parse(ctx, end)?;
    let expiry = match options.expiration {
        Some((kind, at)) => Expiry::At(deadline(ctx, kind, at)?),
        None if options.keep_ttl => Expiry::Keep,
        None => Expiry::Never,
    };
    let places = || (2..end).step_by(2);
    let refused = (options.only_new || options.only_existing)
        && places().any(|at| ctx.keys.exists(ctx.args.get(at)) == options.only_new);
    if refused {
        ctx.out.int(0);
        return Ok(());
    }
    for at in places() {
        let key = ctx.arg(at);
        store(ctx, key, ctx.arg(at + 1), expiry);
        notify_set(ctx, key, expiry);
    }
    propagate(ctx, end, expiry);
    ctx.out.int(1);
    Ok(())
}

/// As commands that every server knows, with the time at which the keys expire.
fn propagate(ctx: &mut Ctx, end: usize, expiry: Expiry) {
    if !ctx.recorded {
        return;
    }
    let mut time = itoa::Buffer::new();
    let (word, when): (&[u8], &[u8]) = match expiry {
        Expiry::Never => {
            let args = ctx.args;
            let pairs = (2..end).map(|at| args.get(at));
            return ctx.propagate(std::iter::once(&b"MSET"[..]).chain(pairs));
        }
        Expiry::Keep => (b"KEEPTTL", b""),
        Expiry::At(when) => (b"PXAT", time.format(when).as_bytes()),
    };
    for at in (2..end).step_by(2) {
        let words = [b"SET", ctx.arg(at), ctx.arg(at + 1), word, when];
        ctx.propagate(&words[..if when.is_empty() { 4 } else { 5 }]);
    }
}
