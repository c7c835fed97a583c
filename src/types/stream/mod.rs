//! Streams: entries in the order of their IDs, and groups of consumers that share them.
//!
//! A stream is an object always: it is meant to grow. Its entries are in a [`Log`] of packed
//! nodes; a [`Group`] keeps who was given which of them.

mod frozen;
mod group;
mod id;
mod listpack;
mod log;
mod node;
#[cfg(test)]
mod tests;

pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{PartialId, Seq, StreamId};
pub use log::{Log, LogState, NewId, NoId, payload};
pub use node::{Entries, Entry, Limits, Pairs};

use super::frozen::{Head, Memory, Piece, Thawed, Ticket, Visit};
use super::{Object, Type, Value};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// Entries of a node, as a rule.
const NODE_ENTRIES: usize = 100;

#[derive(Clone, Default)]
pub struct Stream {
    pub log: Log,
    /// By their names. Who adds or removes one uses [`Stream::insert_group`] and
    /// [`Stream::remove_group`] if the stream is somebody's value.
    pub groups: BTreeMap<Box<[u8]>, Group>,
    frozen: Memory<Frozen>,
}

/// What a stream remembers of the moment it was frozen, besides what its parts do.
struct Frozen {
    ticket: Ticket,
    groups: usize,
    next: Next,
    /// Groups that were removed, in which what was frozen is still to be read.
    removed: BTreeMap<Box<[u8]>, Group>,
}

/// What is to be read next.
enum Next {
    Nodes,
    /// The first group behind this name, or at all.
    Group(Option<Box<[u8]>>),
    Within(Box<[u8]>),
}

/// Down to where a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    /// So many entries may stay.
    Len(u64),
    /// Entries from this ID on stay.
    Id(StreamId),
}

#[derive(Clone, Copy, Debug)]
pub struct Trim {
    pub to: TrimTo,
    /// Only nodes as a whole are removed.
    pub approximate: bool,
    /// Not more entries than this are removed.
    pub limit: Option<u64>,
}

impl Stream {
    /// The stream in a value, or none if it is of another type.
    pub fn of(value: Value<'_>) -> Option<&Stream> {
        match value {
            Value::Object(Object::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// How many entries of the stream a group has not been given yet, if that is known.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let log = &self.log;
        let added = log.entries_added() as i64;
        if added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !log.has_gaps_from(group.last_id) => read,
            _ => log.added_up_to(group.last_id)? as i64,
        };
        Some(added.saturating_sub(read))
    }

    /// Adds a group whose name is new.
    pub fn insert_group(&mut self, name: &[u8], group: Group) {
        self.groups.insert(name.into(), group);
    }

    /// Removes a group: whether there was one, and what is to be freed of it.
    pub fn remove_group(&mut self, name: &[u8]) -> (bool, Option<Group>) {
        let Some((name, group)) = self.groups.remove_entry(name) else { return (false, None) };
        match self.frozen.get_mut() {
            Some(frozen) if group.frozen.is_some() => {
                frozen.removed.insert(name, group);
                (true, None)
            }
            _ => (true, Some(group)),
        }
    }

    /// See [`Object::freeze`].
    pub fn freeze(&mut self, ticket: Ticket) {
        self.log.freeze();
        self.groups.values_mut().for_each(Group::freeze);
        let (groups, removed) = (self.groups.len(), BTreeMap::new());
        self.frozen = Memory::new(Frozen { ticket, groups, next: Next::Nodes, removed });
    }

    pub fn frozen(&self) -> Option<(Ticket, Head)> {
        let nodes = self.log.frozen().map_or(0, |(nodes, _)| nodes);
        self.frozen.get().map(|frozen| (frozen.ticket, Head::new(Type::Stream, nodes)))
    }

    /// See [`Object::read_frozen`].
    pub fn read_frozen(&mut self, most: usize, visit: &mut Visit<'_>) -> bool {
        let Some(frozen) = self.frozen.get_mut() else { return false };
        match &mut frozen.next {
            Next::Nodes => {
                // A node is of a hundred entries, mostly.
                let more = (0..most.div_ceil(NODE_ENTRIES)).all(|_| self.log.read_frozen(visit));
                if !more {
                    let state = self.log.frozen().map(|(_, state)| state);
                    visit(Piece::State(state.unwrap_or_default(), frozen.groups));
                    frozen.next = Next::Group(None);
                }
                true
            }
            Next::Group(behind) => {
                let bounds = (behind.as_deref().map_or(Unbounded, Excluded), Unbounded);
                let there = self.groups.range::<[u8], _>(bounds);
                let there = there.filter(|(_, group)| group.frozen.is_some()).map(|(name, _)| name);
                let removed = frozen.removed.range::<[u8], _>(bounds).map(|(name, _)| name);
                match there.chain(removed).min().cloned() {
                    Some(name) => frozen.next = Next::Within(name),
                    None => return false,
                }
                true
            }
            Next::Within(name) => {
                // One of this name may have been created since.
                let removed = frozen.removed.get_mut(&**name);
                let group = removed.or_else(|| self.groups.get_mut(&**name));
                if !group.is_some_and(|group| group.read_frozen(name, most, visit)) {
                    frozen.next = Next::Group(Some(std::mem::take(name)));
                }
                true
            }
        }
    }

    /// See [`Object::thaw`].
    pub fn thaw(&mut self) -> Option<Thawed> {
        let parts = self.groups.values_mut().filter_map(|group| group.frozen.take());
        let parts: Vec<Thawed> = parts.chain(self.log.thaw()).chain(self.frozen.take()).collect();
        (!parts.is_empty()).then(|| Box::new(parts) as Thawed)
    }

    /// About how many bytes of memory it takes, judged by so many nodes (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        let groups: usize =
            self.groups.iter().map(|(name, group)| name.len() + group.memory()).sum();
        size_of::<Stream>() + self.log.memory(samples) + groups
    }

    /// About how many allocations freeing it takes.
    pub fn free_effort(&self) -> usize {
        self.log.nodes() + self.groups.values().map(Group::free_effort).sum::<usize>()
    }
}
