//! The append-only file, from commits to loading, on disks that fail, hang and fill up.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use goredis::persist::aof::{Aof, Delays, Fsync, Loader, Options, Step};
use goredis::persist::files::{Faults, FaultyFiles, RealFiles};
use goredis::resp::Args;
use goredis::store::Keyspace;
use support::aof::{load, resp};

const LIMIT: Duration = Duration::from_secs(20);

/// Counts the wake-ups of an event loop that is not there.
#[derive(Default)]
struct Wakes {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Wakes {
    /// Waits for a wake-up and forgets it.
    fn wait(&self) {
        let guard = self.count.lock().unwrap();
        let (mut guard, waited) =
            self.changed.wait_timeout_while(guard, LIMIT, |n| *n == 0).unwrap();
        assert!(!waited.timed_out(), "not woken");
        *guard = 0;
    }
}

/// A server's directory, a disk with faults, and an event loop's end of the waker.
struct Bench {
    dir: tempfile::TempDir,
    options: Options,
    faults: Arc<Faults>,
    wakes: Arc<Wakes>,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let files = FaultyFiles::new();
        let faults = files.faults();
        let wakes = Arc::new(Wakes::default());
        let wake = {
            let wakes = wakes.clone();
            move || {
                *wakes.count.lock().unwrap() += 1;
                wakes.changed.notify_all();
            }
        };
        let mut options = Options::new(dir.path().into(), Arc::new(files), Arc::new(wake));
        options.ring_size = 8 * 64 * 1024;
        Bench { dir, options, faults, wakes }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("appendonlydir").join(name)
    }

    fn incr(&self) -> PathBuf {
        self.path("appendonly.aof.1.incr.aof")
    }

    fn manifest(&self) -> String {
        fs::read_to_string(self.path("appendonly.aof.manifest")).unwrap()
    }

    fn load(&self) -> Result<(Vec<String>, Loader), String> {
        load(&self.options, 1 << 20)
    }

    fn start(&self) -> Aof {
        let (_, loader) = self.load().unwrap();
        Aof::start(&self.options, loader.finish()).unwrap()
    }

    /// The commands on disk, as a crash of the process at this moment would leave them.
    fn after_crash(&self) -> Vec<String> {
        let copy = tempfile::tempdir().unwrap();
        let to = copy.path().join("appendonlydir");
        fs::create_dir(&to).unwrap();
        // The ring first: what reaches the file meanwhile is in both.
        let dir = fs::read_dir(self.dir.path().join("appendonlydir")).unwrap();
        let mut paths: Vec<_> = dir.map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| path.extension().is_none_or(|e| e != "ring"));
        for path in paths {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
        let options = Options::new(copy.path().into(), Arc::new(RealFiles), Arc::new(|| ()));
        load(&options, 1 << 20).unwrap().0
    }

    /// Commits until `acknowledged` has reached `offset`, as a server does when it is woken.
    fn wait_acknowledged(&self, aof: &mut Aof, offset: u64) {
        aof.commit();
        while aof.acknowledged() < offset {
            self.wakes.wait();
            aof.commit();
        }
    }
}

fn resp_all(commands: &[&str]) -> Vec<u8> {
    commands.iter().flat_map(|c| resp(c)).collect()
}

fn commit(aof: &mut Aof, command: &str) -> u64 {
    aof.buffer().extend_from_slice(&resp(command));
    aof.commit()
}

fn sets(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("set key:{i} value")).collect()
}

/// Waits for a condition that the log thread brings about.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// ---- from commit to the next start

#[test]
fn a_new_aof_has_the_files_of_redis_7() {
    let bench = Bench::new();
    let mut aof = bench.start();
    let base = "file appendonly.aof.1.base.rdb seq 1 type b\n";
    let incr = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(bench.manifest(), format!("{base}{incr}"));
    commit(&mut aof, "set k v");
    aof.shutdown().unwrap();
    assert_eq!(fs::read(bench.incr()).unwrap(), resp("set k v"));
    assert_eq!(bench.load().unwrap().0, ["set k v"]);

    let mut bench = Bench::new();
    bench.options.rdb_preamble = false;
    drop(bench.start());
    assert_eq!(fs::read(bench.path("appendonly.aof.1.base.aof")).unwrap(), b"");
}

