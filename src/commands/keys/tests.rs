//! Expected replies are those of redis-server 7.0.15.

use crate::commands::testing::{Run, START_MS};
use crate::server::ctx::Origin;
use std::collections::BTreeSet;

#[test]
fn deleting_and_asking() {
    Run::new().check(&[
        ("mset a 1 b 2 c 3", "+OK"),
        ("exists a b a nope", ":3"),
        ("touch a b nope", ":2"),
        ("del a nope a", ":1"),
        ("unlink b c", ":2"),
        ("exists a b c", ":0"),
        ("type a", "+none"),
        ("set a 1", "+OK"),
        ("type a", "+string"),
        ("del", "-ERR wrong number of arguments for 'del' command"),
    ]);
}

#[test]
fn renaming() {
    Run::new().check(&[
        ("rename nope x", "-ERR no such key"),
        ("rename nope nope", "-ERR no such key"),
        ("renamenx nope x", "-ERR no such key"),
        ("set a 1 ex 100", "+OK"),
        ("rename a a", "+OK"),
        ("renamenx a a", ":0"),
        ("rename a b", "+OK"),
        ("exists a", ":0"),
        ("get b", "$1 1"),
        ("ttl b", ":100"),
        ("object encoding b", "$3 int"),
        ("set c plain", "+OK"),
        ("renamenx b c", ":0"),
        ("rename c b", "+OK"),
        ("get b", "$5 plain"),
        ("ttl b", ":-1"),
        ("append b x", ":6"),
        ("renamenx b d", ":1"),
        ("object encoding d", "$3 raw"),
        ("set b v", "+OK"),
        ("rename b a-much-longer-name", "+OK"),
        ("get a-much-longer-name", "$1 v"),
    ]);
}

#[test]
fn a_long_value_keeps_its_memory_when_renamed_or_moved() {
    let mut run = Run::new();
    run.run(&format!("set a {}", "v".repeat(100_000)));
    let address = |run: &mut Run, key: &str| match run.instance.keys.peek(key.as_bytes()) {
        Some(view) => match view.value() {
            crate::types::Value::Object(crate::types::Object::String(s)) => s.as_ptr() as usize,
            _ => 0,
        },
        None => 0,
    };
    let before = address(&mut run, "a");
    assert_ne!(before, 0);
    run.check(&[("rename a b", "+OK")]);
    assert_eq!(address(&mut run, "b"), before);
    run.check(&[("copy b c", ":1"), ("append c x", ":100001"), ("strlen b", ":100000")]);
    assert_eq!(address(&mut run, "b"), before);
    run.check(&[("move b 1", ":1")]);
    run.instance.keys.select(1);
    assert_eq!(address(&mut run, "b"), before);
}

#[test]
fn copying() {
    let mut run = Run::new();
    run.check(&[
        ("set a v ex 100", "+OK"),
        ("copy a b", ":1"),
        ("get b", "$1 v"),
        ("ttl b", ":100"),
        ("set a w", "+OK"),
        ("copy a b", ":0"),
        ("get b", "$1 v"),
        ("copy a b replace", ":1"),
        ("get b", "$1 w"),
        ("ttl b", ":-1"),
        ("copy nope b replace", ":0"),
        ("get b", "$1 w"),
        ("copy a a", "-ERR source and destination objects are the same"),
        ("copy a a db 0 replace", "-ERR source and destination objects are the same"),
        ("copy nope nope", "-ERR source and destination objects are the same"),
        ("copy a a db 1", ":1"),
        ("copy a a db 1", ":0"),
        ("copy a a DB 1 REPLACE", ":1"),
        ("copy a a db 16", "-ERR DB index is out of range"),
        ("copy a a db -1", "-ERR DB index is out of range"),
        ("copy a a db x", "-ERR value is not an integer or out of range"),
        ("copy a b db", "-ERR syntax error"),
        ("copy a b foo", "-ERR syntax error"),
        ("append a x", ":2"),
        ("copy a raw", ":1"),
        ("object encoding raw", "$3 raw"),
        ("set n 12", "+OK"),
        ("copy n m", ":1"),
        ("incr m", ":13"),
        ("get n", "$2 12"),
    ]);
    run.client().db = 1;
    run.check(&[("get a", "$1 w"), ("ttl a", ":-1")]);
}

