//! Which connections are let in.

use super::Server;
use super::client::Client;
use super::config::OutputLimits;
use crate::net::stream::Stream;

/// Why a new connection is turned away, as it is told; none if it is welcome. `connected` is the
/// number of clients there are.
pub fn refusal(server: &Server, stream: &Stream, connected: usize) -> Option<&'static [u8]> {
    if connected >= server.config.maxclients as usize {
        return Some(b"-ERR max number of clients reached\r\n");
    }
    let open = server.config.requirepass.is_empty();
    if server.config.protected_mode && open && !stream.is_local() {
        return Some(
            b"-DENIED Redis is running in protected mode: no password is set, so connections \
              are accepted from the loopback interface only. Set one with 'requirepass' (or turn \
              off 'protected-mode' if outsiders cannot reach this port) and connect again.\r\n",
        );
    }
    None
}

/// Whether a client has been silent for longer than `timeout_s` (0 for any time) allows.
pub fn is_silent(client: &Client, timeout_s: i64, now_ms: i64) -> bool {
    let waits = client.is_waiting() || client.subscriptions.is_some() || client.monitors;
    timeout_s > 0 && !waits && now_ms / 1000 - client.active_s > timeout_s
}

/// Bytes that may wait for a client that has not authenticated.
const UNAUTHENTICATED_OUTPUT: u64 = 1024;

/// Whether a client has let more output pile up than `client-output-buffer-limit` allows; keeps
/// the time since when it is over the soft limit.
pub fn is_over_limit(client: &mut Client, limits: &OutputLimits, now_ms: i64) -> bool {
    let limit = if client.subscriptions.is_some() { &limits.pubsub } else { &limits.normal };
    let pending = client.conn.as_ref().map_or(0, |conn| conn.pending()) as u64;
    if !client.authenticated && pending > UNAUTHENTICATED_OUTPUT {
        return true;
    }
    if limit.soft == 0 || pending <= limit.soft {
        client.over_soft_limit_since = None;
    } else {
        let since = *client.over_soft_limit_since.get_or_insert(now_ms);
        if now_ms - since >= limit.soft_seconds as i64 * 1000 {
            return true;
        }
    }
    limit.hard > 0 && pending > limit.hard
}
