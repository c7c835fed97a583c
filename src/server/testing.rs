//! Runs commands without a network, for the unit tests of commands.

use super::Instance;
use super::client::Client;
use super::command::{Command, CommandTable};
use super::config::Config;
use super::ctx::{Ctx, Origin, Propagation};
use super::effects::Effects;
use super::execute::{Request, execute};
use crate::base::args;
use crate::base::clock::Clock;
use crate::resp::Reply;
use crate::resp::parse::OwnedArgs;

/// A server of its own with one client.
pub struct Run {
    pub instance: Instance,
    client_key: usize,
}

impl Run {
    /// A server that knows these commands, at a time that stands still.
    pub fn new(families: &[&'static [Command]]) -> Run {
        let (table, clock) = (CommandTable::new(families), Clock::manual(1_700_000_000_000));
        let mut instance = Instance::new(Config::default(), table, clock);
        let client_key = instance.server.clients.insert(Client::new(1, None, 0, true));
        Run { instance, client_key }
    }

    /// The protocol of the replies that follow.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.instance.server.clients[self.client_key].resp3 = resp3;
    }

    fn reply(&self) -> Reply {
        Reply::new(Vec::new(), self.instance.server.clients[self.client_key].resp3)
    }

    /// Executes a line of words, quoted as in redis-cli, and gives the reply's bytes, with a
    /// space for each end of a line. What is not UTF-8 is replaced.
    pub fn run(&mut self, line: &str) -> String {
        let args = words(line);
        let mut out = self.reply();
        let request = Request { args: args.args(), entry: None, verbatim: None };
        execute(&mut self.instance, Origin::Client, self.client_key, request, &mut out);
        readable(out.as_bytes())
    }

    /// Executes a line, and gives what the append-only file is to see of it instead of a reply.
    pub fn logged(&mut self, line: &str) -> String {
        let owned = words(line);
        let args = owned.args();
        let mut out = self.reply();
        let Instance { server, keys } = &mut self.instance;
        let entry = server.commands.find(args.get(0)).expect("a command");
        let (origin, client_key) = (Origin::Client, self.client_key);
        let propagation = Propagation::Verbatim;
        let dirty = keys.dirty;
        let mut ctx =
            Ctx { server, keys, args, out: &mut out, entry, origin, client_key, propagation };
        _ = (entry.command.handler)(&mut ctx);
        let propagation = ctx.propagation;
        let mut log = Vec::new();
        if keys.dirty != dirty {
            // A file that begins with the database already selected.
            let mut effects = Effects::default();
            effects.record(&mut log, keys, 0, args, None, &propagation);
            let select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
            log = log.strip_prefix(select).unwrap_or(&log).to_vec();
        }
        readable(&log)
    }
}

fn words(line: &str) -> OwnedArgs {
    args::split(line.as_bytes()).expect("balanced quotes").into_iter().collect()
}

fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", " ").trim_end().to_string()
}
