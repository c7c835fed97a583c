//! Who copies whom: so far, nobody anybody.

use super::{Lines, Source};

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let server = source.server;
    lines.field("role", "master");
    lines.field("connected_slaves", 0);
    lines.field("master_failover_state", "no-failover");
    lines.field("master_replid", &server.identity.replication_id);
    lines.field("master_replid2", "0000000000000000000000000000000000000000");
    lines.field("master_repl_offset", 0);
    lines.field("second_repl_offset", -1);
    lines.flag("repl_backlog_active", false);
    lines.field("repl_backlog_size", server.config.repl_backlog_size);
    lines.field("repl_backlog_first_byte_offset", 0);
    lines.field("repl_backlog_histlen", 0);
}
