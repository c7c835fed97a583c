//! Commands on ranges of a sorted set: by rank, by score and by member. Each range becomes one of
//! ranks first; then there is one way to count, write, store or remove it.

use super::{BASE, empty, limits, read, store, write_elements, zset_of};
use crate::base::number::{parse_f64, parse_i64};
use crate::server::command::{Command, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::event::class;
use crate::types::Slot;
use crate::types::zset::{self, Point, Zset};
use std::ops::Range;

const LOG_PLUS_RETURNED: &str = "O(log(N)+M) for M members returned, N being how many the set has";
const LOG_PLUS_REMOVED: &str = "O(log(N)+M) for M members removed, N being how many the set has";
const LOG: &str = "O(log(N)), N being how many members the set has";

pub const COMMANDS: &[Command] = &[
    Command {
        name: "zcount",
        summary: "Counts the members of a sorted set whose scores are in a range",
        since: "2.0.0",
        complexity: LOG,
        arity: 4,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key min:double max:double",
        handler: |ctx| count(ctx, By::Score),
        ..BASE
    },
    Command {
        name: "zlexcount",
        summary: "Counts the members of a sorted set that are in a lexicographical range",
        since: "2.8.9",
        complexity: LOG,
        arity: 4,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key min max",
        handler: |ctx| count(ctx, By::Lex),
        ..BASE
    },
    Command {
        name: "zrange",
        summary: "Returns the members of a sorted set that are in a range",
        complexity: LOG_PLUS_RETURNED,
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key start:string stop:string sortby:[BYSCORE | BYLEX]@6.2.0 [REV]@6.2.0 \
               [LIMIT limit:(offset count)]@6.2.0 [WITHSCORES]",
        history: &[("6.2.0", "Knows `REV`, `BYSCORE`, `BYLEX` and `LIMIT`")],
        handler: |ctx| range(ctx, None, None),
        ..BASE
    },
    Command {
        name: "zrangebylex",
        summary: "Returns the members of a sorted set that are in a lexicographical range",
        since: "2.8.9",
        complexity: LOG_PLUS_RETURNED,
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key min max [LIMIT limit:(offset count)]",
        deprecated: Some(("`ZRANGE` with the `BYLEX` argument", "6.2.0")),
        handler: |ctx| range(ctx, Some(By::Lex), Some(false)),
        ..BASE
    },
    Command {
        name: "zrangebyscore",
        summary: "Returns the members of a sorted set whose scores are in a range",
        since: "1.0.5",
        complexity: LOG_PLUS_RETURNED,
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key min:double max:double [WITHSCORES]@2.0.0 [LIMIT limit:(offset count)]",
        history: &[("2.0.0", "Knows `WITHSCORES`")],
        deprecated: Some(("`ZRANGE` with the `BYSCORE` argument", "6.2.0")),
        handler: |ctx| range(ctx, Some(By::Score), Some(false)),
        ..BASE
    },
    Command {
        name: "zrangestore",
        summary: "Stores the members of a sorted set that are in a range as another one",
        since: "6.2.0",
        complexity: "O(log(N)+M) for M members stored, N being how many the set has",
        arity: -5,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["OW", "update"]), Keys::at(2, &["RO", "access"])],
        args: "dst:key src:key min max sortby:[BYSCORE | BYLEX] [REV] \
               [LIMIT limit:(offset count)]",
        handler: zrangestore,
        ..BASE
    },
    Command {
        name: "zremrangebylex",
        summary: "Removes the members of a sorted set that are in a lexicographical range",
        since: "2.8.9",
        complexity: LOG_PLUS_REMOVED,
        arity: 4,
        flags: WRITE,
        keys: &[Keys::at(1, &["RW", "delete"])],
        args: "key min max",
        handler: |ctx| remove(ctx, By::Lex, "zremrangebylex"),
        ..BASE
    },
    Command {
        name: "zremrangebyrank",
        summary: "Removes the members of a sorted set whose ranks are in a range",
        since: "2.0.0",
        complexity: LOG_PLUS_REMOVED,
        arity: 4,
        flags: WRITE,
        keys: &[Keys::at(1, &["RW", "delete"])],
        args: "key start stop",
        handler: |ctx| remove(ctx, By::Rank, "zremrangebyrank"),
        ..BASE
    },
    Command {
        name: "zremrangebyscore",
        summary: "Removes the members of a sorted set whose scores are in a range",
        complexity: LOG_PLUS_REMOVED,
        arity: 4,
        flags: WRITE,
        keys: &[Keys::at(1, &["RW", "delete"])],
        args: "key min:double max:double",
        handler: |ctx| remove(ctx, By::Score, "zremrangebyscore"),
        ..BASE
    },
    Command {
        name: "zrevrange",
        summary: "Returns the members of a sorted set that are in a range, the highest first",
        complexity: LOG_PLUS_RETURNED,
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key start stop [WITHSCORES]",
        deprecated: Some(("`ZRANGE` with the `REV` argument", "6.2.0")),
        handler: |ctx| range(ctx, Some(By::Rank), Some(true)),
        ..BASE
    },
    Command {
        name: "zrevrangebylex",
        summary: "Returns the members of a sorted set in a lexicographical range, the last first",
        since: "2.8.9",
        complexity: LOG_PLUS_RETURNED,
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key max min [LIMIT limit:(offset count)]",
        deprecated: Some(("`ZRANGE` with the `REV` and `BYLEX` arguments", "6.2.0")),
        handler: |ctx| range(ctx, Some(By::Lex), Some(true)),
        ..BASE
    },
    Command {
        name: "zrevrangebyscore",
        summary: "Returns the members of a sorted set with scores in a range, the highest first",
        since: "2.2.0",
        complexity: LOG_PLUS_RETURNED,
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key max:double min:double [WITHSCORES] [LIMIT limit:(offset count)]",
        history: &[("2.1.6", "Either end may be exclusive")],
        deprecated: Some(("`ZRANGE` with the `REV` and `BYSCORE` arguments", "6.2.0")),
        handler: |ctx| range(ctx, Some(By::Score), Some(true)),
        ..BASE
    },
];

