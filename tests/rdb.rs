//! RDB files: those of redis-server read by ours, and ours by redis-server, with equal digests.
//!
//! redis-server 7.0 is looked for at `GOREDIS_REFEREE`, else at /usr/bin/redis-server. Without it
//! these tests pass with a note.

#[path = "rdb/contents.rs"]
mod contents;
#[path = "rdb/fuzz.rs"]
mod fuzz;
#[path = "rdb/models.rs"]
mod models;
#[path = "rdb/old.rs"]
mod old;
mod support;

use contents::{LIMITS, NOW_MS};

use goredis::persist::rdb::save::{self, save};
use goredis::persist::rdb::write::Use;
use goredis::persist::rdb::{Loader, Options};
use goredis::resp::read::Value;
use goredis::store::Keyspace;
use goredis::store::digest::Digest;
use support::{Conn, Server};

fn redis_program() -> Option<String> {
    let named = support::run::referee();
    let usual = || Some("/usr/bin/redis-server".to_string());
    let program = named
        .or_else(usual)
        .filter(|program| std::process::Command::new(program).arg("--version").output().is_ok());
    if program.is_none() {
        eprintln!("no redis-server here: nothing was compared");
    }
    program
}

fn redis(args: &[&str]) -> Option<support::Options> {
    let options = support::Options::new().redis(&redis_program()?);
    Some(options.args(&["--enable-debug-command", "yes", "--databases", "4"]).args(args))
}

fn load(bytes: &[u8]) -> Keyspace {
    let mut keys = Keyspace::new(4, 1, NOW_MS);
    keys.set_now(NOW_MS);
    let options = Options { limits: LIMITS, checks_sum: true, ..Options::default() };
    let mut loader = Loader::new(bytes, options).unwrap();
    while loader.step(&mut keys, 10_000).unwrap() {}
    assert_eq!(loader.offset(), bytes.len() as u64);
    keys
}

fn file(keys: &Keyspace, compresses: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let aux = vec![("redis-ver", b"7.0.15".to_vec()), ("unknown-field", b"17".to_vec())];
    let options = save::Options { compresses, has_checksum: true, aux };
    save(keys, &mut bytes, &options, |_| Use::Unknown).unwrap();
    bytes
}

/// A text of so many bytes that does not compress well.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// Elements of many forms, no two alike, of at most `longest` bytes, about.
fn elements(count: usize, longest: usize) -> Vec<Vec<u8>> {
    let numbers: [i64; 12] = [
        0,
        127,
        -1,
        4095,
        -4096,
        32_767,
        -32_769,
        8_388_607,
        -8_388_609,
        1 << 31,
        i64::MAX,
        i64::MIN,
    ];
    let mut elements: Vec<Vec<u8>> = numbers.iter().map(|n| n.to_string().into_bytes()).collect();
    elements.extend(["", "-0", "007", "1.5", "9223372036854775808"].map(|text| text.into()));
    for n in elements.len()..count {
        let mut element = n.to_string().into_bytes();
        match n % 7 {
            0 => element.resize(longest.min(n * 11), b'a'),
            1 => element.extend(noise(longest.min(n * 7), n as u32)),
            2 => element.extend(b" is a number of this test"),
            _ => {}
        }
        elements.push(element);
    }
    elements.truncate(count);
    elements
}

fn run(conn: &mut Conn, words: &[&[u8]]) {
    let reply = conn.command(words);
    let is_error = format!("{reply:?}").starts_with("Error");
    assert!(!is_error, "{}: {reply:?}", String::from_utf8_lossy(&words.concat()));
}

fn line(conn: &mut Conn, line: &str) {
    let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
    run(conn, &words);
}

