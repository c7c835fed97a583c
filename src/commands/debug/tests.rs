//! Expected replies and digests are those that redis-server 7.0.15 gave to the same commands.

use super::serialized_length;
use crate::commands::testing::Run;
use crate::server::config::{Allowed, Config};
use crate::store::NewValue;
use crate::store::db::Expiry;
use crate::types::hash::{self, Limits};
use crate::types::{Inline, Loose, Slot, Value};

fn run() -> Run {
    let config =
        Config { enable_debug_command: Allowed::Yes, appendonly: false, ..Config::default() };
    Run::with(config)
}

fn set(run: &mut Run, db: usize, line: &str) {
    run.instance.server.clients[run.client].db = db;
    assert_eq!(run.run(line), "+OK\r\n");
}

fn expire(run: &mut Run, db: usize, key: &str) {
    let at = run.instance.keys.now_ms + 1_000_000;
    run.instance.keys.select(db);
    run.instance.keys.edit(key.as_bytes()).unwrap().set_expire_at(Some(at));
}

fn add_hash(run: &mut Run, db: usize, key: &str, pairs: &[(&str, &str)], limits: Limits) {
    run.instance.keys.select(db);
    let mut slot = Loose::Inline(Inline::Hash, Vec::new());
    for (field, value) in pairs {
        hash::insert(&mut slot, field.as_bytes(), value.as_bytes(), &limits);
    }
    let value = match slot {
        Loose::Inline(kind, ref bytes) => NewValue::Inline(kind, bytes),
        Loose::Object(object) => NewValue::Object(Box::new(object)),
    };
    run.instance.keys.insert(key.as_bytes(), value, None);
}

const PACKED: Limits = Limits { entries: 512, value: 64 };
const TABLE: Limits = Limits { entries: 1, value: 64 };

#[test]
fn it_must_be_allowed() {
    let refusal = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \
                   \"local\", you can run it from a local connection, otherwise you need to set \
                   this option in the configuration file, and then restart the server.\r\n";
    assert_eq!(Run::new().run("debug digest"), refusal);
    let local = Config { enable_debug_command: Allowed::Local, ..Config::default() };
    assert_eq!(Run::with(local).run("debug digest"), format!("+{}\r\n", "0".repeat(40)));
}

#[test]
fn unknown_subcommands_are_told_as_redis_does() {
    let mut run = run();
    let error = |name: &str| {
        format!(
            "-ERR unknown subcommand or wrong number of arguments for '{name}'. \
             Try DEBUG HELP.\r\n"
        )
    };
    assert_eq!(run.run("debug nosuch"), error("nosuch"));
    assert_eq!(run.run("debug digest x"), error("digest"));
    assert_eq!(run.run("debug SLEEP"), error("SLEEP"));
    assert_eq!(run.run("debug replybuffer x y"), error("replybuffer"));
}

#[test]
fn the_digest_is_redis_s() {
    let mut run = run();
    set(&mut run, 0, "set a 1");
    set(&mut run, 0, "set b hello");
    set(&mut run, 3, "set c 12345678901234567890");
    expire(&mut run, 3, "c");
    assert_eq!(run.run("debug digest"), "+9787057f0ad49acfe11529aa137857a6e6535f19\r\n");
    for limits in [PACKED, TABLE] {
        run.instance.keys.select(3);
        run.instance.keys.remove(b"h");
        add_hash(&mut run, 3, "h", &[("f1", "v1"), ("f2", "22"), ("", "")], limits);
        assert_eq!(run.run("debug digest"), "+e22b769ed7c6bba29e8192e07af8371e9a418723\r\n");
    }
    assert_eq!(
        run.run("debug digest-value c h"),
        "*2\r\n+97758b90ea9fbdc04232da88eb2b707e77fb0fb5\r\n\
         +0a8d28e341563613802128fbaf238ccfd3d0ffd6\r\n"
    );
    run.instance.server.clients[run.client].db = 0;
    assert_eq!(
        run.run("debug digest-value a b missing"),
        "*3\r\n+b4fc66738120fba0b5aa500ab5c2bf89cea1c5da\r\n\
         +36b23a1456b2dce2c3ed252c456761301dba8060\r\n\
         +0000000000000000000000000000000000000000\r\n"
    );
    expire(&mut run, 0, "a");
    assert_eq!(
        run.run("debug digest-value a"),
        "*1\r\n+5279988c5d1911f474bcbbf2f0a87012d40f8459\r\n"
    );
    run.run("flushall");
    assert_eq!(run.run("debug digest"), format!("+{}\r\n", "0".repeat(40)));
}

