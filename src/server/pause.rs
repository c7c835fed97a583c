//! CLIENT PAUSE: commands that wait until the pause ends. Must not know what the commands do.
//!
//! The gate finds the pause among the states in which a command is refused, and postpones the
//! command instead: the client keeps it, and is not read from until the pause is over. Then the
//! loop executes what was postponed, in the order in which it came. Commands that would change a
//! key on its way to another server ([`migrate`](super::migrate)) wait here, too.

use super::Server;
use super::gate::state;
use crate::resp::Args;
use crate::resp::parse::OwnedArgs;
use crate::store::Keyspace;
use std::collections::{BTreeMap, BTreeSet};

/// Which commands a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Those that may change data, or reach replicas in any other way.
    Write,
    All,
}

/// A command that waits for the end of the pause.
pub struct Postponed {
    pub command: OwnedArgs,
    /// Its place among all that wait: lower ones came before.
    ticket: u64,
}

impl Postponed {
    /// Bytes of memory taken.
    pub fn memory(&self) -> usize {
        size_of::<Postponed>() + self.command.memory()
    }
}

#[derive(Default)]
pub struct Pause {
    /// The pause that is on, and when it ends: milliseconds of the monotonic clock.
    now: Option<(Mode, u64)>,
    /// Clients' keys by their tickets.
    waiting: BTreeMap<u64, usize>,
    /// Those of them whom the loop is to go on with.
    released: BTreeMap<u64, usize>,
    /// Keys that changed for clients that wait for them with a command that is held back.
    changed: BTreeSet<(usize, Box<[u8]>)>,
    next_ticket: u64,
}

/// What the loop does when a pause has ended.
pub struct Resumed {
    pub client_keys: Vec<usize>,
    /// Keys to look at for those who wait for them.
    pub changed: Vec<(usize, Box<[u8]>)>,
}

impl Pause {
    /// How many clients are held back.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.released.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the pause ends, by the monotonic clock in milliseconds; none if there is no pause.
    pub fn ends_ms(&self) -> Option<u64> {
        self.now.map(|(_, ends_ms)| ends_ms)
    }

    /// Whether the loop has something to go on with.
    #[inline]
    pub fn has_released(&self) -> bool {
        !self.released.is_empty() || (self.now.is_none() && !self.changed.is_empty())
    }

    pub fn take_released(&mut self) -> Resumed {
        let client_keys = std::mem::take(&mut self.released).into_values().collect();
        Resumed { client_keys, changed: std::mem::take(&mut self.changed).into_iter().collect() }
    }

    /// Remembers a key that changed, for clients that wait for it but must not be served now.
    pub fn hold_change(&mut self, changed: &(usize, Box<[u8]>)) {
        self.changed.insert(changed.clone());
    }

    /// A client is about to end.
    pub fn forget(&mut self, postponed: &Postponed) {
        self.waiting.remove(&postponed.ticket);
        self.released.remove(&postponed.ticket);
    }

    /// Lets all try again who were held back; who still is, is so in the same order.
    pub fn release(&mut self) {
        self.released.append(&mut self.waiting);
    }
}

impl Server {
    /// Begins a pause of so many milliseconds. Of two pauses, the later end and the stricter mode
    /// hold.
    pub fn pause(&mut self, keys: &mut Keyspace, mode: Mode, for_ms: u64) {
        self.end_pause_if_due(keys);
        let ends_ms = (self.last_ns / 1_000_000).saturating_add(for_ms);
        let former = self.pause.now.unwrap_or((mode, ends_ms));
        let (mode, ends_ms) = (former.0.max(mode), former.1.max(ends_ms));
        self.pause.now = Some((mode, ends_ms));
        self.state |= match mode {
            Mode::Write => state::PAUSED_WRITES,
            Mode::All => state::PAUSED_WRITES | state::PAUSED_ALL,
        };
        // One of no length.
        self.end_pause_if_due(keys);
    }

    /// Ends the pause when its time is up.
    pub fn end_pause_if_due(&mut self, keys: &mut Keyspace) {
        let now_ms = self.last_ns / 1_000_000;
        if self.pause.ends_ms().is_some_and(|ends_ms| ends_ms <= now_ms) {
            self.end_pause(keys);
        }
    }

    pub fn end_pause(&mut self, keys: &mut Keyspace) {
        self.pause.now = None;
        self.state &= !state::PAUSED;
        self.pause_expiry(keys);
        self.pause.release();
    }

    /// While clients must not change data, keys do not expire either. To be called when nothing
    /// writes any more: a transaction that has begun a pause goes on to its end.
    pub fn pause_expiry(&self, keys: &mut Keyspace) {
        keys.expiry_paused = self.state & state::PAUSED != 0;
    }

    /// Keeps a client's command until the pause is over.
    pub fn postpone(&mut self, client_key: usize, args: Args<'_>) {
        let ticket = self.pause.next_ticket;
        self.pause.next_ticket += 1;
        self.pause.waiting.insert(ticket, client_key);
        let command = args.iter().collect();
        self.clients[client_key].postponed = Some(Box::new(Postponed { command, ticket }));
    }
}
