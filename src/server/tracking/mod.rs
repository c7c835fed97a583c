//! Client-side caching: clients are told when a key changes that they may hold in a cache of
//! their own. Passive: it knows clients by their keys, and leaves the messages for the loop.
//!
//! A client either has the server remember each key it reads ([`readers`]) and is told once of
//! each such key that changes; or it names prefixes and is told, at the end of each tick, of all
//! keys with such a prefix that changed in it ([`prefixes`]). The rules are those of Redis 7.2
//! (`tracking.c`): names stand for keys of all databases, and what a client has read is forgotten
//! only when the key changes, not when the client goes away.
//!
//! Where nobody tracks, all this costs a command one test of a bit (`gate::state::TRACKED`) and a
//! change the look at [`Interests`](crate::store::interest::Interests) that it costs anyway.

mod outbox;
pub mod prefixes;
mod readers;

use super::client::{Client, Closing};
use super::command::{Begin, Entry, Find, Keys, flag};
use super::ctx::Origin;
use super::{Server, gate, keys};
use crate::base::rng::Rng;
use crate::resp::Args;
use crate::store::Keyspace;
use crate::store::interest::{Cause, Changes};
use outbox::{News, Outbox};
use prefixes::{Changed, Prefixes};
use readers::Readers;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet};

/// So many keys are forgotten in one piece of work when the table is over its limit.
const FORGET_AT_ONCE: usize = 100;

/// Where a client has its messages sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirection {
    pub id: u64,
    /// The key of the client that has, or had, this id.
    pub client_key: usize,
}

/// What a client has asked for with CLIENT TRACKING.
#[derive(Clone, Debug, Default)]
pub struct Mode {
    pub redirection: Option<Redirection>,
    /// It hears of all keys with its prefixes, not of those it has read.
    pub broadcast: bool,
    /// Only keys read right after CLIENT CACHING YES are remembered.
    pub opt_in: bool,
    /// Keys read right after CLIENT CACHING NO are not remembered.
    pub opt_out: bool,
    /// It does not hear of what it changes itself.
    pub no_loop: bool,
    /// The former command, or the one before MULTI, was CLIENT CACHING.
    pub caching: bool,
    /// The client it redirects to was gone when there was something to tell.
    pub broken: bool,
    pub prefixes: BTreeSet<Box<[u8]>>,
}

impl Mode {
    /// Bytes of memory it takes.
    pub fn memory(&self) -> usize {
        let each = size_of::<Box<[u8]>>();
        size_of::<Mode>() + self.prefixes.iter().map(|prefix| each + prefix.len()).sum::<usize>()
    }

    fn remembers_reads(&self) -> bool {
        !self.broadcast && if self.opt_in { self.caching } else { !(self.opt_out && self.caching) }
    }
}

pub struct Tracking {
    /// Where the clients are that track, by id.
    trackers: BTreeMap<u64, usize>,
    readers: Readers,
    prefixes: Prefixes,
    outbox: Outbox,
}

type Clients = Slab<Box<Client>>;

impl Tracking {
    pub fn new(seed_number: u64) -> Tracking {
        Tracking {
            trackers: BTreeMap::new(),
            readers: Readers::new(seed_number),
            prefixes: Prefixes::default(),
            outbox: Outbox::default(),
        }
    }

    /// How many clients track.
    pub fn clients(&self) -> usize {
        self.trackers.len()
    }

    /// Keys that some client has read.
    pub fn keys(&self) -> usize {
        self.readers.keys()
    }

