//! Commands on strings.

use crate::server::command::{Command, Group, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::NewValue;
use crate::store::db::Expiry;
use crate::types::Inline;
use crate::types::string::Str;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        summary: "Returns the string value of a key",
        group: Group::String,
        arity: 2,
        flags: READONLY | FAST,
        keys: &[READ_KEY],
        args: "key",
        handler: get,
        ..Command::BASE
    },
    Command {
        name: "set",
        summary: "Sets the string value of a key",
        group: Group::String,
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: &[READ_KEY],
        args: "key value",
        handler: set,
        ..Command::BASE
    },
];

fn get(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.keys.read(ctx.args.get(1)) {
        None => ctx.out.null(),
        Some(view) => match Str::of(view.value()).ok_or(Error::WRONG_TYPE)? {
            Str::Bytes(bytes) => ctx.out.bulk(bytes),
            Str::Int(n) => ctx.out.bulk_int(n),
        },
    }
    Ok(())
}

fn set(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.keys.set(ctx.arg(1), NewValue::Inline(Inline::Str, ctx.arg(2)), Expiry::Never);
    ctx.out.ok();
    Ok(())
}
