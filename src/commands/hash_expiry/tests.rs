//! Fields that expire, by replies (those of Redis 8.0), by what the file sees, and against a model.

use crate::commands::testing::{Run, START_MS};
use crate::server::ctx::Origin;
use crate::server::effects::Effects;
use crate::store::db::Expired;
use crate::store::digest::Digest;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Removes what is due, as the loop does when it wakes; returns what it tells the file.
fn wake(run: &mut Run) -> Vec<String> {
    let keys = &mut run.instance.keys;
    while keys.expire_due(|| true) {}
    let words = |expired: Expired| {
        let name = if expired.fields.is_empty() { "DEL" } else { "HDEL" };
        let mut line = format!("{} {name} {}", expired.db, String::from_utf8_lossy(&expired.key));
        for field in &expired.fields {
            line.push(' ');
            line.push_str(&String::from_utf8_lossy(field));
        }
        line
    };
    keys.expired_untold.drain(..).map(words).collect()
}

/// The events of a line, or of a wake-up if the line is empty.
fn events(run: &mut Run, line: &str) -> Vec<String> {
    run.hear("hgx", |run| match line {
        "" => _ = wake(run),
        _ => _ = run.run(line),
    })
}

#[test]
fn conditions_and_codes() {
    let mut run = Run::new();
    run.check(&[
        ("hexpire h 10 FIELDS 2 a b", "*2 :-2 :-2"),
        ("hset h a 1 b 2 c 3", ":3"),
        ("hexpire h 10 fields 2 a nope", "*2 :1 :-2"),
        ("hexpire h 20 NX FIELDS 2 a b", "*2 :0 :1"),
        ("hexpire h 15 XX FIELDS 2 a c", "*2 :1 :0"),
        ("hexpire h 16 GT FIELDS 3 a b c", "*3 :1 :0 :0"),
        ("hexpire h 16 GT FIELDS 1 a", "*1 :0"),
        ("hexpire h 18 LT FIELDS 3 a b c", "*3 :0 :1 :1"),
        ("httl h FIELDS 4 a b c d", "*4 :16 :18 :18 :-2"),
        ("hpttl h FIELDS 1 a", "*1 :16000"),
        ("hexpiretime h FIELDS 1 a", "*1 :1700000016"),
        ("hpexpiretime h FIELDS 2 a b", "*2 :1700000016000 :1700000018000"),
        ("hpexpire h 1500 FIELDS 1 a", "*1 :1"),
        // A second that has begun counts.
        ("httl h FIELDS 1 a", "*1 :2"),
        ("hexpiretime h FIELDS 1 a", "*1 :1700000002"),
        ("hpexpireat h 1700000003000 FIELDS 1 a", "*1 :1"),
        ("hexpireat h 1700000004 FIELDS 1 a", "*1 :1"),
        ("hpttl h FIELDS 1 a", "*1 :4000"),
        ("hpersist h FIELDS 3 a nope a", "*3 :1 :-2 :-1"),
        ("hpersist nokey FIELDS 1 a", "*1 :-2"),
        ("httl h FIELDS 1 a", "*1 :-1"),
        ("httl nokey FIELDS 2 a b", "*2 :-2 :-2"),
        ("hexpireat h 1 NX FIELDS 4 a b nope a", "*4 :2 :0 :-2 :-2"),
        ("hkeys h", "*2 $1 b $1 c"),
        ("hexpire h 0 FIELDS 2 b c", "*2 :2 :2"),
        ("exists h", ":0"),
    ]);
}

