//! Loading the data at the start: in slices, between which the loop serves others. The commands of
//! an append-only file are executed like a client's, by a client of the server's own.

use super::client::Client;
use super::command::{Entry, flag};
use super::ctx::Origin;
use super::execute::{Request, execute};
use super::look_ahead::LookAhead;
use super::{Server, gate, login};
use crate::persist::aof::{Loader, Run, Step};
use crate::persist::files::{FileReader, Files, Open, reason};
use crate::persist::rdb;
use crate::persist::snapshot::Pause;
use crate::resp::parse::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::store::Keyspace;
use log::info;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of an append-only file taken in one slice, about a millisecond's work.
const SLICE: u64 = 256 * 1024;
/// Progress is logged this often, in milliseconds.
const REPORT_MS: i64 = 5000;

/// What is loaded.
pub enum Source {
    Aof(Box<Loader>),
    Rdb(Box<RdbFile>),
}

/// An RDB file being loaded.
pub struct RdbFile {
    path: PathBuf,
    loader: rdb::AheadLoader<FileReader>,
    len: u64,
}

impl RdbFile {
    /// None if there is no such file.
    ///
    /// # Errors
    /// Why it cannot be loaded, for the log.
    pub fn open(
        files: &dyn Files,
        path: &Path,
        options: rdb::Options,
    ) -> Result<Option<Source>, String> {
        let file = match files.open(path, Open::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                let path = path.display();
                return Err(format!("Fatal error loading the DB, {path}: {}", reason(&e)));
            }
        };
        let len = file.len().map_err(|e| reason(&e))?;
        let loader = rdb::AheadLoader::new(FileReader::new(Arc::from(file)), options, len);
        let loader = loader.map_err(|e| failed(path, &e))?;
        Ok(Some(Source::Rdb(Box::new(RdbFile { path: path.into(), loader, len }))))
    }
}

fn failed(path: &Path, e: &rdb::Error) -> String {
    format!("Fatal error loading the DB, {}: {e}", path.display())
}

impl Source {
    /// Keys and commands loaded so far.
    fn count(&self) -> u64 {
        match self {
            Source::Aof(loader) => loader.progress().keys + loader.progress().commands,
            Source::Rdb(file) => file.loader.loaded().keys,
        }
    }

    /// Bytes there are, and bytes done with.
    fn progress(&self) -> (u64, u64) {
        match self {
            Source::Aof(loader) => (loader.progress().total, loader.progress().loaded),
            Source::Rdb(file) => (file.len, file.loader.offset()),
        }
    }
}

pub struct Loading {
    source: Source,
    client_key: usize,
    commands: Commands,
    began_ms: i64,
    reported_ms: i64,
}

/// Loads a file at once, while nobody else is served.
pub fn load_now(server: &mut Server, keys: &mut Keyspace, source: Source) -> Result<(), String> {
    let mut loading = Loading::begin(server, keys, source);
    let result = loop {
        match loading.step(server, keys) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    loading.end(server, keys);
    result
}

/// For INFO.
#[derive(Clone, Copy, Debug)]
pub struct LoadingInfo {
    pub began_ms: i64,
    pub total: u64,
    pub loaded: u64,
}

impl Loading {
    /// From now on the instance is loading: clients are told so, and nothing expires.
    pub fn begin(server: &mut Server, keys: &mut Keyspace, source: Source) -> Loading {
        // The file may hold whatever anybody was ever allowed to do.
        let user = login::server_user(server.commands);
        let client = Client::new(0, None, keys.now_ms / 1000, user);
        let client_key = server.clients.insert(Box::new(client));
        server.state |= gate::state::LOADING;
        keys.expiry_enabled = false;
        let began_ms = keys.now_ms;
        let commands = Commands::default();
        Loading { source, client_key, commands, began_ms, reported_ms: began_ms }
    }

    /// Loads the next piece; false when all is loaded.
    ///
    /// # Errors
    /// Lines for the log.
    pub fn step(&mut self, server: &mut Server, keys: &mut Keyspace) -> Result<bool, String> {
        let Loading { source, client_key, commands, .. } = self;
        let count = source.count();
        let more = match source {
            Source::Aof(loader) => {
                let slice = SLICE.min(server.config.loading_process_events_interval_bytes);
                let mut executor = Executor { server, client_key: *client_key, commands };
                let step = loader.step_in_groups(slice, keys, &mut executor);
                step.map_err(|e| e.to_string())? == Step::More
            }
            Source::Rdb(file) => file.loader.step(keys).map_err(|e| failed(&file.path, &e))?,
        };
        Pause::new(server.config.key_load_delay).between(count, self.source.count());
        let (began_ms, (total, loaded)) = (self.began_ms, self.source.progress());
        server.loading = Some(LoadingInfo { began_ms, total, loaded });
        self.report(keys.now_ms);
        Ok(more)
    }

    fn report(&mut self, now_ms: i64) {
        if now_ms - self.reported_ms < REPORT_MS {
            return;
        }
        self.reported_ms = now_ms;
        let (total, loaded) = self.source.progress();
        let percent = loaded as f64 * 100.0 / total.max(1) as f64;
        info!(
            "Loading DB in memory: {percent:.1}% ({} of {} MB) after {:.1} seconds",
            loaded >> 20,
            total >> 20,
            (now_ms - self.began_ms) as f64 / 1000.0
        );
    }

    /// Ends loading, successful or not; returns what was loaded.
    pub fn end(self, server: &mut Server, keys: &mut Keyspace) -> Source {
        server.clients.remove(self.client_key);
        server.state &= !gate::state::LOADING;
        server.loading = None;
        keys.expiry_enabled = true;
        if let Source::Rdb(file) = &self.source {
            let loaded = file.loader.loaded();
            server.snapshots.last_load = loaded.clone();
            let (keys, expired) = (loaded.keys, loaded.expired);
            info!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}.");
        }
        self.source
    }
}

