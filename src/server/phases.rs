//! What the event loop spends its time on, tick by tick: so that a stall has a name. Must not read
//! a clock: the loop says when one phase ends and another begins.
//!
//! Each reading of the clock ends a phase, and all time since the reading before belongs to it.
//! The loop reads once where a phase ends that a client may feel, and never for each command.

use crate::base::histogram::Histogram;

/// What a tick consists of. Waiting for events is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Taking in new connections.
    Accept,
    /// Reading what clients sent.
    Read,
    /// Executing it, which includes taking it apart.
    Execute,
    /// Serving those who wait for a key or listen to a channel.
    Deliver,
    /// Going on with a snapshot.
    Snapshot,
    /// Sending keys to other servers.
    Migrate,
    /// Removing keys that are due.
    Expire,
    /// The periodic work.
    Cron,
    /// Handing changes to the append-only file.
    Aof,
    /// Writing replies.
    Write,
    /// Whatever is left.
    Other,
}

const PHASES: [Phase; 11] = [
    Phase::Accept,
    Phase::Read,
    Phase::Execute,
    Phase::Deliver,
    Phase::Snapshot,
    Phase::Migrate,
    Phase::Expire,
    Phase::Cron,
    Phase::Aof,
    Phase::Write,
    Phase::Other,
];

impl Phase {
    /// As INFO shows it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Accept => "accept",
            Phase::Read => "read",
            Phase::Execute => "execute",
            Phase::Deliver => "deliver",
            Phase::Snapshot => "snapshot",
            Phase::Migrate => "migrate",
            Phase::Expire => "expire",
            Phase::Cron => "cron",
            Phase::Aof => "aof",
            Phase::Write => "write",
            Phase::Other => "other",
        }
    }

    /// As LATENCY shows it when it took long: Redis's name where Redis has one.
    pub fn event(self) -> &'static str {
        match self {
            Phase::Accept => "loop-accept",
            Phase::Read => "loop-read",
            Phase::Execute => "loop-execute",
            Phase::Deliver => "loop-deliver",
            Phase::Snapshot => "loop-snapshot",
            Phase::Migrate => "loop-migrate",
            Phase::Expire => "expire-cycle",
            Phase::Cron => "loop-cron",
            Phase::Aof => "loop-aof",
            Phase::Write => "loop-write",
            Phase::Other => "loop-other",
        }
    }
}

/// Nanoseconds up to four minutes, to within 6 % of each value. 4.5 KB.
type Times = Histogram<4, 560>;

/// How long something took, each time it was there.
#[derive(Debug, Default)]
pub struct Durations {
    pub count: u64,
    pub sum_ns: u64,
    pub max_ns: u64,
    times: Option<Times>,
}

impl Durations {
    fn record(&mut self, ns: u64) {
        self.count += 1;
        self.sum_ns += ns;
        self.max_ns = self.max_ns.max(ns);
        self.times.get_or_insert_with(Times::new).record(ns);
    }

