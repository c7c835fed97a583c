//! The server as a program: how it is started and ended, where it listens, whom it turns away,
//! and that it survives the want of resources.
//!
//! With `GOREDIS_REFEREE=redis-server` these tests run against that program, which proves them.

mod support;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use goredis::resp::read::Value;
use support::run::referee;
use support::{Conn, DEADLINE, Options, Server, encode, wait_until_eq};

const MIB: usize = 1024 * 1024;

fn options() -> Options {
    Options::new_or_referee()
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn is_served(conn: &mut Conn) -> bool {
    conn.try_command(&["PING"]).is_ok_and(|reply| reply == Value::Simple(b"PONG".to_vec()))
}

#[track_caller]
fn config(conn: &mut Conn, name: &str) -> String {
    let Value::Array(pair) = conn.command(&["CONFIG", "GET", name]) else { panic!("no array") };
    let value = pair.get(1).unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(value.bytes().unwrap().to_vec()).unwrap()
}

#[test]
fn listens_on_every_address_it_is_told() {
    let server = Server::start(options().args(&["--bind", "127.0.0.1", "127.0.0.2", "-::1"]));
    for address in ["127.0.0.1", "127.0.0.2"] {
        assert!(is_served(&mut Conn::try_connect((address, server.port())).unwrap()), "{address}");
    }
    // Not every machine has IPv6, and so the address is optional.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        assert!(is_served(&mut Conn::try_connect(("::1", server.port())).unwrap()));
    }
    assert!(Conn::try_connect(("127.0.0.3", server.port())).is_err());
}

#[test]
fn an_address_that_is_not_there_may_be_optional() {
    // An address reserved for documentation: no machine has it.
    let server = Server::start(options().args(&["--bind", "127.0.0.1", "-203.0.113.1"]));
    assert!(is_served(&mut server.connect()));
    let log = Server::try_start(options().args(&["--bind", "127.0.0.1", "203.0.113.1"]))
        .err()
        .expect("it started");
    assert!(log.contains("Could not create server TCP listening socket 203.0.113.1:"), "{log}");
}

#[test]
fn every_address_can_be_listened_on() {
    let server = Server::start(options().args(&["--bind", "*", "--protected-mode", "no"]));
    assert!(is_served(&mut Conn::try_connect(("127.0.0.3", server.port())).unwrap()));
}

#[test]
fn a_unix_socket_has_its_permissions_and_goes_away_with_the_server() {
    let options = options().args(&["--unixsocket", "s.sock", "--unixsocketperm", "700"]);
    let path = options.dir().join("s.sock");
    // What an earlier run has left is no hindrance.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut server = Server::start(options);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let mut conn = Conn::try_connect_unix(&path).unwrap();
    assert_eq!(conn.command(&["SET", "k", "v"]), ok());
    assert_eq!(server.connect().command(&["GET", "k"]), Value::Bulk(b"v".to_vec()));
    let info = conn.text(&["CLIENT", "INFO"]);
    assert!(info.contains(" addr=s.sock:0 laddr=s.sock:0 "), "{info}");
    assert!(info.contains(" flags=U "), "{info}");
    server.terminate();
    assert!(!path.exists());
}

#[test]
fn port_0_is_no_port() {
    let options = options().args(&["--port", "0", "--unixsocket", "s.sock"]);
    let path = options.dir().join("s.sock");
    let server = Server::start(options);
    assert!(is_served(&mut Conn::try_connect_unix(&path).unwrap()));
    assert_eq!(server.listening_ports(), []);
}

#[test]
fn a_port_in_use_is_an_error() {
    let server = Server::start(options());
    let port = server.port().to_string();
    let ended = options().args(&["--port", &port, "--save", ""]).run_to_exit();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stdout.contains("Address already in use"), "{}", ended.stdout);
    let failed = format!("Failed listening on port {port} (");
    assert!(ended.stdout.contains(&failed), "{}", ended.stdout);
    assert!(is_served(&mut server.connect()));
}

