//! MIGRATE: keys go to another server, while this one goes on serving. Must not know sockets: the
//! loop (`tick::migrate`) connects, sends and receives, and carries out what is decided here.
//!
//! ```text
//!  client: MIGRATE ──► it waits, and so does who wants to change one of the keys
//!                        │
//!        a connection to the target: kept from before, or made, or waited for
//!                        │
//!        [AUTH] [SELECT] ──► their replies ──► RESTORE key ttl payload, one key after another,
//!                        │                     as fast as the target takes them
//!        a reply for each key: those that the target has are removed here, all at once, and
//!        the append-only file sees one DEL
//!                        │
//!                      reply ──► those who wanted to change the keys go on
//! ```
//!
//! In Redis all clients stand still meanwhile, so a key is at one place or the other. Here the same
//! holds because keys on their way are *held*: the gate postpones commands that would change them
//! until the migration ends, be it by its timeout. All else goes on, and held keys can be read.
//! What cannot be postponed is noticed instead: FLUSHALL, SWAPDB, RESTORE (which may be this very
//! migration, if the target is the server itself), clients that waited for an element before. A key
//! that was so changed after its payload was made is kept, and the error says so; if it is gone,
//! nothing is left to do. So no change is lost, and no key comes back; as after an I/O error, the
//! key may then be at both places.
//!
//! The client may leave: the migration goes on to its end. CLIENT UNBLOCK ends it as its timeout
//! or as an error. In a transaction, where nobody can wait, MIGRATE is refused.
//!
//! Memory: one payload a migration, freed as it is sent, and [`OUTPUT`] more; a large value is
//! encoded in steps of at most [`SLICE_NS`] a tick. For each target there are at most
//! [`links::PER_TARGET`] connections, and further migrations wait for one.

pub mod links;
pub mod talk;

use super::Server;
use super::blocking::Release;
use super::client::{Client, Closing};
use super::command::{Entry, flag};
use super::ctx::Ctx;
use super::error::Error;
use super::gate::state;
use super::{keys, notify};
use crate::persist::rdb::write::Writer;
use crate::resp::Args;
use crate::resp::parse::OwnedArgs;
use crate::store::event::class;
use crate::store::interest::Changed;
use crate::store::{Keyspace, View};
use links::Links;
use slab::Slab;
use std::collections::{BTreeSet, HashMap, HashSet};
use talk::Talk;

/// No further value is encoded while so many bytes wait to be sent.
pub const OUTPUT: usize = 1 << 20;
/// The loop's time for encoding values in one tick, in nanoseconds.
pub const SLICE_NS: u64 = 500_000;

/// Where keys are to go. Connections are shared only by those who log in as the same user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub host: Box<str>,
    pub port: u16,
    /// The arguments of AUTH.
    pub login: Vec<Box<[u8]>>,
}

/// A key behind its database.
type Name = (usize, Box<[u8]>);

/// What MIGRATE was told.
#[derive(Debug)]
pub struct Order {
    pub target: Target,
    /// The target's database.
    pub target_db: i64,
    /// Nothing may take longer without any progress.
    pub timeout_ms: u64,
    pub copies: bool,
    pub replaces: bool,
}

/// What went wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Connecting,
    Writing,
    Reading,
}

impl Broken {
    fn error(self) -> Error {
        Error::Static(match self {
            Broken::Connecting => "IOERR error or timeout connecting to the client",
            Broken::Writing => "IOERR error or timeout writing to target instance",
            Broken::Reading => "IOERR error or timeout reading to target instance",
        })
    }
}

/// How a migration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The target has answered all there was to answer.
    Answered,
    Broken(Broken),
    /// CLIENT UNBLOCK ERROR.
    Refused,
}

/// Where a key is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its payload is not made yet.
    Here,
    Sent,
    /// The target has it.
    There,
    /// It was gone before it could be sent, or the target has not taken it.
    Stays,
}

pub struct Item {
    pub key: Box<[u8]>,
    pub way: Way,
    /// It was changed after its payload was made.
    pub changed: bool,
}