#[test]
fn errors_of_the_expire_family() {
    let mut run = Run::new();
    let (missing, mismatch) = (
        "-ERR Mandatory argument FIELDS is missing or not at the right position",
        "-ERR The `numfields` parameter must match the number of arguments",
    );
    let (number, positive) = (
        "-ERR Parameter `numFields` should be greater than 0",
        "-ERR Number of fields must be a positive integer",
    );
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    run.check(&[
        ("set s x", "+OK"),
        ("hset h a 1", ":1"),
        ("hexpire h 10 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"),
        ("hexpire s x FIELDS 1 a", wrong_type),
        ("hexpire h x FIELDS 1 a", "-ERR value is not an integer or out of range"),
        ("hexpire h -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"),
        ("hexpire h -9223372036854775808 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"),
        (
            "hexpire h 9223372036854775807 FIELDS 1 a",
            "-ERR invalid expire time in 'hexpire' command",
        ),
        ("hpexpireat h 70368744177663 FIELDS 1 a", "*1 :1"),
        (
            "hpexpireat h 70368744177664 FIELDS 1 a",
            "-ERR invalid expire time in 'hpexpireat' command",
        ),
        ("hpexpire h 68668744177663 FIELDS 1 a", "*1 :1"),
        ("hpexpire h 68668744177664 FIELDS 1 a", "-ERR invalid expire time in 'hpexpire' command"),
        ("hexpireat h 70368744177 FIELDS 1 a", "*1 :1"),
        ("hexpireat h 70368744178 FIELDS 1 a", "-ERR invalid expire time in 'hexpireat' command"),
        ("hexpire h 10 NX XX FIELDS 1 a", missing),
        ("hexpire h 10 FIELD 1 a", missing),
        ("hexpire h 10 FIELDS 0 a", number),
        ("hexpire h 10 FIELDS x a", number),
        ("hexpire h 10 FIELDS 2 a", mismatch),
        ("hexpire h 10 NX FIELDS 1", mismatch),
        ("hexpire h 10 FIELDS 1 a b", mismatch),
        ("hexpire nokey 10 FIELDS 1 a b", mismatch),
        ("httl s FIELDS 0 a", wrong_type),
        ("httl h FIELDS 0 a", positive),
        ("httl h FIELDS 9223372036854775808 a", positive),
        ("httl h FIELDS 2 a", mismatch),
        ("httl h a 1 FIELDS", missing),
        ("hpersist s FIELDS 1 a", wrong_type),
        ("hpersist h FIELDS -1 a", positive),
        ("hpersist h FIELDS 3 a", mismatch),
        ("hgetdel s FIELDS 1 a", wrong_type),
        ("hgetdel h FIELDS 0 a", positive),
        ("hgetdel h a b c", missing),
        ("hgetdel h FIELDS 1", "-ERR wrong number of arguments for 'hgetdel' command"),
    ]);
}

#[test]
fn errors_of_hgetex_and_hsetex() {
    let mut run = Run::new();
    let missing = "-ERR Mandatory argument FIELDS is missing or not at the right position";
    let arity = "-ERR wrong number of arguments for 'hsetex' command";
    let one_time = "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
    let one_of = "-ERR Only one of FXX or FNX arguments can be specified";
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    run.check(&[
        ("set s x", "+OK"),
        ("hgetex s EX x FIELDS 1 a", wrong_type),
        ("hgetex h EX 10 FIELDS", "-ERR wrong number of arguments for 'hgetex' command"),
        ("hgetex h EX 10 a b", missing),
        ("hgetex h PXAT 1 1", missing),
        ("hgetex h PERSIST 1 FIELDS 1 a", missing),
        ("hgetex h EX x FIELDS 1 a", "-ERR value is not an integer or out of range"),
        ("hgetex h PX -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"),
        ("hgetex h EXAT 70368744178 FIELDS 1 a", "-ERR invalid expire time in 'hgetex' command"),
        ("hgetex h FIELDS 0 a", "-ERR Number of fields must be a positive integer"),
        (
            "hgetex h FIELDS 2 a",
            "-ERR The `numfields` parameter must match the number of arguments",
        ),
        ("hsetex s FIELDS 1 a 1", wrong_type),
        ("hsetex h fields 2 a b", arity),
        ("hsetex h fields 2 a b c", arity),
        ("hsetex h fields 1 a b unknown", arity),
        ("hsetex h fields x a b", "-ERR invalid number of fields"),
        ("hsetex h fields 0 a b", "-ERR invalid number of fields"),
        ("hsetex h fields 2147483648 a b", "-ERR invalid number of fields"),
        ("hsetex h nx fields 1 a b", "-ERR unknown argument: nx"),
        ("hsetex h fxx fnx EX 100 fields 1 a b", one_of),
        ("hsetex h fnx fnx fields 1 a b", one_of),
        ("hsetex h EX 100 KEEPTTL fields 1 a b", one_time),
        ("hsetex h KEEPTTL PX 100 fields 1 a b", one_time),
        ("hsetex h PXAT 10 PXAT 10 fields 1 a b", one_time),
        ("hsetex h ex fields 1 a b", "-ERR value is not an integer or out of range"),
        ("hsetex h fxx keepttl x ex", "-ERR unknown argument: x"),
        ("hsetex h fxx fields 1 a", arity),
        ("hsetex h EXAT -1 1 a b", "-ERR invalid expire time, must be >= 0"),
        ("hsetex h PX 70368744177664 1 a b", "-ERR invalid expire time in 'hsetex' command"),
        ("exists h", ":0"),
    ]);
}

