//! Runs one command, for whatever origin: gate, handler, effects, statistics.

use super::acl::Context;
use super::blocking::Release;
use super::client::ReplyMode;
use super::command::{Entry, flag};
use super::ctx::{Ctx, Origin, Propagation};
use super::error::Error;
use super::{Server, gate, login, notify, tracking};
use crate::resp::parse::OwnedArgs;
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
    // The reply to EXEC is one: it is taken back as a whole, or not at all.
    let answers = if origin == Origin::Exec { ReplyMode::On } else { client.reply };
    if answers == ReplyMode::SkipNext {
        client.reply = ReplyMode::Skip;
    }
    let waits = match admit(server, keys, origin, client_key, request) {
        Ok(entry) => run(server, keys, origin, client_key, entry, request, out),
        Err(refusal) => turn_away(server, keys, client_key, refusal, request.args, out),
    };
    if answers != ReplyMode::On {
        silence(server, client_key, out, start, waits);
    }
}

/// Takes back a reply that CLIENT REPLY does not want; the command may just have turned replies
/// on again. Confirmations of subscriptions are no replies: they stay.
#[cold]
fn silence(server: &mut Server, client_key: usize, out: &mut Reply, start: usize, waits: bool) {
    let client = &mut server.clients[client_key];
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
    out.raw(&std::mem::take(&mut server.pubsub.confirmations));
    if client.reply == ReplyMode::Skip {
        client.reply = ReplyMode::On;
    }
}

