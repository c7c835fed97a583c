//! The tools that look at files, as programs: files of our server, damaged at each of their bytes,
//! with the verdicts of Redis's tools beside ours, where those are installed; and what `--fix`
//! leaves beside what a start of the server would have left.

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use goredis::persist::aof::Options as AofOptions;
use goredis::persist::files::RealFiles;
use goredis::resp::read::Value;
use support::aof::{load, resp};
use support::server::aof_files;
use support::{Options, Server, wait_until_eq};

const MANIFEST: &str = "appendonly.aof.manifest";
const INCR: &str = "appendonly.aof.1.incr.aof";
const ONE_INCR: &[u8] = b"file appendonly.aof.1.incr.aof seq 1 type i\n";

/// What a tool said, and its exit code.
#[derive(Debug)]
struct Said {
    text: String,
    code: i32,
}

impl Said {
    #[track_caller]
    fn has(&self, parts: &[&str]) {
        let mut rest = &self.text[..];
        for part in parts {
            let at = rest.find(part);
            let at = at.unwrap_or_else(|| panic!("no {part:?}, or not in this order:\n{self:?}"));
            rest = &rest[at + part.len()..];
        }
    }

    /// What follows this word in the line of the verdict.
    #[track_caller]
    fn number(&self, word: &str) -> u64 {
        let at = self.text.find(word).unwrap_or_else(|| panic!("no {word}: {self:?}"));
        let digits = self.text[at + word.len()..].split(|c: char| !c.is_ascii_digit());
        digits.into_iter().next().unwrap().parse().unwrap()
    }

    /// Whether the file is valid, and up to where, as Redis's tool would put it.
    fn verdict(&self) -> (i32, u64) {
        (self.code, self.number("ok_up_to="))
    }
}

fn run(program: &str, args: &[&str], dir: &Path, stdin: &str) -> Said {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without having asked.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Said { text, code: output.status.code().expect("killed by a signal") }
}

fn ours(args: &[&str], dir: &Path) -> Said {
    run(env!("CARGO_BIN_EXE_goredis"), args, dir, "")
}

fn ours_agreed(args: &[&str], dir: &Path) -> Said {
    run(env!("CARGO_BIN_EXE_goredis"), args, dir, "y\n")
}

/// Redis's tool, if it is here.
fn theirs(tool: &str) -> Option<String> {
    let program = format!("/usr/bin/redis-{tool}");
    let is_here = Path::new(&program).exists();
    if !is_here {
        eprintln!("no {program}: nothing was compared");
    }
    is_here.then_some(program)
}

/// A directory with an AOF of these files.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new(manifest: &[u8], files: &[(&str, &[u8])]) -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        fs::create_dir(bench.dir()).unwrap();
        fs::write(bench.dir().join(MANIFEST), manifest).unwrap();
        files.iter().for_each(|(name, content)| bench.write(name, content));
        bench
    }

    fn with_incr(content: &[u8]) -> Bench {
        Bench::new(ONE_INCR, &[(INCR, content)])
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("appendonlydir")
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.dir().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir().join(name)).unwrap()
    }

    fn check(&self) -> Said {
        ours(&["check-aof", MANIFEST], &self.dir())
    }

    fn fix(&self) -> Said {
        ours_agreed(&["check-aof", "--fix", MANIFEST], &self.dir())
    }

    /// Loads it as a start of the server does, which may cut it; whether it can be loaded.
    fn start(&self) -> bool {
        let options = AofOptions::new(self.0.path().into(), Arc::new(RealFiles), Arc::new(|| ()));
        load(&options, 1 << 20).is_ok()
    }
}

/// A server's AOF and RDB file with values of all types, made by real commands.
struct Files {
    base: Vec<u8>,
    incr: Vec<u8>,
    rdb: Vec<u8>,
}

