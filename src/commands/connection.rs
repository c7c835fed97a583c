//! Commands about the connection itself; those of CLIENT are in `client.rs`.

use super::client;
use super::transactions::forget_watch;
use crate::base::number::parse_i64;
use crate::server::acl::{self, Context};
use crate::server::client::Closing;
use crate::server::command::{Command, Group, flag::*};
use crate::server::config::REDIS_VERSION;
use crate::server::ctx::{Ctx, Origin};
use crate::server::error::Error;
use crate::server::{login, redact, tracking};

const ROW: Command =
    Command { group: Group::Connection, categories: &["connection"], ..Command::BASE };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "auth",
        summary: "Authenticates the connection with a password",
        complexity: "O(1)",
        arity: -2,
        flags: NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
        args: "[username]@6.0.0 password",
        history: &[("6.0.0", "Takes a user name in front of the password")],
        secrets: Some(redact::of_auth),
        handler: auth,
        ..ROW
    },
    Command {
        name: "client",
        summary: "Shows and controls connections",
        since: "2.4.0",
        complexity: "Depends on the subcommand",
        arity: -2,
        categories: &[],
        subcommands: client::SUBCOMMANDS,
        ..ROW
    },
    Command {
        name: "echo",
        summary: "Returns its argument",
        arity: 2,
        flags: LOADING | STALE | FAST,
        args: "message",
        handler: echo,
        ..ROW
    },
    Command {
        name: "hello",
        summary: "Chooses the protocol, and tells about the server",
        since: "6.0.0",
        arity: -1,
        flags: NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
        args: "arguments:[protover:integer [AUTH auth:(username password)] [SETNAME clientname]]",
        history: &[("6.2.0", "The protocol's version may be left out")],
        secrets: Some(redact::of_hello),
        handler: hello,
        ..ROW
    },
    Command {
        name: "ping",
        summary: "Tells that the server is alive",
        arity: -1,
        flags: FAST | WHILE_SUBSCRIBED,
        args: "[message]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        handler: ping,
        ..ROW
    },
    Command {
        name: "quit",
        summary: "Closes the connection",
        arity: -1,
        flags: ALLOW_BUSY
            | NOSCRIPT
            | LOADING
            | STALE
            | FAST
            | NO_AUTH
            | IMMEDIATE
            | WHILE_SUBSCRIBED,
        deprecated: Some(("just closing the connection", "7.2.0")),
        handler: quit,
        ..ROW
    },
    Command {
        name: "reset",
        summary: "Makes the connection what it was when it was new",
        since: "6.2.0",
        arity: 1,
        flags: NOSCRIPT
            | LOADING
            | STALE
            | FAST
            | NO_AUTH
            | ALLOW_BUSY
            | IMMEDIATE
            | WHILE_SUBSCRIBED,
        handler: reset,
        ..ROW
    },
    Command {
        name: "select",
        summary: "Changes the connection's database",
        arity: 2,
        flags: LOADING | STALE | FAST,
        args: "index",
        handler: select,
        ..ROW
    },
];

fn ping(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.args.len() <= 2 && !ctx.out.is_resp3() && ctx.client().subscriptions.is_some() {
        // In the form of a message, as all that such a client gets.
        ctx.out.array(2);
        ctx.out.bulk(b"pong");
        ctx.out.bulk(if ctx.args.len() == 2 { ctx.args.get(1) } else { b"" });
        return Ok(());
    }
    match ctx.args.len() {
        1 => ctx.out.simple("PONG"),
        2 => ctx.out.bulk(ctx.args.get(1)),
        _ => return Err(Error::arity("ping")),
    }
    Ok(())
}

fn echo(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.out.bulk(ctx.arg(1));
    Ok(())
}