#[test]
fn too_many_clients_are_told_so() {
    let server = Server::start(options().args(&["--maxclients", "3"]));
    let mut conns: Vec<Conn> = (0..3).map(|_| server.connect()).collect();
    assert!(conns.iter_mut().all(is_served));
    for _ in 0..2 {
        let mut refused = server.connect();
        let reply = refused.read();
        assert_eq!(reply, Value::Error(b"ERR max number of clients reached".to_vec()));
        assert!(refused.is_closed_within(DEADLINE));
    }
    assert_eq!(conns[0].info("rejected_connections"), "2");
    assert_eq!(conns[0].info("connected_clients"), "3");
    conns.pop();
    wait_until_eq("2".to_string(), || conns[0].info("connected_clients"));
    assert!(is_served(&mut server.connect()));
}

#[test]
fn idle_clients_are_closed_after_the_timeout() {
    let server = Server::start(options().args(&["--timeout", "1"]));
    let mut idle = server.connect();
    let mut busy = server.connect();
    assert!(is_served(&mut idle) && is_served(&mut busy));
    let began = Instant::now();
    let waiter = thread::spawn(move || (idle.is_closed_within(DEADLINE), began.elapsed()));
    while !waiter.is_finished() {
        assert!(is_served(&mut busy));
        thread::sleep(Duration::from_millis(50));
    }
    let (closed, after) = waiter.join().unwrap();
    assert!(closed);
    // Seconds are counted in whole ones.
    assert!(after > Duration::from_millis(900) && after < Duration::from_secs(5), "{after:?}");
    assert!(is_served(&mut busy));
}

#[test]
fn signals_end_it_and_nothing_is_lost() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(options().args(&["--appendonly", "yes"]));
        let mut conn = server.connect();
        assert_eq!(conn.command(&["SET", "k", signal]), ok());
        server.signal(signal);
        assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log());
        assert!(conn.is_closed_within(DEADLINE));
        server.wait_for_log("User requested shutdown...");
        server.wait_for_log("ready to exit, bye bye...");
        server.restart();
        let value = server.connect().command(&["GET", "k"]);
        assert_eq!(value, Value::Bulk(signal.as_bytes().to_vec()));
    }
}

#[test]
fn shutdown_ends_it() {
    for how in [&["SHUTDOWN"][..], &["SHUTDOWN", "NOSAVE"], &["shutdown", "now", "force"]] {
        let mut server = Server::start(options().args(&["--appendonly", "yes"]));
        let mut conn = server.connect();
        assert_eq!(conn.command(&["SET", "k", "v"]), ok());
        conn.send(&encode(how));
        assert_eq!(conn.read_to_end(), b"");
        assert_eq!(server.wait_for_exit().code(), Some(0));
        server.restart();
        let mut conn = server.connect();
        assert_eq!(conn.command(&["GET", "k"]), Value::Bulk(b"v".to_vec()));
        let cases: &[(&[&str], &str)] = &[
            (&["SHUTDOWN", "ABORT"], "ERR No shutdown in progress."),
            (&["SHUTDOWN", "BOGUS"], "ERR syntax error"),
            (&["SHUTDOWN", "SAVE", "NOSAVE"], "ERR syntax error"),
            (&["SHUTDOWN", "ABORT", "NOW"], "ERR syntax error"),
        ];
        for (command, error) in cases {
            assert_eq!(conn.command(command), Value::Error(error.as_bytes().to_vec()));
        }
    }
}

