//! What scripts cannot show of the commands on sorted sets: events, what is written to the
//! append-only file, what is no change, and what differs between Redis 7.0 and 7.2. Names and
//! forms are those of Redis 7.2's sources (`t_zset.c`).

use crate::commands::testing::Run;
use crate::server::config::{Allowed, Config};
use crate::server::ctx::Origin;

/// Runs a line, and returns the names of the events and the keys they happened to.
fn events(run: &mut Run, line: &str) -> String {
    run.hear("zg", |run| _ = run.run(line)).join(", ")
}

#[test]
fn each_change_has_its_event() {
    let mut run = Run::new();
    for (line, expected) in [
        ("zadd z 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h", "zadd z"),
        ("zadd z 1 a", ""),
        ("zadd z nx 5 a", ""),
        ("zadd z xx 5 none", ""),
        ("zadd z incr 1 a", "zincr z"),
        ("zadd z incr 0 a", ""),
        ("zincrby z 1 a", "zincr z"),
        ("zincrby z 0 a", ""),
        ("zrem z none", ""),
        ("zrem z a none", "zrem z"),
        ("zrem none a", ""),
        ("zremrangebyrank z 0 0", "zremrangebyrank z"),
        ("zremrangebyrank z 100 101", ""),
        ("zremrangebyscore z 3 3", "zremrangebyscore z"),
        ("zremrangebylex z [x [y", ""),
        ("zpopmin z", "zpopmin z"),
        ("zpopmin z 0", ""),
        ("zpopmax z 1", "zpopmax z"),
        ("bzpopmin z 0", "zpopmin z"),
        ("zmpop 1 z max", "zpopmax z"),
        ("bzmpop 0 1 z max count 10", "zpopmax z, del z"),
        ("zadd z 1 a", "zadd z"),
        ("zrem z a", "zrem z, del z"),
        ("zadd z 1 a", "zadd z"),
        ("zremrangebylex z - +", "zremrangebylex z, del z"),
        ("zadd z 1 a", "zadd z"),
        ("zpopmax z", "zpopmax z, del z"),
        ("zadd z 1 a 2 b", "zadd z"),
        ("zunionstore to 1 z", "zunionstore to"),
        ("zinterstore to 1 z", "zinterstore to"),
        ("zdiffstore to 1 z", "zdiffstore to"),
        ("zrangestore to z 0 0", "zrangestore to"),
        ("zrangestore to z 5 6", "del to"),
        ("zrangestore to z 5 6", ""),
        ("zunionstore z 1 none", "del z"),
        ("zinterstore z 1 none", ""),
        ("zdiffstore z 1 none", ""),
    ] {
        assert_eq!(events(&mut run, line), expected, "{line}");
    }
}

#[test]
fn the_file_sees_what_was_done() {
    let mut run = Run::new();
    for (line, expected) in [
        ("zadd z 1 a 2 b 3 c 4 d 5 e 6 f", "zadd z 1 a 2 b 3 c 4 d 5 e 6 f"),
        ("zadd z 1 a", ""),
        ("zadd z gt 0 a", ""),
        ("zadd none xx 1 a", ""),
        ("zadd z incr 0 a", ""),
        ("zadd z ch xx incr 1 a", "zadd z ch xx incr 1 a"),
        ("zincrby z 0.1 a", "zincrby z 0.1 a"),
        ("zincrby z 0 a", ""),
        ("zrem z none", ""),
        ("zremrangebyrank z 10 20", ""),
        ("zremrangebyscore z 10 20", ""),
        ("zpopmin z 0", ""),
        ("zpopmin z", "zpopmin z"),
        ("bzpopmin none z 0", "ZPOPMIN z"),
        ("bzpopmax z 0", "ZPOPMAX z"),
        ("zmpop 2 none z min count 2", "ZPOPMIN z 2"),
        ("bzmpop 0 1 z max count 100", "ZPOPMAX z 1"),
        ("zmpop 1 z min", ""),
        ("zunionstore to 1 none", ""),
        ("zrangestore to none 0 1", ""),
        ("zadd z 1 a", "zadd z 1 a"),
        ("zunionstore to 1 z", "zunionstore to 1 z"),
        ("zunionstore to 1 none", "zunionstore to 1 none"),
        ("zscore z a", ""),
        ("zrange z 0 -1", ""),
        ("zrandmember z 5", ""),
    ] {
        assert_eq!(run.propagated(line), expected, "{line}");
    }
}

