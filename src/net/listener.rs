//! Listening sockets: several TCP addresses, a unix socket.

use super::stream::Stream;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens on `host:port`. `*` is every IPv4 address and `::*` every IPv6 address.
    pub fn tcp(host: &str, port: u16, backlog: u32) -> io::Result<Listener> {
        let host = match host {
            "*" => "0.0.0.0",
            "::*" => "::",
            other => other,
        };
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no such address");
        for address in (host, port).to_socket_addrs()? {
            match listen(address, backlog) {
                Ok(listener) => return Ok(Listener::Tcp(listener)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Listens on a path, where a socket left by an earlier run is replaced. `mode` is the
    /// socket file's permissions; 0 leaves them to the umask.
    pub fn unix(path: &Path, mode: u32, backlog: u32) -> io::Result<Listener> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        if mode != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        socket.listen(backlog as i32)?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(socket.into());
        Ok(Listener::Unix(listener, path.to_path_buf()))
    }

    /// The port, for a TCP listener: what the system chose if it was asked for port 0.
    pub fn port(&self) -> Option<u16> {
        match self {
            Listener::Tcp(tcp) => tcp.local_addr().ok().map(|a| a.port()),
            Listener::Unix(..) => None,
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE)
    }

    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp(tcp) => tcp,
            Listener::Unix(unix, _) => unix,
        }
    }

    /// The next waiting connection; `WouldBlock` when there is none.
    pub fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(tcp) => tcp.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Listener::Unix(unix, _) => unix.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // A socket file that cannot be removed is replaced by the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.min(i32::MAX as u32) as i32)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}