#[test]
fn hgetex_hgetdel_and_hsetex() {
    let mut run = Run::new();
    run.check(&[
        ("hgetex nokey FIELDS 2 a b", "*2 $-1 $-1"),
        ("hgetdel nokey FIELDS 2 a b", "*2 $-1 $-1"),
        ("hset h a 1 b 2 c 3", ":3"),
        ("hgetex h FIELDS 2 a nope", "*2 $1 1 $-1"),
        ("httl h FIELDS 1 a", "*1 :-1"),
        ("hgetex h EX 10 FIELDS 2 a nope", "*2 $1 1 $-1"),
        ("hgetex h PX 20000 FIELDS 1 b", "*1 $1 2"),
        ("httl h FIELDS 3 a b c", "*3 :10 :20 :-1"),
        ("hgetex h EXAT 1700000030 FIELDS 1 a", "*1 $1 1"),
        ("hgetex h PXAT 1700000040000 FIELDS 1 c", "*1 $1 3"),
        ("httl h FIELDS 3 a b c", "*3 :30 :20 :40"),
        ("hgetex h PERSIST FIELDS 2 a b", "*2 $1 1 $1 2"),
        ("httl h FIELDS 3 a b c", "*3 :-1 :-1 :40"),
        ("hgetdel h FIELDS 3 a nope a", "*3 $1 1 $-1 $-1"),
        ("hgetex h PXAT 1 FIELDS 2 b c", "*2 $1 2 $1 3"),
        ("exists h", ":0"),
        ("hsetex h FXX FIELDS 1 a 1", ":0"),
        ("exists h", ":0"),
        ("hsetex h FNX EX 10 FIELDS 2 a 1 b 2", ":1"),
        ("hsetex h FNX FIELDS 2 b 3 c 3", ":0"),
        ("hsetex h FXX FIELDS 2 b 3 c 3", ":0"),
        ("hsetex h KEEPTTL FXX FIELDS 1 a 5", ":1"),
        ("httl h FIELDS 3 a b c", "*3 :10 :10 :-2"),
        ("hmget h a b", "*2 $1 5 $1 2"),
        ("hsetex h FIELDS 1 a 6", ":1"),
        ("httl h FIELDS 1 a", "*1 :-1"),
        ("hsetex h PXAT 1 FIELDS 2 b 1 new 1", ":1"),
        ("hgetall h", "*2 $1 a $1 6"),
        ("hsetex nokey EXAT 1 FIELDS 1 a 1", ":1"),
        ("exists nokey", ":0"),
        ("hgetdel h FIELDS 1 a", "*1 $1 6"),
        ("exists h", ":0"),
    ]);
}

