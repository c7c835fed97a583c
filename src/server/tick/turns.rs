//! The clients' turns: what one has sent is read once, and what of it is whole is executed. Short
//! messages of several clients are read before any of them is executed, so that the memory they
//! need comes for all at once.

use super::{EventLoop, PAUSE_OUTPUT};
use crate::net::conn::{self, Input, READ_SIZE};
use crate::resp::Args;
use crate::resp::parse::{self, Limits, Parsed, Span};
use crate::server::Instance;
use crate::server::client::Closing;
use crate::server::look_ahead::LookAhead;
use crate::server::phases::Phase;
use log::{debug, warn};

/// So many messages are read before any is executed.
const MOST: usize = 16;
/// A short message has so many bytes at most. In a longer one are large values or many commands,
/// which are looked ahead in by themselves.
const SHORT: usize = 512;

/// What a client has sent.
struct Received {
    key: usize,
    input: Vec<u8>,
    /// So much of `input` has meaning.
    filled: usize,
    /// `input` is one of the buffers that all share, and not the client's own.
    is_shared: bool,
}

/// Turns that are still to be taken in this tick.
#[derive(Default)]
pub(super) struct Queue {
    turns: Vec<Received>,
    /// Buffers that clients without unfinished input read into. There are rarely more than
    /// [`MOST`], and the last one given back is the next one taken.
    free: Vec<Vec<u8>>,
    spans: Vec<Span>,
    look_ahead: LookAhead,
}

impl Queue {
    pub fn take_buffer(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| vec![0; READ_SIZE])
    }

    pub fn give_buffer(&mut self, buffer: Vec<u8>) {
        self.free.push(buffer);
    }
}

impl EventLoop {
    /// A client's turn, at once.
    pub(super) fn serve(&mut self, key: usize) {
        if let Some(received) = self.receive(key) {
            self.instance.server.end_phase(Phase::Read);
            self.take_turn(received);
        }
    }

    /// A client's turn, together with those of a few others if it is a short one.
    pub(super) fn serve_soon(&mut self, key: usize) {
        // With kqueue, a socket can have two events at a time.
        if self.queue.turns.iter().any(|turn| turn.key == key) {
            self.serve_queue();
        }
        let Some(received) = self.receive(key) else { return };
        if received.is_shared && received.filled <= SHORT {
            self.queue.turns.push(received);
            if self.queue.turns.len() == MOST {
                self.serve_queue();
            }
        } else {
            self.instance.server.end_phase(Phase::Read);
            self.take_turn(received);
        }
    }

    /// The turns of all who were to have theirs soon.
    pub(super) fn serve_queue(&mut self) {
        let mut turns = std::mem::take(&mut self.queue.turns);
        match turns.len() {
            0 => return,
            1 => {}
            _ => self.look_ahead_in_all(&mut turns),
        }
        self.instance.server.end_phase(Phase::Read);
        turns.drain(..).for_each(|received| self.take_turn(received));
        self.queue.turns = turns;
    }

    /// Reads once, if the client may have its turn.
    fn receive(&mut self, key: usize) -> Option<Received> {
        let client = &mut self.instance.server.clients[key];
        let is_waiting = client.is_waiting();
        let conn = client.conn.as_mut()?;
        if client.closing != Closing::No || conn.pending() > PAUSE_OUTPUT {
            return None;
        }
        if is_waiting {
            // Its next commands have to wait, too. One that went away waits for nothing.
            if conn.ended {
                self.close(key, Closing::Now);
            }
            return None;
        }
        if client.parked.is_some() && self.instance.server.log.is_clogged() {
            // It is scheduled again when its replies are sent.
            return None;
        }
        let own = std::mem::take(&mut conn.input);
        let mut filled = own.len();
        let is_shared = own.is_empty();
        let mut input = if is_shared { self.queue.take_buffer() } else { own };
        // Input that waits for its turn is used up before more is read.
        if conn.readable && (is_shared || client.partial.is_some()) {
            if !is_shared {
                let wanted = client.partial.as_ref().map_or(0, |p| p.wants());
                conn::make_room(&mut input, filled, wanted);
            }
            match conn.read(&mut input, filled) {
                Ok(Input::Bytes { len, .. }) => {
                    filled += len;
                    client.bytes_in += len as u64;
                    client.active_s = self.instance.keys.now_ms / 1000;
                    self.instance.server.stats.bytes_in += len as u64;
                    self.instance.server.stats.reads += 1;
                }
                Ok(Input::Nothing) => {}
                // It may have closed only its half, and wait for replies.
                Ok(Input::Closed) => self.close(key, Closing::AfterReply),
                Err(e) => {
                    debug!("Reading from client: {e}");
                    self.close(key, Closing::Now);
                }
            }
        }
        Some(Received { key, input, filled, is_shared })
    }

