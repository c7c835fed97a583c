//! MEMORY: what keys cost.

use crate::base::number::parse_i64;
use crate::server::command::{Begin, Command, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::View;
use crate::types::{Value, allocated};

pub const COMMANDS: &[Command] = &[Command {
    name: "memory",
    summary: "A container for commands about memory",
    since: "4.0.0",
    group: Group::Server,
    complexity: "Depends on the subcommand",
    arity: -2,
    subcommands: &[
        Command {
            name: "help",
            summary: "Explains the subcommands",
            since: "4.0.0",
            group: Group::Server,
            arity: 2,
            flags: LOADING | STALE,
            handler: help,
            ..Command::BASE
        },
        Command {
            name: "usage",
            summary: "Estimates the bytes of memory a key and its value take",
            since: "4.0.0",
            group: Group::Server,
            complexity: "O(N) with N the samples",
            arity: -3,
            flags: READONLY,
            keys: &[READ_KEY_OF_SUBCOMMAND],
            args: "key [SAMPLES count]",
            handler: usage,
            ..Command::BASE
        },
    ],
    ..Command::BASE
}];

const READ_KEY_OF_SUBCOMMAND: Keys = Keys { flags: &["RO"], begin: Begin::Index(2), ..READ_KEY };

/// Elements looked at unless SAMPLES says otherwise.
const SAMPLES: usize = 5;
/// A key's share of its database's table: a word, and what is free beside it.
const SHARE_OF_TABLE: usize = 10;

fn usage(ctx: &mut Ctx) -> Result<(), Error> {
    let mut samples = SAMPLES;
    let mut at = 3;
    while at < ctx.args.len() {
        if !ctx.is_word(at, "samples") || at + 1 == ctx.args.len() {
            return Err(Error::SYNTAX);
        }
        let count = parse_i64(ctx.arg(at + 1)).ok_or(Error::NOT_AN_INTEGER)?;
        samples = usize::try_from(count).map_err(|_| Error::SYNTAX)?;
        at += 2;
    }
    match ctx.keys.peek(ctx.args.get(2)) {
        Some(view) => ctx.out.int(bytes_of(&view, samples) as i64),
        None => ctx.out.null(),
    }
    Ok(())
}

fn bytes_of(view: &View<'_>, samples: usize) -> usize {
    let object = match view.value() {
        Value::Inline(..) => 0,
        Value::Object(object) => object.memory(samples),
    };
    allocated(view.size()) + SHARE_OF_TABLE + object
}

fn help(ctx: &mut Ctx) -> Result<(), Error> {
    let lines = [
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "USAGE <key> [SAMPLES <count>]",
        "    Estimate the bytes of memory that <key> takes. Of a large value, <count> elements",
        "    are looked at (5 by default, all with 0).",
        "HELP",
        "    Print this help.",
    ];
    ctx.out.array(lines.len());
    lines.iter().for_each(|line| ctx.out.simple(line));
    Ok(())
}