#[test]
fn looking_at_a_key_whose_time_has_come_does_not_end_it() {
    let mut run = run();
    set(&mut run, 0, "set a 1");
    expire(&mut run, 0, "a");
    let digest = run.run("debug digest");
    run.clock.advance(2_000_000);
    assert_eq!(run.run("debug digest"), digest);
    assert!(run.run("debug object a").starts_with("+Value at:0x"));
    assert_ne!(run.run("debug digest-value a"), run.run("debug digest-value b"));
    assert_eq!(run.run("dbsize"), ":1\r\n");
    assert_eq!(run.run("get a"), "$-1\r\n");
    assert_eq!(run.run("dbsize"), ":0\r\n");
}

#[test]
fn populate_makes_redis_s_keys() {
    let mut run = run();
    for line in ["debug populate 5", "debug populate 3 p 20", "debug populate 2 q 3"] {
        assert_eq!(run.run(line), "+OK\r\n");
    }
    assert_eq!(run.run("debug digest"), "+036d2cc2a8c5f8d22a4ddd77af552561bc2ce271\r\n");
    run.run("set key:1 mine");
    assert_eq!(run.run("debug populate 6"), "+OK\r\n");
    assert_eq!(run.run("get key:1"), "$4\r\nmine\r\n");
    assert_eq!(run.run("get key:5"), "$7\r\nvalue:5\r\n");
    let error = "-ERR value is out of range, must be positive\r\n";
    assert_eq!(run.run("debug populate -1"), error);
    assert_eq!(run.run("debug populate x"), error);
    assert_eq!(run.run("debug populate 1 p -1"), error);
    assert_eq!(run.run("debug populate 1 p 99999999999"), "-ERR value is out of range\r\n");
}

#[test]
fn object_tells_the_encoding() {
    let mut run = run();
    assert_eq!(run.run("debug object missing"), "-ERR no such key\r\n");
    let long = "x".repeat(45);
    let number = 12345i64.to_le_bytes();
    let strings = [
        (NewValue::Inline(Inline::Int, &number), "int", 3),
        (NewValue::Inline(Inline::Str, b"abc"), "embstr", 4),
        (NewValue::Raw(b"abc"), "raw", 4),
        (NewValue::Inline(Inline::Str, long.as_bytes()), "raw", 46),
    ];
    for (value, encoding, length) in strings {
        run.instance.keys.set(b"a", value, Expiry::Never);
        let text = run.run("debug object a");
        let wanted = format!(" refcount:1 encoding:{encoding} serializedlength:{length} lru:");
        assert!(text.contains(&wanted), "{text}");
        assert!(text.ends_with(" lru_seconds_idle:0\r\n"), "{text}");
    }
    run.clock.advance(7000);
    assert!(run.run("debug object a").ends_with(" lru_seconds_idle:7\r\n"));
    add_hash(&mut run, 0, "h", &[("a", "1")], PACKED);
    assert!(run.run("debug object h").contains(" encoding:listpack "));
}

