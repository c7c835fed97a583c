//! Commands on HyperLogLogs, which are strings of a form of their own (`types::hll`).

use crate::server::command::{Begin, Command, Find, Group, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::db::{Edit, Entry};
use crate::store::event::class;
use crate::store::{NewValue, View};
use crate::types::hll::{self, Corrupt, Encoding, Hll, REGISTERS};
use crate::types::string::{self, Str};
use crate::types::{Inline, Loose, Slot, Value};

#[cfg(test)]
mod tests;

const NOT_ONE: Error = Error::Static("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupt> for Error {
    fn from(_: Corrupt) -> Error {
        Error::Static("INVALIDOBJ Corrupted HLL object detected")
    }
}

const BASE: Command = Command {
    since: "2.8.9",
    group: Group::Hyperloglog,
    categories: &["hyperloglog"],
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        summary: "Adds elements to a HyperLogLog, or creates it",
        complexity: "O(1) for each element",
        arity: -2,
        flags: WRITE | DENYOOM | FAST,
        keys: &[Keys::at(1, &["RW", "insert"])],
        args: "key [element ...]",
        handler: pfadd,
        ..BASE
    },
    Command {
        name: "pfcount",
        summary: "Estimates how many different elements were added to HyperLogLogs",
        complexity: "O(1) for one key, as the estimate is kept; O(N) for N keys, and slower each",
        arity: -2,
        flags: READONLY | MAY_REPLICATE,
        keys: &[Keys::every(1, &["RW", "access"])],
        args: "key...",
        handler: pfcount,
        ..BASE
    },
    Command {
        name: "pfdebug",
        summary: "Shows or changes how a HyperLogLog is kept",
        complexity: "N/A",
        arity: 3,
        flags: WRITE | DENYOOM | ADMIN,
        keys: &[Keys::at(2, &["RW", "access"])],
        args: "subcommand key",
        handler: pfdebug,
        ..BASE
    },
    Command {
        name: "pfmerge",
        summary: "Merges HyperLogLogs into one",
        complexity: "O(N) where N is the number of HyperLogLogs",
        arity: -2,
        flags: WRITE | DENYOOM,
        keys: &[
            Keys::at(1, &["RW", "access", "insert"]),
            Keys {
                flags: &["RO", "access"],
                begin: Begin::Index(2),
                find: Find::Range { last: -1, step: 1, limit: 0 },
            },
        ],
        args: "destkey [sourcekey ...]",
        handler: pfmerge,
        ..BASE
    },
    Command {
        name: "pfselftest",
        summary: "Tests the server's HyperLogLogs",
        complexity: "N/A",
        arity: 1,
        flags: ADMIN,
        handler: pfselftest,
        ..BASE
    },
];

/// The HyperLogLog in a value.
fn hll_of(value: Value<'_>) -> Result<Hll<'_>, Error> {
    match Str::of(value).ok_or(Error::WRONG_TYPE)? {
        Str::Bytes(bytes) => Hll::of(bytes).ok_or(NOT_ONE),
        Str::Int(_) => Err(NOT_ONE),
    }
}

/// The HyperLogLog at a key, read on behalf of a client.
fn read<'a>(view: Option<View<'a>>) -> Result<Option<Hll<'a>>, Error> {
    view.map(|view| hll_of(view.value())).transpose()
}

/// The HyperLogLog at a key, for change, and whether it is new.
fn upsert<'a>(ctx: &'a mut Ctx) -> Result<(Edit<'a>, bool), Error> {
    let (edit, is_new) = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Occupied(edit) => (edit, false),
        Entry::Vacant(vacant) => (vacant.insert(NewValue::Raw(&hll::empty()), None), true),
    };
    hll_of(edit.value())?;
    Ok((edit, is_new))
}

fn pfadd(ctx: &mut Ctx) -> Result<(), Error> {
    let sparse_max = ctx.server.config.hll_sparse_max_bytes;
    let elements = ctx.args.from(2);
    let (mut edit, mut updated) = upsert(ctx)?;
    if updated {
        hll::mark_stale(string::bytes_mut(&mut edit));
    }
    for element in elements.iter() {
        updated |= hll::raise(&mut edit, hll::place_of(element), sparse_max)?;
    }
    if updated {
        edit.notify(class::STRING, "pfadd");
    }
    drop(edit);
    ctx.out.int(updated.into());
    Ok(())
}

fn pfcount(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.args.len() > 2 {
        let (registers, _) = merged(ctx, 1)?;
        ctx.out.int(hll::estimate(&hll::histogram_of(&registers)) as i64);
        return Ok(());
    }
    let key = ctx.arg(1);
    let Some(hll) = read(ctx.keys.read(key))? else {
        ctx.out.int(0);
        return Ok(());
    };
    if let Some(card) = hll.cached() {
        ctx.out.int(card as i64);
        return Ok(());
    }
    let card = hll::estimate(&hll.histogram()?);
    // The estimate is kept in the value: a change, which files and replicas see.
    if let Some(mut edit) = ctx.keys.edit(key) {
        hll::set_cached(string::bytes_mut(&mut edit), card);
    }
    ctx.out.int(card as i64);
    Ok(())
}

