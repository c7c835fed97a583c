//! Runs test scripts against a server: in one protocol, and if asked with a restart behind each
//! section, across which the data must stay the same.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use goredis::resp::read::Value;

use super::expect::{self, Expected};
use super::script::{self, Script, Section, Step, Version};
use super::{Conn, DEADLINE, Options, Server, wait_for};

/// How long `(none)` listens for what must not come. What does come later spoils the next reply.
const SILENCE: Duration = Duration::from_millis(50);

/// One way to run scripts.
#[derive(Clone)]
pub struct Way {
    pub resp3: bool,
    /// Run with an append-only file, and restart from it behind each section.
    pub restart: bool,
}

/// What was found. `failures` are for people; `replies` for filling in expectations.
#[derive(Default)]
pub struct Report {
    pub failures: Vec<String>,
    /// By line, each reply that a command without an expectation got.
    pub replies: Vec<(usize, Value)>,
    pub commands: usize,
}

/// The redis-server that the scripts are to be proved against, if there is one.
pub fn referee() -> Option<String> {
    std::env::var("GOREDIS_REFEREE").ok().filter(|program| !program.is_empty())
}

/// The version of the referee, which tells what it cannot confirm; none for goredis.
fn referee_version() -> Option<Version> {
    let program = referee()?;
    let output = std::process::Command::new(&program).arg("--version").output();
    let text = String::from_utf8(output.unwrap_or_else(|e| panic!("{program}: {e}")).stdout);
    let text = text.unwrap();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    Some(script::version(version.unwrap_or_else(|| panic!("no version in {text}"))).unwrap())
}

fn options(way: &Way, extra: &[String]) -> Options {
    // What a server protects by default, the scripts must be able to ask for.
    let common = ["--enable-debug-command", "yes", "--enable-protected-configs", "yes"];
    let mut options = Options::new();
    if let Some(program) = referee() {
        options = options.redis(&program);
    }
    options = options.args(&common);
    if way.restart {
        options = options.args(&["--appendonly", "yes"]);
    }
    options.args(extra)
}

/// Runs one script.
pub fn run(script: &Script, way: &Way) -> Report {
    let mut report = Report::default();
    let version = referee_version();
    let mut server: Option<Server> = None;
    for (index, section) in script.sections.iter().enumerate() {
        let mut own;
        let server = match &section.server {
            Some(extra) => {
                own = Server::start(options(way, extra));
                &mut own
            }
            None => server.get_or_insert_with(|| Server::start(options(way, &[]))),
        };
        let mut runner = Runner {
            script,
            section,
            way,
            server,
            version,
            clients: HashMap::new(),
            variables: Vec::new(),
            report: &mut report,
        };
        runner.section(index % 2 == 1);
    }
    report
}

struct Client {
    conn: Conn,
    resp3: bool,
}

struct Runner<'a> {
    script: &'a Script,
    section: &'a Section,
    way: &'a Way,
    server: &'a mut Server,
    /// Of the referee; none for goredis.
    version: Option<Version>,
    clients: HashMap<String, Client>,
    /// Replies that `@let` has remembered.
    variables: Vec<(String, Vec<u8>)>,
    report: &'a mut Report,
}

