//! Commands that take elements: at once, or as soon as there are any.
//!
//! One that waits is recorded as what it did in the end: what comes to the append-only file never
//! waits.

use super::{edit, end_arg, limits, list_of, push_event};
use crate::base::number::parse_i64;
use crate::resp::{Args, Reply};
use crate::server::blocking::{TimeoutReply, Wait};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::db::Garbage;
use crate::store::event::class;
use crate::store::{Edit, NewValue};
use crate::types::list::{self, End, Limits, List};
use crate::types::{Inline, Object, Type};
use std::ops::ControlFlow;

fn pop_event(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

fn pop_command(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

/// Writes the first or last elements of a list as bulk strings, from the end inwards.
fn write(out: &mut Reply, list: List<'_>, from: End, count: usize) {
    let (first, towards) = match from {
        End::Front => (0, End::Back),
        End::Back => (list.len().saturating_sub(1), End::Front),
    };
    let mut left = count;
    list.visit(first, towards, |element| {
        out.bulk(element);
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
}

/// Removes the first or last elements of a list, and the list with the last of them. `count` is at
/// most its length.
fn drop_elements(mut edit: Edit<'_>, from: End, count: usize, limits: &Limits) -> Option<Object> {
    let len = List::of(edit.view().value()).map_or(0, |list| list.len());
    if count >= len {
        edit.notify(class::LIST, pop_event(from));
        edit.remove_emptied();
        return None;
    }
    let index = match from {
        End::Front => 0,
        End::Back => len - count,
    };
    let garbage = list::remove(&mut edit, index, count, limits);
    edit.notify(class::LIST, pop_event(from));
    garbage
}

pub fn lpop(ctx: &mut Ctx) -> Result<(), Error> {
    pop(ctx, End::Front)
}

pub fn rpop(ctx: &mut Ctx) -> Result<(), Error> {
    pop(ctx, End::Back)
}

fn pop(ctx: &mut Ctx, from: End) -> Result<(), Error> {
    let count = match ctx.args.len() {
        2 => None,
        3 => {
            let count = parse_i64(ctx.arg(2)).and_then(|count| usize::try_from(count).ok());
            let not_positive = Error::Static("ERR value is out of range, must be positive");
            Some(count.ok_or(not_positive)?)
        }
        _ => return Err(Error::arity(&ctx.entry.full_name)),
    };
    let limits = limits(ctx);
    let Some(edit) = edit(ctx.keys, ctx.args.get(1))? else {
        match count {
            Some(_) => ctx.out.null_array(),
            None => ctx.out.null(),
        }
        return Ok(());
    };
    let list = list_of(edit.view().value())?;
    let taken = count.unwrap_or(1).min(list.len());
    if count.is_some() {
        ctx.out.array(taken);
    }
    if taken > 0 {
        write(ctx.out, list, from, taken);
        let garbage = drop_elements(edit, from, taken, &limits);
        ctx.keys.garbage.extend(garbage.map(Garbage::from));
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// From one of several lists.

/// What LMPOP and BLMPOP are told.
struct Popping<'a> {
    keys: Args<'a>,
    from: End,
    /// How many elements; none for one element, and no list of them (BLPOP).
    count: Option<usize>,
}

fn positive_arg(ctx: &Ctx, index: usize, text: &'static str) -> Result<usize, Error> {
    let number = parse_i64(ctx.arg(index)).and_then(|number| usize::try_from(number).ok());
    number.filter(|&number| number > 0).ok_or(Error::Static(text))
}

/// Reads `numkeys key... LEFT|RIGHT [COUNT count]`.
fn popping_args<'a>(ctx: &Ctx<'a>, at: usize) -> Result<Popping<'a>, Error> {
    let number = positive_arg(ctx, at, "ERR numkeys should be greater than 0")?;
    let first = at + 1;
    let end = first.checked_add(number).filter(|&end| end < ctx.args.len());
    let end = end.ok_or(Error::SYNTAX)?;
    let from = end_arg(ctx, end)?;
    let count = match ctx.args.len() - end - 1 {
        0 => 1,
        // A count alone, or given twice.
        1 => return Err(Error::SYNTAX),
        _ if !ctx.is_word(end + 1, "count") => return Err(Error::SYNTAX),
        more => {
            let count = positive_arg(ctx, end + 2, "ERR count should be greater than 0")?;
            if more > 2 {
                return Err(Error::SYNTAX);
            }
            count
        }
    };
    Ok(Popping { keys: ctx.args.range(first, end), from, count: Some(count) })
}

/// Takes elements from the first list that has any; false if there is none.
fn pop_from_any(ctx: &mut Ctx, popping: &Popping<'_>) -> Result<bool, Error> {
    let limits = limits(ctx);
    for key in popping.keys.iter() {
        let Some(edit) = edit(ctx.keys, key)? else { continue };
        let list = list_of(edit.view().value())?;
        let taken = popping.count.unwrap_or(1).min(list.len());
        ctx.out.array(2);
        ctx.out.bulk(key);
        if popping.count.is_some() {
            ctx.out.array(taken);
        }
        write(ctx.out, list, popping.from, taken);
        let garbage = drop_elements(edit, popping.from, taken, &limits);
        ctx.keys.garbage.extend(garbage.map(Garbage::from));
        let command = pop_command(popping.from);
        match popping.count {
            Some(_) => {
                let mut digits = itoa::Buffer::new();
                ctx.propagate([command, key, digits.format(taken).as_bytes()]);
            }
            None => ctx.propagate([command, key]),
        }
        return Ok(true);
    }
    Ok(false)
}

pub fn lmpop(ctx: &mut Ctx) -> Result<(), Error> {
    let popping = popping_args(ctx, 1)?;
    if !pop_from_any(ctx, &popping)? {
        ctx.out.null_array();
    }
    Ok(())
}

pub fn blmpop(ctx: &mut Ctx) -> Result<(), Error> {
    let popping = popping_args(ctx, 2)?;
    let timeout_ms = ctx.timeout_arg(1)?;
    pop_or_wait(ctx, &popping, timeout_ms)
}

pub fn blpop(ctx: &mut Ctx) -> Result<(), Error> {
    pop_one_or_wait(ctx, End::Front)
}

pub fn brpop(ctx: &mut Ctx) -> Result<(), Error> {
    pop_one_or_wait(ctx, End::Back)
}

fn pop_one_or_wait(ctx: &mut Ctx, from: End) -> Result<(), Error> {
    let last = ctx.args.len() - 1;
    let timeout_ms = ctx.timeout_arg(last)?;
    let keys = ctx.args.range(1, last);
    pop_or_wait(ctx, &Popping { keys, from, count: None }, timeout_ms)
}

fn pop_or_wait<'a>(
    ctx: &mut Ctx<'a>,
    popping: &Popping<'a>,
    timeout_ms: Option<u64>,
) -> Result<(), Error> {
    if !pop_from_any(ctx, popping)? {
        wait(ctx, popping.keys.iter().collect(), timeout_ms);
    }
    Ok(())
}

fn wait<'a>(ctx: &mut Ctx<'a>, keys: Vec<&'a [u8]>, timeout_ms: Option<u64>) {
    ctx.block(Wait {
        keys,
        kind: Type::List,
        or_removed: false,
        timeout_ms,
        timeout_reply: TimeoutReply::NullArray,
        command: None,
    });
}

// ---------------------------------------------------------------------------------------------
// From one list to another.

pub fn lmove(ctx: &mut Ctx) -> Result<(), Error> {
    let (from, to) = (end_arg(ctx, 3)?, end_arg(ctx, 4)?);
    if !move_element(ctx, from, to)? {
        ctx.out.null();
    }
    Ok(())
}

pub fn rpoplpush(ctx: &mut Ctx) -> Result<(), Error> {
    if !move_element(ctx, End::Back, End::Front)? {
        ctx.out.null();
    }
    Ok(())
}

pub fn blmove(ctx: &mut Ctx) -> Result<(), Error> {
    let (from, to) = (end_arg(ctx, 3)?, end_arg(ctx, 4)?);
    let timeout_ms = ctx.timeout_arg(5)?;
    if move_element(ctx, from, to)? {
        let args = ctx.args.range(1, 5);
        ctx.propagate(std::iter::once(&b"LMOVE"[..]).chain(args.iter()));
        return Ok(());
    }
    move_later(ctx, timeout_ms);
    Ok(())
}

pub fn brpoplpush(ctx: &mut Ctx) -> Result<(), Error> {
    let timeout_ms = ctx.timeout_arg(3)?;
    if move_element(ctx, End::Back, End::Front)? {
        let (source, destination) = (ctx.arg(1), ctx.arg(2));
        ctx.propagate([b"RPOPLPUSH", source, destination]);
        return Ok(());
    }
    move_later(ctx, timeout_ms);
    Ok(())
}

fn move_later(ctx: &mut Ctx, timeout_ms: Option<u64>) {
    if !ctx.may_wait() {
        // Not what it says when its time is up: Redis does it so.
        ctx.out.null();
        return;
    }
    let source = ctx.arg(1);
    wait(ctx, vec![source], timeout_ms);
}

/// Moves an element from the list at the first argument to the one at the second, and replies with
/// it; false if there is none.
fn move_element(ctx: &mut Ctx, from: End, to: End) -> Result<bool, Error> {
    let (source, destination) = (ctx.arg(1), ctx.arg(2));
    let limits = limits(ctx);
    let Some(edit) = edit(ctx.keys, source)? else { return Ok(false) };
    let index = match from {
        End::Front => 0,
        End::Back => list_of(edit.view().value())?.len() - 1,
    };
    if source == destination {
        return rotate(edit, ctx.out, index, from, to, &limits);
    }
    drop(edit);
    if ctx.keys.peek(destination).is_some_and(|view| view.value().kind() != Type::List) {
        return Err(Error::WRONG_TYPE);
    }
    let Some(view) = ctx.keys.peek(source) else { return Ok(false) };
    let element = reply_with(ctx.out, list_of(view.value())?, index);
    let mut pushed = ctx.keys.upsert(destination, NewValue::Inline(Inline::List, b""));
    list::push(&mut pushed, to, std::iter::once(element), &limits);
    pushed.notify(class::LIST, push_event(to));
    drop(pushed);
    if let Some(edit) = ctx.keys.edit(source) {
        drop_elements(edit, from, 1, &limits);
    }
    Ok(true)
}

/// Replies with an element, and gives it as it is in the reply now.
fn reply_with<'o>(out: &'o mut Reply, list: List<'_>, index: usize) -> &'o [u8] {
    let len = list.with(index, |element| {
        out.bulk(element);
        element.len()
    });
    let end = out.len() - 2;
    &out.as_bytes()[end - len.unwrap_or(0)..end]
}

/// Moves an element within its list.
fn rotate(
    mut edit: Edit<'_>,
    out: &mut Reply,
    index: usize,
    from: End,
    to: End,
    limits: &Limits,
) -> Result<bool, Error> {
    let list = list_of(edit.view().value())?;
    let element = reply_with(out, list, index);
    list::remove(&mut edit, index, 1, limits);
    list::push(&mut edit, to, std::iter::once(element), limits);
    edit.notify(class::LIST, push_event(to));
    edit.notify(class::LIST, pop_event(from));
    Ok(true)
}
