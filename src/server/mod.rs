//! Puts the parts in order: the tick, the gate, execution, effects. The subsystems themselves are
//! passive; only here is decided what happens when.

pub mod acl;
pub mod apply;
pub mod blocking;
pub mod client;
pub mod client_list;
pub mod client_memory;
pub mod command;
pub mod config;
pub mod connections;
pub mod ctx;
pub mod declarations;
pub mod effects;
pub mod error;
pub mod execute;
pub mod free;
pub mod gate;
pub mod identity;
pub mod info;
pub mod introspect;
pub mod keys;
pub mod latency;
pub mod listeners;
pub mod loading;
pub mod log;
pub mod logging;
pub mod login;
pub mod look_ahead;
pub mod memory;
pub mod migrate;
pub mod monitors;
pub mod notify;
pub mod oom;
pub mod pause;
pub mod phases;
pub mod process;
pub mod pubsub;
pub mod redact;
pub mod slowlog;
pub mod snapshot;
pub mod start;
pub mod stats;
pub mod tick;
pub mod tracking;
pub mod transactions;

use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::persist::aof;
use crate::store::Keyspace;
use acl::Acl;
use blocking::Blocking;
use client::Client;
use client_memory::ClientMemory;
use command::CommandTable;
use config::Config;
use ctx::Origin;
use effects::Effects;
use free::Free;
use identity::Identity;
use latency::Latency;
use listeners::Listeners;
use loading::LoadingInfo;
use log::Log;
use migrate::Migrations;
use monitors::Monitors;
use oom::OomScore;
use pause::Pause;
use phases::{Phase, Phases};
use pubsub::PubSub;
use slab::Slab;
use slowlog::Slowlog;
use snapshot::Snapshots;
use stats::Stats;
use std::path::PathBuf;
use tracking::Tracking;
use transactions::Watchers;

/// Everything a command can reach: the data, and the server around it. Two halves, so that a
/// handler can hold a key open and still look at the configuration.
pub struct Instance {
    pub server: Server,
    pub keys: Keyspace,
}

pub struct Server {
    pub config: Config,
    pub commands: &'static CommandTable,
    /// Boxed, so that a growing slab moves pointers and leaves no large holes behind.
    pub clients: Slab<Box<Client>>,
    /// What clients take, as far as `maxmemory-clients` wants it counted.
    pub client_memory: ClientMemory,
    /// Keys of clients that were told to close while others had their turn; the loop, which does
    /// not look at idle clients, closes them at the end of the tick.
    pub doomed: Vec<usize>,
    /// Who there is, and what they may do.
    pub acl: Acl,
    pub stats: Stats,
    /// What the loop spends its time on.
    pub phases: Phases,
    /// What took long.
    pub latency: Latency,
    pub effects: Effects,
    /// Clients that wait for keys.
    pub blocking: Blocking,
    /// Clients that CLIENT PAUSE holds back.
    pub pause: Pause,
    /// Keys on their way to other servers.
    pub migrations: Migrations,
    /// Clients that watch keys.
    pub watchers: Watchers,
    pub pubsub: PubSub,
    /// Clients that cache what they read.
    pub tracking: Tracking,
    /// Clients that see what others execute.
    pub monitors: Monitors,
    pub slowlog: Slowlog,
    pub snapshots: Snapshots,
    pub log: Log,
    pub free: Free,
    pub oom_score: OomScore,
    pub clock: Clock,
    pub rng: Rng,
    /// Bits of `gate::state` that hold for all clients.
    pub state: u32,
    /// The file the configuration came from.
    pub config_file: Option<PathBuf>,
    pub identity: Identity,
    pub listeners: Listeners,
    /// What DEBUG switches off and on.
    pub switches: Switches,
    /// When the data was saved last (seconds since 1970; at first the start), and the changes
    /// counted until then.
    pub saved_s: i64,
    pub saved_dirty: u64,
    /// Bytes of memory the process had taken before there was any data.
    pub startup_memory: u64,
    /// How an append-only file is reached, once the server has started.
    pub log_options: Option<aof::Options>,
    /// Progress, while a file is being loaded.
    pub loading: Option<LoadingInfo>,
    /// A shutdown that a command or signal asked for, to be carried out at the end of the tick.
    pub shutdown: Option<Shutdown>,
    /// The id the next client gets.
    pub next_client_id: u64,
    /// The tick's time: both clocks as they were read last.
    last_ns: u64,
    base_ms: i64,
    base_ns: u64,
    /// When the next millisecond begins.
    next_ms_ns: u64,
}

/// Parts of the server that tests stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Keys expire when they are due, and not only when somebody looks at them.
    pub active_expire: bool,
    /// The periodic work is done. A shutdown that a signal asks for is part of it.
    pub cron: bool,
    /// RESTORE refuses payloads whose checksum is wrong.
    pub payload_checksums: bool,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches { active_expire: true, cron: true, payload_checksums: true }
    }
}

/// How SHUTDOWN is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// Go even if something cannot be saved.
    pub force: bool,
    /// SHUTDOWN SAVE, NOSAVE; by the save points if neither.
    pub save: Option<bool>,
    /// The client that asked, who hears of a failure; none for a signal.
    pub client_key: Option<usize>,
}

