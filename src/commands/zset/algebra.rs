//! Commands that unite, intersect and subtract sorted sets, and store or return the result.

use super::{BASE, empty, limits, store, write_elements, zset_of};
use crate::base::number::{parse_f64, parse_i64};
use crate::server::command::{Begin, Command, Find, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::types::set::{Member, Set};
use crate::types::zset::{self, Element, Limits, Zset};
use crate::types::{Loose, Slot, Value};
use std::ops::ControlFlow;

/// Keys to be read whose number stands at an argument, before them.
const fn sources(index: usize) -> Keys {
    let find = Find::Count { at: 0, first: 1, step: 1 };
    Keys { flags: &["RO", "access"], begin: Begin::Index(index), find }
}

const STORED: Keys = Keys::at(1, &["OW", "update"]);

const UNION: &str = "O(N)+O(M*log(M)) for N members in all sets and M in the result";
const INTERSECTION: &str =
    "O(N*K)+O(M*log(M)) for K sets, N members in the smallest and M in the result";
const DIFFERENCE: &str =
    "O(L+(N-K)*log(N)) for L members in all sets, N in the first and K in the result";

pub const COMMANDS: &[Command] = &[
    Command {
        name: "zdiff",
        summary: "Returns the members of a sorted set that are in none of the others",
        since: "6.2.0",
        complexity: DIFFERENCE,
        arity: -3,
        flags: READONLY,
        keys: &[sources(1)],
        args: "numkeys key... [WITHSCORES]",
        handler: |ctx| returned(ctx, Operation::Difference),
        ..BASE
    },
    Command {
        name: "zdiffstore",
        summary: "Stores the members of a sorted set that are in none of the others",
        since: "6.2.0",
        complexity: DIFFERENCE,
        arity: -4,
        flags: WRITE | DENYOOM,
        keys: &[STORED, sources(2)],
        args: "destination numkeys key...",
        handler: |ctx| stored(ctx, Operation::Difference, "zdiffstore"),
        ..BASE
    },
    Command {
        name: "zinter",
        summary: "Returns the members that are in all of several sorted sets",
        since: "6.2.0",
        complexity: INTERSECTION,
        arity: -3,
        flags: READONLY,
        keys: &[sources(1)],
        args: "numkeys key... [WEIGHTS weight:integer ...] \
               [AGGREGATE aggregate:(SUM | MIN | MAX)] [WITHSCORES]",
        handler: |ctx| returned(ctx, Operation::Intersection),
        ..BASE
    },
    Command {
        name: "zintercard",
        summary: "Counts the members that are in all of several sorted sets",
        since: "7.0.0",
        complexity: "O(N*K) for K sets and N members in the smallest",
        arity: -3,
        flags: READONLY,
        keys: &[sources(1)],
        args: "numkeys key... [LIMIT limit:integer]",
        handler: zintercard,
        ..BASE
    },
    Command {
        name: "zinterstore",
        summary: "Stores the members that are in all of several sorted sets",
        since: "2.0.0",
        complexity: INTERSECTION,
        arity: -4,
        flags: WRITE | DENYOOM,
        keys: &[STORED, sources(2)],
        args: "destination numkeys key... [WEIGHTS weight:integer ...] \
               [AGGREGATE aggregate:(SUM | MIN | MAX)]",
        handler: |ctx| stored(ctx, Operation::Intersection, "zinterstore"),
        ..BASE
    },
    Command {
        name: "zunion",
        summary: "Returns the members that are in any of several sorted sets",
        since: "6.2.0",
        complexity: UNION,
        arity: -3,
        flags: READONLY,
        keys: &[sources(1)],
        args: "numkeys key... [WEIGHTS weight:integer ...] \
               [AGGREGATE aggregate:(SUM | MIN | MAX)] [WITHSCORES]",
        handler: |ctx| returned(ctx, Operation::Union),
        ..BASE
    },
    Command {
        name: "zunionstore",
        summary: "Stores the members that are in any of several sorted sets",
        since: "2.0.0",
        complexity: UNION,
        arity: -4,
        flags: WRITE | DENYOOM,
        keys: &[STORED, sources(2)],
        args: "destination numkeys key... [WEIGHTS weight:integer ...] \
               [AGGREGATE aggregate:(SUM | MIN | MAX)]",
        handler: |ctx| stored(ctx, Operation::Union, "zunionstore"),
        ..BASE
    },
];

/// What members are taken from: all types that have members, each with a score.
#[derive(Clone, Copy)]
enum Source<'a> {
    Missing,
    Zset(Zset<'a>),
    /// Each member counts as having a score of 1.
    Set(Set<'a>),
}

impl<'a> Source<'a> {
    fn of(value: Option<Value<'a>>) -> Result<Source<'a>, Error> {
        let Some(value) = value else { return Ok(Source::Missing) };
        match Set::of(value) {
            Some(set) => Ok(Source::Set(set)),
            None => zset_of(value).map(Source::Zset),
        }
    }

    fn len(&self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Zset(zset) => zset.score(member),
            Source::Set(set) => set.contains(Member::Text(member)).then_some(1.0),
        }
    }

    /// Visits all members with their scores, in any order, until `visit` has enough.
    fn visit(&self, mut visit: impl FnMut(Element) -> ControlFlow<()>) {
        // What the flow was does not matter: it only ends the visits.
        let _ = match self {
            Source::Missing => ControlFlow::Continue(()),
            Source::Zset(zset) => zset.iter().try_for_each(&mut visit),
            Source::Set(set) => {
                set.iter().try_for_each(|member| member.with_text(|text| visit((text, 1.0))))
            }
        };
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of several scores of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => number(a + b),
            Aggregate::Min if b < a => b,
            Aggregate::Max if b > a => b,
            Aggregate::Min | Aggregate::Max => a,
        }
    }
}

/// What is no number counts as 0: infinity minus infinity, or infinity times nothing.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A command's arguments from the number of keys on.
struct Query<'a> {
    keys: Vec<&'a [u8]>,
    /// As many as there are keys.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members after which ZINTERCARD stops to count; 0 if it does not.
    limit: usize,
}

