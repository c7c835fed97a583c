//! Which of a command's arguments are keys, by the specifications in its row. Pure: knows neither
//! clients nor data, only rows and arguments.
//!
//! The search follows Redis 7.2 (`getKeysUsingKeySpecs` in `db.c`), including what it takes for an
//! error: a specification that points outside of the arguments makes the whole command invalid.

use super::command::{Begin, Command, Find, Keys, flag};
use crate::base::number::parse_i64;
use crate::resp::Args;

/// An argument that is a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Which argument; the command's name is number 0.
    pub index: usize,
    /// What is done with it, in the words of [`Keys::flags`].
    pub flags: &'static [&'static str],
}

/// The arguments are not of a form that this command accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// What commands that replace a key, whatever it held, say of it.
const OVERWRITE: &[&str] = &["OW", "update"];
const READ: &[&str] = &["RO", "access"];
const CHANGE: &[&str] = &["RW", "access", "update"];
const TAKE: &[&str] = &["RW", "access", "delete"];

impl Keys {
    fn is_any_of(&self, flags: &[&str]) -> bool {
        self.flags.iter().any(|flag| flags.contains(flag))
    }

    /// What these arguments are is no key, but a name that is placed like one: a shard channel.
    pub fn is_not_key(&self) -> bool {
        self.is_any_of(&["not_key"])
    }

    fn is_incomplete(&self) -> bool {
        self.is_any_of(&["incomplete"])
    }
}

/// Whether the command can have keys at all.
pub fn has_keys(command: &Command) -> bool {
    command.find_keys.is_some() || command.keys.iter().any(|keys| !keys.is_not_key())
}

/// The keys among `args`, in the order of the specifications.
pub fn find(command: &Command, args: Args<'_>) -> Result<Vec<Key>, Invalid> {
    let variable = command.keys.iter().any(|keys| keys.is_any_of(&["variable_flags"]));
    let by_row = if variable { Err(Invalid) } else { by_specifications(command, args) };
    match (by_row, command.find_keys) {
        (Err(Invalid), Some(find_keys)) => Ok(find_keys(args)),
        (found, _) => found,
    }
}

/// The keys among `args` for which a user needs permission: also where some specification does not
/// fit the arguments, those that the others find. Redis has none of them then, and so lets
/// everybody PFMERGE into any one key.
pub fn find_guarded(command: &Command, args: Args<'_>) -> Vec<Key> {
    find(command, args).unwrap_or_else(|Invalid| {
        let mut found = Vec::new();
        for keys in command.keys.iter().filter(|keys| !keys.is_not_key()) {
            // That it does not fit is no reason to overlook the others.
            let _ = by_specification(keys, args, &mut found);
        }
        found
    })
}

fn by_specifications(command: &Command, args: Args<'_>) -> Result<Vec<Key>, Invalid> {
    let mut found = Vec::new();
    for keys in command.keys.iter().filter(|keys| !keys.is_not_key()) {
        by_specification(keys, args, &mut found)?;
        if keys.is_incomplete() {
            return Err(Invalid);
        }
    }
    Ok(found)
}

fn by_specification(keys: &Keys, args: Args<'_>, found: &mut Vec<Key>) -> Result<(), Invalid> {
    let Some(first) = first_key(keys.begin, args)? else { return Ok(()) };
    let (first, last, step) = range(keys.find, first, args)?;
    if first > last || last >= args.len() {
        return Err(Invalid);
    }
    let indexes = (first..=last).step_by(step.max(1));
    found.extend(indexes.map(|index| Key { index, flags: keys.flags }));
    Ok(())
}

/// The argument a specification begins at; none if its word is not there.
fn first_key(begin: Begin, args: Args<'_>) -> Result<Option<usize>, Invalid> {
    match begin {
        Begin::Unknown => Err(Invalid),
        Begin::Index(index) => Ok(Some(index)),
        Begin::Keyword { word, from } => {
            let is_word = |&index: &usize| args.get(index).eq_ignore_ascii_case(word.as_bytes());
            let at = if from > 0 {
                // A word that is the last argument has no key behind it.
                (from as usize..args.len().saturating_sub(1)).find(is_word)
            } else {
                let start = args.len().saturating_sub(from.unsigned_abs() as usize);
                // The search backwards never takes the first argument for the word.
                (2..=start.min(args.len().saturating_sub(1))).rev().find(is_word)
            };
            Ok(at.map(|index| index + 1))
        }
    }
}

/// First, last and step of the keys that begin at `first`.
fn range(find: Find, first: usize, args: Args<'_>) -> Result<(usize, usize, usize), Invalid> {
    match find {
        Find::Unknown => Err(Invalid),
        Find::Range { last, step, limit } => {
            let from_end = last.unsigned_abs() as usize;
            let part = || args.len().saturating_sub(first).checked_div(limit);
            let last = if last >= 0 {
                Some(first + from_end)
            } else {
                // Without a limit all that follows is one part.
                part().map_or(args.len(), |part| first + part).checked_sub(from_end)
            };
            Ok((first, last.ok_or(Invalid)?, step))
        }
        Find::Count { at, first: offset, step } => {
            let at = first + at;
            let text = if at < args.len() { args.get(at) } else { return Err(Invalid) };
            let count = parse_i64(text).and_then(|n| usize::try_from(n).ok()).ok_or(Invalid)?;
            let first = first + offset;
            let keys = count.checked_mul(step.max(1)).and_then(|n| n.checked_add(first));
            let end = keys.ok_or(Invalid)?;
            // No keys at all: an empty range, which the caller does not take.
            Ok((first, end.checked_sub(step.max(1)).ok_or(Invalid)?, step))
        }
    }
}