pub struct Migration {
    pub order: Order,
    db: usize,
    /// None once it has left.
    client_key: Option<usize>,
    entry: &'static Entry,
    pub items: Vec<Item>,
    pub talk: Talk,
    /// The connection it has, and the target it waits for.
    pub link: Option<usize>,
    pub place: Option<usize>,
    /// The first error that the target answered.
    pub error: Option<Vec<u8>>,
    /// When something went on last, in milliseconds of the monotonic clock.
    pub progress_ms: u64,
    /// Its entry in the list of deadlines, which may be earlier than its deadline.
    alarm_ms: u64,
    /// Its keys are held.
    holds: bool,
    end: Option<End>,
}

/// Keys that are on their way, and how far they have come.
#[derive(Default)]
pub struct Migrations {
    all: Slab<Migration>,
    pub links: Links,
    /// The migration that holds a key, and the key's number there.
    held: HashMap<Name, (usize, usize)>,
    alarms: BTreeSet<(u64, usize)>,
    /// Those the loop has not seen yet.
    begun: Vec<usize>,
    /// Those whose end the loop has not carried out yet.
    ended: Vec<usize>,
    /// Those that can go on encoding.
    pub ready: Vec<usize>,
    writer: Option<Box<Writer>>,
}

impl Migrations {
    /// Whether the loop has nothing at all to do with migrations.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.all.is_empty() && self.links.is_empty()
    }

    /// How many clients wait for the end of a migration.
    pub fn clients(&self) -> usize {
        self.all.iter().filter(|(_, migration)| migration.client_key.is_some()).count()
    }

    pub fn get(&self, id: usize) -> Option<&Migration> {
        self.all.get(id)
    }

    pub fn get_mut(&mut self, id: usize) -> Option<&mut Migration> {
        self.all.get_mut(id)
    }

    /// Whether the loop can go on at once; `ends`: also with those that have ended.
    pub fn has_work(&self, ends: bool) -> bool {
        !self.begun.is_empty() || !self.ready.is_empty() || (ends && !self.ended.is_empty())
    }

    /// When the loop must look at deadlines again, by the monotonic clock in milliseconds.
    pub fn next_alarm_ms(&self) -> Option<u64> {
        self.alarms.first().map(|&(at, _)| at)
    }

    pub fn take_begun(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.begun)
    }

    pub fn take_ended(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.ended)
    }

    /// A migration whose time is up.
    pub fn overdue(&mut self, now_ms: u64) -> Option<usize> {
        while let Some(&(at, id)) = self.alarms.first().filter(|&&(at, _)| at <= now_ms) {
            let migration = &mut self.all[id];
            // Who waits for a connection waits as long as others get on with that target.
            let place = migration.place.map_or(0, |place| self.links.progress_ms(place));
            let moved_ms = migration.progress_ms.max(place);
            let deadline_ms = moved_ms.saturating_add(migration.order.timeout_ms);
            if deadline_ms <= now_ms {
                return Some(id);
            }
            self.alarms.remove(&(at, id));
            migration.alarm_ms = deadline_ms;
            self.alarms.insert((deadline_ms, id));
        }
        None
    }

    fn begin(&mut self, migration: Migration) -> usize {
        let alarm_ms = migration.alarm_ms;
        let id = self.all.insert(migration);
        self.alarms.insert((alarm_ms, id));
        self.begun.push(id);
        id
    }

    /// Ends a migration; the first end counts. The loop is to take its connection away.
    pub fn end(&mut self, id: usize, end: End) {
        let Some(migration) = self.all.get_mut(id).filter(|migration| migration.end.is_none())
        else {
            return;
        };
        migration.end = Some(end);
        migration.talk.reset();
        self.alarms.remove(&(migration.alarm_ms, id));
        self.ended.push(id);
    }

    /// What goes wrong if a migration ends now.
    pub fn broken_now(&mut self, id: usize) -> Broken {
        let Some(migration) = self.all.get(id) else { return Broken::Connecting };
        let link = migration.link.and_then(|key| self.links.get_mut(key));
        match link.filter(|link| link.connecting.is_none()) {
            None => Broken::Connecting,
            Some(link) if link.conn.pending() > 0 || migration.talk.has_output() => Broken::Writing,
            Some(_) => Broken::Reading,
        }
    }

    /// The client of a migration has left.
    pub fn forget_client(&mut self, id: usize) {
        if let Some(migration) = self.all.get_mut(id) {
            migration.client_key = None;
        }
    }

    /// A key has changed that is perhaps on its way.
    pub fn tell(&mut self, changed: &Changed) {
        let Some(&(id, number)) = self.held.get(&changed.key) else { return };
        let migration = &mut self.all[id];
        if migration.talk.restart(number) {
            return;
        }
        // What was only due is due at the target, too.
        let item = &mut migration.items[number];
        item.changed |= item.way != Way::Here && changed.by_command;
    }

    /// Encodes a little more of a migration's values; false if it can do no more for now.
    pub fn encode(&mut self, id: usize, keys: &mut Keyspace, compresses: bool) -> bool {
        let Some(migration) = self.all.get_mut(id) else { return false };
        if migration.end.is_some() || migration.link.is_none() {
            return false;
        }
        let writer = self.writer.get_or_insert_with(|| Box::new(Writer::new(compresses)));
        keys.select(migration.db);
        migration.talk.encode(&migration.order, &mut migration.items, keys, writer)
    }

    /// The target's next reply. True if that was the last one.
    pub fn on_reply(&mut self, id: usize, error: Option<&[u8]>) -> talk::Next {
        let Some(migration) = self.all.get_mut(id) else { return talk::Next::Unexpected };
        let next = migration.talk.on_reply(error, &mut migration.items);
        if let Some(error) = error {
            migration.error.get_or_insert_with(|| error.to_vec());
        }
        next
    }

    fn holds(&self, db: usize, entry: &Entry, args: Args<'_>) -> bool {
        if entry.refused & state::KEYS_HELD == 0 {
            return false;
        }
        let changes = |key: &&keys::Key| !key.flags.contains(&"RO");
        let found = keys::find_guarded(entry.command, args);
        let mut names = found.iter().filter(changes).map(|key| (db, args.get(key.index).into()));
        names.any(|name| self.held.contains_key(&name))
    }
}

