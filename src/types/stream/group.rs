//! Consumer groups: who was given which entries and has not acknowledged them. Must not know the
//! entries themselves.

use super::StreamId;
use super::frozen::Frozen;
use crate::types::frozen::{Memory, Visit};
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet};

/// A group, with its consumers and what is pending.
#[derive(Clone, Default)]
pub struct Group {
    /// The last entry given to one of its consumers.
    pub last_id: StreamId,
    /// How many entries had been added when that one was, if it is known.
    pub entries_read: Option<i64>,
    pending: BTreeMap<StreamId, Pending>,
    consumers: Slab<Consumer>,
    names: BTreeMap<Box<[u8]>, ConsumerId>,
    pub(super) frozen: Memory<Frozen>,
}

/// A consumer's number within its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumerId(u32);

#[derive(Clone)]
pub struct Consumer {
    pub name: Box<[u8]>,
    /// When it asked for entries, in milliseconds since 1970.
    pub seen_ms: i64,
    /// When it was last given one.
    pub active_ms: Option<i64>,
    pending: BTreeSet<StreamId>,
}

/// An entry that was given to a consumer and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub consumer: ConsumerId,
    /// Milliseconds since 1970.
    pub delivered_ms: i64,
    /// How often.
    pub deliveries: i64,
}

impl Consumer {
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The first of its entries at or above `id`.
    pub fn pending_from(&self, id: StreamId) -> Option<StreamId> {
        self.pending.range(id..).next().copied()
    }
}

impl Group {
    pub fn new(last_id: StreamId, entries_read: Option<i64>) -> Group {
        Group { last_id, entries_read, ..Group::default() }
    }

    pub fn consumer_id(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        &self.consumers[id.0 as usize]
    }

    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        &mut self.consumers[id.0 as usize]
    }

    pub fn consumers_len(&self) -> usize {
        self.names.len()
    }

    /// In the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.names.values().map(|&id| (id, self.consumer(id)))
    }

    /// Creates a consumer whose name is new.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: i64) -> ConsumerId {
        let pending = BTreeSet::new();
        let consumer = Consumer { name: name.into(), seen_ms: now_ms, active_ms: None, pending };
        // Each takes memory of more bytes than a u32 can count long before.
        let id = ConsumerId(self.consumers.insert(consumer) as u32);
        self.names.insert(name.into(), id);
        id
    }

    /// Removes a consumer and forgets its pending entries; returns how many it had, or none if
    /// there is no such consumer.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.names.remove(name)?;
        if self.frozen.is_some() {
            let ids: Vec<StreamId> = self.consumer(id).pending.iter().copied().collect();
            ids.into_iter().for_each(|id| self.keep(id));
        }
        let consumer = self.consumers.remove(id.0 as usize);
        if consumer.pending.len() == self.pending.len() {
            self.pending.clear();
        } else {
            consumer.pending.iter().for_each(|id| _ = self.pending.remove(id));
        }
        Some(consumer.pending.len())
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    pub fn pending_bounds(&self) -> Option<(StreamId, StreamId)> {
        Some((*self.pending.first_key_value()?.0, *self.pending.last_key_value()?.0))
    }

    /// The first pending entry at or above `id`.
    pub fn pending_from(&self, id: StreamId) -> Option<(StreamId, Pending)> {
        self.pending.range(id..).next().map(|(id, pending)| (*id, *pending))
    }

    /// Pending entries from an ID on, of one consumer or of all.
    pub fn pending_range(
        &self,
        start: StreamId,
        consumer: Option<ConsumerId>,
    ) -> impl Iterator<Item = (StreamId, Pending)> {
        let of_one = consumer.map(|id| self.consumer(id).pending.range(start..));
        let of_one = of_one.into_iter().flatten().filter_map(|id| Some((*id, self.pending(*id)?)));
        let of_all = consumer.is_none().then(|| self.pending.range(start..));
        of_one.chain(of_all.into_iter().flatten().map(|(id, pending)| (*id, *pending)))
    }

    /// Makes an entry pending, or changes whose it is and what is known of it.
    pub fn assign(&mut self, id: StreamId, pending: Pending) {
        self.keep(id);
        let new_owner = pending.consumer.0 as usize;
        match self.pending.insert(id, pending) {
            Some(old) if old.consumer == pending.consumer => return,
            Some(old) => {
                self.consumers[old.consumer.0 as usize].pending.remove(&id);
            }
            None => {}
        }
        self.consumers[new_owner].pending.insert(id);
    }

    /// Nobody need acknowledge the entry any more; false if nobody had to.
    pub fn forget(&mut self, id: StreamId) -> bool {
        self.keep(id);
        let Some(pending) = self.pending.remove(&id) else { return false };
        self.consumers[pending.consumer.0 as usize].pending.remove(&id);
        true
    }

    /// To be called before what is known of an entry changes.
    #[inline]
    fn keep(&mut self, id: StreamId) {
        if let Some(frozen) = self.frozen.get_mut() {
            frozen.keep(id, self.pending.get(&id).copied());
        }
    }

    /// See [`Object::freeze`](crate::types::Object::freeze).
    pub(super) fn freeze(&mut self) {
        self.frozen = Memory::new(Frozen::new(self));
    }

    /// Hands over pieces of a frozen group, about so many; false if these were the last.
    pub(super) fn read_frozen(&mut self, name: &[u8], most: usize, visit: &mut Visit<'_>) -> bool {
        let Some(mut frozen) = self.frozen.get_mut().map(std::mem::take) else { return false };
        let mut left = most;
        let has_more = loop {
            if left == 0 {
                break true;
            }
            if !frozen.read(self, name, visit) {
                break false;
            }
            left -= 1;
        };
        if let Some(own) = self.frozen.get_mut() {
            *own = frozen;
        }
        has_more
    }

    /// The first of a consumer's pending entries at or above an ID, if there is the consumer.
    pub(super) fn owned_from(&self, consumer: ConsumerId, id: StreamId) -> Option<StreamId> {
        self.consumers.get(consumer.0 as usize)?.pending_from(id)
    }

    /// About how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        // A B-tree's leaf has room for eleven, and holds about seven.
        const PENDING: usize = (2 * size_of::<StreamId>() + size_of::<Pending>()) * 11 / 7;
        const CONSUMER: usize = size_of::<Consumer>() + 2 * size_of::<&[u8]>();
        let names: usize = self.names.keys().map(|name| 2 * name.len() + CONSUMER).sum();
        size_of::<Group>() + self.pending.len() * PENDING + names
    }

    /// About how many allocations freeing it takes.
    pub fn free_effort(&self) -> usize {
        1 + 3 * self.names.len() + self.pending.len() / 4
    }
}
