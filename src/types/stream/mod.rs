//! Streams: entries in the order of their IDs, and groups of consumers that share them.
//!
//! A stream is an object always: it is meant to grow. Its entries are in a [`Log`] of packed
//! nodes; a [`Group`] keeps who was given which of them.

mod group;
mod id;
mod listpack;
mod log;
mod node;
#[cfg(test)]
mod tests;

pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{PartialId, Seq, StreamId};
pub use log::{Log, NewId, NoId, payload};
pub use node::{Entry, Limits, Pairs};

use super::{Object, Value};
use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub struct Stream {
    pub log: Log,
    /// By their names.
    pub groups: BTreeMap<Box<[u8]>, Group>,
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
