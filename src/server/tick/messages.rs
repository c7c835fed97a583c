//! The loop's part in [`pubsub`](crate::server::pubsub), [`tracking`](crate::server::tracking) and
//! [`monitors`](crate::server::monitors): puts messages into the output of those who listen.

use super::EventLoop;
use crate::base::prefetch;
use crate::net::conn::Pool;
use crate::resp::Reply;
use crate::server::client::{Client, Closing, ReplyMode};
use crate::server::{Instance, gate, tracking};
use slab::Slab;

/// Where messages go.
struct Outputs<'a> {
    clients: &'a mut Slab<Box<Client>>,
    pool: &'a mut Pool,
    with_output: &'a mut Vec<usize>,
    /// The client whose commands are being executed: its output is elsewhere.
    busy: Option<usize>,
    own_messages: &'a mut Vec<u8>,
}

impl Outputs<'_> {
    /// Of many clients, none is in the processor's cache: has the memory of one fetched.
    #[inline]
    fn fetch(&self, key: usize) {
        if let Some(client) = self.clients.get(key) {
            prefetch::whole(&**client);
        }
    }

    /// Appends a message to a client's output, as `write` has it in the client's protocol.
    fn put(&mut self, key: usize, write: impl FnOnce(&mut Reply)) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if self.busy == Some(key) {
            let mut output = Reply::new(std::mem::take(self.own_messages), client.resp3);
            write(&mut output);
            *self.own_messages = output.into_buf();
            return;
        }
        let Some(conn) = client.conn.as_mut() else { return };
        if client.closing != Closing::No {
            return;
        }
        let mut output = Reply::new(conn.take_output(self.pool), client.resp3);
        write(&mut output);
        conn.put_output(output.into_buf(), self.pool);
        if !client.has_output {
            client.has_output = true;
            self.with_output.push(key);
        }
    }
}

impl EventLoop {
    #[inline]
    pub(super) fn has_messages(&self) -> bool {
        let server = &self.instance.server;
        server.pubsub.has_messages() || server.tracking.has_messages()
    }

    /// Delivers what was published, and before that what it tells of that is no longer true. The
    /// messages to a client whose commands are being executed, `busy`, are kept until the reply is
    /// there of the command that caused them.
    #[cold]
    pub(super) fn deliver_messages(&mut self, busy: Option<usize>) {
        let EventLoop {
            instance: Instance { server, .. }, pool, with_output, own_messages, ..
        } = self;
        let clients = &mut server.clients;
        let mut outputs = Outputs { clients, pool, with_output, busy, own_messages };
        let outbox = server.tracking.take_messages();
        for (key, news) in outbox.letters() {
            outputs.put(key, |output| outbox.write(news, output));
        }
        server.tracking.delivered(outbox);
        for message in server.pubsub.take_messages() {
            server.pubsub.deliver(&message, |key, later, encoded| {
                outputs.fetch(later.unwrap_or(key));
                outputs.put(key, |output| output.raw(encoded.bytes(output.is_resp3())));
            });
        }
    }

    /// The messages to the client whose commands are being executed come behind its reply.
    #[inline]
    pub(super) fn put_own_messages(&mut self, out: &mut Reply) {
        out.raw(&self.own_messages);
        self.own_messages.clear();
    }

    /// While somebody tracks: tells of keys that changed without a command.
    #[inline]
    pub(super) fn settle_tracking(&mut self) {
        let Instance { server, keys } = &mut self.instance;
        if server.state & gate::state::TRACKED != 0 {
            tracking::settle(server, keys);
        }
    }

    /// Whether there are more tracked keys than may be: then the loop goes on forgetting some.
    pub(super) fn tracks_too_much(&self) -> bool {
        let server = &self.instance.server;
        server.tracking.is_over(server.config.tracking_table_max_keys)
    }

    /// Tells clients in broadcasting mode of the keys that changed in this tick.
    #[cold]
    pub(super) fn broadcast_changes(&mut self) {
        let server = &mut self.instance.server;
        server.tracking.broadcast(&mut server.clients);
        self.deliver_messages(None);
    }

    /// Shows what was executed to those who asked for it. The output of a client whose commands
    /// are being executed, `busy`, comes with its key.
    #[cold]
    pub(super) fn tell_monitors(&mut self, mut busy: Option<(usize, &mut Reply)>) {
        let EventLoop { instance: Instance { server, .. }, pool, with_output, .. } = self;
        if !server.monitors.has_lines() {
            return;
        }
        let (lines, monitors) = server.monitors.take_lines();
        for key in monitors {
            let client = &mut server.clients[key];
            let Some(conn) = client.conn.as_mut() else { continue };
            if client.closing != Closing::No || client.reply == ReplyMode::Off {
                continue;
            }
            if let Some((_, out)) = busy.as_mut().filter(|(busy, _)| *busy == key) {
                out.raw(&lines);
                continue;
            }
            let mut output = conn.take_output(pool);
            output.extend_from_slice(&lines);
            conn.put_output(output, pool);
            if !client.has_output {
                client.has_output = true;
                with_output.push(key);
            }
        }
        server.monitors.reuse(lines);
    }
}