impl Runner<'_> {
    fn section(&mut self, kill: bool) {
        if !self.is_confirmed(self.section.since) {
            return;
        }
        // A server of its own is empty, and may ask for a password.
        if self.section.server.is_none() {
            let reply = self.server.connect().command(&["FLUSHALL"]);
            assert!(matches!(reply, Value::Simple(_)), "FLUSHALL: {reply:?}");
        }
        for step in &self.section.steps {
            if let Err(e) = self.step(step) {
                let what = format!("{e}; the rest of \"{}\" was left out", self.section.name);
                self.fail(step, step.command.as_deref().unwrap_or_default(), &what);
                return;
            }
        }
        if self.way.restart && !self.section.no_restart && self.section.server.is_none() {
            self.restart(kill);
        }
    }

    /// Whether the server is of a version that behaves as said.
    fn is_confirmed(&self, since: Option<Version>) -> bool {
        match (since, self.version) {
            (Some(since), Some(version)) => version >= since,
            _ => true,
        }
    }

    fn fail(&mut self, step: &Step, command: &str, what: &str) {
        let protocol = if self.way.resp3 { "RESP3" } else { "RESP2" };
        let client = &step.client;
        self.report.failures.push(format!(
            "{}:{}: {protocol} {client}> {}\n{what}",
            self.script.path.display(),
            step.line,
            command.chars().take(300).collect::<String>(),
        ));
    }

    /// An error is one of the connection, after which there is no point in going on.
    fn step(&mut self, step: &Step) -> io::Result<()> {
        if step.notes.only_resp3.is_some_and(|only| only != self.way.resp3) {
            return Ok(());
        }
        if !self.clients.contains_key(&step.client) {
            let client = self.connect()?;
            self.clients.insert(step.client.clone(), client);
        }
        if step.command.is_none() {
            return self.message(step);
        }
        let outer = self.variables.len();
        for i in 1..=step.notes.repeat.unwrap_or(1) {
            self.variables.push(("i".to_string(), i.to_string().into_bytes()));
            let done = self.command(step);
            let remembered = self.variables.split_off(outer + 1);
            self.variables.truncate(outer);
            self.variables.extend(remembered);
            if !done? {
                break;
            }
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<Client> {
        let mut conn = Conn::try_connect(("127.0.0.1", self.server.port()))?;
        if self.way.resp3 && self.section.server.is_none() {
            conn.try_command(&["HELLO", "3"])?;
            return Ok(Client { conn, resp3: true });
        }
        Ok(Client { conn, resp3: false })
    }

    /// Sends a command and compares its reply; false if it was not as expected.
    fn command(&mut self, step: &Step) -> io::Result<bool> {
        let words: Vec<_> =
            step.words().iter().map(|word| script::substitute(word, &self.variables)).collect();
        self.report.commands += 1;
        let mut got = None;
        let mut matched = false;
        let mut error = None;
        let deadline = if step.notes.wait { DEADLINE } else { Duration::ZERO };
        wait_for(deadline, || {
            match self.exchange(step, &words) {
                Ok((value, is_right)) => (got, matched) = (value, is_right),
                Err(e) => error = Some(e),
            }
            matched || error.is_some() || !step.notes.wait
        });
        if let Some(e) = error {
            return Err(e);
        }
        if let (Some(name), Some(value)) = (&step.notes.remember, &got) {
            self.variables.retain(|(other, _)| other != name);
            self.variables.push((name.clone(), text_of(value)));
        }
        if !matched {
            self.complain(step, &words, got);
        }
        Ok(matched)
    }

    /// Sends a command once. Returns the reply, if one was waited for, and whether it is right.
    fn exchange(&mut self, step: &Step, words: &[Vec<u8>]) -> io::Result<(Option<Value>, bool)> {
        let confirmed = self.is_confirmed(step.notes.since);
        let client = self.clients.get_mut(&step.client).unwrap();
        client.conn.try_send(&super::encode(words))?;
        let asked = asked_protocol(words);
        // What the reply is read as: HELLO is answered in the protocol it asks for.
        let resp3 = asked.unwrap_or(client.resp3);
        match script::expected(step, resp3, &self.variables) {
            Some(Expected::None) => Ok((None, is_silent(&mut client.conn)?)),
            Some(Expected::Closed) => Ok((None, client.conn.is_closed_within(DEADLINE))),
            expected => {
                let value = client.conn.try_read()?;
                if !matches!(value, Value::Error(_)) {
                    client.resp3 = resp3;
                }
                let Some(expected) = expected else {
                    self.report.replies.push((step.line, value.clone()));
                    return Ok((Some(value), false));
                };
                let resp3 = self.clients[&step.client].resp3;
                let matched = !confirmed || expected.matches(&value, resp3);
                Ok((Some(value), matched))
            }
        }
    }

    fn complain(&mut self, step: &Step, words: &[Vec<u8>], got: Option<Value>) {
        let resp3 = self.clients[&step.client].resp3;
        let wanted = match (&step.expected, &step.expected_resp3) {
            (_, Some(text)) if resp3 => text,
            (Some(text), _) => text,
            (None, _) => "(the script does not say)",
        };
        let command: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let got = got.map_or("something, or nothing, at the wrong time".to_string(), |value| {
            let raw = if value.is_null() { format!("  {value:?}") } else { String::new() };
            expect::show(&value) + &raw
        });
        let what = format!("  expected {wanted}\n  got      {got}");
        self.fail(step, &command.join(" "), &what);
    }

    /// Waits for what the server sends without being asked.
    fn message(&mut self, step: &Step) -> io::Result<()> {
        let client = self.clients.get_mut(&step.client).unwrap();
        let expected = script::expected(step, client.resp3, &self.variables);
        let (matched, got) = match expected {
            Some(Expected::None) => (is_silent(&mut client.conn)?, None),
            Some(Expected::Closed) => (client.conn.is_closed_within(DEADLINE), None),
            Some(expected) => {
                let value = client.conn.try_read()?;
                (expected.matches(&value, client.resp3), Some(value))
            }
            None => (false, None),
        };
        if !matched && self.is_confirmed(step.notes.since) {
            self.complain(step, &[b"(a message)".to_vec()], got);
        }
        Ok(())
    }

    /// Ends the server and starts it again, and compares the data.
    fn restart(&mut self, kill: bool) {
        self.clients.clear();
        let mut conn = self.server.connect();
        let before = data(&mut conn);
        if kill {
            if referee().is_some() {
                // With everysec redis-server puts off what it writes while a sync takes long, and
                // a kill would lose it.
                conn.command(&["CONFIG", "SET", "appendfsync", "no"]);
            }
            self.server.kill9();
        } else {
            self.server.terminate();
        }
        self.server.restart();
        let after = data(&mut self.server.connect());
        if before != after {
            let how = if kill { "kill -9" } else { "shutdown" };
            self.report.failures.push(format!(
                "{}: \"{}\": other data after {how} and restart\n  before {before:#?}\n  \
                 after  {after:#?}",
                self.script.path.display(),
                self.section.name,
            ));
        }
    }
}

/// Whether nothing comes.
fn is_silent(conn: &mut Conn) -> io::Result<bool> {
    conn.set_timeout(SILENCE)?;
    let got = conn.try_read();
    conn.set_timeout(DEADLINE)?;
    match got {
        Err(e) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&e.kind()) => {
            Ok(true)
        }
        other => other.map(|_| false),
    }
}

