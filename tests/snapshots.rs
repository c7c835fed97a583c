//! What a snapshot promises: it is of one moment, whatever is written meanwhile; its file takes the
//! place of the one before only when it is whole; a failed one loses nothing.

mod support;

use goredis::resp::read::Value;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::server::aof_files;
use support::{Conn, Options, Server, encode, wait_for, wait_until_eq};

const DEADLINE: Duration = Duration::from_secs(30);

fn without_aof(args: &[&str]) -> Options {
    Options::new().args(&["--enable-debug-command", "yes"]).args(args)
}

fn digest(server: &Server) -> String {
    server.connect().text(&["DEBUG", "DIGEST"])
}

fn wait_for_save(conn: &mut Conn) {
    wait_until_eq("0".to_string(), || conn.info("rdb_bgsave_in_progress"));
    assert_eq!(conn.info("rdb_last_bgsave_status"), "ok");
}

/// Every kind of value, small and large.
fn fill(conn: &mut Conn) {
    for n in 0..2000 {
        conn.send(&encode(&["SET", &format!("text:{n}"), &"x".repeat(n % 300)]));
        conn.send(&encode(&["RPUSH", "list", &format!("element {n}")]));
        conn.send(&encode(&["SADD", "set", &format!("member {n}")]));
        conn.send(&encode(&["SADD", "integers", &(n * n).to_string()]));
        conn.send(&encode(&["ZADD", "zset", &(n % 97).to_string(), &format!("member {n}")]));
        conn.send(&encode(&["HSET", "hash", &format!("field {n}"), &format!("value {n}")]));
        conn.send(&encode(&["XADD", "stream", &format!("{}-1", n + 1), "n", &n.to_string()]));
        (0..7).for_each(|_| _ = conn.read());
    }
    conn.command(&["SET", "long", &"y".repeat(1 << 20)]);
    conn.command(&["XGROUP", "CREATE", "stream", "group", "0"]);
    conn.command(&["XREADGROUP", "GROUP", "group", "me", "COUNT", "300", "STREAMS", "stream", ">"]);
    conn.command(&["SELECT", "3"]);
    conn.command(&["SET", "elsewhere", "1", "PXAT", "9999999999999"]);
    conn.command(&["SELECT", "0"]);
}

#[test]
fn what_is_saved_comes_back() {
    let mut server = Server::start(without_aof(&[]));
    let mut conn = server.connect();
    fill(&mut conn);
    conn.command(&["BGSAVE"]);
    wait_for_save(&mut conn);
    let before = digest(&server);
    server.kill9();
    server.restart();
    assert_eq!(digest(&server), before);
    assert_eq!(server.connect().info("rdb_last_load_keys_loaded"), "2008");
}

/// Commands that change large values of every kind, which [`fill`] made.
fn changes() -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    for n in 0..2000 {
        let (index, field) = (n.to_string(), format!("field {n}"));
        let member = format!("member {}", n * 7 % 2000);
        sent.push(encode(&["SET", &format!("text:{n}"), "changed"]));
        if n == 100 {
            sent.push(encode(&["SELECT", "3"]));
            sent.push(encode(&["SET", "elsewhere", "changed"]));
            sent.push(encode(&["SELECT", "0"]));
        }
        sent.push(encode(&["LSET", "list", &index, "changed"]));
        sent.push(encode(&["LPUSH", "list", "new"]));
        sent.push(encode(&["SREM", "set", &member]));
        sent.push(encode(&["SADD", "set", &format!("new {n}")]));
        sent.push(encode(&["ZADD", "zset", &(n % 31).to_string(), &member]));
        sent.push(encode(&["ZREM", "zset", &format!("member {n}")]));
        sent.push(encode(&["HSET", "hash", &field, "changed", &format!("new {n}"), "1"]));
        sent.push(encode(&["XADD", "stream", "*", "n", &index]));
        sent.push(encode(&["XDEL", "stream", &format!("{}-1", n * 3)]));
        sent.push(encode(&["XACK", "stream", "group", &format!("{}-1", n / 5)]));
        sent.push(encode(&["SETRANGE", "long", &(n * 500).to_string(), "changed"]));
    }
    sent.push(encode(&[
        "XREADGROUP",
        "GROUP",
        "group",
        "you",
        "COUNT",
        "9",
        "STREAMS",
        "stream",
        ">",
    ]));
    sent.push(encode(&["RENAME", "hash", "another"]));
    sent.push(encode(&["MOVE", "zset", "5"]));
    sent.push(encode(&["DEL", "set"]));
    sent.push(encode(&["SWAPDB", "0", "3"]));
    sent
}

