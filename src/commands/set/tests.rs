//! What scripts do not show of set commands: what is logged, which events there are, and draws.

use crate::commands::testing::Run;
use std::collections::BTreeSet;

/// A server with a set `s` of the members `m0`, `m1`, ... and another `n` of as many integers.
fn with_sets(len: usize) -> Run {
    let mut run = Run::new();
    for (key, prefix) in [("s", "m"), ("n", "")] {
        let members: String = (0..len).map(|n| format!(" {prefix}{n}")).collect();
        assert_eq!(run.reply(&format!("sadd {key}{members}")), format!(":{len}"));
    }
    run
}

/// The words of a reply of bulk strings, without their lengths.
fn bulks(reply: &str) -> Vec<String> {
    let words = reply.split(' ').filter(|word| !word.starts_with(['$', '*', '~']));
    words.map(str::to_string).collect()
}

fn members(run: &mut Run, key: &str) -> BTreeSet<String> {
    bulks(&run.reply(&format!("smembers {key}"))).into_iter().collect()
}

#[test]
fn only_changes_are_logged() {
    for entries in [128, 0] {
        let mut run = Run::new();
        run.instance.server.config.set_max_listpack_entries = entries;
        run.instance.server.config.set_max_intset_entries = entries;
        for (line, logged) in [
            ("sadd s a b", "sadd s a b"),
            ("sadd s a b", ""),
            ("sadd s a 1", "sadd s a 1"),
            ("sadd n 1", "sadd n 1"),
            ("sadd n 1", ""),
            ("srem s x", ""),
            ("srem none x", ""),
            ("srem s a x", "srem s a x"),
            ("smove s n x", ""),
            ("smove s s b", ""),
            ("smove none n b", ""),
            ("smove s n b", "smove s n b"),
            ("smembers s", ""),
            ("sismember s 1", ""),
            ("smismember s 1", ""),
            ("scard s", ""),
            ("srandmember s", ""),
            ("srandmember s 5", ""),
            ("sscan s 0", ""),
            ("sinter s n", ""),
            ("sintercard 2 s n", ""),
            ("sunion s n", ""),
            ("sdiff s n", ""),
            ("sunionstore d s n", "sunionstore d s n"),
            ("sinterstore d s n", "sinterstore d s n"),
            ("sdiffstore d s s", "sdiffstore d s s"),
            ("sdiffstore d s s", ""),
            ("sinterstore d s none", ""),
            ("sunionstore d none", ""),
            ("spop none", ""),
            ("spop none 5", ""),
            ("spop n 0", ""),
            ("spop s", "SREM s 1"),
            ("spop n 5", "DEL n"),
            ("spop n 5", ""),
        ] {
            assert_eq!(run.propagated(line), logged, "{line}");
        }
    }
    let mut run = with_sets(3);
    run.instance.server.config.lazyfree_lazy_server_del = true;
    assert_eq!(run.propagated("spop s 3"), "UNLINK s");
}

#[test]
fn what_was_popped_is_logged_as_removals() {
    // The log of each names the members that are gone, in commands of not too many words.
    for (len, count) in [(10, 1), (10, 3), (10, 9), (600, 500), (600, 599), (5000, 2500)] {
        for key in ["s", "n"] {
            let mut run = with_sets(len);
            let before = members(&mut run, key);
            let log = run.propagated(&format!("spop {key} {count}"));
            let after = members(&mut run, key);
            let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
            assert_eq!(gone.len(), count);
            let removals: Vec<Vec<&str>> = log
                .trim_start_matches("MULTI ")
                .trim_end_matches(" EXEC")
                .split("SREM ")
                .skip(1)
                .map(|words| words.split_whitespace().collect())
                .collect();
            assert_eq!(removals.len(), count.div_ceil(1024), "{log}");
            assert_eq!(log.starts_with("MULTI"), count > 1024);
            assert!(removals.iter().all(|words| words[0] == key && words.len() <= 1025));
            let logged = removals.iter().flat_map(|words| &words[1..]);
            assert_eq!(logged.clone().count(), count);
            assert_eq!(logged.map(ToString::to_string).collect::<BTreeSet<_>>(), gone);
        }
    }
}

#[test]
fn what_is_answered_is_gone() {
    for len in [10, 600] {
        for count in [1, len / 2, len - 1, len, len + 1] {
            for key in ["s", "n"] {
                let mut run = with_sets(len);
                let before = members(&mut run, key);
                let reply = run.reply(&format!("spop {key} {count}"));
                let popped: BTreeSet<String> = bulks(&reply).into_iter().collect();
                assert_eq!(popped.len(), count.min(len));
                let mut all = members(&mut run, key);
                assert!(all.is_disjoint(&popped));
                all.extend(popped);
                assert_eq!(all, before);
            }
        }
    }
}

