//! SORT and SORT_RO: the elements of a list, set or sorted set in another order, and what other
//! keys hold under names made of them.

use super::store::store;
use crate::base::number::{parse_f64, parse_i64};
use crate::resp::Args;
use crate::server::command::{Begin, Command, Find, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::keys::{of_sort, of_sort_ro};
use crate::server::login;
use crate::store::Keyspace;
use crate::store::event::class;
use crate::types::Type;
use crate::types::hash::Hash;
use crate::types::list::{self, End, List};
use crate::types::set::Set;
use crate::types::string::Str;
use crate::types::zset::Zset;
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

/// Keys that follow from the elements, or from a word that may stand anywhere.
const fn unknown(flags: &'static [&'static str]) -> Keys {
    Keys { flags, begin: Begin::Unknown, find: Find::Unknown }
}

const BASE: Command = Command {
    group: Group::Generic,
    categories: &["set", "sortedset", "list", "dangerous"],
    complexity: "O(N+M*log(M)) for N elements of which M are returned",
    arity: -2,
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        summary: "Sorts the elements of a list or a set, and returns or stores them",
        since: "1.0.0",
        flags: WRITE | DENYOOM | MOVABLEKEYS,
        keys: &[READ_KEY, unknown(&["RO", "access"]), unknown(&["OW", "update"])],
        find_keys: Some(of_sort),
        args: "key [BY by-pattern:pattern/pattern]#1 [LIMIT limit:(offset count)] \
               [GET get-pattern:pattern/pattern]#1... order:[ASC | DESC] [sorting:ALPHA] \
               [STORE destination]#2",
        handler: |ctx| sort(ctx, true),
        ..BASE
    },
    Command {
        name: "sort_ro",
        summary: "Sorts the elements of a list or a set, and returns them",
        since: "7.0.0",
        flags: READONLY | MOVABLEKEYS,
        keys: &[READ_KEY, unknown(&["RO", "access"])],
        find_keys: Some(of_sort_ro),
        args: "key [BY by-pattern:pattern/pattern]#1 [LIMIT limit:(offset count)] \
               [GET get-pattern:pattern/pattern]#1... order:[ASC | DESC] [sorting:ALPHA]",
        handler: |ctx| sort(ctx, false),
        ..BASE
    },
];

#[derive(Default)]
struct Options<'a> {
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    offset: i64,
    /// Negative for all.
    count: i64,
    alpha: bool,
    descending: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// `reads_any` asks whether the client may read whatever keys patterns lead to.
    fn parse(
        args: Args<'a>,
        may_store: bool,
        reads_any: impl Fn() -> bool,
    ) -> Result<Options<'a>, Error> {
        let mut options = Options { count: -1, ..Options::default() };
        let mut at = 2;
        while at < args.len() {
            let behind = args.len() - at - 1;
            at += 1;
            match args.get(at - 1).to_ascii_lowercase().as_slice() {
                b"asc" => options.descending = false,
                b"desc" => options.descending = true,
                b"alpha" => options.alpha = true,
                b"limit" if behind >= 2 => {
                    options.offset = parse_i64(args.get(at)).ok_or(Error::NOT_AN_INTEGER)?;
                    options.count = parse_i64(args.get(at + 1)).ok_or(Error::NOT_AN_INTEGER)?;
                    at += 2;
                }
                b"store" if behind >= 1 && may_store => {
                    options.store = Some(args.get(at));
                    at += 1;
                }
                b"by" if behind >= 1 => {
                    options.by = Some(args.get(at));
                    if !options.keeps_order() && !reads_any() {
                        return Err(denied("BY"));
                    }
                    at += 1;
                }
                b"get" if behind >= 1 => {
                    if !reads_any() {
                        return Err(denied("GET"));
                    }
                    options.get.push(args.get(at));
                    at += 1;
                }
                _ => return Err(Error::SYNTAX),
            }
        }
        Ok(options)
    }

    /// The elements are not to be sorted: a pattern that is the same for all of them says so.
    fn keeps_order(&self) -> bool {
        self.by.is_some_and(|by| !by.contains(&b'*'))
    }

    /// The places, among so many in their final order, of those that LIMIT asks for.
    fn window(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}

fn denied(option: &str) -> Error {
    Error::Text(format!("ERR {option} option of SORT denied due to insufficient ACL permissions."))
}

/// An element, and what it is sorted by.
struct Item {
    element: Box<[u8]>,
    weight: Weight,
}