fn fill(server: &Server, first: &str) {
    let mut c = server.connect();
    let commands = [
        "SET string value",
        "SET expiring value PX 3600000",
        "RPUSH list a b c",
        "SADD set one two",
        "SADD ints 1 2 3",
        "ZADD zset 1.5 a 2 b",
        "HSET hash field value",
        "XADD stream 1-1 field value",
        "SELECT 3",
        "SET other value",
    ];
    for command in commands {
        let mut words: Vec<String> = command.split(' ').map(String::from).collect();
        if words[0] != "SELECT" {
            words[1] = format!("{first}{}", words[1]);
        }
        c.command(&words);
    }
    c.command(&[b"SET".as_slice(), b"binary\r\n", b"\r\n*1\r\n\0\xff"]);
}

fn files() -> Files {
    let args = ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    let mut server = Server::start(Options::new().args(&args));
    fill(&server, "");
    let mut c = server.connect();
    c.command(&["SAVE"]);
    c.command(&["BGREWRITEAOF"]);
    wait_until_eq("0".to_string(), || c.info("aof_rewrite_in_progress"));
    fill(&server, "again-");
    server.terminate();
    let newest = |suffix| fs::read(aof_files(server.dir(), suffix).last().unwrap()).unwrap();
    let (base, incr) = (newest(".base.rdb"), newest(".incr.aof"));
    let rdb = fs::read(server.dir().join("dump.rdb")).unwrap();
    assert!(base.len() > 100 && incr.len() > 100 && rdb.len() > 100);
    Files { base, incr, rdb }
}

#[test]
fn what_is_in_the_files_is_told() {
    let Files { base, incr, rdb } = files();
    let manifest = b"file appendonly.aof.1.base.rdb seq 1 type b\n\
                     file appendonly.aof.1.incr.aof seq 1 type i\n";
    let bench = Bench::new(manifest, &[("appendonly.aof.1.base.rdb", &base), (INCR, &incr)]);
    let said = bench.check();
    assert_eq!(said.code, 0, "{said:?}");
    said.has(&[
        "Start checking Multi Part AOF\n",
        "Start to check BASE AOF (RDB format).\n",
        "\\o/ RDB looks OK! \\o/\n",
        "[info] 10 keys read\n",
        "RDB preamble is OK, proceeding with AOF tail...\n",
        "BASE AOF appendonly.aof.1.base.rdb is valid\n",
        "Start to check INCR files.\n",
        "[info] 12 commands: SET 4, SADD 2, SELECT 2, ",
        "[info] databases selected: 0, 3\n",
        "AOF analyzed: filename=appendonly.aof.1.incr.aof, ",
        "INCR AOF appendonly.aof.1.incr.aof is valid\n",
        "All AOF files and manifest are valid\n",
    ]);
    fs::write(bench.dir().join("dump.rdb"), &rdb).unwrap();
    let said = ours(&["check-rdb", "dump.rdb"], &bench.dir());
    assert_eq!(said.code, 0, "{said:?}");
    said.has(&[
        "[offset 0] Checking RDB file dump.rdb\n",
        "[info] RDB version 10\n",
        "AUX FIELD redis-ver = '7.2.4'\n",
        "Selecting DB ID 0\n",
        "Selecting DB ID 3\n",
        "Checksum OK\n",
        "\\o/ RDB looks OK! \\o/\n",
        "[info] 10 keys read\n[info] 1 expires\n[info] 0 already expired\n",
        "[info] 4 of type string\n[info] 1 of type list\n[info] 2 of type set\n",
        "[info] 1 of type zset\n[info] 1 of type hash\n[info] 1 of type stream\n",
        "[info] 8 keys in database 0\n[info] 2 keys in database 3\n",
    ]);
    // A single file is one of the old style, also with a part in RDB format.
    bench.write("old.aof", &[&base[..], &incr].concat());
    ours(&["check-aof", "old.aof"], &bench.dir()).has(&[
        "Start checking Old-Style AOF\n",
        "RDB preamble is OK, proceeding with AOF tail...\n",
        "AOF old.aof is valid\n",
    ]);
    if let Some(program) = theirs("check-aof") {
        for file in ["old.aof", MANIFEST] {
            assert_eq!(run(&program, &[file], &bench.dir(), "").code, 0, "{file}");
        }
    }
}

