//! What commands on streams leave behind for the append-only file, for those who listen, and for
//! those who watch a key. Replies are in `tests/scripts/streams*.txt`.

use crate::commands::testing::{Run, START_MS};
use crate::server::ctx::Origin;
use crate::store::interest::Concerns;

/// What is propagated by commands, one after the other.
#[track_caller]
fn check_propagated(run: &mut Run, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        assert_eq!(run.propagated(line), *expected, "{line}");
    }
}

/// A stream `s` of entries 1-0 to 5-0 with a group `g` that starts at the first.
fn with_group() -> Run {
    let mut run = Run::new();
    for ms in 1..=5 {
        run.run(&format!("xadd s {ms} f v"));
    }
    run.run("xgroup create s g 0");
    run
}

#[test]
fn added_entries_are_recorded_with_their_ids() {
    let mut run = Run::new();
    check_propagated(
        &mut run,
        &[
            ("xadd s * f v", &format!("xadd s {START_MS}-0 f v")),
            ("xadd s * f v", &format!("xadd s {START_MS}-1 f v")),
            (&format!("xadd s {START_MS}-* f v"), &format!("xadd s {START_MS}-2 f v")),
            ("xadd s 1800000000000-5 f v", "xadd s 1800000000000-5 f v"),
            ("xadd s NOMKSTREAM * f v", "xadd s NOMKSTREAM 1800000000000-6 f v"),
            ("xadd none nomkstream * f v", ""),
            ("xadd s 1-1 f v", ""),
        ],
    );
}

#[test]
fn trimming_is_recorded_with_where_it_ended() {
    let mut run = Run::new();
    run.run("config set stream-node-max-entries 2");
    for ms in 1..=10 {
        run.run(&format!("xadd s {ms} f v"));
    }
    check_propagated(
        &mut run,
        &[
            ("xtrim s maxlen ~ 7", "xtrim s maxlen = 8"),
            ("xtrim s maxlen ~ 7", ""),
            ("xadd s maxlen ~ 5 limit 2 11 f v", "xadd s maxlen = 7 limit 2 11 f v"),
            ("xadd s minid ~ 8 * f v", &format!("xadd s minid = 7-0 {START_MS}-0 f v")),
            ("xadd s maxlen 100 * f v", &format!("xadd s maxlen 100 {START_MS}-1 f v")),
            ("xtrim s minid ~ 9", "xtrim s minid = 9-0"),
            ("xtrim s minid 10", "xtrim s minid 10"),
            ("xtrim s minid 10", ""),
            ("xadd s minid ~ 18446744073709551615 * f v", &{
                let max = u64::MAX;
                format!("xadd s minid = {max}-{max} {START_MS}-2 f v")
            }),
            ("xadd s maxlen ~ 0 * f v", &format!("xadd s maxlen = 0 {START_MS}-3 f v")),
        ],
    );
}

#[test]
fn a_file_may_limit_exact_trimming() {
    let mut run = with_group();
    let words: Vec<&str> = "xadd s maxlen = 2 limit 1 6 f v".split(' ').collect();
    assert_eq!(run.run_as(Origin::File, &words), b"$3\r\n6-0\r\n");
    assert_eq!(run.reply("xlen s"), ":2");
    assert!(run.reply("xadd s maxlen = 2 limit 1 7 f v").starts_with("-ERR syntax error, LIMIT"));
}