fn fill(conn: &mut Conn) {
    fill_strings(conn);
    for (name, count, longest) in
        [("tiny", 3, 10), ("small", 100, 60), ("wide", 100, 3000), ("many", 3000, 100)]
    {
        let elements = elements(count, longest);
        for element in &elements {
            run(conn, &[b"rpush", format!("list:{name}").as_bytes(), element]);
            run(conn, &[b"sadd", format!("set:{name}").as_bytes(), element]);
        }
        for (n, element) in elements.iter().enumerate() {
            let other = &elements[(n * 7 + 1) % count];
            run(conn, &[b"hset", format!("hash:{name}").as_bytes(), element, other]);
            let score = match n % 6 {
                0 => "inf".to_string(),
                1 => "-inf".to_string(),
                2 => format!("{}.1", n),
                3 => format!("-{n}"),
                4 => "1e-300".to_string(),
                _ => (n * 1_000_003).to_string(),
            };
            run(conn, &[b"zadd", format!("zset:{name}").as_bytes(), score.as_bytes(), element]);
        }
    }
    for (name, bits, count) in [("16", 13, 300), ("32", 28, 512), ("64", 60, 500), ("no", 33, 700)]
    {
        for n in 0..count {
            let number = (n - 100) * ((1i64 << bits) / 1000);
            line(conn, &format!("sadd ints:{name} {number}"));
        }
    }
    run(
        conn,
        &[b"rpush", b"list:large", &noise(20_000, 1), b"x", &noise(100_000, 2), &[b'z'; 9000]],
    );
    fill_streams(conn);
    for db in [1, 3] {
        line(conn, &format!("select {db}"));
        line(conn, "set here 1");
        line(conn, "hset there a 1 b 2");
        line(conn, "pexpireat there 2000000000123");
    }
    line(conn, "select 0");
    for key in ["list:small", "set:many", "zset:tiny", "hash:many", "str:text"] {
        line(conn, &format!("pexpireat {key} 1999999999999"));
    }
}

fn fill_strings(conn: &mut Conn) {
    for (n, element) in elements(60, 200).iter().enumerate() {
        run(conn, &[b"set", format!("str:{n}").as_bytes(), element]);
    }
    run(conn, &[b"set", b"str:text", &b"to be or not to be, ".repeat(100)]);
    run(conn, &[b"set", b"str:large", &noise(300_000, 9)]);
    run(conn, &[b"set", b"str:zeros", &[0; 1_000_000]]);
    run(conn, &[b"append", b"str:raw", b"12"]);
    run(conn, &[b"append", b"str:raw", b"34"]);
    run(conn, &[b"set", &noise(300, 3), b"the key is binary"]);
    run(conn, &[b"set", b"12345", b"the key is a number"]);
    run(conn, &[b"set", b"", b"the key is empty"]);
}

fn fill_streams(conn: &mut Conn) {
    for n in 1..=350 {
        line(conn, &format!("xadd stream:same {n}-1 temperature {} unit {}", n - 40, n * n));
        let fields = if n % 10 < 7 { "a 1 b text" } else { "other field c -100000" };
        line(conn, &format!("xadd stream:mixed {}-{} {fields}", n / 5 + 1, n));
    }
    for n in (1..=350).step_by(3) {
        line(conn, &format!("xdel stream:mixed {}-{n}", n / 5 + 1));
    }
    run(conn, &[b"xadd", b"stream:same", b"500-0", b"large", &noise(50_000, 4), b"n", b"5"]);
    line(conn, "xtrim stream:same maxlen 300");
    line(conn, "xadd stream:empty 5-5 a b");
    line(conn, "xdel stream:empty 5-5");
    line(conn, "xadd stream:wide 18446744073709551615-1 a b");
    for group in ["group", "second", "third"] {
        line(conn, &format!("xgroup create stream:same {group} 0"));
    }
    line(conn, "xgroup create stream:mixed late $ entriesread 10");
    line(conn, "xgroup create stream:empty g 0");
    line(conn, "xgroup createconsumer stream:empty g idle");
    for (consumer, count) in [("alice", 10), ("bob", 150), ("carol", 1)] {
        line(
            conn,
            &format!("xreadgroup group group {consumer} count {count} streams stream:same >"),
        );
    }
    line(conn, "xreadgroup group second dora streams stream:same >");
    line(conn, "xreadgroup group group bob count 3 streams stream:same 0");
    line(conn, "xack stream:same group 60-1 61-1");
    line(conn, "xdel stream:same 70-1 71-1");
}

