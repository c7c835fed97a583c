//! What the append-only file promises: after `kill -9` under load every acknowledged write is
//! there, and what was not acknowledged is there or not in the order it was sent. And what a
//! damaged file becomes at the next start.
//!
//! `GOREDIS_CRASH_ROUNDS` says how often each policy is put to the test (default 6), and
//! `GOREDIS_CRASH_SEED` repeats a run's choices, though not the scheduler's.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use goredis::base::rng::Rng;
use goredis::resp::read::{Decoder, Value};
use support::server::aof_files;
use support::{Conn, Options, Server, encode, wait_until_eq};

const WRITERS: usize = 4;
/// Far enough for no key to expire during the test, in milliseconds since 1970.
const EXPIRY_BASE_MS: i64 = 9_999_999_000_000;

fn rounds() -> usize {
    std::env::var("GOREDIS_CRASH_ROUNDS").ok().map_or(6, |text| text.parse().unwrap())
}

fn seed() -> u64 {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("GOREDIS_CRASH_SEED").map_or(now_ns, |text| text.parse().unwrap());
    // Shown if the test fails.
    println!("GOREDIS_CRASH_SEED={seed}");
    seed
}

fn with_aof(policy: &str) -> Options {
    Options::new_or_referee().args(&["--appendonly", "yes", "--appendfsync", policy])
}

#[derive(Clone, Debug, PartialEq)]
enum Data {
    Text(String),
    Hash(BTreeMap<String, String>),
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    data: Data,
    expiry_ms: Option<i64>,
}

/// What one writer's keys hold.
type State = BTreeMap<String, Entry>;

#[derive(Clone, Debug)]
enum Write {
    Set(String, String),
    Incr(String),
    Append(String, String),
    HSet(String, String, String),
    HDel(String, String),
    Del(String),
    PExpireAt(String, i64),
    Rename(String, String),
}

impl Write {
    /// A write of this writer; `number` makes its value unlike all others.
    fn random(rng: &mut Rng, writer: usize, number: u64) -> Write {
        let text = format!("w{writer}:text:{}", rng.below(20));
        let hash = format!("w{writer}:hash:{}", rng.below(3));
        // So many that the hash is too large for one step of a snapshot.
        let field = format!("f{}", rng.below(300));
        match rng.below(20) {
            0..=6 => {
                let longest = if rng.below(10) == 0 { 20_000 } else { 50 };
                let padding = "x".repeat(rng.index(longest));
                Write::Set(text, format!("{number}:{padding}"))
            }
            7..=9 => Write::Incr(format!("w{writer}:count:{}", rng.below(4))),
            10 => Write::Append(text, format!("+{number}")),
            11..=14 => Write::HSet(hash, field, number.to_string()),
            15 => Write::HDel(hash, field),
            16..=17 => Write::Del(text),
            18 => Write::PExpireAt(text, EXPIRY_BASE_MS + number as i64),
            _ => Write::Rename(text, format!("w{writer}:text:{}", rng.below(20))),
        }
    }

    fn args(&self) -> Vec<String> {
        let words: Vec<&str> = match self {
            Write::Set(key, value) => vec!["SET", key, value],
            Write::Incr(key) => vec!["INCR", key],
            Write::Append(key, value) => vec!["APPEND", key, value],
            Write::HSet(key, field, value) => vec!["HSET", key, field, value],
            Write::HDel(key, field) => vec!["HDEL", key, field],
            Write::Del(key) => vec!["DEL", key],
            Write::PExpireAt(key, at_ms) => {
                return vec!["PEXPIREAT".to_string(), key.clone(), at_ms.to_string()];
            }
            Write::Rename(from, to) => vec!["RENAME", from, to],
        };
        words.into_iter().map(String::from).collect()
    }

