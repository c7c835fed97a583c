//! Commands about the connection itself.

use crate::server::command::{Command, Group, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;

pub const COMMANDS: &[Command] = &[Command {
    name: "ping",
    summary: "Tells that the server is alive",
    group: Group::Connection,
    arity: -1,
    flags: FAST,
    categories: &["connection"],
    args: "[message]",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    handler: ping,
    ..Command::BASE
}];

fn ping(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.args.len() {
        1 => ctx.out.simple("PONG"),
        2 => ctx.out.bulk(ctx.args.get(1)),
        _ => return Err(Error::arity("ping")),
    }
    Ok(())
}
