//! Commands without sockets, for unit tests of handlers.

use super::Instance;
use super::client::{Client, Closing};
use super::command::CommandTable;
use super::config::Config;
use super::ctx::Origin;
use super::execute::{Request, execute};
use crate::base::args;
use crate::base::clock::Clock;
use crate::commands::FAMILIES;
use crate::net::conn::Conn;
use crate::net::stream::Stream;
use crate::resp::Reply;
use crate::resp::parse::OwnedArgs;
use std::net::{TcpListener, TcpStream};

/// A server with one client and more if wanted, whose commands are executed at once.
pub struct Run {
    pub instance: Instance,
    /// The client that asks.
    pub client: usize,
    poll: mio::Poll,
    listener: TcpListener,
    /// The other ends of the clients' connections.
    peers: Vec<TcpStream>,
}

#[allow(clippy::new_without_default)]
impl Run {
    pub fn new() -> Run {
        Run::with(Config::default())
    }

    pub fn with(config: Config) -> Run {
        let instance = Instance::new(config, CommandTable::new(FAMILIES), Clock::system());
        let poll = mio::Poll::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut run = Run { instance, client: 0, poll, listener, peers: Vec::new() };
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
        let open = server.config.requirepass.is_empty();
        let now_s = self.instance.keys.now_ms / 1000;
        let key = entry.key();
        entry.insert(Client::new(server.next_client_id, Some(conn), now_s, open));
        server.next_client_id += 1;
        key
    }

    /// Executes a line as one types it in redis-cli; returns the reply's bytes as text, with `\r\n`
    /// as line ends.
    pub fn run(&mut self, line: &str) -> String {
        let words: OwnedArgs = args::split(line.as_bytes()).unwrap().into_iter().collect();
        let resp3 = self.instance.server.clients[self.client].resp3;
        let mut out = Reply::new(Vec::new(), resp3);
        let request = Request { args: words.args(), entry: None, verbatim: None };
        execute(&mut self.instance, Origin::Client, self.client, request, &mut out);
        self.instance.server.clients[self.client].resp3 = out.is_resp3();
        String::from_utf8_lossy(out.as_bytes()).into_owned()
    }

    pub fn closing(&self, client: usize) -> Closing {
        self.instance.server.clients[client].closing
    }
}
