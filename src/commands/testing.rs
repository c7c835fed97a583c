//! A server in a test, without its loop: a line of words in, a reply out. Its clients have real
//! sockets, so that what they are listed with is real.

use super::FAMILIES;
use crate::base::args;
use crate::base::clock::Clock;
use crate::net::conn::Conn;
use crate::net::stream::Stream;
use crate::resp::parse::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::server::Instance;
use crate::server::client::{Client, Closing};
use crate::server::command::CommandTable;
use crate::server::config::{Allowed, Config};
use crate::server::ctx::{Ctx, Origin, Propagation};
use crate::server::effects::Effects;
use crate::server::execute::{Request, execute};
use crate::server::pubsub::{Kind, Message};
use crate::server::{gate, notify};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;

static COMMANDS: LazyLock<&'static CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

/// When the clock starts, in milliseconds since 1970.
pub const START_MS: i64 = 1_700_000_000_000;

/// A server with one client, and more if wanted, whose commands are executed at once.
pub struct Run {
    pub instance: Instance,
    /// Time stands still unless this clock is moved.
    pub clock: Clock,
    /// The client that asks.
    pub client: usize,
    poll: mio::Poll,
    listener: TcpListener,
    /// The other ends of the clients' connections.
    peers: Vec<TcpStream>,
    /// The client that listens to events.
    listener_client: Option<usize>,
}

impl Run {
    pub fn new() -> Run {
        Run::with(Config { appendonly: false, ..Config::default() })
    }

    /// A server that allows DEBUG, whose SLEEP moves the clock.
    pub fn debugging() -> Run {
        let enable_debug_command = Allowed::Yes;
        Run::with(Config { appendonly: false, enable_debug_command, ..Config::default() })
    }

    pub fn with(config: Config) -> Run {
        let clock = Clock::manual(START_MS);
        let instance = Instance::new(config, *COMMANDS, clock.clone());
        let poll = mio::Poll::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peers = Vec::new();
        let listener_client = None;
        let mut run = Run { instance, clock, client: 0, poll, listener, peers, listener_client };
        run.client = run.connect();
        run
    }

    /// A further client; returns its key.
    pub fn connect(&mut self) -> usize {
        self.peers.push(TcpStream::connect(self.listener.local_addr().unwrap()).unwrap());
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = Stream::Tcp(mio::net::TcpStream::from_std(stream));
        let server = &mut self.instance.server;
        let entry = server.clients.vacant_entry();
        let token = mio::Token(entry.key());
        let conn = Conn::new(stream, self.poll.registry(), token).unwrap();
        let user = server.acl.default_user().clone();
        let now_s = self.instance.keys.now_ms / 1000;
        let key = entry.key();
        entry.insert(Box::new(Client::new(server.next_client_id, Some(conn), now_s, user)));
        server.next_client_id += 1;
        key
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.instance.server.clients[self.client]
    }

    /// Lets time pass; keys that are due go away only when they are looked at.
    pub fn advance(&mut self, ms: u64) {
        self.clock.advance(ms);
        self.instance.read_clocks();
    }

