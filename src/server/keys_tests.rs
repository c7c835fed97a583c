//! Expected values are what redis-server 7.0.15 answers to COMMAND GETKEYSANDFLAGS and COMMAND
//! INFO for the command named.

use super::*;
use crate::resp::parse::OwnedArgs;
use crate::server::command::KeyFinder;

const ONE: Keys = Keys {
    flags: &["RW"],
    begin: Begin::Index(1),
    find: Find::Range { last: 0, step: 1, limit: 0 },
};

fn row(keys: &'static [Keys]) -> Command {
    Command { keys, ..Command::BASE }
}

fn found(command: &Command, line: &str) -> Result<Vec<usize>, Invalid> {
    let args: OwnedArgs = line.split(' ').collect();
    find(command, args.args()).map(|keys| keys.iter().map(|key| key.index).collect())
}

fn range_to(last: i32, step: usize, limit: usize) -> Keys {
    Keys { find: Find::Range { last, step, limit }, ..ONE }
}

#[test]
fn ranges() {
    let mset = Box::leak(Box::new([range_to(-1, 2, 0)]));
    assert_eq!(found(&row(mset), "mset a 1 b 2"), Ok(vec![1, 3]));
    assert_eq!(found(&row(mset), "mset a 1 b"), Ok(vec![1, 3]));
    let lcs = Box::leak(Box::new([range_to(1, 1, 0)]));
    assert_eq!(found(&row(lcs), "lcs a b LEN"), Ok(vec![1, 2]));
    assert_eq!(found(&row(lcs), "lcs a"), Err(Invalid));
    let blpop = Box::leak(Box::new([range_to(-2, 1, 0)]));
    assert_eq!(found(&row(blpop), "blpop a b 0"), Ok(vec![1, 2]));
    assert_eq!(found(&row(blpop), "blpop 0"), Err(Invalid));
    // So far from the end that it would be before the beginning.
    assert_eq!(found(&row(blpop), "blpop"), Err(Invalid));
}

#[test]
fn keys_behind_a_word() {
    let streams = Begin::Keyword { word: "STREAMS", from: 1 };
    let xread = Box::leak(Box::new([Keys { begin: streams, ..range_to(-1, 1, 2) }]));
    assert_eq!(found(&row(xread), "xread count 5 streams a b 1 2"), Ok(vec![4, 5]));
    assert_eq!(found(&row(xread), "xread streams a b c"), Ok(vec![2]));
    assert_eq!(found(&row(xread), "xread a b c"), Ok(vec![]));
    assert_eq!(found(&row(xread), "xread a streams"), Ok(vec![]));
    let store = Begin::Keyword { word: "store", from: 6 };
    let georadius = Box::leak(Box::new([ONE, Keys { begin: store, ..ONE }]));
    assert_eq!(found(&row(georadius), "georadius k 1 2 3 m STORE x"), Ok(vec![1, 7]));
    assert_eq!(found(&row(georadius), "georadius k 1 2 store m"), Ok(vec![1]));
    let from_end = Begin::Keyword { word: "KEYS", from: -2 };
    let migrate = Box::leak(Box::new([Keys { begin: from_end, ..range_to(-1, 1, 0) }]));
    assert_eq!(found(&row(migrate), "migrate h p e keys a b"), Ok(vec![5, 6]));
    assert_eq!(found(&row(migrate), "migrate keys"), Ok(vec![]));
}

#[test]
fn no_key_is_overlooked_because_others_do_not_fit() {
    let guarded = |command: &Command, line: &str| -> Vec<usize> {
        let args: OwnedArgs = line.split(' ').collect();
        find_guarded(command, args.args()).iter().map(|key| key.index).collect()
    };
    let rest = Keys { begin: Begin::Index(2), ..range_to(-1, 1, 0) };
    let pfmerge = row(Box::leak(Box::new([ONE, rest])));
    assert_eq!(found(&pfmerge, "pfmerge a"), Err(Invalid));
    assert_eq!(guarded(&pfmerge, "pfmerge a"), [1]);
    assert_eq!(guarded(&pfmerge, "pfmerge a b c"), [1, 2, 3]);
    let count = Find::Count { at: 0, first: 1, step: 1 };
    let counted = Keys { begin: Begin::Index(2), find: count, ..ONE };
    let zunionstore = row(Box::leak(Box::new([ONE, counted])));
    assert_eq!(guarded(&zunionstore, "zunionstore a 9 b"), [1]);
    assert_eq!(guarded(&zunionstore, "zunionstore a 1 b"), [1, 3]);
}

#[test]
fn keys_that_are_counted() {
    let count = Find::Count { at: 0, first: 1, step: 1 };
    let zunion = Box::leak(Box::new([Keys { find: count, ..ONE }]));
    assert_eq!(found(&row(zunion), "zunion 2 a b weights 1 2"), Ok(vec![2, 3]));
    for line in ["zunion 0 a", "zunion x a", "zunion 2 a", "zunion -1 a", "zunion"] {
        assert_eq!(found(&row(zunion), line), Err(Invalid), "{line}");
    }
    let huge = format!("zunion {} a", i64::MAX);
    assert_eq!(found(&row(zunion), &huge), Err(Invalid));
    let zunionstore = Box::leak(Box::new([ONE, Keys { begin: Begin::Index(2), ..zunion[0] }]));
    assert_eq!(found(&row(zunionstore), "zunionstore t 2 a b"), Ok(vec![1, 3, 4]));
}

