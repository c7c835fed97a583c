//! Puts the parts in order: the tick, the gate, execution, effects. The subsystems themselves are
//! passive; only here is decided what happens when.

pub mod apply;
pub mod blocking;
pub mod client;
pub mod client_list;
pub mod client_memory;
pub mod command;
pub mod config;
pub mod connections;
pub mod ctx;
pub mod effects;
pub mod error;
pub mod execute;
pub mod free;
pub mod gate;
pub mod identity;
pub mod info;
pub mod introspect;
pub mod keys;
pub mod listeners;
pub mod loading;
pub mod log;
pub mod logging;
pub mod monitors;
pub mod notify;
pub mod oom;
pub mod pause;
pub mod process;
pub mod pubsub;
pub mod redact;
pub mod slowlog;
pub mod start;
pub mod stats;
pub mod tick;
pub mod transactions;

use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::persist::aof;
use crate::store::Keyspace;
use blocking::Blocking;
use client::Client;
use client_memory::ClientMemory;
use command::CommandTable;
use config::Config;
use ctx::Origin;
use effects::Effects;
use free::Free;
use identity::Identity;
use listeners::Listeners;
use loading::LoadingInfo;
use log::Log;
use monitors::Monitors;
use oom::OomScore;
use pause::Pause;
use pubsub::PubSub;
use slab::Slab;
use slowlog::Slowlog;
use stats::Stats;
use std::path::PathBuf;
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
    pub stats: Stats,
    pub effects: Effects,
    /// Clients that wait for keys.
    pub blocking: Blocking,
    /// Clients that CLIENT PAUSE holds back.
    pub pause: Pause,
    /// Clients that watch keys.
    pub watchers: Watchers,
    pub pubsub: PubSub,
    /// Clients that see what others execute.
    pub monitors: Monitors,
    pub slowlog: Slowlog,
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
}

/// Parts of the server that tests stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Keys expire when they are due, and not only when somebody looks at them.
    pub active_expire: bool,
    /// The periodic work is done. A shutdown that a signal asks for is part of it.
    pub cron: bool,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches { active_expire: true, cron: true }
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
        let mut server = Server {
            stats: Stats::new(commands.ids()),
            config,
            commands,
            clients: Slab::new(),
            client_memory: ClientMemory::default(),
            effects: Effects::default(),
            blocking: Blocking::default(),
            pause: Pause::default(),
            watchers: Watchers::default(),
            pubsub: PubSub::default(),
            monitors: Monitors::default(),
            slowlog: Slowlog::default(),
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
            clock,
        };
        server.limit_client_memory();
        Instance { server, keys }
    }

    /// Reads both clocks: at the beginning of a tick.
    pub fn read_clocks(&mut self) {
        let Instance { server, keys } = self;
        server.base_ms = server.clock.unix_ms();
        server.base_ns = server.clock.monotonic_ns();
        server.last_ns = server.base_ns;
        keys.set_now(server.base_ms);
    }
}

impl Server {
    /// Reads the clock after a command: returns the nanoseconds it took, and moves the time that
    /// the next command sees.
    #[inline]
    fn advance_clock(&mut self, keys: &mut Keyspace, origin: Origin) -> u64 {
        let now = self.clock.monotonic_ns();
        let took = now.saturating_sub(self.last_ns);
        self.last_ns = now;
        if origin == Origin::Exec {
            // Time stands still within a transaction.
            return took;
        }
        let now_ms = self.base_ms + (now.saturating_sub(self.base_ns) / 1_000_000) as i64;
        if now_ms != keys.now_ms {
            keys.set_now(now_ms);
        }
        took
    }

    /// Records keys that expired without a command that changes anything.
    pub fn tell_expired(&mut self, keys: &mut Keyspace) {
        match self.log.buffer() {
            Some(log) => self.effects.record_expired(log, keys),
            None => keys.expired_untold.clear(),
        }
    }
}
