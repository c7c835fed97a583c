//! One connection: its socket, the bytes received but not used yet, the bytes still to be sent.
//!
//! An idle connection owns no buffers: input is read into a buffer that all share and only an
//! incomplete command is kept here; output buffers come from a [`Pool`] and go back to it.

use super::stream::Stream;
use mio::{Registry, Token};
use std::io::{self, Read, Write};

/// What one `read` takes at most, in bytes.
pub const READ_SIZE: usize = 64 * 1024;
/// One read of a large argument takes at most so many bytes.
const LARGE_READ: usize = 1024 * 1024;
/// One flush sends little more than so many bytes.
const WRITE_MOST: usize = 4 * 1024 * 1024;
/// Buffers larger than this are given back to the allocator instead of being kept.
const KEEP: usize = 64 * 1024;

/// Output buffers that wait for use.
#[derive(Default)]
pub struct Pool {
    free: Vec<Vec<u8>>,
}

impl Pool {
    const MOST: usize = 64;

    pub fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    pub fn give(&mut self, mut buf: Vec<u8>) {
        if buf.capacity() > 0 && buf.capacity() <= KEEP && self.free.len() < Self::MOST {
            buf.clear();
            self.free.push(buf);
        }
    }
}

/// What a read brought.
pub enum Input {
    /// So many bytes; `more` if the socket may hold further ones.
    Bytes {
        len: usize,
        more: bool,
    },
    Nothing,
    Closed,
}

/// The capacity of an input buffer that holds `filled` bytes, for the next read. `wanted` bytes are
/// known to make progress; 0 if unknown. Memory stays in proportion to what was received, as a peer
/// can want any number, and is not taken beyond what is wanted.
fn capacity_for(filled: usize, capacity: usize, wanted: usize) -> usize {
    let least = filled + READ_SIZE / 4;
    if capacity >= least || (filled < wanted && wanted <= capacity) {
        return capacity;
    }
    if wanted <= filled {
        return least.max(2 * capacity);
    }
    // Behind a large argument there is no room for more, which its value would have to pay for.
    let enough = if wanted < READ_SIZE { wanted.max(least) } else { wanted };
    enough.min((4 * filled).max(READ_SIZE))
}

/// Makes an input buffer longer than the `filled` bytes it holds, to be read into.
pub fn make_room(input: &mut Vec<u8>, filled: usize, wanted: usize) {
    let capacity = capacity_for(filled, input.capacity(), wanted);
    input.reserve_exact(capacity.saturating_sub(input.len()));
    input.resize(capacity.min(filled + LARGE_READ), 0);
}

/// A buffer of their own for received bytes that wait for more, which is known to be on its way.
pub fn hold(bytes: &[u8], wanted: usize) -> Vec<u8> {
    let mut held = Vec::with_capacity(capacity_for(bytes.len(), bytes.len(), wanted));
    held.extend_from_slice(bytes);
    held
}

pub struct Conn {
    stream: Stream,
    token: Token,
    /// Received bytes that are no whole command yet, or whose turn has not come.
    pub input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// The socket was full, so an event will tell when to go on writing.
    blocked: bool,
    /// An event told that there are bytes, and no read has found the end of them yet.
    pub readable: bool,
    /// An event told that the peer sends nothing more. It is the last one, and may come together
    /// with bytes: so reading goes on until it finds the end.
    pub ended: bool,
}

impl Conn {
    pub fn new(mut stream: Stream, registry: &Registry, token: Token) -> io::Result<Conn> {
        stream.register(registry, token)?;
        Ok(Conn {
            stream,
            token,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            blocked: false,
            readable: false,
            ended: false,
        })
    }

