//! Clients that wait for a key: BLPOP, BZPOPMIN, XREAD BLOCK and the like. Must not know commands.
//!
//! There is one mechanism. A handler that finds nothing says what it waits for ([`Ctx::block`]) and
//! leaves without a reply. The client keeps the command, and its place in the queue of each key.
//! When a key has changed, the loop executes the commands of those who wait for it again, in the
//! order in which they came: one that finds nothing again calls [`Ctx::block`] again, and waits on
//! in its old place; any other has its reply. So a command that waited does what it always does,
//! and its effects are recorded like any other's.

use super::client::Client;
use super::command::Entry;
use super::ctx::{Ctx, Origin};
use super::error::Error;
use crate::base::number::{LongDouble, parse_i64};
use crate::resp::Reply;
use crate::resp::parse::OwnedArgs;
use crate::store::Keyspace;
use crate::types::Type;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a command answers when its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReply {
    Null,
    NullArray,
}

impl TimeoutReply {
    pub fn write(self, out: &mut Reply) {
        match self {
            TimeoutReply::Null => out.null(),
            TimeoutReply::NullArray => out.null_array(),
        }
    }
}

/// What a command waits for.
pub struct Wait<'a> {
    pub keys: Vec<&'a [u8]>,
    /// Only keys of this type can help.
    pub kind: Type,
    /// It is also to be executed again when the key is gone, or is of another type: to fail.
    pub or_removed: bool,
    /// Milliseconds from now; none for ever. Only the first of several calls counts.
    pub timeout_ms: Option<u64>,
    pub timeout_reply: TimeoutReply,
    /// What is to be executed in place of the command as it came.
    pub command: Option<OwnedArgs>,
}

/// What a client that waits keeps.
pub struct Blocked {
    command: OwnedArgs,
    pub entry: &'static Entry,
    db: usize,
    keys: Vec<Box<[u8]>>,
    kind: Type,
    or_removed: bool,
    /// By the monotonic clock, in milliseconds.
    deadline_ms: Option<u64>,
    timeout_reply: TimeoutReply,
    /// Its place among all who wait: lower ones came before.
    ticket: u64,
    /// The command was executed again, and waits on.
    again: bool,
}

/// Why a client waits no more, other than for having been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    TimedOut,
    /// CLIENT UNBLOCK ERROR.
    Refused,
}

#[derive(Default)]
struct Queue {
    /// Clients' keys by their tickets.
    waiting: BTreeMap<u64, usize>,
    /// How many of them are [`Wait::or_removed`].
    or_removed: usize,
}

/// Who waits for what, and until when.
#[derive(Default)]
pub struct Blocking {
    queues: HashMap<(usize, Box<[u8]>), Queue>,
    deadlines: BTreeSet<(u64, usize)>,
    /// Clients that CLIENT UNBLOCK released.
    released: Vec<(usize, Release)>,
    next_ticket: u64,
    count: usize,
}

impl Blocking {
    /// How many clients wait.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many of them wait until some time.
    pub fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    /// How many keys somebody waits for.
    pub fn keys(&self) -> usize {
        self.queues.len()
    }

    /// How many keys somebody waits for who is also to hear of their removal.
    pub fn keys_or_removed(&self) -> usize {
        self.queues.values().filter(|queue| queue.or_removed > 0).count()
    }

    /// The first deadline, by the monotonic clock in milliseconds.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// A client whose time is up.
    pub fn overdue(&self, monotonic_ms: u64) -> Option<usize> {
        self.deadlines.first().filter(|&&(at, _)| at <= monotonic_ms).map(|&(_, key)| key)
    }

    /// Whether somebody was released whom the loop has not told yet.
    pub fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    pub fn take_released(&mut self) -> Vec<(usize, Release)> {
        std::mem::take(&mut self.released)
    }

    /// The next client behind `ticket` that waits for a key which now has a value of this type,
    /// or none.
    pub fn next_waiting(
        &self,
        clients: &Slab<Box<Client>>,
        key: &(usize, Box<[u8]>),
        ticket: u64,
        kind: Option<Type>,
    ) -> Option<(u64, usize)> {
        let queue = self.queues.get(key)?;
        if kind.is_none() && queue.or_removed == 0 {
            return None;
        }
        let helps = |client_key: usize| {
            let blocked = clients.get(client_key).and_then(|client| client.blocked.as_ref());
            blocked.is_some_and(|blocked| kind == Some(blocked.kind) || blocked.or_removed)
        };
        let mut behind = queue.waiting.range(ticket..);
        behind.find(|&(_, &key)| helps(key)).map(|(&ticket, &key)| (ticket, key))
    }

    fn add(&mut self, keys: &mut Keyspace, client_key: usize, blocked: &mut Blocked) {
        blocked.ticket = self.next_ticket;
        self.next_ticket += 1;
        self.count += 1;
        for key in &blocked.keys {
            let queue = self.queues.entry((blocked.db, key.clone())).or_default();
            if queue.waiting.is_empty() {
                keys.interests.add(blocked.db, key);
            }
            queue.waiting.insert(blocked.ticket, client_key);
            queue.or_removed += usize::from(blocked.or_removed);
        }
        if let Some(at) = blocked.deadline_ms {
            self.deadlines.insert((at, client_key));
        }
    }

