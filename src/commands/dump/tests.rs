//! DUMP and RESTORE, with payloads of redis-server 7.0.15.

use crate::commands::testing::{Run, START_MS};
use crate::server::config::{Allowed, Config};
use crate::server::ctx::Origin;

/// What makes a value, what it is then, and the payload.
const PAYLOADS: &[(&str, &str, &[u8])] = &[
    ("set k hello", "embstr", b"\x00\x05hello\n\x00cr\xdfve4 \n"),
    ("set k 1234567", "int", b"\x00\xc2\x87\xd6\x12\x00\n\x00\xe9>\x1e6+;|^"),
    (
        "rpush k a b 300",
        "listpack",
        b"\x12\x01\x02\x10\x10\x00\x00\x00\x03\x00\x81a\x02\x81b\x02\xc1,\x02\xff\n\x00\x8f\x9f\
          \x9fNR\xe2K\xb8",
    ),
    (
        "sadd k 1 2 70000",
        "intset",
        b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00p\x11\x01\x00\n\
          \x00\x85\xd5\xc1\x06[\x1d\xd0U",
    ),
    ("sadd k a", "listpack", b"\x02\x01\x01a\n\x00b\x96\xe9~D\xd2\x1am"),
    (
        "zadd k 1.5 a inf b",
        "listpack",
        b"\x11\x17\x17\x00\x00\x00\x04\x00\x81a\x02\x831.5\x04\x81b\x02\x83inf\x04\xff\n\x00\xcb\
          \xfa8%\x10\xd6\xd62",
    ),
    (
        "hset k f v",
        "listpack",
        b"\x10\r\r\x00\x00\x00\x02\x00\x81f\x02\x81v\x02\xff\n\x00 \xf1=D#T\x08\x9d",
    ),
];

const HELLO: &[u8] = PAYLOADS[0].2;

/// A server that answers DEBUG.
fn with_debug() -> Run {
    Run::with(Config { enable_debug_command: Allowed::Yes, ..Config::default() })
}

fn dump(run: &mut Run, key: &str) -> Vec<u8> {
    let reply = run.run_as(Origin::Client, &["dump", key]);
    let text = reply.strip_suffix(b"\r\n").unwrap();
    let start = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    text[start..].to_vec()
}

fn restore(run: &mut Run, key: &str, ttl: &str, payload: &[u8], options: &[&str]) -> String {
    let mut words = vec![&b"restore"[..], key.as_bytes(), ttl.as_bytes(), payload];
    words.extend(options.iter().map(|word| word.as_bytes()));
    let reply = run.run_as(Origin::Client, &words);
    String::from_utf8_lossy(&reply).trim_end().to_string()
}

#[test]
fn payloads_are_redis_s() {
    for (line, encoding, payload) in PAYLOADS {
        let mut run = with_debug();
        run.run(line);
        let digest = run.run("debug digest-value k");
        assert!(digest.starts_with("*1"), "{digest}");
        assert_eq!(dump(&mut run, "k"), *payload, "{line}");
        run.run("del k");
        assert_eq!(restore(&mut run, "k", "0", payload, &[]), "+OK", "{line}");
        assert_eq!(run.run("debug digest-value k"), digest, "{line}");
        let reply = format!("${} {encoding}", encoding.len());
        assert_eq!(run.reply("object encoding k"), reply, "{line}");
    }
    // The streams' times are their own.
    let mut run = Run::new();
    run.check(&[("xadd x 5-1 a 1", "$3 5-1"), ("xgroup create x g 0", "+OK")]);
    run.run("xreadgroup group g c streams x >");
    let about = run.run("xinfo stream x full");
    let payload = dump(&mut run, "x");
    assert_eq!(restore(&mut run, "y", "0", &payload, &[]), "+OK");
    let again = run.run("xinfo stream y full");
    assert_eq!(again, about);
}

#[test]
fn compressed_payloads_are_restored() {
    let payload = b"\x00\xc3\t4\x01aa\xe0'\x00\x01aa\n\x00c\xdd)\xd3L\x1a$n";
    let mut run = Run::new();
    assert_eq!(restore(&mut run, "k", "0", payload, &[]), "+OK");
    assert_eq!(run.reply("get k"), format!("$52 {}", "a".repeat(52)));
    assert!(dump(&mut run, "k").len() < 52);
    let mut run = Run::with(Config { rdbcompression: false, ..Config::default() });
    restore(&mut run, "k", "0", payload, &[]);
    assert!(dump(&mut run, "k").len() > 52);
}

#[test]
fn refusals() {
    let mut run = with_debug();
    let mut check = |ttl: &str, payload: &[u8], options: &[&str], expected: &str| {
        assert_eq!(
            restore(&mut run, "k", ttl, payload, options),
            expected,
            "{ttl} {options:?} {payload:?}"
        );
    };
    let footer = "-ERR DUMP payload version or checksum are wrong";
    check("0", b"", &[], footer);
    check("0", &HELLO[..16], &[], footer);
    check("0", &[b"\x01", &HELLO[1..]].concat(), &[], footer);
    let mut newer = HELLO.to_vec();
    newer[7] = 99;
    check("0", &newer, &[], footer);
    check("-1", HELLO, &[], "-ERR Invalid TTL value, must be >= 0");
    check("x", HELLO, &[], "-ERR value is not an integer or out of range");
    check("0", HELLO, &["never"], "-ERR syntax error");
    check("0", HELLO, &["idletime"], "-ERR syntax error");
    check("0", HELLO, &["idletime", "1", "freq", "1"], "-ERR syntax error");
    check("0", HELLO, &["freq", "1", "idletime", "1"], "-ERR syntax error");
    check("0", HELLO, &["idletime", "-1"], "-ERR Invalid IDLETIME value, must be >= 0");
    check("0", HELLO, &["freq", "256"], "-ERR Invalid FREQ value, must be >= 0 and <= 255");
    check("0", HELLO, &["freq", "y"], "-ERR value is not an integer or out of range");
    check("0", HELLO, &[], "+OK");
    check("-1", b"", &[], "-BUSYKEY Target key name already exists.");
    check("0", HELLO, &["REPLACE"], "+OK");
    // With their checksums set right: an unknown type, no elements, more than a value.
    run.run("debug set-skip-checksum-validation 1");
    for body in [&b"\x08"[..], b"\x04\x00", b"\x00\x01ab", b"\x00\x02a", b"\x07\x00\x00"] {
        let payload = [body, b"\n\0somewhat"].concat();
        let reply = restore(&mut run, "other", "0", &payload, &[]);
        assert_eq!(reply, "-ERR Bad data format", "{body:?}");
    }
    run.check(&[("exists other", ":0"), ("get k", "$5 hello")]);
}

#[test]
fn times_are_kept_and_logged_as_times() {
    let mut run = Run::new();
    let quoted = r#""\x00\x05hello\n\x00cr\xdfve4 \n""#;
    let at = START_MS + 5000;
    assert!(run.propagated(&format!("restore k 5000 {quoted}")).contains(&format!("k {at} ")));
    run.check(&[("pttl k", ":5000"), ("get k", "$5 hello")]);
    let log = run.propagated(&format!("restore k 7000 {quoted} replace"));
    assert!(log.starts_with(&format!("restore k {} ", START_MS + 7000)), "{log}");
    assert!(log.ends_with(" replace ABSTTL"), "{log}");
    let log = run.propagated(&format!("restore k {at} {quoted} absttl replace"));
    assert!(log.ends_with(" absttl replace"), "{log}");
    run.check(&[("pexpiretime k", &format!(":{at}"))]);
    // What is over, replaces and is not there.
    let past = START_MS - 1;
    let line = format!("restore k {past} {quoted} absttl replace");
    run.check_events(&[(&line, "del k")]);
    run.check(&[("exists k", ":0"), (&line, "+OK"), ("exists k", ":0")]);
    assert_eq!(run.propagated(&line), "");
    run.run("set k 1");
    assert_eq!(run.propagated(&line), "DEL k");
    run.check_events(&[
        (&format!("restore k 0 {quoted}"), "new k, restore k"),
        (&format!("restore k 0 {quoted} replace"), "new k, restore k"),
    ]);
    let line = format!("restore k 1 {quoted} replace");
    run.advance(10);
    run.check(&[(&line, "+OK"), ("pttl k", ":1")]);
    assert_eq!(restore(&mut run, "k", &i64::MAX.to_string(), HELLO, &["replace"]), "+OK");
    assert_eq!(run.reply("ttl k").len(), ":9223372036854775".len());
}

#[test]
fn use_is_restored_as_far_as_it_is_kept() {
    let mut run = Run::new();
    restore(&mut run, "k", "0", HELLO, &["idletime", "1000"]);
    assert_eq!(run.reply("object idletime k"), ":1000");
    restore(&mut run, "k", "0", HELLO, &["replace", "freq", "100"]);
    assert_eq!(run.reply("object idletime k"), ":0");
    run.run("config set maxmemory-policy allkeys-lfu");
    restore(&mut run, "k", "0", HELLO, &["replace", "freq", "100"]);
    assert_eq!(run.reply("object freq k"), ":100");
}

#[test]
fn fields_that_expire_are_kept() {
    let mut run = Run::new();
    run.run("hset h a 1 b 2 c 3");
    run.run("hpexpire h 5000 fields 1 b");
    run.run("hpexpire h 7000 fields 1 c");
    let payload = dump(&mut run, "h");
    assert_eq!(payload[payload.len() - 10..][..2], [12, 0]);
    assert_eq!(restore(&mut run, "k", "0", &payload, &[]), "+OK");
    run.check(&[
        ("hpttl k fields 3 a b c", "*3 :-1 :5000 :7000"),
        ("hmget k a b c", "*3 $1 1 $1 2 $1 3"),
    ]);
    run.advance(6000);
    run.check(&[("hmget k a b c", "*3 $1 1 $-1 $1 3")]);
    run.run("hpersist h fields 1 c");
    run.run("hdel h b");
    let payload = dump(&mut run, "h");
    assert_eq!(payload[payload.len() - 10..][..2], [10, 0]);
}
