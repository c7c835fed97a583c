//! XGROUP: groups and their consumers.

use super::{BASE, Place, bound, edit, id, new_stream, second, stream_of, stream_unmarked};
use crate::base::number::parse_i64;
use crate::server::command::{Command, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::introspect::{help, wrong_subcommand};
use crate::store::db::Entry;
use crate::store::event::class;
use crate::store::interest::Concerns;
use crate::store::{Edit, NewValue};
use crate::types::stream::{Group, Stream};
use crate::types::{Object, Slot};

pub const COMMANDS: &[Command] = &[Command {
    name: "xgroup",
    summary: "Commands that manage consumer groups",
    complexity: "Depends on the subcommand",
    arity: -2,
    categories: &[],
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "create",
        summary: "Creates a consumer group",
        arity: -5,
        flags: WRITE | DENYOOM,
        keys: &[second(&["RW", "insert"])],
        args: "key group id-selector:(id | new-id:$) [MKSTREAM] \
               [ENTRIESREAD entries-read:integer]",
        history: &[("7.0.0", "Takes ENTRIESREAD")],
        handler: create,
        ..BASE
    },
    Command {
        name: "createconsumer",
        summary: "Creates a consumer in a group",
        since: "6.2.0",
        arity: 5,
        flags: WRITE | DENYOOM,
        keys: &[second(&["RW", "insert"])],
        args: "key group consumer",
        handler: create_consumer,
        ..BASE
    },
    Command {
        name: "delconsumer",
        summary: "Removes a consumer from a group, and forgets what it has pending",
        arity: 5,
        flags: WRITE,
        keys: &[second(&["RW", "delete"])],
        args: "key group consumer",
        handler: delete_consumer,
        ..BASE
    },
    Command {
        name: "destroy",
        summary: "Removes a consumer group",
        complexity: "O(1); its pending entries are freed in the background",
        arity: 4,
        flags: WRITE,
        keys: &[second(&["RW", "delete"])],
        args: "key group",
        handler: destroy,
        ..BASE
    },
    Command {
        name: "help",
        summary: "Tells which subcommands there are",
        arity: 2,
        flags: LOADING | STALE,
        handler: help,
        ..BASE
    },
    Command {
        name: "setid",
        summary: "Sets the last ID that a group was given",
        arity: -5,
        flags: WRITE,
        keys: &[second(&["RW", "update"])],
        args: "key group id-selector:(id | new-id:$) \
               [ENTRIESREAD entriesread:integer/entries-read]",
        history: &[("7.0.0", "Takes ENTRIESREAD")],
        handler: set_id,
        ..BASE
    },
];

fn place<'a>(ctx: &Ctx<'a>) -> Place<'a> {
    Place { key: ctx.arg(2), group: ctx.arg(3) }
}

/// The stream that there must be.
fn existing<'k>(ctx: &'k mut Ctx) -> Result<Edit<'k>, Error> {
    edit(ctx.keys, ctx.args.get(2))?.ok_or(NO_STREAM)
}

/// The same with the group that there must be.
fn existing_with_group<'k>(ctx: &'k mut Ctx) -> Result<Edit<'k>, Error> {
    let place = place(ctx);
    let edit = existing(ctx)?;
    if !stream_of(edit.value())?.groups.contains_key(place.group) {
        return Err(place.no_group_of_key());
    }
    Ok(edit)
}

const NO_STREAM: Error = Error::Static(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
     use the MKSTREAM option to create an empty stream automatically.",
);

#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<i64>,
}

/// The options of CREATE and SETID.
fn options(ctx: &Ctx, creates: bool) -> Result<Options, Error> {
    let mut options = Options::default();
    let mut at = 5;
    while at < ctx.args.len() {
        if creates && ctx.is_word(at, "mkstream") {
            options.make_stream = true;
            at += 1;
        } else if ctx.is_word(at, "entriesread") && at + 1 < ctx.args.len() {
            let read = parse_i64(ctx.arg(at + 1)).ok_or(Error::NOT_AN_INTEGER)?;
            if read < -1 {
                return Err(Error::Static("ERR value for ENTRIESREAD must be positive or -1"));
            }
            options.entries_read = Some(read).filter(|&read| read >= 0);
            at += 2;
        } else {
            return Err(wrong_subcommand(ctx));
        }
    }
    Ok(options)
}

fn create(ctx: &mut Ctx) -> Result<(), Error> {
    add_group(ctx)?;
    ctx.keys.mark_changed();
    ctx.out.ok();
    Ok(())
}

