//! Commands on the bits of strings. What is done to the bits is in `types::bits` and
//! `types::bitfield`; here are arguments, keys and replies.

mod field;
#[cfg(test)]
mod tests;

use super::string::{check_memory, length_limit};
use crate::base::number::parse_i64;
use crate::resp::Args;
use crate::server::command::{Begin, Command, Find, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::keys;
use crate::store::NewValue;
use crate::store::db::{Entry, Expiry};
use crate::store::event::class;
use crate::types::bits::{self, Operation, Range};
use crate::types::string::{self, INLINE_LIMIT, Str};
use crate::types::{Inline, Object, Slot};

const BAD_OFFSET: Error = Error::Static("ERR bit offset is not an integer or out of range");
const BAD_BIT: Error = Error::Static("ERR bit is not an integer or out of range");

const UNIT_HISTORY: &[(&str, &str)] = &[("7.0.0", "Takes `BYTE` and `BIT`.")];

const BASE: Command = Command { group: Group::Bitmap, categories: &["bitmap"], ..Command::BASE };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "bitcount",
        summary: "Counts the bits that are set in a string or a part of it",
        since: "2.6.0",
        complexity: "O(N) where N is the length of the part",
        arity: -2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key range:[start end unit:[BYTE | BIT]@7.0.0]",
        history: UNIT_HISTORY,
        handler: bitcount,
        ..BASE
    },
    Command {
        name: "bitfield",
        summary: "Reads and changes integers of any width within a string",
        since: "3.2.0",
        complexity: "O(1) for each operation",
        arity: -2,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["RW", "access", "update", "variable_flags"])],
        find_keys: Some(keys::of_bitfield),
        args: "key operation:[GET get-block:(encoding offset) | write:([OVERFLOW \
               overflow-block:(WRAP | SAT | FAIL)] write-operation:(SET set-block:(encoding \
               offset value:integer) | INCRBY incrby-block:(encoding offset increment)))]...",
        handler: field::bitfield,
        ..BASE
    },
    Command {
        name: "bitfield_ro",
        summary: "Reads integers of any width within a string",
        since: "6.0.0",
        complexity: "O(1) for each operation",
        arity: -2,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key [GET get-block:(encoding offset)]...",
        handler: field::bitfield_ro,
        ..BASE
    },
    Command {
        name: "bitop",
        summary: "Combines strings bit by bit, and keeps the result in a key",
        since: "2.6.0",
        complexity: "O(N) where N is the sum of the strings' lengths",
        arity: -4,
        flags: WRITE | DENYOOM,
        keys: &[
            Keys::at(2, &["OW", "update"]),
            Keys {
                flags: &["RO", "access"],
                begin: Begin::Index(3),
                find: Find::Range { last: -1, step: 1, limit: 0 },
            },
        ],
        args: "operation:(AND | OR | XOR | NOT | DIFF@8.2.0 | DIFF1@8.2.0 | ANDOR@8.2.0 \
               | ONE@8.2.0) destkey key...",
        history: &[("8.2.0", "Takes `DIFF`, `DIFF1`, `ANDOR` and `ONE`.")],
        handler: bitop,
        ..BASE
    },
    Command {
        name: "bitpos",
        summary: "Finds the first bit in a string that is set, or that is clear",
        since: "2.8.7",
        complexity: "O(N) where N is the length of the part that is searched",
        arity: -3,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key bit:integer range:[start end-unit-block:[end unit:[BYTE | BIT]@7.0.0]]",
        history: UNIT_HISTORY,
        handler: bitpos,
        ..BASE
    },
    Command {
        name: "getbit",
        summary: "Returns a bit of a string",
        since: "2.2.0",
        arity: 3,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key offset",
        handler: getbit,
        ..BASE
    },
    Command {
        name: "setbit",
        summary: "Sets or clears a bit of a string, and returns what it was",
        since: "2.2.0",
        complexity: "O(1), if the string need not grow",
        arity: 4,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["RW", "access", "update"])],
        args: "key offset value:integer",
        handler: setbit,
        ..BASE
    },
];

