//! Clients that wait for elements, as they see it: the real server, many connections, the order in
//! which they are served, and what becomes of those that do not wait for the end.
//!
//! With `GOREDIS_REFEREE=redis-server` in the environment the same is asked of that program. The
//! last test is larger with `GOREDIS_BLOCKING_CLIENTS=1000`.

mod support;

use goredis::base::rng::Rng;
use goredis::resp::read::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::server::aof_files;
use support::{Conn, Options, Server, encode, wait_for, wait_until_eq};

fn start() -> Server {
    Server::start(Options::new_or_referee())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.into())
}

fn bulks(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| bulk(text)).collect())
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn send(conn: &mut Conn, line: &str) {
    conn.send(&encode(&words(line)));
}

#[track_caller]
fn check(conn: &mut Conn, line: &str, expected: Value) {
    assert_eq!(conn.command(&words(line)), expected, "{line}");
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn error(text: &str) -> Value {
    Value::Error(text.into())
}

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// Waits until so many clients wait.
#[track_caller]
fn wait_for_blocked(control: &mut Conn, count: usize) {
    wait_until_eq(count.to_string(), || control.info("blocked_clients"));
}

/// Connects clients, each of which waits with its command before the next one does.
fn blocked(server: &Server, control: &mut Conn, lines: &[&str]) -> Vec<Conn> {
    let before: usize = control.info("blocked_clients").parse().unwrap();
    let mut conns = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let mut conn = server.connect();
        send(&mut conn, line);
        wait_for_blocked(control, before + index + 1);
        conns.push(conn);
    }
    conns
}

