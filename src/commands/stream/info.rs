//! XINFO: what is known of a stream, its groups and their consumers.

use super::{BASE, Place, at_most, read, second, write_entries, write_entry, write_id};
use crate::resp::Reply;
use crate::server::command::{Command, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::introspect::{help, wrong_subcommand};
use crate::types::stream::{Consumer, ConsumerId, Group, Stream, StreamId};

pub const COMMANDS: &[Command] = &[Command {
    name: "xinfo",
    summary: "Commands that look into streams",
    complexity: "Depends on the subcommand",
    arity: -2,
    categories: &[],
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const READ: &[Keys] = &[second(&["RO", "access"])];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "consumers",
        summary: "Lists the consumers of a group",
        complexity: "O(N) for N consumers",
        arity: 4,
        flags: READONLY,
        keys: READ,
        args: "key group",
        tips: &["nondeterministic_output"],
        history: &[("7.2.0", "Tells for how long a consumer was given nothing, `inactive`")],
        handler: consumers,
        ..BASE
    },
    Command {
        name: "groups",
        summary: "Lists the consumer groups of a stream",
        complexity: "O(N) for N groups",
        arity: 3,
        flags: READONLY,
        keys: READ,
        args: "key",
        history: &[("7.0.0", "Tells `entries-read` and `lag`")],
        handler: groups,
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
        name: "stream",
        summary: "Tells about a stream, in full with its groups and their consumers",
        complexity: "O(1), and O(N) in full for N entries, groups and consumers shown",
        arity: -3,
        flags: READONLY,
        keys: READ,
        args: "key full-block:[FULL [COUNT count]]",
        history: &[
            ("6.0.0", "Takes FULL"),
            (
                "7.0.0",
                "Tells `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, \
                 `entries-read` and `lag`",
            ),
            ("7.2.0", "Tells `active-time`, and by `seen-time` when a consumer last asked"),
        ],
        handler: stream,
        ..BASE
    },
];

/// Entries of each kind that XINFO STREAM FULL shows unless told otherwise.
const FULL_COUNT: usize = 10;

fn consumers(ctx: &mut Ctx) -> Result<(), Error> {
    let place = Place { key: ctx.arg(2), group: ctx.arg(3) };
    let now_ms = ctx.now_ms();
    let stream = read(ctx.keys, place.key)?.ok_or(Error::NO_SUCH_KEY)?;
    let group = stream.groups.get(place.group).ok_or_else(|| place.no_group_of_key())?;
    let out = &mut *ctx.out;
    out.array(group.consumers_len());
    for (_, consumer) in group.consumers() {
        out.map(4);
        out.bulk(b"name");
        out.bulk(&consumer.name);
        out.bulk(b"pending");
        out.int(consumer.pending_len() as i64);
        out.bulk(b"idle");
        out.int(now_ms.saturating_sub(consumer.seen_ms).max(0));
        out.bulk(b"inactive");
        out.int(consumer.active_ms.map_or(-1, |at| now_ms.saturating_sub(at)));
    }
    Ok(())
}

fn groups(ctx: &mut Ctx) -> Result<(), Error> {
    let stream = read(ctx.keys, ctx.args.get(2))?.ok_or(Error::NO_SUCH_KEY)?;
    let out = &mut *ctx.out;
    out.array(stream.groups.len());
    for (name, group) in &stream.groups {
        out.map(6);
        out.bulk(b"name");
        out.bulk(name);
        out.bulk(b"consumers");
        out.int(group.consumers_len() as i64);
        out.bulk(b"pending");
        out.int(group.pending_len() as i64);
        write_progress(out, stream, group);
    }
    Ok(())
}

/// How far a group is.
fn write_progress(out: &mut Reply, stream: &Stream, group: &Group) {
    out.bulk(b"last-delivered-id");
    write_id(out, group.last_id);
    out.bulk(b"entries-read");
    write_if_known(out, group.entries_read);
    out.bulk(b"lag");
    write_if_known(out, stream.lag(group));
}

fn write_if_known(out: &mut Reply, number: Option<i64>) {
    match number {
        Some(number) => out.int(number),
        None => out.null(),
    }
}

fn stream(ctx: &mut Ctx) -> Result<(), Error> {
    let full = full_option(ctx);
    let stream = read(ctx.keys, ctx.args.get(2))?.ok_or(Error::NO_SUCH_KEY)?;
    // That there is no such key comes first.
    let full = full?;
    let out = &mut *ctx.out;
    out.map(if full.is_some() { 9 } else { 10 });
    let log = &stream.log;
    for (name, number) in [
        ("length", log.len() as i64),
        ("radix-tree-keys", log.nodes() as i64),
        // There is no such tree: this is what one of keys without a common prefix would have.
        ("radix-tree-nodes", log.nodes() as i64 + 1),
    ] {
        out.bulk(name.as_bytes());
        out.int(number);
    }
    out.bulk(b"last-generated-id");
    write_id(out, log.last_id());
    out.bulk(b"max-deleted-entry-id");
    write_id(out, log.max_deleted_id());
    out.bulk(b"entries-added");
    out.int(log.entries_added() as i64);
    out.bulk(b"recorded-first-entry-id");
    write_id(out, log.first_id());
    match full {
        Some(count) => write_full(out, stream, count),
        None => write_summary(out, stream),
    }
    Ok(())
}

/// FULL with its COUNT; 0 is for all.
fn full_option(ctx: &Ctx) -> Result<Option<usize>, Error> {
    let len = ctx.args.len();
    if len == 3 {
        return Ok(None);
    }
    let is_full = ctx.is_word(3, "full") && (len == 4 || len == 6 && ctx.is_word(4, "count"));
    if !is_full {
        return Err(wrong_subcommand(ctx));
    }
    if len == 4 {
        return Ok(Some(FULL_COUNT));
    }
    Ok(Some(usize::try_from(ctx.int_arg(5)?).unwrap_or(FULL_COUNT)))
}

fn write_summary(out: &mut Reply, stream: &Stream) {
    out.bulk(b"groups");
    out.int(stream.groups.len() as i64);
    let log = &stream.log;
    for (name, id) in [("first-entry", log.first_id()), ("last-entry", log.top_id())] {
        out.bulk(name.as_bytes());
        match log.get(id) {
            Some(entry) => write_entry(out, &entry),
            None => out.null(),
        }
    }
}

fn write_full(out: &mut Reply, stream: &Stream, count: usize) {
    out.bulk(b"entries");
    write_entries(out, stream.log.range(StreamId::MIN, StreamId::MAX), count);
    out.bulk(b"groups");
    out.array(stream.groups.len());
    for (name, group) in &stream.groups {
        out.map(7);
        out.bulk(b"name");
        out.bulk(name);
        write_progress(out, stream, group);
        out.bulk(b"pel-count");
        out.int(group.pending_len() as i64);
        write_pending(out, group, None, count);
        out.bulk(b"consumers");
        out.array(group.consumers_len());
        for (id, consumer) in group.consumers() {
            write_consumer(out, group, id, consumer, count);
        }
    }
}

fn write_consumer(
    out: &mut Reply,
    group: &Group,
    id: ConsumerId,
    consumer: &Consumer,
    count: usize,
) {
    out.map(5);
    out.bulk(b"name");
    out.bulk(&consumer.name);
    out.bulk(b"seen-time");
    out.int(consumer.seen_ms);
    out.bulk(b"active-time");
    out.int(consumer.active_ms.unwrap_or(-1));
    out.bulk(b"pel-count");
    out.int(consumer.pending_len() as i64);
    write_pending(out, group, Some(id), count);
}

/// What is pending in a group, or what one of its consumers has pending.
fn write_pending(out: &mut Reply, group: &Group, consumer: Option<ConsumerId>, count: usize) {
    out.bulk(b"pending");
    let open = out.open();
    let mut written = 0;
    for (id, pending) in group.pending_range(StreamId::MIN, consumer).take(at_most(count)) {
        out.array(if consumer.is_some() { 3 } else { 4 });
        write_id(out, id);
        if consumer.is_none() {
            out.bulk(&group.consumer(pending.consumer).name);
        }
        out.int(pending.delivered_ms);
        out.int(pending.deliveries);
        written += 1;
    }
    out.close_array(open, written);
}
