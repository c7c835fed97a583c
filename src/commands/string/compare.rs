//! Commands that look at a string before they change it, as a whole or by its digest: the options
//! of SET that Valkey 8.1 and Redis 8.4 brought, and DELEX, DELIFEQ and DIGEST.

use super::BASE;
use crate::server::command::{Command, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::keys;
use crate::store::View;
use crate::store::event::class;
use crate::types::string::Str;
use twox_hash::XxHash3_64;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "delex",
        summary: "Deletes a key, if the string it holds is or is not as expected",
        since: "8.4.0",
        complexity: "O(1) for values, O(N) for digests where N is the length of the string",
        arity: -2,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "delete", "variable_flags"])],
        find_keys: Some(keys::of_delex),
        args: "key condition:[IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest \
               | IFDNE ifdne-digest]",
        handler: delex,
        ..BASE
    },
    Command {
        name: "delifeq",
        summary: "Deletes a key if it holds this string",
        // Of Valkey, whose numbers go on from those of Redis 7.2.
        since: "9.0.0",
        arity: 3,
        flags: WRITE | FAST,
        keys: &[Keys::at(1, &["RW", "access", "delete"])],
        args: "key value",
        handler: delifeq,
        ..BASE
    },
    Command {
        name: "digest",
        summary: "Returns the digest of the string a key holds, in hexadecimal digits",
        since: "8.4.0",
        complexity: "O(N) where N is the length of the string",
        arity: 2,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key",
        handler: digest_of_key,
        ..BASE
    },
];

/// What a string must be for a command to change it.
#[derive(Clone, Copy, Debug)]
pub enum Comparison<'a> {
    Equal(&'a [u8]),
    Different(&'a [u8]),
    EqualDigest(u64),
    DifferentDigest(u64),
}

/// The digest that the documentation of DIGEST names: XXH3 with 64 bits.
fn digest(string: Str<'_>) -> u64 {
    string.with(XxHash3_64::oneshot)
}

/// A digest of exactly 16 digits.
fn parse_digest(text: &[u8]) -> Result<u64, Error> {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit()));
    digits
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or(Error::Static("ERR The digest must be exactly 16 hexadecimal characters"))
}

impl<'a> Comparison<'a> {
    /// The option at an argument, if it is one of these and another argument follows.
    pub fn at(ctx: &Ctx<'a>, index: usize) -> Result<Option<Comparison<'a>>, Error> {
        if index + 1 >= ctx.args.len() {
            return Ok(None);
        }
        let value = ctx.arg(index + 1);
        Ok(Some(match () {
            () if ctx.is_word(index, "ifeq") => Comparison::Equal(value),
            () if ctx.is_word(index, "ifne") => Comparison::Different(value),
            () if ctx.is_word(index, "ifdeq") => Comparison::EqualDigest(parse_digest(value)?),
            () if ctx.is_word(index, "ifdne") => Comparison::DifferentDigest(parse_digest(value)?),
            () => return Ok(None),
        }))
    }

    /// Whether it holds of what a key has, which must be a string; `none` if there is no key.
    pub fn holds(&self, view: Option<View<'_>>) -> Result<bool, Error> {
        let Some(view) = view else {
            // What does not exist is different from all that does.
            return Ok(matches!(self, Comparison::Different(_) | Comparison::DifferentDigest(_)));
        };
        let string = Str::of(view.value()).ok_or(Error::WRONG_TYPE)?;
        Ok(match *self {
            Comparison::Equal(value) => string.with(|bytes| bytes == value),
            Comparison::Different(value) => string.with(|bytes| bytes != value),
            Comparison::EqualDigest(value) => digest(string) == value,
            Comparison::DifferentDigest(value) => digest(string) != value,
        })
    }
}

fn delex(ctx: &mut Ctx) -> Result<(), Error> {
    let comparison = match ctx.args.len() {
        2 => None,
        4 => Some(
            Comparison::at(ctx, 2)?
                .ok_or(Error::Static("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"))?,
        ),
        _ => return Err(Error::arity(&ctx.entry.full_name)),
    };
    delete_if(ctx, comparison)
}

fn delifeq(ctx: &mut Ctx) -> Result<(), Error> {
    let comparison = Comparison::Equal(ctx.arg(2));
    delete_if(ctx, Some(comparison))
}

fn delete_if(ctx: &mut Ctx, comparison: Option<Comparison<'_>>) -> Result<(), Error> {
    let key = ctx.arg(1);
    let view = ctx.keys.read(key);
    let deletes = match comparison {
        Some(comparison) if view.is_some() => comparison.holds(view)?,
        _ => view.is_some(),
    };
    if deletes {
        ctx.keys.remove(key);
        ctx.keys.notify(class::GENERIC, "del", key);
        // Whoever repeats it need not compare, nor know these commands.
        ctx.propagate([&b"DEL"[..], key]);
    }
    ctx.out.int(deletes.into());
    Ok(())
}

fn digest_of_key(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.keys.read(ctx.args.get(1)) {
        Some(view) => {
            let digest = digest(Str::of(view.value()).ok_or(Error::WRONG_TYPE)?);
            ctx.out.bulk(format!("{digest:016x}").as_bytes());
        }
        None => ctx.out.null(),
    }
    Ok(())
}