    /// Forgets a client that waits no more.
    pub fn remove(&mut self, keys: &mut Keyspace, client_key: usize, blocked: &Blocked) {
        self.count -= 1;
        for key in &blocked.keys {
            let place = (blocked.db, key.clone());
            let Some(queue) = self.queues.get_mut(&place) else { continue };
            queue.waiting.remove(&blocked.ticket);
            queue.or_removed -= usize::from(blocked.or_removed);
            if queue.waiting.is_empty() {
                keys.interests.remove(blocked.db, key);
                self.queues.remove(&place);
            }
        }
        if let Some(at) = blocked.deadline_ms {
            self.deadlines.remove(&(at, client_key));
        }
    }
}

impl Blocked {
    /// Bytes of memory taken, those of the queues for its keys among them.
    pub fn memory(&self) -> usize {
        let names: usize = self.keys.iter().map(|key| key.len()).sum();
        let each = size_of::<((usize, Box<[u8]>), Queue)>();
        size_of::<Blocked>() + self.command.memory() + 2 * (names + self.keys.len() * each)
    }

    /// The command to be executed again; [`Blocked::goes_on`] must be told of it afterwards.
    pub fn take_command(&mut self) -> OwnedArgs {
        self.again = false;
        std::mem::take(&mut self.command)
    }

    /// Whether the client waits on after its command, which comes back here, was executed again.
    pub fn goes_on(&mut self, command: OwnedArgs) -> bool {
        self.command = command;
        self.again
    }

    /// Whether the command was executed again, and waits on.
    pub fn waits_again(&self) -> bool {
        self.again
    }

    /// What the client is told when its time is up.
    pub fn write_timeout(&self, out: &mut Reply) {
        self.timeout_reply.write(out);
    }
}

impl<'a> Ctx<'a> {
    /// Whether [`Ctx::block`] can make whoever asks wait.
    pub fn may_wait(&self) -> bool {
        self.origin == Origin::Client
    }

    /// The client is to wait, and the command to be executed again when a key has changed. It must
    /// not write a reply. Where nobody may wait (a file), it has its reply at once.
    pub fn block(&mut self, wait: Wait<'a>) {
        if !self.may_wait() {
            wait.timeout_reply.write(self.out);
            return;
        }
        self.waits = true;
        let now_ms = self.server.last_ns / 1_000_000;
        let client_key = self.client_key;
        let client = &mut self.server.clients[client_key];
        if let Some(blocked) = &mut client.blocked {
            blocked.again = true;
            return;
        }
        let mut keys: Vec<Box<[u8]>> = wait.keys.into_iter().map(Box::from).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut blocked = Box::new(Blocked {
            command: wait.command.unwrap_or_else(|| self.args.iter().collect()),
            entry: self.entry,
            db: client.db,
            keys,
            kind: wait.kind,
            or_removed: wait.or_removed,
            deadline_ms: wait.timeout_ms.map(|ms| now_ms.saturating_add(ms)),
            timeout_reply: wait.timeout_reply,
            ticket: 0,
            again: false,
        });
        self.server.blocking.add(self.keys, client_key, &mut blocked);
        client.blocked = Some(blocked);
    }

    /// CLIENT UNBLOCK: false if the client with this id does not wait.
    pub fn unblock(&mut self, id: u64, release: Release) -> bool {
        let mut clients = self.server.clients.iter();
        let found = clients.find(|(_, client)| client.id == id && client.blocked.is_some());
        let Some((key, _)) = found else { return false };
        let released = &mut self.server.blocking.released;
        if released.iter().any(|&(other, _)| other == key) {
            return false;
        }
        released.push((key, release));
        true
    }

    /// A time-out in seconds, as BLPOP takes it, in milliseconds; none for ever.
    pub fn timeout_arg(&self, index: usize) -> Result<Option<u64>, Error> {
        let not_a_float = Error::Static("ERR timeout is not a float or out of range");
        let seconds = LongDouble::parse(self.arg(index)).ok_or(not_a_float)?;
        let out_of_range = Error::Static("ERR timeout is out of range");
        let ms = seconds.to_milliseconds().ok_or(out_of_range)?;
        checked_timeout(ms, self.now_ms())
    }

    /// A time-out in milliseconds, as XREAD takes it; none for ever.
    pub fn timeout_ms_arg(&self, index: usize) -> Result<Option<u64>, Error> {
        let not_an_integer = Error::Static("ERR timeout is not an integer or out of range");
        let ms = parse_i64(self.arg(index)).ok_or(not_an_integer)?;
        checked_timeout(ms, self.now_ms())
    }
}

/// The rules for a time-out in milliseconds: what Redis would add to its clock must fit.
fn checked_timeout(ms: i64, now_ms: i64) -> Result<Option<u64>, Error> {
    if ms < 0 {
        return Err(Error::Static("ERR timeout is negative"));
    }
    if ms.checked_add(now_ms).is_none() {
        return Err(Error::Static("ERR timeout is out of range"));
    }
    Ok((ms > 0).then_some(ms as u64))
}
