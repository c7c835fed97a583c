//! Publishing and subscribing.

use crate::base::glob;
use crate::resp::Reply;
use crate::server::client::{Client, ReplyMode};
use crate::server::command::{Begin, Channels, Command, Find, Group, Keys, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::introspect::{help, wrong_subcommand};
use crate::server::pubsub::Kind;

const ROW: Command = Command {
    group: Group::Pubsub,
    since: "2.0.0",
    flags: PUBSUB | NOSCRIPT | LOADING | STALE | WHILE_SUBSCRIBED,
    ..Command::BASE
};

/// Channels of shards are placed like keys, so that a cluster finds the shard.
const fn shard_channels(last: i32) -> Keys {
    Keys {
        flags: &["not_key"],
        begin: Begin::Index(1),
        find: Find::Range { last, step: 1, limit: 0 },
    }
}

const SUBCOMMAND: Command = Command {
    group: Group::Pubsub,
    since: "2.8.0",
    arity: -2,
    flags: PUBSUB | LOADING | STALE,
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "psubscribe",
        summary: "Listens to all channels whose names match patterns",
        complexity: "O(N) for N patterns given",
        arity: -2,
        channels: Channels::Patterns,
        args: "pattern...",
        handler: |ctx| subscribe(ctx, Kind::Pattern),
        ..ROW
    },
    Command {
        name: "publish",
        summary: "Sends a message to all who listen to a channel",
        complexity: "O(N+M) for N listeners to the channel and M patterns that anybody listens to",
        arity: 3,
        flags: PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE,
        channels: Channels::First,
        args: "channel message",
        handler: |ctx| publish(ctx, Kind::Channel),
        ..ROW
    },
    Command {
        name: "pubsub",
        summary: "Tells about channels",
        since: "2.8.0",
        complexity: "Depends on the subcommand",
        arity: -2,
        flags: 0,
        subcommands: &[
            Command {
                name: "channels",
                summary: "Lists the channels that somebody listens to",
                complexity: "O(N) for N such channels",
                args: "[pattern]",
                handler: |ctx| names(ctx, Kind::Channel),
                ..SUBCOMMAND
            },
            Command {
                name: "help",
                summary: "Describes the subcommands",
                since: "6.2.0",
                arity: 2,
                flags: LOADING | STALE,
                handler: help,
                ..SUBCOMMAND
            },
            Command {
                name: "numpat",
                summary: "Returns how many patterns somebody listens to",
                arity: 2,
                handler: numpat,
                ..SUBCOMMAND
            },
            Command {
                name: "numsub",
                summary: "Returns how many listen to channels, not counting patterns",
                complexity: "O(N) for N channels given",
                args: "[channel ...]",
                handler: |ctx| numbers(ctx, Kind::Channel),
                ..SUBCOMMAND
            },
            Command {
                name: "shardchannels",
                summary: "Lists the shard channels that somebody listens to",
                since: "7.0.0",
                complexity: "O(N) for N such channels",
                args: "[pattern]",
                handler: |ctx| names(ctx, Kind::Shard),
                ..SUBCOMMAND
            },
            Command {
                name: "shardnumsub",
                summary: "Returns how many listen to shard channels",
                since: "7.0.0",
                complexity: "O(N) for N channels given",
                args: "[shardchannel ...]",
                handler: |ctx| numbers(ctx, Kind::Shard),
                ..SUBCOMMAND
            },
        ],
        ..ROW
    },
    Command {
        name: "punsubscribe",
        summary: "Listens to patterns no more",
        complexity: "O(N) for N patterns given",
        arity: -1,
        args: "[pattern ...]",
        handler: |ctx| unsubscribe(ctx, Kind::Pattern),
        ..ROW
    },
    Command {
        name: "spublish",
        summary: "Sends a message to all who listen to a shard channel",
        since: "7.0.0",
        complexity: "O(N) for N listeners",
        arity: 3,
        flags: PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE,
        keys: &[shard_channels(0)],
        channels: Channels::First,
        args: "shardchannel message",
        handler: |ctx| publish(ctx, Kind::Shard),
        ..ROW
    },
    Command {
        name: "ssubscribe",
        summary: "Listens to shard channels",
        since: "7.0.0",
        complexity: "O(N) for N channels given",
        arity: -2,
        keys: &[shard_channels(-1)],
        channels: Channels::All,
        args: "shardchannel...",
        handler: |ctx| subscribe(ctx, Kind::Shard),
        ..ROW
    },
    Command {
        name: "subscribe",
        summary: "Listens to channels",
        complexity: "O(N) for N channels given",
        arity: -2,
        channels: Channels::All,
        args: "channel...",
        handler: |ctx| subscribe(ctx, Kind::Channel),
        ..ROW
    },
    Command {
        name: "sunsubscribe",
        summary: "Listens to shard channels no more",
        since: "7.0.0",
        complexity: "O(N) for N channels given",
        arity: -1,
        keys: &[shard_channels(-1)],
        args: "[shardchannel ...]",
        handler: |ctx| unsubscribe(ctx, Kind::Shard),
        ..ROW
    },
    Command {
        name: "unsubscribe",
        summary: "Listens to channels no more",
        complexity: "O(N) for N channels given",
        arity: -1,
        args: "[channel ...]",
        handler: |ctx| unsubscribe(ctx, Kind::Channel),
        ..ROW
    },
];

