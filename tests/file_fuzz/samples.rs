//! Files that are right: what there is to be damaged. Of goredis, of redis-server where that is
//! installed, and by hand in the forms of old versions.

use std::path::Path;
use std::sync::Arc;

use goredis::base::clock::Clock;
use goredis::persist::aof::Loader;
use goredis::persist::files::RealFiles;
use goredis::persist::rdb::save::{self, save};
use goredis::persist::rdb::write::Use;
use goredis::server::loading::{Source, load_now};
use goredis::server::{Instance, log as server_log};

use super::case::{Case, Kind, PAYLOAD, RDB, seal};
use super::contents::{Piece, listpack, payload, string, ziplist};
use super::fuzz::generate::{Command, Fuzzer};
use super::trial::{self, Run, commands};
use crate::support::{Options, Server, encode};

/// Longer payloads are left out, so that damage is not lost in them.
const PAYLOAD_MAX: usize = 8_000;

/// All samples of a seed.
pub fn all(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for nth in 0..4 {
        ours(seed * 100 + nth, &mut cases);
    }
    by_hand(&mut cases);
    if let Some(program) = super::referee() {
        redis(&program, seed, &mut cases);
    }
    cases
}

fn fuzzer(seed: u64) -> Fuzzer {
    Fuzzer::new(seed, true, |name| {
        !["multi", "watch"].contains(&name)
            && (name.contains('|') || commands().find(name.as_bytes()).is_some())
    })
}

/// Not what leaves nothing to look at.
fn is_wanted(command: &Command) -> bool {
    let name = command.args[0].to_ascii_lowercase();
    !["flushall", "flushdb", "swapdb"].iter().any(|unwanted| name == unwanted.as_bytes())
}

fn fill(run: &mut Run, fuzzer: &mut Fuzzer, count: usize) {
    for nth in 0..count {
        if nth % 100 == 0 {
            fuzzer.refocus();
        }
        let command = fuzzer.next();
        if is_wanted(&command) {
            run.execute(&command.args);
        }
    }
}

fn file(run: &Run, compresses: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let aux = vec![("redis-ver", b"7.2.0".to_vec()), ("aof-base", b"1".to_vec())];
    let options = save::Options { compresses, has_checksum: true, aux };
    save(&run.instance.keys, &mut bytes, &options, |_| Use::Idle(7)).unwrap();
    bytes
}

fn ours(seed: u64, cases: &mut Vec<Case>) {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(trial::config(seed, dir.path()));
    let mut fuzzer = fuzzer(seed);
    fill(&mut run, &mut fuzzer, 50 + 150 * (seed % 4) as usize);
    let bytes = file(&run, seed.is_multiple_of(2));
    cases.push(Case { kind: Kind::Rdb, seed, files: vec![(RDB.into(), bytes.clone())] });
    run.line("SELECT 0");
    let names: Vec<Vec<u8>> =
        run.instance.keys.records(0).iter().map(|view| view.key().to_vec()).collect();
    for name in names {
        let reply = run.execute(&[b"DUMP".to_vec(), name]);
        // Behind the line with its length.
        if let Some(end) = memchr::memchr(b'\n', &reply)
            && reply.len() < PAYLOAD_MAX
            && reply.len() > end + 3
        {
            let bytes = reply[end + 1..reply.len() - 2].to_vec();
            cases.push(Case { kind: Kind::Payload, seed, files: vec![(PAYLOAD.into(), bytes)] });
        }
    }
    for has_base in [true, false] {
        let base = has_base.then_some(&bytes[..]);
        cases.push(our_log(seed, base, &mut fuzzer));
    }
}

const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
const BASE: &str = "appendonlydir/appendonly.aof.1.base.rdb";
const INCR: &str = "appendonlydir/appendonly.aof.1.incr.aof";

/// An append-only file as a killed server leaves it, with its ring.
fn our_log(seed: u64, base: Option<&[u8]>, fuzzer: &mut Fuzzer) -> Case {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    let mut case = Case { kind: Kind::Aof, seed, files: Vec::new() };
    if let Some(base) = base {
        lines = "file appendonly.aof.1.base.rdb seq 1 type b\n".into();
        case.files.push((BASE.into(), base.to_vec()));
    }
    lines += "file appendonly.aof.1.incr.aof seq 1 type i\n";
    case.files.push((MANIFEST.into(), lines.into()));
    case.files.push((INCR.into(), Vec::new()));
    case.lay_out(dir.path());
    let mut config = trial::config(seed, dir.path());
    config.appendonly = true;
    config.aof_ring_size = 64 << 10;
    let mut run = Run::new(config);
    let Instance { server, keys } = &mut run.instance;
    let files = Arc::new(RealFiles);
    let clock = Clock::manual(trial::NOW_MS);
    let options = server_log::options(&server.config, files, Arc::new(|| ()), clock);
    let loader = Loader::open(&options).unwrap();
    load_now(server, keys, Source::Aof(Box::new(loader))).unwrap();
    let manifest = Loader::open(&options).unwrap().finish();
    server.log.start(&options, manifest).unwrap();
    for _ in 0..8 {
        fill(&mut run, fuzzer, 25);
        run.instance.server.log.commit();
    }
    // What the thread has written so far is as good as any other moment, but the same each time.
    run.instance.server.log.flush_all_now().unwrap();
    let mut files = collect(&dir.path().join("appendonlydir"));
    if seed.is_multiple_of(2)
        && let Some((_, bytes)) = files.iter_mut().find(|(name, _)| name.ends_with(".incr.aof"))
    {
        // The ring has what is missing.
        bytes.truncate(bytes.len() / 2);
    }
    case.files = files;
    case
}

