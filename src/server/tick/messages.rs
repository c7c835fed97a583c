//! The loop's part in [`pubsub`](crate::server::pubsub) and [`monitors`](crate::server::monitors):
//! puts messages into the output of those who listen.

use super::EventLoop;
use crate::base::prefetch;
use crate::resp::Reply;
use crate::server::Instance;
use crate::server::client::{Closing, ReplyMode};

impl EventLoop {
    /// Delivers what was published. The output of a client whose commands are being executed,
    /// `busy`, is elsewhere: its messages are kept until its replies are back in place, so they
    /// come behind the reply of what it has published itself.
    #[cold]
    pub(super) fn deliver_messages(&mut self, busy: Option<usize>) {
        let EventLoop {
            instance: Instance { server, .. }, pool, with_output, own_messages, ..
        } = self;
        let clients = &mut server.clients;
        for message in server.pubsub.take_messages() {
            server.pubsub.deliver(&message, |key, later, encoded| {
                // Of many clients, none is in the processor's cache.
                if let Some(client) = later.and_then(|key| clients.get(key)) {
                    prefetch::whole(&**client);
                }
                let Some(client) = clients.get_mut(key) else { return };
                prefetch::whole(&**client);
                let bytes = encoded.bytes(client.resp3);
                if busy == Some(key) {
                    own_messages.extend_from_slice(bytes);
                    return;
                }
                let Some(conn) = client.conn.as_mut() else { return };
                if client.closing != Closing::No {
                    return;
                }
                let mut output = conn.take_output(pool);
                output.extend_from_slice(bytes);
                conn.put_output(output, pool);
                if !client.has_output {
                    client.has_output = true;
                    with_output.push(key);
                }
            });
        }
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
