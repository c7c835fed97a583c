//! ACL: users and what they may do.

use crate::resp::Reply;
use crate::server::acl::{self, Denied, LogEntry, MOST_BITS, Selector, generate, has_spaces};
use crate::server::command::{Command, Group, flag::*};
use crate::server::config::replace_file;
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::introspect::{categories, help};
use crate::server::{declarations, gate, login, redact};
use log::warn;
use std::path::Path;

const ROW: Command = Command {
    group: Group::Server,
    since: "6.0.0",
    arity: 2,
    flags: ADMIN | NOSCRIPT | LOADING | STALE,
    ..Command::BASE
};

const OF_ALL_USERS: &str = "O(N) for N users";

pub const COMMANDS: &[Command] = &[Command {
    name: "acl",
    summary: "Says who may do what",
    complexity: "Depends on the subcommand",
    arity: -2,
    flags: 0,
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "cat",
        summary: "Lists the categories of commands, or the commands of one",
        complexity: "O(1), as there are so many commands and no more",
        arity: -2,
        flags: NOSCRIPT | LOADING | STALE,
        args: "[category]",
        handler: cat,
        ..ROW
    },
    Command {
        name: "deluser",
        summary: "Deletes users, and closes their connections",
        complexity: "O(1) for a user, and O(N) for N connections",
        arity: -3,
        args: "username...",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        handler: deluser,
        ..ROW
    },
    Command {
        name: "dryrun",
        summary: "Tells whether a user may execute a command, without executing it",
        since: "7.0.0",
        arity: -4,
        args: "username command [arg ...]",
        handler: dryrun,
        ..ROW
    },
    Command {
        name: "genpass",
        summary: "Makes up a password that nobody can guess",
        arity: -2,
        flags: NOSCRIPT | LOADING | STALE,
        args: "[bits:integer]",
        handler: genpass,
        ..ROW
    },
    Command {
        name: "getuser",
        summary: "Returns the rules for a user",
        complexity: "O(N) for N rules",
        arity: 3,
        args: "username",
        history: &[
            ("6.2.0", "Tells channels"),
            ("7.0.0", "Tells selectors; keys and channels are in one string, as rules"),
        ],
        handler: getuser,
        ..ROW
    },
    Command {
        name: "help",
        summary: "Describes the subcommands",
        flags: LOADING | STALE,
        handler: help,
        ..ROW
    },
    Command {
        name: "list",
        summary: "Returns all users with their rules, as lines of an ACL file",
        complexity: OF_ALL_USERS,
        handler: list,
        ..ROW
    },
    Command {
        name: "load",
        summary: "Replaces all users by those in the ACL file",
        complexity: OF_ALL_USERS,
        handler: load,
        ..ROW
    },
    Command {
        name: "log",
        summary: "Tells what was refused, or forgets it",
        complexity: "O(N) for N entries returned",
        arity: -2,
        args: "operation:[count | RESET]",
        history: &[("7.2.0", "Tells each entry's number, and when it was made and changed last")],
        handler: show_log,
        ..ROW
    },
    Command {
        name: "save",
        summary: "Writes all users into the ACL file",
        complexity: OF_ALL_USERS,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        handler: save,
        ..ROW
    },
    Command {
        name: "setuser",
        summary: "Changes the rules for a user, who need not exist",
        complexity: "O(N) for N rules",
        arity: -3,
        args: "username [rule ...]",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        history: &[
            ("6.2.0", "Knows channels"),
            ("7.0.0", "Knows selectors, and reading keys apart from writing them"),
        ],
        secrets: Some(redact::of_acl_setuser),
        handler: setuser,
        ..ROW
    },
    Command {
        name: "users",
        summary: "Returns the names of all users",
        complexity: OF_ALL_USERS,
        handler: users,
        ..ROW
    },
    Command {
        name: "whoami",
        summary: "Returns the name of the connection's user",
        flags: NOSCRIPT | LOADING | STALE,
        handler: whoami,
        ..ROW
    },
];

/// The error for arguments that a subcommand's arity lets pass.
fn too_many(ctx: &Ctx) -> Error {
    let before: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
    Error::Bytes([before, ctx.arg(1), b"'. Try ACL HELP."].concat())
}

