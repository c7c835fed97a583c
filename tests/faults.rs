//! Disks that hang, fail and fill up, as clients of a server see them. The servers run in this
//! process, with a disk whose faults a test can script.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use goredis::base::rng::Rng;
use goredis::commands::FAMILIES;
use goredis::persist::files::{Faults, FaultyFiles, Files, RealFiles};
use goredis::resp::read::Value;
use goredis::server::command::CommandTable;
use goredis::server::config::{Allowed, AppendFsync, Config, SavePoint, Start};
use goredis::server::start;
use support::{Conn, DEADLINE, encode, wait_for, wait_until_eq};
use tempfile::TempDir;

/// How long a write or an fsync hangs.
const STALL: Duration = Duration::from_secs(3);
/// The longest that a client may wait meanwhile: no time at all for a server that does not wait
/// for the disk, but others use this machine, too.
const PROMPT: Duration = Duration::from_secs(1);
/// For how long no reply may come that must not come. A late one would be missed, but no test
/// fails without reason.
const SILENCE: Duration = Duration::from_millis(200);
/// How soon writes are accepted again: a retry comes once a second.
const HEALED: Duration = Duration::from_secs(8);

const NO_SPACE: &str = "MISCONF Errors writing to the AOF file: No space left on device";
const IO_ERROR: &str = "MISCONF Errors writing to the AOF file: Input/output error";

static COMMANDS: LazyLock<&'static CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

/// A server on a thread of this process.
struct Server {
    port: u16,
    thread: JoinHandle<Result<(), String>>,
}

impl Server {
    #[track_caller]
    fn start(config: Config, files: Arc<dyn Files>) -> Server {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut eventloop =
                start::prepare(Start { config, config_file: None }, *COMMANDS, files)?;
            // The test may have given up.
            let _ = sender.send(eventloop.instance().server.listeners.port());
            eventloop.run().map_err(|e| e.to_string())
        });
        match receiver.recv_timeout(DEADLINE) {
            Ok(port) => Server { port, thread },
            Err(e) => panic!("the server did not start: {e}, {:?}", thread.is_finished()),
        }
    }

    #[track_caller]
    fn connect(&self) -> Conn {
        Conn::connect(self.port)
    }

    #[track_caller]
    fn shut_down(self, words: &[&str]) {
        let error = self.connect().try_command(words).expect_err("the server must end");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        self.join();
    }

    /// Waits for the server to end, which it must do well.
    #[track_caller]
    fn join(self) {
        assert!(wait_for(DEADLINE, || self.thread.is_finished()), "the server does not end");
        self.thread.join().expect("the server panicked").unwrap();
    }
}

/// A server's directory and its disk.
struct Bench {
    dir: TempDir,
    config: Config,
    files: FaultyFiles,
    faults: Arc<Faults>,
}

