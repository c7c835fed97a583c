//! A client with a cache of replies, which believes what the server tells it and nothing else.

use super::commands::{Args, Command, Generator};
use crate::support::{Conn, Server, encode};
use goredis::resp::read::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How a client has itself told of changes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub name: &'static str,
    pub resp3: bool,
    /// Messages go to a connection of its own, which uses this protocol.
    pub listener_resp3: Option<bool>,
    pub options: &'static str,
    /// What it asks for in broadcasting mode.
    pub prefixes: Option<&'static [&'static str]>,
}

const PLAIN: Plan =
    Plan { name: "plain", resp3: true, listener_resp3: None, options: "", prefixes: None };

pub const PLANS: &[Plan] = &[
    PLAIN,
    Plan { name: "noloop", options: "NOLOOP", ..PLAIN },
    Plan { name: "redirected in RESP2", resp3: false, listener_resp3: Some(false), ..PLAIN },
    Plan { name: "redirected in RESP3", listener_resp3: Some(true), ..PLAIN },
    Plan {
        name: "redirected from RESP2 to RESP3, noloop",
        resp3: false,
        listener_resp3: Some(true),
        options: "NOLOOP",
        ..PLAIN
    },
    Plan { name: "opt in", options: "OPTIN", ..PLAIN },
    Plan { name: "opt in, noloop", options: "OPTIN NOLOOP", ..PLAIN },
    Plan { name: "opt out", options: "OPTOUT", ..PLAIN },
    Plan { name: "broadcast", options: "BCAST", prefixes: Some(&[""]), ..PLAIN },
    Plan {
        name: "broadcast, prefixes, noloop",
        options: "BCAST PREFIX a PREFIX d: NOLOOP",
        prefixes: Some(&["a", "d:"]),
        ..PLAIN
    },
    Plan {
        name: "broadcast, prefix, redirected in RESP2",
        resp3: false,
        listener_resp3: Some(false),
        options: "BCAST PREFIX b:",
        prefixes: Some(&["b:"]),
    },
];

impl Plan {
    fn has(&self, option: &str) -> bool {
        self.options.split(' ').any(|word| word == option)
    }
}

/// How often things happened.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub queries: usize,
    /// Keys told of.
    pub told: usize,
    pub flushes: usize,
    /// Cached replies compared with the server's.
    pub compared: usize,
}

pub struct Client {
    pub plan: Plan,
    /// The server is goredis.
    ours: bool,
    pub cache: BTreeMap<Args, Value>,
    pub tally: Tally,
    /// Every so many messages one is not listened to: to see that it is noticed.
    pub deaf: Option<usize>,
    conn: Conn,
    /// The connection for messages and its id.
    listener: Option<(Conn, i64)>,
    /// The cached queries that depend on a key.
    queries: HashMap<String, BTreeSet<Args>>,
    /// Keys that the server may remember for this client: the round in which it read them last,
    /// and how often it may be told of the key for that.
    read: HashMap<String, (usize, usize)>,
    round: usize,
    /// What it asked and heard, for reports.
    pub log: Vec<String>,
}

/// What a client sends at once, and what it makes of each reply.
pub struct Batch {
    commands: Vec<(Command, bool)>,
}

impl Client {
    pub fn new(server: &Server, plan: Plan, ours: bool) -> Client {
        let mut client = Client {
            plan,
            ours,
            cache: BTreeMap::new(),
            tally: Tally::default(),
            deaf: None,
            conn: server.connect(),
            listener: None,
            queries: HashMap::new(),
            read: HashMap::new(),
            round: 0,
            log: Vec::new(),
        };
        client.begin(server);
        client
    }

    /// A new connection, which begins without a cache.
    pub fn reconnect(&mut self, server: &Server) {
        self.conn = server.connect();
        self.read.clear();
        self.begin(server);
    }

    fn begin(&mut self, server: &Server) {
        self.note("connects".to_string());
        if self.plan.resp3 {
            self.conn.command(&["HELLO", "3"]);
        }
        self.listen(server);
        self.turn_on();
    }

    /// Another connection for messages: what the former one would have got is lost.
    pub fn listen(&mut self, server: &Server) {
        self.forget_all();
        self.listener = self.plan.listener_resp3.map(|resp3| {
            let mut listener = server.connect();
            let Value::Int(id) = listener.command(&["CLIENT", "ID"]) else { panic!("no id") };
            if resp3 {
                listener.command(&["HELLO", "3"]);
            } else {
                listener.command(&["SUBSCRIBE", "__redis__:invalidate"]);
            }
            (listener, id)
        });
    }