fn cat(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.args.len() {
        2 => {
            ctx.out.array(categories::NAMES.len());
            categories::NAMES.iter().for_each(|name| ctx.out.bulk(name.as_bytes()));
            return Ok(());
        }
        3 => {}
        _ => return Err(too_many(ctx)),
    }
    let wanted = ctx.arg(2);
    let is_wanted = |name: &&str| name.as_bytes().eq_ignore_ascii_case(wanted);
    let Some(category) = categories::NAMES.into_iter().find(is_wanted) else {
        let shown = &wanted[..wanted.len().min(128)];
        return Err(Error::Bytes([b"ERR Unknown category '", shown, b"'"].concat()));
    };
    let open = ctx.out.open();
    let mut count = 0;
    for entry in ctx.server.commands.originals_with_subcommands() {
        if categories::is_in(entry.command, category) {
            ctx.out.bulk(entry.full_name.as_bytes());
            count += 1;
        }
    }
    ctx.out.close_array(open, count);
    Ok(())
}

fn deluser(ctx: &mut Ctx) -> Result<(), Error> {
    let names = ctx.args.from(2);
    if names.iter().any(|name| name == acl::DEFAULT) {
        return Err(Error::Static("ERR The 'default' user cannot be removed"));
    }
    let mut count = 0;
    for name in names.iter() {
        count += i64::from(login::remove_user(ctx.server, name, ctx.client_key));
    }
    ctx.out.int(count);
    Ok(())
}

fn dryrun(ctx: &mut Ctx) -> Result<(), Error> {
    let not_found = |what: &str, name: &[u8]| {
        Error::Bytes([b"ERR ", what.as_bytes(), b" '", name, b"' not found"].concat())
    };
    let (name, line) = (ctx.arg(2), ctx.args.from(3));
    let user = ctx.server.acl.get(name).ok_or_else(|| not_found("User", name))?;
    let entry = ctx.server.commands.find(line.get(0));
    let entry = entry.and_then(|entry| gate::subcommand(entry, line));
    let entry = entry.ok_or_else(|| not_found("Command", line.get(0)))?;
    if !entry.command.takes(line.len()) {
        return Err(Error::arity(&entry.full_name));
    }
    let (what, object, kind): (&[u8], &[u8], &[u8]) = match user.check(entry, line) {
        Ok(()) => {
            ctx.out.ok();
            return Ok(());
        }
        Err(Denied::Command) => (b"run", entry.full_name.as_bytes(), b"command"),
        Err(Denied::Key(index)) => (b"access", line.get(index), b"key"),
        Err(Denied::Channel(index)) => (b"access", line.get(index), b"channel"),
    };
    let text = [b"User ", name, b" has no permissions to ", what, b" the '", object, b"' ", kind];
    ctx.out.bulk(&text.concat());
    Ok(())
}

fn genpass(ctx: &mut Ctx) -> Result<(), Error> {
    let bits = match ctx.args.len() {
        2 => 256,
        3 => ctx.int_arg(2)?,
        _ => return Err(too_many(ctx)),
    };
    let bits = usize::try_from(bits).ok().filter(|bits| (1..=MOST_BITS).contains(bits));
    let bits = bits.ok_or_else(|| {
        Error::Text(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to {MOST_BITS}"
        ))
    })?;
    let password = generate(bits).map_err(|e| format!("ERR no random numbers: {e}"))?;
    ctx.out.bulk(password.as_bytes());
    Ok(())
}

fn getuser(ctx: &mut Ctx) -> Result<(), Error> {
    let Some(user) = ctx.server.acl.get(ctx.arg(2)) else {
        ctx.out.null();
        return Ok(());
    };
    let out = &mut *ctx.out;
    out.map(6);
    out.bulk(b"flags");
    out.set(user.flags().count());
    user.flags().for_each(|flag| out.bulk(flag.as_bytes()));
    out.bulk(b"passwords");
    out.array(user.passwords().len());
    user.passwords().iter().for_each(|hash| out.bulk(hash.hex().as_bytes()));
    write_selector(out, user.own());
    out.bulk(b"selectors");
    out.array(user.others().len());
    for selector in user.others() {
        out.map(3);
        write_selector(out, selector);
    }
    Ok(())
}