#[test]
fn large_values_may_change_while_they_are_saved() {
    let mut server = Server::start(without_aof(&[]));
    let mut conn = server.connect();
    fill(&mut conn);
    // All in one run of bytes, so that most changes come before much is written.
    let mut bytes = encode(&["DEBUG", "DIGEST"]);
    bytes.extend(encode(&["BGSAVE"]));
    bytes.extend(changes().concat());
    conn.send(&bytes);
    let Value::Simple(digest_then) = conn.read() else { panic!("no digest") };
    let digest_then = String::from_utf8(digest_then).unwrap();
    assert_eq!(conn.read(), Value::Simple(b"Background saving started".to_vec()));
    for sent in changes() {
        let reply = conn.read();
        assert!(!matches!(reply, Value::Error(_)), "{}: {reply:?}", sent.escape_ascii());
    }
    wait_for_save(&mut conn);
    assert_ne!(digest(&server), digest_then);
    server.kill9();
    server.restart();
    assert_eq!(digest(&server), digest_then);
}

/// One writer counts: key `n % KEYS` becomes n. Whatever moment a snapshot is of, its keys tell
/// which one, and must agree about it.
#[test]
fn a_snapshot_is_of_one_moment() {
    const KEYS: u64 = 20_000;
    let server = Server::start(without_aof(&[]));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut conn = server.connect();
            let mut number = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let mut bytes = Vec::new();
                for _ in 0..100 {
                    number += 1;
                    let key = format!("k{}", number % KEYS);
                    bytes.extend(encode(&["SET", &key, &number.to_string()]));
                    // A large value, of which every field is this number's or an older one's.
                    let field = (number % 1000).to_string();
                    bytes.extend(encode(&["HSET", "hash", &field, &number.to_string()]));
                }
                conn.send(&bytes);
                (0..200).for_each(|_| _ = conn.read());
            }
        });
        let mut conn = server.connect();
        assert!(wait_for(DEADLINE, || conn.command(&["DBSIZE"]) == Value::Int(KEYS as i64 + 1)));
        for _ in 0..5 {
            assert_eq!(conn.text(&["BGSAVE"]), "Background saving started");
            wait_for_save(&mut conn);
            check_moment(&server, KEYS);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn check_moment(server: &Server, keys: u64) {
    let other = without_aof(&[]);
    fs::copy(server.dir().join("dump.rdb"), other.dir().join("dump.rdb")).unwrap();
    let other = Server::start(other);
    let mut conn = other.connect();
    let number = |value: Value| String::from_utf8_lossy(value.bytes().unwrap()).parse().unwrap();
    let numbers: Vec<u64> =
        (0..keys).map(|key| number(conn.command(&["GET", &format!("k{key}")]))).collect();
    let last = *numbers.iter().max().unwrap();
    for (key, number) in numbers.iter().enumerate() {
        let expected = last - (last - key as u64) % keys;
        assert_eq!(*number, expected, "k{key} at {last}");
    }
    for field in 0..1000 {
        let found: u64 = number(conn.command(&["HGET", "hash", &field.to_string()]));
        let expected = |last: u64| last - (last - field) % 1000;
        // The hash is written after the key: the moment may be between the two.
        assert!(
            [expected(last), expected(last - 1)].contains(&found),
            "{field} at {last}: {found}"
        );
    }
}

#[test]
fn a_save_that_fails_leaves_the_old_file_and_stops_writes() {
    let options = Options::new().args(&["--save", "1000 1000000"]);
    let server = Server::start(options);
    let mut conn = server.connect();
    conn.command(&["SET", "k", "v"]);
    assert_eq!(conn.text(&["SAVE"]), "OK");
    let saved = fs::read(server.dir().join("dump.rdb")).unwrap();
    // A directory of the temporary file's name is in the way, even of root.
    let temporary = server.dir().join(format!("temp-{}.rdb", server.pid()));
    fs::create_dir(&temporary).unwrap();
    conn.command(&["BGSAVE"]);
    wait_until_eq("err".to_string(), || conn.info("rdb_last_bgsave_status"));
    let Value::Error(text) = conn.command(&["SET", "k", "w"]) else { panic!("it was not refused") };
    assert!(text.starts_with(b"MISCONF Redis is configured to save RDB"));
    assert_eq!(conn.text(&["GET", "k"]), "v");
    assert_eq!(fs::read(server.dir().join("dump.rdb")).unwrap(), saved);
    fs::remove_dir(&temporary).unwrap();
    assert_eq!(conn.text(&["SAVE"]), "OK");
    assert_eq!(conn.text(&["SET", "k", "w"]), "OK");
}

#[test]
fn save_points_save() {
    let options = Options::new().args(&["--save", "1 10"]);
    let server = Server::start(options);
    let mut conn = server.connect();
    for n in 0..10 {
        conn.command(&["SET", &n.to_string(), "v"]);
    }
    assert!(wait_for(DEADLINE, || server.dir().join("dump.rdb").exists()));
    wait_until_eq("0".to_string(), || conn.info("rdb_changes_since_last_save"));
}

#[test]
fn what_was_flushed_does_not_come_back() {
    let mut server = Server::start(Options::new().args(&["--save", "1000 1000"]));
    let mut conn = server.connect();
    conn.command(&["SET", "k", "v"]);
    assert_eq!(conn.text(&["SAVE"]), "OK");
    conn.command(&["FLUSHALL"]);
    wait_until_eq("0".to_string(), || conn.info("rdb_changes_since_last_save"));
    server.kill9();
    server.restart();
    assert_eq!(server.connect().command(&["DBSIZE"]), Value::Int(0));
}

/// The save that runs is of data that are to be gone; it is given up, though it would take long.
#[test]
fn flushall_gives_up_a_save() {
    let mut server = Server::start(Options::new().args(&["--save", "1000 100000"]));
    let mut conn = server.connect();
    for n in 0..100 {
        conn.command(&["SET", &format!("k{n}"), "v"]);
    }
    conn.command(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]);
    conn.command(&["BGSAVE"]);
    assert_eq!(conn.info("rdb_bgsave_in_progress"), "1");
    assert_eq!(conn.text(&["FLUSHALL"]), "OK");
    wait_for_save(&mut conn);
    // The file of before has gone.
    wait_until_eq("0".to_string(), || conn.info("rdb_changes_since_last_save"));
    server.kill9();
    server.restart();
    let mut conn = server.connect();
    assert_eq!(conn.command(&["DBSIZE"]), Value::Int(0));
    // Without save points nothing follows.
    conn.command(&["CONFIG", "SET", "save", "", "rdb-key-save-delay", "1000000"]);
    (0..100).for_each(|n| _ = conn.command(&["SET", &format!("k{n}"), "v"]));
    conn.command(&["BGSAVE"]);
    conn.command(&["FLUSHALL"]);
    wait_for_save(&mut conn);
    assert_eq!(conn.info("rdb_changes_since_last_save"), "200");
    let temporary = format!("temp-{}", server.pid());
    let left = fs::read_dir(server.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with(&temporary)));
}

