//! A connected socket of either family.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Begins to connect. An event tells when [`Stream::is_connected`] knows more.
    pub fn connect(address: SocketAddr) -> io::Result<Stream> {
        TcpStream::connect(address).map(Stream::Tcp)
    }

    /// Whether a connection that was begun is made by now.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn is_connected(&self) -> io::Result<bool> {
        let Stream::Tcp(tcp) = self else { return Ok(true) };
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        match tcp.peer_addr() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Sets what a client's connection has: no delay, and keepalive probes after `keepalive_s`
    /// seconds of silence (none if 0).
    pub fn configure(&self, keepalive_s: u64) -> io::Result<()> {
        let Stream::Tcp(tcp) = self else { return Ok(()) };
        tcp.set_nodelay(true)?;
        if keepalive_s > 0 {
            let interval = Duration::from_secs((keepalive_s / 3).max(1));
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(keepalive_s))
                .with_interval(interval)
                .with_retries(3);
            SockRef::from(tcp).set_tcp_keepalive(&keepalive)?;
        }
        Ok(())
    }

    /// `ip:port` of the other side; for a unix socket, its path and port 0, as
    /// Redis shows it.
    pub fn peer(&self) -> String {
        match self {
            Stream::Tcp(tcp) => address(tcp.peer_addr()),
            Stream::Unix(_) => self.local(),
        }
    }

    /// `ip:port` of this side.
    pub fn local(&self) -> String {
        match self {
            Stream::Tcp(tcp) => address(tcp.local_addr()),
            Stream::Unix(unix) => {
                let path = unix.local_addr().ok();
                let path = path.as_ref().and_then(|a| a.as_pathname());
                format!("{}:0", path.map_or("/unixsocket".into(), |p| p.to_string_lossy()))
            }
        }
    }

    /// Whether the other side is this machine: what protected mode lets in.
    pub fn is_local(&self) -> bool {
        match self {
            Stream::Tcp(tcp) => tcp.peer_addr().is_ok_and(|a| a.ip().to_canonical().is_loopback()),
            Stream::Unix(_) => true,
        }
    }

    pub fn is_unix(&self) -> bool {
        matches!(self, Stream::Unix(_))
    }

    /// The descriptor's number, for CLIENT LIST.
    pub fn descriptor(&self) -> i32 {
        use std::os::fd::AsRawFd;
        match self {
            Stream::Tcp(tcp) => tcp.as_raw_fd(),
            Stream::Unix(unix) => unix.as_raw_fd(),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(tcp) => tcp,
            Stream::Unix(unix) => unix,
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE)
    }

    /// Asks for events when the socket takes bytes again, or no longer asks for them.
    pub fn want_writable(
        &mut self,
        registry: &Registry,
        token: Token,
        wanted: bool,
    ) -> io::Result<()> {
        let interest =
            if wanted { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.source().reregister(registry, token, interest)
    }

    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

fn address(address: io::Result<SocketAddr>) -> String {
    match address {
        Ok(a) => match a.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => format!("{ip}:{}", a.port()),
            std::net::IpAddr::V6(ip) => format!("[{ip}]:{}", a.port()),
        },
        Err(_) => "?:0".to_string(),
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.read(buf),
            Stream::Unix(unix) => unix.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.write(buf),
            Stream::Unix(unix) => unix.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
