//! Commands on lists.

mod elements;
mod pop;

#[cfg(test)]
mod tests;

use crate::server::command::{Begin, Command, Find, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::{Edit, Keyspace};
use crate::types::Value;
use crate::types::list::{End, Limits, List};

const INSERT: Keys = Keys::at(1, &["RW", "insert"]);
const DELETE: Keys = Keys::at(1, &["RW", "delete"]);
const POP: Keys = Keys::at(1, &["RW", "access", "delete"]);
const DESTINATION: Keys = Keys::at(2, &["RW", "insert"]);

/// All arguments from the first but the last are keys.
const POP_ALL_BUT_LAST: Keys = Keys {
    flags: &["RW", "access", "delete"],
    begin: Begin::Index(1),
    find: Find::Range { last: -2, step: 1, limit: 0 },
};

/// The argument at `at` says how many keys follow.
const fn pop_counted(at: usize) -> Keys {
    Keys {
        flags: &["RW", "access", "delete"],
        begin: Begin::Index(at),
        find: Find::Count { at: 0, first: 1, step: 1 },
    }
}

const BASE: Command = Command { group: Group::List, categories: &["list"], ..Command::BASE };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "blmove",
        summary: "Moves an element from an end of a list to an end of another, and waits for one \
                  if there is none",
        since: "6.2.0",
        arity: 6,
        flags: WRITE | DENYOOM | BLOCKING,
        keys: &[POP, DESTINATION],
        args: "source destination wherefrom:(LEFT | RIGHT) whereto:(LEFT | RIGHT) timeout:double",
        handler: pop::blmove,
        ..BASE
    },
    Command {
        name: "blmpop",
        summary: "Takes elements from the first list that has any, and waits if none has",
        since: "7.0.0",
        complexity: "O(N+M) for N keys given and M elements taken",
        arity: -5,
        flags: WRITE | BLOCKING | MOVABLEKEYS,
        keys: &[pop_counted(2)],
        args: "timeout:double numkeys key... where:(LEFT | RIGHT) [COUNT count]",
        handler: pop::blmpop,
        ..BASE
    },
    Command {
        name: "blpop",
        summary: "Takes the first element of the first list that has any, and waits if none has",
        since: "2.0.0",
        complexity: "O(N) for N keys given",
        arity: -3,
        flags: WRITE | BLOCKING,
        keys: &[POP_ALL_BUT_LAST],
        args: "key... timeout:double",
        history: &[("6.0.0", "The timeout may have decimals")],
        handler: pop::blpop,
        ..BASE
    },
    Command {
        name: "brpop",
        summary: "Takes the last element of the first list that has any, and waits if none has",
        since: "2.0.0",
        complexity: "O(N) for N keys given",
        arity: -3,
        flags: WRITE | BLOCKING,
        keys: &[POP_ALL_BUT_LAST],
        args: "key... timeout:double",
        history: &[("6.0.0", "The timeout may have decimals")],
        handler: pop::brpop,
        ..BASE
    },
    Command {
        name: "brpoplpush",
        summary: "Moves the last element of a list to the front of another, and waits for one if \
                  there is none",
        since: "2.2.0",
        arity: 4,
        flags: WRITE | DENYOOM | BLOCKING,
        keys: &[POP, DESTINATION],
        args: "source destination timeout:double",
        history: &[("6.0.0", "The timeout may have decimals")],
        deprecated: Some(("`BLMOVE` with the `RIGHT` and `LEFT` arguments", "6.2.0")),
        handler: pop::brpoplpush,
        ..BASE
    },
    Command {
        name: "lindex",
        summary: "Returns the element of a list with this index",
        complexity: "O(N) for N elements in the chunk, plus a step for each chunk on the way from \
                     the nearer end",
        arity: 3,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key index",
        handler: elements::lindex,
        ..BASE
    },
    Command {
        name: "linsert",
        summary: "Inserts an element into a list before or behind another one",
        since: "2.2.0",
        complexity: "O(N) for N elements before the one looked for",
        arity: 5,
        flags: WRITE | DENYOOM,
        keys: &[INSERT],
        args: "key where:(BEFORE | AFTER) pivot element",
        handler: elements::linsert,
        ..BASE
    },
    Command {
        name: "llen",
        summary: "Returns how many elements a list has",
        arity: 2,
        flags: READONLY | FAST,
        keys: &[Keys::at(1, &["RO"])],
        args: "key",
        handler: elements::llen,
        ..BASE
    },
    Command {
        name: "lmove",
        summary: "Moves an element from an end of a list to an end of another",
        since: "6.2.0",
        arity: 5,
        flags: WRITE | DENYOOM,
        keys: &[POP, DESTINATION],
        args: "source destination wherefrom:(LEFT | RIGHT) whereto:(LEFT | RIGHT)",
        handler: pop::lmove,
        ..BASE
    },
    Command {
        name: "lmpop",
        summary: "Takes elements from the first list that has any",
        since: "7.0.0",
        complexity: "O(N+M) for N keys given and M elements taken",
        arity: -4,
        flags: WRITE | MOVABLEKEYS,
        keys: &[pop_counted(1)],
        args: "numkeys key... where:(LEFT | RIGHT) [COUNT count]",
        handler: pop::lmpop,
        ..BASE
    },
    Command {
        name: "lpop",
        summary: "Takes the first elements of a list, and the key with the last of them",
        complexity: "O(N) for N elements taken",
        arity: -2,
        flags: WRITE | FAST,
        keys: &[POP],
        args: "key [count]@6.2.0",
        history: &[("6.2.0", "Takes a count")],
        handler: pop::lpop,
        ..BASE
    },
    Command {
        name: "lpos",
        summary: "Returns the indexes of elements that are equal to the one given",
        since: "6.0.6",
        complexity: "O(N) for N elements looked at",
        arity: -3,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key element [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]",
        handler: elements::lpos,
        ..BASE
    },
    Command {
        name: "lpush",
        summary: "Adds elements to the front of a list, which is created if there is none",
        complexity: "O(N) for N elements given",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        keys: &[INSERT],
        args: "key element...",
        history: &[("2.4.0", "Takes several elements")],
        handler: elements::lpush,
        ..BASE
    },
    Command {
        name: "lpushx",
        summary: "Adds elements to the front of a list, if there is one",
        since: "2.2.0",
        complexity: "O(N) for N elements given",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        keys: &[INSERT],
        args: "key element...",
        history: &[("4.0.0", "Takes several elements")],
        handler: elements::lpushx,
        ..BASE
    },
    Command {
        name: "lrange",
        summary: "Returns the elements of a list between two indexes",
        complexity: "O(S+N) for N elements returned, and S chunks between them and the nearer end",
        arity: 4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key start stop",
        handler: elements::lrange,
        ..BASE
    },
    Command {
        name: "lrem",
        summary: "Removes elements that are equal to the one given, and the key with the last \
                  element",
        complexity: "O(N) for a list of N elements",
        arity: 4,
        flags: WRITE,
        keys: &[DELETE],
        args: "key count element",
        handler: elements::lrem,
        ..BASE
    },
    Command {
        name: "lset",
        summary: "Replaces the element of a list with this index",
        complexity: "O(N) for N elements in the chunk, plus a step for each chunk on the way from \
                     the nearer end",
        arity: 4,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["RW", "update"])],
        args: "key index element",
        handler: elements::lset,
        ..BASE
    },
    Command {
        name: "ltrim",
        summary: "Removes the elements of a list that are not between two indexes, and the key \
                  with the last of them",
        complexity: "O(N) for N chunks of elements to be removed",
        arity: 4,
        flags: WRITE,
        keys: &[DELETE],
        args: "key start stop",
        handler: elements::ltrim,
        ..BASE
    },
    Command {
        name: "rpop",
        summary: "Takes the last elements of a list, and the key with the last of them",
        complexity: "O(N) for N elements taken",
        arity: -2,
        flags: WRITE | FAST,
        keys: &[POP],
        args: "key [count]@6.2.0",
        history: &[("6.2.0", "Takes a count")],
        handler: pop::rpop,
        ..BASE
    },
    Command {
        name: "rpoplpush",
        summary: "Moves the last element of a list to the front of another",
        since: "1.2.0",
        arity: 3,
        flags: WRITE | DENYOOM,
        keys: &[POP, DESTINATION],
        args: "source destination",
        deprecated: Some(("`LMOVE` with the `RIGHT` and `LEFT` arguments", "6.2.0")),
        handler: pop::rpoplpush,
        ..BASE
    },
    Command {
        name: "rpush",
        summary: "Adds elements to the back of a list, which is created if there is none",
        complexity: "O(N) for N elements given",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        keys: &[INSERT],
        args: "key element...",
        history: &[("2.4.0", "Takes several elements")],
        handler: elements::rpush,
        ..BASE
    },
    Command {
        name: "rpushx",
        summary: "Adds elements to the back of a list, if there is one",
        since: "2.2.0",
        complexity: "O(N) for N elements given",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        keys: &[INSERT],
        args: "key element...",
        history: &[("4.0.0", "Takes several elements")],
        handler: elements::rpushx,
        ..BASE
    },
];