#[test]
fn other_commands_respect_the_expiry() {
    let mut run = Run::new();
    run.check(&[
        ("hset h a 1 b 2 c 3 f 1.5", ":4"),
        ("hpexpire h 100 FIELDS 4 a b c f", "*4 :1 :1 :1 :1"),
        ("hset h a 10", ":0"),
        ("hincrby h b 5", ":7"),
        ("hincrbyfloat h f 1.25", "$4 2.75"),
        ("hpttl h FIELDS 4 a b c f", "*4 :-1 :100 :100 :100"),
        ("hsetnx h c 4", ":0"),
        ("hdel h c", ":1"),
        ("hpttl h FIELDS 1 c", "*1 :-2"),
        ("hset h c 5", ":1"),
        ("hpttl h FIELDS 1 c", "*1 :-1"),
        ("object encoding h", "$10 listpackex"),
        ("copy h copy", ":1"),
        ("rename h renamed", "+OK"),
        ("move renamed 1", ":1"),
        ("hpttl copy FIELDS 2 a b", "*2 :-1 :100"),
        ("select 1", "+OK"),
        ("hpttl renamed FIELDS 2 a b", "*2 :-1 :100"),
    ]);
    run.advance(100);
    run.check(&[
        ("hlen renamed", ":2"),
        ("hget renamed b", "$-1"),
        ("hexists renamed b", ":0"),
        ("hstrlen renamed b", ":0"),
        ("hmget renamed a b c f", "*4 $2 10 $-1 $1 5 $-1"),
        ("httl renamed FIELDS 1 b", "*1 :-2"),
    ]);
    for line in ["hgetall renamed", "hscan renamed 0", "hrandfield renamed 10 withvalues"] {
        let reply = run.reply(line);
        assert!(reply.contains("$1 a $2 10") && reply.contains("$1 c $1 5"), "{line}: {reply}");
        assert!(reply.contains("*4") && !reply.contains("$1 b"), "{line}: {reply}");
    }
    assert!(["*2 $1 a $1 c", "*2 $1 c $1 a"].contains(&&run.reply("hkeys renamed")[..]));
    for _ in 0..50 {
        assert!(["$1 a", "$1 c"].contains(&&run.reply("hrandfield renamed")[..]));
        assert!(!run.reply("hrandfield renamed -5").contains("$1 b"));
    }
    run.check(&[
        ("hdel renamed b", ":0"),
        ("hsetnx renamed f 1", ":1"),
        ("select 0", "+OK"),
        // What was there counts no more.
        ("hincrby copy b 1", ":1"),
        ("hpttl copy FIELDS 1 b", "*1 :-1"),
        ("hset copy f x", ":1"),
    ]);
    // All have gone as they were met.
    run.instance.keys.expired_untold.clear();
    assert_eq!(wake(&mut run), Vec::<String>::new());
    assert_eq!(run.instance.keys.expired_fields, 4);
}

#[test]
fn a_key_goes_with_its_last_field() {
    let mut run = Run::new();
    run.check(&[
        ("hset h a 1 b 2", ":2"),
        ("hpexpire h 10 FIELDS 1 a", "*1 :1"),
        ("hpexpire h 20 FIELDS 1 b", "*1 :1"),
        ("set other x", "+OK"),
    ]);
    assert_eq!(run.instance.keys.next_expiry(), Some(START_MS + 10));
    run.advance(9);
    assert_eq!(wake(&mut run), Vec::<String>::new());
    run.advance(1);
    assert_eq!(events(&mut run, ""), ["hexpired h"]);
    assert_eq!(run.instance.keys.next_expiry(), Some(START_MS + 20));
    run.advance(10);
    // Nobody has removed it, yet it is gone.
    run.check(&[("keys *", "*1 $5 other"), ("scan 0", "*2 $1 0 *1 $5 other")]);
    assert_eq!(events(&mut run, "exists h"), ["hexpired h", "del h"]);
    run.check(&[("type h", "+none"), ("set h x", "+OK")]);
    assert_eq!((run.instance.keys.expired_fields, run.instance.keys.expired), (2, 0));
}

#[test]
fn replacing_a_hash_forgets_its_fields() {
    let mut run = Run::new();
    for replace in ["set h x", "del h", "rename other h", "copy other h replace", "flushall"] {
        run.run("flushall");
        run.run("set other x");
        run.check(&[
            ("hset h a 1 b 2", ":2"),
            ("hpexpire h 10 FIELDS 1 a", "*1 :1"),
            // The record moves in memory.
            ("pexpire h 100000", ":1"),
            ("persist h", ":1"),
        ]);
        assert_eq!(run.instance.keys.next_expiry(), Some(run.instance.keys.now_ms + 10));
        run.run(replace);
        assert_eq!(run.instance.keys.next_expiry(), None, "{replace}");
    }
    run.run("hset h a 1");
    run.run("hpexpire h 10 FIELDS 1 a");
    run.run("swapdb 0 1");
    run.advance(10);
    assert_eq!(wake(&mut run).last().unwrap(), "1 DEL h");
}