/// A bit's offset within what a string may be long.
fn check_offset(ctx: &Ctx, offset: Option<i64>) -> Result<u64, Error> {
    let offset = offset.and_then(|offset| u64::try_from(offset).ok());
    offset.filter(|offset| offset >> 3 < length_limit(ctx)).ok_or(BAD_OFFSET)
}

fn offset_arg(ctx: &Ctx, index: usize) -> Result<u64, Error> {
    check_offset(ctx, ctx.int_arg(index).ok())
}

fn setbit(ctx: &mut Ctx) -> Result<(), Error> {
    let offset = offset_arg(ctx, 2)?;
    let on = match ctx.int_arg(3) {
        Ok(bit @ 0..=1) => bit == 1,
        _ => return Err(BAD_BIT),
    };
    let at = (offset >> 3) as usize;
    check_memory(ctx, ctx.args.get(1), at as u64 + 1)?;
    let mut edit = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Occupied(edit) => edit,
        Entry::Vacant(vacant) => vacant.insert(NewValue::Inline(Inline::Str, b""), None),
    };
    let string = Str::of(edit.value()).ok_or(Error::WRONG_TYPE)?;
    let (was_on, byte, grows) = string.with(|bytes| {
        (bits::get(bytes, offset), bits::byte_with(bytes, offset, on), at >= bytes.len())
    });
    if grows || was_on != on {
        string::overwrite(&mut edit, at, &[byte]);
        edit.notify(class::STRING, "setbit");
    }
    // Redis makes room for the bit even where nothing changes.
    edit.set_raw();
    drop(edit);
    ctx.out.int(was_on.into());
    Ok(())
}

fn getbit(ctx: &mut Ctx) -> Result<(), Error> {
    let offset = offset_arg(ctx, 2)?;
    let bit = match ctx.keys.read(ctx.args.get(1)) {
        Some(view) => {
            let string = Str::of(view.value()).ok_or(Error::WRONG_TYPE)?;
            string.with(|bytes| bits::get(bytes, offset))
        }
        None => false,
    };
    ctx.out.int(bit.into());
    Ok(())
}

fn int(arg: &[u8]) -> Result<i64, Error> {
    parse_i64(arg).ok_or(Error::NOT_AN_INTEGER)
}

/// Whether a unit is BIT rather than BYTE.
fn is_bit(unit: &[u8]) -> Result<bool, Error> {
    match () {
        () if unit.eq_ignore_ascii_case(b"bit") => Ok(true),
        () if unit.eq_ignore_ascii_case(b"byte") => Ok(false),
        () => Err(Error::SYNTAX),
    }
}

/// The bits from `start` to `end`, both counted from the end of a string of `len` bytes if
/// negative; none if there are none.
fn range(start: i64, end: i64, is_bit: bool, len: usize) -> Option<Range> {
    let total = len as i64 * if is_bit { 8 } else { 1 };
    let from_start = |index: i64| if index < 0 { (index + total).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(total - 1));
    if start > end {
        return None;
    }
    let (first, last) = (start as u64, end as u64);
    Some(if is_bit { Range { first, last } } else { Range::of_bytes(first, last) })
}

fn bitcount(ctx: &mut Ctx) -> Result<(), Error> {
    let count = match ctx.keys.read(ctx.args.get(1)) {
        Some(view) => {
            let string = Str::of(view.value()).ok_or(Error::WRONG_TYPE)?;
            let range = count_range(ctx.args, string.len())?;
            string.with(|bytes| range.map_or(0, |range| bits::count(bytes, range)))
        }
        // Redis looks at the range only if there is a key.
        None => 0,
    };
    ctx.out.int(count as i64);
    Ok(())
}

/// The range that the arguments of BITCOUNT give, of a string of `len` bytes.
fn count_range(args: Args<'_>, len: usize) -> Result<Option<Range>, Error> {
    let (start, end) = match args.len() {
        2 => return Ok(range(0, -1, false, len)),
        4 | 5 => (int(args.get(2))?, int(args.get(3))?),
        _ => return Err(Error::SYNTAX),
    };
    // Where both are before the beginning they would meet there otherwise.
    if start < 0 && end < 0 && start > end {
        return Ok(None);
    }
    let is_bit = args.len() == 5 && is_bit(args.get(4))?;
    Ok(range(start, end, is_bit, len))
}

