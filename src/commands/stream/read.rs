//! XREAD and XREADGROUP: entries above an ID from several streams, waiting for them if wanted.

use super::propagate::Steps;
use super::{
    BASE, Parts, Place, at_most, count_from, id, read, stream_unmarked, write_entries, write_entry,
    write_id,
};
use crate::resp::Reply;
use crate::resp::parse::OwnedArgs;
use crate::server::blocking::{TimeoutReply, Wait};
use crate::server::command::{Begin, Command, Find, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::event::class;
use crate::types::Type;
use crate::types::stream::{ConsumerId, Group, Log, Pending, StreamId};

/// The first half of what follows the word STREAMS.
const fn streams(from: i32) -> Keys {
    Keys {
        flags: &["RO", "access"],
        begin: Begin::Keyword { word: "STREAMS", from },
        find: Find::Range { last: -1, step: 1, limit: 2 },
    }
}

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xread",
        summary: "Returns entries above given IDs from several streams, or waits for one",
        complexity: "O(N) for N entries returned; XADD takes O(M) for M clients that wait",
        arity: -4,
        flags: READONLY | BLOCKING,
        keys: &[streams(1)],
        args: "[COUNT count] [BLOCK milliseconds] STREAMS streams:(key... ID:string...)",
        handler: xread,
        ..BASE
    },
    Command {
        name: "xreadgroup",
        summary: "Returns entries that no consumer of a group was given yet, or those that one has \
                  pending; or waits for one",
        complexity: "O(N) for N entries returned; XADD takes O(M) for M clients that wait",
        arity: -7,
        flags: WRITE | BLOCKING,
        keys: &[streams(4)],
        args: "GROUP group-block:(group consumer) [COUNT count] [BLOCK milliseconds] [NOACK] \
               STREAMS streams:(key... ID:string...)",
        handler: xreadgroup,
        ..BASE
    },
];

struct Request<'a> {
    /// 0 for all.
    count: usize,
    /// None to have an answer at once; otherwise how long to wait at most, if not for ever.
    block: Option<Option<u64>>,
    /// The group's name and the consumer's.
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// Where the keys begin among the arguments; as many IDs are behind them.
    keys_at: usize,
    streams: usize,
}