#[test]
fn a_torn_file_is_fixed_as_a_start_of_the_server_would() {
    let transaction = ["MULTI", "set a 1", "set b 2", "EXEC"].map(resp).concat();
    let incr = [&files().incr[..], &transaction].concat();
    let from = incr.len() - transaction.len() - 40;
    let redis = theirs("check-aof");
    for cut in from..=incr.len() {
        let zeros = [0, 7][cut % 2];
        let mut torn = incr[..cut].to_vec();
        torn.resize(cut + zeros, 0);
        let started = Bench::with_incr(&torn);
        assert!(started.start(), "{cut}");
        let left = started.read(INCR);
        let bench = Bench::with_incr(&torn);
        let said = bench.check();
        let is_whole = left.len() == torn.len();
        let verdict = (i32::from(!is_whole), left.len() as u64);
        assert_eq!(said.verdict(), verdict, "cut at {cut}, {zeros} zeros: {said:?}");
        assert_eq!(bench.read(INCR), torn, "changed without being asked to");
        if let Some(program) = &redis {
            let theirs = run(program, &[MANIFEST], &bench.dir(), "");
            assert_eq!(theirs.verdict(), verdict, "{cut}: {theirs:?}");
        }
        let said = bench.fix();
        assert_eq!((said.code, bench.read(INCR)), (0, left), "{cut}: {said:?}");
        assert_eq!(bench.check().code, 0);
    }
}

#[test]
fn damage_is_found_at_every_byte_and_what_is_cut_off_is_kept() {
    let incr = files().incr;
    let redis = theirs("check-aof");
    let mut found = 0;
    for at in 0..incr.len() {
        let mut damaged = incr.clone();
        damaged[at] = if at % 2 == 0 { b'!' } else { b'9' };
        let bench = Bench::with_incr(&damaged);
        let said = bench.check();
        if let Some(program) = &redis {
            let theirs = run(program, &[MANIFEST], &bench.dir(), "");
            assert_eq!(said.verdict(), theirs.verdict(), "at {at}: {said:?} {theirs:?}");
        }
        if said.code == 0 {
            assert!(bench.start(), "called valid, but does not load: damage at {at}");
            continue;
        }
        found += 1;
        if found % 4 != 0 {
            continue;
        }
        said.has(&["[offset ", "is not valid. Use the --fix option to try fixing it.\n"]);
        let ok_up_to = said.number("ok_up_to=") as usize;
        let may_be_cut = Bench::with_incr(&damaged).start();
        let said = bench.fix();
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(bench.read(INCR), damaged[..ok_up_to]);
        assert!(bench.start(), "fixed, but does not load: damage at {at}");
        if !may_be_cut {
            assert_eq!(bench.read(&format!("{INCR}.cut-at-{ok_up_to}")), damaged[ok_up_to..]);
        }
    }
    assert!(found > incr.len() / 4, "{found}");
}

#[test]
fn an_rdb_file_is_found_damaged_at_every_byte() {
    let rdb = files().rdb;
    let dir = tempfile::tempdir().unwrap();
    let redis = theirs("check-rdb");
    let check = |bytes: &[u8], compared: bool| {
        fs::write(dir.path().join("x.rdb"), bytes).unwrap();
        let said = ours(&["check-rdb", "x.rdb"], dir.path());
        if let Some(program) = redis.as_ref().filter(|_| compared) {
            let theirs = run(program, &["x.rdb"], dir.path(), "");
            assert_eq!(said.code, theirs.code, "{said:?} {theirs:?}");
        }
        said
    };
    assert_eq!(check(&rdb, true).code, 0);
    for at in 0..rdb.len() {
        if at % 2 == 0 {
            let said = check(&rdb[..at], true);
            assert_eq!(said.code, 1, "cut at {at}: {said:?}");
            said.has(&["--- RDB ERROR DETECTED ---\n", "Unexpected EOF reading RDB file\n"]);
            continue;
        }
        let mut damaged = rdb.clone();
        damaged[at] ^= 0x10;
        // Theirs takes version ` 010` for 10 and `001 ` for 1, which had no checksum.
        let said = check(&damaged, !(5..9).contains(&at));
        assert_eq!(said.code, 1, "flipped at {at}: {said:?}");
        said.has(&["--- RDB ERROR DETECTED ---\n", "[offset "]);
    }
    // Where a value breaks, its key is named.
    let at = rdb.windows(10).position(|w| w == b"\x06string\x05va").unwrap();
    let said = check(&rdb[..at + 10], true);
    said.has(&["Reading key 'string'\n", "Reading type 0 (string)\n"]);
}