#[test]
fn a_real_server_loads_our_directory_and_we_load_its() {
    let version = Command::new("redis-server").arg("--version").output();
    if !version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("v=7.")) {
        eprintln!("no redis-server 7 here");
        return;
    }
    let bench = Bench::new();
    let mut aof = bench.start();
    commit(&mut aof, "set k v");
    aof.shutdown().unwrap();
    drop(aof);
    let socket = bench.dir.path().join("socket");
    let mut child = Command::new("redis-server")
        .args(["--port", "0", "--appendonly", "yes", "--save", ""])
        .arg("--unixsocket")
        .arg(&socket)
        .arg("--dir")
        .arg(bench.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ask = |words: &str| {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).ok()?;
        stream.write_all(&resp(words)).ok()?;
        let mut reply = [0; 100];
        let n = stream.read(&mut reply).ok()?;
        Some(String::from_utf8_lossy(&reply[..n]).into_owned())
    };
    until("the server's answer", || ask("get k").as_deref() == Some("$1\r\nv\r\n"));
    assert_eq!(ask("set k2 v2").unwrap(), "+OK\r\n");
    ask("shutdown");
    child.wait().unwrap();
    let loaded = bench.load().unwrap().0;
    assert_eq!(loaded.first().unwrap(), "set k v");
    assert_eq!(loaded.last().unwrap(), "set k2 v2");
}

#[test]
fn commits_survive_the_process_before_they_are_in_the_file() {
    let bench = Bench::new();
    let mut aof = bench.start();
    let mut expected = Vec::new();
    for command in sets(0..100) {
        let end = commit(&mut aof, &command);
        assert_eq!(aof.acknowledged(), end);
        expected.push(command);
    }
    assert_eq!(fs::metadata(bench.incr()).unwrap().len(), 0, "nobody has written yet");
    assert_eq!(bench.after_crash(), expected);
    // Dropped without a shutdown, and started again: what was missing is appended.
    drop(aof);
    let mut aof = bench.start();
    commit(&mut aof, "set last one");
    expected.push("set last one".to_string());
    assert_eq!(bench.after_crash(), expected);
    aof.shutdown().unwrap();
    assert_eq!(bench.load().unwrap().0, expected);
}

#[test]
fn the_timer_brings_commits_into_the_file() {
    for fsync in [Fsync::Everysec, Fsync::No] {
        let mut bench = Bench::new();
        bench.options.fsync = fsync;
        let mut aof = bench.start();
        let synced = bench.faults.syncs();
        commit(&mut aof, "set k v");
        aof.every_second();
        let wanted = resp("set k v");
        until("the write", || fs::read(bench.incr()).unwrap() == wanted);
        until("the report", || aof.numbers().buffer_length == 0);
        if fsync == Fsync::Everysec {
            until("the fsync", || bench.faults.syncs() == synced + 1);
        }
        assert_eq!(aof.numbers().current_size - aof.numbers().base_size, wanted.len() as u64);
        aof.flush_all_now().unwrap();
        let before = bench.faults.writes();
        aof.every_second();
        aof.flush_all_now().unwrap();
        assert_eq!(bench.faults.writes(), before, "nothing to do");
    }
}

#[test]
fn a_ring_elsewhere_is_found_again() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    bench.options.ring_dir = Some(elsewhere.path().into());
    let mut aof = bench.start();
    commit(&mut aof, "set k v");
    drop(aof);
    assert!(!bench.path("appendonly.aof.ring").exists());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    let mut aof = bench.start();
    assert_eq!(fs::read(bench.incr()).unwrap(), resp("set k v"));
    commit(&mut aof, "set k2 v2");
    drop(aof);
    // A new AOF directory in the place of the old: the ring is not for that.
    fs::remove_dir_all(bench.dir.path().join("appendonlydir")).unwrap();
    drop(bench.start());
    assert_eq!(fs::read(bench.incr()).unwrap(), b"");
}

#[test]
fn after_a_clean_shutdown_the_ring_is_done_with() {
    let bench = Bench::new();
    let mut aof = bench.start();
    commit(&mut aof, "set k 0");
    commit(&mut aof, "set k 1");
    aof.shutdown().unwrap();
    drop(aof);
    // As if put back from a copy: the ring knows how it went on, but is not asked.
    fs::write(bench.incr(), resp("set k 0")).unwrap();
    assert_eq!(bench.load().unwrap().0, ["set k 0"]);
    assert_eq!(fs::read(bench.incr()).unwrap(), resp("set k 0"));
}

