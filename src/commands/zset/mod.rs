//! Commands on sorted sets: single members, here; and in files of their own what works on ranges
//! ([`range`]), on several sets ([`algebra`]), and what pops ([`pop`]).

pub mod algebra;
pub mod pop;
pub mod range;
#[cfg(test)]
mod tests;

use super::scan;
use crate::base::number::parse_f64;
use crate::resp::Reply;
use crate::server::command::{Command, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::db::Entry;
use crate::store::event::class;
use crate::store::{Edit, Keyspace, NewValue};
use crate::types::zset::{self, Element, Limits, Zset};
use crate::types::{Inline, Loose, Slot, Value};

const BASE: Command = Command {
    since: "1.2.0",
    group: Group::SortedSet,
    categories: &["sortedset"],
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "zadd",
        summary: "Adds members to a sorted set, or gives those that are there other scores",
        complexity: "O(log(N)) for each member, N being how many the set has",
        arity: -4,
        flags: WRITE | DENYOOM | FAST,
        keys: &[Keys::at(1, &["RW", "update"])],
        args: "key condition:[NX | XX]@3.0.2 comparison:[GT | LT]@6.2.0 [change:CH]@3.0.2 \
               [increment:INCR]@3.0.2 data:(score:double member)...",
        history: &[
            ("2.4.0", "Takes several members"),
            ("3.0.2", "Knows `XX`, `NX`, `CH` and `INCR`"),
            ("6.2.0", "Knows `GT` and `LT`"),
        ],
        element: 3,
        handler: zadd,
        ..BASE
    },
    Command {
        name: "zcard",
        summary: "Returns how many members a sorted set has",
        arity: 2,
        flags: READONLY | FAST,
        keys: &[Keys::at(1, &["RO"])],
        args: "key",
        handler: zcard,
        ..BASE
    },
    Command {
        name: "zincrby",
        summary: "Adds to the score of a member of a sorted set, which is 0 if it is not there",
        complexity: "O(log(N)), N being how many members the set has",
        arity: 4,
        flags: WRITE | DENYOOM | FAST,
        keys: &[Keys::at(1, &["RW", "access", "update"])],
        args: "key increment member",
        element: 3,
        handler: zincrby,
        ..BASE
    },
    Command {
        name: "zmscore",
        summary: "Returns the scores of members of a sorted set",
        since: "6.2.0",
        complexity: "O(N) for N members given",
        arity: -3,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key member...",
        handler: zmscore,
        ..BASE
    },
    Command {
        name: "zrandmember",
        summary: "Returns members of a sorted set drawn at random",
        since: "6.2.0",
        complexity: "O(N) for N members returned",
        arity: -2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key options:[count [WITHSCORES]]",
        tips: &["nondeterministic_output"],
        handler: zrandmember,
        ..BASE
    },
    Command {
        name: "zrank",
        summary: "Returns where a member stands in a sorted set, counted from the lowest score",
        since: "2.0.0",
        complexity: "O(log(N)), N being how many members the set has",
        arity: -3,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key member [WITHSCORE]",
        history: &[("7.2.0", "Knows `WITHSCORE`")],
        handler: |ctx| rank(ctx, false),
        ..BASE
    },
    Command {
        name: "zrem",
        summary: "Removes members from a sorted set, and the key with the last of them",
        complexity: "O(M*log(N)) for M members given, N being how many the set has",
        arity: -3,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "delete"])],
        args: "key member...",
        history: &[("2.4.0", "Takes several members")],
        element: 2,
        handler: zrem,
        ..BASE
    },
    Command {
        name: "zrevrank",
        summary: "Returns where a member stands in a sorted set, counted from the highest score",
        since: "2.0.0",
        complexity: "O(log(N)), N being how many members the set has",
        arity: -3,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key member [WITHSCORE]",
        history: &[("7.2.0", "Knows `WITHSCORE`")],
        handler: |ctx| rank(ctx, true),
        ..BASE
    },
    Command {
        name: "zscan",
        summary: "Goes through the members of a sorted set and their scores in steps",
        since: "2.8.0",
        complexity: "O(1) for a step, O(N) for all steps through a set of N members",
        arity: -3,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key cursor [MATCH pattern] [COUNT count]",
        tips: &["nondeterministic_output"],
        handler: zscan,
        ..BASE
    },
    Command {
        name: "zscore",
        summary: "Returns the score of a member of a sorted set",
        arity: 3,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key member",
        element: 2,
        handler: zscore,
        ..BASE
    },
];