    /// Has the memory fetched that the first command of each will read. Those that are not in the
    /// first one's database do without.
    fn look_ahead_in_all(&mut self, turns: &mut [Received]) {
        let Instance { server, keys } = &self.instance;
        let Queue { spans, look_ahead, .. } = &mut self.queue;
        spans.clear();
        look_ahead.clear();
        let db = server.clients[turns[0].key].db;
        let limits = Limits { max_bulk: server.config.proto_max_bulk_len, authenticated: true };
        let mut places = [(0, 0); MOST];
        for (nth, (turn, place)) in turns.iter_mut().zip(&mut places).enumerate() {
            // The words of a line would be moved about, and can be cut only once.
            let is_array = turn.filled > 0 && turn.input[0] == b'*';
            if !is_array || server.clients[turn.key].db != db {
                continue;
            }
            let first = spans.len();
            let input = &mut turn.input[..turn.filled];
            if let Ok(Parsed::Command { .. }) = parse::command(input, 0, spans, None, &limits) {
                *place = (first, spans.len());
                let args = Args::new(input, &spans[first..]);
                if let Some(entry) = server.commands.find(args.get(0)) {
                    look_ahead.add(keys, nth, entry, args);
                }
            }
        }
        look_ahead.fetch(keys, db, |nth| {
            let (first, last) = places[nth];
            Args::new(&turns[nth].input, &spans[first..last])
        });
    }

    /// Executes what arrived whole, unless somebody has ended the client since it was read.
    fn take_turn(&mut self, mut received: Received) {
        let key = received.key;
        let own_bytes = (!received.is_shared).then_some(received.input.capacity());
        let is_over = self.instance.server.clients[key].closing != Closing::No;
        if is_over || self.evict_before_turn(key, own_bytes) {
            if received.is_shared {
                self.queue.free.push(received.input);
            }
            return;
        }
        let used = self.execute_input(key, &mut received.input, received.filled);
        self.put_input(received, used);
        self.count_after_turn(key);
    }

    /// Puts what was not used back to where it belongs, and decides whether the client must be
    /// served again without an event.
    fn put_input(&mut self, received: Received, used: usize) {
        let Received { key, mut input, filled, is_shared } = received;
        let client = &mut self.instance.server.clients[key];
        let limit = self.instance.server.config.client_query_buffer_limit;
        let is_waiting = client.is_waiting();
        let Some(conn) = client.conn.as_mut() else { return };
        if is_shared {
            if used < filled {
                // If the read came back full, the rest of a large argument is on its way.
                let partial = client.partial.as_ref().filter(|_| conn.readable);
                let wanted = partial.map_or(0, |partial| partial.wants());
                let rest = &input[used..filled];
                conn.input = if wanted > 0 { conn::hold(rest, wanted) } else { rest.to_vec() };
            }
            self.queue.give_buffer(input);
        } else if used < filled {
            input.truncate(filled);
            input.drain(..used);
            let wanted = client.partial.as_ref().map_or(0, |partial| partial.wants());
            if input.capacity() / 2 > input.len().max(wanted).max(READ_SIZE) {
                // A large argument is done with, and the client may be idle for long.
                input.shrink_to_fit();
            }
            conn.input = input;
        }
        let waits = conn.input.is_empty() || client.partial.is_some();
        if conn.input.len() as u64 > limit {
            warn!("Closing client that reached max query buffer length: id={}", client.id);
            self.instance.server.stats.query_buffer_disconnections += 1;
            self.close(key, Closing::Now);
        } else if is_waiting {
            if conn.ended {
                self.close(key, Closing::Now);
            }
        } else if (conn.readable || !waits)
            && client.closing == Closing::No
            && conn.pending() <= PAUSE_OUTPUT
        {
            self.schedule(key);
        }
    }
}
