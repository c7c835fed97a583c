//! One line about a client, as CLIENT LIST and CLIENT INFO show it. Must not know commands.
//!
//! Fields and their order are those of Redis 7.2 (`catClientInfoString`); programs take the line
//! apart at spaces, which is why names may not hold any.

use super::client::{Client, Closing};
use super::pubsub::Kind;

/// The client that asks is in the middle of a command, so its own state is not in its connection.
#[derive(Clone, Copy)]
pub struct Asking {
    pub id: u64,
    /// Bytes of the arguments of its command.
    pub argument_bytes: usize,
}

/// Appends a client's line, without an end of line. `now_s` is in seconds since 1970.
pub fn write_line(out: &mut Vec<u8>, client: &Client, now_s: i64, asking: Asking) {
    let conn = client.conn.as_ref();
    let is_asking = client.id == asking.id;
    let held = conn.map_or(0, |c| c.input.len());
    // What is parsed of an incomplete command counts as arguments rather than as input.
    let (parsed, arguments) = client.partial.as_ref().map_or((0, 0), |p| p.progress());
    let argument_bytes = if is_asking { asking.argument_bytes } else { arguments };
    let input = if is_asking { client.query_bytes } else { held - parsed.min(held) };
    let input_free = conn.map_or(0, |c| c.input.capacity() - held);
    let unsent = conn.map_or(0, |c| c.pending());
    let fd = conn.map_or(-1, |c| c.stream().descriptor());
    let mut text = |bytes: &[u8]| out.extend_from_slice(bytes);
    text(
        format!("id={} addr={} laddr={} fd={fd} name=", client.id, client.peer(), client.local())
            .as_bytes(),
    );
    text(&client.name);
    let (age, idle) = (now_s - client.created_s, now_s - client.active_s);
    text(format!(" age={age} idle={idle} flags={} db={}", flags(client), client.db).as_bytes());
    let queued = client.transaction.as_ref();
    let multi = queued.map_or(-1, |transaction| transaction.commands.len() as i64);
    let listens =
        |kind| client.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.len(kind));
    let [channels, patterns, shards] = [Kind::Channel, Kind::Pattern, Kind::Shard].map(listens);
    text(format!(" sub={channels} psub={patterns} ssub={shards} multi={multi}").as_bytes());
    text(format!(" qbuf={input} qbuf-free={input_free} argv-mem={argument_bytes}").as_bytes());
    // There is no buffer of fixed size for replies: what waits to be sent is all in one.
    let queued_bytes = queued.map_or(0, |transaction| transaction.memory());
    text(format!(" multi-mem={queued_bytes} rbs=0 rbp=0 obl=0").as_bytes());
    // What `client-output-buffer-limit` looks at, whatever the buffer's capacity.
    text(format!(" oll={} omem={unsent}", usize::from(unsent > 0)).as_bytes());
    let total = memory(client) + if is_asking { argument_bytes } else { 0 };
    text(format!(" tot-mem={total} events={}", events(client)).as_bytes());
    text(format!(" cmd={} user=", client.last_command).as_bytes());
    text(client.user.name());
    text(format!(" redir={}", redirection(client)).as_bytes());
    text(format!(" resp={} lib-name=", if client.resp3 { 3 } else { 2 }).as_bytes());
    text(&client.lib_name);
    text(b" lib-ver=");
    text(&client.lib_version);
}

/// The id of the client that gets the messages of client-side caching: 0 for the client itself, -1
/// if it does not track.
pub fn redirection(client: &Client) -> i64 {
    match &client.tracking {
        None => -1,
        Some(mode) => mode.redirection.map_or(0, |redirection| redirection.id as i64),
    }
}

fn flags(client: &Client) -> String {
    let flags = [
        (client.monitors, 'O'),
        (client.subscriptions.is_some(), 'P'),
        (client.transaction.is_some(), 'x'),
        (client.tracking.is_some(), 't'),
        (client.tracking.as_ref().is_some_and(|mode| mode.broken), 'R'),
        (client.tracking.as_ref().is_some_and(|mode| mode.broadcast), 'B'),
        (client.is_waiting(), 'b'),
        (client.watch.as_ref().is_some_and(|watch| watch.broken), 'd'),
        (client.closing == Closing::AfterReply, 'c'),
        (client.conn.as_ref().is_some_and(|c| c.stream().is_unix()), 'U'),
        (client.no_evict, 'e'),
        (client.no_touch, 'T'),
    ];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect();
    if flags.is_empty() { "N".to_string() } else { flags }
}

/// What the loop waits for.
fn events(client: &Client) -> &'static str {
    match &client.conn {
        None => "",
        Some(conn) if conn.is_blocked() => "rw",
        Some(_) => "r",
    }
}

/// Bytes of memory a client takes: itself, its buffers, and what it has queued, watches, waits for
/// and listens to. Takes no time to speak of, as it is asked for after each turn of a client while
/// `maxmemory-clients` is set.
pub fn memory(client: &Client) -> usize {
    memory_with_input(client, client.conn.as_ref().map_or(0, |c| c.input.capacity()))
}

/// The same for one whose input buffer, of so many bytes, is elsewhere.
pub fn memory_with_input(client: &Client, input_bytes: usize) -> usize {
    // As in Redis, who announces a large argument is taken at its word.
    let announced = client.partial.as_ref().map_or(0, |partial| partial.wants());
    let input = input_bytes.max(announced);
    let output = client.conn.as_ref().map_or(0, |c| c.output_memory());
    let partial = client.partial.as_ref().map_or(0, |p| size_of_val(&**p) + p.memory());
    let texts = client.name.len() + client.lib_name.len() + client.lib_version.len();
    let tracking = client.tracking.as_ref().map_or(0, |mode| mode.memory());
    let queued = client.transaction.as_ref().map_or(0, |transaction| transaction.memory());
    let watched = client.watch.as_ref().map_or(0, |watch| watch.memory());
    let blocked = client.blocked.as_ref().map_or(0, |blocked| blocked.memory());
    let postponed = client.postponed.as_ref().map_or(0, |postponed| postponed.memory());
    let listens = client.subscriptions.as_ref().map_or(0, |own| own.memory());
    let buffers = input + output + partial + texts;
    size_of::<Client>() + buffers + queued + watched + blocked + postponed + listens + tracking
}