/// First and last key and step as COMMAND knew them before there were specifications: those of
/// the plain ranges, as far as they follow each other. The last counts from the end if negative;
/// all are 0 if there is no such range.
pub fn legacy_range(command: &Command) -> (usize, i32, usize) {
    if let [Keys { begin: Begin::Index(first), find: Find::Range { last, step, .. }, .. }] =
        command.keys
    {
        return (*first, absolute(*first, *last), *step);
    }
    let mut whole: Option<(usize, i32)> = None;
    for (first, last) in plain_ranges(command).into_iter().flatten() {
        whole = match whole {
            None => Some((first, last)),
            // A last key counted from the end is behind any other.
            Some((begin, end)) if end >= 0 && (last < 0 || last > end) => Some((begin, last)),
            same => same,
        };
    }
    whole.map_or((0, 0, 0), |(first, last)| (first, last, 1))
}

/// Whether [`legacy_range`] does not tell all keys: COMMAND's flag `movablekeys`.
pub fn are_movable(command: &Command) -> bool {
    if command.has(flag::MOVABLEKEYS) || command.keys.iter().any(Keys::is_incomplete) {
        return true;
    }
    match command.keys {
        [] | [Keys { begin: Begin::Index(_), find: Find::Range { .. }, .. }] => false,
        _ => plain_ranges(command).contains(&None),
    }
}

/// For each specification its first and last key, if it is a range without gaps that continues
/// the one before.
fn plain_ranges(command: &Command) -> Vec<Option<(usize, i32)>> {
    let mut before = 0;
    let plain = |keys: &Keys| match (keys.begin, keys.find) {
        (Begin::Index(first), Find::Range { last, step: 1, .. })
            if before == 0 || before == first as i32 - 1 =>
        {
            before = absolute(first, last);
            Some((first, before))
        }
        _ => None,
    };
    command.keys.iter().map(plain).collect()
}

fn absolute(first: usize, last: i32) -> i32 {
    if last < 0 { last } else { first as i32 + last }
}

/// Keys of SET: what is done with the key depends on the options that tell what it holds.
pub fn of_set(args: Args<'_>) -> Vec<Key> {
    const TELLING: [&[u8]; 5] = [b"get", b"ifeq", b"ifne", b"ifdeq", b"ifdne"];
    let is_telling = |arg: &[u8]| TELLING.iter().any(|word| arg.eq_ignore_ascii_case(word));
    let tells = args.from(3).iter().any(is_telling);
    vec![Key { index: 1, flags: if tells { CHANGE } else { OVERWRITE } }]
}

/// Keys of DELEX: with a condition it tells what the key holds.
pub fn of_delex(args: Args<'_>) -> Vec<Key> {
    vec![Key { index: 1, flags: if args.len() > 2 { TAKE } else { &["RM", "delete"] } }]
}

/// Keys of BITFIELD: read only if it has no operation but GET.
pub fn of_bitfield(args: Args<'_>) -> Vec<Key> {
    let mut flags = READ;
    let mut index = 2;
    while index < args.len() {
        let word = args.get(index).to_ascii_lowercase();
        let rest = args.len() - index - 1;
        index += match word.as_slice() {
            b"get" if rest >= 2 => 3,
            b"overflow" if rest >= 1 => 2,
            _ => {
                flags = CHANGE;
                break;
            }
        };
    }
    vec![Key { index: 1, flags }]
}

/// Keys of SORT: the last STORE counts, and words may be values of other options.
pub fn of_sort(args: Args<'_>) -> Vec<Key> {
    let mut keys = vec![Key { index: 1, flags: READ }];
    let mut index = 2;
    while index < args.len() {
        let word = args.get(index).to_ascii_lowercase();
        index += match word.as_slice() {
            b"limit" => 3,
            b"get" | b"by" => 2,
            b"store" if index + 1 < args.len() => {
                keys.truncate(1);
                keys.push(Key { index: index + 1, flags: OVERWRITE });
                1
            }
            _ => 1,
        };
    }
    keys
}

/// Keys of SORT_RO: those it looks up by patterns are not known beforehand.
pub fn of_sort_ro(_args: Args<'_>) -> Vec<Key> {
    vec![Key { index: 1, flags: READ }]
}

/// Keys of MIGRATE: one in its usual place, or several behind KEYS if that one is empty.
pub fn of_migrate(args: Args<'_>) -> Vec<Key> {
    let mut index = 6;
    while index < args.len() {
        let word = args.get(index).to_ascii_lowercase();
        index += match word.as_slice() {
            b"keys" if args.get(3).is_empty() => {
                return (index + 1..args.len()).map(|index| Key { index, flags: TAKE }).collect();
            }
            b"keys" => return Vec::new(),
            b"auth" => 2,
            b"auth2" => 3,
            _ => 1,
        };
    }
    vec![Key { index: 3, flags: TAKE }]
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