    pub fn turn_on(&mut self) {
        let mut args: Vec<String> = ["CLIENT", "TRACKING", "ON"].map(String::from).into();
        args.extend(self.plan.options.split_whitespace().map(String::from));
        if let Some((_, id)) = &self.listener {
            args.extend(["REDIRECT".to_string(), id.to_string()]);
        }
        let reply = self.ask(&args);
        assert_eq!(reply, Value::Simple(b"OK".to_vec()), "{args:?}");
    }

    pub fn turn_off(&mut self) {
        self.note("turns tracking off".to_string());
        self.forget_all();
        self.ask(&["CLIENT", "TRACKING", "OFF"].map(String::from));
        // What came until then is not for the next cache.
        self.drain().unwrap();
    }

    fn forget_all(&mut self) {
        self.cache.clear();
        self.queries.clear();
    }

    fn forget(&mut self, key: &str) {
        for query in self.queries.remove(key).unwrap_or_default() {
            self.cache.remove(&query);
        }
    }

    fn remember(&mut self, query: &Command, reply: Value) {
        let allowed = |key: &String| {
            self.plan.prefixes.is_none_or(|all| all.iter().any(|prefix| key.starts_with(prefix)))
        };
        if !query.keys.iter().all(allowed) {
            return;
        }
        for key in &query.keys {
            self.queries.entry(key.clone()).or_default().insert(query.args.clone());
        }
        self.cache.insert(query.args.clone(), reply);
    }

    /// A command by itself, not to be cached.
    fn ask(&mut self, args: &[String]) -> Value {
        self.conn.send(&encode(args));
        loop {
            match self.conn.read() {
                Value::Push(message) => self.hear(&message).unwrap(),
                reply => return reply,
            }
        }
    }

    /// Sends some commands without waiting for replies.
    pub fn send(&mut self, generator: &mut Generator) -> Batch {
        self.round += 1;
        let mut commands = Vec::new();
        for _ in 0..1 + generator.rng.index(3) {
            if generator.one_in(6) {
                self.add_transaction(generator, &mut commands);
            } else {
                self.add(generator, &mut commands);
            }
        }
        let bytes: Vec<u8> =
            commands.iter().flat_map(|(command, _)| encode(&command.args)).collect();
        self.conn.send(&bytes);
        Batch { commands }
    }

    fn other(words: &str) -> Command {
        let args = words.split(' ').map(String::from).collect();
        Command { args, keys: Vec::new(), is_query: false }
    }

    /// Whether CLIENT CACHING is sent in front of a command, and whether it may be cached then.
    fn choose(&self, generator: &mut Generator, commands: &mut Vec<(Command, bool)>) -> bool {
        let (opt_in, opt_out) = (self.plan.has("OPTIN"), self.plan.has("OPTOUT"));
        if !opt_in && !opt_out || generator.one_in(3) {
            return !opt_in;
        }
        let words = if opt_in { "CLIENT CACHING YES" } else { "CLIENT CACHING NO" };
        commands.push((Client::other(words), false));
        if generator.one_in(4) {
            commands.push((Client::other("CLIENT GETNAME"), false));
        }
        opt_in
    }

    fn add(&self, generator: &mut Generator, commands: &mut Vec<(Command, bool)>) {
        if generator.one_in(3) {
            commands.push((generator.change(), false));
        } else {
            let cached = self.choose(generator, commands);
            commands.push((generator.query(), cached));
        }
    }

    fn add_transaction(&self, generator: &mut Generator, commands: &mut Vec<(Command, bool)>) {
        let cached = self.choose(generator, commands);
        commands.push((Client::other("MULTI"), false));
        for _ in 0..1 + generator.rng.index(4) {
            let is_query = generator.one_in(2);
            let command = if is_query { generator.query() } else { generator.change() };
            commands.push((command, cached && is_query));
        }
        commands.push((Client::other("EXEC"), false));
    }