fn add_group(ctx: &mut Ctx) -> Result<(), Error> {
    // All options there are, once.
    const ARGS_MAX: usize = 8;
    let options = options(ctx, true)?;
    let (key, name, id_text) = (ctx.arg(2), ctx.arg(3), ctx.arg(4));
    let too_many = (ctx.args.len() > ARGS_MAX).then(|| wrong_subcommand(ctx));
    let entry = ctx.keys.entry(key);
    let stream = match &entry {
        Entry::Vacant(_) if !options.make_stream => return Err(NO_STREAM),
        Entry::Vacant(_) => None,
        Entry::Occupied(edit) => Some(stream_of(edit.value())?),
    };
    if let Some(error) = too_many {
        return Err(error);
    }
    let last_id = match id_text {
        b"$" => stream.map(|stream| stream.log.last_id()).unwrap_or_default(),
        text => id(text)?,
    };
    if stream.is_some_and(|stream| stream.groups.contains_key(name)) {
        return Err(Error::Static("BUSYGROUP Consumer Group name already exists"));
    }
    let mut edit = match entry {
        Entry::Vacant(vacant) => vacant.insert(NewValue::Object(new_stream()), None),
        Entry::Occupied(edit) => edit,
    };
    let group = Group::new(last_id, options.entries_read);
    stream_unmarked(&mut edit).insert_group(name, group);
    edit.notify(class::STREAM, "xgroup-create");
    Ok(())
}

fn set_id(ctx: &mut Ctx) -> Result<(), Error> {
    let options = options(ctx, false)?;
    let (name, id_text) = (ctx.arg(3), ctx.arg(4));
    let too_many = (ctx.args.len() != 5 && ctx.args.len() != 7).then(|| wrong_subcommand(ctx));
    let mut edit = existing_with_group(ctx)?;
    if let Some(error) = too_many {
        return Err(error);
    }
    let Stream { log, groups, .. } = stream_unmarked(&mut edit);
    let last_id = match id_text {
        b"$" => log.last_id(),
        text => bound(text, 0)?,
    };
    if let Some(group) = groups.get_mut(name) {
        group.last_id = last_id;
        group.entries_read = options.entries_read;
    }
    edit.notify(class::STREAM, "xgroup-setid");
    drop(edit);
    ctx.keys.mark_changed();
    ctx.out.ok();
    Ok(())
}

fn destroy(ctx: &mut Ctx) -> Result<(), Error> {
    let name = ctx.arg(3);
    let mut edit = existing(ctx)?;
    let (was_there, group) = stream_unmarked(&mut edit).remove_group(name);
    if !was_there {
        drop(edit);
        ctx.out.int(0);
        return Ok(());
    }
    // Who waits for the group's entries is to hear of it; the stream has not changed.
    edit.note_for(Concerns::Waiting);
    edit.notify(class::STREAM, "xgroup-destroy");
    drop(edit);
    ctx.keys.mark_changed();
    if let Some(group) = group {
        let mut rest = Stream::default();
        rest.insert_group(name, group);
        ctx.keys.free(Box::new(Object::Stream(Box::new(rest))));
    }
    ctx.out.int(1);
    Ok(())
}

fn create_consumer(ctx: &mut Ctx) -> Result<(), Error> {
    let (name, consumer, now_ms) = (ctx.arg(3), ctx.arg(4), ctx.now_ms());
    let mut edit = existing_with_group(ctx)?;
    let group = stream_unmarked(&mut edit).groups.get_mut(name);
    let Some(group) = group.filter(|group| group.consumer_id(consumer).is_none()) else {
        drop(edit);
        ctx.out.int(0);
        return Ok(());
    };
    group.create_consumer(consumer, now_ms);
    edit.notify(class::STREAM, "xgroup-createconsumer");
    drop(edit);
    ctx.keys.mark_changed();
    ctx.out.int(1);
    Ok(())
}

fn delete_consumer(ctx: &mut Ctx) -> Result<(), Error> {
    let (name, consumer) = (ctx.arg(3), ctx.arg(4));
    let mut edit = existing_with_group(ctx)?;
    let group = stream_unmarked(&mut edit).groups.get_mut(name);
    let Some(pending) = group.and_then(|group| group.delete_consumer(consumer)) else {
        drop(edit);
        ctx.out.int(0);
        return Ok(());
    };
    edit.notify(class::STREAM, "xgroup-delconsumer");
    drop(edit);
    ctx.keys.mark_changed();
    ctx.out.int(pending as i64);
    Ok(())
}
