//! XADD and XTRIM, which have the options for trimming in common.

use super::{
    BASE, INVALID_ID, edit, id, key, new_stream, stream_mut, stream_of, stream_unmarked, write_id,
};
use crate::base::number::parse_i64;
use crate::resp::Args;
use crate::resp::parse::OwnedArgs;
use crate::server::command::{Command, flag::*};
use crate::server::ctx::{Ctx, Origin, Propagation};
use crate::server::error::Error;
use crate::store::db::Entry;
use crate::store::event::class;
use crate::store::{Edit, NewValue};
use crate::types::Slot;
use crate::types::stream::{
    Limits, Log, NewId, NoId, Pairs, PartialId, Seq, StreamId, Trim, TrimTo, payload,
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xadd",
        summary: "Appends an entry to a stream, which is created if there is none",
        complexity: "O(1), and O(N) for N entries trimmed",
        arity: -5,
        flags: WRITE | DENYOOM | FAST,
        keys: &[key(&["RW", "update"])],
        args: "key [NOMKSTREAM]@6.2.0 trim:[strategy:(MAXLEN | MINID@6.2.0) \
               operator:[equal:= | approximately:~] threshold [LIMIT count]@6.2.0] \
               id-selector:(auto-id:* | id) data:(field value)...",
        tips: &["nondeterministic_output"],
        history: &[
            ("6.2.0", "Takes NOMKSTREAM, MINID and LIMIT"),
            ("7.0.0", "Takes an ID with its time alone, `ms-*`"),
        ],
        handler: xadd,
        ..BASE
    },
    Command {
        name: "xtrim",
        summary: "Removes the oldest entries of a stream",
        complexity: "O(N) for N entries removed, most of them a node at a time",
        arity: -4,
        flags: WRITE,
        keys: &[key(&["RW", "delete"])],
        args: "key trim:(strategy:(MAXLEN | MINID@6.2.0) \
               operator:[equal:= | approximately:~] threshold [LIMIT count]@6.2.0)",
        tips: &["nondeterministic_output"],
        history: &[("6.2.0", "Takes MINID and LIMIT")],
        handler: xtrim,
        ..BASE
    },
];

/// What approximate trimming removes at most if neither the client nor the size of nodes says
/// otherwise, and whatever the size of nodes says.
const LIMIT_DEFAULT: u64 = 10_000;
const LIMIT_MAX: u64 = 1_000_000;

/// Nodes that approximate trimming removes at most if the client does not say otherwise.
const LIMIT_NODES: u64 = 100;

/// The options of XADD and XTRIM.
struct Options {
    trim: Option<TrimOption>,
    create: bool,
    id: NewId,
    /// Where the ID is among the arguments, or what is behind them.
    id_at: usize,
}

struct TrimOption {
    to: TrimTo,
    approximate: bool,
    /// Where the threshold is among the arguments.
    at: usize,
}

