//! What the server has counted since its start, or since CONFIG RESETSTAT.

use super::{Lines, Source};
use crate::server::phases::Phase;
use crate::server::pubsub::Kind;
use crate::server::stats::{Rate, printable};

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let Source { server, keys } = source;
    let stats = &server.stats;
    lines.field("total_connections_received", stats.connections);
    lines.field("total_commands_processed", stats.total_commands);
    lines.field("instantaneous_ops_per_sec", stats.command_rate.mean());
    lines.field("total_net_input_bytes", stats.bytes_in);
    lines.field("total_net_output_bytes", stats.bytes_out);
    lines.field("total_net_repl_input_bytes", 0);
    lines.field("total_net_repl_output_bytes", 0);
    lines.field("instantaneous_input_kbps", kilobytes(&stats.input_rate));
    lines.field("instantaneous_output_kbps", kilobytes(&stats.output_rate));
    lines.field("instantaneous_input_repl_kbps", "0.00");
    lines.field("instantaneous_output_repl_kbps", "0.00");
    lines.field("rejected_connections", stats.rejected_connections);
    lines.field("sync_full", 0);
    lines.field("sync_partial_ok", 0);
    lines.field("sync_partial_err", 0);
    lines.field("expired_subkeys", keys.expired_fields);
    lines.field("expired_keys", keys.expired);
    // Keys go when they are due: there is no share of them that lingers, no cycle to look for
    // them, and no limit that it could reach.
    lines.field("expired_stale_perc", "0.00");
    lines.field("expired_time_cap_reached_count", 0);
    let expire_ns = server.phases.of(Phase::Expire).sum_ns;
    lines.field("expire_cycle_cpu_milliseconds", expire_ns / 1_000_000);
    lines.field("evicted_keys", 0);
    lines.field("evicted_clients", stats.evicted_clients);
    lines.field("total_eviction_exceeded_time", 0);
    lines.field("current_eviction_exceeded_time", 0);
    lines.field("keyspace_hits", keys.hits);
    lines.field("keyspace_misses", keys.misses);
    lines.field("pubsub_channels", server.pubsub.len(Kind::Channel));
    lines.field("pubsub_patterns", server.pubsub.len(Kind::Pattern));
    lines.field("pubsubshard_channels", server.pubsub.len(Kind::Shard));
    // Snapshots do not fork.
    lines.field("latest_fork_usec", 0);
    lines.field("total_forks", 0);
    lines.field("migrate_cached_sockets", server.migrations.links.len());
    lines.field("slave_expires_tracked_keys", 0);
    for field in ["hits", "misses", "key_hits", "key_misses"] {
        lines.field(&format!("active_defrag_{field}"), 0);
    }
    lines.field("total_active_defrag_time", 0);
    lines.field("current_active_defrag_time", 0);
    lines.field("tracking_total_keys", server.tracking.keys());
    lines.field("tracking_total_items", server.tracking.items());
    lines.field("tracking_total_prefixes", server.tracking.prefixes());
    lines.field("unexpected_error_replies", stats.unexpected_errors);
    lines.field("total_error_replies", stats.total_errors);
    lines.field("dump_payload_sanitizations", 0);
    lines.field("total_reads_processed", stats.reads);
    lines.field("total_writes_processed", stats.writes);
    lines.field("io_threaded_reads_processed", 0);
    lines.field("io_threaded_writes_processed", 0);
    lines.field("client_query_buffer_limit_disconnections", stats.query_buffer_disconnections);
    lines.field("client_output_buffer_limit_disconnections", stats.output_buffer_disconnections);
    lines.field("reply_buffer_shrinks", 0);
    lines.field("reply_buffer_expands", 0);
    let ticks = server.phases.ticks();
    lines.field("eventloop_cycles", ticks.count);
    lines.field("eventloop_duration_sum", ticks.sum_ns / 1000);
    lines.field("eventloop_duration_cmd_sum", server.phases.of(Phase::Execute).sum_ns / 1000);
    lines.field("instantaneous_eventloop_cycles_per_sec", stats.tick_rate.mean());
    lines.field("instantaneous_eventloop_duration_usec", stats.tick_ns.mean() / 1000);
    let denied = server.acl.denied();
    lines.field("acl_access_denied_auth", denied.auth);
    lines.field("acl_access_denied_cmd", denied.command);
    lines.field("acl_access_denied_key", denied.key);
    lines.field("acl_access_denied_channel", denied.channel);
}

fn kilobytes(rate: &Rate) -> String {
    format!("{:.2}", rate.mean() as f64 / 1024.0)
}

pub fn write_commands(lines: &mut Lines, source: Source<'_>) {
    for entry in source.server.commands.with_subcommands() {
        let counts = &source.server.stats.commands[entry.id];
        if counts.calls == 0 && counts.rejected == 0 && counts.failed == 0 {
            continue;
        }
        let each_us = counts.ns as f64 / 1000.0 / counts.calls.max(1) as f64;
        lines.field(
            &format!("cmdstat_{}", entry.full_name),
            format_args!(
                "calls={},usec={},usec_per_call={each_us:.2},rejected_calls={},failed_calls={}",
                counts.calls,
                counts.ns / 1000,
                counts.rejected,
                counts.failed
            ),
        );
    }
}

pub fn write_errors(lines: &mut Lines, source: Source<'_>) {
    for (code, count) in &source.server.stats.errors {
        lines.field(&format!("errorstat_{}", printable(code)), format_args!("count={count}"));
    }
}
