//! Hostile files: RDB files, append-only files with all that belongs to them, and payloads for
//! RESTORE, of goredis and of redis-server, damaged at random. Loading them ends with an error that
//! names a place or with data that can be worked on, saved, and loaded again as the same; never
//! with a panic, an abort or a hang, nor with memory out of proportion.
//!
//! `GOREDIS_FILE_FUZZ_SEED` says where to begin (default 1), `GOREDIS_FILE_FUZZ_SECONDS` for how
//! long to try (default 8). A finding is kept as a file, with how to repeat it. Findings of before
//! are in `file_fuzz/findings.rs`.

mod support;

#[path = "rdb/contents.rs"]
#[allow(dead_code)]
mod contents;

#[path = "file_fuzz/beside.rs"]
mod beside;
#[path = "file_fuzz/binary.rs"]
mod binary;
#[path = "file_fuzz/case.rs"]
mod case;
#[path = "file_fuzz/damage.rs"]
mod damage;
#[path = "file_fuzz/findings.rs"]
mod findings;
#[path = "file_fuzz/grammar.rs"]
#[allow(dead_code)]
mod fuzz;
#[path = "file_fuzz/hunt.rs"]
mod hunt;
#[path = "file_fuzz/ring.rs"]
mod ring;
#[path = "file_fuzz/samples.rs"]
mod samples;
#[path = "file_fuzz/trial.rs"]
mod trial;

use std::path::Path;
use std::time::{Duration, Instant};

use case::Case;
use hunt::Orders;

/// Samples are made anew after so many seconds.
const ROUND: u64 = 60;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// The redis-server to make files with and to compare with, if one is installed.
fn referee() -> Option<String> {
    let installed = "/usr/bin/redis-server".to_string();
    support::run::referee().or_else(|| Some(installed).filter(|path| Path::new(path).exists()))
}

#[test]
fn damaged_files_are_survived() {
    let seconds = number("GOREDIS_FILE_FUZZ_SECONDS", 8);
    let mut seed = number("GOREDIS_FILE_FUZZ_SEED", 1);
    println!("GOREDIS_FILE_FUZZ_SEED={seed} GOREDIS_FILE_FUZZ_SECONDS={seconds}");
    let began = Instant::now();
    let (mut cases, mut loaded) = (0, 0);
    loop {
        let left = seconds.saturating_sub(began.elapsed().as_secs());
        let samples = samples::all(seed);
        let round = hunt::round(seed, left.clamp(1, ROUND), &samples);
        cases += round.cases;
        loaded += round.loaded;
        println!("seed {seed}: {} cases, of which {} loaded", round.cases, round.loaded);
        seed += 1;
        if began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    println!("{cases} cases, of which {loaded} loaded");
    // Were all refused, or none, little would have been tried.
    assert!(loaded > cases / 20 && loaded < cases * 19 / 20, "{loaded} of {cases}");
}

/// A child of [`damaged_files_are_survived`].
#[test]
#[ignore = "run by another test"]
fn worker() {
    hunt::work(&Orders {
        samples: variable("GOREDIS_FILE_FUZZ_SAMPLES").into(),
        current: variable("GOREDIS_FILE_FUZZ_CURRENT").into(),
        seed: number("GOREDIS_FILE_FUZZ_SEED", 0),
        seconds: number("GOREDIS_FILE_FUZZ_SECONDS", 0),
    });
}

/// One case that was kept.
#[test]
#[ignore = "repeats a finding"]
fn one_case() {
    hunt::work_on(&Case::read(Path::new(&variable("GOREDIS_FILE_FUZZ_CASE"))));
}