#[test]
fn strings_are_as_long_as_redis_serializes_them() {
    let numbers = [1i64, 127, 128, -128, -129, 32767, 32768, 2147483647, -2147483648, 2147483648];
    for (number, length) in numbers.into_iter().zip([2, 2, 3, 2, 3, 3, 5, 5, 5, 11]) {
        let bytes = number.to_le_bytes();
        assert_eq!(serialized_length(Value::Inline(Inline::Int, &bytes)), length, "{number}");
    }
    // With `rdbcompression no`.
    for (count, length) in [(20, 21), (63, 64), (64, 66), (16383, 16385), (16384, 16389)] {
        let text = vec![b'x'; count];
        assert_eq!(serialized_length(Value::Inline(Inline::Str, &text)), length, "{count}");
    }
    for (text, length) in [("", 1), ("0012", 5), ("+5", 3)] {
        assert_eq!(serialized_length(Value::Inline(Inline::Str, text.as_bytes())), length);
    }
    let mut slot = Loose::Inline(Inline::Hash, Vec::new());
    for (field, value) in [("a", "1"), ("bb", "22222"), ("long", &"x".repeat(100))] {
        hash::insert(&mut slot, field.as_bytes(), value.as_bytes(), &TABLE);
    }
    assert_eq!(serialized_length(slot.value()), 118);
}

#[test]
fn protocol_shows_each_type() {
    let mut run = run();
    let types = [
        "string", "integer", "double", "bignum", "null", "array", "set", "map", "attrib",
        "verbatim", "true", "false", "push", "nosuch",
    ];
    let all = |run: &mut Run| -> String {
        types.iter().map(|name| run.run(&format!("debug protocol {name}"))).collect()
    };
    assert_eq!(all(&mut run), include_str!("protocol-resp2.txt"));
    run.set_resp3(true);
    assert_eq!(all(&mut run), include_str!("protocol-resp3.txt"));
}

#[test]
fn switches_are_set() {
    let mut run = run();
    assert_eq!(run.run("debug set-active-expire 0"), "+OK\r\n");
    assert_eq!(run.run("debug pause-cron 1"), "+OK\r\n");
    let switches = run.instance.server.switches;
    assert!(!switches.active_expire && !switches.cron);
    run.run("debug set-active-expire 1");
    run.run("debug pause-cron 0");
    assert_eq!(run.instance.server.switches, Default::default());
    for line in
        ["peak-reset-time never", "peak-reset-time reset", "peak-reset-time 100", "resizing 0"]
    {
        assert_eq!(run.run(&format!("debug replybuffer {line}")), "+OK\r\n");
    }
    assert_eq!(
        run.run("debug replybuffer peak-reset-time x"),
        "-ERR value is not an integer or out of range\r\n"
    );
}

#[test]
fn small_things() {
    let mut run = run();
    assert_eq!(run.run("debug error \"FOO bar\\r\\nbaz\""), "-FOO bar  baz\r\n");
    assert_eq!(run.run("debug log hello"), "+OK\r\n");
    let began_us = run.clock.monotonic_us();
    assert_eq!(run.run("debug sleep 0.02"), "+OK\r\n");
    assert_eq!(run.clock.monotonic_us() - began_us, 20_000);
    assert_eq!(run.run("debug sleep -1"), "+OK\r\n");
    assert_eq!(run.run("debug sleep inf"), "+OK\r\n");
    let before = run.instance.server.identity.replication_id.clone();
    assert_eq!(run.run("debug change-repl-id"), "+OK\r\n");
    assert_ne!(run.instance.server.identity.replication_id, before);
    assert_eq!(
        run.run("debug stringmatch-test"),
        "+Apparently Redis did not crash: test passed\r\n"
    );
    assert_eq!(
        run.run("debug config-rewrite-force-all"),
        "-ERR The server is running without a config file\r\n"
    );
    let help = run.run("debug help");
    assert!(help.contains("\r\n+DIGEST\r\n") && help.ends_with("+    Print this help.\r\n"));
}

#[test]
fn a_text_of_any_length_is_matched() {
    let mut run = run();
    assert_eq!(run.run("debug stringmatch-len 50000 a*a*a*a*a*b"), ":0\r\n");
    assert_eq!(run.run("debug stringmatch-len 50000 a*a*a*a*a*"), ":1\r\n");
    assert_eq!(run.run("debug stringmatch-len -1 *"), "-ERR value is out of range\r\n");
}