#[test]
fn a_damaged_file_stops_the_start_and_names_the_place() {
    let options = without_aof(&[]);
    fs::write(options.dir().join("dump.rdb"), b"REDIS0010\xfe\x00\x00\x01k\x05v").unwrap();
    let log = Server::try_start(options).err().expect("it must not start");
    assert!(log.contains("dump.rdb: unexpected end of file (at offset"), "{log}");
}

#[test]
fn the_append_only_file_is_rewritten_when_it_has_grown() {
    let growth = ["--auto-aof-rewrite-min-size", "100kb", "--auto-aof-rewrite-percentage", "50"];
    let mut server = Server::start(Options::new().args(&["--appendonly", "yes"]).args(&growth));
    let mut conn = server.connect();
    let mut writes = 0;
    let rewritten = wait_for(DEADLINE, || {
        for _ in 0..100 {
            writes += 1;
            conn.command(&["SET", &format!("k{}", writes % 10), &format!("{writes:01000}")]);
        }
        conn.info("aof_rewrites").parse::<u64>().unwrap() >= 2
    });
    assert!(rewritten, "{}", server.log());
    assert!(conn.info("aof_current_size").parse::<u64>().unwrap() < writes * 1000);
    let before = conn.text(&["GET", "k3"]);
    server.kill9();
    server.restart();
    assert_eq!(server.connect().text(&["GET", "k3"]), before);
}