#[test]
fn moving() {
    let mut run = Run::new();
    run.check(&[
        ("set a v ex 100", "+OK"),
        ("move a 0", "-ERR source and destination objects are the same"),
        ("move a 16", "-ERR DB index is out of range"),
        ("move a -1", "-ERR DB index is out of range"),
        ("move a x", "-ERR value is not an integer or out of range"),
        (
            "move a 99999999999",
            "-ERR value is out of range, value must between -2147483648 and 2147483647",
        ),
        ("move nope 1", ":0"),
        ("move a 1", ":1"),
        ("move a 1", ":0"),
        ("exists a", ":0"),
        ("set a other", "+OK"),
        ("move a 1", ":0"),
        ("get a", "$5 other"),
    ]);
    run.client().db = 1;
    run.check(&[("get a", "$1 v"), ("ttl a", ":100")]);
}

#[test]
fn expired_keys_are_in_nobodys_way() {
    let mut run = Run::new();
    run.run("set a 1 px 10");
    run.run("set c 1 px 10");
    run.client().db = 1;
    run.run("set b 1 px 10");
    run.run("set c 1");
    run.client().db = 0;
    run.advance(10);
    run.check(&[
        ("rename a x", "-ERR no such key"),
        ("set b 2", "+OK"),
        ("move b 1", ":1"),
        ("copy c x", ":0"),
        ("set new v", "+OK"),
        ("renamenx new c", ":1"),
    ]);
    assert_eq!(run.instance.keys.expired, 3);
}

#[test]
fn setting_expiries() {
    let mut run = Run::new();
    run.check(&[
        ("expire nope 10", ":0"),
        ("ttl nope", ":-2"),
        ("pttl nope", ":-2"),
        ("expiretime nope", ":-2"),
        ("pexpiretime nope", ":-2"),
        ("set k v", "+OK"),
        ("ttl k", ":-1"),
        ("pttl k", ":-1"),
        ("expiretime k", ":-1"),
        ("pexpiretime k", ":-1"),
        ("expire k 10", ":1"),
        ("ttl k", ":10"),
        ("pexpire k 20000", ":1"),
        ("ttl k", ":20"),
        ("expireat k 4000000000", ":1"),
        ("expiretime k", ":4000000000"),
        ("pexpiretime k", ":4000000000000"),
        ("pexpireat k 4000000000499", ":1"),
        ("expiretime k", ":4000000000"),
        ("pexpireat k 4000000000500", ":1"),
        ("expiretime k", ":4000000001"),
        ("pexpiretime k", ":4000000000500"),
        ("persist k", ":1"),
        ("persist k", ":0"),
        ("persist nope", ":0"),
        ("ttl k", ":-1"),
        ("pexpireat k 9223372036854775807", ":1"),
        ("pexpiretime k", ":9223372036854775807"),
    ]);
}

#[test]
fn expiries_in_the_past_delete() {
    Run::new().check(&[
        ("mset a 1 b 2 c 3 d 4", "+OK"),
        ("expire a 0", ":1"),
        ("exists a", ":0"),
        ("pexpire b -100", ":1"),
        ("expireat c 1", ":1"),
        ("pexpireat d -9223372036854775808", ":1"),
        ("exists b c d", ":0"),
        ("set a 1", "+OK"),
        ("expire a -9223372036854775", ":1"),
        ("exists a", ":0"),
        ("expire a -1", ":0"),
    ]);
}