    /// One that is still being made: an event will tell when it can be written to, or not at all.
    pub fn connecting(stream: Stream, registry: &Registry, token: Token) -> io::Result<Conn> {
        let mut conn = Conn::new(stream, registry, token)?;
        conn.stream.want_writable(registry, token, true)?;
        conn.blocked = true;
        Ok(conn)
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    pub fn token(&self) -> Token {
        self.token
    }

    /// Reads once into `buf` after its first `filled` bytes. The buffer is as long as may be
    /// read into; only what was read before `filled + len` has meaning.
    pub fn read(&mut self, buf: &mut [u8], filled: usize) -> io::Result<Input> {
        let room = buf.len() - filled;
        loop {
            match self.stream.read(&mut buf[filled..]) {
                Ok(0) => return Ok(Input::Closed),
                Ok(len) => {
                    // Edge-triggered events: a short read proves that the socket was emptied,
                    // and what comes later is a new event; but for the end, if that was told.
                    self.readable = len == room || self.ended;
                    return Ok(Input::Bytes { len, more: self.readable });
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(Input::Nothing);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes the output buffer, to be written to and put back with [`Conn::put_output`].
    #[inline]
    pub fn take_output(&mut self, pool: &mut Pool) -> Vec<u8> {
        if self.output.capacity() == 0 { pool.take() } else { std::mem::take(&mut self.output) }
    }

    #[inline]
    pub fn put_output(&mut self, output: Vec<u8>, pool: &mut Pool) {
        if output.is_empty() {
            pool.give(output);
        } else {
            self.output = output;
        }
    }

    /// Bytes that wait to be sent; 0 while the output is taken, some of which may be sent already.
    pub fn pending(&self) -> usize {
        self.output.len().saturating_sub(self.sent)
    }

    /// Bytes at the start of the output buffer that are sent already.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Bytes of memory the output takes. Of a usual buffer only what waits in it: which one of the
    /// pool's it happens to be is not the client's doing.
    pub fn output_memory(&self) -> usize {
        if self.output.capacity() > KEEP { self.output.capacity() } else { self.pending() }
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Drops what was to be sent.
    pub fn discard_output(&mut self) {
        self.output = Vec::new();
        self.sent = 0;
    }

    /// Sends as much as the socket takes, within bounds: somebody who reads a huge reply as fast as
    /// it is written must not keep all others waiting. Returns how many bytes that was. If
    /// something is left, an event will tell when to go on, or `is_blocked` says that none will.
    pub fn flush(&mut self, registry: &Registry, pool: &mut Pool) -> io::Result<usize> {
        let before = self.sent;
        let mut full = false;
        while self.sent < self.output.len() && self.sent - before < WRITE_MOST {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    full = true;
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        let written = self.sent - before;
        if self.pending() == 0 {
            self.sent = 0;
            self.output.clear();
            pool.give(std::mem::take(&mut self.output));
        } else if self.sent > KEEP.max(self.output.len() / 2) {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        if full != self.blocked {
            self.blocked = full;
            self.stream.want_writable(registry, self.token, full)?;
        }
        Ok(written)
    }

    /// Ends the connection; the socket is closed when this is dropped.
    pub fn close(&mut self, registry: &Registry) {
        // Closing removes it from the poll in any case.
        let _ = self.stream.deregister(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `wanted` bytes as the loop does; the largest buffer, and how often it was moved.
    fn read_all(first: usize, wanted: usize) -> (usize, usize) {
        let mut input = hold(&vec![b'x'; first], wanted);
        let (mut filled, mut moves, mut largest) = (first, 0, input.capacity());
        while filled < wanted {
            make_room(&mut input, filled, wanted);
            assert!(input.len() > filled && input.len() - filled <= LARGE_READ.max(READ_SIZE));
            moves += usize::from(input.capacity() != largest);
            largest = input.capacity();
            filled = input.len();
        }
        (largest, moves)
    }

    #[test]
    fn a_large_argument_has_a_buffer_of_its_size() {
        assert_eq!(read_all(READ_SIZE, 220_000), (220_000, 0));
        assert_eq!(read_all(READ_SIZE, 6_000_000).0, 6_000_000);
        assert_eq!(read_all(6_000_000 - 10, 6_000_000).0, 6_000_000);
        let (largest, moves) = read_all(READ_SIZE, 512 << 20);
        assert!(largest == 512 << 20 && moves <= 10, "{largest} {moves}");
    }

    #[test]
    fn memory_is_in_proportion_to_what_was_received() {
        let mut input = hold(b"*1\r\n$536870912\r\nx", 512 << 20);
        assert!(input.capacity() <= READ_SIZE);
        input.resize(10_000_000, b'x');
        make_room(&mut input, 10_000_000, 512 << 20);
        assert!(input.capacity() <= 40_000_000);
    }

    #[test]
    fn an_unknown_length_is_read_in_steps() {
        let mut input = hold(b"*3\r\n$3\r\nS", 0);
        for filled in [10, 20_000, 40_000, 80_000] {
            make_room(&mut input, filled, 0);
            assert!(input.len() >= filled + READ_SIZE / 4);
            assert!(input.capacity() <= 3 * (filled + READ_SIZE));
        }
    }
}