#[test]
fn want_of_descriptors_is_survived() {
    const FREE: usize = 5;
    let server = Server::start(options());
    let mut first = server.connect();
    assert!(is_served(&mut first));
    let limit = server.open_descriptors() + FREE;
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", server.pid()))
        .arg(format!("--nofile={limit}:{limit}"))
        .status()
        .expect("prlimit, of util-linux");
    assert!(status.success());

    let mut conns: Vec<Conn> = (0..20).map(|_| server.connect()).collect();
    for conn in &mut conns {
        conn.send(&encode(&["PING"]));
    }
    assert!(conns[..FREE].iter_mut().all(|conn| conn.read() == Value::Simple(b"PONG".to_vec())));
    server.wait_for_log("Too many open files");
    let before = server.cpu_time();
    let began = Instant::now();
    let mut served = 0;
    while began.elapsed() < Duration::from_millis(600) {
        assert!(is_served(&mut first));
        served += 1;
        thread::sleep(Duration::from_millis(20));
    }
    assert!(served > 3);
    // Redis tries again and again as fast as it can.
    if referee().is_none() {
        let used = server.cpu_time() - before;
        assert!(used < Duration::from_millis(300), "used {used:?} of processor time");
    }
    // Where others leave, those who wait come in.
    conns.drain(..FREE);
    assert!(conns[..FREE].iter_mut().all(|conn| conn.read() == Value::Simple(b"PONG".to_vec())));
    assert!(is_served(&mut first));
}

#[test]
fn tells_its_version() {
    for option in ["-v", "--version"] {
        let ended = options().args(&[option]).run_to_exit();
        assert_eq!(ended.status.code(), Some(0));
        let pattern = r"^\S.* v=\d+\.\d+\.\d+ sha=\w+:[01] malloc=\S+ bits=64 build=[0-9a-f]+";
        let pattern = regex_lite::Regex::new(pattern).unwrap();
        assert!(pattern.is_match(&ended.stdout), "{}", ended.stdout);
    }
    for option in ["-h", "--help"] {
        let ended = options().args(&[option]).run_to_exit();
        let text = ended.stdout + &ended.stderr;
        assert!(text.contains("Usage:"), "{text}");
    }
}

/// Starts with a configuration file of this text; returns what is said on standard error.
fn refused_config(text: &str, args: &[&str]) -> String {
    let options = options();
    fs::write(options.dir().join("goredis.conf"), text).unwrap();
    let ended = options.args(&["goredis.conf"]).args(args).run_to_exit();
    assert_eq!(ended.status.code(), Some(1), "{text:?} {args:?}: {ended:?}");
    ended.stderr
}

#[test]
fn what_is_wrong_in_the_configuration_is_told() {
    let directive = "Bad directive or wrong number of arguments";
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("# fine\nmaxclients 10\nbogus yes\n", &[], "at line 3", directive),
        ("port\n", &[], "at line 1", "wrong number of arguments"),
        ("port abc\n", &[], ">>> 'port abc'", "argument couldn't be parsed into an integer"),
        ("port 65536\n", &[], "at line 1", "argument must be between 0 and 65535 inclusive"),
        ("maxclients 0\n", &[], "at line 1", "argument must be between 1 and 4294967295 inclusive"),
        ("appendonly maybe\n", &[], "at line 1", "argument must be 'yes' or 'no'"),
        ("\n\nmaxmemory 1xb\n", &[], "at line 3", "argument must be a memory value"),
        ("appendfsync often\n", &[], "at line 1", "argument(s) must be one of the following: "),
        ("dir \"/nonexistent\n", &[], "at line 1", "Unbalanced quotes in configuration line"),
        ("dir /nonexistent\n", &[], ">>> 'dir /nonexistent'", "No such file or directory"),
        ("save 1\n", &[], "at line 1", "Invalid save parameters"),
        ("", &["--bogus", "1"], ">>> 'bogus \"1\"'", directive),
        (
            "",
            &["--port", "abc"],
            ">>> 'port \"abc\"'",
            "argument couldn't be parsed into an integer",
        ),
    ];
    for (text, args, place, reason) in cases {
        let said = refused_config(text, args);
        assert!(said.contains("*** FATAL CONFIG FILE ERROR ("), "{text:?} {args:?}: {said}");
        assert!(said.contains(place), "{text:?} {args:?}: no {place:?} in {said}");
        assert!(said.contains(reason), "{text:?} {args:?}: no {reason:?} in {said}");
    }
    let ended = options().args(&["not-there.conf"]).run_to_exit();
    assert_eq!(ended.status.code(), Some(1));
    let said = ended.stdout + &ended.stderr;
    assert!(said.contains("can't open config file"), "{said}");
}