#[inline]
fn zset_of(value: Value<'_>) -> Result<Zset<'_>, Error> {
    Zset::of(value).ok_or(Error::WRONG_TYPE)
}

/// The sorted set at a key, if there is one, read on behalf of a client.
#[inline]
pub(super) fn read<'a>(keys: &'a mut Keyspace, key: &[u8]) -> Result<Option<Zset<'a>>, Error> {
    keys.read(key).map(|view| zset_of(view.value())).transpose()
}

pub(super) fn limits(ctx: &Ctx) -> Limits {
    let config = &ctx.server.config;
    Limits { entries: config.zset_max_listpack_entries, value: config.zset_max_listpack_value }
}

/// A new sorted set, without members yet.
pub(super) fn empty() -> Loose {
    Loose::Inline(Inline::Zset, Vec::new())
}

/// Puts a sorted set in the place of whatever is at a key, and replies how many members it has. If
/// it has none, the key goes away.
fn store(ctx: &mut Ctx, key: &[u8], zset: Loose, event: &'static str) -> Result<(), Error> {
    let len = zset_of(zset.value())?.len();
    super::store::store(ctx, key, zset, len, class::ZSET, event);
    Ok(())
}

/// Writes elements: members alone, or with their scores, in RESP3 as pairs.
fn write_elements<'a>(
    out: &mut Reply,
    elements: impl ExactSizeIterator<Item = Element<'a>>,
    with_scores: bool,
) {
    begin_elements(out, elements.len(), with_scores);
    elements.for_each(|element| write_element(out, element, with_scores));
}

/// Begins an array of so many elements.
fn begin_elements(out: &mut Reply, len: usize, with_scores: bool) {
    out.array(if with_scores && !out.is_resp3() { len.saturating_mul(2) } else { len });
}

#[inline]
fn write_element(out: &mut Reply, (member, score): Element, with_scores: bool) {
    if with_scores && out.is_resp3() {
        out.array(2);
    }
    out.bulk(member);
    if with_scores {
        out.double(score);
    }
}

/// The options of ZADD.
#[derive(Clone, Copy, Default)]
struct AddOptions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    /// Changed members count like new ones.
    ch: bool,
    incr: bool,
}

impl AddOptions {
    /// Reads the options; returns them and the argument behind.
    fn parse(ctx: &Ctx) -> (AddOptions, usize) {
        let mut options = AddOptions::default();
        let mut at = 2;
        while at < ctx.args.len() {
            match ctx.arg(at) {
                // A number, as nearly always: none of the words.
                [b'0'..=b'9' | b'-' | b'+' | b'.', ..] => break,
                word if word.eq_ignore_ascii_case(b"nx") => options.nx = true,
                word if word.eq_ignore_ascii_case(b"xx") => options.xx = true,
                word if word.eq_ignore_ascii_case(b"gt") => options.gt = true,
                word if word.eq_ignore_ascii_case(b"lt") => options.lt = true,
                word if word.eq_ignore_ascii_case(b"ch") => options.ch = true,
                word if word.eq_ignore_ascii_case(b"incr") => options.incr = true,
                _ => break,
            }
            at += 1;
        }
        (options, at)
    }

