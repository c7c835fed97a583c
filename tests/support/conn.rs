//! A client as bare as it can be: bytes out, values in.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use goredis::resp::read::{Decoder, Value};

use super::DEADLINE;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection. Its methods fail the test where the connection fails, but for those that say so.
pub struct Conn {
    stream: Stream,
    decoder: Decoder,
    input: Vec<u8>,
    /// Bytes of `input` that are read already.
    used: usize,
}

/// A command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Conn {
    #[track_caller]
    pub fn connect(port: u16) -> Conn {
        Conn::try_connect(("127.0.0.1", port)).unwrap_or_else(|e| panic!("connect to {port}: {e}"))
    }

    pub fn try_connect(address: impl ToSocketAddrs) -> io::Result<Conn> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let conn = Conn::new(Stream::Tcp(stream));
        conn.set_timeout(DEADLINE)?;
        Ok(conn)
    }

    pub fn try_connect_unix(path: &Path) -> io::Result<Conn> {
        let conn = Conn::new(Stream::Unix(UnixStream::connect(path)?));
        conn.set_timeout(DEADLINE)?;
        Ok(conn)
    }

    fn new(stream: Stream) -> Conn {
        Conn { stream, decoder: Decoder::default(), input: Vec::new(), used: 0 }
    }

    /// How long reading and writing may take before they fail.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
        }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|e| panic!("send: {e}"));
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Sends a command and reads one reply.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.try_command(args).unwrap_or_else(|e| {
            let shown: Vec<_> =
                args.iter().map(|arg| String::from_utf8_lossy(arg.as_ref())).collect();
            panic!("{}: {e}", shown.join(" ").chars().take(200).collect::<String>())
        })
    }

    pub fn try_command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.try_send(&encode(args))?;
        self.try_read()
    }

    /// Sends a command whose reply must be a string of some form, and returns it as text.
    #[track_caller]
    pub fn text<A: AsRef<[u8]>>(&mut self, args: &[A]) -> String {
        let value = self.command(args);
        let bytes = value.bytes().unwrap_or_else(|| panic!("no string: {value:?}"));
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// A field of INFO; empty if there is none.
    #[track_caller]
    pub fn info(&mut self, field: &str) -> String {
        let text = self.text(&["INFO", "everything"]);
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| *name == field).map_or(String::new(), |(_, value)| value.to_string())
    }

    #[track_caller]
    pub fn read(&mut self) -> Value {
        self.try_read().unwrap_or_else(|e| panic!("read: {e}"))
    }

    /// Reads a value. `UnexpectedEof` tells that the server has closed the connection,
    /// `InvalidData` that its bytes are no reply.
    pub fn try_read(&mut self) -> io::Result<Value> {
        loop {
            let fed = self.decoder.feed(&self.input[self.used..]);
            let (used, value) = fed.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            self.used += used;
            if let Some(value) = value {
                return Ok(value);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.input.resize(64 * 1024, 0);
        let read = self.read_some();
        self.input.truncate(*read.as_ref().unwrap_or(&0));
        self.used = 0;
        let len = read?;
        if len == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the server"));
        }
        Ok(())
    }

    fn read_some(&mut self) -> io::Result<usize> {
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut self.input),
                Stream::Unix(stream) => stream.read(&mut self.input),
            };
            match read {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Whether the server closes the connection within `timeout`, whatever it sends before.
    pub fn is_closed_within(&mut self, timeout: Duration) -> bool {
        self.set_timeout(timeout).unwrap();
        let closed = loop {
            match self.fill() {
                Ok(()) => {}
                Err(e) => {
                    let timed_out = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                    break !timed_out.contains(&e.kind());
                }
            }
        };
        self.set_timeout(DEADLINE).unwrap();
        closed
    }

    /// Everything that comes until the server closes the connection.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = self.input.split_off(self.used.min(self.input.len()));
        loop {
            match self.fill() {
                Ok(()) => all.append(&mut self.input),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return all,
                Err(e) => panic!("read: {e}, after {:?}", String::from_utf8_lossy(&all)),
            }
        }
    }

    /// How many bytes come until the server closes the connection, in whatever way.
    pub fn read_to_end_or_reset(&mut self) -> usize {
        let mut len = self.input.len() - self.used;
        while self.fill().is_ok() {
            len += self.input.len();
        }
        len
    }

    /// Exactly these bytes must come next.
    #[track_caller]
    pub fn expect_bytes(&mut self, expected: &[u8]) {
        let mut got = self.input.split_off(self.used.min(self.input.len()));
        while got.len() < expected.len() {
            if let Err(e) = self.fill() {
                panic!("read: {e}, after {} of {} bytes", got.len(), expected.len());
            }
            got.append(&mut self.input);
        }
        // What is behind them is for the next read.
        self.input = got.split_off(expected.len());
        self.used = 0;
        if got != expected {
            let differ = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let around = |bytes: &[u8]| {
                let near = &bytes[differ.saturating_sub(40)..bytes.len().min(differ + 40)];
                String::from_utf8_lossy(near).into_owned()
            };
            panic!("byte {differ}: got {:?}, not {:?}", around(&got), around(expected));
        }
    }

    /// A second handle, to send from one thread what is read by another.
    pub fn writer(&self) -> Box<dyn Write + Send> {
        match &self.stream {
            Stream::Tcp(stream) => Box::new(stream.try_clone().unwrap()),
            Stream::Unix(stream) => Box::new(stream.try_clone().unwrap()),
        }
    }

    /// Says that nothing more will be sent.
    pub fn shutdown_write(&self) {
        let how = std::net::Shutdown::Write;
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(how).unwrap(),
            Stream::Unix(stream) => stream.shutdown(how).unwrap(),
        }
    }
}