fn id(conn: &mut Conn) -> String {
    match conn.command(&["CLIENT", "ID"]) {
        Value::Int(id) => id.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn first_come_first_served() {
    let server = start();
    let mut control = server.connect();
    let mut waiting = blocked(
        &server,
        &mut control,
        &["BLPOP k 0", "BRPOP k 0", "BLPOP k 0", "BLMPOP 0 1 k LEFT COUNT 2", "BLPOP k 0"],
    );
    // One command's elements serve several clients; each takes from its end.
    check(&mut control, "RPUSH k 1 2 3 4 5", Value::Int(5));
    assert_eq!(waiting[0].read(), bulks(&["k", "1"]));
    assert_eq!(waiting[1].read(), bulks(&["k", "5"]));
    assert_eq!(waiting[2].read(), bulks(&["k", "2"]));
    assert_eq!(waiting[3].read(), Value::Array(vec![bulk("k"), bulks(&["3", "4"])]));
    wait_for_blocked(&mut control, 1);
    check(&mut control, "EXISTS k", Value::Int(0));
    // The last element goes to the one that is left, and the next to nobody.
    check(&mut control, "LPUSH k 6", Value::Int(1));
    assert_eq!(waiting[4].read(), bulks(&["k", "6"]));
    check(&mut control, "LPUSH k 7", Value::Int(1));
    check(&mut control, "LLEN k", Value::Int(1));
    assert_eq!(control.info("blocked_clients"), "0");
}

#[test]
fn elements_pushed_at_once_come_in_the_order_of_the_list() {
    let server = start();
    let mut control = server.connect();
    let mut waiting = blocked(&server, &mut control, &["BLPOP k 0", "BLPOP k 0"]);
    // Served behind the command, not within: the last one pushed is the first by then.
    check(&mut control, "LPUSH k a b c", Value::Int(3));
    assert_eq!(waiting[0].read(), bulks(&["k", "c"]));
    assert_eq!(waiting[1].read(), bulks(&["k", "b"]));
    check(&mut control, "LRANGE k 0 -1", bulks(&["a"]));
}

#[test]
fn several_keys() {
    let server = start();
    let mut control = server.connect();
    let mut waiting = blocked(
        &server,
        &mut control,
        &["BLPOP a b c 0", "BRPOP c b c 0", "BLMPOP 0 2 a c RIGHT", "BLPOP a 0"],
    );
    control.send(&[encode(&["RPUSH", "c", "1"]), encode(&["RPUSH", "b", "2", "3"])].concat());
    assert_eq!((control.read(), control.read()), (Value::Int(1), Value::Int(2)));
    assert_eq!(waiting[0].read(), bulks(&["c", "1"]));
    assert_eq!(waiting[1].read(), bulks(&["b", "3"]));
    check(&mut control, "LRANGE b 0 -1", bulks(&["2"]));
    check(&mut control, "RPUSH a 4 5 6", Value::Int(3));
    assert_eq!(waiting[2].read(), Value::Array(vec![bulk("a"), bulks(&["6"])]));
    assert_eq!(waiting[3].read(), bulks(&["a", "4"]));
    // Nobody waits for anything any more.
    check(&mut control, "RPUSH c 7", Value::Int(1));
    check(&mut control, "LLEN c", Value::Int(1));
    assert_eq!(control.info("blocked_clients"), "0");
}

#[test]
fn commands_behind_one_that_waits_wait_too() {
    let server = start();
    let mut control = server.connect();
    let mut conn = server.connect();
    let first = ["BLPOP k 0", "SET done 1", "BLPOP k 0", "INCR done"];
    let mut bytes: Vec<u8> = first.iter().flat_map(|line| encode(&words(line))).collect();
    let last = encode(&["GET", "done"]);
    // The last one comes in two parts.
    bytes.extend_from_slice(&last[..7]);
    conn.send(&bytes);
    wait_for_blocked(&mut control, 1);
    check(&mut control, "EXISTS done", Value::Int(0));
    check(&mut control, "RPUSH k 1", Value::Int(1));
    assert_eq!(conn.read(), bulks(&["k", "1"]));
    assert_eq!(conn.read(), ok());
    wait_for_blocked(&mut control, 1);
    check(&mut control, "GET done", bulk("1"));
    conn.send(&last[7..]);
    check(&mut control, "RPUSH k 2 3", Value::Int(2));
    assert_eq!(conn.read(), bulks(&["k", "2"]));
    assert_eq!(conn.read(), Value::Int(2));
    assert_eq!(conn.read(), bulk("2"));
    check(&mut control, "LRANGE k 0 -1", bulks(&["3"]));
    // A client may serve itself with what it pushed before, but not with what comes behind.
    check(&mut conn, "DEL k", Value::Int(1));
    let lines = ["RPUSH k 4", "BLPOP k 0", "BLPOP k 0.01", "RPUSH k 5"];
    conn.send(&lines.iter().flat_map(|line| encode(&words(line))).collect::<Vec<u8>>());
    assert_eq!((conn.read(), conn.read()), (Value::Int(1), bulks(&["k", "4"])));
    assert_eq!((conn.read(), conn.read()), (Value::NullArray, Value::Int(1)));
}

#[test]
fn who_goes_away_takes_nothing() {
    let server = start();
    let mut control = server.connect();
    let mut waiting = blocked(&server, &mut control, &["BLPOP k 0"; 6]);
    let last = waiting.pop().unwrap();
    drop(last);
    wait_for_blocked(&mut control, 5);
    // Only this half is closed, and nobody will ask for more: Redis closes the other one, too.
    waiting[0].shutdown_write();
    wait_for_blocked(&mut control, 4);
    let mut killed = server.connect();
    let killed_id = id(&mut killed);
    send(&mut killed, "BLPOP k 0");
    wait_for_blocked(&mut control, 5);
    check(&mut control, &format!("CLIENT KILL ID {killed_id}"), Value::Int(1));
    wait_for_blocked(&mut control, 4);
    check(&mut control, "RPUSH k 1 2 3 4 5", Value::Int(5));
    for (index, conn) in waiting[1..].iter_mut().enumerate() {
        assert_eq!(conn.read(), bulks(&["k", &(index + 1).to_string()]));
    }
    check(&mut control, "LRANGE k 0 -1", bulks(&["5"]));
    // One that is killed in the same batch in which elements come.
    check(&mut control, "DEL k", Value::Int(1));
    let mut doomed = server.connect();
    let doomed_id = id(&mut doomed);
    send(&mut doomed, "BLPOP k 0");
    wait_for_blocked(&mut control, 1);
    let kill = encode(&["CLIENT", "KILL", "ID", &doomed_id]);
    control.send(&[kill, encode(&["RPUSH", "k", "6"]), encode(&["LLEN", "k"])].concat());
    let replies = [control.read(), control.read(), control.read()];
    assert_eq!(replies, [Value::Int(1), Value::Int(1), Value::Int(1)]);
    assert!(doomed.try_read().is_err());
}

#[test]
fn unblocked_by_another_client() {
    let server = start();
    let mut control = server.connect();
    let lines = ["BLPOP k 0", "BLMOVE k d LEFT LEFT 0", "BRPOPLPUSH k d 0"];
    for (line, resp3) in lines.into_iter().flat_map(|line| [(line, false), (line, true)]) {
        let mut conn = server.connect();
        if resp3 {
            conn.command(&["HELLO", "3"]);
        }
        let id = id(&mut conn);
        for (reason, expected) in [
            ("", if resp3 { Value::Null } else { Value::NullArray }),
            (" TIMEOUT", if resp3 { Value::Null } else { Value::NullArray }),
            (" ERROR", error("UNBLOCKED client unblocked via CLIENT UNBLOCK")),
        ] {
            send(&mut conn, line);
            wait_for_blocked(&mut control, 1);
            let command = format!("CLIENT UNBLOCK {id}{reason}");
            // Twice at once: the second comes too late.
            let bytes = encode(&words(&command));
            control.send(&[&bytes[..], &bytes[..]].concat());
            assert_eq!((control.read(), control.read()), (Value::Int(1), Value::Int(0)));
            assert_eq!(conn.read(), expected, "{line}, {command}");
        }
        check(&mut conn, "PING", Value::Simple(b"PONG".to_vec()));
    }
    check(&mut control, "CLIENT UNBLOCK 1000000", Value::Int(0));
    let stats = control.text(&["INFO", "commandstats"]);
    let blpop = stats.lines().find(|line| line.starts_with("cmdstat_blpop:")).unwrap();
    assert!(blpop.starts_with("cmdstat_blpop:calls=6,"), "{blpop}");
    // Redis 7.0 takes all of them for failed.
    let is_right = blpop.trim_end().ends_with("failed_calls=2");
    assert!(is_right || support::run::referee().is_some(), "{blpop}");
    let stats = control.text(&["INFO", "errorstats"]);
    assert!(stats.contains("errorstat_UNBLOCKED:count=6"), "{stats}");
}

#[test]
fn moving_to_a_list_that_somebody_waits_for() {
    let server = start();
    let mut control = server.connect();
    let lines = [
        "BLPOP d 0",
        "BLMOVE c d LEFT RIGHT 0",
        "BRPOPLPUSH b c 0",
        "BLMOVE a b RIGHT LEFT 0",
        // Behind the others, and with nothing left.
        "BLPOP a b c d 0",
    ];
    let mut waiting = blocked(&server, &mut control, &lines);
    check(&mut control, "RPUSH a x", Value::Int(1));
    for conn in &mut waiting[1..4] {
        assert_eq!(conn.read(), bulk("x"));
    }
    assert_eq!(waiting[0].read(), bulks(&["d", "x"]));
    wait_for_blocked(&mut control, 1);
    check(&mut control, "EXISTS a b c d", Value::Int(0));
    // In a circle it comes to rest.
    let mut circle =
        blocked(&server, &mut control, &["BLMOVE e f LEFT LEFT 0", "BLMOVE f e LEFT LEFT 0"]);
    check(&mut control, "RPUSH f y", Value::Int(1));
    assert_eq!((circle[1].read(), circle[0].read()), (bulk("y"), bulk("y")));
    check(&mut control, "LRANGE f 0 -1", bulks(&["y"]));
    let mut own = blocked(&server, &mut control, &["BLMOVE g g LEFT RIGHT 0"]);
    check(&mut control, "RPUSH g 1 2 3", Value::Int(3));
    assert_eq!(own[0].read(), bulk("1"));
    check(&mut control, "LRANGE g 0 -1", bulks(&["2", "3", "1"]));
}

#[test]
fn keys_of_other_types() {
    let server = start();
    let mut control = server.connect();
    let lines = ["BLMOVE k d LEFT LEFT 0", "BLPOP k 0", "BLPOP other k 0"];
    let mut waiting = blocked(&server, &mut control, &lines);
    // Not what they wait for.
    check(&mut control, "SET k v", ok());
    check(&mut control, "HSET other f v", Value::Int(1));
    assert_eq!(control.info("blocked_clients"), "3");
    check(&mut control, "DEL k", Value::Int(1));
    // The first one fails, as its destination is no list; its element goes to the next.
    check(&mut control, "SET d v", ok());
    check(&mut control, "RPUSH k 1", Value::Int(1));
    assert_eq!(waiting[0].read(), error(WRONG_TYPE));
    assert_eq!(waiting[1].read(), bulks(&["k", "1"]));
    if support::run::referee().is_some() {
        // Before 7.2, Redis did not look at the other keys.
        return;
    }
    // The third one finds a hash at its first key.
    check(&mut control, "RPUSH k 2", Value::Int(1));
    assert_eq!(waiting[2].read(), error(WRONG_TYPE));
    check(&mut control, "LRANGE k 0 -1", bulks(&["2"]));
}

#[test]
fn lists_that_come_otherwise() {
    let server = start();
    let mut control = server.connect();
    let mut waiting = blocked(&server, &mut control, &["BLPOP k 0"; 5]);
    check(&mut control, "RPUSH l 1", Value::Int(1));
    check(&mut control, "RENAME l k", ok());
    assert_eq!(waiting[0].read(), bulks(&["k", "1"]));
    check(&mut control, "RPUSH l 2", Value::Int(1));
    check(&mut control, "COPY l k", Value::Int(1));
    assert_eq!(waiting[1].read(), bulks(&["k", "2"]));
    check(&mut control, "RENAMENX l k", Value::Int(1));
    assert_eq!(waiting[2].read(), bulks(&["k", "2"]));
    check(&mut control, "SELECT 1", ok());
    check(&mut control, "RPUSH k 3", Value::Int(1));
    check(&mut control, "MOVE k 0", Value::Int(1));
    assert_eq!(waiting[3].read(), bulks(&["k", "3"]));
    check(&mut control, "RPUSH k 4", Value::Int(1));
    check(&mut control, "SWAPDB 0 1", ok());
    assert_eq!(waiting[4].read(), bulks(&["k", "4"]));
    check(&mut control, "FLUSHALL", ok());
    let mut late = blocked(&server, &mut control, &["BLPOP k 0"]);
    check(&mut control, "FLUSHALL", ok());
    // Of another database, and nobody's.
    check(&mut control, "RPUSH k 5", Value::Int(1));
    check(&mut control, "SELECT 0", ok());
    check(&mut control, "RPUSH k 6", Value::Int(1));
    assert_eq!(late[0].read(), bulks(&["k", "6"]));
}

#[test]
fn replies_that_are_not_wanted() {
    let server = start();
    let mut control = server.connect();
    let mut conn = server.connect();
    let id = id(&mut conn);
    // Served, timed out and released: none of it is told.
    for (number, command) in ["BLPOP k 0", "BLPOP k 0.01", "BLPOP k 0"].into_iter().enumerate() {
        for mode in ["SKIP", "OFF"] {
            send(&mut conn, &format!("CLIENT REPLY {mode}"));
            send(&mut conn, command);
            match number {
                0 => {
                    wait_for_blocked(&mut control, 1);
                    check(&mut control, "RPUSH k 1", Value::Int(1));
                }
                1 => {}
                _ => {
                    wait_for_blocked(&mut control, 1);
                    check(&mut control, &format!("CLIENT UNBLOCK {id} ERROR"), Value::Int(1));
                }
            }
            if mode == "OFF" {
                send(&mut conn, "CLIENT REPLY ON");
                assert_eq!(conn.read(), ok(), "{command}");
            }
            check(&mut conn, "PING", Value::Simple(b"PONG".to_vec()));
        }
    }
    check(&mut control, "EXISTS k", Value::Int(0));
}

#[test]
fn time_limits_are_kept() {
    let server = start();
    let mut control = server.connect();
    let began = Instant::now();
    let lines = ["BLPOP k 0.3", "BLPOP k 0.1", "BLMOVE k d LEFT LEFT 0.2"];
    let mut waiting = blocked(&server, &mut control, &lines);
    assert_eq!(waiting[1].read(), Value::NullArray);
    assert!(began.elapsed() >= Duration::from_millis(98), "{:?}", began.elapsed());
    assert_eq!(waiting[2].read(), Value::NullArray);
    assert!(began.elapsed() >= Duration::from_millis(198), "{:?}", began.elapsed());
    assert_eq!(waiting[0].read(), Value::NullArray);
    assert!(began.elapsed() >= Duration::from_millis(298), "{:?}", began.elapsed());
    check(&mut control, "RPUSH k 1", Value::Int(1));
    check(&mut control, "LLEN k", Value::Int(1));
}

/// The commands in the append-only file, but for SELECT.
fn logged(server: &Server) -> Vec<String> {
    let path = aof_files(server.dir(), ".incr.aof").pop().expect("an append-only file");
    let bytes = std::fs::read(path).unwrap();
    let mut decoder = goredis::resp::read::Decoder::default();
    let mut commands = Vec::new();
    let mut at = 0;
    while let (used, Some(Value::Array(words))) = decoder.feed(&bytes[at..]).unwrap() {
        at += used;
        let words = words.iter().map(|word| String::from_utf8_lossy(word.bytes().unwrap()));
        commands.push(words.collect::<Vec<_>>().join(" "));
    }
    commands.retain(|command| !command.starts_with("SELECT"));
    commands
}

#[test]
fn what_is_recorded_does_not_wait() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    let server = Server::start(Options::new_or_referee().args(&always));
    let mut control = server.connect();
    let lines = [
        "BLPOP a 0",
        "BRPOP a 0",
        "BLMPOP 0 1 a LEFT COUNT 5",
        "BLMOVE b c LEFT RIGHT 0",
        "BRPOPLPUSH c d 0",
    ];
    let mut waiting = blocked(&server, &mut control, &lines);
    check(&mut control, "RPUSH a 1 2 3 4", Value::Int(4));
    check(&mut control, "RPUSH b x", Value::Int(1));
    assert_eq!(waiting[0].read(), bulks(&["a", "1"]));
    assert_eq!(waiting[1].read(), bulks(&["a", "4"]));
    assert_eq!(waiting[2].read(), Value::Array(vec![bulk("a"), bulks(&["2", "3"])]));
    assert_eq!((waiting[3].read(), waiting[4].read()), (bulk("x"), bulk("x")));
    check(&mut control, "BLPOP d 0", bulks(&["d", "x"]));
    // Nothing was changed by these.
    check(&mut control, "BLPOP none 0.01", Value::NullArray);
    check(&mut control, "LMPOP 1 none LEFT", Value::NullArray);
    check(&mut control, "LREM none 0 x", Value::Int(0));
    check(&mut control, "RPUSH e 1 2 3", Value::Int(3));
    check(
        &mut control,
        "LMPOP 2 none e RIGHT COUNT 10",
        Value::Array(vec![bulk("e"), bulks(&["3", "2", "1"])]),
    );
    let expected = [
        "RPUSH a 1 2 3 4",
        "LPOP a",
        "RPOP a",
        "LPOP a 2",
        "RPUSH b x",
        "LMOVE b c LEFT RIGHT",
        "RPOPLPUSH c d",
        "LPOP d",
        "RPUSH e 1 2 3",
        "RPOP e 3",
    ];
    // Redis 7.0 has its own words for LEFT and RIGHT, in small letters.
    let upper = |commands: Vec<String>| -> Vec<String> {
        commands.iter().map(|command| command.to_ascii_uppercase()).collect()
    };
    let expected = upper(expected.map(String::from).to_vec());
    wait_until_eq(expected, || upper(logged(&server)));
}

// ---------------------------------------------------------------------------------------------
// Many at once.

const SEED: u64 = 0x0b10_c4ed;

fn client_count() -> usize {
    let wanted = std::env::var("GOREDIS_BLOCKING_CLIENTS").ok();
    wanted.map_or(200, |count| count.parse().expect("a number of clients"))
}

#[test]
fn many_are_served_in_their_order() {
    let server = start();
    let mut control = server.connect();
    let clients = client_count();
    let keys = clients / 10;
    let mut queues: BTreeMap<usize, Vec<Conn>> = BTreeMap::new();
    let mut rng = Rng::from_seed(SEED);
    for number in 0..clients {
        let key = rng.index(keys);
        let mut conn = server.connect();
        send(&mut conn, &format!("BLPOP k{key} 0"));
        // They reach the server in this order only if it is waited for.
        wait_for_blocked(&mut control, number + 1);
        queues.entry(key).or_default().push(conn);
    }
    // All elements in one go, in batches of random sizes that are spread over the keys.
    let mut bytes = Vec::new();
    let mut left: Vec<(usize, usize)> =
        queues.iter().map(|(&key, queue)| (key, queue.len())).collect();
    let mut pushed = BTreeMap::new();
    while !left.is_empty() {
        let at = rng.index(left.len());
        let (key, count) = &mut left[at];
        let some = 1 + rng.index(*count);
        let next: &mut usize = pushed.entry(*key).or_default();
        let mut command = vec!["RPUSH".to_string(), format!("k{key}")];
        command.extend((*next..*next + some).map(|n| n.to_string()));
        bytes.extend_from_slice(&encode(&command));
        *next += some;
        *count -= some;
        if *count == 0 {
            left.swap_remove(at);
        }
    }
    control.send(&bytes);
    for (key, queue) in &mut queues {
        for (index, conn) in queue.iter_mut().enumerate() {
            assert_eq!(conn.read(), bulks(&[&format!("k{key}"), &index.to_string()]));
        }
    }
    assert_eq!(server.connect().info("blocked_clients"), "0");
}

/// What a client that came and went got.
struct Got {
    key: usize,
    elements: Vec<usize>,
    /// Connections that ended while an element may have been on its way.
    broken: usize,
}

/// Takes elements until it gets the one that says "stop". Now and then it goes away without a word
/// while it waits, and comes again.
fn take_elements(port: u16, key: usize, seed: u64) -> Got {
    let mut rng = Rng::from_seed(seed);
    let mut got = Got { key, elements: Vec::new(), broken: 0 };
    let name = format!("k{key}");
    let command = encode(&["BLPOP", &name, "0"]);
    let mut conn = Conn::connect(port);
    loop {
        let sent = conn.try_send(&command);
        if rng.index(8) == 0 {
            got.broken += 1;
            conn = Conn::connect(port);
            continue;
        }
        match sent.and_then(|()| conn.try_read()) {
            Ok(Value::Array(words)) => {
                assert_eq!(words[0], bulk(&name));
                let element = String::from_utf8_lossy(words[1].bytes().unwrap()).into_owned();
                if element == "stop" {
                    return got;
                }
                got.elements.push(element.parse().unwrap());
            }
            Ok(other) => panic!("{other:?}"),
            // Killed by another client. A time-out would be of a client that was forgotten.
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("forgotten"),
            Err(_) => {
                got.broken += 1;
                conn = Conn::connect(port);
            }
        }
    }
}

#[test]
fn no_element_is_lost_and_none_given_twice_whoever_dies() {
    const ELEMENTS_EACH: usize = 100;
    let server = start();
    let clients = client_count();
    let keys = clients / 10;
    let elements = ELEMENTS_EACH * clients / keys;
    let port = server.port();
    let running = AtomicUsize::new(clients);
    let all = std::thread::scope(|scope| {
        let running = &running;
        let takers: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn(move || {
                    let got = take_elements(port, number % keys, SEED + number as u64);
                    running.fetch_sub(1, Ordering::SeqCst);
                    got
                })
            })
            .collect();
        let pusher = scope.spawn(move || push_elements(port, keys, elements));
        kill_some(port, || pusher.is_finished());
        pusher.join().unwrap();
        // A stop may be lost with its client as well, so there are as many as it takes.
        let mut conn = Conn::connect(port);
        let stopped = wait_for(support::DEADLINE * 3, || {
            for key in 0..keys {
                conn.command(&["RPUSH", &format!("k{key}"), "stop"]);
            }
            running.load(Ordering::SeqCst) == 0
        });
        assert!(stopped, "{} clients still wait", running.load(Ordering::SeqCst));
        takers.into_iter().map(|taker| taker.join().unwrap()).collect::<Vec<_>>()
    });
    let mut seen = vec![HashSet::new(); keys];
    for got in &all {
        assert!(got.elements.is_sorted(), "{:?}", got.elements);
        for &element in &got.elements {
            assert!(seen[got.key].insert(element), "k{}: {element} twice", got.key);
        }
    }
    for (key, seen) in seen.iter().enumerate() {
        let missing = elements - seen.len();
        let broken: usize = all.iter().filter(|got| got.key == key).map(|got| got.broken).sum();
        assert!(missing <= broken, "k{key}: {missing} lost, of {broken} broken connections");
        assert!(seen.len() > elements / 10, "k{key}: nearly nothing arrived");
    }
}

