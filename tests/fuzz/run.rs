//! Has goredis, and a redis-server beside it if there is one, do a list of steps, and says where
//! they part.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use goredis::base::args;
use goredis::resp::read::Value;

use super::compare::{Differences, are_alike, canonical, is_error};
use super::generate::Command;
use super::grammar::Check;
use crate::support::{Conn, Options, Server, encode, expect};

/// Databases that the fuzzer uses.
const DATABASES: u32 = 3;
/// Commands sent before their replies are read.
const BATCH: usize = 100;

#[derive(Clone, Debug)]
pub enum Step {
    Send(Command),
    /// Compare all data of the two servers, key by key.
    Compare,
    /// Restart goredis from its append-only file, by a shutdown or by `kill -9`. The data must be
    /// the same afterwards.
    Restart {
        kill: bool,
    },
}

/// What went wrong, for people, at which step.
#[derive(Debug)]
pub struct Failure {
    pub step: usize,
    pub what: String,
}

/// How the servers are set up.
#[derive(Clone, Debug)]
pub struct Setup {
    pub resp3: bool,
    /// Whether collections leave their small encodings early.
    pub low_thresholds: bool,
    /// Put the referee in goredis's place, too.
    pub self_test: bool,
    /// The program to compare with.
    pub referee: Option<String>,
    /// Arguments that the referee does not get: with them a difference can be planted.
    pub ours_only: &'static [&'static str],
}

const LOW_THRESHOLDS: &[&str] = &[
    "--hash-max-listpack-entries",
    "8",
    "--hash-max-listpack-value",
    "30",
    "--list-max-listpack-size",
    "6",
    "--set-max-intset-entries",
    "8",
    "--zset-max-listpack-entries",
    "8",
    "--zset-max-listpack-value",
    "30",
    "--stream-node-max-entries",
    "5",
    "--hll-sparse-max-bytes",
    "150",
];
/// Redis has these from 7.2 on.
const LOW_THRESHOLDS_NEWER: &[&str] =
    &["--set-max-listpack-entries", "8", "--set-max-listpack-value", "30"];

/// A server and the connection to it.
struct End {
    server: Server,
    conn: Conn,
}

/// One key's data: whatever must be the same on the other server, or after a restart.
#[derive(Clone, PartialEq)]
struct Entry {
    kind: Value,
    digest: Value,
    /// In milliseconds since 1970, or -1.
    expiry_ms: Value,
    /// Of a stream: its groups; of a hash: when its fields expire.
    more: Value,
}

type Data = BTreeMap<(u32, Vec<u8>), Entry>;

pub type Tally = BTreeMap<&'static str, (usize, usize)>;

pub struct Servers<'a> {
    setup: Setup,
    differences: &'a Differences,
    ours: End,
    theirs: Option<End>,
    /// Commands that wait for EXEC.
    queued: Option<Vec<Command>>,
    has_field_expiry: bool,
    /// Whether goredis has loaded its data. Loading them may give smaller encodings than growing
    /// to them does, in Redis as well, so from then on encodings say nothing.
    is_loaded: bool,
    /// By row, how many commands were sent, and how many were answered without an error.
    pub tally: Tally,
    /// What was sent, and what came; if asked for.
    transcript: Option<Vec<String>>,
}