#[test]
fn fields_of_a_large_hash_expire_in_slices() {
    let mut run = Run::new();
    run.run("hset h stays 1");
    for n in 0..1000 {
        run.run(&format!("hset h {n} v"));
        run.run(&format!("hpexpire h 10 FIELDS 1 {n}"));
    }
    run.check(&[("object encoding h", "$9 hashtable")]);
    run.instance.keys.expired_untold.clear();
    run.advance(10);
    run.check(&[("hlen h", ":1"), ("hkeys h", "*1 $5 stays"), ("hrandfield h", "$5 stays")]);
    let (mut slices, mut last) = (0, 0);
    loop {
        let more = run.instance.keys.expire_due(|| true);
        let expired = run.instance.keys.expired_fields;
        assert!(expired - last <= 64);
        run.check(&[("hlen h", ":1"), ("hrandfield h 5", "*1 $5 stays")]);
        (slices, last) = (slices + 1, expired);
        if !more {
            break;
        }
    }
    assert!(slices >= 1000 / 64);
    assert_eq!(run.instance.keys.expired_fields, 1000);
}

#[test]
fn what_the_file_sees() {
    let mut run = Run::new();
    let hash = "hset h a 1 b 2 c 3 d 4";
    for (line, logged) in [
        (hash, hash),
        ("hexpire h 10 FIELDS 2 a nope", "HPEXPIREAT h 1700000010000 FIELDS 1 a"),
        ("hexpire h 20 NX FIELDS 2 a b", "HPEXPIREAT h 1700000020000 FIELDS 1 b"),
        ("hexpire h 20 XX FIELDS 1 c", ""),
        ("hexpireat h 1 XX FIELDS 3 a b c", "HDEL h a b"),
        ("hgetex h FIELDS 1 c", ""),
        ("hgetex h PX 5 FIELDS 2 c nope", "HPEXPIREAT h 1700000000005 FIELDS 1 c"),
        ("hgetex h PERSIST FIELDS 2 c d", "HPERSIST h FIELDS 1 c"),
        ("hgetex h PERSIST FIELDS 2 c d", ""),
        ("hpersist h FIELDS 1 c", ""),
        ("hgetex h EXAT 1 FIELDS 1 c", "HDEL h c"),
        ("hincrbyfloat h d 1", "HSET h d 5"),
        ("hsetex h EX 1 FIELDS 1 d 6", "hsetex h PXAT 1700000001000 FIELDS 1 d 6"),
        ("hincrbyfloat h d 1", "HSETEX h KEEPTTL FIELDS 1 d 7"),
        ("hsetex h FXX KEEPTTL FIELDS 1 d 8", "hsetex h FXX KEEPTTL FIELDS 1 d 8"),
        ("hsetex h FNX FIELDS 1 d 8", ""),
        ("hsetex h PXAT 1 FIELDS 2 d 8 e 1", "HDEL h d e"),
        ("hsetex h PXAT 1 FIELDS 1 d 8", ""),
        ("hset h a 1 b 2", "hset h a 1 b 2"),
        ("hgetdel h FIELDS 3 nope a a", "HDEL h a"),
        ("hgetdel h FIELDS 1 nope", ""),
    ] {
        assert_eq!(run.propagated(line), logged, "{line}");
    }
}

#[test]
fn the_file_sees_expired_fields_before_what_follows() {
    let mut run = Run::new();
    run.run("hset h a 5 b 6 stays 1");
    run.run("hpexpire h 10 FIELDS 2 a b");
    run.advance(10);
    assert_eq!(run.propagated("hincrby h a 1"), "HDEL h a hincrby h a 1");
    assert_eq!(run.propagated("hget h b"), "");
    assert_eq!(run.propagated("hset h b 1 stays 2"), "HDEL h b hset h b 1 stays 2");
    run.run("hpexpire h 10 FIELDS 3 a b stays");
    run.advance(10);
    assert_eq!(run.propagated("hset h b 1"), "DEL h hset h b 1");
}