impl Bench {
    fn new(appendfsync: AppendFsync) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let files = FaultyFiles::new();
        let faults = files.faults();
        let config = Config {
            dir: dir.path().into(),
            bind: vec!["127.0.0.1".to_string()],
            // The system chooses one.
            port: 0,
            save: Vec::new(),
            appendfsync,
            ..Config::default()
        };
        Bench { dir, config, files, faults }
    }

    #[track_caller]
    fn start(&self) -> Server {
        Server::start(self.config.clone(), Arc::new(self.files.clone()))
    }

    /// What a server finds that is started on a sound disk with what is in the directory now: on
    /// a copy, as if the process had been killed, while a server runs here.
    #[track_caller]
    fn after_crash(&self) -> BTreeMap<String, String> {
        let copy = tempfile::tempdir().unwrap();
        let (from, to) = (self.dir.path().join("appendonlydir"), copy.path().join("appendonlydir"));
        fs::create_dir(&to).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(&from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        // The ring first: what reaches the file meanwhile is in both.
        names.sort_by_key(|name| !name.to_str().unwrap().ends_with(".ring"));
        for name in names {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
        self.data_in(copy.path())
    }

    /// What a server finds that is started on a sound disk in the same directory.
    #[track_caller]
    fn after_restart(&self) -> BTreeMap<String, String> {
        self.data_in(self.dir.path())
    }

    #[track_caller]
    fn data_in(&self, dir: &Path) -> BTreeMap<String, String> {
        let config = Config { dir: dir.into(), ..self.config.clone() };
        let server = Server::start(config, Arc::new(RealFiles));
        let mut conn = server.connect();
        let Value::Array(keys) = conn.command(&["KEYS", "*"]) else { panic!("no array") };
        let key = |value: &Value| String::from_utf8(value.bytes().unwrap().to_vec()).unwrap();
        let data = keys.iter().map(key).map(|key| (key.clone(), conn.text(&["GET", &key])));
        let data = data.collect();
        server.shut_down(&["SHUTDOWN", "NOSAVE"]);
        data
    }
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn error(text: &str) -> Value {
    Value::Error(text.as_bytes().to_vec())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

/// Sends a SET and does not wait for its reply.
#[track_caller]
fn send_set(conn: &mut Conn, key: &str, value: &str) {
    conn.send(&encode(&["SET", key, value]));
}

/// Waits until the server has executed a SET, whether or not it was answered.
#[track_caller]
fn wait_executed(asking: &mut Conn, key: &str, value: &str) {
    wait_until_eq(bulk(value), || asking.command(&["GET", key]));
}

/// No reply comes for a while.
#[track_caller]
fn assert_silent(conn: &mut Conn) {
    conn.set_timeout(SILENCE).unwrap();
    let kind = conn.try_read().map_err(|e| e.kind());
    conn.set_timeout(DEADLINE).unwrap();
    let timed_out = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    assert!(kind.as_ref().is_err_and(|kind| timed_out.contains(kind)), "{kind:?}");
}

/// Number of clients, as they are listed and as they are counted.
fn count_clients(conn: &mut Conn) -> (usize, String) {
    (conn.text(&["CLIENT", "LIST"]).lines().count(), conn.info("connected_clients"))
}

/// Clients that go on asking on a thread, each request as soon as the one before is answered.
struct Asker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Asked>,
}

/// How it went.
struct Asked {
    requests: usize,
    longest_wait: Duration,
}

impl Asker {
    /// `request(n)` is the n-th request and its reply.
    fn start(
        mut conn: Conn,
        request: impl Fn(usize) -> (Vec<String>, Value) + Send + 'static,
    ) -> Asker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut asked = Asked { requests: 0, longest_wait: Duration::ZERO };
            while !stopped.load(Ordering::Relaxed) {
                let (args, reply) = request(asked.requests);
                let began = Instant::now();
                assert_eq!(conn.command(&args), reply, "{args:?}");
                asked.longest_wait = asked.longest_wait.max(began.elapsed());
                asked.requests += 1;
                thread::sleep(Duration::from_micros(500));
            }
            asked
        });
        Asker { stop, thread }
    }

    fn ping(conn: Conn) -> Asker {
        Asker::start(conn, |_| (vec!["PING".to_string()], Value::Simple(b"PONG".to_vec())))
    }

    fn get(conn: Conn, key: &str, value: &str) -> Asker {
        let (args, reply) = (vec!["GET".to_string(), key.to_string()], bulk(value));
        Asker::start(conn, move |_| (args.clone(), reply.clone()))
    }

    /// Sets `key:0`, `key:1` and so on.
    fn set(conn: Conn) -> Asker {
        Asker::start(conn, |n| {
            (["SET", &format!("key:{n}"), &n.to_string()].map(String::from).into(), ok())
        })
    }

    #[track_caller]
    fn stop(self) -> Asked {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }

    /// Stops, and checks that no request had to wait for the disk.
    #[track_caller]
    fn stop_prompt(self) -> usize {
        let asked = self.stop();
        assert!(asked.longest_wait < PROMPT, "waited for {:?}", asked.longest_wait);
        assert!(asked.requests > 0);
        asked.requests
    }
}

// ---------------------------------------------------------------------------------------------
// A disk that hangs.