/// Pushes elements to all keys, a few at once, as fast as it goes.
fn push_elements(port: u16, keys: usize, elements: usize) {
    let mut rng = Rng::from_seed(SEED);
    let mut conn = Conn::connect(port);
    let mut next = vec![0; keys];
    let mut open: Vec<usize> = (0..keys).collect();
    while !open.is_empty() {
        let mut bytes = Vec::new();
        let mut commands = 0;
        for _ in 0..rng.index(32) + 1 {
            if open.is_empty() {
                break;
            }
            let at = rng.index(open.len());
            let key = open[at];
            let some = (1 + rng.index(4)).min(elements - next[key]);
            let mut command = vec!["RPUSH".to_string(), format!("k{key}")];
            command.extend((next[key]..next[key] + some).map(|n| n.to_string()));
            bytes.extend_from_slice(&encode(&command));
            commands += 1;
            next[key] += some;
            if next[key] == elements {
                open.swap_remove(at);
            }
        }
        conn.send(&bytes);
        (0..commands).for_each(|_| drop(conn.read()));
    }
}

/// Kills clients that wait, until told that it is enough.
fn kill_some(port: u16, is_enough: impl Fn() -> bool) {
    let mut rng = Rng::from_seed(SEED);
    let mut conn = Conn::connect(port);
    while !is_enough() {
        let list = conn.text(&["CLIENT", "LIST"]);
        let waiting: Vec<&str> = list
            .lines()
            .filter(|line| line.contains(" cmd=blpop ") && line.contains(" flags=b "))
            .filter_map(|line| line.strip_prefix("id=")?.split(' ').next())
            .collect();
        for _ in 0..3 {
            if !waiting.is_empty() {
                conn.command(&["CLIENT", "KILL", "ID", waiting[rng.index(waiting.len())]]);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