/// What the ends of a range are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range as a command gives it.
enum Ends<'a> {
    /// The first and the last rank, negative ones counted from the end.
    Ranks(i64, i64),
    Points(Point<'a>, Point<'a>),
}

impl<'a> Ends<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Ends<'a>, Error> {
        let points = match by {
            By::Rank => {
                let rank = |text| parse_i64(text).ok_or(Error::NOT_AN_INTEGER);
                return Ok(Ends::Ranks(rank(min)?, rank(max)?));
            }
            By::Score => {
                let ends = min_point(min).zip(max_point(max));
                ends.ok_or(Error::Static("ERR min or max is not a float"))?
            }
            By::Lex => {
                let ends = lex_point(min, true).zip(lex_point(max, false));
                ends.ok_or(Error::Static("ERR min or max not valid string range item"))?
            }
        };
        Ok(Ends::Points(points.0, points.1))
    }

    /// The ranks it covers; those that a command counts from the end are counted from the start
    /// here.
    fn ranks(&self, zset: &Zset, reverse: bool) -> Range<usize> {
        let (start, stop) = match self {
            Ends::Points(from, to) => return zset.ranks(from, to),
            Ends::Ranks(start, stop) => (*start, *stop),
        };
        let len = zset.len();
        let from_start = |rank: i64| if rank < 0 { rank.saturating_add(len as i64) } else { rank };
        let start = from_start(start).max(0) as usize;
        let end = usize::try_from(from_start(stop)).map_or(0, |last| last.saturating_add(1));
        let end = end.min(len);
        let start = start.min(end);
        if reverse { len - end..len - start } else { start..end }
    }
}

/// Reads a score that ends a range, and whether it is itself outside of it. Redis asks C's
/// `strtod`: blanks in front are skipped, nothing is 0, and what is too large is infinite.
fn score_end(text: &[u8]) -> Option<(f64, bool)> {
    let (text, exclusive) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    let text = text.split(|&byte| byte == 0).next().unwrap_or(text);
    if text.is_empty() {
        return Some((0.0, exclusive));
    }
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0B;
    let text = &text[text.iter().position(|byte| !is_blank(byte))?..];
    let beyond = || std::str::from_utf8(text).ok()?.parse().ok();
    let score: f64 = parse_f64(text).or_else(beyond)?;
    (!score.is_nan()).then_some((score, exclusive))
}

fn min_point(text: &[u8]) -> Option<Point<'_>> {
    score_end(text).map(|(score, exclusive)| {
        if exclusive { Point::behind_score(score) } else { Point::before_score(score) }
    })
}

fn max_point(text: &[u8]) -> Option<Point<'_>> {
    score_end(text).map(|(score, exclusive)| {
        if exclusive { Point::before_score(score) } else { Point::behind_score(score) }
    })
}

fn lex_point(text: &[u8], is_min: bool) -> Option<Point<'_>> {
    match text {
        [b'-'] | [b'-', 0, ..] => Some(Point::start()),
        [b'+'] | [b'+', 0, ..] => Some(Point::end()),
        [b'[', member @ ..] if is_min => Some(Point::before_member(member)),
        [b'[', member @ ..] => Some(Point::behind_member(member)),
        [b'(', member @ ..] if is_min => Some(Point::behind_member(member)),
        [b'(', member @ ..] => Some(Point::before_member(member)),
        _ => None,
    }
}