    /// From now on replies are in RESP3, or in RESP2 again.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.client().resp3 = resp3;
        self.client().update_state();
    }

    /// Executes a command, and returns the reply's bytes.
    pub fn run_as<T: AsRef<[u8]>>(&mut self, origin: Origin, words: &[T]) -> Vec<u8> {
        self.instance.read_clocks();
        let owned: OwnedArgs = words.iter().collect();
        let mut out = self.output();
        let request = Request { args: owned.args(), entry: None, verbatim: None };
        let Instance { server, keys } = &mut self.instance;
        execute(server, keys, origin, self.client, request, &mut out);
        out.into_buf()
    }

    /// Executes a line as one types it in redis-cli.
    fn bytes(&mut self, line: &str) -> Vec<u8> {
        self.run_as(Origin::Client, &words(line))
    }

    /// The same as text, with `\r\n` as line ends; what is not UTF-8 is replaced.
    pub fn run(&mut self, line: &str) -> String {
        String::from_utf8_lossy(&self.bytes(line)).into_owned()
    }

    /// The same with a space for each line end but the last.
    pub fn reply(&mut self, line: &str) -> String {
        readable(&self.bytes(line))
    }

    /// Runs lines and compares the replies, in which line ends are shown as spaces.
    #[track_caller]
    pub fn check(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            assert_eq!(self.reply(line), *expected, "{line}");
        }
    }

    /// Executes a line, and gives what the append-only file is to see of it instead of a reply.
    pub fn logged(&mut self, line: &str) -> String {
        let owned: OwnedArgs = words(line).iter().collect();
        let dirty = self.instance.keys.dirty;
        let propagation = self.propagation(owned.args(), true);
        let Instance { keys, .. } = &mut self.instance;
        let mut log = Vec::new();
        if keys.dirty == dirty {
            Effects::default().record_expired(&mut log, keys);
        } else {
            Effects::default().record(&mut log, keys, 0, owned.args(), None, &propagation);
        }
        let select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
        readable(log.strip_prefix(select).unwrap_or(&log))
    }

    /// Whether a line that nobody records has left alone what would be recorded.
    pub fn is_unrecorded(&mut self, line: &str) -> bool {
        let owned: OwnedArgs = words(line).iter().collect();
        matches!(self.propagation(owned.args(), false), Propagation::Verbatim)
    }

    fn propagation(&mut self, args: Args<'_>, recorded: bool) -> Propagation {
        self.instance.read_clocks();
        let mut out = self.output();
        let client_key = self.client;
        let Instance { server, keys } = &mut self.instance;
        let entry = server.commands.find(args.get(0)).expect("a command");
        let entry = gate::subcommand(entry, args).expect("a subcommand");
        keys.select(0);
        let (origin, propagation) = (Origin::Client, Propagation::Verbatim);
        let out = &mut out;
        let waits = false;
        let mut ctx = Ctx {
            server,
            keys,
            args,
            out,
            entry,
            origin,
            client_key,
            propagation,
            recorded,
            waits,
        };
        _ = (entry.command.handler)(&mut ctx);
        ctx.propagation
    }

    /// The same as its words alone.
    pub fn propagated(&mut self, line: &str) -> String {
        let log = self.logged(line);
        let words: Vec<&str> = log.split(' ').filter(|w| !w.starts_with(['*', '$'])).collect();
        words.join(" ")
    }

    /// Executes a line, and gives the events it fired, each as its name and its key, behind the
    /// database if that is not 0.
    pub fn events(&mut self, line: &str) -> Vec<String> {
        self.hear("Amn", |run| _ = run.bytes(line))
    }

    /// What happens during `work` of the classes that `notify-keyspace-events` would be told, as a
    /// client hears it.
    pub fn hear(&mut self, classes: &str, work: impl FnOnce(&mut Run)) -> Vec<String> {
        let listener = match self.listener_client {
            Some(listener) => listener,
            None => self.connect(),
        };
        self.listener_client = Some(listener);
        assert_eq!(self.run(&format!("config set notify-keyspace-events K{classes}")), "+OK\r\n");
        let server = &mut self.instance.server;
        let client = &mut server.clients[listener];
        server.pubsub.subscribe(listener, client, Kind::Pattern, b"__keyspace@*");
        work(self);
        let Instance { server, keys } = &mut self.instance;
        // Of what the loop does by itself: a command has published its own.
        notify::publish(server, keys);
        server.pubsub.forget_client(listener, &mut server.clients[listener]);
        let messages = server.pubsub.take_messages();
        assert_eq!(self.run("config set notify-keyspace-events ''"), "+OK\r\n");
        messages.iter().map(event_text).collect()
    }

    /// Runs lines and compares the events they fire, which are listed with commas.
    #[track_caller]
    pub fn check_events(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            assert_eq!(self.events(line).join(", "), *expected, "{line}");
        }
    }

    fn output(&self) -> Reply {
        Reply::new(Vec::new(), self.instance.server.clients[self.client].resp3)
    }

    pub fn closing(&self, client: usize) -> Closing {
        self.instance.server.clients[client].closing
    }
}

/// The event that a message tells of: `__keyspace@<db>__:<key>` is its channel.
fn event_text(message: &Message) -> String {
    let channel = String::from_utf8_lossy(&message.channel);
    let (db, key) = channel.strip_prefix("__keyspace@").unwrap().split_once("__:").unwrap();
    let name = String::from_utf8_lossy(&message.text);
    if db == "0" { format!("{name} {key}") } else { format!("{db}: {name} {key}") }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    args::split(line.as_bytes()).expect("balanced quotes")
}

fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.strip_suffix("\r\n").unwrap_or(&text).replace("\r\n", " ")
}