#[test]
fn what_a_consumer_is_given_is_recorded_step_by_step() {
    let mut run = with_group();
    let claim = |consumer: &str, id: &str, count: u32, last: &str| {
        format!(
            "XCLAIM s g {consumer} 0 {id} TIME {START_MS} RETRYCOUNT {count} FORCE JUSTID \
             LASTID {last}"
        )
    };
    let unit = |steps: &[String]| format!("MULTI {} EXEC", steps.join(" "));
    let first = unit(&[
        "XGROUP CREATECONSUMER s g a".to_string(),
        claim("a", "1-0", 1, "1-0"),
        claim("a", "2-0", 1, "2-0"),
        "XGROUP SETID s g 2-0 ENTRIESREAD 2".to_string(),
    ]);
    let without_ack = unit(&[
        "XGROUP CREATECONSUMER s g b".to_string(),
        "XGROUP SETID s g 3-0 ENTRIESREAD 3".to_string(),
    ]);
    check_propagated(
        &mut run,
        &[
            ("xreadgroup group g a count 2 streams s >", &first),
            ("xreadgroup group g b count 1 noack streams s >", &without_ack),
            ("xreadgroup group g a streams s 1", &claim("a", "2-0", 2, "3-0")),
            ("xreadgroup group g a streams s 2", ""),
            ("xclaim s g b 0 1-0 justid", &claim("b", "1-0", 1, "3-0")),
            ("xclaim s g b 0 1-0", &claim("b", "1-0", 2, "3-0")),
            ("xclaim s g b 1 1-0", ""),
            ("xclaim s g b 0 9-0", ""),
            ("xclaim s g b 0 9-0 lastid 4", "XGROUP SETID s g 4-0 ENTRIESREAD 3"),
            ("xclaim s g c 0 9-0", "XGROUP CREATECONSUMER s g c"),
            ("xautoclaim s g c 0 2 justid", &claim("c", "2-0", 2, "4-0")),
            ("xdel s 2", "xdel s 2"),
            // It is gone from what is pending, which the same command makes so elsewhere.
            ("xautoclaim s g b 0 2", &claim("c", "2-0", 2, "4-0")),
            ("xautoclaim s g b 0 2", ""),
            ("xack s g 1-0 2-0", "xack s g 1-0 2-0"),
            ("xack s g 1-0 2-0", ""),
        ],
    );
}

#[test]
fn only_changes_are_recorded() {
    let mut run = with_group();
    check_propagated(
        &mut run,
        &[
            ("xreadgroup group none a streams s >", ""),
            ("xgroup createconsumer s g a", "xgroup createconsumer s g a"),
            ("xgroup createconsumer s g a", ""),
            ("xreadgroup group g a streams s 0", ""),
            ("xgroup delconsumer s g none", ""),
            ("xgroup delconsumer s g a", "xgroup delconsumer s g a"),
            ("xgroup setid s g 5", "xgroup setid s g 5"),
            ("xgroup create s g 0", ""),
            ("xgroup create t g 0 mkstream", "xgroup create t g 0 mkstream"),
            ("xgroup destroy s none", ""),
            ("xgroup destroy s g", "xgroup destroy s g"),
            ("xdel s 77", ""),
            ("xdel s 77 1", "xdel s 77 1"),
            ("xsetid s 1", ""),
            ("xsetid s 10", "xsetid s 10"),
        ],
    );
}