fn auth(ctx: &mut Ctx) -> Result<(), Error> {
    match ctx.args.len() {
        2 if ctx.server.acl.default_user().has_no_password() => {
            return Err(Error::Static(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        2 => authenticate(ctx, acl::DEFAULT, ctx.arg(1))?,
        3 => authenticate(ctx, ctx.arg(1), ctx.arg(2))?,
        _ => return Err(Error::SYNTAX),
    }
    ctx.out.ok();
    Ok(())
}

/// Logs the client in, or says why not.
fn authenticate(ctx: &mut Ctx, user: &[u8], password: &[u8]) -> Result<(), Error> {
    let context = if ctx.origin == Origin::Exec { Context::Multi } else { Context::Toplevel };
    let (name, given) = (ctx.arg(0), (user, password));
    if login::authenticate(ctx.server, ctx.keys, ctx.client_key, name, given, context) {
        return Ok(());
    }
    Err(Error::Static("WRONGPASS invalid username-password pair or user is disabled."))
}

/// The options of HELLO.
#[derive(Default)]
struct Hello<'a> {
    /// None: the protocol stays as it is.
    resp3: Option<bool>,
    /// User and password.
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn hello_options<'a>(ctx: &Ctx<'a>) -> Result<Hello<'a>, Error> {
    let mut options = Hello::default();
    if ctx.args.len() > 1 {
        let version = parse_i64(ctx.arg(1))
            .ok_or(Error::Static("ERR Protocol version is not an integer or out of range"))?;
        options.resp3 = match version {
            2 => Some(false),
            3 => Some(true),
            _ => return Err(Error::Static("NOPROTO unsupported protocol version")),
        };
    }
    let mut index = 2;
    while index < ctx.args.len() {
        let more = ctx.args.len() - index - 1;
        if ctx.is_word(index, "AUTH") && more >= 2 {
            options.credentials = Some((ctx.arg(index + 1), ctx.arg(index + 2)));
            index += 3;
        } else if ctx.is_word(index, "SETNAME") && more >= 1 {
            client::check_name(ctx.arg(index + 1))?;
            options.name = Some(ctx.arg(index + 1));
            index += 2;
        } else {
            let mut text = b"ERR Syntax error in HELLO option '".to_vec();
            text.extend_from_slice(ctx.arg(index));
            text.push(b'\'');
            return Err(Error::Bytes(text));
        }
    }
    Ok(options)
}

fn hello(ctx: &mut Ctx) -> Result<(), Error> {
    let options = hello_options(ctx)?;
    if let Some((user, password)) = options.credentials {
        authenticate(ctx, user, password)?;
    }
    if ctx.client().needs_auth() {
        return Err(Error::Static(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = options.name {
        ctx.client().name = name.into();
    }
    if let Some(resp3) = options.resp3 {
        ctx.client().resp3 = resp3;
        ctx.client().update_state();
        ctx.out.set_resp3(resp3);
    }
    let id = ctx.client().id as i64;
    let proto = if ctx.out.is_resp3() { 3 } else { 2 };
    ctx.out.map(7);
    ctx.out.bulk(b"server");
    ctx.out.bulk(b"redis");
    ctx.out.bulk(b"version");
    ctx.out.bulk(REDIS_VERSION.as_bytes());
    ctx.out.bulk(b"proto");
    ctx.out.int(proto);
    ctx.out.bulk(b"id");
    ctx.out.int(id);
    ctx.out.bulk(b"mode");
    ctx.out.bulk(b"standalone");
    ctx.out.bulk(b"role");
    ctx.out.bulk(b"master");
    ctx.out.bulk(b"modules");
    ctx.out.array(0);
    Ok(())
}

fn quit(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.client().close(Closing::AfterReply);
    ctx.out.ok();
    Ok(())
}

fn reset(ctx: &mut Ctx) -> Result<(), Error> {
    forget_watch(ctx);
    let server = &mut *ctx.server;
    let client = &mut server.clients[ctx.client_key];
    server.pubsub.forget_client(ctx.client_key, client);
    tracking::stop(server, ctx.keys, ctx.client_key);
    server.set_monitoring(ctx.client_key, false);
    let user = ctx.server.acl.default_user().clone();
    ctx.client().reset(user);
    ctx.out.set_resp3(false);
    ctx.out.simple("RESET");
    Ok(())
}

fn select(ctx: &mut Ctx) -> Result<(), Error> {
    let index = ctx.int_arg(1)?;
    if i32::try_from(index).is_err() {
        return Err(Error::Text(format!(
            "ERR value is out of range, value must between {} and {}",
            i32::MIN,
            i32::MAX
        )));
    }
    match usize::try_from(index) {
        Ok(db) if db < ctx.keys.databases() => ctx.client().db = db,
        _ => return Err(Error::Static("ERR DB index is out of range")),
    }
    ctx.out.ok();
    Ok(())
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