#[track_caller]
fn assert_same(conn: &mut Conn, keys: &mut Keyspace) {
    let theirs = conn.text(&["DEBUG", "DIGEST"]);
    if theirs == Digest::of_all(keys).hex() {
        return;
    }
    // Which one is it?
    for db in 0..keys.databases() {
        line(conn, &format!("select {db}"));
        for view in keys.records(db).iter() {
            let reply = conn.command(&[&b"DEBUG"[..], b"DIGEST-VALUE", view.key()]);
            let ours = Digest::of_value(&view).hex();
            let key = String::from_utf8_lossy(view.key());
            assert!(format!("{reply:?}").contains(&ours), "{key} in {db}: {reply:?}, not {ours}");
        }
    }
    panic!("a key is missing");
}

/// What XINFO says of the streams, which digests do not.
fn streams(conn: &mut Conn) -> Vec<String> {
    let names = ["stream:same", "stream:mixed", "stream:empty", "stream:wide"];
    let full = |name: &str| {
        format!("{:?}", conn.command(&["XINFO", "STREAM", name, "FULL", "COUNT", "0"]))
    };
    names.map(full).to_vec()
}

/// Has redis-server with these options write a file of all kinds of values, reads it, and has
/// redis-server read what we write of it.
#[track_caller]
fn compare(args: &[&str]) {
    let Some(options) = redis(args) else { return };
    let server = Server::start(options);
    let mut conn = server.connect();
    fill(&mut conn);
    line(&mut conn, "save");
    let theirs = std::fs::read(server.dir().join("dump.rdb")).unwrap();
    let mut keys = load(&theirs);
    assert_same(&mut conn, &mut keys);
    let streams_before = streams(&mut conn);
    drop(server);
    for compresses in [true, false] {
        let ours = file(&keys, compresses);
        assert_eq!(Digest::of_all(&load(&ours)), Digest::of_all(&keys));
        if compresses {
            // Their packed forms and ours are much the same.
            assert!(ours.len() < theirs.len() * 11 / 10, "{} and {}", ours.len(), theirs.len());
        }
        let options = redis(&[]).unwrap();
        std::fs::write(options.dir().join("dump.rdb"), &ours).unwrap();
        let server = Server::start(options);
        let mut conn = server.connect();
        assert_same(&mut conn, &mut keys);
        line(&mut conn, "select 0");
        assert_eq!(streams(&mut conn), streams_before);
    }
}

#[test]
fn files_of_redis_and_ours_say_the_same() {
    compare(&[]);
}

#[test]
fn files_without_packed_values_say_the_same() {
    compare(&[
        "--hash-max-listpack-entries",
        "0",
        "--zset-max-listpack-entries",
        "0",
        "--set-max-intset-entries",
        "0",
        "--list-max-listpack-size",
        "3",
        "--rdbcompression",
        "no",
        "--rdbchecksum",
        "no",
    ]);
}

#[test]
fn files_of_large_packed_values_say_the_same() {
    compare(&[
        "--hash-max-listpack-entries",
        "100000",
        "--hash-max-listpack-value",
        "100000",
        "--zset-max-listpack-entries",
        "100000",
        "--zset-max-listpack-value",
        "100000",
        "--set-max-intset-entries",
        "100000",
        "--list-max-listpack-size",
        "-5",
        "--list-compress-depth",
        "1",
        "--stream-node-max-entries",
        "0",
        "--stream-node-max-bytes",
        "0",
    ]);
}

