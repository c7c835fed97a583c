//! What a command's handler gets to work with.

use super::Server;
use super::client::{Client, Closing, ReplyMode};
use super::command::{Entry, Handler};
use super::connections::most_output;
use super::error::Error;
use crate::resp::parse::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::store::Keyspace;

/// Who asks for a command to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Client,
    /// A client's EXEC, for a command that was queued.
    Exec,
    /// The loader of the append-only file: nothing is refused, nothing is recorded.
    File,
}

/// What the append-only file and the replicas get to see of a command that changed something.
#[derive(Default)]
pub enum Propagation {
    /// The command as it came.
    #[default]
    Verbatim,
    /// These commands in its place.
    Rewritten(Vec<OwnedArgs>),
    Nothing,
}

pub struct Ctx<'a> {
    pub server: &'a mut Server,
    /// All databases; reads and edits go to the client's.
    pub keys: &'a mut Keyspace,
    /// The arguments, the command's name first. The gate has checked their number.
    pub args: Args<'a>,
    pub out: &'a mut Reply,
    pub entry: &'static Entry,
    pub origin: Origin,
    /// The client's key in `server.clients`.
    pub client_key: usize,
    pub propagation: Propagation,
    /// Somebody reads `propagation`: it need not be made for nobody.
    pub recorded: bool,
    /// The client is to wait instead of having a reply ([`Ctx::block`]).
    pub waits: bool,
}

impl<'a> Ctx<'a> {
    /// The argument at `index`; the gate has checked that there are so many.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index)
    }

    /// An argument as a whole number.
    pub fn int_arg(&self, index: usize) -> Result<i64, Error> {
        crate::base::number::parse_i64(self.arg(index)).ok_or(Error::NOT_AN_INTEGER)
    }

    /// Whether an argument is this word, in any case.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.arg(index).eq_ignore_ascii_case(word.as_bytes())
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.server.clients[self.client_key]
    }

    /// Milliseconds since 1970, the same for the whole command.
    pub fn now_ms(&self) -> i64 {
        self.keys.now_ms
    }

    /// The length of `out` beyond which `client-output-buffer-limit` cuts the client off: a command
    /// that few bytes can ask for a huge reply stops there, and tells [`Ctx::check_output`].
    pub fn most_output(&self) -> usize {
        let Server { clients, config, .. } = &*self.server;
        most_output(&clients[self.client_key], &config.client_output_buffer_limit)
    }

    /// Ends a client whose reply may have been broken off behind `most` bytes. It must be now: the
    /// limit may be another one at the end of the tick.
    pub fn check_output(&mut self, most: usize) {
        // Without replies nothing piles up.
        if self.out.len() > most && self.client().reply == ReplyMode::On {
            self.client().close(Closing::Now);
        }
    }

    /// Does what another command does; that one is what the append-only file and the replicas see.
    pub fn run_as(&mut self, command: OwnedArgs, handler: Handler) -> Result<(), Error> {
        let mut ctx = Ctx {
            server: self.server,
            keys: self.keys,
            args: command.args(),
            out: self.out,
            entry: self.entry,
            origin: self.origin,
            client_key: self.client_key,
            propagation: Propagation::Verbatim,
            recorded: self.recorded,
            waits: false,
        };
        let result = handler(&mut ctx);
        let propagation = ctx.propagation;
        if self.recorded {
            self.propagation = match propagation {
                Propagation::Verbatim => Propagation::Rewritten(vec![command]),
                other => other,
            };
        }
        result
    }

    /// Replaces what the append-only file and the replicas see of this command.
    pub fn propagate<T: AsRef<[u8]>>(&mut self, args: impl IntoIterator<Item = T>) {
        if !self.recorded {
            return;
        }
        let command: OwnedArgs = args.into_iter().collect();
        match &mut self.propagation {
            Propagation::Rewritten(commands) => commands.push(command),
            other => *other = Propagation::Rewritten(vec![command]),
        }
    }
}
