//! What a server tells of its own stalls: events, and where the loop's time goes.

mod support;

use goredis::resp::read::Value;
use support::{Conn, DEADLINE, Options, Server, wait_for};

#[track_caller]
fn wait_until(condition: impl FnMut() -> bool) {
    assert!(wait_for(DEADLINE, condition), "waited for too long");
}

fn text(conn: &mut Conn, command: &[&str]) -> String {
    let reply = conn.command(command);
    String::from_utf8(reply.bytes().expect("a text").to_vec()).unwrap()
}

/// The value of a field of INFO.
#[track_caller]
fn field(conn: &mut Conn, section: &str, name: &str) -> String {
    let info = text(conn, &["INFO", section]);
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name} in {info}")).to_string()
}

/// How often a phase of the loop was there, and its longest time in microseconds.
fn phase(conn: &mut Conn, name: &str) -> (u64, f64) {
    let line = field(conn, "loop", &format!("loop_{name}"));
    let value = |key: &str| {
        let part = line.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
        part.unwrap_or_else(|| panic!("no {key} in {line}")).parse::<f64>().unwrap()
    };
    (value("count") as u64, value("max"))
}

fn events(conn: &mut Conn) -> Vec<(String, i64)> {
    let Value::Array(events) = conn.command(&["LATENCY", "LATEST"]) else { panic!("no list") };
    let event = |event: &Value| {
        let Value::Array(parts) = event else { panic!("no list in {event:?}") };
        let [name, _, _, Value::Int(worst_ms)] = &parts[..] else { panic!("{parts:?}") };
        (String::from_utf8(name.bytes().unwrap().to_vec()).unwrap(), *worst_ms)
    };
    events.iter().map(event).collect()
}

fn has_event(conn: &mut Conn, name: &str, least_ms: i64) -> bool {
    events(conn).iter().any(|(event, worst_ms)| event == name && *worst_ms >= least_ms)
}

#[test]
fn a_slow_disk_is_an_event() {
    let args = ["--appendonly", "yes", "--enable-debug-command", "yes"];
    let server = Server::start(Options::new().args(&args));
    let mut conn = server.connect();
    conn.command(&["CONFIG", "SET", "latency-monitor-threshold", "100"]);
    conn.command(&["DEBUG", "AOF-FLUSH-SLEEP", "150000"]);
    conn.command(&["SET", "k", "v"]);
    // The log thread writes once a second, and tells what it took a little later.
    wait_until(|| has_event(&mut conn, "aof-write", 150));
    conn.command(&["DEBUG", "AOF-FLUSH-SLEEP", "0"]);
    assert!(text(&mut conn, &["LATENCY", "DOCTOR"]).contains("aof-write: "));
    // Nobody has waited for it.
    assert!(!has_event(&mut conn, "loop-aof", 100), "{:?}", events(&mut conn));
}

#[test]
fn a_stall_has_the_name_of_its_cause() {
    let server = Server::start(Options::new().args(&["--enable-debug-command", "yes"]));
    let mut conn = server.connect();
    conn.command(&["CONFIG", "SET", "latency-monitor-threshold", "200"]);
    conn.command(&["DEBUG", "SLEEP", "0.25"]);
    let info = text(&mut conn, &["INFO", "loop"]);
    assert!(info.starts_with("# Loop\r\nloop_tick:count="), "{info}");
    assert!(phase(&mut conn, "execute").1 >= 250_000.0, "{info}");
    assert!(phase(&mut conn, "tick").1 >= 250_000.0, "{info}");
    let (reads, longest_us) = phase(&mut conn, "read");
    assert!(reads > 1 && longest_us < 200_000.0, "{info}");
    assert!(has_event(&mut conn, "command", 250) && has_event(&mut conn, "loop-execute", 250));
    // Redis's own names for some of it.
    let cycles = field(&mut conn, "stats", "eventloop_cycles").parse::<u64>().unwrap();
    let max_us = field(&mut conn, "debug", "eventloop_duration_max").parse::<u64>().unwrap();
    assert!(cycles > 2 && max_us >= 250_000, "{cycles} {max_us}");
    conn.command(&["CONFIG", "RESETSTAT"]);
    assert!(phase(&mut conn, "tick").1 < 200_000.0);
}

#[test]
fn messages_and_keys_that_are_due_have_phases_of_their_own() {
    let server = Server::start(Options::new());
    let mut conn = server.connect();
    let mut listeners: Vec<Conn> = (0..100).map(|_| server.connect()).collect();
    listeners.iter_mut().for_each(|conn| drop(conn.command(&["SUBSCRIBE", "c"])));
    assert_eq!(phase(&mut conn, "deliver").0, 0);
    assert_eq!(conn.command(&["PUBLISH", "c", "m"]), Value::Int(100));
    assert_eq!(phase(&mut conn, "deliver").0, 1);
    assert_eq!(phase(&mut conn, "expire").0, 0);
    for n in 0..1000 {
        conn.command(&["SET", &format!("key:{n}"), "v", "PX", "20"]);
    }
    wait_until(|| field(&mut conn, "stats", "expired_keys") == "1000");
    let (times, longest_us) = phase(&mut conn, "expire");
    assert!(times > 0 && longest_us > 0.0, "{times} {longest_us}");
    let cron_us = field(&mut conn, "debug", "eventloop_duration_cron_sum").parse::<u64>().unwrap();
    assert!(cron_us > 0);
    assert!(phase(&mut conn, "accept").0 > 0);
    assert!(phase(&mut conn, "cron").0 > 0);
}

#[test]
fn freed_memory_is_given_back_when_asked_for() {
    let server = Server::start(Options::new().args(&["--enable-debug-command", "yes"]));
    let mut conn = server.connect();
    conn.command(&["DEBUG", "POPULATE", "200000", "key", "500"]);
    let full = server.resident_bytes();
    for chunk in (0..200_000).collect::<Vec<u32>>().chunks(1000) {
        let keys: Vec<String> = chunk.iter().map(|n| format!("key:{n}")).collect();
        let mut command = vec!["DEL"];
        command.extend(keys.iter().map(String::as_str));
        conn.command(&command);
    }
    assert_eq!(conn.command(&["MEMORY", "PURGE"]), Value::Simple(b"OK".to_vec()));
    // 100 MB of values.
    wait_until(|| server.resident_bytes() + (90 << 20) < full);
}