    /// Does the write in the model; returns the reply it must get.
    fn apply(&self, state: &mut State) -> Value {
        let text = |entry: &Entry| match &entry.data {
            Data::Text(text) => text.clone(),
            Data::Hash(_) => unreachable!("a text key holds a hash"),
        };
        match self {
            Write::Set(key, value) => {
                let data = Data::Text(value.clone());
                state.insert(key.clone(), Entry { data, expiry_ms: None });
                Value::Simple(b"OK".to_vec())
            }
            Write::Incr(key) => {
                let count = state.get(key).map_or(0, |entry| text(entry).parse().unwrap()) + 1i64;
                let data = Data::Text(count.to_string());
                state.insert(key.clone(), Entry { data, expiry_ms: None });
                Value::Int(count)
            }
            Write::Append(key, value) => {
                let (old, expiry_ms) = state
                    .get(key)
                    .map_or((String::new(), None), |entry| (text(entry), entry.expiry_ms));
                let new = old + value;
                let len = new.len() as i64;
                state.insert(key.clone(), Entry { data: Data::Text(new), expiry_ms });
                Value::Int(len)
            }
            Write::HSet(key, field, value) => {
                let empty = Entry { data: Data::Hash(BTreeMap::new()), expiry_ms: None };
                let entry = state.entry(key.clone()).or_insert(empty);
                let Data::Hash(fields) = &mut entry.data else { unreachable!() };
                Value::Int(fields.insert(field.clone(), value.clone()).is_none() as i64)
            }
            Write::HDel(key, field) => {
                let Some(entry) = state.get_mut(key) else { return Value::Int(0) };
                let Data::Hash(fields) = &mut entry.data else { unreachable!() };
                let removed = fields.remove(field).is_some();
                if fields.is_empty() {
                    state.remove(key);
                }
                Value::Int(removed as i64)
            }
            Write::Del(key) => Value::Int(state.remove(key).is_some() as i64),
            Write::PExpireAt(key, at_ms) => match state.get_mut(key) {
                None => Value::Int(0),
                Some(entry) => {
                    entry.expiry_ms = Some(*at_ms);
                    Value::Int(1)
                }
            },
            Write::Rename(from, to) => match state.remove(from) {
                None => Value::Error(b"ERR no such key".to_vec()),
                Some(entry) => {
                    state.insert(to.clone(), entry);
                    Value::Simple(b"OK".to_vec())
                }
            },
        }
    }
}

/// One client that writes its own keys until the server is gone.
struct Writer {
    number: usize,
    rng: Rng,
    writes: u64,
    /// With all acknowledged writes done.
    state: State,
    /// Writes that were sent and not acknowledged, in their order.
    pending: Vec<Write>,
}

impl Writer {
    fn new(number: usize, seed: u64) -> Writer {
        let rng = Rng::from_seed(seed ^ (number as u64) << 32);
        Writer { number, rng, writes: 0, state: State::new(), pending: Vec::new() }
    }

    /// Writes in batches, each answered before the next.
    fn run(&mut self, port: u16) {
        let Ok(mut conn) = Conn::try_connect(("127.0.0.1", port)) else { return };
        while self.batch(&mut conn).is_ok() {}
    }

    fn batch(&mut self, conn: &mut Conn) -> io::Result<()> {
        let mut bytes = Vec::new();
        for _ in 0..1 + self.rng.index(16) {
            self.writes += 1;
            let write = Write::random(&mut self.rng, self.number, self.writes);
            bytes.extend(encode(&write.args()));
            self.pending.push(write);
        }
        conn.try_send(&bytes)?;
        for _ in 0..self.pending.len() {
            let got = conn.try_read()?;
            // Acknowledged as it is read.
            let write = self.pending.remove(0);
            let expected = write.apply(&mut self.state);
            assert_eq!(got, expected, "{write:?}");
        }
        Ok(())
    }