/// A command as redis-cli takes it.
pub fn line(args: &[Vec<u8>]) -> String {
    let is_plain = |arg: &&Vec<u8>| {
        !arg.is_empty()
            && arg.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte))
    };
    let word = |arg: &Vec<u8>| match Some(arg).filter(is_plain) {
        Some(arg) => String::from_utf8_lossy(arg).into_owned(),
        None => String::from_utf8(args::quote(arg)).unwrap(),
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The commands a server has, in lower case, subcommands as `object|encoding`.
pub fn command_list(conn: &mut Conn) -> BTreeSet<String> {
    let Value::Array(names) = conn.command(&["COMMAND", "LIST"]) else { panic!("COMMAND LIST") };
    let text = |name: &Value| String::from_utf8_lossy(name.bytes().unwrap()).into_owned();
    names.iter().map(text).collect()
}

fn connect(server: &Server, resp3: bool) -> Conn {
    let mut conn = server.connect();
    if resp3 {
        conn.command(&["HELLO", "3"]);
    }
    conn
}

fn start(setup: &Setup, options: Options, more: &[&str], newer: bool) -> End {
    let mut options = options.args(&["--enable-debug-command", "yes"]);
    if setup.low_thresholds {
        options = options.args(LOW_THRESHOLDS);
        if newer {
            options = options.args(LOW_THRESHOLDS_NEWER);
        }
    }
    let server = Server::start(options.args(more));
    let conn = connect(&server, setup.resp3);
    End { server, conn }
}

fn start_ours(setup: &Setup) -> End {
    let mut options = Options::new();
    if let Some(program) = setup.referee.as_ref().filter(|_| setup.self_test) {
        options = options.redis(program);
    }
    start(setup, options.args(&["--appendonly", "yes"]), setup.ours_only, !setup.self_test)
}

impl End {
    /// Sends all, then reads all replies.
    fn exchange(&mut self, commands: &[&[Vec<u8>]]) -> io::Result<Vec<Value>> {
        self.send(commands)?;
        commands.iter().map(|_| self.conn.try_read()).collect()
    }

    fn send(&mut self, commands: &[&[Vec<u8>]]) -> io::Result<()> {
        let bytes: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        self.conn.try_send(&bytes)
    }
}

impl Servers<'_> {
    pub fn start(setup: Setup, differences: &Differences) -> Servers<'_> {
        let mut ours = start_ours(&setup);
        let program = setup.referee.as_ref();
        let theirs =
            program.map(|program| start(&setup, Options::new().redis(program), &[], false));
        let has_field_expiry = command_list(&mut ours.conn).contains("hpexpiretime");
        Servers {
            setup,
            differences,
            ours,
            theirs,
            queued: None,
            has_field_expiry,
            is_loaded: false,
            tally: Tally::new(),
            transcript: None,
        }
    }

    /// The commands that both have.
    pub fn common_commands(&mut self) -> BTreeSet<String> {
        let ours = command_list(&mut self.ours.conn);
        match &mut self.theirs {
            Some(theirs) => &ours & &command_list(&mut theirs.conn),
            None => ours,
        }
    }

    /// Empties both, and begins new connections. Starts goredis again if it has died.
    pub fn reset(&mut self) {
        self.is_loaded = false;
        self.queued = None;
        let conn = Conn::try_connect(("127.0.0.1", self.ours.server.port()));
        let alive = conn.is_ok_and(|mut conn| {
            conn.try_command(&["FLUSHALL"]).is_ok_and(|reply| !is_error(&reply))
        });
        if alive {
            self.ours.conn = connect(&self.ours.server, self.setup.resp3);
        } else {
            let dead = std::mem::replace(&mut self.ours, start_ours(&self.setup));
            // It complains of its panic, which has been reported.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(dead)));
        }
        if let Some(theirs) = &mut self.theirs {
            theirs.conn = connect(&theirs.server, self.setup.resp3);
            theirs.conn.command(&["FLUSHALL"]);
        }
    }

    /// Does the steps on servers just reset, and writes down what was said.
    pub fn transcribe(&mut self, steps: &[Step]) -> (Result<(), Failure>, String) {
        self.reset();
        self.transcript = Some(Vec::new());
        let result = self.run(steps, 0);
        (result, self.transcript.take().unwrap_or_default().join("\n"))
    }

    /// Does the steps; stops at the first that goes wrong. Its number is counted from `first`.
    pub fn run(&mut self, steps: &[Step], first: usize) -> Result<(), Failure> {
        let mut at = 0;
        while at < steps.len() {
            let is_spop = |c: &Command| c.check == Check::Spop && c.args.len() > 1;
            let is_plain = |step: &Step| matches!(step, Step::Send(c) if !is_spop(c));
            let plain = steps[at..].iter().take(BATCH).take_while(|step| is_plain(step)).count();
            let done = match &steps[at] {
                _ if plain > 0 => self.batch(&steps[at..at + plain]),
                Step::Send(command) => self.spop(command),
                Step::Compare => self.compare(),
                // What Redis loses of streams at a restart says nothing of the grammar.
                Step::Restart { .. } if self.setup.self_test => Ok(()),
                Step::Restart { kill } => self.restart(*kill),
            };
            done.map_err(|f| Failure { step: first + at + f.step, what: f.what })?;
            at += plain.max(1);
        }
        Ok(())
    }

    fn batch(&mut self, steps: &[Step]) -> Result<(), Failure> {
        let commands: Vec<&Command> = steps
            .iter()
            .filter_map(|step| if let Step::Send(command) = step { Some(command) } else { None })
            .collect();
        let args: Vec<&[Vec<u8>]> = commands.iter().map(|command| &command.args[..]).collect();
        if let Some(theirs) = &mut self.theirs {
            theirs.send(&args).expect("the referee takes commands");
        }
        let sent = self.ours.send(&args);
        for (step, command) in commands.into_iter().enumerate() {
            let theirs = self.theirs.as_mut().map(|end| end.conn.read());
            let ours = match &sent {
                Ok(()) => self.ours.conn.try_read(),
                Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
            };
            let ours = ours.map_err(|e| self.lost(step, &command.args, &e))?;
            self.judge(step, command, &ours, theirs.as_ref())?;
        }
        Ok(())
    }

    fn judge(
        &mut self,
        step: usize,
        command: &Command,
        ours: &Value,
        theirs: Option<&Value>,
    ) -> Result<(), Failure> {
        self.count(command, ours);
        self.note(&command.args, ours, theirs);
        let mut command = command.clone();
        if self.is_loaded && command.args[0].eq_ignore_ascii_case(b"object") {
            command.check = Check::Kind;
        }
        let queued = self.queued.take();
        let name = command.args[0].to_ascii_lowercase();
        let is_ok = |value: &Value, text: &[u8]| matches!(value, Value::Simple(t) if t == text);
        self.queued = match (&name[..], &queued) {
            (b"multi", None) if is_ok(ours, b"OK") => Some(Vec::new()),
            (b"exec" | b"discard", _) => None,
            (_, Some(queued)) if is_ok(ours, b"QUEUED") => {
                Some(queued.iter().chain([&command]).cloned().collect())
            }
            _ => queued.clone(),
        };
        let Some(theirs) = theirs else { return Ok(()) };
        if self.differences.agree(&command, &queued.unwrap_or_default(), ours, theirs) {
            return Ok(());
        }
        let what = format!(
            "{}\n  goredis: {}\n  referee: {}",
            line(&command.args),
            expect::show(ours),
            expect::show(theirs)
        );
        Err(Failure { step, what })
    }

    fn count(&mut self, command: &Command, reply: &Value) {
        let (sent, succeeded) = self.tally.entry(command.row).or_default();
        *sent += 1;
        *succeeded += usize::from(!is_error(reply));
    }

    fn note(&mut self, args: &[Vec<u8>], ours: &Value, theirs: Option<&Value>) {
        let Some(transcript) = &mut self.transcript else { return };
        transcript.push(line(args));
        let ours = expect::show(ours);
        match theirs.map(expect::show) {
            Some(theirs) if theirs != ours => {
                transcript.push(format!("  goredis: {ours}\n  referee: {theirs}"));
            }
            _ => transcript.push(format!("  {ours}")),
        }
    }

    /// The connection to goredis failed where this command's reply should have come.
    fn lost(&self, step: usize, args: &[Vec<u8>], error: &io::Error) -> Failure {
        let log = self.ours.server.log();
        let from = log.find("panicked at").unwrap_or(log.len().saturating_sub(2000));
        let log = String::from_utf8_lossy(&log.as_bytes()[from..]).into_owned();
        Failure { step, what: format!("{}\n  no reply: {error}; the log:\n{log}", line(args)) }
    }

    /// What goredis takes from a set by chance, the referee is told to remove.
    fn spop(&mut self, command: &Command) -> Result<(), Failure> {
        let reply = self.ours.exchange(&[&command.args]).map(|mut replies| replies.remove(0));
        let reply = reply.map_err(|e| self.lost(0, &command.args, &e))?;
        let Some(theirs) = &mut self.theirs else {
            return self.judge(0, command, &reply, None);
        };
        let members = match &reply {
            Value::Bulk(_) => std::slice::from_ref(&reply),
            Value::Array(members) | Value::Set(members) => members,
            _ => &[],
        };
        let members = members.iter().map(|member| member.bytes().unwrap_or_default().to_vec());
        let mut removal = vec![b"SREM".to_vec(), command.args[1].clone()];
        removal.extend(members);
        let taken = removal.len() - 2;
        let card = vec![b"SCARD".to_vec(), command.args[1].clone()];
        let ask = if taken > 0 { &removal } else { &command.args };
        let replies = theirs.exchange(&[&card, ask]).expect("the referee answers");
        if taken == 0 {
            return self.judge(0, command, &reply, Some(&replies[1]));
        }
        self.count(command, &reply);
        self.note(&command.args, &reply, Some(&replies[1]));
        let asked = command.args.get(2).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
        let asked: i64 = if command.args.len() > 2 { asked.unwrap_or(0) } else { 1 };
        let expected = match replies[0] {
            Value::Int(card) => asked.min(card),
            _ => 0,
        };
        if replies[1] == Value::Int(taken as i64) && taken as i64 == expected {
            return Ok(());
        }
        let what = format!(
            "{}\n  goredis: {}\n  of these the referee had {:?}; {expected} were expected",
            line(&command.args),
            expect::show(&reply),
            replies[1]
        );
        Err(Failure { step: 0, what })
    }

    /// New connections to both: in database 0, and outside of MULTI.
    fn reconnect(&mut self) {
        self.queued = None;
        self.ours.conn = connect(&self.ours.server, self.setup.resp3);
        if let Some(theirs) = &mut self.theirs {
            theirs.conn = connect(&theirs.server, self.setup.resp3);
        }
    }

    fn compare(&mut self) -> Result<(), Failure> {
        self.reconnect();
        let compared = self.compare_data();
        self.reconnect();
        compared.map_err(|what| Failure { step: 0, what })
    }

    fn compare_data(&mut self) -> Result<(), String> {
        let ours = data(&mut self.ours.conn, false)?;
        for db in 0..DATABASES {
            scanned(&mut self.ours.conn, db, &ours)?;
        }
        let Some(theirs) = &mut self.theirs else { return Ok(()) };
        let theirs = data(&mut theirs.conn, false)?;
        let same_expiry = |a: &Value, b: &Value| are_alike(Check::Near, a, b);
        tell_apart(&ours, &theirs, ["goredis", "referee"], same_expiry)
    }

    fn restart(&mut self, kill: bool) -> Result<(), Failure> {
        if let Some(transcript) = &mut self.transcript {
            transcript.push(format!("(restart, kill -9: {kill})"));
        }
        self.reconnect();
        self.is_loaded = true;
        let compared = self.compare_restarted(kill);
        compared.map_err(|what| Failure { step: 0, what })?;
        self.reconnect();
        Ok(())
    }

    fn compare_restarted(&mut self, kill: bool) -> Result<(), String> {
        let before = data(&mut self.ours.conn, self.has_field_expiry)?;
        let again = catch_unwind(AssertUnwindSafe(|| {
            if kill {
                self.ours.server.kill9();
            } else {
                self.ours.server.terminate();
            }
            self.ours.server.restart();
        }));
        if again.is_err() {
            return Err("goredis does not start from its append-only file".to_string());
        }
        self.ours.conn = connect(&self.ours.server, self.setup.resp3);
        let after = data(&mut self.ours.conn, self.has_field_expiry)?;
        let what = if kill { "after kill -9" } else { "after a shutdown" };
        tell_apart(&before, &after, ["before", what], |a, b| a == b)
    }
}

