//! The subcommands of CLIENT.

use super::client_tracking;
use crate::base::number::parse_i64;
use crate::server::Server;
use crate::server::blocking::Release;
use crate::server::client::{Client, Closing, ReplyMode};
use crate::server::client_list::{Asking, write_line};
use crate::server::command::{Command, Group, flag::*};
use crate::server::ctx::{Ctx, Origin};
use crate::server::error::Error;
use crate::server::introspect::help;
use crate::server::pause::Mode;

pub const ROW: Command = Command {
    group: Group::Connection,
    categories: &["connection"],
    flags: NOSCRIPT | LOADING | STALE | KEEPS_CACHING,
    arity: 2,
    ..Command::BASE
};

/// Sent to all nodes of a cluster.
const TO_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

pub const SUBCOMMANDS: &[Command] = &[
    client_tracking::CACHING,
    Command {
        name: "getname",
        summary: "Returns the name of the connection",
        since: "2.6.9",
        handler: getname,
        ..ROW
    },
    client_tracking::GETREDIR,
    Command {
        name: "help",
        summary: "Describes the subcommands",
        since: "5.0.0",
        flags: LOADING | STALE | KEEPS_CACHING,
        handler: help,
        ..ROW
    },
    Command {
        name: "id",
        summary: "Returns the number of the connection, which no other ever has",
        since: "5.0.0",
        handler: id,
        ..ROW
    },
    Command {
        name: "info",
        summary: "Returns what CLIENT LIST shows of this connection",
        since: "6.2.0",
        tips: &["nondeterministic_output"],
        handler: info,
        ..ROW
    },
    Command {
        name: "kill",
        summary: "Closes connections",
        since: "2.4.0",
        complexity: "O(N) for N connections",
        arity: -3,
        flags: ROW.flags | ADMIN,
        args: "filter:(old-format/ip:port!2.8.12 | new-format:(\
               ID client-id:integer@2.8.12 \
               | TYPE client-type:('normal' | 'master'@3.2.0 | 'slave' | 'replica'@5.0.0 \
               | 'pubsub')@2.8.12 \
               | USER username | ADDR addr/ip:port | LADDR laddr/ip:port@6.2.0 \
               | SKIPME skipme:(YES | NO) | MAXAGE maxage:integer@7.4.0)...)",
        history: &[
            ("2.8.12", "Takes filters"),
            ("2.8.12", "Filter by `ID`"),
            ("3.2.0", "Type `master`"),
            ("5.0.0", "Type `replica`, which is the same as `slave`"),
            ("6.2.0", "Filter by `LADDR`"),
            ("7.4.0", "Filter by `MAXAGE`"),
        ],
        handler: kill,
        ..ROW
    },
    Command {
        name: "list",
        summary: "Lists the connections, one a line",
        since: "2.4.0",
        complexity: "O(N) for N connections",
        arity: -2,
        flags: ROW.flags | ADMIN,
        args: "[TYPE client-type:('normal' | 'master' | 'replica' | 'pubsub')]@5.0.0 \
               [ID client-id:integer ...]@6.2.0",
        tips: &["nondeterministic_output"],
        history: &[
            ("2.8.12", "Field `id`"),
            ("5.0.0", "Filter by type"),
            ("6.0.0", "Field `user`"),
            ("6.2.0", "Fields `argv-mem`, `tot-mem`, `laddr` and `redir`; filter by `ID`"),
            ("7.0.0", "Fields `resp`, `multi-mem`, `rbs` and `rbp`"),
            ("7.0.3", "Field `ssub`"),
        ],
        handler: list,
        ..ROW
    },
    Command {
        name: "no-evict",
        summary: "Keeps the connection when others are closed for the memory they take",
        since: "7.0.0",
        arity: 3,
        flags: ROW.flags | ADMIN,
        args: "enabled:(ON | OFF)",
        handler: no_evict,
        ..ROW
    },
    Command {
        name: "no-touch",
        summary: "Has the connection's commands not count as accesses of their keys",
        since: "7.2.0",
        arity: 3,
        args: "enabled:(ON | OFF)",
        handler: no_touch,
        ..ROW
    },
    Command {
        name: "pause",
        summary: "Holds back the commands of all connections for some time",
        since: "3.0.0",
        arity: -3,
        flags: ROW.flags | ADMIN,
        args: "timeout:integer mode:[WRITE | ALL]@6.2.0",
        history: &[("6.2.0", "Mode `WRITE`, with the option `mode`")],
        handler: pause,
        ..ROW
    },
    Command {
        name: "reply",
        summary: "Says whether commands are answered",
        since: "3.2.0",
        arity: 3,
        args: "action:(ON | OFF | SKIP)",
        handler: reply,
        ..ROW
    },
    Command {
        name: "setinfo",
        summary: "Tells the server about the client's library",
        since: "7.2.0",
        arity: 4,
        args: "attr:('lib-name' libname | 'lib-ver' libver)",
        tips: TO_ALL_NODES,
        handler: setinfo,
        ..ROW
    },
    Command {
        name: "setname",
        summary: "Names the connection",
        since: "2.6.9",
        arity: 3,
        args: "connection-name",
        tips: TO_ALL_NODES,
        handler: setname,
        ..ROW
    },
    client_tracking::TRACKING,
    client_tracking::TRACKINGINFO,
    Command {
        name: "unblock",
        summary: "Ends the waiting of a connection, as if its time were up or with an error",
        since: "5.0.0",
        complexity: "O(N) for N connections",
        arity: -3,
        flags: ROW.flags | ADMIN,
        args: "client-id:integer unblock-type:[TIMEOUT | ERROR]",
        handler: unblock,
        ..ROW
    },
    Command {
        name: "unpause",
        summary: "Lets commands go on that CLIENT PAUSE holds back",
        since: "6.2.0",
        complexity: "O(N) for N connections that are held back",
        flags: ROW.flags | ADMIN,
        handler: unpause,
        ..ROW
    },
];

