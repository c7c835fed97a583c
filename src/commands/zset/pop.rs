//! Commands that take members with the lowest or the highest scores out of sorted sets, and wait
//! for some if there are none.

use super::{BASE, begin_elements, write_element, zset_of};
use crate::base::number::parse_i64;
use crate::resp::Reply;
use crate::server::blocking::{TimeoutReply, Wait};
use crate::server::command::{Begin, Command, Find, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::Edit;
use crate::store::event::class;
use crate::types::zset::{self, Element};
use crate::types::{Slot, Type};

const TAKE: &[&str] = &["RW", "access", "delete"];

/// Keys whose number stands at an argument, before them.
const fn counted(index: usize) -> Keys {
    let find = Find::Count { at: 0, first: 1, step: 1 };
    Keys { flags: TAKE, begin: Begin::Index(index), find }
}

/// All arguments but the last.
const ALL_BUT_LAST: Keys =
    Keys { flags: TAKE, begin: Begin::Index(1), find: Find::Range { last: -2, step: 1, limit: 0 } };

const OF_SEVERAL: &str =
    "O(K)+O(M*log(N)) for K keys and M members popped, N being how many the set has";

pub const COMMANDS: &[Command] = &[
    Command {
        name: "bzmpop",
        summary: "Takes members from the first sorted set that is not empty, or waits for one",
        since: "7.0.0",
        complexity: OF_SEVERAL,
        arity: -5,
        flags: WRITE | BLOCKING,
        keys: &[counted(2)],
        args: "timeout:double numkeys key... where:(MIN | MAX) [COUNT count]",
        handler: bzmpop,
        ..BASE
    },
    Command {
        name: "bzpopmax",
        summary: "Takes the highest member of the first sorted set not empty, or waits for one",
        since: "5.0.0",
        complexity: "O(log(N)), N being how many members the set has",
        arity: -3,
        flags: WRITE | NOSCRIPT | BLOCKING | FAST,
        keys: &[ALL_BUT_LAST],
        args: "key... timeout:double",
        history: &[("6.0.0", "The time-out is a double, no integer")],
        handler: |ctx| bzpop(ctx, End::Max),
        ..BASE
    },
    Command {
        name: "bzpopmin",
        summary: "Takes the lowest member of the first sorted set not empty, or waits for one",
        since: "5.0.0",
        complexity: "O(log(N)), N being how many members the set has",
        arity: -3,
        flags: WRITE | NOSCRIPT | BLOCKING | FAST,
        keys: &[ALL_BUT_LAST],
        args: "key... timeout:double",
        history: &[("6.0.0", "The time-out is a double, no integer")],
        handler: |ctx| bzpop(ctx, End::Min),
        ..BASE
    },
    Command {
        name: "zmpop",
        summary: "Takes members with the lowest or highest scores from the first set not empty",
        since: "7.0.0",
        complexity: OF_SEVERAL,
        arity: -4,
        flags: WRITE,
        keys: &[counted(1)],
        args: "numkeys key... where:(MIN | MAX) [COUNT count]",
        handler: zmpop,
        ..BASE
    },
    Command {
        name: "zpopmax",
        summary: "Takes the members with the highest scores from a sorted set",
        since: "5.0.0",
        complexity: "O(log(N)*M) for M members popped, N being how many the set has",
        arity: -2,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, TAKE)],
        args: "key [count]",
        handler: |ctx| zpop(ctx, End::Max),
        ..BASE
    },
    Command {
        name: "zpopmin",
        summary: "Takes the members with the lowest scores from a sorted set",
        since: "5.0.0",
        complexity: "O(log(N)*M) for M members popped, N being how many the set has",
        arity: -2,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, TAKE)],
        args: "key [count]",
        handler: |ctx| zpop(ctx, End::Min),
        ..BASE
    },
];

/// Which end of a sorted set members are taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    /// The command that takes from this end, for what is written of other commands.
    fn command(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }

    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }
}

/// Takes up to `count` elements out of a sorted set, and hands `write` their number and them.
fn take(
    mut edit: Edit<'_>,
    end: End,
    count: usize,
    write: impl FnOnce(usize, &mut dyn Iterator<Item = Element>),
) -> Result<(), Error> {
    let zset = zset_of(edit.value())?;
    let len = zset.len();
    let count = count.min(len);
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    let mut elements = zset.range(ranks.clone());
    match end {
        End::Min => write(count, &mut elements),
        End::Max => write(count, &mut elements.rev()),
    }
    if count > 0 {
        edit.notify(class::ZSET, end.event());
        if count == len {
            // What goes away as a whole need not be taken apart.
            edit.remove_emptied();
        } else {
            zset::remove_range(&mut edit, ranks);
        }
    }
    Ok(())
}