/// Clients go on while `delay` makes the disk hang; `done` counts the operations that hang.
fn nobody_waits_under_everysec(delay: [Duration; 2], done: fn(&Faults) -> u64) {
    let bench = Bench::new(AppendFsync::Everysec);
    let server = bench.start();
    let writer = Asker::set(server.connect());
    let mut conn = server.connect();
    wait_executed(&mut conn, "key:10", "10");
    let ping = Asker::ping(server.connect());
    let get = Asker::get(server.connect(), "key:10", "10");
    bench.faults.delay(delay[0], delay[1]);
    // The first one may have begun before.
    let before = done(&bench.faults);
    assert!(wait_for(DEADLINE, || done(&bench.faults) >= before + 2));
    ping.stop_prompt();
    get.stop_prompt();
    let written = writer.stop_prompt();
    let crashed = bench.after_crash();
    bench.faults.delay(Duration::ZERO, Duration::ZERO);
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    let expected: BTreeMap<String, String> =
        (0..written).map(|n| (format!("key:{n}"), n.to_string())).collect();
    assert_eq!(crashed, expected);
    assert_eq!(bench.after_restart(), expected);
}

#[test]
fn nobody_waits_for_an_fsync_under_everysec() {
    nobody_waits_under_everysec([Duration::ZERO, STALL], Faults::syncs);
}

#[test]
fn nobody_waits_for_a_write_under_everysec() {
    nobody_waits_under_everysec([STALL, Duration::ZERO], Faults::writes);
}

#[test]
fn when_the_ring_is_full_only_writes_wait() {
    let mut bench = Bench::new(AppendFsync::Everysec);
    bench.config.aof_ring_size = 1 << 20;
    let server = bench.start();
    bench.faults.hold_syncs(true);
    let mut expected = BTreeMap::from([("first".to_string(), "1".to_string())]);
    let mut asking = server.connect();
    assert_eq!(asking.command(&["SET", "first", "1"]), ok());
    assert!(bench.faults.wait_for_held_sync(DEADLINE));
    // More than the ring takes, in one go and not read yet.
    let mut flood = server.connect();
    let value = "x".repeat(10_000);
    for n in 0..150 {
        send_set(&mut flood, &format!("flood:{n}"), &value);
        expected.insert(format!("flood:{n}"), value.clone());
    }
    wait_executed(&mut asking, "flood:149", &value);
    let mut parked: Vec<Conn> = (0..10).map(|_| server.connect()).collect();
    for (n, conn) in parked.iter_mut().enumerate() {
        send_set(conn, &format!("parked:{n}"), "p");
        // A client that waits for one reply waits for those behind it, too.
        conn.send(b"PING\r\n");
        wait_executed(&mut asking, &format!("parked:{n}"), "p");
        expected.insert(format!("parked:{n}"), "p".to_string());
    }
    let (ping, get) =
        (Asker::ping(server.connect()), Asker::get(server.connect(), "flood:149", &value));
    parked.iter_mut().take(3).for_each(assert_silent);
    let acknowledged = bench.after_crash();
    assert_eq!(acknowledged.get("first").unwrap(), "1");
    ping.stop_prompt();
    get.stop_prompt();
    assert_eq!(asking.info("aof_pending_bio_fsync"), "1");

    bench.faults.hold_syncs(false);
    (0..150).for_each(|_| assert_eq!(flood.read(), ok()));
    for conn in &mut parked {
        assert_eq!(conn.read(), ok());
        assert_eq!(conn.read(), Value::Simple(b"PONG".to_vec()));
    }
    assert_eq!(bench.after_crash(), expected);
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(bench.after_restart(), expected);
}

#[test]
fn an_acknowledged_write_is_in_the_ring_when_the_ring_is_full() {
    let mut bench = Bench::new(AppendFsync::Everysec);
    bench.config.aof_ring_size = 1 << 20;
    let server = bench.start();
    bench.faults.hold_syncs(true);
    let mut conn = server.connect();
    let value = "x".repeat(10_000);
    let mut expected = BTreeMap::new();
    // One after the other, until one is not answered.
    conn.set_timeout(PROMPT).unwrap();
    loop {
        let key = format!("key:{}", expected.len());
        match conn.try_command(&["SET", &key, &value]) {
            Ok(reply) => assert_eq!(reply, ok()),
            Err(_) => break,
        }
        expected.insert(key, value.clone());
        assert!(expected.len() < 1000, "a ring of 1 MB has taken 10 MB");
    }
    assert!(expected.len() > 50, "{}", expected.len());
    let mut crashed = bench.after_crash();
    // Perhaps a part of it was in the ring, perhaps all; a part is not loaded.
    crashed.remove(&format!("key:{}", expected.len()));
    assert!(crashed == expected, "{} keys of {}", crashed.len(), expected.len());
    bench.faults.hold_syncs(false);
    conn.set_timeout(DEADLINE).unwrap();
    assert_eq!(conn.read(), ok());
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
}