/// The names of the events that commands have caused.
fn events(run: &mut Run, lines: &[&str]) -> Vec<String> {
    let told = run.hear("Amn", |run| {
        for line in lines {
            let reply = run.reply(line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
    });
    told.iter().filter_map(|event| event.split(' ').next()).map(String::from).collect()
}

#[test]
fn events_have_redis_names() {
    let mut run = Run::new();
    let names = events(
        &mut run,
        &[
            "xadd s 1 f v",
            "xadd s maxlen 1 2 f v",
            "xadd s maxlen 5 3 f v",
            "xtrim s maxlen 5",
            "xtrim s maxlen 1",
            "xdel s 9",
            "xgroup create s g 0",
            "xgroup setid s g 1",
            "xgroup createconsumer s g a",
            "xgroup createconsumer s g a",
            "xreadgroup group g b streams s >",
            "xclaim s g c 0 3-0",
            "xautoclaim s g d 0 -",
            "xack s g 3-0",
            "xgroup delconsumer s g a",
            "xgroup destroy s g",
            "xdel s 3",
            "xsetid s 9",
            "xgroup create t g $ mkstream",
        ],
    );
    let expected = [
        "new",
        "xadd",
        "xadd",
        "xtrim",
        "xadd",
        "xtrim",
        "xgroup-create",
        "xgroup-setid",
        "xgroup-createconsumer",
        "xgroup-createconsumer",
        "xgroup-createconsumer",
        "xgroup-createconsumer",
        "xgroup-delconsumer",
        "xgroup-destroy",
        "xdel",
        "xsetid",
        "new",
        "xgroup-create",
    ];
    assert_eq!(names, expected);
}

#[test]
fn what_groups_do_is_no_change_of_the_key() {
    let mut run = with_group();
    run.instance.keys.interests.add(0, b"s");
    for line in [
        "xreadgroup group g a count 2 streams s >",
        "xclaim s g b 0 1-0",
        "xautoclaim s g b 0 -",
        "xack s g 1-0",
        "xgroup setid s g 0",
        "xgroup createconsumer s g c",
        "xgroup delconsumer s g c",
        "xdel s 9-9",
        "xtrim s maxlen 5",
        "xadd s 1-1 f v",
        "xsetid s 9",
    ] {
        run.run(line);
        assert!(run.instance.keys.interests.take_changed().is_empty(), "{line}");
    }
    for (line, concerns) in [
        ("xadd s 10 f v", Concerns::All),
        ("xdel s 10", Concerns::All),
        ("xtrim s maxlen 1", Concerns::All),
        ("xgroup destroy s g", Concerns::Waiting),
    ] {
        run.run(line);
        let changed = run.instance.keys.interests.take_changed();
        assert_eq!(changed.len(), 1, "{line}");
        assert_eq!(changed[0].concerns, concerns, "{line}");
    }
}

#[test]
fn a_large_destroyed_group_is_freed_elsewhere() {
    for (consumers, freed_elsewhere) in [(1, 0), (100, 1)] {
        let mut run = with_group();
        for consumer in 0..consumers {
            run.run(&format!("xgroup createconsumer s g consumer:{consumer}"));
        }
        run.instance.keys.garbage.clear();
        run.run("xgroup destroy s g");
        assert_eq!(run.instance.keys.garbage.len(), freed_elsewhere, "{consumers}");
    }
}

#[test]
fn idle_times_are_by_the_clock() {
    let mut run = with_group();
    run.run("xreadgroup group g a count 1 streams s >");
    run.advance(500);
    run.run("xreadgroup group g a count 1 streams s >");
    run.advance(250);
    run.check(&[
        ("xpending s g - + 5", "*2 *4 $3 1-0 $1 a :750 :1 *4 $3 2-0 $1 a :250 :1"),
        ("xpending s g idle 251 - + 5", "*1 *4 $3 1-0 $1 a :750 :1"),
        ("xclaim s g b 751 1-0 2-0 justid", "*0"),
        ("xclaim s g b 750 1-0 2-0 justid", "*1 $3 1-0"),
        ("xclaim s g b 0 1-0 idle 100 justid", "*1 $3 1-0"),
        ("xpending s g - + 1", "*1 *4 $3 1-0 $1 b :100 :1"),
        (
            "xinfo consumers s g",
            "*2 *8 $4 name $1 a $7 pending :1 $4 idle :250 $8 inactive :250 \
             *8 $4 name $1 b $7 pending :1 $4 idle :0 $8 inactive :0",
        ),
    ]);
    run.advance(40);
    // A look at what it has pending already is no delivery.
    run.run("xreadgroup group g a streams s 5");
    run.check(&[(
        "xinfo consumers s g",
        "*2 *8 $4 name $1 a $7 pending :1 $4 idle :0 $8 inactive :290 \
         *8 $4 name $1 b $7 pending :1 $4 idle :40 $8 inactive :40",
    )]);
}

#[test]
fn what_nobody_records_is_not_made() {
    let mut run = with_group();
    for line in [
        "xadd s * f v",
        "xtrim s maxlen ~ 1",
        "xreadgroup group g a streams s >",
        "xclaim s g b 0 1-0",
        "xautoclaim s g c 0 -",
        "set k v px 1000",
        "hset h f 1",
        "hexpire h 100 fields 1 f",
        "sadd set 1 2 3 4 5",
        "spop set 2",
        "spop set 3",
        "mset a 1 b 2",
        "blpop l 0",
    ] {
        let dirty = run.instance.keys.dirty;
        assert!(run.is_unrecorded(line), "{line}");
        let changes = !matches!(line, "xtrim s maxlen ~ 1" | "blpop l 0");
        assert_eq!(run.instance.keys.dirty > dirty, changes, "{line}");
    }
}