fn zpop(ctx: &mut Ctx, end: End) -> Result<(), Error> {
    if ctx.args.len() > 3 {
        return Err(Error::SYNTAX);
    }
    let has_count = ctx.args.len() == 3;
    let count = if has_count { parse_i64(ctx.arg(2)) } else { Some(1) };
    let count = count.and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(Error::Static("ERR value is out of range, must be positive"))?;
    let Some(edit) = ctx.keys.edit(ctx.args.get(1)) else {
        ctx.out.array(0);
        return Ok(());
    };
    let out = &mut *ctx.out;
    take(edit, end, count, |count, elements| {
        if has_count {
            begin_elements(out, count, true);
            elements.for_each(|element| write_element(out, element, true));
        } else {
            out.array(count * 2);
            elements.for_each(|element| write_flat(out, element));
        }
    })
}

fn write_flat(out: &mut Reply, (member, score): Element) {
    out.bulk(member);
    out.double(score);
}

/// The first of these keys that exists; it must hold a sorted set.
fn first_of<'a>(ctx: &mut Ctx, keys: &[&'a [u8]]) -> Result<Option<&'a [u8]>, Error> {
    for &key in keys {
        if let Some(view) = ctx.keys.peek(key) {
            zset_of(view.value())?;
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn bzpop(ctx: &mut Ctx, end: End) -> Result<(), Error> {
    let last = ctx.args.len() - 1;
    let timeout_ms = ctx.timeout_arg(last)?;
    let keys: Vec<&[u8]> = (1..last).map(|index| ctx.arg(index)).collect();
    let Some(key) = first_of(ctx, &keys)? else {
        wait(ctx, keys, timeout_ms);
        return Ok(());
    };
    let Some(edit) = ctx.keys.edit(key) else { return Ok(()) };
    let out = &mut *ctx.out;
    take(edit, end, 1, |count, elements| {
        out.array(1 + count * 2);
        out.bulk(key);
        elements.for_each(|element| write_flat(out, element));
    })?;
    ctx.propagate([end.command(), key]);
    Ok(())
}

fn wait<'a>(ctx: &mut Ctx<'a>, keys: Vec<&'a [u8]>, timeout_ms: Option<u64>) {
    ctx.block(Wait {
        keys,
        kind: Type::Zset,
        or_removed: false,
        timeout_ms,
        timeout_reply: TimeoutReply::NullArray,
        command: None,
    });
}

/// What ZMPOP and BZMPOP are asked for.
struct Request<'a> {
    keys: Vec<&'a [u8]>,
    end: End,
    count: usize,
}

impl<'a> Request<'a> {
    /// Reads it from the argument `at` on, which says how many keys follow.
    fn parse(ctx: &Ctx<'a>, at: usize) -> Result<Request<'a>, Error> {
        let positive = |index: usize, error: &'static str| {
            let number = parse_i64(ctx.arg(index)).and_then(|n| usize::try_from(n).ok());
            number.filter(|&n| n > 0).ok_or(Error::Static(error))
        };
        let numkeys = positive(at, "ERR numkeys should be greater than 0")?;
        let end_at = numkeys.saturating_add(at + 1);
        if end_at >= ctx.args.len() {
            return Err(Error::SYNTAX);
        }
        let end = match () {
            _ if ctx.is_word(end_at, "min") => End::Min,
            _ if ctx.is_word(end_at, "max") => End::Max,
            _ => return Err(Error::SYNTAX),
        };
        let mut count = 1;
        match ctx.args.len() - end_at - 1 {
            0 => {}
            more => {
                if more < 2 || !ctx.is_word(end_at + 1, "count") {
                    return Err(Error::SYNTAX);
                }
                count = positive(end_at + 2, "ERR count should be greater than 0")?;
                if more > 2 {
                    return Err(Error::SYNTAX);
                }
            }
        }
        let keys = (at + 1..end_at).map(|index| ctx.arg(index)).collect();
        Ok(Request { keys, end, count })
    }

    /// Serves it from the first set there is; false if there is none.
    fn serve(&self, ctx: &mut Ctx) -> Result<bool, Error> {
        let Some(key) = first_of(ctx, &self.keys)? else { return Ok(false) };
        let Some(edit) = ctx.keys.edit(key) else { return Ok(false) };
        let out = &mut *ctx.out;
        let mut taken = 0;
        take(edit, self.end, self.count, |count, elements| {
            taken = count;
            out.array(2);
            out.bulk(key);
            out.array(count);
            for element in elements {
                out.array(2);
                write_flat(out, element);
            }
        })?;
        let count = taken.to_string();
        ctx.propagate([self.end.command(), key, count.as_bytes()]);
        Ok(true)
    }
}

fn zmpop(ctx: &mut Ctx) -> Result<(), Error> {
    let request = Request::parse(ctx, 1)?;
    if !request.serve(ctx)? {
        ctx.out.null_array();
    }
    Ok(())
}

fn bzmpop(ctx: &mut Ctx) -> Result<(), Error> {
    let request = Request::parse(ctx, 2)?;
    let timeout_ms = ctx.timeout_arg(1)?;
    if !request.serve(ctx)? {
        wait(ctx, request.keys, timeout_ms);
    }
    Ok(())
}
