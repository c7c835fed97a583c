//! What was found, so that it is not found again.

use std::time::{Duration, Instant};

use goredis::persist::rdb::payload::restore;

use super::case::{Case, Kind, PAYLOAD, seal};
use super::contents::{Piece, listpack, payload, string};
use super::damage;
use super::hunt::scratch;
use super::trial::{self, Outcome};

const INCR: &str = "appendonlydir/appendonly.aof.1.incr.aof";

/// Loads an append-only file of these commands.
fn load(lines: &[&str]) -> Outcome {
    let commands: Vec<Vec<Vec<u8>>> =
        lines.iter().map(|line| line.split(' ').map(Vec::from).collect()).collect();
    let mut incr = Vec::new();
    damage::write(&commands, &mut incr);
    let manifest = b"file appendonly.aof.1.incr.aof seq 1 type i\n".to_vec();
    let files =
        vec![("appendonlydir/appendonly.aof.manifest".into(), manifest), (INCR.into(), incr)];
    let case = Case { kind: Kind::Aof, seed: 1, files };
    let dir = scratch();
    case.lay_out(dir.path());
    trial::run(&case, dir.path())
}

#[track_caller]
fn is_refused(lines: &[&str], why: &str) {
    match load(lines) {
        Outcome::Refused(text) => assert!(text.contains(why) && text.contains("offset"), "{text}"),
        Outcome::Loaded => panic!("{lines:?} were loaded"),
    }
}

/// A few bytes ask for more than there is; the allocation failed, and the process with it.
#[test]
fn lengths_without_memory() {
    for line in [
        "SETRANGE k 4611686018427387904 x",
        "SETRANGE k 9223372036854775807 x",
        "SETBIT k 9223372036854775807 1",
        "BITFIELD k SET u8 9223372036854775700 1",
        "BITFIELD k SET u8 #1152921504606846970 1",
    ] {
        is_refused(&["SET a b", line], "There is no memory for what");
    }
    // What is larger than a client may send now is data all the same.
    assert_eq!(load(&["SETRANGE k 2000000 x"]), Outcome::Loaded);
}

/// DEBUG LOADAOF in a file loaded that file, and so on.
#[test]
fn commands_that_are_no_data() {
    for line in [
        "DEBUG LOADAOF",
        "DEBUG SLEEP 1000",
        "SHUTDOWN NOSAVE",
        "CONFIG SET maxmemory 1",
        "CLIENT REPLY OFF",
        "CLIENT PAUSE 100000",
        "SUBSCRIBE a",
        "MONITOR",
        "BGREWRITEAOF",
        "ACL SETUSER default off",
        "WATCH k",
        "RESET",
    ] {
        is_refused(&["SET a b", line], "does not belong into a file");
    }
    is_refused(&["MULTI", "SET a b", "DEBUG LOADAOF", "EXEC"], "does not belong into a file");
    // A file may have these: of Redis, and by scripts' effects.
    assert_eq!(load(&["SELECT 1", "PUBLISH a b", "PING", "GET a"]), Outcome::Loaded);
}

/// A subcommand that writes was taken for one that does not, by its container's row.
#[test]
fn errors_of_subcommands_are_what_they_were() {
    let create = "XGROUP CREATE s g 0 MKSTREAM";
    assert_eq!(load(&[create, create, "XGROUP DESTROY nokey g", "SADD s m"]), Outcome::Loaded);
}

/// A stream's node has its fields' names once. Entries were put into nodes of their own when the
/// names were long, and each of these had them again.
#[test]
fn long_names_that_many_entries_share() {
    const ENTRIES: usize = 4000;
    for len in [3000, 60_000, 600_000] {
        let name = vec![b'n'; len];
        let mut pieces = vec![
            Piece::Int(ENTRIES as i64, 2),
            Piece::Int(0, 0),
            Piece::Int(1, 0),
            Piece::Text(&name),
            Piece::Int(0, 0),
        ];
        for nth in 0..ENTRIES {
            // Flags, milliseconds and number; a value; how many pieces that were.
            pieces.extend([Piece::Int(2, 0), Piece::Int(nth as i64, 2), Piece::Int(0, 0)]);
            pieces.extend([Piece::Int(1, 0), Piece::Int(4, 0)]);
        }
        let mut body = vec![1, 16];
        body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend_from_slice(&string(&listpack(&pieces)));
        let last = [&[0x81][..], &(ENTRIES as u64).to_be_bytes()].concat();
        // As many as there are, the last ID, and no groups.
        body.extend_from_slice(&last);
        body.extend_from_slice(&last);
        body.extend_from_slice(&[0, 0]);
        let mut bytes = payload(9, 15, &body);
        seal(PAYLOAD, &mut bytes);
        let began = Instant::now();
        let memory = restore(&bytes, Default::default(), true, |value| {
            super::contents::with_record(value, |view| match view.value() {
                goredis::types::Value::Object(object) => object.memory(0),
                goredis::types::Value::Inline(..) => panic!("no stream"),
            })
        });
        let memory = memory.unwrap();
        assert!(memory < 4 * bytes.len() + 100_000, "{memory} for {}", bytes.len());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

/// A small sorted set that was large has the sign of a zero until it is saved and loaded, here and
/// in Redis.
#[test]
fn zeros_of_a_set_that_was_large() {
    let long = format!("ZADD z 1 {}", "m".repeat(100));
    let remove = format!("ZREM z {}", "m".repeat(100));
    assert_eq!(load(&[&long, "ZADD z -0 a 2 b", &remove]), Outcome::Loaded);
}