#[test]
fn a_ring_left_beside_is_replayed_when_the_ring_moves() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    let mut aof = bench.start();
    commit(&mut aof, "set k v");
    drop(aof);
    bench.options.ring_dir = Some(elsewhere.path().into());
    let mut aof = bench.start();
    assert_eq!(fs::read(bench.incr()).unwrap(), resp("set k v"));
    assert!(!bench.path("appendonly.aof.ring").exists());
    aof.shutdown().unwrap();
}

#[test]
fn a_new_increment_takes_over_in_the_middle() {
    let bench = Bench::new();
    let mut aof = bench.start();
    commit(&mut aof, "set in first");
    aof.prepare_incr().unwrap();
    commit(&mut aof, "set in first-too");
    let switched = loop {
        if let Some(result) = aof.switch_incr() {
            break result;
        }
        bench.wakes.wait();
    };
    switched.unwrap();
    commit(&mut aof, "set in second");
    assert_eq!(bench.after_crash(), ["set in first", "set in first-too", "set in second"]);
    aof.shutdown().unwrap();
    assert_eq!(fs::read(bench.incr()).unwrap(), resp_all(&["set in first", "set in first-too"]));
    let second = fs::read(bench.path("appendonly.aof.2.incr.aof")).unwrap();
    assert_eq!(second, resp("set in second"));
    assert_eq!(aof.manifest().incrs.len(), 2);
    assert_eq!(bench.after_crash().len(), 3);
}

// ---- disks that fail, hang and fill up

#[test]
fn an_fsync_that_hangs_blocks_no_commit() {
    let bench = Bench::new();
    let mut aof = bench.start();
    commit(&mut aof, "set k 0");
    bench.faults.hold_syncs(true);
    aof.every_second();
    assert!(bench.faults.wait_for_held_sync(LIMIT));
    // The fsync is pending all the while; that these calls return is the proof.
    for i in 1..1000 {
        let end = commit(&mut aof, &format!("set k {i}"));
        assert_eq!(aof.acknowledged(), end);
        aof.every_second();
    }
    let numbers = aof.numbers();
    assert!(numbers.pending_fsync && numbers.last_write_ok);
    assert_eq!(numbers.delayed_fsync, 998, "each second but the first");
    assert_eq!(bench.after_crash().len(), 1000);
    bench.faults.hold_syncs(false);
    aof.shutdown().unwrap();
    assert_eq!(bench.load().unwrap().0.len(), 1000);
}

#[test]
fn always_acknowledges_only_what_is_synced_and_groups_commits() {
    let mut bench = Bench::new();
    bench.options.fsync = Fsync::Always;
    let mut aof = bench.start();
    bench.faults.hold_syncs(true);
    let first = commit(&mut aof, "set k 0");
    assert!(bench.faults.wait_for_held_sync(LIMIT));
    let before = bench.faults.syncs();
    let mut last = first;
    for i in 1..100 {
        last = commit(&mut aof, &format!("set k {i}"));
    }
    assert_eq!(aof.acknowledged(), 0);
    assert_eq!(bench.after_crash().len(), 100, "the process may die nevertheless");
    bench.faults.hold_syncs(false);
    bench.wait_acknowledged(&mut aof, first);
    bench.wait_acknowledged(&mut aof, last);
    assert_eq!(aof.acknowledged(), last);
    assert_eq!(bench.faults.syncs(), before + 1, "one fsync for 99 commits");
    aof.shutdown().unwrap();
}

#[test]
fn a_failed_fsync_is_reported_and_all_in_doubt_written_again() {
    for fsync in [Fsync::Everysec, Fsync::Always] {
        let mut bench = Bench::new();
        bench.options.fsync = fsync;
        let mut aof = bench.start();
        commit(&mut aof, "set k 0");
        aof.flush_all_now().unwrap();
        bench.faults.fail_syncs(Some(libc::EIO));
        let end = commit(&mut aof, "set k 1");
        aof.every_second();
        until("the error", || aof.status().is_err());
        assert_eq!(aof.status().unwrap_err(), "Input/output error");
        assert!(!aof.numbers().last_write_ok);
        assert!(aof.flush_all_now().is_err());
        assert!(aof.shutdown().is_err());
        if fsync == Fsync::Always {
            assert!(aof.acknowledged() < end);
        }
        // What the kernel threw away, as after a failed fsync it may.
        let mut file = fs::read(bench.incr()).unwrap();
        file[resp("set k 0").len()..].fill(b'?');
        fs::write(bench.incr(), file).unwrap();
        bench.faults.fail_syncs(None);
        aof.every_second();
        until("the recovery", || aof.status().is_ok());
        bench.wait_acknowledged(&mut aof, end);
        assert_eq!(fs::read(bench.incr()).unwrap(), resp_all(&["set k 0", "set k 1"]));
        commit(&mut aof, "set k 2");
        aof.shutdown().unwrap();
        assert_eq!(bench.load().unwrap().0, ["set k 0", "set k 1", "set k 2"]);
    }
}