/// The options that a command knows.
#[derive(Clone, Copy)]
struct Known {
    weights: bool,
    with_scores: bool,
    limit: bool,
}

impl<'a> Query<'a> {
    fn parse(ctx: &mut Ctx<'a>, at: usize, known: Known) -> Result<Query<'a>, Error> {
        let count = ctx.int_arg(at)?;
        if count < 1 {
            let name = &ctx.entry.full_name;
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(Error::Text(text));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > ctx.args.len() - at - 1 {
            return Err(Error::SYNTAX);
        }
        let keys: Vec<&[u8]> = (at + 1..=at + count).map(|index| ctx.arg(index)).collect();
        // Redis reads the keys before it looks at the options.
        for key in &keys {
            Source::of(ctx.keys.read(key).map(|view| view.value()))?;
        }
        let mut query = Query {
            weights: vec![1.0; count],
            keys,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let mut option = at + count + 1;
        while option < ctx.args.len() {
            option = query.parse_option(ctx, option, known)?;
        }
        Ok(query)
    }

    /// Reads the option at an argument; returns the argument behind it.
    fn parse_option(&mut self, ctx: &Ctx, at: usize, known: Known) -> Result<usize, Error> {
        let left = ctx.args.len() - at - 1;
        if known.weights && left >= self.keys.len() && ctx.is_word(at, "weights") {
            for (index, weight) in (at + 1..).zip(&mut self.weights) {
                let not_a_float = Error::Static("ERR weight value is not a float");
                *weight = parse_f64(ctx.arg(index)).ok_or(not_a_float)?;
            }
            return Ok(at + 1 + self.keys.len());
        }
        if known.weights && left >= 1 && ctx.is_word(at, "aggregate") {
            self.aggregate = match () {
                _ if ctx.is_word(at + 1, "sum") => Aggregate::Sum,
                _ if ctx.is_word(at + 1, "min") => Aggregate::Min,
                _ if ctx.is_word(at + 1, "max") => Aggregate::Max,
                _ => return Err(Error::SYNTAX),
            };
            return Ok(at + 2);
        }
        if known.with_scores && ctx.is_word(at, "withscores") {
            self.with_scores = true;
            return Ok(at + 1);
        }
        if known.limit && left >= 1 && ctx.is_word(at, "limit") {
            let limit = parse_i64(ctx.arg(at + 1)).and_then(|limit| usize::try_from(limit).ok());
            self.limit = limit.ok_or(Error::Static("ERR LIMIT can't be negative"))?;
            return Ok(at + 2);
        }
        Err(Error::SYNTAX)
    }

    /// The sources with their weights.
    fn sources<'b>(&self, ctx: &'b Ctx) -> Result<Vec<(Source<'b>, f64)>, Error> {
        let source = |key: &&[u8]| Source::of(ctx.keys.view(key).map(|view| view.value()));
        let sources = self.keys.iter().map(source);
        sources.zip(&self.weights).map(|(source, &weight)| Ok((source?, weight))).collect()
    }

    fn result(&self, ctx: &Ctx, operation: Operation) -> Result<Loose, Error> {
        let limits = limits(ctx);
        let mut sources = self.sources(ctx)?;
        if operation != Operation::Difference {
            // The fewest members first: they decide how long an intersection takes.
            sources.sort_by_key(|(source, _)| source.len());
        }
        Ok(match operation {
            Operation::Union => union(&sources, self.aggregate, &limits),
            Operation::Intersection => {
                let mut result = empty();
                intersect(&sources, self.aggregate, |(member, score)| {
                    zset::insert(&mut result, member, score, &limits);
                    ControlFlow::Continue(())
                });
                result
            }
            Operation::Difference => difference(&sources, &limits),
        })
    }
}

fn union(sources: &[(Source, f64)], aggregate: Aggregate, limits: &Limits) -> Loose {
    let mut result = empty();
    for (source, weight) in sources {
        source.visit(|(member, score)| {
            let score = number(score * weight);
            zset::update(&mut result, member, limits, |old| {
                Some(old.map_or(score, |old| aggregate.of(old, score)))
            });
            ControlFlow::Continue(())
        });
    }
    result
}

/// Visits the members that all sources have, with their aggregated scores.
fn intersect(
    sources: &[(Source, f64)],
    aggregate: Aggregate,
    mut visit: impl FnMut(Element) -> ControlFlow<()>,
) {
    let Some(((first, weight), others)) = sources.split_first() else { return };
    first.visit(|(member, score)| {
        let own = number(score * weight);
        let all = others.iter().try_fold(own, |sum, (source, weight)| {
            Some(aggregate.of(sum, source.score(member)? * weight))
        });
        all.map_or(ControlFlow::Continue(()), |score| visit((member, score)))
    });
}

fn difference(sources: &[(Source, f64)], limits: &Limits) -> Loose {
    let mut result = empty();
    let Some(((first, _), others)) = sources.split_first() else { return result };
    // Asking every other set for each member can take longer than removing each of their members,
    // as Redis weighs it too.
    let asking = first.len().saturating_mul(sources.len()) / 2;
    let removing: usize = sources.iter().map(|(source, _)| source.len()).sum();
    if asking <= removing {
        first.visit(|(member, score)| {
            if others.iter().all(|(source, _)| source.score(member).is_none()) {
                zset::insert(&mut result, member, score, limits);
            }
            ControlFlow::Continue(())
        });
        return result;
    }
    first.visit(|(member, score)| {
        zset::insert(&mut result, member, score, limits);
        ControlFlow::Continue(())
    });
    let mut left = first.len();
    for (source, _) in others {
        source.visit(|(member, _)| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= usize::from(zset::remove(&mut result, member).is_some());
            ControlFlow::Continue(())
        });
    }
    rebuilt_if_small(result, limits)
}

/// The same set in the form it would have if it had never been larger.
fn rebuilt_if_small(large: Loose, limits: &Limits) -> Loose {
    match Zset::of(large.value()) {
        Some(zset) if zset.len() <= limits.entries => {
            let mut small = empty();
            zset.iter().for_each(|(member, score)| {
                zset::insert(&mut small, member, score, limits);
            });
            small
        }
        _ => large,
    }
}

fn returned(ctx: &mut Ctx, operation: Operation) -> Result<(), Error> {
    let weights = operation != Operation::Difference;
    let query = Query::parse(ctx, 1, Known { weights, with_scores: true, limit: false })?;
    let result = query.result(ctx, operation)?;
    write_elements(ctx.out, zset_of(result.value())?.iter(), query.with_scores);
    free(ctx, result);
    Ok(())
}

/// Has a result that nobody keeps freed off the loop if it is large.
fn free(ctx: &mut Ctx, result: Loose) {
    if let Loose::Object(object) = result {
        ctx.keys.free(Box::new(object));
    }
}

fn stored(ctx: &mut Ctx, operation: Operation, event: &'static str) -> Result<(), Error> {
    let weights = operation != Operation::Difference;
    let query = Query::parse(ctx, 2, Known { weights, with_scores: false, limit: false })?;
    let result = query.result(ctx, operation)?;
    store(ctx, ctx.arg(1), result, event)
}

fn zintercard(ctx: &mut Ctx) -> Result<(), Error> {
    let known = Known { weights: false, with_scores: false, limit: true };
    let query = Query::parse(ctx, 1, known)?;
    let mut sources = query.sources(ctx)?;
    sources.sort_by_key(|(source, _)| source.len());
    let mut count = 0;
    intersect(&sources, Aggregate::Sum, |_| {
        count += 1;
        if count == query.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ctx.out.int(count as i64);
    Ok(())
}
