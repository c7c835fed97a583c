//! Runs one command, for whatever origin: gate, handler, effects, statistics.

use super::blocking::Release;
use super::client::{Client, ReplyMode};
use super::command::Entry;
use super::ctx::{Ctx, Origin, Propagation};
use super::error::Error;
use super::{Server, gate};
use crate::resp::{Args, Reply};
use crate::store::Keyspace;

/// A command as it came.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub args: Args<'a>,
    /// What the name was found to be, if the caller looked ahead.
    pub entry: Option<&'static Entry>,
    /// The bytes it came in, if they are in the canonical form.
    pub verbatim: Option<&'a [u8]>,
}

/// Executes a command and writes its reply to `out`.
pub fn execute(
    server: &mut Server,
    keys: &mut Keyspace,
    origin: Origin,
    client_key: usize,
    request: Request<'_>,
    out: &mut Reply,
) {
    let start = out.len();
    let client = &mut server.clients[client_key];
    let answers = client.reply;
    if answers == ReplyMode::SkipNext {
        client.reply = ReplyMode::Skip;
    }
    let waits = match admit(server, origin, client_key, request) {
        Ok(entry) => run(server, keys, origin, client_key, entry, request, out),
        Err(error) => {
            refuse(server, &error, out);
            false
        }
    };
    if answers != ReplyMode::On {
        silence(&mut server.clients[client_key], out, start, waits);
    }
}

/// Takes back a reply that CLIENT REPLY does not want; the command may just have turned replies
/// on again.
#[cold]
fn silence(client: &mut Client, out: &mut Reply, start: usize, waits: bool) {
    if waits {
        // It has no reply yet.
        if client.reply == ReplyMode::Skip {
            client.reply = ReplyMode::SkipNext;
        }
        return;
    }
    if client.reply != ReplyMode::On {
        out.truncate(start);
    }
    if client.reply == ReplyMode::Skip {
        client.reply = ReplyMode::On;
    }
}

/// Ends a command that waited without its having been executed again.
pub fn release(server: &mut Server, client_key: usize, release: Release, out: &mut Reply) {
    let start = out.len();
    let client = &mut server.clients[client_key];
    let Some(blocked) = &client.blocked else { return };
    let counts = &mut server.stats.commands[blocked.entry.id];
    counts.calls += 1;
    server.stats.total_commands += 1;
    match release {
        Release::TimedOut => blocked.write_timeout(out),
        Release::Refused => {
            counts.failed += 1;
            let error = Error::Static("UNBLOCKED client unblocked via CLIENT UNBLOCK");
            refuse(server, &error, out);
        }
    }
    let client = &mut server.clients[client_key];
    if client.reply == ReplyMode::SkipNext {
        client.reply = ReplyMode::Skip;
    }
    silence(client, out, start, false);
}

fn refuse(server: &mut Server, error: &Error, out: &mut Reply) {
    let text = error.text();
    server.stats.count_error(&text);
    out.error(&text);
}

/// Runs an admitted command's handler, and records what it did; true if the client is to wait.
#[inline]
fn run(
    server: &mut Server,
    keys: &mut Keyspace,
    origin: Origin,
    client_key: usize,
    entry: &'static Entry,
    request: Request<'_>,
    out: &mut Reply,
) -> bool {
    let start = out.len();
    let client = &mut server.clients[client_key];
    let db = client.db;
    client.last_command = &entry.full_name;
    client.commands += 1;
    keys.select(db);
    keys.touch = !client.no_touch;
    let dirty = keys.dirty;
    let Request { args, verbatim, .. } = request;
    let propagation = Propagation::Verbatim;
    let waits = false;
    let mut ctx = Ctx { server, keys, args, out, entry, origin, client_key, propagation, waits };
    let result = (entry.command.handler)(&mut ctx);
    let Ctx { propagation, waits, .. } = ctx;
    if let Err(error) = result {
        out.truncate(start);
        refuse(server, &error, out);
        server.stats.commands[entry.id].failed += 1;
    }
    if keys.dirty != dirty && origin == Origin::Client {
        server.clients[client_key].wrote = true;
        if let Some(log) = server.log.buffer() {
            server.effects.record(log, keys, db, args, verbatim, &propagation);
        }
    } else if !keys.expired_untold.is_empty() {
        server.tell_expired(keys);
    }
    let ns = server.advance_clock(keys);
    if waits {
        // It counts when it has its reply.
        return true;
    }
    let stats = &mut server.stats;
    stats.total_commands += 1;
    let counts = &mut stats.commands[entry.id];
    counts.calls += 1;
    counts.ns += ns;
    false
}

/// The gate: finds the command and says whether it may run now.
#[inline]
fn admit(
    server: &mut Server,
    origin: Origin,
    client_key: usize,
    request: Request<'_>,
) -> Result<&'static Entry, Error> {
    let args = request.args;
    let entry = request.entry.or_else(|| server.commands.find(args.get(0)));
    let entry = entry.ok_or_else(|| gate::unknown_command(args))?;
    let entry = gate::resolve(entry, args).inspect_err(|_| {
        server.stats.commands[entry.id].rejected += 1;
    })?;
    let client = &server.clients[client_key];
    let states = match origin {
        Origin::Client if client.authenticated || server.config.requirepass.is_empty() => {
            server.state
        }
        Origin::Client => server.state | gate::state::UNAUTHENTICATED,
        Origin::File => 0,
    };
    if entry.refused & states != 0 {
        server.stats.commands[entry.id].rejected += 1;
        return Err(gate::refusal(entry.refused & states, server.log.error()));
    }
    Ok(entry)
}