#[test]
fn a_full_disk_loses_nothing_and_heals() {
    for short in [None, Some(3)] {
        let bench = Bench::new();
        let mut aof = bench.start();
        bench.faults.short_writes(short);
        bench.faults.space(Some(40));
        let expected = sets(0..50);
        for command in &expected {
            commit(&mut aof, command);
        }
        aof.every_second();
        until("the error", || aof.status().is_err());
        assert_eq!(aof.status().unwrap_err(), "No space left on device");
        assert_eq!(bench.after_crash(), expected);
        bench.faults.space(None);
        aof.every_second();
        until("the recovery", || aof.status().is_ok());
        aof.shutdown().unwrap();
        assert_eq!(bench.load().unwrap().0, expected);
    }
}

#[test]
fn a_single_failed_write_heals_at_the_next_timer() {
    let bench = Bench::new();
    let mut aof = bench.start();
    bench.faults.fail_write(1, libc::EIO);
    commit(&mut aof, "set k v");
    assert_eq!(aof.flush_all_now().unwrap_err(), "Input/output error");
    aof.every_second();
    until("the recovery", || aof.status().is_ok());
    aof.shutdown().unwrap();
    assert_eq!(bench.load().unwrap().0, ["set k v"]);
}

#[test]
fn a_full_ring_holds_replies_back_until_there_is_space() {
    let bench = Bench::new();
    let mut aof = bench.start();
    bench.faults.hold_syncs(true);
    let value = "x".repeat(10_000);
    let mut expected = Vec::new();
    let mut end = 0;
    for i in 0..100 {
        expected.push(format!("set key:{i} {value}"));
        end = commit(&mut aof, &expected[i]);
    }
    let acknowledged = aof.acknowledged();
    assert!(acknowledged < end, "a megabyte does not fit into half of one");
    assert!(acknowledged >= 8 * 15 * 4096, "but the ring was filled");
    let survived = bench.after_crash();
    assert!(survived.len() >= acknowledged as usize / (value.len() + 100));
    assert_eq!(survived, expected[..survived.len()]);
    bench.faults.hold_syncs(false);
    bench.wait_acknowledged(&mut aof, end);
    assert_eq!(bench.after_crash(), expected);
    aof.shutdown().unwrap();
    assert_eq!(bench.load().unwrap().0, expected);
}

#[test]
fn without_a_mapping_replies_wait_for_the_file() {
    for ring_size in [0, 8 * 64 * 1024] {
        let mut bench = Bench::new();
        bench.faults.fail_mapping(true);
        bench.options.ring_size = ring_size;
        let mut aof = bench.start();
        assert!(!bench.path("appendonly.aof.ring").exists());
        let syncs = bench.faults.syncs();
        let expected = sets(0..20);
        for command in &expected {
            let end = commit(&mut aof, command);
            bench.wait_acknowledged(&mut aof, end);
            let file = fs::read(bench.incr()).unwrap();
            assert_eq!(file.len() as u64, end, "in the file when acknowledged");
        }
        assert_eq!(bench.faults.syncs(), syncs, "the timer syncs, not each commit");
        assert_eq!(bench.after_crash(), expected);
        aof.shutdown().unwrap();
    }
}

#[test]
fn a_file_cut_under_the_server_is_an_error_not_a_hole() {
    let bench = Bench::new();
    let mut aof = bench.start();
    commit(&mut aof, "set k 0");
    aof.flush_all_now().unwrap();
    fs::write(bench.incr(), b"").unwrap();
    commit(&mut aof, "set k 1");
    assert!(aof.flush_all_now().unwrap_err().contains("shorter"));
    assert_eq!(fs::read(bench.incr()).unwrap(), b"");
}

