//! `maxmemory-clients`: how much memory all clients take together, and which of them take most.
//! Passive but for cutting clients off; must not know what the memory is used for
//! ([`client_list::memory`] does).
//!
//! While there is no limit nothing is counted. Under a limit the loop has each client counted again
//! that it has served or sent something; a client whose size did not change costs little more than
//! the addition of its parts.

use super::Server;
use super::client::{Client, Closing};
use super::client_list::{self, Asking};
use super::config::{ClientMemory as Directive, Config};
use log::{info, warn};
use std::collections::BTreeSet;

/// A lower limit would cut off whoever wants to raise it, so there is none, as in Redis.
const LEAST_LIMIT: usize = 128 * 1024;

#[derive(Default)]
pub struct ClientMemory {
    /// In bytes; 0 if there is none.
    limit: usize,
    /// Bytes that all clients took when they were counted last.
    sum: usize,
    /// Sizes and keys of the clients that may be cut off.
    by_size: BTreeSet<(usize, usize)>,
    /// It was told that there is nobody left to be cut off.
    complained: bool,
}

impl ClientMemory {
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.limit != 0
    }

    #[inline]
    fn is_over(&self) -> bool {
        self.is_limited() && self.sum >= self.limit
    }

    /// Forgets what a client was counted as.
    fn subtract(&mut self, client_key: usize, client: &mut Client) {
        let counted = std::mem::take(&mut client.counted_memory);
        self.sum = self.sum.saturating_sub(counted);
        self.by_size.remove(&(counted, client_key));
    }
}

/// The limit in bytes, as the configuration has it; 0 for none.
fn limit(config: &Config) -> usize {
    let bytes = match config.maxmemory_clients {
        Directive::Bytes(bytes) => bytes,
        Directive::Percent(share) => {
            let bytes = u128::from(config.maxmemory) * u128::from(share) / 100;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        }
    };
    match usize::try_from(bytes).unwrap_or(usize::MAX) {
        0 => 0,
        bytes => bytes.max(LEAST_LIMIT),
    }
}

impl Server {
    /// Takes over the limit that is configured now.
    pub fn limit_client_memory(&mut self) {
        let limit = limit(&self.config);
        let was_limited = self.client_memory.is_limited();
        self.client_memory.limit = limit;
        self.client_memory.complained = false;
        if was_limited && limit == 0 {
            self.client_memory = ClientMemory::default();
            self.clients.iter_mut().for_each(|(_, client)| client.counted_memory = 0);
        } else if !was_limited && limit != 0 {
            let keys: Vec<usize> = self.clients.iter().map(|(key, _)| key).collect();
            keys.into_iter().for_each(|key| self.count_memory(key));
        }
    }

    /// Counts a client's memory again.
    #[inline]
    pub fn count_memory(&mut self, client_key: usize) {
        if self.client_memory.is_limited()
            && let Some(client) = self.clients.get(client_key)
        {
            self.count_as(client_key, client_list::memory(client));
        }
    }

    /// Counts it while its input buffer, of so many bytes, is not in its place.
    pub fn count_memory_with_input(&mut self, client_key: usize, input_bytes: usize) {
        let memory = client_list::memory_with_input(&self.clients[client_key], input_bytes);
        self.count_as(client_key, memory);
    }

    fn count_as(&mut self, client_key: usize, memory: usize) {
        let client = &mut self.clients[client_key];
        if client.conn.is_none() || client.closing == Closing::Now {
            return;
        }
        self.client_memory.subtract(client_key, client);
        client.counted_memory = memory;
        self.client_memory.sum += memory;
        if !client.no_evict {
            self.client_memory.by_size.insert((memory, client_key));
        }
    }

    /// A client is about to end.
    pub fn forget_memory(&mut self, client_key: usize) {
        self.client_memory.subtract(client_key, &mut self.clients[client_key]);
    }

    /// Cuts off the largest clients until the others fit the limit. They are among the doomed then,
    /// for the loop to close.
    #[inline]
    pub fn evict_clients(&mut self, now_ms: i64) {
        if self.client_memory.is_over() {
            self.evict_clients_now(now_ms);
        }
    }

    #[cold]
    fn evict_clients_now(&mut self, now_ms: i64) {
        while self.client_memory.is_over() {
            let Some(&(_, client_key)) = self.client_memory.by_size.last() else {
                if !std::mem::replace(&mut self.client_memory.complained, true) {
                    warn!("Over client maxmemory after evicting all evictable clients");
                }
                return;
            };
            let client = &mut self.clients[client_key];
            let mut line = Vec::new();
            let nobody = Asking { id: 0, argument_bytes: 0 };
            client_list::write_line(&mut line, client, now_ms / 1000, nobody);
            info!("Evicting client: {}", String::from_utf8_lossy(&line));
            client.close(Closing::Now);
            self.client_memory.subtract(client_key, client);
            self.doomed.push(client_key);
            self.stats.evicted_clients += 1;
        }
        self.client_memory.complained = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(maxmemory: u64, maxmemory_clients: Directive) -> usize {
        limit(&Config { maxmemory, maxmemory_clients, ..Config::default() })
    }

    #[test]
    fn a_share_is_one_of_maxmemory() {
        const GB: u64 = 1 << 30;
        assert_eq!(limit_of(GB, Directive::Bytes(0)), 0);
        assert_eq!(limit_of(GB, Directive::Bytes(5_000_000)), 5_000_000);
        assert_eq!(limit_of(GB, Directive::Bytes(1)), LEAST_LIMIT);
        assert_eq!(limit_of(0, Directive::Percent(10)), 0);
        assert_eq!(limit_of(GB, Directive::Percent(10)), (GB / 10) as usize);
        assert_eq!(limit_of(u64::MAX, Directive::Percent(100)), usize::MAX);
        assert_eq!(limit_of(1000, Directive::Percent(1)), LEAST_LIMIT);
    }
}
