//! MIGRATE between real servers, and to targets that say too little, too late, or nothing.
//!
//! What moves is also moved to and from redis-server, where one is installed.

mod support;

use goredis::resp::read::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use support::{Conn, DEADLINE, Options, Server, encode, wait_until_eq};

const REDIS: &str = "/usr/bin/redis-server";

fn start(args: &[&str]) -> Server {
    Server::start(Options::new().args(args))
}

/// goredis, and redis-server if there is one; both let DEBUG DIGEST through.
fn servers() -> Vec<Server> {
    let debugs = ["--enable-debug-command", "yes"];
    let mut servers = vec![start(&debugs)];
    if Path::new(REDIS).exists() {
        servers.push(Server::start(Options::new().redis(REDIS).args(&debugs)));
    }
    servers
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn ask(conn: &mut Conn, line: &str) -> Value {
    conn.command(&words(line))
}

#[track_caller]
fn check(conn: &mut Conn, line: &str, expected: Value) {
    assert_eq!(ask(conn, line), expected, "{line}");
}

#[track_caller]
fn do_all(conn: &mut Conn, lines: &[&str]) {
    for line in lines {
        let reply = ask(conn, line);
        assert!(!matches!(reply, Value::Error(_)), "{line}: {reply:?}");
    }
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn simple(text: &str) -> Value {
    Value::Simple(text.into())
}

fn error(text: &str) -> Value {
    Value::Error(text.into())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.into())
}

const CONNECTING: &str = "IOERR error or timeout connecting to the client";
const READING: &str = "IOERR error or timeout reading to target instance";
const WRITING: &str = "IOERR error or timeout writing to target instance";
const CHANGED: &str = "ERR A key was changed while it was being migrated, and was kept: what the \
                       target has is older";

/// A target that does what a test wants.
struct Puppet {
    listener: TcpListener,
}

impl Puppet {
    fn new() -> Puppet {
        Puppet { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// The next connection, after its SELECT was answered and so many RESTOREs have come.
    fn accept_restores(&self, count: usize) -> TcpStream {
        let mut stream = self.accept();
        read_until(&mut stream, "SELECT", 1);
        stream.write_all(b"+OK\r\n").unwrap();
        read_until(&mut stream, "RESTORE", count);
        stream
    }
}

/// Reads until a word has come so often.
#[track_caller]
fn read_until(stream: &mut TcpStream, word: &str, count: usize) {
    let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
    while String::from_utf8_lossy(&seen).matches(word).count() < count {
        let len = stream.read(&mut bytes).unwrap();
        assert!(len > 0, "the connection ends before {word}");
        seen.extend_from_slice(&bytes[..len]);
    }
}

fn migrate(conn: &mut Conn, port: u16, rest: &str) -> Value {
    ask(conn, &format!("MIGRATE 127.0.0.1 {port} {rest}"))
}

fn send_migrate(conn: &mut Conn, port: u16, rest: &str) {
    conn.send(&encode(&words(&format!("MIGRATE 127.0.0.1 {port} {rest}"))));
}

/// Waits until so many clients wait.
#[track_caller]
fn wait_for_waiting(control: &mut Conn, count: usize) {
    wait_until_eq(count.to_string(), || control.info("blocked_clients"));
}

fn id(conn: &mut Conn) -> String {
    match ask(conn, "CLIENT ID") {
        Value::Int(id) => id.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Values of all types, in the small encodings and in the large ones.
fn fill(conn: &mut Conn) -> Vec<String> {
    let long = "x".repeat(600_000);
    do_all(
        conn,
        &[
            "SET string text",
            "SET number 12345",
            "SET empty_ttl v PX 10000000",
            &format!("SET large_string {long}"),
            "RPUSH list a b 3 four",
            "HSET hash a 1 b two",
            "SADD intset 1 2 3",
            "SADD set a b 3",
            "ZADD zset 1 a 2.5 b -inf c",
            "XADD stream 1-1 a b",
            "XADD stream 2-1 a c d e",
            "XGROUP CREATE stream group 0",
            "XREADGROUP GROUP group me COUNT 1 STREAMS stream >",
            "PFADD hyperloglog a b c",
        ],
    );
    let count = 3000;
    for number in 0..count {
        let batch = [
            format!("RPUSH large_list element:{number}"),
            format!("HSET large_hash field:{number} value:{number}"),
            format!("SADD large_set member:{number}"),
            format!("SADD large_intset {number}"),
            format!("ZADD large_zset {number}.5 member:{number}"),
            format!("XADD large_stream {number}-1 field value:{number} number {number}"),
        ];
        let bytes: Vec<u8> = batch.iter().flat_map(|line| encode(&words(line))).collect();
        conn.send(&bytes);
        batch.iter().for_each(|_| drop(conn.read()));
    }
    let Value::Array(keys) = ask(conn, "KEYS *") else { panic!() };
    keys.iter().map(|key| String::from_utf8_lossy(key.bytes().unwrap()).into()).collect()
}

#[test]
fn all_types_move_between_all_servers() {
    let (sources, targets) = (servers(), servers());
    for (from, source) in sources.iter().enumerate() {
        for (to, target) in targets.iter().enumerate() {
            let (mut here, mut there) = (source.connect(), target.connect());
            do_all(&mut here, &["FLUSHALL"]);
            do_all(&mut there, &["FLUSHALL"]);
            let keys = fill(&mut here);
            let digest = here.text(&["DEBUG", "DIGEST"]);
            let all = format!("0 20000 KEYS {}", keys.join(" "));
            let what = format!("from {from} to {to}");
            assert_eq!(migrate(&mut here, target.port(), &format!("\"\" {all}")), {
                error(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the \
                       empty string",
                )
            });
            let mut line = vec!["MIGRATE", "127.0.0.1"];
            let port = target.port().to_string();
            line.extend([&port[..], "", "0", "20000", "COPY", "KEYS"]);
            line.extend(keys.iter().map(|key| &key[..]));
            assert_eq!(here.command(&line), ok(), "{what}");
            assert_eq!(here.text(&["DEBUG", "DIGEST"]), digest, "{what}");
            assert_eq!(there.text(&["DEBUG", "DIGEST"]), digest, "{what}");
            line[6] = "REPLACE";
            assert_eq!(here.command(&line), ok(), "{what}");
            assert_eq!(ask(&mut here, "DBSIZE"), Value::Int(0), "{what}");
            assert_eq!(there.text(&["DEBUG", "DIGEST"]), digest, "{what}");
            let Value::Int(ttl) = ask(&mut there, "PTTL empty_ttl") else { panic!() };
            assert!((9_900_000..=10_000_000).contains(&ttl), "{what}: {ttl}");
            let pending = ask(&mut there, "XPENDING stream group");
            assert!(matches!(&pending, Value::Array(parts) if parts[0] == Value::Int(1)), "{what}");
        }
    }
}

#[test]
fn options_and_errors() {
    for target in servers() {
        let source = start(&[]);
        let (mut here, mut there) = (source.connect(), target.connect());
        let port = target.port();
        assert_eq!(migrate(&mut here, port, "k 9 1000"), simple("NOKEY"));
        do_all(&mut here, &["SET k 1", "SET l 2", "SELECT 3", "SET other 3", "SELECT 0"]);
        assert_eq!(migrate(&mut here, port, "k 9 1000 COPY"), ok());
        let busy =
            "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
        assert_eq!(migrate(&mut here, port, "k 9 1000 COPY"), error(busy));
        assert_eq!(migrate(&mut here, port, "k 9 1000"), error(busy));
        check(&mut here, "INCR k", Value::Int(2));
        assert_eq!(migrate(&mut here, port, "k 9 1000 replace"), ok());
        check(&mut here, "EXISTS k", Value::Int(0));
        check(&mut there, "SELECT 9", ok());
        check(&mut there, "GET k", bulk("2"));
        // A database that is not there must not become another one.
        let range = "ERR Target instance replied with error: ERR DB index is out of range";
        assert_eq!(migrate(&mut here, port, "l 99 1000"), error(range));
        assert_eq!(migrate(&mut here, port, "l -1 1000"), error(range));
        check(&mut there, "EXISTS l", Value::Int(0));
        check(&mut here, "GET l", bulk("2"));
        assert_eq!(migrate(&mut here, port, "l 2 1000"), ok());
        check(&mut there, "SELECT 2", ok());
        check(&mut there, "GET l", bulk("2"));
        do_all(&mut here, &["SELECT 3"]);
        assert_eq!(migrate(&mut here, port, "other 2 0"), ok());
        check(&mut there, "GET other", bulk("3"));
        assert_eq!(here.info("migrate_cached_sockets"), "1");
        // Nobody is there, or has such a name.
        do_all(&mut here, &["SET k 1"]);
        assert_eq!(migrate(&mut here, 1, "k 0 1000"), error(WRITING));
        check(&mut here, "MIGRATE no.such.host.invalid 1 k 0 30000", error(CONNECTING));
        check(&mut here, "MIGRATE 127.0.0.1 port k 0 1000", error(WRITING));
        check(&mut here, &format!("MIGRATE localhost {port} k 0 10000"), ok());
    }
}

#[test]
fn passwords_and_users() {
    for program in [None, Some(REDIS)] {
        if program.is_some_and(|program| !Path::new(program).exists()) {
            continue;
        }
        let options = Options::new().args(&["--requirepass", "secret"]);
        let target = Server::start(match program {
            Some(program) => options.redis(program),
            None => options,
        });
        let source = start(&[]);
        let (mut here, mut there) = (source.connect(), target.connect());
        let port = target.port();
        do_all(&mut there, &["AUTH secret", "ACL SETUSER mover on >word ~* +@all"]);
        do_all(&mut here, &["SET a 1", "SET b 1", "SET c 1"]);
        let needed = "ERR Target instance replied with error: NOAUTH Authentication required.";
        assert_eq!(migrate(&mut here, port, "a 0 1000"), error(needed));
        let wrong = "ERR Target instance replied with error: WRONGPASS invalid username-password \
                     pair or user is disabled.";
        for login in ["AUTH wrong", "AUTH2 mover wrong", "AUTH2 nobody word"] {
            assert_eq!(migrate(&mut here, port, &format!("a 0 1000 {login}")), error(wrong));
        }
        check(&mut here, "EXISTS a b c", Value::Int(3));
        assert_eq!(migrate(&mut here, port, "a 0 1000 AUTH secret"), ok());
        assert_eq!(migrate(&mut here, port, "b 0 1000 AUTH2 mover word"), ok());
        // Who has logged in has done so for himself.
        assert_eq!(migrate(&mut here, port, "c 0 1000"), error(needed));
        assert_eq!(migrate(&mut here, port, "c 0 1000 AUTH wrong"), error(wrong));
        assert_eq!(migrate(&mut here, port, "c 0 1000 COPY AUTH secret REPLACE"), ok());
        check(&mut there, "EXISTS a b c", Value::Int(3));
        // What is kept of the connection is not the password.
        do_all(&mut there, &["CONFIG SET requirepass another"]);
        assert_eq!(migrate(&mut here, port, "c 0 1000 AUTH secret REPLACE"), error(wrong));
        assert_eq!(migrate(&mut here, port, "c 0 1000 AUTH another REPLACE"), ok());
    }
}

#[test]
fn a_silent_target_is_waited_for_by_nobody_else() {
    let source = start(&[]);
    let puppet = Puppet::new();
    let (mut mover, mut writer, mut control) =
        (source.connect(), source.connect(), source.connect());
    do_all(&mut control, &["SET k 1", "SET other 1"]);
    let began = Instant::now();
    send_migrate(&mut mover, puppet.port(), "k 0 700");
    wait_for_waiting(&mut control, 1);
    writer.send(&encode(&["INCR", "k"]));
    wait_for_waiting(&mut control, 2);
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_millis(600) {
        let asked = Instant::now();
        check(&mut control, "PING", simple("PONG"));
        check(&mut control, "GET k", bulk("1"));
        do_all(&mut control, &["INCR other"]);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_millis(300), "{slowest:?}");
    assert_eq!(mover.read(), error(READING));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(690) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(writer.read(), Value::Int(2));
}

#[test]
fn who_would_change_a_key_on_its_way_waits() {
    let source = start(&[]);
    let puppet = Puppet::new();
    let mut control = source.connect();
    do_all(&mut control, &["SET k 1", "SET kept 1"]);
    let mut mover = source.connect();
    send_migrate(&mut mover, puppet.port(), "k 0 10000");
    let mut target = puppet.accept_restores(1);
    let lines = ["INCR k", "APPEND k x", "EXPIRE k 100", "RENAME kept k"];
    let mut writers: Vec<Conn> = Vec::new();
    for (nth, line) in lines.iter().enumerate() {
        let mut writer = source.connect();
        writer.send(&encode(&words(line)));
        wait_for_waiting(&mut control, nth + 2);
        writers.push(writer);
    }
    // A transaction waits as a whole; a watched key that moves is one that has changed.
    let mut exec = source.connect();
    do_all(&mut exec, &["MULTI", "SET before 1", "INCR k"]);
    exec.send(&encode(&["EXEC"]));
    wait_for_waiting(&mut control, 6);
    let mut watcher = source.connect();
    do_all(&mut watcher, &["WATCH k", "MULTI", "SET watched 1"]);
    check(&mut control, "EXISTS before", Value::Int(0));
    check(&mut control, "GET k", bulk("1"));
    check(&mut control, "SINTERSTORE other k none", {
        error("WRONGTYPE Operation against a key holding the wrong kind of value")
    });
    target.write_all(b"+OK\r\n").unwrap();
    assert_eq!(mover.read(), ok());
    let replies: Vec<Value> = writers.iter_mut().map(Conn::read).collect();
    assert_eq!(replies, [Value::Int(1), Value::Int(2), Value::Int(1), ok()]);
    assert_eq!(exec.read(), Value::Array(vec![ok(), Value::Int(2)]));
    check(&mut watcher, "EXEC", Value::NullArray);
    check(&mut control, "GET k", bulk("2"));
    wait_for_waiting(&mut control, 0);
}

#[test]
fn what_cannot_wait_is_noticed() {
    let source = start(&[]);
    let puppet = Puppet::new();
    let (mut control, mut mover) = (source.connect(), source.connect());
    do_all(&mut control, &["SET k new"]);
    let payload = ask(&mut control, "DUMP k");
    do_all(&mut control, &["SET k old"]);
    send_migrate(&mut mover, puppet.port(), "k 0 10000");
    let mut target = puppet.accept_restores(1);
    control.send(&encode(&[&b"RESTORE"[..], b"k", b"0", payload.bytes().unwrap(), b"REPLACE"]));
    assert_eq!(control.read(), ok());
    target.write_all(b"+OK\r\n").unwrap();
    assert_eq!(mover.read(), error(CHANGED));
    check(&mut control, "GET k", bulk("new"));

    // What is gone need not be removed; what came in its place stays.
    for (line, left) in [("FLUSHALL", None), ("SWAPDB 0 1", Some("swapped"))] {
        do_all(&mut control, &["SELECT 1", "SET k swapped", "SELECT 0", "SET k 1"]);
        send_migrate(&mut mover, puppet.port(), "k 0 10000");
        read_until(&mut target, "RESTORE", 1);
        do_all(&mut control, &[line]);
        target.write_all(b"+OK\r\n").unwrap();
        let expected = left.map_or(ok(), |_| error(CHANGED));
        assert_eq!(mover.read(), expected, "{line}");
        check(&mut control, "GET k", left.map_or(Value::NullBulk, bulk));
        do_all(&mut control, &["FLUSHALL"]);
    }
}

#[test]
fn a_key_that_expires_on_its_way_is_gone() {
    let source = start(&[]);
    let puppet = Puppet::new();
    let (mut control, mut mover) = (source.connect(), source.connect());
    do_all(&mut control, &["SET k 1 PX 100", "HSET h a 1 b 2", "HPEXPIRE h 100 FIELDS 1 a"]);
    mover.send(&encode(&[
        "MIGRATE",
        "127.0.0.1",
        &puppet.port().to_string(),
        "",
        "0",
        "10000",
        "KEYS",
        "k",
        "h",
    ]));
    let mut target = puppet.accept_restores(2);
    wait_until_eq(Value::Int(0), || ask(&mut control, "EXISTS k"));
    wait_until_eq(Value::Int(1), || ask(&mut control, "HLEN h"));
    target.write_all(b"+OK\r\n+OK\r\n").unwrap();
    assert_eq!(mover.read(), ok());
    check(&mut control, "EXISTS k h", Value::Int(0));
}

#[test]
fn only_keys_that_the_target_has_are_removed() {
    let source = start(&["--appendonly", "yes"]);
    let puppet = Puppet::new();
    let (mut control, mut mover) = (source.connect(), source.connect());
    do_all(&mut control, &["MSET a 1 b 2 c 3 d 4"]);
    let port = puppet.port().to_string();
    let line = ["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS", "a", "b", "c", "d", "a"];
    mover.send(&encode(&line));
    let mut target = puppet.accept_restores(4);
    target.write_all(b"+OK\r\n-ERR no\r\n-OOM\r\n+OK\r\n").unwrap();
    assert_eq!(mover.read(), error("ERR Target instance replied with error: ERR no"));
    let left = Value::Array(vec![Value::NullBulk, bulk("2"), bulk("3"), Value::NullBulk]);
    check(&mut control, "MGET a b c d", left);

    // The target ends after its first reply: that key is there, the other may be.
    mover.send(&encode(&[&line[..7], &["b", "c"]].concat()));
    read_until(&mut target, "RESTORE", 2);
    target.write_all(b"+OK\r\n").unwrap();
    drop(target);
    assert_eq!(mover.read(), error(READING));
    check(&mut control, "MGET b c", Value::Array(vec![Value::NullBulk, bulk("3")]));

    // What is no reply ends it, too.
    for nonsense in ["HTTP/1.1 400 Bad Request\r\n", "+OK\r\n+OK\r\n+OK\r\n"] {
        do_all(&mut control, &["SET k 1"]);
        send_migrate(&mut mover, puppet.port(), "k 0 10000");
        let mut target = puppet.accept();
        read_until(&mut target, "SELECT", 1);
        target.write_all(nonsense.as_bytes()).unwrap();
        assert_eq!(mover.read(), error(READING), "{nonsense}");
        check(&mut control, "GET k", bulk("1"));
    }
    let mut source = source;
    source.restart();
    check(&mut source.connect(), "KEYS *", {
        let mut keys = vec![bulk("c"), bulk("k")];
        let found = ask(&mut source.connect(), "KEYS *");
        if found != Value::Array(keys.clone()) {
            keys.reverse();
        }
        Value::Array(keys)
    });
}

#[test]
fn a_target_that_dies_leaves_the_key_here() {
    let source = start(&[]);
    let puppet = Puppet::new();
    let (mut control, mut mover) = (source.connect(), source.connect());
    let large = vec![b'x'; 40 << 20];
    assert_eq!(control.command(&[&b"SET"[..], b"k", &large]), ok());
    send_migrate(&mut mover, puppet.port(), "k 0 10000");
    let mut target = puppet.accept_restores(1);
    let mut bytes = vec![0; 1 << 20];
    target.read_exact(&mut bytes).unwrap();
    drop(target);
    assert_eq!(mover.read(), error(WRITING));
    check(&mut control, "STRLEN k", Value::Int(large.len() as i64));

    // One that does not read any more.
    let began = Instant::now();
    send_migrate(&mut mover, puppet.port(), "k 0 500");
    let _target = puppet.accept_restores(1);
    assert_eq!(mover.read(), error(WRITING));
    assert!(began.elapsed() >= Duration::from_millis(490));
    check(&mut control, "STRLEN k", Value::Int(large.len() as i64));
}

#[test]
fn a_connection_that_ended_long_ago_is_made_anew() {
    let source = start(&[]);
    let mut target = start(&[]);
    let mut here = source.connect();
    do_all(&mut here, &["MSET a 1 b 2"]);
    assert_eq!(migrate(&mut here, target.port(), "a 0 5000"), ok());
    target.kill9();
    target.restart();
    assert_eq!(migrate(&mut here, target.port(), "b 0 5000"), ok());

    // It is noticed only when it is used.
    let puppet = Puppet::new();
    do_all(&mut here, &["MSET a 1 b 2"]);
    send_migrate(&mut here, puppet.port(), "a 0 5000");
    let mut first = puppet.accept_restores(1);
    first.write_all(b"+OK\r\n").unwrap();
    assert_eq!(here.read(), ok());
    send_migrate(&mut here, puppet.port(), "b 0 5000");
    read_until(&mut first, "RESTORE", 1);
    drop(first);
    let mut second = puppet.accept_restores(1);
    second.write_all(b"+OK\r\n").unwrap();
    assert_eq!(here.read(), ok());
    check(&mut here, "EXISTS a b", Value::Int(0));
}

#[test]
fn connections_are_kept_for_a_while() {
    let (source, target) = (start(&[]), start(&[]));
    let mut here = source.connect();
    do_all(&mut here, &["MSET a 1 b 2"]);
    assert_eq!(here.info("migrate_cached_sockets"), "0");
    assert_eq!(migrate(&mut here, target.port(), "a 0 5000"), ok());
    let began = Instant::now();
    assert_eq!(migrate(&mut here, target.port(), "b 0 5000"), ok());
    assert_eq!(here.info("migrate_cached_sockets"), "1");
    assert_eq!(target.connect().info("total_connections_received"), "2");
    wait_until_eq("0".to_string(), || here.info("migrate_cached_sockets"));
    let kept = began.elapsed();
    assert!(kept > Duration::from_secs(9) && kept < Duration::from_secs(15), "{kept:?}");
}

#[test]
fn it_goes_on_without_its_client() {
    let source = start(&[]);
    let puppet = Puppet::new();
    let mut control = source.connect();
    let mut target = None;
    for leaves in [true, false] {
        do_all(&mut control, &["SET k 1"]);
        let mut mover = source.connect();
        let id = id(&mut mover);
        send_migrate(&mut mover, puppet.port(), "k 0 10000");
        let mut stream = match target.take() {
            None => puppet.accept_restores(1),
            Some(mut stream) => {
                read_until(&mut stream, "RESTORE", 1);
                stream
            }
        };
        match leaves {
            true => drop(mover),
            false => do_all(&mut control, &[&format!("CLIENT KILL ID {id}")]),
        }
        wait_for_waiting(&mut control, 0);
        check(&mut control, "GET k", bulk("1"));
        stream.write_all(b"+OK\r\n").unwrap();
        wait_until_eq(Value::Int(0), || ask(&mut control, "EXISTS k"));
        target = Some(stream);
    }
}

#[test]
fn it_can_be_given_up() {
    let source = start(&[]);
    let puppet = Puppet::new();
    let (mut control, mut mover) = (source.connect(), source.connect());
    do_all(&mut control, &["SET k 1"]);
    let id = id(&mut mover);
    let ends = [("TIMEOUT", READING), ("ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK")];
    for (how, expected) in ends {
        check(&mut control, &format!("CLIENT UNBLOCK {id} {how}"), Value::Int(0));
        send_migrate(&mut mover, puppet.port(), "k 0 1000000");
        let mut target = puppet.accept_restores(1);
        check(&mut control, &format!("CLIENT UNBLOCK {id} {how}"), Value::Int(1));
        assert_eq!(mover.read(), error(expected));
        assert_eq!(target.read(&mut [0]).unwrap(), 0, "the connection is closed");
        check(&mut control, "INCR k", Value::Int(2));
        do_all(&mut control, &["SET k 1"]);
    }
}

#[test]
fn to_oneself() {
    let source = start(&[]);
    let mut here = source.connect();
    do_all(&mut here, &["SET k 1", "RPUSH l a b"]);
    let port = source.port();
    let busy = "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    assert_eq!(migrate(&mut here, port, "k 0 5000"), error(busy));
    assert_eq!(migrate(&mut here, port, "k 0 5000 REPLACE"), error(CHANGED));
    check(&mut here, "GET k", bulk("1"));
    assert_eq!(migrate(&mut here, port, "l 7 5000"), ok());
    check(&mut here, "EXISTS l", Value::Int(0));
    do_all(&mut here, &["SELECT 7"]);
    check(&mut here, "LLEN l", Value::Int(2));
}

#[test]
fn a_pause_holds_back_the_end() {
    let (source, target) = (start(&[]), start(&[]));
    let (mut control, mut mover) = (source.connect(), source.connect());
    let puppet = Puppet::new();
    do_all(&mut control, &["SET k 1"]);
    send_migrate(&mut mover, puppet.port(), "k 0 10000");
    let mut stream = puppet.accept_restores(1);
    do_all(&mut control, &["CLIENT PAUSE 100000 WRITE"]);
    stream.write_all(b"+OK\r\n").unwrap();
    // Another one that waits for its own end must not be what the first waits for.
    thread::sleep(Duration::from_millis(50));
    check(&mut control, "GET k", bulk("1"));
    do_all(&mut control, &["CLIENT UNPAUSE"]);
    assert_eq!(mover.read(), ok());
    check(&mut control, "EXISTS k", Value::Int(0));
    drop(target);
}

#[test]
fn within_a_transaction_it_is_refused() {
    let (source, target) = (start(&[]), start(&[]));
    let mut here = source.connect();
    do_all(&mut here, &["SET k 1", "MULTI"]);
    let refused = error("ERR Command not allowed inside a transaction");
    assert_eq!(migrate(&mut here, target.port(), "k 0 5000"), refused);
    let aborted = "EXECABORT Transaction discarded because of previous errors.";
    check(&mut here, "EXEC", error(aborted));
    check(&mut here, "GET k", bulk("1"));
}

#[test]
fn events_and_the_log_tell_of_removed_keys() {
    let mut source = start(&["--appendonly", "yes", "--notify-keyspace-events", "KEA"]);
    let target = start(&[]);
    let (mut here, mut listener) = (source.connect(), source.connect());
    do_all(&mut here, &["SELECT 2", "MSET a 1 b 2 c 3"]);
    do_all(&mut listener, &["PSUBSCRIBE __keyevent@2__:*"]);
    let port = target.port().to_string();
    let keys = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS", "a", "none", "b"];
    assert_eq!(here.command(&keys), ok());
    assert_eq!(migrate(&mut here, target.port(), "c 0 5000 COPY"), ok());
    do_all(&mut here, &["SET end 1"]);
    let event = |conn: &mut Conn| match conn.read() {
        Value::Array(parts) => {
            let text =
                |nth: usize| String::from_utf8_lossy(parts[nth].bytes().unwrap()).to_string();
            format!("{} {}", text(2), text(3))
        }
        other => panic!("{other:?}"),
    };
    let expected = ["__keyevent@2__:del a", "__keyevent@2__:del b", "__keyevent@2__:set end"];
    assert_eq!([(); 3].map(|()| event(&mut listener)), expected);
    source.restart();
    let mut here = source.connect();
    do_all(&mut here, &["SELECT 2"]);
    check(&mut here, "EXISTS a b", Value::Int(0));
    check(&mut here, "EXISTS c end", Value::Int(2));
}

#[test]
fn many_keys_at_once() {
    for target in servers() {
        let source = start(&["--enable-debug-command", "yes"]);
        let mut here = source.connect();
        let keys: Vec<String> = (0..20_000).map(|n| format!("key:{n}")).collect();
        let pairs = keys.iter().flat_map(|key| [&key[..], "a value"]);
        assert_eq!(here.command(&std::iter::once("MSET").chain(pairs).collect::<Vec<_>>()), ok());
        let digest = here.text(&["DEBUG", "DIGEST"]);
        let port = target.port().to_string();
        let mut line = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "20000", "KEYS"];
        line.extend(keys.iter().map(|key| &key[..]));
        assert_eq!(here.command(&line), ok());
        check(&mut here, "DBSIZE", Value::Int(0));
        assert_eq!(target.connect().text(&["DEBUG", "DIGEST"]), digest);
    }
}

#[test]
fn a_thousand_at_the_same_time() {
    const CLIENTS: usize = 1000;
    for target in servers() {
        let source = start(&["--enable-debug-command", "yes"]);
        let mut control = source.connect();
        for number in 0..CLIENTS {
            do_all(&mut control, &[&format!("SET key:{number} {number}")]);
        }
        let digest = control.text(&["DEBUG", "DIGEST"]);
        let mut conns: Vec<Conn> = (0..CLIENTS).map(|_| source.connect()).collect();
        for (number, conn) in conns.iter_mut().enumerate() {
            send_migrate(conn, target.port(), &format!("key:{number} 0 5000"));
        }
        for conn in &mut conns {
            assert_eq!(conn.read(), ok());
        }
        check(&mut control, "DBSIZE", Value::Int(0));
        assert_eq!(target.connect().text(&["DEBUG", "DIGEST"]), digest);
        let links: usize = control.info("migrate_cached_sockets").parse().unwrap();
        assert!((1..=16).contains(&links), "{links}");
    }
}

#[test]
fn a_large_value_stops_nobody() {
    let (source, target) = (start(&[]), start(&[]));
    let (mut control, mut mover) = (source.connect(), source.connect());
    const MEMBERS: usize = 200_000;
    for first in (0..MEMBERS).step_by(1000) {
        let mut line = vec!["ZADD".to_string(), "k".to_string()];
        line.extend((first..first + 1000).flat_map(|n| [n.to_string(), format!("member:{n}")]));
        assert_eq!(control.command(&line), Value::Int(1000));
    }
    send_migrate(&mut mover, target.port(), "k 0 60000");
    wait_for_waiting(&mut control, 1);
    let (mut pings, mut slowest) = (0, Duration::ZERO);
    while ask(&mut control, "EXISTS k") == Value::Int(1) {
        let asked = Instant::now();
        check(&mut control, "PING", simple("PONG"));
        slowest = slowest.max(asked.elapsed());
        pings += 1;
    }
    assert_eq!(mover.read(), ok());
    check(&mut target.connect(), "ZCARD k", Value::Int(MEMBERS as i64));
    // Many were answered meanwhile, none after the whole of the encoding.
    assert!(pings > 20 && slowest < Duration::from_millis(250), "{pings}, {slowest:?}");
}
