//! The subcommands of CLIENT for client-side caching.

use super::client::ROW;
use crate::base::number::parse_i64;
use crate::server::client::Closing;
use crate::server::client_list::redirection;
use crate::server::command::Command;
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::tracking::prefixes::overlap;
use crate::server::tracking::{self, Mode, Redirection};

pub const CACHING: Command = Command {
    name: "caching",
    summary: "Says whether the keys of the next command are tracked",
    since: "6.0.0",
    arity: 3,
    args: "mode:(YES | NO)",
    handler: caching,
    ..ROW
};

pub const GETREDIR: Command = Command {
    name: "getredir",
    summary: "Returns the id of the connection that gets this one's invalidation messages",
    since: "6.0.0",
    handler: getredir,
    ..ROW
};

pub const TRACKING: Command = Command {
    name: "tracking",
    summary: "Has the connection told of changes of keys that it caches, or no longer",
    since: "6.0.0",
    complexity: "O(1), or O(N) for N connections with `REDIRECT`, or for N prefixes",
    arity: -3,
    args: "status:(ON | OFF) [REDIRECT client-id:integer] [PREFIX prefix]... [BCAST:BCAST] \
           [OPTIN:OPTIN] [OPTOUT:OPTOUT] [NOLOOP:NOLOOP]",
    handler: track,
    ..ROW
};

pub const TRACKINGINFO: Command = Command {
    name: "trackinginfo",
    summary: "Returns how the connection tracks keys",
    since: "6.2.0",
    handler: trackinginfo,
    ..ROW
};

/// The options of CLIENT TRACKING, and the prefixes as they were given.
fn options<'a>(ctx: &Ctx<'a>) -> Result<(Mode, Vec<&'a [u8]>), Error> {
    let (mut mode, mut prefixes) = (Mode::default(), Vec::new());
    let mut index = 3;
    while index < ctx.args.len() {
        let has_value = index + 1 < ctx.args.len();
        match ctx.arg(index).to_ascii_lowercase().as_slice() {
            b"redirect" if has_value => {
                if mode.redirection.is_some() {
                    let text = "ERR A client can only redirect to a single other client";
                    return Err(Error::Static(text));
                }
                index += 1;
                mode.redirection = Some(find_client(ctx, ctx.arg(index))?);
            }
            b"prefix" if has_value => {
                index += 1;
                prefixes.push(ctx.arg(index));
            }
            b"bcast" => mode.broadcast = true,
            b"optin" => mode.opt_in = true,
            b"optout" => mode.opt_out = true,
            b"noloop" => mode.no_loop = true,
            _ => return Err(Error::SYNTAX),
        }
        index += 1;
    }
    Ok((mode, prefixes))
}

fn find_client(ctx: &Ctx, id: &[u8]) -> Result<Redirection, Error> {
    let id = parse_i64(id).ok_or(Error::NOT_AN_INTEGER)?;
    let mut clients = ctx.server.clients.iter();
    let found = clients.find(|(_, client)| {
        client.id as i64 == id && client.conn.is_some() && client.closing != Closing::Now
    });
    let none = Error::Static("ERR The client ID you want redirect to does not exist");
    let (client_key, client) = found.ok_or(none)?;
    Ok(Redirection { id: client.id, client_key })
}

