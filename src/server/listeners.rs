//! The sockets this server listens on, also as `bind` and `port` change while it runs. Clients
//! that are connected stay so, whatever happens here.

use super::config::Config;
use crate::net::listener::Listener;
use crate::net::stream::Stream;
use log::{info, warn};
use mio::{Registry, Token};
use std::io;
use std::path::Path;

/// Tokens of events from here on, up to `u64::MAX - 16`, are listeners'.
pub const FIRST_TOKEN: usize = usize::MAX - 4096;
const MOST_LISTENERS: usize = 4000;

#[derive(Default)]
pub struct Listeners {
    /// Where events are registered; without it (in a test) nothing is accepted.
    registry: Option<Registry>,
    unix: Option<Listener>,
    tcp: Vec<Listener>,
    /// What `tcp` listens on, as it was configured.
    bind: Vec<String>,
    configured_port: u16,
    /// The port it is, also where the system chose it.
    port: u16,
}

impl Listeners {
    /// From now on, new connections are events of this registry's poll: a listener's token is
    /// [`FIRST_TOKEN`] plus the index for [`Listeners::accept`].
    pub fn attach(&mut self, registry: Registry) {
        self.registry = Some(registry);
    }

    /// Listens wherever the configuration says, at the start. Port 0 is no port; but where that
    /// would leave nothing to listen on, the system chooses one.
    ///
    /// # Errors
    /// A text for the log: the server cannot be reached as it should.
    pub fn open(&mut self, config: &Config) -> Result<(), String> {
        let path = &config.unixsocket;
        if !path.is_empty() {
            let failed = |e: io::Error| format!("Failed opening Unix socket {path}, aborting: {e}");
            let opened = Listener::unix(Path::new(path), config.unixsocketperm, config.tcp_backlog);
            let mut listener = opened.map_err(failed)?;
            self.register(&mut listener, 0).map_err(failed)?;
            self.unix = Some(listener);
        }
        let choose = config.port == 0 && path.is_empty();
        // Waited for by tools that then try another port.
        self.listen(config, config.port, choose)
            .map_err(|_| format!("Failed listening on port {} (tcp), aborting.", config.port))?;
        if choose && self.port != 0 {
            info!("Port 0 was asked for: listening on port {}", self.port);
        }
        Ok(())
    }

    /// Listens on other TCP addresses, or another port; 0 is none. After an error, which is
    /// logged, the former ones are listened on.
    pub fn change(&mut self, config: &Config) -> io::Result<()> {
        if (config.port, &config.bind) == (self.configured_port, &self.bind) {
            return Ok(());
        }
        if config.port != self.configured_port {
            // The former sockets cannot be in the way, so nobody need be turned away meanwhile.
            return self.listen(config, config.port, false);
        }
        // An address may be part of the former one, as 127.0.0.1 is of `*`.
        self.tcp.clear();
        let port = self.port;
        let Err(error) = self.listen(config, port, false) else { return Ok(()) };
        let former = Config { bind: self.bind.clone(), ..config.clone() };
        if let Err(e) = self.listen(&former, port, false) {
            warn!("The former addresses cannot be listened on any more: {e}");
        }
        Err(error)
    }

    /// Listens on a port of the addresses; 0 is none, unless the system is to `choose`.
    fn listen(&mut self, config: &Config, mut port: u16, choose: bool) -> io::Result<()> {
        let mut new = Vec::new();
        for address in &config.bind {
            if port == 0 && !choose {
                break;
            }
            if let Some(listener) = bind(address, port, config.tcp_backlog)? {
                port = listener.port().unwrap_or(port);
                new.push(listener);
            }
        }
        if new.len() > MOST_LISTENERS {
            return Err(io::Error::other("too many addresses"));
        }
        for (index, listener) in new.iter_mut().enumerate() {
            // The index may still be that of a former socket, whose last events then are at worst
            // an `accept` in vain.
            self.register(listener, index + 1)?;
        }
        self.tcp = new;
        self.bind = config.bind.clone();
        self.configured_port = config.port;
        self.port = port;
        Ok(())
    }

    fn register(&self, listener: &mut Listener, index: usize) -> io::Result<()> {
        let Some(registry) = &self.registry else { return Ok(()) };
        listener.register(registry, Token(FIRST_TOKEN + index))
    }

    /// The next connection that waits at the listener with this index; `WouldBlock` when there is
    /// none.
    pub fn accept(&self, index: usize) -> io::Result<Stream> {
        let listener = match index.checked_sub(1) {
            None => self.unix.as_ref(),
            Some(index) => self.tcp.get(index),
        };
        listener.ok_or(io::ErrorKind::WouldBlock)?.accept()
    }

    /// Every index that [`Listeners::accept`] knows.
    pub fn indexes(&self) -> std::ops::RangeInclusive<usize> {
        0..=self.tcp.len()
    }

    /// The TCP port, also if the system chose it; 0 if there is none. It is the configured one
    /// also where there is no address to listen on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses of the TCP listeners, as they were configured.
    pub fn addresses(&self) -> &[String] {
        &self.bind
    }