fn write_selector(out: &mut Reply, selector: &Selector) {
    for (name, rules) in [
        ("commands", selector.describe_commands()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
    ] {
        out.bulk(name.as_bytes());
        out.bulk(&rules);
    }
}

fn list(ctx: &mut Ctx) -> Result<(), Error> {
    let lines = ctx.server.acl.lines();
    ctx.out.array(lines.len());
    lines.iter().for_each(|line| ctx.out.bulk(line));
    Ok(())
}

fn users(ctx: &mut Ctx) -> Result<(), Error> {
    let users = ctx.server.acl.users();
    ctx.out.array(users.len());
    users.for_each(|user| ctx.out.bulk(user.name()));
    Ok(())
}

fn whoami(ctx: &mut Ctx) -> Result<(), Error> {
    let client = &ctx.server.clients[ctx.client_key];
    ctx.out.bulk(client.user.name());
    Ok(())
}

fn setuser(ctx: &mut Ctx) -> Result<(), Error> {
    let name = ctx.arg(2);
    if has_spaces(name) {
        return Err(Error::Static("ERR Usernames can't contain spaces or null characters"));
    }
    let book = login::rulebook(&ctx.server.config, ctx.server.commands);
    let changed = ctx.server.acl.changed(name, ctx.args.from(3).iter(), book);
    let user = changed.map_err(|text| Error::Bytes([b"ERR ", text.as_slice()].concat()))?;
    login::put_user(ctx.server, user, ctx.client_key);
    ctx.out.ok();
    Ok(())
}

/// The path of the ACL file.
fn path(ctx: &Ctx) -> Result<String, Error> {
    let path = &ctx.server.config.aclfile;
    if path.is_empty() {
        return Err(Error::Static(
            "ERR This Redis instance is not configured to use an ACL file. You may want to specify \
             users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have \
             a Redis configuration file set) in order to store users in the Redis configuration.",
        ));
    }
    Ok(path.clone())
}

fn load(ctx: &mut Ctx) -> Result<(), Error> {
    let text = declarations::read_file(&path(ctx)?);
    let loaded = text.and_then(|text| login::load_users(ctx.server, &text, ctx.client_key));
    loaded.map_err(|errors| Error::Bytes([b"ERR ", errors.as_slice()].concat()))?;
    ctx.out.ok();
    Ok(())
}

fn save(ctx: &mut Ctx) -> Result<(), Error> {
    let path = path(ctx)?;
    let mut text = ctx.server.acl.lines().join(&b'\n');
    text.push(b'\n');
    replace_file(Path::new(&path), &text).map_err(|e| {
        warn!("Writing the ACL file for ACL SAVE: {e}");
        Error::Static(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more \
             information",
        )
    })?;
    ctx.out.ok();
    Ok(())
}

/// How many entries ACL LOG returns unless it is told.
const ENTRIES: usize = 10;

fn show_log(ctx: &mut Ctx) -> Result<(), Error> {
    let count = match ctx.args.len() {
        2 => ENTRIES,
        3 if ctx.is_word(2, "RESET") => {
            ctx.server.acl.clear_log();
            ctx.out.ok();
            return Ok(());
        }
        3 => usize::try_from(ctx.int_arg(2)?).unwrap_or(0),
        _ => return Err(too_many(ctx)),
    };
    let now_ms = ctx.now_ms();
    let entries = ctx.server.acl.log().iter().take(count);
    ctx.out.array(entries.len());
    for entry in entries {
        let LogEntry { event, count, id, created_ms, updated_ms } = entry;
        let out = &mut *ctx.out;
        out.map(10);
        out.bulk(b"count");
        out.int(*count as i64);
        for (name, text) in [
            ("reason", event.reason.name().as_bytes()),
            ("context", event.context.name().as_bytes()),
            ("object", &event.object),
            ("username", &event.user),
        ] {
            out.bulk(name.as_bytes());
            out.bulk(text);
        }
        out.bulk(b"age-seconds");
        out.double((now_ms - updated_ms) as f64 / 1000.0);
        out.bulk(b"client-info");
        out.bulk(&event.client);
        for (name, n) in [
            ("entry-id", *id as i64),
            ("timestamp-created", *created_ms),
            ("timestamp-last-updated", *updated_ms),
        ] {
            out.bulk(name.as_bytes());
            out.int(n);
        }
    }
    Ok(())
}

#[cfg(test)]
mod every_command;
#[cfg(test)]
mod tests;