#[test]
fn the_policy_can_be_changed_while_running() {
    let bench = Bench::new();
    let mut aof = bench.start();
    let end = commit(&mut aof, "set k 0");
    assert_eq!(aof.acknowledged(), end);
    aof.set_fsync(Fsync::Always);
    bench.wait_acknowledged(&mut aof, end);
    bench.faults.hold_syncs(true);
    let end = commit(&mut aof, "set k 1");
    assert!(aof.acknowledged() < end);
    aof.set_fsync(Fsync::No);
    assert_eq!(aof.acknowledged(), end);
    bench.faults.hold_syncs(false);
    aof.shutdown().unwrap();
    assert_eq!(bench.load().unwrap().0, ["set k 0", "set k 1"]);
}

#[test]
fn it_can_be_loaded_again_while_running() {
    let bench = Bench::new();
    let mut aof = bench.start();
    commit(&mut aof, "set k 0");
    aof.flush_all_now().unwrap();
    let mut loader = Loader::reopen(&bench.options, aof.manifest()).unwrap();
    let mut n = 0;
    let mut keys = Keyspace::new(16, 1, 0);
    let mut run = |_: &mut Keyspace, _: Args<'_>| {
        n += 1;
        Ok(())
    };
    while loader.step(u64::MAX, &mut keys, &mut run).unwrap() == Step::More {}
    assert_eq!(n, 1);
    commit(&mut aof, "set k 1");
    aof.shutdown().unwrap();
    assert_eq!(bench.load().unwrap().0, ["set k 0", "set k 1"]);
}

/// kill -9 of a real process that commits as fast as it can: everything that it was told is
/// acknowledged is there afterwards, in order, and nothing else.
#[test]
fn nothing_acknowledged_is_lost_to_kill_9_under_load() {
    const CHILD: &str = "GOREDIS_TEST_AOF_CHILD";
    if let Ok(dir) = std::env::var(CHILD) {
        commit_forever(Path::new(&dir));
    }
    for round in 1..=6 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_acknowledged_is_lost_to_kill_9_under_load", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        for line in lines.map_while(Result::ok) {
            let Some(n) = line.strip_prefix("acknowledged ") else { continue };
            let before = acknowledged;
            acknowledged = n.parse::<usize>().unwrap();
            // Once it has come this far; what it has written until it is dead is still read.
            if before <= 3_000 * round && acknowledged > 3_000 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged > 3_000 * round, "{acknowledged}");
        let options = Options::new(dir.path().into(), Arc::new(RealFiles), Arc::new(|| ()));
        let commands = load(&options, 1 << 16).unwrap().0;
        assert!(commands.len() >= acknowledged, "{} < {acknowledged}", commands.len());
        for (i, command) in commands.iter().enumerate() {
            assert!(command.starts_with(&format!("set key:{i} ")), "{command:.40} at {i}");
        }
    }
}

fn commit_forever(dir: &Path) -> ! {
    let mut options = Options::new(dir.into(), Arc::new(RealFiles), Arc::new(|| ()));
    options.ring_size = 1 << 20;
    let mut aof = Aof::start(&options, Loader::open(&options).unwrap().finish()).unwrap();
    let mut ends = std::collections::VecDeque::new();
    let mut acknowledged = 0;
    for i in 0usize.. {
        let value = "v".repeat(i * 31 % 500);
        let end = commit(&mut aof, &format!("set key:{i} {value}"));
        ends.push_back(end);
        while ends.front().is_some_and(|end| *end <= aof.acknowledged()) {
            ends.pop_front();
            acknowledged += 1;
        }
        if i % 50 == 0 {
            println!("acknowledged {acknowledged}");
        }
        if i % 1000 == 0 {
            aof.every_second();
        }
    }
    unreachable!()
}

#[test]
fn waits_for_the_disk_are_told_once() {
    let bench = Bench::new();
    let mut aof = bench.start();
    let (write_ms, sync_ms) = (30, 50);
    bench.faults.delay(Duration::from_millis(write_ms), Duration::from_millis(sync_ms));
    commit(&mut aof, "SET a 1");
    aof.flush_all_now().unwrap();
    let delays = aof.take_delays();
    assert!(delays.write_ns >= write_ms * 1_000_000, "{delays:?}");
    assert!(delays.sync_ns >= sync_ms * 1_000_000 && delays.awaited_sync_ns == 0, "{delays:?}");
    assert_eq!(aof.take_delays(), Delays::default());
    // Under this policy replies wait for it.
    aof.set_fsync(Fsync::Always);
    commit(&mut aof, "SET a 2");
    aof.flush_all_now().unwrap();
    let delays = aof.take_delays();
    assert!(delays.awaited_sync_ns >= sync_ms * 1_000_000 && delays.sync_ns == 0, "{delays:?}");
}