impl Ctx<'_> {
    /// Begins a migration of keys that are there, each given once. The client waits, and has its
    /// reply at the end.
    pub fn migrate(&mut self, order: Order, keys: &[&[u8]]) -> Result<(), Error> {
        if !self.may_wait() {
            return Err(Error::Static("ERR MIGRATE is not possible where nobody can wait"));
        }
        let now_ms = self.server.last_ns / 1_000_000;
        let client = &mut self.server.clients[self.client_key];
        let migrations = &mut self.server.migrations;
        let item = |key: &&[u8]| Item { key: (*key).into(), way: Way::Here, changed: false };
        let id = migrations.begin(Migration {
            db: client.db,
            client_key: Some(self.client_key),
            entry: self.entry,
            items: keys.iter().map(item).collect(),
            talk: Talk::default(),
            link: None,
            place: None,
            error: None,
            progress_ms: now_ms,
            alarm_ms: now_ms.saturating_add(order.timeout_ms),
            holds: true,
            end: None,
            order,
        });
        for (number, item) in migrations.all[id].items.iter().enumerate() {
            migrations.held.insert((client.db, item.key.clone()), (id, number));
            self.keys.interests.add(client.db, &item.key);
        }
        client.migration = Some(id);
        self.server.state |= state::KEYS_HELD;
        self.waits = true;
        Ok(())
    }
}

/// Each key once, in the order in which they were given.
pub fn distinct<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let mut seen = HashSet::new();
    keys.filter(|key| seen.insert(*key)).collect()
}

/// What the client of a migration is told.
pub struct Report {
    pub client_key: Option<usize>,
    pub entry: &'static Entry,
    pub result: Result<&'static str, Error>,
}

impl Server {
    /// Whether a command has to wait because it would change a key that is on its way.
    #[cold]
    pub fn holds_back(&self, client: &Client, entry: &Entry, args: Args<'_>) -> bool {
        let held = |entry: &Entry, args: Args<'_>| self.migrations.holds(client.db, entry, args);
        match &client.transaction {
            Some(transaction) if entry.command.has(flag::EXECUTES_QUEUED) => {
                transaction.commands.iter().any(|queued| held(queued.entry, queued.args.args()))
            }
            // It is queued.
            Some(_) => false,
            None => held(entry, args),
        }
    }