    /// In nanoseconds; no more than there ever was, though the buckets are wider.
    pub fn percentile(&self, percent: f64) -> u64 {
        let value = self.times.as_ref().map_or(0, |times| times.percentile(percent));
        value.min(self.max_ns)
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Phases {
    /// Of the tick that is under way: when it began and when its last phase ended, what its phases
    /// took, and how many commands there had been before.
    began_ns: u64,
    mark_ns: u64,
    tick_ns: [u64; PHASES.len()],
    commands_before: u64,
    phases: [Durations; PHASES.len()],
    ticks: Durations,
    most_commands: u64,
}

impl Phases {
    /// A tick begins. `commands` counts those executed so far.
    pub fn begin(&mut self, now_ns: u64, commands: u64) {
        (self.began_ns, self.mark_ns) = (now_ns, now_ns);
        self.tick_ns = [0; PHASES.len()];
        self.commands_before = commands;
    }

    /// All time since the last phase ended belongs to this one.
    #[inline]
    pub fn end(&mut self, phase: Phase, now_ns: u64) {
        self.tick_ns[phase as usize] += now_ns.saturating_sub(self.mark_ns);
        self.mark_ns = now_ns;
    }

    /// The tick has ended; returns the nanoseconds it took.
    pub fn finish(&mut self, commands: u64) -> u64 {
        for (durations, ns) in self.phases.iter_mut().zip(self.tick_ns) {
            if ns > 0 {
                durations.record(ns);
            }
        }
        let tick_ns = self.mark_ns - self.began_ns;
        self.ticks.record(tick_ns);
        self.most_commands = self.most_commands.max(commands.saturating_sub(self.commands_before));
        tick_ns
    }

    /// Phases of the last tick, and the nanoseconds they took.
    pub fn of_tick(&self) -> impl Iterator<Item = (Phase, u64)> {
        PHASES.into_iter().zip(self.tick_ns)
    }

    pub fn of(&self, phase: Phase) -> &Durations {
        &self.phases[phase as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (Phase, &Durations)> {
        PHASES.into_iter().zip(&self.phases)
    }

    pub fn ticks(&self) -> &Durations {
        &self.ticks
    }

    /// The most commands there were in one tick.
    pub fn most_commands(&self) -> u64 {
        self.most_commands
    }

    /// CONFIG RESETSTAT, from within a tick.
    pub fn reset(&mut self) {
        let Phases { began_ns, mark_ns, tick_ns, .. } = *self;
        // The commands counted so far are forgotten, too.
        *self = Phases { began_ns, mark_ns, tick_ns, ..Phases::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_time_belongs_to_a_phase() {
        let mut phases = Phases::default();
        phases.begin(1000, 10);
        phases.end(Phase::Read, 1300);
        phases.end(Phase::Execute, 2300);
        phases.end(Phase::Read, 2400);
        phases.end(Phase::Write, 2900);
        assert_eq!(phases.finish(13), 1900);
        phases.begin(5000, 13);
        phases.end(Phase::Read, 5000);
        phases.end(Phase::Write, 5100);
        assert_eq!(phases.finish(14), 100);
        let of = |phase| {
            let durations = phases.of(phase);
            (durations.count, durations.sum_ns, durations.max_ns)
        };
        assert_eq!(of(Phase::Read), (1, 400, 400));
        assert_eq!(of(Phase::Execute), (1, 1000, 1000));
        assert_eq!(of(Phase::Write), (2, 600, 500));
        assert_eq!(of(Phase::Cron), (0, 0, 0));
        assert_eq!((phases.ticks().count, phases.ticks().sum_ns), (2, 2000));
        assert_eq!(phases.most_commands(), 3);
        let last: u64 = phases.of_tick().map(|(_, ns)| ns).sum();
        assert_eq!(last, 100);
    }

    #[test]
    fn phases_are_where_their_numbers_say() {
        for (index, phase) in PHASES.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
        }
    }

    #[test]
    fn percentiles_do_not_pass_the_longest() {
        let mut durations = Durations::default();
        (1..=100).for_each(|n| durations.record(n * 1_000_000));
        let median = durations.percentile(50.0);
        assert!((50_000_000..54_000_000).contains(&median), "{median}");
        assert_eq!(durations.percentile(100.0), 100_000_000);
        durations.record(1 << 50);
        assert_eq!(durations.max_ns, 1 << 50);
    }

    #[test]
    fn a_reset_leaves_the_tick_that_is_under_way() {
        let mut phases = Phases::default();
        phases.begin(0, 100);
        phases.end(Phase::Execute, 700);
        phases.reset();
        phases.end(Phase::Write, 900);
        assert_eq!(phases.finish(1), 900);
        assert_eq!((phases.ticks().count, phases.of(Phase::Execute).sum_ns), (1, 700));
        assert_eq!(phases.most_commands(), 1);
    }
}