    /// Compares what the server has with what it may have, and goes on from there.
    fn check(&mut self, conn: &mut Conn) {
        let found = read_state(conn, self.number);
        let mut allowed = self.state.clone();
        let mut done = 0;
        while allowed != found {
            let Some(write) = self.pending.get(done) else {
                panic!(
                    "writer {} after {} acknowledged writes and up to {done} others:\n{}",
                    self.number,
                    self.writes - self.pending.len() as u64,
                    difference(&self.state, &found)
                );
            };
            write.apply(&mut allowed);
            done += 1;
        }
        self.state = found;
        self.pending.clear();
    }
}

fn difference(expected: &State, found: &State) -> String {
    let mut keys: Vec<&String> = expected.keys().chain(found.keys()).collect();
    keys.sort();
    keys.dedup();
    let show = |state: &State, key: &str| {
        format!("{:?}", state.get(key)).chars().take(300).collect::<String>()
    };
    let lines = keys.iter().filter(|key| expected.get(**key) != found.get(**key)).map(|key| {
        format!("  {key}: acknowledged {}\n    found {}", show(expected, key), show(found, key))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn text_of(value: &Value) -> String {
    let bytes = value.bytes().unwrap_or_else(|| panic!("no string: {value:?}"));
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn list_of(value: Value) -> Vec<String> {
    let Value::Array(values) = value else { panic!("no array: {value:?}") };
    values.iter().map(text_of).collect()
}

fn read_state(conn: &mut Conn, writer: usize) -> State {
    let mut state = State::new();
    for key in list_of(conn.command(&["KEYS", &format!("w{writer}:*")])) {
        let data = if key.contains(":hash:") {
            let fields = list_of(conn.command(&["HGETALL", &key]));
            let pairs = fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
            Data::Hash(pairs.collect())
        } else {
            Data::Text(text_of(&conn.command(&["GET", &key])))
        };
        let Value::Int(expiry_ms) = conn.command(&["PEXPIRETIME", &key]) else { panic!("no time") };
        state.insert(key, Entry { data, expiry_ms: (expiry_ms >= 0).then_some(expiry_ms) });
    }
    state
}

/// Has one rewrite or save after the other until the server is gone.
fn keep_saving(port: u16) {
    let Ok(mut conn) = Conn::try_connect(("127.0.0.1", port)) else { return };
    for command in ["BGREWRITEAOF", "BGSAVE"].iter().cycle() {
        if conn.try_command(&[command]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn kill_under_load(policy: &str, saves: bool) {
    let mut rng = Rng::from_seed(seed());
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, rng.next_u64())).collect();
    let mut server = Server::start(with_aof(policy));
    for round in 0..rounds() {
        let port = server.port();
        thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(move || writer.run(port));
            }
            if saves {
                scope.spawn(move || keep_saving(port));
            }
            thread::sleep(Duration::from_millis(20 + rng.below(400)));
            // A shutdown now and then: it must lose as little.
            if round % 5 == 4 { server.terminate() } else { server.kill9() }
        });
        server.restart();
        let mut conn = server.connect();
        writers.iter_mut().for_each(|writer| writer.check(&mut conn));
    }
    let writes: u64 = writers.iter().map(|writer| writer.writes).sum();
    assert!(writes > 100 * rounds() as u64, "only {writes} writes were made");
}

#[test]
fn kill_under_load_loses_nothing_with_fsync_everysec() {
    kill_under_load("everysec", false);
}

#[test]
fn kill_under_load_loses_nothing_with_fsync_always() {
    kill_under_load("always", false);
}

#[test]
fn kill_under_load_loses_nothing_without_fsync() {
    kill_under_load("no", false);
}

#[test]
fn kill_under_load_loses_nothing_while_snapshots_are_written() {
    kill_under_load("everysec", true);
}

#[test]
fn kill_under_load_loses_nothing_while_snapshots_are_written_and_all_is_synced() {
    kill_under_load("always", true);
}

#[test]
fn a_kill_right_behind_a_reply_loses_nothing() {
    let mut server = Server::start(with_aof("everysec"));
    for number in 0..2 * rounds() {
        let mut conn = server.connect();
        for key in ["a", "b"] {
            conn.command(&["SET", key, &number.to_string()]);
        }
        assert_eq!(conn.command(&["INCR", "count"]), Value::Int(number as i64 + 1));
        server.kill9();
        server.restart();
        let mut conn = server.connect();
        let values = ["a", "b"].map(|key| text_of(&conn.command(&["GET", key])));
        assert_eq!(values, [number.to_string(), number.to_string()]);
        assert_eq!(text_of(&conn.command(&["GET", "count"])), (number + 1).to_string());
    }
}

#[test]
fn a_shutdown_answers_what_it_made_durable() {
    let debug = ["--enable-debug-command", "yes"];
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    let server = Server::start(Options::new().args(&always).args(&debug));
    let (mut writer, mut other) = (server.connect(), server.connect());
    // So long that the shutdown comes before the file has the write.
    other.command(&["DEBUG", "AOF-FLUSH-SLEEP", "500000"]);
    writer.send(&encode(&["SET", "k", "v"]));
    wait_until_eq(Value::Int(1), || other.command(&["DBSIZE"]));
    other.send(&encode(&["SHUTDOWN", "NOSAVE"]));
    assert_eq!(writer.read(), Value::Simple(b"OK".to_vec()));
}

#[test]
fn a_disk_that_is_behind_fills_no_memory() {
    const WRITES: usize = 4000;
    let server = Server::start(Options::new().args(&[
        "--appendonly",
        "yes",
        "--enable-debug-command",
        "yes",
    ]));
    let (mut greedy, mut other) = (server.connect(), server.connect());
    other.command(&["DEBUG", "AOF-FLUSH-SLEEP", "1000000"]);
    let before = server.resident_bytes();
    let mut writer = greedy.writer();
    let sender = thread::spawn(move || {
        let request = encode(&[&b"SET"[..], b"k", &[b'v'; 100_000]]);
        (0..WRITES).for_each(|_| writer.write_all(&request).unwrap());
    });
    let mut most = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(other.command(&["PING"]), Value::Simple(b"PONG".to_vec()));
        most = most.max(server.resident_bytes().saturating_sub(before));
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!sender.is_finished() && most < 300 << 20, "grew by {most} bytes");
    other.command(&["DEBUG", "AOF-FLUSH-SLEEP", "0"]);
    (0..WRITES).for_each(|_| assert_eq!(greedy.read(), Value::Simple(b"OK".to_vec())));
    sender.join().unwrap();
}

#[test]
fn a_kill_while_loading_loses_nothing() {
    let mut server = Server::start(with_aof("everysec"));
    let mut conn = server.connect();
    let commands: Vec<u8> =
        (0..100_000).flat_map(|i| encode(&["SET", &format!("key:{i}"), &"v".repeat(50)])).collect();
    for chunk in commands.chunks(1 << 20) {
        let mut writer = conn.writer();
        writer.write_all(chunk).unwrap();
    }
    (0..100_000).for_each(|_| assert_eq!(conn.read(), Value::Simple(b"OK".to_vec())));
    server.kill9();
    // As a process, not as a `Server`, which would wait until it has loaded.
    for pause_ms in [5, 30, 80] {
        let options = server.options().clone();
        let starter = thread::spawn(move || options.run_and_kill(Duration::from_millis(pause_ms)));
        starter.join().unwrap();
    }
    server.restart();
    assert_eq!(server.connect().command(&["DBSIZE"]), Value::Int(100_000));
}

#[test]
fn a_file_with_more_databases_than_there_are_is_refused() {
    let mut server = Server::start(Options::new().args(&["--appendonly", "yes"]));
    let mut conn = server.connect();
    conn.command(&["SET", "k", "zero"]);
    conn.command(&["SELECT", "9"]);
    conn.command(&["SET", "k", "nine"]);
    server.terminate();
    let few = server.options().clone().args(&["--databases", "9"]);
    // Redis starts, and has the value of database 9 in database 0.
    let log = Server::try_start(few).err().expect("it started");
    assert!(log.contains("No database 9: 'databases' is 9"), "{log}");
    server.restart();
    assert_eq!(text_of(&server.connect().command(&["GET", "k"])), "zero");
}

/// A server that was shut down with these many keys, and its file.
fn written(keys: usize) -> (Server, PathBuf) {
    let mut server = Server::start(with_aof("everysec"));
    let mut conn = server.connect();
    for i in 0..keys {
        let value = "v".repeat(i % 40);
        assert_eq!(
            conn.command(&["SET", &format!("key:{i}"), &value]),
            Value::Simple(b"OK".to_vec())
        );
    }
    server.terminate();
    let path = aof_files(server.dir(), ".incr.aof").pop().expect("no append-only file");
    (server, path)
}

/// How many SETs are whole in the first bytes of a file.
fn whole_sets(mut bytes: &[u8]) -> i64 {
    let mut decoder = Decoder::default();
    let mut sets = 0;
    while let Ok((used, Some(Value::Array(words)))) = decoder.feed(bytes) {
        bytes = &bytes[used..];
        sets += (words[0].bytes().unwrap().eq_ignore_ascii_case(b"set")) as i64;
    }
    sets
}

#[test]
fn a_torn_tail_is_cut_and_what_is_before_it_kept() {
    let mut rng = Rng::from_seed(seed());
    let (mut server, path) = written(200);
    let whole = fs::read(&path).unwrap();
    for _ in 0..4 * rounds() {
        let cut = whole.len() - 1 - rng.index(whole.len() / 3);
        fs::write(&path, &whole[..cut]).unwrap();
        let sets = whole_sets(&whole[..cut]);
        server.restart();
        let mut conn = server.connect();
        assert_eq!(conn.command(&["DBSIZE"]), Value::Int(sets), "cut at {cut}");
        let last = format!("key:{}", sets - 1);
        assert_eq!(text_of(&conn.command(&["GET", &last])).len(), (sets - 1) as usize % 40);
        // And it goes on where it was cut.
        assert_eq!(conn.command(&["SET", "new", "1"]), Value::Simple(b"OK".to_vec()));
        server.kill9();
        server.restart();
        let mut conn = server.connect();
        assert_eq!(conn.command(&["DBSIZE"]), Value::Int(sets + 1), "cut at {cut}");
        server.terminate();
        // Other files may have been begun since.
        let current = aof_files(server.dir(), ".incr.aof");
        assert!(current.contains(&path), "{current:?}");
    }
}

#[test]
fn a_torn_tail_is_refused_if_it_is_not_to_be_cut() {
    let (server, path) = written(50);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let options = server.options().clone().args(&["--aof-load-truncated", "no"]);
    let log = Server::try_start(options).err().expect("it started");
    assert!(log.contains("Unexpected end of file reading the append only file"), "{log}");
    assert_eq!(fs::read(&path).unwrap().len(), whole.len() - 3, "the file was changed");
}

#[test]
fn damage_in_the_middle_is_refused_and_left_alone() {
    let mut rng = Rng::from_seed(seed());
    let (server, path) = written(200);
    let whole = fs::read(&path).unwrap();
    for _ in 0..rounds() {
        let mut damaged = whole.clone();
        // The sign of a length, somewhere in the first half.
        let signs = |b: &u8| *b == b'*' || *b == b'$';
        let places: Vec<usize> = (0..whole.len() / 2).filter(|i| signs(&whole[*i])).collect();
        damaged[places[rng.index(places.len())]] = b'!';
        fs::write(&path, &damaged).unwrap();
        let log = Server::try_start(server.options().clone()).err().expect("it started");
        assert!(log.contains("Bad file format reading the append only file"), "{log}");
        assert!(fs::read(&path).unwrap() == damaged, "the file was changed");
    }
}
