//! Hash commands by their replies, which are those of Redis 7.0.15.

use super::hash_of;
use crate::commands::testing::Run;
use std::collections::BTreeSet;

fn server() -> Run {
    Run::new()
}

/// Runs each line and compares its reply. In a reply a space stands for the end of a line.
fn check(lines: &[(&str, &str)]) {
    check_with(&mut server(), lines);
}

fn check_with(run: &mut Run, lines: &[(&str, &str)]) {
    for (line, reply) in lines {
        assert_eq!(run.reply(line), *reply, "{line}");
    }
}

#[test]
fn fields_are_set_and_read() {
    check(&[
        ("hset h a 1 b two c \"\"", ":3"),
        ("hset h a one d 4", ":1"),
        ("hget h a", "$3 one"),
        ("hget h c", "$0 "),
        ("hget h nothing", "$-1"),
        ("hget nokey a", "$-1"),
        ("hgetall h", "*8 $1 a $3 one $1 b $3 two $1 c $0  $1 d $1 4"),
        ("hkeys h", "*4 $1 a $1 b $1 c $1 d"),
        ("hvals h", "*4 $3 one $3 two $0  $1 4"),
        ("hlen h", ":4"),
        ("hlen nokey", ":0"),
        ("hmget h d nothing a d", "*4 $1 4 $-1 $3 one $1 4"),
        ("hmget nokey a b", "*2 $-1 $-1"),
        ("hexists h c", ":1"),
        ("hexists h nothing", ":0"),
        ("hexists nokey a", ":0"),
        ("hstrlen h b", ":3"),
        ("hstrlen h nothing", ":0"),
        ("hstrlen nokey a", ":0"),
        ("hgetall nokey", "*0"),
        ("hkeys nokey", "*0"),
        ("hvals nokey", "*0"),
        ("hset h a 1 a 2 a 3 new 4 new 5", ":1"),
        ("hmget h a new", "*2 $1 3 $1 5"),
    ]);
}

#[test]
fn resp3_has_maps_and_nulls() {
    let mut run = server();
    run.set_resp3(true);
    check_with(
        &mut run,
        &[
            ("hset h a 1 b 2", ":2"),
            ("hgetall h", "%2 $1 a $1 1 $1 b $1 2"),
            ("hgetall nokey", "%0"),
            ("hget h nothing", "_"),
            ("hmget h a nothing", "*2 $1 1 _"),
            ("hmget nokey a", "*1 _"),
            ("hkeys h", "*2 $1 a $1 b"),
            ("hkeys nokey", "*0"),
            ("hvals h", "*2 $1 1 $1 2"),
            ("hscan h 0", "*2 $1 0 *4 $1 a $1 1 $1 b $1 2"),
            ("hrandfield nokey", "_"),
            ("hrandfield nokey 5", "*0"),
            ("hrandfield nokey 5 withvalues", "*0"),
            ("hrandfield h 5", "*2 $1 a $1 b"),
            ("hrandfield h 5 WITHVALUES", "*2 *2 $1 a $1 1 *2 $1 b $1 2"),
            ("hrandfield h 0 withvalues", "*0"),
            ("hincrbyfloat h a 0.5", "$3 1.5"),
            ("hdel h a b", ":2"),
            ("hgetall h", "%0"),
        ],
    );
}

#[test]
fn hmset_and_hsetnx() {
    check(&[
        ("hmset h a 1 b 2", "+OK"),
        ("hmset h a 3", "+OK"),
        ("hget h a", "$1 3"),
        ("hsetnx h a 4", ":0"),
        ("hsetnx h c 5", ":1"),
        ("hsetnx new f v", ":1"),
        ("hmget h a c", "*2 $1 3 $1 5"),
        ("hget new f", "$1 v"),
    ]);
}

#[test]
fn removing_the_last_field_removes_the_key() {
    check(&[
        ("hset h a 1 b 2 c 3", ":3"),
        ("hdel h nothing", ":0"),
        ("hdel h a nothing a c", ":2"),
        ("hgetall h", "*2 $1 b $1 2"),
        ("hdel h b b", ":1"),
        ("hlen h", ":0"),
        ("hdel h b", ":0"),
        ("hset h a 1", ":1"),
        ("set h string", "+OK"),
        ("get h", "$6 string"),
    ]);
}