#[test]
fn configuration_comes_from_file_standard_input_and_arguments() {
    let options = options();
    fs::write(options.dir().join("included.conf"), "timeout 11\nmaxclients 66\n").unwrap();
    let text =
        "# A comment\nmaxclients 77\ninclude included.conf\nhz 22\nmaxmemory-policy allkeys-lru\n";
    fs::write(options.dir().join("goredis.conf"), text).unwrap();
    let arguments = ["goredis.conf", "--hz", "33", "--maxmemory-policy", "noeviction", "-"];
    let input = "maxmemory-policy volatile-ttl\ntcp-keepalive 44\n";
    let server = Server::start(options.stdin(input).args(&arguments));
    let mut conn = server.connect();
    let found = ["maxclients", "timeout", "tcp-keepalive", "hz", "maxmemory-policy"]
        .map(|name| config(&mut conn, name));
    assert_eq!(found, ["66", "11", "44", "33", "noeviction"]);
}

#[test]
fn configuration_alone_on_standard_input() {
    let server = Server::start(options().stdin("maxclients 77\n").args(&["-"]));
    assert_eq!(config(&mut server.connect(), "maxclients"), "77");
}

#[test]
fn config_rewrite_keeps_the_file_and_its_changes() {
    let options = options();
    let path = options.dir().join("goredis.conf");
    fs::write(&path, "# Mine\nmaxclients 77\n\n# Unchanged\ntimeout 5\n").unwrap();
    let mut server = Server::start(options.args(&["goredis.conf"]));
    let mut conn = server.connect();
    assert_eq!(conn.command(&["CONFIG", "SET", "maxclients", "88", "hz", "42"]), ok());
    assert_eq!(conn.command(&["CONFIG", "REWRITE"]), ok());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# Mine\nmaxclients 88\n\n# Unchanged\ntimeout 5\n"), "{text}");
    assert!(text.contains("\nhz 42\n"), "{text}");
    server.terminate();
    server.restart();
    let mut conn = server.connect();
    let found = ["maxclients", "timeout", "hz"].map(|name| config(&mut conn, name));
    assert_eq!(found, ["88", "5", "42"]);
}

/// An address of this machine that is not its loopback interface; none if it has no other.
fn outside_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent; the system only chooses the address it would send from.
    socket.connect("203.0.113.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

#[test]
fn strangers_are_refused_unless_there_is_a_password() {
    let Some(address) = outside_address() else {
        eprintln!("this machine has no address but loopback: not tested");
        return;
    };
    let server = Server::start(options().args(&["--bind", "0.0.0.0"]));
    let outside = || Conn::try_connect((address.as_str(), server.port())).unwrap();
    let mut conn = outside();
    let Value::Error(text) = conn.read() else { panic!("it was let in") };
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("DENIED Redis is running in protected mode"), "{text}");
    assert!(conn.is_closed_within(DEADLINE));

    let mut inside = server.connect();
    assert!(is_served(&mut inside));
    assert_eq!(inside.command(&["CONFIG", "SET", "requirepass", "secret"]), ok());
    let mut conn = outside();
    assert_eq!(conn.command(&["AUTH", "secret"]), ok());
    assert!(is_served(&mut conn));
    assert_eq!(inside.command(&["CONFIG", "SET", "requirepass", ""]), ok());
    assert_eq!(inside.command(&["CONFIG", "SET", "protected-mode", "no"]), ok());
    assert!(is_served(&mut outside()));
}