enum Weight {
    /// The element itself, or it is not sorted at all.
    Element,
    Number(f64),
    /// What the pattern led to.
    Text(Option<Box<[u8]>>),
}

fn sort(ctx: &mut Ctx, may_store: bool) -> Result<(), Error> {
    let client = &ctx.server.clients[ctx.client_key];
    let reads_any = || login::may_read_any_key(client, ctx.entry, ctx.args);
    let mut options = Options::parse(ctx.args, may_store, reads_any)?;
    let mut keeps_order = options.keeps_order();
    let kind = ctx.keys.read(ctx.args.get(1)).map(|view| view.value().kind());
    if kind == Some(Type::Set) && keeps_order && options.store.is_some() {
        // A set has no order of its own that another server would repeat.
        options.by = None;
        (options.alpha, keeps_order) = (true, false);
    }
    let key = ctx.arg(1);
    let results = if keeps_order {
        elements(ctx.keys, key, options.descending, |len| options.window(len))?
    } else {
        sorted(ctx, &options, key)?
    };
    match options.store {
        Some(destination) => store_results(ctx, &options, results, destination),
        None => write_results(ctx, &options, results),
    }
    Ok(())
}

/// The elements that are wanted, in the order that is asked for.
fn sorted(ctx: &mut Ctx, options: &Options, key: &[u8]) -> Result<Vec<Box<[u8]>>, Error> {
    let elements = elements(ctx.keys, key, false, |len| 0..len)?;
    let Range { start, end } = options.window(elements.len());
    let mut items = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = weigh(ctx, options, &element)?;
        items.push(Item { element, weight });
    }
    let by_weight = options.by.is_some();
    items.sort_by(|a, b| {
        let order = compare(a, b, by_weight);
        if options.descending { order.reverse() } else { order }
    });
    Ok(items.into_iter().skip(start).take(end - start).map(|item| item.element).collect())
}

