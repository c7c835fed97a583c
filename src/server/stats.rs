//! What the server counts: for INFO, and for CONFIG RESETSTAT to forget.

use super::config::Config;
use super::phases::Durations;
use crate::base::histogram::Histogram;
use log::warn;
use std::collections::BTreeMap;

/// Nanoseconds up to a second, to within 1 % of each value, as Redis keeps them. 24 KB.
pub type CallTimes = Histogram<7, 3072>;

/// Longer calls are counted as this.
const LONGEST_CALL_NS: u64 = 1_000_000_000;

#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    pub calls: u64,
    /// Nanoseconds spent in it.
    pub ns: u64,
    /// How long calls took; none before the first one that was measured (`latency-tracking`).
    pub times: Option<CallTimes>,
    /// Refused before it ran.
    pub rejected: u64,
    /// Ran and answered with an error.
    pub failed: u64,
}

#[derive(Default)]
pub struct Stats {
    /// By the command's id.
    pub commands: Vec<CommandStats>,
    pub total_commands: u64,
    /// `latency-tracking`, here because each command looks at it.
    pub tracks_times: bool,
    /// Commands that take longer are looked at more closely: see [`Stats::configure`].
    pub slow_ns: u64,
    /// By the error's code.
    pub errors: BTreeMap<Box<str>, u64>,
    /// There were too many codes; no more are counted.
    errors_disabled: bool,
    pub total_errors: u64,
    /// Errors where none can be answered: in the append-only file.
    pub unexpected_errors: u64,
    pub connections: u64,
    pub rejected_connections: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub reads: u64,
    pub writes: u64,
    pub query_buffer_disconnections: u64,
    pub output_buffer_disconnections: u64,
    /// Clients cut off for `maxmemory-clients`.
    pub evicted_clients: u64,
    pub peak_memory: u64,
    /// Commands a second, smoothed; see [`Rate`].
    pub command_rate: Rate,
    pub input_rate: Rate,
    pub output_rate: Rate,
    /// The loop's ticks a second, and nanoseconds a tick.
    pub tick_rate: Rate,
    pub tick_ns: Rate,
}

/// More error codes are no codes: somebody's scripts put into them what varies. What they would
/// take of the memory, and of each INFO, is bounded, as in Redis 7.4.
const MAX_ERROR_CODES: usize = 128;
/// A code is looked for in so many of an error's first bytes, as Redis does.
const CODE_BYTES: usize = 31;

impl Stats {
    pub fn new(commands: usize, config: &Config) -> Stats {
        let commands = vec![CommandStats::default(); commands];
        let mut stats = Stats { commands, ..Stats::default() };
        stats.configure(config);
        stats
    }

    /// Takes over the directives that are looked at with each command.
    pub fn configure(&mut self, config: &Config) {
        self.tracks_times = config.latency_tracking;
        let slowlog_us = u64::try_from(config.slowlog_log_slower_than);
        let slowlog_ns = slowlog_us.map_or(u64::MAX, |us| us.saturating_mul(1000));
        let monitor_ms = config.latency_monitor_threshold;
        let monitor_ns =
            if monitor_ms == 0 { u64::MAX } else { monitor_ms.saturating_mul(1_000_000) };
        self.slow_ns = slowlog_ns.min(monitor_ns);
    }

    /// Counts a command that has its reply, and the nanoseconds it took.
    #[inline]
    pub fn count_call(&mut self, command: usize, ns: u64) {
        self.total_commands += 1;
        let counts = &mut self.commands[command];
        counts.calls += 1;
        counts.ns += ns;
        if self.tracks_times {
            let ns = ns.min(LONGEST_CALL_NS);
            match &mut counts.times {
                Some(times) => times.record(ns),
                None => counts.begin_times(ns),
            }
        }
    }

    /// Counts an error reply by its first word.
    pub fn count_error(&mut self, text: &[u8]) {
        self.total_errors += 1;
        if self.errors_disabled {
            return;
        }
        let end = text.iter().take(CODE_BYTES).position(|&b| b == b' ');
        let code = end.map_or("ERR".into(), |end| String::from_utf8_lossy(&text[..end]));
        if let Some(count) = self.errors.get_mut(code.as_ref()) {
            *count += 1;
        } else if self.errors.len() < MAX_ERROR_CODES {
            self.errors.insert(code.into(), 1);
        } else {
            self.disable_errors();
        }
    }

    #[cold]
    fn disable_errors(&mut self) {
        let codes = self.errors.keys().map(|code| printable(code)).collect::<Vec<_>>().join(", ");
        warn!(
            "There are more than {MAX_ERROR_CODES} different error codes, which no server has: \
             scripts may be making them up. INFO errorstats ends here, until CONFIG RESETSTAT."
        );
        warn!("The error codes so far: {codes}");
        self.errors = BTreeMap::from([("ERRORSTATS_DISABLED".into(), 1)]);
        self.errors_disabled = true;
    }