fn arg(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Sends commands and reads their replies, which must be no errors.
fn ask(conn: &mut Conn, commands: &[Vec<Vec<u8>>]) -> Result<Vec<Value>, String> {
    let mut replies = Vec::new();
    for commands in commands.chunks(BATCH) {
        let bytes: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        conn.try_send(&bytes).map_err(|e| e.to_string())?;
        for args in commands {
            let reply = conn.try_read().map_err(|e| format!("{}: {e}", line(args)))?;
            if is_error(&reply) {
                return Err(format!("{}: {}", line(args), expect::show(&reply)));
            }
            replies.push(reply);
        }
    }
    Ok(replies)
}

fn strings(value: &Value) -> Vec<Vec<u8>> {
    let (Value::Array(values) | Value::Set(values)) = value else { return Vec::new() };
    values.iter().map(|value| value.bytes().unwrap_or_default().to_vec()).collect()
}

/// All data of a server.
fn data(conn: &mut Conn, field_expiry: bool) -> Result<Data, String> {
    let mut data = Data::new();
    for db in 0..DATABASES {
        let select = vec![arg("SELECT"), arg(&db.to_string())];
        let keys = strings(&ask(conn, &[select, vec![arg("KEYS"), arg("*")]])?[1]);
        let mut questions = Vec::new();
        for key in &keys {
            questions.push(vec![arg("TYPE"), key.clone()]);
            questions.push(vec![arg("DEBUG"), arg("DIGEST-VALUE"), key.clone()]);
            questions.push(vec![arg("PEXPIRETIME"), key.clone()]);
        }
        let replies = ask(conn, &questions)?;
        for (key, answers) in keys.into_iter().zip(replies.chunks(3)) {
            let [kind, digest, expiry_ms] = [0, 1, 2].map(|i| answers[i].clone());
            let more = match kind.bytes() {
                Some(b"stream") => groups(conn, &key)?,
                Some(b"hash") if field_expiry => field_expiries(conn, &key)?,
                _ => Value::Null,
            };
            data.insert((db, key), Entry { kind, digest, expiry_ms, more });
        }
    }
    Ok(data)
}

fn groups(conn: &mut Conn, key: &[u8]) -> Result<Value, String> {
    let question =
        vec![arg("XINFO"), arg("STREAM"), key.to_vec(), arg("FULL"), arg("COUNT"), arg("0")];
    Ok(canonical(Check::Info, &ask(conn, &[question])?[0]))
}

fn field_expiries(conn: &mut Conn, key: &[u8]) -> Result<Value, String> {
    let mut fields = strings(&ask(conn, &[vec![arg("HKEYS"), key.to_vec()]])?[0]);
    fields.sort();
    let mut question = vec![arg("HPEXPIRETIME"), key.to_vec(), arg("FIELDS")];
    question.push(arg(&fields.len().to_string()));
    question.extend(fields);
    Ok(ask(conn, &[question])?.remove(0))
}

/// Whether SCAN and its kin find what is there.
fn scanned(conn: &mut Conn, db: u32, data: &Data) -> Result<(), String> {
    ask(conn, &[vec![arg("SELECT"), arg(&db.to_string())]])?;
    let here = data.iter().filter(|((of, _), _)| *of == db);
    let keys: BTreeSet<Vec<u8>> = here.clone().map(|((_, key), _)| key.clone()).collect();
    let found = scan(conn, &[arg("SCAN")], 1)?;
    if found != keys {
        return Err(format!("SCAN finds {} of {} keys", found.len(), keys.len()));
    }
    for ((_, key), entry) in here {
        let (command, all, step) = match entry.kind.bytes().unwrap_or_default() {
            b"hash" => ("HSCAN", vec![arg("HKEYS"), key.clone()], 2),
            b"set" => ("SSCAN", vec![arg("SMEMBERS"), key.clone()], 1),
            b"zset" => ("ZSCAN", vec![arg("ZRANGE"), key.clone(), arg("0"), arg("-1")], 2),
            _ => continue,
        };
        let all: BTreeSet<Vec<u8>> = strings(&ask(conn, &[all])?[0]).into_iter().collect();
        let found = scan(conn, &[arg(command), key.clone()], step)?;
        if found != all {
            let key = line(std::slice::from_ref(key));
            return Err(format!("{command} {key} finds {} of {}", found.len(), all.len()));
        }
    }
    Ok(())
}

/// Every `step`-th element that a scan from beginning to end gives.
fn scan(conn: &mut Conn, command: &[Vec<u8>], step: usize) -> Result<BTreeSet<Vec<u8>>, String> {
    let mut found = BTreeSet::new();
    let mut cursor = arg("0");
    loop {
        let question = [command, &[cursor, arg("COUNT"), arg("7")]].concat();
        let reply = ask(conn, &[question])?.remove(0);
        let Value::Array(parts) = reply else { return Err("SCAN: no array".to_string()) };
        found.extend(strings(&parts[1]).into_iter().step_by(step));
        cursor = parts[0].bytes().unwrap_or_default().to_vec();
        if cursor == b"0" {
            return Ok(found);
        }
    }
}

/// An error that names the keys whose data differ.
fn tell_apart(
    a: &Data,
    b: &Data,
    names: [&str; 2],
    same_expiry: impl Fn(&Value, &Value) -> bool,
) -> Result<(), String> {
    let is_same = |a: &Entry, b: &Entry| {
        let expiries = a.expiry_ms == b.expiry_ms || same_expiry(&a.expiry_ms, &b.expiry_ms);
        expiries && a.kind == b.kind && a.digest == b.digest && a.more == b.more
    };
    let show = |entry: Option<&Entry>| match entry {
        None => "no such key".to_string(),
        Some(entry) => {
            let parts = [&entry.kind, &entry.digest, &entry.expiry_ms, &entry.more];
            parts.map(expect::show).join(" ")
        }
    };
    let all: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let differing = all.into_iter().filter(|key| match (a.get(*key), b.get(*key)) {
        (Some(a), Some(b)) => !is_same(a, b),
        _ => true,
    });
    let mut texts = Vec::new();
    for key in differing.take(5) {
        let (db, name) = key;
        let name = line(std::slice::from_ref(name));
        let (a, b) = (show(a.get(key)), show(b.get(key)));
        texts.push(format!("key {name} in {db}\n  {}: {a}\n  {}: {b}", names[0], names[1]));
    }
    if texts.is_empty() { Ok(()) } else { Err(texts.join("\n")) }
}