/// Whether CLIENT LIST can show it: printable, and without spaces.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Whether this may be a connection's name; an empty one takes the name away.
pub fn check_name(name: &[u8]) -> Result<(), Error> {
    if is_plain(name) {
        return Ok(());
    }
    Err(Error::Static("ERR Client names cannot contain spaces, newlines or special characters."))
}

fn getname(ctx: &mut Ctx) -> Result<(), Error> {
    let name = &ctx.server.clients[ctx.client_key].name;
    if name.is_empty() {
        ctx.out.null();
    } else {
        ctx.out.bulk(name);
    }
    Ok(())
}

fn setname(ctx: &mut Ctx) -> Result<(), Error> {
    check_name(ctx.arg(2))?;
    ctx.client().name = ctx.arg(2).into();
    ctx.out.ok();
    Ok(())
}

fn setinfo(ctx: &mut Ctx) -> Result<(), Error> {
    let (attribute, value) = (ctx.arg(2), ctx.arg(3));
    let is_name = ctx.is_word(2, "lib-name");
    if !is_name && !ctx.is_word(2, "lib-ver") {
        return Err(Error::Bytes([b"ERR Unrecognized option '", attribute, b"'"].concat()));
    }
    if !is_plain(value) {
        let why: &[u8] = b" cannot contain spaces, newlines or special characters.";
        return Err(Error::Bytes([b"ERR ", attribute, why].concat()));
    }
    let client = ctx.client();
    *(if is_name { &mut client.lib_name } else { &mut client.lib_version }) = value.into();
    ctx.out.ok();
    Ok(())
}

fn id(ctx: &mut Ctx) -> Result<(), Error> {
    let id = ctx.client().id;
    ctx.out.int(id as i64);
    Ok(())
}

fn asking(ctx: &mut Ctx) -> Asking {
    let argument_bytes = ctx.args.iter().map(<[u8]>::len).sum();
    Asking { id: ctx.client().id, argument_bytes }
}

fn info(ctx: &mut Ctx) -> Result<(), Error> {
    let asking = asking(ctx);
    let mut text = Vec::new();
    write_line(&mut text, &ctx.server.clients[ctx.client_key], ctx.now_ms() / 1000, asking);
    text.push(b'\n');
    ctx.out.verbatim("txt", &text);
    Ok(())
}

