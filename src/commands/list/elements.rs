//! Commands that add elements, or look at them, or remove them unseen.

use super::{edit, limits, list_of, negatable_arg, push_event, range, read};
use crate::base::number::parse_i64;
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::NewValue;
use crate::store::db::{Entry, Garbage, Vacant};
use crate::store::event::class;
use crate::store::interest::Concerns;
use crate::types::list::{self, End, Limits};
use crate::types::{Inline, Slot};
use std::ops::ControlFlow;

pub fn lpush(ctx: &mut Ctx) -> Result<(), Error> {
    push(ctx, End::Front, true)
}

pub fn rpush(ctx: &mut Ctx) -> Result<(), Error> {
    push(ctx, End::Back, true)
}

pub fn lpushx(ctx: &mut Ctx) -> Result<(), Error> {
    push(ctx, End::Front, false)
}

pub fn rpushx(ctx: &mut Ctx) -> Result<(), Error> {
    push(ctx, End::Back, false)
}

#[inline]
fn push(ctx: &mut Ctx, end: End, creates: bool) -> Result<(), Error> {
    let limits = limits(ctx);
    let elements = ctx.args.from(2);
    let mut edit = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Occupied(edit) => {
            list_of(edit.view().value())?;
            edit
        }
        Entry::Vacant(_) if !creates => {
            ctx.out.int(0);
            return Ok(());
        }
        Entry::Vacant(vacant) if elements.len() == 1 => {
            create(vacant, end, elements.get(0), &limits);
            ctx.out.int(1);
            return Ok(());
        }
        Entry::Vacant(vacant) => vacant.insert(NewValue::Inline(Inline::List, b""), None),
    };
    let len = list::push(&mut edit, end, elements.iter(), &limits);
    edit.notify(class::LIST, push_event(end));
    ctx.out.int(len as i64);
    Ok(())
}

/// Creates a list of one element. A small one is in its place at once.
fn create(vacant: Vacant<'_>, end: End, element: &[u8], limits: &Limits) {
    let mut buffer = [0; list::INLINE_BYTES];
    let mut edit = match list::inline_of_one(element, &mut buffer) {
        Some(bytes) => vacant.insert(NewValue::Inline(Inline::List, bytes), None),
        None => {
            let mut edit = vacant.insert(NewValue::Inline(Inline::List, b""), None);
            list::push(&mut edit, end, std::iter::once(element), limits);
            edit
        }
    };
    edit.notify(class::LIST, push_event(end));
}

pub fn linsert(ctx: &mut Ctx) -> Result<(), Error> {
    let behind = ctx.is_word(2, "after");
    if !behind && !ctx.is_word(2, "before") {
        return Err(Error::SYNTAX);
    }
    let limits = limits(ctx);
    let Some(mut edit) = edit(ctx.keys, ctx.args.get(1))? else {
        ctx.out.int(0);
        return Ok(());
    };
    let list = list_of(edit.view().value())?;
    let (len, pivot) = (list.len(), list.find(ctx.args.get(3)));
    let Some(pivot) = pivot else {
        ctx.out.int(-1);
        return Ok(());
    };
    let element = ctx.args.get(4);
    if behind && pivot + 1 == len {
        list::push(&mut edit, End::Back, std::iter::once(element), &limits);
    } else {
        list::insert(&mut edit, pivot + usize::from(behind), element, &limits);
    }
    edit.notify(class::LIST, "linsert");
    ctx.out.int(len as i64 + 1);
    Ok(())
}

pub fn llen(ctx: &mut Ctx) -> Result<(), Error> {
    let list = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.int(list.map_or(0, |list| list.len()) as i64);
    Ok(())
}

/// What an index that may count from the end means.
fn index_in(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok().filter(|&index| index < len)
}

pub fn lindex(ctx: &mut Ctx) -> Result<(), Error> {
    let index = ctx.int_arg(2);
    let Some(list) = read(ctx.keys, ctx.args.get(1))? else {
        ctx.out.null();
        return Ok(());
    };
    let index = index_in(index?, list.len());
    let out = &mut *ctx.out;
    if index.and_then(|index| list.with(index, |element| out.bulk(element))).is_none() {
        ctx.out.null();
    }
    Ok(())
}

pub fn lset(ctx: &mut Ctx) -> Result<(), Error> {
    let limits = limits(ctx);
    let index = ctx.int_arg(2);
    let mut edit = edit(ctx.keys, ctx.args.get(1))?.ok_or(Error::NO_SUCH_KEY)?;
    let len = list_of(edit.view().value())?.len();
    let out_of_range = Error::Static("ERR index out of range");
    let index = index_in(index?, len).ok_or(out_of_range)?;
    list::set(&mut edit, index, ctx.args.get(3), &limits);
    edit.notify(class::LIST, "lset");
    ctx.out.ok();
    Ok(())
}