/// All that says which members a command wants.
struct Query<'a> {
    ends: Ends<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    /// All if negative.
    count: i64,
}

impl<'a> Query<'a> {
    /// Reads the range that begins at the argument `at`, and the options behind it. What `by` and
    /// `reverse` say cannot be said by an option.
    fn parse(
        ctx: &Ctx<'a>,
        at: usize,
        by: Option<By>,
        reverse: Option<bool>,
        may_have_scores: bool,
    ) -> Result<Query<'a>, Error> {
        let (mut wanted_by, mut wanted_reverse) = (by, reverse);
        let (mut with_scores, mut offset, mut count) = (false, 0, -1);
        let mut option = at + 2;
        while option < ctx.args.len() {
            if may_have_scores && ctx.is_word(option, "withscores") {
                with_scores = true;
            } else if ctx.is_word(option, "limit") && option + 2 < ctx.args.len() {
                (offset, count) = (ctx.int_arg(option + 1)?, ctx.int_arg(option + 2)?);
                option += 2;
            } else if wanted_reverse.is_none() && ctx.is_word(option, "rev") {
                wanted_reverse = Some(true);
            } else if wanted_by.is_none() && ctx.is_word(option, "bylex") {
                wanted_by = Some(By::Lex);
            } else if wanted_by.is_none() && ctx.is_word(option, "byscore") {
                wanted_by = Some(By::Score);
            } else {
                return Err(Error::SYNTAX);
            }
            option += 1;
        }
        let (by, reverse) = (wanted_by.unwrap_or(By::Rank), wanted_reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            return Err(Error::Static(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE \
                 or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(Error::Static(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        // Whoever asks from the end gives the greater end first.
        let is_swapped = reverse && by != By::Rank;
        let (min, max) = if is_swapped { (at + 1, at) } else { (at, at + 1) };
        let ends = Ends::parse(by, ctx.arg(min), ctx.arg(max))?;
        Ok(Query { ends, reverse, with_scores, offset, count })
    }

    /// The ranks of the members that are wanted.
    fn ranks(&self, zset: &Zset) -> Range<usize> {
        let ranks = self.ends.ranks(zset, self.reverse);
        if let Ends::Ranks(..) = self.ends {
            return ranks;
        }
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let skipped = offset.min(ranks.len());
        let left = ranks.len() - skipped;
        let taken = usize::try_from(self.count).map_or(left, |count| count.min(left));
        if self.reverse {
            let end = ranks.end - skipped;
            end - taken..end
        } else {
            let start = ranks.start + skipped;
            start..start + taken
        }
    }
}

fn range(ctx: &mut Ctx, by: Option<By>, reverse: Option<bool>) -> Result<(), Error> {
    let query = Query::parse(ctx, 2, by, reverse, true)?;
    let Some(zset) = read(ctx.keys, ctx.args.get(1))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let elements = zset.range(query.ranks(&zset));
    if query.reverse {
        write_elements(ctx.out, elements.rev(), query.with_scores);
    } else {
        write_elements(ctx.out, elements, query.with_scores);
    }
    Ok(())
}

fn zrangestore(ctx: &mut Ctx) -> Result<(), Error> {
    let query = Query::parse(ctx, 3, None, None, false)?;
    let limits = limits(ctx);
    let mut result = empty();
    if let Some(zset) = read(ctx.keys, ctx.args.get(2))? {
        for (member, score) in zset.range(query.ranks(&zset)) {
            zset::insert(&mut result, member, score, &limits);
        }
    }
    store(ctx, ctx.arg(1), result, "zrangestore")
}

fn count(ctx: &mut Ctx, by: By) -> Result<(), Error> {
    let ends = Ends::parse(by, ctx.arg(2), ctx.arg(3))?;
    let zset = read(ctx.keys, ctx.args.get(1))?;
    let count = zset.map_or(0, |zset| ends.ranks(&zset, false).len());
    ctx.out.int(count as i64);
    Ok(())
}

fn remove(ctx: &mut Ctx, by: By, event: &'static str) -> Result<(), Error> {
    let ends = Ends::parse(by, ctx.arg(2), ctx.arg(3))?;
    let mut removed = 0;
    if let Some(mut edit) = ctx.keys.edit(ctx.args.get(1)) {
        let zset = zset_of(edit.value())?;
        let ranks = ends.ranks(&zset, false);
        let is_all = ranks.len() == zset.len();
        removed = ranks.len();
        if removed > 0 {
            edit.notify(class::ZSET, event);
            if is_all {
                // What goes away as a whole need not be taken apart.
                edit.remove_emptied();
            } else {
                zset::remove_range(&mut edit, ranks);
            }
        }
    }
    ctx.out.int(removed as i64);
    Ok(())
}
