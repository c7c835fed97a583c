//! What one client may take from all others, and does not get: output that it does not read,
//! memory beyond `maxmemory-clients`, time while clients are paused.
//!
//! With `GOREDIS_REFEREE=redis-server` these tests run against that program, which proves them.

mod support;

use std::io::Write;
use std::time::Duration;

use goredis::resp::read::Value;
use support::run::referee;
use support::{Conn, Options, Server, encode, wait_until_eq};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn start(args: &[&str]) -> Server {
    Server::start(Options::new_or_referee().args(args))
}

fn simple(text: &str) -> Value {
    Value::Simple(text.as_bytes().to_vec())
}

fn bulk(bytes: &[u8]) -> Value {
    Value::Bulk(bytes.to_vec())
}

/// The names of the clients that have one.
fn names(conn: &mut Conn) -> Vec<String> {
    let list = conn.text(&["CLIENT", "LIST"]);
    let words = list.split_whitespace().filter_map(|word| word.strip_prefix("name="));
    words.filter(|name| !name.is_empty()).map(str::to_string).collect()
}

/// A number from the line of the client with this name.
fn field(conn: &mut Conn, name: &str, field: &str) -> usize {
    let list = conn.text(&["CLIENT", "LIST"]);
    let line = list.lines().find(|line| line.contains(&format!(" name={name} "))).unwrap();
    let word = line.split(' ').find_map(|word| word.strip_prefix(&format!("{field}="))).unwrap();
    word.parse().unwrap()
}

/// How many clients were cut off for their output; Redis before 7.2 does not tell.
fn cut_off(conn: &mut Conn) -> usize {
    match conn.info("client_output_buffer_limit_disconnections").as_str() {
        "" if referee().is_some() => 1,
        count => count.parse().unwrap(),
    }
}

fn named(server: &Server, name: &str) -> Conn {
    let mut conn = server.connect();
    assert_eq!(conn.command(&["CLIENT", "SETNAME", name]), simple("OK"));
    conn
}

#[test]
fn a_subscriber_that_stops_reading_is_cut_off_and_harms_nobody() {
    let server = start(&["--client-output-buffer-limit", "pubsub", "2mb", "0", "0"]);
    let (mut stuck, mut reader) = (named(&server, "stuck"), named(&server, "reader"));
    for conn in [&mut stuck, &mut reader] {
        conn.command(&["SUBSCRIBE", "ch"]);
    }
    let (mut publisher, mut other) = (named(&server, "publisher"), named(&server, "other"));
    let before = server.resident_bytes();
    let text = vec![b'm'; 64 * KIB];
    let mut published = 0;
    let message = Value::Array(vec![bulk(b"message"), bulk(b"ch"), bulk(&text)]);
    loop {
        let receivers = publisher.command(&[&b"PUBLISH"[..], b"ch", &text]);
        published += 1;
        assert_eq!(reader.read(), message, "message {published}");
        assert_eq!(other.command(&["PING"]), simple("PONG"));
        if receivers == Value::Int(1) {
            break;
        }
        // What the kernel keeps for it, and its limit.
        assert!(published < 1000, "{published} messages, and it is still there");
    }
    server.wait_for_log("overcoming of output buffer limits");
    assert_eq!(cut_off(&mut other), 1);
    assert_eq!(names(&mut other), ["reader", "publisher", "other"]);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB as u64, "grew by {grown} bytes");
    // It gets what was on its way, and the end.
    assert!(stuck.read_to_end_or_reset() < published * (text.len() + 100));
}

#[test]
fn one_whose_replies_are_half_sent_may_ask_about_itself() {
    let server = start(&[]);
    let mut conn = server.connect();
    assert_eq!(conn.command(&["SET", "large", &"x".repeat(MIB)]), simple("OK"));
    // More than a socket takes, so that each command finds some of it sent and some waiting.
    let mut sender = conn.writer();
    let rounds = 24;
    for round in 1..=rounds {
        sender.write_all(&encode(&["GET", "large"])).unwrap();
        sender.write_all(&encode(&["CLIENT", "INFO"])).unwrap();
        let mut other = server.connect();
        let processed = |conn: &mut Conn| conn.info("total_commands_processed").parse::<u64>();
        wait_until_eq(true, || processed(&mut other).unwrap() > 2 * round);
    }
    for _ in 0..rounds {
        assert_eq!(conn.read(), bulk(&vec![b'x'; MIB]));
        assert!(matches!(conn.read(), Value::Bulk(line) if line.starts_with(b"id=")));
    }
}

