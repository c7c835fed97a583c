//! Connections to the targets of MIGRATE: who has which, who waits for one, which are kept for
//! later. Must not read or write them.

use super::Target;
use crate::net::conn::Conn;
use crate::resp::read::Decoder;
use mio::Token;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Connections to one target, at most.
pub const PER_TARGET: usize = 16;
/// Connections nobody uses are kept so long, in milliseconds, and so many of them, as in Redis.
const KEPT_MS: u64 = 10_000;
const KEPT: usize = 64;
/// They are looked at so often, in milliseconds.
const LOOK_MS: u64 = 100;
/// Names that are looked up at the same time, at most.
const LOOKUPS: usize = 32;
/// A reply may be so long, in bytes.
const REPLY: usize = 1 << 20;

/// Marks the tokens of links among all tokens; no client's key is so large.
const MARK: usize = 1 << 31;

/// The token of a link: its key, and what tells it from later ones with the same key.
fn token(key: usize, generation: u32) -> Token {
    Token(MARK | key | (generation as usize) << 32)
}

/// The key of the link that a token is of, if it is one's.
#[inline]
pub fn key_of(token: Token) -> Option<usize> {
    (token.0 & MARK != 0).then_some(token.0 & (MARK - 1))
}

pub struct Link {
    pub conn: Conn,
    pub place: usize,
    /// Who has it; none if it is kept for later.
    pub migration: Option<usize>,
    /// The connection is not made yet; these addresses are tried next.
    pub connecting: Option<Vec<SocketAddr>>,
    pub decoder: Decoder,
    /// Bytes received since the last whole reply.
    pub received: usize,
    /// The target's database, if that is known.
    pub db: Option<i64>,
    /// Nobody has used it before.
    pub is_new: bool,
    idle_since_ms: u64,
}

impl Link {
    /// Whether the target says more than anybody wants to know.
    pub fn is_flooded(&self) -> bool {
        self.received > REPLY
    }
}

/// All there is about one target.
struct Place {
    target: Target,
    addresses: Vec<SocketAddr>,
    is_looked_up: bool,
    open: usize,
    /// Links that are kept for later, the last used last.
    idle: Vec<usize>,
    /// Migrations that wait for a link.
    waiting: VecDeque<usize>,
    progress_ms: u64,
}

impl Place {
    fn is_of_use(&self) -> bool {
        self.open > 0 || !self.waiting.is_empty()
    }
}

/// The addresses of a place, as they were found.
pub struct Found {
    pub place: usize,
    /// What was asked for, as the place may be another one by now.
    pub target: Target,
    pub addresses: Vec<SocketAddr>,
}

/// What a migration that waits for a place is to do.
pub enum Chance {
    /// Use this link.
    Use(usize),
    /// Connect to one of these.
    Connect(Vec<SocketAddr>),
    /// Have this name looked up.
    LookUp(Target),
    /// There is nothing that could be done now.
    None,
}

pub struct Links {
    all: Slab<Link>,
    places: Slab<Place>,
    by_target: HashMap<Target, usize>,
    generation: u32,
    lookups: usize,
    /// When [`Links::outdated`] looks again.
    next_look_ms: u64,
    found: (Sender<Found>, Receiver<Found>),
}

impl Default for Links {
    fn default() -> Links {
        Links {
            all: Slab::new(),
            places: Slab::new(),
            by_target: HashMap::new(),
            generation: 0,
            lookups: 0,
            next_look_ms: 0,
            found: channel(),
        }
    }
}

impl Links {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn get_mut(&mut self, key: usize) -> Option<&mut Link> {
        self.all.get_mut(key)
    }

    /// When a target was last seen to do something.
    pub fn progress_ms(&self, place: usize) -> u64 {
        self.places.get(place).map_or(0, |place| place.progress_ms)
    }

    /// A target has done something.
    pub fn note_progress(&mut self, place: usize, now_ms: u64) {
        if let Some(place) = self.places.get_mut(place) {
            place.progress_ms = now_ms;
        }
    }

    /// A migration waits for a link to its target; returns the target's place.
    pub fn wait(&mut self, target: &Target, migration: usize, now_ms: u64) -> usize {
        let place = match self.by_target.get(target) {
            Some(&place) => place,
            None => {
                let addresses = address(target).into_iter().collect();
                let place = self.places.insert(Place {
                    target: target.clone(),
                    addresses,
                    is_looked_up: false,
                    open: 0,
                    idle: Vec::new(),
                    waiting: VecDeque::new(),
                    progress_ms: now_ms,
                });
                self.by_target.insert(target.clone(), place);
                place
            }
        };
        self.places[place].waiting.push_back(migration);
        place
    }

    /// A migration waits no more.
    pub fn wait_no_more(&mut self, place: usize, migration: usize) {
        if let Some(found) = self.places.get_mut(place) {
            found.waiting.retain(|&other| other != migration);
        }
        self.forget_if_useless(place);
    }