#[test]
fn nothing_expires_while_a_file_is_loaded() {
    let mut run = Run::new();
    run.instance.keys.expiry_enabled = false;
    for line in [
        "HSET h a 5 b 6",
        "HPEXPIREAT h 1000 FIELDS 1 a",
        "HINCRBY h a 1",
        "HSETEX h PXAT 1001 FIELDS 1 c 7",
        "HPEXPIREAT h 1700000010000 FIELDS 1 b",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        run.run_as(Origin::File, &words);
    }
    run.check(&[("hmget h a b c", "*3 $1 6 $1 6 $1 7"), ("hlen h", ":3")]);
    run.instance.keys.expiry_enabled = true;
    run.check(&[("hmget h a b c", "*3 $-1 $1 6 $-1"), ("hlen h", ":1")]);
    assert_eq!(wake(&mut run), ["0 HDEL h a c"]);
}

#[test]
fn events_of_fields() {
    let mut run = Run::new();
    for (line, expected) in [
        ("hset h a 1 b 2", &["hset h"][..]),
        ("hexpire h 10 FIELDS 1 a", &["hexpire h"]),
        ("hexpire h 10 NX FIELDS 1 a", &[]),
        ("hgetex h EX 20 FIELDS 1 a", &["hexpire h"]),
        ("hpersist h FIELDS 1 a", &["hpersist h"]),
        ("hpersist h FIELDS 1 a", &[]),
        ("hgetex h PERSIST FIELDS 1 a", &[]),
        ("hsetex h EX 20 FIELDS 1 a 1", &["hset h", "hexpire h"]),
        ("hsetex h FIELDS 1 a 1", &["hset h"]),
        ("hsetex h PXAT 1 FIELDS 1 a 1", &["hset h", "hdel h"]),
        ("hgetex h FIELDS 1 b", &[]),
        ("hexpireat h 1 FIELDS 1 b", &["hdel h", "del h"]),
        ("hset h a 1 b 2", &["hset h"]),
        ("hgetdel h FIELDS 1 a", &["hdel h"]),
        ("hgetex h PXAT 1 FIELDS 1 b", &["hdel h", "del h"]),
        ("hsetex h PXAT 1 FIELDS 1 b 1", &["hset h", "hdel h", "del h"]),
    ] {
        assert_eq!(events(&mut run, line), expected, "{line}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Run(&'static str, u8, i64),
    Pass(u64),
    Wake,
}

fn step() -> impl Strategy<Value = Step> {
    const NAMES: &[&str] =
        &["hset", "hdel", "hincrby", "hpexpire", "hpersist", "hsetex", "hgetdel", "hsetnx"];
    prop_oneof![
        8 => (prop::sample::select(NAMES), 0u8..6, 1i64..60)
            .prop_map(|(name, field, ms)| Step::Run(name, field, ms)),
        2 => (0u64..30).prop_map(Step::Pass),
        1 => Just(Step::Wake),
    ]
}

/// A hash whose fields have a number and perhaps a time.
type Model = BTreeMap<u8, (i64, Option<i64>)>;

/// Applies a command to the model; returns its reply.
fn apply(model: &mut Model, now: i64, name: &str, field: u8, ms: i64) -> String {
    let present = model.get(&field).copied();
    match name {
        "hset" => {
            model.insert(field, (ms, None));
            format!(":{}", i32::from(present.is_none()))
        }
        "hsetnx" => {
            model.entry(field).or_insert((ms, None));
            format!(":{}", i32::from(present.is_none()))
        }
        "hdel" => {
            model.remove(&field);
            format!(":{}", i32::from(present.is_some()))
        }
        "hincrby" => {
            let (number, time) = present.unwrap_or_default();
            model.insert(field, (number + ms, time));
            format!(":{}", number + ms)
        }
        "hpexpire" => {
            let found = model.get_mut(&field).map(|content| content.1 = Some(now + ms));
            format!("*1 :{}", if found.is_some() { 1 } else { -2 })
        }
        "hpersist" => {
            let before = model.get_mut(&field).map(|content| content.1.take());
            format!("*1 :{}", before.map_or(-2, |time| if time.is_some() { 1 } else { -1 }))
        }
        "hsetex" => {
            model.insert(field, (ms, Some(now + ms)));
            ":1".to_string()
        }
        _ => match model.remove(&field) {
            Some((number, _)) => format!("*1 ${} {number}", number.to_string().len()),
            None => "*1 $-1".to_string(),
        },
    }
}

fn line(name: &str, field: u8, ms: i64) -> String {
    match name {
        "hset" | "hsetnx" | "hincrby" => format!("{name} h {field} {ms}"),
        "hdel" => format!("hdel h {field}"),
        "hpexpire" => format!("hpexpire h {ms} FIELDS 1 {field}"),
        "hsetex" => format!("hsetex h PX {ms} FIELDS 1 {field} {ms}"),
        _ => format!("{name} h FIELDS 1 {field}"),
    }
}

fn check_all(run: &mut Run, model: &Model, now: i64) {
    assert_eq!(run.reply("hlen h"), format!(":{}", model.len()));
    assert_eq!(run.reply("exists h"), format!(":{}", i32::from(!model.is_empty())));
    for field in 0..6 {
        let content = model.get(&field);
        let value = content.map(|content| content.0.to_string());
        let value = value.map_or("$-1".into(), |text| format!("${} {text}", text.len()));
        assert_eq!(run.reply(&format!("hget h {field}")), value);
        let time = content.map_or(-2, |content| content.1.map_or(-1, |at| at - now));
        assert_eq!(run.reply(&format!("hpttl h FIELDS 1 {field}")), format!("*1 :{time}"));
    }
}

/// The commands in a log whose line ends are spaces.
fn commands(log: &str) -> Vec<Vec<&str>> {
    let mut commands: Vec<Vec<&str>> = Vec::new();
    for word in log.split(' ').filter(|word| !word.starts_with('$') && !word.is_empty()) {
        match commands.last_mut() {
            Some(command) if !word.starts_with('*') => command.push(word),
            _ => commands.push(Vec::new()),
        }
    }
    commands
}

proptest! {
    /// What is seen is the model's, whenever due fields are really removed; and the commands that
    /// the file gets to see make the same hash again.
    #[test]
    fn agrees_with_a_model_with_time(steps in prop::collection::vec(step(), 1..120)) {
        let (mut run, mut logging, mut loaded) = (Run::new(), Run::new(), Run::new());
        loaded.instance.keys.expiry_enabled = false;
        let (mut model, mut now) = (Model::new(), START_MS);
        for step in steps.into_iter().chain([Step::Wake]) {
            let log = match step {
                Step::Run(name, field, ms) => {
                    let line = line(name, field, ms);
                    let expected = apply(&mut model, now, name, field, ms);
                    prop_assert_eq!(run.reply(&line), expected, "{}", line);
                    logging.logged(&line)
                }
                Step::Pass(ms) => {
                    run.advance(ms);
                    logging.advance(ms);
                    now += ms as i64;
                    model.retain(|_, content| content.1.is_none_or(|at| at > now));
                    String::new()
                }
                Step::Wake => {
                    wake(&mut run);
                    let keys = &mut logging.instance.keys;
                    while keys.expire_due(|| true) {}
                    let mut log = Vec::new();
                    Effects::default().record_expired(&mut log, keys);
                    String::from_utf8(log).unwrap().replace("\r\n", " ")
                }
            };
            for words in commands(&log) {
                loaded.run_as(Origin::File, &words);
            }
            check_all(&mut run, &model, now);
        }
        let digest = |run: &Run| Digest::of_all(&run.instance.keys);
        prop_assert_eq!(digest(&loaded), digest(&logging));
        prop_assert_eq!(digest(&loaded), digest(&run));
        let times = "hpexpiretime h FIELDS 6 0 1 2 3 4 5";
        prop_assert_eq!(loaded.reply(times), run.reply(times));
    }
}