/// Whether what is asked for agrees with itself, and with how the client tracks already.
fn check(asked: &Mode, prefixes: &[&[u8]], now: Option<&Mode>) -> Result<(), Error> {
    if !asked.broadcast && !prefixes.is_empty() {
        return Err(Error::Static("ERR PREFIX option requires BCAST mode to be enabled"));
    }
    if now.is_some_and(|now| now.broadcast != asked.broadcast) {
        return Err(Error::Static(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, \
             and then re-enabling it with a different mode.",
        ));
    }
    if asked.broadcast && (asked.opt_in || asked.opt_out) {
        return Err(Error::Static("ERR OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if asked.opt_in && asked.opt_out {
        return Err(Error::Static("ERR You can't specify both OPTIN mode and OPTOUT mode"));
    }
    if now.is_some_and(|now| asked.opt_in && now.opt_out || asked.opt_out && now.opt_in) {
        return Err(Error::Static(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, \
             and then re-enabling it with a different mode.",
        ));
    }
    check_prefixes(prefixes, now)
}

/// No key may begin with two of a client's prefixes: it would be told twice.
fn check_prefixes(prefixes: &[&[u8]], now: Option<&Mode>) -> Result<(), Error> {
    let error = |prefix: &[u8], which: &str, other: &[u8]| {
        let which = format!("' overlaps with {which} prefix '");
        let why = b"'. Prefixes for a single client must not overlap.";
        Err(Error::Bytes([b"ERR Prefix '", prefix, which.as_bytes(), other, why].concat()))
    };
    for (index, prefix) in prefixes.iter().enumerate() {
        let mut existing = now.into_iter().flat_map(|now| &now.prefixes);
        if let Some(other) = existing.find(|other| overlap(other, prefix)) {
            return error(prefix, "an existing", other);
        }
        if let Some(other) = prefixes[index + 1..].iter().find(|other| overlap(other, prefix)) {
            return error(prefix, "another provided", other);
        }
    }
    Ok(())
}

fn track(ctx: &mut Ctx) -> Result<(), Error> {
    let (mut asked, prefixes) = options(ctx)?;
    if ctx.is_word(2, "ON") {
        check(&asked, &prefixes, ctx.client().tracking.as_deref())?;
        asked.prefixes = prefixes.into_iter().map(Box::from).collect();
        tracking::start(ctx.server, ctx.keys, ctx.client_key, asked);
    } else if ctx.is_word(2, "OFF") {
        tracking::stop(ctx.server, ctx.keys, ctx.client_key);
    } else {
        return Err(Error::SYNTAX);
    }
    ctx.out.ok();
    Ok(())
}

fn caching(ctx: &mut Ctx) -> Result<(), Error> {
    let (yes, no) = (ctx.is_word(2, "YES"), ctx.is_word(2, "NO"));
    let Some(mode) = &mut ctx.client().tracking else {
        return Err(Error::Static(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
             or OPTOUT mode enabled",
        ));
    };
    if yes && !mode.opt_in {
        return Err(Error::Static(
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ));
    }
    if no && !mode.opt_out {
        return Err(Error::Static(
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ));
    }
    if !yes && !no {
        return Err(Error::SYNTAX);
    }
    mode.caching = true;
    ctx.out.ok();
    Ok(())
}

fn getredir(ctx: &mut Ctx) -> Result<(), Error> {
    let id = redirection(ctx.client());
    ctx.out.int(id);
    Ok(())
}

fn trackinginfo(ctx: &mut Ctx) -> Result<(), Error> {
    let client = &ctx.server.clients[ctx.client_key];
    let off = Mode::default();
    let mode = client.tracking.as_deref().unwrap_or(&off);
    let flags = [
        (client.tracking.is_none(), "off"),
        (client.tracking.is_some(), "on"),
        (mode.broadcast, "bcast"),
        (mode.opt_in, "optin"),
        (mode.opt_in && mode.caching, "caching-yes"),
        (mode.opt_out, "optout"),
        (mode.opt_out && mode.caching, "caching-no"),
        (mode.no_loop, "noloop"),
        (mode.broken, "broken_redirect"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    ctx.out.map(3);
    ctx.out.bulk(b"flags");
    ctx.out.set(flags.len());
    flags.iter().for_each(|name| ctx.out.bulk(name.as_bytes()));
    ctx.out.bulk(b"redirect");
    ctx.out.int(redirection(client));
    ctx.out.bulk(b"prefixes");
    ctx.out.array(mode.prefixes.len());
    mode.prefixes.iter().for_each(|prefix| ctx.out.bulk(prefix));
    Ok(())
}