#[test]
fn drawn_members_are_members() {
    for len in [10, 600] {
        let mut run = with_sets(len);
        for key in ["s", "n"] {
            let all = members(&mut run, key);
            for count in [1, 3, len / 2, len - 1, len, len * 2] {
                let drawn = bulks(&run.reply(&format!("srandmember {key} {count}")));
                assert_eq!(drawn.len(), count.min(len));
                let different: BTreeSet<String> = drawn.into_iter().collect();
                assert_eq!(different.len(), count.min(len));
                assert!(different.is_subset(&all));

                let reply = run.reply(&format!("srandmember {key} -{count}"));
                assert!(reply.starts_with(&format!("*{count} ")));
                assert!(bulks(&reply).iter().all(|member| all.contains(member)));
            }
            assert!(all.contains(&bulks(&run.reply(&format!("srandmember {key}")))[0]));
            assert_eq!(members(&mut run, key), all);
        }
    }
}

#[test]
fn a_large_set_is_scanned_in_steps() {
    let mut run = with_sets(1000);
    for key in ["s", "n"] {
        for (options, steps) in [("", 10..=100), ("count 100", 3..=10), ("count 5000", 1..=1)] {
            let (mut cursor, mut seen, mut calls) = ("0".to_string(), BTreeSet::new(), 0);
            loop {
                let words = bulks(&run.reply(&format!("sscan {key} {cursor} {options}")));
                seen.extend(words[1..].iter().cloned());
                cursor = words[0].to_string();
                calls += 1;
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(seen, members(&mut run, key), "{options}");
            assert!(steps.contains(&calls), "{options}: {calls} calls");
        }
    }
    let found = bulks(&run.reply("sscan n 0 count 5000 match ?7"));
    let found: BTreeSet<&str> = found[1..].iter().map(String::as_str).collect();
    assert_eq!(found, ["17", "27", "37", "47", "57", "67", "77", "87", "97"].into());
}

/// Events of a line as `name key` pairs.
fn events(run: &mut Run, line: &str) -> String {
    run.hear("sg", |run| _ = run.reply(line)).join(", ")
}

/// As redis-server 7.0.15 publishes them.
#[test]
fn events_are_those_of_redis() {
    for limit in [128, 0] {
        let mut run = Run::new();
        run.instance.server.config.set_max_listpack_entries = limit;
        run.instance.server.config.set_max_intset_entries = limit;
        for (line, expected) in [
            ("sadd s a b c d", "sadd s"),
            ("sadd s a", ""),
            ("srem s x", ""),
            ("srem s a x", "srem s"),
            ("smove s t x", ""),
            ("smove s s b", ""),
            ("smove s t b", "srem s, sadd t"),
            ("sadd s b", "sadd s"),
            ("smove s t b", "srem s"),
            ("smove t s b", "srem t, del t, sadd s"),
            ("spop s 0", ""),
            ("spop s 1", "spop s"),
            ("spop s", "spop s"),
            ("spop s", "spop s, del s"),
            ("spop s", ""),
            ("sadd s a b", "sadd s"),
            ("spop s 2", "spop s, del s"),
            ("sadd s a b", "sadd s"),
            ("srem s a b", "srem s, del s"),
            ("sadd s a b", "sadd s"),
            ("sunionstore d s", "sunionstore d"),
            ("sinterstore d s", "sinterstore d"),
            ("sdiffstore d s", "sdiffstore d"),
            ("sdiffstore d s s", "del d"),
            ("sinterstore d none", ""),
            ("sinterstore d s", "sinterstore d"),
            ("sinterstore d none", "del d"),
        ] {
            assert_eq!(events(&mut run, line), expected, "{line}");
        }
    }
}

#[test]
fn reads_count_as_hits_and_misses() {
    let mut run = with_sets(3);
    let (hits, misses) = (run.instance.keys.hits, run.instance.keys.misses);
    let reads = [
        "smembers KEY",
        "scard KEY",
        "sismember KEY a",
        "smismember KEY a b",
        "srandmember KEY",
        "srandmember KEY 2",
        "sscan KEY 0",
        "sinter KEY",
        "sintercard 1 KEY",
        "sunion KEY",
        "sdiff KEY",
        "sunionstore d KEY",
    ];
    for line in reads {
        run.reply(&line.replace("KEY", "s"));
        run.reply(&line.replace("KEY", "nokey"));
    }
    let reads = reads.len() as u64;
    assert_eq!(run.instance.keys.hits - hits, reads);
    assert_eq!(run.instance.keys.misses - misses, reads);
    // Changing a key is neither.
    run.reply("sadd s a");
    run.reply("srem s a");
    run.reply("spop nokey");
    assert_eq!((run.instance.keys.hits, run.instance.keys.misses), (hits + reads, misses + reads));
}

#[test]
fn a_large_result_is_freed_elsewhere() {
    let mut run = with_sets(1000);
    assert!(run.instance.keys.garbage.is_empty());
    run.reply("sunion s n");
    assert_eq!(run.instance.keys.garbage.len(), 1);
    run.reply("spop s 999");
    assert_eq!(run.instance.keys.garbage.len(), 2);
}
