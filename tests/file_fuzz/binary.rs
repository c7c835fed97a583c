//! The program itself with damaged files: it refuses to start and says why, or it serves what it
//! has loaded, and that survives another start.

use goredis::base::rng::Rng;

use super::case::{Case, Kind};
use super::damage::damage;
use super::fuzz::generate::Fuzzer;
use super::{fuzz, samples, trial};
use crate::support::{Options, Server};

const COMMANDS: usize = 100;

fn options(case: &Case) -> Options {
    let appendonly = if case.kind == Kind::Aof { "yes" } else { "no" };
    Options::new().args(&[
        "--appendonly",
        appendonly,
        "--appendfsync",
        "no",
        "--enable-debug-command",
        "yes",
        "--proto-max-bulk-len",
        "1mb",
        "--aof-ring-size",
        "1mb",
    ])
}

/// Whether it was loaded. What a panic leaves in the log fails the test when the server is
/// dropped, or here.
fn attempt(case: &Case) -> bool {
    let options = options(case);
    case.lay_out(options.dir());
    let mut server = match Server::try_start(options) {
        Ok(server) => server,
        Err(log) => {
            let bad = ["panicked", "BUG REPORT", "memory allocation", "not ready in time"];
            assert!(!bad.iter().any(|text| log.contains(text)), "{log}");
            return false;
        }
    };
    let mut conn = server.connect();
    let known = fuzz::command_list(&mut conn);
    let mut fuzzer = Fuzzer::new(case.seed, true, |name| {
        !["multi", "watch"].contains(&name) && known.contains(name)
    });
    fuzzer.refocus();
    for _ in 0..COMMANDS {
        conn.command(&fuzzer.next().args);
    }
    conn.command(&["SELECT", "0"]);
    let before = conn.text(&["DEBUG", "DIGEST"]);
    if case.kind == Kind::Rdb {
        assert_eq!(conn.text(&["SAVE"]), "OK");
    }
    drop(conn);
    server.terminate();
    server.restart();
    let after = server.connect().text(&["DEBUG", "DIGEST"]);
    assert_eq!(before, after);
    true
}

fn draw(rng: &mut Rng, samples: &[Case]) -> Case {
    let kind = if rng.index(2) == 0 { Kind::Rdb } else { Kind::Aof };
    let of_kind: Vec<&Case> = samples.iter().filter(|case| case.kind == kind).collect();
    let mut case = of_kind[rng.index(of_kind.len())].clone();
    let other = of_kind[rng.index(of_kind.len())];
    damage(rng, &mut case, other);
    case.seed = rng.next_u64() >> 1;
    case
}

#[test]
fn the_program_survives_damaged_files() {
    let count = super::number("GOREDIS_FILE_FUZZ_STARTS", 20);
    let seed = super::number("GOREDIS_FILE_FUZZ_SEED", 1);
    println!("GOREDIS_FILE_FUZZ_SEED={seed} GOREDIS_FILE_FUZZ_STARTS={count}");
    let samples = samples::all(seed);
    let mut rng = trial::rng(seed);
    let mut loaded = 0;
    for _ in 0..count {
        let case = draw(&mut rng, &samples);
        let kept = std::env::temp_dir().join(format!("goredis-file-fuzz-start-{seed}.case"));
        // It stays if this fails; `one_case` of this suite repeats its loading.
        std::fs::write(&kept, case.encode()).unwrap();
        loaded += u64::from(attempt(&case));
        std::fs::remove_file(&kept).unwrap();
    }
    println!("{count} starts, of which {loaded} loaded");
}
