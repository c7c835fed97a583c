//! Keyspace events: what happened to a key, under the names that Redis publishes
//! (`notify-keyspace-events`). Must not know who listens.

/// The classes of events, of which `notify-keyspace-events` chooses some.
pub mod class {
    pub const GENERIC: u16 = 1 << 0;
    pub const STRING: u16 = 1 << 1;
    pub const LIST: u16 = 1 << 2;
    pub const SET: u16 = 1 << 3;
    pub const HASH: u16 = 1 << 4;
    pub const ZSET: u16 = 1 << 5;
    pub const STREAM: u16 = 1 << 6;
    pub const EXPIRED: u16 = 1 << 7;
    pub const EVICTED: u16 = 1 << 8;
    /// A key was looked for and is not there.
    pub const MISS: u16 = 1 << 9;
    /// A key was created.
    pub const NEW: u16 = 1 << 10;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub db: usize,
    pub name: &'static str,
    pub key: Box<[u8]>,
}

/// The events of the running command, in their order.
#[derive(Default)]
pub struct Events {
    /// The classes somebody listens to.
    pub wanted: u16,
    pub list: Vec<Event>,
}

impl Events {
    /// Records an event of one of [`class`]. Where nobody listens this is one test.
    #[inline]
    pub fn push(&mut self, db: usize, class: u16, name: &'static str, key: &[u8]) {
        if self.wanted & class != 0 {
            self.list.push(Event { db, name, key: key.into() });
        }
    }
}