fn on_or_off(conn: &mut Conn, value: &str) {
    assert_eq!(conn.text(&["CONFIG", "SET", "appendonly", value]), "OK");
}

fn wait_for_rewrite(conn: &mut Conn) {
    wait_until_eq("00".to_string(), || {
        conn.info("aof_rewrite_in_progress") + &conn.info("aof_rewrite_scheduled")
    });
    assert_eq!(conn.info("aof_last_bgrewrite_status"), "ok");
}

/// Kills the server, and gives one that has started from its append-only file alone.
fn from_the_log(mut server: Server) -> Server {
    let files = server.dir().join("appendonlydir");
    server.kill9();
    let mut with_aof = Server::start(without_aof(&["--appendonly", "yes"]));
    with_aof.kill9();
    let target = with_aof.dir().join("appendonlydir");
    fs::remove_dir_all(&target).unwrap();
    fs::rename(&files, &target).unwrap();
    with_aof.restart();
    with_aof
}

#[test]
fn turning_the_append_only_file_on_and_off_loses_nothing() {
    let server = Server::start(without_aof(&[]));
    let mut conn = server.connect();
    fill(&mut conn);
    on_or_off(&mut conn, "yes");
    conn.command(&["SET", "behind", "1"]);
    wait_for_rewrite(&mut conn);
    on_or_off(&mut conn, "no");
    conn.command(&["SET", "between", "1"]);
    on_or_off(&mut conn, "yes");
    wait_for_rewrite(&mut conn);
    let before = digest(&server);
    let server = from_the_log(server);
    assert_eq!(digest(&server), before);
}

/// The base takes long, and nobody waits for it; what is written meanwhile is in the file, too.
#[test]
fn a_file_that_is_turned_on_is_complete_when_its_base_is() {
    let server = Server::start(without_aof(&[]));
    let mut conn = server.connect();
    for n in 0..100 {
        conn.command(&["SET", &format!("k{n}"), "old"]);
    }
    conn.command(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]);
    on_or_off(&mut conn, "yes");
    assert_eq!(conn.info("aof_rewrite_in_progress"), "1");
    conn.command(&["SET", "k5", "new"]);
    assert!(aof_files(server.dir(), ".manifest").is_empty());
    let Value::Error(text) = conn.command(&["SHUTDOWN"]) else { panic!("it was not refused") };
    assert_eq!(text, b"ERR Errors trying to SHUTDOWN. Check logs.");
    server.wait_for_log("Writing initial AOF, can't exit");
    // Given up, it leaves nothing behind.
    on_or_off(&mut conn, "no");
    let names = fs::read_dir(server.dir().join("appendonlydir")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["appendonly.aof.ring"]);

    conn.command(&["CONFIG", "SET", "rdb-key-save-delay", "5000"]);
    on_or_off(&mut conn, "yes");
    for n in 0..100 {
        conn.command(&["APPEND", &format!("k{n}"), "er"]);
    }
    assert_eq!(conn.info("aof_rewrite_in_progress"), "1");
    wait_for_rewrite(&mut conn);
    conn.command(&["SET", "after", "1"]);
    let before = digest(&server);
    let server = from_the_log(server);
    assert_eq!(digest(&server), before);
    assert_eq!(server.connect().text(&["GET", "k5"]), "newer");
}

#[test]
fn a_base_that_fails_is_tried_again() {
    let server = Server::start(without_aof(&[]));
    let mut conn = server.connect();
    conn.command(&["SET", "before", "1"]);
    let dir = server.dir().join("appendonlydir");
    let temporary = dir.join(format!("temp-rewriteaof-bg-{}.aof", server.pid()));
    fs::create_dir_all(&temporary).unwrap();
    on_or_off(&mut conn, "yes");
    wait_until_eq("err".to_string(), || conn.info("aof_last_bgrewrite_status"));
    conn.command(&["SET", "meanwhile", "1"]);
    assert!(aof_files(server.dir(), ".manifest").is_empty());
    fs::remove_dir(&temporary).unwrap();
    wait_until_eq("ok".to_string(), || conn.info("aof_last_bgrewrite_status"));
    conn.command(&["SET", "after", "1"]);
    let mut server = from_the_log(server);
    assert_eq!(server.connect().command(&["DBSIZE"]), Value::Int(3));
    server.terminate();
}