    /// The periodic work's part.
    pub fn sample_rates(&mut self, ticks: &Durations, now_ms: u64) {
        self.command_rate.sample(self.total_commands, now_ms);
        self.input_rate.sample(self.bytes_in, now_ms);
        self.output_rate.sample(self.bytes_out, now_ms);
        self.tick_rate.sample(ticks.count, now_ms);
        self.tick_ns.sample_over(ticks.sum_ns, ticks.count, 1);
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&mut self, config: &Config) {
        *self = Stats { peak_memory: self.peak_memory, ..Stats::new(self.commands.len(), config) };
    }
}

impl CommandStats {
    #[cold]
    fn begin_times(&mut self, ns: u64) {
        self.times.insert(CallTimes::new()).record(ns);
    }
}

/// An error's code is whatever a reply began with: what would break a line is replaced.
pub fn printable(code: &str) -> String {
    code.replace(['#', ':', '\n', '\r'], "_")
}

/// How much of something there is for each of something else, as the mean of the last samples:
/// events a second, or nanoseconds a tick.
#[derive(Default)]
pub struct Rate {
    last_total: u64,
    last_base: u64,
    samples: [u64; 16],
    next: usize,
}

impl Rate {
    /// Takes a sample of a counter that only grows, to be told by the second; a hundred
    /// milliseconds apart is good.
    pub fn sample(&mut self, total: u64, now_ms: u64) {
        self.sample_over(total, now_ms, 1000);
    }

    /// Takes a sample of two counters that only grow: `factor` times what the first has grown by,
    /// for each by which the second has.
    pub fn sample_over(&mut self, total: u64, base: u64, factor: u64) {
        let grown = base.saturating_sub(self.last_base).max(1);
        if self.last_base > 0 {
            let more = total.saturating_sub(self.last_total);
            self.samples[self.next] = more.saturating_mul(factor) / grown;
            self.next = (self.next + 1) % self.samples.len();
        }
        (self.last_total, self.last_base) = (total, base);
    }

    pub fn mean(&self) -> u64 {
        self.samples.iter().sum::<u64>() / self.samples.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Stats {
        Stats::new(3, &Config::default())
    }

    #[test]
    fn an_error_s_code_is_its_first_word() {
        let mut stats = stats();
        let long = format!("{} text", "X".repeat(31));
        for text in ["WRONGTYPE Operation", "WRONGTYPE", "no", &long, "ERR a b"] {
            stats.count_error(text.as_bytes());
        }
        let counts: Vec<(&str, u64)> = stats.errors.iter().map(|(c, n)| (&**c, *n)).collect();
        assert_eq!(counts, [("ERR", 4), ("WRONGTYPE", 1)]);
        assert_eq!(stats.total_errors, 5);
    }

    #[test]
    fn too_many_error_codes_are_none() {
        let mut stats = stats();
        for n in 0..128 {
            stats.count_error(format!("E{n} text").as_bytes());
        }
        stats.count_error(b"E127 text");
        assert_eq!((stats.errors.len(), stats.errors["E127"]), (128, 2));
        stats.count_error(b"E128 text");
        stats.count_error(b"ERR text");
        let counts: Vec<(&str, u64)> = stats.errors.iter().map(|(c, n)| (&**c, *n)).collect();
        assert_eq!(counts, [("ERRORSTATS_DISABLED", 1)]);
        assert_eq!(stats.total_errors, 131);
        stats.reset(&Config::default());
        stats.count_error(b"ERR text");
        assert_eq!(stats.errors.len(), 1);
        assert!(stats.errors.contains_key("ERR"));
    }

    #[test]
    fn calls_are_measured_while_that_is_wanted() {
        let mut stats = stats();
        stats.count_call(1, 5000);
        stats.count_call(1, 3_000_000_000);
        stats.configure(&Config { latency_tracking: false, ..Config::default() });
        stats.count_call(1, 5000);
        stats.count_call(2, 5000);
        let command = &stats.commands[1];
        assert_eq!((command.calls, command.ns), (3, 3_000_010_000));
        let times = command.times.as_ref().unwrap();
        // Like Redis: the bucket of a second ends there.
        assert_eq!((times.count(), times.percentile(100.0)), (2, 1_002_438_655));
        assert!(stats.commands[2].times.is_none() && stats.commands[0].times.is_none());
        assert_eq!(stats.total_commands, 4);
    }

    #[test]
    fn slow_is_what_the_slow_log_or_the_latency_monitor_wants_to_know() {
        let mut config = Config::default();
        for (slowlog_us, monitor_ms, wanted) in [
            (10_000, 0, 10_000_000),
            (10_000, 2, 2_000_000),
            (1000, 2, 1_000_000),
            (0, 0, 0),
            (-1, 7, 7_000_000),
            (-1, 0, u64::MAX),
            (i64::MAX, 0, u64::MAX),
        ] {
            config.slowlog_log_slower_than = slowlog_us;
            config.latency_monitor_threshold = monitor_ms;
            assert_eq!(Stats::new(0, &config).slow_ns, wanted);
        }
    }

    #[test]
    fn a_rate_is_the_mean_of_its_samples() {
        let mut rate = Rate::default();
        (0..20).for_each(|n| rate.sample(n * 50, 1000 + n * 100));
        assert_eq!(rate.mean(), 500);
        let mut each = Rate::default();
        (0..=16).for_each(|n| each.sample_over(1 + n * 3000, 10 + n * 10, 1));
        assert_eq!(each.mean(), 300);
    }
}