    /// Lets those change a migration's keys who have waited for that.
    pub fn release_keys(&mut self, keys: &mut Keyspace, id: usize) {
        let migrations = &mut self.migrations;
        let Some(migration) = migrations.all.get_mut(id) else { return };
        if !std::mem::take(&mut migration.holds) {
            return;
        }
        for item in &migration.items {
            let name = (migration.db, item.key.clone());
            migrations.held.remove(&name);
            keys.interests.remove(name.0, &name.1);
        }
        if migrations.held.is_empty() {
            self.state &= !state::KEYS_HELD;
        }
        self.pause.release();
    }

    /// Carries out the end of a migration: keys that the target has are removed here.
    pub fn settle_migration(&mut self, keys: &mut Keyspace, id: usize) -> Option<Report> {
        self.release_keys(keys, id);
        let mut migration = self.migrations.all.try_remove(id)?;
        if self.migrations.all.is_empty() {
            self.migrations.writer = None;
        }
        let removed = !migration.order.copies && self.remove_moved(keys, &mut migration);
        let client_key = migration.client_key;
        if let Some(client) = client_key.and_then(|key| self.clients.get_mut(key)) {
            client.migration = None;
            client.wrote |= removed;
        }
        Some(Report { client_key, entry: migration.entry, result: migration.result() })
    }

    /// True if some key was there and could be removed.
    fn remove_moved(&mut self, keys: &mut Keyspace, migration: &mut Migration) -> bool {
        let mut del = OwnedArgs::default();
        del.push(b"DEL");
        keys.select(migration.db);
        let mut removed = false;
        for item in migration.items.iter_mut().filter(|item| item.way == Way::There) {
            // One that is gone need not be kept.
            item.changed &= keys.exists(&item.key);
            if !item.changed && keys.remove(&item.key) {
                keys.notify(class::GENERIC, "del", &item.key);
                del.push(&item.key);
                removed = true;
            }
        }
        if removed && let Some(log) = self.log.buffer() {
            let propagation = super::ctx::Propagation::Verbatim;
            self.effects.record(log, keys, migration.db, del.args(), None, &propagation);
        }
        self.tell_expired(keys);
        if !keys.events.list.is_empty() {
            notify::publish(self, keys);
        }
        removed
    }

    /// CLIENT UNBLOCK for a client that waits for the end of a migration: false if it does not.
    pub fn end_migration_of(&mut self, client_id: u64, release: Release) -> bool {
        let mut clients = self.clients.iter();
        let waits = |client: &Client| client.id == client_id && client.closing == Closing::No;
        let Some((_, client)) = clients.find(|(_, client)| waits(client)) else { return false };
        let Some(id) = client.migration else { return false };
        if self.migrations.all[id].end.is_some() {
            return false;
        }
        let end = match release {
            Release::TimedOut => End::Broken(self.migrations.broken_now(id)),
            Release::Refused => End::Refused,
        };
        self.migrations.end(id, end);
        true
    }
}

impl Migration {
    /// All is to be said again, over another connection.
    pub fn begin_again(&mut self) {
        self.talk.reset();
        self.link = None;
        self.items.iter_mut().for_each(|item| item.way = Way::Here);
    }

    /// In Redis's order: the target's own error comes before what happened to the connection.
    fn result(&self) -> Result<&'static str, Error> {
        if let Some(error) = &self.error {
            let text = [b"ERR Target instance replied with error: ", &error[..]].concat();
            return Err(Error::Bytes(text));
        }
        match self.end {
            Some(End::Broken(broken)) => return Err(broken.error()),
            Some(End::Refused) => {
                let text = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
                return Err(Error::Static(text));
            }
            Some(End::Answered) | None => {}
        }
        let is_kept = |item: &Item| item.way == Way::There && item.changed;
        if !self.order.copies && self.items.iter().any(is_kept) {
            return Err(Error::Static(
                "ERR A key was changed while it was being migrated, and was kept: what the target \
                 has is older",
            ));
        }
        let sent = self.items.iter().any(|item| item.way == Way::There);
        Ok(if sent { "OK" } else { "NOKEY" })
    }
}

/// Milliseconds that a key has left to live, as RESTORE takes them: 0 if it does not expire.
fn ttl_ms(view: &View<'_>, now_ms: i64) -> i64 {
    view.expire_at().map_or(0, |at| at.saturating_sub(now_ms).max(1))
}

#[cfg(test)]
mod tests;