#[test]
fn only_writes_wait_for_an_fsync_under_always() {
    let bench = Bench::new(AppendFsync::Always);
    let server = bench.start();
    let mut asking = server.connect();
    assert_eq!(asking.command(&["SET", "sound", "1"]), ok());
    bench.faults.hold_syncs(true);
    let mut writers: Vec<Conn> = (0..5).map(|_| server.connect()).collect();
    for (n, conn) in writers.iter_mut().enumerate() {
        send_set(conn, &format!("key:{n}"), "v");
        wait_executed(&mut asking, &format!("key:{n}"), "v");
    }
    assert!(bench.faults.wait_for_held_sync(DEADLINE));
    let (ping, get) = (Asker::ping(server.connect()), Asker::get(server.connect(), "sound", "1"));
    // A write that changes nothing has nothing to wait for.
    assert_eq!(asking.command(&["DEL", "missing"]), Value::Int(0));
    writers.iter_mut().for_each(assert_silent);
    ping.stop_prompt();
    get.stop_prompt();
    let before = bench.faults.syncs();
    bench.faults.hold_syncs(false);
    for conn in &mut writers {
        assert_eq!(conn.read(), ok());
    }
    // Those that came during the first fsync share the next.
    assert!(bench.faults.syncs() <= before + 2, "{} after {before}", bench.faults.syncs());
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(bench.after_restart().len(), 6);
}

#[test]
fn a_client_that_only_writes_is_not_read_from_while_the_disk_hangs() {
    let mut bench = Bench::new(AppendFsync::Everysec);
    bench.config.aof_ring_size = 1 << 20;
    let server = bench.start();
    bench.faults.hold_syncs(true);
    const SETS: usize = 3000;
    let mut flood = server.connect();
    let mut sender = flood.writer();
    let sending = thread::spawn(move || {
        let value = "x".repeat(10_000);
        for n in 0..SETS {
            sender.write_all(&encode(&["SET", &format!("key:{n}"), &value])).unwrap();
        }
    });
    // What finds no place in the ring waits in memory, but not all that anybody cares to send.
    let mut asking = server.connect();
    let mut held = || asking.info("aof_buffer_length").parse::<u64>().unwrap();
    assert!(wait_for(DEADLINE, || held() > 1 << 20));
    thread::sleep(PROMPT);
    assert!(held() < 8 << 20, "{}", held());
    bench.faults.hold_syncs(false);
    (0..SETS).for_each(|_| assert_eq!(flood.read(), ok()));
    sending.join().unwrap();
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(bench.after_restart().len(), SETS);
}

/// DEBUG AOF-FLUSH-SLEEP is a disk that hangs, for a server in a process of its own.
#[test]
fn a_signal_ends_a_server_whose_shutdown_hangs() {
    let args = ["--enable-debug-command", "local", "--appendonly", "yes"];
    let mut server = support::Server::start(support::Options::new().args(&args));
    let mut conn = server.connect();
    assert_eq!(conn.command(&["DEBUG", "AOF-FLUSH-SLEEP", "600000000"]), ok());
    assert_eq!(conn.command(&["SET", "key", "v"]), ok());
    conn.send(&encode(&["SHUTDOWN", "NOSAVE"]));
    server.wait_for_log("User requested shutdown");
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(1));
    server.restart();
    assert_eq!(server.connect().command(&["GET", "key"]), bulk("v"));
}

// ---------------------------------------------------------------------------------------------
// A disk that fails.

/// A client that keeps account of what was acknowledged.
struct Writer {
    conn: Conn,
    acknowledged: BTreeMap<String, String>,
}

impl Writer {
    fn new(conn: Conn) -> Writer {
        Writer { conn, acknowledged: BTreeMap::new() }
    }

    /// Writes further keys until a reply is of the kind that is waited for; returns that.
    #[track_caller]
    fn set_until(&mut self, done: impl Fn(&Value) -> bool) -> Value {
        let mut reply = Value::Null;
        let came = wait_for(DEADLINE, || {
            let key = format!("key:{}", self.acknowledged.len());
            reply = self.conn.command(&["SET", &key, "value"]);
            if reply == ok() {
                self.acknowledged.insert(key, "value".to_string());
            }
            done(&reply)
        });
        assert!(came, "{reply:?}");
        reply
    }

