//! MONITOR: clients that are shown what all others execute. Passive: it makes the lines and leaves
//! them for the loop, which knows the clients' connections.
//!
//! While there is nobody to see them, nothing is paid but the test of a bit
//! ([`state::MONITORED`]).

use super::Server;
use super::client::Client;
use super::command::{Entry, flag};
use super::gate::state;
use super::redact::redacted;
use crate::base::args::quote;
use crate::resp::Args;
use std::collections::BTreeSet;

#[derive(Default)]
pub struct Monitors {
    /// Clients' keys.
    clients: BTreeSet<usize>,
    /// What the loop has not delivered yet, in the protocol's form, which is the same for all.
    lines: Vec<u8>,
}

impl Monitors {
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The lines, and whom to send them. The buffer is to be brought back with
    /// [`Monitors::reuse`].
    pub fn take_lines(&mut self) -> (Vec<u8>, impl Iterator<Item = usize> + '_) {
        (std::mem::take(&mut self.lines), self.clients.iter().copied())
    }

    pub fn reuse(&mut self, mut lines: Vec<u8>) {
        /// What is worth to be kept, in bytes.
        const KEEP: usize = 64 * 1024;
        if lines.capacity() <= KEEP {
            lines.clear();
            self.lines = lines;
        }
    }
}

impl Server {
    /// Begins or ends showing a client what others execute.
    pub fn set_monitoring(&mut self, client_key: usize, on: bool) {
        let client = &mut self.clients[client_key];
        if client.monitors == on {
            return;
        }
        client.monitors = on;
        client.update_state();
        let clients = &mut self.monitors.clients;
        if on {
            clients.insert(client_key);
        } else {
            clients.remove(&client_key);
        }
        self.state &= !state::MONITORED;
        if !self.monitors.clients.is_empty() {
            self.state |= state::MONITORED;
        }
    }

    /// Shows a command that was just executed to those who asked for it. Administrators' commands
    /// are kept from them, and so is all that happens while data are being loaded.
    #[cold]
    pub fn show_to_monitors(&mut self, client_key: usize, entry: &Entry, args: Args<'_>) {
        let is_hidden = entry.command.has(flag::SKIP_MONITOR | flag::ADMIN);
        if is_hidden || self.state & state::LOADING != 0 {
            return;
        }
        let now_us = self.clock.unix_us();
        let (seconds, micros) = (now_us.div_euclid(1_000_000), now_us.rem_euclid(1_000_000));
        let client = &self.clients[client_key];
        let lines = &mut self.monitors.lines;
        let origin = origin(client, &self.config.unixsocket);
        let head = format!("+{seconds}.{micros:06} [{} {origin}]", client.db);
        lines.extend_from_slice(head.as_bytes());
        for arg in redacted(args, entry) {
            lines.push(b' ');
            lines.extend(quote(arg));
        }
        lines.extend_from_slice(b"\r\n");
    }
}

/// Where a client's commands come from.
fn origin(client: &Client, unix_socket: &str) -> String {
    let is_unix = client.conn.as_ref().is_some_and(|conn| conn.stream().is_unix());
    if is_unix { format!("unix:{unix_socket}") } else { client.peer() }
}
