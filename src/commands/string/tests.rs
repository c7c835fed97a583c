//! Expected replies are those of redis-server 7.0.15.

use crate::commands::testing::{Run, START_MS};
use crate::server::ctx::Origin;
use crate::types::string::INLINE_LIMIT;

#[test]
fn set_and_get() {
    Run::new().check(&[
        ("get k", "$-1"),
        ("set k v", "+OK"),
        ("get k", "$1 v"),
        ("set k ''", "+OK"),
        ("get k", "$0 "),
        ("set '' empty", "+OK"),
        ("get ''", "$5 empty"),
        ("set k v nx", "$-1"),
        ("set k w xx", "+OK"),
        ("set n w xx", "$-1"),
        ("set n v NX", "+OK"),
        ("get n", "$1 v"),
        ("set k x get", "$1 w"),
        ("set fresh x get", "$-1"),
        ("set fresh y nx get", "$1 x"),
        ("get fresh", "$1 x"),
        ("set newer y NX GET", "$-1"),
        ("get newer", "$1 y"),
        ("set newer z xx get", "$1 y"),
        ("set newest z xx get", "$-1"),
        ("exists newest", ":0"),
        ("set k v get get", "$1 x"),
    ]);
}

#[test]
fn set_refuses_options_that_do_not_go_together() {
    Run::new().check(&[
        ("set k v nx xx", "-ERR syntax error"),
        ("set k v xx nx", "-ERR syntax error"),
        ("set k v ex", "-ERR syntax error"),
        ("set k v ex 10 px 10", "-ERR syntax error"),
        ("set k v ex 10 exat 10", "-ERR syntax error"),
        ("set k v pxat 10 px 10", "-ERR syntax error"),
        ("set k v ex 10 keepttl", "-ERR syntax error"),
        ("set k v keepttl px 10", "-ERR syntax error"),
        ("set k v persist", "-ERR syntax error"),
        ("set k v foo", "-ERR syntax error"),
        ("set k v ''", "-ERR syntax error"),
        ("set k v ex 0", "-ERR invalid expire time in 'set' command"),
        ("set k v px -5", "-ERR invalid expire time in 'set' command"),
        ("set k v exat 0", "-ERR invalid expire time in 'set' command"),
        ("set k v ex 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("set k v ex 9223372036854775", "-ERR invalid expire time in 'set' command"),
        ("set k v px 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("set k v ex x", "-ERR value is not an integer or out of range"),
        ("set k v ex 10 foo", "-ERR syntax error"),
        ("exists k", ":0"),
        ("set k v ex 10 ex 20", "+OK"),
        ("ttl k", ":20"),
        ("set k v pxat 9223372036854775807", "+OK"),
        ("pexpiretime k", ":9223372036854775807"),
        ("set", "-ERR wrong number of arguments for 'set' command"),
    ]);
}

#[test]
fn set_replaces_the_expiry_unless_told_to_keep_it() {
    let mut run = Run::new();
    run.check(&[
        ("set k v px 1500", "+OK"),
        ("pttl k", ":1500"),
        ("set k w keepttl", "+OK"),
        ("set n w keepttl", "+OK"),
        ("ttl n", ":-1"),
    ]);
    run.advance(500);
    run.check(&[("pttl k", ":1000"), ("get k", "$1 w")]);
    run.advance(999);
    run.check(&[("get k", "$1 w")]);
    run.advance(1);
    run.check(&[
        ("get k", "$-1"),
        ("set k v ex 100", "+OK"),
        ("set k longer-than-before", "+OK"),
        ("ttl k", ":-1"),
        ("set k v ex 100", "+OK"),
        ("set k v", "+OK"),
        ("ttl k", ":-1"),
    ]);
}

#[test]
fn set_into_the_past_is_a_key_that_is_gone() {
    let mut run = Run::new();
    run.check(&[
        ("set k v pxat 1", "+OK"),
        ("get k", "$-1"),
        ("set k v", "+OK"),
        ("set k v exat 1", "+OK"),
        ("exists k", ":0"),
    ]);
}

#[test]
fn setex_and_friends() {
    Run::new().check(&[
        ("setex k 10 v", "+OK"),
        ("ttl k", ":10"),
        ("psetex k 20000 v", "+OK"),
        ("ttl k", ":20"),
        ("setex k 0 v", "-ERR invalid expire time in 'setex' command"),
        ("psetex k -1 v", "-ERR invalid expire time in 'psetex' command"),
        ("setex k x v", "-ERR value is not an integer or out of range"),
        ("setnx k w", ":0"),
        ("get k", "$1 v"),
        ("setnx n 12", ":1"),
        ("object encoding n", "$3 int"),
        ("ttl n", ":-1"),
        ("getset n 13", "$2 12"),
        ("getset missing a", "$-1"),
        ("getset missing b", "$1 a"),
        ("expire missing 100", ":1"),
        ("getset missing c", "$1 b"),
        ("ttl missing", ":-1"),
        ("getdel missing", "$1 c"),
        ("getdel missing", "$-1"),
    ]);
}

#[test]
fn getex_changes_the_expiry_alone() {
    let mut run = Run::new();
    run.check(&[
        ("set k v", "+OK"),
        ("getex k", "$1 v"),
        ("ttl k", ":-1"),
        ("getex k ex 100", "$1 v"),
        ("ttl k", ":100"),
        ("getex k", "$1 v"),
        ("ttl k", ":100"),
        ("getex k px 200000", "$1 v"),
        ("ttl k", ":200"),
        ("getex k persist", "$1 v"),
        ("ttl k", ":-1"),
        ("getex k persist persist", "$1 v"),
        ("getex k persist ex 10", "-ERR syntax error"),
        ("getex k ex 10 persist", "-ERR syntax error"),
        ("getex k keepttl", "-ERR syntax error"),
        ("getex k nx", "-ERR syntax error"),
        ("getex k ex 10 px 10", "-ERR syntax error"),
        ("getex k ex 0", "-ERR invalid expire time in 'getex' command"),
        ("getex missing ex 0", "$-1"),
        ("getex missing ex", "-ERR syntax error"),
        ("getex k pxat 1", "$1 v"),
        ("exists k", ":0"),
        ("getex", "-ERR wrong number of arguments for 'getex' command"),
    ]);
}

#[test]
fn parts_of_strings() {
    Run::new().check(&[
        ("set k 'Hello World'", "+OK"),
        ("getrange k 0 4", "$5 Hello"),
        ("getrange k 6 -1", "$5 World"),
        ("getrange k -5 -4", "$2 Wo"),
        ("getrange k -100 1", "$2 He"),
        ("getrange k 0 100", "$11 Hello World"),
        ("getrange k 5 3", "$0 "),
        ("getrange k -3 -5", "$0 "),
        ("getrange k -100 -101", "$0 "),
        ("getrange k -101 -100", "$1 H"),
        ("getrange k 11 11", "$0 "),
        ("getrange k 0 -9223372036854775808", "$1 H"),
        ("getrange k 9223372036854775807 9223372036854775807", "$0 "),
        ("substr k 0 1", "$2 He"),
        ("set n 12345", "+OK"),
        ("getrange n 1 2", "$2 23"),
        ("getrange missing 0 -1", "$0 "),
        ("getrange k a 1", "-ERR value is not an integer or out of range"),
        ("set e ''", "+OK"),
        ("getrange e 0 0", "$0 "),
        ("getrange e -1 -1", "$0 "),
    ]);
}

#[test]
fn setrange_fills_with_zeros() {
    Run::new().check(&[
        ("setrange k 3 abc", ":6"),
        ("get k", "$6 \0\0\0abc"),
        ("setrange k 0 xy", ":6"),
        ("get k", "$6 xy\0abc"),
        ("setrange k 5 12", ":7"),
        ("setrange k 100 ''", ":7"),
        ("setrange missing 100 ''", ":0"),
        ("exists missing", ":0"),
        ("setrange k -1 a", "-ERR offset is out of range"),
        ("setrange k x a", "-ERR value is not an integer or out of range"),
        ("setrange k 536870912 a", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        (
            "setrange missing 9223372036854775807 a",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("exists missing", ":0"),
        ("set n 1234", "+OK"),
        ("setrange n 1 0", ":4"),
        ("get n", "$4 1034"),
        ("object encoding n", "$3 raw"),
        ("incr n", ":1035"),
        ("object encoding n", "$3 int"),
    ]);
}

#[test]
fn strings_grow_out_of_their_records() {
    let mut run = Run::new();
    let piece = "0123456789".repeat(10);
    let mut model = String::new();
    for _ in 0..50 {
        let expected = format!(":{}\r\n", model.len() + piece.len());
        assert_eq!(run.run(&format!("append k {piece}")), expected);
        model.push_str(&piece);
        assert_eq!(run.run("get k"), format!("${}\r\n{model}\r\n", model.len()));
    }
    assert!(model.len() > INLINE_LIMIT);
    run.check(&[
        ("strlen k", ":5000"),
        ("setrange k 4999 XYZ", ":5002"),
        ("getrange k -5 -1", "$5 78XYZ"),
        ("setrange k 20000 end", ":20003"),
        ("getrange k 5000 5003", "$4 YZ\0\0"),
        ("getrange k -4 -1", "$4 \0end"),
        ("object encoding k", "$3 raw"),
    ]);
    // Long values in place of one another, and of short ones.
    for len in [3000, 2900, 6000, 10, 1024, 1025, 10] {
        let value = "v".repeat(len);
        run.check(&[(&format!("set k {value}"), "+OK")]);
        assert_eq!(run.run("get k"), format!("${len}\r\n{value}\r\n"));
    }
}

#[test]
fn append_and_strlen() {
    Run::new().check(&[
        ("append k a", ":1"),
        ("object encoding k", "$6 embstr"),
        ("append k b", ":2"),
        ("object encoding k", "$3 raw"),
        ("get k", "$2 ab"),
        ("strlen k", ":2"),
        ("append n 12", ":2"),
        ("object encoding n", "$3 int"),
        ("append n ''", ":2"),
        ("object encoding n", "$3 raw"),
        ("incr n", ":13"),
        ("strlen n", ":2"),
        ("append e ''", ":0"),
        ("exists e", ":1"),
        ("strlen missing", ":0"),
        ("set n -9223372036854775808", "+OK"),
        ("strlen n", ":20"),
    ]);
}

#[test]
fn strings_may_not_outgrow_an_argument() {
    let mut run = Run::new();
    run.instance.server.config.proto_max_bulk_len = 1024 * 1024;
    run.check(&[
        ("setrange k 1048575 a", ":1048576"),
        ("append k b", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("append k ''", ":1048576"),
        ("setrange k 1048576 b", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
    ]);
    // What is in the file was allowed once.
    assert_eq!(run.run_as(Origin::File, &["append", "k", "b"]), b":1048577\r\n");
}

#[test]
fn encodings() {
    let embstr = "x".repeat(44);
    let raw = "x".repeat(45);
    Run::new().check(&[
        (&format!("set k {embstr}"), "+OK"),
        ("object encoding k", "$6 embstr"),
        (&format!("set k {raw}"), "+OK"),
        ("object encoding k", "$3 raw"),
        ("set k 9223372036854775807", "+OK"),
        ("object encoding k", "$3 int"),
        ("set k -9223372036854775808", "+OK"),
        ("object encoding k", "$3 int"),
        ("set k 9223372036854775808", "+OK"),
        ("object encoding k", "$6 embstr"),
        ("set k 01", "+OK"),
        ("object encoding k", "$6 embstr"),
        ("set k -0", "+OK"),
        ("object encoding k", "$6 embstr"),
        ("set k ' 1'", "+OK"),
        ("object encoding k", "$6 embstr"),
        ("mset a 1 b x", "+OK"),
        ("object encoding a", "$3 int"),
        ("setex a 10 5", "+OK"),
        ("object encoding a", "$3 int"),
        ("getset b 77", "$1 x"),
        ("object encoding b", "$3 int"),
    ]);
}

#[test]
fn counting() {
    Run::new().check(&[
        ("incr k", ":1"),
        ("object encoding k", "$3 int"),
        ("incrby k 41", ":42"),
        ("decr k", ":41"),
        ("decrby k 50", ":-9"),
        ("get k", "$2 -9"),
        ("decrby n -5", ":5"),
        ("decr d", ":-1"),
        ("set k 9223372036854775807", "+OK"),
        ("incr k", "-ERR increment or decrement would overflow"),
        ("get k", "$19 9223372036854775807"),
        ("set k -9223372036854775808", "+OK"),
        ("decr k", "-ERR increment or decrement would overflow"),
        ("incrby k 9223372036854775807", ":-1"),
        ("decrby k -9223372036854775808", "-ERR decrement would overflow"),
        ("incrby k 1.5", "-ERR value is not an integer or out of range"),
        ("set k x", "+OK"),
        ("incr k", "-ERR value is not an integer or out of range"),
        ("set k '11 '", "+OK"),
        ("incr k", "-ERR value is not an integer or out of range"),
        ("set k ''", "+OK"),
        ("incr k", "-ERR value is not an integer or out of range"),
        ("setex k 100 7", "+OK"),
        ("incr k", ":8"),
        ("ttl k", ":100"),
    ]);
}

#[test]
fn counting_with_decimals() {
    Run::new().check(&[
        ("incrbyfloat k 0.1", "$3 0.1"),
        ("incrbyfloat k 0.2", "$3 0.3"),
        ("incrbyfloat k 5.0e3", "$22 5000.29999999999999982"),
        ("set k 5.0e3", "+OK"),
        ("incrbyfloat k -50e2", "$1 0"),
        ("object encoding k", "$6 embstr"),
        ("incrbyfloat k 3", "$1 3"),
        ("object encoding k", "$6 embstr"),
        ("incr k", ":4"),
        ("object encoding k", "$3 int"),
        ("incrbyfloat k 0.5", "$3 4.5"),
        ("incr k", "-ERR value is not an integer or out of range"),
        ("incrbyfloat k x", "-ERR value is not a valid float"),
        ("incrbyfloat k nan", "-ERR value is not a valid float"),
        ("incrbyfloat k inf", "-ERR increment would produce NaN or Infinity"),
        ("set k 'a b'", "+OK"),
        ("incrbyfloat k 1", "-ERR value is not a valid float"),
        ("set k ' 1'", "+OK"),
        ("incrbyfloat k 1", "-ERR value is not a valid float"),
        ("set k 3", "+OK"),
        ("incrbyfloat k 1.000000000000000000001", "$1 4"),
        ("setex k 100 1", "+OK"),
        ("incrbyfloat k 1e17", "$18 100000000000000001"),
        ("ttl k", ":100"),
    ]);
}

#[test]
fn many_at_once() {
    Run::new().check(&[
        ("mset a 1 b two a 3", "+OK"),
        ("mget a b missing a", "*4 $1 3 $3 two $-1 $1 3"),
        ("msetnx c 1 b 2", ":0"),
        ("exists c", ":0"),
        ("msetnx c 1 d 2 c 3", ":1"),
        ("mget c d", "*2 $1 3 $1 2"),
        ("mset a", "-ERR wrong number of arguments for 'mset' command"),
        ("mset a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("msetnx a 1 b", "-ERR wrong number of arguments for 'msetnx' command"),
        ("expire a 100", ":1"),
        ("mset a 1", "+OK"),
        ("ttl a", ":-1"),
    ]);
}

#[test]
fn longest_common_subsequences() {
    Run::new().check(&[
        ("mset a ohmytext b mynewtext", "+OK"),
        ("lcs a b", "$6 mytext"),
        ("lcs a b len", ":6"),
        ("lcs a b idx", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"),
        ("lcs a b idx minmatchlen 4", "*4 $7 matches *1 *2 *2 :4 :7 *2 :5 :8 $3 len :6"),
        (
            "lcs a b idx minmatchlen 4 withmatchlen",
            "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6",
        ),
        ("lcs a b idx minmatchlen 5", "*4 $7 matches *0 $3 len :6"),
        (
            "lcs a b idx minmatchlen -5",
            "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6",
        ),
        ("lcs a missing", "$0 "),
        ("lcs a missing idx", "*4 $7 matches *0 $3 len :0"),
        ("lcs a b len idx", "-ERR If you want both the length and indexes, please just use IDX."),
        ("lcs a b minmatchlen", "-ERR syntax error"),
        ("lcs a b minmatchlen x", "-ERR value is not an integer or out of range"),
        ("lcs a b foo", "-ERR syntax error"),
        ("mset n 1234 m 2345", "+OK"),
        ("lcs n m", "$3 234"),
        ("setrange a 12000 x", ":12001"),
        ("setrange b 12000 x", ":12001"),
        (
            "lcs a b",
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ),
    ]);
}

#[test]
fn resp3_has_its_own_null_and_map() {
    let mut run = Run::new();
    run.client().resp3 = true;
    run.check(&[
        ("get k", "_"),
        ("set k v xx", "_"),
        ("getex k", "_"),
        ("getdel k", "_"),
        ("set a b get", "_"),
        ("mget k a", "*2 _ $1 b"),
        ("lcs a k idx", "%2 $7 matches *0 $3 len :0"),
    ]);
}

#[test]
fn the_file_sees_absolute_times_and_final_values() {
    let mut run = Run::new();
    let in_10_s = START_MS + 10_000;
    for (line, expected) in [
        ("set k v", "set k v"),
        ("set k v nx", ""),
        ("set k v xx", "set k v xx"),
        ("set k v ex 10", &format!("SET k v PXAT {in_10_s}")),
        ("set k v px 10000 get", &format!("SET k v PXAT {in_10_s}")),
        ("set k v exat 1700000010", &format!("SET k v PXAT {in_10_s}")),
        ("set k v keepttl get", "set k v keepttl"),
        ("set k w GET XX get", "set k w XX"),
        ("setex k 10 v", &format!("SET k v PXAT {in_10_s}")),
        ("psetex k 10000 v", &format!("SET k v PXAT {in_10_s}")),
        ("getex k", ""),
        ("getex k ex 10", &format!("PEXPIREAT k {in_10_s}")),
        ("getex k pxat 1700000010000", &format!("PEXPIREAT k {in_10_s}")),
        ("getex k persist", "PERSIST k"),
        ("getex k persist", ""),
        ("getex k exat 1", "DEL k"),
        ("getex k ex 10", ""),
        ("getset k v", "SET k v"),
        ("getdel k", "DEL k"),
        ("getdel k", ""),
        ("incrbyfloat k 1.5", "SET k 1.5 KEEPTTL"),
        ("incrby n 3", "incrby n 3"),
        ("setnx n 3", ""),
        ("msetnx n 1 m 2", ""),
        ("setrange e 5 ''", ""),
        ("append e ''", "append e ''"),
        ("strlen e", ""),
        ("get e", ""),
    ] {
        assert_eq!(run.propagated(line), expected.replace("''", ""), "{line}");
    }
    run.instance.server.config.lazyfree_lazy_expire = true;
    assert_eq!(run.propagated("getex n exat 1"), "UNLINK n");
}

#[test]
fn wrong_types_are_refused_everywhere() {
    let mut run = Run::new();
    make_hash(&mut run, "h");
    let refused = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    for line in [
        "get h",
        "set h v get",
        "set h v nx get",
        "getset h v",
        "getdel h",
        "getex h",
        "getex h ex 0",
        "getrange h 0 1",
        "setrange h 0 a",
        "setrange h 0 ''",
        "append h a",
        "strlen h",
        "incr h",
        "incrbyfloat h 1",
    ] {
        run.check(&[(line, refused)]);
    }
    run.check(&[
        ("type h", "+hash"),
        ("mget h", "*1 $-1"),
        ("lcs h missing", "-ERR The specified keys must contain string values"),
        ("incrby h x", "-ERR value is not an integer or out of range"),
        ("setrange h -1 x", "-ERR offset is out of range"),
        ("setnx h v", ":0"),
        ("set h v", "+OK"),
        ("get h", "$1 v"),
    ]);
}

/// A key that is no string, whatever its value.
fn make_hash(run: &mut Run, key: &str) {
    use crate::store::NewValue;
    use crate::types::Inline;
    run.instance.keys.insert(key.as_bytes(), NewValue::Inline(Inline::Hash, b""), None);
}

#[test]
fn events_are_those_of_redis() {
    Run::new().check_events(&[
        ("set k v", "new k, set k"),
        ("set k v", "set k"),
        ("set k v nx", ""),
        ("set k v xx ex 100", "set k, expire k"),
        ("set k w get keepttl", "set k"),
        ("set k v ifeq x", ""),
        ("set k v ifeq w", "set k"),
        ("setnx k v", ""),
        ("setnx n v", "new n, set n"),
        ("setex k 10 v", "set k, expire k"),
        ("psetex p 10000 v", "new p, set p, expire p"),
        ("getset k v", "set k"),
        ("getex k", ""),
        ("getex k ex 100", "expire k"),
        ("getex k persist", "persist k"),
        ("getex k persist", ""),
        ("getex k exat 1", "del k"),
        ("getex k exat 1", "keymiss k"),
        ("getdel n", "del n"),
        ("getdel n", "keymiss n"),
        ("append a x", "new a, append a"),
        ("append a x", "append a"),
        ("setrange a 1 xyz", "setrange a"),
        ("setrange a 1 ''", ""),
        ("setrange r 3 x", "new r, setrange r"),
        ("incr i", "new i, incrby i"),
        ("decr i", "incrby i"),
        ("decrby i 5", "incrby i"),
        ("incrby i x", ""),
        ("incrbyfloat i 1.5", "incrbyfloat i"),
        ("incrbyfloat f 1.5", "new f, incrbyfloat f"),
        ("mset a 1 b 2 a 3", "set a, new b, set b, set a"),
        ("msetnx a 1 c 2", ""),
        ("msetnx c 1 d 2", "new c, set c, new d, set d"),
        ("msetex 2 c 1 e 2 ex 100", "set c, expire c, new e, set e, expire e"),
        ("msetex 2 c 1 e 2 keepttl", "set c, set e"),
        ("delex c ifeq x", ""),
        ("delex c ifeq 1", "del c"),
        ("delifeq d 2", "del d"),
        ("get none", "keymiss none"),
        ("digest a", ""),
    ]);
}

#[test]
fn setting_depends_on_what_is_there() {
    let mut run = Run::new();
    // The digest is the documentation's example.
    run.check(&[
        ("set k 'Hello world'", "+OK"),
        ("digest k", "$16 b6acb9d84a38ff74"),
        ("set k x ifdeq B6ACB9D84A38FF74", "+OK"),
        ("set k y ifdeq b6acb9d84a38ff74", "$-1"),
        ("get k", "$1 x"),
    ]);
    for (line, logged) in [
        ("set k y ifeq x get", "SET k y"),
        ("set k get ifne x", "SET k get"),
        ("set k z ifeq get keepttl get", "SET k z KEEPTTL"),
        ("set k z ifeq other", ""),
        ("set k w ifne z", ""),
        ("set k w ifeq z px 5", "SET k w PXAT 1700000000005"),
        ("msetex 2 a 1 b 2", "MSET a 1 b 2"),
        ("msetex 2 a 1 b 2 nx", ""),
        ("msetex 1 a 1 ex 5", "SET a 1 PXAT 1700000005000"),
        ("msetex 1 a 1 keepttl", "SET a 1 KEEPTTL"),
        (
            "msetex 2 a 1 b 2 px 5",
            "MULTI SET a 1 PXAT 1700000000005 SET b 2 PXAT 1700000000005 EXEC",
        ),
        ("delex a ifne 1", ""),
        ("delex a ifne 2", "DEL a"),
        ("delex b", "DEL b"),
        ("delifeq k w", "DEL k"),
        ("delifeq k w", ""),
    ] {
        assert_eq!(run.propagated(line), logged, "{line}");
    }
}
