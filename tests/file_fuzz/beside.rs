//! RESTORE of damaged payloads, here and in redis-server: what it refuses is refused here, and
//! what both take is the same value. `GOREDIS_RESTORE_COUNT` says how many (default 1500).

use std::collections::BTreeMap;

use goredis::base::crc64::crc64;
use goredis::persist::rdb::payload::{Refusal, restore};
use goredis::resp::read::Value;

use super::case::{Case, Form, Kind, PAYLOAD, form, seal};
use super::damage::damage;
use super::samples;
use super::trial::{self, Run};
use crate::support::{Conn, Options, Server};

/// What redis-server 7.0 has last: the version of payloads, and the kind of values.
const VERSION: u16 = 10;
const LAST_KIND: u8 = 19;
/// What is said here of a value that is followed by something.
const TOO_LONG: &str = "a value that ends before its payload does";

fn start(program: &str) -> (Server, Conn) {
    let options = Options::new().redis(program).args(&[
        "--enable-debug-command",
        "yes",
        "--sanitize-dump-payload",
        "yes",
        "--crash-log-enabled",
        "no",
    ]);
    let server = Server::start(options);
    let conn = server.connect();
    (server, conn)
}

/// A damaged payload that redis-server might know the form of.
fn payloads(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut rng = trial::rng(seed);
    let samples: Vec<Case> =
        samples::all(seed).into_iter().filter(|case| case.kind == Kind::Payload).collect();
    let mut payloads = Vec::new();
    while payloads.len() < count {
        let mut case = samples[rng.index(samples.len())].clone();
        let other = &samples[rng.index(samples.len())];
        damage(&mut rng, &mut case, other);
        let Some((name, bytes)) = case.files.first_mut() else { continue };
        assert_eq!(form(name), Form::Payload);
        if bytes.len() < 12 || bytes[0] > LAST_KIND {
            continue;
        }
        let at = bytes.len() - 10;
        let version = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if version > VERSION {
            bytes[at..at + 2].copy_from_slice(&VERSION.to_le_bytes());
        }
        seal(PAYLOAD, bytes);
        if let Err(Refusal::Format(e)) = restore(bytes, Default::default(), true, |_| ())
            && e.to_string().contains(TOO_LONG)
        {
            // redis-server does not look behind the value. Without that the rest can be compared.
            let footer = bytes.split_off(bytes.len() - 10);
            bytes.truncate(e.offset as usize);
            bytes.extend_from_slice(&footer);
            seal(PAYLOAD, bytes);
        }
        payloads.push(bytes.clone());
    }
    payloads
}

/// Why a payload is refused here.
fn refusal(payload: &[u8]) -> String {
    match restore(payload, Default::default(), true, |_| ()) {
        Ok(()) => "accepted".into(),
        Err(Refusal::Footer) => "footer".into(),
        Err(Refusal::Format(e)) => {
            let text = e.to_string();
            let end = text.find(" (at offset").unwrap_or(text.len());
            text[..end].to_string()
        }
    }
}

fn digest(value: &Value) -> String {
    format!("{value:?}")
}

#[derive(Default)]
struct Tally {
    both: usize,
    neither: usize,
    crashes: usize,
    /// By our reason.
    only_theirs: BTreeMap<String, usize>,
    only_ours: Vec<(String, Vec<u8>)>,
    unlike: Vec<Vec<u8>>,
}

fn compare(program: &str, payloads: &[Vec<u8>], dir: &std::path::Path) -> Tally {
    let (mut server, mut conn) = start(program);
    let mut ours = Run::new(trial::config(1, dir));
    let mut tally = Tally::default();
    for payload in payloads {
        let words = ["RESTORE", "k", "0"].map(|word| word.as_bytes().to_vec());
        let words = [&words[..], &[payload.clone(), b"REPLACE".to_vec()]].concat();
        ours.line("DEL k");
        let accepted = ours.execute(&words).starts_with(b"+");
        let theirs = conn.try_command(&[b"DEL".to_vec(), b"k".to_vec()]);
        let theirs = theirs.and_then(|_| conn.try_command(&words));
        let digests = theirs.and_then(|reply| {
            let digest = conn.try_command(&["DEBUG", "DIGEST-VALUE", "k"])?;
            Ok((format!("{reply:?}").contains("OK"), self::digest(&digest)))
        });
        let Ok((they_accept, theirs)) = digests else {
            // It has fallen over: a new one.
            tally.crashes += 1;
            (server, conn) = start(program);
            continue;
        };
        match (accepted, they_accept) {
            (true, true) => {
                let reply = ours.line("DEBUG DIGEST-VALUE k");
                let text = String::from_utf8_lossy(&reply).into_owned();
                let own = text.lines().last().unwrap_or_default().trim_start_matches('+');
                tally.both += 1;
                if !theirs.contains(own) || own.len() < 40 {
                    tally.unlike.push(payload.clone());
                }
            }
            (false, false) => tally.neither += 1,
            (false, true) => *tally.only_theirs.entry(refusal(payload)).or_default() += 1,
            (true, false) => {
                let log = server.log();
                let why = log.lines().last().unwrap_or_default().to_string();
                tally.only_ours.push((why, payload.clone()));
            }
        }
    }
    tally
}

fn show(payload: &[u8]) -> String {
    payload.iter().map(|byte| byte.escape_ascii().to_string()).collect()
}

#[test]
fn restore_refuses_what_redis_refuses() {
    let Some(program) = super::referee() else { return };
    let count = super::number("GOREDIS_RESTORE_COUNT", 1500) as usize;
    let seed = super::number("GOREDIS_FILE_FUZZ_SEED", 1);
    let payloads = payloads(seed, count);
    assert!(payloads.iter().all(|bytes| {
        let at = bytes.len() - 8;
        bytes[at..] == crc64(0, &bytes[..at]).to_le_bytes()
    }));
    let dir = tempfile::tempdir().unwrap();
    let tally = compare(&program, &payloads, dir.path());
    println!("seed {seed}: {} by both, {} by neither", tally.both, tally.neither);
    println!("{} crashes of redis-server; by it alone: {:#?}", tally.crashes, tally.only_theirs);
    for (why, payload) in &tally.only_ours {
        println!("by us alone ({why}): {}", show(payload));
    }
    for payload in &tally.unlike {
        println!("unlike: {}", show(payload));
    }
    assert!(tally.both > 0 && tally.neither > 0);
    assert!(tally.only_ours.is_empty() && tally.unlike.is_empty());
}
