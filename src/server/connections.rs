//! Which connections are let in.

use super::Server;
use super::client::Client;
use super::config::{OutputLimit, OutputLimits};
use crate::net::stream::Stream;

/// Why a new connection is turned away, as it is told; none if it is welcome. `connected` is the
/// number of clients there are.
pub fn refusal(server: &Server, stream: &Stream, connected: usize) -> Option<&'static [u8]> {
    if connected >= server.config.maxclients as usize {
        return Some(b"-ERR max number of clients reached\r\n");
    }
    let open = server.acl.default_user().has_no_password();
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

fn limit_of<'a>(client: &Client, limits: &'a OutputLimits) -> &'a OutputLimit {
    if client.subscriptions.is_some() { &limits.pubsub } else { &limits.normal }
}

/// The length of a client's output buffer beyond which it is cut off in any case.
pub fn most_output(client: &Client, limits: &OutputLimits) -> usize {
    match (&client.conn, limit_of(client, limits).hard) {
        (Some(conn), hard @ 1..) => conn.sent().saturating_add(hard as usize),
        _ => usize::MAX,
    }
}

/// Whether a client has let more output pile up than `client-output-buffer-limit` allows; keeps
/// the time since when it is over the soft limit.
pub fn is_over_limit(client: &mut Client, limits: &OutputLimits, now_ms: i64) -> bool {
    let limit = limit_of(client, limits);
    let pending = client.conn.as_ref().map_or(0, |conn| conn.pending()) as u64;
    if client.needs_auth() && pending > UNAUTHENTICATED_OUTPUT {
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