fn collect(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        files.push((format!("appendonlydir/{name}"), std::fs::read(&path).unwrap()));
    }
    files.sort();
    files
}

/// Values in the forms of other versions.
fn by_hand(cases: &mut Vec<Case>) {
    use Piece::{Int, Text};
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
    let timed = [Text(b"f"), Text(b"v"), Int(1 << 40, 8), Text(b"g"), Int(5, 0), Int(0, 0)];
    let scored = [Text(b"f"), Text(b"1"), Text(b"g"), Text(b"inf"), Int(5, 0), Int(0, 0)];
    let mut values: Vec<(u16, u8, Vec<u8>)> = [10, 12, 13].map(|of| (9, of, list.clone())).into();
    values.push((9, 14, [&[2], &list[..], &list].concat()));
    values.push((9, 9, string(b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world..\xff")));
    values.push((12, 23, string(&listpack(&timed))));
    values.push((12, 25, [&1i64.to_le_bytes()[..], &string(&listpack(&timed))].concat()));
    for of in [16, 17, 20] {
        values.push((11, of, string(&listpack(&scored))));
    }
    values.push((9, 3, b"\x02\x01a\x011\x01b\xfe".to_vec()));
    values.push((12, 24, b"\0\0\0\0\0\x01\0\0\x02\x05\x01a\x01b\x00\x01c\x01d".to_vec()));
    values.push((
        80,
        22,
        b"\x02\x01a\x01b\0\0\0\0\0\x01\0\0\x01c\x01d\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ));
    let mut files = b"REDIS0013".to_vec();
    files.extend_from_slice(b"\xf5\x03abc\xf7\x05\x02\x01\x05\x01x\x00\xf4\x01\x02\x03");
    for (nth, (version, of, body)) in values.iter().enumerate() {
        let mut bytes = payload(*version, *of, body);
        seal(PAYLOAD, &mut bytes);
        cases.push(Case { kind: Kind::Payload, seed: 1, files: vec![(PAYLOAD.into(), bytes)] });
        if *version < 80 {
            files.extend_from_slice(b"\xfc\0\0\0\0\0\x02\0\0\xf8\x05\xf9\x07");
            files.push(*of);
            files.extend_from_slice(&string(format!("k:list:{nth}").as_bytes()));
            files.extend_from_slice(body);
        }
    }
    files.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    seal(RDB, &mut files);
    for seed in 0..3 {
        cases.push(Case { kind: Kind::Rdb, seed, files: vec![(RDB.into(), files.clone())] });
    }
}

fn redis(program: &str, seed: u64, cases: &mut Vec<Case>) {
    let preamble = if seed.is_multiple_of(2) { "yes" } else { "no" };
    let options = Options::new().redis(program).args(&[
        "--enable-debug-command",
        "yes",
        "--appendonly",
        "yes",
        "--appendfsync",
        "no",
        "--aof-use-rdb-preamble",
        preamble,
    ]);
    let server = Server::start(options);
    let mut conn = server.connect();
    let known = super::fuzz::command_list(&mut conn);
    let mut fuzzer = Fuzzer::new(seed, false, |name| {
        !["multi", "watch"].contains(&name) && known.contains(name)
    });
    for nth in 0..600 {
        if nth % 100 == 0 {
            fuzzer.refocus();
        }
        if nth == 300 {
            conn.command(&["BGREWRITEAOF"]);
            crate::support::wait_until_eq("0".to_string(), || conn.info("aof_rewrite_in_progress"));
        }
        let command = fuzzer.next();
        if is_wanted(&command) {
            conn.send(&encode(&command.args));
            conn.read();
        }
    }
    conn.command(&["SELECT", "0"]);
    conn.command(&["SAVE"]);
    let file = std::fs::read(server.dir().join(RDB)).unwrap();
    cases.push(Case { kind: Kind::Rdb, seed, files: vec![(RDB.into(), file)] });
    let keys = conn.command(&["KEYS", "*"]);
    let goredis::resp::read::Value::Array(keys) = keys else { panic!("{keys:?}") };
    for key in keys {
        let dumped = conn.command(&[b"DUMP", key.bytes().unwrap()]);
        if let Some(bytes) = dumped.bytes().filter(|bytes| bytes.len() < PAYLOAD_MAX) {
            let files = vec![(PAYLOAD.into(), bytes.to_vec())];
            cases.push(Case { kind: Kind::Payload, seed, files });
        }
    }
    let files = collect(&server.dir().join("appendonlydir"));
    for seed in [seed, seed + 1] {
        cases.push(Case { kind: Kind::Aof, seed, files: files.clone() });
    }
}