    /// Pairs of a key and a client that has read it.
    pub fn items(&self) -> usize {
        self.readers.items()
    }

    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    #[inline]
    pub fn has_messages(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The messages that wait; to be given back with [`Tracking::delivered`].
    pub fn take_messages(&mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    pub fn delivered(&mut self, mut outbox: Outbox) {
        outbox.clear();
        self.outbox = outbox;
    }

    /// Whether keys changed of which clients in broadcasting mode have not heard yet.
    #[inline]
    pub fn has_broadcasts(&self) -> bool {
        self.prefixes.has_changes()
    }

    /// Writes what each client in broadcasting mode has to hear: at the end of the tick.
    pub fn broadcast(&mut self, clients: &mut Clients) {
        let Tracking { prefixes, outbox, .. } = self;
        prefixes.take_changes(|changed, receivers| {
            let names = outbox.write_keys(changed.len(), changed.keys().map(|key| &**key));
            for &client_key in receivers {
                let mode = clients.get(client_key).and_then(|client| client.tracking.as_ref());
                if mode.is_some_and(|mode| mode.no_loop) {
                    if let Some(names) = names_for(outbox, changed, client_key) {
                        post(outbox, clients, client_key, &names);
                    }
                } else {
                    post(outbox, clients, client_key, &names);
                }
            }
        });
    }

    /// Tells of keys that changed, during a command of the client `current` if it was one.
    fn tell(&mut self, clients: &mut Clients, changes: &Changes, current: Option<usize>) {
        for (key, cause) in changes.iter() {
            // What time does is nobody's own doing, also where a command of the client found it.
            // (Redis tells those who broadcast, but not those whose reads are remembered: they may
            // keep a reply to another command that read the key.)
            let by = current.filter(|_| cause == Cause::Command);
            if !self.prefixes.is_empty() {
                self.prefixes.note(key, by);
            }
            self.invalidate(clients, key, by);
        }
    }

    /// Tells those who have read a key to drop it, and forgets it.
    fn invalidate(&mut self, clients: &mut Clients, key: &[u8], by: Option<usize>) {
        let Tracking { trackers, readers, outbox, .. } = self;
        let mut news = None;
        readers.take(key, |id| {
            let Some(&client_key) = trackers.get(&id) else { return };
            let Some(mode) = &clients[client_key].tracking else { return };
            // Who broadcasts now may have read the key before.
            if mode.broadcast || mode.no_loop && by == Some(client_key) {
                return;
            }
            let news = news.get_or_insert_with(|| outbox.write_keys(1, std::iter::once(key)));
            post(outbox, clients, client_key, news);
        });
    }

    /// Tells all who track that any key may have changed.
    fn tell_all(&mut self, clients: &mut Clients) {
        for &client_key in self.trackers.values() {
            post(&mut self.outbox, clients, client_key, &News::All);
        }
    }

    pub fn is_over(&self, most_keys: usize) -> bool {
        most_keys > 0 && self.readers.keys() > most_keys
    }

    /// Forgets some keys, if there are too many, and tells their readers to drop them.
    fn forget_some(&mut self, clients: &mut Clients, most_keys: usize, rng: &mut Rng) {
        for _ in 0..FORGET_AT_ONCE {
            if !self.is_over(most_keys) {
                return;
            }
            let Some(key) = self.readers.random(rng) else { return };
            self.invalidate(clients, &key, None);
        }
    }
}

/// The changed keys for a client that does not want to hear of its own doings; none if there are
/// no others.
fn names_for(outbox: &mut Outbox, changed: &Changed, client_key: usize) -> Option<News> {
    let names = || changed.iter().filter(|(_, by)| **by != Some(client_key)).map(|(key, _)| &**key);
    let count = names().count();
    (count > 0).then(|| outbox.write_keys(count, names()))
}

/// Addresses news for a client that tracks to the client that shall read them, if there is one
/// that can.
fn post(outbox: &mut Outbox, clients: &mut Clients, client_key: usize, news: &News) {
    let client = &clients[client_key];
    let redirection = client.tracking.as_ref().and_then(|mode| mode.redirection);
    let Some(Redirection { id, client_key: reader_key }) = redirection else {
        if client.resp3 {
            outbox.post(client_key, news);
        }
        return;
    };
    let reader = clients.get(reader_key);
    match reader.filter(|reader| reader.id == id && reader.closing != Closing::Now) {
        // In RESP2 only a subscriber expects what it has not asked for.
        Some(reader) if reader.resp3 || reader.subscriptions.is_some() => {
            outbox.post(reader_key, news);
        }
        Some(_) => {}
        None => {
            let client = &mut clients[client_key];
            client.tracking.iter_mut().for_each(|mode| mode.broken = true);
            if client.resp3 {
                outbox.post(client_key, &News::Broken(id));
            }
        }
    }
}

/// The client tracks from now on, or otherwise than before. What it has read so far stays
/// remembered, and further prefixes come to those it has.
pub fn start(server: &mut Server, keys: &mut Keyspace, client_key: usize, asked: Mode) {
    let Server { tracking, clients, .. } = server;
    let client = &mut clients[client_key];
    let former = client.tracking.take().unwrap_or_default();
    let mut mode = Mode { caching: former.caching, prefixes: former.prefixes, ..asked };
    let mut added = asked.prefixes;
    if mode.broadcast && added.is_empty() {
        // All keys begin with the empty prefix.
        added.insert(Box::default());
    }
    for prefix in added {
        tracking.prefixes.add(&prefix, client_key);
        mode.prefixes.insert(prefix);
    }
    client.tracking = Some(Box::new(mode));
    client.update_state();
    tracking.trackers.insert(client.id, client_key);
    server.state |= gate::state::TRACKED;
    keys.interests.hear_all(true);
}

/// The client tracks no more, because it says so or because it ends.
pub fn stop(server: &mut Server, keys: &mut Keyspace, client_key: usize) {
    let Server { tracking, clients, .. } = server;
    let client = &mut clients[client_key];
    let Some(mode) = client.tracking.take() else { return };
    client.update_state();
    tracking.trackers.remove(&client.id);
    mode.prefixes.iter().for_each(|prefix| tracking.prefixes.remove(prefix, client_key));
    if tracking.trackers.is_empty() {
        // Nobody is left who could be told.
        keys.garbage.extend(tracking.readers.clear());
        keys.interests.hear_all(false);
        server.state &= !gate::state::TRACKED;
    }
}

/// What follows from a command, while somebody tracks: others are told what it changed, and what
/// it read is remembered. In this order, as a key that it found to be due is one that it read.
#[cold]
pub fn after_command(
    server: &mut Server,
    keys: &mut Keyspace,
    client_key: usize,
    entry: &Entry,
    args: Args<'_>,
) {
    tell_changes(server, keys, Some(client_key));
    let Server { tracking, clients, config, rng, .. } = server;
    let client = &clients[client_key];
    let Some(mode) = &client.tracking else { return };
    if entry.command.has(flag::READONLY) && mode.remembers_reads() {
        remember(&mut tracking.readers, entry, args, client.id);
        tracking.forget_some(clients, config.tracking_table_max_keys, rng);
    }
}

/// Remembers the keys of a command, also of one that failed: its error may be cached as well.
fn remember(readers: &mut Readers, entry: &Entry, args: Args<'_>, id: u64) {
    if let [Keys { begin: Begin::Index(index), find: Find::Range { last: 0, .. }, .. }] =
        entry.command.keys
    {
        // The usual case, without a list.
        return readers.add(args.get(*index), id);
    }
    for key in keys::find(entry.command, args).unwrap_or_default() {
        readers.add(args.get(key.index), id);
    }
}

/// Ends what CLIENT CACHING has said of a command: with that command, or with the transaction it
/// begins. `entry` is none for a command that does not exist.
pub fn end_command(client: &mut Client, origin: Origin, entry: Option<&Entry>) {
    if let Some(mode) = &mut client.tracking
        && client.transaction.is_none()
        && origin == Origin::Client
        && !entry.is_some_and(|entry| entry.command.has(flag::KEEPS_CACHING))
    {
        mode.caching = false;
    }
}

/// What has to be done from time to time while somebody tracks: telling of keys that changed
/// without a command, and forgetting keys beyond the limit.
pub fn settle(server: &mut Server, keys: &mut Keyspace) {
    tell_changes(server, keys, None);
    let Server { tracking, clients, config, rng, .. } = server;
    tracking.forget_some(clients, config.tracking_table_max_keys, rng);
}

fn tell_changes(server: &mut Server, keys: &mut Keyspace, current: Option<usize>) {
    let Some(changes) = keys.interests.take_all() else { return };
    let Server { tracking, clients, .. } = server;
    if changes.flushed {
        tracking.tell_all(clients);
        keys.garbage.extend(tracking.readers.clear());
    }
    tracking.tell(clients, &changes, current);
    keys.interests.reuse(changes);
}