impl Options {
    fn parse(ctx: &Ctx, adds: bool) -> Result<(Options, Option<Trim>), Error> {
        let mut options = Options { trim: None, create: true, id: NewId::Auto, id_at: 2 };
        let mut limit = None;
        let args = ctx.args;
        let mut at = 2;
        while at < args.len() {
            let (word, has_more) = (args.get(at), at + 1 < args.len());
            if adds && word == b"*" {
                break;
            } else if has_more && word.eq_ignore_ascii_case(b"maxlen") {
                at = options.take_trim(args, at + 1, max_len)?;
            } else if has_more && word.eq_ignore_ascii_case(b"minid") {
                at = options.take_trim(args, at + 1, |text| Ok(TrimTo::Id(id(text)?)))?;
            } else if has_more && word.eq_ignore_ascii_case(b"limit") {
                limit = Some(limit_from(args.get(at + 1))?);
                at += 2;
            } else if adds && word.eq_ignore_ascii_case(b"nomkstream") {
                options.create = false;
                at += 1;
            } else if adds {
                options.id = new_id(word)?;
                break;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        options.id_at = at;
        let trim = options.check_trim(ctx, adds, limit)?;
        Ok((options, trim))
    }

    /// Takes what stands behind MAXLEN or MINID; returns what is behind that.
    fn take_trim(
        &mut self,
        args: Args<'_>,
        mut at: usize,
        threshold: fn(&[u8]) -> Result<TrimTo, Error>,
    ) -> Result<usize, Error> {
        if self.trim.is_some() {
            return Err(Error::Static(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let operator = args.get(at);
        let has_operator = at + 1 < args.len() && matches!(operator, b"~" | b"=");
        at += usize::from(has_operator);
        let approximate = has_operator && operator == b"~";
        self.trim = Some(TrimOption { to: threshold(args.get(at))?, approximate, at });
        Ok(at + 1)
    }

    fn check_trim(&self, ctx: &Ctx, adds: bool, limit: Option<u64>) -> Result<Option<Trim>, Error> {
        if self.trim.is_none() && limit.is_some_and(|limit| limit > 0) {
            return Err(Error::Static(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if self.trim.is_none() && !adds {
            return Err(Error::Static(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        let approximate = self.trim.as_ref().is_some_and(|trim| trim.approximate);
        // A file says exactly what was trimmed, but may still have the option.
        let is_file = ctx.origin == Origin::File;
        if limit.is_some() && !approximate && !is_file {
            return Err(Error::Static(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        let limit = match limit {
            _ if is_file || !approximate => None,
            Some(limit) => Some(limit).filter(|&limit| limit > 0),
            None => Some(limit_of_nodes(ctx.server.config.stream_node_max_entries)),
        };
        Ok(self.trim.as_ref().map(|trim| Trim { to: trim.to, approximate, limit }))
    }
}

fn limit_of_nodes(entries: u64) -> u64 {
    match entries.saturating_mul(LIMIT_NODES) {
        0 => LIMIT_DEFAULT,
        limit => limit.min(LIMIT_MAX),
    }
}

fn max_len(text: &[u8]) -> Result<TrimTo, Error> {
    let len = parse_i64(text).ok_or(Error::NOT_AN_INTEGER)?;
    let negative = Error::Static("ERR The MAXLEN argument must be >= 0.");
    Ok(TrimTo::Len(u64::try_from(len).map_err(|_| negative)?))
}

fn limit_from(text: &[u8]) -> Result<u64, Error> {
    let limit = parse_i64(text).ok_or(Error::NOT_AN_INTEGER)?;
    u64::try_from(limit).map_err(|_| Error::Static("ERR The LIMIT argument must be >= 0."))
}

fn new_id(text: &[u8]) -> Result<NewId, Error> {
    let id = PartialId::parse(text).ok_or(INVALID_ID)?;
    Ok(match id.seq {
        Seq::Auto => NewId::AutoSeq(id.ms),
        Seq::Missing => NewId::Given(StreamId::new(id.ms, 0)),
        Seq::Given(seq) => NewId::Given(StreamId::new(id.ms, seq)),
    })
}

fn pairs<'a>(args: Args<'a>) -> impl Pairs<'a> {
    (0..args.len() / 2).map(move |pair| (args.get(2 * pair), args.get(2 * pair + 1)))
}

fn xadd(ctx: &mut Ctx) -> Result<(), Error> {
    let (options, trim) = Options::parse(ctx, true)?;
    let first = options.id_at + 1;
    let len = ctx.args.len();
    if len < first + 2 || !(len - first).is_multiple_of(2) {
        return Err(Error::arity(&ctx.entry.full_name));
    }
    if options.id == NewId::Given(StreamId::MIN) {
        return Err(Error::Static("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let config = &ctx.server.config;
    let limits =
        Limits { bytes: config.stream_node_max_bytes, entries: config.stream_node_max_entries };
    let now_ms = u64::try_from(ctx.keys.now_ms).unwrap_or(0);
    let pairs = pairs(ctx.args.from(first));
    let size = payload(pairs.clone());
    let size = size.ok_or(Error::Static("ERR Elements are too large to be stored"))?;
    let mut edit = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Occupied(edit) => edit,
        Entry::Vacant(vacant) if options.create => {
            vacant.insert(NewValue::Object(new_stream()), None)
        }
        Entry::Vacant(_) => {
            ctx.out.null();
            return Ok(());
        }
    };
    let id = stream_of(edit.value())?.log.next_id(options.id, now_ms).map_err(no_id)?;
    stream_mut(&mut edit).log.append(id, pairs, size, &limits);
    edit.notify(class::STREAM, "xadd");
    let exact = trim.and_then(|trim| trim_with(&mut edit, &trim).1);
    drop(edit);
    write_id(ctx.out, id);
    let new_id = (!matches!(options.id, NewId::Given(_))).then_some((options.id_at, id));
    propagate_exactly(ctx, options.trim.as_ref(), exact, new_id);
    Ok(())
}

fn no_id(reason: NoId) -> Error {
    Error::Static(match reason {
        NoId::Exhausted => {
            "ERR The stream has exhausted the last possible ID, unable to add more items"
        }
        NoId::NotAboveLast => {
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        }
    })
}

/// Trims the stream; returns how many entries were removed, and for an approximate trim the exact
/// one that comes to the same.
fn trim_with(edit: &mut Edit<'_>, trim: &Trim) -> (u64, Option<Vec<u8>>) {
    let log = &mut stream_unmarked(edit).log;
    let removed = log.trim(trim);
    let exact = trim.approximate.then(|| threshold_now(log, trim));
    if removed > 0 {
        edit.mark_changed();
        edit.notify(class::STREAM, "xtrim");
    }
    (removed, exact)
}

fn threshold_now(log: &Log, trim: &Trim) -> Vec<u8> {
    match trim.to {
        TrimTo::Len(_) => itoa::Buffer::new().format(log.len()).as_bytes().to_vec(),
        TrimTo::Id(_) if log.is_empty() => StreamId::MAX.text(),
        TrimTo::Id(_) => log.first_id().text(),
    }
}

/// Has the command recorded with what it came to: the ID that was generated, and where trimming
/// has ended. How large nodes are, and what the time is, does not matter then.
fn propagate_exactly(
    ctx: &mut Ctx,
    trim: Option<&TrimOption>,
    exact: Option<Vec<u8>>,
    new_id: Option<(usize, StreamId)>,
) {
    if !ctx.recorded || exact.is_none() && new_id.is_none() {
        return;
    }
    let threshold_at = trim.map_or(0, |trim| trim.at);
    let mut command = OwnedArgs::default();
    for (at, word) in ctx.args.iter().enumerate() {
        match (&exact, new_id) {
            (Some(_), _) if at + 1 == threshold_at => command.push(b"="),
            (Some(text), _) if at == threshold_at => command.push(text),
            (_, Some((id_at, id))) if at == id_at => id.with_text(|text| command.push(text)),
            _ => command.push(word),
        }
    }
    ctx.propagation = Propagation::Rewritten(vec![command]);
}

fn xtrim(ctx: &mut Ctx) -> Result<(), Error> {
    let (options, trim) = Options::parse(ctx, false)?;
    let found = edit(ctx.keys, ctx.args.get(1))?;
    let (removed, exact) = match (found, trim) {
        (Some(mut edit), Some(trim)) => trim_with(&mut edit, &trim),
        _ => (0, None),
    };
    propagate_exactly(ctx, options.trim.as_ref(), exact, None);
    ctx.out.int(removed as i64);
    Ok(())
}
