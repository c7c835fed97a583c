//! Which connections are let in.

use super::Server;
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
