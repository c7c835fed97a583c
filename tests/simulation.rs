//! What the durability page promises, against a disk that takes all the liberties it has: the
//! server's own code runs on a simulated disk, is cut before each operation and within it, by a
//! kill or by a loss of power, and is started again with what may be left then. Its data must be
//! those behind some command of the past, and not before the last one that was promised.
//!
//! `GOREDIS_SIMULATION_CUTS` says how many cut points there are at least (default 2000), each tried
//! with a kill and with a loss of power, and `GOREDIS_SIMULATION_SEED` where chance begins (default
//! 1). A failure names the seed that repeats it alone: of all failures, the one with the shortest
//! story.

#![cfg(target_os = "linux")]

#[path = "simulation/boot.rs"]
mod boot;
#[path = "simulation/check.rs"]
mod check;
#[path = "simulation/disk.rs"]
mod disk;
#[path = "simulation/journal.rs"]
mod journal;
#[path = "simulation/life.rs"]
mod life;

use boot::{History, Ring, Setup, empty_image};
use check::{Bounds, Cut, Story};
use goredis::base::rng::Rng;
use goredis::server::config::AppendFsync;
use life::{Plan, live};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// After so many failures one knows enough.
const MOST_FAILURES: usize = 20;

const OLD_FILE: &[u8] = b"*3\r\n$3\r\nSET\r\n$3\r\nold\r\n$4\r\nfile\r\n";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// What was tried.
#[derive(Default)]
struct Tally {
    cuts: usize,
    lives: usize,
    commands: usize,
    /// Operations by their kind.
    events: BTreeMap<String, usize>,
}

fn first_setup(rng: &mut Rng, past_cache: bool) -> Setup {
    let fsync = match rng.below(10) {
        0..=4 => AppendFsync::Everysec,
        5..=7 => AppendFsync::Always,
        _ => AppendFsync::No,
    };
    let ring = match rng.below(8) {
        0 => Ring::InMemoryOfMachine,
        1 => Ring::None,
        _ => Ring::Beside,
    };
    Setup { fsync, ring, appendonly: rng.below(5) > 0, rdb_preamble: rng.below(4) > 0, past_cache }
}

/// A server's lives, each begun with what the last one's end has left.
fn run(seed: u64, tally: &mut Tally) -> Result<(), (usize, String)> {
    let mut rng = Rng::from_seed(seed);
    let mut setup = first_setup(&mut rng, seed % 2 == 1);
    let mut history = History::default();
    let silent = disk::Disk::silent(empty_image());
    let empty = boot::boot(&silent, &Setup { appendonly: false, ..setup }).expect("nothing");
    history.push(empty.digest());
    drop(empty);
    let mut image = empty_image();
    let mut bounds = Bounds::NOTHING;
    if setup.appendonly && rng.below(8) == 0 {
        // The single file of a server before Redis 7.
        image.put(&format!("{}/appendonly.aof", boot::DIR), OLD_FILE);
        let found = boot::boot(&disk::Disk::silent(image.clone()), &setup).expect("an old file");
        history.push(found.digest());
        (bounds.executed, bounds.acknowledged, bounds.durable) = (1, Some(1), Some(1));
    }
    let (mut base, mut before) = (image.clone(), Vec::new());
    for _ in 0..1 + rng.below(4) {
        let plan = Plan {
            seed: rng.next_u64(),
            setup,
            steps: 5 + rng.index(60),
            has_faults: rng.below(4) == 0,
            shuts_down: rng.below(5) == 0,
        };
        let journal = live(&image, &mut history, plan).map_err(|e| (0, e))?;
        let story = Story { base, before, bounds, journal, setup, seed: plan.seed };
        tally.lives += 1;
        for event in &story.journal {
            let kind = event.to_string();
            let kind = kind.trim().split([' ', '(']).next().unwrap_or_default().to_string();
            *tally.events.entry(kind).or_default() += 1;
        }
        tally.cuts += story.check_all(&history).map_err(|f| (f.at, story.describe(&f)))?;
        // The end of this life.
        let cuts: Vec<usize> = story.cuts().collect();
        let at = match plan.shuts_down {
            true => story.journal.len(),
            false => cuts[rng.index(cuts.len())],
        };
        let cut = if rng.below(2) == 0 { Cut::Kill } else { Cut::Power };
        let survivor = story.survive(at, cut, &history);
        let commands = survivor.commands;
        tally.commands += history.executed() - commands;
        history.truncate(commands);
        bounds = story.bounds_at(at);
        bounds.executed = commands;
        bounds.acknowledged = Some(commands);
        bounds.saved = None;
        image = survivor.image;
        image.forget_unnamed();
        if cut == Cut::Power {
            bounds.durable = Some(commands);
            (base, before) = (image.clone(), Vec::new());
        } else {
            base = story.base;
            before = story.before;
            before.extend(story.journal.into_iter().take(at));
            before.extend(survivor.part);
        }
        setup = Setup { appendonly: true, rdb_preamble: rng.below(2) == 0, ..setup };
    }
    tally.commands += history.executed();
    Ok(())
}

/// Threads of the process are looked at, so only one test may have some.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn what_was_promised_survives_all_cuts() {
    let _alone = alone();
    let (least, seed) =
        (setting("GOREDIS_SIMULATION_CUTS", 2000), setting("GOREDIS_SIMULATION_SEED", 1));
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut failures: Vec<(usize, u64, String)> = Vec::new();
    let mut next = seed;
    while (tally.cuts as u64) < least && failures.len() < MOST_FAILURES {
        if let Err((events, story)) = run(next, &mut tally) {
            failures.push((events, next, story));
        }
        next += 1;
    }
    let Tally { cuts, lives, commands, events } = tally;
    println!(
        "{cuts} cut points of {lives} lives with {commands} commands, {:.1} s: {events:?}",
        began.elapsed().as_secs_f64()
    );
    let count = failures.len();
    if let Some((_, seed, story)) = failures.into_iter().min_by_key(|failure| failure.0) {
        panic!(
            "{count} failures; GOREDIS_SIMULATION_SEED={seed} GOREDIS_SIMULATION_CUTS=1\n{story}"
        );
    }
}

/// A server is killed at each operation of its first start; the next one runs and is shut down, and
/// then the disk loses all that no fsync has covered, whoever was to call that.
#[test]
fn what_a_killed_start_left_undone_is_done_by_the_next() {
    let _alone = alone();
    let setup = Setup {
        fsync: AppendFsync::Always,
        appendonly: true,
        ring: Ring::Beside,
        rdb_preamble: true,
        past_cache: true,
    };
    let first = disk::Disk::recording(empty_image());
    let empty = boot::boot(&first, &setup).expect("nothing").digest();
    let begun = first.take_journal();
    for at in 0..=begun.len() {
        let mut history = History::default();
        history.push(empty);
        let mut tracker = journal::Tracker::new(&empty_image(), boot::VOLATILE);
        begun[..at].iter().for_each(|event| tracker.advance(event));
        let (image, _) = tracker.killed(None, &mut journal::Choices::given(Vec::new()));
        let plan = Plan { seed: 1, setup, steps: 10, has_faults: false, shuts_down: true };
        let journal = live(&image, &mut history, plan).expect("it starts");
        let (base, before, bounds) = (empty_image(), begun[..at].to_vec(), Bounds::NOTHING);
        let story = Story { base, before, bounds, journal, setup, seed: 0 };
        assert!(story.bounds_at(story.journal.len()).durable > Some(3), "too little was done");
        if let Err(failure) = story.check_end(&history, vec![1; 100]) {
            panic!("killed at {at}:\n{}", story.describe(&failure));
        }
    }
}