/// What XINFO says of streams and their groups, a line each, but for what no command can restore
/// and what is the implementation's own.
fn told_of_streams(conn: &mut Conn) -> Vec<String> {
    const LEFT_OUT: [&[u8]; 4] =
        [b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes"];
    fn tell(value: Value, to: &mut Vec<String>) {
        let Value::Array(items) = value else { return to.push(format!("{value:?}")) };
        let mut items = items.into_iter();
        while let Some(item) = items.next() {
            match &item {
                Value::Bulk(name) if LEFT_OUT.contains(&&name[..]) => _ = items.next(),
                _ => tell(item, to),
            }
        }
    }
    let mut told = Vec::new();
    for name in ["stream:same", "stream:mixed", "stream:empty", "stream:wide"] {
        tell(conn.command(&["XINFO", "STREAM", name, "FULL", "COUNT", "0"]), &mut told);
    }
    told
}

#[track_caller]
fn assert_told(conn: &mut Conn, expected: &[String]) {
    let told = told_of_streams(conn);
    let differs = told.iter().zip(expected).position(|(told, expected)| told != expected);
    if let Some(at) = differs.or((told.len() != expected.len()).then(|| told.len() - 1)) {
        let near = at.saturating_sub(12)..at + 3;
        panic!("{:#?}, not {:#?}", told.get(near.clone()), expected.get(near));
    }
}

/// Has a server write an append-only file whose base is made of commands, of all kinds of values.
/// Gives the server, which has ended, its digest and what it said of its streams.
fn with_a_base_of_commands() -> (Server, String, Vec<String>) {
    let args = ["--enable-debug-command", "yes", "--databases", "4"];
    let log = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no"];
    let mut server = Server::start(support::Options::new().args(&args).args(&log));
    let mut conn = server.connect();
    fill(&mut conn);
    // Entries that are deleted cannot be made pending again.
    for group in ["group", "second"] {
        line(&mut conn, &format!("xack stream:same {group} 70-1 71-1"));
    }
    line(&mut conn, "bgrewriteaof");
    support::wait_until_eq("1".to_string(), || conn.info("aof_rewrites"));
    line(&mut conn, "rpush list:small behind");
    let digest = conn.text(&["DEBUG", "DIGEST"]);
    let streams = told_of_streams(&mut conn);
    server.terminate();
    (server, digest, streams)
}

#[test]
fn a_base_of_commands_comes_back() {
    let (mut server, digest, streams) = with_a_base_of_commands();
    server.restart();
    let mut conn = server.connect();
    assert_eq!(conn.text(&["DEBUG", "DIGEST"]), digest);
    assert_told(&mut conn, &streams);
    line(&mut conn, "select 1");
    assert_eq!(conn.command(&["PEXPIRETIME", "there"]), Value::Int(2_000_000_000_123));
}

#[test]
fn redis_loads_a_base_of_commands() {
    let Some(options) = redis(&["--appendonly", "yes"]) else { return };
    let (server, digest, streams) = with_a_base_of_commands();
    let names = |suffix| support::server::aof_files(server.dir(), suffix).len();
    assert_eq!((names(".base.aof"), names(".base.rdb")), (1, 0));
    let (from, to) = (server.dir().join("appendonlydir"), options.dir().join("appendonlydir"));
    std::fs::rename(from, to).unwrap();
    let theirs = Server::start(options);
    let mut conn = theirs.connect();
    assert_eq!(conn.text(&["DEBUG", "DIGEST"]), digest);
    assert_told(&mut conn, &streams);
}

/// For which Redis 7.0 has no command.
#[test]
fn times_of_fields_are_in_a_base_of_commands() {
    let args = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no"];
    let mut server = Server::start(support::Options::new().args(&args));
    let mut conn = server.connect();
    for n in 0..3000 {
        line(&mut conn, &format!("hset large field:{n} {n}"));
    }
    line(&mut conn, "hset small a 1 b 2");
    for (key, field) in [("large", "field:7"), ("large", "field:2999"), ("small", "b")] {
        line(&mut conn, &format!("hpexpireat {key} 2000000000123 fields 1 {field}"));
    }
    line(&mut conn, "bgrewriteaof");
    support::wait_until_eq("1".to_string(), || conn.info("aof_rewrites"));
    server.kill9();
    server.restart();
    let mut conn = server.connect();
    let (at, never) = (Value::Int(2_000_000_000_123), Value::Int(-1));
    let times =
        conn.command(&["HPEXPIRETIME", "large", "FIELDS", "3", "field:7", "field:2999", "field:8"]);
    assert_eq!(times, Value::Array(vec![at.clone(), at.clone(), never.clone()]));
    let times = conn.command(&["HPEXPIRETIME", "small", "FIELDS", "2", "a", "b"]);
    assert_eq!(times, Value::Array(vec![never, at]));
    assert_eq!(conn.command(&["HLEN", "large"]), Value::Int(3000));
}