/// What is kept from one group of commands to the next.
#[derive(Default)]
struct Commands {
    /// Those since MULTI, to be executed at EXEC and dropped if that never comes.
    transaction: Option<Vec<OwnedArgs>>,
    out: Reply,
    look_ahead: LookAhead,
    entries: Vec<Option<&'static Entry>>,
}

/// Executes the commands of a file.
struct Executor<'a> {
    server: &'a mut Server,
    client_key: usize,
    commands: &'a mut Commands,
}

impl Run for Executor<'_> {
    fn run(&mut self, keys: &mut Keyspace, commands: &[Args<'_>]) -> Result<(), (usize, String)> {
        let Commands { look_ahead, entries, .. } = &mut *self.commands;
        look_ahead.clear();
        entries.clear();
        for (nth, args) in commands.iter().enumerate() {
            let entry = find(self.server, *args);
            entries.push(entry);
            if let Some(entry) = entry {
                look_ahead.add(keys, nth, entry, *args);
            }
        }
        // A command that selects another database, or waits for EXEC, makes it fetch in vain.
        look_ahead.fetch(keys, self.server.clients[self.client_key].db, |nth| commands[nth]);
        commands.iter().enumerate().try_for_each(|(nth, args)| {
            let entry = self.commands.entries[nth];
            self.run_or_queue(keys, *args, entry).map_err(|why| (nth, why))
        })
    }
}

/// We write commands under their own names; Redis writes them as they were called.
fn find(server: &Server, args: Args<'_>) -> Option<&'static Entry> {
    let own = server.commands.find_original(args.get(0));
    own.or_else(|| server.commands.find(args.get(0)))
}

impl Executor<'_> {
    fn run_or_queue(
        &mut self,
        keys: &mut Keyspace,
        args: Args<'_>,
        entry: Option<&'static Entry>,
    ) -> Result<(), String> {
        let name = args.get(0);
        let transaction = &mut self.commands.transaction;
        if name.eq_ignore_ascii_case(b"multi") {
            *transaction = Some(Vec::new());
        } else if name.eq_ignore_ascii_case(b"exec") {
            for command in transaction.take().unwrap_or_default() {
                let entry = find(self.server, command.args());
                self.run_one(keys, command.args(), entry)?;
            }
        } else if let Some(commands) = transaction {
            commands.push(args.iter().collect());
        } else {
            self.run_one(keys, args, entry)?;
        }
        Ok(())
    }

    /// Executes one command. An error reply is what it was when the command ran first; a command or
    /// a database that does not exist means that the file is not ours to guess at.
    fn run_one(
        &mut self,
        keys: &mut Keyspace,
        args: Args<'_>,
        entry: Option<&'static Entry>,
    ) -> Result<(), String> {
        let Some(entry) = entry else {
            return Err(format!("Unknown command '{}'", String::from_utf8_lossy(args.get(0))));
        };
        // A subcommand's own row says whether it writes. What cannot be resolved fails below.
        let resolved = gate::resolve(entry, args).unwrap_or(entry);
        if !belongs_into_files(resolved) {
            let name = &resolved.full_name;
            return Err(format!("The command '{name}' does not belong into a file,"));
        }
        let Executor { server, client_key, commands: Commands { out, .. } } = self;
        let request = Request { args, entry: Some(entry), verbatim: None };
        execute(server, keys, Origin::File, *client_key, request, out);
        let is_error = out.as_bytes().starts_with(b"-");
        let no_memory = out.as_bytes().starts_with(b"-OOM");
        server.stats.unexpected_errors += u64::from(is_error);
        out.truncate(0);
        if no_memory {
            // Whether that is damage or a file of a larger machine: the data would not be whole.
            let name = resolved.full_name.to_uppercase();
            return Err(format!("There is no memory for what {name} asks for,"));
        }
        if is_error && !resolved.command.has(flag::WRITE) {
            // A SELECT: what follows would overwrite keys of the database selected before.
            let last = String::from_utf8_lossy(args.get(args.len() - 1)).into_owned();
            let databases = server.config.databases;
            return Err(match &resolved.full_name[..] {
                "select" => format!("No database {last}: 'databases' is {databases}"),
                name => format!("The command '{name}' fails"),
            });
        }
        Ok(())
    }
}

/// Whether a command may be executed for a file. Those that concern the server or the client that
/// asks, and not the data, come from nobody but who has damaged the file; some, like DEBUG LOADAOF,
/// would not even end. Those that scripts may not call and that are not replicated are them.
fn belongs_into_files(entry: &Entry) -> bool {
    let has = |flags| entry.command.has(flags);
    has(flag::WRITE) || has(flag::MAY_REPLICATE) || !(has(flag::NOSCRIPT) || has(flag::ADMIN))
}
