//! SLOWLOG: commands that took long.

use crate::server::command::{Command, Group, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::introspect::{help, wrong_subcommand};

const ROW: Command = Command {
    group: Group::Server,
    since: "2.2.12",
    arity: 2,
    flags: ADMIN | LOADING | STALE,
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[Command {
    name: "slowlog",
    summary: "Tells of commands that took long",
    complexity: "Depends on the subcommand",
    arity: -2,
    flags: 0,
    subcommands: &[
        Command {
            name: "get",
            summary: "Returns the last commands that took long",
            complexity: "O(N) for N commands returned",
            arity: -2,
            args: "[count]",
            tips: &["request_policy:all_nodes", "nondeterministic_output"],
            history: &[("4.0.0", "Tells the client's address and name")],
            handler: get,
            ..ROW
        },
        Command {
            name: "help",
            summary: "Describes the subcommands",
            since: "6.2.0",
            flags: LOADING | STALE,
            handler: help,
            ..ROW
        },
        Command {
            name: "len",
            summary: "Returns how many commands are kept",
            tips: &[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ],
            handler: len,
            ..ROW
        },
        Command {
            name: "reset",
            summary: "Forgets the commands that took long",
            complexity: "O(N) for N commands kept",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            handler: reset,
            ..ROW
        },
    ],
    ..ROW
}];

/// How many SLOWLOG GET returns unless it is told.
const COUNT: usize = 10;

fn get(ctx: &mut Ctx) -> Result<(), Error> {
    let too_low = Error::Static("ERR count should be greater than or equal to -1");
    let count = match ctx.args.len() {
        2 => COUNT,
        3 => match ctx.int_arg(2).ok().filter(|&count| count >= -1).ok_or(too_low)? {
            -1 => usize::MAX,
            count => count as usize,
        },
        _ => return Err(wrong_subcommand(ctx)),
    };
    let slow = ctx.server.slowlog.iter().take(count);
    ctx.out.array(slow.len());
    for slow in slow {
        ctx.out.array(6);
        ctx.out.int(slow.id as i64);
        ctx.out.int(slow.at_s);
        ctx.out.int(slow.took_us as i64);
        ctx.out.array(slow.args.len());
        slow.args.iter().for_each(|arg| ctx.out.bulk(arg));
        ctx.out.bulk(slow.peer.as_bytes());
        ctx.out.bulk(&slow.client_name);
    }
    Ok(())
}

fn len(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.out.int(ctx.server.slowlog.len() as i64);
    Ok(())
}

fn reset(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.server.slowlog.clear();
    ctx.out.ok();
    Ok(())
}