#[test]
fn one_that_monitors_and_stops_reading_is_cut_off_as_a_normal_client() {
    let server = start(&["--client-output-buffer-limit", "normal", "2mb", "0", "0"]);
    let mut stuck = named(&server, "stuck");
    assert_eq!(stuck.command(&["MONITOR"]), simple("OK"));
    let mut conn = named(&server, "conn");
    let value = vec![b'v'; 64 * KIB];
    let mut sent = 0;
    while names(&mut conn).len() == 2 {
        assert_eq!(conn.command(&[&b"SET"[..], b"k", &value]), simple("OK"));
        sent += 1;
        assert!(sent < 1000, "{sent} commands, and it is still there");
    }
    assert_eq!(cut_off(&mut conn), 1);
}

#[test]
fn a_monitor_sees_where_a_command_came_from() {
    let options = Options::new_or_referee();
    let path = options.dir().join("socket");
    let server = Server::start(options.args(&["--unixsocket", path.to_str().unwrap()]));
    let mut conn = Conn::try_connect_unix(&path).unwrap();
    let mut monitor = server.connect();
    assert_eq!(monitor.command(&["MONITOR"]), simple("OK"));
    assert_eq!(conn.command(&["SELECT", "5"]), simple("OK"));
    let Value::Simple(line) = monitor.read() else { panic!("no line") };
    let line = String::from_utf8(line).unwrap();
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(rest, format!("[5 unix:{}] \"SELECT\" \"5\"", path.display()));
    let (seconds, micros) = time.split_once('.').unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(seconds.parse().unwrap()) < 60 && micros.len() == 6, "{time}");
}

/// Announces a command with one argument of `len` bytes, and sends all but its end.
fn begin_large(conn: &mut Conn, len: usize) {
    let whole = encode(&[&b"PING"[..], &vec![b'v'; len]]);
    // It may be cut off meanwhile.
    let _ = conn.try_send(&whole[..whole.len() - 2]);
}

