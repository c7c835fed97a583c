//! Random commands, to goredis and to a real redis-server side by side: they must answer alike and
//! hold the same data, also after goredis restarts from its append-only file. What only goredis
//! knows is sent to it alone, and must survive the restart.
//!
//! redis-server 7.0 is looked for at `GOREDIS_REFEREE`, else at /usr/bin/redis-server. Without
//! one, goredis is tried alone. `GOREDIS_FUZZ_SEED` (a number) and `GOREDIS_FUZZ_COUNT` (how many
//! commands) say what to try; every [`ROUND`] commands there is a new seed, one more than the
//! last, with new servers. A failure prints the fewest commands found that lead to it.
//!
//! With `GOREDIS_FUZZ_SELF=1` redis-server is put in goredis's place as well. Then what differs is
//! a matter of time or chance that `fuzz/grammar.rs` does not allow for.

mod support;

mod fuzz {
    pub mod compare;
    pub mod generate;
    pub mod grammar;
    pub mod minimise;
    pub mod run;
    pub mod syntax;
}

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use fuzz::compare::Differences;
use fuzz::generate::{Command, Fuzzer};
use fuzz::grammar::{Check, EXCUSED, FAMILIES};
use fuzz::minimise::minimise;
use fuzz::run::{Servers, Setup, Step, Tally};
use fuzz::syntax;
use goredis::commands::FAMILIES as COMMANDS;
use goredis::server::command::{CommandTable, Group};

/// Commands with one seed and one pair of servers.
const ROUND: usize = 10_000;
/// Commands from one FLUSHALL to the next, which is as far back as a failure is traced.
const EPOCH: usize = 2_000;
/// Commands from one DEBUG DIGEST to the next.
const DIGEST_EVERY: usize = 400;

/// Rows whose commands no server here can do.
const ONLY_FAILS: &[&str] = &["OBJECT|FREQ key:any"];

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

fn is_self_test() -> bool {
    number("GOREDIS_FUZZ_SELF", 0) == 1
}

/// The redis-server to compare with, if one is installed.
fn referee() -> Option<String> {
    let installed = "/usr/bin/redis-server".to_string();
    support::run::referee().or_else(|| Some(installed).filter(|path| Path::new(path).exists()))
}

/// The steps of one epoch.
fn epoch(fuzzer: &mut Fuzzer, number: usize) -> Vec<Step> {
    fuzzer.refocus();
    let mut steps = Vec::new();
    for index in 1..=EPOCH {
        steps.push(Step::Send(fuzzer.next()));
        if index % DIGEST_EVERY == 0 {
            steps.push(Step::Send(Command::new(&["DEBUG", "DIGEST"], Check::Exact)));
        }
        // In the midst of an epoch, so that what was loaded is worked on, too.
        if number % 3 == 1 && index == EPOCH / 2 {
            steps.push(Step::Restart { kill: true });
        }
    }
    steps.push(Step::Compare);
    if number % 3 == 2 {
        steps.push(Step::Restart { kill: false });
    }
    steps
}

/// Returns how many rows of the grammar could be drawn, and adds to the tally of each.
fn round(seed: u64, count: usize, referee: Option<String>, tally: &mut Tally) -> usize {
    let alone = referee.is_none();
    let differences = Differences::load();
    let setup = Setup {
        resp3: seed % 2 == 1,
        low_thresholds: seed % 3 != 2,
        self_test: is_self_test(),
        referee,
        ours_only: &[],
    };
    let mut servers = Servers::start(setup, &differences);
    let known = servers.common_commands();
    let mut fuzzer = Fuzzer::new(seed, alone, |name| known.contains(name));
    for number in 0..count.div_ceil(EPOCH) {
        servers.reset();
        let steps = epoch(&mut fuzzer, number);
        if let Err(failure) = servers.run(&steps, 0) {
            report(&mut servers, seed, number, &steps[..=failure.step], &failure.what);
        }
    }
    for (row, (sent, succeeded)) in &servers.tally {
        let sums = tally.entry(row).or_default();
        *sums = (sums.0 + sent, sums.1 + succeeded);
    }
    fuzzer.rows()
}

/// Fails the test with the shortest list of commands that can be found.
fn report(servers: &mut Servers, seed: u64, epoch: usize, steps: &[Step], what: &str) -> ! {
    eprintln!("seed {seed}, epoch {epoch}, step {}: {what}\nlooking for less ...", steps.len());
    let few = minimise(servers, steps.to_vec());
    let (result, transcript) = servers.transcribe(&few);
    let again = match result {
        Ok(()) => "which does not happen again with these commands".to_string(),
        Err(failure) => format!("again after these {} steps:\n{}", few.len(), failure.what),
    };
    panic!(
        "seed {seed}, epoch {epoch}, step {}: {what}\n\n{again}\n\n{transcript}\n\n\
         GOREDIS_FUZZ_SEED={seed} repeats it",
        steps.len()
    );
}

