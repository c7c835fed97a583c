//! Random commands, to goredis and to a real redis-server side by side: they must answer alike and
//! hold the same data, also after goredis restarts from its append-only file. What only goredis
//! knows is sent to it alone, and must survive the restart.
//!
//! redis-server 7.0 is looked for at `GOREDIS_REFEREE`, else at /usr/bin/redis-server. Without
//! one, goredis is tried alone. `GOREDIS_FUZZ_SEED` (a number) and `GOREDIS_FUZZ_COUNT` (how many
//! commands) say what to try; every [`ROUND`] commands there is a new seed, one more than the
//! last, with new servers. A failure prints the fewest commands found that lead to it.

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
use fuzz::run::{Servers, Setup, Step};
use fuzz::syntax;
use goredis::commands::FAMILIES as COMMANDS;
use goredis::server::command::{CommandTable, Group};

/// Commands with one seed and one pair of servers.
const ROUND: usize = 10_000;
/// Commands from one FLUSHALL to the next, which is as far back as a failure is traced.
const EPOCH: usize = 2_000;
/// Commands from one DEBUG DIGEST to the next.
const DIGEST_EVERY: usize = 400;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
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

/// What a round could draw.
struct Drawn {
    rows: usize,
    skipped: usize,
}

fn round(seed: u64, count: usize, referee: Option<String>) -> Drawn {
    let alone = referee.is_none();
    let differences = Differences::load();
    let setup = Setup { resp3: seed % 2 == 1, low_thresholds: seed % 3 != 2, referee };
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
    let rows = fuzzer.rows();
    Drawn { rows, skipped: FAMILIES.iter().map(|(_, rows)| rows.len()).sum::<usize>() - rows }
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
    let seed = number("GOREDIS_FUZZ_SEED", 1) as u64;
    let count = number("GOREDIS_FUZZ_COUNT", 2 * ROUND);
    let referee = referee();
    match &referee {
        Some(program) => println!("{count} commands, compared with {program}"),
        None => println!("no redis-server is installed: {count} commands to goredis alone"),
    }
    let began = Instant::now();
    for number in 0..count.div_ceil(ROUND) {
        let seed = seed + number as u64;
        let is_alone = seed.is_multiple_of(4);
        let count = ROUND.min(count - number * ROUND);
        let drawn = round(seed, count, referee.clone().filter(|_| !is_alone));
        let with = if is_alone || referee.is_none() { "alone" } else { "side by side" };
        let Drawn { rows, skipped } = drawn;
        println!("seed {seed}, {with}: {rows} rows of the grammar drawn, {skipped} skipped");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{:.0} commands/s", count as f64 / seconds);
}

/// A few commands that only goredis knows are in the short run, whatever its seed.
#[test]
fn goredis_alone_keeps_its_data() {
    round(4, 2 * EPOCH, None);
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
