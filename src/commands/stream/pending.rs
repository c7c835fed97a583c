//! What consumers have not acknowledged: XACK, XPENDING, XCLAIM, XAUTOCLAIM.

use super::propagate::Steps;
use super::{
    BASE, Parts, Place, count_from, id, ids, key, range_end, range_start, read, stream_unmarked,
    write_entry, write_id,
};
use crate::base::number::parse_i64;
use crate::resp::Reply;
use crate::server::command::{Command, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::event::class;
use crate::types::stream::{ConsumerId, Entry, Group, Log, Pending, StreamId};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xack",
        summary: "Acknowledges entries that a consumer of a group has pending",
        complexity: "O(log N) for each ID, with N pending entries in the group",
        arity: -4,
        flags: WRITE | FAST,
        keys: &[key(&["RW", "update"])],
        args: "key group ID:string...",
        handler: xack,
        ..BASE
    },
    Command {
        name: "xautoclaim",
        summary: "Gives a consumer those pending entries of its group that were not touched for \
                  some time",
        since: "6.2.0",
        complexity: "O(1) if COUNT is small",
        arity: -6,
        flags: WRITE | FAST,
        keys: &[key(&["RW", "delete"])],
        args: "key group consumer min-idle-time start:string [COUNT count] [JUSTID]",
        tips: &["nondeterministic_output"],
        history: &[(
            "7.0.0",
            "Returns, as a third element, the IDs of entries that were pending \
                              but deleted",
        )],
        handler: xautoclaim,
        ..BASE
    },
    Command {
        name: "xclaim",
        summary: "Gives a consumer entries that another one of its group has pending",
        complexity: "O(log N) for each ID, with N pending entries in the group",
        arity: -6,
        flags: WRITE | FAST,
        keys: &[key(&["RW", "update"])],
        args: "key group consumer min-idle-time ID:string... [IDLE ms:integer] \
               [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
        tips: &["nondeterministic_output"],
        handler: xclaim,
        ..BASE
    },
    Command {
        name: "xpending",
        summary: "Returns what is pending in a group: an overview, or entries one by one",
        complexity: "O(N) for N entries looked at; of the overview, for N consumers",
        arity: -3,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key group filters:[[IDLE min-idle-time:integer]@6.2.0 start:string end:string \
               count [consumer]]",
        tips: &["nondeterministic_output"],
        history: &[("6.2.0", "Takes IDLE, and ranges that exclude their ends")],
        handler: xpending,
        ..BASE
    },
];

fn place<'a>(ctx: &Ctx<'a>) -> Place<'a> {
    Place { key: ctx.arg(1), group: ctx.arg(2) }
}