/// Every fourth round has goredis alone, and what redis-server does not know.
#[test]
fn random_commands_do_as_in_redis() {
    let seed = number("GOREDIS_FUZZ_SEED", 3) as u64;
    let count = number("GOREDIS_FUZZ_COUNT", 2 * ROUND);
    let referee = referee();
    match &referee {
        Some(program) => println!("{count} commands, compared with {program}"),
        None => println!("no redis-server is installed: {count} commands to goredis alone"),
    }
    let began = Instant::now();
    let rows = FAMILIES.iter().map(|(_, rows)| rows.len()).sum::<usize>();
    let mut tally = Tally::new();
    for number in 0..count.div_ceil(ROUND) {
        let seed = seed + number as u64;
        let referee = referee.clone().filter(|_| is_self_test() || !seed.is_multiple_of(4));
        let how = if referee.is_some() { "side by side" } else { "alone" };
        let drawn = round(seed, ROUND.min(count - number * ROUND), referee, &mut tally);
        println!("seed {seed}, {how}: {drawn} of {rows} rows drawn, {} skipped", rows - drawn);
    }
    let seconds = began.elapsed().as_secs_f64();
    let (sent, succeeded) = tally.values().fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
    println!("{sent} commands, {succeeded} without an error, {:.0}/s", sent as f64 / seconds);
    let fails = |(sent, succeeded): &(usize, usize)| *sent >= 150 && *succeeded == 0;
    let failing: Vec<_> =
        tally.iter().filter(|(row, n)| fails(n) && !ONLY_FAILS.contains(row)).collect();
    assert!(failing.is_empty(), "rows that test nothing but errors: {failing:#?}");
}

/// What only goredis knows is in every run, whatever its seed.
#[test]
fn goredis_alone_keeps_its_data() {
    round(4, 2 * EPOCH, None, &mut Tally::new());
}

/// A difference that is there must be found, and its cause among few commands.
#[test]
fn a_difference_is_found_and_cut_down() {
    let Some(program) = referee() else { return };
    let differences = Differences::load();
    let setup = Setup {
        resp3: false,
        low_thresholds: true,
        self_test: false,
        referee: Some(program),
        ours_only: &["--hash-max-listpack-entries", "1"],
    };
    let mut servers = Servers::start(setup, &differences);
    let known = servers.common_commands();
    let mut fuzzer = Fuzzer::new(1, false, |name| known.contains(name));
    let mut steps = epoch(&mut fuzzer, 0);
    let planted = |args: &[&str]| Step::Send(Command::new(args, Check::Exact));
    // Nothing else may show the difference, or hide it.
    let harmless = |c: &Command| {
        ["OBJECT", "SWAPDB", "FLUSHDB"]
            .iter()
            .all(|word| !c.args[0].eq_ignore_ascii_case(word.as_bytes()))
    };
    steps.retain(|step| matches!(step, Step::Send(c) if harmless(c)));
    steps.insert(700, planted(&["HSET", "planted", "f1", "1"]));
    steps.insert(800, planted(&["HSET", "planted", "f2", "2"]));
    steps.insert(900, planted(&["OBJECT", "ENCODING", "planted"]));
    servers.reset();
    let failure = servers.run(&steps, 0).unwrap_err();
    assert_eq!(failure.step, 900, "{}", failure.what);
    assert!(failure.what.contains("\"hashtable\""), "{}", failure.what);
    let few = minimise(&mut servers, steps[..=failure.step].to_vec());
    let (result, transcript) = servers.transcribe(&few);
    assert!(result.is_err(), "{transcript}");
    assert_eq!(few.len(), 3, "{transcript}");
}

const DATA_GROUPS: &[Group] = &[
    Group::Generic,
    Group::String,
    Group::Hash,
    Group::List,
    Group::Set,
    Group::SortedSet,
    Group::Stream,
    Group::Bitmap,
    Group::Hyperloglog,
    Group::Geo,
];

#[test]
fn every_data_command_is_drawn_or_excused() {
    let table = CommandTable::new(COMMANDS);
    let rows = FAMILIES.iter().flat_map(|(_, rows)| rows.iter());
    let drawn: BTreeSet<String> = rows.map(|(_, text, _)| syntax::parse(text).name).collect();
    let mut complaints = String::new();
    for entry in table.with_subcommands().filter(|entry| !entry.is_container()) {
        let name = &entry.full_name;
        let is_data = DATA_GROUPS.contains(&entry.command.group);
        let is_excused = EXCUSED.iter().any(|(excused, _)| excused == name);
        match (drawn.contains(name), is_excused) {
            (false, false) if is_data => {
                writeln!(complaints, "{name}: in no row of tests/fuzz/grammar.rs, not excused")
            }
            (true, true) => writeln!(complaints, "{name}: excused, but in a row"),
            _ => Ok(()),
        }
        .unwrap();
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}
