//! A server without sockets, for tests of commands: text in, reply out, time moved by hand.

use crate::base::args;
use crate::base::clock::Clock;
use crate::resp::Reply;
use crate::resp::parse::OwnedArgs;
use crate::server::Instance;
use crate::server::client::Client;
use crate::server::command::CommandTable;
use crate::server::config::Config;
use crate::server::ctx::{Ctx, Origin, Propagation};
use crate::server::effects::Effects;
use crate::server::execute::{Request, execute};
use std::sync::LazyLock;

static COMMANDS: LazyLock<&'static CommandTable> =
    LazyLock::new(|| CommandTable::new(super::FAMILIES));

/// When the clock starts, in milliseconds since 1970.
pub const START_MS: i64 = 1_700_000_000_000;

/// A server and one client of it.
pub struct Run {
    pub instance: Instance,
    clock: Clock,
    client_key: usize,
}

impl Run {
    pub fn new() -> Run {
        let clock = Clock::manual(START_MS);
        let mut instance = Instance::new(Config::default(), *COMMANDS, clock.clone());
        instance.read_clocks();
        let client = Client::new(1, None, START_MS / 1000, true);
        let client_key = instance.server.clients.insert(client);
        Run { instance, clock, client_key }
    }

    /// Executes a line, quoted as for redis-cli, and returns the bytes of the reply as text.
    pub fn run(&mut self, line: &str) -> String {
        let words = args::split(line.as_bytes()).expect("balanced quotes");
        let reply = self.run_as(Origin::Client, &words);
        String::from_utf8_lossy(&reply).into_owned()
    }

    pub fn run_as<T: AsRef<[u8]>>(&mut self, origin: Origin, words: &[T]) -> Vec<u8> {
        let owned: OwnedArgs = words.iter().collect();
        let request = Request { args: owned.args(), entry: None, verbatim: None };
        let resp3 = self.client().resp3;
        let mut out = Reply::new(Vec::new(), resp3);
        execute(&mut self.instance, origin, self.client_key, request, &mut out);
        out.into_buf()
    }

    /// Runs lines and compares the replies, in which line ends are shown as spaces.
    #[track_caller]
    pub fn check(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let reply = self.run(line);
            assert_eq!(
                reply.strip_suffix("\r\n").unwrap_or(&reply).replace("\r\n", " "),
                *expected,
                "{line}"
            );
        }
    }

    /// Executes a line, and returns the words that the append-only file gets to see of it.
    pub fn propagated(&mut self, line: &str) -> String {
        let owned: OwnedArgs =
            args::split(line.as_bytes()).expect("balanced quotes").iter().collect();
        let args = owned.args();
        let entry = COMMANDS.find(args.get(0)).expect("a command");
        let mut out = Reply::default();
        let Instance { server, keys } = &mut self.instance;
        keys.select(0);
        let dirty = keys.dirty;
        let (client_key, origin) = (self.client_key, Origin::Client);
        let propagation = Propagation::Verbatim;
        let mut ctx =
            Ctx { server, keys, args, out: &mut out, entry, origin, client_key, propagation };
        (entry.command.handler)(&mut ctx).expect("no error");
        let propagation = ctx.propagation;
        let mut log = Vec::new();
        if keys.dirty == dirty {
            Effects::default().record_expired(&mut log, keys);
        } else {
            Effects::default().record(&mut log, keys, 0, args, None, &propagation);
        }
        let text = String::from_utf8(log).expect("text");
        let is_word = |line: &&str| !line.starts_with(['*', '$']);
        let words: Vec<&str> = text.split_terminator("\r\n").filter(is_word).collect();
        words.join(" ").replacen("SELECT 0", "", 1).trim_start().to_string()
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.instance.server.clients[self.client_key]
    }

    /// Lets time pass; keys that are due go away only when they are looked at.
    pub fn advance(&mut self, ms: u64) {
        self.clock.advance(ms);
        self.instance.read_clocks();
    }
}
