//! What is said to the target, and what its replies mean: a state machine without I/O.

use super::{Item, OUTPUT, Order, Way, ttl_ms};
use crate::persist::rdb::payload::Builder;
use crate::persist::rdb::write::Writer;
use crate::resp::parse::OwnedArgs;
use crate::store::Keyspace;
use std::collections::VecDeque;

/// Pieces shorter than this are put together.
const JOIN: usize = 64 << 10;

/// What a reply will be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Auth,
    Select,
    /// The item of this number.
    Key(usize),
}

/// What follows from a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There are more replies to come, or more keys to send.
    Wait,
    /// The target is ready for keys.
    Encode,
    /// That was all.
    Done,
    /// The same, but it makes no sense to go on with the connection.
    NotLoggedIn,
    /// Nothing was asked.
    Unexpected,
}

#[derive(Default)]
pub struct Talk {
    expected: VecDeque<Expected>,
    /// Bytes to be sent, in pieces.
    output: VecDeque<Vec<u8>>,
    output_bytes: usize,
    /// The number of the next item to be encoded, and how far that has come.
    next: usize,
    builder: Option<Builder>,
    /// Some reply has come.
    pub heard: bool,
    /// The target's database is not the one it was asked for.
    pub not_selected: bool,
}

impl Talk {
    /// Begins, over a connection on which nothing was said yet, or all was answered. `selected` is
    /// the target's database, if that is known. True if keys may follow at once.
    pub fn begin(&mut self, order: &Order, selected: Option<i64>) -> bool {
        // Each time: the password may be another one by now.
        if !order.target.login.is_empty() {
            let words = order.target.login.iter().map(|word| &word[..]);
            self.push_command(std::iter::once(&b"AUTH"[..]).chain(words));
            self.expected.push_back(Expected::Auth);
        }
        if selected != Some(order.target_db) {
            let mut number = itoa::Buffer::new();
            self.push_command([b"SELECT", number.format(order.target_db).as_bytes()].into_iter());
            self.expected.push_back(Expected::Select);
        }
        self.expected.is_empty()
    }

    /// Forgets all that was said.
    pub fn reset(&mut self) {
        *self = Talk::default();
    }

    /// Whether something is left to be sent.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub fn take_output(&mut self) -> Option<Vec<u8>> {
        let piece = self.output.pop_front()?;
        self.output_bytes -= piece.len();
        Some(piece)
    }

    /// Whether there are keys to be encoded, and room for them.
    pub fn can_encode(&self, items: &[Item]) -> bool {
        let is_greeting = matches!(self.expected.front(), Some(Expected::Auth | Expected::Select));
        !is_greeting && self.next < items.len() && self.output_bytes < OUTPUT
    }

    /// Whether every payload was made.
    pub fn has_encoded(&self, items: &[Item]) -> bool {
        self.next == items.len()
    }

    /// Whether nothing is left to be said or heard.
    pub fn is_done(&self, items: &[Item]) -> bool {
        self.has_encoded(items) && self.expected.is_empty()
    }

    /// The item of this number has changed: true if its payload was being made, which begins
    /// again.
    pub fn restart(&mut self, number: usize) -> bool {
        self.next == number && self.builder.take().is_some()
    }

    /// Does a step of encoding the keys of the current database; true if another one is possible.
    pub fn encode(
        &mut self,
        order: &Order,
        items: &mut [Item],
        keys: &mut Keyspace,
        writer: &mut Writer,
    ) -> bool {
        if !self.can_encode(items) {
            return false;
        }
        let item = &mut items[self.next];
        let now_ms = keys.now_ms;
        let Some(view) = keys.peek(&item.key) else {
            // Its time has come, or it was flushed.
            item.way = Way::Stays;
            self.builder = None;
            self.next += 1;
            return self.can_encode(items);
        };
        let mut builder = self.builder.take().unwrap_or_default();
        if !builder.step(writer, view.value()) {
            self.builder = Some(builder);
            return true;
        }
        let ttl_ms = ttl_ms(&view, now_ms);
        item.way = Way::Sent;
        item.changed = false;
        self.push_restore(&item.key, ttl_ms, order.replaces, builder.into_pieces());
        self.expected.push_back(Expected::Key(self.next));
        self.next += 1;
        self.can_encode(items)
    }

    /// The next reply has come: an error, or anything else.
    pub fn on_reply(&mut self, error: Option<&[u8]>, items: &mut [Item]) -> Next {
        self.heard = true;
        match self.expected.pop_front() {
            None => return Next::Unexpected,
            Some(Expected::Key(number)) => {
                items[number].way = if error.is_none() { Way::There } else { Way::Stays };
            }
            Some(Expected::Auth) if error.is_some() => return Next::NotLoggedIn,
            Some(Expected::Select) if error.is_some() => {
                self.not_selected = true;
                return Next::Done;
            }
            Some(_) if self.expected.is_empty() => return Next::Encode,
            Some(_) => {}
        }
        if self.is_done(items) { Next::Done } else { Next::Wait }
    }

    fn push_command<'a>(&mut self, words: impl Iterator<Item = &'a [u8]>) {
        let command: OwnedArgs = words.collect();
        let mut bytes = Vec::new();
        push_array(&mut bytes, command.args().len());
        command.args().iter().for_each(|word| push_bulk(&mut bytes, word));
        self.push(bytes);
    }

    fn push_restore(&mut self, key: &[u8], ttl_ms: i64, replaces: bool, payload: Vec<Vec<u8>>) {
        let mut head = Vec::with_capacity(64 + key.len());
        push_array(&mut head, if replaces { 5 } else { 4 });
        push_bulk(&mut head, b"RESTORE");
        push_bulk(&mut head, key);
        push_bulk(&mut head, itoa::Buffer::new().format(ttl_ms).as_bytes());
        push_length(&mut head, b'$', payload.iter().map(Vec::len).sum());
        self.push(head);
        payload.into_iter().for_each(|piece| self.push(piece));
        let end: &[u8] = if replaces { b"\r\n$7\r\nREPLACE\r\n" } else { b"\r\n" };
        self.push(end.to_vec());
    }

    fn push(&mut self, piece: Vec<u8>) {
        self.output_bytes += piece.len();
        match self.output.back_mut() {
            Some(last) if last.len() + piece.len() <= JOIN => last.extend_from_slice(&piece),
            _ => self.output.push_back(piece),
        }
    }
}

fn push_array(out: &mut Vec<u8>, len: usize) {
    push_length(out, b'*', len);
}

fn push_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    push_length(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn push_length(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(b"\r\n");
}
