//! Who is connected.

use super::{Lines, Source};
use crate::server::client::Client;

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let server = source.server;
    let input = connected(source).map(input_bytes).max().unwrap_or(0);
    let output = connected(source).map(output_bytes).max().unwrap_or(0);
    lines.field("connected_clients", connected(source).count());
    lines.field("cluster_connections", 0);
    lines.field("maxclients", server.config.maxclients);
    lines.field("client_recent_max_input_buffer", input);
    lines.field("client_recent_max_output_buffer", output);
    lines.field("blocked_clients", server.blocking.len() + server.pause.len());
    lines.field("tracking_clients", 0);
    lines.field("clients_in_timeout_table", server.blocking.deadlines());
    lines.field("total_blocking_keys", server.blocking.keys());
    lines.field("total_blocking_keys_on_nokey", server.blocking.keys_or_removed());
}

/// The server's own clients do not count.
pub fn connected(source: Source<'_>) -> impl Iterator<Item = &Client> {
    source.server.clients.iter().map(|(_, client)| &**client).filter(|client| client.conn.is_some())
}

pub fn input_bytes(client: &Client) -> usize {
    client.conn.as_ref().map_or(0, |conn| conn.input.capacity())
}

pub fn output_bytes(client: &Client) -> usize {
    client.conn.as_ref().map_or(0, |conn| conn.output_memory())
}