impl<'a> Request<'a> {
    fn parse(ctx: &Ctx<'a>, of_group: bool) -> Result<Request<'a>, Error> {
        let mut request =
            Request { count: 0, block: None, group: None, no_ack: false, keys_at: 0, streams: 0 };
        let mut at = 1;
        while at < ctx.args.len() && request.keys_at == 0 {
            let more = ctx.args.len() - at - 1;
            if more > 0 && ctx.is_word(at, "block") {
                request.block = Some(ctx.timeout_ms_arg(at + 1)?);
                at += 1;
            } else if more > 0 && ctx.is_word(at, "count") {
                request.count = count_from(ctx.int_arg(at + 1)?);
                at += 1;
            } else if more > 0 && ctx.is_word(at, "streams") {
                if !more.is_multiple_of(2) {
                    return Err(unbalanced(of_group));
                }
                (request.keys_at, request.streams) = (at + 1, more / 2);
            } else if more > 1 && ctx.is_word(at, "group") {
                check_option(of_group, "GROUP")?;
                request.group = Some((ctx.arg(at + 1), ctx.arg(at + 2)));
                at += 2;
            } else if ctx.is_word(at, "noack") {
                check_option(of_group, "NOACK")?;
                request.no_ack = true;
            } else {
                return Err(Error::SYNTAX);
            }
            at += 1;
        }
        if request.keys_at == 0 {
            return Err(Error::SYNTAX);
        }
        Ok(request)
    }

    fn key(&self, ctx: &Ctx<'a>, index: usize) -> &'a [u8] {
        ctx.arg(self.keys_at + index)
    }

    /// The ID as it was given.
    fn id(&self, ctx: &Ctx<'a>, index: usize) -> &'a [u8] {
        ctx.arg(self.keys_at + self.streams + index)
    }

    fn keys(&self, ctx: &Ctx<'a>) -> Vec<&'a [u8]> {
        (0..self.streams).map(|index| self.key(ctx, index)).collect()
    }
}

fn unbalanced(of_group: bool) -> Error {
    let (name, symbol) = if of_group { ("xreadgroup", '>') } else { ("xread", '$') };
    Error::Text(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be \
         specified."
    ))
}

fn check_option(of_group: bool, name: &str) -> Result<(), Error> {
    let text = || {
        format!("ERR The {name} option is only supported by XREADGROUP. You called XREAD instead.")
    };
    if of_group { Ok(()) } else { Err(Error::Text(text())) }
}

/// The streams with entries to return, as an array of pairs, or a map where there are maps.
struct Served {
    open: crate::resp::reply::Open,
    streams: usize,
}

impl Served {
    fn new(out: &mut Reply) -> Served {
        Served { open: out.open(), streams: 0 }
    }

    /// The stream's entries are to follow.
    fn begin(&mut self, out: &mut Reply, key: &[u8]) {
        self.streams += 1;
        if !out.is_resp3() {
            out.array(2);
        }
        out.bulk(key);
    }

    /// Ends the reply; false if there is none.
    fn end(self, out: &mut Reply) -> bool {
        match self.streams {
            0 => return false,
            streams if out.is_resp3() => out.close_map(self.open, streams),
            streams => out.close_array(self.open, streams),
        }
        true
    }
}

fn xread(ctx: &mut Ctx) -> Result<(), Error> {
    let request = Request::parse(ctx, false)?;
    let mut served = Served::new(ctx.out);
    for index in 0..request.streams {
        let (key, id) = (request.key(ctx, index), request.id(ctx, index));
        let log = read(ctx.keys, key)?.map(|stream| &stream.log);
        let start = start_of(id, log)?;
        if let (Some(log), Some(start)) = (log, start)
            && !log.is_empty()
            && start <= log.top_id()
        {
            served.begin(ctx.out, key);
            write_entries(ctx.out, log.range(start, StreamId::MAX), request.count);
        }
    }
    if served.end(ctx.out) {
        return Ok(());
    }
    match request.block {
        Some(timeout_ms) => {
            let command = resolved(ctx, &request);
            ctx.block(Wait {
                keys: request.keys(ctx),
                kind: Type::Stream,
                or_removed: false,
                timeout_ms,
                timeout_reply: TimeoutReply::NullArray,
                command,
            });
        }
        None => ctx.out.null_array(),
    }
    Ok(())
}

/// The first ID that is asked for, if there can be such an entry by now.
fn start_of(text: &[u8], log: Option<&Log>) -> Result<Option<StreamId>, Error> {
    match text {
        b"$" => Ok(None),
        b"+" => Ok(log.map(Log::top_id)),
        b">" => Err(Error::Static(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
             <consumer> option.",
        )),
        _ => Ok(id(text)?.next()),
    }
}

/// The command with the IDs that `$` stands for now: it is executed again when they are not the
/// last ones any more.
fn resolved(ctx: &mut Ctx, request: &Request<'_>) -> Option<OwnedArgs> {
    let ids_at = request.keys_at + request.streams;
    if !ctx.args.from(ids_at).iter().any(|id| id == b"$") {
        return None;
    }
    let mut command: OwnedArgs = ctx.args.iter().take(ids_at).collect();
    for index in 0..request.streams {
        let (key, id) = (request.key(ctx, index), request.id(ctx, index));
        if id != b"$" {
            command.push(id);
            continue;
        }
        let view = ctx.keys.peek(key);
        let stream = view.and_then(|view| super::Stream::of(view.value()));
        let last_id = stream.map(|stream| stream.log.last_id()).unwrap_or_default();
        last_id.with_text(|text| command.push(text));
    }
    Some(command)
}

fn xreadgroup(ctx: &mut Ctx) -> Result<(), Error> {
    let request = Request::parse(ctx, true)?;
    let missing = Error::Static("ERR Missing GROUP option for XREADGROUP");
    let (group, consumer) = request.group.ok_or(missing)?;
    // An error must not come after something was given to the consumer.
    for index in 0..request.streams {
        check_stream(ctx, &Place { key: request.key(ctx, index), group })?;
        check_id(request.id(ctx, index))?;
    }
    let mut served = Served::new(ctx.out);
    let mut steps = Steps::new(ctx);
    for index in 0..request.streams {
        let place = Place { key: request.key(ctx, index), group };
        let id = request.id(ctx, index);
        serve_group(ctx, &request, &place, consumer, id, &mut served, &mut steps)?;
    }
    let is_served = served.end(ctx.out);
    steps.tell(ctx);
    match request.block {
        _ if is_served => {}
        Some(timeout_ms) => ctx.block(Wait {
            keys: request.keys(ctx),
            kind: Type::Stream,
            // To learn that there is no such group any more.
            or_removed: true,
            timeout_ms,
            timeout_reply: TimeoutReply::NullArray,
            command: None,
        }),
        None => ctx.out.null_array(),
    }
    Ok(())
}

fn check_stream(ctx: &mut Ctx, place: &Place<'_>) -> Result<(), Error> {
    place.check(ctx.keys).map_err(|error| match error {
        Error::Bytes(mut text) => {
            text.extend_from_slice(b" in XREADGROUP with GROUP option");
            Error::Bytes(text)
        }
        other => other,
    })
}

fn check_id(text: &[u8]) -> Result<(), Error> {
    match text {
        b">" => Ok(()),
        b"$" | b"+" => {
            let id = char::from(text[0]);
            Err(Error::Text(format!(
                "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the \
                 history of this consumer by specifying a proper ID, or use the > ID to get new \
                 messages. The {id} ID would just return an empty result set."
            )))
        }
        _ => id(text).map(drop),
    }
}

/// Gives a consumer what one stream has for it.
fn serve_group(
    ctx: &mut Ctx,
    request: &Request<'_>,
    place: &Place<'_>,
    consumer: &[u8],
    id_text: &[u8],
    served: &mut Served,
    steps: &mut Steps,
) -> Result<(), Error> {
    let now_ms = ctx.now_ms();
    let Some(mut edit) = ctx.keys.edit(place.key) else { return Ok(()) };
    let Parts { log, group } = place.of(stream_unmarked(&mut edit))?;
    let known = group.consumer_id(consumer);
    let by = known.unwrap_or_else(|| {
        steps.create_consumer(place, consumer);
        group.create_consumer(consumer, now_ms)
    });
    group.consumer_mut(by).seen_ms = now_ms;
    let mut delivery = Delivery { place, log, group, by, now_ms, steps, out: ctx.out };
    // Redis has the greatest ID stand for `>`.
    let after = if id_text == b">" { StreamId::MAX } else { id(id_text)? };
    if after != StreamId::MAX {
        served.begin(delivery.out, place.key);
        delivery.history(after, request.count);
    } else if log.top_id() > delivery.group.last_id {
        served.begin(delivery.out, place.key);
        delivery.news(request.count, request.no_ack);
    }
    if known.is_none() {
        edit.notify(class::STREAM, "xgroup-createconsumer");
    }
    Ok(())
}

/// Entries on their way to a consumer.
struct Delivery<'a, 'b> {
    place: &'a Place<'b>,
    log: &'a Log,
    group: &'a mut Group,
    by: ConsumerId,
    now_ms: i64,
    steps: &'a mut Steps,
    out: &'a mut Reply,
}

impl Delivery<'_, '_> {
    /// Entries that the group was not given yet.
    fn news(&mut self, count: usize, no_ack: bool) {
        let open = self.out.open();
        let mut written = 0;
        let start = self.group.last_id.next().unwrap_or(StreamId::MAX);
        for entry in self.log.range(start, StreamId::MAX).take(at_most(count)) {
            count_as_read(self.log, self.group, entry.id);
            write_entry(self.out, &entry);
            written += 1;
            if no_ack {
                continue;
            }
            let (consumer, delivered_ms) = (self.by, self.now_ms);
            let pending = Pending { consumer, delivered_ms, deliveries: 1 };
            self.group.assign(entry.id, pending);
            self.group.consumer_mut(self.by).active_ms = Some(self.now_ms);
            self.steps.claim(self.place, self.group, entry.id, &pending);
        }
        self.out.close_array(open, written);
        // Claims tell the last ID, but not how many entries the group has read.
        self.steps.set_id(self.place, self.group);
    }

    /// Entries that the consumer has pending, above an ID. Those no longer in the stream are shown
    /// without fields.
    fn history(&mut self, after: StreamId, count: usize) {
        let open = self.out.open();
        let mut written = 0;
        let mut from = after.next();
        while let Some(start) = from
            && written < at_most(count)
            && let Some(id) = self.group.consumer(self.by).pending_from(start)
        {
            match (self.log.get(id), self.group.pending(id)) {
                (Some(entry), Some(pending)) => {
                    write_entry(self.out, &entry);
                    let deliveries = pending.deliveries.saturating_add(1);
                    let delivered_ms = self.now_ms;
                    let pending = Pending { delivered_ms, deliveries, ..pending };
                    self.group.assign(id, pending);
                    self.steps.claim(self.place, self.group, id, &pending);
                }
                _ => {
                    self.out.array(2);
                    write_id(self.out, id);
                    self.out.null_array();
                }
            }
            written += 1;
            from = id.next();
        }
        self.out.close_array(open, written);
    }
}

/// The group goes on to an entry, and counts it if it is known which one that is.
fn count_as_read(log: &Log, group: &mut Group, id: StreamId) {
    group.entries_read = match group.entries_read {
        Some(read) if !log.has_gaps_from(id) => Some(read.saturating_add(1)),
        read if log.entries_added() == 0 => read,
        _ => log.added_up_to(id).map(|added| added as i64),
    };
    group.last_id = id;
}