#[test]
fn the_largest_clients_go_until_the_others_fit() {
    let server = start(&[]);
    let mut control = named(&server, "control");
    assert_eq!(control.command(&["CLIENT", "NO-EVICT", "on"]), simple("OK"));
    let sizes = [("small", MIB), ("middle", 2 * MIB), ("large", 4 * MIB)];
    let mut clients = sizes.map(|(name, size)| {
        let mut conn = named(&server, name);
        begin_large(&mut conn, size);
        wait_until_eq(true, || field(&mut control, name, "qbuf") >= size);
        assert!(field(&mut control, name, "tot-mem") >= size);
        conn
    });
    assert_eq!(names(&mut control), ["control", "small", "middle", "large"]);
    wait_until_eq(true, || {
        let clients_take = control.info("mem_clients_normal").parse::<usize>().unwrap();
        (7 * MIB..9 * MIB).contains(&clients_take)
    });
    // The largest suffices, and only it goes.
    control.command(&["CONFIG", "SET", "maxmemory-clients", "5mb"]);
    wait_until_eq(["control", "small", "middle"].map(String::from).to_vec(), || {
        names(&mut control)
    });
    // 2% of 100 MB.
    control.command(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-clients", "2%"]);
    wait_until_eq(["control", "small"].map(String::from).to_vec(), || names(&mut control));
    assert_eq!(control.info("evicted_clients"), "2");
    server.wait_for_log("Evicting client: id=");
    // Who is left is served.
    clients[0].send(b"\r\n");
    assert_eq!(clients[0].read(), bulk(&vec![b'v'; MIB]));
    for conn in &mut clients[1..] {
        assert!(conn.is_closed_within(Duration::from_secs(10)));
    }
}

#[test]
fn whoever_would_take_too_much_goes_before_its_command_is_executed() {
    let server = start(&["--maxmemory-clients", "2mb"]);
    let (mut control, mut conn) = (server.connect(), named(&server, "large"));
    let value = vec![b'v'; MIB];
    assert_eq!(conn.command(&[&b"SET"[..], b"k", &value]), simple("OK"));
    assert_eq!(conn.command(&["STRLEN", "k"]), Value::Int(MIB as i64));
    let large = encode(&[&b"SET"[..], b"k", &vec![b'w'; 3 * MIB]]);
    // Which part of it is still taken is a matter of chance.
    let _ = conn.try_send(&large);
    wait_until_eq(true, || names(&mut control).is_empty());
    assert_eq!(control.command(&["STRLEN", "k"]), Value::Int(MIB as i64));
    assert_eq!(control.info("evicted_clients"), "1");
}

#[test]
fn one_that_must_not_be_evicted_stays() {
    let server = start(&["--maxmemory-clients", "2mb"]);
    let (mut control, mut conn) = (server.connect(), named(&server, "large"));
    for conn in [&mut control, &mut conn] {
        assert_eq!(conn.command(&["CLIENT", "NO-EVICT", "on"]), simple("OK"));
    }
    begin_large(&mut conn, 4 * MIB);
    wait_until_eq(true, || field(&mut control, "large", "qbuf") >= 4 * MIB);
    server.wait_for_log("Over client maxmemory after evicting all evictable clients");
    conn.send(b"\r\n");
    assert_eq!(conn.read(), bulk(&vec![b'v'; 4 * MIB]));
    assert_eq!(control.info("evicted_clients"), "0");
}

#[test]
fn what_a_client_sent_during_a_pause_is_executed_behind_it_in_its_order() {
    let server = start(&[]);
    let (mut control, mut conn) = (server.connect(), server.connect());
    assert_eq!(conn.command(&["PING"]), simple("PONG"));
    control.command(&["CLIENT", "PAUSE", "100000", "WRITE"]);
    // A line of words is moved about when it is parsed, so it is worth a look of its own.
    conn.send(
        b"SET  'k'  \"1\"\r\nINCR k\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$1\r\n",
    );
    wait_until_eq("1".to_string(), || control.info("blocked_clients"));
    assert_eq!(control.command(&["GET", "k"]), Value::NullBulk);
    conn.send(b"k\r\n");
    control.command(&["CLIENT", "UNPAUSE"]);
    assert_eq!(conn.read(), simple("OK"));
    assert_eq!([conn.read(), conn.read()], [Value::Int(2), Value::Int(3)]);
    assert_eq!(conn.read(), bulk(b"3"));
    assert_eq!(control.info("blocked_clients"), "0");
}

#[test]
fn one_that_leaves_during_a_pause_leaves_nothing_behind() {
    let server = start(&[]);
    let (mut control, mut conn) = (server.connect(), server.connect());
    control.command(&["CLIENT", "PAUSE", "100000", "WRITE"]);
    conn.send(&encode(&["SET", "k", "v"]));
    wait_until_eq("1".to_string(), || control.info("blocked_clients"));
    drop(conn);
    wait_until_eq("0".to_string(), || control.info("blocked_clients"));
    control.command(&["CLIENT", "UNPAUSE"]);
    assert_eq!(control.command(&["EXISTS", "k"]), Value::Int(0));
}

#[test]
fn a_pause_of_all_ends_by_itself() {
    let server = start(&[]);
    let mut conns: Vec<Conn> = (0..20).map(|_| server.connect()).collect();
    conns.iter_mut().for_each(|conn| _ = conn.command(&["PING"]));
    conns[0].command(&["CLIENT", "PAUSE", "300"]);
    let began = std::time::Instant::now();
    for conn in &mut conns {
        conn.send(&encode(&["INCR", "k"]));
    }
    let mut replies: Vec<Value> = conns.iter_mut().map(Conn::read).collect();
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
    replies.sort_by_key(|reply| match reply {
        Value::Int(n) => *n,
        other => panic!("{other:?}"),
    });
    assert_eq!(replies, (1..=20).map(Value::Int).collect::<Vec<_>>());
}