    /// Writes keys until writing works.
    #[track_caller]
    fn set_until_ok(&mut self) {
        let began = Instant::now();
        self.set_until(|reply| *reply == ok());
        assert!(began.elapsed() < HEALED, "{:?}", began.elapsed());
    }
}

/// Breaks the disk, and checks that a server with everysec refuses writes with `refusal`, loses
/// nothing, and goes on when the disk is mended.
fn a_fault_refuses_writes(refusal: &str, break_disk: fn(&Faults), mend: fn(&Faults)) {
    let bench = Bench::new(AppendFsync::Everysec);
    let server = bench.start();
    let mut writer = Writer::new(server.connect());
    writer.set_until_ok();
    break_disk(&bench.faults);
    assert_eq!(writer.set_until(|reply| *reply != ok()), error(refusal));

    // Reads go on, and whatever would change data is refused, on every connection.
    let mut other = server.connect();
    for conn in [&mut writer.conn, &mut other] {
        assert_eq!(conn.command(&["PING"]), Value::Simple(b"PONG".to_vec()));
        assert_eq!(conn.command(&["GET", "key:0"]), bulk("value"));
        let count = writer.acknowledged.len() as i64;
        assert_eq!(conn.command(&["DBSIZE"]), Value::Int(count));
        for line in [&["DEL", "key:0"][..], &["HSET", "h", "f", "v"], &["EXPIRE", "key:0", "1"]] {
            assert_eq!(conn.command(line), error(refusal));
        }
    }
    assert_eq!(other.info("aof_last_write_status"), "err");
    assert_eq!(bench.after_crash(), writer.acknowledged);
    let failed = error("ERR Errors trying to SHUTDOWN. Check logs.");
    assert_eq!(other.command(&["SHUTDOWN", "NOSAVE"]), failed);
    assert_eq!(other.command(&["SET", "key:0", "new"]), error(refusal));

    mend(&bench.faults);
    writer.set_until_ok();
    wait_until_eq("ok".to_string(), || other.info("aof_last_write_status"));
    // And once more, as it may break again: this time the server is given up.
    break_disk(&bench.faults);
    assert_eq!(writer.set_until(|reply| *reply != ok()), error(refusal));
    server.shut_down(&["SHUTDOWN", "NOSAVE", "FORCE"]);
    assert_eq!(bench.after_restart(), writer.acknowledged);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    a_fault_refuses_writes(NO_SPACE, |f| f.space(Some(1000)), |f| f.space(None));
}

#[test]
fn failing_writes_refuse_writes_until_they_succeed() {
    let mend = |f: &Faults| f.fail_writes(None);
    a_fault_refuses_writes(IO_ERROR, |f| f.fail_writes(Some(libc::EIO)), mend);
}

#[test]
fn failing_fsyncs_refuse_writes_until_they_succeed() {
    let mend = |f: &Faults| f.fail_syncs(None);
    a_fault_refuses_writes(IO_ERROR, |f| f.fail_syncs(Some(libc::EIO)), mend);
    a_fault_refuses_writes(NO_SPACE, |f| f.fail_syncs(Some(libc::ENOSPC)), mend);
}

/// Breaks the disk, and checks that a server with always acknowledges nothing until it is mended.
fn a_fault_acknowledges_nothing(refusal: &str, break_disk: fn(&Faults), mend: fn(&Faults)) {
    let bench = Bench::new(AppendFsync::Always);
    let server = bench.start();
    let mut asking = server.connect();
    assert_eq!(asking.command(&["SET", "sound", "1"]), ok());
    break_disk(&bench.faults);
    // All in one go: the first failure is noticed only when they have all been executed.
    let mut waiting = server.connect();
    let bytes: Vec<u8> =
        (0..20).flat_map(|n| encode(&["SET", &format!("waiting:{n}"), "w"])).collect();
    waiting.send(&bytes);
    wait_executed(&mut asking, "waiting:19", "w");
    // Refused, where it would change nothing and be answered at once.
    wait_until_eq(error(refusal), || asking.command(&["DEL", "missing"]));
    for _ in 0..3 {
        let mut conn = server.connect();
        assert_eq!(conn.command(&["SET", "refused", "r"]), error(refusal));
        assert_eq!(conn.command(&["GET", "sound"]), bulk("1"));
        assert_eq!(conn.command(&["PING"]), Value::Simple(b"PONG".to_vec()));
    }
    assert_silent(&mut waiting);

    mend(&bench.faults);
    let mended = Instant::now();
    (0..20).for_each(|_| assert_eq!(waiting.read(), ok()));
    let mut writer = Writer::new(asking);
    writer.set_until_ok();
    assert!(mended.elapsed() < HEALED, "{:?}", mended.elapsed());
    let mut expected = writer.acknowledged;
    expected.insert("sound".to_string(), "1".to_string());
    expected.extend((0..20).map(|n| (format!("waiting:{n}"), "w".to_string())));
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(bench.after_restart(), expected);
}