#[test]
fn only_the_last_file_with_anything_in_it_is_cut() {
    let manifest = b"file appendonly.aof.1.base.aof seq 1 type b\n\
                     file appendonly.aof.1.incr.aof seq 1 type i\n";
    let torn = [&resp("set foo hello")[..], b"*3\r\n$3"].concat();
    let base = "appendonly.aof.1.base.aof";
    let bench = Bench::new(manifest, &[(base, &torn), (INCR, &resp("set foo hello"))]);
    let said = bench.check();
    assert_eq!(said.code, 1);
    said.has(&["Start to check BASE AOF (RESP format).\n", "is not valid", "INCR AOF", "is valid"]);
    let said = bench.fix();
    assert_eq!((said.code, bench.read(base)), (1, torn.clone()));
    said.has(&["Failed to truncate AOF appendonly.aof.1.base.aof because it is not the last file"]);

    bench.write(INCR, b"");
    let said = bench.fix();
    assert_eq!((said.code, bench.read(base)), (0, resp("set foo hello")), "{said:?}");
    said.has(&["Successfully truncated AOF appendonly.aof.1.base.aof\n", "is empty\n"]);

    let bench = Bench::with_incr(&torn);
    for answer in ["", "n\n", "no\n"] {
        let program = env!("CARGO_BIN_EXE_goredis");
        let said = run(program, &["check-aof", "--fix", MANIFEST], &bench.dir(), answer);
        said.has(&["Continue? [y/N]: ", "Aborting...\n"]);
        assert_eq!((said.code, bench.read(INCR)), (1, torn.clone()));
    }
}

#[test]
fn an_aof_is_cut_back_to_a_time() {
    let noted = [
        &b"#TS:1628217470\r\n"[..],
        &resp("set foo1 bar1"),
        b"#TS:1628217471\r\n",
        &resp("set foo2 bar2"),
        b"#TS:1628217472\r\n",
        b"#TS:1628217473\r\n",
        &resp("set foo3 bar3"),
        b"#TS:1628217474\r\n",
    ]
    .concat();
    let redis = theirs("check-aof");
    for second in 69..=75 {
        let time = format!("16282174{second}");
        let bench = Bench::with_incr(&noted);
        let option = "--truncate-to-timestamp";
        let said = ours(&["check-aof", option, &time, MANIFEST], &bench.dir());
        let left = bench.read(INCR);
        let expected = match second {
            69 => (1, noted.len(), "has nothing before timestamp 1628217469, aborting...\n"),
            70 => (
                0,
                16 + resp("set foo1 bar1").len(),
                "Successfully truncated AOF appendonly.aof.1.incr.aof to timestamp",
            ),
            74 | 75 => {
                (0, noted.len(), "Truncate nothing in AOF appendonly.aof.1.incr.aof to time")
            }
            _ => (0, left.len(), "Successfully truncated AOF"),
        };
        assert_eq!((said.code, left.len()), (expected.0, expected.1), "{said:?}");
        said.has(&[expected.2]);
        if let Some(program) = &redis {
            let bench = Bench::with_incr(&noted);
            let theirs = run(program, &[option, &time, MANIFEST], &bench.dir(), "");
            assert_eq!((theirs.code, bench.read(INCR)), (said.code, left), "{second}");
        }
    }
}