/// The elements that `window` chooses when told how many there are, in their own order or from the
/// end; only these are read where that is possible.
fn elements(
    keys: &mut Keyspace,
    key: &[u8],
    reverse: bool,
    window: impl FnOnce(usize) -> Range<usize>,
) -> Result<Vec<Box<[u8]>>, Error> {
    let mut elements = Vec::new();
    let Some(view) = keys.peek(key) else { return Ok(elements) };
    let value = view.value();
    if let Some(list) = List::of(value) {
        let Range { start, end } = window(list.len());
        if start == end {
            return Ok(elements);
        }
        let (first, towards) = match reverse {
            false => (start, End::Back),
            true => (list.len() - 1 - start, End::Front),
        };
        list.visit(first, towards, |element| {
            elements.push(element.into());
            if elements.len() < end - start {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    } else if let Some(set) = Set::of(value) {
        // Which has no order that could be reversed.
        let Range { start, end } = window(set.len());
        let members = set.iter().skip(start).take(end - start);
        members.for_each(|member| member.with_text(|text| elements.push(text.into())));
    } else if let Some(zset) = Zset::of(value) {
        let Range { start, end } = window(zset.len());
        if reverse {
            let members = zset.range(zset.len() - end..zset.len() - start).rev();
            elements.extend(members.map(|(member, _)| Box::from(member)));
        } else {
            elements.extend(zset.range(start..end).map(|(member, _)| Box::from(member)));
        }
    } else {
        return Err(Error::WRONG_TYPE);
    }
    Ok(elements)
}

fn weigh(ctx: &mut Ctx, options: &Options, element: &[u8]) -> Result<Weight, Error> {
    let found;
    let text = match options.by {
        Some(pattern) => {
            found = look_up(ctx.keys, pattern, element);
            if options.alpha {
                return Ok(Weight::Text(found));
            }
            found.as_deref()
        }
        None if options.alpha => return Ok(Weight::Element),
        None => Some(element),
    };
    let not_a_number = Error::Static("ERR One or more scores can't be converted into double");
    match text {
        Some(text) => number(text).map(Weight::Number).ok_or(not_a_number),
        None => Ok(Weight::Number(0.0)),
    }
}

/// A text as C's `strtod` reads it: blanks in front are skipped, a NUL ends it, nothing is 0.
fn number(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let blanks = text.iter().take_while(|byte| is_blank(byte)).count();
    parse_f64(&text[blanks..])
}

fn compare(a: &Item, b: &Item, by_weight: bool) -> Ordering {
    match (&a.weight, &b.weight) {
        (Weight::Number(x), Weight::Number(y)) => {
            x.partial_cmp(y).unwrap_or(Ordering::Equal).then_with(|| a.element.cmp(&b.element))
        }
        // What is not there comes first.
        (Weight::Text(x), Weight::Text(y)) if by_weight => x.cmp(y),
        _ => a.element.cmp(&b.element),
    }
}

/// What a pattern leads to for an element: `#` to itself; any other to a string, or behind `->` to
/// a field of a hash, under the name with the element in the place of the `*`.
fn look_up(keys: &mut Keyspace, pattern: &[u8], element: &[u8]) -> Option<Box<[u8]>> {
    if pattern == b"#" {
        return Some(element.into());
    }
    let star = memchr::memchr(b'*', pattern)?;
    let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = memchr::memmem::find(behind, b"->").filter(|at| at + 2 < behind.len());
    let (behind, field) = match arrow {
        Some(at) => (&behind[..at], Some(&behind[at + 2..])),
        None => (behind, None),
    };
    let now = keys.fields_now();
    let view = keys.read(&[before, element, behind].concat())?;
    match field {
        Some(field) => Hash::of(view.value())?.at(now).get(field).map(Box::from),
        None => Str::of(view.value()).map(|string| string.with(|text| text.into())),
    }
}

/// What is returned for an element: itself, or what each GET leads to.
fn for_each_result(
    ctx: &mut Ctx,
    options: &Options,
    elements: Vec<Box<[u8]>>,
    mut visit: impl FnMut(&mut Ctx, Option<&[u8]>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for element in elements {
        if options.get.is_empty() {
            visit(ctx, Some(&element))?;
        }
        for pattern in &options.get {
            let found = look_up(ctx.keys, pattern, &element);
            visit(ctx, found.as_deref())?;
        }
    }
    ControlFlow::Continue(())
}

fn write_results(ctx: &mut Ctx, options: &Options, elements: Vec<Box<[u8]>>) {
    ctx.out.array(elements.len() * options.get.len().max(1));
    let most = ctx.most_output();
    _ = for_each_result(ctx, options, elements, |ctx, result| {
        match result {
            Some(result) => ctx.out.bulk(result),
            None => ctx.out.null(),
        }
        ctx.out.within(most)
    });
    ctx.check_output(most);
}

fn store_results(ctx: &mut Ctx, options: &Options, elements: Vec<Box<[u8]>>, destination: &[u8]) {
    let limits = super::list::limits(ctx);
    let mut results = list::empty();
    let mut len = 0;
    _ = for_each_result(ctx, options, elements, |_, result| {
        let result = result.unwrap_or_default();
        list::push(&mut results, End::Back, std::iter::once(result), &limits);
        len += 1;
        ControlFlow::Continue(())
    });
    store(ctx, destination, results, len, class::LIST, "sortstore");
}

#[cfg(test)]
mod tests {
    use super::super::testing::Run;
    use std::time::{Duration, Instant};

    fn time(run: &mut Run, line: &str, times: u32) -> Duration {
        let began = Instant::now();
        (0..times).for_each(|_| _ = run.run(line));
        began.elapsed()
    }

    #[test]
    fn only_what_is_asked_for_is_read_of_what_keeps_its_order() {
        let mut run = Run::new();
        for from in (0..50_000).step_by(1000) {
            let numbers: Vec<String> = (from..from + 1000).map(|n| n.to_string()).collect();
            run.run(&format!("RPUSH l {}", numbers.join(" ")));
            let scored: Vec<String> = numbers.iter().map(|n| format!("{n} {n}")).collect();
            run.run(&format!("ZADD z {}", scored.join(" ")));
        }
        for key in ["l", "z"] {
            run.check(&[
                (&format!("SORT {key} BY no LIMIT 49998 9"), "*2 $5 49998 $5 49999"),
                (&format!("SORT {key} BY no DESC LIMIT 49998 9"), "*2 $1 1 $1 0"),
                (&format!("SORT {key} BY no LIMIT 50000 9"), "*0"),
                (&format!("SORT {key} BY no LIMIT 7 0"), "*0"),
            ]);
            let whole = time(&mut run, &format!("SORT {key} BY no"), 1);
            for order in ["ASC", "DESC"] {
                let few = time(&mut run, &format!("SORT {key} BY no {order} LIMIT 9 1"), 20);
                assert!(few < whole, "{key} {order}: {few:?}, all {whole:?}");
            }
        }
    }
}