#[test]
fn a_failing_fsync_acknowledges_nothing_under_always() {
    let mend = |f: &Faults| f.fail_syncs(None);
    a_fault_acknowledges_nothing(IO_ERROR, |f| f.fail_syncs(Some(libc::EIO)), mend);
}

#[test]
fn a_full_disk_acknowledges_nothing_under_always() {
    a_fault_acknowledges_nothing(NO_SPACE, |f| f.space(Some(100)), |f| f.space(None));
}

/// What each reply under always stands for: bytes that an fsync which succeeded has covered. So
/// no reply to a write that began during a fault may come before the fault is over.
#[test]
fn faults_that_come_and_go_acknowledge_nothing_too_early() {
    let bench = Bench::new(AppendFsync::Always);
    let server = bench.start();
    let lifted = Arc::new(AtomicBool::new(false));
    for round in 0..3 {
        lifted.store(false, Ordering::SeqCst);
        bench.faults.fail_syncs(Some(libc::EIO));
        let writers: Vec<JoinHandle<()>> = (0..4)
            .map(|n| {
                let (mut writer, lifted) = (Writer::new(server.connect()), lifted.clone());
                thread::spawn(move || {
                    let key = format!("{round}:{n}");
                    let mut early = false;
                    let came = wait_for(DEADLINE, || {
                        let reply = writer.conn.command(&["SET", &key, "value"]);
                        early |= reply == ok() && !lifted.load(Ordering::SeqCst);
                        reply == ok()
                    });
                    assert!(came && !early, "acknowledged: {came}, too early: {early}");
                })
            })
            .collect();
        // Some writers wait, others have been refused by now; a retry or two has failed.
        let before = bench.faults.syncs();
        assert!(wait_for(DEADLINE, || bench.faults.syncs() >= before + 2));
        lifted.store(true, Ordering::SeqCst);
        bench.faults.fail_syncs(None);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(bench.after_restart().len(), 12);
}

// ---------------------------------------------------------------------------------------------
// Clients that go while their replies wait for the disk.

#[test]
fn clients_that_go_while_their_replies_wait_leave_nothing_behind() {
    let bench = Bench::new(AppendFsync::Always);
    let server = bench.start();
    let mut asking = server.connect();
    bench.faults.hold_syncs(true);
    let mut clients: Vec<Conn> = (0..6).map(|_| server.connect()).collect();
    let mut ids = Vec::new();
    for (n, conn) in clients.iter_mut().enumerate() {
        ids.push(conn.command(&["CLIENT", "ID"]));
        send_set(conn, &format!("key:{n}"), "v");
        wait_executed(&mut asking, &format!("key:{n}"), "v");
    }
    assert!(bench.faults.wait_for_held_sync(DEADLINE));
    // Two leave with their replies on the way, two are killed, one quits, one stays.
    let mut killed = clients.split_off(4);
    let (mut stays, mut quits) = (clients.pop().unwrap(), clients.pop().unwrap());
    drop(clients);
    for id in &ids[4..] {
        let Value::Int(id) = id else { panic!("{id:?}") };
        let killed = asking.command(&["CLIENT", "KILL", "ID", &id.to_string()]);
        assert_eq!(killed, Value::Int(1));
    }
    assert!(killed.iter_mut().all(|conn| conn.is_closed_within(DEADLINE)));
    quits.send(b"QUIT\r\n");
    // New clients in the places of old ones, whose replies must not go to them.
    let mut newcomers: Vec<Conn> = (0..4).map(|_| server.connect()).collect();
    for conn in &mut newcomers {
        assert_eq!(conn.command(&["PING"]), Value::Simple(b"PONG".to_vec()));
    }
    assert_silent(&mut stays);

    bench.faults.hold_syncs(false);
    assert_eq!(stays.read(), ok());
    assert_eq!(quits.read(), ok());
    assert_eq!(quits.read(), ok());
    assert!(quits.is_closed_within(DEADLINE));
    for conn in &mut newcomers {
        assert_eq!(conn.command(&["GET", "key:0"]), bulk("v"));
        assert_eq!(conn.command(&["SET", "new", "n"]), ok());
    }
    wait_until_eq((6, "6".to_string()), || count_clients(&mut asking));
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(bench.after_restart().len(), 7);
}

#[test]
fn a_shutdown_answers_those_whose_writes_it_makes_durable() {
    let bench = Bench::new(AppendFsync::Always);
    let server = bench.start();
    bench.faults.hold_syncs(true);
    let mut waiting = server.connect();
    send_set(&mut waiting, "key", "v");
    wait_executed(&mut server.connect(), "key", "v");
    assert!(bench.faults.wait_for_held_sync(DEADLINE));
    let mut admin = server.connect();
    admin.send(&encode(&["SHUTDOWN", "NOSAVE"]));
    assert_silent(&mut waiting);
    bench.faults.hold_syncs(false);
    assert_eq!(waiting.read(), ok());
    assert!(waiting.is_closed_within(DEADLINE) && admin.is_closed_within(DEADLINE));
    server.join();
    assert_eq!(bench.after_restart().len(), 1);
}

#[test]
fn replies_that_wait_are_sent_when_the_file_is_turned_off_and_begun_anew() {
    let bench = Bench::new(AppendFsync::Always);
    let server = bench.start();
    let mut asking = server.connect();
    bench.faults.hold_syncs(true);
    let mut waiting = server.connect();
    send_set(&mut waiting, "key", "v");
    wait_executed(&mut asking, "key", "v");
    assert!(bench.faults.wait_for_held_sync(DEADLINE));
    // In one turn, so that nothing is sent in between.
    let lines = ["FLUSHALL", "CONFIG SET appendonly no", "CONFIG SET appendonly yes"];
    let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
    asking.send(&lines.iter().flat_map(|line| encode(&words(line))).collect::<Vec<u8>>());
    bench.faults.hold_syncs(false);
    lines.iter().for_each(|line| assert_eq!(asking.read(), ok(), "{line}"));
    assert_eq!(waiting.read(), ok());
    assert_eq!(asking.command(&["SET", "new", "n"]), ok());
    wait_until_eq("0".to_string(), || asking.info("aof_rewrite_in_progress"));
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(bench.after_restart(), BTreeMap::from([("new".to_string(), "n".to_string())]));
}

#[test]
fn a_file_begun_anew_follows_the_policy_of_the_day() {
    let bench = Bench::new(AppendFsync::Everysec);
    let server = bench.start();
    let mut conn = server.connect();
    for (name, value) in [("appendonly", "no"), ("appendfsync", "always"), ("appendonly", "yes")] {
        assert_eq!(conn.command(&["CONFIG", "SET", name, value]), ok());
    }
    bench.faults.hold_syncs(true);
    let mut waiting = server.connect();
    send_set(&mut waiting, "key", "v");
    wait_executed(&mut conn, "key", "v");
    assert_silent(&mut waiting);
    bench.faults.hold_syncs(false);
    assert_eq!(waiting.read(), ok());
    wait_until_eq("0".to_string(), || conn.info("aof_rewrite_in_progress"));
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
}

/// The thread that makes an increment for a rewrite writes a manifest: not after the one of a file
/// begun anew, which would then name files that are gone.
#[test]
fn a_file_is_turned_off_when_nobody_writes_its_manifest() {
    let bench = Bench::new(AppendFsync::Everysec);
    let server = bench.start();
    let mut conn = server.connect();
    bench.faults.hold_syncs(true);
    conn.command(&["BGREWRITEAOF"]);
    assert!(bench.faults.wait_for_held_sync(DEADLINE));
    conn.send(&encode(&["CONFIG", "SET", "appendonly", "no"]));
    assert_silent(&mut conn);
    bench.faults.hold_syncs(false);
    assert_eq!(conn.read(), ok());
    assert_eq!(conn.command(&["CONFIG", "SET", "appendonly", "yes"]), ok());
    assert_eq!(conn.command(&["SET", "key", "v"]), ok());
    wait_until_eq("0".to_string(), || info(&mut conn, "aof_rewrite_scheduled"));
    wait_until_eq("0".to_string(), || info(&mut conn, "aof_rewrite_in_progress"));
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(bench.after_restart().len(), 1);
}

/// A background save that was given up may be complete but for its fsync: it must neither take
/// the file of the one that follows, nor come after it.
#[test]
fn a_save_waits_for_the_one_that_it_replaces() {
    let mut bench = Bench::new(AppendFsync::Everysec);
    bench.config.appendonly = false;
    bench.config.enable_debug_command = Allowed::Yes;
    bench.config.save = vec![SavePoint { seconds: 3600, changes: 1 }];
    let server = bench.start();
    let mut conn = server.connect();
    for round in 0..10 {
        assert_eq!(conn.command(&["SET", "key", "value"]), ok());
        bench.faults.hold_syncs(true);
        let before = bench.faults.syncs();
        conn.command(&["BGSAVE"]);
        assert!(bench.faults.wait_for_held_sync(DEADLINE));
        // With save points, what is flushed must not come back.
        conn.send(&encode(&["FLUSHALL"]));
        // Time for what must not happen: a second file is written.
        wait_for(SILENCE, || bench.faults.syncs() > before + 1);
        bench.faults.hold_syncs(false);
        assert_eq!(conn.read(), ok());
        assert_eq!(info(&mut conn, "rdb_last_bgsave_status"), "ok", "round {round}");
        // The file was removed, or one without keys has followed.
        wait_until_eq("0".to_string(), || info(&mut conn, "rdb_changes_since_last_save"));
        conn.command(&["DEBUG", "RELOAD", "NOSAVE"]);
        assert_eq!(conn.command(&["EXISTS", "key"]), Value::Int(0), "round {round}");
    }
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
}

/// Data of several megabytes, and their dump.
fn with_much_data(bench: &Bench) -> (Server, Conn) {
    let server = bench.start();
    let mut conn = server.connect();
    for i in 0..100 {
        // Not to be compressed.
        let mut rng = Rng::from_seed(i);
        let mut value = vec![0; 100_000];
        rng.fill(&mut value);
        assert_eq!(conn.command(&[&b"SET"[..], i.to_string().as_bytes(), &value]), ok());
    }
    (server, conn)
}

fn info(conn: &mut Conn, field: &str) -> String {
    let text = conn.command(&["INFO", "persistence"]);
    let text = String::from_utf8(text.bytes().unwrap().to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).to_string()
}

#[test]
fn what_would_not_fit_on_the_disk_is_not_begun() {
    let bench = Bench::new(AppendFsync::Everysec);
    let (server, mut conn) = with_much_data(&bench);
    let dump = bench.dir.path().join("dump.rdb");
    // At first by a guess from the memory taken, then by what the last file took.
    for _ in 0..2 {
        let before = fs::read(&dump).ok();
        // A fraction of what is needed: other tests take memory of this process, too.
        bench.faults.space(Some(1 << 20));
        let writes = bench.faults.writes();
        for (command, status) in
            [("BGSAVE", "rdb_last_bgsave_status"), ("BGREWRITEAOF", "aof_last_bgrewrite_status")]
        {
            conn.command(&[command]);
            wait_until_eq("err".to_string(), || info(&mut conn, status));
        }
        // The manifest of a new increment and the timer's writes, but no snapshots.
        assert!(bench.faults.writes() < writes + 6, "{} writes", bench.faults.writes() - writes);
        assert_eq!(conn.command(&["SET", "other", "value"]), ok());
        assert!(fs::read(&dump).ok() == before, "the file has changed");
        bench.faults.space(None);
        for (command, status) in
            [("BGSAVE", "rdb_last_bgsave_status"), ("BGREWRITEAOF", "aof_last_bgrewrite_status")]
        {
            conn.command(&[command]);
            wait_until_eq("ok".to_string(), || info(&mut conn, status));
        }
        assert!(fs::read(&dump).unwrap().len() > 10_000_000);
    }
    server.shut_down(&["SHUTDOWN", "NOSAVE"]);
}
