//! Commands on lists as a server without its loop executes them: what is recorded of them, and what
//! is told of the keys.

use crate::commands::testing::Run;

#[test]
fn the_file_sees_what_was_done() {
    let mut run = Run::new();
    for (line, logged) in [
        ("RPUSH l a b c d e f", "RPUSH l a b c d e f"),
        ("LPUSHX none a", ""),
        ("LPOP l", "LPOP l"),
        ("LMPOP 2 none l RIGHT COUNT 2", "RPOP l 2"),
        ("BLMPOP 0 2 none l LEFT", "LPOP l 1"),
        ("BLPOP none l 0", "LPOP l"),
        ("BRPOP l 0", "RPOP l"),
        ("LRANGE l 0 -1", ""),
        ("RPUSH l a b c", "RPUSH l a b c"),
        ("BLMOVE l m left RIGHT 0", "LMOVE l m left RIGHT"),
        ("BRPOPLPUSH l m 0", "RPOPLPUSH l m"),
        ("RPOPLPUSH l l", "RPOPLPUSH l l"),
        ("LREM l 0 none", ""),
        ("LTRIM m 0 -1", ""),
        ("LTRIM m 0 0", "LTRIM m 0 0"),
        ("LINSERT m AFTER none x", ""),
        ("LSET m 5 x", ""),
        ("LPOP m 0", ""),
        ("LMPOP 1 none LEFT", ""),
    ] {
        assert_eq!(run.propagated(line), logged, "{line}");
    }
}

#[test]
fn what_is_told_of_the_keys() {
    let mut run = Run::new();
    for (line, expected) in [
        ("RPUSH l a b", "new l, rpush l"),
        ("LPUSH l c", "lpush l"),
        ("RPUSHX l d", "rpush l"),
        ("LINSERT l BEFORE a x", "linsert l"),
        ("LSET l 0 y", "lset l"),
        ("LREM l 1 x", "lrem l"),
        ("LREM l 1 x", ""),
        ("LMOVE l m LEFT RIGHT", "new m, rpush m, lpop l"),
        ("RPOPLPUSH m m", "lpush m, rpop m"),
        ("RPOPLPUSH m l", "lpush l, rpop m, del m"),
        ("LTRIM l 0 -1", "ltrim l"),
        ("LPOP l", "lpop l"),
        ("RPOP l 2", "rpop l"),
        ("BLPOP l 0", "lpop l, del l"),
        ("RPUSH l a", "new l, rpush l"),
        ("LREM l 0 a", "lrem l, del l"),
        ("RPUSH l a b", "new l, rpush l"),
        ("LMPOP 1 l RIGHT COUNT 9", "rpop l, del l"),
        ("RPUSH l a", "new l, rpush l"),
        ("LTRIM l 1 0", "ltrim l, del l"),
    ] {
        let told = run.hear("lgn", |run| _ = run.run(line));
        assert_eq!(told.join(", "), expected, "{line}");
    }
}

#[test]
fn many_elements_go_to_the_thread_that_frees() {
    let mut run = Run::new();
    let element = "x".repeat(1000);
    for _ in 0..2000 {
        run.run(&format!("RPUSH l {element}"));
    }
    let left = |run: &mut Run| std::mem::take(&mut run.instance.keys.garbage).len();
    run.run("LTRIM l 1000 -1");
    assert_eq!(left(&mut run), 1);
    run.run("RPOP l 900");
    assert_eq!(left(&mut run), 1);
    run.run("DEL l");
    assert_eq!(left(&mut run), 0);
    assert_eq!(run.reply("EXISTS l"), ":0");
}