    /// What the first migration that waits for a place is to do.
    pub fn chance(&mut self, place: usize) -> Option<(usize, Chance)> {
        let found = self.places.get_mut(place)?;
        let first = *found.waiting.front()?;
        let chance = if let Some(link) = found.idle.pop() {
            found.waiting.pop_front();
            Chance::Use(link)
        } else if found.open >= PER_TARGET || found.is_looked_up {
            Chance::None
        } else if !found.addresses.is_empty() {
            found.waiting.pop_front();
            Chance::Connect(found.addresses.clone())
        } else if self.lookups < LOOKUPS {
            found.is_looked_up = true;
            self.lookups += 1;
            Chance::LookUp(found.target.clone())
        } else {
            Chance::None
        };
        Some((first, chance))
    }

    /// Places with migrations that wait.
    pub fn places_waited_for(&self) -> Vec<usize> {
        let waited = self.places.iter().filter(|(_, place)| !place.waiting.is_empty());
        waited.map(|(place, _)| place).collect()
    }

    /// Where those who look names up put what they find.
    pub fn finder(&self) -> Sender<Found> {
        self.found.0.clone()
    }

    /// Takes in the next name that was looked up, if there is one: those who wait for a place that
    /// has no address, and wait no more.
    pub fn take_found(&mut self) -> Option<Vec<usize>> {
        let Found { place: number, target, addresses } = self.found.1.try_recv().ok()?;
        self.lookups -= 1;
        let Some(place) = self.places.get_mut(number).filter(|place| place.target == target) else {
            return Some(Vec::new());
        };
        place.is_looked_up = false;
        place.addresses = addresses;
        let is_lost = place.addresses.is_empty();
        Some(if is_lost { self.take_waiting(number) } else { Vec::new() })
    }

    /// Migrations that wait for a place, which wait no more.
    fn take_waiting(&mut self, place: usize) -> Vec<usize> {
        let Some(found) = self.places.get_mut(place) else { return Vec::new() };
        let waiting = std::mem::take(&mut found.waiting).into();
        self.forget_if_useless(place);
        waiting
    }

    /// The token that the next link has.
    pub fn next_token(&mut self) -> Token {
        self.generation = self.generation.wrapping_add(1);
        token(self.all.vacant_key(), self.generation)
    }

    /// The token for another attempt of the same link.
    pub fn another_token(&mut self, key: usize) -> Token {
        self.generation = self.generation.wrapping_add(1);
        token(key, self.generation)
    }

    /// A connection that is being made; its token is the one that was given last.
    pub fn add(
        &mut self,
        conn: Conn,
        place: usize,
        rest: Vec<SocketAddr>,
        migration: usize,
    ) -> usize {
        self.places[place].open += 1;
        self.all.insert(Link {
            conn,
            place,
            migration: Some(migration),
            connecting: Some(rest),
            decoder: Decoder::new(REPLY),
            received: 0,
            db: None,
            is_new: true,
            idle_since_ms: 0,
        })
    }

    /// Keeps a link for later, as nobody uses it any more.
    pub fn keep(&mut self, key: usize, now_ms: u64) {
        let link = &mut self.all[key];
        link.migration = None;
        link.is_new = false;
        link.idle_since_ms = now_ms;
        self.places[link.place].idle.push(key);
    }

    /// Takes a link out, to be closed.
    pub fn remove(&mut self, key: usize) -> Option<Link> {
        let link = self.all.try_remove(key)?;
        let place = &mut self.places[link.place];
        place.open -= 1;
        place.idle.retain(|&other| other != key);
        self.forget_if_useless(link.place);
        Some(link)
    }

    /// The addresses of a place are of no use: they are looked up again next time.
    pub fn forget_addresses(&mut self, place: usize) {
        if let Some(place) = self.places.get_mut(place)
            && address(&place.target).is_none()
        {
            place.addresses.clear();
        }
    }

    /// Links of a place that are kept for later.
    pub fn idle_of(&self, place: usize) -> Vec<usize> {
        self.places.get(place).map_or(Vec::new(), |place| place.idle.clone())
    }

    /// Links that are kept no longer: for their age, or because there are too many.
    pub fn outdated(&mut self, now_ms: u64) -> Vec<usize> {
        if now_ms < self.next_look_ms {
            return Vec::new();
        }
        self.next_look_ms = now_ms + LOOK_MS;
        let idle = self.all.iter().filter(|(_, link)| link.migration.is_none());
        let mut idle: Vec<(u64, usize)> =
            idle.map(|(key, link)| (link.idle_since_ms, key)).collect();
        idle.sort_unstable();
        let too_many = idle.len().saturating_sub(KEPT);
        let is_outdated = |&(nth, &(since_ms, _)): &(usize, &(u64, usize))| {
            nth < too_many || since_ms.saturating_add(KEPT_MS) <= now_ms
        };
        idle.iter().enumerate().filter(is_outdated).map(|(_, &(_, key))| key).collect()
    }

    fn forget_if_useless(&mut self, place: usize) {
        if self.places.get(place).is_some_and(|place| !place.is_of_use()) {
            let target = self.places.remove(place).target;
            self.by_target.remove(&target);
        }
    }
}

/// The address of a target that is named by one.
fn address(target: &Target) -> Option<SocketAddr> {
    Some(SocketAddr::new(target.host.parse().ok()?, target.port))
}