#[test]
fn numbers_of_arguments() {
    check(&[
        ("hset h", "-ERR wrong number of arguments for 'hset' command"),
        ("hset h a", "-ERR wrong number of arguments for 'hset' command"),
        ("hset h a 1 b", "-ERR wrong number of arguments for 'hset' command"),
        ("hmset h a 1 b", "-ERR wrong number of arguments for 'hmset' command"),
        ("hsetnx h a", "-ERR wrong number of arguments for 'hsetnx' command"),
        ("hsetnx h a 1 b", "-ERR wrong number of arguments for 'hsetnx' command"),
        ("hget h", "-ERR wrong number of arguments for 'hget' command"),
        ("hget h a b", "-ERR wrong number of arguments for 'hget' command"),
        ("hmget h", "-ERR wrong number of arguments for 'hmget' command"),
        ("hdel h", "-ERR wrong number of arguments for 'hdel' command"),
        ("hlen", "-ERR wrong number of arguments for 'hlen' command"),
        ("hlen h a", "-ERR wrong number of arguments for 'hlen' command"),
        ("hstrlen h", "-ERR wrong number of arguments for 'hstrlen' command"),
        ("hincrby h a", "-ERR wrong number of arguments for 'hincrby' command"),
        ("hincrbyfloat h a 1 2", "-ERR wrong number of arguments for 'hincrbyfloat' command"),
        ("hrandfield", "-ERR wrong number of arguments for 'hrandfield' command"),
        ("hscan h", "-ERR wrong number of arguments for 'hscan' command"),
        ("hgetall h a", "-ERR wrong number of arguments for 'hgetall' command"),
        ("hexists h", "-ERR wrong number of arguments for 'hexists' command"),
    ]);
}