#[test]
fn scores_are_printed_as_7_2_prints_them() {
    let mut run = Run::new();
    run.check(&[
        ("zadd z 0.1 a 1e-7 b 1e23 c -inf d 3 e", ":5"),
        ("zscore z a", "$3 0.1"),
        ("zscore z b", "$4 1e-7"),
        ("zscore z c", "$5 1e+23"),
        ("zscore z d", "$4 -inf"),
        ("zincrby z 0.2 a", "$19 0.30000000000000004"),
        ("zscan z 0 match a", "*2 $1 0 *2 $1 a $19 0.30000000000000004"),
    ]);
    run.set_resp3(true);
    run.check(&[
        ("zscore z a", ",0.30000000000000004"),
        ("zscore z d", ",-inf"),
        ("zscore z e", ",3"),
        ("zincrby z 0.5 e", ",3.5"),
        ("zscan z 0 match e", "*2 $1 0 *2 $1 e $3 3.5"),
    ]);
}

#[test]
fn ranks_come_with_scores() {
    let mut run = Run::new();
    run.check(&[
        ("zadd z 1 a 2.5 b", ":2"),
        ("zrank z b withscore", "*2 :1 $3 2.5"),
        ("zrevrank z b WITHSCORE", "*2 :0 $3 2.5"),
        ("zrank z none withscore", "*-1"),
        ("zrank none a withscore", "*-1"),
        ("zrank z b withscores", "-ERR syntax error"),
        ("zrank z b withscore x", "-ERR wrong number of arguments for 'zrank' command"),
    ]);
    run.set_resp3(true);
    run.check(&[
        ("zrank z b withscore", "*2 :1 ,2.5"),
        ("zrank z none withscore", "_"),
        ("zrank z none", "_"),
    ]);
}

#[test]
fn resp3_has_pairs() {
    let mut run = Run::new();
    run.set_resp3(true);
    run.check(&[
        ("zadd z 1 a 2 b 3 c", ":3"),
        ("zrange z 0 1", "*2 $1 a $1 b"),
        ("zrange z 0 1 withscores", "*2 *2 $1 a ,1 *2 $1 b ,2"),
        ("zunion 1 z withscores", "*3 *2 $1 a ,1 *2 $1 b ,2 *2 $1 c ,3"),
        ("zpopmin z", "*2 $1 a ,1"),
        ("zpopmin z 1", "*1 *2 $1 b ,2"),
        ("bzpopmin z 0", "*3 $1 z $1 c ,3"),
        ("zpopmin z", "*0"),
        ("zadd z 1 a", ":1"),
        ("zmpop 1 z min", "*2 $1 z *1 *2 $1 a ,1"),
        ("zmpop 1 z min", "_"),
    ]);
}

#[test]
fn as_many_as_were_given_decide_over_the_encoding() {
    let pairs: String = (0..129).map(|n| format!(" {n} same")).collect();
    let mut run = Run::new();
    run.check(&[
        (&format!("zadd z{pairs}"), ":1"),
        ("object encoding z", "$8 skiplist"),
        ("zscore z same", "$3 128"),
        ("zadd y 1 a", ":1"),
        ("object encoding y", "$8 listpack"),
        (&format!("zadd y{pairs}"), ":1"),
        ("object encoding y", "$8 skiplist"),
    ]);
}

#[test]
fn nobody_waits_while_a_file_is_loaded() {
    let mut run = Run::new();
    assert_eq!(run.run_as(Origin::File, &["bzpopmin", "z", "0"]), b"*-1\r\n");
    assert_eq!(run.run_as(Origin::File, &["bzmpop", "0", "1", "z", "min"]), b"*-1\r\n");
}

#[test]
fn a_large_set_goes_away_elsewhere() {
    let mut run = Run::new();
    for n in 0..1000 {
        run.run(&format!("zadd z {n} member:{n}"));
    }
    run.check(&[("zremrangebyrank z 0 -1", ":1000"), ("exists z", ":0")]);
    let garbage = run.instance.keys.garbage.len() + run.instance.server.free.pending();
    assert!(garbage > 0 || run.instance.server.free.freed() > 0);
}

#[test]
fn debug_answers_as_redis_does() {
    // Those of redis-server 7.0.15, for a skiplist.
    let mut run = Run::with(Config {
        enable_debug_command: Allowed::Yes,
        appendonly: false,
        ..Config::default()
    });
    run.check(&[("zadd z 1 a 2.5 12 3 1000 4 abcdefghij", ":4")]);
    assert!(run.run("debug object z").contains(" serializedlength:51 "));
    run.check(&[("debug digest-value z", "*1 +8e68a5f5ab28c3563cad45d0f6bbda66d4132e76")]);
}