#[test]
fn the_file_is_begun_when_a_save_has_ended() {
    let server = Server::start(without_aof(&[]));
    let mut conn = server.connect();
    for n in 0..50 {
        conn.command(&["SET", &format!("k{n}"), "v"]);
    }
    conn.command(&["CONFIG", "SET", "rdb-key-save-delay", "10000"]);
    conn.command(&["BGSAVE"]);
    on_or_off(&mut conn, "yes");
    assert_eq!(conn.info("rdb_bgsave_in_progress"), "1");
    assert_eq!(conn.info("aof_rewrite_scheduled"), "1");
    conn.command(&["SET", "meanwhile", "1"]);
    wait_for_save(&mut conn);
    wait_for_rewrite(&mut conn);
    let server = from_the_log(server);
    assert_eq!(server.connect().command(&["DBSIZE"]), Value::Int(51));
}

/// Until the new base is there, the files of before are what a start finds.
#[test]
fn what_was_in_the_file_stays_until_there_is_a_new_base() {
    let server = Server::start(without_aof(&[]));
    let mut conn = server.connect();
    conn.command(&["SET", "old", "1"]);
    on_or_off(&mut conn, "yes");
    wait_for_rewrite(&mut conn);
    conn.command(&["SET", "logged", "1"]);
    on_or_off(&mut conn, "no");
    conn.command(&["SET", "unlogged", "1"]);
    conn.command(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]);
    on_or_off(&mut conn, "yes");
    conn.command(&["SET", "too early", "1"]);
    let server = from_the_log(server);
    let mut conn = server.connect();
    assert_eq!(conn.command(&["DBSIZE"]), Value::Int(2));
    assert_eq!(conn.text(&["GET", "logged"]), "1");
    conn.command(&["SET", "again", "1"]);
    let server = from_the_log(server);
    assert_eq!(server.connect().command(&["DBSIZE"]), Value::Int(3));
}

/// A signal cannot be answered: it waits for the base.
#[test]
fn a_signal_waits_for_the_base() {
    let mut server = Server::start(without_aof(&[]));
    let mut conn = server.connect();
    for n in 0..100 {
        conn.command(&["SET", &format!("k{n}"), "v"]);
    }
    conn.command(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]);
    on_or_off(&mut conn, "yes");
    conn.command(&["SET", "behind", "1"]);
    server.terminate();
    let server = from_the_log(server);
    assert_eq!(server.connect().command(&["DBSIZE"]), Value::Int(101));
}

/// Commands that add up wrongly if one is in the base and in the increment, or in neither.
#[test]
fn a_base_of_commands_is_of_one_moment() {
    let options = without_aof(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
    let mut server = Server::start(options);
    let mut conn = server.connect();
    fill(&mut conn);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut conn = server.connect();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (key, field) = (format!("counter:{}", n % 1000), format!("field {}", n % 500));
                let id = (5000 + n).to_string();
                let commands = [
                    &["INCR", &key][..],
                    &["RPUSH", "list", &id],
                    &["HINCRBY", "counters", &field, "1"],
                    &["ZINCRBY", "zset", "1", "member 7"],
                    &["XADD", "stream", &id, "n", &id],
                    &["APPEND", "long", "x"],
                ];
                commands.iter().for_each(|command| conn.send(&encode(command)));
                (0..commands.len()).for_each(|_| _ = conn.read());
            }
        });
        for _ in 0..5 {
            let text = "Background append only file rewriting started";
            assert_eq!(conn.text(&["BGREWRITEAOF"]), text);
            wait_for_rewrite(&mut conn);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(aof_files(server.dir(), ".base.aof").len(), 1);
    assert!(aof_files(server.dir(), ".base.rdb").is_empty());
    let before = digest(&server);
    server.kill9();
    server.restart();
    assert_eq!(digest(&server), before);
}