/// Keys of the connected clients, in the order in which they came. Those that are about to be
/// closed are gone already, as far as anybody can see.
fn connected(ctx: &Ctx) -> Vec<usize> {
    let clients = ctx.server.clients.iter();
    let is_there = |client: &Client| client.conn.is_some() && client.closing != Closing::Now;
    let mut keys: Vec<usize> =
        clients.filter(|(_, client)| is_there(client)).map(|(key, _)| key).collect();
    keys.sort_unstable_by_key(|&key| ctx.server.clients[key].id);
    keys
}

/// What CLIENT LIST and CLIENT KILL call the kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Primary,
    Replica,
    Pubsub,
}

impl Kind {
    fn parse(name: &[u8]) -> Result<Kind, Error> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"master" => Ok(Kind::Primary),
            b"slave" | b"replica" => Ok(Kind::Replica),
            b"pubsub" => Ok(Kind::Pubsub),
            _ => Err(Error::Bytes([b"ERR Unknown client type '", name, b"'"].concat())),
        }
    }

    fn of(client: &Client) -> Kind {
        if client.subscriptions.is_some() { Kind::Pubsub } else { Kind::Normal }
    }
}

fn list(ctx: &mut Ctx) -> Result<(), Error> {
    let mut keys = connected(ctx);
    let argc = ctx.args.len();
    if argc == 4 && ctx.is_word(2, "TYPE") {
        let kind = Kind::parse(ctx.arg(3))?;
        keys.retain(|&key| Kind::of(&ctx.server.clients[key]) == kind);
    } else if argc > 3 && ctx.is_word(2, "ID") {
        keys = ids(ctx, &keys)?;
    } else if argc != 2 {
        return Err(Error::SYNTAX);
    }
    let (asking, now_s) = (asking(ctx), ctx.now_ms() / 1000);
    let mut text = Vec::new();
    for key in keys {
        write_line(&mut text, &ctx.server.clients[key], now_s, asking);
        text.push(b'\n');
    }
    ctx.out.verbatim("txt", &text);
    Ok(())
}

/// The clients whose ids are the arguments, in that order.
fn ids(ctx: &Ctx, connected: &[usize]) -> Result<Vec<usize>, Error> {
    let mut keys = Vec::new();
    for arg in ctx.args.from(3).iter() {
        let id = parse_i64(arg).ok_or(Error::Static("ERR Invalid client ID"))?;
        // They are in the order of their ids.
        let at = connected.binary_search_by_key(&id, |&key| ctx.server.clients[key].id as i64);
        keys.extend(at.ok().map(|at| connected[at]));
    }
    Ok(keys)
}

/// Whom CLIENT KILL means: a client that everything given applies to.
#[derive(Default)]
struct Filter<'a> {
    address: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    kind: Option<Kind>,
    id: Option<i64>,
    user: Option<&'a [u8]>,
    /// Seconds.
    least_age: Option<i64>,
    including_me: bool,
}

impl<'a> Filter<'a> {
    /// Options and their values, from argument 2 on.
    fn parse(ctx: &Ctx<'a>) -> Result<Filter<'a>, Error> {
        let mut filter = Filter::default();
        for index in (2..ctx.args.len()).step_by(2) {
            if index + 1 >= ctx.args.len() {
                return Err(Error::SYNTAX);
            }
            let value = ctx.arg(index + 1);
            match ctx.arg(index).to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = parse_i64(value).filter(|&id| id > 0);
                    filter.id =
                        Some(id.ok_or(Error::Static("ERR client-id should be greater than 0"))?);
                }
                b"type" => filter.kind = Some(Kind::parse(value)?),
                b"addr" => filter.address = Some(value),
                b"laddr" => filter.local = Some(value),
                b"user" if ctx.server.acl.get(value).is_some() => filter.user = Some(value),
                b"user" => {
                    return Err(Error::Bytes([b"ERR No such user '", value, b"'"].concat()));
                }
                b"skipme" if ctx.is_word(index + 1, "yes") => filter.including_me = false,
                b"skipme" if ctx.is_word(index + 1, "no") => filter.including_me = true,
                b"maxage" => filter.least_age = Some(age(value)?),
                _ => return Err(Error::SYNTAX),
            }
        }
        Ok(filter)
    }

    fn matches(&self, client: &Client, me: u64, now_s: i64) -> bool {
        self.address.is_none_or(|address| client.peer().as_bytes() == address)
            && self.local.is_none_or(|local| client.local().as_bytes() == local)
            && self.kind.is_none_or(|kind| Kind::of(client) == kind)
            && self.id.is_none_or(|id| client.id as i64 == id)
            && self.user.is_none_or(|user| client.user.name() == user)
            && self.least_age.is_none_or(|age| now_s - client.created_s >= age)
            && (self.including_me || client.id != me)
    }
}

