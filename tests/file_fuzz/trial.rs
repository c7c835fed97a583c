//! What is done with a case, in this process: its files are loaded by the code that a start runs,
//! and if they load, random commands are run over the data, which are saved and loaded again.
//! Whatever is wrong is a panic, or the end of the process.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use goredis::base::clock::Clock;
use goredis::base::rng::Rng;
use goredis::commands::FAMILIES;
use goredis::persist::aof::Loader as AofLoader;
use goredis::persist::files::RealFiles;
use goredis::persist::rdb::save::{self, save};
use goredis::persist::rdb::write::Use;
use goredis::persist::rdb::{Loader, Options};
use goredis::resp::Reply;
use goredis::resp::parse::OwnedArgs;
use goredis::server::Instance;
use goredis::server::client::Client;
use goredis::server::command::{CommandTable, flag};
use goredis::server::config::{Allowed, Config};
use goredis::server::ctx::Origin;
use goredis::server::execute::{Request, execute};
use goredis::server::loading::{RdbFile, Source, load_now};
use goredis::server::{log as server_log, login};
use goredis::store::Keyspace;
use goredis::store::digest::Digest;
use goredis::store::record::View;
use goredis::store::table::Records;
use goredis::types::zset::Zset;
use goredis::types::{Object, Value};

use super::case::{Case, Kind, PAYLOAD, RDB};
use super::fuzz::generate::Fuzzer;

pub const NOW_MS: i64 = 1_700_000_000_000;
/// Commands run over what was loaded.
const COMMANDS: usize = 150;
/// What a file may ask for by a single command: the least that the directive allows.
pub const MAX_BULK_LEN: u64 = 1 << 20;

/// Longer strings are not worked on. Bytes.
const HUGE: usize = 8 << 20;

/// The command executed last: for who looks why it did not end.
pub static LAST: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Loaded,
    /// With what the log would say.
    Refused(String),
}

pub fn commands() -> &'static CommandTable {
    static TABLE: std::sync::LazyLock<&'static CommandTable> =
        std::sync::LazyLock::new(|| CommandTable::new(FAMILIES));
    *TABLE
}

/// A server in `dir` that a seed chooses the thresholds of.
pub fn config(seed: u64, dir: &Path) -> Config {
    let mut config = Config {
        appendonly: false,
        dir: dir.into(),
        enable_debug_command: Allowed::Yes,
        proto_max_bulk_len: MAX_BULK_LEN,
        save: Vec::new(),
        aof_ring_size: 1 << 20,
        ..Config::default()
    };
    if seed.is_multiple_of(2) {
        config.hash_max_listpack_entries = 8;
        config.hash_max_listpack_value = 30;
        config.list_max_listpack_size = 6;
        config.set_max_intset_entries = 8;
        config.set_max_listpack_entries = 8;
        config.set_max_listpack_value = 30;
        config.zset_max_listpack_entries = 8;
        config.zset_max_listpack_value = 30;
        config.stream_node_max_entries = 5;
        config.hll_sparse_max_bytes = 150;
    }
    if seed.is_multiple_of(3) {
        config.list_compress_depth = 1;
    }
    config
}

/// A server without its loop, and a client of it.
pub struct Run {
    pub instance: Instance,
    client: usize,
}

impl Run {
    pub fn new(config: Config) -> Run {
        let mut instance = Instance::new(config, commands(), Clock::manual(NOW_MS));
        let user = login::server_user(commands());
        let client = Client::new(1, None, NOW_MS / 1000, user);
        let client = instance.server.clients.insert(Box::new(client));
        Run { instance, client }
    }

