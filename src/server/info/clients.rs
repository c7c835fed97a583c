//! Who is connected.

use super::{Lines, Source};
use crate::server::client::Client;
use crate::server::memory::connected;

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let server = source.server;
    let input = connected(server).map(input_bytes).max().unwrap_or(0);
    let output = connected(server).map(output_bytes).max().unwrap_or(0);
    let waiting = server.blocking.len() + server.pause.len() + server.migrations.clients();
    lines.field("connected_clients", connected(server).count());
    lines.field("cluster_connections", 0);
    lines.field("maxclients", server.config.maxclients);
    lines.field("client_recent_max_input_buffer", input);
    lines.field("client_recent_max_output_buffer", output);
    lines.field("blocked_clients", waiting);
    lines.field("tracking_clients", server.tracking.clients());
    lines.field("clients_in_timeout_table", server.blocking.deadlines());
    lines.field("total_blocking_keys", server.blocking.keys());
    lines.field("total_blocking_keys_on_nokey", server.blocking.keys_or_removed());
}

fn input_bytes(client: &Client) -> usize {
    client.conn.as_ref().map_or(0, |conn| conn.input.capacity())
}

fn output_bytes(client: &Client) -> usize {
    client.conn.as_ref().map_or(0, |conn| conn.output_memory())
}
