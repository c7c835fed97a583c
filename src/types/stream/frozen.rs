//! What a consumer group remembers of the moment it was frozen: what was known of the pending
//! entries that have changed since, and how far all was read.

use super::{ConsumerId, Group, Pending, StreamId};
use crate::types::frozen::{ConsumerHead, GroupHead, Piece, Visit};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Frozen {
    last_id: StreamId,
    entries_read: Option<i64>,
    pending: usize,
    /// In the order of their names.
    consumers: Vec<Consumer>,
    /// What was known of entries that have changed; none of those that were not pending.
    kept: BTreeMap<StreamId, Option<Pending>>,
    /// Those that were, by whose they were.
    owned: BTreeSet<(ConsumerId, StreamId)>,
    next: Next,
}

struct Consumer {
    id: ConsumerId,
    name: Box<[u8]>,
    seen_ms: i64,
    active_ms: Option<i64>,
    pending: usize,
}

/// What is to be read next. Of entries, the first from an ID on.
#[derive(Clone, Copy, Default)]
enum Next {
    #[default]
    Group,
    Pending(StreamId),
    /// By its index.
    Consumer(usize),
    Owned(usize, StreamId),
    Nothing,
}

impl Frozen {
    pub fn new(group: &Group) -> Frozen {
        let consumers = group.consumers().map(|(id, consumer)| Consumer {
            id,
            name: consumer.name.clone(),
            seen_ms: consumer.seen_ms,
            active_ms: consumer.active_ms,
            pending: consumer.pending_len(),
        });
        Frozen {
            last_id: group.last_id,
            entries_read: group.entries_read,
            pending: group.pending_len(),
            consumers: consumers.collect(),
            ..Frozen::default()
        }
    }

    /// To be called before what is known of an entry changes.
    #[cold]
    pub fn keep(&mut self, id: StreamId, pending: Option<Pending>) {
        if self.kept.contains_key(&id) || matches!(self.next, Next::Nothing) {
            return;
        }
        self.kept.insert(id, pending);
        self.owned.extend(pending.map(|pending| (pending.consumer, id)));
    }

    /// Hands over the next piece, or finds that there is none where it looked; false if there are
    /// no more.
    pub fn read(&mut self, group: &Group, name: &[u8], visit: &mut Visit<'_>) -> bool {
        self.next = match self.next {
            Next::Group => {
                visit(Piece::Group(GroupHead {
                    name,
                    last_id: self.last_id,
                    entries_read: self.entries_read,
                    pending: self.pending,
                }));
                Next::Pending(StreamId::MIN)
            }
            Next::Pending(from) => self.read_pending(group, from, visit),
            Next::Consumer(at) => match self.consumers.get(at) {
                Some(consumer) => {
                    visit(Piece::Consumer(ConsumerHead {
                        name: &consumer.name,
                        seen_ms: consumer.seen_ms,
                        active_ms: consumer.active_ms,
                        pending: consumer.pending,
                    }));
                    Next::Owned(at, StreamId::MIN)
                }
                None => {
                    (self.kept, self.owned) = Default::default();
                    Next::Nothing
                }
            },
            Next::Owned(at, from) => self.read_owned(group, at, from, visit),
            Next::Nothing => Next::Nothing,
        };
        !matches!(self.next, Next::Nothing)
    }

    fn read_pending(&self, group: &Group, from: StreamId, visit: &mut Visit<'_>) -> Next {
        let kept = self.kept.range(from..).next().map(|(id, kept)| (*id, *kept));
        let there = group.pending_from(from).map(|(id, pending)| (id, Some(pending)));
        // What was kept of an entry comes before what is known of it now.
        match [kept, there].into_iter().flatten().min_by_key(|(id, _)| *id) {
            Some((id, pending)) => {
                pending.into_iter().for_each(|pending| visit(Piece::Pending(id, pending)));
                id.next().map_or(Next::Consumer(0), Next::Pending)
            }
            None => Next::Consumer(0),
        }
        .tell_consumers(self.consumers.len(), visit)
    }

    fn read_owned(&self, group: &Group, at: usize, from: StreamId, visit: &mut Visit<'_>) -> Next {
        let owner = self.consumers[at].id;
        let kept = self.owned.range((owner, from)..=(owner, StreamId::MAX)).next();
        let kept = kept.map(|(_, id)| *id);
        let there = group.owned_from(owner, from);
        let Some(id) = [kept, there].into_iter().flatten().min() else {
            return Next::Consumer(at + 1);
        };
        let pending = match self.kept.get(&id) {
            // It may have come to this consumer since.
            Some(kept) => kept.filter(|pending| pending.consumer == owner),
            None => group.pending(id),
        };
        pending.into_iter().for_each(|pending| visit(Piece::Owned(id, pending)));
        id.next().map_or(Next::Consumer(at + 1), |next| Next::Owned(at, next))
    }
}

impl Next {
    /// Says how many consumers there are when it is their turn.
    fn tell_consumers(self, count: usize, visit: &mut Visit<'_>) -> Next {
        if let Next::Consumer(0) = self {
            visit(Piece::Consumers(count));
        }
        self
    }
}