#[test]
fn wrong_types() {
    check(&[
        ("set s string", "+OK"),
        ("hset s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hset s a 1 b", "-ERR wrong number of arguments for 'hset' command"),
        ("hmset s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hsetnx s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hget s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hmget s a b", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hgetall s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hkeys s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hvals s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hlen s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hstrlen s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hexists s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hdel s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hincrby s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hincrby s a x", "-ERR value is not an integer or out of range"),
        (
            "hincrbyfloat s a 1",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("hincrbyfloat s a x", "-ERR value is not a valid float"),
        ("hrandfield s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hrandfield s 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hrandfield s x", "-ERR value is not an integer or out of range"),
        ("hrandfield s 1 x", "-ERR syntax error"),
        ("hscan s 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("hscan s x", "-ERR invalid cursor"),
        ("hscan s 0 match", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("get s", "$6 string"),
    ]);
}

#[test]
fn integers_are_added() {
    check(&[
        ("hincrby h n 5", ":5"),
        ("hincrby h n -8", ":-3"),
        ("hincrby h n 0", ":-3"),
        ("hget h n", "$2 -3"),
        (
            "hset h text abc empty \"\" space \" 1\" float 1.5 zeros 007 max 9223372036854775807",
            ":6",
        ),
        ("hincrby h text 1", "-ERR hash value is not an integer"),
        ("hincrby h empty 1", "-ERR hash value is not an integer"),
        ("hincrby h space 1", "-ERR hash value is not an integer"),
        ("hincrby h float 1", "-ERR hash value is not an integer"),
        ("hincrby h zeros 1", "-ERR hash value is not an integer"),
        ("hincrby h max 1", "-ERR increment or decrement would overflow"),
        ("hincrby h max -1", ":9223372036854775806"),
        ("hincrby h min -9223372036854775808", ":-9223372036854775808"),
        ("hincrby h min -1", "-ERR increment or decrement would overflow"),
        ("hincrby h n 9223372036854775808", "-ERR value is not an integer or out of range"),
        ("hincrby h n 1.5", "-ERR value is not an integer or out of range"),
        ("hincrby h n \"\"", "-ERR value is not an integer or out of range"),
        ("hincrby nokey n x", "-ERR value is not an integer or out of range"),
        ("hlen nokey", ":0"),
        (
            "hmget h n text max min",
            "*4 $2 -3 $3 abc $19 9223372036854775806 $20 -9223372036854775808",
        ),
    ]);
}

#[test]
fn floats_are_added() {
    check(&[
        ("hincrbyfloat h n 10.50", "$4 10.5"),
        ("hincrbyfloat h n 0.1", "$4 10.6"),
        ("hincrbyfloat h n -5", "$3 5.6"),
        ("hincrbyfloat h n 5.0e3", "$22 5005.60000000000000009"),
        ("hset h text abc empty \"\" space \" 1\" nan nan inf inf hex 0x10 int 3", ":7"),
        ("hincrbyfloat h text 1", "-ERR hash value is not a float"),
        ("hincrbyfloat h empty 1", "-ERR hash value is not a float"),
        ("hincrbyfloat h space 1", "-ERR hash value is not a float"),
        ("hincrbyfloat h nan 1", "-ERR hash value is not a float"),
        ("hincrbyfloat h inf 1", "-ERR increment would produce NaN or Infinity"),
        ("hincrbyfloat h hex 1", "$2 17"),
        ("hincrbyfloat h int 1e-17", "$19 3.00000000000000001"),
        ("hincrbyfloat h int 0.00000000000000001", "$19 3.00000000000000002"),
        ("hincrbyfloat h n x", "-ERR value is not a valid float"),
        ("hincrbyfloat h n nan", "-ERR value is not a valid float"),
        ("hincrbyfloat h n inf", "-ERR value is NaN or Infinity"),
        ("hincrbyfloat h n -inf", "-ERR value is NaN or Infinity"),
        ("hincrbyfloat h n \" 1\"", "-ERR value is not a valid float"),
        ("hincrbyfloat h n \"\"", "-ERR value is not a valid float"),
        ("hincrbyfloat nokey n x", "-ERR value is not a valid float"),
        ("hincrbyfloat nokey n inf", "-ERR value is NaN or Infinity"),
        ("hlen nokey", ":0"),
        ("hset h third 0.1", ":1"),
        ("hincrbyfloat h third 0.2", "$3 0.3"),
        ("hincrbyfloat h third -0.3", "$1 0"),
    ]);
}

#[test]
fn drawing_fields() {
    check(&[
        ("hset h only 1", ":1"),
        ("hrandfield h", "$4 only"),
        ("hrandfield h 1", "*1 $4 only"),
        ("hrandfield h 5", "*1 $4 only"),
        ("hrandfield h 5 withvalues", "*2 $4 only $1 1"),
        ("hrandfield h -3", "*3 $4 only $4 only $4 only"),
        ("hrandfield h -3 WithValues", "*6 $4 only $1 1 $4 only $1 1 $4 only $1 1"),
        ("hrandfield h 0", "*0"),
        ("hrandfield h 0 withvalues", "*0"),
        ("hrandfield h -0", "-ERR value is not an integer or out of range"),
        ("hrandfield h 9223372036854775807", "*1 $4 only"),
        ("hrandfield h 9223372036854775808", "-ERR value is not an integer or out of range"),
        ("hrandfield h 9223372036854775807 withvalues", "-ERR value is out of range"),
        ("hrandfield h 4611686018427387903 withvalues", "*2 $4 only $1 1"),
        ("hrandfield h 4611686018427387904 withvalues", "-ERR value is out of range"),
        ("hrandfield h -4611686018427387904 withvalues", "-ERR value is out of range"),
        (
            "hrandfield h -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and \
                9223372036854775807",
        ),
        (
            "hrandfield h -9223372036854775808 x",
            "-ERR value is out of range, value must between -9223372036854775807 and \
                9223372036854775807",
        ),
        ("hrandfield h x", "-ERR value is not an integer or out of range"),
        ("hrandfield h x y", "-ERR value is not an integer or out of range"),
        ("hrandfield h 1 values", "-ERR syntax error"),
        ("hrandfield h 1 withvalues x", "-ERR syntax error"),
        ("hrandfield nokey", "$-1"),
        ("hrandfield nokey 3", "*0"),
        ("hrandfield nokey -3 withvalues", "*0"),
        ("hrandfield nokey x", "-ERR value is not an integer or out of range"),
    ]);
}

#[test]
fn scanning_a_packed_hash() {
    check(&[
        ("hset h a 1 b 2 ab 3 \"\" 4", ":4"),
        ("hscan h 0", "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4"),
        ("hscan h 0 count 1", "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4"),
        ("hscan h 17 count 1", "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4"),
        ("hscan h 0 match a*", "*2 $1 0 *4 $1 a $1 1 $2 ab $1 3"),
        ("hscan h 0 match *", "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4"),
        ("hscan h 0 match ?", "*2 $1 0 *4 $1 a $1 1 $1 b $1 2"),
        ("hscan h 0 MATCH x COUNT 5 MATCH ab", "*2 $1 0 *2 $2 ab $1 3"),
        (
            "hscan h 0 count 9223372036854775807",
            "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4",
        ),
        ("hscan h 0 count 0", "-ERR syntax error"),
        ("hscan h 0 count -1", "-ERR syntax error"),
        ("hscan h 0 count x", "-ERR value is not an integer or out of range"),
        ("hscan h 0 count 9223372036854775808", "-ERR value is not an integer or out of range"),
        ("hscan h 0 count", "-ERR syntax error"),
        ("hscan h 0 match", "-ERR syntax error"),
        ("hscan h 0 foo", "-ERR syntax error"),
        ("hscan h 0 count x foo", "-ERR value is not an integer or out of range"),
        ("hscan h 0 novalues", "-ERR syntax error"),
        ("hscan h x", "-ERR invalid cursor"),
        ("hscan h 1x", "-ERR invalid cursor"),
        ("hscan h \" 1\"", "-ERR invalid cursor"),
        ("hscan h \"\"", "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4"),
        ("hscan h +1", "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4"),
        ("hscan h ++1", "-ERR invalid cursor"),
        ("hscan h -1", "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4"),
        ("hscan h -", "-ERR invalid cursor"),
        ("hscan h --1", "-ERR invalid cursor"),
        ("hscan h 0x1", "-ERR invalid cursor"),
        ("hscan h 18446744073709551615", "*2 $1 0 *8 $1 a $1 1 $1 b $1 2 $2 ab $1 3 $0  $1 4"),
        ("hscan h 18446744073709551616", "-ERR invalid cursor"),
        ("hscan nokey 0", "*2 $1 0 *0"),
        ("hscan nokey 5 count x", "*2 $1 0 *0"),
        ("hscan nokey x", "-ERR invalid cursor"),
    ]);
}

/// The words of a reply of bulk strings, without their lengths.
fn bulks(reply: &str) -> Vec<&str> {
    reply.split(' ').filter(|word| !word.starts_with(['$', '*'])).collect()
}

/// A server with a hash `h` of the fields `f0`, `f1`, ... with their numbers as values.
fn with_hash(len: usize) -> Run {
    let mut run = server();
    let pairs: String = (0..len).map(|n| format!(" f{n} {n}")).collect();
    assert_eq!(run.reply(&format!("hset h{pairs}")), format!(":{len}"));
    run
}

fn encoding(run: &mut Run) -> &'static str {
    hash_of(run.instance.keys.peek(b"h").unwrap().value()).unwrap().encoding_name()
}

#[test]
fn limits_come_from_the_configuration() {
    let mut run = with_hash(512);
    assert_eq!(encoding(&mut run), "listpack");
    run.reply("hset h f512 512");
    assert_eq!(encoding(&mut run), "hashtable");
    assert_eq!(run.reply("hlen h"), ":513");
    assert_eq!(run.reply("hget h f100"), "$3 100");

    let long = "x".repeat(65);
    let fits = "x".repeat(64);
    for (line, expected) in [
        (format!("hset h {fits} {fits}"), "listpack"),
        (format!("hset h a {long}"), "hashtable"),
        (format!("hset h {long} a"), "hashtable"),
        (format!("hsetnx h a {long}"), "hashtable"),
        (format!("hincrby h {long} 1"), "hashtable"),
        (format!("hincrbyfloat h {long} 1"), "hashtable"),
        ("hincrbyfloat h a 1e65".to_string(), "hashtable"),
        ("hincrbyfloat h a 1e64".to_string(), "listpack"),
    ] {
        let mut run = server();
        run.reply(&line);
        assert_eq!(encoding(&mut run), expected, "{line}");
    }

    let mut run = server();
    run.instance.server.config.hash_max_listpack_entries = 2;
    run.instance.server.config.hash_max_listpack_value = 3;
    run.reply("hset h a 123 b 123");
    assert_eq!(encoding(&mut run), "listpack");
    run.reply("hset h a 1234");
    assert_eq!(encoding(&mut run), "hashtable");
    run.reply("hset h a 1");
    assert_eq!(encoding(&mut run), "hashtable");
    run.reply("hdel h a b");
    run.reply("hset h a 1 b 1 c 1");
    assert_eq!(encoding(&mut run), "hashtable");
}

#[test]
fn a_large_hash_answers_as_a_small_one() {
    let mut run = with_hash(600);
    check_with(
        &mut run,
        &[
            ("hget h f599", "$3 599"),
            ("hget h f600", "$-1"),
            ("hset h f0 changed new 1", ":1"),
            ("hsetnx h f1 x", ":0"),
            ("hmget h f0 f1 new", "*3 $7 changed $1 1 $1 1"),
            ("hstrlen h f0", ":7"),
            ("hexists h f600", ":0"),
            ("hincrby h f2 40", ":42"),
            ("hincrby h f0 1", "-ERR hash value is not an integer"),
            ("hincrbyfloat h f2 0.5", "$4 42.5"),
            ("hdel h f0 f1 f2 f2 f600 new", ":4"),
            ("hlen h", ":597"),
        ],
    );
    for (line, words) in [("hkeys h", 597), ("hvals h", 597), ("hgetall h", 2 * 597)] {
        let reply = run.reply(line);
        assert!(reply.starts_with(&format!("*{words} ")), "{line}");
        let words: BTreeSet<&str> = bulks(&reply).into_iter().collect();
        assert_eq!(words.contains("f3"), line != "hvals h");
        assert_eq!(words.contains("3"), line != "hkeys h");
    }
    run.set_resp3(true);
    assert!(run.reply("hgetall h").starts_with("%597 "));
    let all: String = (3..600).map(|n| format!(" f{n}")).collect();
    assert_eq!(run.reply(&format!("hdel h{all}")), ":597");
    assert!(!run.instance.keys.exists(b"h"));
}

#[test]
fn a_large_hash_is_scanned_in_steps() {
    let mut run = with_hash(1000);
    for (options, steps) in [("", 10..=100), ("count 100", 3..=10), ("count 5000", 1..=1)] {
        let (mut cursor, mut seen, mut calls) = ("0".to_string(), BTreeSet::new(), 0);
        loop {
            let reply = run.reply(&format!("hscan h {cursor} {options}"));
            let words = bulks(&reply);
            for pair in words[1..].chunks(2) {
                assert_eq!(pair[0], format!("f{}", pair[1]));
                seen.insert(pair[0].to_string());
            }
            cursor = words[0].to_string();
            calls += 1;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 1000, "{options}");
        assert!(steps.contains(&calls), "{options}: {calls} calls");
    }
    let reply = run.reply("hscan h 0 count 5000 match f?7");
    let found: BTreeSet<&str> = bulks(&reply)[1..].chunks(2).map(|pair| pair[1]).collect();
    assert_eq!(found, ["17", "27", "37", "47", "57", "67", "77", "87", "97"].into());
    assert_eq!(run.reply("hscan h 0 count 5000 match none"), "*2 $1 0 *0");
}

#[test]
fn drawn_fields_are_fields() {
    for len in [10, 600] {
        let mut run = with_hash(len);
        for count in [1, 3, len / 2, len - 1, len, len * 2] {
            let reply = run.reply(&format!("hrandfield h {count} withvalues"));
            let words = bulks(&reply);
            let fields: BTreeSet<&str> = words.chunks(2).map(|pair| pair[0]).collect();
            assert_eq!(fields.len(), count.min(len), "different ones");
            assert_eq!(words.len(), 2 * count.min(len));
            assert!(words.chunks(2).all(|pair| pair[0] == format!("f{}", pair[1])));

            let reply = run.reply(&format!("hrandfield h -{count}"));
            assert!(reply.starts_with(&format!("*{count} ")));
            let fields = bulks(&reply);
            assert_eq!(fields.len(), count);
            assert!(fields.iter().all(|field| run.reply(&format!("hexists h {field}")) == ":1"));
        }
        let field = run.reply("hrandfield h");
        assert_eq!(run.reply(&format!("hexists h {}", bulks(&field)[0])), ":1");
        run.set_resp3(true);
        let reply = run.reply("hrandfield h -2 withvalues");
        assert!(reply.starts_with("*2 *2 $"), "{reply}");
    }
}

#[test]
fn only_changes_are_logged() {
    let mut run = server();
    for (line, logged) in [
        ("hset h a 1", "*4 $4 hset $1 h $1 a $1 1"),
        ("hset h a 1", "*4 $4 hset $1 h $1 a $1 1"),
        ("hset h a", ""),
        ("hsetnx h a 1", ""),
        ("hsetnx h b 1", "*4 $6 hsetnx $1 h $1 b $1 1"),
        ("hincrby h a 4", "*4 $7 hincrby $1 h $1 a $1 4"),
        ("hincrby h a x", ""),
        ("hincrbyfloat h a 0.50", "*4 $4 HSET $1 h $1 a $3 5.5"),
        ("hincrbyfloat h a x", ""),
        ("hincrby h a 1", ""),
        ("hmset h c 1 d 2", "*6 $5 hmset $1 h $1 c $1 1 $1 d $1 2"),
        ("hdel h nothing", ""),
        ("hdel nokey a", ""),
        ("hdel h a nothing", "*4 $4 hdel $1 h $1 a $7 nothing"),
        ("hget h b", ""),
        ("hgetall h", ""),
        ("hrandfield h", ""),
        ("hscan h 0", ""),
        ("hdel h b c d", "*5 $4 hdel $1 h $1 b $1 c $1 d"),
    ] {
        assert_eq!(run.logged(line), logged, "{line}");
    }
    // The same for a table, where a change is noted elsewhere.
    run.instance.server.config.hash_max_listpack_entries = 0;
    for (line, is_logged) in [
        ("hset h a 1", true),
        ("hsetnx h a 1", false),
        ("hdel h nothing", false),
        ("hincrby h a x", false),
        ("hget h a", false),
        ("hdel h a", true),
    ] {
        assert_eq!(!run.logged(line).is_empty(), is_logged, "{line}");
    }
}

#[test]
fn reads_count_as_hits_and_misses() {
    let mut run = with_hash(1);
    let (hits, misses) = (run.instance.keys.hits, run.instance.keys.misses);
    let reads = [
        "hget KEY a",
        "hmget KEY a b",
        "hgetall KEY",
        "hkeys KEY",
        "hvals KEY",
        "hlen KEY",
        "hstrlen KEY a",
        "hexists KEY a",
        "hrandfield KEY",
        "hrandfield KEY 2",
        "hscan KEY 0",
    ];
    for line in reads {
        run.reply(&line.replace("KEY", "h"));
        run.reply(&line.replace("KEY", "nokey"));
    }
    let reads = reads.len() as u64;
    assert_eq!(run.instance.keys.hits - hits, reads);
    assert_eq!(run.instance.keys.misses - misses, reads);
    // Changing a key is neither.
    run.reply("hset h a 1");
    run.reply("hdel nokey a");
    assert_eq!((run.instance.keys.hits, run.instance.keys.misses), (hits + reads, misses + reads));
}

#[test]
fn events_are_those_of_redis() {
    Run::new().check_events(&[
        ("hset h a 1 b 2", "new h, hset h"),
        ("hmset h a 1", "hset h"),
        ("hsetnx h a 1", ""),
        ("hsetnx h c 1", "hset h"),
        ("hincrby h a 1", "hincrby h"),
        ("hincrbyfloat h a 1.5", "hincrbyfloat h"),
        ("hincrby n a 1", "new n, hincrby n"),
        ("hdel h x", ""),
        ("hdel h a x b", "hdel h"),
        ("hdel h c", "hdel h, del h"),
        ("hdel h c", ""),
        ("hget none f", "keymiss none"),
    ]);
}
