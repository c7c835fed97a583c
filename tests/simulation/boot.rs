//! A server on a simulated disk, without its loop: started as the real one starts, and the history
//! of the data that it is measured by.

use super::disk::Disk;
use super::journal::Image;
use goredis::base::clock::Clock;
use goredis::commands::FAMILIES;
use goredis::persist::aof::{Loader, Options};
use goredis::persist::rdb;
use goredis::server::client::Client;
use goredis::server::command::CommandTable;
use goredis::server::config::{Allowed, AppendFsync, Config};
use goredis::server::loading::{Loading, RdbFile, Source, load_now};
use goredis::server::{Instance, log as server_log};
use goredis::store::digest::Digest;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

static COMMANDS: LazyLock<&'static CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

const START_MS: i64 = 1_700_000_000_000;
pub const DIR: &str = "/sim";
/// A directory that a loss of power empties.
pub const VOLATILE: &str = "/shm";

/// How a server is configured.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub fsync: AppendFsync,
    pub appendonly: bool,
    pub ring: Ring,
    pub rdb_preamble: bool,
    /// All that fills blocks is written past the page cache, if synced at all; otherwise nothing.
    pub past_cache: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    Beside,
    InMemoryOfMachine,
    None,
}

impl Setup {
    fn config(&self) -> Config {
        Config {
            dir: DIR.into(),
            databases: 2,
            save: Vec::new(),
            appendonly: self.appendonly,
            appendfsync: self.fsync,
            aof_use_rdb_preamble: self.rdb_preamble,
            // Eight segments of a page, so that it goes round often; or what fills blocks often.
            aof_ring_size: match (self.ring, self.past_cache) {
                (Ring::None, _) => 0,
                (_, false) => 8 * 4096,
                (_, true) => 8 * 3 * 4096,
            },
            aof_ring_dir: match self.ring {
                Ring::InMemoryOfMachine => VOLATILE.to_string(),
                _ => String::new(),
            },
            enable_debug_command: Allowed::Yes,
            ..Config::default()
        }
    }
}

pub fn empty_image() -> Image {
    Image::empty(&[DIR, VOLATILE])
}

/// A server and a client of it.
pub struct Booted {
    pub instance: Instance,
    pub client: usize,
}

impl Booted {
    pub fn digest(&self) -> [u8; 20] {
        Digest::of_all(&self.instance.keys).0
    }
}

/// Starts a server with what is on the disk.
///
/// # Errors
/// Why it does not start.
pub fn boot(disk: &Disk, setup: &Setup) -> Result<Booted, String> {
    let mut instance = Instance::new(setup.config(), *COMMANDS, Clock::manual(START_MS));
    let Instance { server, .. } = &mut instance;
    let files = Arc::new(disk.clone());
    let options = server_log::options(&server.config, files, Arc::new(|| {}), server.clock.clone());
    let past_cache_from = if setup.past_cache { 1 } else { usize::MAX };
    let options = Options { past_cache_from, ..options };
    server.log_options = Some(options.clone());
    match setup.appendonly {
        true => load_aof(&mut instance, &options)?,
        false => load_rdb(&mut instance, disk)?,
    }
    let Instance { server, .. } = &mut instance;
    let user = server.acl.default_user().clone();
    let client = server.clients.insert(Box::new(Client::new(1, None, START_MS / 1000, user)));
    Ok(Booted { instance, client })
}

fn load_aof(instance: &mut Instance, options: &Options) -> Result<(), String> {
    let Instance { server, keys } = instance;
    let loader = Loader::open(options).map_err(|e| e.to_string())?;
    let mut loading = Loading::begin(server, keys, Source::Aof(Box::new(loader)));
    while loading.step(server, keys)? {}
    let Source::Aof(loader) = loading.end(server, keys) else { unreachable!("it was an AOF") };
    server.log.start(options, loader.finish())
}

/// Loads what BGSAVE has left, if anything.
pub fn load_rdb(instance: &mut Instance, disk: &Disk) -> Result<(), String> {
    let Instance { server, keys } = instance;
    let path = server.config.dir.join(&server.config.dbfilename);
    let options = rdb::Options { limits: server.config.value_limits(), ..rdb::Options::default() };
    let options = rdb::Options { checks_sum: true, ..options };
    match RdbFile::open(disk, &path, options)? {
        Some(source) => load_now(server, keys, source),
        None => Ok(()),
    }
}

/// What is in the RDB file of an image.
///
/// # Errors
/// Why it cannot be loaded.
pub fn rdb_digest(image: &Image) -> Result<[u8; 20], String> {
    let disk = Disk::silent(image.clone());
    let config = Config { dir: DIR.into(), databases: 2, ..Config::default() };
    let mut instance = Instance::new(config, *COMMANDS, Clock::manual(START_MS));
    load_rdb(&mut instance, &disk)?;
    Ok(Digest::of_all(&instance.keys).0)
}

/// What the data were after each command since the beginning.
#[derive(Clone, Default)]
pub struct History {
    states: Vec<[u8; 20]>,
    at: HashMap<[u8; 20], Vec<usize>>,
    /// Those of commands that were lost, too.
    ever: HashSet<[u8; 20]>,
}

impl History {
    /// How many commands there were; at first, call [`History::push`] with the empty data.
    pub fn executed(&self) -> usize {
        self.states.len() - 1
    }

    pub fn push(&mut self, state: [u8; 20]) {
        self.at.entry(state).or_default().push(self.states.len());
        self.states.push(state);
        self.ever.insert(state);
    }

    /// Whether the data ever were so, be it before a loss of power.
    pub fn ever_was(&self, state: &[u8; 20]) -> bool {
        self.ever.contains(state)
    }

    /// Some were lost.
    pub fn truncate(&mut self, executed: usize) {
        for state in self.states.drain(executed + 1..) {
            if let Some(at) = self.at.get_mut(&state) {
                at.retain(|at| *at <= executed);
            }
        }
    }

    /// The most commands behind which the data were so, of those allowed.
    ///
    /// # Errors
    /// In words: they never were, or at another time.
    pub fn find(&self, state: &[u8; 20], least: usize, most: usize) -> Result<usize, String> {
        let at = self.at.get(state).map_or(&[][..], |at| at);
        let found = at.iter().rev().find(|at| (least..=most).contains(*at));
        found.copied().ok_or_else(|| match at {
            [] => format!("the data never were so; {least} to {most} commands should be there"),
            _ => format!("of {least} to {most} commands it has {at:?}"),
        })
    }
}