#[test]
fn log_lines_have_the_form_of_redis() {
    let server = Server::start(options().log_file("server.log").args(&["--loglevel", "debug"]));
    let mut conn = server.connect();
    assert!(is_served(&mut conn));
    drop(conn);
    let text = fs::read_to_string(server.dir().join("server.log")).unwrap();
    let line = r"^\d+:[MCX] \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d\.\d{3} [.*#-] \S.*$";
    let line = regex_lite::Regex::new(line).unwrap();
    let odd: Vec<&str> = text.lines().filter(|text| !line.is_match(text)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert!(text.contains(&format!("{}:M ", server.pid())));
    assert!(text.contains(&format!(" PID: {}", server.pid())) || referee().is_some());
    assert!(text.contains(" * Ready to accept connections"));
}

/// Asks for much more than sockets hold, and does not read it.
fn ask_for_much(server: &Server) -> Conn {
    let mut conn = server.connect();
    let value = vec![b'v'; 4 * MIB];
    assert_eq!(conn.command(&[&b"SET"[..], b"k", &value]), ok());
    conn.send(&encode(&["GET", "k"]).repeat(10));
    conn
}

#[test]
fn who_leaves_too_much_unread_is_cut_off() {
    let limit = ["--client-output-buffer-limit", "normal", "20mb", "0", "0"];
    let server = Server::start(options().args(&limit));
    let mut conn = ask_for_much(&server);
    server.wait_for_log("overcoming of output buffer limits");
    let got = conn.read_to_end_or_reset();
    assert!(got < 40 * MIB, "{got} bytes came");
    assert!(is_served(&mut server.connect()));
}

/// A few bytes may ask for a reply without end.
#[test]
fn a_reply_ends_at_the_limit_of_the_output() {
    let limit = ["--client-output-buffer-limit", "normal", "1mb", "0", "0"];
    let server = Server::start(options().args(&limit));
    let mut conn = server.connect();
    let long = "v".repeat(MIB / 2);
    for words in [
        &["SADD", "set", "a", "b"][..],
        &["ZADD", "zset", "1", "a", "2", "b"],
        &["HSET", "hash", "a", "1", "b", "2"],
        &["HSET", "long", "f", &long],
        &["SET", "k", &long],
        &["RPUSH", "list", "k"],
    ] {
        conn.command(words);
    }
    const COUNT: &str = "-9223372036854775807";
    const HALF: &str = "-4611686018427387903";
    let repeated = |first: &[&'static str], word| [first, &vec![word; 2000]].concat();
    for words in [
        vec!["SRANDMEMBER", "set", COUNT],
        vec!["ZRANDMEMBER", "zset", COUNT],
        vec!["ZRANDMEMBER", "zset", HALF, "WITHSCORES"],
        vec!["HRANDFIELD", "hash", COUNT],
        vec!["HRANDFIELD", "hash", HALF, "WITHVALUES"],
        repeated(&["MGET"], "k"),
        repeated(&["HMGET", "long"], "f"),
        [&["SORT", "list", "BY", "no"][..], &["GET", "*"].repeat(1000)].concat(),
    ] {
        for in_transaction in [false, true] {
            let mut conn = server.connect();
            let mut request = encode(&words);
            if in_transaction {
                let unlimited = ["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0"];
                let limited = ["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"];
                let mut all = encode(&["MULTI"]);
                all.extend(request.repeat(2));
                for words in [&unlimited[..], &limited, &["INCR", "done"], &["EXEC"]] {
                    all.extend(encode(words));
                }
                request = all;
            }
            conn.send(&request);
            let got = conn.read_to_end_or_reset();
            assert!(got < 2 * MIB, "{words:.30?}: {got} bytes came");
            assert!(is_served(&mut server.connect()));
        }
    }
    assert_eq!(server.connect().text(&["GET", "done"]), "8");
    assert!(server.resident_bytes() < 100 * MIB as u64);
    // Without replies nothing piles up.
    let mut conn = server.connect();
    conn.send(&encode(&["CLIENT", "REPLY", "OFF"]));
    conn.send(&encode(&["SRANDMEMBER", "set", "-1000000"]));
    conn.send(&encode(&["CLIENT", "REPLY", "ON"]));
    assert_eq!(conn.read(), ok());
}

#[test]
fn who_leaves_much_unread_for_long_is_cut_off() {
    let limit = ["--client-output-buffer-limit", "normal", "0", "2mb", "1"];
    let server = Server::start(options().args(&limit));
    let began = Instant::now();
    let mut conn = ask_for_much(&server);
    server.wait_for_log("overcoming of output buffer limits");
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(conn.read_to_end_or_reset() < 40 * MIB);
    assert!(is_served(&mut server.connect()));
}