/// The protocol that a command changes to if it succeeds: true for RESP3.
fn asked_protocol(words: &[Vec<u8>]) -> Option<bool> {
    let word = |index: usize| words.get(index).map(|word| word.to_ascii_lowercase());
    match (word(0)?.as_slice(), word(1).as_deref()) {
        (b"hello", Some(b"3")) => Some(true),
        (b"hello", Some(b"2")) | (b"reset", None) => Some(false),
        _ => None,
    }
}

fn text_of(value: &Value) -> Vec<u8> {
    match value {
        Value::Int(n) => n.to_string().into_bytes(),
        Value::Error(text) => text.clone(),
        // DEBUG DIGEST-VALUE answers one key with a list of one.
        Value::Array(values) if values.len() == 1 => text_of(&values[0]),
        other => other.bytes().unwrap_or_default().to_vec(),
    }
}

/// All data of a server, in few words: the digest, and when each key and each field of a hash
/// expires.
fn data(conn: &mut Conn) -> (String, Vec<(u32, String, i64)>) {
    let digest = conn.text(&["DEBUG", "DIGEST"]);
    let mut expiries = Vec::new();
    for db in 0..16 {
        assert_eq!(conn.command(&["SELECT", &db.to_string()]), Value::Simple(b"OK".to_vec()));
        let Value::Array(keys) = conn.command(&["KEYS", "*"]) else { panic!("KEYS: no array") };
        for key in keys {
            let key = key.bytes().unwrap().to_vec();
            let reply = conn.command(&[b"PEXPIRETIME".as_slice(), &key]);
            let Value::Int(expiry_ms) = reply else { panic!("PEXPIRETIME: {reply:?}") };
            let name = String::from_utf8_lossy(&key).into_owned();
            if expiry_ms >= 0 {
                expiries.push((db, name.clone(), expiry_ms));
            }
            let fields = field_expiries(conn, &key).into_iter();
            expiries.extend(fields.map(|(field, ms)| (db, format!("{name} {field}"), ms)));
        }
    }
    expiries.sort();
    (digest, expiries)
}

/// When the fields of the hash at a key expire; nothing for a key of another type.
fn field_expiries(conn: &mut Conn, key: &[u8]) -> Vec<(String, i64)> {
    // Large values are tested elsewhere; here it would be a round trip for each of many fields.
    const MOST: usize = 100;
    let Value::Array(fields) = conn.command(&[b"HKEYS".as_slice(), key]) else { return Vec::new() };
    let fields = fields.iter().take(MOST).map(|field| field.bytes().unwrap());
    let mut expiries = Vec::new();
    for field in fields {
        let reply = conn.command(&[b"HPEXPIRETIME".as_slice(), key, b"FIELDS", b"1", field]);
        // A field may go meanwhile.
        if let Value::Array(times) = reply
            && let [Value::Int(ms @ 0..)] = times[..]
        {
            expiries.push((String::from_utf8_lossy(field).into_owned(), ms));
        }
    }
    expiries
}