#[inline]
fn list_of(value: Value<'_>) -> Result<List<'_>, Error> {
    List::of(value).ok_or(Error::WRONG_TYPE)
}

/// The list at a key, if there is one, read on behalf of a client.
#[inline]
fn read<'a>(keys: &'a mut Keyspace, key: &[u8]) -> Result<Option<List<'a>>, Error> {
    keys.read(key).map(|view| list_of(view.value())).transpose()
}

/// The list at a key, if there is one, for change.
#[inline]
fn edit<'a>(keys: &'a mut Keyspace, key: &[u8]) -> Result<Option<Edit<'a>>, Error> {
    let Some(edit) = keys.edit(key) else { return Ok(None) };
    list_of(edit.view().value())?;
    Ok(Some(edit))
}

#[inline]
pub(super) fn limits(ctx: &Ctx) -> Limits {
    let config = &ctx.server.config;
    Limits { size: config.list_max_listpack_size, depth: config.list_compress_depth }
}

/// An argument that is LEFT or RIGHT.
fn end_arg(ctx: &Ctx, index: usize) -> Result<End, Error> {
    if ctx.is_word(index, "left") {
        Ok(End::Front)
    } else if ctx.is_word(index, "right") {
        Ok(End::Back)
    } else {
        Err(Error::SYNTAX)
    }
}

fn push_event(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

/// A number that is neither too small nor `i64::MIN`, whose opposite there is not.
fn negatable_arg(ctx: &Ctx, index: usize) -> Result<i64, Error> {
    let number = ctx.int_arg(index)?;
    if number == i64::MIN {
        let (least, most) = (-i64::MAX, i64::MAX);
        let text = format!("ERR value is out of range, value must between {least} and {most}");
        return Err(Error::Text(text));
    }
    Ok(number)
}

/// The part of a list of `len` elements that two indexes mean, the second included; negative ones
/// count from the end. None if it is empty.
fn range(start: i64, stop: i64, len: usize) -> Option<std::ops::Range<usize>> {
    let len = len as i64;
    let absolute = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
    let start = absolute(start).max(0);
    let stop = absolute(stop).min(len - 1);
    (start <= stop).then(|| start as usize..stop as usize + 1)
}