impl Instance {
    pub fn new(config: Config, commands: &'static CommandTable, clock: Clock) -> Instance {
        let now_ms = clock.unix_ms();
        let mut rng = Rng::from_os();
        let identity = Identity::new(&mut rng, now_ms);
        let mut keys = Keyspace::new(config.databases as usize, rng.next_u64(), now_ms);
        keys.access.set_lfu(apply::lfu(&config));
        notify::listen(config.notify_keyspace_events, &mut keys);
        let mut acl = Acl::new(commands);
        login::set_default_password(&mut acl, &config.requirepass, commands);
        let mut server = Server {
            acl,
            stats: Stats::new(commands.ids(), &config),
            phases: Phases::default(),
            latency: Latency::default(),
            config,
            commands,
            clients: Slab::new(),
            client_memory: ClientMemory::default(),
            effects: Effects::default(),
            blocking: Blocking::default(),
            pause: Pause::default(),
            migrations: Migrations::default(),
            watchers: Watchers::default(),
            pubsub: PubSub::default(),
            tracking: Tracking::new(rng.next_u64()),
            monitors: Monitors::default(),
            slowlog: Slowlog::default(),
            snapshots: Snapshots::default(),
            log: Log::default(),
            free: Free::new(),
            oom_score: OomScore::default(),
            rng,
            state: 0,
            config_file: None,
            identity,
            listeners: Listeners::default(),
            switches: Switches::default(),
            saved_s: now_ms / 1000,
            saved_dirty: 0,
            startup_memory: process::memory().anonymous,
            log_options: None,
            loading: None,
            doomed: Vec::new(),
            shutdown: None,
            next_client_id: 1,
            last_ns: clock.monotonic_ns(),
            base_ms: now_ms,
            base_ns: clock.monotonic_ns(),
            next_ms_ns: clock.monotonic_ns(),
            clock,
        };
        server.limit_client_memory();
        server.effects.note_time(server.config.aof_timestamp_enabled);
        Instance { server, keys }
    }

    /// Reads both clocks: at the beginning of a tick.
    pub fn read_clocks(&mut self) {
        let Instance { server, keys } = self;
        server.base_ms = server.clock.unix_ms();
        server.base_ns = server.clock.monotonic_ns();
        server.last_ns = server.base_ns;
        server.next_ms_ns = server.base_ns + 1_000_000;
        keys.set_now(server.base_ms);
    }

    /// At the end of a tick: phases that took long are remembered.
    fn end_phases(&mut self) {
        let Instance { server, keys } = self;
        let tick_ns = server.phases.finish(server.stats.total_commands);
        let threshold_ms = server.config.latency_monitor_threshold;
        if threshold_ms > 0 && tick_ns / 1_000_000 >= threshold_ms {
            server.monitor_phases(keys.now_ms);
        }
    }
}

impl Server {
    /// Reads the clock after a command that began at `began_ns`: returns the nanoseconds it took,
    /// and moves the time that the next command sees.
    #[inline]
    fn advance_clock(&mut self, keys: &mut Keyspace, origin: Origin, began_ns: u64) -> u64 {
        let now = self.clock.monotonic_ns();
        let took = now.saturating_sub(began_ns);
        self.last_ns = now;
        if origin == Origin::Exec {
            // Time stands still within a transaction.
            return took;
        }
        if now >= self.next_ms_ns {
            self.advance_time(keys, now);
        }
        took
    }

    /// Another millisecond of the tick's time has begun.
    #[cold]
    fn advance_time(&mut self, keys: &mut Keyspace, now_ns: u64) {
        let passed_ms = now_ns.saturating_sub(self.base_ns) / 1_000_000;
        self.next_ms_ns = self.base_ns + (passed_ms + 1) * 1_000_000;
        keys.set_now(self.base_ms + passed_ms as i64);
    }

    /// Reads the clock where a phase of the loop's work ends.
    fn end_phase(&mut self, phase: Phase) {
        self.last_ns = self.clock.monotonic_ns();
        self.phases.end(phase, self.last_ns);
    }

    /// The same where the clock was read last: commands do that when they end.
    fn end_phase_there(&mut self, phase: Phase) {
        self.phases.end(phase, self.last_ns);
    }

    /// Notes that something took long, if it is as long as the latency monitor wants to know.
    pub fn monitor(&mut self, event: &'static str, took_ns: u64, now_ms: i64) {
        let took_ms = took_ns / 1_000_000;
        let threshold_ms = self.config.latency_monitor_threshold;
        if threshold_ms > 0 && took_ms >= threshold_ms {
            self.latency.add(event, took_ms, now_ms / 1000);
        }
    }

    #[cold]
    fn monitor_phases(&mut self, now_ms: i64) {
        let took: Vec<(Phase, u64)> = self.phases.of_tick().collect();
        took.into_iter().for_each(|(phase, ns)| self.monitor(phase.event(), ns, now_ms));
    }

    /// The log thread's waits for the disk, under Redis's names where it has one.
    fn monitor_disk(&mut self, now_ms: i64) {
        let delays = self.log.take_delays();
        self.monitor("aof-write", delays.write_ns, now_ms);
        self.monitor("aof-fsync-always", delays.awaited_sync_ns, now_ms);
        self.monitor("aof-fsync", delays.sync_ns, now_ms);
    }

    /// Records keys that expired without a command that changes anything.
    pub fn tell_expired(&mut self, keys: &mut Keyspace) {
        match self.log.buffer() {
            Some(log) => self.effects.record_expired(log, keys),
            None => keys.expired_untold.clear(),
        }
    }
}
