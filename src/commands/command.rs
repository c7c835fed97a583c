//! COMMAND: what the server can say about its own commands. What it says comes from the rows, by
//! way of `server::introspect`.

use crate::base::glob;
use crate::server::command::{Command, Entry, Group, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::gate;
use crate::server::introspect::{self, categories, help};
use crate::server::keys;

const ROW: Command = Command {
    group: Group::Server,
    since: "2.8.13",
    categories: &["connection"],
    flags: LOADING | STALE,
    arity: -2,
    ..Command::BASE
};

const UNORDERED: &[&str] = &["nondeterministic_output_order"];

pub const COMMANDS: &[Command] = &[Command {
    name: "command",
    summary: "Describes all commands",
    complexity: "O(N) for N commands",
    arity: -1,
    tips: UNORDERED,
    handler: command,
    subcommands: &[
        Command {
            name: "count",
            summary: "Returns how many commands there are",
            arity: 2,
            handler: count,
            ..ROW
        },
        Command {
            name: "docs",
            summary: "Returns what people want to know about commands",
            since: "7.0.0",
            complexity: "O(N) for N commands",
            args: "[command-name ...]",
            tips: UNORDERED,
            handler: docs,
            ..ROW
        },
        Command {
            name: "getkeys",
            summary: "Returns the keys of a command line",
            complexity: "O(N) for N arguments",
            arity: -3,
            args: "command [arg ...]",
            handler: getkeys,
            ..ROW
        },
        Command {
            name: "getkeysandflags",
            summary: "Returns the keys of a command line, and what is done with them",
            since: "7.0.0",
            complexity: "O(N) for N arguments",
            arity: -3,
            args: "command [arg ...]",
            handler: getkeysandflags,
            ..ROW
        },
        Command {
            name: "help",
            summary: "Describes the subcommands",
            since: "5.0.0",
            arity: 2,
            handler: help,
            ..ROW
        },
        Command {
            name: "info",
            summary: "Returns what programs want to know about commands",
            complexity: "O(N) for N commands",
            args: "[command-name ...]",
            tips: UNORDERED,
            history: &[("7.0.0", "Without names it is about all commands")],
            handler: info,
            ..ROW
        },
        Command {
            name: "list",
            summary: "Returns the names of commands and subcommands",
            since: "7.0.0",
            complexity: "O(N) for N commands",
            args: "[FILTERBY filterby:(MODULE module-name | ACLCAT category | PATTERN pattern)]",
            tips: UNORDERED,
            handler: list,
            ..ROW
        },
    ],
    ..ROW
}];

fn command(ctx: &mut Ctx) -> Result<(), Error> {
    let commands = ctx.server.commands;
    ctx.out.array(commands.len());
    commands.iter().for_each(|entry| introspect::info(ctx.out, entry));
    Ok(())
}

fn count(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.out.int(ctx.server.commands.len() as i64);
    Ok(())
}

/// Looks up `get` or `config|get`.
fn named(ctx: &Ctx, name: &[u8]) -> Option<&'static Entry> {
    match memchr::memchr(b'|', name) {
        None => ctx.server.commands.find(name),
        Some(at) => ctx.server.commands.find(&name[..at])?.subcommand(&name[at + 1..]),
    }
}

fn info(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.args.len() == 2 {
        return command(ctx);
    }
    let names = ctx.args.from(2);
    ctx.out.array(names.len());
    for name in names.iter() {
        match named(ctx, name) {
            Some(entry) => introspect::info(ctx.out, entry),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn docs(ctx: &mut Ctx) -> Result<(), Error> {
    let entries: Vec<&Entry> = if ctx.args.len() == 2 {
        ctx.server.commands.iter().collect()
    } else {
        ctx.args.from(2).iter().filter_map(|name| named(ctx, name)).collect()
    };
    ctx.out.map(entries.len());
    for entry in entries {
        ctx.out.bulk(entry.full_name.as_bytes());
        introspect::docs(ctx.out, entry);
    }
    Ok(())
}

fn list(ctx: &mut Ctx) -> Result<(), Error> {
    let filter = Filter::parse(ctx)?;
    let entries = ctx.server.commands.with_subcommands();
    let entries: Vec<&Entry> = entries.filter(|entry| filter.takes(entry)).collect();
    ctx.out.array(entries.len());
    entries.iter().for_each(|entry| ctx.out.bulk(entry.full_name.as_bytes()));
    Ok(())
}

/// Which commands COMMAND LIST lists.
enum Filter<'a> {
    All,
    /// None: there is no such category.
    Category(Option<&'static str>),
    Pattern(&'a [u8]),
    /// Those of a module: none, as there are no modules.
    Module,
}

impl<'a> Filter<'a> {
    fn parse(ctx: &Ctx<'a>) -> Result<Filter<'a>, Error> {
        match ctx.args.len() {
            2 => return Ok(Filter::All),
            5 if ctx.is_word(2, "FILTERBY") => {}
            _ => return Err(Error::SYNTAX),
        }
        let wanted = ctx.arg(4);
        match ctx.arg(3).to_ascii_lowercase().as_slice() {
            b"module" => Ok(Filter::Module),
            b"aclcat" => {
                let is_wanted = |name: &&str| name.as_bytes().eq_ignore_ascii_case(wanted);
                Ok(Filter::Category(categories::NAMES.into_iter().find(is_wanted)))
            }
            b"pattern" => Ok(Filter::Pattern(wanted)),
            _ => Err(Error::SYNTAX),
        }
    }

    fn takes(&self, entry: &Entry) -> bool {
        match self {
            Filter::All => true,
            Filter::Category(name) => name.is_some_and(|c| categories::is_in(entry.command, c)),
            Filter::Pattern(pattern) => glob::matches(pattern, entry.full_name.as_bytes(), true),
            Filter::Module => false,
        }
    }
}

/// The keys of the command line that follows GETKEYS.
fn keys_of_line(ctx: &Ctx) -> Result<Vec<keys::Key>, Error> {
    let line = ctx.args.from(2);
    let no_command = Error::Static("ERR Invalid command specified");
    let container = ctx.server.commands.find(line.get(0)).ok_or(no_command.clone())?;
    let entry = gate::subcommand(container, line).ok_or(no_command)?;
    let command = entry.command;
    if !keys::has_keys(command) {
        return Err(Error::Static("ERR The command has no key arguments"));
    }
    if !command.takes(line.len()) {
        return Err(Error::Static("ERR Invalid number of arguments specified for command"));
    }
    match keys::find(command, line) {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        _ if command.has(NO_MANDATORY_KEYS) => Ok(Vec::new()),
        _ => Err(Error::Static("ERR Invalid arguments specified for command")),
    }
}

fn getkeys(ctx: &mut Ctx) -> Result<(), Error> {
    let keys = keys_of_line(ctx)?;
    ctx.out.array(keys.len());
    keys.iter().for_each(|key| ctx.out.bulk(ctx.args.get(key.index + 2)));
    Ok(())
}

fn getkeysandflags(ctx: &mut Ctx) -> Result<(), Error> {
    let keys = keys_of_line(ctx)?;
    ctx.out.array(keys.len());
    for key in keys {
        ctx.out.array(2);
        ctx.out.bulk(ctx.args.get(key.index + 2));
        introspect::simple_set(ctx.out, key.flags.iter().copied());
    }
    Ok(())
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