pub fn lrange(ctx: &mut Ctx) -> Result<(), Error> {
    let (start, stop) = (ctx.int_arg(2)?, ctx.int_arg(3)?);
    let list = read(ctx.keys, ctx.args.get(1))?;
    let part = list.and_then(|list| Some((list, range(start, stop, list.len())?)));
    let Some((list, range)) = part else {
        ctx.out.array(0);
        return Ok(());
    };
    let out = &mut *ctx.out;
    let mut left = range.len();
    out.array(left);
    list.visit(range.start, End::Back, |element| {
        out.bulk(element);
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    Ok(())
}

pub fn ltrim(ctx: &mut Ctx) -> Result<(), Error> {
    let (start, stop) = (ctx.int_arg(2)?, ctx.int_arg(3)?);
    let limits = limits(ctx);
    let Some(mut edit) = edit(ctx.keys, ctx.args.get(1))? else {
        ctx.out.ok();
        return Ok(());
    };
    let len = list_of(edit.view().value())?.len();
    edit.notify(class::LIST, "ltrim");
    let garbage = match range(start, stop, len) {
        None => {
            edit.remove_emptied();
            [None, None]
        }
        Some(stays) => {
            // Redis counts it as a change to those who watch the key even if nothing is removed.
            edit.note_for(Concerns::Watching);
            let back = list::remove(&mut edit, stays.end, len - stays.end, &limits);
            let front = list::remove(&mut edit, 0, stays.start, &limits);
            drop(edit);
            [back, front]
        }
    };
    ctx.keys.garbage.extend(garbage.into_iter().flatten().map(Garbage::from));
    ctx.out.ok();
    Ok(())
}

pub fn lrem(ctx: &mut Ctx) -> Result<(), Error> {
    let count = negatable_arg(ctx, 2)?;
    let limits = limits(ctx);
    let Some(mut edit) = edit(ctx.keys, ctx.args.get(1))? else {
        ctx.out.int(0);
        return Ok(());
    };
    let from = if count < 0 { End::Back } else { End::Front };
    let most = match count {
        0 => usize::MAX,
        _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
    };
    let removed = list::remove_equal(&mut edit, ctx.args.get(3), most, from, &limits);
    if removed > 0 {
        edit.notify(class::LIST, "lrem");
        if list_of(edit.value())?.is_empty() {
            edit.remove_emptied();
        }
    }
    ctx.out.int(removed as i64);
    Ok(())
}

/// The options of LPOS.
struct Search {
    rank: i64,
    /// Matches wanted, 0 for all; none if one is wanted, and not as a list.
    count: Option<u64>,
    /// Elements looked at, 0 for all.
    most: u64,
}

fn search_options(ctx: &Ctx) -> Result<Search, Error> {
    let mut search = Search { rank: 1, count: None, most: 0 };
    let natural = |index, text| {
        let number = parse_i64(ctx.arg(index)).and_then(|number| u64::try_from(number).ok());
        number.ok_or(Error::Static(text))
    };
    for at in (3..ctx.args.len()).step_by(2) {
        if at + 1 == ctx.args.len() {
            return Err(Error::SYNTAX);
        }
        if ctx.is_word(at, "rank") {
            search.rank = negatable_arg(ctx, at + 1)?;
            if search.rank == 0 {
                return Err(Error::Static(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                ));
            }
        } else if ctx.is_word(at, "count") {
            search.count = Some(natural(at + 1, "ERR COUNT can't be negative")?);
        } else if ctx.is_word(at, "maxlen") {
            search.most = natural(at + 1, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok(search)
}

pub fn lpos(ctx: &mut Ctx) -> Result<(), Error> {
    let search = search_options(ctx)?;
    let element = ctx.arg(2);
    let out = &mut *ctx.out;
    let Some(list) = read(ctx.keys, ctx.args.get(1))? else {
        match search.count {
            Some(_) => out.array(0),
            None => out.null(),
        }
        return Ok(());
    };
    let len = list.len();
    let towards = if search.rank < 0 { End::Front } else { End::Back };
    let first = if search.rank < 0 { len.saturating_sub(1) } else { 0 };
    let most = if search.most == 0 { u64::MAX } else { search.most };
    let mut skip = search.rank.unsigned_abs() - 1;
    let wanted = match search.count {
        None => 1,
        Some(0) => u64::MAX,
        Some(count) => count,
    };
    let open = search.count.map(|_| out.open());
    let (mut looked_at, mut found) = (0, 0);
    list.visit(first, towards, |other| {
        let index = looked_at;
        looked_at += 1;
        if other == element {
            if skip > 0 {
                skip -= 1;
            } else {
                found += 1;
                let index = if search.rank < 0 { len as u64 - 1 - index } else { index };
                out.int(index as i64);
            }
        }
        let done = found == wanted || looked_at == most;
        if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match open {
        Some(open) => out.close_array(open, found as usize),
        None if found == 0 => out.null(),
        None => {}
    }
    Ok(())
}