fn subscribe(ctx: &mut Ctx, kind: Kind) -> Result<(), Error> {
    for name in ctx.args.from(1).iter() {
        let server = &mut *ctx.server;
        let client = &mut server.clients[ctx.client_key];
        server.pubsub.subscribe(ctx.client_key, client, kind, name);
        let count = count(client, kind);
        confirm(ctx, kind.subscribed(), Some(name), count);
    }
    Ok(())
}

fn unsubscribe(ctx: &mut Ctx, kind: Kind) -> Result<(), Error> {
    if ctx.args.len() > 1 {
        ctx.args.from(1).iter().for_each(|name| unsubscribe_from(ctx, kind, name));
        return Ok(());
    }
    let own = ctx.client().subscriptions.iter().flat_map(|own| own.names(kind));
    let names: Vec<Box<[u8]>> = own.map(Box::from).collect();
    names.iter().for_each(|name| unsubscribe_from(ctx, kind, name));
    if names.is_empty() {
        let count = count(ctx.client(), kind);
        confirm(ctx, kind.unsubscribed(), None, count);
    }
    Ok(())
}

fn unsubscribe_from(ctx: &mut Ctx, kind: Kind, name: &[u8]) {
    let server = &mut *ctx.server;
    let client = &mut server.clients[ctx.client_key];
    server.pubsub.unsubscribe(ctx.client_key, client, kind, name);
    let count = count(client, kind);
    confirm(ctx, kind.unsubscribed(), Some(name), count);
}

fn count(client: &Client, kind: Kind) -> usize {
    client.subscriptions.as_ref().map_or(0, |own| own.count(kind))
}

/// Tells the client what it is subscribed to now, even if CLIENT REPLY has turned replies off.
fn confirm(ctx: &mut Ctx, what: &str, name: Option<&[u8]>, count: usize) {
    if ctx.client().reply == ReplyMode::On {
        write_confirmation(ctx.out, what, name, count);
        return;
    }
    let confirmations = std::mem::take(&mut ctx.server.pubsub.confirmations);
    let mut out = Reply::new(confirmations, ctx.out.is_resp3());
    write_confirmation(&mut out, what, name, count);
    ctx.server.pubsub.confirmations = out.into_buf();
}

fn write_confirmation(out: &mut Reply, what: &str, name: Option<&[u8]>, count: usize) {
    out.push(3);
    out.bulk(what.as_bytes());
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.int(count as i64);
}

fn publish(ctx: &mut Ctx, kind: Kind) -> Result<(), Error> {
    let receivers = ctx.server.pubsub.publish(kind, ctx.args.get(1), ctx.args.get(2));
    ctx.out.int(receivers as i64);
    Ok(())
}

fn names(ctx: &mut Ctx, kind: Kind) -> Result<(), Error> {
    if ctx.args.len() > 3 {
        return Err(wrong_subcommand(ctx));
    }
    let pattern = if ctx.args.len() == 3 { ctx.arg(2) } else { b"*" };
    let names = ctx.server.pubsub.names(kind);
    let names: Vec<&[u8]> = names.filter(|name| glob::matches(pattern, name, false)).collect();
    ctx.out.array(names.len());
    names.iter().for_each(|name| ctx.out.bulk(name));
    Ok(())
}

fn numpat(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.out.int(ctx.server.pubsub.len(Kind::Pattern) as i64);
    Ok(())
}

fn numbers(ctx: &mut Ctx, kind: Kind) -> Result<(), Error> {
    let names = ctx.args.from(2);
    ctx.out.array(names.len() * 2);
    for name in names.iter() {
        ctx.out.bulk(name);
        ctx.out.int(ctx.server.pubsub.subscribers(kind, name) as i64);
    }
    Ok(())
}
