//! Commands on strings.

use crate::server::command::{Command, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::keys;
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
        categories: &["string"],
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
        categories: &["string"],
        keys: &[Keys { flags: &["RW", "access", "update", "variable_flags"], ..READ_KEY }],
        find_keys: Some(keys::of_set),
        args: "key value condition:[NX | XX]@2.6.12 [GET]@6.2.0 expiration:[EX seconds@2.6.12 \
               | PX milliseconds@2.6.12 | EXAT unix-time-seconds@6.2.0 \
               | PXAT unix-time-milliseconds@6.2.0 | KEEPTTL@6.0.0]",
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