    /// Reads the replies, and what is told between them.
    pub fn receive(&mut self, batch: Batch) -> Result<(), String> {
        let mut queued: Vec<(Command, bool)> = Vec::new();
        for (command, cached) in batch.commands {
            let reply = loop {
                match self.conn.read() {
                    Value::Push(message) => self.hear(&message)?,
                    reply => break reply,
                }
            };
            if reply == Value::Simple(b"QUEUED".to_vec()) {
                queued.push((command, cached));
            } else if command.args == ["EXEC"] {
                let Value::Array(replies) = reply else { return Err(format!("EXEC: {reply:?}")) };
                for ((command, cached), reply) in
                    std::mem::take(&mut queued).into_iter().zip(replies)
                {
                    self.answered(&command, cached, reply);
                }
            } else {
                self.answered(&command, cached, reply);
            }
        }
        Ok(())
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{}: {what}", self.round));
    }

    fn answered(&mut self, command: &Command, cached: bool, reply: Value) {
        let how = if cached { "cached" } else { "" };
        self.note(format!("{} -> {reply:?} {how}", command.args.join(" ")));
        // With NOLOOP redis-server does not even tell of a key that is found to be due by a command
        // of the client, be it a query.
        if self.plan.has("NOLOOP") && (!command.is_query || !self.ours) {
            command.keys.iter().for_each(|key| self.forget(key));
        }
        if !command.is_query {
            return;
        }
        if cached {
            self.tally.queries += 1;
            for key in &command.keys {
                let (round, times) = self.read.entry(key.clone()).or_default();
                if *round < self.round && self.listener.is_none() {
                    // What a transaction finds of former reads is told behind all of it.
                    *times = (*times).min(1);
                }
                (*round, *times) = (self.round, *times + 1);
            }
            self.remember(command, reply);
        }
    }

    /// Listens to all that has been said before now.
    pub fn drain(&mut self) -> Result<(), String> {
        self.conn.send(&encode(&["PING"]));
        while let Value::Push(message) = self.conn.read() {
            self.hear(&message)?;
        }
        if let Some((listener, _)) = &mut self.listener {
            listener.send(&encode(&["PING"]));
        }
        while let Some((listener, _)) = &mut self.listener {
            match listener.read() {
                Value::Push(message) => self.hear(&message)?,
                Value::Array(parts) if parts.first() == Some(&Value::Bulk(b"message".to_vec())) => {
                    self.hear(&parts[1..])?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// A message, whose first part is its kind or the channel.
    fn hear(&mut self, message: &[Value]) -> Result<(), String> {
        match message {
            [kind, Value::Array(keys)] if is_invalidation(kind) => {
                for key in keys {
                    let key = String::from_utf8_lossy(key.bytes().unwrap_or_default()).into_owned();
                    self.hear_of(&key)?;
                }
                Ok(())
            }
            [kind, nothing] if is_invalidation(kind) && nothing.is_null() => {
                self.tally.flushes += 1;
                self.note("told of all".to_string());
                self.forget_all();
                Ok(())
            }
            // The connection for messages was closed, and its cache was forgotten then.
            [kind, Value::Int(_)] if kind.bytes() == Some(b"tracking-redir-broken") => {
                if self.plan.listener_resp3.is_some() {
                    Ok(())
                } else {
                    Err("no redirection".into())
                }
            }
            other => Err(format!("{}: a strange message: {other:?}", self.plan.name)),
        }
    }

    fn hear_of(&mut self, key: &str) -> Result<(), String> {
        self.tally.told += 1;
        self.note(format!("told of {key}"));
        let expected = match self.plan.prefixes {
            Some(prefixes) => prefixes.iter().any(|prefix| key.starts_with(prefix)),
            None => self.read.contains_key(key),
        };
        if !expected {
            return Err(format!("{}: told of {key}, which it has not read", self.plan.name));
        }
        // Each read has the server tell of the key once. The last one may still be to come of a
        // read behind the change; what comes by another connection can be older still.
        if let Some((round, times)) = self.read.get_mut(key) {
            *times = times.saturating_sub(1);
            if *times == 0 && (*round < self.round || self.listener.is_some()) {
                self.read.remove(key);
            }
        }
        if !self.deaf.is_some_and(|times| self.tally.told.is_multiple_of(times)) {
            self.forget(key);
        }
        Ok(())
    }
}

fn is_invalidation(kind: &Value) -> bool {
    kind.bytes().is_some_and(|kind| kind == b"invalidate" || kind == b"__redis__:invalidate")
}