fn bitpos(ctx: &mut Ctx) -> Result<(), Error> {
    let wanted = match ctx.int_arg(2)? {
        0 => false,
        1 => true,
        _ => return Err(Error::Static("ERR The bit argument must be 1 or 0.")),
    };
    let position = match ctx.keys.read(ctx.args.get(1)) {
        Some(view) => {
            let string = Str::of(view.value()).ok_or(Error::WRONG_TYPE)?;
            let range = search_range(ctx.args, string.len())?;
            let found = string.with(|bytes| bits::position(bytes, wanted, range?));
            // Without an end to the search, what is behind the string is clear.
            let is_open = !wanted && ctx.args.len() < 5 && range.is_some();
            found.or(is_open.then_some(string.len() as u64 * 8))
        }
        // What does not exist is clear everywhere. Redis looks at the range only if there is a key.
        None => (!wanted).then_some(0),
    };
    ctx.out.int(position.map_or(-1, |bit| bit as i64));
    Ok(())
}

/// The range that the arguments of BITPOS give, of a string of `len` bytes.
fn search_range(args: Args<'_>, len: usize) -> Result<Option<Range>, Error> {
    let start = match args.len() {
        3 => 0,
        4..=6 => int(args.get(3))?,
        _ => return Err(Error::SYNTAX),
    };
    let is_bit = args.len() == 6 && is_bit(args.get(5))?;
    let end = if args.len() > 4 { int(args.get(4))? } else { -1 };
    Ok(range(start, end, is_bit, len))
}

/// The operation an argument names, and its name as errors have it.
fn operation(word: &[u8]) -> Option<(Operation, &'static str)> {
    [
        (Operation::And, "AND"),
        (Operation::Or, "OR"),
        (Operation::Xor, "XOR"),
        (Operation::Not, "NOT"),
        (Operation::Diff, "DIFF"),
        (Operation::Diff1, "DIFF1"),
        (Operation::AndOr, "ANDOR"),
        (Operation::One, "ONE"),
    ]
    .into_iter()
    .find(|(_, name)| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn bitop(ctx: &mut Ctx) -> Result<(), Error> {
    let (operation, name) = operation(ctx.arg(1)).ok_or(Error::SYNTAX)?;
    let sources = ctx.args.len() - 3;
    match operation {
        Operation::Not if sources != 1 => {
            let text = "ERR BITOP NOT must be called with a single source key.";
            return Err(Error::Static(text));
        }
        Operation::Diff | Operation::Diff1 | Operation::AndOr if sources < 2 => {
            let text = format!("ERR BITOP {name} must be called with at least two source keys.");
            return Err(Error::Text(text));
        }
        _ => {}
    }
    for key in ctx.args.from(3).iter() {
        if let Some(view) = ctx.keys.read(key) {
            Str::of(view.value()).ok_or(Error::WRONG_TYPE)?;
        }
    }
    let result = combined(ctx, operation);
    let (key, len) = (ctx.arg(2), result.len());
    if len > 0 {
        let value = if len > INLINE_LIMIT {
            NewValue::Object(Box::new(Object::String(result)))
        } else {
            NewValue::Raw(&result)
        };
        ctx.keys.set(key, value, Expiry::Never);
        ctx.keys.notify(class::STRING, "set", key);
    } else if ctx.keys.remove(key) {
        ctx.keys.notify(class::GENERIC, "del", key);
    }
    ctx.out.int(len as i64);
    Ok(())
}

/// The sources' bits, all of which are strings or not there.
fn combined(ctx: &Ctx, operation: Operation) -> Vec<u8> {
    let strings: Vec<Option<Str>> = ctx
        .args
        .from(3)
        .iter()
        .map(|key| ctx.keys.view(key).and_then(|view| Str::of(view.value())))
        .collect();
    // Integers need a place for their digits.
    let mut digits: Vec<itoa::Buffer> = vec![itoa::Buffer::new(); strings.len()];
    let sources: Vec<&[u8]> = strings
        .iter()
        .zip(&mut digits)
        .map(|(string, digits)| match string {
            Some(Str::Bytes(bytes)) => bytes,
            Some(Str::Int(n)) => digits.format(*n).as_bytes(),
            None => &[],
        })
        .collect();
    bits::combine(operation, &sources)
}