/// The greatest value of each register in the HyperLogLogs at the keys from an argument on, and
/// whether any of them is dense.
fn merged(ctx: &mut Ctx, from: usize) -> Result<([u8; REGISTERS], bool), Error> {
    let mut registers = [0; REGISTERS];
    let mut any_dense = false;
    for key in ctx.args.from(from).iter() {
        if let Some(hll) = read(ctx.keys.read(key))? {
            any_dense |= hll.encoding() == Encoding::Dense;
            hll.merge_into(&mut registers)?;
        }
    }
    Ok((registers, any_dense))
}

fn pfmerge(ctx: &mut Ctx) -> Result<(), Error> {
    let sparse_max = ctx.server.config.hll_sparse_max_bytes;
    // The destination is one of the sources.
    let (registers, any_dense) = merged(ctx, 1)?;
    let (mut edit, _) = upsert(ctx)?;
    if any_dense {
        hll::make_dense(&mut edit)?;
    }
    hll::raise_all(&mut edit, &registers, sparse_max)?;
    hll::mark_stale(string::bytes_mut(&mut edit));
    // For whoever listens it is as if the elements had been added.
    edit.notify(class::STRING, "pfadd");
    drop(edit);
    ctx.out.ok();
    Ok(())
}

fn pfdebug(ctx: &mut Ctx) -> Result<(), Error> {
    let key = ctx.arg(2);
    let Some(mut edit) = ctx.keys.edit(key) else {
        return Err(Error::Static("ERR The specified key does not exist"));
    };
    let hll = hll_of(edit.value())?;
    match ctx.args.get(1).to_ascii_lowercase().as_slice() {
        b"getreg" => {
            hll::make_dense(&mut edit)?;
            let mut registers = [0; REGISTERS];
            hll_of(edit.value())?.merge_into(&mut registers)?;
            drop(edit);
            ctx.out.array(REGISTERS);
            registers.iter().for_each(|value| ctx.out.int((*value).into()));
        }
        b"decode" => {
            if hll.encoding() == Encoding::Dense {
                return Err(Error::Static("ERR HLL encoding is not sparse"));
            }
            let words: Vec<String> = hll
                .runs()?
                .map(|run| match (run.value, run.is_long) {
                    (0, true) => format!("Z:{}", run.len),
                    (0, false) => format!("z:{}", run.len),
                    (value, _) => format!("v:{value},{}", run.len),
                })
                .collect();
            ctx.out.bulk(words.join(" ").as_bytes());
        }
        b"encoding" => ctx.out.simple(match hll.encoding() {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        }),
        b"todense" => {
            let changed = hll::make_dense(&mut edit)?;
            drop(edit);
            ctx.out.int(changed.into());
        }
        _ => {
            let text = [b"ERR Unknown PFDEBUG subcommand '", ctx.args.get(1), b"'"].concat();
            return Err(Error::Bytes(text));
        }
    }
    Ok(())
}

/// How many elements PFSELFTEST adds: as many as the loop can afford.
const TEST_ELEMENTS: u64 = 1_000_000;

/// Adds elements to a dense and to a sparse HyperLogLog, and compares both with each other and
/// with the truth.
fn pfselftest(ctx: &mut Ctx) -> Result<(), Error> {
    let failed = |text: String| Err(Error::Text(format!("TESTFAILED {text}")));
    let sparse_max = ctx.server.config.hll_sparse_max_bytes;
    let empty = || Loose::Inline(Inline::Str, hll::empty().to_vec());
    let (mut dense, mut sparse) = (empty(), empty());
    hll::make_dense(&mut dense)?;
    let seed = ctx.server.rng.next_u64();
    let mut checkpoint = 1;
    for count in 1..=TEST_ELEMENTS {
        let place = hll::place_of(&(count ^ seed).to_le_bytes());
        hll::raise(&mut dense, place, sparse_max)?;
        hll::raise(&mut sparse, place, sparse_max)?;
        if count != checkpoint {
            continue;
        }
        let (dense, sparse) = (hll_of(dense.value())?, hll_of(sparse.value())?);
        if count < sparse_max as u64 / 2 && sparse.encoding() != Encoding::Sparse {
            return failed("sparse encoding not used".to_string());
        }
        let estimate = hll::estimate(&dense.histogram()?);
        if estimate != hll::estimate(&sparse.histogram()?) {
            return failed("dense/sparse disagree".to_string());
        }
        // Six times the standard error; with ten elements two may well share a register.
        let allowed = match count {
            10 => 1,
            _ => (1.04 / (REGISTERS as f64).sqrt() * 6.0 * count as f64).ceil() as u64,
        };
        let error = estimate.abs_diff(count);
        if error > allowed {
            return failed(format!("Too big error. card:{count} abserr:{error}"));
        }
        checkpoint *= 10;
    }
    ctx.out.ok();
    Ok(())
}