    pub fn close(&mut self) {
        self.tcp.clear();
        self.unix = None;
    }
}

/// An address with a dash before it need not exist on this machine.
fn bind(address: &str, port: u16, backlog: u32) -> io::Result<Option<Listener>> {
    let (host, optional) = match address.strip_prefix('-') {
        Some(host) => (host, true),
        None => (address, false),
    };
    match Listener::tcp(host, port, backlog) {
        Ok(listener) => Ok(Some(listener)),
        Err(e) if is_absent(&e, optional) => {
            info!("Not listening on {host}:{port}: {e}");
            Ok(None)
        }
        Err(e) => {
            warn!("Warning: Could not create server TCP listening socket {host}:{port}: {e}");
            Err(e)
        }
    }
}

/// Whether an error means that the address, or the whole family of addresses, is not to be had on
/// this machine. The family never need be there.
fn is_absent(error: &io::Error, optional: bool) -> bool {
    use libc::{EADDRNOTAVAIL, EAFNOSUPPORT, ENOPROTOOPT, EPROTONOSUPPORT, ESOCKTNOSUPPORT};
    match error.raw_os_error() {
        Some(EADDRNOTAVAIL) => optional,
        Some(ENOPROTOOPT | EPROTONOSUPPORT | ESOCKTNOSUPPORT | EAFNOSUPPORT) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn config(bind: &[&str], port: u16) -> Config {
        let bind = bind.iter().map(|address| address.to_string()).collect();
        Config { bind, port, ..Config::default() }
    }

    /// A port that was free a moment ago.
    fn free_port() -> u16 {
        TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
    }

    fn can_connect(port: u16) -> bool {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    }

    #[test]
    fn another_port_takes_the_place_of_the_former() {
        let (first, second) = (free_port(), free_port());
        let mut listeners = Listeners::default();
        listeners.open(&config(&["127.0.0.1"], first)).unwrap();
        assert!(can_connect(first) && listeners.port() == first);
        listeners.change(&config(&["127.0.0.1"], second)).unwrap();
        assert!(can_connect(second) && !can_connect(first));
        listeners.change(&config(&["127.0.0.1"], 0)).unwrap();
        assert!(!can_connect(second) && listeners.port() == 0);
    }

    #[test]
    fn port_0_is_chosen_only_where_nothing_else_is_listened_on() {
        let mut listeners = Listeners::default();
        listeners.open(&config(&["127.0.0.1"], 0)).unwrap();
        let port = listeners.port();
        assert!(can_connect(port));
        listeners.change(&config(&["*", "-::*"], 0)).unwrap();
        assert!(can_connect(port) && listeners.port() == port);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let unixsocket = path.to_str().unwrap().to_string();
        let mut listeners = Listeners::default();
        listeners.open(&Config { unixsocket, ..config(&["127.0.0.1"], 0) }).unwrap();
        assert_eq!(listeners.port(), 0);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        assert!(listeners.accept(0).unwrap().is_unix());
    }

    #[test]
    fn a_port_in_use_leaves_the_former() {
        let used = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let first = free_port();
        let mut listeners = Listeners::default();
        listeners.open(&config(&["127.0.0.1"], first)).unwrap();
        let port = used.local_addr().unwrap().port();
        let error = listeners.change(&config(&["127.0.0.1"], port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(can_connect(first));
    }

    #[test]
    fn addresses_may_overlap_with_the_former() {
        let port = free_port();
        let mut listeners = Listeners::default();
        listeners.open(&config(&["*"], port)).unwrap();
        listeners.change(&config(&["127.0.0.1"], port)).unwrap();
        assert!(can_connect(port));
        listeners.change(&config(&[], port)).unwrap();
        assert!(!can_connect(port));
        listeners.change(&config(&["*", "-::*"], port)).unwrap();
        assert!(can_connect(port));
    }

    #[test]
    fn an_address_that_is_not_here_leaves_the_former_unless_it_is_optional() {
        // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
        let port = free_port();
        let mut listeners = Listeners::default();
        listeners.open(&config(&["127.0.0.1"], port)).unwrap();
        let error = listeners.change(&config(&["192.0.2.1"], port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(can_connect(port));
        listeners.change(&config(&["127.0.0.1", "-192.0.2.1"], port)).unwrap();
        assert!(can_connect(port));
        assert_eq!(listeners.indexes().count(), 2);
    }

    #[test]
    fn connections_are_accepted_by_index() {
        let port = free_port();
        let mut listeners = Listeners::default();
        listeners.open(&config(&["127.0.0.1"], port)).unwrap();
        let nobody = listeners.accept(1).err().map(|e| e.kind());
        assert_eq!(nobody, Some(io::ErrorKind::WouldBlock));
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(listeners.accept(1).unwrap().is_local());
        for gone in [0, 2, 99] {
            let kind = listeners.accept(gone).err().map(|e| e.kind());
            assert_eq!(kind, Some(io::ErrorKind::WouldBlock));
        }
    }
}