#[test]
fn names_that_are_no_keys() {
    let channel = Box::leak(Box::new([Keys { flags: &["not_key"], ..ONE }]));
    assert!(!has_keys(&row(channel)));
    assert_eq!(found(&row(channel), "spublish c m"), Ok(vec![]));
    assert!(has_keys(&row(&[ONE])));
    assert!(!has_keys(&row(&[])));
}

fn asked(find_keys: KeyFinder, line: &str) -> Vec<(usize, String)> {
    let args: OwnedArgs = line.split(' ').map(|word| word.trim_matches('"')).collect();
    let keys = find_keys(args.args());
    keys.iter().map(|key| (key.index, key.flags.join(" "))).collect()
}

#[test]
fn keys_that_specifications_cannot_tell() {
    let key = |index, flags: &str| (index, flags.to_string());
    assert_eq!(asked(of_set, "set a b"), [key(1, "OW update")]);
    assert_eq!(asked(of_set, "set get get"), [key(1, "OW update")]);
    assert_eq!(asked(of_set, "set a b nx GET"), [key(1, "RW access update")]);
    assert_eq!(asked(of_bitfield, "bitfield k get u8 0"), [key(1, "RO access")]);
    assert_eq!(
        asked(of_bitfield, "bitfield k overflow sat get u8 0 set u8 0 1"),
        [key(1, "RW access update")]
    );
    assert_eq!(asked(of_bitfield, "bitfield k nonsense"), [key(1, "RW access update")]);
    assert_eq!(
        asked(of_sort, "sort a by store get store limit 0 store store d store e"),
        [key(1, "RO access"), key(12, "OW update")]
    );
    assert_eq!(asked(of_sort, "sort a store"), [key(1, "RO access")]);
    assert_eq!(asked(of_migrate, "migrate h 1 k 0 100"), [key(3, "RW access delete")]);
    assert_eq!(
        asked(of_migrate, "migrate h 1 \"\" 0 100 auth keys KEYS a b"),
        [key(9, "RW access delete"), key(10, "RW access delete")]
    );
    assert_eq!(asked(of_migrate, "migrate h 1 k 0 100 keys a"), []);
}

#[test]
fn the_row_asks_where_it_must() {
    let variable = Keys { flags: &["RW", "variable_flags"], ..ONE };
    let set = Command { find_keys: Some(of_set), ..row(Box::leak(Box::new([variable]))) };
    let args: OwnedArgs = ["set", "a", "b"].iter().collect();
    assert_eq!(find(&set, args.args()).unwrap()[0].flags, ["OW", "update"]);
    let unknown = Keys { begin: Begin::Unknown, find: Find::Unknown, ..ONE };
    let incomplete = Keys { flags: &["OW", "incomplete"], ..ONE };
    assert_eq!(found(&row(Box::leak(Box::new([unknown]))), "x a"), Err(Invalid));
    assert_eq!(found(&row(Box::leak(Box::new([incomplete]))), "x a"), Err(Invalid));
}

#[test]
fn first_last_and_step() {
    let legacy = |keys: Vec<Keys>| {
        let command = row(Box::leak(keys.into_boxed_slice()));
        (legacy_range(&command), are_movable(&command))
    };
    let at = |index, keys: Keys| Keys { begin: Begin::Index(index), ..keys };
    let unknown = Keys { begin: Begin::Unknown, find: Find::Unknown, ..ONE };
    let counted = Keys { find: Find::Count { at: 0, first: 1, step: 1 }, ..ONE };
    // PING, GET, MSET, BLPOP
    assert_eq!(legacy(vec![]), ((0, 0, 0), false));
    assert_eq!(legacy(vec![ONE]), ((1, 1, 1), false));
    assert_eq!(legacy(vec![range_to(-1, 2, 0)]), ((1, -1, 2), false));
    assert_eq!(legacy(vec![range_to(-2, 1, 0)]), ((1, -2, 1), false));
    // RENAME, BITOP
    assert_eq!(legacy(vec![ONE, at(2, ONE)]), ((1, 2, 1), false));
    assert_eq!(legacy(vec![at(2, ONE), at(3, range_to(-1, 1, 0))]), ((2, -1, 1), false));
    // ZUNION, ZUNIONSTORE, SORT
    assert_eq!(legacy(vec![counted]), ((0, 0, 0), true));
    assert_eq!(legacy(vec![ONE, at(2, counted)]), ((1, 1, 1), true));
    assert_eq!(legacy(vec![ONE, unknown, unknown]), ((1, 1, 1), true));
    // A gap between ranges.
    assert_eq!(legacy(vec![ONE, at(3, ONE)]), ((1, 1, 1), true));
}
