//! Entries by their IDs: XRANGE, XREVRANGE, XLEN, XDEL, and XSETID.

use super::{
    BASE, count_from, edit, id, ids, key, range_end, range_start, read, stream_of, stream_unmarked,
    write_entries,
};
use crate::server::command::{Command, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::event::class;
use crate::types::Slot;
use crate::types::stream::StreamId;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xdel",
        summary: "Deletes entries of a stream",
        complexity: "O(1) for each entry, however long the stream is",
        arity: -3,
        flags: WRITE | FAST,
        keys: &[key(&["RW", "delete"])],
        args: "key ID:string...",
        handler: xdel,
        ..BASE
    },
    Command {
        name: "xlen",
        summary: "Returns how many entries a stream has",
        arity: 2,
        flags: READONLY | FAST,
        keys: &[key(&["RO"])],
        args: "key",
        handler: xlen,
        ..BASE
    },
    Command {
        name: "xrange",
        summary: "Returns the entries of a stream between two IDs",
        complexity: "O(N) for N entries returned",
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key start:string end:string [COUNT count]",
        history: &[("6.2.0", "Takes ranges that exclude their ends")],
        handler: xrange,
        ..BASE
    },
    Command {
        name: "xrevrange",
        summary: "Returns the entries of a stream between two IDs, the last one first",
        complexity: "O(N) for N entries returned",
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key end:string start:string [COUNT count]",
        history: &[("6.2.0", "Takes ranges that exclude their ends")],
        handler: xrevrange,
        ..BASE
    },
    Command {
        name: "xsetid",
        summary: "Sets what a stream remembers of entries it had, as replicas and files need it",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        keys: &[key(&["RW", "update"])],
        args: "key last-id [ENTRIESADDED entries-added:integer]@7.0.0 \
               [MAXDELETEDID max-deleted-id]@7.0.0",
        history: &[("7.0.0", "Takes ENTRIESADDED and MAXDELETEDID")],
        handler: xsetid,
        ..BASE
    },
];

fn xlen(ctx: &mut Ctx) -> Result<(), Error> {
    let stream = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.int(stream.map_or(0, |stream| stream.log.len()) as i64);
    Ok(())
}

fn xrange(ctx: &mut Ctx) -> Result<(), Error> {
    range(ctx, 2, 3)
}

fn xrevrange(ctx: &mut Ctx) -> Result<(), Error> {
    range(ctx, 3, 2)
}

fn range(ctx: &mut Ctx, start_at: usize, end_at: usize) -> Result<(), Error> {
    let start = range_start(ctx.arg(start_at))?;
    let end = range_end(ctx.arg(end_at))?;
    let count = count_option(ctx)?;
    let Some(stream) = read(ctx.keys, ctx.args.get(1))? else {
        ctx.out.array(0);
        return Ok(());
    };
    match count {
        Some(0) => ctx.out.null_array(),
        _ if start_at < end_at => {
            write_entries(ctx.out, stream.log.range(start, end), count.unwrap_or(0));
        }
        _ => write_entries(ctx.out, stream.log.range_back(start, end), count.unwrap_or(0)),
    }
    Ok(())
}

/// The option COUNT, of which the last one counts.
fn count_option(ctx: &Ctx) -> Result<Option<usize>, Error> {
    let mut count = None;
    for at in (4..ctx.args.len()).step_by(2) {
        if !ctx.is_word(at, "count") || at + 1 == ctx.args.len() {
            return Err(Error::SYNTAX);
        }
        count = Some(count_from(ctx.int_arg(at + 1)?));
    }
    Ok(count)
}

fn xdel(ctx: &mut Ctx) -> Result<(), Error> {
    let Some(mut edit) = edit(ctx.keys, ctx.args.get(1))? else {
        ctx.out.int(0);
        return Ok(());
    };
    // All of them before the first is deleted: an error must not come half way.
    let ids = ids(ctx.args.from(2).iter())?;
    let log = &mut stream_unmarked(&mut edit).log;
    let deleted = ids.iter().filter(|&&id| log.delete(id)).count();
    if deleted > 0 {
        edit.mark_changed();
        edit.notify(class::STREAM, "xdel");
    }
    ctx.out.int(deleted as i64);
    Ok(())
}

fn xsetid(ctx: &mut Ctx) -> Result<(), Error> {
    let last_id = id(ctx.arg(2))?;
    let (added, max_deleted) = setid_options(ctx, last_id)?;
    let mut edit = edit(ctx.keys, ctx.args.get(1))?.ok_or(Error::NO_SUCH_KEY)?;
    let log = &stream_of(edit.value())?.log;
    if last_id < log.max_deleted_id() {
        return Err(Error::Static(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if last_id < log.top_id() {
        return Err(Error::Static(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if added.is_some_and(|added| added < log.len()) {
        return Err(Error::Static(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    // No entry has changed, so it is no change to those who watch the key.
    let log = &mut stream_unmarked(&mut edit).log;
    log.set_last_id(last_id);
    added.into_iter().for_each(|added| log.set_entries_added(added));
    max_deleted.into_iter().for_each(|id| log.set_max_deleted_id(id));
    edit.notify(class::STREAM, "xsetid");
    drop(edit);
    ctx.keys.mark_changed();
    ctx.out.ok();
    Ok(())
}

/// ENTRIESADDED and MAXDELETEDID, of which 0-0 stands for none.
fn setid_options(ctx: &Ctx, last_id: StreamId) -> Result<(Option<u64>, Option<StreamId>), Error> {
    let (mut added, mut max_deleted) = (None, None);
    for at in (3..ctx.args.len()).step_by(2) {
        let has_value = at + 1 < ctx.args.len();
        if has_value && ctx.is_word(at, "entriesadded") {
            let entries = u64::try_from(ctx.int_arg(at + 1)?);
            let negative = Error::Static("ERR entries_added must be positive");
            added = Some(entries.map_err(|_| negative)?);
        } else if has_value && ctx.is_word(at, "maxdeletedid") {
            let deleted = id(ctx.arg(at + 1))?;
            if last_id < deleted {
                return Err(Error::Static(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
            max_deleted = Some(deleted).filter(|&deleted| deleted != StreamId::MIN);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok((added, max_deleted))
}
