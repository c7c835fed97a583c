//! What the event loop spends its time on: a section of our own, and the one of Redis 7.2 that is
//! only there when it is asked for by name.

use super::latency::percentiles;
use super::{Lines, Source};
use crate::server::phases::{Durations, Phase};

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let phases = &source.server.phases;
    write_durations(lines, source, "tick", phases.ticks());
    for (phase, durations) in phases.iter() {
        write_durations(lines, source, phase.name(), durations);
    }
}

/// In microseconds; `count` is the number of ticks in which it was there.
fn write_durations(lines: &mut Lines, source: Source<'_>, name: &str, durations: &Durations) {
    let percentiles = percentiles(source, |percent| durations.percentile(percent));
    let comma = if percentiles.is_empty() { "" } else { "," };
    lines.field(
        &format!("loop_{name}"),
        format_args!(
            "count={},usec={}{comma}{percentiles},max={:.3}",
            durations.count,
            durations.sum_ns / 1000,
            durations.max_ns as f64 / 1000.0
        ),
    );
}

pub fn write_debug(lines: &mut Lines, source: Source<'_>) {
    let phases = &source.server.phases;
    let cron = [Phase::Cron, Phase::Expire].map(|phase| phases.of(phase).sum_ns);
    lines.field("eventloop_duration_aof_sum", phases.of(Phase::Aof).sum_ns / 1000);
    lines.field("eventloop_duration_cron_sum", cron.iter().sum::<u64>() / 1000);
    lines.field("eventloop_duration_max", phases.ticks().max_ns / 1000);
    lines.field("eventloop_cmd_per_cycle_max", phases.most_commands());
}
