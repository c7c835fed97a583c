//! Loading the append-only file: its commands are executed like a client's, by a client of the
//! server's own, in slices between which the loop serves others.

use super::client::Client;
use super::command::flag;
use super::ctx::Origin;
use super::execute::{Request, execute};
use super::{Server, gate};
use crate::persist::aof::{LoadError, Loader, Step};
use crate::resp::parse::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::store::Keyspace;
use log::info;

/// Bytes of the file taken in one slice, about a millisecond's work.
const SLICE: u64 = 128 * 1024;
/// Progress is logged this often, in milliseconds.
const REPORT_MS: i64 = 5000;

pub struct Loading {
    loader: Loader,
    client_key: usize,
    out: Reply,
    /// Commands since MULTI, to be executed at EXEC and dropped if that never comes.
    transaction: Option<Vec<OwnedArgs>>,
    began_ms: i64,
    reported_ms: i64,
}

/// Loads a file at once, while nobody else is served.
pub fn load_now(server: &mut Server, keys: &mut Keyspace, loader: Loader) -> Result<(), LoadError> {
    let mut loading = Loading::begin(server, keys, loader);
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
    pub fn begin(server: &mut Server, keys: &mut Keyspace, loader: Loader) -> Loading {
        let client = Client::new(0, None, keys.now_ms / 1000, true);
        let client_key = server.clients.insert(Box::new(client));
        server.state |= gate::state::LOADING;
        keys.expiry_enabled = false;
        let began_ms = keys.now_ms;
        let out = Reply::default();
        Loading { loader, client_key, out, transaction: None, began_ms, reported_ms: began_ms }
    }

    /// Executes the next commands; false when all are done.
    pub fn step(&mut self, server: &mut Server, keys: &mut Keyspace) -> Result<bool, LoadError> {
        let Loading { loader, client_key, out, transaction, .. } = self;
        let step = loader
            .step(SLICE, &mut |args| run(server, keys, *client_key, args, transaction, out))?;
        let progress = self.loader.progress();
        let began_ms = self.began_ms;
        let info = LoadingInfo { began_ms, total: progress.total, loaded: progress.loaded };
        server.loading = Some(info);
        self.report(keys.now_ms);
        Ok(step == Step::More)
    }

    fn report(&mut self, now_ms: i64) {
        if now_ms - self.reported_ms < REPORT_MS {
            return;
        }
        self.reported_ms = now_ms;
        let progress = self.loader.progress();
        let percent = progress.loaded as f64 * 100.0 / progress.total.max(1) as f64;
        info!(
            "Loading DB in memory: {percent:.1}% ({} of {} MB) after {:.1} seconds",
            progress.loaded >> 20,
            progress.total >> 20,
            (now_ms - self.began_ms) as f64 / 1000.0
        );
    }

    /// Ends loading, successful or not; returns the loader.
    pub fn end(self, server: &mut Server, keys: &mut Keyspace) -> Loader {
        server.clients.remove(self.client_key);
        server.state &= !gate::state::LOADING;
        server.loading = None;
        keys.expiry_enabled = true;
        self.loader
    }
}

fn run(
    server: &mut Server,
    keys: &mut Keyspace,
    client_key: usize,
    args: Args<'_>,
    transaction: &mut Option<Vec<OwnedArgs>>,
    out: &mut Reply,
) -> Result<(), String> {
    let name = args.get(0);
    if name.eq_ignore_ascii_case(b"multi") {
        *transaction = Some(Vec::new());
    } else if name.eq_ignore_ascii_case(b"exec") {
        for command in transaction.take().unwrap_or_default() {
            run_one(server, keys, client_key, command.args(), out)?;
        }
    } else if let Some(commands) = transaction {
        commands.push(args.iter().collect());
    } else {
        run_one(server, keys, client_key, args, out)?;
    }
    Ok(())
}

/// Executes one command of the file. An error reply is what it was when the command ran first; a
/// command or a database that does not exist means that the file is not ours to guess at.
fn run_one(
    server: &mut Server,
    keys: &mut Keyspace,
    client_key: usize,
    args: Args<'_>,
    out: &mut Reply,
) -> Result<(), String> {
    let Some(entry) = server.commands.find(args.get(0)) else {
        return Err(format!("Unknown command '{}'", String::from_utf8_lossy(args.get(0))));
    };
    let request = Request { args, entry: Some(entry), verbatim: None };
    execute(server, keys, Origin::File, client_key, request, out);
    let is_error = out.as_bytes().starts_with(b"-");
    server.stats.unexpected_errors += u64::from(is_error);
    out.truncate(0);
    if is_error && !entry.command.has(flag::WRITE) {
        // A SELECT, for want of others in such a file: what follows would overwrite keys of the
        // database selected before.
        let database = String::from_utf8_lossy(args.get(args.len() - 1)).into_owned();
        let databases = server.config.databases;
        return Err(format!("No database {database}: 'databases' is {databases}"));
    }
    Ok(())
}
