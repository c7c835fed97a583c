//! The loop's part in what clients may take: output that is not read
//! ([`connections`](crate::server::connections)), and memory of all together
//! ([`client_memory`](crate::server::client_memory)).

use super::EventLoop;
use crate::server::client::Closing;
use crate::server::{Instance, connections};
use log::warn;

impl EventLoop {
    /// Under `maxmemory-clients`, what others have taken so far is looked at before each turn, and
    /// so is the client's own input, `input_bytes`, before it becomes a value. True if the client
    /// itself is cut off.
    pub(super) fn evict_before_turn(&mut self, key: usize, input_bytes: Option<usize>) -> bool {
        let Instance { server, keys } = &mut self.instance;
        if !server.client_memory.is_limited() {
            return false;
        }
        if let Some(input_bytes) = input_bytes {
            server.count_memory_with_input(key, input_bytes);
        }
        server.evict_clients(keys.now_ms);
        server.clients[key].closing == Closing::Now
    }

    /// Counts what a turn has left, but for a client whose own limit its output has passed.
    pub(super) fn count_after_turn(&mut self, key: usize) {
        if !self.instance.server.client_memory.is_limited() {
            return;
        }
        if self.cut_off_if_over_limit(key) {
            self.mark_output(key);
        } else {
            self.instance.server.count_memory(key);
        }
    }

    /// Ends a client with more output than `client-output-buffer-limit` allows; true if it does.
    pub(super) fn cut_off_if_over_limit(&mut self, key: usize) -> bool {
        let Instance { server, keys } = &mut self.instance;
        let limits = &server.config.client_output_buffer_limit;
        let client = &mut server.clients[key];
        if client.closing == Closing::Now
            || !connections::is_over_limit(client, limits, keys.now_ms)
        {
            return false;
        }
        let (id, peer) = (client.id, client.peer());
        warn!("Client id={id} addr={peer} closed for overcoming of output buffer limits.");
        client.close(Closing::Now);
        server.stats.output_buffer_disconnections += 1;
        true
    }
}
