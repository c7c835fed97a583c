//! How long each command takes.

use super::{Lines, Source};

/// Redis shows nothing while it does not measure, though it keeps what it has measured before.
pub fn write(lines: &mut Lines, source: Source<'_>) {
    let server = source.server;
    if !server.config.latency_tracking {
        return;
    }
    for entry in server.commands.with_subcommands() {
        if let Some(times) = &server.stats.commands[entry.id].times {
            let percentiles = percentiles(source, |percent| times.percentile(percent));
            lines.field(&format!("latency_percentiles_usec_{}", entry.full_name), percentiles);
        }
    }
}

/// `p50=1.003,p99.9=12.031`: microseconds, of the percentiles that are configured. `ns_at` tells
/// the nanoseconds of each.
pub fn percentiles(source: Source<'_>, ns_at: impl Fn(f64) -> u64) -> String {
    let wanted = &source.server.config.latency_tracking_info_percentiles;
    let texts = wanted.iter().map(|&percent| {
        let name = format!("{percent:.6}");
        let name = name.trim_end_matches('0').trim_end_matches('.');
        format!("p{name}={:.3}", ns_at(percent) as f64 / 1000.0)
    });
    texts.collect::<Vec<_>>().join(",")
}