    /// Executes a command; returns the reply's bytes.
    pub fn execute(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = words.to_vec();
        let Run { instance: Instance { server, keys }, client } = self;
        let owned: OwnedArgs = words.iter().collect();
        // Nobody would wake who waits.
        let found = server.commands.find(&words[0]);
        let waits = found.is_some_and(|entry| entry.command.has(flag::BLOCKING));
        let origin = if waits { Origin::Exec } else { Origin::Client };
        let mut out = Reply::default();
        let request = Request { args: owned.args(), entry: None, verbatim: None };
        execute(server, keys, origin, *client, request, &mut out);
        out.into_buf()
    }

    pub fn line(&mut self, line: &str) -> Vec<u8> {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        self.execute(&words)
    }
}

/// Runs a case, with its files in `dir`.
pub fn run(case: &Case, dir: &Path) -> Outcome {
    let mut config = config(case.seed, dir);
    config.appendonly = case.kind == Kind::Aof;
    let mut run = Run::new(config);
    if let Err(why) = load(&mut run, case, dir) {
        return Outcome::Refused(why);
    }
    if has_huge_string(&run.instance.keys) {
        // A command may have asked for it, and all that is done with it takes long.
        return Outcome::Loaded;
    }
    // An expiry is told by its time: whether that is past must not change while saving.
    run.instance.keys.expiry_enabled = false;
    save_and_load(&run);
    run.instance.keys.expiry_enabled = true;
    look_at_all(&mut run);
    let mut fuzzer = Fuzzer::new(case.seed, true, |name| {
        !["multi", "watch"].contains(&name) && commands().find(name.as_bytes()).is_some()
            || name.contains('|')
    });
    fuzzer.refocus();
    for _ in 0..COMMANDS {
        let command = fuzzer.next();
        run.execute(&command.args);
    }
    look_at_all(&mut run);
    run.line("SELECT 0");
    run.line("DEBUG DIGEST");
    run.instance.keys.expiry_enabled = false;
    save_and_load(&run);
    Outcome::Loaded
}

fn load(run: &mut Run, case: &Case, dir: &Path) -> Result<(), String> {
    let Run { instance: Instance { server, keys }, .. } = run;
    let files = Arc::new(RealFiles);
    let rdb = server_log::rdb_options(&server.config);
    match case.kind {
        Kind::Payload => {
            let payload = case.files.first().filter(|(name, _)| name == PAYLOAD);
            let payload = payload.map_or(Vec::new(), |(_, bytes)| bytes.clone());
            let mut words = ["RESTORE", "key", "0"].map(|word| word.as_bytes().to_vec()).to_vec();
            let names = ["k:str:0", "k:hash:0", "k:list:0", "k:set:0", "k:zset:0", "k:stream:0"];
            words.push(payload);
            let mut reply = Vec::new();
            for name in names {
                words[1] = name.as_bytes().to_vec();
                reply = run.execute(&words);
            }
            match reply.starts_with(b"+") {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&reply).into_owned()),
            }
        }
        Kind::Rdb => match RdbFile::open(&*files, &dir.join(RDB), rdb)? {
            Some(source) => load_now(server, keys, source),
            None => Ok(()),
        },
        Kind::Aof => {
            let clock = Clock::manual(NOW_MS);
            let options = server_log::options(&server.config, files, Arc::new(|| ()), clock);
            server.log_options = Some(options.clone());
            let loader = AofLoader::open(&options).map_err(|e| e.to_string())?;
            load_now(server, keys, Source::Aof(Box::new(loader)))
        }
    }
}

fn has_huge_string(keys: &Keyspace) -> bool {
    let huge =
        |view: View<'_>| matches!(view.value(), Value::Object(Object::String(s)) if s.len() > HUGE);
    (0..keys.databases()).any(|db| keys.records(db).iter().any(huge))
}