fn age(value: &[u8]) -> Result<i64, Error> {
    match parse_i64(value) {
        None => Err(Error::Static("ERR maxage is not an integer or out of range")),
        Some(age) if age <= 0 => Err(Error::Static("ERR maxage should be greater than 0")),
        Some(age) => Ok(age),
    }
}

fn kill(ctx: &mut Ctx) -> Result<(), Error> {
    let is_old_form = ctx.args.len() == 3;
    let filter = if is_old_form {
        Filter { address: Some(ctx.arg(2)), including_me: true, ..Filter::default() }
    } else {
        Filter::parse(ctx)?
    };
    let (me, now_s) = (ctx.client().id, ctx.now_ms() / 1000);
    let mut killed = 0;
    for key in connected(ctx) {
        let Server { clients, pubsub, doomed, .. } = &mut *ctx.server;
        let client = &mut clients[key];
        if !filter.matches(client, me, now_s) {
            continue;
        }
        killed += 1;
        if client.id == me {
            client.close(Closing::AfterReply);
        } else {
            client.close(Closing::Now);
            // It ends with the tick, but nobody is to count on it any more.
            pubsub.forget_client(key, client);
            doomed.push(key);
        }
    }
    match (is_old_form, killed) {
        (true, 0) => return Err(Error::Static("ERR No such client")),
        (true, _) => ctx.out.ok(),
        (false, _) => ctx.out.int(killed),
    }
    Ok(())
}

fn unblock(ctx: &mut Ctx) -> Result<(), Error> {
    let release = match ctx.args.len() {
        3 => Release::TimedOut,
        _ if ctx.is_word(3, "TIMEOUT") => Release::TimedOut,
        _ if ctx.is_word(3, "ERROR") => Release::Refused,
        _ => return Err(Error::Static("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = ctx.int_arg(2)?;
    let found = u64::try_from(id)
        .is_ok_and(|id| ctx.unblock(id, release) || ctx.server.end_migration_of(id, release));
    ctx.out.int(found.into());
    Ok(())
}

fn pause(ctx: &mut Ctx) -> Result<(), Error> {
    let mode = match ctx.args.len() {
        3 => Mode::All,
        4 if ctx.is_word(3, "WRITE") => Mode::Write,
        4 if ctx.is_word(3, "ALL") => Mode::All,
        4 => return Err(Error::Static("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(Error::SYNTAX),
    };
    // No time at all ends at once.
    let for_ms = ctx.timeout_ms_arg(2)?.unwrap_or(0);
    ctx.server.pause(ctx.keys, mode, for_ms);
    if ctx.origin != Origin::Exec {
        ctx.server.pause_expiry(ctx.keys);
    }
    ctx.out.ok();
    Ok(())
}

fn unpause(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.server.end_pause(ctx.keys);
    ctx.out.ok();
    Ok(())
}

fn reply(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.is_word(2, "ON") {
        ctx.client().reply = ReplyMode::On;
        ctx.out.ok();
    } else if ctx.is_word(2, "OFF") {
        ctx.client().reply = ReplyMode::Off;
    } else if !ctx.is_word(2, "SKIP") {
        return Err(Error::SYNTAX);
    } else if ctx.client().reply != ReplyMode::Off {
        ctx.client().reply = ReplyMode::SkipNext;
    }
    Ok(())
}

fn on_or_off(ctx: &mut Ctx) -> Result<bool, Error> {
    let on = ctx.is_word(2, "ON");
    if !on && !ctx.is_word(2, "OFF") {
        return Err(Error::SYNTAX);
    }
    ctx.out.ok();
    Ok(on)
}

fn no_evict(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.client().no_evict = on_or_off(ctx)?;
    ctx.server.count_memory(ctx.client_key);
    Ok(())
}

fn no_touch(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.client().no_touch = on_or_off(ctx)?;
    Ok(())
}