fn xack(ctx: &mut Ctx) -> Result<(), Error> {
    let place = place(ctx);
    let stream = read(ctx.keys, place.key)?;
    if stream.is_none_or(|stream| !stream.groups.contains_key(place.group)) {
        ctx.out.int(0);
        return Ok(());
    }
    // All of them before the first is acknowledged: an error must not come half way.
    let ids = ids(ctx.args.from(3).iter())?;
    let mut acknowledged = 0;
    if let Some(mut edit) = ctx.keys.edit(place.key) {
        let group = place.of(stream_unmarked(&mut edit))?.group;
        acknowledged = ids.into_iter().filter(|&id| group.forget(id)).count();
    }
    if acknowledged > 0 {
        ctx.keys.mark_changed();
    }
    ctx.out.int(acknowledged as i64);
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// XPENDING.

/// Which pending entries are asked for.
struct Filter<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    fn parse(ctx: &Ctx<'a>) -> Result<Filter<'a>, Error> {
        let len = ctx.args.len();
        if !(6..=9).contains(&len) {
            return Err(Error::SYNTAX);
        }
        let (mut min_idle_ms, mut at) = (0, 3);
        if ctx.is_word(3, "idle") {
            min_idle_ms = ctx.int_arg(4)?;
            at = 5;
            if len < 8 {
                return Err(Error::SYNTAX);
            }
        }
        let count = count_from(ctx.int_arg(at + 2)?);
        let start = range_start(ctx.arg(at))?;
        let end = range_end(ctx.arg(at + 1))?;
        let consumer = (at + 3 < len).then(|| ctx.arg(at + 3));
        Ok(Filter { min_idle_ms, start, end, count, consumer })
    }
}

fn xpending(ctx: &mut Ctx) -> Result<(), Error> {
    let filter = if ctx.args.len() == 3 { None } else { Some(Filter::parse(ctx)?) };
    let (place, now_ms) = (place(ctx), ctx.now_ms());
    let stream = read(ctx.keys, place.key)?;
    let group = stream.and_then(|stream| stream.groups.get(place.group));
    let group = group.ok_or_else(|| place.no_group())?;
    match filter {
        None => write_overview(ctx.out, group),
        Some(filter) => write_pending(ctx.out, group, &filter, now_ms),
    }
    Ok(())
}

fn write_overview(out: &mut Reply, group: &Group) {
    out.array(4);
    out.int(group.pending_len() as i64);
    let Some((first, last)) = group.pending_bounds() else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    write_id(out, first);
    write_id(out, last);
    let open = out.open();
    let mut written = 0;
    for (_, consumer) in group.consumers().filter(|(_, consumer)| consumer.pending_len() > 0) {
        out.array(2);
        out.bulk(&consumer.name);
        out.bulk_int(consumer.pending_len() as i64);
        written += 1;
    }
    out.close_array(open, written);
}

fn write_pending(out: &mut Reply, group: &Group, filter: &Filter<'_>, now_ms: i64) {
    let consumer = filter.consumer.map(|name| group.consumer_id(name));
    if consumer == Some(None) {
        out.array(0);
        return;
    }
    let open = out.open();
    let mut written = 0;
    let found = group
        .pending_range(filter.start, consumer.flatten())
        .take_while(|(id, _)| *id <= filter.end)
        .map(|(id, pending)| (id, pending, now_ms.saturating_sub(pending.delivered_ms)))
        .filter(|&(_, _, idle_ms)| filter.min_idle_ms == 0 || idle_ms >= filter.min_idle_ms);
    for (id, pending, idle_ms) in found.take(filter.count) {
        out.array(4);
        write_id(out, id);
        out.bulk(&group.consumer(pending.consumer).name);
        out.int(idle_ms.max(0));
        out.int(pending.deliveries);
        written += 1;
    }
    out.close_array(open, written);
}

// ---------------------------------------------------------------------------------------------
// XCLAIM and XAUTOCLAIM.

/// Entries on their way from one consumer to another.
struct Claims<'a, 'b> {
    place: &'a Place<'b>,
    log: &'a Log,
    group: &'a mut Group,
    by: ConsumerId,
    now_ms: i64,
    min_idle_ms: i64,
    just_id: bool,
    steps: Steps,
}

impl<'a> Claims<'a, '_> {
    /// Whether the pending entry was left alone for long enough.
    fn is_idle(&self, pending: &Pending) -> bool {
        self.min_idle_ms == 0
            || self.now_ms.saturating_sub(pending.delivered_ms) >= self.min_idle_ms
    }

    /// An entry that is no longer in the stream is no longer pending either.
    fn forget(&mut self, id: StreamId, pending: &Pending) {
        self.steps.claim(self.place, self.group, id, pending);
        self.group.forget(id);
    }

    fn claim(&mut self, out: &mut Reply, entry: &Entry<'a>, delivered_ms: i64, deliveries: i64) {
        let pending = Pending { consumer: self.by, delivered_ms, deliveries };
        self.group.assign(entry.id, pending);
        self.group.consumer_mut(self.by).active_ms = Some(self.now_ms);
        if self.just_id {
            write_id(out, entry.id);
        } else {
            write_entry(out, entry);
        }
        self.steps.claim(self.place, self.group, entry.id, &pending);
    }

    /// How often an entry will have been delivered.
    fn deliveries(&self, before: i64) -> i64 {
        before.saturating_add(i64::from(!self.just_id))
    }
}