    fn check(&self, pairs: usize) -> Result<(), Error> {
        if self.nx && self.xx {
            return Err(Error::Static("ERR XX and NX options at the same time are not compatible"));
        }
        if (self.gt || self.lt) && self.nx || self.gt && self.lt {
            return Err(Error::Static(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.incr && pairs > 1 {
            return Err(Error::Static("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    /// The score a member is to have; none if it is to stay as it is. NaN if that is the sum.
    #[inline]
    fn decide(&self, old: Option<f64>, score: f64) -> Option<f64> {
        let Some(old) = old else { return (!self.xx).then_some(score) };
        let new = if self.incr { old + score } else { score };
        let unwanted = self.nx || self.lt && new >= old || self.gt && new <= old;
        (!unwanted).then_some(new)
    }
}

fn score_arg(ctx: &Ctx, index: usize) -> Result<f64, Error> {
    parse_f64(ctx.arg(index)).ok_or(Error::NOT_A_FLOAT)
}

pub(super) fn zadd(ctx: &mut Ctx) -> Result<(), Error> {
    let (options, first) = AddOptions::parse(ctx);
    add(ctx, options, first)
}

fn zincrby(ctx: &mut Ctx) -> Result<(), Error> {
    // In Redis the increment may be a word of ZADD's options, and then there is no pair.
    let (options, first) = AddOptions::parse(ctx);
    add(ctx, AddOptions { incr: true, ..options }, first)
}

/// Adds the pairs of scores and members from the argument `first` on.
fn add(ctx: &mut Ctx, options: AddOptions, first: usize) -> Result<(), Error> {
    let pairs = (ctx.args.len() - first) / 2;
    if pairs == 0 || !(ctx.args.len() - first).is_multiple_of(2) {
        return Err(Error::SYNTAX);
    }
    options.check(pairs)?;
    // All or nothing: no score may fail once a member was added.
    let first_score = score_arg(ctx, first)?;
    (1..pairs).try_for_each(|n| score_arg(ctx, first + n * 2).map(drop))?;
    let limits = limits(ctx);
    let mut edit = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Occupied(edit) => edit,
        Entry::Vacant(_) if options.xx => {
            if options.incr {
                ctx.out.null()
            } else {
                ctx.out.int(0)
            }
            return Ok(());
        }
        Entry::Vacant(vacant) => vacant.insert(NewValue::Inline(Inline::Zset, b""), None),
    };
    zset_of(edit.value())?;
    let (mut added, mut updated) = (0, 0);
    let mut result = None;
    for n in 0..pairs {
        let at = first + n * 2;
        let score = if n == 0 {
            first_score
        } else {
            parse_f64(ctx.args.get(at)).ok_or(Error::NOT_A_FLOAT)?
        };
        let change = zset::update(&mut edit, ctx.args.get(at + 1), &limits, |old| {
            result = options.decide(old, score);
            result.filter(|score| !score.is_nan())
        });
        added += i64::from(change.is_new());
        updated += i64::from(change.is_update());
    }
    if result.is_some_and(f64::is_nan) {
        return Err(Error::Static("ERR resulting score is not a number (NaN)"));
    }
    if added > 0 && pairs > limits.entries {
        // Redis prepares for as many as were given, even if some are the same.
        zset::make_skiplist(&mut edit);
    }
    if added + updated > 0 {
        edit.notify(class::ZSET, if options.incr { "zincr" } else { "zadd" });
    }
    drop(edit);
    match (options.incr, result) {
        (true, Some(score)) => ctx.out.double(score),
        (true, None) => ctx.out.null(),
        (false, _) => ctx.out.int(if options.ch { added + updated } else { added }),
    }
    Ok(())
}

fn zrem(ctx: &mut Ctx) -> Result<(), Error> {
    let mut removed = 0;
    if let Some(mut edit) = ctx.keys.edit(ctx.args.get(1)) {
        zset_of(edit.value())?;
        for member in ctx.args.from(2).iter() {
            if zset::remove(&mut edit, member).is_some() {
                removed += 1;
                if zset_of(edit.value())?.is_empty() {
                    break;
                }
            }
        }
        if removed > 0 {
            edit.notify(class::ZSET, "zrem");
            remove_if_empty(edit)?;
        }
    }
    ctx.out.int(removed);
    Ok(())
}

/// Removes a key whose last member has gone.
fn remove_if_empty(edit: Edit<'_>) -> Result<(), Error> {
    if zset_of(edit.value())?.is_empty() {
        edit.remove_emptied();
    }
    Ok(())
}

fn zcard(ctx: &mut Ctx) -> Result<(), Error> {
    let zset = read(ctx.keys, ctx.args.get(1))?;
    ctx.out.int(zset.map_or(0, |zset| zset.len()) as i64);
    Ok(())
}

fn zscore(ctx: &mut Ctx) -> Result<(), Error> {
    let zset = read(ctx.keys, ctx.args.get(1))?;
    match zset.and_then(|zset| zset.score(ctx.args.get(2))) {
        Some(score) => ctx.out.double(score),
        None => ctx.out.null(),
    }
    Ok(())
}

fn zmscore(ctx: &mut Ctx) -> Result<(), Error> {
    let zset = read(ctx.keys, ctx.args.get(1))?;
    let members = ctx.args.from(2);
    ctx.out.array(members.len());
    for member in members.iter() {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => ctx.out.double(score),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn rank(ctx: &mut Ctx, from_end: bool) -> Result<(), Error> {
    if ctx.args.len() > 4 {
        return Err(Error::arity(&ctx.entry.full_name));
    }
    let with_score = ctx.args.len() == 4;
    if with_score && !ctx.is_word(3, "withscore") {
        return Err(Error::SYNTAX);
    }
    let zset = read(ctx.keys, ctx.args.get(1))?;
    let found = zset.and_then(|zset| {
        let (rank, score) = zset.rank(ctx.args.get(2))?;
        Some((if from_end { zset.len() - 1 - rank } else { rank }, score))
    });
    match found {
        None if with_score => ctx.out.null_array(),
        None => ctx.out.null(),
        Some((rank, score)) => {
            if with_score {
                ctx.out.array(2);
            }
            ctx.out.int(rank as i64);
            if with_score {
                ctx.out.double(score);
            }
        }
    }
    Ok(())
}

fn zscan(ctx: &mut Ctx) -> Result<(), Error> {
    let cursor = scan::cursor(ctx.arg(2))?;
    let zset = read(ctx.keys, ctx.args.get(1))?;
    scan::reply(ctx.out, cursor, ctx.args.from(3), zset)
}

impl<'a> scan::Scanned for Zset<'a> {
    type Element = Element<'a>;
    const PARTS: usize = 2;

    fn step(&self, cursor: u64, visit: impl FnMut(Element<'a>)) -> u64 {
        self.scan(cursor, visit)
    }

    fn matches((member, _): &Element<'a>, options: &scan::Options<'_>) -> bool {
        options.matches(member)
    }

    fn write((member, score): Element<'a>, out: &mut Reply) {
        out.bulk(member);
        out.bulk_double(score);
    }
}

fn zrandmember(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.args.len() == 2 {
        let zset = read(ctx.keys, ctx.args.get(1))?;
        match zset.and_then(|zset| zset.random(&mut ctx.server.rng)) {
            Some((member, _)) => ctx.out.bulk(member),
            None => ctx.out.null(),
        }
        return Ok(());
    }
    let (count, with_scores) = random_options(ctx)?;
    let most = ctx.most_output();
    let Some(zset) = read(ctx.keys, ctx.args.get(1))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let len = if count < 0 { wanted } else { wanted.min(zset.len()) };
    let (out, rng) = (&mut *ctx.out, &mut ctx.server.rng);
    begin_elements(out, len, with_scores);
    if count < 0 {
        _ = zset.draw(len as u64, rng, |element| {
            write_element(out, element, with_scores);
            out.within(most)
        });
        ctx.check_output(most);
    } else {
        zset.sample(len, rng, |element| write_element(out, element, with_scores));
    }
    Ok(())
}

/// The count of ZRANDMEMBER, and whether scores are wanted. A reply holds twice the count then, and
/// says so in a signed number.
fn random_options(ctx: &Ctx) -> Result<(i64, bool), Error> {
    let count = ctx.int_arg(2)?;
    if count == i64::MIN {
        let (least, most) = (-i64::MAX, i64::MAX);
        let text = format!("ERR value is out of range, value must between {least} and {most}");
        return Err(Error::Text(text));
    }
    let with_scores = ctx.args.len() > 3;
    if ctx.args.len() > 4 || with_scores && !ctx.is_word(3, "withscores") {
        return Err(Error::SYNTAX);
    }
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Error::OUT_OF_RANGE);
    }
    Ok((count, with_scores))
}