/// A server that notes the time, killed, with two writes a second or more apart.
fn killed_server() -> (Server, i64) {
    let args = ["--appendonly", "yes", "--aof-timestamp-enabled", "yes"];
    let mut server = Server::start(Options::new().args(&args));
    let mut c = server.connect();
    c.command(&["SET", "early", "1"]);
    let now_s = |c: &mut support::Conn| -> i64 {
        let time = c.command(&["TIME"]);
        let text = format!("{time:?}");
        let digits: String = text
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().unwrap()
    };
    let early_s = now_s(&mut c);
    assert!(support::wait_for(support::DEADLINE, || now_s(&mut c) > early_s));
    c.command(&["SET", "late", "1"]);
    server.kill9();
    (server, early_s)
}

#[test]
fn what_a_crash_left_in_the_ring_is_not_lost_by_fixing() {
    let (mut server, _) = killed_server();
    let incr = aof_files(server.dir(), ".incr.aof").pop().unwrap();
    let dir = incr.parent().unwrap().to_path_buf();
    let whole_len = {
        ours(&["check-aof", MANIFEST], &dir).has(&["[info] The ring "]);
        let said = ours_agreed(&["check-aof", "--fix", MANIFEST], &dir);
        assert_eq!(said.code, 0, "{said:?}");
        said.has(&["Continue? [y/N]: ", " missing\n", "All AOF files and manifest are valid\n"]);
        fs::read(&incr).unwrap().len()
    };
    // As a loss of power may leave the file: the ring knows how the torn command goes on.
    let file = fs::OpenOptions::new().write(true).open(&incr).unwrap();
    file.set_len(whole_len as u64 - 3).unwrap();
    let name = incr.file_name().unwrap().to_str().unwrap();
    let said = ours_agreed(&["check-aof", "--fix", name], &dir);
    said.has(&["has left a ring", "appendonly.aof.manifest"]);
    assert_eq!((said.code, fs::read(&incr).unwrap().len()), (1, whole_len - 3));
    let said = ours_agreed(&["check-aof", "--fix", MANIFEST], &dir);
    said.has(&["[info] 3 bytes were missing\n", "All AOF files and manifest are valid\n"]);
    assert_eq!(fs::read(&incr).unwrap().len(), whole_len);
    server.restart();
    assert_eq!(server.connect().command(&["EXISTS", "early", "late"]), Value::Int(2));
}

#[test]
fn what_was_cut_off_does_not_come_back_from_the_ring() {
    let (mut server, early_s) = killed_server();
    let dir = server.dir().join("appendonlydir");
    let option = "--truncate-to-timestamp";
    let said = ours_agreed(&["check-aof", option, &early_s.to_string(), MANIFEST], &dir);
    assert_eq!(said.code, 0, "{said:?}");
    said.has(&["is kept as", "Successfully truncated AOF"]);
    server.restart();
    let mut c = server.connect();
    assert_eq!(c.command(&["EXISTS", "early"]), Value::Int(1));
    assert_eq!(c.command(&["EXISTS", "late"]), Value::Int(0));
}

#[test]
fn what_cannot_be_looked_at_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for tool in ["check-aof", "check-rdb"] {
        let link = dir.path().join(format!("redis-{tool}"));
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_goredis"), &link).unwrap();
        let link = link.to_str().unwrap();
        let said = run(link, &["gone"], dir.path(), "");
        said.has(&["Cannot open file gone: No such file or directory"]);
        assert_eq!(said.code, 1);
        let said = run(link, &["--frobnicate", "x"], dir.path(), "");
        said.has(&["There is no option --frobnicate.", "Usage: redis-check-"]);
        assert_eq!(said.code, 1);
        assert_eq!(run(link, &["--help"], dir.path(), "").code, 0);
        assert_eq!(run(link, &[], dir.path(), "").code, 1);
        assert_eq!(ours(&[tool, "."], dir.path()).code, 1);
    }
    let bench = Bench::new(b"filx\n", &[]);
    let said = bench.check();
    said.has(&["*** FATAL AOF MANIFEST FILE ERROR ***", "at line 1", "not valid"]);
    assert_eq!(said.code, 1);
    let said = Bench::new(ONE_INCR, &[]).check();
    said.has(&["Cannot open file ", INCR, "No such file or directory, aborting..."]);
    assert_eq!(said.code, 1);
}