/// The data's digest, their file, and what that loads as.
fn save_and_load(run: &Run) {
    let Instance { server, keys } = &run.instance;
    let before = Digest::of_all(keys).hex();
    let mut bytes = Vec::new();
    let options = save::Options { compresses: true, has_checksum: true, aux: Vec::new() };
    save(keys, &mut bytes, &options, |_| Use::Unknown).unwrap();
    let mut again = Keyspace::new(keys.databases(), 1, NOW_MS);
    again.set_now(NOW_MS);
    again.expiry_enabled = false;
    let options =
        Options { limits: server.config.value_limits(), checks_sum: true, ..Options::default() };
    let mut loader = Loader::new(&bytes[..], options).unwrap();
    while loader.step(&mut again, 1 << 20).unwrap_or_else(|e| panic!("our own file: {e}")) {}
    let after = Digest::of_all(&again).hex();
    if before != after {
        (0..keys.databases()).for_each(|db| compare(keys.records(db), again.records(db)));
    }
}

/// Compares data key by key. A sorted set that became small again is loaded in its small form,
/// where the score -0 is 0, here and in Redis: digests differ then, and numbers do not.
fn compare(saved: &Records, loaded: &Records) {
    assert_eq!(saved.len(), loaded.len(), "keys that were saved, and were loaded");
    for view in saved.iter() {
        let key = view.key();
        let (_, other) = loaded.find(loaded.hash(key), key).expect("a key that was saved");
        let is_same = match (Zset::of(view.value()), Zset::of(other.value())) {
            (Some(zset), Some(loaded)) => {
                zset.iter().eq(loaded.iter()) && view.expire_at() == other.expire_at()
            }
            _ => Digest::of_value(&view) == Digest::of_value(&other),
        };
        assert!(is_same, "what is saved is not what is loaded: {}", key.escape_ascii());
    }
}

/// Every key, and the rest of it that random commands may not meet.
fn look_at_all(run: &mut Run) {
    let databases = run.instance.keys.databases();
    for db in 0..databases {
        let records = run.instance.keys.records(db);
        if records.is_empty() {
            continue;
        }
        let names: Vec<Vec<u8>> =
            records.iter().map(|view| view.key().to_vec()).take(200).collect();
        run.line(&format!("SELECT {db}"));
        for name in names {
            for line in [
                "TYPE *",
                "OBJECT ENCODING *",
                "OBJECT IDLETIME *",
                "DEBUG OBJECT *",
                "MEMORY USAGE * SAMPLES 0",
                "DUMP *",
                "PTTL *",
                "GET *",
                "STRLEN *",
                "GETRANGE * -5 -1",
                "BITCOUNT *",
                "PFCOUNT *",
                "PFADD * a",
                "LRANGE * 0 -1",
                "LINDEX * -1",
                "LPOS * a",
                "SMEMBERS *",
                "SRANDMEMBER * -3",
                "SISMEMBER * 1",
                "HGETALL *",
                "HRANDFIELD * -3 WITHVALUES",
                "HSCAN * 0",
                "HPTTL * FIELDS 1 f1",
                "ZRANGE * 0 -1 WITHSCORES",
                "ZRANGEBYSCORE * -inf (5",
                "ZREVRANGEBYLEX * + -",
                "ZRANK * a",
                "GEOPOS * p1",
                "GEOSEARCH * FROMLONLAT 1 1 BYRADIUS 9000 km ASC",
                "XRANGE * - +",
                "XREVRANGE * + - COUNT 2",
                "XLEN *",
                "XINFO STREAM * FULL",
                "XINFO GROUPS *",
                "XPENDING * g1 - + 10",
                "XREADGROUP GROUP g1 alice COUNT 2 STREAMS * >",
                "XAUTOCLAIM * g1 bob 0 0",
                "SORT * ALPHA",
                "COPY * copied REPLACE",
                "DEBUG DIGEST-VALUE *",
            ] {
                let words: Vec<Vec<u8>> = line
                    .split(' ')
                    .map(|word| if word == "*" { name.clone() } else { word.into() })
                    .collect();
                run.execute(&words);
            }
        }
    }
}

/// Values of a seed's own choice.
pub fn rng(seed: u64) -> Rng {
    Rng::from_seed(seed)
}