/// Why the gate does not let a command run now.
enum Refusal {
    Error(Error),
    /// It waits for EXEC.
    Queued(&'static Entry),
    /// It waits for the end of a pause.
    Postponed(&'static Entry),
    /// EXEC itself is refused, and with it what was queued.
    Discarded(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Error(error)
    }
}

/// Does with a command what the gate says instead of running it; true if the client is to wait.
#[cold]
fn turn_away(
    server: &mut Server,
    keys: &mut Keyspace,
    client_key: usize,
    refusal: Refusal,
    args: Args<'_>,
    out: &mut Reply,
) -> bool {
    let client = &mut server.clients[client_key];
    match refusal {
        Refusal::Postponed(entry) => {
            client.last_command = &entry.full_name;
            server.postpone(client_key, args);
            return true;
        }
        Refusal::Queued(entry) => {
            client.last_command = &entry.full_name;
            if let Some(transaction) = &mut client.transaction {
                transaction.queue(entry, args);
            }
            out.simple("QUEUED");
        }
        Refusal::Error(error) => {
            if let Some(transaction) = &mut client.transaction {
                transaction.aborted = true;
            }
            refuse(server, &error, out);
        }
        Refusal::Discarded(error) => {
            client.end_transaction();
            server.watchers.forget(keys, client_key, client);
            if server.state & gate::state::MONITORED != 0
                && let Some(entry) = server.commands.find(args.get(0))
            {
                // They have seen MULTI, so they are to see that this ended.
                server.show_to_monitors(client_key, entry, args);
            }
            let error = error.text();
            let reason = error.strip_prefix(b"ERR ").unwrap_or(&error);
            let text = [b"EXECABORT Transaction discarded because of: ", reason].concat();
            refuse(server, &Error::Bytes(text), out);
        }
    }
    // CLIENT CACHING is about the command behind it, even one that is refused.
    let client = &mut server.clients[client_key];
    if client.tracking.is_some() {
        let found = server.commands.find(args.get(0));
        let entry = found.map(|entry| gate::subcommand(entry, args).unwrap_or(entry));
        tracking::end_command(client, Origin::Client, entry);
    }
    false
}

#[cold]
fn reject(server: &mut Server, entry: &Entry, error: Error) -> Refusal {
    server.stats.commands[entry.id].rejected += 1;
    if entry.command.has(flag::EXECUTES_QUEUED) {
        Refusal::Discarded(error)
    } else {
        Refusal::Error(error)
    }
}

/// Ends a command that waited without its having been executed again.
pub fn release(server: &mut Server, client_key: usize, release: Release, out: &mut Reply) {
    let client = &mut server.clients[client_key];
    let Some(blocked) = &client.blocked else { return };
    let (entry, start) = (blocked.entry, out.len());
    let result = match release {
        Release::TimedOut => {
            blocked.write_timeout(out);
            Ok(())
        }
        Release::Refused => Err(Error::Static("UNBLOCKED client unblocked via CLIENT UNBLOCK")),
    };
    end_waiting(server, client_key, entry, result, out, start);
}

/// Ends a command that waited for something else than a key, with a simple string or an error.
pub fn finish(
    server: &mut Server,
    client_key: usize,
    entry: &'static Entry,
    result: Result<&str, Error>,
    out: &mut Reply,
) {
    let start = out.len();
    let result = result.map(|text| out.simple(text));
    end_waiting(server, client_key, entry, result, out, start);
}

/// Counts a command that had to wait; its reply begins at `start`, or is to be this error.
fn end_waiting(
    server: &mut Server,
    client_key: usize,
    entry: &'static Entry,
    result: Result<(), Error>,
    out: &mut Reply,
    start: usize,
) {
    let counts = &mut server.stats.commands[entry.id];
    counts.calls += 1;
    server.stats.total_commands += 1;
    if let Err(error) = result {
        counts.failed += 1;
        refuse(server, &error, out);
    }
    let client = &mut server.clients[client_key];
    tracking::end_command(client, Origin::Client, None);
    if client.reply == ReplyMode::SkipNext {
        client.reply = ReplyMode::Skip;
    }
    silence(server, client_key, out, start, false);
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
    let began_ns = server.last_ns;
    let client = &mut server.clients[client_key];
    let db = client.db;
    client.last_command = &entry.full_name;
    client.commands += 1;
    keys.select(db);
    keys.touch = !client.no_touch;
    let dirty = keys.dirty;
    let Request { args, verbatim, .. } = request;
    let propagation = Propagation::Verbatim;
    let recorded = server.log.is_open() && origin != Origin::File;
    let waits = false;
    let mut ctx =
        Ctx { server, keys, args, out, entry, origin, client_key, propagation, recorded, waits };
    let result = (entry.command.handler)(&mut ctx);
    let Ctx { propagation, waits, .. } = ctx;
    if let Err(error) = result {
        out.truncate(start);
        refuse(server, &error, out);
        server.stats.commands[entry.id].failed += 1;
    }
    if keys.dirty != dirty && origin != Origin::File {
        server.clients[client_key].wrote = true;
        if let Some(log) = server.log.buffer() {
            let effects = &mut server.effects;
            if server.commands.has_renamed()
                && let Some(own) = own_name(entry, args)
            {
                effects.record(log, keys, db, own.args(), None, &propagation);
            } else {
                effects.record(log, keys, db, args, verbatim, &propagation);
            }
        }
    } else if !keys.expired_untold.is_empty() {
        server.tell_expired(keys);
    }
    if !keys.events.list.is_empty() {
        notify::publish(server, keys);
    }
    if server.state & (gate::state::TRACKED | gate::state::MONITORED) != 0 {
        tell_onlookers(server, keys, client_key, origin, entry, args, waits);
    }
    let ns = server.advance_clock(keys, origin, began_ns);
    if waits {
        // It counts when it has its reply; this much of its time is known by then.
        server.stats.commands[entry.id].ns += ns;
        return true;
    }
    if origin == Origin::File {
        // It was counted when a client sent it.
        return false;
    }
    server.stats.count_call(entry.id, ns);
    if ns >= server.stats.slow_ns {
        tell_slow(server, keys, client_key, entry, args, ns);
    }
    false
}

/// Lets those know of a command who cache what others change, or see what others execute.
#[cold]
fn tell_onlookers(
    server: &mut Server,
    keys: &mut Keyspace,
    client_key: usize,
    origin: Origin,
    entry: &'static Entry,
    args: Args<'_>,
    waits: bool,
) {
    if server.state & gate::state::TRACKED != 0 {
        tracking::after_command(server, keys, client_key, entry, args);
        if !waits {
            tracking::end_command(&mut server.clients[client_key], origin, Some(entry));
        }
    }
    if server.state & gate::state::MONITORED != 0 && !is_repeated(server, client_key, waits) {
        server.show_to_monitors(client_key, entry, args);
    }
}

/// Remembers a command that took long, as far as the slow log and the latency monitor want it.
#[cold]
fn tell_slow(
    server: &mut Server,
    keys: &Keyspace,
    client_key: usize,
    entry: &Entry,
    args: Args<'_>,
    ns: u64,
) {
    let fast = entry.command.has(flag::FAST);
    server.monitor(if fast { "fast-command" } else { "command" }, ns, keys.now_ms);
    let slower_than = u64::try_from(server.config.slowlog_log_slower_than);
    let slow = slower_than.is_ok_and(|slower_than| ns / 1000 >= slower_than);
    if slow && !entry.command.has(flag::SKIP_SLOWLOG) {
        let client = &server.clients[client_key];
        let most = server.config.slowlog_max_len;
        server.slowlog.add(entry, args, ns / 1000, keys.now_ms / 1000, client, most);
    }
}

/// A command under its own name, where `rename-command` gave it another: what is written down
/// must not depend on the configuration.
#[cold]
fn own_name(entry: &Entry, args: Args<'_>) -> Option<OwnedArgs> {
    let name = entry.full_name.split('|').next().unwrap_or_default().as_bytes();
    let is_own = args.get(0).eq_ignore_ascii_case(name);
    (!is_own).then(|| std::iter::once(name).chain(args.from(1).iter()).collect())
}

/// Whether a command that has just run is one that had waited.
fn is_repeated(server: &Server, client_key: usize, waits: bool) -> bool {
    let blocked = &server.clients[client_key].blocked;
    blocked.as_ref().is_some_and(|blocked| !waits || blocked.waits_again())
}

/// The gate: finds the command and says whether it may run now.
#[inline]
fn admit(
    server: &mut Server,
    keys: &Keyspace,
    origin: Origin,
    client_key: usize,
    request: Request<'_>,
) -> Result<&'static Entry, Refusal> {
    let args = request.args;
    let entry = request.entry.or_else(|| server.commands.find(args.get(0)));
    let entry = entry.ok_or_else(|| gate::unknown_command(args))?;
    let entry = match gate::resolve(entry, args) {
        Ok(entry) => entry,
        Err(error) => return Err(reject(server, entry, error)),
    };
    let client = &server.clients[client_key];
    if origin != Origin::Client {
        if origin == Origin::Exec && client.state & gate::state::RESTRICTED != 0 {
            // What was allowed when it was queued may not be any more.
            let permitted = login::permit(server, keys, client_key, entry, args, Context::Multi);
            permitted.map_err(gate::no_permission_now)?;
        }
        return Ok(entry);
    }
    debug_assert_eq!(client.state, client.current_state());
    let mut refused = entry.refused;
    if let Some(transaction) = &client.transaction
        && entry.command.has(flag::EXECUTES_QUEUED)
    {
        refused |= transaction.refused & !gate::state::IN_TRANSACTION;
    }
    let states = server.state | client.state;
    match refused & states {
        0 => Ok(entry),
        refused => judge(server, keys, client_key, entry, args, refused),
    }
}

/// Decides about a command in states that its mask matched. In Redis's order: whether the client
/// has logged in, what it may never queue, its user's permissions, all else. Whether it is
/// postponed comes last: it must not be told at the end of a pause that it never had a chance.
fn judge(
    server: &mut Server,
    keys: &Keyspace,
    client_key: usize,
    entry: &'static Entry,
    args: Args<'_>,
    refused: u32,
) -> Result<&'static Entry, Refusal> {
    use gate::state::{IN_TRANSACTION, KEYS_HELD, PAUSED, RESTRICTED, UNAUTHENTICATED};
    let is_never_queued = is_never_queued(entry, refused);
    if refused & RESTRICTED != 0 && refused & UNAUTHENTICATED == 0 && !is_never_queued {
        let is_queuing = server.clients[client_key].transaction.is_some();
        let context = if is_queuing { Context::Multi } else { Context::Toplevel };
        if let Err(denied) = login::permit(server, keys, client_key, entry, args, context) {
            let error = gate::no_permission(&server.clients[client_key].user, entry, denied);
            return Err(reject(server, entry, error));
        }
    }
    let client = &server.clients[client_key];
    let is_paused = refused & PAUSED != 0 && !client.monitors;
    let is_held = refused & KEYS_HELD != 0 && server.holds_back(client, entry, args);
    match refused & !(RESTRICTED | PAUSED | KEYS_HELD) {
        0 | IN_TRANSACTION if is_paused && !is_never_queued => Err(Refusal::Postponed(entry)),
        0 if is_held => Err(Refusal::Postponed(entry)),
        0 => Ok(entry),
        IN_TRANSACTION if !is_never_queued => Err(Refusal::Queued(entry)),
        refused => {
            let error = gate::refusal(refused, entry, server.log.error());
            Err(reject(server, entry, error))
        }
    }
}

/// Whether it may not be part of a transaction, and its client is in one.
fn is_never_queued(entry: &Entry, refused: u32) -> bool {
    entry.command.has(flag::NO_MULTI | flag::NEVER_QUEUED)
        && refused & gate::state::IN_TRANSACTION != 0
}
