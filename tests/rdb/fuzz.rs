//! Damaged payloads and files: whatever is in them, reading ends with an error or with a value that
//! can be used, and takes memory in proportion to what was read.
//!
//! `GOREDIS_RDB_FUZZ` says how many are tried (default 3000), `GOREDIS_RDB_SEED` where to begin
//! (default 1).
//! Memory is bounded from outside: the test runs itself again with a limit on address space, within
//! which nothing larger than a multiple of its inputs has room.

use std::process::Command;
use std::time::{Duration, Instant};

use goredis::base::rng::Rng;
use goredis::persist::rdb::payload::{self, restore};
use goredis::persist::rdb::save::{self, save};
use goredis::persist::rdb::write::{Use, Writer};
use goredis::persist::rdb::{Loader, Options};
use goredis::store::Keyspace;
use goredis::store::digest::Digest;

use super::contents::{Contents, LIMITS, NOW_MS, Piece, listpack, payload, string, ziplist};
use super::models;

/// Kilobytes of address space: the program, its threads' stacks, and little besides.
const ADDRESS_SPACE_KB: usize = 700_000;
/// No input may take longer. Generous, as machines stall.
const SLOW: Duration = Duration::from_secs(5);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn damage_is_survived_in_little_memory() {
    let this = std::env::current_exe().unwrap();
    let command = format!("ulimit -v {ADDRESS_SPACE_KB} && exec \"$0\" \"$@\"");
    let status = Command::new("sh")
        .args(["-c", &command, this.to_str().unwrap()])
        .args(["--exact", "fuzz::damage", "--ignored", "--nocapture", "--test-threads", "1"])
        // The allocator is not to take a gigabyte of addresses in advance.
        .env("MIMALLOC_ARENA_RESERVE", "64MiB")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// Payloads to be damaged, in the forms of all versions.
fn samples(rng: &mut Rng) -> Vec<Vec<u8>> {
    use Piece::{Int, Text};
    let mut samples = Vec::new();
    for nth in 0..60 {
        let value = models::value(rng, &LIMITS);
        let dumped =
            payload::dump(&mut Writer::new(nth % 3 == 0), goredis::types::Slot::value(&value));
        if dumped.len() < 20_000 {
            samples.push(dumped);
        }
    }
    let long = [b'x'; 300];
    let pieces = [
        Text(b"a"),
        Int(1, 0),
        Text(b"b"),
        Int(-3, 1),
        Text(&long),
        Int(1 << 40, 8),
        Text(b""),
        Text(b"1.5"),
    ];
    let list = string(&ziplist(&pieces));
    for of in [10, 12, 13] {
        samples.push(payload(9, of, &list));
    }
    samples.push(payload(9, 14, &[&[2], &list[..], &list].concat()));
    samples.push(payload(9, 9, &string(b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world..\xff")));
    let timed = [Text(b"f"), Text(b"v"), Int(1 << 40, 8), Text(b"g"), Int(5, 0), Int(0, 0)];
    samples.push(payload(12, 23, &string(&listpack(&timed))));
    let scored = [Text(b"f"), Text(b"1"), Text(b"g"), Text(b"inf"), Int(5, 0), Int(0, 0)];
    for of in [16, 17, 20] {
        samples.push(payload(11, of, &string(&listpack(&scored))));
    }
    samples.push(payload(
        80,
        22,
        b"\x02\x01a\x01b\0\0\0\0\0\x01\0\0\x01c\x01d\xff\xff\xff\xff\xff\xff\xff\xff",
    ));
    samples
}

/// Changes some bytes; what is more likely to be taken for a length or a mark comes more often.
fn damage_bytes(rng: &mut Rng, bytes: &mut Vec<u8>, until: usize) {
    for _ in 0..1 + rng.index(4) {
        let at = rng.index(until.min(bytes.len()).max(1)).min(bytes.len() - 1);
        match rng.index(8) {
            0..3 => bytes[at] = rng.below(256) as u8,
            3 => bytes[at] ^= 1 << rng.index(8),
            4 => bytes[at] = [0, 1, 0x7F, 0x80, 0x81, 0xC3, 0xF0, 0xFE, 0xFF][rng.index(9)],
            5 => {
                bytes.remove(at);
            }
            6 => bytes.insert(at, rng.below(256) as u8),
            _ => {
                let len = rng.index(9).min(bytes.len() - at);
                bytes[at..at + len].fill([0, 0xFF, 0x7F][rng.index(3)]);
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// Reads a payload, and whatever it gives through and through: it is written and read again.
fn try_payload(bytes: &[u8]) -> bool {
    restore(bytes, LIMITS, false, |value| {
        super::contents::with_record(value, |view| {
            let contents = Contents::of(view.value());
            Digest::of_value(view);
            let again = payload::dump(&mut Writer::new(true), view.value());
            let same = restore(&again, LIMITS, true, |value| {
                super::contents::with_record(value, |view| {
                    same_contents(&Contents::of(view.value()), &contents)
                })
            });
            assert!(same.unwrap(), "what was read is written as something else");
        });
    })
    .is_ok()
}

/// Whether they are the same to a file of Redis 7.0, which does not tell when consumers were
/// active.
fn same_contents(read: &Contents, written: &Contents) -> bool {
    match (read, written) {
        (Contents::Stream(read), Contents::Stream(written)) => {
            read.entries == written.entries && read.last_id == written.last_id
        }
        _ => read == written,
    }
}

fn try_file(bytes: &[u8]) -> bool {
    let mut keys = Keyspace::new(4, 1, NOW_MS);
    keys.set_now(NOW_MS);
    let options =
        Options { limits: LIMITS, leaves_out_expired: Some(NOW_MS), ..Options::default() };
    let Ok(mut loader) = Loader::new(bytes, options) else { return false };
    let result = loop {
        match loader.step(&mut keys, 1000) {
            Ok(true) => {}
            Ok(false) => break true,
            Err(_) => break false,
        }
    };
    Digest::of_all(&keys);
    result
}

/// What [`damage_is_survived_in_little_memory`] runs in a process of its own.
#[test]
#[ignore = "run by another test"]
fn damage() {
    let rounds = number("GOREDIS_RDB_FUZZ", 3000);
    let seed = number("GOREDIS_RDB_SEED", 1);
    eprintln!("GOREDIS_RDB_SEED={seed} GOREDIS_RDB_FUZZ={rounds}");
    let mut rng = Rng::from_seed(seed);
    let samples = samples(&mut rng);
    let mut file = Vec::new();
    save(&models::fill(seed, 30), &mut file, &save::Options::default(), |_| Use::Unknown).unwrap();
    let mut read = 0;
    for round in 0..rounds {
        let began = Instant::now();
        let (mut bytes, is_file) = match rng.index(10) {
            0 => (file.clone(), true),
            _ => (samples[rng.index(samples.len())].clone(), false),
        };
        // Where values begin there is more to be broken.
        let until = if rng.index(2) == 0 { 30 } else { usize::MAX };
        damage_bytes(&mut rng, &mut bytes, until);
        read += u64::from(if is_file { try_file(&bytes) } else { try_payload(&bytes) });
        assert!(began.elapsed() < SLOW, "round {round}: {:?}", began.elapsed());
    }
    // Were all refused, or none, little would have been tried.
    assert!(read > rounds / 50 && read < rounds * 9 / 10, "{read} of {rounds}");
}