/// Runs `work` with the consumer, who is created if it is new.
fn with_claims(
    ctx: &mut Ctx,
    place: &Place<'_>,
    min_idle_ms: i64,
    just_id: bool,
    work: impl FnOnce(&mut Claims<'_, '_>, &mut Reply),
) -> Result<(), Error> {
    let (name, now_ms) = (ctx.arg(3), ctx.now_ms());
    let mut steps = Steps::new(ctx);
    let Some(mut edit) = ctx.keys.edit(place.key) else { return Err(place.no_group()) };
    let Parts { log, group } = place.of(stream_unmarked(&mut edit))?;
    let known = group.consumer_id(name);
    let by = known.unwrap_or_else(|| {
        steps.create_consumer(place, name);
        group.create_consumer(name, now_ms)
    });
    group.consumer_mut(by).seen_ms = now_ms;
    let mut claims = Claims { place, log, group, by, now_ms, min_idle_ms, just_id, steps };
    work(&mut claims, ctx.out);
    let steps = claims.steps;
    if known.is_none() {
        edit.notify(class::STREAM, "xgroup-createconsumer");
    }
    drop(edit);
    steps.tell(ctx);
    Ok(())
}

/// The options of XCLAIM.
#[derive(Default)]
struct ClaimOptions {
    delivered_ms: Option<i64>,
    deliveries: Option<i64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl ClaimOptions {
    fn parse(ctx: &Ctx, mut at: usize) -> Result<ClaimOptions, Error> {
        let mut options = ClaimOptions::default();
        let now_ms = ctx.now_ms();
        let number = |at: usize, name: &str| {
            let text = || format!("ERR Invalid {name} option argument for XCLAIM");
            parse_i64(ctx.arg(at)).ok_or_else(|| Error::Text(text()))
        };
        while at < ctx.args.len() {
            let has_value = at + 1 < ctx.args.len();
            let is = |word| ctx.is_word(at, word);
            let mut used = 2;
            if is("force") || is("justid") {
                options.force |= is("force");
                options.just_id |= is("justid");
                used = 1;
            } else if has_value && is("idle") {
                let idle_ms = number(at + 1, "IDLE")?;
                options.delivered_ms = Some(now_ms.saturating_sub(idle_ms));
            } else if has_value && is("time") {
                options.delivered_ms = Some(number(at + 1, "TIME")?);
            } else if has_value && is("retrycount") {
                options.deliveries = Some(number(at + 1, "RETRYCOUNT")?).filter(|&n| n >= 0);
            } else if has_value && is("lastid") {
                options.last_id = id(ctx.arg(at + 1))?;
            } else {
                let parts = [b"ERR Unrecognized XCLAIM option '", ctx.arg(at), b"'"];
                return Err(Error::Bytes(parts.concat()));
            }
            at += used;
        }
        // A client that counts by a clock of its own is not told off if that is wrong.
        options.delivered_ms = options.delivered_ms.filter(|ms| (0..=now_ms).contains(ms));
        Ok(options)
    }
}

fn min_idle(ctx: &Ctx) -> Result<i64, Error> {
    let name = ctx.entry.command.name.to_ascii_uppercase();
    let text = || format!("ERR Invalid min-idle-time argument for {name}");
    let ms = parse_i64(ctx.arg(4)).ok_or_else(|| Error::Text(text()))?;
    Ok(ms.max(0))
}

fn xclaim(ctx: &mut Ctx) -> Result<(), Error> {
    let place = place(ctx);
    place.check(ctx.keys)?;
    let min_idle_ms = min_idle(ctx)?;
    // What is no ID is taken for the first option.
    let args = ctx.args.from(5);
    let ids: Vec<StreamId> = args.iter().map_while(|text| id(text).ok()).collect();
    let options = ClaimOptions::parse(ctx, 5 + ids.len())?;
    with_claims(ctx, &place, min_idle_ms, options.just_id, |claims, out| {
        let goes_on = options.last_id > claims.group.last_id;
        if goes_on {
            claims.group.last_id = options.last_id;
        }
        let delivered_ms = options.delivered_ms.unwrap_or(claims.now_ms);
        let open = out.open();
        let (mut written, mut told) = (0, false);
        for id in ids {
            let pending = claims.group.pending(id);
            let Some(entry) = claims.log.get(id) else {
                pending.iter().for_each(|pending| claims.forget(id, pending));
                told |= pending.is_some();
                continue;
            };
            let before = match pending {
                Some(pending) if claims.is_idle(&pending) => pending.deliveries,
                // As if it had been delivered once, by nobody knows whom.
                None if options.force => 1,
                _ => continue,
            };
            let deliveries = options.deliveries.unwrap_or_else(|| claims.deliveries(before));
            claims.claim(out, &entry, delivered_ms, deliveries);
            told = true;
            written += 1;
        }
        if goes_on && !told {
            claims.steps.set_id(claims.place, claims.group);
        }
        out.close_array(open, written);
    })
}

/// Pending entries looked at for each that may be claimed.
const ATTEMPTS: u64 = 10;

fn xautoclaim(ctx: &mut Ctx) -> Result<(), Error> {
    let min_idle_ms = min_idle(ctx)?;
    let start = range_start(ctx.arg(5))?;
    let (count, just_id) = autoclaim_options(ctx)?;
    let place = place(ctx);
    place.check(ctx.keys)?;
    with_claims(ctx, &place, min_idle_ms, just_id, |claims, out| {
        let (mut attempts, mut left) = (count * ATTEMPTS, count);
        let (mut from, mut written, mut deleted) = (Some(start), 0, Vec::new());
        // The next ID to begin at stands before the entries, and is known behind them.
        let mut entries = Reply::new(Vec::new(), out.is_resp3());
        while attempts > 0 && left > 0 {
            let found = from.and_then(|from| claims.group.pending_from(from));
            let Some((id, pending)) = found else { break };
            attempts -= 1;
            from = id.next();
            let Some(entry) = claims.log.get(id) else {
                claims.forget(id, &pending);
                deleted.push(id);
                left -= 1;
                continue;
            };
            if claims.is_idle(&pending) {
                let deliveries = claims.deliveries(pending.deliveries);
                claims.claim(&mut entries, &entry, claims.now_ms, deliveries);
                written += 1;
                left -= 1;
            }
        }
        let next = from.and_then(|from| claims.group.pending_from(from));
        out.array(3);
        write_id(out, next.map(|(id, _)| id).unwrap_or_default());
        out.array(written);
        out.raw(entries.as_bytes());
        out.array(deleted.len());
        deleted.into_iter().for_each(|id| write_id(out, id));
    })
}

/// COUNT and JUSTID.
fn autoclaim_options(ctx: &Ctx) -> Result<(u64, bool), Error> {
    // So that all attempts can be counted, and all IDs kept in memory, as Redis has it.
    const COUNT_MAX: i64 = i64::MAX / 16;
    let (mut count, mut just_id) = (100, false);
    let mut at = 6;
    while at < ctx.args.len() {
        if ctx.is_word(at, "count") && at + 1 < ctx.args.len() {
            let given = parse_i64(ctx.arg(at + 1)).filter(|n| (1..=COUNT_MAX).contains(n));
            count = given.ok_or(Error::Static("ERR COUNT must be > 0"))? as u64;
            at += 2;
        } else if ctx.is_word(at, "justid") {
            just_id = true;
            at += 1;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok((count, just_id))
}
