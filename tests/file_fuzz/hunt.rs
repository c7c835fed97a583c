//! Trying many cases, in child processes: one that ends badly, or does not end, has found
//! something, which is then made as small as it will get.
//!
//! A child tries cases one after the other and puts down the one it is at. It has a limit on its
//! address space, ends itself where a case takes too long, and looks after each case at how much
//! memory there ever was.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::case::{Case, Kind, seal};
use super::damage::damage;
use super::trial::{self, Outcome};

/// Of the program, its threads' stacks, and what a case may take.
const ADDRESS_SPACE_KB: usize = 900_000;
/// What a case may take besides what is in proportion to it. Bytes.
const MEMORY_BASE: u64 = 96 << 20;
const MEMORY_FACTOR: u64 = 64;
/// Seconds that no case may take. Generous, as machines stall and tests are not optimised.
const DEADLINE_S: u64 = 20;
/// Looking for less of a failing case ends after this.
const SHRINKING: Duration = Duration::from_secs(60);

/// What a child was told to do.
pub struct Orders {
    pub samples: PathBuf,
    /// Where the case is put down.
    pub current: PathBuf,
    pub seed: u64,
    pub seconds: u64,
}

/// Where cases' files are: in memory, if there is such a place.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

// ---------------------------------------------------------------------------------------------
// In the child.

/// Tries damaged samples for a time; tells how many, how many loaded, and how many were refused.
pub fn work(orders: &Orders) {
    let samples = Case::decode_all(&fs::read(&orders.samples).unwrap());
    let watch = Watch::start();
    let mut rng = trial::rng(orders.seed);
    let began = Instant::now();
    let (mut tried, mut loaded) = ([0; 3], [0; 3]);
    let base = peak();
    for case in &samples {
        fs::write(&orders.current, case.encode()).unwrap();
        watch.begin();
        assert_eq!(attempt(case), Outcome::Loaded, "a sample that is not damaged");
        watch.end();
    }
    while began.elapsed().as_secs() < orders.seconds {
        let kind = [Kind::Rdb, Kind::Aof, Kind::Payload][rng.index(3)];
        let of_kind: Vec<&Case> = samples.iter().filter(|case| case.kind == kind).collect();
        let mut case = of_kind[rng.index(of_kind.len())].clone();
        let other = of_kind[rng.index(of_kind.len())];
        damage(&mut rng, &mut case, other);
        if asks_for_much(&case.encode()) {
            continue;
        }
        case.seed = rng.next_u64() >> 1;
        fs::write(&orders.current, case.encode()).unwrap();
        watch.begin();
        let outcome = attempt(&case);
        watch.end();
        check_memory(base, &case);
        tried[kind as usize] += 1;
        loaded[kind as usize] += u64::from(outcome == Outcome::Loaded);
    }
    println!("tried {tried:?} files of RDB, AOF and payloads, of which {loaded:?} loaded");
    println!("cases: {}", tried.iter().sum::<u64>());
    println!("loaded: {}", loaded.iter().sum::<u64>());
}

/// Whether it may have a command that sets bytes far behind the end of a string. That is as good a
/// command as any, and its value is as large as it says, whatever the size of the file.
fn asks_for_much(case: &[u8]) -> bool {
    let words = || case.split(|byte| matches!(byte, b'\r' | b'\n'));
    let sets = |word: &[u8]| {
        [&b"SETBIT"[..], b"SETRANGE", b"BITFIELD"]
            .iter()
            .any(|name| word.eq_ignore_ascii_case(name))
    };
    let is_far = |word: &[u8]| {
        let digits = std::str::from_utf8(word).unwrap_or("").trim_start_matches(['#', '+']);
        digits.parse().is_ok_and(|at: u64| (1 << 24..1 << 33).contains(&at))
    };
    words().any(sets) && words().any(is_far)
}

/// Tries one case as [`work`] does.
pub fn work_on(case: &Case) {
    let watch = Watch::start();
    let base = peak();
    watch.begin();
    let began = Instant::now();
    println!("{:?} in {:?}", attempt(case), began.elapsed());
    watch.end();
    check_memory(base, case);
}

fn attempt(case: &Case) -> Outcome {
    let dir = scratch();
    case.lay_out(dir.path());
    let outcome = trial::run(case, dir.path());
    if let Outcome::Refused(why) = &outcome {
        assert!(names_a_place(case, why), "an error without a place: {why}");
    }
    outcome
}

/// Whether an error says where it is: at an offset, in a line, or about a file as a whole.
fn names_a_place(case: &Case, error: &str) -> bool {
    let known = [
        "offset",
        "Reading the manifest file, at line ",
        "Found an empty AOF manifest",
        "Unable to obtain the AOF file",
        "Fatal error: can't open",
        "Can't replay the AOF ring",
        "Unrecoverable error reading the append only file",
    ];
    case.kind == Kind::Payload || known.iter().any(|text| error.contains(text))
}

fn check_memory(base: u64, case: &Case) {
    let taken = peak().saturating_sub(base);
    let allowed = MEMORY_BASE + MEMORY_FACTOR * case.len() as u64;
    assert!(taken <= allowed, "{taken} bytes of memory for a case of {}", case.len());
}

/// The most memory there ever was, in bytes; 0 where the system does not tell.
fn peak() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn tell_last_command() {
    let last = trial::LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let words: Vec<String> = last.iter().map(|word| word.escape_ascii().to_string()).collect();
    eprintln!("last command: {}", words.join(" ").chars().take(500).collect::<String>());
}

