//! Commands between MULTI and EXEC, and keys under WATCH. Must not know what the commands do.
//!
//! The gate queues a client's commands; EXEC executes them one after the other, by the same
//! [`execute`](super::execute::execute) as ever. A watched key that changes, by whomever, breaks
//! the watch of all who watch it; EXEC looks at that mark alone.

use super::client::Client;
use super::command::Entry;
use crate::resp::Args;
use crate::resp::parse::OwnedArgs;
use crate::store::Keyspace;
use slab::Slab;
use std::collections::{BTreeSet, HashMap};

/// A client's commands since its MULTI.
#[derive(Default)]
pub struct Transaction {
    pub commands: Vec<Queued>,
    /// A command was refused when it was to be queued: EXEC will not execute the others.
    pub aborted: bool,
    /// The states of the server, as bits of `gate::state`, in which some command is refused.
    pub refused: u32,
    /// Bytes that the queued commands' arguments take.
    bytes: usize,
}

pub struct Queued {
    pub args: OwnedArgs,
    pub entry: &'static Entry,
}

impl Transaction {
    pub fn queue(&mut self, entry: &'static Entry, args: Args<'_>) {
        self.refused |= entry.refused;
        let queued = Queued { args: args.iter().collect(), entry };
        self.bytes += queued.args.memory();
        self.commands.push(queued);
    }

    /// Bytes that the queued commands take.
    pub fn memory(&self) -> usize {
        self.bytes + self.commands.capacity() * size_of::<Queued>()
    }
}

/// What a client watches.
#[derive(Default)]
pub struct Watch {
    keys: Vec<(usize, Box<[u8]>)>,
    /// One of them has changed.
    pub broken: bool,
    /// Bytes of the keys' names.
    names_bytes: usize,
}

/// Who watches which key.
#[derive(Default)]
pub struct Watchers {
    /// Clients' keys.
    clients: HashMap<(usize, Box<[u8]>), BTreeSet<usize>>,
}

impl Watchers {
    /// The client watches a key of the current database from now on.
    pub fn add(&mut self, keys: &mut Keyspace, client_key: usize, client: &mut Client, key: &[u8]) {
        let watched = (client.db, Box::from(key));
        if !self.clients.entry(watched.clone()).or_default().insert(client_key) {
            return;
        }
        keys.interests.add(watched.0, key);
        let watch = client.watch.get_or_insert_default();
        watch.names_bytes += key.len();
        watch.keys.push(watched);
    }

    /// The client watches nothing any more.
    pub fn forget(&mut self, keys: &mut Keyspace, client_key: usize, client: &mut Client) {
        let Some(watch) = client.watch.take() else { return };
        for watched in watch.keys {
            keys.interests.remove(watched.0, &watched.1);
            let Some(clients) = self.clients.get_mut(&watched) else { continue };
            clients.remove(&client_key);
            if clients.is_empty() {
                self.clients.remove(&watched);
            }
        }
    }

    /// A key has changed.
    pub fn tell(&self, clients: &mut Slab<Box<Client>>, key: &(usize, Box<[u8]>)) {
        for &client_key in self.clients.get(key).into_iter().flatten() {
            if let Some(watch) = &mut clients[client_key].watch {
                watch.broken = true;
            }
        }
    }
}

impl Watch {
    /// Bytes of memory taken: each key stands here, with whom it concerns, and with those that
    /// somebody wants to hear about.
    pub fn memory(&self) -> usize {
        let each = size_of::<(usize, Box<[u8]>)>();
        size_of::<Watch>() + 3 * (self.keys.len() * each + self.names_bytes)
    }

    /// Whether a watched key has changed, or its time has come although nobody has seen it yet.
    pub fn is_broken(&self, keys: &mut Keyspace) -> bool {
        let expired = keys.expired;
        let mut overdue = false;
        for (db, key) in &self.keys {
            keys.select(*db);
            keys.exists(key);
            overdue |= keys.is_overdue(*db, key);
        }
        self.broken || overdue || keys.expired != expired
    }
}