#[test]
fn expiry_conditions() {
    Run::new().check(&[
        ("set k v", "+OK"),
        ("expire k 100 xx", ":0"),
        ("expire k 100 gt", ":0"),
        ("expire k 100 NX", ":1"),
        ("expire k 200 nx", ":0"),
        ("expire k 200 xx", ":1"),
        ("ttl k", ":200"),
        ("expire k 100 gt", ":0"),
        ("expire k 300 gt", ":1"),
        ("expire k 400 lt", ":0"),
        ("expire k 100 lt", ":1"),
        ("ttl k", ":100"),
        ("expire k 200 xx lt", ":0"),
        ("expire k 50 xx lt", ":1"),
        ("expire k -1 gt", ":0"),
        ("persist k", ":1"),
        ("expire k 100 lt", ":1"),
        ("persist k", ":1"),
        ("expire k 100 xx lt", ":0"),
        ("expire k -1 xx", ":0"),
        ("expire k -1 lt", ":1"),
        ("exists k", ":0"),
        (
            "expire k 10 nx xx",
            "-ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "expire k 10 nx gt",
            "-ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "expire k 10 lt nx",
            "-ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        ("expire k 10 gt lt", "-ERR GT and LT options at the same time are not compatible"),
        ("expire k 10 foo", "-ERR Unsupported option foo"),
        ("expire k 10 nx foo", "-ERR Unsupported option foo"),
        ("expire k x foo", "-ERR Unsupported option foo"),
        ("expire k x", "-ERR value is not an integer or out of range"),
    ]);
}

#[test]
fn expiries_that_do_not_fit_are_refused() {
    Run::new().check(&[
        ("expire k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("expire k -9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("expire k 9223372036854775", "-ERR invalid expire time in 'expire' command"),
        ("pexpire k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
        ("expireat k 9223372036854776", "-ERR invalid expire time in 'expireat' command"),
        ("expireat k -9223372036854776", "-ERR invalid expire time in 'expireat' command"),
        ("pexpire k -9223372036854775808", ":0"),
    ]);
}

#[test]
fn keys_live_to_the_millisecond() {
    let mut run = Run::new();
    run.check(&[("set k v", "+OK"), ("pexpire k 1000", ":1"), ("pttl k", ":1000")]);
    run.advance(499);
    run.check(&[("pttl k", ":501"), ("ttl k", ":1")]);
    run.advance(2);
    run.check(&[("pttl k", ":499"), ("ttl k", ":0")]);
    run.advance(498);
    run.check(&[("exists k", ":1"), ("pttl k", ":1"), ("ttl k", ":0")]);
    run.advance(1);
    run.check(&[("exists k", ":0"), ("ttl k", ":-2")]);
}

#[test]
fn a_file_gives_keys_expiries_in_the_past() {
    let mut run = Run::new();
    run.instance.keys.expiry_enabled = false;
    run.check(&[("set k v", "+OK")]);
    assert_eq!(run.run_as(Origin::File, &["pexpireat", "k", "1000"]), b":1\r\n");
    assert_eq!(run.run_as(Origin::File, &["set", "l", "v", "pxat", "1000"]), b"+OK\r\n");
    run.check(&[("pexpiretime k", ":1000"), ("pexpiretime l", ":1000"), ("exists k l", ":2")]);
    run.instance.keys.expiry_enabled = true;
    run.check(&[("exists k l", ":0")]);
}

#[test]
fn listing_keys() {
    let mut run = Run::new();
    run.check(&[("keys *", "*0"), ("set one 1", "+OK"), ("keys *", "*1 $3 one")]);
    run.run("mset two 2 three 3 '' 4");
    run.run("set gone v px 5");
    run.advance(5);
    let words = |reply: String| {
        let lines: Vec<String> = reply.split("\r\n").map(str::to_string).collect();
        let names = lines.iter().skip(1).filter(|l| !l.starts_with('$') && !l.is_empty());
        (lines[0].clone(), names.cloned().collect::<BTreeSet<_>>())
    };
    let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(words(run.run("keys *")), ("*4".to_string(), names(&["one", "two", "three"])));
    assert_eq!(words(run.run("keys t*")), ("*2".to_string(), names(&["two", "three"])));
    assert_eq!(words(run.run("keys ?[nw][eo]")), ("*2".to_string(), names(&["one", "two"])));
    run.check(&[("keys ''", "*1 $0 "), ("keys nope", "*0")]);
}

/// All names that a whole iteration gives, and how many calls it took.
fn scan_all(run: &mut Run, options: &str) -> (Vec<String>, usize) {
    let (mut cursor, mut names, mut calls) = ("0".to_string(), Vec::new(), 0);
    loop {
        let reply = run.run(&format!("scan {cursor} {options}"));
        let lines: Vec<&str> = reply.split("\r\n").collect();
        cursor = lines[2].to_string();
        names.extend(lines[4..].iter().skip(1).step_by(2).map(|name| name.to_string()));
        calls += 1;
        if cursor == "0" {
            return (names, calls);
        }
    }
}

#[test]
fn scanning() {
    let mut run = Run::new();
    run.check(&[("scan 0", "*2 $1 0 *0")]);
    for n in 0..1000 {
        run.run(&format!("set key:{n} {n}"));
    }
    run.run("set gone v px 5");
    run.advance(5);
    let all: BTreeSet<String> = (0..1000).map(|n| format!("key:{n}")).collect();
    for (options, least, most) in
        [("", 60, 100), ("count 1", 150, 1000), ("count 100", 8, 10), ("count 5000", 1, 1)]
    {
        let (names, calls) = scan_all(&mut run, options);
        assert_eq!(names.iter().cloned().collect::<BTreeSet<_>>(), all, "{options}");
        assert_eq!(names.len(), 1000, "{options}");
        assert!((least..=most).contains(&calls), "{options}: {calls} calls");
    }
    let (names, calls) = scan_all(&mut run, "match key:?5 count 100");
    assert_eq!(names.len(), 9);
    assert!(calls >= 8);
    assert_eq!(scan_all(&mut run, "type string").0.len(), 1000);
    assert_eq!(scan_all(&mut run, "TYPE STRING match key:1").0.len(), 1);
    assert_eq!(scan_all(&mut run, "type hash").0.len(), 0);
    assert_eq!(scan_all(&mut run, "type nonsense").0.len(), 0);
}

#[test]
fn scan_arguments() {
    Run::new().check(&[
        ("scan x", "-ERR invalid cursor"),
        ("scan 1x", "-ERR invalid cursor"),
        ("scan ' 0'", "-ERR invalid cursor"),
        ("scan 18446744073709551616", "-ERR invalid cursor"),
        ("scan -", "-ERR invalid cursor"),
        ("scan x count x", "-ERR invalid cursor"),
        ("scan ''", "*2 $1 0 *0"),
        ("scan -1", "*2 $1 0 *0"),
        ("scan +5", "*2 $1 0 *0"),
        ("scan 18446744073709551615", "*2 $1 0 *0"),
        ("scan 0 count 0", "-ERR syntax error"),
        ("scan 0 count -1", "-ERR syntax error"),
        ("scan 0 count x", "-ERR value is not an integer or out of range"),
        ("scan 0 count", "-ERR syntax error"),
        ("scan 0 foo 1", "-ERR syntax error"),
        ("scan 0 count 9223372036854775807", "*2 $1 0 *0"),
    ]);
}

#[test]
fn random_keys_are_live_ones() {
    let mut run = Run::new();
    run.check(&[("randomkey", "$-1")]);
    for n in 0..100 {
        run.run(&format!("set gone:{n} v px 5"));
    }
    run.run("set stays v");
    run.advance(5);
    run.check(&[("randomkey", "$5 stays"), ("del stays", ":1"), ("randomkey", "$-1")]);
}

#[test]
fn objects() {
    let mut run = Run::new();
    run.check(&[
        ("object encoding nope", "$-1"),
        ("object refcount nope", "$-1"),
        ("object idletime nope", "$-1"),
        ("object freq nope", "$-1"),
        ("set k v", "+OK"),
        ("object refcount k", ":1"),
        ("set n 9999", "+OK"),
        ("object refcount n", ":2147483647"),
        ("incr n", ":10000"),
        ("object refcount n", ":1"),
        ("object nope k", "-ERR unknown subcommand 'nope'. Try OBJECT HELP."),
        ("object encoding", "-ERR wrong number of arguments for 'object|encoding' command"),
        ("object", "-ERR wrong number of arguments for 'object' command"),
        (
            "object freq k",
            "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take \
             some time to adjust.",
        ),
    ]);
    assert!(run.run("object help").starts_with("*11\r\n+OBJECT <subcommand> [<arg>"));
    run.check(&[
        ("config set maxmemory-policy allkeys-lfu", "+OK"),
        (
            "object idletime k",
            "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
             when switching between policies at runtime LRU and LFU data will take some time to \
             adjust.",
        ),
        ("set new v", "+OK"),
        ("object freq new", ":5"),
    ]);
}

#[test]
fn idle_times_end_with_an_access() {
    let mut run = Run::new();
    run.check(&[("set k v", "+OK"), ("object idletime k", ":0")]);
    run.advance(3000);
    // None of these is an access.
    run.check(&[("exists k", ":1"), ("type k", "+string"), ("ttl k", ":-1")]);
    run.check(&[("object encoding k", "$6 embstr"), ("object idletime k", ":3")]);
    run.check(&[("touch k", ":1"), ("object idletime k", ":0")]);
    run.advance(2000);
    run.check(&[("get k", "$1 v"), ("object idletime k", ":0")]);
    run.advance(2000);
    run.check(&[("rename k l", "+OK"), ("object idletime l", ":0")]);
    run.advance(2000);
    run.client().no_touch = true;
    run.check(&[("get l", "$1 v"), ("object idletime l", ":2")]);
    run.check(&[("touch l", ":1"), ("object idletime l", ":0")]);
}

#[test]
fn reads_count_as_hits_and_misses() {
    let mut run = Run::new();
    run.check(&[("set k v", "+OK")]);
    let mut counts = |line: &str| {
        let before = (run.instance.keys.hits, run.instance.keys.misses);
        run.run(line);
        (run.instance.keys.hits - before.0, run.instance.keys.misses - before.1)
    };
    for (line, hits, misses) in [
        ("get k", 1, 0),
        ("get nope", 0, 1),
        ("exists k nope k", 2, 1),
        ("type k", 1, 0),
        ("ttl nope", 0, 1),
        ("object encoding k", 1, 0),
        ("set k v get", 1, 0),
        ("getex k", 1, 0),
        ("copy nope x", 0, 1),
        ("set k v", 0, 0),
        ("expire k 10", 0, 0),
        ("rename k l", 0, 0),
        ("del l", 0, 0),
    ] {
        assert_eq!(counts(line), (hits, misses), "{line}");
    }
}

#[test]
fn the_file_sees_absolute_times_and_deletions() {
    let mut run = Run::new();
    run.run("set k v");
    let in_10_s = START_MS + 10_000;
    for (line, expected) in [
        ("expire k 10", format!("PEXPIREAT k {in_10_s}")),
        ("pexpire k 10000", format!("PEXPIREAT k {in_10_s}")),
        ("expireat k 1700000010", format!("PEXPIREAT k {in_10_s}")),
        ("pexpireat k 1700000010000", format!("PEXPIREAT k {in_10_s}")),
        ("expire k 5 gt", String::new()),
        ("persist k", "persist k".to_string()),
        ("persist k", String::new()),
        ("rename k k", String::new()),
        ("renamenx k k", String::new()),
        ("rename k l", "rename k l".to_string()),
        ("copy l k", "copy l k".to_string()),
        ("copy l k", String::new()),
        ("move k 1", "move k 1".to_string()),
        ("touch l", String::new()),
        ("unlink nope", String::new()),
        ("expire l -1", "DEL l".to_string()),
        ("expire l -1", String::new()),
    ] {
        assert_eq!(run.propagated(line), expected, "{line}");
    }
    run.instance.server.config.lazyfree_lazy_expire = true;
    run.run("set k v");
    assert_eq!(run.propagated("pexpireat k 1"), "UNLINK k");
    run.run("set k v px 10");
    run.advance(10);
    assert_eq!(run.propagated("get k"), "DEL k");
}

#[test]
fn events_are_those_of_redis() {
    Run::new().check_events(&[
        ("mset a 1 b 2 c 3", "new a, set a, new b, set b, new c, set c"),
        ("del a none b", "del a, del b"),
        ("unlink c c", "del c"),
        ("mset a 1 b 2", "new a, set a, new b, set b"),
        ("rename a x", "new x, rename_from a, rename_to x"),
        ("rename x b", "new b, rename_from x, rename_to b"),
        ("rename b b", ""),
        ("renamenx b c", "new c, rename_from b, rename_to c"),
        ("renamenx c c", ""),
        ("rename none c", ""),
        ("copy c d", "new d, copy_to d"),
        ("copy c d", ""),
        ("copy c d replace", "new d, copy_to d"),
        ("copy c d db 2", "2: new d, 2: copy_to d"),
        ("copy none e", "keymiss none"),
        ("move c 1", "1: new c, move_from c, 1: move_to c"),
        ("move c 1", ""),
        ("expire d 100", "expire d"),
        ("expire d 10 gt", ""),
        ("pexpireat d 99999999999999", "expire d"),
        ("persist d", "persist d"),
        ("persist d", ""),
        ("expire d -1", "del d"),
        ("expire d -1", ""),
        ("set e 1 px 1", "new e, set e, expire e"),
        ("exists e none", "keymiss none"),
        ("ttl none", "keymiss none"),
        ("flushall", ""),
    ]);
}