/// Ends the process when a case takes too long.
struct Watch {
    /// Seconds since the start at which the case began, and one; 0 between cases.
    began: Arc<AtomicU64>,
    start: Instant,
}

impl Watch {
    fn start() -> Watch {
        let start = Instant::now();
        let began = Arc::new(AtomicU64::new(0));
        let seen = began.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(250));
                let began = seen.load(Ordering::Relaxed);
                if began > 0 && start.elapsed().as_secs() + 1 > began + DEADLINE_S {
                    eprintln!("the case takes more than {DEADLINE_S} seconds");
                    tell_last_command();
                    std::process::abort();
                }
            }
        });
        // A panic of another thread would go unnoticed.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            report(info);
            tell_last_command();
            let _ = std::io::stderr().flush();
            std::process::abort();
        }));
        Watch { began, start }
    }

    fn begin(&self) {
        self.began.store(self.start.elapsed().as_secs() + 1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.began.store(0, Ordering::Relaxed);
    }
}

// ---------------------------------------------------------------------------------------------
// In the parent.

/// Has this program run one of its tests, which are ignored otherwise, within limits. Gives what
/// it wrote.
fn child(test: &str, variables: &[(&str, &str)]) -> (ExitStatus, String) {
    let this = std::env::current_exe().unwrap();
    let command = format!("ulimit -c 0; ulimit -v {ADDRESS_SPACE_KB} && exec \"$0\" \"$@\" 2>&1");
    let output = Command::new("sh")
        .args(["-c", &command, this.to_str().unwrap()])
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"])
        .envs(variables.iter().copied())
        // The allocator is not to take a gigabyte of addresses in advance. Nor is it to take each
        // piece by itself: it looks for those at ever higher addresses, and its map of all
        // addresses grows with that, by some KB a piece that are never free again.
        .env("MIMALLOC_ARENA_RESERVE", "64MiB")
        // Each thread would reserve 64 MB of address space for itself.
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a round came to.
#[derive(Default)]
pub struct Tally {
    pub cases: u64,
    pub loaded: u64,
}

/// One round: samples of a seed, damaged for so many seconds. A finding is a panic with the
/// smallest case that shows it.
pub fn round(seed: u64, seconds: u64, samples: &[Case]) -> Tally {
    let dir = scratch();
    let (file, current) = (dir.path().join("samples"), dir.path().join("current"));
    fs::write(&file, samples.iter().flat_map(Case::encode).collect::<Vec<u8>>()).unwrap();
    let (seed_text, seconds) = (seed.to_string(), seconds.to_string());
    let (status, text) = child(
        "worker",
        &[
            ("GOREDIS_FILE_FUZZ_SAMPLES", file.to_str().unwrap()),
            ("GOREDIS_FILE_FUZZ_CURRENT", current.to_str().unwrap()),
            ("GOREDIS_FILE_FUZZ_SEED", &seed_text),
            ("GOREDIS_FILE_FUZZ_SECONDS", &seconds),
        ],
    );
    let count = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
    };
    if status.success() {
        return Tally { cases: count("cases:"), loaded: count("loaded:") };
    }
    let case = Case::read(&current);
    let (small, why) = shrink(&case);
    let kept = std::env::temp_dir().join(format!("goredis-file-fuzz-{seed}.case"));
    fs::write(&kept, small.encode()).unwrap();
    let shown = if why.is_empty() { &text } else { &why };
    panic!(
        "seed {seed}, {status}: {} bytes of {:?}:\n{}\n\n{shown}\n\n\
         GOREDIS_FILE_FUZZ_CASE={} cargo test --test file_fuzz one_case -- --ignored --nocapture\n\
         repeats it",
        small.len(),
        small.kind,
        show(&small),
        kept.display(),
    );
}

fn show(case: &Case) -> String {
    let line = |(name, bytes): &(String, Vec<u8>)| {
        let shown: String = bytes.iter().take(400).map(|b| b.escape_ascii().to_string()).collect();
        format!("{name}: {shown}")
    };
    case.files.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Whether a case fails, and what it said.
fn fails(case: &Case, dir: &Path) -> Option<String> {
    let path = dir.join("case");
    fs::write(&path, case.encode()).unwrap();
    let (status, text) = child("one_case", &[("GOREDIS_FILE_FUZZ_CASE", path.to_str().unwrap())]);
    (!status.success()).then_some(text)
}

/// Takes pieces out of a case's files as long as it fails.
fn shrink(case: &Case) -> (Case, String) {
    let dir = scratch();
    let began = Instant::now();
    let mut best = case.clone();
    // If it does not fail by itself, there is nothing to be done.
    let Some(mut why) = fails(&best, dir.path()) else { return (best, String::new()) };
    for at in 0..best.files.len() {
        let mut piece = best.files[at].1.len();
        while piece > 0 {
            let mut from = 0;
            while from < best.files[at].1.len() {
                if began.elapsed() > SHRINKING {
                    return (best, why);
                }
                let mut less = best.clone();
                let end = (from + piece).min(less.files[at].1.len());
                less.files[at].1.drain(from..end);
                let unsealed = less.clone();
                let (name, bytes) = &mut less.files[at];
                seal(name, bytes);
                let tried = [less, unsealed].into_iter();
                let found = tried.map(|less| (fails(&less, dir.path()), less));
                match found.into_iter().find_map(|(text, less)| Some((text?, less))) {
                    Some((text, less)) => (best, why) = (less, text),
                    None => from += piece,
                }
            }
            piece /= 2;
        }
    }
    (best, why)
}
